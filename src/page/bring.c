/* SPDX-License-Identifier: MIT */
/*
 * Memory that is brought before it is written. A page's fault by itself costs a third more than the page's part of one
 * call for several: clearing it is the rest. So whose owner says that all of a piece is about to be written asks the
 * kernel for all of it. Nothing depends on it: what is not brought comes with its fault.
 */
#include "page/tier.h"
#include "rt/context.h"

enum { BRING_PAGES_MIN = 4 }; /* of fewer the call saves less than it costs */

static _Atomic(bool) refused; /* an older kernel, a filter, memory that is out: not asked again */

/* Else it came with the hugepage, comes with its first byte, or lies in a heap of which much is never written. */
static bool comes_by_pages(const char *p) {
    return hpage_huge(chunk_hpage(chunk_of(p), p)) == HPAGE_SMALL && sys_page_bytes() <= GRANULE_BYTES &&
           !atomic_load_explicit(&tier_of(p)->unused, memory_order_relaxed);
}

void page_bring(char *p, size_t bytes) {
    char *from = (char *)round_up((uintptr_t)p, sys_page_bytes());
    char *end = (char *)round_up((uintptr_t)p + bytes, sys_page_bytes());
    if (end < from + BRING_PAGES_MIN * sys_page_bytes() || !rt_may_block() ||
        atomic_load_explicit(&refused, memory_order_relaxed) || !comes_by_pages(p))
        return;
    if (sys_vm_populate(from, (size_t)(end - from)) != 0)
        atomic_store_explicit(&refused, true, memory_order_relaxed);
}
