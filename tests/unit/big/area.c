/* SPDX-License-Identifier: MIT */
/* vmalloc areas: exact sizes, known by every address, growth by moving pages, accounts, and every system call failing.
 * On a pretend system. */
#include "big/area.h"
#include "big/big.h"
#include "fakes/fake.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "unit/alone.h"

#include <criterion/criterion.h>
#include <string.h>

static void start(void) {
    rt_options_read(NULL, NULL);
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
}

static char *alloc(size_t size) { return big_area_alloc(size, 1, 0, AREA_ANY_NODE, NULL); }

static u64 live_bytes(void) {
    struct big_stats st;
    big_stats_get(&st);
    return st.live_bytes;
}

static void expect_empty(void) {
    struct big_stats st;
    big_stats_get(&st);
    cr_expect_eq(st.live_bytes, 0u);
    cr_expect_eq(st.regions, 0u);
    cr_expect_eq(rt_usage_get(), 0);
}

Test(area, sizes_are_exact_and_all_of_it_is_known, .init = start) {
    static const size_t sizes[] = {1, 4096, 16384, 16385, 3 * MIB + 5, 600 * MIB};
    for (size_t i = 0; i < ARRAY_NR(sizes); i++) {
        size_t bytes = round_up(sizes[i], sys_page_bytes()), before = fake_reserved_bytes();
        char *p = alloc(sizes[i]);
        cr_assert_not_null(p);
        cr_expect_eq(big_area_bytes(p), bytes);
        cr_expect_eq(live_bytes(), bytes);
        cr_expect_eq(rt_usage_get(), (s64)bytes);
        cr_expect_leq(fake_reserved_bytes(), before + bytes + sys_page_bytes());
        for (size_t at = 0; at < bytes; at += MAX(bytes / 64, sys_page_bytes()))
            cr_assert(big_in_area(p + at), "%zu of %zu", at, bytes);
        cr_expect(big_in_area(p + bytes - 1));
        cr_expect_not(big_in_area(p + round_up(bytes, GRANULE_BYTES)));
        cr_expect_eq(big_area_bytes(p + sys_page_bytes()), 0u);
        cr_expect_not(big_area_free(p + sys_page_bytes()));
        cr_expect_not(big_free(p + sys_page_bytes()));
        cr_assert(big_area_free(p));
        cr_expect_not(big_in_area(p));
        cr_expect_not(big_area_free(p), "twice");
        cr_expect_eq(fake_reserved_bytes(), before);
        expect_empty();
    }
    cr_expect_null(alloc(0));
    cr_expect_null(alloc(SIZE_MAX));
    cr_expect_null(alloc(PTRDIFF_MAX));
    expect_empty();
}

Test(area, growth_moves_pages_and_shrinking_gives_them_back, .init = start) {
    char *p = alloc(3 * MIB);
    memset(p, 7, 3 * MIB);
    unsigned moves = fake_calls_nr(FAKE_MOVE);
    char *q = big_area_resize(p, 8 * MIB);
    cr_assert_not_null(q);
    cr_expect_eq(fake_calls_nr(FAKE_MOVE), moves + 1);
    cr_expect(q[0] == 7 && q[3 * MIB - 1] == 7 && q[3 * MIB] == 0);
    cr_expect_not(big_in_area(p));
    cr_expect_eq(rt_usage_get(), (s64)(8 * MIB));
    memset(q, 8, 8 * MIB);
    cr_expect_eq(big_area_resize(q, MIB + 1), q);
    cr_expect_eq(big_area_bytes(q), MIB + sys_page_bytes());
    cr_expect_eq(fake_resident_bytes(q, 8 * MIB), MIB + sys_page_bytes());
    cr_expect_eq(rt_usage_get(), (s64)(MIB + sys_page_bytes()));
    cr_expect_not(big_in_area(q + 2 * MIB));
    /* Into what it left behind. */
    cr_expect_eq(big_area_resize(q, 8 * MIB), q);
    cr_expect(big_in_area(q + 7 * MIB) && q[MIB] == 8 && q[2 * MIB] == 0 && q[8 * MIB - 1] == 0);
    cr_expect_eq(live_bytes(), 8 * MIB);
    cr_assert(big_area_free(q));
    expect_empty();
}

static unsigned moved_nr;
static void expect_withdrawn(void *from) {
    cr_expect_eq(big_area_bytes(from), 0u, "the old place has a record still, which may be another area's by now");
    cr_expect(!big_in_area(from));
    moved_nr++;
}

Test(area, an_area_has_left_its_place_before_its_pages_do, .init = start) {
    char *p = alloc(3 * MIB);
    fake_moved = expect_withdrawn;
    p = big_area_resize(p, 64 * MIB);
    cr_assert(p != NULL && moved_nr == 1);
    cr_expect_eq(big_area_bytes(p), 64 * MIB);
    cr_expect(big_area_free(p));
}

Test(area, a_refused_call_loses_nothing, .init = start) {
    char *keep = alloc(MIB);
    size_t room = MIB; /* it moves for more */
    memset(keep, 5, MIB);
    for (int call = 0; call < FAKE_CALLS_NR; call++) {
        for (unsigned nth = 1; nth < 4; nth++) {
            size_t reserved = fake_reserved_bytes();
            fake_fail((enum fake_call)call, nth, 1);
            char *p = big_area_alloc(5 * MIB, 4 * MIB, AREA_HUGE, 0, NULL);
            char *grown = big_area_resize(keep, room + MIB);
            fake_fail((enum fake_call)call, 0, 0);
            room += grown != NULL ? MIB : 0;
            keep = grown != NULL ? grown : keep;
            cr_expect(keep[0] == 5 && keep[MIB - 1] == 5);
            cr_expect_eq(big_area_resize(keep, MIB), keep);
            cr_expect(p == NULL || big_area_free(p));
            cr_expect_eq(rt_usage_get(), (s64)MIB, "%s %u", fake_call_name((enum fake_call)call), nth);
            cr_expect_eq(live_bytes(), MIB);
            cr_expect_geq(fake_reserved_bytes(), reserved, "%s %u", fake_call_name((enum fake_call)call), nth);
            if (call != FAKE_RELEASE) /* what is not taken back stays reserved */
                cr_expect_leq(fake_reserved_bytes(), reserved + MIB);
        }
    }
    cr_assert(big_area_free(keep));
    expect_empty();
}

Test(area, the_hard_limit_is_kept, .init = start) {
    char *p = alloc(MIB);
    rt_opt.limit_hard = atomic_load(&rt_meta.used_bytes) + 3 * MIB;
    cr_expect_null(alloc(2 * MIB + 1));
    cr_expect_null(big_area_resize(p, 3 * MIB + 1));
    cr_expect_eq(rt_usage_get(), (s64)MIB);
    cr_expect_not_null(p = big_area_resize(p, 3 * MIB));
    cr_assert(big_area_free(p));
    expect_empty();
}

static unsigned seen_nr;
static size_t seen_bytes;
static void see(void *arg, const struct area_info *info) {
    seen_nr++;
    seen_bytes += info->bytes;
    cr_expect_eq(info->caller, arg);
    cr_expect_eq(big_area_bytes(info->addr), info->bytes);
}

Test(area, all_are_told, .init = start) {
    static char caller;
    char *p[20];
    size_t dirty_bytes;
    cr_assert_not_null(big_alloc(3 * MIB, 1, BIG_ANY, &dirty_bytes));
    for (size_t i = 0; i < 20; i++)
        p[i] = big_area_alloc((i + 1) * 4096, 1, 0, AREA_ANY_NODE, &caller);
    big_areas_each(see, &caller);
    cr_expect_eq(seen_nr, 20u);
    cr_expect_eq(seen_bytes, 210u * 4096);
    for (size_t i = 0; i < 20; i++)
        cr_assert(big_area_free(p[i]));
    seen_nr = 0;
    big_areas_each(see, NULL);
    cr_expect_eq(seen_nr, 0u);
}
