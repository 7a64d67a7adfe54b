/* SPDX-License-Identifier: MIT */
/* `quarry slab PID CACHE ATTRIBUTE`: the attributes of a cache as the kernel has them in /sys/kernel/slab, by its names
 * and in its formats (mm/slub.c, Linux 6.12; sheaf_capacity is of 6.18). The figures are caches.h's. alloc_traces and
 * free_traces, which the kernel has in its debugfs, are traces.h's, and shown by name alone. */
#include "caches.h"
#include "kmem/view.h"
#include "quarry.h"
#include "symbols.h"
#include "traces.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum attribute_kind { ATTRIBUTE_NUMBER, ATTRIBUTE_FLAG, ATTRIBUTE_SYMBOL };

struct attribute {
    const char *name;
    u64 (*number)(const struct cache *c);
    enum attribute_kind kind;
    unsigned flag;
};

static u64 number_aliases(const struct cache *c) { return c->aliases; }
static u64 number_align(const struct cache *c) { return c->align_bytes; }
static u64 number_ctor(const struct cache *c) { return (uintptr_t)c->ctor; }
static u64 number_object_size(const struct cache *c) { return c->object_bytes; }
static u64 number_objects(const struct cache *c) { return cache_active_objs(c); }
static u64 number_objects_partial(const struct cache *c) { return c->class->partial_objs; }
static u64 number_objs_per_slab(const struct cache *c) { return c->class->geometry.nobj; }
static u64 number_partial(const struct cache *c) { return c->class->partial; }
static u64 number_sheaf_capacity(const struct cache *c) { return c->class->magazine_cap; }
static u64 number_slab_size(const struct cache *c) { return c->class->geometry.size_bytes; }
static u64 number_slabs(const struct cache *c) { return c->class->stats.slabs; }
static u64 number_total_objects(const struct cache *c) { return c->class->stats.slabs * c->class->geometry.nobj; }
static u64 number_usersize(const struct cache *c) { return c->usersize; }

#define NUMBER(name)                                                                                                   \
    { #name, number_##name, ATTRIBUTE_NUMBER, 0 }
#define FLAG(name, flag)                                                                                               \
    { #name, NULL, ATTRIBUTE_FLAG, flag }

/* Attributes that mean something here; docs/kmem.md has the others. */
static const struct attribute attributes[] = {
    NUMBER(aliases),
    NUMBER(align),
    FLAG(cache_dma, QUARRY_SLAB_CACHE_DMA),
    {"ctor", number_ctor, ATTRIBUTE_SYMBOL, 0},
    FLAG(destroy_by_rcu, QUARRY_SLAB_TYPESAFE_BY_RCU),
    FLAG(failslab, QUARRY_SLAB_FAILSLAB),
    FLAG(hwcache_align, QUARRY_SLAB_HWCACHE_ALIGN),
    NUMBER(object_size),
    NUMBER(objects),
    NUMBER(objects_partial),
    NUMBER(objs_per_slab),
    NUMBER(partial),
    FLAG(poison, QUARRY_SLAB_POISON),
    FLAG(reclaim_account, QUARRY_SLAB_RECLAIM_ACCOUNT),
    FLAG(red_zone, QUARRY_SLAB_RED_ZONE),
    FLAG(sanity_checks, QUARRY_SLAB_CONSISTENCY_CHECKS),
    NUMBER(sheaf_capacity),
    NUMBER(slab_size),
    NUMBER(slabs),
    FLAG(store_user, QUARRY_SLAB_STORE_USER),
    NUMBER(total_objects),
    FLAG(trace, QUARRY_SLAB_TRACE),
    NUMBER(usersize),
};
enum { ATTRIBUTES_NR = sizeof(attributes) / sizeof(attributes[0]), SYMBOL_BYTES = 256 };

/* As the file of that name: a line, but none for no constructor. */
static void attribute_print(const struct attribute *a, const struct cache *c, struct symbols *symbols) {
    u64 number = a->kind == ATTRIBUTE_FLAG ? (c->flags & a->flag) != 0 : a->number(c);
    char symbol[SYMBOL_BYTES];
    if (a->kind != ATTRIBUTE_SYMBOL)
        printf("%" PRIu64 "\n", number);
    else if (number != 0 && symbols_name(symbols, number, symbol, sizeof(symbol)))
        puts(symbol);
    else if (number != 0)
        printf("0x%" PRIx64 "\n", number);
}

static void attributes_print(const struct cache *c, struct symbols *symbols) {
    for (size_t i = 0; i < ATTRIBUTES_NR; i++) {
        printf("%s ", attributes[i].name);
        attribute_print(&attributes[i], c, symbols);
        if (attributes[i].kind == ATTRIBUTE_SYMBOL && c->ctor == NULL)
            putchar('\n');
    }
}

static const struct cache *cache_find(const struct caches *caches, const char *name) {
    for (size_t i = 0; i < caches->nr; i++) {
        if (strcmp(caches->rows[i].name, name) == 0)
            return &caches->rows[i];
    }
    return NULL;
}

static const char *const traces[KMEM_TRACKS_NR] = {
    [KMEM_TRACK_ALLOC] = "alloc_traces",
    [KMEM_TRACK_FREE] = "free_traces",
};

/* names: of a cache and an attribute, or less. */
static bool slab_print(const struct target *t, const struct caches *caches, char **names, int nr,
                       struct symbols *symbols) {
    const struct cache *c = nr == 0 ? NULL : cache_find(caches, names[0]);
    if (nr == 0) {
        for (size_t i = 0; i < caches->nr; i++)
            puts(caches->rows[i].name);
        return true;
    }
    if (c == NULL) {
        complain("slab: no cache %s; `quarry slab PID` lists them", names[0]);
        return false;
    }
    if (nr == 1) {
        attributes_print(c, symbols);
        return true;
    }
    for (size_t i = 0; i < ATTRIBUTES_NR; i++) {
        if (strcmp(attributes[i].name, names[1]) == 0) {
            attribute_print(&attributes[i], c, symbols);
            return true;
        }
    }
    for (size_t kind = 0; kind < KMEM_TRACKS_NR; kind++) {
        if (strcmp(traces[kind], names[1]) == 0)
            return traces_print(t, caches, c, (enum kmem_track_kind)kind, symbols);
    }
    complain("slab: no attribute %s; `quarry slab PID CACHE` shows all there are but alloc_traces and free_traces",
             names[1]);
    return false;
}

int command_slab(int argc, char **argv) {
    static struct caches caches;
    struct target t;
    pid_t pid;
    if (argc < 2 || argc > 4 || !target_pid_read(argv[1], &pid)) {
        complain("slab takes a process id, and the names of a cache and of one of its attributes");
        return EXIT_USAGE;
    }
    if (!target_open(&t, argv[0], pid))
        return 1;
    struct symbols *symbols = argc > 2 ? symbols_open(pid) : NULL;
    bool printed = caches_read(&t, &caches) && slab_print(&t, &caches, argv + 2, argc - 2, symbols);
    symbols_close(symbols);
    caches_free(&caches);
    target_close(&t);
    return printed ? 0 : 1;
}
