/* SPDX-License-Identifier: MIT */
/*
 * The reserve: runs that are in memory already, for those who must not enter the system or wait. Each node has its own,
 * in blocks of 32 granules, each with a word of its own:
 *
 *   word   free granules, a bit each: 32 | tag: 32
 *
 * States      A block is empty (no bits) or has a run at base. Its filler takes what is left (bits to 0), gives it back
 *             to the tier, and publishes the bits of a new run.
 * Invariants  [V1] The tag changes with every change of the word. [V2] base and zero change only while the bits are 0.
 * Ordering    Publishing releases base; taking acquires. A taker reads base between its load of the word and its
 *             compare-and-swap: by [V1] and [V2], if that succeeds base is that of the bits. The swap releases, and the
 *             filler acquires, that base was read.                                                [page.reserve]
 * Progress    Lock-free, but for the filling, of which one thread at a time does what others leave to it.
 * Reclamation None: runs become slabs and leave through the tier; blocks are for ever. The tag has 32 bits.
 *
 * Called by slab/ (taking) and engine/ (filling, which may enter the system).
 */
#include "base/bits.h"
#include "page/node.h"
#include "page/page.h"
#include "rt/context.h"
#include "rt/options.h"

enum { BLOCK_GRANULES = 32, LOW_GRANULES = BLOCK_GRANULES / 2, TAG_SHIFT = 32 };
/* Records of the slabs that come out of one block: bitmaps and magazines. */
#define RECORDS_BYTES (32 * KIB)
#define BLOCK_BYTES (BLOCK_GRANULES * GRANULE_BYTES)

struct block {
    _Atomic(u64) word;
    _Atomic(uintptr_t) base;
    _Atomic(bool) zero;
};

static struct block *_Atomic blocks[PAGE_NODES_MAX]; /* by node; NULL until there is a reserve */
static unsigned blocks_nr;                           /* of each node */
static _Atomic(u64) filling;                         /* sys_thread_self() of who does; 0: nobody */

static u32 word_bits(u64 word) { return (u32)word; }
static u64 word_next(u64 word, u32 bits) { return ((word >> TAG_SHIFT) + 1) << TAG_SHIFT | bits; }

/* order: acquire: the blocks are zeroed, and counted.                                        pairs: [page.reserve] */
static struct block *blocks_get(unsigned node) { return atomic_load_explicit(&blocks[node], memory_order_acquire); }

/* nr neighbouring granules at a multiple of align, as a mask; 0: none. */
static u32 mask_find(u32 bits, unsigned nr, unsigned align) {
    u32 mask = (u32)bits_mask(nr);
    for (unsigned at = 0; at + nr <= BLOCK_GRANULES; at += align) {
        if ((bits & (mask << at)) == mask << at)
            return mask << at;
    }
    return 0;
}

static char *block_take(struct block *b, unsigned nr, unsigned align, enum page_content *ret_content) {
    /* order: acquire: base is at least as new as the word.                                   pairs: [page.reserve] */
    u64 word = atomic_load_explicit(&b->word, memory_order_acquire);
    for (;;) {
        u32 bits = word_bits(word), mask = mask_find(bits, nr, align);
        uintptr_t base = atomic_load_explicit(&b->base, memory_order_relaxed);
        bool zero = atomic_load_explicit(&b->zero, memory_order_relaxed);
        if (mask == 0)
            return NULL;
        /* order: acq_rel: what was written into the run; and base was read before the bits are gone, after which it may
         * change. Failed, acquire, as above.                                                 pairs: [page.reserve] */
        if (!atomic_compare_exchange_weak_explicit(&b->word, &word, word_next(word, bits & ~mask), memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        *ret_content = zero ? PAGE_ZERO : PAGE_DIRTY;
        return (char *)(base + (size_t)bits_lowest(mask) * GRANULE_BYTES); // NOLINT(performance-no-int-to-ptr)
    }
}

void *page_reserve_take(unsigned node, unsigned granules_nr, unsigned align_nr, enum page_content *ret_content) {
    struct block *all = blocks_get(node);
    char *run = NULL;
    if (blocks_get(0) == NULL || granules_nr > BLOCK_GRANULES || align_nr > BLOCK_GRANULES)
        return NULL;
    rt_chore_note(RT_CHORE_RESERVE); /* of a node that was opened since the last filling, too */
    for (unsigned i = 0; all != NULL && i < blocks_nr && run == NULL; i++)
        run = block_take(&all[i], granules_nr, align_nr, ret_content);
    return run;
}

/* --- filling --- */

static void block_give_back(struct block *b, u32 bits) {
    char *base = (char *)atomic_load_explicit(&b->base, memory_order_relaxed); // NOLINT(performance-no-int-to-ptr)
    while (bits != 0) {
        unsigned at = bits_lowest(bits), nr = bits_lowest(~((u64)bits >> at));
        page_run_free(base + at * GRANULE_BYTES, nr);
        bits &= ~(u32)(bits_mask(nr) << at);
    }
}

void page_touch(char *p, size_t bytes) {
    for (size_t at = 0; at < bytes; at += sys_page_bytes()) {
        _Atomic(char) *byte = (_Atomic(char) *)(p + at);
        atomic_store_explicit(byte, atomic_load_explicit(byte, memory_order_relaxed), memory_order_relaxed);
    }
}

/* False: memory is out. What little is left goes only when there is a new run, which may be needed to make room. */
static bool block_fill(struct block *b, unsigned node) {
    u64 word = atomic_load_explicit(&b->word, memory_order_relaxed);
    enum page_content content = PAGE_DIRTY;
    if (bits_count(word_bits(word)) > LOW_GRANULES)
        return true;
    char *run = page_run_alloc(node, BLOCK_GRANULES, BLOCK_GRANULES, &content);
    if (run == NULL)
        return false;
    page_touch(run, BLOCK_BYTES);
    /* order: acquire: who took the others is done with base.                                 pairs: [page.reserve] */
    while (!atomic_compare_exchange_weak_explicit(&b->word, &word, word_next(word, 0), memory_order_acquire,
                                                  memory_order_relaxed))
        continue;
    block_give_back(b, word_bits(word));
    word = word_next(word, 0);
    atomic_store_explicit(&b->base, (uintptr_t)run, memory_order_relaxed);
    atomic_store_explicit(&b->zero, content == PAGE_ZERO, memory_order_relaxed);
    /* order: release: base, and the run's first touch.                                       pairs: [page.reserve] */
    atomic_store_explicit(&b->word, word_next(word, UINT32_MAX), memory_order_release);
    return true;
}

static bool blocks_make(unsigned node) {
    unsigned nr = (unsigned)((rt_opt.reserve + BLOCK_BYTES - 1) / BLOCK_BYTES);
    struct block *made = nr == 0 ? NULL : rt_meta_alloc_near(node, nr * sizeof(*made), CACHE_LINE);
    if (made == NULL)
        return false;
    if (node == 0)
        blocks_nr = nr;
    /* order: release                                                                         pairs: [page.reserve] */
    atomic_store_explicit(&blocks[node], made, memory_order_release);
    return true;
}

static void node_fill(unsigned node) {
    bool more = blocks_get(node) != NULL || blocks_make(node);
    for (unsigned i = 0; i < blocks_nr && more; i++)
        more = block_fill(&blocks_get(node)[i], node);
}

bool page_reserve_begin(void) {
    if (page_is_busy_here())
        return false;
    /* order: acquire: one filler after the other.                                            pairs: [page.filling] */
    u64 nobody = 0;
    if (atomic_compare_exchange_strong_explicit(&filling, &nobody, sys_thread_self(), memory_order_acquire,
                                                memory_order_relaxed))
        return true;
    rt_chore_note(RT_CHORE_RESERVE); /* the other one may be past what is wanted */
    return false;
}

void page_reserve_end(void) {
    /* order: release                                                                         pairs: [page.filling] */
    atomic_store_explicit(&filling, 0, memory_order_release);
}

void page_reserve_fill(void) {
    if (!page_reserve_begin())
        return;
    unsigned nodes_nr = page_nodes_nr();
    for (unsigned node = 0; node < nodes_nr; node++)
        node_fill(node);
    /* The first node's last: its records are cut from where the others get their pieces, and filling its own. */
    for (unsigned node = nodes_nr; node-- > 0;)
        (void)rt_meta_headroom(node, blocks_nr * RECORDS_BYTES);
    page_reserve_end();
}

/* Another thread's filling does not go on in the child; at worst its run is lost to it, and one block stays empty. One
 * of this thread's own does, below the handler that forks. */
void page_reserve_fork_child(void) {
    if (atomic_load_explicit(&filling, memory_order_relaxed) != sys_thread_self())
        atomic_store_explicit(&filling, 0, memory_order_relaxed);
}

static size_t granules_of(const struct block *all) {
    size_t granules = 0;
    for (unsigned i = 0; all != NULL && i < blocks_nr; i++)
        granules += bits_count(word_bits(atomic_load_explicit(&all[i].word, memory_order_relaxed)));
    return granules;
}

size_t page_reserve_bytes_racy(void) {
    size_t granules = 0;
    for (unsigned node = 0; node < page_nodes_nr(); node++)
        granules += granules_of(blocks_get(node));
    return granules * GRANULE_BYTES;
}

_Static_assert(offsetof(struct block, word) == 0, "what the view says");
const struct page_reserve_view page_reserve_view = {blocks, &blocks_nr, sizeof(struct block)};
