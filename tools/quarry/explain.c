/* SPDX-License-Identifier: MIT */
/*
 * `quarry explain FILE`: a JSON report in words. For each part of the memory that the program does not use, what it is
 * and what would change it, largest first. Knows figures by their names in stats.def and nothing else of the library.
 */
#include "quarry.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPORT_BYTES = 64 * 1024 };

struct cause {
    const char *figure, *what, *advice;
    uint64_t bytes;
};

static const struct cause causes[] = {
    {"live_bytes", "is held by the program", "Only the program can free it.", 0},
    {"cached_bytes", "is free objects in per-CPU magazines", "Lower QUARRY_MAGAZINE_BYTES.", 0},
    {"depot_bytes", "is free objects in full magazines between the CPUs and the slabs", "Lower QUARRY_DEPOT_BYTES.", 0},
    {"slab_free_bytes", "is free objects inside slabs that are partly used",
     "Objects that outlive their neighbours of the same size keep the slabs: look for long-lived objects allocated "
     "among short-lived ones. malloc_trim(0) gives back their wholly free pages.",
     0},
    {"slab_tail_bytes", "is ends of slabs too short for an object", "`quarry classes` shows which sizes waste.", 0},
    {"run_free_bytes", "is free pages kept for soon", "Lower QUARRY_PURGE_DELAY, or call malloc_trim(0).", 0},
    {"big_cached_bytes", "is freed big regions kept for reuse", "Lower QUARRY_VMALLOC_CACHE.", 0},
    {"meta_resident_bytes", "is quarry's own data", "It grows with the heap's peak and never shrinks.", 0},
    {"unasked_bytes", "came unasked with the rest of hugepages", "Set QUARRY_THP=never.", 0},
    {"not_ours_bytes", "is outside quarry: stacks, data of libraries, their own mappings",
     "/proc/PID/smaps names the mappings.", 0},
};

enum { CAUSES_NR = sizeof(causes) / sizeof(causes[0]) };

static bool figure_find(const char *report, const char *name, uint64_t *ret_value) {
    char key[64];
    snprintf(key, sizeof(key), "\"%s\":", name);
    const char *at = strstr(report, key);
    if (at == NULL || at[strlen(key)] < '0' || at[strlen(key)] > '9')
        return false;
    *ret_value = strtoull(at + strlen(key), NULL, 10);
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

static void sums_text(const char *report) {
    uint64_t sum = 0, kernel = 0, untouched = 0;
    if (!figure_find(report, "kernel_anon_bytes", &kernel) || kernel == 0) {
        puts("The kernel's figure was not to be had where the report was made.");
        return;
    }
    (void)figure_find(report, "accounted_bytes", &sum);
    (void)figure_find(report, "untouched_bytes", &untouched);
    if (untouched > 0)
        printf("%.1f MiB of these were never touched and hold no memory.\n", mib(untouched));
    printf("In all %.1f MiB; the kernel says %.1f MiB.\n", mib(sum), mib(kernel));
}

static int report_explain(const char *report, enum table_form form) {
    struct cause sorted[CAUSES_NR];
    memcpy(sorted, causes, sizeof(causes));
    for (size_t i = 0; i < CAUSES_NR; i++) {
        if (!figure_find(report, sorted[i].figure, &sorted[i].bytes)) {
            complain("explain: no figure %s: not a JSON report of this version", sorted[i].figure);
            return 1;
        }
    }
    qsort(sorted, CAUSES_NR, sizeof(sorted[0]), cause_compare);
    if (form == FORM_JSON) {
        causes_json(sorted);
    } else {
        causes_text(sorted);
        sums_text(report);
    }
    return 0;
}

int command_explain(int argc, char **argv) {
    static char report[REPORT_BYTES];
    enum table_form form = argc == 3 && strcmp(argv[1], "--json") == 0 ? FORM_JSON : FORM_TEXT;
    if (argc != (form == FORM_JSON ? 3 : 2) || argv[argc - 1][0] == '-') {
        complain("explain takes [--json] and the file of a JSON report");
        return EXIT_USAGE;
    }
    FILE *file = fopen(argv[argc - 1], "r");
    if (file == NULL) {
        complain("explain: cannot open %s", argv[argc - 1]);
        return EXIT_NOT_FOUND;
    }
    size_t got = fread(report, 1, sizeof(report) - 1, file);
    fclose(file);
    report[got] = '\0';
    return report_explain(report, form);
}
