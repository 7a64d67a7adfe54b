/* SPDX-License-Identifier: MIT */
/*
 * Reads the list of caches, and the counters of their classes, as kmem/view.h says: while the process changes the list
 * both are read again. Magazines, and what takes a walk over the heap, are read afterwards and may be of another
 * moment.
 */
#include "caches.h"

#include "base/bits.h"
#include "kmem/paged.h"
#include "kmem/view.h"
#include "quarry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TRIES_NR = 500,
    TRY_MS = 1,
    ROWS_MAX = SLAB_IDS_NR * 2, /* a list longer than there are ids is none */
    NAME_MAX_BYTES = 4096,      /* longer names are cut */
    NAME_PIECE_BYTES = 64,
    PAGED_SLABS_MAX = 1 << 20, /* a list longer than that is none */
};

/* The name, which may be NULL where there was no memory for it, is the row's from now on. */
static bool rows_add(struct caches *c, const struct cache *row) {
    if (c->rows == NULL)
        c->rows = calloc(ROWS_MAX, sizeof(*c->rows));
    if (row->name == NULL || c->rows == NULL || c->nr == ROWS_MAX) {
        free(row->name);
        return false;
    }
    c->rows[c->nr++] = *row;
    return true;
}

static void rows_clear(struct caches *c) {
    while (c->nr > 0)
        free(c->rows[--c->nr].name);
}

void caches_free(struct caches *c) {
    rows_clear(c);
    free(c->rows);
    c->rows = NULL;
}

/* --- the list of libquarry-kmem --- */

/* A string, by pieces that do not reach into a page it may not be in. NULL: not to be read. */
static char *string_read(const struct target *t, const char *at) {
    char *text = malloc(NAME_MAX_BYTES);
    size_t len = 0;
    while (text != NULL && len + NAME_PIECE_BYTES < NAME_MAX_BYTES) {
        size_t bytes = NAME_PIECE_BYTES - (uintptr_t)(at + len) % NAME_PIECE_BYTES;
        if (!target_peek(t, text + len, at + len, bytes)) {
            free(text);
            return NULL;
        }
        if (memchr(text + len, '\0', bytes) != NULL)
            return text;
        len += bytes;
    }
    if (text != NULL)
        text[len] = '\0';
    return text;
}

/* False: the list was not as it should be, because it was changed while it was read. */
static bool list_walk(const struct target *t, const struct kmem_view *view, struct caches *c) {
    struct quarry_kmem_cache s;
    const struct quarry_kmem_cache *at = target_peek_pointer(t, view->caches);
    for (; at != NULL; at = s.next) {
        if (!target_peek(t, &s, at, sizeof(s)) || s.heap.id >= SLAB_IDS_NR)
            return false;
        struct cache row = {.name = string_read(t, s.name),
                            .kind = CACHE_KMEM,
                            .id = s.heap.id,
                            .object_bytes = s.object_bytes,
                            .slot_bytes = s.slot_bytes,
                            .align_bytes = s.align_bytes,
                            .aliases = s.users - 1,
                            .usersize = s.args.usersize,
                            .flags = s.flags,
                            .debug = s.debug,
                            .ctor = (const void *)(uintptr_t)s.args.ctor,
                            .paged = s.paged};
        if (!rows_add(c, &row))
            return false;
    }
    return true;
}

static bool moment_read_once(const struct target *t, const struct kmem_view *view, struct caches *c) {
    u32 before = 1, after = 1;
    rows_clear(c);
    if (!target_peek(t, &before, (const void *)view->changes, sizeof(before)) || before % 2 != 0)
        return false;
    /* order: acquire fence, twice: the list is read between the two numbers. The other side is kmem/cache.c. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    bool whole = list_walk(t, view, c) && classes_read(t, &c->classes);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return whole && target_peek(t, &after, (const void *)view->changes, sizeof(after)) && before == after;
}

/* The caches, and the classes that were theirs at that moment: ids are used again. */
static bool moment_read(struct target *t, const struct kmem_view *view, struct caches *c) {
    for (int tries = 0; tries < TRIES_NR; tries++) {
        if (moment_read_once(t, view, c))
            return true;
        (void)nanosleep(&(struct timespec){.tv_nsec = TRY_MS * 1000000}, NULL);
    }
    if (target_is_same(t))
        complain("%s: process %d makes and destroys caches all the while", t->command, (int)t->pid);
    return false;
}

/* No class but malloc's: nobody made a cache, and libquarry-kmem need not be there. */
static bool counters_read(struct target *t, struct caches *c) {
    struct kmem_view view;
    if (!classes_read(t, &c->classes)) {
        (void)target_is_same(t); /* says that it is not */
        return false;
    }
    if (c->classes.nr == SLAB_CLASSES_NR)
        return true;
    switch (target_find(t, KMEM_VIEW_MAGIC, KMEM_VIEW_LAYOUT, &view, sizeof(view))) {
    case TARGET_FOUND: return moment_read(t, &view, c);
    case TARGET_OTHER_BUILD:
        complain("%s: process %d has libquarry-kmem of another build than this tool (%s)", t->command, (int)t->pid,
                 QUARRY_VERSION_TEXT);
        return false;
    case TARGET_NOT_FOUND: break;
    }
    return true;
}

/* --- those that have no name of their own --- */

static bool named(const struct caches *c, unsigned id) {
    for (size_t i = 0; i < c->nr; i++) {
        if (c->rows[i].id == id)
            return true;
    }
    return false;
}

static bool class_add(struct caches *c, unsigned id, enum cache_kind kind) {
    const struct slab_geometry *g = &c->classes.by_id[id].geometry;
    char name[KMEM_NAME_BYTES];
    if (kind == CACHE_LEFT)
        kmem_left_name(name, id);
    else
        kmem_class_name(name, g->size_bytes);
    struct cache row = {.name = strdup(name),
                        .kind = kind,
                        .id = id,
                        .object_bytes = g->size_bytes,
                        .slot_bytes = g->size_bytes,
                        .align_bytes = g->size_bytes & -g->size_bytes};
    return rows_add(c, &row);
}

static bool classes_add(struct caches *c) {
    bool all = true;
    for (unsigned id = SLAB_CLASSES_NR; all && id < c->classes.nr; id++) {
        if (c->classes.by_id[id].stats.slabs != 0 && !named(c, id))
            all = class_add(c, id, CACHE_LEFT);
    }
    for (unsigned id = SLAB_CLASSES_NR; all && id-- > 1;)
        all = class_add(c, id, CACHE_MALLOC);
    return all;
}

/* A slab of pages, whose record says what the heap's counters say of others. */
static void paged_slab_add(struct class_figures *c, const struct kmem_paged_slab *slab) {
    unsigned free_nr = 0;
    for (unsigned w = 0; w < KMEM_PAGED_WORDS_NR; w++)
        free_nr += bits_count(slab->free[w]);
    u64 out = c->geometry.nobj - MIN(free_nr, c->geometry.nobj);
    c->stats.slabs++;
    c->stats.out_objs += out;
    c->empty += out == 0;
    if (out == 0 || out == c->geometry.nobj)
        return;
    c->partial++;
    c->partial_objs += out;
}

/* Its class has no slab. Records are added while this goes on, at the list's head. */
static void paged_read(const struct target *t, const struct cache *row, struct class_figures *c) {
    struct kmem_paged_slab slab;
    c->geometry.nobj = (u16)row->paged.objs_per_slab;
    c->geometry.size_bytes = row->slot_bytes;
    c->slab_bytes = row->paged.slab_bytes;
    unsigned left = PAGED_SLABS_MAX;
    for (const struct kmem_paged_slab *at = row->paged.slabs; at != NULL && left-- > 0; at = slab.next) {
        if (!target_peek(t, &slab, at, sizeof(slab)))
            return;
        /* TAKEN is inside the library, and no slab of pages begins at such an address. */
        if (slab.base != NULL && (uintptr_t)slab.base % GRANULE_BYTES == 0)
            paged_slab_add(c, &slab);
    }
}

bool caches_read(struct target *t, struct caches *ret_caches) {
    struct caches *c = ret_caches;
    c->rows = NULL;
    c->nr = 0;
    if (!counters_read(t, c))
        return false;
    bool whole = classes_read_more(t, &c->classes);
    classes_walk(t, &c->classes);
    if (!target_is_same(t))
        return false;
    if (!whole) {
        complain("%s: process %d cannot be read whole", t->command, (int)t->pid);
        return false;
    }
    if (!classes_add(c)) {
        complain("%s: out of memory", t->command);
        return false;
    }
    for (size_t i = 0; i < c->nr; i++) {
        c->rows[i].class = &c->classes.by_id[c->rows[i].id];
        if (c->rows[i].paged.objs_per_slab != 0)
            paged_read(t, &c->rows[i], &c->classes.by_id[c->rows[i].id]);
    }
    return true;
}

u64 cache_active_objs(const struct cache *c) {
    return MIN(class_active_objs(c->class), c->class->stats.slabs * c->class->geometry.nobj);
}

struct kmem_slab_row cache_row(const struct cache *c, size_t page_bytes) {
    const struct slab_geometry *g = &c->class->geometry;
    u64 slabs = c->class->stats.slabs;
    return (struct kmem_slab_row){
        .name = c->name,
        .active_objs = cache_active_objs(c),
        .objs = slabs * g->nobj,
        .slot_bytes = g->size_bytes,
        .objs_per_slab = g->nobj,
        .pages_per_slab = c->class->slab_bytes / page_bytes,
        .active_slabs = slabs - MIN(slabs, c->class->empty),
        .slabs = slabs,
    };
}
