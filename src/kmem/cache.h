/* SPDX-License-Identifier: MIT */
/* Private to kmem/: what a slab cache is. */
#ifndef QUARRY_KMEM_CACHE_PRIVATE_H
#define QUARRY_KMEM_CACHE_PRIVATE_H

#include "kmem/kmem.h"

#pragma GCC visibility push(default)
#include "quarry/kmem_cache.h"
#pragma GCC visibility pop

struct quarry_kmem_cache {
    struct quarry_core1_class class; /* first: what the inline forms of the headers pass to the heap */
    unsigned object_bytes;           /* the largest of those merged */
    unsigned slot_bytes, align_bytes;
    quarry_slab_flags_t flags;
    unsigned users; /* names that were merged into it: it is destroyed as often */
    struct quarry_kmem_cache_args args;
    char *name;
    struct quarry_kmem_cache *next; /* on the list of caches, or of those that wait to be used again */
};

/* Of SLAB_TYPESAFE_BY_RCU (grace.c). prepare: false where there are no grace periods; their slabs are never given back
 * then. shrink: all that are wholly free go back after one. wait: waits for one. */
bool kmem_grace_prepare(void) __attribute__((weak));
void kmem_grace_shrink(void) __attribute__((weak));
void kmem_grace_wait(void) __attribute__((weak));
void kmem_grace_fork_child(void) __attribute__((weak));

/* The report of objects that are out when their cache is destroyed, in the kernel's form. caller: the address in the
 * program that destroys it. */
void kmem_leak_report(const struct quarry_kmem_cache *s, size_t objs, const void *caller);

/* Calls fn while no cache is made or destroyed; in it, each for those there are, newest first. */
void kmem_caches_locked(void (*fn)(void *arg), void *arg);
void kmem_caches_each(void (*fn)(void *arg, const struct quarry_kmem_cache *s), void *arg);

/* One line, printf's way, at most 256 bytes. */
void kmem_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
