/* SPDX-License-Identifier: MIT */
/*
 * Buckets: kmalloc with caches of one's own, so that objects of one kind never come to lie where those of another were.
 * A set's caches are made with it, so that who may not block finds them. kmalloc itself has some, for
 * __GFP_RECLAIMABLE, which are made one by one when they are first asked for: it has another place to ask.
 */
#include "kmem/cache.h"

#include <stdio.h>

static const u16 bucket_bytes[] = {16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192};
enum { BUCKETS_NR = ARRAY_NR(bucket_bytes), NAME_BYTES = 64 };
/* Making a cache takes as long as some hundred allocations; what stands against it, no class or no memory, stays. */
enum { RECLAIMABLE_TRY_CALLS = 1024 };

struct quarry_kmem_buckets {
    struct quarry_kmem_cache *_Atomic caches[BUCKETS_NR];
};

/* What a set's caches have in common. */
struct bucket_kind {
    const char *name;
    quarry_slab_flags_t flags;
    unsigned useroffset, usersize;
    void (*ctor)(void *);
};

static unsigned bucket_for(size_t size) {
    unsigned i = 0;
    while (bucket_bytes[i] < size)
        i++;
    return i;
}

static struct quarry_kmem_cache *bucket_make(struct quarry_kmem_buckets *b, unsigned i, const struct bucket_kind *kind,
                                             quarry_gfp_t effort) {
    char name[NAME_BYTES + 8];
    unsigned size = bucket_bytes[i];
    bool inside = kind->useroffset < size;
    struct quarry_kmem_cache_args args = {.align = size & -size,
                                          .useroffset = inside ? kind->useroffset : 0,
                                          .usersize = inside ? MIN(kind->usersize, size - kind->useroffset) : 0,
                                          .ctor = kind->ctor};
    (void)snprintf(name, sizeof(name), "%.*s-%u", NAME_BYTES, kind->name, size);
    if (args.usersize == 0)
        args.useroffset = 0;
    return kmem_cache_new_once(&b->caches[i], name, size, &args, kind->flags, effort);
}

static struct quarry_kmem_cache *bucket_made(struct quarry_kmem_buckets *b, unsigned i) {
    /* order: acquire: the cache.                                                            pairs: [kmem.cache.once] */
    return atomic_load_explicit(&b->caches[i], memory_order_acquire);
}

static struct quarry_kmem_buckets *buckets_make(const struct bucket_kind *kind) {
    struct quarry_kmem_buckets *b = quarry_core1_zalloc(sizeof(*b));
    unsigned made = 0;
    while (b != NULL && made < BUCKETS_NR && bucket_make(b, made, kind, QUARRY_GFP_KERNEL) != NULL)
        made++;
    if (made == BUCKETS_NR)
        return b;
    while (made > 0)
        quarry_kmem_cache_destroy(bucket_made(b, --made));
    quarry_core1_free(b);
    return NULL;
}

struct quarry_kmem_buckets *quarry_kmem_buckets_create(const char *name, quarry_slab_flags_t flags, unsigned useroffset,
                                                       unsigned usersize, void (*ctor)(void *)) {
    if (name == NULL || !kmem_cache_args_valid(1, &(struct quarry_kmem_cache_args){0}, flags))
        return NULL;
    return buckets_make(&(struct bucket_kind){name, flags | QUARRY_SLAB_NO_MERGE, useroffset, usersize, ctor});
}

void *quarry_kmem_buckets_alloc(struct quarry_kmem_buckets *b, size_t size, quarry_gfp_t flags) {
    if (b == NULL || size - 1 >= bucket_bytes[BUCKETS_NR - 1])
        return quarry_kmalloc(size, flags);
    return quarry_kmem_cache_alloc(bucket_made(b, bucket_for(size)), flags);
}

/* Sealed objects (option harden) are those of malloc's classes alone. */
static bool is_hardened(void) {
    struct quarry_core1_debug_options options;
    quarry_core1_debug_options(&options);
    return options.harden;
}

/* Who gets none asks elsewhere, so nobody waits: not for the lock, on top of whose holder a handler or a callback for
 * memory may call kmalloc, nor for memory. */
static struct quarry_kmem_cache *reclaimable_get(size_t size, quarry_gfp_t flags) {
    static struct quarry_kmem_buckets b;
    static const struct bucket_kind kind = {.name = "kmalloc-rcl",
                                            .flags = QUARRY_SLAB_RECLAIM_ACCOUNT | QUARRY_SLAB_NO_MERGE};
    static _Atomic(u32) calls_without[BUCKETS_NR];
    unsigned i = bucket_for(size);
    struct quarry_kmem_cache *s = bucket_made(&b, i);
    if (s != NULL || !kmem_may_block(flags))
        return s;
    bool tries = atomic_fetch_add_explicit(&calls_without[i], 1, memory_order_relaxed) % RECLAIMABLE_TRY_CALLS == 0;
    return tries && !is_hardened() ? bucket_make(&b, i, &kind, KMEM_CACHE_NO_EFFORT) : NULL;
}

void *kmem_reclaimable_kmalloc(size_t size, quarry_gfp_t flags) {
    struct quarry_kmem_cache *s = size > bucket_bytes[BUCKETS_NR - 1] ? NULL : reclaimable_get(size, flags);
    return s == NULL ? NULL : kmem_cache_alloc_once(s, flags);
}

/* As kvmalloc: from the buckets without much effort where an area is the other way. */
void *quarry_kmem_buckets_valloc(struct quarry_kmem_buckets *b, size_t size, quarry_gfp_t flags) {
    if (b == NULL || size - 1 >= bucket_bytes[BUCKETS_NR - 1])
        return quarry_kvmalloc(size, flags);
    if (size <= QUARRY_PAGE_SIZE || !kmem_may_block(flags))
        return quarry_kmem_buckets_alloc(b, size, flags);
    quarry_gfp_t first = (flags & ~QUARRY___GFP_NOFAIL) | QUARRY___GFP_NORETRY | QUARRY___GFP_NOWARN;
    void *p = quarry_kmem_buckets_alloc(b, size, first);
    return p != NULL ? p : quarry___vmalloc(size, flags);
}
