/* SPDX-License-Identifier: MIT */
/* The edge cases of the page allocator under the kernel's names. */
#include "cases.h"
#include "kernel.h"
#include "proc.h"

#include <errno.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void orders(size_t unused) {
    (void)unused;
    errno = 7;
    for (unsigned order = 0; order <= MAX_PAGE_ORDER; order++) {
        size_t bytes = PAGE_SIZE << order;
        struct page *page = alloc_pages(GFP_KERNEL, order);
        CHECK(page != NULL);
        char *p = page_address(page);
        CHECK_MSG((uintptr_t)p % bytes == 0, "order %u at %p", order, (void *)p);
        CHECK(p == page_to_virt(page) && virt_to_page(p) == page);
        memset(p, 0x5a, bytes);
        CHECK(virt_to_page(p + bytes - 1) == page + ((1u << order) - 1));
        CHECK(page_address(page + ((1u << order) - 1)) == p + bytes - PAGE_SIZE);
        CHECK(page_count(page) == 1 && page_private(page) == 0 && page->flags == 0 && page->index == 0);
        CHECK(get_order(bytes) == (int)order && get_order(bytes - 1) == (int)order - (bytes == 1));
        CHECK(order == MAX_PAGE_ORDER || get_order(bytes + 1) == (int)order + 1);
        __free_pages(page, order);
    }
    CHECK(errno == 7);
}

static void limits(size_t unused) {
    (void)unused;
    CHECK(alloc_pages(GFP_KERNEL | __GFP_NOWARN, (unsigned)opaque_size(MAX_PAGE_ORDER + 1)) == NULL);
    CHECK(__get_free_pages(GFP_KERNEL | __GFP_NOWARN, (unsigned)opaque_size(100)) == 0);
    CHECK(alloc_pages_exact(opaque_size(0), GFP_KERNEL) == NULL);
    CHECK(alloc_pages_exact((PAGE_SIZE << MAX_PAGE_ORDER) + 1, GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(alloc_pages_exact(opaque_size(SIZE_MAX), GFP_KERNEL | __GFP_NOWARN) == NULL);
    free_pages(0, 3);
    free_page(0);
}

/* What was asked for is out, and not the rest of the order it was cut from. */
static void trimmed(size_t unused) {
    enum { PAGES_NR = 5 };
    uint64_t live = 0;
    (void)unused;
    for (int way = 0; way < 2; way++) {
        void *p = way == 0 ? alloc_pages_exact(PAGES_NR * PAGE_SIZE - 7, GFP_KERNEL)
                           : alloc_pages_exact_nid(0, PAGES_NR * PAGE_SIZE - 7, GFP_KERNEL);
        CHECK(p != NULL && quarry_stat("pages_live_bytes", &live) == 0 && live == PAGES_NR * PAGE_SIZE);
        free_pages_exact(p, PAGES_NR * PAGE_SIZE - 7);
        CHECK(quarry_stat("pages_live_bytes", &live) == 0 && live == 0);
    }
}

/* Pages that were written are taken again. */
static void zeroed(size_t unused) {
    (void)unused;
    for (int round = 0; round < 30; round++) {
        for (unsigned order = 0; order <= MAX_PAGE_ORDER; order++) {
            unsigned long addr = __get_free_pages(GFP_KERNEL | __GFP_ZERO, order);
            CHECK(addr != 0 && bytes_are((void *)addr, 0, PAGE_SIZE << order, 0));
            memset((void *)addr, 0xee, PAGE_SIZE << order);
            free_pages(addr, order);
        }
        unsigned long addr = get_zeroed_page(GFP_KERNEL);
        CHECK(bytes_are((void *)addr, 0, PAGE_SIZE, 0));
        memset((void *)addr, 0xee, PAGE_SIZE);
        free_page(addr);
    }
}

static void addresses(size_t unused) {
    (void)unused;
    struct page *page = alloc_page(GFP_KERNEL);
    static int global;
    int local = 0;
    void *object = kmalloc(100, GFP_KERNEL);
    CHECK(virt_to_page(NULL) == NULL && virt_to_page(&global) == NULL && virt_to_page(&local) == NULL);
    CHECK(virt_to_page(object) == NULL);
    CHECK(offset_in_page((char *)page_address(page) + 5) == 5 && PAGE_ALIGNED(page_address(page)));
    CHECK(PAGE_ALIGN(PAGE_SIZE + 1) == 2 * PAGE_SIZE);
    kfree(object);
    struct page *on_node = alloc_pages_node(NUMA_NO_NODE, GFP_KERNEL, 2);
    CHECK(on_node != NULL);
    __free_pages(on_node, 2);
    __free_page(page);
}

/* What drivers do with the record: chain pages, and hang their own data on them. */
static void records(size_t unused) {
    (void)unused;
    LIST_HEAD(pages);
    struct page *page, *after;
    for (unsigned long i = 0; i < 600; i++) {
        page = alloc_page(GFP_KERNEL);
        set_page_private(page, i);
        page->index = i * 3;
        list_add_tail(&page->lru, &pages);
        *(unsigned long *)page_address(page) = i;
    }
    unsigned long i = 0;
    list_for_each_entry_safe(page, after, &pages, lru) {
        CHECK(page_private(page) == i && page->private == i && page->index == 3 * i);
        CHECK(*(unsigned long *)page_address(page) == i);
        list_del(&page->lru);
        __free_page(page);
        i++;
    }
    CHECK(i == 600);
}

static void references(size_t unused) {
    (void)unused;
    struct page *page = alloc_page(GFP_KERNEL);
    get_page(page);
    CHECK(page_count(page) == 2);
    __free_page(page);
    memset(page_address(page), 1, PAGE_SIZE);
    CHECK(page_count(page) == 1);
    put_page(page);

    page = alloc_pages(GFP_KERNEL | __GFP_COMP, 4);
    CHECK(compound_order(page) == 4 && compound_nr(page) == 16 && page_size(page) == PAGE_SIZE * 16);
    CHECK(compound_head(page + 9) == page && virt_to_head_page((char *)page_address(page) + 9 * PAGE_SIZE + 1) == page);
    get_page(page + 9);
    CHECK(page_count(page + 3) == 2);
    __free_pages(page, 4);
    memset(page_address(page), 1, PAGE_SIZE * 16);
    put_page(page + 1);

    page = alloc_pages(GFP_KERNEL, 4);
    CHECK(compound_order(page) == 0 && compound_head(page + 9) == page + 9);
    split_page(page, 4);
    for (int i = 15; i >= 0; i--) {
        CHECK(page_count(page + i) == 1);
        __free_page(page + i);
    }
}

static void exact(size_t unused) {
    (void)unused;
    static const size_t sizes[] = {1, 4096, 4097, 5 * 4096, 100000, 700000, 3 << 20, 4 << 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *p = alloc_pages_exact(sizes[i], GFP_KERNEL | __GFP_ZERO), *q = alloc_pages_exact(sizes[i], GFP_KERNEL);
        CHECK(p != NULL && q != NULL && PAGE_ALIGNED(p) && bytes_are(p, 0, sizes[i], 0));
        memset(p, 1, PAGE_ALIGN(sizes[i]));
        memset(q, 2, PAGE_ALIGN(sizes[i]));
        CHECK(bytes_are(p, 0, sizes[i], 1));
        free_pages_exact(p, sizes[i]);
        CHECK(bytes_are(q, 0, sizes[i], 2));
        free_pages_exact(q, sizes[i]);
    }
}

static void bulk(size_t unused) {
    (void)unused;
    struct page *pages[100] = {NULL};
    CHECK(alloc_pages_bulk(GFP_KERNEL, 0, pages) == 0 && pages[0] == NULL);
    pages[7] = alloc_page(GFP_KERNEL);
    struct page *mine = pages[7];
    CHECK(alloc_pages_bulk(GFP_KERNEL | __GFP_ZERO, 100, pages) == 100);
    CHECK(pages[7] == mine);
    for (int i = 0; i < 100; i++) {
        CHECK(i == 7 || bytes_are(page_address(pages[i]), 0, PAGE_SIZE, 0));
        memset(page_address(pages[i]), i, PAGE_SIZE);
    }
    for (int i = 0; i < 100; i++) {
        CHECK(bytes_are(page_address(pages[i]), 0, PAGE_SIZE, (unsigned char)i));
        __free_page(pages[i]);
    }
}

/* A request that may not block: from what is at hand. */
static void at_hand(size_t unused) {
    (void)unused;
    struct page *pages[2000];
    size_t got = 0;
    CHECK(alloc_pages(__GFP_NOWARN, MAX_PAGE_ORDER) == NULL);
    pages[got++] = alloc_page(GFP_KERNEL);
    static struct page *all[2000];
    unsigned long nr = alloc_pages_bulk(__GFP_NOWARN, 2000, all);
    CHECK_MSG(nr > 0 && nr < 2000 && all[nr - 1] != NULL && all[nr] == NULL, "%lu pages at once", nr);
    CHECK(alloc_pages_bulk(__GFP_NOWARN, nr, all) == nr); /* there are as many */
    while (nr > 0)
        __free_page(all[--nr]);
    while (got < 2000 && (pages[got] = alloc_page(__GFP_NOWARN)) != NULL)
        got++;
    CHECK_MSG(got > 1 && got < 2000, "%zu pages", got);
    while (got-- > 0)
        __free_page(pages[got]);
}

/* In strict mode any system call but write and exit kills. */
static void no_system_call(size_t unused) {
    (void)unused;
    int status = 0;
    struct page *first = alloc_page(GFP_KERNEL), *second = alloc_page(GFP_KERNEL);
    pid_t pid = fork();
    CHECK(first != NULL && second != NULL && pid >= 0);
    if (pid == 0) {
        bool good = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0;
        for (unsigned i = 0; i < 100; i++) {
            struct page *page = alloc_pages(__GFP_NOWARN | (i % 2 ? __GFP_ZERO : 0), i % 3);
            good = good && page != NULL;
        }
        for (int i = 0; i < 100; i++)
            good = good && kmalloc(1 << 20, __GFP_NOWARN) == NULL;
        syscall(SYS_exit, good ? 0 : 1);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status %#x", (unsigned)status);
    __free_page(first);
    __free_page(second);
}

static size_t take_all(gfp_t flags, struct page **pages, size_t cap) {
    size_t got = 0;
    while (got < cap && (pages[got] = alloc_page(flags)) != NULL)
        got++;
    return got;
}

enum { RESERVE_CAP = 2000 };
static struct page *reserved[RESERVE_CAP];

/* The first pages a process asks for, where a system call would kill. Returns a number for the first thing that is
 * wrong, 0: nothing is. */
static int first_atomic(size_t want) {
    struct page *some[64] = {NULL};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
        return 1;
    if (alloc_page(GFP_NOWAIT) != NULL || alloc_page(GFP_ATOMIC & ~__GFP_HIGH) != NULL)
        return 2; /* what has no reserve has none of it */
    unsigned long addr = __get_free_page(GFP_ATOMIC), zeros = __get_free_pages(GFP_ATOMIC | __GFP_ZERO, 3);
    if (addr == 0 || zeros == 0 || !bytes_are((void *)zeros, 0, PAGE_SIZE << 3, 0))
        return 3;
    memset((void *)addr, 1, PAGE_SIZE);
    memset((void *)zeros, 2, PAGE_SIZE << 3);
    if (alloc_pages_bulk(GFP_ATOMIC, 64, some) != 64 || virt_to_page((void *)addr) == NULL)
        return 4;
    for (int i = 0; i < 64; i++)
        __free_page(some[i]);
    free_page(addr);
    free_pages(zeros, 3);
    unsigned scope = memalloc_noreclaim_save();
    struct page *in_scope = alloc_page(GFP_NOWAIT), *not_for_it = alloc_page(GFP_NOWAIT | __GFP_NOMEMALLOC);
    memalloc_noreclaim_restore(scope);
    if (in_scope == NULL || not_for_it != NULL)
        return 5;
    __free_page(in_scope);
    struct page *memalloc = alloc_page(GFP_NOWAIT | __GFP_MEMALLOC);
    if (memalloc == NULL)
        return 6;
    __free_page(memalloc);
    size_t got = take_all(GFP_ATOMIC, reserved, RESERVE_CAP);
    if (got < want || got == RESERVE_CAP)
        return 7; /* as much as the option says, and there is an end */
    for (size_t i = 0; i < got; i++) {
        memset(page_address(reserved[i]), (int)i, PAGE_SIZE);
        for (size_t k = 0; k < i; k += 97)
            if (!bytes_are(page_address(reserved[k]), 0, PAGE_SIZE, (unsigned char)k))
                return 8;
    }
    while (got > 0)
        __free_page(reserved[--got]);
    return take_all(GFP_ATOMIC, reserved, RESERVE_CAP) < want ? 9 : 0;
}

/* GFP_ATOMIC has pages of the reserve from the first call on, and who may sleep fills it again. */
static void reserve(size_t unused) {
    enum { WANT = 256, ROUNDS = 6 };
    size_t got;
    int status = 0;
    (void)unused;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        syscall(SYS_exit, first_atomic(WANT));
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status %#x", (unsigned)status);
    static struct page *kept[ROUNDS][RESERVE_CAP];
    static size_t kept_nr[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        /* Used up, and kept. */
        kept_nr[round] = got = take_all(GFP_ATOMIC | __GFP_NOWARN, kept[round], RESERVE_CAP);
        CHECK_MSG(got >= WANT && got < RESERVE_CAP, "round %d: %zu pages", round, got);
        CHECK(alloc_page(GFP_ATOMIC) == NULL);
        /* Any slow call of who may sleep. */
        struct page *page = alloc_page(GFP_KERNEL);
        CHECK(page != NULL);
        __free_page(page);
    }
    for (int round = 0; round < ROUNDS; round++) {
        while (kept_nr[round] > 0)
            __free_page(kept[round][--kept_nr[round]]);
    }
    uint64_t live = 1;
    quarry_trim(0);
    CHECK(quarry_stat("pages_live_bytes", &live) == 0 && live == 0);
}

/* The frame the kernel tells, if it does, is that of /proc/self/pagemap; pages of a process are never frame 0. */
static void frames(size_t unused) {
    (void)unused;
    struct page *page = alloc_pages(GFP_KERNEL, 2), *other = page + 1;
    unsigned long pfn = page_to_pfn(page);
    for (int i = 0; i < 10 && page_to_pfn(page) != pfn; i++) /* the kernel may be moving it */
        pfn = page_to_pfn(page);
    CHECK(pfn == 0 || (page_to_pfn(page) == pfn && page_to_pfn(other) != pfn));
    /* What is there stays. */
    memset(page_address(page), 0x5a, PAGE_SIZE);
    CHECK(page_to_pfn(page) == pfn || pfn != 0);
    CHECK(bytes_are(page_address(page), 0, PAGE_SIZE, 0x5a));
    __free_pages(page, 2);
}

static void buddyinfo(size_t unused) {
    (void)unused;
    char before[400], after[400], cut[20];
    struct page *page = alloc_pages(GFP_KERNEL, 0);
    CHECK(quarry_buddyinfo(before, sizeof(before)) == strlen(before));
    /* One page of a block is out: of each order below the block's one block is free. */
    CHECK_MSG(strncmp(before, "Node 0, zone   Normal ", 22) == 0, "%s", before);
    int order, at = 22, nr, used, free_nr = 0;
    for (order = 0; sscanf(before + at, "%d%n", &nr, &used) == 1; order++, at += used)
        free_nr += nr == 1;
    CHECK_MSG(order == 11 && free_nr == 21 - (int)PAGE_SHIFT, "%s", before);
    __free_page(page);
    quarry_buddyinfo(after, sizeof(after));
    CHECK(strcmp(before, after) != 0);
    CHECK(quarry_buddyinfo(cut, sizeof(cut)) == strlen(before) && strlen(cut) == sizeof(cut) - 1);
}

/* malloc, kmalloc and pages share one heap: what pages held goes back and is used for objects. */
static void goes_back(size_t unused) {
    (void)unused;
    enum { NR = 64 };
    struct page *pages[NR];
    for (int i = 0; i < NR; i++) {
        pages[i] = alloc_pages(GFP_KERNEL, 8);
        memset(page_address(pages[i]), 1, PAGE_SIZE << 8);
    }
    size_t held = proc_resident_bytes();
    for (int i = 0; i < NR; i++)
        __free_pages(pages[i], 8);
    quarry_trim(0);
    size_t left = proc_resident_bytes();
    CHECK_MSG(held - left > (PAGE_SIZE << 8) * (NR - 1), "%zu resident before, %zu after", held, left);
}

/* The accounts agree with the kernel's figure, whatever of the pages was touched, is free, or was given back. */
static void accounts(size_t unused) {
    (void)unused;
    enum { NR = 3000 };
    static struct page *pages[NR];
    uint64_t kernel = 0, apart = 0, live = 0, free_bytes = 0, live_want = 0;
    if (access("/proc/self/pagemap", R_OK) != 0)
        check_skip("no pagemap");
    for (int i = 0; i < NR; i++) {
        pages[i] = alloc_pages(GFP_KERNEL, i % 7 == 0 ? 6 : 0);
        if (i % 3 != 0)
            memset(page_address(pages[i]), 1, PAGE_SIZE);
        live_want += i % 2 == 0 ? 0 : PAGE_SIZE << (i % 7 == 0 ? 6 : 0);
    }
    for (int i = 0; i < NR; i += 2)
        __free_pages(pages[i], i % 7 == 0 ? 6 : 0);
    for (int trimmed = 0; trimmed < 2; trimmed++) {
        CHECK(quarry_stat("pages_live_bytes", &live) == 0 && live == live_want);
        CHECK(quarry_stat("pages_free_bytes", &free_bytes) == 0 && (free_bytes == 0) == trimmed);
        CHECK(quarry_stat("kernel_anon_bytes", &kernel) == 0 && quarry_stat("difference_bytes", &apart) == 0);
        CHECK_MSG(apart < kernel / 50 + 16 * PAGE_SIZE, "%lu of %lu apart", (unsigned long)apart,
                  (unsigned long)kernel);
        CHECK(kernel > PAGE_SIZE * NR / 4);
        quarry_trim(0);
    }
    for (int i = 1; i < NR; i += 2)
        __free_pages(pages[i], i % 7 == 0 ? 6 : 0);
}

/* --- threads --- */

enum { THREADS = 4, STEPS = 40000, HELD = 64 };

static void *hammer(void *arg) {
    unsigned long *held[HELD] = {NULL}, state = (unsigned long)(uintptr_t)arg * 7919 + 1;
    unsigned order[HELD];
    for (int i = 0; i < STEPS; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        unsigned k = state >> 40 & (HELD - 1);
        if (held[k] != NULL) {
            CHECK(held[k][0] == (unsigned long)held[k] + (uintptr_t)arg);
            CHECK(held[k][(PAGE_SIZE << order[k]) / sizeof(long) - 1] == held[k][0]);
            free_pages((unsigned long)held[k], order[k]);
            held[k] = NULL;
        } else {
            order[k] = (unsigned)__builtin_ctzl(state >> 50 | 1 << 6);
            held[k] = (unsigned long *)__get_free_pages(GFP_KERNEL, order[k]);
            CHECK(held[k] != NULL);
            held[k][0] = held[k][(PAGE_SIZE << order[k]) / sizeof(long) - 1] = (unsigned long)held[k] + (uintptr_t)arg;
        }
    }
    for (int k = 0; k < HELD; k++)
        free_pages((unsigned long)held[k], held[k] == NULL ? 0 : order[k]);
    return NULL;
}

static void threads(size_t unused) {
    (void)unused;
    pthread_t all[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&all[i], NULL, hammer, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(all[i], NULL);
}

static uint64_t blocks_bytes(void) {
    uint64_t live = 0, free_backed = 0, unbacked = 0;
    CHECK(quarry_stat("pages_live_bytes", &live) == 0 && quarry_stat("pages_free_bytes", &free_backed) == 0);
    CHECK(quarry_stat("pages_unbacked_bytes", &unbacked) == 0);
    return live + free_backed + unbacked;
}

/* Pages that live long are taken in turns with those that do not; when the latter go, whole hugepages do, because none
 * of them has a page of the former. */
static void lifetimes(size_t unused) {
    enum { NR = 6000, KINDS = 3 };
    static const gfp_t kinds[KINDS] = {GFP_KERNEL, GFP_KERNEL | __GFP_RECLAIMABLE, GFP_HIGHUSER_MOVABLE};
    static struct page *pages[KINDS][NR];
    (void)unused;
    uint64_t at_start = blocks_bytes(); /* the reserve's block has pages without memory */
    for (size_t i = 0; i < NR; i++) {
        for (size_t k = 0; k < KINDS; k++) {
            CHECK((pages[k][i] = alloc_page(i % 2 ? kinds[k] : kinds[k] | __GFP_ZERO)) != NULL);
            pages[k][i]->private = k;
        }
    }
    for (size_t i = 0; i < NR; i++) {
        for (size_t k = 0; k < KINDS; k++) {
            struct page *first = virt_to_page((void *)((uintptr_t)page_address(pages[k][i]) & -(uintptr_t)(2 << 20)));
            CHECK(first->private == k);
        }
    }
    uint64_t all = blocks_bytes(), room = (uint64_t)4 << 20; /* of each kind a block may be begun, and one is kept */
    for (size_t k = KINDS - 1; k > 0; k--) {
        for (size_t i = 0; i < NR; i++)
            __free_page(pages[k][i]);
        quarry_trim(0);
        CHECK_MSG(blocks_bytes() <= all / KINDS * k + room, "%lu bytes of blocks, of %lu for %zu kinds",
                  (unsigned long)blocks_bytes(), (unsigned long)all, k);
    }
    /* Where no new block may be made another kind's has room. */
    __free_page(pages[0][0]);
    __free_page(pages[0][1]);
    struct page *guest = alloc_page(GFP_NOWAIT | __GFP_MOVABLE);
    CHECK(guest != NULL);
    __free_page(guest);
    for (size_t i = 2; i < NR; i++)
        __free_page(pages[0][i]);
    quarry_trim(0);
    uint64_t nodes = 0, at_end = blocks_bytes();
    CHECK(quarry_stat("nodes", &nodes) == 0); /* one that was opened since has a reserve, too */
    CHECK_MSG(at_end >= at_start && at_end <= at_start * nodes, "%lu bytes of blocks, %lu at the start",
              (unsigned long)at_end, (unsigned long)at_start);
}

/* Who will hold pages for long says so, and they lie with others that stay. */
static void pinned_scope(size_t unused) {
    enum { NR = 600 };
    static struct page *stays[NR], *held[NR];
    (void)unused;
    unsigned outer = memalloc_noio_save(), scope = memalloc_pin_save(), inner = memalloc_pin_save();
    CHECK(current_gfp_context(GFP_HIGHUSER_MOVABLE) == (GFP_HIGHUSER & ~(__GFP_IO | __GFP_FS)));
    memalloc_pin_restore(inner); /* which was inside already */
    for (size_t i = 0; i < NR; i++) {
        stays[i] = alloc_page(GFP_KERNEL);
        held[i] = alloc_page(GFP_HIGHUSER_MOVABLE);
        CHECK(stays[i] != NULL && held[i] != NULL);
        stays[i]->private = held[i]->private = 1;
    }
    memalloc_pin_restore(scope);
    memalloc_noio_restore(outer);
    CHECK(current_gfp_context(GFP_HIGHUSER_MOVABLE) == GFP_HIGHUSER_MOVABLE);
    struct page *moves = alloc_page(GFP_HIGHUSER_MOVABLE);
    uintptr_t hpage = (uintptr_t)page_address(moves) & -(uintptr_t)(2 << 20);
    for (size_t i = 0; i < NR; i++) {
        CHECK(((uintptr_t)page_address(held[i]) & -(uintptr_t)(2 << 20)) != hpage);
        __free_page(stays[i]);
        __free_page(held[i]);
    }
    __free_page(moves);
    /* Several at once, of which any restore takes back what its save had set. */
    unsigned both = memalloc_flags_save(PF_MEMALLOC_NOFS | PF_MEMALLOC_NOIO);
    unsigned more = memalloc_flags_save(PF_MEMALLOC_NOFS | PF_MEMALLOC_PIN);
    CHECK(more == PF_MEMALLOC_PIN &&
          current_gfp_context(GFP_HIGHUSER_MOVABLE) == (GFP_HIGHUSER & ~(__GFP_IO | __GFP_FS)));
    memalloc_noreclaim_restore(more);
    CHECK(current_gfp_context(GFP_KERNEL | __GFP_MOVABLE) == (GFP_NOIO | __GFP_MOVABLE));
    memalloc_flags_restore(both);
    CHECK(current_gfp_context(GFP_KERNEL) == GFP_KERNEL);
}

/* --- fragments --- */

static uint64_t pages_live(void) {
    uint64_t live = 1;
    CHECK(quarry_stat("pages_live_bytes", &live) == 0);
    return live;
}

static void fragments(size_t unused) {
    enum { NR = 900, PIECE_BYTES = 32 << 10 };
    static unsigned char *frags[NR];
    struct page_frag_cache cache;
    size_t bytes = 0;
    (void)unused;
    page_frag_cache_init(&cache);
    page_frag_cache_drain(&cache); /* of nothing */
    CHECK(page_frag_alloc(&cache, (unsigned)opaque_size(PAGE_SIZE + 1), GFP_KERNEL) == NULL);
    CHECK(page_frag_alloc_align(&cache, 64, GFP_KERNEL, (unsigned)opaque_size(48)) == NULL && pages_live() == 0);
    CHECK(page_frag_alloc(&cache, (unsigned)opaque_size(0), GFP_KERNEL) == NULL && pages_live() == 0);
    for (unsigned i = 0; i < NR; i++) {
        unsigned size = i % 4 == 3 ? 1 : 40 + i % 1500, align = 1u << i % 8;
        frags[i] =
            i % 2 ? page_frag_alloc_align(&cache, size, GFP_ATOMIC, align) : page_frag_alloc(&cache, size, GFP_KERNEL);
        CHECK(frags[i] != NULL && (i % 2 == 0 || (uintptr_t)frags[i] % align == 0));
        memset(frags[i], (int)(i % 251), size);
        bytes += size;
    }
    CHECK(pages_live() >= bytes && pages_live() % PAGE_SIZE == 0);
    for (unsigned i = 0; i < NR; i++) {
        unsigned size = i % 4 == 3 ? 1 : 40 + i % 1500;
        CHECK_MSG(bytes_are(frags[i], 0, size, (unsigned char)(i % 251)), "fragment %u was written to", i);
        page_frag_free(frags[i] + size - 1);
    }
    CHECK(pages_live() <= PIECE_BYTES);
    page_frag_cache_drain(&cache);
    CHECK(pages_live() == 0);
    /* A fragment keeps its page beyond the cache, and the cache begins anew. */
    frags[0] = page_frag_alloc(&cache, 100, GFP_KERNEL | __GFP_ZERO);
    CHECK(bytes_are(frags[0], 0, 100, 0));
    page_frag_cache_drain(&cache);
    CHECK(pages_live() == PIECE_BYTES && page_count(virt_to_head_page(frags[0])) == 1);
    frags[1] = page_frag_alloc(&cache, 100, GFP_KERNEL);
    CHECK(virt_to_head_page(frags[1]) != virt_to_head_page(frags[0]));
    page_frag_cache_drain(&cache);
    page_frag_free(frags[0]);
    page_frag_free(frags[1]);
    CHECK(pages_live() == 0);
}

/* A piece all of whose fragments were freed serves again, whatever memory there is. */
static void fragments_again(size_t unused) {
    enum { TURNS = 10000, PIECE_BYTES = 32 << 10 };
    struct page_frag_cache cache = {0};
    struct page *piece = NULL;
    (void)unused;
    void *first = page_frag_alloc(&cache, 1000, GFP_KERNEL);
    for (int i = 0; i < TURNS; i++) {
        void *p = page_frag_alloc(&cache, 1000, GFP_ATOMIC);
        CHECK(i < 32 || virt_to_head_page(p) == piece);
        piece = virt_to_head_page(p);
        page_frag_free(p);
    }
    CHECK(pages_live() == 2 * PIECE_BYTES);
    page_frag_free(first);
    /* What is asked for zeroed is not what was used. */
    char *dirty = page_frag_alloc(&cache, PAGE_SIZE, GFP_KERNEL);
    memset(dirty, 1, PAGE_SIZE);
    page_frag_free(dirty);
    for (int i = 0; i < 20; i++) {
        char *zeroed = page_frag_alloc(&cache, PAGE_SIZE, GFP_KERNEL | __GFP_ZERO);
        CHECK(i < 8 || bytes_are((unsigned char *)zeroed, 0, PAGE_SIZE, 0));
        page_frag_free(zeroed);
    }
    page_frag_cache_drain(&cache);
    CHECK(pages_live() == 0);
}

static void *fragments_free(void *frags) {
    for (void **p = frags; *p != NULL; p++)
        page_frag_free(*p);
    return NULL;
}

static void fragments_elsewhere(size_t unused) {
    enum { NR = 2000 };
    static void *frags[THREADS][NR + 1];
    pthread_t threads[THREADS];
    struct page_frag_cache cache = {0};
    (void)unused;
    for (int i = 0; i < NR * THREADS; i++)
        CHECK((frags[i % THREADS][i / THREADS] = page_frag_alloc(&cache, 200, GFP_KERNEL)) != NULL);
    for (int t = 0; t < THREADS; t++)
        CHECK(pthread_create(&threads[t], NULL, fragments_free, frags[t]) == 0);
    for (int t = 0; t < THREADS; t++)
        CHECK(pthread_join(threads[t], NULL) == 0);
    page_frag_cache_drain(&cache);
    CHECK(pages_live() == 0);
}

static const struct test_case table[] = {
    {"orders", orders, 0, CASE_QUARRY},
    {"limits", limits, 0, CASE_QUARRY},
    {"zeroed", zeroed, 0, CASE_QUARRY},
    {"addresses", addresses, 0, CASE_QUARRY},
    {"records", records, 0, CASE_QUARRY},
    {"references", references, 0, CASE_QUARRY},
    {"exact", exact, 0, CASE_QUARRY},
    {"exact, trimmed", trimmed, 0, CASE_QUARRY},
    {"bulk", bulk, 0, CASE_QUARRY},
    {"at hand", at_hand, 0, CASE_QUARRY},
    {"no system call", no_system_call, 0, CASE_QUARRY},
    {"frames", frames, 0, CASE_QUARRY},
    {"buddyinfo", buddyinfo, 0, CASE_QUARRY},
    {"goes back", goes_back, 0, CASE_QUARRY},
    {"accounts", accounts, 0, CASE_QUARRY},
    {"threads", threads, 0, CASE_QUARRY},
    {"lifetimes", lifetimes, 0, CASE_QUARRY},
    {"lifetimes, in a scope", pinned_scope, 0, CASE_QUARRY},
    {"fragments", fragments, 0, CASE_QUARRY},
    {"fragments, again", fragments_again, 0, CASE_QUARRY},
    {"fragments, of any thread", fragments_elsewhere, 0, CASE_QUARRY},
    {"reserve", reserve, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
