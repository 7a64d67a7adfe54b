/* SPDX-License-Identifier: MIT */
/*
 * kmalloc(GFP_ATOMIC), objects of caches one by one, by the bulk and out of sheaves, elements of mempools, per-CPU
 * variables, pages, kfree of anything, vfree_atomic and free_pages in a thread that the kernel kills for any system
 * call, while another thread may block and keeps the reserve filled. Nothing may be handed out twice, nearly all
 * requests must be served, and what is freed by unmapping goes back all the same.
 */
#include "atomic.h"

#include <linux/filter.h>
#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/seccomp.h>
#include <linux/vmalloc.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STEPS = 1000000, SOAK_STEPS = 100000000, BURST = 64, GIFT_NR = 512, GIFT_BYTES = 48000, SERVED_MIN_PCT = 90 };

/* Objects of GFP_KERNEL that the atomic thread gives back: so many that another free would purge memory. */
static void *gift[GIFT_NR];
static atomic_int gift_ready;

/* Set and entered by both threads, if all is to be charged. */
static struct mem_cgroup *account;
static gfp_t charged;

static struct box box = {.rng = {1}, .large = 30000};
static atomic_int finished;

static void forbid_all(void) {
    struct sock_filter kill = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {.len = 1, .filter = &kill};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
        check_skip("no seccomp filters here");
}

/* What is freed by unmapping, at other times: objects above all classes, areas, pages. */
enum { MAPPED_NR = 4, MAPPED_ORDER = 9 };
static struct {
    void *object, *area;
    unsigned long pages, block, mapping;
    struct page *counted;
} mapped[MAPPED_NR];
static atomic_int mapped_ready;

static void mapped_make(void) {
    for (int i = 0; i < MAPPED_NR; i++) {
        CHECK((mapped[i].object = kmalloc(opaque_size(3 << 20), GFP_KERNEL)) != NULL);
        CHECK((mapped[i].area = __vmalloc(300000, GFP_KERNEL | charged)) != NULL);
        CHECK((mapped[i].pages = __get_free_pages(GFP_KERNEL, 2)) != 0);
        CHECK((mapped[i].block = __get_free_pages(GFP_KERNEL, MAPPED_ORDER)) != 0);
        CHECK((mapped[i].mapping = __get_free_pages(GFP_KERNEL, MAX_PAGE_ORDER)) != 0);
        CHECK((mapped[i].counted = alloc_pages(GFP_KERNEL, MAPPED_ORDER)) != NULL);
    }
}

static void mapped_free(void) {
    for (int i = 0; i < MAPPED_NR; i++) {
        kfree(mapped[i].object);
        vfree_atomic(mapped[i].area);
        free_pages(mapped[i].pages, 2);
        free_pages(mapped[i].block, MAPPED_ORDER);
        free_pages(mapped[i].mapping, MAX_PAGE_ORDER);
        put_page(mapped[i].counted);
    }
}

/* The other thread is there, and waits: what it freed is given back by others. */
static void all_is_given_back(void) {
    uint64_t cached, regions, free_pages_bytes;
    kfree(kmalloc(opaque_size(3 << 20), GFP_KERNEL));
    quarry_trim(0);
    CHECK(quarry_stat("big_cached_bytes", &cached) == 0 && quarry_stat("big_regions", &regions) == 0 &&
          quarry_stat("pages_free_bytes", &free_pages_bytes) == 0);
    CHECK_MSG(cached == 0 && regions == 0 && free_pages_bytes == 0,
              "%lu bytes, %lu regions, %lu bytes of pages are left", (unsigned long)cached, (unsigned long)regions,
              (unsigned long)free_pages_bytes);
}

/* --- the rest of the API --- */

enum { KINDS_HELD = 24, POOL_NR = 20, PAGES_HELD = 8, VARIABLES_HELD = 4 };
enum kind { OBJECT, BULK, SHEAF, ELEMENT, VARIABLE, PAGE, NOLOCK, KINDS_NR };
static const char *const kind_names[KINDS_NR] = {"objects",   "runs of objects", "objects of sheaves",       "elements",
                                                 "variables", "pages",           "objects of kmalloc_nolock"};
static struct kmem_cache *cache;
static mempool_t *pool;
static struct slab_sheaf *sheaf; /* full, while it is the atomic thread's */
static atomic_int sheaf_ready;
static unsigned long kinds_tried[KINDS_NR], kinds_served[KINDS_NR];

static void kinds_make(void) {
    CHECK((cache = kmem_cache_create("atomic", 200, 0, SLAB_NO_MERGE, NULL)) != NULL);
    CHECK((pool = mempool_create_slab_pool(POOL_NR, cache)) != NULL);
    CHECK((sheaf = kmem_cache_prefill_sheaf(cache, GFP_KERNEL, KINDS_HELD)) != NULL);
    atomic_store(&sheaf_ready, 1);
    free_percpu(alloc_percpu(long));
}

/* All of it goes back, or the cache says what does not, which the driver sees. */
static void kinds_end(void) {
    kmem_cache_return_sheaf(cache, GFP_KERNEL, sheaf);
    CHECK(mempool_is_saturated(pool));
    mempool_destroy(pool);
    kmem_cache_destroy(cache);
}

static bool kind_got(enum kind kind, const void *p) {
    kinds_tried[kind]++;
    kinds_served[kind] += p != NULL;
    return p != NULL;
}

/* Each has one owner: it is stamped, and the stamps are there when all are. */
static void stamps_set(void **all, size_t nr) {
    for (size_t i = 0; i < nr; i++)
        *(unsigned long *)all[i] = (unsigned long)all[i] + i;
}
static void stamps_check(void **all, size_t nr) {
    for (size_t i = 0; i < nr; i++)
        CHECK(*(unsigned long *)all[i] == (unsigned long)all[i] + i);
}

static void objects_step(void) {
    void *all[KINDS_HELD], *run[KINDS_HELD];
    size_t nr = 0;
    while (nr < KINDS_HELD && kind_got(OBJECT, all[nr] = kmem_cache_alloc(cache, GFP_ATOMIC | charged)))
        nr++;
    int got = kmem_cache_alloc_bulk(cache, GFP_ATOMIC | charged, KINDS_HELD, run);
    CHECK(got == 0 || got == KINDS_HELD);
    (void)kind_got(BULK, got == 0 ? NULL : run);
    stamps_set(all, nr);
    stamps_set(run, (size_t)got);
    stamps_check(all, nr);
    stamps_check(run, (size_t)got);
    for (size_t i = 0; i < nr; i++)
        kmem_cache_free(cache, all[i]);
    kmem_cache_free_bulk(cache, (size_t)got, run);
}

/* What is in the sheaf is there, whatever memory there is. */
static void sheaf_step(void) {
    void *all[KINDS_HELD];
    if (!atomic_load(&sheaf_ready))
        return;
    for (size_t i = 0; i < KINDS_HELD; i++)
        CHECK(kind_got(SHEAF, all[i] = kmem_cache_alloc_from_sheaf(cache, GFP_ATOMIC | charged, sheaf)));
    stamps_set(all, KINDS_HELD);
    stamps_check(all, KINDS_HELD);
    kmem_cache_free_bulk(cache, KINDS_HELD, all);
    atomic_store(&sheaf_ready, 0);
}

/* So many as are kept are there. */
static void elements_step(void) {
    void *all[KINDS_HELD];
    size_t nr = 0;
    while (nr < KINDS_HELD && kind_got(ELEMENT, all[nr] = mempool_alloc(pool, GFP_ATOMIC)))
        nr++;
    CHECK(nr >= POOL_NR);
    stamps_set(all, nr);
    stamps_check(all, nr);
    while (nr > 0)
        mempool_free(all[--nr], pool);
}

static void variables_step(void) {
    long *all[VARIABLES_HELD];
    size_t nr = 0;
    while (nr < VARIABLES_HELD && kind_got(VARIABLE, all[nr] = alloc_percpu_gfp(long, GFP_ATOMIC | charged)))
        nr++;
    for (size_t i = 0; i < nr; i++) {
        unsigned cpu;
        for_each_possible_cpu(cpu) {
            CHECK(*per_cpu_ptr(all[i], cpu) == 0);
            *per_cpu_ptr(all[i], cpu) = (long)i;
        }
    }
    for (size_t i = 0; i < nr; i++) {
        CHECK(*per_cpu_ptr(all[i], 0) == (long)i);
        free_percpu(all[i]);
    }
}

static void pages_step(size_t round) {
    unsigned order = (unsigned)(round % 3);
    void *all[PAGES_HELD];
    size_t nr = 0;
    for (; nr < PAGES_HELD; nr++) {
        struct page *page = alloc_pages(GFP_ATOMIC | __GFP_NOWARN | charged, order);
        if (!kind_got(PAGE, page))
            break;
        all[nr] = page_address(page);
    }
    stamps_set(all, nr);
    stamps_check(all, nr);
    while (nr > 0)
        free_pages((unsigned long)all[--nr], order);
}

static void nolock_step(size_t round) {
    void *all[KINDS_HELD];
    size_t nr = 0;
    while (nr < KINDS_HELD && kind_got(NOLOCK, all[nr] = kmalloc_nolock(64 + round % 512, charged, NUMA_NO_NODE)))
        nr++;
    stamps_set(all, nr);
    stamps_check(all, nr);
    while (nr > 0)
        kfree_nolock(all[--nr]);
}

static void kinds_step(size_t round) {
    objects_step();
    sheaf_step();
    elements_step();
    variables_step();
    pages_step(round);
    nolock_step(round);
}

static void kinds_look(void) {
    /* Runs are refused whole; of pages runs may not be in the reserve. The sheaf's are counted to be seen. */
    static const unsigned served_min_pct[KINDS_NR] = {90, 75, 100, 90, 90, 75, 50};
    for (enum kind kind = 0; kind < KINDS_NR; kind++) {
        printf("%lu of %lu %s served\n", kinds_served[kind], kinds_tried[kind], kind_names[kind]);
        CHECK_MSG(kinds_tried[kind] > 0 && kinds_served[kind] * 100 >= kinds_tried[kind] * served_min_pct[kind],
                  "only %lu of %lu %s were served", kinds_served[kind], kinds_tried[kind], kind_names[kind]);
    }
}

/* Single objects and bursts of one size, which empty and fill magazines and slabs. */
static void *atomic_run(void *steps) {
    size_t left = (size_t)steps;
    void *burst[BURST];
    (void)set_active_memcg(account);
    forbid_all();
    while (left > 0) {
        for (int i = 0; i < 1000 && left > 0; i++, left--)
            box_step(&box, charged | (i % 2 ? GFP_ATOMIC : GFP_ATOMIC | __GFP_ZERO));
        size_t size = box_size(&box), got = 0;
        while (got < BURST && (burst[got] = kmalloc(size, GFP_NOWAIT | charged)) != NULL)
            got++;
        kfree_bulk(got, burst);
        kinds_step(left / 1000);
        if (atomic_load(&gift_ready)) {
            kfree_bulk(GIFT_NR, gift);
            atomic_store(&gift_ready, 0);
        }
        if (atomic_load(&mapped_ready)) {
            mapped_free();
            atomic_store(&mapped_ready, 0);
        }
    }
    box_empty(&box);
    atomic_store(&finished, 1);
    for (;;) /* even its end would be a system call */
        atomic_signal_fence(memory_order_relaxed);
    return NULL;
}

static void charge_all(void) {
    CHECK((account = quarry_account_create("all", 0)) != NULL);
    charged = __GFP_ACCOUNT;
    (void)set_active_memcg(account);
}

static void nothing_is_charged(void) {
    struct quarry_account_info info;
    quarry_account_info_get(account, &info);
    CHECK_MSG(info.objects == 0 && info.charged_bytes == 0 && info.peak_bytes > 0,
              "%zu objects of %zu bytes are charged", info.objects, info.charged_bytes);
}

/* atomic_seccomp [STEPS [charged]] */
int main(int argc, char **argv) {
    size_t steps = argc > 1 ? strtoul(argv[1], NULL, 10) : getenv("SOAK") != NULL ? SOAK_STEPS : STEPS;
    static struct box own = {.rng = {2}, .large = 200000};
    pthread_t thread;
    if (argc > 2)
        charge_all();
    kinds_make();
    CHECK(pthread_create(&thread, NULL, atomic_run, (void *)steps) == 0);
    while (!atomic_load(&finished)) {
        for (int i = 0; i < 200; i++)
            box_step(&own, GFP_KERNEL | charged);
        if (!atomic_load(&gift_ready)) {
            for (int i = 0; i < GIFT_NR; i++)
                CHECK((gift[i] = kmalloc(GIFT_BYTES, GFP_KERNEL | charged)) != NULL);
            atomic_store(&gift_ready, 1);
        }
        if (!atomic_load(&mapped_ready)) {
            mapped_make();
            atomic_store(&mapped_ready, 1);
        }
        if (!atomic_load(&sheaf_ready)) {
            CHECK(kmem_cache_refill_sheaf(cache, GFP_KERNEL, &sheaf, KINDS_HELD) == 0);
            atomic_store(&sheaf_ready, 1);
        }
        usleep(100);
    }
    if (atomic_load(&mapped_ready))
        mapped_free();
    kfree_bulk(atomic_load(&gift_ready) ? GIFT_NR : 0, gift);
    box_empty(&own);
    kinds_look();
    kinds_end();
    all_is_given_back();
    if (account != NULL)
        nothing_is_charged();
    CHECK_MSG(own.refused == 0, "GFP_KERNEL was refused %lu times", own.refused);
    printf("%lu of %lu of kmalloc's objects served\n", box.served, box.served + box.refused);
    (void)fflush(stdout);
    CHECK_MSG(box.served * 100 >= (box.served + box.refused) * SERVED_MIN_PCT, "%lu served, %lu refused", box.served,
              box.refused);
    _exit(0);
}
