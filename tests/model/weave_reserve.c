/* SPDX-License-Identifier: MIT */
/*
 * The reserve of src/page/reserve.c, explored (weave.h): one thread fills while others take. Who takes granules writes
 * to their records; at the end each granule of each run is taken, given back to the tier or still in the reserve, once,
 * and what was said of its content is true. The tag is cut to three bits.
 */
#include "page/page.h"
#include "rt/context.h"
#include "rt/options.h"
#include "weave.h"
#include "weave_heap.h"

#include <sys/mman.h>

enum { RUNS_NR = 3, PARTS_NR = 2, PART_GRANULES = 16, RUN_GRANULES = PARTS_NR * PART_GRANULES, TAG_BITS = 3 };
#define TAG_MASK ((((u64)1 << TAG_BITS) - 1) << 32)

/* Of each half of each run. */
static struct part { u64 owner, taken, given; } parts[RUNS_NR][PARTS_NR];
static char *runs; /* not modelled: nobody writes to them but whoever brings them in */
static _Atomic(unsigned) runs_nr;
static const char *scripts[WEAVE_THREADS_MAX]; /* t take half a run, f fill */

/* --- what reserve.c calls --- */

size_t sys_page_bytes(void) { return RUN_GRANULES * GRANULE_BYTES; }
bool rt_meta_headroom(unsigned node, size_t bytes) {
    (void)node, (void)bytes;
    return true;
}
_Atomic(u32) rt_chores; /* a flag that more wants done: nothing here asks */
bool page_is_busy_here(void) { return false; }

/* Every other run reads as zeros. */
void *page_run_alloc(unsigned node, unsigned granules_nr, unsigned align_nr, enum page_content *ret_content) {
    (void)node, (void)align_nr;
    unsigned i = atomic_fetch_add_explicit(&runs_nr, 1, memory_order_relaxed);
    weave_must(granules_nr == RUN_GRANULES);
    if (i >= RUNS_NR)
        return NULL;
    for (unsigned part = 0; part < PARTS_NR; part++)
        parts[i][part].owner = weave_self();
    *ret_content = i % 2 == 0 ? PAGE_ZERO : PAGE_DIRTY;
    return runs + (size_t)i * RUN_GRANULES * GRANULE_BYTES;
}

static struct part *part_of(const char *at) {
    weave_must(at >= runs && at < runs + (size_t)RUNS_NR * RUN_GRANULES * GRANULE_BYTES);
    return &parts[0][0] + (size_t)(at - runs) / (PART_GRANULES * GRANULE_BYTES);
}

void page_run_free(void *run, unsigned granules_nr) {
    for (unsigned at = 0; at < granules_nr; at += PART_GRANULES) {
        struct part *p = part_of((char *)run + at * GRANULE_BYTES);
        p->owner = weave_self();
        p->given++;
    }
}

/* --- threads --- */

static void take(void) {
    enum page_content content;
    char *run = page_reserve_take(0, PART_GRANULES, PART_GRANULES, &content);
    if (run == NULL)
        return;
    struct part *p = part_of(run);
    p->owner = weave_self();
    p->taken++;
    weave_must((content == PAGE_ZERO) == ((size_t)(p - &parts[0][0]) / PARTS_NR % 2 == 0));
}

static void thread(unsigned self) {
    for (const char *at = scripts[self]; *at != 0; at++) {
        if (*at == 't')
            take();
        else
            page_reserve_fill();
        weave_forget((u64)(at - scripts[self]));
    }
}

static void finish(void) {
    const struct page_reserve_view *view = &page_reserve_view;
    unsigned all = atomic_load_explicit(&runs_nr, memory_order_relaxed);
    weave_must(view->blocks_at != NULL);
    for (unsigned i = 0; i < PARTS_NR * 2; i++)
        take();
    weave_must(page_reserve_bytes_racy() == 0);
    for (unsigned i = 0; i < MIN(all, (unsigned)RUNS_NR); i++) {
        for (unsigned part = 0; part < PARTS_NR; part++)
            weave_must(parts[i][part].taken + parts[i][part].given == 1);
    }
    /* Nobody fills any more: another one may. */
    atomic_store_explicit(&runs_nr, 0, memory_order_relaxed);
    page_reserve_fill();
    weave_must(page_reserve_bytes_racy() == RUN_GRANULES * GRANULE_BYTES);
}

static void setup(const char *first, const char *second, const char *third, bool filled) {
    scripts[0] = first;
    scripts[1] = second;
    scripts[2] = third;
    weave_heap_start(1);
    rt_opt.reserve = RUN_GRANULES * GRANULE_BYTES;
    runs = mmap(NULL, (size_t)RUNS_NR * RUN_GRANULES * GRANULE_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    weave_must(runs != MAP_FAILED);
    weave_count(&runs_nr);
    weave_count(&rt_chores);
    if (!filled)
        return;
    page_reserve_fill();
    const void *const *blocks = page_reserve_view.blocks_at;
    weave_narrow(*blocks, UINT32_MAX | TAG_MASK, TAG_MASK);
}
static void setup_first(void) { setup("f", "t", "", false); }
static void setup_refill(void) { setup("tf", "t", "", true); }
static void setup_aba(void) { setup("ttf", "t", "", true); }
static void setup_fills(void) { setup("tf", "f", "", true); }
static void setup_fill_again(void) { setup("tf", "tf", "", true); }
static void setup_three(void) { setup("tf", "t", "t", true); }

static const struct weave_model models[] = {
    {"a take while there is none yet", 2, setup_first, thread, finish, WEAVE_BOTH},
    {"a take during a refill", 2, setup_refill, thread, finish, WEAVE_BOTH},
    {"a take during two takes and a refill", 2, setup_aba, thread, finish, WEAVE_BOTH},
    {"two fill", 2, setup_fills, thread, finish, WEAVE_BOTH},
    {"two take and fill", 2, setup_fill_again, thread, finish, WEAVE_BOTH},
    {"two take during a refill", 3, setup_three, thread, finish, WEAVE_SC},
};

#define NO_FUTURE "it keeps the reading of base before it, and the machine has no loads from later stores"
#define COVERED "what fillers share is ordered by the words, and by the blocks' own address"
static const struct weave_excuse excuses[] = {
    {"rt_chore_note", "&rt_chores", WEAVE_ANY, "a hint, for whoever may block next"},
    {"page_reserve_begin", "swap &filling", WEAVE_NO_ACQUIRE, COVERED},
    {"page_reserve_end", "store &filling", WEAVE_NO_RELEASE, COVERED},
    {"page_reserve_end", "store &filling", WEAVE_LATE, "who comes meanwhile leaves it to the next"},
    {"page_nodes_nr", "&page_nodes_opened", WEAVE_NO_ACQUIRE, "there is one node here"},
    {"blocks_make", "store &blocks[node]", WEAVE_LATE, "who comes meanwhile finds no reserve"},
    {"block_fill", "store &b->base", WEAVE_LATE, "before the bits all the same"},
    {"block_fill", "swap &b->word", WEAVE_NO_ACQUIRE, NO_FUTURE},
    {"block_take", "swap &b->word", WEAVE_NO_RELEASE, NO_FUTURE},
    {"block_take", "swap &b->word", WEAVE_NO_ACQUIRE,
     "by [V1] it swaps the very word that was read before, by acquire"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"mask_find", "if ((bits & (mask << at))", WEAVE_ALWAYS},
    {"block_take", "if (mask == 0", WEAVE_NEVER},
    {"block_take", "if (!atomic_compare", WEAVE_NEVER},
    {"block_give_back", "while (bits != 0", WEAVE_NEVER},
};

WEAVE_MAIN("reserve")
