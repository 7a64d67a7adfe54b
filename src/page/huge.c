/* SPDX-License-Identifier: MIT */
/*
 * Back-off by number. All is relaxed: each variable is a hint by itself, and what threads lose of each other's counting
 * is a few hugepages asked for too early or too late.
 */
#include "page/huge.h"

#include "sys/sys.h"

/* After a slow hugepage so many are done without before the next is asked for: slow ones come in stretches, and each
 * costs what eight quick ones save. */
enum { SKIP_FIRST = 8, SKIP_MAX = 128 };

/* After a quick one so many may be asked for without being timed: 32 MiB. More would cost more where quick ones end;
 * fewer would be touched for nobody where a program never uses what it asked for. */
enum { TRUST_NR = 16 };

static _Atomic(u32) skip;      /* to do without before the next is asked for */
static _Atomic(u32) skip_last; /* how many it was when one last was slow; 0: the last was not */
static _Atomic(u32) trust;

/* Takes up to nr away. Returns how many there were. */
static u32 count_down(_Atomic(u32) *count, u64 nr) {
    u32 had = atomic_load_explicit(count, memory_order_relaxed);
    if (had != 0)
        atomic_store_explicit(count, had - (u32)MIN(nr, (u64)had), memory_order_relaxed);
    return had;
}

enum huge_answer huge_ask(u64 nr) {
    if (count_down(&skip, nr) != 0)
        return HUGE_NOT_NOW;
    return count_down(&trust, nr) >= nr ? HUGE_ASK : HUGE_ASK_TIMED;
}

bool huge_touch(char *p) {
    u32 last = atomic_load_explicit(&skip_last, memory_order_relaxed);
    struct sys_watch watch;
    sys_watch_begin(&watch);
    __atomic_store_n(p, 0, __ATOMIC_RELAXED);
    bool quick = sys_watch_ns(&watch) < HUGE_SLOW_NS;
    /* What several threads wait for at once is one slow stretch: it is taken from what there was before. */
    u32 next = quick ? 0 : huge_skip_next(last, SKIP_FIRST, SKIP_MAX);
    atomic_store_explicit(&skip_last, next, memory_order_relaxed);
    atomic_store_explicit(&skip, next, memory_order_relaxed);
    atomic_store_explicit(&trust, quick ? TRUST_NR : 0, memory_order_relaxed);
    return quick;
}
