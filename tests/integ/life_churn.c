/* SPDX-License-Identifier: MIT */
/*
 * 10,000 short-lived threads, or 100,000 with SOAK, each of which allocates in several tiers, frees most of it and
 * leaves one object for another thread. The most resident memory and mappings of the first tenth are what the last
 * 1,000 threads may have, too: neither may depend on how many threads there ever were. How many there are at once is up
 * to the scheduler, and what they held together may stay for a while, or go with time: so some batches meet, and all
 * hold all at once, and the highest of many measurements is compared.
 */
#include "check.h"
#include "proc.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <quarry/quarry.h>
#pragma weak quarry_stat
#pragma weak quarry_stat_name

enum {
    THREADS_USUAL = 10000,
    THREADS_SOAK = 100000,
    BATCH = 16,
    WARM_BATCHES = THREADS_USUAL / BATCH / 10,
    MEETING_BATCHES = 4, /* one of so many meets */
    LEGACY_BYTES = 3000,
    RESIDENT_SLACK_BYTES = 4 << 20,
    MAPPING_SLACK = 16,
    FIGURES_MAX = 100,
    FIGURE_SHOWN_BYTES = 256 << 10,
};

static unsigned char *legacies[BATCH];
static pthread_barrier_t meeting;
static bool meets;

static void *thread_run(void *index) {
    static const size_t sizes[] = {24, 100, 700, 3000, 9000, 40000};
    enum { SIZES = sizeof sizes / sizeof sizes[0], EACH = 8 };
    void *held[SIZES * EACH];
    size_t i = (size_t)index;

    for (size_t at = 0; at < SIZES * EACH; at++) {
        held[at] = malloc(sizes[at % SIZES]);
        CHECK(held[at] != NULL);
        memset(held[at], (int)i, sizes[at % SIZES] < 64 ? sizes[at % SIZES] : 64);
    }
    if (meets)
        (void)pthread_barrier_wait(&meeting);
    for (size_t at = 0; at < SIZES * EACH; at++) {
        CHECK(*(unsigned char *)held[at] == (unsigned char)i);
        free(held[at]);
    }
    if (legacies[i]) {
        CHECK(legacies[i][0] == (unsigned char)(i + 1) && legacies[i][LEGACY_BYTES - 1] == (unsigned char)(i + 1));
        free(legacies[i]);
    }
    legacies[i] = malloc(LEGACY_BYTES);
    CHECK(legacies[i] != NULL);
    memset(legacies[i], (int)i + 1, LEGACY_BYTES);
    return NULL;
}

static void batch_run(int batch) {
    pthread_t threads[BATCH];

    meets = batch % MEETING_BATCHES == 0;
    for (size_t i = 0; i < BATCH; i++)
        CHECK(pthread_create(&threads[i], NULL, thread_run, (void *)i) == 0);
    for (size_t i = 0; i < BATCH; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

/* The library's own figures, where it is there to be asked. */
struct figures {
    uint64_t values[FIGURES_MAX];
};

/* And the highest seen of what is bounded, with the figures of that moment. */
struct most {
    size_t bytes, mappings;
    struct figures figures;
};

static void figures_take(struct figures *ret_figures) {
    const char *name;
    for (size_t i = 0; quarry_stat != NULL && i < FIGURES_MAX && (name = quarry_stat_name(i)) != NULL; i++)
        CHECK(quarry_stat(name, &ret_figures->values[i]) == 0);
}

static void figures_print(const struct figures *before, const struct figures *after) {
    const char *name;
    for (size_t i = 0; quarry_stat != NULL && i < FIGURES_MAX && (name = quarry_stat_name(i)) != NULL; i++) {
        uint64_t from = before->values[i], to = after->values[i];
        if (from + FIGURE_SHOWN_BYTES < to || to + FIGURE_SHOWN_BYTES < from)
            fprintf(stderr, "%s: %llu, then %llu\n", name, (unsigned long long)from, (unsigned long long)to);
    }
}

static void most_take(struct most *m) {
    size_t bytes = proc_resident_bytes(), mappings = proc_mapping_nr();
    m->mappings = mappings > m->mappings ? mappings : m->mappings;
    if (bytes <= m->bytes)
        return;
    m->bytes = bytes;
    figures_take(&m->figures);
}

int main(void) {
    static struct most warm, end;
    int batches = (getenv("SOAK") != NULL ? THREADS_SOAK : THREADS_USUAL) / BATCH;

    CHECK(pthread_barrier_init(&meeting, NULL, BATCH) == 0);
    for (int batch = 0; batch < batches; batch++) {
        batch_run(batch);
        if (batch < WARM_BATCHES)
            most_take(&warm);
        else if (batch >= batches - WARM_BATCHES)
            most_take(&end);
    }
    if (end.bytes > warm.bytes + RESIDENT_SLACK_BYTES)
        figures_print(&warm.figures, &end.figures);
    CHECK_MSG(end.bytes <= warm.bytes + RESIDENT_SLACK_BYTES, "resident memory grew from %zu to %zu KiB",
              warm.bytes >> 10, end.bytes >> 10);
    CHECK_MSG(end.mappings <= warm.mappings + MAPPING_SLACK, "mappings grew from %zu to %zu", warm.mappings,
              end.mappings);
    return 0;
}
