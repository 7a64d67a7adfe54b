/* SPDX-License-Identifier: MIT */
/*
 * The oracle of every randomised test: objects that carry stamps, and pools of them that are allocated, reallocated,
 * checked and freed at random. Memory handed out twice, moved without its content or written by another is
 * found by whoever checks next. Owns no thread and takes no lock: one pool belongs to one thread (or one signal
 * handler) at a time. Called by the process life programs of tests/integ and by tests/stress.
 */
#ifndef QUARRY_TESTS_ORACLE_H
#define QUARRY_TESTS_ORACLE_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *rng);
size_t rng_below(struct rng *rng, size_t limit);

/*
 * An allocation and what must be found in it: words derived from stamp, address and size stand at both ends, through
 * the whole of it when it is short, and every 64 KiB when it is long.
 */
struct object {
    unsigned char *memory;
    size_t size;
    uint64_t stamp;
};

void object_stamp(struct object *object, uint64_t stamp);
/* Leaves by check_fail when any stamp is not what it was. */
void object_check(const struct object *object);

enum { POOL_SLOTS = 256 };

/* What a NULL with ENOMEM means to the pool; any other NULL is always a failure. */
enum pool_enomem { POOL_ENOMEM_FATAL, POOL_ENOMEM_COUNTED };

struct pool {
    struct rng rng;
    uint64_t owner;
    size_t size_limit;
    enum pool_enomem enomem;
    unsigned long steps_nr;
    unsigned long enomem_nr;
    struct object slots[POOL_SLOTS];
};

/* size_limit bounds the random sizes; 0 means none: up to 3 MiB, mostly small. */
void pool_init(struct pool *pool, uint64_t seed, uint64_t owner, size_t size_limit);
/* One random operation on one random slot. */
void pool_step(struct pool *pool);
void pool_steps(struct pool *pool, unsigned long steps_nr);
/* Moves a random object out of the pool; its memory is NULL when the slot drawn was empty. */
struct object pool_take(struct pool *pool);
/* Checks and frees one object that may come from any pool. */
void object_retire(struct object *object);
/* Checks and frees everything. */
void pool_drain(struct pool *pool);

#endif
