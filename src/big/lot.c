/* SPDX-License-Identifier: MIT */
/*
 * Lots: extents of hugepages with boundary tags, in bins by their length, under one lock that is held for a few list
 * operations and never across a system call.
 *
 *   [L1] Two free extents of one kind are never neighbours: a give merges with both sides.
 *   [L2] A free extent holds no memory and reads as zeros.
 *   [L3] The records of an extent carry its tags at both ends and no tag between them. Records of what is not free
 *        carry no LOT_FREE tag; they are whoever's the hugepage is.
 * Regions of one kind thus lie in as few mappings as there are lots, and those the kernel merges where they meet.
 */
#include "big/lot.h"

#include "base/bits.h"
#include "rt/fork_locks.h"
#include "rt/leftover.h"
#include "rt/options.h"
#include "sys/sys.h"

enum { BINS_NR = 48, CANDIDATES_MAX = 16 };
/* The first lot, and the largest: 100 GiB then are some 200 lots. */
#define LOT_MIN_BYTES (64 * MIB)
#define LOT_MAX_BYTES (512 * MIB)

static struct {
    _Atomic(u32) held_by_fork;
    struct hpage *bins[LOT_KINDS_NR][BINS_NR]; /* extents of 2^bin hugepages and more */
    _Atomic(size_t) lots_bytes, free_bytes;
} lots;

static struct sys_lock *const lots_lock = &rt_fork_locks[RT_FORK_LOCK_LOTS];

/* False: in a handler on top of its holder, or on top of another lock's that a fork may wait for with this one held; or
 * a fork has it for too long. */
static bool lots_enter(void) {
    return sys_lock_try_spinning(lots_lock) ||
           (!page_is_busy_here() && rt_fork_enter(lots_lock, &lots.held_by_fork, sys_clock_ns()));
}

size_t lot_free_bytes_racy(void) { return atomic_load_explicit(&lots.free_bytes, memory_order_relaxed); }

static struct hpage *record_at(const char *p) {
    struct chunk *c = chunk_of(p);
    return c == NULL ? NULL : chunk_hpage(c, p);
}

static unsigned bin_of(size_t bytes) { return MIN(bits_highest(bytes >> HPAGE_SHIFT), BINS_NR - 1u); }

/* --- extents, with the lock held --- */

static void extent_add(char *p, size_t bytes, enum lot_kind kind) {
    struct hpage *first = record_at(p), *last = record_at(p + bytes - HPAGE_BYTES);
    struct hpage **head = &lots.bins[kind][bin_of(bytes)];
    u32 kind_flag = kind == LOT_HUGE ? LOT_IS_HUGE : 0;
    atomic_fetch_add_explicit(&lots.free_bytes, bytes, memory_order_relaxed);
    first->addr = p;
    lot_flags_set(first, LOT_FREE_FIRST | kind_flag);
    lot_flags_set(last, (first == last ? LOT_FREE_FIRST : 0) | LOT_FREE_LAST | kind_flag);
    first->big_reserve_bytes = bytes;
    last->big_seq = (u32)(bytes >> HPAGE_SHIFT);
    first->prev = NULL;
    first->next = *head;
    if (*head != NULL)
        (*head)->prev = first;
    *head = first;
}

static size_t extent_del(struct hpage *first) {
    size_t bytes = first->big_reserve_bytes;
    atomic_fetch_sub_explicit(&lots.free_bytes, bytes, memory_order_relaxed);
    if (first->prev != NULL)
        first->prev->next = first->next;
    else
        lots.bins[lot_kind_of(first)][bin_of(bytes)] = first->next;
    if (first->next != NULL)
        first->next->prev = first->prev;
    lot_flags_set(record_at(first->addr + bytes - HPAGE_BYTES), 0);
    lot_flags_set(first, 0);
    return bytes;
}

static bool is_free(const struct hpage *h, u32 end, enum lot_kind kind) {
    return h != NULL && (lot_flags(h) & end) != 0 && lot_kind_of(h) == kind;
}

/* [L1] */
static void extent_merge(char *p, size_t bytes, enum lot_kind kind) {
    struct hpage *below = record_at(p - HPAGE_BYTES), *above = record_at(p + bytes);
    if (is_free(below, LOT_FREE_LAST, kind)) {
        size_t more = (size_t)below->big_seq << HPAGE_SHIFT;
        p -= more;
        bytes += extent_del(record_at(p));
    }
    if (is_free(above, LOT_FREE_FIRST, kind))
        bytes += extent_del(above);
    extent_add(p, bytes, kind);
}

/* Where in an extent so many bytes fit; NULL: nowhere. */
static char *extent_fit(const struct hpage *h, size_t bytes, size_t align) {
    char *p = (char *)round_up((uintptr_t)h->addr, align);
    return p + bytes <= h->addr + h->big_reserve_bytes ? p : NULL;
}

/* What lies before and behind p goes back at once. */
static void extent_cut(struct hpage *h, char *p, size_t bytes) {
    char *from = h->addr, *end = h->addr + h->big_reserve_bytes;
    enum lot_kind kind = lot_kind_of(h);
    (void)extent_del(h);
    if (p > from)
        extent_add(from, (size_t)(p - from), kind);
    if (end > p + bytes)
        extent_add(p + bytes, (size_t)(end - p) - bytes, kind);
}

/* From the shortest extents that may fit. Of a bin of longer ones any does but for its alignment; not all of one that
 * has some too short are looked at. */
static char *extent_take(size_t bytes, size_t align, enum lot_kind kind) {
    for (unsigned bin = bin_of(bytes); bin < BINS_NR; bin++) {
        int tries = CANDIDATES_MAX;
        for (struct hpage *h = lots.bins[kind][bin]; h != NULL && tries-- > 0; h = h->next) {
            char *p = extent_fit(h, bytes, align);
            if (p != NULL) {
                extent_cut(h, p, bytes);
                return p;
            }
        }
    }
    return NULL;
}

/* --- lots --- */

static bool lot_prepare(char *p, size_t bytes, enum lot_kind kind) {
    /* Before it is made writable, so that all of it agrees. */
    if (kind == LOT_HUGE)
        (void)sys_vm_huge(p, bytes);
    else if (page_huge_unwanted() ||
             rt_opt.limit_hard != 0) /* exact; where all memory has hugepages, it would not be */
        (void)sys_vm_nohuge(p, bytes);
    page_place(p, bytes);
    return chunk_cover(p, bytes) == 0 && sys_vm_commit(p, bytes) == 0;
}

static char *lot_map(size_t bytes, size_t align, enum lot_kind kind) {
    char *p = sys_vm_reserve(bytes, align);
    if (p == NULL || lot_prepare(p, bytes, kind))
        return p;
    rt_release(p, bytes, 0);
    return NULL;
}

/* A new lot for bytes; the rest of it is free. Where address space is scarce or refused there is no rest. */
static char *lot_make(size_t bytes, size_t align, enum lot_kind kind) {
    size_t made = atomic_load_explicit(&lots.lots_bytes, memory_order_relaxed);
    size_t size = rt_meta.limited ? bytes : MAX(bytes, CLAMP(made, LOT_MIN_BYTES, LOT_MAX_BYTES));
    char *p = lot_map(size, align, kind);
    if (p == NULL && size > bytes)
        p = lot_map(size = bytes, align, kind);
    if (p == NULL)
        return NULL;
    atomic_fetch_add_explicit(&lots.lots_bytes, size, memory_order_relaxed);
    if (size > bytes && !lot_give(p + bytes, size - bytes, kind))
        rt_release(p + bytes, size - bytes, 0);
    return p;
}

char *lot_take(size_t bytes, size_t align, enum lot_kind kind) {
    if (!lots_enter())
        return NULL;
    char *p = extent_take(bytes, align, kind);
    sys_lock_release(lots_lock);
    return p != NULL ? p : lot_make(bytes, align, kind);
}

bool lot_give(char *p, size_t bytes, enum lot_kind kind) {
    if (!lots_enter())
        return false;
    extent_merge(p, bytes, kind);
    sys_lock_release(lots_lock);
    return true;
}

bool lot_extend(char *end, size_t bytes, enum lot_kind kind) {
    if (!lots_enter())
        return false;
    struct hpage *h = record_at(end);
    bool fits = is_free(h, LOT_FREE_FIRST, kind) && h->big_reserve_bytes >= bytes;
    if (fits)
        extent_cut(h, end, bytes);
    sys_lock_release(lots_lock);
    return fits;
}

/* One free extent off its bin; NULL: there is none. */
static char *extent_any(size_t *ret_bytes) {
    for (unsigned i = 0; i < LOT_KINDS_NR * BINS_NR; i++) {
        struct hpage *h = lots.bins[i / BINS_NR][i % BINS_NR];
        if (h != NULL) {
            *ret_bytes = extent_del(h);
            return h->addr;
        }
    }
    return NULL;
}

size_t lot_release(void) {
    size_t released = 0, bytes = 0;
    while (lots_enter()) {
        char *p = extent_any(&bytes);
        sys_lock_release(lots_lock);
        if (p == NULL)
            break;
        rt_release(p, bytes, 0);
        released += bytes;
        atomic_fetch_sub_explicit(&lots.lots_bytes, bytes, memory_order_relaxed);
    }
    return released;
}

void lot_fork_mark(void) { rt_fork_mark(lots_lock, &lots.held_by_fork); }
void lot_fork_lose(void) { rt_fork_lose(lots_lock, &lots.held_by_fork); }
void lot_fork_prepare(enum rt_fork_from from) { rt_fork_lock(lots_lock, &lots.held_by_fork, from); }

void lot_fork_let_go(void) { rt_fork_let_go(lots_lock, &lots.held_by_fork); }

void lot_fork_done(enum rt_fork_side side) {
    if (rt_fork_may_unlock(lots_lock, &lots.held_by_fork, side))
        sys_lock_release(lots_lock);
}
