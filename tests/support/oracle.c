/* SPDX-License-Identifier: MIT */
/*
 * Stamps and random pools. See oracle.h.
 */
#include "oracle.h"

#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORD_BYTES = sizeof(uint64_t),
    /* Up to this size every word is stamped. */
    FULL_BYTES = 256,
    /* At longer objects' ends: a cache line each. */
    END_BYTES = 64,
    /* Longer objects also carry a word at every such step, so that an overlap in their middle is seen. */
    STEP_BYTES = 64 << 10,
    /* calloc memory up to this size is read in full, above it a word in each 512 bytes. */
    ZERO_FULL_BYTES = 64 << 10,
    ZERO_STRIDE_BYTES = 512,
};

uint64_t rng_next(struct rng *rng) {
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

size_t rng_below(struct rng *rng, size_t limit) { return (size_t)(rng_next(rng) % limit); }

static uint64_t stamp_word(const struct object *object, size_t offset) {
    struct rng mix = {object->stamp ^ object->size ^ (offset << 20)};

    return rng_next(&mix);
}

/* The next stamped offset after this one, or size when there is none. */
static size_t stamp_next(size_t size, size_t offset) {
    size_t next = offset + WORD_BYTES;
    size_t tail = size > END_BYTES ? (size - END_BYTES) & ~(size_t)(WORD_BYTES - 1) : 0;

    if (size <= FULL_BYTES || next < END_BYTES || next >= tail)
        return next < size ? next : size;
    next = (offset / STEP_BYTES + 1) * STEP_BYTES;
    return next < tail ? next : tail;
}

static size_t stamp_length(const struct object *object, size_t offset) {
    size_t left = object->size - offset;

    return left < WORD_BYTES ? left : WORD_BYTES;
}

void object_stamp(struct object *object, uint64_t stamp) {
    object->stamp = stamp;
    for (size_t at = 0; at < object->size; at = stamp_next(object->size, at)) {
        uint64_t word = stamp_word(object, at);
        memcpy(object->memory + at, &word, stamp_length(object, at));
    }
}

/* Stamps up to limit only, for an object just moved by realloc. */
static void object_check_prefix(const struct object *object, size_t limit) {
    for (size_t at = 0; at < object->size; at = stamp_next(object->size, at)) {
        uint64_t word = stamp_word(object, at);
        size_t length = stamp_length(object, at);
        if (at + length > limit)
            return;
        if (memcmp(object->memory + at, &word, length) != 0) {
            uint64_t found = 0;
            memcpy(&found, object->memory + at, length);
            check_fail(__FILE__, __LINE__, "object %p size %zu stamp %#llx: offset %zu holds %#llx, expected %#llx",
                       (void *)object->memory, object->size, (unsigned long long)object->stamp, at,
                       (unsigned long long)found, (unsigned long long)word);
        }
    }
}

void object_check(const struct object *object) { object_check_prefix(object, object->size); }

void object_retire(struct object *object) {
    if (!object->memory)
        return;
    object_check(object);
    CHECK_MSG(malloc_usable_size(object->memory) >= object->size, "usable size of %p is below %zu",
              (void *)object->memory, object->size);
    /* The old stamp must not outlive the object: a second owner would find it and call it good. */
    memset(object->memory, 0xdd, object->size < END_BYTES ? object->size : END_BYTES);
    free(object->memory);
    object->memory = NULL;
}

static void zero_check(const unsigned char *memory, size_t size) {
    size_t stride = size <= ZERO_FULL_BYTES ? 1 : ZERO_STRIDE_BYTES;

    for (size_t at = 0; at < size; at += stride)
        CHECK_MSG(memory[at] == 0, "calloc(%zu) at %p: offset %zu is %#x", size, (const void *)memory, at,
                  (unsigned)memory[at]);
}

/* Sizes as programs use them: most are small, each tier of the allocator is visited. */
static size_t size_draw(struct pool *pool) {
    static const struct {
        size_t per_mille, low, high;
    } tier[] = {{700, 1, 1 << 10},
                {220, 1 << 10, 32 << 10},
                {60, 32 << 10, 256 << 10},
                {15, 256 << 10, 1 << 20},
                {5, 1 << 20, 3 << 20}};
    size_t dice = rng_below(&pool->rng, 1000), i = 0, size;

    while (dice >= tier[i].per_mille)
        dice -= tier[i++].per_mille;
    size = tier[i].low + rng_below(&pool->rng, tier[i].high - tier[i].low);
    return pool->size_limit && size > pool->size_limit ? 1 + size % pool->size_limit : size;
}

static void *memory_alloc_aligned(struct pool *pool, size_t size) {
    size_t alignment = (size_t)16 << rng_below(&pool->rng, 10);
    void *memory = NULL;
    int error = posix_memalign(&memory, alignment, size);

    if (error) {
        errno = error;
        return NULL;
    }
    CHECK_MSG(((uintptr_t)memory & (alignment - 1)) == 0, "posix_memalign(%zu, %zu) gave %p", alignment, size, memory);
    return memory;
}

static void *memory_alloc(struct pool *pool, size_t size) {
    void *memory;

    switch (rng_below(&pool->rng, 8)) {
    case 0:
        memory = calloc(1, size);
        if (memory)
            zero_check(memory, size);
        return memory;
    case 1: return memory_alloc_aligned(pool, size);
    case 2: return realloc(NULL, size);
    default: return malloc(size);
    }
}

/* Answers whether the allocation stands; counts or reports the refusal. */
static int pool_allowed(struct pool *pool, const void *memory, size_t size) {
    if (memory)
        return 1;
    CHECK_MSG(errno == ENOMEM, "NULL for %zu bytes with errno %d", size, errno);
    CHECK_MSG(pool->enomem == POOL_ENOMEM_COUNTED, "out of memory at %zu bytes in the pool of owner %llu", size,
              (unsigned long long)pool->owner);
    pool->enomem_nr++;
    return 0;
}

static uint64_t pool_stamp(struct pool *pool) { return (pool->owner << 40) ^ pool->steps_nr; }

static void slot_fill(struct pool *pool, struct object *slot) {
    slot->size = size_draw(pool);
    errno = 0;
    slot->memory = memory_alloc(pool, slot->size);
    if (pool_allowed(pool, slot->memory, slot->size))
        object_stamp(slot, pool_stamp(pool));
}

static void slot_resize(struct pool *pool, struct object *slot) {
    size_t size = size_draw(pool);
    size_t kept = slot->size < size ? slot->size : size;
    unsigned char *moved;

    object_check(slot);
    errno = 0;
    moved = realloc(slot->memory, size);
    if (!pool_allowed(pool, moved, size))
        return;
    slot->memory = moved;
    object_check_prefix(slot, kept);
    slot->size = size;
    object_stamp(slot, pool_stamp(pool));
}

void pool_init(struct pool *pool, uint64_t seed, uint64_t owner, size_t size_limit) {
    memset(pool, 0, sizeof *pool);
    pool->rng.state = seed * 0x2545f4914f6cdd1du + owner;
    pool->owner = owner;
    pool->size_limit = size_limit;
}

void pool_step(struct pool *pool) {
    struct object *slot = &pool->slots[rng_below(&pool->rng, POOL_SLOTS)];

    pool->steps_nr++;
    if (!slot->memory)
        slot_fill(pool, slot);
    else if (rng_below(&pool->rng, 4) == 0)
        slot_resize(pool, slot);
    else
        object_retire(slot);
}

void pool_steps(struct pool *pool, unsigned long steps_nr) {
    for (unsigned long i = 0; i < steps_nr; i++)
        pool_step(pool);
}

struct object pool_take(struct pool *pool) {
    struct object *slot = &pool->slots[rng_below(&pool->rng, POOL_SLOTS)];
    struct object taken = *slot;

    slot->memory = NULL;
    return taken;
}

void pool_drain(struct pool *pool) {
    for (size_t i = 0; i < POOL_SLOTS; i++)
        object_retire(&pool->slots[i]);
}
