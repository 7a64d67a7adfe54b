/* SPDX-License-Identifier: MIT */
/*
 * The functions of <quarry/quarry.h>: the engine and its accounts under exported names. Contracts are in the header.
 * Owns nothing. Called by programs that know they run on quarry, and by the `quarry` tool.
 */
#include "engine/engine.h"
#include "engine/pressure.h"
#include "obs/obs.h"
#include "rt/options.h"

#include <errno.h>
#include <string.h>

#pragma GCC visibility push(default)
#include "quarry/quarry.h"
#pragma GCC visibility pop

const char *quarry_version(void) { return QUARRY_VERSION_TEXT; }

size_t quarry_usable_size(const void *p) { return engine_usable(p); }

size_t quarry_good_size(size_t size) { return engine_good_size(size); }

int quarry_owns(const void *p) { return engine_kind_of(p) != ENGINE_NOT_OURS; }

/* Hardened, an object is from wherever one is, and as an object of malloc's exactly as large as was asked for; the
 * engine's other callers of this are the kernel's names, whose objects are as large as their class. */
void *quarry_malloc_node(size_t size, int node) {
    return UNLIKELY(rt_opt.harden) ? engine_alloc_slow(size) : engine_alloc_node(size, node, ENGINE_NODE_NEAR);
}

int quarry_set_thread_node(int node) {
    static const int errors[] = {[ENGINE_NODE_SET] = 0, [ENGINE_NODE_UNKNOWN] = EINVAL, [ENGINE_NODE_OFF] = ENOTSUP};
    return errors[engine_thread_node(node)];
}

size_t quarry_trim(size_t pad) { return engine_trim(pad); }

/* Names stand in the row itself: pointers would need relocating in every process. */
enum { STAT_NAME_BYTES = 24 };
static const char stat_names[][STAT_NAME_BYTES] = {
#define STAT(name, unit, doc) #name,
#include "obs/stats.def"
#undef STAT
};

#define STAT(name, unit, doc) _Static_assert(sizeof(#name) <= STAT_NAME_BYTES, #name " is too long");
#include "obs/stats.def"
#undef STAT

const char *quarry_stat_name(size_t index) { return index < ARRAY_NR(stat_names) ? stat_names[index] : NULL; }

int quarry_stat(const char *name, uint64_t *ret_value) {
    struct obs_stats stats;
    _Static_assert(sizeof(stats) == sizeof(u64) * ARRAY_NR(stat_names),
                   "struct obs_stats is its rows, in order, and nothing else");
    for (size_t i = 0; i < ARRAY_NR(stat_names); i++) {
        if (strcmp(name, stat_names[i]) != 0)
            continue;
        obs_collect(&stats, obs_asks_kernel(i * sizeof(u64)) ? OBS_KERNEL : OBS_COUNTERS);
        memcpy(ret_value, (const char *)&stats + i * sizeof(u64), sizeof(*ret_value));
        return 0;
    }
    return ENOENT;
}

int quarry_report(int fd, enum quarry_format format) {
    switch (format) {
    case QUARRY_SHORT: obs_report_short(fd); return 0;
    case QUARRY_TEXT: obs_report_text(fd); return 0;
    case QUARRY_JSON: obs_report_json(fd); return 0;
    }
    return EINVAL;
}

int quarry_reclaim_register(void (*fn)(void *arg), void *arg) {
    if (fn == NULL)
        return EINVAL;
    return engine_reclaim_register(fn, arg) == 0 ? 0 : ENOSPC;
}

int quarry_reclaim_unregister(void (*fn)(void *arg), void *arg) {
    return engine_reclaim_unregister(fn, arg) == 0 ? 0 : ENOENT;
}

enum quarry_pressure_level quarry_pressure(struct quarry_pressure *ret_pressure) {
    struct engine_pressure p;
    engine_pressure_get(&p);
    if (ret_pressure != NULL)
        *ret_pressure = (struct quarry_pressure){
            .used_bytes = p.used_bytes, .soft_bytes = p.soft_bytes, .hard_bytes = p.hard_bytes};
    return (enum quarry_pressure_level)p.level;
}
