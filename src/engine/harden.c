/* SPDX-License-Identifier: MIT */
/*
 * Seals, and what is kept back. Contract in harden.h.
 *
 * A seal is a word in the last 8 bytes of a slot or region: how much of it the program did not ask for, mixed with its
 * address, a secret of the process, and whether the object is live. So it tells the exact size, a second free, and a
 * write over it; and cannot be copied from elsewhere.
 *
 * Invariants
 *   [H1] A slot that is nobody's reads as zeros but for the seal of a free object. Slabs begin as zeros
 *        (slab_create()).
 *   [H2] One free of an object succeeds: whose swap of the live seal for the free one does.
 *
 * Ordering: [harden.ring]: who takes an object off a ring, or out of the shuffled, sees the zeros in it.
 *
 * Progress: an object goes onto a ring, and another off it, by one exchange; nothing waits.
 */
#include "engine/harden.h"

#include "base/bits.h"
#include "base/fill.h"
#include "big/big.h"
#include "engine/engine.h"
#include "engine/most.h"
#include "engine/start.h"
#include "mag/mag.h"
#include "rt/context.h"
#include "rt/misuse.h"
#include "sys/sys.h"

#include <string.h>

enum { SLACK_BITS = 21, RINGS_NR = 3 };
#define SLACK_MASK (((u64)1 << SLACK_BITS) - 1)
_Static_assert(HARDEN_OBJECT_MAX <= SLACK_MASK, "what is left of a slot is told by the seal");

static _Atomic(u64) random_state;

void harden_init(void) {
    u64 seed[SEAL_KINDS_NR + 1];
    sys_random(seed, sizeof(seed));
    harden_key.secrets[SEAL_LIVE] = seed[0];
    harden_key.secrets[SEAL_FREE] = seed[1] | 1;
    harden_key.fill_seed = (u8)(seed[2] >> 56);
    atomic_store_explicit(&random_state, seed[2] | 1, memory_order_relaxed);
}

/* Two threads may get the same number. */
static u64 random_next(void) {
    u64 x = atomic_load_explicit(&random_state, memory_order_relaxed) + 0x9e3779b97f4a7c15u;
    atomic_store_explicit(&random_state, x, memory_order_relaxed);
    return bits_mix(x ^ harden_key.secrets[SEAL_FREE]);
}

/* --- slots and their seals --- */

struct slot {
    char *p;
    size_t bytes;
    unsigned cls; /* 0: a region */
};

/* Of an object's start. False: p is none. */
static bool slot_find(const void *p, struct slot *ret) {
    unsigned cls = page_map_get(p) % PAGE_MAP_CLASSES;
    bool region = cls == PAGE_MAP_BIG;
    *ret =
        (struct slot){(char *)(uintptr_t)p, region ? big_usable(p) : slab_geometry[cls].size_bytes, region ? 0 : cls};
    return region ? ret->bytes != 0 : slab_locate(p).object == p;
}

static _Atomic(u64) *seal_at(const struct slot *s) { return (_Atomic(u64) *)(s->p + s->bytes - HARDEN_SEAL_BYTES); }

static u64 seal_of(const struct slot *s, size_t slack, enum harden_seal_kind kind) {
    return (bits_mix(((u64)(uintptr_t)s->p + slack) ^ harden_key.secrets[kind]) & ~SLACK_MASK) | slack;
}
static u64 seal_free_of(const struct slot *s) { return seal_of(s, 0, SEAL_FREE); }

static char *end_of(const struct slot *s) { return s->p + s->bytes - HARDEN_SEAL_BYTES; }

static const char *slot_name(const struct slot *s) { return s->cls == 0 ? "big" : "hardened"; }

/* The size that was asked for; 0: the object is free. */
static size_t slot_size(const struct slot *s) {
    u64 seal = atomic_load_explicit(seal_at(s), memory_order_relaxed);
    size_t slack = seal & SLACK_MASK;
    if (LIKELY(seal == seal_of(s, slack, SEAL_LIVE) && slack <= s->bytes))
        return s->bytes - slack;
    if (seal == seal_free_of(s) || seal == 0)
        return 0;
    rt_misuse(MISUSE_OVERFLOW, end_of(s), s->bytes, slot_name(s));
}

void *harden_seal(void *p, size_t size) {
    struct slot s;
    (void)slot_find(p, &s);
    size = MAX(size, (size_t)1);
    fill_write(harden_key.fill_seed, s.p + size, end_of(&s));
    atomic_store_explicit(seal_at(&s), seal_of(&s, s.bytes - size, SEAL_LIVE), memory_order_relaxed);
    return p;
}

size_t harden_usable(const void *p) {
    struct slot s;
    return slot_find(p, &s) ? slot_size(&s) : 0;
}

/* --- what is nobody's --- */

/* The first byte that is not zero, looked for by the word: slots are multiples of 16 bytes. */
static const char *not_zero(const char *from, const char *to) {
    u64 word = 0;
    for (; from < to && word == 0; from += sizeof(word))
        memcpy(&word, from, sizeof(word));
    return word == 0 ? NULL : from - sizeof(word) + bits_lowest(word) / 8; /* little-endian */
}

void *harden_look(void *p) {
    struct slot s;
    if (p == NULL)
        return NULL;
    (void)slot_find(p, &s);
    const char *written = not_zero(s.p, end_of(&s));
    u64 seal = atomic_load_explicit(seal_at(&s), memory_order_relaxed);
    if (written == NULL && seal != 0 && seal != seal_free_of(&s))
        written = end_of(&s);
    if (UNLIKELY(written != NULL))
        rt_misuse(MISUSE_WRITE_FREED, written, s.bytes, slot_name(&s));
    return p;
}

/* --- kept back: rings, by size, of which each free takes the oldest --- */

static char *_Atomic small[RING_SMALL_NR], *_Atomic medium[RING_MEDIUM_NR], *_Atomic large[RING_LARGE_NR];
static struct ring {
    char *_Atomic *slots;
    u32 nr;
    u32 most_bytes;
    _Atomic(u32) next;
} rings[RINGS_NR] = {{small, RING_SMALL_NR, 1 * KIB, 0},
                     {medium, RING_MEDIUM_NR, 64 * KIB, 0},
                     {large, RING_LARGE_NR, HARDEN_OBJECT_MAX, 0}};

static char *place_exchange(char *_Atomic *place, char *p) {
    /* order: acq_rel: publishes the zeros in p; and sees those in what comes out.               pairs: [harden.ring] */
    return atomic_exchange_explicit(place, p, memory_order_acq_rel);
}

/* Atomic contexts live on what others gave back: the largest are theirs again at once. */
static char *keep_back(char *p, size_t bytes) {
    struct ring *r = rings;
    if (bytes > rings[RINGS_NR - 2].most_bytes && !rt_may_block())
        return p;
    while (bytes > r->most_bytes)
        r++;
    u32 i = atomic_fetch_add_explicit(&r->next, 1, memory_order_relaxed) % r->nr;
    return place_exchange(&r->slots[i], p);
}

static void let_go(char *p) {
    if (p != NULL)
        mag_free(page_map_get(p), harden_look(p));
}

/* Of the small classes some free objects of each, of which one is handed out by chance. */
static char *_Atomic shuffled[SHUFFLED_CLASSES_NR][SHUFFLED_NR];

static void *shuffle(unsigned cls, void *p) {
    for (unsigned tries = 0; p != NULL && tries < SHUFFLED_NR; tries++) {
        char *other = place_exchange(&shuffled[cls][random_next() % SHUFFLED_NR], p);
        if (other != NULL)
            return other;
        p = mag_alloc(cls, NULL);
    }
    return p;
}

void *harden_take(unsigned cls) {
    void *p = mag_alloc(cls, NULL);
    if (cls < SHUFFLED_CLASSES_NR)
        p = shuffle(cls, p);
    return harden_look(p);
}

void harden_audit(void) {
    for (unsigned i = 0; rt_opt.harden && i < RINGS_NR; i++) {
        for (u32 k = 0; k < rings[i].nr; k++)
            let_go(place_exchange(&rings[i].slots[k], NULL));
    }
    for (unsigned cls = 1; rt_opt.harden && cls < SHUFFLED_CLASSES_NR; cls++) {
        for (unsigned k = 0; k < SHUFFLED_NR; k++)
            let_go(place_exchange(&shuffled[cls][k], NULL));
    }
}

/* --- free --- */

static void check_fill(const struct slot *s, size_t size) {
    const char *written = fill_damage(harden_key.fill_seed, s->p + size, end_of(s));
    if (UNLIKELY(written != NULL))
        rt_misuse(MISUSE_OVERFLOW, written, s->bytes, slot_name(s));
}

/* A region's pages go, and its addresses are kept back by big/. */
static void region_free(const struct slot *s) {
    if (!big_retire(s->p))
        engine_bad_pointer(s->p);
}

void harden_free(void *p) {
    struct slot s;
    size_t size = slot_find(p, &s) ? slot_size(&s) : 0;
    u64 live = size == 0 ? 0 : seal_of(&s, s.bytes - size, SEAL_LIVE);
    if (size == 0 || !atomic_compare_exchange_strong_explicit(seal_at(&s), &live, seal_free_of(&s),
                                                              memory_order_relaxed, memory_order_relaxed)) {
        engine_bad_pointer(p);
        return;
    }
    check_fill(&s, size);
    if (UNLIKELY(engine_counting))
        engine_count(ENGINE_CALL_FREE, -(s64)size);
    if (s.cls == 0) {
        region_free(&s);
        return;
    }
    memset(s.p, 0, s.bytes - HARDEN_SEAL_BYTES);
    let_go(keep_back(s.p, s.bytes));
}
