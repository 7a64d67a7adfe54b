/* SPDX-License-Identifier: MIT */
/*
 * Hugepages that are asked for without the tier's lock, because the kernel lets who asks wait for all that fault in the
 * process (docs/adr/0074-hugepages-asked-for-without-the-lock.md). Who asked says by a bit what came of it, and the
 * next holder of the lock does the rest, as with runs that were freed while it was held (run.c).
 *
 *   Ordering   What is touched before the kernel was asked is small pages: so nothing of the record is handed out [P4]
 *              until a holder has seen the bit. Runs of the record are freed after that was set, and a holder looks at
 *              bits after runs: one that finds the record wholly free has settled it before it could unmap it.
 *   Progress   Nobody waits for who asks, and who asks for nobody. A holder that finds nothing else opens the record:
 *              its hugepage may then come as small pages, and counts as one that came, which is what it may become.
 *   fork       In the child the kernel is told to give none of those whose threads it does not have. What such a
 *              thread had in hand is lost with it, and no more.
 */
#include "base/bits.h"
#include "page/tier.h"
#include "rt/options.h"

/* Where memory is limited no more is counted before it comes than must be: one at a time. */
static struct hpage_asked *asked_unused(struct page_tier *t) {
    unsigned most = rt_opt.limit_hard == 0 ? ASKED_MAX : 1;
    for (unsigned i = 0; i < most; i++) {
        if (t->asked[i].by == 0)
            return &t->asked[i];
    }
    return NULL;
}

/* Beside a run of more than half fits little: what a real hugepage brought there, and behind the run's own end, might
 * be wanted by nobody. One that is dense after all is collapsed. */
static bool run_fills_ill(unsigned nr) { return nr > HPAGE_GRANULES / 2 && nr < HPAGE_GRANULES; }

void tier_hugepage_begin_locked(struct page_tier *t, struct hpage *h, unsigned nr, struct hugepage_due *ret_due) {
    bool ask = rt_opt.thp != OPT_THP_ALWAYS;
    struct hpage_asked *asked = ask ? asked_unused(t) : NULL;
    struct hugepage_due due = {.touch = true, .asked = asked};
    if (ask && asked == NULL)
        return;
    bool admitted = tier_hugepage_admit(t);
    if (!admitted && !ask) /* all that is reserved has hugepages: this one would come, and be counted nowhere */
        tier_hugepage_deny(h->addr);
    if (!admitted || !tier_hugepage_wanted(t, h->addr) ||
        (ask && (run_fills_ill(nr) || !tier_sample_admits_locked(t, &due)))) {
        tier_sample_small_locked(t, h);
        return;
    }
    *ret_due = due;
    if (ask)
        *asked = (struct hpage_asked){.record = h, .by = sys_thread_self()};
    else
        tier_regret_add(t, h, HPAGE_GRANULES);
    hpage_huge_set(h, ask ? HPAGE_ASKED : HPAGE_THP);
    atomic_store_explicit(&h->awaited, true, memory_order_relaxed);
    t->huge_bytes += HPAGE_BYTES;
    h->backed[0] = h->backed[1] = ~(u64)0;
    t->free_backed_granules += HPAGE_GRANULES;
}

/* [P4]; NULL: there is none at i, or it was opened. */
static struct hpage *asked_closed(const struct page_tier *t, unsigned i) {
    struct hpage *h = t->asked[i].record;
    return t->asked[i].by != 0 && hpage_huge(h) == HPAGE_ASKED ? h : NULL;
}

static void asked_open_locked(struct page_tier *t, struct hpage *h) {
    hpage_huge_set(h, HPAGE_THP);
    tier_regret_add(t, h, HPAGE_GRANULES);
    tier_refile(t, h);
}

/* As if it had never been wished for: what was not handed out holds no memory. */
static void asked_refuse_locked(struct page_tier *t, struct hpage *h) {
    t->huge_bytes -= HPAGE_BYTES;
    hpage_huge_set(h, HPAGE_SMALL);
    for (unsigned w = 0; w < 2; w++) {
        t->free_backed_granules -= bits_count(h->backed[w] & ~h->written[w]);
        h->backed[w] &= h->written[w];
    }
    tier_regret_add(t, h, bits_count(h->backed[0]) + bits_count(h->backed[1]));
    tier_sample_small_locked(t, h);
    /* order: release: that it is small pages.                                                  pairs: [page.awaited] */
    atomic_store_explicit(&h->awaited, false, memory_order_release);
    tier_refile(t, h);
}

bool tier_asked_open_locked(struct page_tier *t, unsigned nr) {
    bool any = false;
    for (unsigned i = 0; i < ASKED_MAX; i++) {
        struct hpage *h = asked_closed(t, i);
        if (h == NULL || h->longest < nr)
            continue;
        asked_open_locked(t, h);
        any = true;
    }
    return any;
}

u64 tier_asked_free_granules(const struct page_tier *t) {
    u64 granules = 0;
    for (unsigned i = 0; i < ASKED_MAX; i++) {
        const struct hpage *h = asked_closed(t, i);
        granules += h == NULL ? 0 : HPAGE_GRANULES - h->used_nr;
    }
    return granules;
}

/* A bit goes when all is done, so that page_fork_child() on top of this finds what is not done to be answered. */
void tier_asked_settle_locked(struct page_tier *t) {
    u32 answers;
    /* order: acquire: consumes what the kernel was told.                                         pairs: [page.asked] */
    while ((answers = atomic_load_explicit(&t->answers, memory_order_acquire)) != 0) {
        unsigned bit = bits_lowest(answers);
        struct hpage_asked *asked = &t->asked[bit % ASKED_MAX];
        if (bit < ASKED_MAX && asked_closed(t, bit) != NULL)
            asked_open_locked(t, asked->record);
        else if (bit >= ASKED_MAX)
            asked_refuse_locked(t, asked->record);
        asked->by = 0;
        /* The compiler is not to move that behind what a handler that forks here goes by, page_fork_child(). */
        atomic_signal_fence(memory_order_release);
        atomic_fetch_and_explicit(&t->answers, ~(1u << bit), memory_order_relaxed);
    }
}

static void answer(struct page_tier *t, const struct hpage_asked *asked, bool told) {
    unsigned bit = (unsigned)(asked - t->asked) + (told ? 0 : ASKED_MAX);
    /* order: release: after the kernel was told.                                                 pairs: [page.asked] */
    atomic_fetch_or_explicit(&t->answers, 1u << bit, memory_order_release);
    tier_hand_over(t);
}

void tier_hugepage_bring(struct page_tier *t, const struct hugepage_due *due, char *p) {
    /* With a limit also where all that is reserved was told: this one may have been denied the last time. Where that is
     * refused it only counts for more than it is. */
    bool told =
        (due->asked == NULL && rt_opt.limit_hard == 0) || (tier_sample_is_used(t, due) && tier_hugepage_tell(p));
    if (due->asked != NULL)
        answer(t, due->asked, told);
    if (told || due->asked == NULL)
        tier_hugepage_touch(p);
}

static void child_answer(struct page_tier *t, unsigned i) {
    const struct hpage_asked *asked = &t->asked[i];
    u32 told = 1u << i, refused = told << ASKED_MAX;
    bool answered = (atomic_load_explicit(&t->answers, memory_order_relaxed) & (told | refused)) != 0;
    if (asked->by == 0 || asked->by == sys_thread_self() || answered)
        return;
    tier_hugepage_deny(asked->record->addr);
    atomic_fetch_or_explicit(&t->answers, refused, memory_order_relaxed);
}

/* Where a handler forks on top of a holder, which is this thread, the holder settles it: what it may be about to change
 * is left alone here. */
void page_fork_child(void) {
    for (unsigned tier = 0; tier < tiers_nr(); tier++) {
        if (sys_lock_is_lost(&tier_at(tier)->lock))
            continue;
        for (unsigned i = 0; i < ASKED_MAX; i++)
            child_answer(tier_at(tier), i);
        tier_steps_forget_locked(tier_at(tier));
    }
}
