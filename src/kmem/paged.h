/* SPDX-License-Identifier: MIT */
/*
 * Private to kmem/: caches whose slabs are pages as alloc_pages gives them: those of SLAB_CACHE_DMA and
 * SLAB_CACHE_DMA32, and those of objects larger than the heap has classes for. They have no magazines, and their
 * objects lie in no slab of the heap: allocating comes here by a handle in the cache's head, freeing by what lent.c is
 * asked.
 */
#ifndef QUARRY_KMEM_PAGED_H
#define QUARRY_KMEM_PAGED_H

#include "kmem/cache.h"

/* A slab, or a record for the next one: paged.c, States. Read by the quarry command, too. */
enum { KMEM_PAGED_WORDS_NR = 16 };
struct kmem_paged_slab {
    struct kmem_paged_slab *next;
    struct quarry_kmem_cache *cache;
    struct kmem_paged_slab *_Atomic next_idle; /* while it has no pages */
    char *_Atomic base;
    _Atomic(u64) free[KMEM_PAGED_WORDS_NR]; /* a bit for each object; 0 where there are no pages */
};

/* Whether a cache of slots of slot_bytes is one of these. */
bool kmem_paged_wants(unsigned slot_bytes, quarry_slab_flags_t flags);
/* What a cache of these flags, slot_bytes known, has in its record. */
struct kmem_paged kmem_paged_start(unsigned slot_bytes, quarry_slab_flags_t flags);
/* The cache has its class: s->heap. */
void kmem_paged_begin(struct quarry_kmem_cache *s);

/* An object; NULL without memory, and where there is none for devices. One attempt: the caller makes more. */
void *kmem_paged_alloc(struct quarry_kmem_cache *s, enum quarry_core1_context context);
/* False: p lies in no slab of such a cache. */
bool kmem_paged_free(void *p);
/* Bytes of the object at p; 0: none begins there. */
size_t kmem_paged_usable(const void *p);
/* The cache of the object that p lies in, that one's start, and where its account stands; NULL: p lies in none. */
const struct quarry_kmem_cache *kmem_paged_of(const void *p, char **ret_object, struct quarry_core1_slab *ret_place);

/* Slabs without objects go back; returns how many are left. */
size_t kmem_paged_shrink(struct quarry_kmem_cache *s);
/* Of a cache nobody uses: 0, and nothing is left of it; or how many objects are out. */
size_t kmem_paged_end(struct quarry_kmem_cache *s);
/* As quarry_core1_class_look() and quarry_core1_class_each_out(). */
void kmem_paged_look(const struct quarry_kmem_cache *s, struct quarry_core1_class_info *ret_info);
void kmem_paged_each_out(const struct quarry_kmem_cache *s, quarry_core1_out_fn *fn, void *arg);

#endif
