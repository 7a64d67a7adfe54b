/* SPDX-License-Identifier: MIT */
/*
 * The list behind leftover.h: a tagged stack (rt/pool.h, which has the argument) of blocks from the metadata pool. A
 * block is on the stack or in the hands of one thread that tries its range again. Where the pool has no block the
 * range's address space is lost, and nothing else.
 */
#include "rt/leftover.h"

#include "rt/pool.h"
#include "rt/usage.h"
#include "sys/sys.h"

enum { BLOCK_SHIFT = 5 };

struct leftover {
    u64 link; /* rt_stack's */
    char *addr;
    size_t bytes, counted_bytes;
};
_Static_assert(sizeof(struct leftover) == 1 << BLOCK_SHIFT, "a leftover is one block");

static struct rt_stack leftovers;
static _Atomic(size_t) waiting_bytes;

size_t rt_leftover_bytes(void) { return atomic_load_explicit(&waiting_bytes, memory_order_relaxed); }

/* What is left of the range: nothing, its address space, or its memory too. */
static bool range_is_gone(char *addr, size_t bytes, size_t *counted_bytes) {
    bool gone = sys_vm_release(addr, bytes) == 0;
    if (*counted_bytes != 0 && (gone || sys_vm_purge(addr, *counted_bytes) == 0)) {
        rt_usage_add(-(s64)*counted_bytes);
        *counted_bytes = 0;
    }
    return gone;
}

static void leftover_push(struct leftover *l) {
    atomic_fetch_add_explicit(&waiting_bytes, l->bytes, memory_order_relaxed);
    rt_stack_push(&leftovers, l);
}

void rt_release(void *addr, size_t bytes, size_t counted_bytes) {
    if (range_is_gone(addr, bytes, &counted_bytes))
        return;
    struct leftover *l = rt_pool_get(RT_POOL_LEFTOVERS, 0, BLOCK_SHIFT);
    if (l == NULL)
        return;
    l->addr = addr;
    l->bytes = bytes;
    l->counted_bytes = counted_bytes;
    leftover_push(l);
}

static bool leftover_retry(struct leftover *l) {
    atomic_fetch_sub_explicit(&waiting_bytes, l->bytes, memory_order_relaxed);
    if (!range_is_gone(l->addr, l->bytes, &l->counted_bytes)) {
        leftover_push(l);
        return false;
    }
    rt_pool_put(RT_POOL_LEFTOVERS, 0, l, BLOCK_SHIFT);
    return true;
}

void rt_release_retry(enum rt_leftover_effort effort) {
    struct leftover *l;
    if (effort == RT_LEFTOVER_SOME) {
        while ((l = rt_stack_pop(&leftovers)) != NULL && leftover_retry(l))
            continue;
        return;
    }
    l = rt_stack_take_all(&leftovers);
    while (l != NULL) {
        struct leftover *next = rt_stack_next(l); /* before l is pushed again, or given back */
        (void)leftover_retry(l);
        l = next;
    }
}
