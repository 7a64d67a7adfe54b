/* SPDX-License-Identifier: MIT */
/*
 * `quarry allocinfo PID`: what is allocated and not freed, by the place in the program that allocated it, in the format
 * of /proc/allocinfo. Nothing is counted for it: a process on which slab_debug keeps users' stacks (U) has who
 * allocated an object beside the object, and of a vmalloc area it is always known. Here the objects that are out are
 * gone over, and those of one place added up.
 */
#include "quarry.h"
#include "symbols.h"
#include "tracks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CALLERS_NR = 6, /* through functions of headers that were not inlined, to the program */
    RECORDS_MIN = 4096,
    ROW_BYTES = 128,
};

/* What was allocated by one stack. */
struct record {
    u64 callers[CALLERS_NR];
    u64 bytes, calls;
};

struct records {
    struct record *all;
    size_t nr, cap;
    bool whole;
};

static int record_compare(const void *a, const void *b) {
    return memcmp(((const struct record *)a)->callers, ((const struct record *)b)->callers, sizeof(u64[CALLERS_NR]));
}

/* Those of one stack become one. */
static void records_merge(struct records *r) {
    size_t to = 0;
    if (r->nr == 0)
        return;
    qsort(r->all, r->nr, sizeof(r->all[0]), record_compare);
    for (size_t i = 1; i < r->nr; i++) {
        if (record_compare(&r->all[to], &r->all[i]) != 0) {
            r->all[++to] = r->all[i];
            continue;
        }
        r->all[to].bytes += r->all[i].bytes;
        r->all[to].calls += r->all[i].calls;
    }
    r->nr = to + 1;
}

/* Room for another: twice as much only when most stacks differ. */
static bool records_room(struct records *r) {
    if (r->nr < r->cap)
        return true;
    records_merge(r);
    if (r->cap != 0 && r->nr <= r->cap / 2)
        return true;
    struct record *larger = tracks_array_grow(r->all, &r->cap, RECORDS_MIN, sizeof(*larger));
    r->all = larger != NULL ? larger : r->all;
    return larger != NULL;
}

static void records_add(struct records *r, const struct record *one) {
    r->whole = r->whole && records_room(r);
    if (r->whole)
        r->all[r->nr++] = *one;
}

/* --- objects --- */

static void object_add(void *arg, const struct tracked *object) {
    const struct kmem_track *track = &object->tracks[KMEM_TRACK_ALLOC];
    struct record one = {.bytes = object->cache->object_bytes, .calls = 1};
    for (u32 i = 0; i < MIN(track->addrs_nr, (u32)CALLERS_NR); i++)
        one.callers[i] = (uintptr_t)track->addrs[i];
    if (track->pid != 0)
        records_add(arg, &one);
}

static void objects_read(struct target *t, struct caches *caches, struct records *records) {
    enum tracks_result result = tracks_each(t, caches, NULL, object_add, records);
    if (result == TRACKS_NONE)
        complain("allocinfo: process %d keeps callers of vmalloc areas alone; of objects with QUARRY_SLAB_DEBUG=U",
                 (int)t->pid);
    records->whole = records->whole && result != TRACKS_NO_MEMORY;
}

/* --- areas --- */

static void area_add(const struct target *t, const struct chunk *at, const struct hpage *h, void *arg) {
    (void)t, (void)at;
    if (h->state == HPAGE_BIG && (h->big_flags & BIG_AREA) != 0)
        records_add(arg, &(struct record){{(uintptr_t)h->big_caller}, h->big_bytes, 1});
}

/* --- rows --- */

struct row {
    struct symbols_site site;
    u64 bytes, calls;
};

static int site_compare(const void *a, const void *b) {
    const struct symbols_site *x = &((const struct row *)a)->site, *y = &((const struct row *)b)->site;
    int order = strcmp(x->file, y->file);
    if (order == 0)
        order = (x->line > y->line) - (x->line < y->line);
    if (order == 0)
        order = strcmp(x->module, y->module);
    return order != 0 ? order : strcmp(x->function, y->function);
}

/* Several stacks lead to one place. Returns how many rows there are. */
static size_t rows_make(const struct records *records, struct symbols *symbols, struct row *rows) {
    size_t to = 0;
    for (size_t i = 0; i < records->nr; i++) {
        const struct record *r = &records->all[i];
        rows[i] = (struct row){.bytes = r->bytes, .calls = r->calls};
        symbols_site(symbols, r->callers, CALLERS_NR, &rows[i].site);
    }
    qsort(rows, records->nr, sizeof(rows[0]), site_compare);
    for (size_t i = 1; i < records->nr; i++) {
        if (site_compare(&rows[to], &rows[i]) != 0) {
            rows[++to] = rows[i];
            continue;
        }
        rows[to].bytes += rows[i].bytes;
        rows[to].calls += rows[i].calls;
    }
    return records->nr == 0 ? 0 : to + 1;
}

static void row_print(const struct row *row) {
    char line[ROW_BYTES + 3 * SYMBOLS_SITE_BYTES];
    struct kmem_text text = {line, sizeof(line), 0};
    kmem_allocinfo_row(&text, &(struct kmem_site_row){.bytes = row->bytes,
                                                      .calls = row->calls,
                                                      .file = row->site.file,
                                                      .line = row->site.line,
                                                      .module = row->site.module[0] == '\0' ? NULL : row->site.module,
                                                      .function = row->site.function});
    fputs(line, stdout);
}

static bool rows_print(const struct target *t, const struct records *records) {
    char head[ROW_BYTES];
    struct kmem_text text = {head, sizeof(head), 0};
    struct row *rows = calloc(MAX(records->nr, (size_t)1), sizeof(*rows));
    if (rows == NULL)
        return false;
    struct symbols *symbols = symbols_open(t->pid);
    size_t nr = rows_make(records, symbols, rows);
    symbols_close(symbols);
    kmem_allocinfo_head(&text);
    fputs(head, stdout);
    for (size_t i = 0; i < nr; i++)
        row_print(&rows[i]);
    free(rows);
    return true;
}

int command_allocinfo(int argc, char **argv) {
    static struct caches caches;
    struct target t;
    struct records records = {.whole = true};
    int status = target_begin(&t, argc, argv);
    if (status != 0)
        return status;
    bool read = caches_read(&t, &caches);
    if (read) {
        objects_read(&t, &caches, &records);
        target_hpages_each(&t, area_add, &records);
        records_merge(&records);
        read = target_is_same(&t);
    }
    if (read && (!records.whole || !rows_print(&t, &records))) {
        complain("allocinfo: out of memory");
        read = false;
    }
    free(records.all);
    caches_free(&caches);
    target_close(&t);
    return read ? 0 : 1;
}
