/* SPDX-License-Identifier: MIT */
/*
 * `quarry explain PID|FILE`: the memory of a process, or a JSON report, in words. For each part of the memory that the
 * program does not use, what it is and what would change it, largest first. Figures come from peek.c or from the file,
 * and are known by their names in stats.def.
 */
#include "peek.h"
#include "quarry.h"

#include <ctype.h>
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

enum { CAUSES_NR = sizeof(causes) / sizeof(causes[0]) };

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

static double mib(uint64_t bytes) { return (double)bytes / (1024.0 * 1024.0); }

static void causes_text(const struct cause *sorted) {
    for (size_t i = 0; i < CAUSES_NR && sorted[i].bytes > 0; i++)
        printf("%.1f MiB %s. %s\n", mib(sorted[i].bytes), sorted[i].what, sorted[i].advice);
}

static void causes_json(const struct cause *sorted) {
    for (size_t i = 0; i < CAUSES_NR; i++) {
        printf("%s{\"figure\":\"%s\",\"bytes\":%" PRIu64 ",\"what\":", i == 0 ? "[\n" : ",\n", sorted[i].figure,
               sorted[i].bytes);
        json_string_print(sorted[i].what);
        fputs(",\"advice\":", stdout);
        json_string_print(sorted[i].advice);
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

static void stats_explain(struct obs_stats *stats, enum table_form form) {
    struct cause sorted[CAUSES_NR];
    memcpy(sorted, causes, sizeof(causes));
    for (size_t i = 0; i < CAUSES_NR; i++)
        sorted[i].bytes = *figure_at(stats, sorted[i].offset);
    qsort(sorted, CAUSES_NR, sizeof(sorted[0]), cause_compare);
    if (form == FORM_JSON) {
        causes_json(sorted);
    } else {
        causes_text(sorted);
        sums_text(stats);
    }
}

static int file_read(const char *path, struct obs_stats *ret_stats) {
    if (access(path, R_OK) != 0) {
        complain("explain: cannot open %s", path);
        return EXIT_NOT_FOUND;
    }
    struct json_object *report = json_object_from_file(path);
    if (report == NULL) {
        complain("explain: %s is not JSON: %s", path, json_util_get_last_err());
        return 1;
    }
    bool whole = figures_take(report, ret_stats);
    json_object_put(report);
    return whole ? 0 : 1;
}

/* All digits is a process; a file of such a name has a path before it. */
static bool is_pid(const char *word) {
    size_t digits = 0;
    while (isdigit((unsigned char)word[digits]))
        digits++;
    return digits > 0 && digits < 10 && word[digits] == '\0';
}

int command_explain(int argc, char **argv) {
    struct obs_stats stats = {0};
    enum table_form form = argc == 3 && strcmp(argv[1], "--json") == 0 ? FORM_JSON : FORM_TEXT;
    if (argc != (form == FORM_JSON ? 3 : 2) || argv[argc - 1][0] == '-') {
        complain("explain takes [--json] and a process id or the file of a JSON report");
        return EXIT_USAGE;
    }
    const char *what = argv[argc - 1];
    int status = is_pid(what) ? !peek_collect((pid_t)atoi(what), &stats) : file_read(what, &stats);
    if (status == 0)
        stats_explain(&stats, form);
    return status;
}
