/* SPDX-License-Identifier: MIT */
/* What holds of kmalloc by whichever function and flags it is asked: each way leads through code of its own. */
#include "kernel.h"

#include <linux/sched/mm.h>
#include <linux/vmalloc.h>

enum how { KMALLOC, NODE, NOLOCK, KREALLOC, KREALLOC_NONE, KREALLOC_NODE, KVMALLOC, KVMALLOC_NODE };

static const struct way {
    const char *name;
    gfp_t flags;
    enum how how;
} ways[] = {
    {"kmalloc", GFP_KERNEL, KMALLOC},
    {"GFP_NOIO", GFP_NOIO, KMALLOC},
    {"GFP_ATOMIC", GFP_ATOMIC, KMALLOC},
    {"GFP_NOWAIT", GFP_NOWAIT, KMALLOC},
    {"GFP_USER", GFP_USER, KMALLOC},
    {"__GFP_NORETRY", GFP_KERNEL | __GFP_NORETRY, KMALLOC},
    {"__GFP_RETRY_MAYFAIL", GFP_KERNEL | __GFP_RETRY_MAYFAIL, KMALLOC},
    {"__GFP_NOFAIL", GFP_KERNEL | __GFP_NOFAIL, KMALLOC},
    {"__GFP_HIGH", GFP_KERNEL | __GFP_HIGH, KMALLOC},
    {"__GFP_MEMALLOC", GFP_KERNEL | __GFP_MEMALLOC, KMALLOC},
    {"__GFP_THISNODE", GFP_KERNEL | __GFP_THISNODE, KMALLOC},
    {"__GFP_RECLAIMABLE", GFP_KERNEL | __GFP_RECLAIMABLE, KMALLOC},
    {"__GFP_ACCOUNT", GFP_KERNEL_ACCOUNT, KMALLOC},
    {"__GFP_ACCOUNT, atomic", GFP_ATOMIC | __GFP_ACCOUNT, KMALLOC},
    {"kmalloc_node", GFP_KERNEL, NODE},
    {"kmalloc_node, sure", GFP_KERNEL | __GFP_THISNODE | __GFP_NOFAIL, NODE},
    {"kmalloc_nolock", 0, NOLOCK},
    {"krealloc of NULL", GFP_KERNEL, KREALLOC},
    {"krealloc of ZERO_SIZE_PTR", GFP_KERNEL, KREALLOC_NONE},
    {"krealloc_node", GFP_KERNEL, KREALLOC_NODE},
    {"kvmalloc", GFP_KERNEL, KVMALLOC},
    {"kvmalloc, atomic", GFP_ATOMIC, KVMALLOC},
    {"kvmalloc_node", GFP_KERNEL, KVMALLOC_NODE},
};
enum { WAYS_NR = sizeof(ways) / sizeof(ways[0]) };

static void *get(const struct way *w, size_t size, gfp_t more) {
    gfp_t flags = w->flags | more;
    switch (w->how) {
    case KMALLOC: return kmalloc(size, flags);
    case NODE: return kmalloc_node(size, flags, 0);
    case NOLOCK: return kmalloc_nolock(size, flags & ~__GFP_NOWARN, NUMA_NO_NODE);
    case KREALLOC: return krealloc(NULL, size, flags);
    case KREALLOC_NONE: return krealloc(ZERO_SIZE_PTR, size, flags);
    case KREALLOC_NODE: return krealloc_node(NULL, size, flags, 0);
    case KVMALLOC: return kvmalloc(size, flags);
    default: return kvmalloc_node(size, flags, 0);
    }
}

/* Who may not wait may get nothing. */
static bool may_fail(const struct way *w) { return !gfpflags_allow_blocking(w->flags); }

static size_t next(size_t size) {
    size_t power = (size_t)1 << (8 * sizeof(long) - (size_t)__builtin_clzl(size));
    return size * 5 / 4 + 1 < power ? size * 5 / 4 + 1 : power;
}

/* Memory of each size that is likely to be given next is dirty. */
static void sizes_of(const struct way *w, gfp_t more) {
    for (size_t size = 1; size <= KMALLOC_MAX_SIZE; size = next(size)) {
        char *dirty = kmalloc(size, w->flags | __GFP_DIRECT_RECLAIM);
        CHECK(dirty != NULL);
        memset(dirty, 0xee, ksize(dirty));
        kfree(dirty);
        char *p = get(w, size, more | __GFP_NOWARN);
        if (p == NULL && may_fail(w))
            continue;
        CHECK_MSG(p != NULL && ((uintptr_t)p & ((size & -size) - 1)) == 0, "%s of %zu gave %p", w->name, size,
                  (void *)p);
        CHECK_MSG(ksize(p) >= size, "%s of %zu has %zu", w->name, size, ksize(p));
        CHECK_MSG(more == 0 || bytes_are(p, 0, ksize(p), 0), "%s of %zu is not zero", w->name, size);
        memset(p, 0xee, size);
        kvfree(p);
    }
}

void kmalloc_ways(size_t zeroed) {
    struct mem_cgroup *tenant = quarry_account_create("tenant", 0);
    struct quarry_account_info info;
    CHECK(tenant != NULL);
    (void)set_active_memcg(tenant);
    for (size_t i = 0; i < WAYS_NR; i++) {
        const struct way *w = &ways[i];
        sizes_of(w, zeroed ? __GFP_ZERO : 0);
        CHECK_MSG(get(w, opaque_size(0), 0) == ZERO_SIZE_PTR, "%s of nothing", w->name);
        CHECK_MSG(get(w, opaque_size(SIZE_MAX), __GFP_NOWARN) == NULL, "%s of SIZE_MAX", w->name);
        bool has_areas = w->how == KVMALLOC || w->how == KVMALLOC_NODE;
        CHECK_MSG(has_areas || get(w, opaque_size(KMALLOC_MAX_SIZE + 1), __GFP_NOWARN) == NULL, "%s of too much",
                  w->name);
    }
    (void)set_active_memcg(NULL);
    quarry_account_info_get(tenant, &info);
    CHECK_MSG(info.charged_bytes == 0 && info.peak_bytes >= KMALLOC_MAX_SIZE,
              "%zu bytes stay charged, at most %zu were", info.charged_bytes, info.peak_bytes);
}
