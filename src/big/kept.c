/* SPDX-License-Identifier: MIT */
/*
 * The places of freed regions that are kept: an array of words, each empty or a region. A program that frees a buffer
 * and allocates one again moves one word twice.
 *
 * States      A record is its region's; withdrawn, in a place; in the hands of the thread that took it out.
 * Invariants  [K1] A region is in one place at most: who puts it there has it alone, and of those who take it out one
 *             swap succeeds.
 * Ordering    Putting a region in releases its record, taking it out acquires.                            [big.kept]
 * Progress    Lock-free: a swap fails when another one succeeded.
 * Reclamation Nothing is read through a word before the region is the reader's. A word that is seen twice means the
 *             same region, of the same size, in the same place; that it was away meanwhile matters to its age alone,
 *             which is a hint.
 */
#include "big/kept.h"

#include "base/bits.h"
#include "sys/sys.h"

/* A region is not cut down to less than this part of it: it is worth more as it is. */
enum { FAR_PART = 8 };

_Alignas(CACHE_LINE) _Atomic(u64) kept_words[KEPT_NR];
static _Atomic(u64) put_ms[KEPT_NR]; /* a hint: two who put at once may leave each other's, of about the same time */

#define SLACK_MAX (((u64)1 << KEPT_SLACK_BITS) - 1)

static u64 word_of(const struct hpage *h) {
    u64 place = (uintptr_t)h->addr >> HPAGE_SHIFT, size = h->big_bytes >> KEPT_SIZE_SHIFT;
    u64 slack = (h->big_reserve_bytes >> HPAGE_SHIFT) - (h->big_bytes >> HPAGE_SHIFT);
    if (size >> KEPT_SIZE_BITS != 0 || place >> (64 - KEPT_SIZE_BITS - KEPT_SLACK_BITS) != 0)
        return 0;
    return (place << KEPT_SLACK_BITS | MIN(slack, SLACK_MAX)) << KEPT_SIZE_BITS | size;
}

/* Of addresses, at least. */
static size_t word_reserve_bytes(u64 word) {
    size_t slack = (size_t)(word >> KEPT_SIZE_BITS & SLACK_MAX);
    return ((kept_word_bytes(word) >> HPAGE_SHIFT) + slack) << HPAGE_SHIFT;
}

/* How far a region is from what is wanted: by how much its end must move. SIZE_MAX: it can't be used. */
static ALWAYS_INLINE size_t word_distance(u64 word, size_t bytes, size_t align) {
    size_t has = kept_word_bytes(word);
    bool holds = has >= bytes ? has / FAR_PART <= bytes : word_reserve_bytes(word) > bytes;
    if (!holds || ((uintptr_t)kept_word_addr(word) & (align - 1)) != 0)
        return SIZE_MAX;
    return has >= bytes ? has - bytes : bytes - has;
}

/* Where a thread begins to look, so that it finds what it put there last, if it is alone: thread pointers lie pages and
 * stacks apart, and the golden section spreads them over the upper bits. */
static unsigned first_place(void) {
    u64 hash = (sys_thread_self() >> 12) * 0x9e3779b97f4a7c15u;
    return (unsigned)((hash >> 32) * KEPT_NR >> 32);
}

static u64 word_at(unsigned place) { return atomic_load_explicit(&kept_words[place], memory_order_relaxed); }

static bool place_empty(unsigned place, u64 word) {
    /* order: acquire, relaxed on failure: the record as it was withdrawn.                          pairs: [big.kept] */
    return atomic_compare_exchange_strong_explicit(&kept_words[place], &word, 0, memory_order_acquire,
                                                   memory_order_relaxed);
}

static bool place_fill(unsigned place, u64 word) {
    u64 empty = 0;
    /* order: release, relaxed on failure: publishes the record.                                    pairs: [big.kept] */
    return atomic_compare_exchange_strong_explicit(&kept_words[place], &empty, word, memory_order_release,
                                                   memory_order_relaxed);
}

bool kept_put(const struct hpage *h, u64 now_ms) {
    unsigned first = first_place();
    u64 word = word_of(h);
    for (unsigned i = 0; i < KEPT_NR && word != 0; i++) {
        unsigned place = (first + i) % KEPT_NR;
        if (word_at(place) != 0)
            continue;
        atomic_store_explicit(&put_ms[place], now_ms, memory_order_relaxed);
        if (place_fill(place, word))
            return true;
    }
    return false;
}

/* What another took meanwhile is looked for anew. */
char *kept_take(size_t bytes, size_t align) {
    unsigned first = first_place();
    for (;;) {
        u64 best = 0;
        unsigned at = 0;
        size_t least = SIZE_MAX;
        for (unsigned i = 0; i < KEPT_NR && least != 0; i++) {
            unsigned place = (first + i) % KEPT_NR;
            u64 word = word_at(place);
            size_t distance = word_distance(word, bytes, align);
            if (distance < least) {
                least = distance;
                best = word;
                at = place;
            }
        }
        if (least == SIZE_MAX)
            return NULL;
        if (place_empty(at, best))
            return kept_word_addr(best);
    }
}

char *kept_take_oldest(u64 until_ms) {
    for (;;) {
        u64 oldest = 0, oldest_ms = until_ms;
        unsigned at = 0;
        for (unsigned place = 0; place < KEPT_NR; place++) {
            u64 word = word_at(place), ms = atomic_load_explicit(&put_ms[place], memory_order_relaxed);
            if (word != 0 && ms <= oldest_ms) {
                oldest = word;
                oldest_ms = ms;
                at = place;
            }
        }
        if (oldest == 0)
            return NULL;
        if (place_empty(at, oldest))
            return kept_word_addr(oldest);
    }
}

size_t kept_bytes_racy(void) {
    size_t bytes = 0;
    for (unsigned place = 0; place < KEPT_NR; place++)
        bytes += kept_word_bytes(word_at(place));
    return bytes;
}

unsigned kept_regions_racy(void) {
    unsigned nr = 0;
    for (unsigned place = 0; place < KEPT_NR; place++)
        nr += word_at(place) != 0;
    return nr;
}

void kept_each(void (*fn)(void *arg, char *addr, size_t bytes), void *arg) {
    for (unsigned place = 0; place < KEPT_NR; place++) {
        u64 word = word_at(place);
        if (word != 0)
            fn(arg, kept_word_addr(word), kept_word_bytes(word));
    }
}
