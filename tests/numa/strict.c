/* SPDX-License-Identifier: MIT */
/*
 * Requests for a node: of the kernel's API, with and without __GFP_THISNODE, and of quarry's own. A strict one is
 * served from its node or not at all, and when the node is full nobody else suffers. Owns the judging; the nodes are
 * nodes.h's.
 *
 * guest: QUARRY_GUARD=0
 * guest no-rseq: QUARRY_GUARD=0 GLIBC_TUNABLES=glibc.pthread.rseq=0
 */
#include "nodes.h"

#include <errno.h>
#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <pthread.h>
#include <quarry/quarry.h>

enum { PAGE = 4096, PIECE = 1 << 20, PIECES_MAX = 2048, NEAR_NR = 2000, LARGE = 5 << 20, BULK = 40 };
static const size_t sizes[] = {1, 100, 5000, 300000, 3 << 20, 4 << 20};

static void expect_there(const void *p, size_t bytes, unsigned node, const char *what) {
    const char *at = p;
    for (size_t done = 0; done < bytes; done += PAGE)
        CHECK_MSG(nodes_of(at + done) == (int)node, "%s of %zu bytes: the page at %zu is on node %d, not %u", what,
                  bytes, done, nodes_of(at + done), node);
}

static void strict_all(unsigned node) {
    struct kmem_cache *cache = kmem_cache_create("strict", 200, 0, 0, NULL);
    gfp_t flags = GFP_KERNEL | __GFP_THISNODE;
    CHECK(cache != NULL);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        void *p = kmalloc_node(sizes[i], flags, (int)node);
        CHECK_MSG(p != NULL, "node %u, %zu bytes", node, sizes[i]);
        expect_there(p, sizes[i], node, "kmalloc_node");
        kfree(p);
        p = kzalloc_node(sizes[i], flags, (int)node);
        CHECK(p != NULL && *(char *)p == 0);
        expect_there(p, sizes[i], node, "kzalloc_node");
        kfree(p);
    }
    for (unsigned i = 0; i < 1000; i++) {
        void *p = kmem_cache_alloc_node(cache, flags, (int)node);
        CHECK(p != NULL);
        expect_there(p, 1, node, "kmem_cache_alloc_node");
        kmem_cache_free(cache, p);
    }
    for (unsigned order = 0; order <= MAX_PAGE_ORDER; order++) {
        struct page *page = alloc_pages_node((int)node, flags, order);
        CHECK(page != NULL);
        expect_there(page_address(page), (size_t)PAGE << order, node, "alloc_pages_node");
        __free_pages(page, order);
    }
    void *area = __vmalloc_node(100000, 1, flags, (int)node, NULL);
    CHECK(area != NULL);
    expect_there(area, 100000, node, "__vmalloc_node");
    vfree(area);
    kmem_cache_destroy(cache);
}

/* The same without naming a node: that of the thread. */
static void strict_here(unsigned node) {
    struct kmem_cache *cache = kmem_cache_create("strict_here", 300, 0, 0, NULL);
    gfp_t flags = GFP_KERNEL | __GFP_THISNODE;
    void *objs[BULK];
    CHECK(cache != NULL);
    nodes_go(node);
    for (unsigned i = 0; i < 1000; i++) {
        void *p = kmem_cache_alloc(cache, flags);
        CHECK(p != NULL);
        expect_there(p, 1, node, "kmem_cache_alloc");
        kmem_cache_free(cache, p);
    }
    CHECK(kmem_cache_alloc_bulk(cache, flags, BULK, objs) == BULK);
    for (unsigned i = 0; i < BULK; i++)
        expect_there(objs[i], 1, node, "kmem_cache_alloc_bulk");
    kmem_cache_free_bulk(cache, BULK, objs);
    kmem_cache_destroy(cache);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        void *p = kmalloc(sizes[i], flags);
        CHECK(p != NULL);
        expect_there(p, sizes[i], node, "kmalloc");
        kfree(p);
    }
}

/* Charged objects come from slabs of any node, and are moved: by name of the node, and that of the thread. Each is
 * freed before the next, which may take its page elsewhere. */
static void strict_charged(unsigned node) {
    struct mem_cgroup *tenant = quarry_account_create("tenant", 0), *before = set_active_memcg(tenant);
    struct kmem_cache *cache = kmem_cache_create("strict_charged", 3000, 0, SLAB_ACCOUNT, NULL);
    gfp_t flags = GFP_KERNEL_ACCOUNT | __GFP_THISNODE;
    struct quarry_account_info info;
    CHECK(tenant != NULL && cache != NULL);
    for (unsigned i = 0; i < BULK; i++) {
        void *p = kmem_cache_alloc_node(cache, flags, (int)node);
        CHECK(p != NULL);
        expect_there(p, 3000, node, "a charged object of kmem_cache_alloc_node");
        quarry_account_info_get(tenant, &info);
        CHECK_MSG(info.objects == 1 && info.charged_bytes >= 3000, "%zu charged", info.charged_bytes);
        kmem_cache_free(cache, p);
    }
    for (size_t i = 0; nodes_has_cpus(node) && sizes[i] <= PIECE; i++) {
        nodes_go(node);
        void *p = kmalloc(sizes[i], flags);
        CHECK(p != NULL);
        expect_there(p, sizes[i], node, "a charged object of kmalloc");
        kfree(p);
        p = kmem_cache_alloc(cache, flags);
        CHECK(p != NULL);
        expect_there(p, 3000, node, "a charged object of kmem_cache_alloc");
        kmem_cache_free(cache, p);
        /* Of a node by name it is not moved, but refused. */
        CHECK(kmalloc_node(sizes[i], flags, (int)node) == NULL);
    }
    quarry_account_info_get(tenant, &info);
    CHECK_MSG(info.objects == 0 && info.charged_bytes == 0, "%zu objects stay charged", info.objects);
    kmem_cache_destroy(cache);
    (void)set_active_memcg(before);
    quarry_account_destroy(tenant);
}

/* Until the thread's own node is full. Without strictness another would serve, and there would be no end. */
static void exhaust_here(unsigned node) {
    static void *pieces[PIECES_MAX], *more[BULK];
    struct kmem_cache *cache = kmem_cache_create("exhaust", PIECE / 2, 0, 0, NULL);
    gfp_t flags = GFP_KERNEL | __GFP_THISNODE | __GFP_NORETRY;
    unsigned nr = 0;
    CHECK(cache != NULL);
    nodes_go(node);
    for (; nr < PIECES_MAX && (pieces[nr] = kmem_cache_alloc(cache, flags)) != NULL; nr++)
        expect_there(pieces[nr], PAGE, node, "a strict object");
    printf("node %u: %u halves of a MiB, then NULL\n", node, nr);
    CHECK_MSG(nr > 100 && nr < PIECES_MAX, "%u strict objects of node %u", nr, node);
    CHECK(kmem_cache_alloc_bulk(cache, flags, BULK, more) == 0);
    for (unsigned i = 0; i < nr; i++)
        kmem_cache_free(cache, pieces[i]);
    kmem_cache_destroy(cache);
}

static void refused_all(int node) {
    gfp_t flags = GFP_KERNEL | __GFP_THISNODE;
    CHECK(kmalloc_node(100, flags, node) == NULL);
    CHECK(kmalloc_node(3 << 20, flags, node) == NULL);
    CHECK(alloc_pages_node(node, flags, 0) == NULL);
    CHECK(__vmalloc_node(100000, 1, flags, node, NULL) == NULL);
    CHECK(quarry_set_thread_node(node) == EINVAL);
}

/* Without strictness the nearest serves, and the first touch is somebody else's. */
static void near_all(unsigned node) {
    unsigned home = nodes_home(node);
    static char *objs[NEAR_NR];
    for (unsigned i = 0; i < NEAR_NR; i++)
        CHECK((objs[i] = i % 2 == 0 ? kmalloc_node(300, GFP_KERNEL, (int)node) : quarry_malloc_node(300, (int)node)));
    for (unsigned i = 0; i < NEAR_NR; i++) {
        objs[i][0] = 1;
        expect_there(objs[i], 1, home, "a request for a node");
    }
    for (unsigned i = 0; i < NEAR_NR; i++)
        kfree(objs[i]);
    char *big = quarry_malloc_node(8 << 20, (int)node);
    CHECK(big != NULL);
    memset(big, 1, 8 << 20);
    expect_there(big, 8 << 20, home, "a large request for a node");
    free(big);
    char *area = vmalloc_node(1 << 20, (int)node);
    CHECK(area != NULL);
    memset(area, 1, 1 << 20);
    expect_there(area, 1 << 20, home, "vmalloc_node");
    vfree(area);
}

/* Until there is no more: then NULL, and everybody else goes on. */
static void exhaust(unsigned node) {
    static char *pieces[PIECES_MAX];
    unsigned nr = 0;
    for (; nr < PIECES_MAX && (pieces[nr] = kmalloc_node(PIECE, GFP_KERNEL | __GFP_THISNODE, (int)node)) != NULL; nr++)
        expect_there(pieces[nr], PAGE, node, "a strict piece");
    printf("node %u: %u MiB, then NULL\n", node, nr);
    CHECK_MSG(nr > 50 && nr < PIECES_MAX, "%u strict MiB of node %u", nr, node);
    char *p = malloc(16 << 20);
    CHECK(p != NULL);
    memset(p, 1, 16 << 20);
    free(p);
    for (unsigned i = 0; i < nr; i++) {
        expect_there(pieces[i], PIECE, node, "a strict piece, in the end");
        kfree(pieces[i]);
    }
    CHECK((p = kmalloc_node(PIECE, GFP_KERNEL | __GFP_THISNODE, (int)node)) != NULL);
    kfree(p);
}

static void *hinted(void *arg) {
    unsigned node = (unsigned)(uintptr_t)arg;
    CHECK(quarry_set_thread_node((int)node) == 0);
    for (unsigned i = 0; i < NEAR_NR; i++) {
        char *p = malloc(700);
        CHECK(p != NULL);
        p[0] = 1;
        expect_there(p, 1, node, "an object of a thread with a hint");
        if (i % 2 == 0)
            free(p);
    }
    char *large = malloc(LARGE), *zeroed = calloc(1, LARGE);
    CHECK(large != NULL && zeroed != NULL);
    memset(large, 1, LARGE);
    memset(zeroed, 1, LARGE);
    expect_there(large, LARGE, node, "a large object of a thread with a hint");
    expect_there(zeroed, LARGE, node, "a large zeroed object of a thread with a hint");
    free(large);
    free(zeroed);
    CHECK(quarry_set_thread_node(-1) == 0);
    return NULL;
}

int main(void) {
    nodes_read();
    nodes_go(0);
    unsigned last = 0;
    for (unsigned node = 0; node < nodes_nr; node++) {
        pthread_t thread;
        near_all(node);
        if (!nodes_memory[node]) {
            refused_all((int)node);
            continue;
        }
        last = node;
        strict_all(node);
        CHECK(pthread_create(&thread, NULL, hinted, (void *)(uintptr_t)node) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    refused_all(1000);
    exhaust(last);
    for (unsigned node = 0; node < nodes_nr; node++) {
        if (nodes_memory[node] && nodes_has_cpus(node))
            strict_here(last = node);
    }
    for (unsigned node = 0; node < nodes_nr; node++) {
        if (nodes_memory[node])
            strict_charged(node);
    }
    exhaust_here(last);
    return 0;
}
