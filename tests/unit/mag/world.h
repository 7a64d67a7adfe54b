/* SPDX-License-Identifier: MIT */
/*
 * A little world of magazines for tests of the per-CPU primitives: one array of slots that every id's view shows, four
 * magazines, and the hands of whoever takes part. The primitives are given these views instead of the library's own.
 */
#ifndef QUARRY_TESTS_UNIT_MAG_WORLD_H
#define QUARRY_TESTS_UNIT_MAG_WORLD_H

#include "mag/ref.h"
#include "sys/sys.h"

#include <string.h>

enum {
    WORLD_CAP = 6,
    WORLD_MAGAZINES = 5,
    WORLD_SLOTS = 4,
    WORLD_OBJS = 24,
    WORLD_HANDS = 16,
    WORLD_IDS = 8192,
};

enum world_slot { SLOT_HALF, SLOT_EMPTY, SLOT_FULL, SLOT_STOPPED };

struct world {
    u64 spare; /* before the slots, as in a region */
    u64 slot[WORLD_SLOTS];
    u64 magazine[WORLD_MAGAZINES][WORLD_CAP + 2];
    u64 stopped[2];
    u64 hand_obj[WORLD_HANDS]; /* objects outside magazines; 0 none */
    u64 hand_mag[WORLD_HANDS]; /* magazines outside slots; 0 none */
    u64 *views[WORLD_IDS];
};

/* By slot, how far it is from the first, as the fast path's tables have it. */
static const u16 world_pop_table[WORLD_SLOTS] __attribute__((unused)) = {0, 8, 16, 24};
static const u32 world_push_table[WORLD_SLOTS] __attribute__((unused)) = {0, 8, 16, 24};

#define WORLD_SPARE_OFF ((s64)offsetof(struct world, spare) - (s64)offsetof(struct world, slot))
#define WORLD_SLOT_OFF(s) ((s64)(s) * (s64)sizeof(u64))

/* Objects are numbers that look like even addresses. */
static inline u64 world_obj(unsigned index) { return 0x10000 + (u64)index * 16; }

/* A magazine with nr objects from *next on. */
static inline u64 world_fill(u64 *magazine, unsigned nr, unsigned *next) {
    magazine[0] = magazine[WORLD_CAP + 1] = MAG_WORD_END;
    for (unsigned i = 0; i < nr; i++)
        magazine[1 + i] = world_obj((*next)++);
    return (u64)(magazine + nr);
}

/* Slots half full, empty, full and stopped; a half full and an empty magazine in hand, and the rest of the objects: one
 * each in the first two hands, for runs others in the seventh and from the ninth on. */
static inline void world_init(struct world *w) {
    unsigned next = 0;
    memset(w, 0, offsetof(struct world, views));
    w->stopped[0] = w->stopped[1] = MAG_WORD_STOPPED;
    w->slot[SLOT_HALF] = world_fill(w->magazine[0], WORLD_CAP / 2, &next);
    w->slot[SLOT_EMPTY] = world_fill(w->magazine[1], 0, &next);
    w->slot[SLOT_FULL] = world_fill(w->magazine[2], WORLD_CAP, &next);
    w->slot[SLOT_STOPPED] = (u64)w->stopped;
    w->hand_mag[0] = world_fill(w->magazine[3], 2, &next);
    w->hand_mag[1] = world_fill(w->magazine[4], 1, &next);
    for (unsigned i = 0; i < 2; i++)
        w->hand_obj[i] = world_obj(next++);
    w->hand_obj[6] = world_obj(next++);
    for (unsigned i = 8; i < 11; i++)
        w->hand_obj[i] = world_obj(next++);
    for (unsigned id = 0; id < WORLD_IDS; id++)
        w->views[id] = w->slot;
}

/* NULL when every magazine is in one place and every object in one place; else what is wrong. */
static inline const char *world_check(const struct world *w) {
    unsigned magazines_nr[WORLD_MAGAZINES] = {0}, objs_nr[WORLD_OBJS] = {0}, total = 0;
    u64 places[WORLD_SLOTS + 1 + WORLD_HANDS], objs[WORLD_OBJS + WORLD_HANDS];
    unsigned places_nr = 0;
    for (unsigned i = 0; i < WORLD_SLOTS; i++)
        places[places_nr++] = w->slot[i];
    places[places_nr++] = w->spare;
    for (unsigned i = 0; i < WORLD_HANDS; i++) {
        places[places_nr++] = w->hand_mag[i];
        if (w->hand_obj[i] != 0)
            objs[total++] = w->hand_obj[i];
    }
    for (unsigned i = 0; i < places_nr; i++) {
        if (places[i] == 0 || places[i] == (u64)w->stopped)
            continue;
        u64 offset = places[i] - (u64)w->magazine;
        if (offset >= sizeof(w->magazine))
            return "a slot points outside the magazines";
        unsigned m = (unsigned)(offset / sizeof(w->magazine[0])),
                 top = (unsigned)(offset % sizeof(w->magazine[0]) / sizeof(u64));
        if (top > WORLD_CAP || magazines_nr[m]++ != 0)
            return "a magazine is in two places, or its top beyond its end";
        if (w->magazine[m][0] != MAG_WORD_END || w->magazine[m][WORLD_CAP + 1] != MAG_WORD_END)
            return "a magazine lost its header or trailer";
        for (unsigned k = 1; k <= top; k++) {
            if (total == WORLD_OBJS)
                return "there are more objects than ever were made";
            objs[total++] = w->magazine[m][k];
        }
    }
    for (unsigned m = 0; m < WORLD_MAGAZINES; m++) {
        if (magazines_nr[m] != 1)
            return "a magazine is lost";
    }
    /* What world_init handed out. */
    enum { MADE = WORLD_CAP / 2 + WORLD_CAP + 2 + 1 + 6 };
    for (unsigned i = 0; i < total; i++) {
        u64 index = (objs[i] - world_obj(0)) / 16;
        if (objs[i] < world_obj(0) || index >= MADE || objs_nr[index]++ != 0)
            return "an object is in two places, or was never made";
    }
    return total == MADE ? NULL : "an object is lost";
}

/* Points the primitives at this thread's rseq area. False: there is none. */
static inline bool world_use_rseq(void) {
    ptrdiff_t offset = 0;
    enum { CPU_ID = 4, MM_CID = 24 };
    enum sys_rseq have = QUARRY_RSEQ ? sys_rseq_probe(&offset) : SYS_RSEQ_NONE;
    if (have == SYS_RSEQ_NONE)
        return false;
    mag_rseq_offset = offset;
    mag_id_offset = offset + (have == SYS_RSEQ_MM_CID ? MM_CID : CPU_ID);
    return true;
}

#endif
