/* SPDX-License-Identifier: MIT */
/* All memory there is under a hard limit, taken in pieces, and given back: what the programs about effort share. */
#ifndef QUARRY_TESTS_FILL_H
#define QUARRY_TESTS_FILL_H

#include "check.h"

#include <linux/slab.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { HELD_NR = 8192, PIECE = 20000 };

static void *held[HELD_NR];
static size_t held_nr;

/* Takes pieces until the flags get none; returns how many came. */
static inline size_t take_all(gfp_t flags) {
    size_t before = held_nr;
    while (held_nr < HELD_NR && (held[held_nr] = kmalloc(PIECE, flags | __GFP_NOWARN)) != NULL)
        memset(held[held_nr++], 1, PIECE);
    CHECK_MSG(held_nr < HELD_NR, "memory has no end");
    return held_nr - before;
}

static inline void give_all(void) {
    kfree_bulk(held_nr, held);
    held_nr = 0;
}

static inline void *free_later(void *unused) {
    (void)unused;
    usleep(30000);
    give_all();
    return NULL;
}

/* So that the next thread needs no memory. */
static inline void thread_stack_is_there(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_later, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

#endif
