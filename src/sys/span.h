/* SPDX-License-Identifier: MIT */
/* A span of time as the kernel takes it. Private to sys/. */
#ifndef QUARRY_SYS_SPAN_H
#define QUARRY_SYS_SPAN_H

#include "base/types.h"

#include <time.h>

static inline struct timespec sys_span_of_ms(u64 ms) {
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
}

#endif
