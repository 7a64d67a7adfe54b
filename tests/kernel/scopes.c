/* SPDX-License-Identifier: MIT */
/*
 * Code in the way of kernels since 6.5, whose memory goes with its scope: a probe that fails at each of its steps and
 * frees what it has by then, pointers that leave their scope, guards of readers and of what the program takes and gives
 * back itself. What is left is counted in a cache of its own, and by the bytes that are live.
 */
#include "cases.h"
#include "kernel.h"

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/kernel.h>
#include <linux/percpu.h>
#include <linux/vmalloc.h>
#if TEST_RCU
#include <linux/rcupdate.h>
#endif
#include <errno.h>
#include <quarry/quarry.h>

static uint64_t live_bytes(void) {
    uint64_t bytes = 1;
    CHECK(quarry_stat("live_bytes", &bytes) == 0);
    return bytes;
}

/* --- a probe, by __free() --- */

enum { STEPS = 5, RING_BYTES = 3 << 20 };

struct device {
    char *name;
    void *ring;
    long *hits; /* for each CPU */
    unsigned nr;
    int weights[];
};

static int steps_left; /* 0: the next one fails */

static bool step(void) { return steps_left-- != 0; }

static struct device *device_probe(unsigned nr) {
    struct device *d __free(kfree) = step() ? kzalloc_flex(*d, weights, nr) : NULL;
    if (d == NULL)
        return ERR_PTR(-ENOMEM);
    char *name __free(kfree) = step() ? kasprintf(GFP_KERNEL, "device%u of %s", nr, "the test") : NULL;
    if (name == NULL)
        return ERR_PTR(-ENOMEM);
    void *ring __free(kvfree) = step() ? kvmalloc(RING_BYTES, GFP_KERNEL) : ERR_PTR(-ENOSPC);
    if (IS_ERR(ring))
        return ERR_CAST(ring);
    long *hits __free(free_percpu) = step() ? alloc_percpu(long) : NULL;
    if (hits == NULL || !step())
        return ERR_PTR(-ENODEV);
    d->nr = nr;
    d->name = no_free_ptr(name);
    d->ring = no_free_ptr(ring);
    d->hits = no_free_ptr(hits);
    CHECK(name == NULL && ring == NULL && hits == NULL);
    return_ptr(d);
}

static void device_remove(struct device *d) {
    free_percpu(d->hits);
    kvfree(d->ring);
    kfree(d->name);
    kfree(d);
}

static void probing(size_t unused) {
    static const long errors[STEPS] = {-ENOMEM, -ENOMEM, -ENOSPC, -ENODEV, -ENODEV};
    uint64_t before = 0;
    (void)unused;
    /* The first round makes what per-CPU data and areas keep for good. */
    for (int round = 0; round < 3; round++) {
        for (int fails = 0; fails < STEPS; fails++) {
            steps_left = fails;
            struct device *failed = device_probe(7);
            CHECK_MSG(PTR_ERR(failed) == errors[fails], "step %d: %ld", fails, PTR_ERR(failed));
        }
        steps_left = STEPS;
        struct device *d = device_probe(7);
        CHECK(!IS_ERR(d) && d->weights[6] == 0 && strcmp(d->name, "device7 of the test") == 0);
        device_remove(d);
        uint64_t live = live_bytes();
        CHECK_MSG(round == 0 || live == before, "%lu bytes, then %lu", (unsigned long)before, (unsigned long)live);
        before = live;
    }
}

/* --- each kind --- */

static struct kmem_cache *objects;
DEFINE_FREE(object, void *, if (_T) kmem_cache_free(objects, _T))

static size_t objects_nr(void) {
    struct quarry_kmem_cache_info info;
    quarry_kmem_cache_info_get(objects, &info);
    return info.active_objs;
}

static void *object_kept(bool kept) {
    void *p __free(object) = kmem_cache_alloc(objects, GFP_KERNEL);
    void *other auto_kfree;
    CHECK(p != NULL && other == NULL && objects_nr() == 1);
    if (!kept)
        return NULL;
    return_ptr(p);
}

static void kinds(size_t unused) {
    (void)unused;
    objects = kmem_cache_create("scopes", 48, 0, SLAB_NO_MERGE, NULL);
    CHECK(object_kept(false) == NULL && objects_nr() == 0);
    void *p = object_kept(true);
    CHECK(p != NULL && objects_nr() == 1);
    kmem_cache_free(objects, p);
    for (int i = 0; i < 100; i++) {
        void *kept __free(object) = kmem_cache_alloc(objects, GFP_KERNEL);
        p = kept;
        retain_and_null_ptr(kept);
        CHECK(kept == NULL && objects_nr() == 1);
        kmem_cache_free(objects, p);
    }
    CHECK(objects_nr() == 0);
    kmem_cache_destroy(objects);
}

/* What each is declared for, and pointers that are none. */
static void frees(size_t unused) {
    uint64_t before = 0;
    (void)unused;
    for (int round = 0; round < 3; round++) {
        {
            void *error __free(kfree) = ERR_PTR(-EIO), *none __free(kvfree) = NULL,
                        *empty __free(kfree) = ZERO_SIZE_PTR;
            void *secret __free(kfree_sensitive) = kmalloc(100, GFP_KERNEL), *area __free(vfree) = vmalloc(5 << 20);
            void *later __free(kvfree_atomic) = kvmalloc(5000, GFP_KERNEL);
            void *page __free(free_page) = (void *)__get_free_page(GFP_KERNEL); // NOLINT(performance-no-int-to-ptr)
            CHECK(secret != NULL && area != NULL && later != NULL && page != NULL);
        }
        uint64_t live = live_bytes();
        CHECK_MSG(round == 0 || live == before, "%lu bytes, then %lu", (unsigned long)before, (unsigned long)live);
        before = live;
    }
}

/* --- guards --- */

struct counter {
    int held, taken;
};
static void counter_take(struct counter *c) {
    c->held++;
    c->taken++;
}
static void counter_give(struct counter *c) { c->held--; }

static int all_held;
static int all_take(void) { return 40 + all_held++; }
static void all_give(int flags, int depth) {
    all_held--;
    CHECK(flags == 40 + all_held && depth == 1);
}

DEFINE_GUARD(counter, struct counter *, counter_take(_T), counter_give(_T))
DEFINE_LOCK_GUARD_1(counted, struct counter, counter_take(_T->lock), counter_give(_T->lock); _T->seen = 0, int seen)
DEFINE_LOCK_GUARD_0(all, _T->flags = all_take(); _T->depth++, all_give(_T->flags, _T->depth), int flags, depth)
DEFINE_CLASS(text, char *, kfree(_T), kstrdup(of, GFP_KERNEL), const char *of)

static struct counter first, second;
static int held_inside(void) {
    guard(counter)(&first);
    guard(counted)(&second);
    return first.held + second.held;
}

/* No way leads around the statement. */
static int held_at_the_end(void) {
    scoped_guard(all) { scoped_guard(all) return all_held; }
}

static void guards(size_t unused) {
    (void)unused;
    CHECK(held_at_the_end() == 2 && all_held == 0);
    CHECK(held_inside() == 2 && first.held == 0 && second.held == 0);
    int turns = 0;
    scoped_guard(counter, &first) {
        turns++;
        CHECK(first.held == 1);
    }
    for (int i = 0; i < 3; i++) {
        scoped_guard(counted, &second) {
            if (i == 1)
                break; /* leaves the scope alone */
            turns++;
        }
    }
    CHECK(turns == 3 && first.held == 0 && second.held == 0 && first.taken == 2 && second.taken == 4);
    CLASS(text, copy)("a copy");
    CHECK(strcmp(copy, "a copy") == 0);
#if TEST_RCU
    {
        guard(rcu)();
        scoped_guard(rcu) rcu_read_lock();
        rcu_read_unlock();
    }
    synchronize_rcu(); /* nobody is left inside */
#endif
}

/* --- guards of locks that may not be had --- */

static int counter_try(struct counter *c) {
    if (c->held != 0)
        return 0;
    counter_take(c);
    return 1;
}
/* 0, or an error. */
static int counter_wait(struct counter *c, int error) {
    if (error != 0)
        return error;
    counter_take(c);
    return 0;
}

static int wait_error;
DEFINE_GUARD_COND(counter, _try, counter_try(_T))
DEFINE_GUARD_COND(counter, _wait, counter_wait(_T, wait_error), _RET == 0)
DEFINE_LOCK_GUARD_1_COND(counted, _try, counter_try(_T->lock))
EXTEND_CLASS(text, _twice, kasprintf(GFP_KERNEL, "%s%s", of, of), const char *of)

static int tried(struct counter *c) {
    scoped_cond_guard(counter_try, return -EAGAIN, c) return c->held;
    return -EIO;
}

static int acquired(struct counter *c) {
    ACQUIRE(counter_wait, lock)(c);
    int error = ACQUIRE_ERR(counter_wait, &lock);
    return error != 0 ? error : c->held;
}

static void conditions(size_t unused) {
    (void)unused;
    struct counter c = {0};
    int runs = 0;
    CHECK(tried(&c) == 1 && c.held == 0 && acquired(&c) == 1 && c.held == 0 && c.taken == 2);
    wait_error = -EINTR;
    CHECK(acquired(&c) == -EINTR && c.held == 0);
    wait_error = EBUSY; /* as pthread_mutex_trylock() says it */
    CHECK(acquired(&c) == -EBUSY && c.held == 0);
    wait_error = 0;
    CHECK(acquired(NULL) == -EBUSY && tried(NULL) == -EAGAIN);
    scoped_guard(counter, &c) {
        CHECK(tried(&c) == -EAGAIN && c.held == 1);
        scoped_guard(counter_try, &c) runs++;
        scoped_guard(counted_try, &c) runs++;
        ACQUIRE(counted_try, busy)(&c);
        CHECK(ACQUIRE_ERR(counted_try, &busy) == -EBUSY);
        scoped_guard(counter_wait, &c) {
            runs += 10;
            CHECK(c.held == 2);
        }
    }
    CHECK(runs == 10 && c.held == 0);
    scoped_guard(counted_try, &c) runs++;
    CHECK(runs == 11 && c.held == 0);
    CLASS(text_twice, twice)("ab");
    CLASS_INIT(text, once, kstrdup(twice, GFP_KERNEL));
    CHECK(strcmp(twice, "abab") == 0 && strcmp(once, "abab") == 0 && once != twice);
}

/* --- what such code has beside --- */

static char *text_of(const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = kvasprintf(GFP_NOWAIT, format, args);
    va_end(args);
    return text;
}

static void printed(size_t unused) {
    (void)unused;
    char *p = kasprintf(GFP_KERNEL, "%s-%d", "eth", 12), *empty = text_of("%s", "");
    CHECK(strcmp(p, "eth-12") == 0 && ksize(p) == kmalloc_size_roundup(7) && empty != NULL && *empty == 0);
    char *large = kasprintf(GFP_KERNEL, "%100000d", 1);
    CHECK(strlen(large) == 100000 && large[99999] == '1');
    CHECK(kasprintf(GFP_KERNEL | __GFP_NOWARN, "%5000000d", 1) == NULL);
    kfree(p);
    kfree(empty);
    kfree(large);
}

static const char *name_of(const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *name = kvasprintf_const(GFP_KERNEL, format, args);
    va_end(args);
    return name;
}

static void printed_constants(size_t unused) {
    static const char constant[] = "constant";
    char own[] = "of the stack";
    (void)unused;
    const char *a = name_of(constant), *b = name_of("%s", constant), *c = name_of("%s", own), *d = name_of("%s.", own);
    CHECK(a == kstrdup_const(constant, GFP_KERNEL) || strcmp(a, constant) == 0);
    CHECK(strcmp(b, constant) == 0 && c != own && strcmp(c, own) == 0 && strcmp(d, "of the stack.") == 0);
    kfree_const(a);
    kfree_const(b);
    kfree_const(c);
    kfree_const(d);
    kfree_const(opaque(a == constant ? constant : NULL)); /* is left alone, however often */
}

static void mapped(size_t unused) {
    struct page *from = alloc_page(GFP_HIGHUSER), *to = alloc_page(GFP_HIGHUSER | __GFP_ZERO);
    char text[6] = "";
    (void)unused;
    char *p = kmap_local_page(from);
    CHECK(p == page_address(from) && kmap(from) == p && kmap_atomic(from) == p);
    memset(p, 'a', PAGE_SIZE);
    kunmap_atomic(p);
    kunmap(from);
    kunmap_local(p);
    memcpy_to_page(from, 100, "hello", 5);
    copy_highpage(to, from);
    memcpy_from_page(text, to, 100, 5);
    CHECK(strcmp(text, "hello") == 0 && bytes_are(page_address(to), 105, PAGE_SIZE, 'a'));
    memzero_page(to, 5, 95);
    CHECK(bytes_are(page_address(to), 5, 100, 0) && bytes_are(page_address(to), 0, 5, 'a'));
    clear_highpage(to);
    CHECK(bytes_are(page_address(to), 0, PAGE_SIZE, 0));
    copy_page(page_address(to), page_address(from));
    clear_page(page_address(from));
    CHECK(bytes_are(page_address(from), 0, PAGE_SIZE, 0) && bytes_are(page_address(to), 0, 100, 'a'));
    __free_page(from);
    __free_page(to);
}

static const struct test_case table[] = {
    {"probing", probing, 0, CASE_QUARRY},
    {"kinds", kinds, 0, CASE_QUARRY},
    {"frees", frees, 0, CASE_QUARRY},
    {"guards", guards, 0, CASE_QUARRY},
    {"guards that may fail", conditions, 0, CASE_QUARRY},
    {"printed", printed, 0, CASE_QUARRY},
    {"printed constants", printed_constants, 0, CASE_QUARRY},
    {"mapped", mapped, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
