/* SPDX-License-Identifier: MIT */
/* When a fall of use is over. See settle.h. */
#include "engine/settle.h"

enum {
    FALL_PART = 16, /* of the highest, what use must fall by: it may vary by less at rest */
    MOVE_PART = 16, /* of use, what it may vary by at rest */
    WAVES_MAX = 4,
    RESTLESS_DELAYS = 8, /* use that never rests would be looked at for ever */
    EARLY_PART = 8,      /* of the delay, where it is now or never */
};
/* A smaller fall is not worth a look at every class. */
#define FALL_MIN_BYTES ((u64)(2 * MIB))
#define MOVE_MIN_BYTES ((u64)(512 * KIB))
/* Wanted again so soon, settling was a mistake: as long as page/ regrets what it purged. */
#define REGRET_MS ((u64)2000)

static bool has_fallen(u64 from, u64 use) { return use + MAX(from / FALL_PART, FALL_MIN_BYTES) <= from; }

/* As much as that is of all, regions with it: beside these a few magazines that are refilled are no motion. */
static bool has_moved(u64 from_bytes, u64 out_bytes, u64 use_bytes) {
    u64 by = out_bytes > from_bytes ? out_bytes - from_bytes : from_bytes - out_bytes;
    return by > MAX(use_bytes / MOVE_PART, MOVE_MIN_BYTES);
}

/* [T2] */
static void regret_look(struct settle_state *s, u64 now_ms, u64 use) {
    bool late = now_ms - s->settled_ms > REGRET_MS;
    if (s->came_bytes == 0 || (!late && has_fallen(s->came_bytes, use)))
        return;
    s->waves = late ? 0 : MIN(s->waves + 1, (unsigned)WAVES_MAX);
    s->came_bytes = 0;
}

void settle_rebase(struct settle_state *s, u64 before_bytes, u64 after_bytes) {
    s->mark_bytes = s->mark_bytes + after_bytes > before_bytes ? s->mark_bytes + after_bytes - before_bytes : 0;
}

void settle_shed(struct settle_state *s, u64 bytes) {
    s->high_bytes -= MIN(s->high_bytes, bytes);
    s->mark_bytes -= MIN(s->mark_bytes, bytes);
}

static enum settle settle_now(struct settle_state *s, u64 now_ms, u64 use_bytes) {
    s->came_bytes = s->high_bytes;
    s->settled_ms = now_ms;
    s->high_bytes = use_bytes;
    s->since_ms = 0;
    return SETTLE_NOW;
}

enum settle settle_early(struct settle_state *s, u64 now_ms, u64 use_bytes, u64 delay_ms) {
    bool rests = now_ms - s->since_ms >= delay_ms / EARLY_PART;
    return rests && s->waves == 0 ? settle_now(s, now_ms, use_bytes) : SETTLE_FALLEN;
}

enum settle settle_step(struct settle_state *s, u64 now_ms, u64 use_bytes, u64 out_bytes, u64 delay_ms) {
    regret_look(s, now_ms, use_bytes);
    s->high_bytes = MAX(s->high_bytes, use_bytes);
    if (!has_fallen(s->high_bytes, use_bytes)) {
        s->since_ms = 0;
        return SETTLE_STEADY;
    }
    if (s->since_ms == 0)
        s->fell_ms = now_ms;
    if (s->since_ms == 0 || has_moved(s->mark_bytes, out_bytes, use_bytes)) {
        s->mark_bytes = out_bytes;
        s->since_ms = now_ms;
    }
    delay_ms <<= s->waves;
    if (now_ms - s->since_ms < delay_ms && now_ms - s->fell_ms < RESTLESS_DELAYS * delay_ms)
        return SETTLE_FALLEN;
    return settle_now(s, now_ms, use_bytes);
}
