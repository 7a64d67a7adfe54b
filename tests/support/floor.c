/* SPDX-License-Identifier: MIT */
/*
 * See floor.h.
 */
#include "floor.h"

#include "check.h"
#include "proc.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <quarry/quarry.h>
/* Not by dlsym, which finds nothing in a static program. */
#pragma weak quarry_stat

enum {
    THREADS_LIMIT = 300,
    STACK_BYTES = 128 << 10, /* libc keeps 40 MiB of them */
    RESIDENT_SLACK_BYTES = 2 << 20,
    MAPPINGS_SLACK = 32,
    GUARD_SLOTS = 64, /* the default; the places of guarded objects that were freed stay apart from their neighbours */
};

static pthread_barrier_t everybody;

static void *thread_run(void *nothing) {
    (void)pthread_barrier_wait(&everybody);
    return nothing;
}

void floor_threads(size_t thread_nr) {
    pthread_t threads[THREADS_LIMIT];
    pthread_attr_t small;
    CHECK(thread_nr <= THREADS_LIMIT);
    CHECK(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, STACK_BYTES) == 0);
    CHECK(pthread_setattr_default_np(&small) == 0);
    CHECK(pthread_barrier_init(&everybody, NULL, (unsigned)thread_nr) == 0);
    for (size_t i = 0; i < thread_nr; i++)
        CHECK(pthread_create(&threads[i], NULL, thread_run, NULL) == 0);
    for (size_t i = 0; i < thread_nr; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static uint64_t figure(const char *name) {
    uint64_t value;
    CHECK_MSG(quarry_stat != NULL, "not on this library");
    CHECK(quarry_stat(name, &value) == 0);
    return value;
}

/* Magazines are never unmapped, and which of their pages are touched, of those of each CPU and node and of those for
 * threads that have no CPU's, is chance: on a slow machine most are in the second part. */
static uint64_t resident_slack_bytes(void) {
    return (uint64_t)RESIDENT_SLACK_BYTES * ((uint64_t)sysconf(_SC_NPROCESSORS_CONF) + 1) * figure("nodes");
}

static size_t mappings_slack(void) {
    const char *guard = getenv("QUARRY_GUARD");
    return MAPPINGS_SLACK + (guard != NULL && strcmp(guard, "0") == 0 ? 0 : 2 * GUARD_SLOTS);
}

struct floor floor_take(void) {
    (void)malloc_trim(0);
    return (struct floor){figure("live_bytes"), figure("slabs"), figure("big_regions"),
                          figure("heap_resident_bytes") + figure("meta_resident_bytes"), proc_mapping_nr()};
}

void floor_check(const struct floor *before) {
    struct floor now = floor_take();
    CHECK_MSG(now.mappings <= before->mappings + mappings_slack(), "%zu mappings, %zu before", now.mappings,
              before->mappings);
    if (getenv("QUARRY_HARDEN") != NULL)
        return; /* what is kept back counts as live, and how much that is at one moment is chance */
    CHECK_MSG(now.live_bytes == before->live_bytes, "%llu bytes are live, %llu were before",
              (unsigned long long)now.live_bytes, (unsigned long long)before->live_bytes);
    CHECK_MSG(now.big_regions == before->big_regions, "%llu regions are left, %llu were before",
              (unsigned long long)now.big_regions, (unsigned long long)before->big_regions);
    CHECK_MSG(now.slabs <= before->slabs, "%llu slabs are left, %llu were before", (unsigned long long)now.slabs,
              (unsigned long long)before->slabs);
    if (getenv("FOREIGN_PAGES") != NULL)
        return;
    CHECK_MSG(now.resident_bytes <= before->resident_bytes + resident_slack_bytes(),
              "%llu KiB are resident, %llu were before", (unsigned long long)now.resident_bytes >> 10,
              (unsigned long long)before->resident_bytes >> 10);
}
