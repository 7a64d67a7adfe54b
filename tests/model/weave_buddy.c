/* SPDX-License-Identifier: MIT */
/*
 * The blocks of pages of src/buddy/block.c, explored (weave.h): threads take and give pages of all orders while blocks
 * are made, kept, purged and given back. Each page is in one hand and its owners see what the one before did; at the
 * end nothing that is free goes unpromised by its block's level ([B3]), and when all is given back no block is left,
 * nor a byte in the accounts. Pages are large, so that a block has two of them, or two words of bits.
 */
#include "buddy/block.h"

#include "rt/context.h"
#include "rt/options.h"
#include "rt/pool.h"
#include "rt/usage.h"
#include "weave_heap.h"
#include "weave_machine.h"

enum { RUNS_NR = 3, RUN_PAGES_MAX = 128, HELD_MAX = 4 };
enum page_size { PAGES_2 = 1 << 20, PAGES_128 = 1 << 14 };

static size_t page_bytes;
static u8 start_context;
static u64 owners[RUNS_NR][RUN_PAGES_MAX]; /* thread + 1; 0: nobody's */
static struct hand {
    struct {
        struct buddy_page *page;
        u64 order;
    } held[HELD_MAX];
    u64 nr;
} hands[WEAVE_THREADS_MAX];
/* 0..7 take pages of that order, g give the last, n take a page if there is one at hand, p purge, r give back the
 * blocks that are due. */
static const char *scripts[WEAVE_THREADS_MAX];

/* --- what block.c calls --- */

__thread _Atomic(u8) rt_context_word;
_Atomic(u32) rt_chores;
_Atomic(s64) rt_usage_out_bytes;
static _Atomic(s64) inside_bytes; /* of pages without memory */
static _Atomic(u64) runs;         /* a bit for each that is in use: the page tier */
/* The second: place 0 is none. Nothing here reads what is written there. */
WEAVE_STATE static struct chunk chunk[2];
static _Atomic(meta_ref_t) chunks[1];
static u32 map[1] = {PAGE_MAP_PAGES * PAGE_SLOT_BYTES};

size_t sys_page_bytes(void) { return page_bytes; }
u64 sys_clock_ms(void) { return 0; }
unsigned page_node_near(unsigned node, unsigned nth) {
    (void)nth;
    return node;
}
bool page_is_busy_here(void) { return false; }
bool page_reserve_begin(void) { return true; }
void page_reserve_end(void) {}
void page_map_set(const void *addr, size_t granules_nr, unsigned value) { (void)addr, (void)granules_nr, (void)value; }
int chunk_cover(const void *addr, size_t bytes) {
    (void)addr, (void)bytes;
    return 0;
}
void page_touch(char *p, size_t bytes) { (void)p, (void)bytes; }
char *dma_hugepage_make(int *ret_pin, u64 *ret_frame) {
    (void)ret_pin, (void)ret_frame;
    return NULL;
}
void dma_hugepage_release(char *addr, int pin) { (void)addr, (void)pin; }

static char *run_at(unsigned i) { return (char *)((i + 1) * HPAGE_BYTES); } // NOLINT(performance-no-int-to-ptr)
static unsigned run_of(const char *addr) { return (unsigned)((uintptr_t)addr / HPAGE_BYTES) - 1; }

void *page_run_alloc(unsigned node, unsigned granules_nr, unsigned align_nr, enum page_content *ret_content) {
    weave_must(node == 0 && granules_nr == align_nr);
    u64 seen = atomic_load_explicit(&runs, memory_order_relaxed);
    unsigned i;
    do {
        for (i = 0; i < RUNS_NR && (seen >> i & 1) != 0; i++)
            continue;
        if (i == RUNS_NR)
            return NULL;
    } while (!atomic_compare_exchange_strong_explicit(&runs, &seen, seen | (u64)1 << i, memory_order_acquire,
                                                      memory_order_relaxed));
    *ret_content = PAGE_ZERO;
    return run_at(i);
}
/* Nobody has a page of it. */
void page_run_free(void *run, unsigned granules_nr) {
    unsigned i = run_of(run);
    weave_must(granules_nr == HPAGE_GRANULES);
    for (unsigned p = 0; p < HPAGE_BYTES / page_bytes; p++)
        weave_must(owners[i][p] == 0);
    weave_must((atomic_fetch_and_explicit(&runs, ~((u64)1 << i), memory_order_release) >> i & 1) != 0);
}

static void inside_add(s64 bytes) { atomic_fetch_add_explicit(&inside_bytes, bytes, memory_order_relaxed); }
bool page_refill_inside_try(void *addr, size_t bytes) {
    (void)addr;
    inside_add(-(s64)bytes);
    return true;
}
void page_leave_inside(void *addr, size_t bytes) {
    (void)addr;
    inside_add((s64)bytes);
}
void page_forget_inside(void *addr, size_t bytes) {
    (void)addr;
    inside_add(-(s64)bytes);
}
/* Pages that are nobody's, and stay so meanwhile. */
u64 page_purge_inside(const struct sys_range *ranges, unsigned nr) {
    for (const struct sys_range *r = ranges; r < ranges + nr; r++) {
        for (size_t at = 0; at < r->bytes; at += page_bytes) {
            const char *p = (const char *)r->addr + at;
            weave_must(owners[run_of(p)][(uintptr_t)p % HPAGE_BYTES / page_bytes] == 0);
        }
        inside_add((s64)r->bytes);
    }
    return bits_mask(nr);
}

/* The unused blocks, a bit for each in the head: rt/pool.c has weave_stack.c. */
void rt_stack_push(struct rt_stack *stack, void *block) {
    const struct buddy_block *b = block;
    atomic_fetch_or_explicit(&stack->head, (u64)1 << b->index, memory_order_release);
}
void *rt_stack_pop(struct rt_stack *stack) {
    u64 seen = atomic_load_explicit(&stack->head, memory_order_relaxed);
    while (seen != 0 && !atomic_compare_exchange_strong_explicit(&stack->head, &seen, seen & (seen - 1),
                                                                 memory_order_acquire, memory_order_relaxed))
        continue;
    return seen == 0 ? NULL
                     : rt_meta_at(atomic_load_explicit(&buddy_view.table[bits_lowest(seen)], memory_order_relaxed));
}

/* --- threads --- */

static void owners_set(const struct buddy_page *page, u64 order, u64 from, u64 to) {
    u64 *owner = &owners[run_of(page->addr)][(uintptr_t)page->addr % HPAGE_BYTES / page_bytes];
    for (u64 i = 0; i < (u64)1 << order; i++) {
        weave_must(owner[i] == from);
        owner[i] = to;
    }
}

static bool take(struct hand *h, unsigned self, unsigned order, unsigned flags) {
    bool zero;
    struct buddy_page *page = block_take(order, flags, &zero);
    if (page == NULL)
        return false;
    owners_set(page, order, 0, self + 1);
    weave_must(h->nr < HELD_MAX);
    h->held[h->nr].page = page;
    h->held[h->nr++].order = order;
    return true;
}

static unsigned page_idx(const struct buddy_page *page) {
    return (unsigned)((uintptr_t)page->addr % HPAGE_BYTES / page_bytes);
}

/* As records_make() lays them out. */
static struct buddy_block *page_block(struct buddy_page *page) {
    char *first = (char *)(page - page_idx(page));
    return (void *)(first - round_up(sizeof(struct buddy_block), CACHE_LINE));
}

static bool holds_memory(struct buddy_page *page) {
    unsigned idx = page_idx(page);
    u64 backed = atomic_load_explicit(&page_block(page)->backed[idx / BUDDY_WORD_BITS], memory_order_relaxed);
    return (backed >> idx % BUDDY_WORD_BITS & 1) != 0;
}

static void give(struct hand *h, unsigned self) {
    if (h->nr == 0)
        return;
    struct buddy_page *page = h->held[--h->nr].page;
    u64 order = h->held[h->nr].order;
    owners_set(page, order, self + 1, 0);
    block_give(page_block(page), page_idx(page), (unsigned)order);
}

static void script_run(unsigned self, const char *script) {
    struct hand *h = &hands[self];
    for (const char *at = script; *at != 0; at++) {
        switch (*at) {
        case 'g': give(h, self); break;
        case 'n': (void)take(h, self, 0, BUDDY_AT_HAND); break;
        case 'p': buddy_tick(0, BUDDY_EVERYTHING); break;
        case 'r': buddy_retire_due(); break;
        default: weave_must(take(h, self, (unsigned)(*at - '0'), 0));
        }
    }
}
static void thread(unsigned self) { script_run(self, scripts[self]); }

/* --- ends --- */

static bool is_free(struct buddy_block *b, unsigned first, unsigned nr) {
    unsigned i = first;
    while (i < first + nr &&
           (atomic_load_explicit(&b->free[i / BUDDY_WORD_BITS], memory_order_relaxed) >> i % BUDDY_WORD_BITS & 1) != 0)
        i++;
    return i == first + nr;
}

/* [B3] Order of the largest free block, plus 1; 0: none. */
static unsigned level_there(struct buddy_block *b) {
    for (unsigned order = block_order() + 1; order-- > 0;) {
        for (unsigned at = 0; at < 1u << block_order(); at += 1u << order) {
            if (is_free(b, at, 1u << order))
                return order + 1;
        }
    }
    return 0;
}

static unsigned runs_nr(void) { return bits_count(atomic_load_explicit(&runs, memory_order_relaxed)); }

static void expect_none_left(void) {
    struct buddy_stats stats;
    buddy_tick(0, BUDDY_EVERYTHING);
    buddy_stats_get(&stats);
    weave_must(stats.blocks == 0 && runs_nr() == 0);
}

/* Of two whole blocks one is kept, so the count of those that are is right. */
static void keep_check(void) {
    atomic_store_explicit(&rt_context_word, RT_MAY_BLOCK, memory_order_relaxed);
    weave_must(take(&hands[0], 0, block_order(), 0) && take(&hands[0], 0, block_order(), 0));
    give(&hands[0], 0);
    give(&hands[0], 0);
    weave_must(runs_nr() == 1);
}

static void finish(void) {
    for (u32 i = 0; i < atomic_load_explicit(buddy_view.blocks_nr, memory_order_relaxed); i++) {
        meta_ref_t ref = atomic_load_explicit(&buddy_view.table[i], memory_order_relaxed);
        u32 level = atomic_load_explicit(&buddy_view.levels[i], memory_order_relaxed);
        weave_must(ref == 0 || (level & LEVEL_MASK) >= level_there(rt_meta_at(ref)));
    }
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        for (; hands[t].nr > 0; give(&hands[t], t))
            weave_must(holds_memory(hands[t].held[hands[t].nr - 1].page));
    }
    expect_none_left();
    keep_check();
    expect_none_left();
    weave_must(atomic_load_explicit(&rt_usage_out_bytes, memory_order_relaxed) == 0);
    weave_must(atomic_load_explicit(&inside_bytes, memory_order_relaxed) == 0);
    atomic_store_explicit(&rt_context_word, start_context, memory_order_relaxed);
}

/* before: what each thread has done when they begin. */
static void setup(enum page_size bytes, enum rt_context context, const char *const before[WEAVE_THREADS_MAX],
                  const char *const texts[WEAVE_THREADS_MAX]) {
    weave_heap_start(0);
    rt_meta.base = MIN(rt_meta.base, (char *)chunk);
    atomic_store_explicit(&chunks[0], rt_meta_ref(&chunk[1]), memory_order_relaxed);
    rt_meta.chunks = chunks;
    rt_meta.map_end = map + 1;
    rt_meta.map_ones = -(u64)1;
    page_bytes = bytes;
    weave_count(&rt_chores);
    weave_count(&rt_usage_out_bytes);
    weave_count(&inside_bytes);
    atomic_store_explicit(&rt_context_word, RT_MAY_BLOCK, memory_order_relaxed);
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        scripts[t] = texts[t];
        script_run(t, before[t]);
    }
    start_context = (u8)context;
    atomic_store_explicit(&rt_context_word, start_context, memory_order_relaxed);
}

#define SETUP(name, bytes, context, ...)                                                                               \
    static void setup_##name(void) {                                                                                   \
        static const char *const texts[2][WEAVE_THREADS_MAX] = {__VA_ARGS__};                                          \
        setup(bytes, context, texts[0], texts[1]);                                                                     \
    }
SETUP(last, PAGES_2, RT_MAY_BLOCK, {"1g", "", ""}, {"n", "n", ""})
SETUP(level, PAGES_2, RT_MAY_BLOCK, {"", "00", ""}, {"n", "g", ""})
SETUP(level_two, PAGES_2, RT_MAY_BLOCK, {"0", "0", ""}, {"n", "g", ""})
SETUP(look_two, PAGES_2, RT_MAY_BLOCK, {"", "00", ""}, {"n", "ng", ""})
SETUP(keep, PAGES_2, RT_MAY_BLOCK, {"1", "1", ""}, {"g", "g", ""})
SETUP(keep_one, PAGES_2, RT_MAY_BLOCK, {"0", "", ""}, {"g", "ng", ""})
SETUP(retire, PAGES_2, RT_MAY_BLOCK, {"1", "1g", ""}, {"g", "n", ""})
SETUP(give_both, PAGES_2, RT_MAY_BLOCK, {"0", "01g", ""}, {"g", "g", ""})
SETUP(make, PAGES_2, RT_MAY_BLOCK, {"", "", ""}, {"0", "0", ""})
SETUP(purge, PAGES_2, RT_MAY_BLOCK, {"0", "", ""}, {"p", "0", ""})
SETUP(again, PAGES_2, RT_MAY_BLOCK, {"1g", "", ""}, {"p", "1", ""})
SETUP(due, PAGES_2, RT_ATOMIC, {"1", "1g", ""}, {"gr", "n", ""})
SETUP(words, PAGES_128, RT_MAY_BLOCK, {"7g", "", ""}, {"7", "6", ""})
SETUP(words_few, PAGES_128, RT_MAY_BLOCK, {"6", "0", ""}, {"6g", "g", ""})

static const struct weave_model models[] = {
    {"two take the last", 2, setup_last, thread, finish, WEAVE_BOTH},
    {"one looks while one gives", 2, setup_level, thread, finish, WEAVE_BOTH},
    {"one looks while one gives of two", 2, setup_level_two, thread, finish, WEAVE_BOTH},
    {"two look, and one gives", 2, setup_look_two, thread, finish, WEAVE_BOTH},
    {"two blocks are kept", 2, setup_keep, thread, finish, WEAVE_BOTH},
    {"two keep a block", 2, setup_keep_one, thread, finish, WEAVE_BOTH},
    {"a block goes while one takes", 2, setup_retire, thread, finish, WEAVE_BOTH},
    {"two give all of a block", 2, setup_give_both, thread, finish, WEAVE_BOTH},
    {"two make a block", 2, setup_make, thread, finish, WEAVE_BOTH},
    {"one purges, one takes", 2, setup_purge, thread, finish, WEAVE_BOTH},
    {"a block goes, and comes again", 2, setup_again, thread, finish, WEAVE_BOTH},
    {"a block goes that was due", 2, setup_due, thread, finish, WEAVE_BOTH},
    {"one takes all words, one takes one", 2, setup_words, thread, finish, WEAVE_BOTH},
    {"one takes a word, one gives of it", 2, setup_words_few, thread, finish, WEAVE_BOTH},
};

static const struct weave_excuse excuses[] = {
    {"rt_chore_note", "&rt_chores", WEAVE_ANY, "a hint, for whoever may block next"},
    {"block_with", "hint", WEAVE_ANY, "a hint: where to look first"},
    {"block_give", "&b->freed_ms", WEAVE_ANY, "a hint: whether a block is quiet"},
    {"block_begin", "&buddy.now_ms", WEAVE_ANY, "a hint: whether a block is quiet"},
    {"page_nodes_nr", "&page_nodes_opened", WEAVE_NO_ACQUIRE, "there is one node here"},
    {"chunk_of", "&rt_meta.chunks", WEAVE_NO_ACQUIRE, "the chunk is there before all threads"},
    {"block_new", "store &buddy.table[nr]", WEAVE_LATE, "who comes meanwhile finds one block less"},
    {"kind_set", "level_word(b)", WEAVE_ANY, "all blocks are of one kind here"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"take_pages", "if (idx < 0", WEAVE_NEVER},         {"level_lower", "if (level == level_of", WEAVE_ALWAYS},
    {"words_take", "if (bits_take", WEAVE_ALWAYS},      {"words_take", "while (w-- > first", WEAVE_NEVER},
    {"take_in_word", "if (bits_take", WEAVE_ALWAYS},    {"pages_back", "if (LIKELY(missing == 0", WEAVE_ALWAYS},
    {"kept_set", "if ((atomic_fetch_or", WEAVE_ALWAYS}, {"kept_clear", "if ((atomic_fetch_and", WEAVE_ALWAYS},
    {"block_retire", "if (!words_take", WEAVE_NEVER},   {"block_give", "if (keep_admits", WEAVE_ALWAYS},
};

WEAVE_MAIN("blocks of pages")
