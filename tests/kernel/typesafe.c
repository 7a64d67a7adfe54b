/* SPDX-License-Identifier: MIT */
/* Slabs of SLAB_TYPESAFE_BY_RCU and grace periods, case by case, with grace periods that end when the test says so;
 * typesafe_torture.c has readers. */
#include "cases.h"
#include "kernel.h"

#include <linux/rcupdate.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OBJS_NR = 4000, FEW = 100, BYTES = 320, LARGE_BYTES = 3000 /* few of them in magazines */, MARK = 0x600d };

/* Until what nobody is asked for is done: by a thread that may have to wait for its CPU. */
#define LOOKS (100 * limit_seconds(10))
enum { LOOK_US = 10000 };

static void *objs[OBJS_NR];
static int ctor_nr;

static void mark(void *p) {
    *(int *)p = MARK;
    ctor_nr++;
}

/* --- grace periods that end on request --- */

static atomic_int begun, allowed;

static void grace_when_allowed(void) {
    int mine = atomic_fetch_add(&begun, 1) + 1;
    while (atomic_load(&allowed) < mine)
        usleep(200);
}
static const struct quarry_rcu_flavour on_request = {.synchronize = grace_when_allowed};

static void wait_until_begun(int nr) {
    while (atomic_load(&begun) < nr)
        usleep(200);
}

static void allow_all(void) { atomic_store(&allowed, 1 << 30); }

/* --- a cache, and how many slabs it has --- */

static size_t slabs_of(struct kmem_cache *s) {
    struct quarry_kmem_cache_info info;
    quarry_kmem_cache_info_get((struct quarry_kmem_cache *)s, &info);
    return info.slabs;
}

static struct kmem_cache *cache_make(unsigned bytes) {
    CHECK(quarry_rcu_use(&on_request) == 0);
    struct kmem_cache *s = kmem_cache_create("typesafe", bytes, 0, SLAB_TYPESAFE_BY_RCU, mark);
    CHECK(s != NULL);
    return s;
}

static void fill(struct kmem_cache *s) { CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL, OBJS_NR, objs) == OBJS_NR); }

static bool marks_are_whole(void) {
    for (int i = 0; i < OBJS_NR; i++) {
        if (*(int *)opaque(objs[i]) != MARK)
            return false;
    }
    return true;
}

/* Slabs it took. */
static size_t fill_and_free(struct kmem_cache *s) {
    fill(s);
    size_t slabs = slabs_of(s);
    kmem_cache_free_bulk(s, OBJS_NR, objs);
    return slabs;
}

/* Slabs stay for the grace period, with what is in their objects, and go after it. */
static void shrink(size_t unused) {
    struct kmem_cache *s = cache_make(BYTES);
    (void)unused;
    size_t slabs = fill_and_free(s);
    CHECK(kmem_cache_shrink(s) == 1 && slabs_of(s) == slabs);
    wait_until_begun(1);
    CHECK(kmem_cache_shrink(s) == 1 && slabs_of(s) == slabs && marks_are_whole());
    allow_all();
    rcu_barrier();
    CHECK_MSG(slabs_of(s) == 0, "%zu of %zu slabs are left after the grace period", slabs_of(s), slabs);
    fill(s);
    CHECK(marks_are_whole() && ctor_nr >= 2 * OBJS_NR);
    kmem_cache_free_bulk(s, OBJS_NR, objs);
    kmem_cache_destroy(s);
}

/* What was taken and freed again while the grace period passed has to wait for another one. */
static void used_meanwhile(size_t unused) {
    struct kmem_cache *s = cache_make(BYTES);
    (void)unused;
    fill(s);
    kmem_cache_free_bulk(s, OBJS_NR, objs);
    CHECK(kmem_cache_shrink(s) == 1);
    wait_until_begun(1);
    fill(s); /* of the slabs that wait */
    size_t slabs = slabs_of(s);
    kmem_cache_free_bulk(s, OBJS_NR, objs);
    quarry_trim(0); /* out of the magazines */
    atomic_store(&allowed, 1);
    wait_until_begun(2); /* so the first one is over, and the slabs wait again */
    CHECK_MSG(slabs_of(s) == slabs && marks_are_whole(), "%zu slabs of %zu", slabs_of(s), slabs);
    allow_all();
    rcu_barrier();
    rcu_barrier();
    CHECK(slabs_of(s) < slabs / 8);
    kmem_cache_destroy(s);
}

/* Nobody asks: the next slow call of anybody does. */
static void by_itself(size_t unused) {
    struct kmem_cache *s = cache_make(LARGE_BYTES);
    (void)unused;
    size_t slabs = fill_and_free(s);
    CHECK(slabs_of(s) == slabs);
    kfree(kmalloc(opaque_size(2 << 20), GFP_KERNEL)); /* a slow call */
    wait_until_begun(1);
    CHECK(slabs_of(s) == slabs && marks_are_whole());
    allow_all();
    for (unsigned i = 0; i < LOOKS && slabs_of(s) > slabs / 4; i++)
        usleep(LOOK_US);
    CHECK_MSG(slabs_of(s) <= slabs / 4, "%zu of %zu slabs are left", slabs_of(s), slabs);
    kmem_cache_destroy(s);
}

static atomic_int destroyed;
static void *destroyer(void *s) {
    kmem_cache_destroy(s);
    atomic_store(&destroyed, 1);
    return NULL;
}

/* A reader may look at objects of a cache that is being destroyed. So few that no other grace period is asked for. */
static void destroy(size_t unused) {
    pthread_t thread;
    struct kmem_cache *s = cache_make(BYTES);
    (void)unused;
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL, FEW, objs) == FEW);
    kmem_cache_free_bulk(s, FEW, objs);
    CHECK(pthread_create(&thread, NULL, destroyer, s) == 0);
    while (atomic_load(&begun) == 0 && !atomic_load(&destroyed))
        usleep(200);
    CHECK(!atomic_load(&destroyed) && *(int *)opaque(objs[0]) == MARK);
    allow_all();
    CHECK(pthread_join(thread, NULL) == 0 && atomic_load(&destroyed));
    uint64_t slabs_before, slabs;
    CHECK(quarry_stat("slabs", &slabs_before) == 0);
    s = cache_make(BYTES); /* with slabs of its own again */
    CHECK(slabs_of(s) == 0);
    fill(s);
    kmem_cache_free_bulk(s, OBJS_NR, objs);
    kmem_cache_destroy(s);
    CHECK(quarry_stat("slabs", &slabs) == 0 && slabs <= slabs_before);
}

/* The fork comes while slabs wait: both give them back, the child by a grace period of its own. */
static void child(size_t unused) {
    int status;
    struct kmem_cache *s = cache_make(BYTES);
    (void)unused;
    fill(s);
    kmem_cache_free_bulk(s, OBJS_NR, objs);
    CHECK(kmem_cache_shrink(s) == 1);
    wait_until_begun(1);
    pid_t pid = fork();
    CHECK(pid >= 0);
    allow_all();
    CHECK(pid != 0 || kmem_cache_shrink(s) == 1);
    rcu_barrier();
    rcu_barrier();
    CHECK_MSG(slabs_of(s) == 0, "%zu slabs are left %s", slabs_of(s), pid == 0 ? "in the child" : "in the parent");
    kmem_cache_destroy(s);
    if (pid == 0)
        _exit(0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static const struct test_case table[] = {
    {"shrink", shrink, 0, CASE_QUARRY},       {"used meanwhile", used_meanwhile, 0, CASE_QUARRY},
    {"by itself", by_itself, 0, CASE_QUARRY}, {"destroy", destroy, 0, CASE_QUARRY},
    {"child of fork", child, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
