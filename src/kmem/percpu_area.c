/* SPDX-License-Identifier: MIT */
/*
 * Where per-CPU variables lie: chunks of address space with as many copies as there are, each copy of the same shape.
 * alloc_percpu cuts areas out of a chunk, first fit; the variables of a module, which the linker gathered in a section,
 * get an area when it is loaded. A page of a copy has memory once somebody wrote to it.
 *
 * What alloc_percpu gives is no address but copy 0's with the top bit set, so that using it like one faults, as in the
 * kernel. What a module's variable has is the address of its initial value.
 *
 * Ordering    Chunks and areas are used under area_lock alone. A module's entry is read without: even sequence
 *             before and after, or it is another's (a loaded module's own entry does not change). [percpu.module]
 * Progress    Who may not wait tries for the lock. A free never waits: the area is queued, linked through its own copy
 *             0; then either the freer gets the lock, or who holds it looks at the queue after. [percpu.handoff]
 * Fork        What the holder takes off the queue is in `taken` before it leaves, and leaves that before it is freed: a
 *             child without that thread goes on with both, and loses at most the area that was just being freed.
 * Reclamation A chunk but the first is unmapped when the last area in it is freed.
 */
#include "base/bits.h"
#include "kmem/account.h"
#include "kmem/gfp.h"
#include "kmem/percpu.h"

#include <string.h>

#define TAG ((uintptr_t)1 << 63)

enum {
    UNIT_BYTES = 8, /* what areas are multiples of, and the least alignment */
    UNITS_NR = (int)(PERCPU_COPY_BYTES / UNIT_BYTES),
    WORD_BITS = 64,
    WORDS_NR = UNITS_NR / WORD_BITS,
    CHUNKS_NR = 1024,
    MODULES_NR = 256,
    ALIGN_LEAST = 4, /* the kernel's PCPU_MIN_ALLOC_SIZE: what is less, and 0, is taken for it */
    ALIGN_MAX = 4096,
};
#define ALLOC_MAX_BYTES (32 * KIB) /* the kernel's PCPU_MIN_UNIT_SIZE */

struct chunk {
    char *base; /* of copy 0 */
    u64 used[WORDS_NR];
    u64 last[WORDS_NR]; /* the last unit of each area */
    unsigned used_nr;
    unsigned high; /* units at and above were never used: they read as zeros in every copy */
};

static struct chunk *chunks[CHUNKS_NR];
static struct sys_lock area_lock;
static _Atomic(uintptr_t) deferred; /* copy 0 of areas freed meanwhile */
static _Atomic(uintptr_t) taken;    /* of those, the ones that the lock's holder is freeing */

struct module {
    _Atomic(u32) seq; /* odd while it changes */
    _Atomic(uintptr_t) start, end, copy;
};
static struct module modules[MODULES_NR];
static _Atomic(u32) modules_nr; /* entries ever used */

static size_t chunk_bytes(void) { return percpu_copies_nr() * PERCPU_COPY_BYTES; }

/* --- units --- */

static bool bit_get(const u64 *map, unsigned i) { return (map[i / WORD_BITS] >> (i % WORD_BITS)) & 1; }
static void bit_set(u64 *map, unsigned i) { map[i / WORD_BITS] |= (u64)1 << (i % WORD_BITS); }
static void bit_clear(u64 *map, unsigned i) { map[i / WORD_BITS] &= ~((u64)1 << (i % WORD_BITS)); }

/* First fit of nr units at a multiple of align units; UNITS_NR: none. */
static unsigned units_find(const struct chunk *c, unsigned nr, unsigned align) {
    unsigned start = 0, at = 0;
    while (start + nr <= UNITS_NR) {
        if (at == start + nr)
            return start;
        if (bit_get(c->used, at))
            at = start = (unsigned)round_up(at + 1, align);
        else
            at++;
    }
    return UNITS_NR;
}

/* The first nr copies' bytes at offset. */
static void copies_zero(const struct chunk *c, size_t offset, size_t bytes) {
    for (u32 i = 0; i < percpu_copies_nr(); i++)
        memset(c->base + i * PERCPU_COPY_BYTES + offset, 0, bytes);
}

/* The end is marked before any unit is used, and the last one is used first; a free goes the other way. So the child of
 * a fork that comes between loses the area, and takes none of it for a part of those beside it. What marks such a fork
 * left inside go now. */
static uintptr_t chunk_take(struct chunk *c, unsigned start, unsigned nr) {
    bit_set(c->last, start + nr - 1);
    kmem_in_this_order();
    for (unsigned i = start + nr - 1; i > start; i--) {
        bit_set(c->used, i);
        bit_clear(c->last, i - 1);
        kmem_in_this_order();
    }
    bit_set(c->used, start);
    c->used_nr += nr;
    if (start < c->high)
        copies_zero(c, (size_t)start * UNIT_BYTES, (size_t)(MIN(start + nr, c->high) - start) * UNIT_BYTES);
    c->high = MAX(c->high, start + nr);
    return (uintptr_t)c->base + (uintptr_t)start * UNIT_BYTES;
}

static struct chunk *chunk_make(void) {
    size_t bytes = chunk_bytes();
    struct chunk *c = quarry_core1_zalloc(sizeof(*c));
    char *base = c == NULL ? NULL : sys_vm_reserve(bytes, PERCPU_COPY_BYTES);
    if (base != NULL && sys_vm_commit(base, bytes) == 0) {
        /* One hugepage would be memory for many CPUs' copies, of which each uses a page. */
        (void)sys_vm_nohuge(base, bytes);
        c->base = base;
        return c;
    }
    if (base != NULL)
        (void)sys_vm_release(base, bytes);
    quarry_core1_free(c);
    return NULL;
}

/* --- accounts --- */

/* Where it stands whose the area at base of copy 0 is: the units of a granule are as the objects of a slab. It is
 * charged for all copies. */
static struct quarry_core1_slab owner_place(uintptr_t base, size_t bytes) {
    uintptr_t granule = round_down(base, GRANULE_BYTES);
    return (struct quarry_core1_slab){.base = (char *)granule, // NOLINT(performance-no-int-to-ptr)
                                      .slot_bytes = round_up(bytes, (size_t)UNIT_BYTES) * percpu_copies_nr(),
                                      .objs_nr = (unsigned)(GRANULE_BYTES / UNIT_BYTES),
                                      .index = (unsigned)((base - granule) / UNIT_BYTES)};
}

static void *charge_try(const void *what, quarry_gfp_t flags) {
    const struct quarry_core1_slab *place = what;
    return kmem_account_slot_charge(place, flags) ? place->base : NULL;
}

/* Of an area that nobody else knows yet. */
static bool charge(uintptr_t base, size_t bytes, quarry_gfp_t flags) {
    struct quarry_core1_slab place = owner_place(base, bytes);
    if (quarry_account_current() == NULL)
        return true;
    return kmem_gfp_try_if_blocking(charge_try, &place, flags) != NULL;
}

/* Before the area can be another's. */
static void uncharge_locked(uintptr_t base, size_t bytes) {
    struct quarry_core1_slab place = owner_place(base, bytes);
    if (kmem_accounts_are_on())
        (void)kmem_account_uncharge(&place);
}

/* --- areas, with the lock held --- */

static bool chunk_holds(const struct chunk *c, uintptr_t base) {
    return c != NULL && base - (uintptr_t)c->base < PERCPU_COPY_BYTES;
}

static void area_free_locked(uintptr_t base) {
    unsigned index = 0;
    while (index < CHUNKS_NR && !chunk_holds(chunks[index], base))
        index++;
    struct chunk *c = index < CHUNKS_NR ? chunks[index] : NULL;
    unsigned unit = c == NULL ? 0 : (unsigned)((base - (uintptr_t)c->base) / UNIT_BYTES);
    bool starts =
        c != NULL && bit_get(c->used, unit) && (unit == 0 || !bit_get(c->used, unit - 1) || bit_get(c->last, unit - 1));
    if (!starts) {
        quarry_core1_warn("quarry: warning: free_percpu of what alloc_percpu did not give, or twice\n");
        return;
    }
    unsigned nr = 1;
    while (!bit_get(c->last, unit + nr - 1))
        nr++;
    /* First: the child of a fork that comes between loses the area, and does not find it free and still charged. */
    uncharge_locked(base, (size_t)nr * UNIT_BYTES);
    for (unsigned i = unit; i < unit + nr; i++)
        bit_clear(c->used, i);
    kmem_in_this_order();
    bit_clear(c->last, unit + nr - 1);
    c->used_nr -= nr;
    if (c->used_nr == 0 && index != 0 && sys_vm_release(c->base, chunk_bytes()) == 0) {
        chunks[index] = NULL;
        quarry_core1_free(c);
    }
}

static uintptr_t *area_link(uintptr_t base) { return (uintptr_t *)base; } // NOLINT(performance-no-int-to-ptr)
static uintptr_t taken_get(void) { return atomic_load_explicit(&taken, memory_order_relaxed); }

static void deferred_take_locked(void) {
    uintptr_t first = atomic_load_explicit(&deferred, memory_order_relaxed);
    do {
        atomic_store_explicit(&taken, first, memory_order_relaxed);
        kmem_in_this_order();
        /* order: acquire: the links, and the last writes of those who freed.                   pairs: [percpu.defer] */
    } while (first != 0 &&
             !atomic_compare_exchange_weak_explicit(&deferred, &first, 0, memory_order_acquire, memory_order_relaxed));
}

/* First those that the parent of a fork had taken. */
static void deferred_free_locked(void) {
    if (taken_get() == 0)
        deferred_take_locked();
    for (uintptr_t base; (base = taken_get()) != 0;) {
        atomic_store_explicit(&taken, *area_link(base), memory_order_relaxed);
        kmem_in_this_order();
        area_free_locked(base);
    }
}

/* In the child of a fork that found somebody taking: what the queue still leads into was taken. */
static void deferred_mend(void) {
    uintptr_t base = atomic_load_explicit(&deferred, memory_order_relaxed), first = taken_get();
    if (base == first) {
        atomic_store_explicit(&deferred, 0, memory_order_relaxed);
        return;
    }
    while (base != 0 && first != 0 && *area_link(base) != first)
        base = *area_link(base);
    if (base != 0 && first != 0)
        *area_link(base) = 0;
}

/* In a loop: what is queued after the look and before the release would wait for the next call. */
static void area_unlock(void) {
    do {
        deferred_free_locked();
        sys_lock_release(&area_lock);
        /* order: seq_cst fence                                                            pairs: [percpu.handoff] */
        atomic_thread_fence(memory_order_seq_cst);
    } while (atomic_load_explicit(&deferred, memory_order_relaxed) != 0 && sys_lock_try(&area_lock));
}

/* Copy 0 of a zeroed area, or 0. grow: a chunk may be made. */
static uintptr_t area_alloc_locked(size_t bytes, size_t align, bool grow) {
    unsigned nr = (unsigned)(round_up(bytes, UNIT_BYTES) / UNIT_BYTES);
    unsigned align_nr = (unsigned)(MAX(align, (size_t)UNIT_BYTES) / UNIT_BYTES);
    for (unsigned i = 0; i < CHUNKS_NR; i++) {
        if (chunks[i] == NULL && (!grow || (chunks[i] = chunk_make()) == NULL)) {
            if (grow)
                return 0;
            continue;
        }
        unsigned start = units_find(chunks[i], nr, align_nr);
        if (start < UNITS_NR)
            return chunk_take(chunks[i], start, nr);
    }
    return 0;
}

static void area_free(uintptr_t base) {
    uintptr_t head = atomic_load_explicit(&deferred, memory_order_relaxed);
    do {
        *area_link(base) = head;
        /* order: release: the link, and what the area's users wrote.                       pairs: [percpu.defer] */
    } while (
        !atomic_compare_exchange_weak_explicit(&deferred, &head, base, memory_order_release, memory_order_relaxed));
    /* order: seq_cst fence: either this thread finds the lock free, or the holder finds the area after letting go.
     * pairs: [percpu.handoff] */
    atomic_thread_fence(memory_order_seq_cst);
    if (sys_lock_try(&area_lock))
        area_unlock();
}

void *quarry_alloc_percpu(size_t size, size_t align, quarry_gfp_t flags) {
    static _Atomic(bool) said;
    bool wait = kmem_may_block(flags);
    align = MAX(align, (size_t)ALIGN_LEAST);
    if (size - 1 >= ALLOC_MAX_BYTES || !is_pow2(align) || align > ALIGN_MAX) {
        kmem_warn_once(&said, flags, "quarry: warning: alloc_percpu of more than 32 KiB or a bad alignment refused\n");
        return NULL;
    }
    if ((!wait && percpu.locks == NULL) || !percpu_start() ||
        !(wait ? sys_lock_acquire(&area_lock) : sys_lock_try(&area_lock)))
        return NULL;
    uintptr_t base = area_alloc_locked(size, align, wait);
    area_unlock();
    if (base != 0 && (flags & QUARRY___GFP_ACCOUNT) != 0 && !charge(base, size, flags)) {
        area_free(base);
        return NULL;
    }
    return base == 0 ? NULL : (void *)(base | TAG); // NOLINT(performance-no-int-to-ptr)
}

void quarry_free_percpu(void *p) {
    if (p == NULL)
        return;
    if (((uintptr_t)p & TAG) == 0 || (uintptr_t)p % UNIT_BYTES != 0) {
        quarry_core1_warn("quarry: warning: free_percpu of what alloc_percpu did not give, or twice\n");
        return;
    }
    area_free((uintptr_t)p & ~TAG);
}

/* Whoever was inside is not in the child. What it was about to change may be lost: an area it takes or frees. */
void percpu_area_fork_child(void) {
    if (sys_lock_is_mine(&area_lock))
        return;
    deferred_mend();
    sys_lock_reset(&area_lock);
}

/* --- modules --- */

/* Copy 0 of p, if it lies in this module; 0 if not, or the entry changes just now. */
static uintptr_t module_find(struct module *m, uintptr_t p) {
    /* order: acquire: the entry is as new as the sequence.                                pairs: [percpu.module] */
    u32 seq = atomic_load_explicit(&m->seq, memory_order_acquire);
    /* order: acquire: the sequence is read again after the entry.                         pairs: [percpu.module] */
    uintptr_t start = atomic_load_explicit(&m->start, memory_order_acquire);
    uintptr_t end = atomic_load_explicit(&m->end, memory_order_acquire);
    uintptr_t copy = atomic_load_explicit(&m->copy, memory_order_acquire);
    if (p < start || p >= end || (seq & 1) != 0 || atomic_load_explicit(&m->seq, memory_order_relaxed) != seq)
        return 0;
    return copy + (p - start);
}

COLD static _Noreturn void unknown_address(void) {
    quarry_core1_warn("quarry: a per-CPU operation on what is no per-CPU variable (or one of a library, of which this "
                      "program has a copy of its own: compile it with -fPIC); the program ends\n");
    sys_abort();
}

uintptr_t percpu_base(const void *p) {
    if (((uintptr_t)p & TAG) != 0)
        return (uintptr_t)p & ~TAG;
    /* order: acquire: entries below it were filled.                                       pairs: [percpu.module] */
    u32 nr = atomic_load_explicit(&modules_nr, memory_order_acquire);
    for (u32 i = 0; i < nr; i++) {
        uintptr_t base = module_find(&modules[i], (uintptr_t)p);
        if (base != 0)
            return base;
    }
    unknown_address();
}

static void module_set(struct module *m, uintptr_t start, uintptr_t end, uintptr_t copy) {
    u32 seq = atomic_load_explicit(&m->seq, memory_order_relaxed);
    atomic_store_explicit(&m->seq, seq + 1, memory_order_relaxed);
    /* order: release: who reads one of the new words reads the odd sequence after it.     pairs: [percpu.module] */
    atomic_store_explicit(&m->start, start, memory_order_release);
    atomic_store_explicit(&m->end, end, memory_order_release);
    atomic_store_explicit(&m->copy, copy, memory_order_release);
    /* order: release: the entry is complete.                                              pairs: [percpu.module] */
    atomic_store_explicit(&m->seq, seq + 2, memory_order_release);
}

static struct module *module_with_start(uintptr_t start) {
    u32 nr = atomic_load_explicit(&modules_nr, memory_order_relaxed);
    for (u32 i = 0; i < nr; i++) {
        if (atomic_load_explicit(&modules[i].start, memory_order_relaxed) == start)
            return &modules[i];
    }
    return NULL;
}

static bool module_add_locked(char *start, char *end) {
    size_t bytes = (size_t)(end - start), align = (uintptr_t)start & -(uintptr_t)start;
    struct module *m = module_with_start(0);
    u32 nr = atomic_load_explicit(&modules_nr, memory_order_relaxed);
    uintptr_t copy = bytes > PERCPU_COPY_BYTES || (m == NULL && nr == MODULES_NR)
                         ? 0
                         : area_alloc_locked(bytes, MIN(align, (size_t)ALIGN_MAX), true);
    if (copy == 0)
        return false;
    for (u32 i = 0; i < percpu_copies_nr(); i++)
        memcpy((void *)(copy + i * PERCPU_COPY_BYTES), start, bytes); // NOLINT(performance-no-int-to-ptr)
    module_set(m != NULL ? m : &modules[nr], (uintptr_t)start, (uintptr_t)end, copy);
    if (m == NULL)
        /* order: release: the entry is filled.                                            pairs: [percpu.module] */
        atomic_store_explicit(&modules_nr, nr + 1, memory_order_release);
    return true;
}

void quarry_percpu_load(char *start, char *end) {
    bool ready = percpu_start() && sys_lock_acquire(&area_lock);
    bool done = ready && (module_with_start((uintptr_t)start) != NULL || module_add_locked(start, end));
    if (ready)
        area_unlock();
    if (!done) {
        quarry_core1_warn("quarry: no room for the per-CPU variables of a module (256 KiB each, 256 modules); the "
                          "program ends\n");
        sys_abort();
    }
}

void quarry_percpu_unload(char *start) {
    if (!sys_lock_acquire(&area_lock))
        return;
    struct module *m = module_with_start((uintptr_t)start);
    if (m != NULL) {
        uintptr_t copy = atomic_load_explicit(&m->copy, memory_order_relaxed);
        module_set(m, 0, 0, 0);
        area_free_locked(copy);
    }
    area_unlock();
}
