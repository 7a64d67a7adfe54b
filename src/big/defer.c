/* SPDX-License-Identifier: MIT */
/*
 * Regions and areas that were freed where nothing may block: unmapping, and the reuse cache's clock, are system calls.
 * They wait, mapped and counted as used, for the next caller who may block. Owns the list of them, linked through their
 * records.
 *
 * States      A record is its region's; withdrawn, on the list; in the hands of the thread that took the list.
 * Ordering    A push releases the record, taking the list acquires.                                      [big.defer]
 * Progress    Lock-free; a push is a compare-and-swap that fails when another one succeeded.
 * Reclamation Records are never unmapped, and the list is taken whole: no head is compared with what was taken from it.
 */
#include "big/defer.h"

#include "rt/context.h"

static struct hpage *_Atomic deferred;
static _Atomic(size_t) deferred_bytes;

size_t big_deferred_bytes_racy(void) { return atomic_load_explicit(&deferred_bytes, memory_order_relaxed); }

static void chain_push(struct hpage *first, struct hpage *last) {
    struct hpage *head = atomic_load_explicit(&deferred, memory_order_relaxed);
    do {
        last->next = head;
        /* order: release                                                                         pairs: [big.defer] */
    } while (
        !atomic_compare_exchange_weak_explicit(&deferred, &head, first, memory_order_release, memory_order_relaxed));
}

static struct hpage *chain_take(void) {
    if (LIKELY(atomic_load_explicit(&deferred, memory_order_relaxed) == NULL))
        return NULL;
    /* order: acquire                                                                             pairs: [big.defer] */
    return atomic_exchange_explicit(&deferred, NULL, memory_order_acquire);
}

void big_defer(struct hpage *h) {
    atomic_fetch_add_explicit(&deferred_bytes, h->big_bytes, memory_order_relaxed);
    chain_push(h, h);
    rt_chore_note(RT_CHORE_REGIONS);
}

void big_deferred_give(void) {
    for (struct hpage *h = chain_take(), *next; h != NULL; h = next) {
        next = h->next; /* before the record may be another region's */
        atomic_fetch_sub_explicit(&deferred_bytes, h->big_bytes, memory_order_relaxed);
        if ((h->big_flags & BIG_AREA) == 0) {
            region_give(h);
            continue;
        }
        h->big_flags = 0; /* the next to use the record may be a region */
        area_give(h);
    }
}

void big_deferred_each(void (*fn)(void *arg, char *addr, size_t bytes), void *arg) {
    struct hpage *first = chain_take(), *last = first;
    for (struct hpage *h = first; h != NULL; h = h->next) {
        fn(arg, h->addr, h->big_bytes);
        last = h;
    }
    if (first == NULL)
        return;
    chain_push(first, last);
    rt_chore_note(RT_CHORE_REGIONS); /* who looked meanwhile found nothing */
}
