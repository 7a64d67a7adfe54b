/* SPDX-License-Identifier: MIT */
/* What the tests of accounts look at. */
#ifndef QUARRY_TESTS_KERNEL_ACCOUNTS_H
#define QUARRY_TESTS_KERNEL_ACCOUNTS_H

#include "check.h"

#include <linux/memcontrol.h>
#include <stdbool.h>
#include <stdlib.h>

static inline struct mem_cgroup *tenant(const char *name, size_t limit_bytes) {
    struct mem_cgroup *a = quarry_account_create(name, limit_bytes);
    CHECK(a != NULL);
    return a;
}

static inline struct quarry_account_info info_of(const struct mem_cgroup *a) {
    struct quarry_account_info info;
    quarry_account_info_get(a, &info);
    return info;
}

/* Objects and bytes; each object is charged with its slot, which is no smaller than what may be used of it. */
static inline void charged(const struct mem_cgroup *a, size_t nr, size_t usable_bytes) {
    struct quarry_account_info info = info_of(a);
    CHECK_MSG(info.objects == nr && info.charged_bytes >= usable_bytes && (nr != 0 || info.charged_bytes == 0),
              "%zu objects of %zu bytes, not %zu of %zu", info.objects, info.charged_bytes, nr, usable_bytes);
    CHECK(info.peak_bytes >= info.charged_bytes);
}

static inline bool debugged(void) { return getenv("QUARRY_SLAB_DEBUG") != NULL; }

/* The same of slots that have nothing beside their objects. */
static inline void charged_exactly(const struct mem_cgroup *a, size_t nr, size_t ksizes) {
    charged(a, nr, 0);
    CHECK_MSG(debugged() || info_of(a).charged_bytes == ksizes, "%zu bytes, not %zu", info_of(a).charged_bytes, ksizes);
}

#endif
