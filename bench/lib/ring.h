/* SPDX-License-Identifier: MIT */
/*
 * Bounded queue of pointers from exactly one thread to exactly one other. It is meant to cost far less than the
 * allocations it carries: each end keeps a private copy of the other's index, and indices are published
 * once per RING_BATCH_OBJS pointers. Used by prodcons and free_only_thread; the storage belongs to the caller
 * and is zero at the start.
 *
 *   Ordering   tail: release by the producer, acquire by the consumer, so that a pointer and what it points to are seen
 *              with the index that covers them. head: release by the consumer, acquire by the producer, so that a slot
 *              is read before it is written again.
 *   Progress   wait-free; a full or empty ring is reported and the caller decides how to wait.
 */
#ifndef BENCH_RING_H
#define BENCH_RING_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RING_OBJS = 1024, RING_BATCH_OBJS = 32, RING_LINE_BYTES = 128 };

struct ring {
    alignas(RING_LINE_BYTES) _Atomic uint64_t tail; /* written by the producer */
    alignas(RING_LINE_BYTES) _Atomic uint64_t head; /* written by the consumer */
    alignas(RING_LINE_BYTES) uint64_t filled;       /* producer's own: next slot, not yet published */
    uint64_t head_seen;
    alignas(RING_LINE_BYTES) uint64_t taken; /* consumer's own: next slot, not yet given back */
    uint64_t tail_seen;
    alignas(RING_LINE_BYTES) void *slots[RING_OBJS];
};

static inline void ring_publish(struct ring *ring) {
    atomic_store_explicit(&ring->tail, ring->filled, memory_order_release); /* order: release  pairs: [ring.tail] */
}

/* Producer: false when full; what was filled so far is published then, so the consumer can always make room. */
static inline bool ring_push(struct ring *ring, void *object) {
    if (ring->filled - ring->head_seen == RING_OBJS) {
        ring_publish(ring);
        /* order: acquire  pairs: [ring.head] */
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (ring->filled - ring->head_seen == RING_OBJS)
            return false;
    }
    ring->slots[ring->filled++ % RING_OBJS] = object;
    if (ring->filled % RING_BATCH_OBJS == 0)
        ring_publish(ring);
    return true;
}

static inline void ring_give_back(struct ring *ring) {
    atomic_store_explicit(&ring->head, ring->taken, memory_order_release); /* order: release  pairs: [ring.head] */
}

/* Consumer: NULL when empty; the slots taken so far are given back then, so the producer can always go on. */
static inline void *ring_pop(struct ring *ring) {
    if (ring->taken == ring->tail_seen) {
        ring_give_back(ring);
        /* order: acquire  pairs: [ring.tail] */
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (ring->taken == ring->tail_seen)
            return NULL;
    }
    void *object = ring->slots[ring->taken++ % RING_OBJS];
    if (ring->taken % RING_BATCH_OBJS == 0)
        ring_give_back(ring);
    return object;
}

#endif
