/* SPDX-License-Identifier: MIT */
/* The limits of control groups in force: met with NULL, raised and lowered while the program runs, shared with what
 * else the group holds. On the real system but for a pretend root directory of the groups' files. */
#include "rt/cgroup.h"
#include "engine/engine.h"
#include "engine/pressure.h"
#include "engine/start.h"
#include "rt/usage.h"
#include "unit/alone.h"
#include "unit/calls.h"
#include "unit/files.h"

#include <criterion/criterion.h>

enum { BLOCKS_MAX = 4000 };
/* Not a constant: the compiler would warn of the fast path's tables. */
static volatile size_t block_bytes = 100 * KIB;

static void *blocks[BLOCKS_MAX];

static void max_set(const char *text) { files_write("/sys/fs/cgroup/a/memory.max", text); }
static void high_set(const char *text) { files_write("/sys/fs/cgroup/a/memory.high", text); }

/* As the kernel would, were all touched that the heap has. */
static void held_set(size_t others_bytes) {
    char stat[64];
    snprintf(stat, sizeof(stat), "anon %zu\n", (size_t)(others_bytes + rt_usage_total()));
    files_write("/sys/fs/cgroup/a/memory.stat", stat);
}

static void start(void) {
    rt_cgroup_root = files_start();
    files_write("/proc/self/cgroup", "0::/a\n");
    files_write("/proc/self/mountinfo", "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    files_write("/sys/fs/cgroup/a/memory.stat", "anon 0\n");
    high_set("max\n");
    max_set("67108864\n");
    cr_assert_eq(setenv("QUARRY_CGROUP", "on", 1), 0);
    cr_assert(engine_ready());
}

static void end(void) { files_end(); }

/* Allocates from block from on until there is no more; how many there are then. */
static unsigned fill(unsigned from) {
    while (from < BLOCKS_MAX && (blocks[from] = alloc(block_bytes)) != NULL)
        from++;
    return from;
}

Test(cgroup, memory_max_is_a_hard_limit_that_may_change, .init = start, .fini = end) {
    unsigned nr = fill(0);
    cr_expect_leq(rt_usage_total(), 64 * MIB);
    cr_expect_geq(nr * block_bytes, 48 * MIB);
    u64 hits = atomic_load(&engine_hard_hits);
    cr_expect_gt(hits, 0u);
    max_set("134217728\n");
    unsigned more = fill(nr);
    cr_expect_leq(rt_usage_total(), 128 * MIB);
    cr_expect_geq(more * block_bytes, 104 * MIB, "the limit was raised and nobody looked");
    max_set("max\n");
    cr_expect_eq(fill(more), (unsigned)BLOCKS_MAX, "there is no limit any more");
    for (unsigned i = 0; i < BLOCKS_MAX; i++)
        give(blocks[i]);
}

Test(cgroup, what_others_hold_is_not_for_the_heap, .init = start, .fini = end) {
    unsigned nr = 0;
    while (nr < BLOCKS_MAX) {
        held_set(48 * MIB);
        engine_pressure_tick();
        if ((blocks[nr] = alloc(block_bytes)) == NULL)
            break;
        nr++;
    }
    cr_expect_leq(rt_usage_total(), 16 * MIB);
    cr_expect_geq(nr * block_bytes, 8 * MIB);
}

Test(cgroup, memory_high_is_a_soft_limit, .init = start, .fini = end) {
    struct engine_pressure p;
    engine_pressure_get(&p);
    cr_expect_eq(p.soft_bytes, 0u, "there is none yet");
    cr_expect_leq(p.hard_bytes, 64 * MIB);
    cr_expect_gt(p.hard_bytes, 63 * MIB, "page tables take a part in 512");
    for (unsigned i = 0; i < 200; i++)
        blocks[i] = alloc(block_bytes);
    cr_expect_eq(atomic_load(&engine_soft_hits), 0u);
    high_set("8388608\n");
    held_set(0);
    engine_pressure_tick();
    engine_pressure_get(&p);
    cr_expect_eq(p.soft_bytes, 8 * MIB, "no page tables are to come above it");
    cr_expect_eq(p.level, ENGINE_PRESSURE_HIGH);
    engine_pressure_look();
    cr_expect_eq(atomic_load(&engine_soft_hits), 1u);
}

Test(cgroup, an_option_below_the_groups_limit_stands, .fini = end) {
    cr_assert_eq(setenv("QUARRY_LIMIT_HARD", "16M", 1), 0);
    start();
    struct engine_pressure p;
    engine_pressure_get(&p);
    cr_expect_eq(p.hard_bytes, 16 * MIB);
    (void)fill(0);
    cr_expect_leq(rt_usage_total(), 16 * MIB);
}
