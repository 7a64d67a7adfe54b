/* SPDX-License-Identifier: MIT */
/* Who decides that threads register their areas, the start or what ends it for good, whichever comes first. */
#include "mag/region.h"
#include "sys/sys.h"

#include <criterion/criterion.h>

static unsigned registrations_nr;

/* As the kernel leaves the area. */
int sys_rseq_register(void *area) {
    struct mag_rseq_area *a = area;
    registrations_nr++;
    atomic_store(&a->cpu_id, 0);
    return 0;
}

static void give_up(void) { atomic_store(&mag_rseq_own.cpu_id, AREA_OPEN); }

Test(registering, each_thread_does_from_the_start_on) {
    cr_expect_not(thread_may_join());
    cr_assert(threads_register());
    cr_expect_not(thread_may_join(), "it is registered");
    give_up();
    cr_expect(thread_may_join());
    cr_expect_eq(registrations_nr, 1u);
    threads_register_no_more();
    cr_expect_not(thread_may_join());
}

/* clone() in a handler on top of the start, or before one that memory was missing for. */
Test(registering, none_does_where_it_ended_before_the_start) {
    threads_register_no_more();
    cr_expect_not(threads_register());
    give_up();
    cr_expect_not(thread_may_join(), "the start took it up again");
}

/* The child of a vfork that starts the allocator. */
Test(registering, none_does_where_the_area_is_closed) {
    cr_assert(thread_area_close());
    cr_expect_not(threads_register());
    thread_area_open();
    cr_expect_not(thread_may_join());
    cr_expect_eq(registrations_nr, 0u);
}
