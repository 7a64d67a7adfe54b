/* SPDX-License-Identifier: MIT */
/*
 * What the one-crime programs share. Each announces on stdout what it is about to do, so that the driver
 * can hold the line on stderr against it, commits its crime, and ends normally when it is not stopped. Owns the
 * announcement, memory the compiler cannot reason about, and many innocent frees. Called by every program here.
 */
#ifndef QUARRY_TESTS_CRIME_H
#define QUARRY_TESTS_CRIME_H

#include "check.h"

#include <stddef.h>
#include <stdint.h>

/* malloc, required to succeed. */
void *crime_alloc(size_t bytes);
/* The same, and not aligned to that power of two above 16. */
void *crime_alloc_misaligned(size_t bytes, size_t alignment);
/* Memory of the malloc inside that libc (a handle of dlopen or dlmopen), not of the one that serves the program. */
void *foreign_alloc(void *libc, size_t bytes);
/* free through a pointer the compiler knows nothing of. */
void crime_free(const void *p);

/*
 * Each expects the line `quarry: error ID NAME: pointer P: ...; class C ...`, and abort, from now on. The class is the
 * usable size of the object given, "-" for a pointer that belongs to no object of ours, or not looked at.
 */
void crime_expect_object(const char *id, const char *name, const void *p, const void *object);
void crime_expect_stranger(const char *id, const char *name, const void *p);
void crime_expect_any(const char *id, const char *name, const void *p);
/* For an object whose whole slab may have been given back by the time its crime is found: its class, or "-". */
void crime_expect_released(const char *id, const char *name, const void *p);
/* For a crime committed on many objects like this one, of which any may be named. */
void crime_expect_one_of(const char *id, const char *name, const void *object);

/* Objects allocated beforehand, whose later release pushes what was freed before them out of every cache. */
struct crowd {
    void **objects;
    size_t object_nr;
};

struct crowd crowd_gather(size_t bytes, size_t object_nr);
void crowd_leave(struct crowd *crowd);

#endif
