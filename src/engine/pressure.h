/* SPDX-License-Identifier: MIT */
/* Limits and the program's reclaim callbacks. Contract towards programs: <quarry/quarry.h>. */
#ifndef QUARRY_ENGINE_PRESSURE_H
#define QUARRY_ENGINE_PRESSURE_H

#include "base/types.h"
#include "rt/options.h"

typedef void (*engine_reclaim_fn)(void *arg);
enum { ENGINE_RECLAIM_FULL = 1, ENGINE_RECLAIM_UNKNOWN };
/* 0, or one of the above, negative. */
int engine_reclaim_register(engine_reclaim_fn fn, void *arg);
int engine_reclaim_unregister(engine_reclaim_fn fn, void *arg);

enum engine_pressure_level { ENGINE_PRESSURE_NONE, ENGINE_PRESSURE_SOME, ENGINE_PRESSURE_HIGH };
struct engine_pressure {
    u64 used_bytes, soft_bytes, hard_bytes;
    enum engine_pressure_level level;
};
void engine_pressure_get(struct engine_pressure *ret_pressure);

/* How often each limit was met. */
extern _Atomic(u64) engine_soft_hits;
extern _Atomic(u64) engine_hard_hits;

/* Memory is out, or limit_hard met: reclaims all there is. The caller then tries once more, whatever came of it: what
 * refused it may have been another thread's request that was itself refused. */
void engine_pressure_hard(void);
/* After a slow allocation, with nothing held. */
void engine_pressure_soft(void);
static inline void engine_pressure_look(void) {
    if (UNLIKELY(rt_opt.limit_soft != 0))
        engine_pressure_soft();
}
void engine_pressure_fork_child(void);

/* With cgroup=on: looks at the groups' limits, at start, and now and then. Always true. */
bool engine_pressure_init(void);
void engine_pressure_tick(void);

#endif
