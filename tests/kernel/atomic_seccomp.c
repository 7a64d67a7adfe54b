/* SPDX-License-Identifier: MIT */
/*
 * kmalloc(GFP_ATOMIC), kfree of anything, vfree_atomic and free_pages in a thread that the kernel kills for any system
 * call, while another thread may block and keeps the reserve filled. Nothing may be handed out twice, most requests
 * must be served, and what is freed by unmapping goes back all the same.
 */
#include "atomic.h"

#include <linux/filter.h>
#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
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

enum { STEPS = 1000000, SOAK_STEPS = 100000000, BURST = 64, GIFT_NR = 512, GIFT_BYTES = 48000 };

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

/* Pages, a few of which are held all the while. */
enum { PAGES_HELD = 16 };
static unsigned long pages_held[PAGES_HELD], pages_served, pages_refused;

static void pages_step(unsigned long turn) {
    unsigned long *at = &pages_held[turn % PAGES_HELD];
    CHECK(*at == 0 || *(unsigned long *)*at == *at + 1);
    free_page(*at);
    *at = __get_free_page(turn % 3 ? GFP_ATOMIC : GFP_ATOMIC | __GFP_ZERO);
    if (*at != 0)
        *(unsigned long *)*at = *at + 1;
    pages_served += *at != 0;
    pages_refused += *at == 0;
}

/* Single objects and bursts of one size, which empty and fill magazines and slabs. */
static void *atomic_run(void *steps) {
    size_t left = (size_t)steps;
    void *burst[BURST];
    (void)set_active_memcg(account);
    forbid_all();
    for (unsigned long turn = 0; left > 0; turn++) {
        pages_step(turn);
        for (int i = 0; i < 1000 && left > 0; i++, left--)
            box_step(&box, charged | (i % 2 ? GFP_ATOMIC : GFP_ATOMIC | __GFP_ZERO));
        size_t size = box_size(&box), got = 0;
        while (got < BURST && (burst[got] = kmalloc(size, GFP_NOWAIT | charged)) != NULL)
            got++;
        kfree_bulk(got, burst);
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
    for (int i = 0; i < PAGES_HELD; i++)
        free_page(pages_held[i]);
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
        usleep(100);
    }
    if (atomic_load(&mapped_ready))
        mapped_free();
    kfree_bulk(atomic_load(&gift_ready) ? GIFT_NR : 0, gift);
    box_empty(&own);
    all_is_given_back();
    if (account != NULL)
        nothing_is_charged();
    CHECK_MSG(own.refused == 0, "GFP_KERNEL was refused %lu times", own.refused);
    CHECK_MSG(pages_served > 0 && pages_refused == 0, "%lu pages served, %lu refused", pages_served, pages_refused);
    CHECK_MSG(box.served > box.refused, "%lu served, %lu refused", box.served, box.refused);
    _exit(0);
}
