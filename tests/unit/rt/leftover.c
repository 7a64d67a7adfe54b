/* SPDX-License-Identifier: MIT */
/* Address space the kernel refuses to take back: its memory goes at once, it is unmapped later, and the accounts say so
 * throughout. On a pretend system. */
#include "rt/leftover.h"

#include "fakes/fake.h"
#include "rt/meta.h"
#include "rt/options.h"
#include "rt/usage.h"

#include <criterion/criterion.h>
#include <string.h>

enum { RANGES_NR = 10 };
#define RANGE_BYTES (4 * MIB)
#define MEMORY_BYTES (1 * MIB)

static size_t reserved_at_start;

static void start(void) {
    rt_options_read(NULL, NULL);
    cr_assert_eq(rt_meta_init(), 0);
    reserved_at_start = fake_reserved_bytes();
}

/* A range whose first part holds memory that is counted. */
static char *range_make(void) {
    char *p = sys_vm_reserve(RANGE_BYTES, 4096);
    cr_assert_not_null(p);
    cr_assert_eq(sys_vm_commit(p, MEMORY_BYTES), 0);
    memset(p, 1, MEMORY_BYTES);
    rt_usage_add((s64)MEMORY_BYTES);
    return p;
}

Test(leftover, what_is_granted_is_gone, .init = start) {
    rt_release(range_make(), RANGE_BYTES, MEMORY_BYTES);
    cr_expect_eq(fake_reserved_bytes(), reserved_at_start);
    cr_expect_eq(rt_usage_get(), 0);
    cr_expect_eq(rt_leftover_bytes(), 0u);
}

Test(leftover, memory_goes_although_addresses_stay, .init = start) {
    char *p = range_make();
    fake_fail(FAKE_RELEASE, 1, 1);
    rt_release(p, RANGE_BYTES, MEMORY_BYTES);
    cr_expect_eq(fake_resident_bytes(p, MEMORY_BYTES), 0u);
    cr_expect_eq(rt_usage_get(), 0);
    cr_expect_eq(rt_leftover_bytes(), RANGE_BYTES);
    rt_release_retry(RT_LEFTOVER_SOME);
    cr_expect_eq(rt_leftover_bytes(), 0u);
    cr_expect_eq(rt_usage_get(), 0, "it was subtracted twice");
    cr_expect_eq(fake_reserved_bytes(), reserved_at_start);
}

Test(leftover, memory_that_stays_is_counted_until_it_goes, .init = start) {
    char *p = range_make();
    fake_fail(FAKE_RELEASE, 1, 2);
    fake_fail(FAKE_PURGE, 1, 1);
    rt_release(p, RANGE_BYTES, MEMORY_BYTES);
    cr_expect_eq(rt_usage_get(), (s64)MEMORY_BYTES);
    rt_release_retry(RT_LEFTOVER_ALL);
    cr_expect_eq(rt_usage_get(), 0, "the second time it could be purged");
    cr_expect_eq(fake_resident_bytes(p, MEMORY_BYTES), 0u);
    cr_expect_eq(rt_leftover_bytes(), RANGE_BYTES);
    rt_release_retry(RT_LEFTOVER_ALL);
    cr_expect_eq(rt_leftover_bytes(), 0u);
    cr_expect_eq(rt_usage_get(), 0);
}

Test(leftover, some_stops_at_the_first_refusal_and_all_does_not, .init = start) {
    fake_fail(FAKE_RELEASE, 1, RANGES_NR);
    for (int i = 0; i < RANGES_NR; i++)
        rt_release(range_make(), RANGE_BYTES, MEMORY_BYTES);
    cr_assert_eq(rt_leftover_bytes(), RANGES_NR * RANGE_BYTES);
    fake_fail(FAKE_RELEASE, 3, 1);
    rt_release_retry(RT_LEFTOVER_SOME);
    cr_expect_eq(rt_leftover_bytes(), (RANGES_NR - 2) * RANGE_BYTES);
    fake_fail(FAKE_RELEASE, 3, 1);
    rt_release_retry(RT_LEFTOVER_ALL);
    cr_expect_eq(rt_leftover_bytes(), RANGE_BYTES);
    cr_expect_eq(fake_reserved_bytes(), reserved_at_start + RANGE_BYTES);
    rt_release_retry(RT_LEFTOVER_ALL);
    cr_expect_eq(fake_reserved_bytes(), reserved_at_start);
}
