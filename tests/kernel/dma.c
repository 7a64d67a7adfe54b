/* SPDX-License-Identifier: MIT */
/*
 * Memory for devices: physically one piece, where it is said to be, and still there after the kernel compacted memory
 * and other memory was wanted. Needs root, hugepages and io_uring; skipped where the kernel refuses one of them to this
 * program as well, and a failure where it does not. dma --refused runs without io_uring, --without-rights without what
 * root may do.
 */
#include "dma.h"
#include "cases.h"
#include "deny.h"
#include "grace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/memcontrol.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/shrinker.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The frames are those of the address, one after the other. */
static void check_frames(char *p, size_t bytes, dma_addr_t handle) {
    for (size_t at = 0; at < bytes; at += PAGE_SIZE) {
        unsigned long pfn = page_to_pfn(virt_to_page(p + at));
        CHECK_MSG(pfn == (handle + at) >> PAGE_SHIFT, "byte %zu is in frame %#lx, not %#lx", at, pfn,
                  (unsigned long)((handle + at) >> PAGE_SHIFT));
    }
}

static void *coherent(size_t size, dma_addr_t *ret_handle) {
    void *p = dma_alloc_coherent(NULL, size, ret_handle, GFP_KERNEL | __GFP_NOWARN);
    if (p == NULL)
        refused_here();
    return p;
}

static void sizes(size_t unused) {
    (void)unused;
    static const size_t all[] = {1, 100, 4096, 5000, 16384, 100000, 1 << 20, 2 << 20};
    dma_addr_t handle = 0;
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
            size_t bytes = PAGE_SIZE << get_order(all[i]);
            char *p = coherent(all[i], &handle);
            CHECK((uintptr_t)p % bytes == 0 && handle % bytes == 0 && handle != 0);
            CHECK(bytes_are(p, 0, bytes, 0));
            memset(p, 0xee, bytes);
            check_frames(p, bytes, handle);
            dma_free_coherent(NULL, all[i], p, handle);
        }
    }
    dma_free_coherent(NULL, 100, NULL, 0);
    CHECK(dma_alloc_coherent(NULL, 0, &handle, GFP_KERNEL) == NULL);
    CHECK(dma_alloc_coherent(NULL, (2 << 20) + 1, &handle, GFP_KERNEL) == NULL);
}

/* Compaction moves what is not pinned, reclaim takes it away, and a child's copy on write would move it, too. */
static void stays(size_t unused) {
    (void)unused;
    enum { NR = 6, CROWD = 256 };
    dma_addr_t handles[NR];
    char *p[NR], *crowd[CROWD];
    int compact = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC), status = 0;
    for (int i = 0; i < NR; i++) {
        p[i] = coherent(1 << 20, &handles[i]);
        memset(p[i], i + 1, 1 << 20);
    }
    CHECK(status_kib("VmPin:") >= NR / 2 * 2048);
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = malloc(1 << 20);
        memset(crowd[i], i, 1 << 20);
    }
    for (int i = 0; i < CROWD; i += 2)
        free(crowd[i]);
    if (compact >= 0)
        CHECK(write(compact, "1", 1) == 1);
    printf("# %s\n", page_out(p, NR, 1 << 20) ? "what is not pinned was swapped out" : "nothing is swapped out here");
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < NR; i++)
            memset(p[i], 0x77, 1 << 20);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    for (int i = 0; i < NR; i++) {
        memset(p[i], i + 11, 1 << 19);
        check_frames(p[i], 1 << 20, handles[i]);
        CHECK(bytes_are(p[i], 0, 1 << 19, (unsigned char)(i + 11)));
        CHECK(bytes_are(p[i], 1 << 19, 1 << 20, (unsigned char)(i + 1)));
        dma_free_coherent(NULL, 1 << 20, p[i], handles[i]);
    }
    for (int i = 1; i < CROWD; i += 2)
        free(crowd[i]);
}

static void mapping(size_t unused) {
    (void)unused;
    dma_addr_t handle = 0;
    char *p = coherent(1 << 20, &handle);
    CHECK(dma_map_single(NULL, p, 1 << 20, DMA_TO_DEVICE) == handle);
    CHECK(dma_map_single(NULL, p + 12345, 100, DMA_FROM_DEVICE) == handle + 12345);
    CHECK(dma_mapping_error(NULL, dma_map_single(NULL, p, (2 << 20) + 1, DMA_TO_DEVICE)));
    CHECK(dma_mapping_error(NULL, dma_map_single(NULL, p, SIZE_MAX, DMA_TO_DEVICE)));
    CHECK(dma_mapping_error(NULL, dma_map_single(NULL, p, 0, DMA_TO_DEVICE)));
    CHECK(!dma_mapping_error(NULL, handle));
    dma_unmap_single(NULL, handle, 1 << 20, DMA_TO_DEVICE);
    CHECK(dma_map_single(NULL, p, 1 << 20, DMA_TO_DEVICE) == handle);
    dma_free_coherent(NULL, 1 << 20, p, handle);
}

/* The two kinds do not mix, and each goes back. */
static void kinds(size_t unused) {
    (void)unused;
    enum { NR = 200 };
    struct page *dma[NR], *plain[NR];
    uint64_t regions = 0, live = 0;
    for (unsigned i = 0; i < NR; i++) {
        dma[i] = alloc_pages(GFP_KERNEL | GFP_DMA | __GFP_NOWARN, i % 5);
        plain[i] = alloc_pages(GFP_KERNEL, i % 5);
        if (dma[i] == NULL)
            refused_here();
        CHECK(!dma_mapping_error(NULL, dma_map_single(NULL, page_address(dma[i]), 8, DMA_TO_DEVICE)));
        CHECK(is_for_devices(page_address(dma[i])) && !is_for_devices(page_address(plain[i])));
    }
    CHECK(alloc_pages(GFP_KERNEL | GFP_DMA | __GFP_NOWARN, MAX_PAGE_ORDER) == NULL);
    CHECK(kmalloc(opaque_size(3 << 20), GFP_KERNEL | GFP_DMA | __GFP_NOWARN) == NULL);
    CHECK(alloc_pages(GFP_DMA | __GFP_NOWARN, 0) != NULL);
    for (unsigned i = 0; i < NR; i++) {
        __free_pages(dma[i], i % 5);
        __free_pages(plain[i], i % 5);
    }
    quarry_trim(0);
    CHECK(quarry_stat("big_regions", &regions) == 0 && regions == 1); /* with the page above */
    CHECK(quarry_stat("pages_live_bytes", &live) == 0 && live == 0);
}

/* --- pools --- */

static void pool_of(size_t size, size_t align, size_t boundary) {
    enum { NR = 300 };
    struct dma_pool *pool = dma_pool_create("test", NULL, size, align, boundary);
    static char *p[NR];
    static dma_addr_t handles[NR];
    CHECK(pool != NULL);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < NR; i++) {
            gfp_t flags = GFP_KERNEL | __GFP_NOWARN;
            p[i] = i % 2 ? dma_pool_zalloc(pool, flags, &handles[i])
                         : dma_pool_alloc(pool, flags | __GFP_ZERO, &handles[i]);
            if (p[i] == NULL)
                refused_here();
            CHECK(bytes_are(p[i], 0, size, 0));
            CHECK(align == 0 || ((uintptr_t)p[i] % align == 0 && handles[i] % align == 0));
            CHECK(boundary == 0 || handles[i] / boundary == (handles[i] + size - 1) / boundary);
            CHECK(handles[i] == dma_map_single(NULL, p[i], size, DMA_TO_DEVICE));
            memset(p[i], i, size);
        }
        for (int i = 0; i < NR; i++) {
            CHECK_MSG(bytes_are(p[i], 0, size, (unsigned char)i), "piece %d of %zu bytes was written", i, size);
            if (i % 2 == round % 2)
                dma_pool_free(pool, p[i], handles[i]);
        }
        for (int i = 0; i < NR; i++) {
            if (i % 2 != round % 2) {
                CHECK(bytes_are(p[i], 0, size, (unsigned char)i));
                dma_pool_free(pool, p[i], handles[i]);
            }
        }
    }
    dma_pool_destroy(pool);
}

static void pools(size_t unused) {
    (void)unused;
    uint64_t regions = 1;
    pool_of(64, 64, 0);
    pool_of(20, 0, 0);
    pool_of(20, 4, 64);
    pool_of(100, 32, 4096);
    pool_of(3000, 16, 4096);
    pool_of(3000, 1, 0);
    pool_of(9000, 1024, 32768);
    pool_of(48, 64, 64);
    pool_of(33, 64, 0);
    CHECK(dma_pool_create("none", NULL, 0, 1, 0) == NULL && dma_pool_create("none", NULL, 10, 3, 0) == NULL);
    CHECK(dma_pool_create("none", NULL, 100, 1, 64) == NULL && dma_pool_create("none", NULL, 100, 1, 200) == NULL);
    CHECK(dma_pool_create("none", NULL, (2 << 20) + 1, 1, 0) == NULL);
    /* What a piece takes with its alignment must lie within the boundary. */
    CHECK(dma_pool_create("none", NULL, 40, 128, 64) == NULL && dma_pool_create("none", NULL, 33, 32, 32) == NULL);
    dma_pool_destroy(NULL);
    quarry_trim(0);
    CHECK(quarry_stat("big_regions", &regions) == 0 && regions == 0);
}

static struct dma_pool *shared_pool;

/* Each thread's stamps are the oracle. */
static void *pool_thread(void *arg) {
    enum { HELD = 50, STEPS = 1500000 };
    unsigned long *p[HELD] = {NULL}, state = (uintptr_t)arg * 7919;
    dma_addr_t handles[HELD];
    for (int i = 0; i < STEPS; i++) {
        unsigned k = (unsigned)((state = state * 6364136223846793005u + 1442695040888963407u) >> 33) % HELD;
        if (p[k] == NULL) {
            p[k] = dma_pool_alloc(shared_pool, GFP_KERNEL | __GFP_NOWARN, &handles[k]);
            CHECK(p[k] != NULL);
            p[k][0] = p[k][7] = (unsigned long)p[k] + (uintptr_t)arg;
        } else {
            CHECK(p[k][0] == (unsigned long)p[k] + (uintptr_t)arg && p[k][7] == p[k][0]);
            dma_pool_free(shared_pool, p[k], handles[k]);
            p[k] = NULL;
        }
    }
    for (int k = 0; k < HELD; k++) {
        if (p[k] != NULL)
            dma_pool_free(shared_pool, p[k], handles[k]);
    }
    return NULL;
}

static void pool_threads(size_t unused) {
    (void)unused;
    pthread_t threads[4];
    dma_addr_t handle;
    shared_pool = dma_pool_create("shared", NULL, 64, 64, 0);
    void *p = dma_pool_alloc(shared_pool, GFP_KERNEL | __GFP_NOWARN, &handle);
    if (p == NULL)
        refused_here();
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, pool_thread, (void *)(i + 1)) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    dma_pool_free(shared_pool, p, handle);
    dma_pool_destroy(shared_pool); /* says so on stderr when a piece is missing, which the driver sees */
}

/* Whether freeing p ends a process by SIGABRT, with such a line. pool NULL: by kfree. */
static void expect_misuse(struct dma_pool *pool, char *p, const char *want) {
    char said[600] = "";
    int fds[2], status = 0;
    CHECK(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        if (pool == NULL)
            kfree(p);
        else
            dma_pool_free(pool, p, 0);
        _exit(0);
    }
    close(fds[1]);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CHECK(read(fds[0], said, sizeof(said) - 1) > 0 && strstr(said, want) != NULL);
    close(fds[0]);
}

static void pool_misuse(size_t unused) {
    (void)unused;
    dma_addr_t handle;
    struct dma_pool *pool = dma_pool_create("misuse", NULL, 100, 4, 4096),
                    *other = dma_pool_create("other", NULL, 8, 8, 0);
    char *p = dma_pool_alloc(pool, GFP_KERNEL | __GFP_NOWARN, &handle);
    if (p == NULL)
        refused_here();
    expect_misuse(pool, p + 100, "error Q01 double-free");
    expect_misuse(pool, p + 4, "error Q02 interior-pointer");
    expect_misuse(pool, p + 4090, "error Q02 interior-pointer");
    expect_misuse(other, p, "error Q09 wrong-interface");
    expect_misuse(pool, (char *)&handle, "error Q09 wrong-interface");
    dma_pool_free(pool, p, handle);
    expect_misuse(pool, p, "error Q01 double-free");
    dma_pool_destroy(pool);
    dma_pool_destroy(other);
}

/* --- caches --- */

enum { CACHE_NR = 500, MARK = 0x5eed };
static char *objs[CACHE_NR];
static unsigned constructed;

static void construct(void *p) {
    *(unsigned *)p = MARK;
    constructed++;
}

static void *cache_object(struct kmem_cache *s, gfp_t flags) {
    void *p = kmem_cache_alloc(s, flags | __GFP_NOWARN);
    if (p == NULL)
        refused_here();
    return p;
}

static struct quarry_kmem_cache_info info_of(struct kmem_cache *s) {
    struct quarry_kmem_cache_info info;
    quarry_kmem_cache_info_get(s, &info);
    return info;
}

/* Whether the process's own table has so many objects and slabs of the cache. */
static bool listed(const char *name, size_t active, size_t slabs) {
    static char text[1 << 16];
    unsigned long got_active = 0, got_slabs = 0;
    CHECK(quarry_slabinfo(text, sizeof(text)) < sizeof(text));
    const char *row = strstr(text, name);
    CHECK(row != NULL);
    CHECK(sscanf(row, "%*s %lu %*u %*u %*u %*u : tunables 0 0 0 : slabdata %*u %lu", &got_active, &got_slabs) == 2);
    return got_active == active && got_slabs == slabs;
}

/* Objects of such a cache are one piece each, where it is said, at their alignment; and slabs come and go. */
static void cache_of_size(unsigned size, unsigned align, slab_flags_t flags) {
    struct kmem_cache *s = kmem_cache_create("dma-cache", size, align, SLAB_CACHE_DMA | flags, NULL);
    size_t nr = size > 100000 ? 20 : CACHE_NR;
    CHECK(s != NULL);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < nr; i++) {
            objs[i] = cache_object(s, i % 2 ? GFP_KERNEL | __GFP_ZERO : GFP_KERNEL);
            dma_addr_t handle = dma_map_single(NULL, objs[i], size, DMA_TO_DEVICE);
            CHECK(!dma_mapping_error(NULL, handle));
            CHECK(align == 0 || ((uintptr_t)objs[i] % align == 0 && handle % align == 0));
            CHECK(i % 2 == 0 || bytes_are(objs[i], 0, size, 0));
            CHECK(ksize(objs[i]) >= size && quarry_owns(objs[i]) && !quarry_owns(objs[i] + 1));
            memset(objs[i], (int)i, size);
        }
        check_frames((char *)((uintptr_t)objs[nr - 1] & ~(PAGE_SIZE - 1)), PAGE_SIZE,
                     dma_map_single(NULL, (void *)((uintptr_t)objs[nr - 1] & ~(PAGE_SIZE - 1)), 1, DMA_TO_DEVICE));
        struct quarry_kmem_cache_info info = info_of(s);
        CHECK(info.active_objs == nr && !info.percpu && info.full + info.partial == info.slabs && info.empty == 0);
        CHECK(info.slabs == (nr + info.objs_per_slab - 1) / info.objs_per_slab && listed("dma-cache", nr, info.slabs));
        for (size_t i = 0; i < nr; i++) {
            CHECK_MSG(bytes_are(objs[i], 0, size, (unsigned char)i), "object %zu of %u bytes was written", i, size);
            if (i % 4 == 0)
                kfree(objs[i]);
            else if (i % 4 == 1)
                kmem_cache_free(s, objs[i]);
            else if (i % 4 == 2)
                free(objs[i]);
            else
                kmem_cache_free_bulk(s, 1, (void **)&objs[i]);
        }
        CHECK(info_of(s).active_objs == 0 && info_of(s).empty == info.slabs);
        CHECK(round == 0 || kmem_cache_shrink(s) == 0);
        CHECK(round == 0 || info_of(s).slabs == 0);
    }
    kmem_cache_destroy(s);
}

static void caches(size_t unused) {
    uint64_t live = 0;
    struct page *keep = alloc_page(GFP_KERNEL | GFP_DMA | __GFP_NOWARN), *pages[512];
    (void)unused;
    if (keep == NULL)
        refused_here();
    cache_of_size(8, 0, 0);
    cache_of_size(100, 0, 0);
    cache_of_size(100, 0, SLAB_HWCACHE_ALIGN);
    cache_of_size(500, 256, SLAB_RECLAIM_ACCOUNT);
    cache_of_size(3000, 0, SLAB_RED_ZONE | SLAB_POISON); /* is not debugged */
    cache_of_size(9000, 4096, 0);
    cache_of_size(70000, 0, 0);
    cache_of_size(1 << 20, 1 << 20, 0);
    /* Their pages, which the one above keeps from going back, are pages as any. */
    for (int i = 0; i < 512; i++) {
        CHECK((pages[i] = alloc_page(GFP_KERNEL | GFP_DMA)) != NULL);
        pages[i]->mapping = (void *)8;
        CHECK(!quarry_owns(page_address(pages[i])) && !kmem_dump_obj(page_address(pages[i])));
    }
    for (int i = 0; i < 512; i++)
        __free_page(pages[i]);
    __free_page(keep);
    CHECK(quarry_stat("pages_live_bytes", &live) == 0 && live == 0);
}

/* What it says goes nowhere. */
static bool dumps(void *p) {
    int before = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK(before >= 0 && nowhere >= 0 && dup2(nowhere, STDERR_FILENO) >= 0);
    bool is_object = kmem_dump_obj(p);
    CHECK(dup2(before, STDERR_FILENO) >= 0);
    close(before);
    close(nowhere);
    return is_object;
}

/* The kernel's rules for caches, for these. */
static void cache_rules(size_t unused) {
    (void)unused;
    struct kmem_cache *s = kmem_cache_create("rules", 200, 0, SLAB_CACHE_DMA | SLAB_NO_MERGE, construct);
    unsigned *p = cache_object(s, GFP_KERNEL), *q;
    unsigned per_slab = info_of(s).objs_per_slab, first = constructed;
    CHECK(first == per_slab && *p == MARK);
    *p = 1;
    kmem_cache_free(s, p);
    CHECK((q = kmem_cache_alloc(s, GFP_KERNEL)) == p && *q == 1 && constructed == first);
    *q = MARK;
    /* By atomic contexts: of slabs there are; by the bulk; set aside. */
    for (unsigned i = 1; i < per_slab; i++) {
        CHECK((objs[i] = kmem_cache_alloc(s, i % 2 ? GFP_ATOMIC : GFP_NOWAIT)) != NULL);
        CHECK(*(unsigned *)objs[i] == MARK);
    }
    CHECK(info_of(s).slabs == 1 && info_of(s).full == 1);
    kmem_cache_free_bulk(s, per_slab - 1, (void **)objs + 1);
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL, 300, (void **)objs) == 300 && info_of(s).active_objs == 301);
    kmem_cache_free_bulk(NULL, 300, (void **)objs);
    struct slab_sheaf *sheaf = kmem_cache_prefill_sheaf(s, GFP_KERNEL | GFP_DMA, 50);
    CHECK(sheaf != NULL && !is_for_devices(sheaf));
    CHECK((p = kmem_cache_alloc_from_sheaf(s, 0, sheaf)) != NULL && info_of(s).active_objs == 51);
    kmem_cache_return_sheaf(s, GFP_KERNEL, sheaf);
    CHECK(dma_map_single(NULL, p, 200, DMA_TO_DEVICE) != DMA_MAPPING_ERROR);
    CHECK((p = krealloc(p, 100, GFP_KERNEL)) != NULL && (p = krealloc(p, 5000, GFP_KERNEL)) != NULL);
    kfree(p); /* the flags said what it is now */
    struct kmem_cache *pooled = kmem_cache_create("pooled", 200, 0, SLAB_CACHE_DMA | SLAB_NO_MERGE, NULL);
    mempool_t *pool = mempool_create_slab_pool(3, pooled); /* of one with a constructor it is warned about */
    CHECK(pool != NULL && info_of(pooled).active_objs == 3);
    mempool_destroy(pool);
    kmem_cache_destroy(pooled);
    CHECK(kmem_cache_alloc_node(s, GFP_KERNEL | __GFP_THISNODE, 5) == NULL);
    CHECK((p = kmem_cache_alloc_node(s, GFP_KERNEL, 0)) != NULL);
    CHECK(dumps((char *)p + 20) && dumps(p));
    grace_free(p);
    grace_end();
    CHECK(info_of(s).active_objs == 1 && !dumps(p));
    kmem_cache_free(s, q);
    expect_misuse(NULL, (char *)q, "error Q01 double-free");
    expect_misuse(NULL, (char *)q + 16, "error Q02 interior-pointer");
    kmem_cache_destroy(s);
    /* One of each kind alone is merged with. */
    struct kmem_cache *one = kmem_cache_create("one", 120, 0, SLAB_CACHE_DMA, NULL),
                      *same = kmem_cache_create("same", 120, 0, SLAB_CACHE_DMA, NULL),
                      *plain = kmem_cache_create("plain", 120, 0, 0, NULL),
                      *low = kmem_cache_create("low", 120, 0, SLAB_CACHE_DMA32, NULL);
    CHECK(one == same && one != plain && one != low && plain != low);
    p = cache_object(low, GFP_KERNEL);
    CHECK(dma_map_single(NULL, p, 120, DMA_TO_DEVICE) != DMA_MAPPING_ERROR);
    kmem_cache_free(low, p);
    kmem_cache_destroy(one);
    CHECK((p = kmem_cache_alloc(same, GFP_KERNEL)) != NULL);
    kmem_cache_free(same, p);
    kmem_cache_destroy(same);
    kmem_cache_destroy(plain);
    kmem_cache_destroy(low);
    /* What must stay of its type stays until the cache goes. */
    s = kmem_cache_create("typesafe", 64, 0, SLAB_CACHE_DMA | SLAB_TYPESAFE_BY_RCU, NULL);
    kmem_cache_free(s, cache_object(s, GFP_KERNEL));
    CHECK(kmem_cache_shrink(s) == 1 && info_of(s).slabs == 1);
    kmem_cache_destroy(s);
    uint64_t live = 1;
    CHECK(quarry_stat("pages_live_bytes", &live) == 0 && live == 0);
}

/* Each object by itself, not its page. */
static void cache_charged(size_t by_flag) {
    struct mem_cgroup *tenant = quarry_account_create("dma", 0);
    struct kmem_cache *s = kmem_cache_create("charged", 48, 0, SLAB_CACHE_DMA | (by_flag ? 0 : SLAB_ACCOUNT), NULL);
    gfp_t flags = by_flag ? GFP_KERNEL_ACCOUNT : GFP_KERNEL;
    struct quarry_account_info info;
    void *nobodys = cache_object(s, flags);
    (void)set_active_memcg(tenant);
    for (int i = 0; i < CACHE_NR; i++)
        CHECK((objs[i] = kmem_cache_alloc(s, flags)) != NULL);
    quarry_account_info_get(tenant, &info);
    CHECK(info.objects == CACHE_NR && info.charged_bytes == (size_t)CACHE_NR * 48);
    CHECK(kmem_cache_charge(nobodys, GFP_KERNEL) && kmem_cache_charge(objs[7], GFP_KERNEL));
    quarry_account_info_get(tenant, &info);
    CHECK(info.objects == CACHE_NR + 1);
    quarry_account_limit(tenant, info.charged_bytes);
    CHECK(kmem_cache_alloc(s, flags | __GFP_NORETRY) == NULL && info_of(s).active_objs == CACHE_NR + 1);
    kmem_cache_free(s, nobodys);
    for (int i = 0; i < CACHE_NR; i++)
        kfree(objs[i]);
    quarry_account_info_get(tenant, &info);
    CHECK(info.objects == 0 && info.charged_bytes == 0);
    kmem_cache_destroy(s);
}

static struct kmem_cache *shared_cache;

static void *cache_thread(void *arg) {
    enum { HELD = 50, STEPS = 200000 };
    unsigned long *p[HELD] = {NULL}, state = (uintptr_t)arg * 7919;
    for (int i = 0; i < STEPS; i++) {
        unsigned k = (unsigned)((state = state * 6364136223846793005u + 1442695040888963407u) >> 33) % HELD;
        if (p[k] != NULL) {
            CHECK(p[k][0] == (unsigned long)p[k] + (uintptr_t)arg && p[k][7] == p[k][0]);
            kfree(p[k]);
            p[k] = NULL;
        } else if ((p[k] = kmem_cache_alloc(shared_cache, GFP_KERNEL | __GFP_NOWARN)) != NULL) {
            p[k][0] = p[k][7] = (unsigned long)p[k] + (uintptr_t)arg;
        }
        if (i % 2000 == 0)
            (void)kmem_cache_shrink(shared_cache);
    }
    for (int k = 0; k < HELD; k++)
        kfree(p[k]);
    return NULL;
}

/* Slabs go back, and come, while others look for objects in them. */
static void cache_threads(size_t unused) {
    pthread_t threads[4];
    (void)unused;
    shared_cache = kmem_cache_create("shared", 2048, 0, SLAB_CACHE_DMA | SLAB_NO_MERGE, NULL);
    kfree(cache_object(shared_cache, GFP_KERNEL));
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, cache_thread, (void *)(i + 1)) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK(info_of(shared_cache).active_objs == 0 && kmem_cache_shrink(shared_cache) == 0);
    kmem_cache_destroy(shared_cache);
    uint64_t live = 1;
    CHECK(quarry_stat("pages_live_bytes", &live) == 0 && live == 0);
}

/* Pages that kfree takes; charged to who asks for that. */
static void by_kmalloc(size_t unused) {
    static const size_t all[] = {1, 100, 4096, 4097, 12000, 70000, 2 << 20};
    enum { NR = sizeof(all) / sizeof(all[0]), ROUNDS = 40 };
    struct quarry_account_info info;
    struct mem_cgroup *tenant = quarry_account_create("dma", 0);
    uint64_t live = 0;
    (void)unused;
    CHECK(tenant != NULL);
    for (int round = 0; round < ROUNDS; round++) {
        char *p[NR];
        size_t usable = 0;
        struct mem_cgroup *before = set_active_memcg(tenant);
        for (size_t i = 0; i < NR; i++) {
            p[i] = kzalloc(opaque_size(all[i]), (round % 2 ? GFP_KERNEL : GFP_KERNEL_ACCOUNT) | GFP_DMA | __GFP_NOWARN);
            if (p[i] == NULL)
                refused_here();
            CHECK(ksize(p[i]) == PAGE_SIZE << get_order(all[i]) && (uintptr_t)p[i] % ksize(p[i]) == 0);
            CHECK(bytes_are(p[i], 0, ksize(p[i]), 0));
            usable += ksize(p[i]);
            memset(p[i], 0xee, ksize(p[i]));
            dma_addr_t handle = dma_map_single(NULL, p[i], all[i], DMA_TO_DEVICE);
            CHECK(!dma_mapping_error(NULL, handle));
            check_frames(p[i], all[i], handle);
        }
        (void)set_active_memcg(before);
        quarry_account_info_get(tenant, &info);
        CHECK(info.charged_bytes == (round % 2 ? 0 : usable) && info.objects == (round % 2 ? 0 : NR));
        for (size_t i = 0; i < NR; i++) {
            if (i % 2 == 0)
                kfree(p[i]);
            else
                kvfree(p[i]);
        }
        quarry_account_info_get(tenant, &info);
        CHECK(info.charged_bytes == 0 && info.objects == 0);
    }
    CHECK(quarry_stat("pages_live_bytes", &live) == 0 && live == 0);
    char *p = kmalloc(opaque_size(100), GFP_KERNEL | GFP_DMA);
    CHECK(p != NULL && krealloc(p, 4096, GFP_KERNEL) == p);
    memset(p, 7, 4096);
    char *q = krealloc(p, 5000, GFP_KERNEL); /* the flags say what it is now */
    CHECK(q != NULL && q != p && bytes_are(q, 0, 4096, 7) && !is_for_devices(q));
    kfree(q);
    CHECK(quarry_stat("pages_live_bytes", &live) == 0 && live == 0);
}

/* Nobody can choose them: what there is is given, in one piece, and where it lies higher that is said once. */
static void below_4_gib(size_t unused) {
    static char said[4096];
    const dma_addr_t end = (dma_addr_t)1 << 32;
    dma_addr_t handle = 0;
    bool above = false;
    (void)unused;
    if (alloc_pages(GFP_KERNEL | GFP_DMA | __GFP_NOWARN, 0) == NULL)
        refused_here();
    int before = dup(STDERR_FILENO), file = memfd_create("said", MFD_CLOEXEC);
    CHECK(before >= 0 && file >= 0 && dup2(file, STDERR_FILENO) >= 0);
    for (unsigned order = 0; order <= 9; order++) {
        struct page *page = alloc_pages(GFP_KERNEL | GFP_DMA32, order);
        if (page == NULL) { /* the last needs a hugepage more */
            CHECK(dup2(before, STDERR_FILENO) >= 0);
            refused_here();
        }
        handle = dma_map_single(NULL, page_address(page), PAGE_SIZE << order, DMA_TO_DEVICE);
        CHECK(!dma_mapping_error(NULL, handle));
        check_frames(page_address(page), PAGE_SIZE << order, handle);
        above = above || handle + (PAGE_SIZE << order) > end;
        __free_pages(page, order);
    }
    CHECK(dup2(before, STDERR_FILENO) >= 0 && pread(file, said, sizeof(said) - 1, 0) >= 0);
    const char *line = strstr(said, "__GFP_DMA32: memory above 4 GiB");
    CHECK_MSG((line != NULL) == above && (line == NULL || strstr(line + 1, "__GFP_DMA32") == NULL), "above: %d, %s",
              above, said);
    void *p = dma_alloc_coherent(NULL, PAGE_SIZE, &handle, GFP_KERNEL | __GFP_DMA32 | __GFP_NOWARN);
    CHECK(p != NULL);
    check_frames(p, PAGE_SIZE, handle);
    void *q = kmalloc(opaque_size(50), GFP_KERNEL | GFP_DMA32 | __GFP_NOWARN);
    CHECK(q != NULL && dma_map_single(NULL, q, 50, DMA_TO_DEVICE) != DMA_MAPPING_ERROR);
    kfree(q);
}

static void *victim;

static unsigned long victim_count(struct shrinker *s, struct shrink_control *sc) {
    (void)s, (void)sc;
    return victim != NULL;
}

static unsigned long victim_scan(struct shrinker *s, struct shrink_control *sc) {
    (void)s, (void)sc;
    if (victim == NULL)
        return SHRINK_STOP;
    kfree(victim);
    victim = NULL;
    return 1;
}

/* At the account's limit the shrinkers are asked, as for any other object. */
static void limit_shrinks(size_t unused) {
    enum { LIMIT = 8192 };
    static struct shrinker shrinker = {
        .count_objects = victim_count, .scan_objects = victim_scan, .seeks = DEFAULT_SEEKS};
    dma_addr_t handle;
    (void)unused;
    void *p = coherent(PAGE_SIZE, &handle);
    dma_free_coherent(NULL, PAGE_SIZE, p, handle);
    CHECK(register_shrinker(&shrinker, "victim") == 0);
    struct mem_cgroup *tenant = quarry_account_create("limited", LIMIT);
    (void)set_active_memcg(tenant);
    CHECK((victim = kmalloc(LIMIT, GFP_KERNEL_ACCOUNT)) != NULL);
    CHECK(kmalloc(PAGE_SIZE, GFP_NOWAIT | GFP_DMA | __GFP_ACCOUNT | __GFP_NOWARN) == NULL && victim != NULL);
    p = kmalloc(PAGE_SIZE, GFP_KERNEL_ACCOUNT | GFP_DMA);
    CHECK(p != NULL && victim == NULL);
    kfree(p);
}

static const struct test_case table[] = {
    {"limit shrinks", limit_shrinks, 0, CASE_QUARRY},
    {"sizes", sizes, 0, CASE_QUARRY},
    {"stays", stays, 0, CASE_QUARRY},
    {"mapping", mapping, 0, CASE_QUARRY},
    {"kinds", kinds, 0, CASE_QUARRY},
    {"by kmalloc", by_kmalloc, 0, CASE_QUARRY},
    {"below 4 GiB", below_4_gib, 0, CASE_QUARRY},
    {"pools", pools, 0, CASE_QUARRY},
    {"pool threads", pool_threads, 0, CASE_QUARRY},
    {"pool misuse", pool_misuse, 0, CASE_QUARRY},
    {"caches", caches, 0, CASE_QUARRY},
    {"cache rules", cache_rules, 0, CASE_QUARRY},
    {"cache, charged", cache_charged, 0, CASE_QUARRY},
    {"cache, charged by flag", cache_charged, 1, CASE_QUARRY},
    {"cache threads", cache_threads, 0, CASE_QUARRY},
};

/* As who is not root: frame numbers are not told. */
static void give_up_rights(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    CHECK(syscall(SYS_capset, &header, none) == 0);
}

/* Nothing is lost by it, and other memory is to be had. */
static int refused(bool rights) {
    dma_addr_t handle = 7;
    uint64_t regions = 1;
    if (rights)
        deny_syscall(SYS_io_uring_setup, EPERM);
    else
        give_up_rights();
    for (int i = 0; i < 3; i++)
        CHECK(dma_alloc_coherent(NULL, 100, &handle, GFP_KERNEL) == NULL && handle == 7);
    struct kmem_cache *s = kmem_cache_create("none", 100, 0, SLAB_CACHE_DMA, NULL);
    void *objects[2];
    CHECK(s != NULL && kmem_cache_alloc(s, GFP_KERNEL) == NULL && kmem_cache_alloc(s, GFP_ATOMIC) == NULL);
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL, 2, objects) == 0 && kmem_cache_shrink(s) == 0);
    kmem_cache_destroy(s);
    CHECK(alloc_page(GFP_KERNEL) != NULL);
    CHECK(dma_mapping_error(NULL, dma_map_single(NULL, kmalloc(4096, GFP_KERNEL), 4096, DMA_TO_DEVICE)));
    CHECK(quarry_stat("big_regions", &regions) == 0 && regions == 0);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && (strcmp(argv[1], "--refused") == 0 || strcmp(argv[1], "--without-rights") == 0))
        return refused(argv[1][2] == 'r');
    return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0]));
}
