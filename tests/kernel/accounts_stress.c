/* SPDX-License-Identifier: MIT */
/*
 * Many threads in many accounts, which change all the while: each charges objects of kmalloc and of caches, areas,
 * pages, which are freed in parts, and per-CPU data to the account it is in, hands them to others through mailboxes,
 * and frees what it finds there. An account above its limit, an object with two owners, and, when all threads stand
 * still, an account that is charged for another number of objects than are stamped with it, end the program as failed;
 * so does anything that is charged when all is freed. Time-boxed: --seconds.
 */
#include "kernel.h"

#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/vmalloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { THREADS = 8, ACCOUNTS = 12, MAILBOXES = 512, ROUND_STEPS = 20000, SEED = 20261122, ORDER_MAX = 2 };
#define LIMIT_BYTES ((size_t)30000)

struct thing {
    uint64_t owner, check;
    unsigned pages_nr; /* 0: it is no page */
    long *percpu;
};

static struct mem_cgroup *accounts[ACCOUNTS];
static struct kmem_cache *cache;
static _Atomic(struct thing *) mailboxes[MAILBOXES];
static atomic_ulong refused_nr, steps_nr;
static atomic_bool time_is_up;
static bool over; /* written while all stand still */
static pthread_barrier_t still;

static uint64_t random_next(uint64_t *seed) {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1du;
}

/* Pages of which some are freed at once. */
static struct thing *pages_new(uint64_t dice, gfp_t flags, unsigned *ret_nr) {
    unsigned order = (unsigned)(dice >> 8) % (ORDER_MAX + 1);
    struct page *page = alloc_pages(flags, order);
    if (page == NULL)
        return NULL;
    *ret_nr = 1u << order;
    if ((dice >> 12 & 1) != 0) {
        split_page(page, order);
        for (; *ret_nr > 1 + (dice >> 16) % (1u << order); --*ret_nr)
            __free_page(page + *ret_nr - 1);
    } else {
        get_page(page); /* frees all but the first page, from its second reference on */
        __free_pages(page, order);
        *ret_nr = 1;
    }
    return page_address(page);
}

static struct thing *thing_new(uint64_t *seed, unsigned account) {
    uint64_t dice = random_next(seed);
    unsigned pages_nr = 0;
    gfp_t flags = (dice & 1) != 0 ? GFP_KERNEL_ACCOUNT | __GFP_NORETRY : GFP_NOWAIT | __GFP_ACCOUNT;
    struct thing *t = (dice & 0x3f1) == 1   ? __vmalloc(20000, flags)
                      : (dice & 0x1e) == 16 ? pages_new(dice, flags, &pages_nr)
                      : (dice & 6) == 0     ? kmem_cache_alloc(cache, flags)
                                            : kmalloc(sizeof(*t) + (dice >> 8) % (dice >> 40 & 1 ? 3000 : 100), flags);
    if (t == NULL) {
        atomic_fetch_add(&refused_nr, 1);
        return NULL;
    }
    t->owner = account;
    t->check = account ^ (uintptr_t)t;
    t->pages_nr = pages_nr;
    t->percpu = (dice >> 48 & 3) == 0 ? alloc_percpu_gfp(long, flags) : NULL;
    return t;
}

static void thing_free(struct thing *t) {
    CHECK_MSG(t->owner < ACCOUNTS && t->check == (t->owner ^ (uintptr_t)t), "an object has two owners");
    t->check = 0;
    free_percpu(t->percpu);
    unsigned pages_nr = t->pages_nr;
    if (pages_nr == 0)
        kvfree(t);
    for (unsigned i = 0; i < pages_nr; i++)
        free_page((unsigned long)t + i * PAGE_SIZE);
}

/* Objects it is charged for. */
static size_t thing_objects(const struct thing *t) {
    return (t->pages_nr != 0 ? t->pages_nr : 1) + (t->percpu != NULL);
}

static void step(uint64_t *seed) {
    uint64_t dice = random_next(seed);
    unsigned account = (unsigned)(dice % ACCOUNTS), box = (unsigned)(dice >> 32) % MAILBOXES;
    struct quarry_account_info info;
    (void)set_active_memcg(accounts[account]);
    struct thing *t = thing_new(seed, account), *old = atomic_exchange(&mailboxes[box], t);
    if (old != NULL)
        thing_free(old);
    quarry_account_info_get(accounts[account], &info);
    CHECK_MSG(info.charged_bytes <= LIMIT_BYTES, "%zu bytes are charged", info.charged_bytes);
}

/* All stand still: what is in the mailboxes is all there is. */
static void count(void) {
    size_t nr[ACCOUNTS] = {0};
    struct quarry_account_info info;
    for (int i = 0; i < MAILBOXES; i++) {
        if (mailboxes[i] != NULL)
            nr[mailboxes[i]->owner] += thing_objects(mailboxes[i]);
    }
    for (int i = 0; i < ACCOUNTS; i++) {
        quarry_account_info_get(accounts[i], &info);
        CHECK_MSG(info.objects == nr[i], "account %d is charged for %zu objects, and has %zu", i, info.objects, nr[i]);
    }
}

/* Of an account that is destroyed while it is charged, and one in its place: charged objects stay the old one's. */
static void account_change(unsigned i) {
    char name[16];
    quarry_account_destroy(accounts[i]);
    for (int box = 0; box < MAILBOXES; box++) {
        struct thing *t = mailboxes[box];
        if (t != NULL && t->owner == i) {
            mailboxes[box] = NULL;
            thing_free(t);
        }
    }
    (void)snprintf(name, sizeof(name), "account-%u", i);
    CHECK((accounts[i] = quarry_account_create(name, LIMIT_BYTES)) != NULL);
}

static void *thread_run(void *number) {
    uint64_t seed = SEED + (uintptr_t)number;
    for (unsigned round = 0; !over; round++) {
        for (int i = 0; i < ROUND_STEPS; i++)
            step(&seed);
        atomic_fetch_add(&steps_nr, ROUND_STEPS);
        (void)set_active_memcg(NULL);
        if (pthread_barrier_wait(&still) == PTHREAD_BARRIER_SERIAL_THREAD) {
            count();
            account_change(round % ACCOUNTS);
            over = atomic_load(&time_is_up);
        }
        (void)pthread_barrier_wait(&still);
    }
    return NULL;
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS];
    double seconds = argc == 3 && strcmp(argv[1], "--seconds") == 0 ? atof(argv[2]) : 1;
    printf("seed %d\n", SEED);
    for (unsigned i = 0; i < ACCOUNTS; i++)
        CHECK((accounts[i] = quarry_account_create("first", LIMIT_BYTES)) != NULL);
    CHECK((cache = kmem_cache_create("things", 120, 0, SLAB_ACCOUNT, NULL)) != NULL);
    (void)pthread_barrier_init(&still, NULL, THREADS);
    double end = now_s() + seconds;
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, thread_run, (void *)(i + 1)) == 0);
    while (now_s() < end)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    atomic_store(&time_is_up, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < MAILBOXES; i++) {
        if (mailboxes[i] != NULL)
            thing_free(mailboxes[i]);
        mailboxes[i] = NULL;
    }
    count();
    kmem_cache_destroy(cache);
    printf("%lu steps, %lu refused\n", atomic_load(&steps_nr), atomic_load(&refused_nr));
    CHECK(atomic_load(&refused_nr) > 0);
    return 0;
}
