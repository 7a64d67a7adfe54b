/* SPDX-License-Identifier: MIT */
/*
 * The last retired regions of the hardened mode: no memory, no access, and addresses that nobody else gets. Owns their
 * places; regions come here withdrawn and go from here to the system.
 *
 * States      A record is its region's; withdrawn, in a place; in the hands of the thread that took it out.
 * Invariants  [R1] A record lies in one place at most: who puts it there has it alone, and who takes it out does so by
 *             exchange. So each retired region is released once.
 * Ordering    An exchange releases the record that goes in, and acquires the one that comes out.       [big.retired]
 * Progress    Wait-free: an exchange never fails.
 * Reclamation Records are never unmapped. Who looks without taking may find that a record is another region's by then,
 *             and says so of a fault that was then no use of the retired one.
 */
#include "big/retired.h"

#include "big/big.h"
#include "big/cache.h"
#include "big/most.h"

static struct hpage *_Atomic retired[RETIRED_NR];

static void retired_release(struct hpage *h) {
    if (h != NULL)
        big_region_release(h, 0);
}

/* order: acq_rel: publishes the record as its last owner leaves it; and sees it as left.        pairs: [big.retired] */
static struct hpage *place_exchange(unsigned i, struct hpage *h) {
    return atomic_exchange_explicit(&retired[i], h, memory_order_acq_rel);
}

void retired_put(struct hpage *h) {
    static _Atomic(u32) next;
    u32 i = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % RETIRED_NR;
    retired_release(place_exchange(i, h));
}

bool retired_find(const void *p, char **ret_addr, size_t *ret_bytes) {
    const char *at = p;
    for (unsigned i = 0; i < RETIRED_NR; i++) {
        /* order: acquire, as above: the record.                                                pairs: [big.retired] */
        const struct hpage *h = atomic_load_explicit(&retired[i], memory_order_acquire);
        if (h == NULL || at < h->addr || at >= h->addr + h->big_bytes)
            continue;
        *ret_addr = h->addr;
        *ret_bytes = h->big_bytes;
        return true;
    }
    return false;
}

size_t retired_release_all(void) {
    size_t bytes = 0;
    for (unsigned i = 0; i < RETIRED_NR; i++) {
        struct hpage *h = place_exchange(i, NULL);
        bytes += h == NULL ? 0 : h->big_reserve_bytes;
        retired_release(h);
    }
    return bytes;
}
