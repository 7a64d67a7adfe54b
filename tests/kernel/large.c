/* SPDX-License-Identifier: MIT */
/* Caches of objects above the largest of the heap's classes, whose slabs are pages. One process for each case. */
#include "cases.h"
#include "grace.h"
#include "kernel.h"

#include <fcntl.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <malloc.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NR = 6 };

static void *objs[NR];

static struct quarry_kmem_cache_info info_of(struct kmem_cache *s) {
    struct quarry_kmem_cache_info info;
    quarry_kmem_cache_info_get(s, &info);
    return info;
}

/* A child that frees p ends by SIGABRT, with a line that has want in it. */
static void expect_misuse(void *p, const char *want) {
    char said[4096] = "";
    int ends[2], status = 0;
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(dup2(ends[1], STDERR_FILENO) >= 0);
        kfree(p);
        _exit(0);
    }
    close(ends[1]);
    for (size_t len = 0; len < sizeof(said) - 1;) {
        ssize_t n = read(ends[0], said + len, sizeof(said) - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    close(ends[0]);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CHECK_MSG(strstr(said, want) != NULL, "%s", said);
}

/* The row of slabinfo that begins with the name and goes on so. */
static bool row_is(const char *name, const char *rest) {
    static char text[1 << 16];
    char start[32];
    (void)snprintf(start, sizeof(start), "\n%-17s ", name);
    CHECK(quarry_slabinfo(text, sizeof(text)) < sizeof(text));
    const char *row = strstr(text, start);
    return row != NULL && strncmp(row + strlen(start), rest, strlen(rest)) == 0;
}

static unsigned large_constructed;

static void large_construct(void *p) {
    large_constructed++;
    *(unsigned *)p = 77;
}

/* Larger than the heap's classes: an object for each slab, which comes and goes with it. */
static void large(size_t size) {
    uint64_t before = 0, after = 1;
    char row[128];
    struct kmem_cache *s = kmem_cache_create("large", (unsigned)size, 0, SLAB_NO_MERGE, large_construct);
    CHECK(s != NULL && quarry_stat("pages_live_bytes", &before) == 0);
    struct quarry_kmem_cache_info info = info_of(s);
    CHECK(!info.percpu && info.slot_bytes == size && info.objs_per_slab == 1 && info.slabs == 0);
    CHECK(info.slab_bytes >= size && info.slab_bytes < 2 * size && (info.slab_bytes & (info.slab_bytes - 1)) == 0);
    for (int round = 1; round <= 3; round++) {
        large_constructed = 0;
        for (int i = 0; i < NR; i++) {
            CHECK((objs[i] = kmem_cache_alloc(s, GFP_KERNEL)) != NULL && *(unsigned *)objs[i] == 77);
            CHECK((uintptr_t)objs[i] % info.slab_bytes == 0 && ksize(objs[i]) == size);
            memset(objs[i], i, size);
        }
        CHECK(large_constructed == NR && info_of(s).active_objs == NR && info_of(s).full == NR);
        (void)snprintf(row, sizeof(row), "%6d %6d %6zu %4d %4lu : tunables    0    0    0 : slabdata %6d %6d %6d\n", NR,
                       NR, size, 1, info.slab_bytes / PAGE_SIZE, NR, NR, 0);
        CHECK_MSG(row_is("large", row), "no row %s", row);
        for (int i = 0; i < NR; i++)
            CHECK_MSG(bytes_are(objs[i], 0, size, (unsigned char)i), "object %d of %zu bytes was written", i, size);
        CHECK(krealloc(objs[0], size / 2, GFP_KERNEL) == objs[0]);
        kfree(objs[0]);
        free(objs[1]);
        grace_free(objs[2]);
        kmem_cache_free(s, objs[3]);
        kmem_cache_free_bulk(s, 1, &objs[4]);
        kmem_cache_free_bulk(NULL, 1, &objs[5]);
        grace_end();
        CHECK(info_of(s).active_objs == 0 && info_of(s).slabs == 0);
        CHECK(quarry_stat("pages_live_bytes", &after) == 0 && after == before);
    }
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL, NR, objs) == NR && info_of(s).active_objs == NR);
    kmem_cache_free_bulk(s, NR, objs);
    CHECK((objs[0] = kmem_cache_alloc(s, GFP_KERNEL | __GFP_NOFAIL)) != NULL);
    expect_misuse((char *)objs[0] + PAGE_SIZE, "error Q02 interior-pointer");
    kmem_cache_free(s, objs[0]);
    CHECK(kmem_cache_shrink(s) == 0);
    kmem_cache_destroy(s);
}

/* A small object, but no class is aligned so; memory that stays of its type; what is asked to be debugged. */
static void large_rules(size_t unused) {
    (void)unused;
    enum { SIZE = 3 << 20 };
    struct kmem_cache_args wide = {.align = 4 << 20};
    struct kmem_cache *s = kmem_cache_create("wide", 100, &wide, 0),
                      *same = kmem_cache_create("same", 4 << 20, 0, 0, NULL);
    CHECK(s == same && info_of(s).align_bytes == 4 << 20 && info_of(s).aliases == 1);
    void *p = kmem_cache_alloc(s, GFP_KERNEL);
    CHECK((uintptr_t)p % (4 << 20) == 0);
    kmem_cache_free(s, p);
    kmem_cache_destroy(s);
    kmem_cache_destroy(same);
    s = kmem_cache_create("typesafe", SIZE, 0, SLAB_TYPESAFE_BY_RCU, NULL);
    CHECK((p = kmem_cache_alloc(s, GFP_KERNEL)) != NULL);
    *(int *)p = 5;
    kmem_cache_free(s, p);
    CHECK(*(volatile int *)p == 5 && info_of(s).slabs == 1 && info_of(s).empty == 1);
    CHECK(kmem_cache_alloc(s, GFP_KERNEL) == p);
    kmem_cache_free(s, p);
    kmem_cache_destroy(s);
    s = kmem_cache_create("poisoned", SIZE, 0, SLAB_POISON | SLAB_RED_ZONE | SLAB_STORE_USER, NULL);
    CHECK((p = kmem_cache_zalloc(s, GFP_KERNEL)) != NULL && bytes_are(p, 0, SIZE, 0) && ksize(p) == SIZE);
    kmem_cache_free(s, p);
    kmem_cache_destroy(s);
    struct quarry_account_info charged;
    struct mem_cgroup *tenant = quarry_account_create("large", 8 << 20), *before = set_active_memcg(tenant);
    s = kmem_cache_create("charged", SIZE, 0, SLAB_ACCOUNT | SLAB_RECLAIM_ACCOUNT, NULL);
    CHECK((p = kmem_cache_alloc(s, GFP_KERNEL)) != NULL && (objs[0] = kmem_cache_alloc(s, GFP_KERNEL)) != NULL);
    CHECK(kmem_cache_alloc(s, GFP_KERNEL) == NULL && info_of(s).slabs == 2);
    quarry_account_info_get(tenant, &charged);
    CHECK(charged.charged_bytes == 2 * SIZE && charged.objects == 2);
    (void)set_active_memcg(before);
    kmem_cache_free(s, p);
    kmem_cache_free(s, objs[0]);
    quarry_account_info_get(tenant, &charged);
    CHECK(charged.charged_bytes == 0 && charged.objects == 0);
    kmem_cache_destroy(s);
}

/* Several threads take and give objects of one cache, each with marks of its own at both ends. */
enum { SHARED_BYTES = 1100000, SHARED_THREADS = 4 };
static struct kmem_cache *shared;

static void mark_ends(char *p, unsigned mark) { p[0] = p[SHARED_BYTES - 1] = (char)mark; }
static bool ends_are(const char *p, unsigned mark) { return p[0] == (char)mark && p[SHARED_BYTES - 1] == (char)mark; }

static void *large_worker(void *number) {
    enum { ROUNDS = 300 };
    unsigned mark = 2 * (unsigned)(uintptr_t)number + 1;
    for (int i = 0; i < ROUNDS; i++) {
        char *p = kmem_cache_alloc(shared, GFP_KERNEL), *q = kmem_cache_alloc(shared, GFP_KERNEL);
        CHECK(p != NULL && q != NULL && p != q);
        mark_ends(p, mark);
        mark_ends(q, mark + 1);
        (void)sched_yield();
        CHECK_MSG(ends_are(p, mark) && ends_are(q, mark + 1), "two have one object, in round %d", i);
        kmem_cache_free(shared, p);
        kfree(q);
    }
    return NULL;
}

static void large_threads(size_t unused) {
    pthread_t thread[SHARED_THREADS];
    (void)unused;
    shared = kmem_cache_create("shared", SHARED_BYTES, 0, SLAB_NO_MERGE, NULL);
    for (uintptr_t i = 0; i < SHARED_THREADS; i++)
        CHECK(pthread_create(&thread[i], NULL, large_worker, (void *)i) == 0);
    for (int i = 0; i < SHARED_THREADS; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    CHECK(info_of(shared).active_objs == 0 && info_of(shared).slabs == 0);
    kmem_cache_destroy(shared);
}

/* Records of slabs are used again, whoever gave them back, and however many others there are: what is live beside the
 * objects does not grow with the calls. */
static void records(size_t unused) {
    enum { STAY = 300, WORKS = 4, GROWTH_BYTES = 256 << 10 };
    static void *stay[STAY];
    (void)unused;
    shared = kmem_cache_create("records", SHARED_BYTES, 0, SLAB_NO_MERGE, NULL);
    for (int i = 0; i < STAY; i++)
        CHECK((stay[i] = kmem_cache_alloc(shared, GFP_KERNEL)) != NULL);
    for (int i = 0; i < STAY; i += 2)
        kmem_cache_free(shared, stay[i]);
    size_t before = mallinfo2().uordblks;
    for (int work = 0; work < WORKS; work++) {
        pthread_t thread[SHARED_THREADS];
        for (uintptr_t i = 0; i < SHARED_THREADS; i++)
            CHECK(pthread_create(&thread[i], NULL, large_worker, (void *)i) == 0);
        for (int i = 0; i < SHARED_THREADS; i++)
            CHECK(pthread_join(thread[i], NULL) == 0);
    }
    size_t after = mallinfo2().uordblks;
    CHECK_MSG(after < before + GROWTH_BYTES, "%zu bytes are live, %zu were before", after, before);
    CHECK_MSG(info_of(shared).active_objs == STAY / 2, "%zu objects", info_of(shared).active_objs);
    for (int i = 1; i < STAY; i += 2)
        kmem_cache_free(shared, stay[i]);
    CHECK(info_of(shared).slabs == 0);
    kmem_cache_destroy(shared);
}

static const struct test_case table[] = {
    {"large, a slot more than a class", large, (1 << 20) + 16, CASE_QUARRY},
    {"large, of a power of two", large, 2 << 20, CASE_QUARRY},
    {"large, of none", large, (5 << 20) / 2, CASE_QUARRY},
    {"large, the largest", large, QUARRY_KMEM_CACHE_MAX_SIZE, CASE_QUARRY},
    {"rules", large_rules, 0, CASE_QUARRY},
    {"threads", large_threads, 0, CASE_QUARRY},
    {"records", records, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
