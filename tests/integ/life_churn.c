/* SPDX-License-Identifier: MIT */
/*
 * 10,000 short-lived threads, or 100,000 with SOAK, each of which allocates in several tiers, frees most of it and
 * leaves one object for another thread. Resident memory and the number of mappings are taken after the first tenth and
 * must stay flat: neither may depend on how many threads there ever were.
 */
#include "check.h"
#include "proc.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    THREADS_USUAL = 10000,
    THREADS_SOAK = 100000,
    BATCH = 16,
    WARM_BATCHES = THREADS_USUAL / BATCH / 10,
    LEGACY_BYTES = 3000,
    RESIDENT_SLACK_BYTES = 4 << 20,
    MAPPING_SLACK = 16,
};

static unsigned char *legacies[BATCH];

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

static void batch_run(void) {
    pthread_t threads[BATCH];

    for (size_t i = 0; i < BATCH; i++)
        CHECK(pthread_create(&threads[i], NULL, thread_run, (void *)i) == 0);
    for (size_t i = 0; i < BATCH; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(void) {
    size_t warm_bytes = 0, warm_mappings = 0, end_bytes, end_mappings;
    int batches = (getenv("SOAK") != NULL ? THREADS_SOAK : THREADS_USUAL) / BATCH;

    for (int batch = 0; batch < batches; batch++) {
        batch_run();
        if (batch == WARM_BATCHES) {
            warm_bytes = proc_resident_bytes();
            warm_mappings = proc_mapping_nr();
        }
    }
    end_bytes = proc_resident_bytes();
    end_mappings = proc_mapping_nr();
    CHECK_MSG(end_bytes <= warm_bytes + RESIDENT_SLACK_BYTES, "resident memory grew from %zu to %zu KiB",
              warm_bytes >> 10, end_bytes >> 10);
    CHECK_MSG(end_mappings <= warm_mappings + MAPPING_SLACK, "mappings grew from %zu to %zu", warm_mappings,
              end_mappings);
    return 0;
}
