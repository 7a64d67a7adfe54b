/* SPDX-License-Identifier: MIT */
/*
 * `quarry explain PID|FILE`: the memory of a process, or a JSON report, in words. For each part of the memory that the
 * program does not use, what it is and what would change it, largest first, and of a process its caches by name.
 * Figures come from peek.c or from the file, and are known by their names in stats.def.
 */
#include "caches.h"
#include "peek.h"
#include "quarry.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct cause {
    const char *figure;
    size_t offset; /* in struct obs_stats */
    const char *what, *advice;
    uint64_t bytes;
};

#define FIGURE(name) #name, offsetof(struct obs_stats, name)

static const struct cause causes[] = {
    {FIGURE(live_bytes), "is held by the program", "Only the program can free it.", 0},
    {FIGURE(cached_bytes), "is free objects in per-CPU magazines", "Lower QUARRY_MAGAZINE_BYTES.", 0},
    {FIGURE(depot_bytes), "is free objects in full magazines between the CPUs and the slabs",
     "Lower QUARRY_DEPOT_BYTES.", 0},
    {FIGURE(slab_free_bytes), "is free objects inside slabs that are partly used",
     "Objects that outlive their neighbours of the same size keep the slabs: look for long-lived objects allocated "
     "among short-lived ones. malloc_trim(0) gives back their wholly free pages.",
     0},
    {FIGURE(slab_tail_bytes), "is ends of slabs too short for an object", "`quarry classes` shows which sizes waste.",
     0},
    {FIGURE(run_free_bytes), "is free pages kept for soon", "Lower QUARRY_PURGE_DELAY, or call malloc_trim(0).", 0},
    {FIGURE(pages_free_bytes), "is free pages inside blocks of the kernel API's page allocator",
     "Lower QUARRY_PURGE_DELAY, or call malloc_trim(0).", 0},
    {FIGURE(big_cached_bytes), "is freed big regions kept for reuse", "Lower QUARRY_VMALLOC_CACHE.", 0},
    {FIGURE(meta_resident_bytes), "is quarry's own data", "It grows with the heap's peak and never shrinks.", 0},
    {FIGURE(unasked_bytes), "came unasked with the rest of hugepages", "Set QUARRY_THP=never.", 0},
    {FIGURE(not_ours_bytes), "is outside quarry: stacks, data of libraries, their own mappings",
     "/proc/PID/smaps names the mappings.", 0},
};

enum { CAUSES_NR = sizeof(causes) / sizeof(causes[0]), CACHES_SHOWN = 10 };

static const struct {
    const char *name;
    size_t offset;
} rows[] = {
#define STAT(name, unit, doc) {FIGURE(name)},
#include "obs/stats.def"
#undef STAT
};

static uint64_t *figure_at(struct obs_stats *stats, size_t offset) { return (uint64_t *)((char *)stats + offset); }

/* A row newer than the report is 0; the causes must be there. */
static bool figure_needed(const char *name) {
    for (size_t i = 0; i < CAUSES_NR; i++) {
        if (strcmp(causes[i].figure, name) == 0)
            return true;
    }
    return false;
}

static bool figures_take(struct json_object *report, struct obs_stats *ret_stats) {
    struct json_object *stats = NULL, *value;
    (void)json_object_object_get_ex(report, "stats", &stats);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (json_object_object_get_ex(stats, rows[i].name, &value) && json_object_is_type(value, json_type_int)) {
            *figure_at(ret_stats, rows[i].offset) = json_object_get_uint64(value);
        } else if (figure_needed(rows[i].name)) {
            complain("explain: no figure %s: not a JSON report of this version", rows[i].name);
            return false;
        }
    }
    return true;
}

static int cause_compare(const void *a, const void *b) {
    uint64_t x = ((const struct cause *)a)->bytes, y = ((const struct cause *)b)->bytes;
    return (x < y) - (x > y);
}

static u64 cache_slabs_bytes(const struct cache *c) { return c->class->stats.slabs * c->class->slab_bytes; }

static int cache_compare(const void *a, const void *b) {
    u64 x = cache_slabs_bytes(a), y = cache_slabs_bytes(b);
    return (x < y) - (x > y);
}

static double mib(uint64_t bytes) { return (double)bytes / (1024.0 * 1024.0); }

static void causes_text(const struct cause *sorted) {
    for (size_t i = 0; i < CAUSES_NR && sorted[i].bytes > 0; i++)
        printf("%.1f MiB %s. %s\n", mib(sorted[i].bytes), sorted[i].what, sorted[i].advice);
}

/* Those of libquarry-kmem that hold memory, those that hold most first. */
static size_t caches_sort(const struct caches *caches, struct cache *ret_sorted) {
    size_t nr = 0;
    for (size_t i = 0; i < caches->nr && nr < SLAB_IDS_NR; i++) {
        if (caches->rows[i].kind != CACHE_MALLOC && caches->rows[i].class->stats.slabs > 0)
            ret_sorted[nr++] = caches->rows[i];
    }
    qsort(ret_sorted, nr, sizeof(*ret_sorted), cache_compare);
    return nr;
}

static void caches_text(const struct caches *caches) {
    static struct cache sorted[SLAB_IDS_NR];
    size_t nr = caches_sort(caches, sorted);
    for (size_t i = 0; i < MIN(nr, (size_t)CACHES_SHOWN); i++)
        printf("Of these %.1f MiB are slabs of the cache %s, with %" PRIu64 " objects out of %" PRIu64 ".\n",
               mib(cache_slabs_bytes(&sorted[i])), sorted[i].name, cache_active_objs(&sorted[i]),
               sorted[i].class->stats.slabs * sorted[i].class->geometry.nobj);
    if (nr > CACHES_SHOWN)
        printf("%zu more caches hold less: `quarry slabinfo PID`.\n", nr - CACHES_SHOWN);
}

static void caches_json(const struct caches *caches) {
    static struct cache sorted[SLAB_IDS_NR];
    size_t nr = caches_sort(caches, sorted);
    for (size_t i = 0; i < nr; i++) {
        fputs(i == 0 ? ",\"caches\":[{\"name\":" : ",{\"name\":", stdout);
        json_string_print(sorted[i].name);
        printf(",\"active_objs\":%" PRIu64 ",\"slab_bytes\":%" PRIu64 "}", cache_active_objs(&sorted[i]),
               cache_slabs_bytes(&sorted[i]));
    }
    if (nr > 0)
        putchar(']');
}

/* The caches stand with what the program holds, most of which they are where there are any. */
static void causes_json(const struct cause *sorted, const struct caches *caches) {
    for (size_t i = 0; i < CAUSES_NR; i++) {
        printf("%s{\"figure\":\"%s\",\"bytes\":%" PRIu64 ",\"what\":", i == 0 ? "[\n" : ",\n", sorted[i].figure,
               sorted[i].bytes);
        json_string_print(sorted[i].what);
        fputs(",\"advice\":", stdout);
        json_string_print(sorted[i].advice);
        if (sorted[i].offset == offsetof(struct obs_stats, live_bytes))
            caches_json(caches);
        putchar('}');
    }
    puts("\n]");
}

static void sums_text(const struct obs_stats *stats) {
    if (stats->rounding_bytes > 0)
        printf(
            "Of what the program holds some %.1f MiB is more than it asked for (an estimate from the size classes).\n",
            mib(stats->rounding_bytes));
    if (stats->kernel_anon_bytes == 0) {
        puts("The kernel's figure was not to be had where the report was made.");
        return;
    }
    if (stats->untouched_bytes > 0)
        printf("%.1f MiB of these were never touched and hold no memory.\n", mib(stats->untouched_bytes));
    printf("In all %.1f MiB; the kernel says %.1f MiB.\n", mib(stats->accounted_bytes), mib(stats->kernel_anon_bytes));
}

static void stats_explain(struct obs_stats *stats, const struct caches *caches, enum table_form form) {
    struct cause sorted[CAUSES_NR];
    memcpy(sorted, causes, sizeof(causes));
    for (size_t i = 0; i < CAUSES_NR; i++)
        sorted[i].bytes = *figure_at(stats, sorted[i].offset);
    qsort(sorted, CAUSES_NR, sizeof(sorted[0]), cause_compare);
    if (form == FORM_JSON) {
        causes_json(sorted, caches);
    } else {
        causes_text(sorted);
        caches_text(caches);
        sums_text(stats);
    }
}

static int file_read(const char *path, struct obs_stats *ret_stats) {
    if (access(path, R_OK) != 0) {
        complain("explain: cannot read %s: %s", path, strerror(errno));
        return 1;
    }
    struct json_object *report = json_object_from_file(path);
    if (report == NULL) {
        const char *why = json_util_get_last_err();
        complain("explain: %s is not JSON: %.*s", path, (int)strcspn(why, "\n"), why);
        return 1;
    }
    bool whole = figures_take(report, ret_stats);
    json_object_put(report);
    return whole ? 0 : 1;
}

static int process_read(pid_t pid, struct obs_stats *ret_stats, struct caches *ret_caches) {
    struct target t;
    if (!target_open(&t, "explain", pid))
        return 1;
    bool read = peek_collect(&t, ret_stats) && caches_read(&t, ret_caches);
    target_close(&t);
    return read ? 0 : 1;
}

int command_explain(int argc, char **argv) {
    static struct caches caches;
    struct obs_stats stats = {0};
    enum table_form form = argc == 3 && strcmp(argv[1], "--json") == 0 ? FORM_JSON : FORM_TEXT;
    if (argc != (form == FORM_JSON ? 3 : 2) || argv[argc - 1][0] == '-') {
        complain("explain takes [--json] and a process id or the file of a JSON report");
        return EXIT_USAGE;
    }
    /* A file whose name is all digits has a path before it. */
    const char *what = argv[argc - 1];
    pid_t pid;
    int status = target_pid_read(what, &pid) ? process_read(pid, &stats, &caches) : file_read(what, &stats);
    if (status == 0)
        stats_explain(&stats, &caches, form);
    caches_free(&caches);
    return status;
}
