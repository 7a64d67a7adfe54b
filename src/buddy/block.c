/* SPDX-License-Identifier: MIT */
/*
 * Blocks: hugepages of the page tier, cut into pages by a bitmap of free ones.
 *
 * States      A page is free (its bit is set) or has one owner. A block is unused (on the stack of those), or in the
 *             table with an address. Its level is a hint for searches; KEPT marks a wholly free block left in place.
 * Invariants  [B3] At rest, level is not below the order of the block's largest free block plus 1.
 *             [B4] Who cleared a page's bit owns the page, and with all bits of a block cleared, the block.
 *             [B5] A block becomes one of the reserve with all its pages in the hands of who makes it, when those that
 *             it will give hold memory and before the first is given, and stops being one by the filler's hand alone.
 *             While it is one its free pages hold memory, and those that do not are the filler's. So no unused block is
 *             one, nor a child's whose parent was making it: the next filler would release pages that are not there.
 * Ordering    Giving pages sets their bits by release, taking them clears by acquire: the last write of the one who
 *             freed comes before the first of the next owner, and a block's address is seen by whoever takes a page of
 *             it. [buddy.free] Levels: below.
 * Progress    Lock-free: a swap fails because another thread's succeeded. Orders that need several words take them one
 *             by one, and give back what they have where one is not whole: such a request may miss pages that another
 *             one holds for that moment, and take a new block.
 * Reclamation Blocks and page records are type-stable; a thread that looks at a block which went back meanwhile finds
 * no free bit in it, or those of the hugepage it was used for next, which are as good.
 */
#include "buddy/block.h"

#include "buddy/count.h"
#include "buddy/most.h"
#include "rt/context.h"
#include "rt/options.h"
#include "rt/pool.h"
#include "rt/usage.h"

enum { HINTS_SHIFT = 6, HINTS_NR = 1 << HINTS_SHIFT };

/* Wholly free blocks kept, so that a program around the edge of one does not take and return it each time: one, and a
 * sixteenth of all. */
enum { KEEP_MIN = 1, KEEP_PART = 16 };

/* Blocks of a node's reserve that are replaced at a time: what is beyond them waits for the next filling. */
enum { RESERVE_LOW_MAX = 16 };

static struct {
    _Atomic(meta_ref_t) table[BLOCKS_MAX]; /* blocks by index */
    _Atomic(u32) levels[BLOCKS_MAX];       /* level | KEPT | kind | sequence: apart from the blocks, because searches
                                              read many */
    _Atomic(u32) blocks_nr;                /* table entries in use */
    _Atomic(u32) live_nr;                  /* blocks that have an address */
    _Atomic(u32) kept_nr;                  /* and of them, those marked KEPT */
    _Atomic(u64) now_ms;                   /* the clock as of the last tick */
    struct rt_stack unused[BUDDY_ORDERS_NR];
    _Atomic(u32) hints[HINTS_NR]; /* index + 1 of the block a thread took from last */
} buddy;

unsigned block_page_shift(void) { return bits_lowest(sys_page_bytes()); }
unsigned block_order(void) { return HPAGE_SHIFT - block_page_shift(); }

static unsigned words_nr(void) { return MAX(1u << block_order() >> BUDDY_WORD_ORDER, 1u); }
/* Order of a whole word, and its bits. */
static unsigned word_order(void) { return MIN(block_order(), (unsigned)BUDDY_WORD_ORDER); }
static u64 word_full(void) { return bits_mask(1u << word_order()); }

/* --- levels --- */

/*
 * level is the order of the largest free block plus 1, or more; 0: none. A free raises it. A search that found less
 * than the level promised lowers it to what there is, and then looks again: between its reading of the bits and its
 * store a free may have found no need to raise. With a fence between each side's store and its load one of the two sees
 * the other: the free its lowered level, or the search its bits.
 */
static unsigned level_of(u32 word) { return word & LEVEL_MASK; }
static _Atomic(u32) *level_word(const struct buddy_block *b) { return &buddy.levels[b->index]; }
static u32 level_load(const struct buddy_block *b) { return atomic_load_explicit(level_word(b), memory_order_relaxed); }

/* Stable for who has a page of the block. */
static bool is_dma(const struct buddy_block *b) { return (level_load(b) & LEVEL_DMA) != 0; }

/* Pinned, or the reserve's: not purged, and not given back when it is wholly free. */
enum { LEVEL_HELD = LEVEL_DMA | LEVEL_RESERVE };
static bool is_held(const struct buddy_block *b) { return (level_load(b) & LEVEL_HELD) != 0; }
static bool is_reserve(const struct buddy_block *b) { return (level_load(b) & LEVEL_RESERVE) != 0; }

/* What requests tell apart: memory for devices; or node and lifetime, or node and reserve. */
enum { LEVEL_KIND = LEVEL_HELD | LEVEL_NODE | LEVEL_RECLAIMABLE | LEVEL_MOVABLE };
static u32 kind_of(u32 level_word) { return level_word & LEVEL_KIND; }
static u32 kind_wanted(unsigned flags) {
    u32 life = (flags & BUDDY_RESERVE) != 0       ? LEVEL_RESERVE
               : (flags & BUDDY_MOVABLE) != 0     ? LEVEL_MOVABLE
               : (flags & BUDDY_RECLAIMABLE) != 0 ? LEVEL_RECLAIMABLE
                                                  : 0;
    return (flags & BUDDY_DMA) != 0 ? LEVEL_DMA : buddy_flags_node(flags) << LEVEL_NODE_SHIFT | life;
}

bool block_is_dma(const struct buddy_block *b) { return b->pages_nr == 1u << block_order() && is_dma(b); }

/* The sequence makes a store fail that was decided before another one. */
static bool level_swap(struct buddy_block *b, u32 *old, unsigned level) {
    u32 next = ((*old & ~(u32)LEVEL_MASK) | level) + LEVEL_STEP;
    return atomic_compare_exchange_weak_explicit(level_word(b), old, next, memory_order_relaxed, memory_order_relaxed);
}

static u64 free_load(struct buddy_block *b, unsigned w) {
    return atomic_load_explicit(&b->free[w], memory_order_relaxed);
}

/* A bit for each word that is wholly free. */
static u64 whole_words(struct buddy_block *b) {
    u64 whole = 0;
    for (unsigned w = 0; w < words_nr(); w++)
        whole |= (u64)(free_load(b, w) == word_full()) << w;
    return whole;
}

static unsigned level_now(struct buddy_block *b) {
    int largest = buddy_largest(whole_words(b));
    if (largest >= 0)
        return word_order() + (unsigned)largest + 1;
    for (unsigned w = 0; w < words_nr(); w++)
        largest = MAX(largest, buddy_largest(free_load(b, w)));
    return (unsigned)(largest + 1);
}

static void level_lower(struct buddy_block *b) {
    u32 word = level_load(b);
    for (;;) {
        /* order: seq_cst fence: the level that is about to be judged was loaded, or stored, before the bits are read.
         * pairs: [buddy.level] */
        atomic_thread_fence(memory_order_seq_cst);
        unsigned level = level_now(b);
        if (level == level_of(word))
            return;
        if (level_swap(b, &word, level))
            word = level_load(b);
    }
}

static void level_raise(struct buddy_block *b, unsigned level) {
    /* order: seq_cst fence: the bits were set before the level is loaded.                      pairs: [buddy.level] */
    atomic_thread_fence(memory_order_seq_cst);
    u32 word = level_load(b);
    while (level_of(word) < level && !level_swap(b, &word, level))
        continue;
}

/* KEPT is set and cleared by the one whose swap did it, who also counts. */
static void kept_set(struct buddy_block *b) {
    if ((atomic_fetch_or_explicit(level_word(b), LEVEL_KEPT, memory_order_relaxed) & LEVEL_KEPT) == 0)
        atomic_fetch_add_explicit(&buddy.kept_nr, 1, memory_order_relaxed);
}
static void kept_clear(struct buddy_block *b) {
    if ((atomic_fetch_and_explicit(level_word(b), ~(u32)LEVEL_KEPT, memory_order_relaxed) & LEVEL_KEPT) != 0)
        atomic_fetch_sub_explicit(&buddy.kept_nr, 1, memory_order_relaxed);
}

/* --- bits --- */

static bool bits_take(struct buddy_block *b, unsigned w, u64 *seen, u64 mask) {
    /* order: acquire                                                                            pairs: [buddy.free] */
    return atomic_compare_exchange_strong_explicit(&b->free[w], seen, *seen & ~mask, memory_order_acquire,
                                                   memory_order_relaxed);
}

/* Evaluates to the word with the bits in it. */
static u64 bits_give(struct buddy_block *b, unsigned w, u64 mask) {
    /* order: release                                                                            pairs: [buddy.free] */
    return atomic_fetch_or_explicit(&b->free[w], mask, memory_order_release) | mask;
}

/* nr whole words from the first on, all or none. */
static bool words_take(struct buddy_block *b, unsigned first, unsigned nr) {
    for (unsigned w = first; w < first + nr; w++) {
        u64 whole = word_full();
        if (bits_take(b, w, &whole, whole))
            continue;
        while (w-- > first)
            (void)bits_give(b, w, word_full());
        level_raise(b, level_now(b)); /* a search may have seen less meanwhile */
        return false;
    }
    return true;
}

/* First page of 2^order taken from the block, or -1. */
static int take_words(struct buddy_block *b, unsigned order) {
    unsigned words_order = order - word_order();
    for (;;) {
        struct buddy_fit fit = buddy_find(whole_words(b), words_order);
        if (fit.pos < 0)
            return -1;
        if (words_take(b, (unsigned)fit.pos, 1u << words_order))
            return fit.pos << word_order();
    }
}

/* Of all words that are not whole the one with the smallest free block that fits. */
static int word_best(struct buddy_block *b, unsigned order, u64 *ret_seen, struct buddy_fit *ret_fit) {
    int best = -1;
    for (unsigned w = 0; w < words_nr(); w++) {
        u64 seen = free_load(b, w);
        if (seen == 0 || seen == word_full())
            continue;
        struct buddy_fit fit = buddy_find(seen, order);
        if (fit.pos < 0 || (best >= 0 && fit.order >= ret_fit->order))
            continue;
        best = (int)w;
        *ret_seen = seen;
        *ret_fit = fit;
        if (fit.order == order)
            break;
    }
    return best;
}

static int take_in_word(struct buddy_block *b, unsigned order) {
    for (;;) {
        struct buddy_fit fit = {0, 0};
        u64 seen = word_full();
        int w = word_best(b, order, &seen, &fit);
        if (w < 0)
            w = buddy_find(whole_words(b), 0).pos;
        if (w < 0)
            return -1;
        if (bits_take(b, (unsigned)w, &seen, buddy_mask((unsigned)fit.pos, order)))
            return (w << word_order()) + fit.pos;
    }
}

static int take_pages(struct buddy_block *b, unsigned order) {
    int idx = order < word_order() ? take_in_word(b, order) : take_words(b, order);
    if (idx < 0)
        level_lower(b);
    else if ((level_load(b) & LEVEL_KEPT) != 0)
        kept_clear(b);
    return idx;
}

/* Level of the block around 2^order pages just given. */
static unsigned level_around(struct buddy_block *b, unsigned idx, unsigned order, u64 word) {
    if (order < word_order()) {
        order = buddy_merged(word, idx % BUDDY_WORD_BITS, order);
        if (order < word_order())
            return order + 1;
    }
    return word_order() + buddy_merged(whole_words(b), idx >> word_order(), order - word_order()) + 1;
}

/* --- which pages may hold memory --- */

static u64 part_mask(unsigned idx, unsigned order, unsigned w) {
    if (order >= BUDDY_WORD_ORDER)
        return ~(u64)0;
    return w == idx / BUDDY_WORD_BITS ? buddy_mask(idx % BUDDY_WORD_BITS, order) : 0;
}

static unsigned part_words(unsigned order) { return order > BUDDY_WORD_ORDER ? 1u << (order - BUDDY_WORD_ORDER) : 1; }

/* Pages about to be used: those without memory are counted now. False: limit_hard forbids. */
static bool pages_back(struct buddy_block *b, unsigned idx, unsigned order, bool *ret_zero) {
    unsigned first = idx / BUDDY_WORD_BITS, missing = 0, nr = 1u << order;
    for (unsigned w = first; w < first + part_words(order); w++)
        missing += bits_count(part_mask(idx, order, w) & ~atomic_load_explicit(&b->backed[w], memory_order_relaxed));
    *ret_zero = missing == nr;
    if (LIKELY(missing == 0))
        return true;
    if (!page_refill_inside_try(b->addr + ((size_t)idx << block_page_shift()), (size_t)missing << block_page_shift()))
        return false;
    for (unsigned w = first; w < first + part_words(order); w++)
        atomic_fetch_or_explicit(&b->backed[w], part_mask(idx, order, w) & word_full(), memory_order_relaxed);
    return true;
}

static size_t unbacked_bytes(struct buddy_block *b) {
    size_t pages = 0;
    for (unsigned w = 0; w < words_nr(); w++)
        pages += bits_count(word_full() & ~atomic_load_explicit(&b->backed[w], memory_order_relaxed));
    return pages << block_page_shift();
}

/* --- blocks come and go --- */

static struct buddy_block *block_at(u32 idx) {
    /* order: acquire: the block's records were made before it was published.                   pairs: [buddy.table] */
    meta_ref_t ref = atomic_load_explicit(&buddy.table[idx], memory_order_acquire);
    return ref == 0 ? NULL : rt_meta_at(ref);
}

/* Records for 2^order pages. */
static struct buddy_block *records_make(unsigned order) {
    size_t head = round_up(sizeof(struct buddy_block), CACHE_LINE);
    struct buddy_block *b = rt_meta_alloc(head + (sizeof(struct buddy_page) << order), CACHE_LINE);
    if (b == NULL)
        return NULL;
    b->pages = (struct buddy_page *)(void *)((char *)b + head);
    b->pages_nr = 1u << order;
    return b;
}

/* The records of the pages at addr lead there from now on, and the addresses to the records. */
static void describe(struct buddy_block *b, char *addr) {
    size_t bytes = (size_t)b->pages_nr << block_page_shift();
    b->addr = addr;
    for (u32 i = 0; i < b->pages_nr; i++)
        b->pages[i].addr = addr + ((size_t)i << block_page_shift());
    /* Atomic, because a thread may still read the descriptor that was here (slab/partial.c). */
    for (char *at = addr; at < addr + bytes; at += HPAGE_BYTES)
        __atomic_store_n(&chunk_desc(chunk_of(at), at)->words[0], (u64)b, __ATOMIC_RELAXED);
    page_map_set(addr, bytes / GRANULE_BYTES, PAGE_MAP_PAGES);
}

struct buddy_block *block_of(const void *p) {
    if (page_map_get(p) % PAGE_MAP_CLASSES != PAGE_MAP_PAGES)
        return NULL;
    const char *at = (const char *)round_down((uintptr_t)p, HPAGE_BYTES);
    u64 word = __atomic_load_n(&chunk_desc(chunk_of(p), at)->words[0], __ATOMIC_RELAXED);
    return (struct buddy_block *)word; // NOLINT(performance-no-int-to-ptr)
}

struct buddy_block *block_describe(char *addr, unsigned order) {
    if (chunk_cover(addr, (size_t)1 << order << block_page_shift()) != 0)
        return NULL;
    struct buddy_block *b = rt_stack_pop(&buddy.unused[order]);
    if (b == NULL && (b = records_make(order)) == NULL)
        return NULL;
    describe(b, addr);
    atomic_store_explicit(&b->left_nr, b->pages_nr, memory_order_relaxed);
    return b;
}

void block_forget(struct buddy_block *b, unsigned order) {
    page_map_set(b->addr, ((size_t)b->pages_nr << block_page_shift()) / GRANULE_BYTES, PAGE_MAP_NOT_OURS);
    rt_stack_push(&buddy.unused[order], b);
}

/* Records of a block never used, at the end of the table. */
static struct buddy_block *block_new(void) {
    u32 nr = atomic_load_explicit(&buddy.blocks_nr, memory_order_relaxed);
    struct buddy_block *b = nr == BLOCKS_MAX ? NULL : records_make(block_order());
    if (b == NULL)
        return NULL;
    do {
        if (nr == BLOCKS_MAX)
            return NULL;
    } while (!atomic_compare_exchange_weak_explicit(&buddy.blocks_nr, &nr, nr + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    b->index = nr;
    /* order: release: publishes the records.                                                   pairs: [buddy.table] */
    atomic_store_explicit(&buddy.table[nr], rt_meta_ref(b), memory_order_release);
    return b;
}

/* What came as a real hugepage, or was in use before, holds memory; anything else counts only when it is taken. */
static void backing_init(struct buddy_block *b, enum page_content content) {
    bool backed = content == PAGE_DIRTY || hpage_is_there(chunk_hpage(chunk_of(b->addr), b->addr));
    for (unsigned w = 0; w < words_nr(); w++)
        atomic_store_explicit(&b->backed[w], backed ? word_full() : 0, memory_order_relaxed);
    if (!backed)
        page_leave_inside(b->addr, HPAGE_BYTES);
}

/* The page tier takes what is used and not out for free objects inside slabs; blocks have none of those. */
static void out_add(s64 bytes) { atomic_fetch_add_explicit(&rt_usage_out_bytes, bytes, memory_order_relaxed); }

/* The block has no free page. */
static void kind_set(struct buddy_block *b, u32 kind) {
    atomic_fetch_and_explicit(level_word(b), ~(u32)LEVEL_KIND, memory_order_relaxed);
    atomic_fetch_or_explicit(level_word(b), kind, memory_order_relaxed);
}

static bool memory_make(struct buddy_block *b, unsigned flags) {
    enum page_content content = PAGE_DIRTY;
    char *addr = page_run_alloc(buddy_flags_node(flags), HPAGE_GRANULES, HPAGE_GRANULES, &content);
    if (addr == NULL)
        return false;
    kind_set(b, kind_wanted(flags));
    describe(b, addr);
    backing_init(b, content);
    out_add(HPAGE_BYTES);
    return true;
}

static bool memory_make_dma(struct buddy_block *b) {
    char *addr = dma_hugepage_make(&b->pin, &b->frame);
    if (addr == NULL)
        return false;
    describe(b, addr);
    for (unsigned w = 0; w < words_nr(); w++)
        atomic_store_explicit(&b->backed[w], word_full(), memory_order_relaxed);
    kind_set(b, LEVEL_DMA);
    return true;
}

/* A block that has an address, and all its pages in the caller's hands. NULL: memory is out. */
static struct buddy_block *block_begin(unsigned flags) {
    struct buddy_block *b = rt_stack_pop(&buddy.unused[block_order()]);
    if (b == NULL && (b = block_new()) == NULL)
        return NULL;
    if (!((flags & BUDDY_DMA) != 0 ? memory_make_dma(b) : memory_make(b, flags))) {
        rt_stack_push(&buddy.unused[block_order()], b);
        return NULL;
    }
    atomic_store_explicit(&buddy.now_ms, sys_clock_ms(), memory_order_relaxed);
    atomic_fetch_add_explicit(&buddy.live_nr, 1, memory_order_relaxed);
    return b;
}

/* A block whose first 2^order pages are the caller's. NULL: memory is out. */
static struct buddy_block *block_make(unsigned order, unsigned flags) {
    struct buddy_block *b = block_begin(flags);
    if (b == NULL)
        return NULL;
    for (unsigned w = 0; w < words_nr(); w++) {
        u64 taken = order >= word_order() ? (w < part_words(order) ? word_full() : 0)
                    : w == 0              ? buddy_mask(0, order)
                                          : 0;
        if (taken != word_full())
            (void)bits_give(b, w, word_full() & ~taken);
    }
    if (order < block_order())
        level_raise(b, block_order());
    return b;
}

/* [B4] The caller has all its pages. */
static void block_unmake(struct buddy_block *b) {
    kept_clear(b);
    atomic_fetch_sub_explicit(&buddy.live_nr, 1, memory_order_relaxed);
    if (is_dma(b)) {
        atomic_fetch_and_explicit(level_word(b), ~(u32)LEVEL_DMA, memory_order_relaxed);
        page_map_set(b->addr, HPAGE_GRANULES, PAGE_MAP_NOT_OURS);
        dma_hugepage_release(b->addr, b->pin);
    } else {
        page_forget_inside(b->addr, unbacked_bytes(b));
        out_add(-(s64)HPAGE_BYTES);
        page_run_free(b->addr, HPAGE_GRANULES);
    }
    rt_stack_push(&buddy.unused[block_order()], b);
}

/* Between the caller's look and the taking it may have been retired and made anew, for the reserve. */
static bool block_retire(struct buddy_block *b) {
    if (!words_take(b, 0, words_nr()))
        return false;
    if (is_reserve(b)) {
        for (unsigned w = 0; w < words_nr(); w++)
            (void)bits_give(b, w, word_full());
        level_raise(b, level_now(b));
        return false;
    }
    block_unmake(b);
    return true;
}

static bool keep_admits(void) {
    u32 live = atomic_load_explicit(&buddy.live_nr, memory_order_relaxed);
    return atomic_load_explicit(&buddy.kept_nr, memory_order_relaxed) < KEEP_MIN + live / KEEP_PART;
}

/* --- taking and giving --- */

/* Thread pointers are multiples of what stacks are: the upper bits of a product depend on all of theirs. */
static _Atomic(u32) *hint_mine(void) {
    return &buddy.hints[(sys_thread_self() * 0x9E3779B97F4A7C15u) >> (64 - HINTS_SHIFT)];
}

/* Of all blocks that promise 2^order pages one that promises least. */
static struct buddy_block *block_search(unsigned order, unsigned flags, u32 *ret_idx) {
    const u32 kind = kind_wanted(flags);
    unsigned least = UINT32_MAX;
    u32 nr = atomic_load_explicit(&buddy.blocks_nr, memory_order_relaxed);
    for (u32 i = 0; i < nr && least != order + 1; i++) {
        u32 word = atomic_load_explicit(&buddy.levels[i], memory_order_relaxed);
        unsigned level = level_of(word);
        if (level <= order || level >= least || kind_of(word) != kind)
            continue;
        least = level;
        *ret_idx = i;
    }
    return least == UINT32_MAX ? NULL : block_at(*ret_idx);
}

/* A block may have become one of the other kind after it was chosen; who has pages of it knows. */
static int take_of_kind(struct buddy_block *b, unsigned order, unsigned flags) {
    int idx = take_pages(b, order);
    if (idx < 0 || kind_of(level_load(b)) == kind_wanted(flags))
        return idx;
    block_give(b, (unsigned)idx, order);
    return -1;
}

/* A search that was promised too much has lowered the promise, so that the next one looks elsewhere. */
static struct buddy_block *block_with(unsigned order, unsigned flags, int *ret_idx) {
    _Atomic(u32) *hint = hint_mine();
    u32 at = atomic_load_explicit(hint, memory_order_relaxed);
    const bool hinted = (flags & (BUDDY_DMA | BUDDY_RESERVE)) == 0;
    struct buddy_block *b = at == 0 || !hinted ? NULL : block_at(at - 1);
    if (b != NULL && level_of(level_load(b)) > order && kind_of(level_load(b)) == kind_wanted(flags) &&
        (*ret_idx = take_of_kind(b, order, flags)) >= 0)
        return b;
    while ((b = block_search(order, flags, &at)) != NULL) {
        if ((*ret_idx = take_of_kind(b, order, flags)) < 0)
            continue;
        if (!hinted)
            return b;
        atomic_store_explicit(hint, at + 1, memory_order_relaxed);
        return b;
    }
    return NULL;
}

/* Of the one node. */
static struct buddy_block *block_get(unsigned order, unsigned flags, int *ret_idx) {
    struct buddy_block *b = block_with(order, flags, ret_idx);
    if (b != NULL || (flags & BUDDY_AT_HAND) != 0)
        return b;
    *ret_idx = 0;
    return block_make(order, flags);
}

/* Of the node, or the nearest. */
static struct buddy_block *block_near(unsigned order, unsigned flags, int *ret_idx) {
    unsigned node = buddy_flags_node(flags);
    bool near = (flags & (BUDDY_STRICT | BUDDY_DMA)) == 0;
    struct buddy_block *b = block_get(order, flags, ret_idx);
    for (unsigned nth = 1; b == NULL && near && nth < page_nodes_nr(); nth++)
        b = block_get(order, buddy_flags_on(flags, page_node_near(node, nth)), ret_idx);
    return b;
}

/* Rather a block of another lifetime's than none. */
static struct buddy_block *block_of_others(unsigned order, unsigned flags, int *ret_idx) {
    static const unsigned lives[] = {0, BUDDY_RECLAIMABLE, BUDDY_MOVABLE};
    struct buddy_block *b = NULL;
    if ((flags & BUDDY_DMA) != 0)
        return NULL;
    flags = (flags & ~(unsigned)(BUDDY_RECLAIMABLE | BUDDY_MOVABLE)) | BUDDY_AT_HAND;
    for (unsigned i = 0; b == NULL && i < ARRAY_NR(lives); i++)
        b = block_near(order, flags | lives[i], ret_idx);
    return b;
}

static struct buddy_block *block_of_common(unsigned order, unsigned flags, int *ret_idx) {
    struct buddy_block *b = block_near(order, flags, ret_idx);
    return b != NULL ? b : block_of_others(order, flags, ret_idx);
}

static struct buddy_block *block_of_reserve(unsigned order, unsigned flags, int *ret_idx) {
    if ((flags & (BUDDY_RESERVE | BUDDY_DMA)) != BUDDY_RESERVE || rt_opt.reserve == 0)
        return NULL;
    rt_chore_note(RT_CHORE_RESERVE);
    return block_near(order, flags | BUDDY_AT_HAND, ret_idx);
}

/* 2^order pages taken from b, which may be NULL, are the caller's if they may hold memory. */
static struct buddy_page *back_or_give(struct buddy_block *b, unsigned idx, unsigned order, bool *ret_zero) {
    if (b == NULL)
        return NULL;
    if (LIKELY(pages_back(b, idx, order, ret_zero)))
        return &b->pages[idx];
    block_give(b, idx, order);
    return NULL;
}

struct buddy_page *block_take(unsigned order, unsigned flags, bool *ret_zero) {
    int idx = 0;
    struct buddy_block *b = block_of_common(order, flags & ~(unsigned)BUDDY_RESERVE, &idx);
    struct buddy_page *page = back_or_give(b, (unsigned)idx, order, ret_zero);
    if (LIKELY(page != NULL) || (b = block_of_reserve(order, flags, &idx)) == NULL)
        return page;
    return back_or_give(b, (unsigned)idx, order, ret_zero);
}

void block_give(struct buddy_block *b, unsigned idx, unsigned order) {
    u64 word = 0;
    bool held = is_held(b);
    atomic_store_explicit(&b->freed_ms, atomic_load_explicit(&buddy.now_ms, memory_order_relaxed),
                          memory_order_relaxed);
    if (order < word_order())
        word = bits_give(b, idx / BUDDY_WORD_BITS, buddy_mask(idx % BUDDY_WORD_BITS, order));
    else
        for (unsigned w = 0; w < 1u << (order - word_order()); w++)
            (void)bits_give(b, (idx >> word_order()) + w, word_full());
    unsigned level = level_around(b, idx, order, word);
    level_raise(b, level);
    /* Pinning is dear: what was pinned waits for the tick. */
    if (level <= block_order() || (level_load(b) & LEVEL_KEPT) != 0 || held)
        return;
    if (keep_admits())
        kept_set(b);
    else if (rt_may_block())
        (void)block_retire(b);
    else
        rt_chore_note(RT_CHORE_PAGES);
}

void buddy_retire_due(void) {
    u32 nr = atomic_load_explicit(&buddy.blocks_nr, memory_order_relaxed);
    for (u32 i = 0; i < nr; i++) {
        u32 word = atomic_load_explicit(&buddy.levels[i], memory_order_relaxed);
        struct buddy_block *b =
            level_of(word) <= block_order() || (word & (LEVEL_KEPT | LEVEL_HELD)) != 0 ? NULL : block_at(i);
        if (b != NULL)
            (void)block_retire(b);
    }
}

/* --- giving memory back --- */

/* Free pages of a word that hold memory are taken, purged, and given again: a purger is one more owner. Runs of them
 * are one range each. */
static void word_purge(struct buddy_block *b, unsigned w) {
    u64 seen = free_load(b, w), mask;
    do {
        mask = seen & atomic_load_explicit(&b->backed[w], memory_order_relaxed);
        if (mask == 0)
            return;
    } while (!bits_take(b, w, &seen, mask));
    /* Between two words the block may have been retired and made anew for devices or the reserve; now it stays what it
     * is. */
    if (is_held(b)) {
        (void)bits_give(b, w, mask);
        return;
    }
    struct sys_range ranges[BUDDY_WORD_BITS];
    u64 parts[BUDDY_WORD_BITS], gone = 0;
    unsigned nr = 0;
    for (u64 rest = mask; rest != 0; rest &= ~parts[nr++]) {
        unsigned pos = bits_lowest(rest);
        u64 beyond = ~(rest >> pos);
        unsigned len = beyond == 0 ? BUDDY_WORD_BITS : bits_lowest(beyond);
        parts[nr] = bits_mask(len) << pos;
        ranges[nr] = (struct sys_range){b->addr + ((size_t)(w * BUDDY_WORD_BITS + pos) << block_page_shift()),
                                        (size_t)len << block_page_shift()};
    }
    for (u64 given = page_purge_inside(ranges, nr); given != 0; given &= given - 1)
        gone |= parts[bits_lowest(given)];
    atomic_fetch_and_explicit(&b->backed[w], ~gone, memory_order_relaxed);
    (void)bits_give(b, w, mask);
}

static void block_purge(struct buddy_block *b) {
    if (is_dma(b)) /* a purge of what is pinned would give nothing back */
        return;
    for (unsigned w = 0; w < words_nr(); w++)
        word_purge(b, w);
    level_raise(b, level_now(b));
}

void buddy_tick(u64 now_ms, enum buddy_effort effort) {
    u32 nr = atomic_load_explicit(&buddy.blocks_nr, memory_order_relaxed);
    if (effort == BUDDY_OLD)
        atomic_store_explicit(&buddy.now_ms, now_ms, memory_order_relaxed);
    for (u32 i = 0; i < nr; i++) {
        struct buddy_block *b = block_at(i);
        if (b == NULL || level_of(level_load(b)) == 0 || is_reserve(b))
            continue;
        if (effort == BUDDY_OLD &&
            atomic_load_explicit(&b->freed_ms, memory_order_relaxed) + rt_opt.purge_delay > now_ms)
            continue;
        if (level_now(b) != block_order() + 1 || !block_retire(b))
            block_purge(b);
    }
}

/* --- the reserve --- */

static unsigned held_nr(struct buddy_block *b, bool free_alone) {
    unsigned nr = 0;
    for (unsigned w = 0; w < words_nr(); w++)
        nr += bits_count(atomic_load_explicit(&b->backed[w], memory_order_relaxed) &
                         (free_alone ? free_load(b, w) : word_full()));
    return nr;
}

/* Of a hugepage that was in use before: what is beyond 2^order pages goes back, or is the reserve's, too. */
static void reserve_trim(struct buddy_block *b, unsigned order) {
    size_t bytes = (size_t)1 << order << block_page_shift();
    struct sys_range beyond = {b->addr + bytes, HPAGE_BYTES - bytes};
    if (order == block_order() || held_nr(b, false) == 1u << order || page_purge_inside(&beyond, 1) == 0)
        return;
    for (unsigned w = 0; w < words_nr(); w++)
        atomic_store_explicit(&b->backed[w], w < part_words(order) ? part_mask(0, order, w) & word_full() : 0,
                              memory_order_relaxed);
}

/* [B5] 2^order pages of a new block, in memory. False: memory is out. */
static bool reserve_make(unsigned node, unsigned order) {
    bool zero;
    struct buddy_block *b = block_begin(buddy_flags_on(0, node));
    if (b == NULL)
        return false;
    if (!pages_back(b, 0, order, &zero)) {
        block_unmake(b);
        return false;
    }
    page_touch(b->addr, (size_t)1 << order << block_page_shift());
    reserve_trim(b, order);
    kind_set(b, kind_wanted(buddy_flags_on(BUDDY_RESERVE, node)));
    for (unsigned w = 0; w < words_nr(); w++)
        (void)bits_give(b, w, atomic_load_explicit(&b->backed[w], memory_order_relaxed));
    level_raise(b, level_now(b));
    return true;
}

/* What is left of it is as any other block's from now on, and so are the pages nobody was given. */
static void reserve_release(struct buddy_block *b) {
    u64 rest[BLOCK_WORDS_MAX] = {0};
    for (unsigned w = 0; w < words_nr(); w++)
        rest[w] = word_full() & ~atomic_load_explicit(&b->backed[w], memory_order_relaxed);
    atomic_fetch_and_explicit(level_word(b), ~(u32)LEVEL_RESERVE, memory_order_relaxed);
    for (unsigned w = 0; w < words_nr(); w++)
        (void)bits_give(b, w, rest[w]);
    level_raise(b, level_now(b));
}

/* The node's next block from index *at on; NULL: there is none. */
static struct buddy_block *reserve_next(unsigned node, u32 *at) {
    const u32 kind = kind_wanted(buddy_flags_on(BUDDY_RESERVE, node));
    u32 nr = atomic_load_explicit(&buddy.blocks_nr, memory_order_relaxed);
    while (*at < nr) {
        u32 i = (*at)++;
        if (kind_of(atomic_load_explicit(&buddy.levels[i], memory_order_relaxed)) == kind)
            return block_at(i);
    }
    return NULL;
}

/* What a block has lent may come back, or never: with half of it or less it is replaced. */
static bool is_low(struct buddy_block *b) { return held_nr(b, true) <= held_nr(b, false) / 2; }

static unsigned reserve_order(u64 bytes) {
    return MIN((unsigned)bits_log2_up(round_up(bytes, sys_page_bytes()) >> block_page_shift()), block_order());
}

/* What little is left goes only when there is a new one, which may be needed to make room. */
static void node_fill(unsigned node) {
    struct buddy_block *low[RESERVE_LOW_MAX], *b;
    unsigned low_nr = 0;
    u64 have = 0;
    for (u32 at = 0; (b = reserve_next(node, &at)) != NULL;) {
        if (is_low(b) && low_nr < RESERVE_LOW_MAX)
            low[low_nr++] = b;
        else
            have += (u64)held_nr(b, false) << block_page_shift();
    }
    for (; have < rt_opt.reserve; have += (u64)1 << reserve_order(rt_opt.reserve - have) << block_page_shift()) {
        if (!reserve_make(node, reserve_order(rt_opt.reserve - have)))
            return;
    }
    while (low_nr > 0)
        reserve_release(low[--low_nr]);
}

void buddy_reserve_fill(void) {
    if (!page_reserve_begin())
        return;
    for (unsigned node = 0; node < page_nodes_nr(); node++)
        node_fill(node);
    page_reserve_end();
}

/* --- accounts --- */

static void block_count(struct buddy_block *b, struct buddy_stats *s) {
    u64 free[BLOCK_WORDS_MAX], backed[BLOCK_WORDS_MAX];
    for (unsigned w = 0; w < words_nr(); w++) {
        free[w] = free_load(b, w);
        backed[w] = atomic_load_explicit(&b->backed[w], memory_order_relaxed);
    }
    if (is_reserve(b))
        buddy_count_reserve(s, free, backed, block_order(), block_page_shift());
    else
        buddy_count_add(s, free, backed, block_order(), block_page_shift());
}

void buddy_stats_get(struct buddy_stats *ret_stats) {
    u32 nr = atomic_load_explicit(&buddy.blocks_nr, memory_order_relaxed);
    *ret_stats = (struct buddy_stats){.blocks = atomic_load_explicit(&buddy.live_nr, memory_order_relaxed)};
    for (u32 i = 0; i < nr; i++) {
        struct buddy_block *b = block_at(i);
        if (b == NULL || block_of(b->addr) != b || is_dma(b)) /* unused, or big/ counts it */
            continue;
        block_count(b, ret_stats);
    }
}

const struct buddy_view buddy_view = {buddy.table, buddy.levels, &buddy.blocks_nr};
