/* SPDX-License-Identifier: MIT */
/* The structure a member is in. */
#ifndef QUARRY_KERNEL_LINUX_CONTAINER_OF_H
#define QUARRY_KERNEL_LINUX_CONTAINER_OF_H

#include <stddef.h>

#ifndef container_of
#define container_of(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))
#endif

#endif
