/* SPDX-License-Identifier: MIT */
/*
 * Sheaves: objects of a cache set aside beforehand, so that taking one cannot fail. A sheaf belongs to its caller, and
 * its objects count as handed out. In it they are charged to nobody: as in the kernel who takes one is charged for it,
 * beyond the limit, too.
 */
#include "kmem/account.h"
#include "kmem/cache.h"

#include <errno.h>
#include <string.h>

struct quarry_slab_sheaf {
    struct quarry_kmem_cache *cache;
    unsigned capacity, objs_nr;
    void *objs[];
};

/* What flags say of objects is not said of the sheaf. */
#define FLAGS_OF_OBJECTS (QUARRY___GFP_ZERO | QUARRY___GFP_ACCOUNT | QUARRY___GFP_RECLAIMABLE | QUARRY_GFP_ZONES)

static struct quarry_slab_sheaf *sheaf_new(struct quarry_kmem_cache *s, quarry_gfp_t flags, unsigned capacity) {
    struct quarry_slab_sheaf *sheaf =
        quarry_kmalloc(sizeof(*sheaf) + (size_t)capacity * sizeof(void *), flags & ~FLAGS_OF_OBJECTS);
    if (QUARRY_ZERO_OR_NULL_PTR(sheaf))
        return NULL;
    sheaf->cache = s;
    sheaf->capacity = capacity;
    sheaf->objs_nr = 0;
    return sheaf;
}

/* Up to size objects in it, which it has room for. */
static bool sheaf_fill(struct quarry_slab_sheaf *sheaf, quarry_gfp_t flags, unsigned size) {
    if (sheaf->objs_nr >= size)
        return true;
    unsigned more = size - sheaf->objs_nr;
    struct quarry_account *before = quarry_account_enter(NULL);
    int got =
        quarry_kmem_cache_alloc_bulk(sheaf->cache, flags & ~QUARRY___GFP_ZERO, more, sheaf->objs + sheaf->objs_nr);
    (void)quarry_account_enter(before);
    if (got == 0)
        return false;
    sheaf->objs_nr = size;
    return true;
}

struct quarry_slab_sheaf *quarry_kmem_cache_prefill_sheaf(struct quarry_kmem_cache *s, quarry_gfp_t flags,
                                                          unsigned size) {
    struct quarry_slab_sheaf *sheaf = size == 0 ? NULL : sheaf_new(s, flags, size);
    if (sheaf != NULL && !sheaf_fill(sheaf, flags, size)) {
        quarry_kfree(sheaf);
        return NULL;
    }
    return sheaf;
}

/* A larger one takes the place of a sheaf that has no room for so many. */
int quarry_kmem_cache_refill_sheaf(struct quarry_kmem_cache *s, quarry_gfp_t flags, struct quarry_slab_sheaf **sheaf,
                                   unsigned size) {
    struct quarry_slab_sheaf *old = *sheaf;
    if (old == NULL || old->cache != s)
        return -EINVAL;
    if (size <= old->capacity)
        return sheaf_fill(old, flags, size) ? 0 : -ENOMEM;
    struct quarry_slab_sheaf *larger = sheaf_new(s, flags, size);
    if (larger == NULL)
        return -ENOMEM;
    memcpy(larger->objs, old->objs, old->objs_nr * sizeof(void *));
    larger->objs_nr = old->objs_nr;
    if (!sheaf_fill(larger, flags, size)) {
        quarry_kfree(larger);
        return -ENOMEM;
    }
    quarry_kfree(old);
    *sheaf = larger;
    return 0;
}

void *quarry_kmem_cache_alloc_from_sheaf(struct quarry_kmem_cache *s, quarry_gfp_t flags,
                                         struct quarry_slab_sheaf *sheaf) {
    if (sheaf->objs_nr == 0 || sheaf->cache != s)
        return NULL;
    void *p = sheaf->objs[--sheaf->objs_nr];
    if (kmem_cache_charges(s, flags))
        (void)quarry_kmem_cache_charge(p, (flags & ~QUARRY___GFP_DIRECT_RECLAIM) | QUARRY___GFP_HIGH);
    return kmem_cache_zeroed(s, flags, p);
}

unsigned quarry_kmem_cache_sheaf_size(const struct quarry_slab_sheaf *sheaf) { return sheaf->objs_nr; }

void quarry_kmem_cache_return_sheaf(struct quarry_kmem_cache *s, quarry_gfp_t flags, struct quarry_slab_sheaf *sheaf) {
    (void)s, (void)flags; /* the sheaf knows its cache, and nothing is allocated */
    if (sheaf == NULL)
        return;
    quarry_kmem_cache_free_bulk(sheaf->cache, sheaf->objs_nr, sheaf->objs);
    quarry_kfree(sheaf);
}
