/* SPDX-License-Identifier: MIT */
/*
 * Threads that hand objects to each other: each takes whatever lies on a place of a shelf, looks whether it is as it
 * was left, frees it and leaves another.
 */
#ifndef QUARRY_TESTS_UNIT_ENGINE_TRADERS_H
#define QUARRY_TESTS_UNIT_ENGINE_TRADERS_H

#include "engine/engine.h"

#include <criterion/criterion.h>
#include <pthread.h>

/* trader gets a number that is not 0. What they leave on the shelf is freed. */
static inline void traders_run(void *(*trader)(void *), _Atomic(u64 *) *shelf, unsigned places_nr) {
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, trader, (void *)(i + 1)), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < places_nr; i++)
        engine_free_slow(atomic_load(&shelf[i]));
}

#endif
