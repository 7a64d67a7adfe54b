/* SPDX-License-Identifier: MIT */
/* Frees after a grace period, for tests of other things; at once in a build that has none of its own (liburcu). */
#ifndef QUARRY_TESTS_GRACE_H
#define QUARRY_TESTS_GRACE_H

#include <linux/rcupdate.h>
#include <linux/slab.h>

static inline void grace_free(void *p) {
#if TEST_RCU
    kfree_rcu_mightsleep(p);
#else
    kfree(p);
#endif
}

/* What was given to grace_free() is free. */
static inline void grace_end(void) {
#if TEST_RCU
    kvfree_rcu_barrier();
#endif
}

#endif
