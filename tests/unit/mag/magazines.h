/* SPDX-License-Identifier: MIT */
/* The magazines on the real system, started as engine/start.c does, and an object out of them and back. */
#ifndef QUARRY_TESTS_UNIT_MAG_MAGAZINES_H
#define QUARRY_TESTS_UNIT_MAG_MAGAZINES_H

#include "engine/fast.h"
#include "mag/mag.h"
#include "unit/core.h"

#include <sched.h>

/* What must be set before is in rt_opt already. */
static inline void magazines_start_with_options(void) {
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
    cr_assert_eq(mag_init(), 0);
}

static inline void magazines_start(void) {
    rt_options_read(NULL, NULL);
    magazines_start_with_options();
}

static inline void magazines_start_by(enum opt_percpu percpu) {
    rt_options_read(NULL, NULL);
    rt_opt.percpu = (int)percpu;
    magazines_start_with_options();
}

static inline bool magazines_go_to(int cpu) {
    cpu_set_t there;
    CPU_ZERO(&there);
    CPU_SET((size_t)cpu, &there);
    return sched_setaffinity(0, sizeof(there), &there) == 0;
}

/* On one CPU, and ids are of CPUs: what a thread leaves behind on another id neither shrinks nor rests while it is
 * away, and a concurrency id may change on one CPU, too, when the kernel takes back one that another CPU held. */
static inline void magazines_start_here(enum opt_percpu percpu) {
    cr_assert(magazines_go_to(sched_getcpu()));
    magazines_start_by(percpu);
}

static inline void *magazines_alloc(size_t size) {
    void *p = engine_malloc_fast(size);
    return p != NULL ? p : mag_alloc(slab_class_for(size), NULL);
}

static inline void magazines_give(void *p) {
    if (!engine_free_fast(p))
        mag_free(page_map_get(p), p);
}

#endif
