/* SPDX-License-Identifier: MIT */
/*
 * Threads that allocate, stamp what they got with its owner, and hand most of it to their neighbour, who checks the
 * stamp and frees it. Which allocator is tested says the caller. Two owners of one object, or an object that lost its
 * contents, abort the program.
 */
#ifndef QUARRY_TESTS_UNIT_HANDOVER_H
#define QUARRY_TESTS_UNIT_HANDOVER_H

#include "unit/alone.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

enum { HANDOVER_THREADS = 8, HANDOVER_RING = 64, HANDOVER_HELD = 96, HANDOVER_SIZES = 6, HANDOVER_MEANWHILE = 32 };

struct handover_ops {
    /* size bytes, 16 at least; NULL ends the test as failed. */
    void *(*alloc)(size_t size);
    void (*free)(void *p, size_t size);
    size_t sizes[HANDOVER_SIZES];
    unsigned held_max; /* objects a thread keeps; few: slabs fill and empty all the time */
    unsigned ms;
};

struct handover_item {
    u64 *p;
    size_t size;
};

/* One writer, one reader. */
struct handover_ring {
    struct handover_item items[HANDOVER_RING];
    _Alignas(CACHE_LINE) _Atomic(unsigned) head;
    _Alignas(CACHE_LINE) _Atomic(unsigned) tail;
};

static struct handover_ring handover_rings[HANDOVER_THREADS];
static const struct handover_ops *handover_ops;
static _Atomic(bool) handover_over;
static pthread_barrier_t handover_start; /* short runs would end before the last thread is made */

static inline u64 handover_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (u64)now.tv_sec * 1000 + (u64)now.tv_nsec / 1000000;
}

static inline bool handover_put(struct handover_ring *ring, struct handover_item item) {
    unsigned head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head - atomic_load_explicit(&ring->tail, memory_order_acquire) == HANDOVER_RING)
        return false;
    ring->items[head % HANDOVER_RING] = item;
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return true;
}

static inline bool handover_get(struct handover_ring *ring, struct handover_item *ret_item) {
    unsigned tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail == atomic_load_explicit(&ring->head, memory_order_acquire))
        return false;
    *ret_item = ring->items[tail % HANDOVER_RING];
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}

/* First and last word: no two threads' stamps are equal, nor those of two objects. */
static inline u64 handover_stamp(const u64 *p, u64 owner) { return (u64)p ^ owner << 48 ^ 0x5bd1e995; }

static inline struct handover_item handover_make(u64 owner, u64 *seed) {
    size_t size = handover_ops->sizes[alone_random(seed) % HANDOVER_SIZES];
    u64 *p = handover_ops->alloc(size);
    MUST(p != NULL);
    p[0] = p[size / sizeof(u64) - 1] = handover_stamp(p, owner);
    return (struct handover_item){p, size};
}

static inline void handover_drop(struct handover_item item, u64 owner) {
    MUST(item.p[0] == handover_stamp(item.p, owner));
    MUST(item.p[item.size / sizeof(u64) - 1] == handover_stamp(item.p, owner));
    item.p[0] = item.p[item.size / sizeof(u64) - 1] = 0;
    handover_ops->free(item.p, item.size);
}

static inline void *handover_thread(void *arg) {
    u64 me = (u64)(uintptr_t)arg, before = (me + HANDOVER_THREADS - 1) % HANDOVER_THREADS, seed = me * 7919 + 1;
    struct handover_item held[HANDOVER_HELD], item;
    unsigned held_nr = 0;
    pthread_barrier_wait(&handover_start);
    while (!atomic_load_explicit(&handover_over, memory_order_relaxed)) {
        u64 r = alone_random(&seed);
        if (held_nr < handover_ops->held_max && r % 2 == 0)
            held[held_nr++] = handover_make(me, &seed);
        if (held_nr > 0 && r / 2 % 2 == 0) {
            unsigned k = (unsigned)(r / 4 % held_nr);
            if (r / 1024 % 4 == 0 || !handover_put(&handover_rings[me], held[k]))
                handover_drop(held[k], me);
            held[k] = held[--held_nr];
        }
        if (handover_get(&handover_rings[before], &item))
            handover_drop(item, before);
    }
    while (held_nr > 0)
        handover_drop(held[--held_nr], me);
    return NULL;
}

/* Runs the threads for the time given, calling meanwhile (may be NULL) again and again, HANDOVER_MEANWHILE times at
 * least; then nothing is out. */
static inline void handover_run(const struct handover_ops *ops, void (*meanwhile)(void)) {
    pthread_t threads[HANDOVER_THREADS];
    struct handover_item item;
    handover_ops = ops;
    MUST(ops->held_max <= HANDOVER_HELD);
    MUST(pthread_barrier_init(&handover_start, NULL, HANDOVER_THREADS + 1) == 0);
    atomic_store(&handover_over, false);
    for (uintptr_t i = 0; i < HANDOVER_THREADS; i++)
        MUST(pthread_create(&threads[i], NULL, handover_thread, (void *)i) == 0); // NOLINT(performance-no-int-to-ptr)
    pthread_barrier_wait(&handover_start);
    u64 end = handover_now_ms() + ops->ms;
    do {
        for (int i = 0; meanwhile != NULL && i < HANDOVER_MEANWHILE; i++)
            meanwhile();
        sched_yield();
    } while (handover_now_ms() < end);
    atomic_store(&handover_over, true);
    for (unsigned i = 0; i < HANDOVER_THREADS; i++)
        MUST(pthread_join(threads[i], NULL) == 0);
    for (unsigned i = 0; i < HANDOVER_THREADS; i++) {
        while (handover_get(&handover_rings[i], &item))
            handover_drop(item, i);
    }
}

#endif
