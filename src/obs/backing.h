/* SPDX-License-Identifier: MIT */
/* Which of our pages really hold memory, asked of the kernel page by page, for collect.c. */
#ifndef QUARRY_OBS_BACKING_H
#define QUARRY_OBS_BACKING_H

#include "base/types.h"

struct obs_backing {
    u64 heap_bytes;     /* memory in hugepages of the filler, big regions and cached regions */
    u64 meta_bytes;     /* memory in the page map, the chunk table and the metadata pool */
    u64 unbacked_bytes; /* pages the accounts count as backed that hold none: never touched, or purged inside slabs */
    u64 unasked_bytes;  /* pages the accounts count as not backed that hold memory: rest of a hugepage given whole */
    bool known;         /* /proc/self/pagemap could be read */
};

/* Async-signal-safe; the kernel is asked for 8 bytes for each page of ours. */
void obs_backing_read(struct obs_backing *ret_backing);

#endif
