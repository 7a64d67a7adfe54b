/* SPDX-License-Identifier: MIT */
/*
 * What page_run and vmalloc do with objects of many pages: pairs of malloc and free, and random replacement within a
 * live set. Timed by the thread's CPU clock, the kernel's part included. One thread.
 */
#ifndef BENCH_LARGE_H
#define BENCH_LARGE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/escape.h"
#include "../lib/placed.h"
#include "../lib/rand.h"

enum { LIVE_MAX_OBJS = 100 };

/* A live set; zero but for objs and the seed at the start. Each object's first word holds its index. */
struct live {
    size_t objs; /* 1..LIVE_MAX_OBJS */
    struct rand rand;
    size_t *objects[LIVE_MAX_OBJS];
};

/* touch_bytes: the object's first byte is written if 1, nothing if 0. */
static ALWAYS_INLINE uint64_t large_pairs_ns(size_t size_bytes, size_t touch_bytes, uint64_t nr) {
    uint64_t start_ns = clock_thread_ns();

    for (; nr > 0; nr--) {
        unsigned char *object = malloc(size_bytes);

        escape(object);
        if (touch_bytes > 0)
            object[0] = 1;
        escape(object);
        free(object);
    }
    return clock_thread_ns() - start_ns;
}

static ALWAYS_INLINE void live_free(struct live *live, size_t at) {
    if (live->objects[at] != NULL && *live->objects[at] != at)
        die("object %zu of a live set was overwritten", at);
    free(live->objects[at]);
}

/* Replaces nr random members by objects of min..max bytes. A member that does not exist yet is made. */
static ALWAYS_INLINE uint64_t live_replace_ns(struct live *live, size_t min_bytes, size_t max_bytes, uint64_t nr) {
    uint64_t start_ns = clock_thread_ns();

    for (; nr > 0; nr--) {
        size_t at = rand_between(&live->rand, 0, live->objs - 1);

        live_free(live, at);
        live->objects[at] = malloc(rand_between(&live->rand, min_bytes, max_bytes));
        *live->objects[at] = at;
    }
    return clock_thread_ns() - start_ns;
}

static inline void live_empty(struct live *live) {
    for (size_t at = 0; at < live->objs; at++) {
        live_free(live, at);
        live->objects[at] = NULL;
    }
}

#endif
