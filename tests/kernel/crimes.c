/* SPDX-License-Identifier: MIT */
/*
 * One crime against a cache that is debugged, or against kmalloc when it is: crimes.py says which and reads what is
 * said of it. Every object goes through taker() and giver(), whose names must be in the report. A program that went on
 * after the report, as it must, ends with "went on" on stdout.
 */
#include "kernel.h"

#include <errno.h>
#include <stdio.h>

enum {
    SIZE = 56,
    KMALLOC_SIZE = 50,
    CACHE_FLAGS = SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER
};

static struct kmem_cache *cache;

__attribute__((noinline)) static char *taker(void) {
    char *p = opaque(kmem_cache_alloc(cache, GFP_KERNEL));
    CHECK(p != NULL);
    return p;
}

__attribute__((noinline)) static void giver(void *p) {
    kmem_cache_free(cache, p);
    __asm__ volatile("" ::: "memory"); /* no tail call: its name is wanted */
}

__attribute__((noinline)) static char *kmalloc_taker(size_t size) {
    char *p = opaque(kmalloc(opaque_size(size), GFP_KERNEL));
    CHECK(p != NULL);
    return p;
}

__attribute__((noinline)) static void kmalloc_giver(void *p) {
    kfree(p);
    __asm__ volatile("" ::: "memory");
}

/* An object that had an owner before, so that it has both stacks. */
static char *used_object(void) {
    char *p = taker();
    giver(p);
    char *q = taker();
    CHECK(q == p);
    return q;
}

static char *freed_object(void) {
    char *p = taker();
    giver(p);
    return p;
}

static void overflow(long from, size_t bytes) {
    char *p = used_object();
    memset(p + from, 'x', bytes);
    giver(p);
}

static void left_1(void) { overflow(-1, 1); }
static void left_8(void) { overflow(-8, 8); }
static void right_1(void) { overflow(SIZE, 1); }
static void right_8(void) { overflow(SIZE, 8); }

static void write_after_free(void) {
    char *p = freed_object();
    p[8] = 'x';
    (void)taker();
}

static void read_of_poison(void) {
    char *p = freed_object();
    char **inner = *(char ***)opaque(p + 16);
    printf("%s\n", *inner);
}

static void uninitialised_read(void) {
    char *p = used_object();
    char **inner = *(char ***)opaque(p + 16);
    printf("%s\n", *inner);
}

static void double_free(void) {
    char *p = freed_object();
    giver(p);
}

static void wrong_cache(void) {
    char *p = used_object();
    struct kmem_cache *other = kmem_cache_create("other", SIZE, 0, CACHE_FLAGS, NULL);
    CHECK(other != NULL);
    kmem_cache_free(other, p);
    /* It went where it belongs. */
    CHECK(taker() == p);
}

static struct kmem_cache *plain_cache(void) {
    struct kmem_cache *plain = kmem_cache_create("plain", SIZE, 0, SLAB_NO_MERGE | SLAB_NO_USER_FLAGS, NULL);
    CHECK(plain != NULL);
    return plain;
}

/* The cache that is named is debugged, the object's is not: the kernel looks at the former. */
static void wrong_cache_plain(void) {
    struct kmem_cache *plain = plain_cache();
    char *p = kmem_cache_alloc(plain, GFP_KERNEL);
    kmem_cache_free(cache, p);
    CHECK(kmem_cache_alloc(plain, GFP_KERNEL) == p);
}

static void wrong_cache_prefixed(void) {
    char *p = kmem_cache_alloc(plain_cache(), GFP_KERNEL);
    quarry_kmem_cache_free((struct quarry_kmem_cache *)cache, p);
}

static void wrong_cache_bulk(void) {
    struct kmem_cache *plain = plain_cache();
    void *objs[3] = {taker(), kmem_cache_alloc(plain, GFP_KERNEL), taker()};
    kmem_cache_free_bulk(cache, 3, objs);
    CHECK(kmem_cache_alloc(plain, GFP_KERNEL) == objs[1]);
}

/* Neither is debugged; option harden sees it. By one and by the bulk. */
static void wrong_cache_hardened(void) {
    struct kmem_cache *plain = plain_cache(), *plainer = kmem_cache_create("plainer", SIZE, 0, SLAB_NO_MERGE, NULL);
    void *p = kmem_cache_alloc(plain, GFP_KERNEL), *objs[2] = {kmem_cache_alloc(plainer, GFP_KERNEL), NULL};
    CHECK(p != NULL && plainer != NULL && (objs[1] = kmem_cache_alloc(plain, GFP_KERNEL)) != NULL);
    kmem_cache_free(plainer, p);
    kmem_cache_free_bulk(plainer, 2, objs);
}

static void wrong_cache_malloc(void) { kmem_cache_free(cache, kmalloc(opaque_size(20000), GFP_KERNEL)); }

static void interior_free(void) {
    char *p = used_object();
    giver(p + 16);
    giver(p);
}

/* Behind tracks and all: the last bytes before the next object's red zone. */
static void padding(void) {
    struct quarry_kmem_cache_info info;
    char *p = used_object();
    quarry_kmem_cache_info_get(cache, &info);
    p[(size_t)info.slot_bytes - 16 - 8] = 'x';
    giver(p);
}

static void slab_padding(void) {
    struct quarry_kmem_cache_info info;
    char *p = used_object();
    quarry_kmem_cache_info_get(cache, &info);
    char *slab = (char *)((uintptr_t)p / 16384 * 16384);
    CHECK((size_t)info.objs_per_slab * info.slot_bytes < info.slab_bytes);
    slab[info.slab_bytes - 1] = 'x';
    giver(p);
}

/* What SLUB keeps in a free object, and an attacker overwrites: here there is a word that leads nowhere. */
static void freelist(void) {
    char *p = freed_object();
    void *target = &cache;
    memcpy(p + SIZE + 8, &target, sizeof(target));
    CHECK(taker() != (char *)target);
}

static void leak(void) {
    (void)used_object();
    kmem_cache_destroy(cache);
}

__attribute__((noinline)) static void destroyer(void) {
    kmem_cache_destroy(cache);
    __asm__ volatile("" ::: "memory");
}

static void use_after_destroy(void) {
    giver(used_object());
    destroyer();
    CHECK(kmem_cache_alloc(cache, GFP_KERNEL) == NULL);
}

/* What was its object may be another's by now: it stays. */
static void free_after_destroy(void) {
    char *p = used_object();
    giver(p);
    destroyer();
    kmem_cache_free(cache, p);
}

static void destroy_twice(void) {
    destroyer();
    destroyer();
}

/* --- looking at all of them: each is found once, and nothing else is --- */

static void validated(long found) {
    CHECK(quarry_kmem_cache_validate(cache) == found);
    CHECK(quarry_kmem_cache_validate(cache) == 0 && quarry_kmem_cache_validate(NULL) == 0);
}

static void validate_right(void) {
    char *p = used_object();
    p[SIZE] = 'x';
    validated(1);
    giver(p);
}

static void validate_write_after_free(void) {
    char *p = freed_object();
    p[8] = 'x';
    validated(1);
    CHECK(taker() == p);
}

static void validate_freelist(void) {
    char *p = used_object();
    void *target = &cache;
    memcpy(p + SIZE + 8, &target, sizeof(target));
    validated(1);
    giver(p);
}

static void validate_slab_padding(void) {
    struct quarry_kmem_cache_info info;
    char *slab = (char *)((uintptr_t)used_object() / 16384 * 16384);
    quarry_kmem_cache_info_get(cache, &info);
    slab[info.slab_bytes - 1] = 'x';
    validated(1);
}

/* --- kmalloc --- */

static char *kmalloc_used(size_t size) {
    char *p = kmalloc_taker(size);
    kmalloc_giver(p);
    char *q = kmalloc_taker(size);
    CHECK(q == p);
    return q;
}

static void kmalloc_right(void) {
    char *p = kmalloc_used(KMALLOC_SIZE);
    p[KMALLOC_SIZE] = 'x';
    kmalloc_giver(p);
}

static void kmalloc_validate(void) {
    char *p = kmalloc_used(KMALLOC_SIZE);
    p[KMALLOC_SIZE] = 'x';
    CHECK(quarry_kmem_cache_validate(NULL) == 1 && quarry_kmem_cache_validate(NULL) == 0);
    kmalloc_giver(p);
}

static void krealloc_right(void) {
    char *p = kmalloc_used(KMALLOC_SIZE);
    CHECK(krealloc(p, 20, GFP_KERNEL) == p);
    p[20] = 'x';
    kmalloc_giver(p);
}

static void kmalloc_double_free(void) {
    char *p = kmalloc_used(KMALLOC_SIZE);
    kmalloc_giver(p);
    kmalloc_giver(p);
}

static void kmalloc_write_after_free(void) {
    char *p = kmalloc_used(KMALLOC_SIZE);
    kmalloc_giver(p);
    p[0] = 'x';
    (void)kmalloc_taker(KMALLOC_SIZE);
}

/* The red zone is looked at before it moves. */
static void krealloc_over(void) {
    char *p = kmalloc_used(KMALLOC_SIZE);
    p[KMALLOC_SIZE] = 'x';
    CHECK(krealloc(p, 60, GFP_KERNEL) == p);
    p[59] = 'x';
    kmalloc_giver(p);
}

static void krealloc_free(void) {
    char *p = kmalloc_used(KMALLOC_SIZE);
    kmalloc_giver(p);
    CHECK(krealloc(p, 60, GFP_KERNEL) == NULL);
}

/* Everything that is allowed: each byte of each object, all ways to allocate and free, and objects that are looked at.
 */
static void innocent(void) {
    void *all[100];
    char *p = used_object();
    memset(p, 'x', SIZE);
    giver(p);
    p = kmem_cache_zalloc(cache, GFP_ATOMIC);
    CHECK(bytes_are(p, 0, SIZE, 0) && ksize(p) == SIZE);
    kfree(p);
    CHECK(kmem_cache_alloc_bulk(cache, GFP_KERNEL, 100, all) == 100);
    for (int i = 0; i < 100; i++)
        memset(all[i], i, SIZE);
    struct kmem_cache *plain = kmem_cache_create("plain", SIZE, 0, SLAB_NO_USER_FLAGS, NULL);
    CHECK(quarry_kmem_cache_validate(plain) == -EINVAL);
    kmem_cache_destroy(plain);
    CHECK(quarry_kmem_cache_validate(cache) == 0 && quarry_kmem_cache_validate(NULL) == 0);
    kmem_cache_free_bulk(cache, 100, all);
    CHECK(quarry_kmem_cache_validate(cache) == 0);
    CHECK(kmem_cache_shrink(cache) == 0);
    for (size_t size = 1; size <= 9000; size += 1 + size / 3) {
        p = kmalloc_used(size);
        memset(p, 'x', size);
        p = krealloc(p, size + 7, GFP_KERNEL);
        CHECK(bytes_are(p, 0, size, 'x'));
        memset(p, 'y', ksize(p));
        kmalloc_giver(p);
        p = kzalloc(size, GFP_KERNEL);
        CHECK(bytes_are(p, 0, ksize(p), 0));
        kfree_sensitive(p);
    }
    destroyer();
}

static const struct crime {
    const char *name;
    void (*commit)(void);
} crimes[] = {
    {"left_1", left_1},
    {"left_8", left_8},
    {"right_1", right_1},
    {"right_8", right_8},
    {"write_after_free", write_after_free},
    {"read_of_poison", read_of_poison},
    {"uninitialised_read", uninitialised_read},
    {"double_free", double_free},
    {"wrong_cache", wrong_cache},
    {"wrong_cache_plain", wrong_cache_plain},
    {"wrong_cache_prefixed", wrong_cache_prefixed},
    {"wrong_cache_bulk", wrong_cache_bulk},
    {"wrong_cache_malloc", wrong_cache_malloc},
    {"wrong_cache_hardened", wrong_cache_hardened},
    {"free_after_destroy", free_after_destroy},
    {"interior_free", interior_free},
    {"padding", padding},
    {"slab_padding", slab_padding},
    {"freelist", freelist},
    {"leak", leak},
    {"use_after_destroy", use_after_destroy},
    {"destroy_twice", destroy_twice},
    {"validate_right", validate_right},
    {"validate_write_after_free", validate_write_after_free},
    {"validate_freelist", validate_freelist},
    {"validate_slab_padding", validate_slab_padding},
    {"kmalloc_right", kmalloc_right},
    {"kmalloc_validate", kmalloc_validate},
    {"krealloc_right", krealloc_right},
    {"krealloc_over", krealloc_over},
    {"krealloc_free", krealloc_free},
    {"innocent", innocent},
    {"kmalloc_double_free", kmalloc_double_free},
    {"kmalloc_write_after_free", kmalloc_write_after_free},
};

__attribute__((noinline)) static void maker(void) {
    cache = kmem_cache_create("victim", SIZE, 0, CACHE_FLAGS, NULL);
    CHECK(cache != NULL);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    maker();
    for (size_t i = 0; i < sizeof(crimes) / sizeof(crimes[0]); i++) {
        if (strcmp(crimes[i].name, argv[1]) == 0) {
            crimes[i].commit();
            puts("went on");
            return 0;
        }
    }
    check_fail(__FILE__, __LINE__, "no crime %s", argv[1]);
}
