/* SPDX-License-Identifier: MIT */
/*
 * How quickly hugepages come, for all of the process: one that the system has ready costs a quarter of the small faults
 * it replaces, one it must first compact memory for, or a hypervisor find some, many times that. Which it will be
 * cannot be asked, but both come in long stretches (docs/adr/0009-hugepages-timed.md).
 */
#ifndef QUARRY_PAGE_HUGE_H
#define QUARRY_PAGE_HUGE_H

#include "base/types.h"

enum huge_answer {
    HUGE_NOT_NOW,
    HUGE_ASK,
    HUGE_ASK_TIMED /* and the first of them is to be touched by huge_touch(): for long none was timed */
};

/* Whether nr hugepages, which hold no memory yet, shall be asked for. */
enum huge_answer huge_ask(u64 nr);
/* The first touch of a hugepage at p: a store of one zero byte, timed. Whether it was quick; not under a lock, because
 * it may take milliseconds. */
bool huge_touch(char *p);

/* How many are done without after a slow one: four times as many as after the last, from first to most. */
static inline u32 huge_skip_next(u32 last, u32 first, u32 most) {
    enum { GROWTH = 4 };
    return CLAMP(last * GROWTH, first, most);
}

/* What takes longer than this to come costs more than twice the 512 small faults it replaces. */
#define HUGE_SLOW_NS ((u64)2000000)

#endif
