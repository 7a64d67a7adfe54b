/* SPDX-License-Identifier: MIT */
/*
 * Whether memory that is handed out gets used. A real hugepage comes whole with its first byte: where programs take
 * more than they write, sparse tables, buffers for the worst case, it would bring what nobody wants, and clearing 2 MiB
 * for one page in twenty takes longer than that page's fault. What a hugepage holds the kernel knows as one; of small
 * pages it tells which are there. So a record of small pages is looked at before hugepages are asked for, and from time
 * to time one that could have been a hugepage gets small pages to be looked at.
 *
 *   [U1] A sample is a record of small pages. What of it was handed out since its memory was last given back is in
 * backed, so that of those granules what the program never touched is not there.
 *   [U2] It is looked at when some records more were begun: of the newest much is in slabs that were only just made.
 * Until then what was found last holds.
 *   [U3] A sample that was given back meanwhile, or of which little was taken, tells nothing. The record that asks gets
 * small pages then, and is the next one.
 * All of it is hints: a sample may be freed, and filled again, while it is looked at without the lock.
 */
#include "base/bits.h"
#include "page/tier.h"

enum {
    USED_PART = 2,    /* a hugepage brings at most as much again as was wanted */
    TAKEN_PART = 2,   /* a record of which less was handed out tells nothing */
    AGE_RECORDS = 4,  /* [U2]; the slabs in the making of fifty classes are some 4 MiB */
    TRUST_FIRST = 16, /* so many hugepages after the first look, ... */
    TRUST_MOST = 64,  /* ... twice as many after each next one: then a record in 69 is of small pages */
};

/* Before hugepages are earned there are samples enough: a late one tells more of what is to come. */
void tier_sample_small_locked(struct page_tier *t, struct hpage *h) {
    t->sampled = true;
    t->sample_age++;
    if (t->sample != NULL && t->sample_age < 2 * AGE_RECORDS)
        return;
    t->sample = h;
    t->sample_age = 0;
}

static size_t handed_out_bytes(const struct hpage *h) {
    return (bits_count(h->backed[0]) + bits_count(h->backed[1])) * GRANULE_BYTES;
}

/* [U3] Address space that the tier gave up may be anybody's. */
static bool sample_tells(const struct hpage *h) {
    return atomic_load_explicit(&h->state, memory_order_relaxed) == HPAGE_RUNS && hpage_huge(h) == HPAGE_SMALL &&
           handed_out_bytes(h) >= HPAGE_BYTES / TAKEN_PART;
}

static void trust(struct page_tier *t, u32 hugepages_nr) {
    atomic_store_explicit(&t->unused, hugepages_nr == 0, memory_order_relaxed);
    atomic_store_explicit(&t->trusted_last, hugepages_nr, memory_order_relaxed);
    atomic_store_explicit(&t->trusted, hugepages_nr, memory_order_relaxed);
}

/* Without a look. Where hugepages come from the first on they are taken to be used for a while. */
static bool is_trusted(struct page_tier *t) {
    if (!t->sampled) {
        t->sampled = true;
        trust(t, TRUST_FIRST);
    }
    u32 trusted = atomic_load_explicit(&t->trusted, memory_order_relaxed);
    if (trusted != 0)
        atomic_store_explicit(&t->trusted, trusted - 1, memory_order_relaxed);
    return trusted != 0;
}

bool tier_sample_admits_locked(struct page_tier *t, struct hugepage_due *ret_due) {
    const struct hpage *s = t->sample;
    if (is_trusted(t))
        return true;
    if (s != NULL && t->sample_age < AGE_RECORDS) {
        bool used = !atomic_load_explicit(&t->unused, memory_order_relaxed);
        t->sample_age += used;
        return used;
    }
    t->sample = NULL; /* it serves once */
    if (s == NULL || !sample_tells(s))
        return false;
    ret_due->sample = s->addr;
    ret_due->sample_bytes = handed_out_bytes(s);
    return true;
}

bool tier_sample_is_used(struct page_tier *t, const struct hugepage_due *due) {
    if (due->sample == NULL)
        return true;
    size_t there = sys_vm_resident_pages(due->sample, HPAGE_BYTES) * sys_page_bytes();
    u32 last = atomic_load_explicit(&t->trusted_last, memory_order_relaxed);
    bool used = there >= due->sample_bytes / USED_PART;
    trust(t, used ? CLAMP(2 * last, (u32)TRUST_FIRST, (u32)TRUST_MOST) : 0);
    return used;
}
