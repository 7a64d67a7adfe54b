/* SPDX-License-Identifier: MIT */
/*
 * A stream of bytes as a sequence of allocation calls of a few threads, carried out beside a shadow heap that knows
 * what every object must hold. Any bytes are a sequence. One thread runs at a time, so that a stream is always the same
 * sequence; which one is part of it, so that objects are passed on. Knows no allocator: the calls come in a table. Used
 * by engine.c (the core under sanitizers, libFuzzer) and names.c (libc's names).
 */
#ifndef QUARRY_TESTS_FUZZ_OPS_H
#define QUARRY_TESTS_FUZZ_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FUZZ_THREADS_NR = 4, FUZZ_ROUNDED = 8 };

/* free, realloc and usable are given live objects or NULL. Failure is NULL, with errno set where there is one. `how` is
 * any number, and says which of the ways to ask for the same it is to be. */
struct fuzz_api {
    void *(*malloc)(size_t size, unsigned how);
    void *(*calloc)(size_t nr, size_t size, unsigned how);
    void *(*realloc)(void *p, size_t size, unsigned how);
    /* align: a power of two. By how that has FUZZ_ROUNDED the size may be rounded up on the way. */
    void *(*memalign)(size_t align, size_t size, unsigned how);
    /* Must refuse: align is no power of two, or too small for one. NULL: nobody checks. */
    bool (*refuses)(size_t align, size_t size);
    void (*free)(void *p, unsigned how);
    /* The size it was allocated with; align: 0, or what was given to memalign then. */
    void (*free_sized)(void *p, size_t size, size_t align);
    size_t (*usable)(void *p);
    void (*trim)(void);
    int *(*error)(void); /* errno's place; NULL: there is none */
};

/*
 * Carries the stream out and frees what is left. The digest is of what a program can observe and a standard promises:
 * whether each call answered with NULL, and errno then; two allocators have the same of one stream. What must not be
 * (lost contents, memory handed out twice, dirty calloc, wrong alignment, a refused request that could be served) ends
 * the program with a line on stderr.
 */
uint64_t fuzz_run(const struct fuzz_api *api, const uint8_t *data, size_t bytes);

/*
 * The same for FUZZ_THREADS_NR threads that run at once, each with a stream of its own from seed on and a shadow heap
 * of its own, which they exchange objects of at their turns. What must not be ends the program likewise. Returns how
 * many objects were freed or resized by another thread than the one that made them.
 */
uint64_t fuzz_run_at_once(const struct fuzz_api *api, uint64_t seed);

/* A stream from a seed. */
void fuzz_stream(uint64_t seed, uint8_t *ret_data, size_t bytes);

/* Kinds of objects an allocator is likely to keep apart, by their size. */
enum fuzz_kind { FUZZ_SMALL, FUZZ_MEDIUM, FUZZ_RUN, FUZZ_REGION, FUZZ_KINDS_NR };
/* How many objects of one kind were made ones of another, in all streams so far. */
extern uint64_t fuzz_moves[FUZZ_KINDS_NR][FUZZ_KINDS_NR];
/* How many objects were freed or resized by another thread than the one that made them. */
extern uint64_t fuzz_handed_nr;

#endif
