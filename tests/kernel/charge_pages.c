/* SPDX-License-Identifier: MIT */
/* Pages and per-CPU data that are charged to a tenant: by the page, and for all copies, until they are freed, by whom
 * and in what parts ever. One process for each case. */
#include "accounts.h"
#include "cases.h"
#include "kernel.h"
#include "shrink.h"

#include <linux/cpumask.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/sched/mm.h>
#include <linux/vmalloc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY_NR = 1000, TEXT_BYTES = 500 };

static void *objs[MANY_NR];

/* So many pages, each of which counts as an object. */
static void pages_charged(const struct mem_cgroup *a, size_t nr) {
    struct quarry_account_info info = info_of(a);
    CHECK_MSG(info.objects == nr && info.charged_bytes == nr * PAGE_SIZE, "%zu objects of %zu bytes, not %zu pages",
              info.objects, info.charged_bytes, nr);
}

/* --- ways there and back --- */

enum { GOT_PAGE, GOT_ADDRESS, GOT_OF_NODE, GOT_COMPOUND, GOT_ATOMIC, GOT_NR };
enum { BY_PAGE, BY_ADDRESS, BY_REFERENCE, BY_ANOTHER, BY_NR };

static struct page *got(int how, unsigned order) {
    if (how == GOT_ADDRESS) {
        unsigned long addr = __get_free_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO, order);
        return addr == 0 ? NULL : virt_to_page((void *)addr);
    }
    if (how == GOT_OF_NODE)
        return alloc_pages_node(0, GFP_KERNEL_ACCOUNT, order);
    return alloc_pages(how == GOT_ATOMIC     ? GFP_ATOMIC | __GFP_ACCOUNT
                       : how == GOT_COMPOUND ? GFP_KERNEL_ACCOUNT | __GFP_COMP
                                             : GFP_KERNEL_ACCOUNT,
                       order);
}

static unsigned another_order;

static void *another_frees(void *page) {
    __free_pages(page, another_order);
    return NULL;
}

static void freed(int how, struct page *page, unsigned order) {
    pthread_t thread;
    if (how == BY_PAGE) {
        __free_pages(page, order);
    } else if (how == BY_ADDRESS) {
        free_pages((unsigned long)page_address(page), order);
    } else if (how == BY_REFERENCE) {
        put_page(page); /* who does so need not know the order */
    } else {
        another_order = order;
        CHECK(pthread_create(&thread, NULL, another_frees, page) == 0 && pthread_join(thread, NULL) == 0);
    }
}

static void ways(size_t unused) {
    (void)unused;
    struct mem_cgroup *a = tenant("pages", 0), *b = tenant("beside", 0);
    for (unsigned order = 0; order <= MAX_PAGE_ORDER; order++) {
        for (int way = 0; way < GOT_NR * BY_NR; way++) {
            (void)set_active_memcg(a);
            struct page *page = got(way / BY_NR, order);
            CHECK(page != NULL || way / BY_NR == GOT_ATOMIC);
            pages_charged(a, page == NULL ? 0 : (size_t)1 << order);
            /* Whoever frees, what is given back is the tenant's it was charged to. */
            (void)set_active_memcg(way % 2 != 0 ? b : NULL);
            if (page != NULL)
                freed(way % BY_NR, page, order);
            pages_charged(a, 0);
            pages_charged(b, 0);
        }
    }
    (void)set_active_memcg(NULL);
}

/* Without the flag, and of a thread in no account, they are nobody's, also for a tenant who frees them, and where some
 * were charged before. */
static void of_nobody(size_t unused) {
    (void)unused;
    struct page *before = alloc_pages(GFP_KERNEL_ACCOUNT, 2);
    struct mem_cgroup *a = tenant("nobody", 0);
    struct page *none = alloc_pages(GFP_KERNEL_ACCOUNT, 2);
    (void)set_active_memcg(a);
    __free_pages(alloc_pages(GFP_KERNEL_ACCOUNT, 2), 2);
    struct page *plain = alloc_pages(GFP_KERNEL, 2);
    CHECK(before != NULL && none != NULL && plain != NULL);
    pages_charged(a, 0);
    __free_pages(before, 2);
    __free_pages(none, 2);
    __free_pages(plain, 2);
    pages_charged(a, 0);
    for (int i = 0; i < MANY_NR; i++)
        CHECK((objs[i] = alloc_pages(GFP_KERNEL_ACCOUNT, 0)) != NULL);
    pages_charged(a, MANY_NR);
    for (int i = 0; i < MANY_NR; i++)
        __free_page(objs[i]);
    for (int i = 0; i < MANY_NR; i++)
        CHECK((objs[i] = alloc_pages(GFP_KERNEL, 0)) != NULL);
    pages_charged(a, 0);
    for (int i = 0; i < MANY_NR; i++)
        __free_page(objs[i]);
    pages_charged(a, 0);
}

/* --- in parts --- */

static void parts(size_t unused) {
    enum { ORDER = 4, NR = 1 << ORDER, EXACT = 11 };
    (void)unused;
    struct mem_cgroup *a = tenant("parts", 0), *b = tenant("beside", 0);
    (void)set_active_memcg(a);
    struct page *page = alloc_pages(GFP_KERNEL_ACCOUNT, ORDER), *beside;
    (void)set_active_memcg(b);
    CHECK(page != NULL && (beside = alloc_pages(GFP_KERNEL_ACCOUNT, ORDER)) != NULL);
    get_page(page); /* and one of the parts has a reference more */
    split_page(page, ORDER);
    pages_charged(a, NR);
    for (int i = 0; i < NR; i++) {
        __free_page(page + (i * 7) % NR);
        pages_charged(a, (size_t)(NR - i));
    }
    put_page(page);
    pages_charged(a, 0);
    pages_charged(b, NR);
    /* Freed while somebody has a reference all but the first page go; of a compound allocation none. */
    get_page(beside);
    __free_pages(beside, ORDER);
    pages_charged(b, 1);
    put_page(beside);
    pages_charged(b, 0);
    CHECK((beside = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_COMP, ORDER)) != NULL);
    get_page(beside + 3);
    __free_pages(beside, ORDER);
    pages_charged(b, NR);
    put_page(beside + 5);
    pages_charged(b, 0);
    /* Exactly so many. */
    char *p = alloc_pages_exact(EXACT * PAGE_SIZE - 1, GFP_KERNEL_ACCOUNT);
    CHECK(p != NULL);
    pages_charged(b, EXACT);
    free_pages_exact(p + PAGE_SIZE, 3 * PAGE_SIZE);
    pages_charged(b, EXACT - 3);
    free_pages_exact(p + 4 * PAGE_SIZE, (EXACT - 4) * PAGE_SIZE);
    pages_charged(b, 1);
    free_page((unsigned long)p);
    pages_charged(b, 0);
    /* By the bunch, into what is empty. */
    struct page *bunch[20] = {alloc_page(GFP_KERNEL), NULL};
    CHECK(bunch[0] != NULL && alloc_pages_bulk(GFP_KERNEL_ACCOUNT, 20, bunch) == 20);
    pages_charged(b, 19);
    for (int i = 0; i < 20; i++)
        __free_page(bunch[i]);
    pages_charged(b, 0);
    (void)set_active_memcg(NULL);
}

/* --- limits --- */

/* How many pages of each order are free: what is refused must be among them again. */
static void free_now(char *text) { CHECK(quarry_buddyinfo(text, TEXT_BYTES) < TEXT_BYTES); }

static void limits(size_t unused) {
    static struct shrinker shrinker = {
        .count_objects = shrink_count, .scan_objects = shrink_scan, .seeks = DEFAULT_SEEKS};
    enum { LIMIT_PAGES = 9 };
    char before[TEXT_BYTES], after[TEXT_BYTES];
    (void)unused;
    struct mem_cgroup *a = tenant("limited", LIMIT_PAGES * PAGE_SIZE);
    (void)set_active_memcg(a);
    struct page *eight = alloc_pages(GFP_KERNEL_ACCOUNT, 3), *one = alloc_page(GFP_NOWAIT | __GFP_ACCOUNT);
    CHECK(eight != NULL && one != NULL);
    pages_charged(a, LIMIT_PAGES);
    free_now(before);
    for (size_t refused = 0; refused < 300; refused++) {
        CHECK(info_of(a).refused == refused);
        gfp_t flags = refused % 2 == 0 ? GFP_NOWAIT : GFP_KERNEL | __GFP_NORETRY;
        CHECK(alloc_pages(flags | __GFP_ACCOUNT, refused % 4) == NULL);
    }
    CHECK(alloc_pages_exact(PAGE_SIZE, GFP_KERNEL_ACCOUNT) == NULL && alloc_page(GFP_KERNEL_ACCOUNT) == NULL);
    CHECK(__get_free_pages(GFP_KERNEL_ACCOUNT, 1) == 0 && get_zeroed_page(GFP_KERNEL_ACCOUNT) == 0);
    free_now(after);
    CHECK_MSG(strcmp(before, after) == 0, "free pages:\n%s%s", before, after);
    pages_charged(a, LIMIT_PAGES);
    /* Of some that are wanted there is room for one. */
    struct page *bunch[3] = {NULL}, *plain = alloc_page(GFP_KERNEL);
    __free_page(one);
    CHECK(alloc_pages_bulk(GFP_KERNEL_ACCOUNT, 3, bunch) == 1 && bunch[0] != NULL && bunch[1] == NULL);
    __free_page(bunch[0]);
    __free_page(plain);
    one = alloc_page(GFP_KERNEL_ACCOUNT);
    /* These go beyond it. */
    struct page *atomic = alloc_page(GFP_ATOMIC | __GFP_ACCOUNT),
                *nofail = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
    unsigned scope = memalloc_noreclaim_save();
    struct page *reclaim = alloc_page(GFP_KERNEL_ACCOUNT);
    memalloc_noreclaim_restore(scope);
    CHECK(one != NULL && atomic != NULL && nofail != NULL && reclaim != NULL);
    pages_charged(a, LIMIT_PAGES + 3);
    __free_page(atomic);
    __free_page(nofail);
    __free_page(reclaim);
    __free_page(one);
    /* Room is made by who has some. */
    CHECK((objs[0] = kmalloc(100, GFP_KERNEL_ACCOUNT)) != NULL);
    CHECK(register_shrinker(&shrinker, "pages") == 0);
    shrink_objs = objs;
    shrink_nr = 1;
    CHECK((one = alloc_page(GFP_KERNEL_ACCOUNT)) != NULL && shrink_nr == 0);
    pages_charged(a, LIMIT_PAGES);
    unregister_shrinker(&shrinker);
    __free_page(one);
    __free_pages(eight, 3);
    pages_charged(a, 0);
    /* As in the kernel it is the power of two that must fit, for a moment. */
    CHECK(alloc_pages_exact(LIMIT_PAGES * PAGE_SIZE, GFP_KERNEL_ACCOUNT) == NULL);
    pages_charged(a, 0);
    (void)set_active_memcg(NULL);
}

/* A destroyed account stays as long as a page is charged to it. */
static void ends(size_t unused) {
    (void)unused;
    struct mem_cgroup *a = tenant("ends", 0);
    (void)set_active_memcg(a);
    struct page *page = alloc_pages(GFP_KERNEL_ACCOUNT, 2);
    (void)set_active_memcg(NULL);
    CHECK(page != NULL);
    split_page(page, 2);
    quarry_account_destroy(a);
    for (int i = 0; i < 4; i++) {
        struct mem_cgroup *b = tenant("another", 0);
        CHECK_MSG(b != a, "with %d pages charged to the old one", 4 - i);
        quarry_account_destroy(b);
        __free_page(page + i);
    }
    CHECK(tenant("again", 0) == a && info_of(a).charged_bytes == 0);
}

static void forked(size_t unused) {
    int status;
    (void)unused;
    struct mem_cgroup *a = tenant("forked", 0);
    (void)set_active_memcg(a);
    struct page *page = alloc_pages(GFP_KERNEL_ACCOUNT, 2);
    long *p = alloc_percpu_gfp(long, GFP_KERNEL_ACCOUNT);
    size_t bytes = 4 * PAGE_SIZE + nr_cpu_ids * sizeof(long);
    CHECK(page != NULL && p != NULL && info_of(a).objects == 5 && info_of(a).charged_bytes == bytes);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct page *more = alloc_page(GFP_KERNEL_ACCOUNT);
        CHECK(more != NULL && info_of(a).objects == 6 && info_of(a).charged_bytes == bytes + PAGE_SIZE);
        __free_pages(page, 2);
        free_percpu(p);
        pages_charged(a, 1);
        __free_page(more);
        pages_charged(a, 0);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(info_of(a).objects == 5 && info_of(a).charged_bytes == bytes);
    __free_pages(page, 2);
    free_percpu(p);
    pages_charged(a, 0);
}

/* --- per-CPU data --- */

static size_t copies_of(size_t bytes) { return nr_cpu_ids * ((bytes + 7) & ~(size_t)7); }

static size_t size_of(size_t i) { return i * i / 4 + 1; }

static void percpu(size_t flags) {
    enum { NR = 100 };
    gfp_t gfp = (gfp_t)flags | __GFP_ACCOUNT;
    static void *areas[NR];
    void *before = __alloc_percpu_gfp(100, 8, GFP_KERNEL_ACCOUNT); /* makes the chunk, too */
    struct mem_cgroup *a = tenant("percpu", 0), *b = tenant("beside", 0);
    size_t bytes[2] = {0};
    CHECK(before != NULL);
    for (size_t i = 0; i < NR; i++) {
        size_t size = size_of(i);
        (void)set_active_memcg(i % 2 != 0 ? b : a);
        CHECK((areas[i] = __alloc_percpu_gfp(size, (size_t)8 << (i % 4), gfp)) != NULL);
        bytes[i % 2] += copies_of(size);
        CHECK(info_of(a).charged_bytes == bytes[0] && info_of(b).charged_bytes == bytes[1]);
    }
    CHECK(info_of(a).objects == NR / 2 && info_of(b).objects == NR / 2);
    void *plain = alloc_percpu(long);
    (void)set_active_memcg(NULL);
    void *none = alloc_percpu_gfp(long, GFP_KERNEL_ACCOUNT);
    CHECK(plain != NULL && none != NULL);
    for (size_t i = 0; i < NR; i++) {
        size_t k = i * 37 % NR;
        (void)set_active_memcg(i % 3 != 0 ? a : NULL);
        free_percpu(areas[k]);
        bytes[k % 2] -= copies_of(size_of(k));
        CHECK(info_of(a).charged_bytes == bytes[0] && info_of(b).charged_bytes == bytes[1]);
    }
    free_percpu(plain);
    free_percpu(none);
    free_percpu(before);
    charged(a, 0, 0);
    charged(b, 0, 0);
    /* Where they were nobody is charged. */
    (void)set_active_memcg(a);
    for (size_t i = 0; i < NR; i++)
        CHECK((areas[i] = __alloc_percpu(size_of(i), 8)) != NULL);
    for (size_t i = 0; i < NR; i++)
        free_percpu(areas[i]);
    charged(a, 0, 0);
    (void)set_active_memcg(NULL);
}

/* More than a chunk of them: what goes back with one is nobody's when other memory comes to lie there. */
static void percpu_many(size_t unused) {
    enum { NR = 20, BYTES = 32768 };
    (void)unused;
    struct mem_cgroup *a = tenant("many", 0);
    for (int round = 0; round < 3; round++) {
        (void)set_active_memcg(a);
        for (int i = 0; i < NR; i++)
            CHECK((objs[i] = __alloc_percpu_gfp(BYTES, 8, GFP_KERNEL_ACCOUNT)) != NULL);
        charged(a, NR, 0);
        CHECK(info_of(a).charged_bytes == NR * copies_of(BYTES));
        for (int i = 0; i < NR; i++)
            free_percpu(objs[i]);
        charged(a, 0, 0);
        for (int i = 0; i < NR; i++)
            CHECK((objs[i] = vmalloc(400000)) != NULL);
        (void)set_active_memcg(NULL);
        for (int i = 0; i < NR; i++)
            vfree(objs[i]);
        charged(a, 0, 0);
    }
}

static void percpu_limits(size_t unused) {
    static struct shrinker shrinker = {
        .count_objects = shrink_count, .scan_objects = shrink_scan, .seeks = DEFAULT_SEEKS};
    (void)unused;
    void *before = alloc_percpu(long);
    struct mem_cgroup *a = tenant("limited", 3 * copies_of(64));
    (void)set_active_memcg(a);
    void *p = __alloc_percpu_gfp(64, 8, GFP_KERNEL_ACCOUNT), *q = __alloc_percpu_gfp(64, 8, GFP_NOWAIT | __GFP_ACCOUNT);
    CHECK(before != NULL && p != NULL && q != NULL);
    /* What is refused is free again: the next one lies where it would have. */
    void *next = __alloc_percpu(128, 8), *again;
    free_percpu(next);
    for (size_t refused = 0; refused < 300; refused++) {
        CHECK(info_of(a).refused == refused && info_of(a).charged_bytes == 2 * copies_of(64));
        gfp_t flags = refused % 2 == 0 ? GFP_NOWAIT : GFP_KERNEL | __GFP_NORETRY;
        CHECK(__alloc_percpu_gfp(128, 8, flags | __GFP_ACCOUNT) == NULL);
    }
    CHECK((again = __alloc_percpu(128, 8)) == next);
    free_percpu(again);
    CHECK((objs[1] = __alloc_percpu_gfp(128, 8, GFP_ATOMIC | __GFP_ACCOUNT)) != NULL);
    CHECK((objs[2] = __alloc_percpu_gfp(128, 8, GFP_KERNEL_ACCOUNT | __GFP_NOFAIL)) != NULL);
    CHECK(info_of(a).objects == 4 && info_of(a).charged_bytes == 6 * copies_of(64));
    free_percpu(objs[1]);
    free_percpu(objs[2]);
    CHECK((objs[0] = kmalloc(opaque_size(copies_of(8)), GFP_ATOMIC | __GFP_ACCOUNT)) != NULL);
    shrink_objs = objs;
    shrink_nr = 1;
    quarry_account_limit(a, info_of(a).charged_bytes);
    CHECK(register_shrinker(&shrinker, "percpu") == 0);
    void *r = __alloc_percpu_gfp(8, 8, GFP_KERNEL_ACCOUNT);
    CHECK(r != NULL && shrink_nr == 0);
    unregister_shrinker(&shrinker);
    free_percpu(p);
    free_percpu(q);
    free_percpu(r);
    free_percpu(before);
    charged(a, 0, 0);
    (void)set_active_memcg(NULL);
}

static const struct test_case table[] = {
    {"pages", ways, 0, CASE_QUARRY},
    {"pages of nobody", of_nobody, 0, CASE_QUARRY},
    {"pages in parts", parts, 0, CASE_QUARRY},
    {"pages, limits", limits, 0, CASE_QUARRY},
    {"pages, account ends", ends, 0, CASE_QUARRY},
    {"forked", forked, 0, CASE_QUARRY},
    {"percpu", percpu, GFP_KERNEL, CASE_QUARRY},
    {"percpu, atomic", percpu, GFP_ATOMIC, CASE_QUARRY},
    {"percpu, many", percpu_many, 0, CASE_QUARRY},
    {"percpu, limits", percpu_limits, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
