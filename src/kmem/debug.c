/* SPDX-License-Identifier: MIT */
/*
 * Caches that are debugged: what is done when an object of one is allocated and freed. Owns which cache a class is of,
 * and the records of the last caches that were destroyed. Layout, stacks and reports are the other files' (debug.h).
 *
 * The slots are objects of a class of the heap that has no magazines, so each of these calls comes here (front/core.h),
 * and slabs, lists, giving back and fork are the heap's. Nothing here takes a lock or enters the system, but for
 * reports; an object's slot belongs to one thread from when the heap gives it until it gets it back.
 *
 * States      A word beside the object says FREE, LIVE or BUSY (being freed), mixed with the address. FREE slots are
 *             the heap's, or in the hands of who allocates; LIVE ones the program's.
 * Invariants  [D1] LIVE -> BUSY is a compare-and-swap: of two frees of one object one has it, the other reports.
 *             [D2] A word that is none of the three was overwritten. It is reported; whether the object is out, the
 *             heap's bitmap tells, where the program cannot write. The swap is from what was read, so [D1] holds.
 *             [D3] The heap gets a slot back after its word is FREE.
 * Ordering    Releasing the word LIVE publishes the tracks to who frees or dumps the object; the heap's bits order the
 *             next owner behind the last. [kmem.debug]
 * Progress    Wait-free but for the heap's own slow path. Reports wait for each other.
 * Reclamation None of its own: slabs may go back to the heap as soon as all slots did, and then p is no object.
 */
#include "kmem/debug.h"

#include "kmem/account.h"
#include "kmem/gfp.h"
#include "kmem/paged.h"
#include "slab/slab.h"

#include <stdio.h>
#include <string.h>

enum { IDS_NR = QUARRY_CORE1_HANDLES, DEAD_HANDLES = 2 * IDS_NR, GRAVES_NR = 64 };

static struct quarry_kmem_cache *_Atomic by_id[IDS_NR];
/* Under the lock of caches. */
static struct quarry_kmem_cache *graves[GRAVES_NR];
static unsigned graves_nr;

bool kmem_debug_any, kmem_debug_kmalloc_on, kmem_debug_hardened;
static bool started, zeroing;
static struct kmem_debug_option option;
static struct kmem_failslab failslab;

/* --- the word of an object --- */

static _Atomic(u64) *state_at(const struct kmem_debug *d, const char *object) {
    return (_Atomic(u64) *)(void *)(uintptr_t)(object + d->at.state);
}

static u64 state_word(const char *object, enum kmem_debug_state state) {
    return kmem_debug_state_word((uintptr_t)object, state);
}

static void state_set(const struct kmem_debug *d, const char *object, enum kmem_debug_state state) {
    /* order: release: tracks and contents before the word.                                       pairs: [kmem.debug] */
    atomic_store_explicit(state_at(d, object), state_word(object, state), memory_order_release);
}

bool kmem_debug_is_free(const struct kmem_debug *d, const char *object) {
    /* order: acquire: the tracks of who allocated it.                                            pairs: [kmem.debug] */
    return atomic_load_explicit(state_at(d, object), memory_order_acquire) == state_word(object, KMEM_DEBUG_FREE);
}

const char *kmem_debug_state_name(const struct kmem_debug *d, const char *object) {
    u64 word = atomic_load_explicit(state_at(d, object), memory_order_relaxed);
    if (word == state_word(object, KMEM_DEBUG_FREE))
        return "free";
    return word == state_word(object, KMEM_DEBUG_LIVE) || word == state_word(object, KMEM_DEBUG_BUSY)
               ? "allocated"
               : "of unknown state";
}

/* --- finding --- */

static struct quarry_kmem_cache *cache_of(unsigned id) {
    /* order: acquire: the cache.                                                           pairs: [kmem.debug.cache] */
    return atomic_load_explicit(&by_id[id], memory_order_acquire);
}

bool kmem_debug_find(const void *p, struct quarry_kmem_cache **ret_cache, char **ret_object,
                     struct quarry_core1_slab *ret_slab) {
    if (!quarry_core1_debug_look(p, ret_slab))
        return false;
    struct quarry_kmem_cache *s = cache_of(ret_slab->id);
    if (s == NULL || s->debug == NULL)
        return false;
    bool inside = ret_slab->index < ret_slab->objs_nr;
    *ret_cache = s;
    *ret_object = inside ? ret_slab->base + ret_slab->index * ret_slab->slot_bytes + s->debug->at.left_bytes : NULL;
    return true;
}

static char *slot_of(const struct kmem_debug *d, char *object) { return object - d->at.left_bytes; }

/* --- reports of one line and an object --- */

static void object_report(const struct quarry_kmem_cache *s, char *object, const char *what) {
    kmem_report_begin();
    kmem_report_bug(s->name, "%s", what);
    kmem_report_object(s, object);
}

static void not_freed(const struct quarry_kmem_cache *s, const void *p) {
    kmem_report_fix(s->name, "Object at %p not freed", p);
    kmem_report_end();
}

static void word_corrupt(const struct quarry_kmem_cache *s, char *object) {
    object_report(s, object, "Freepointer corrupt");
    kmem_report_fix(s->name, "Restoring free pointer %p", (void *)state_at(s->debug, object));
    kmem_report_end();
}

static void trace(const struct quarry_kmem_cache *s, const char *what, char *object) {
    struct quarry_core1_slab slab = {0};
    if ((s->debug->flags & QUARRY_SLAB_TRACE) == 0)
        return;
    (void)quarry_core1_debug_look(object, &slab);
    kmem_report_begin();
    kmem_print("TRACE %s %s %p inuse=%u\n", s->name, what, (void *)object, slab.out_nr);
    if (what[0] == 'f')
        kmem_report_section("Object   ", object, s->debug->at.object_bytes);
    kmem_stack_print();
    kmem_trace_end();
}

/* --- allocating --- */

/* As in the kernel __GFP_NOWARN keeps it from being told, and not from failing. */
static bool fails(const struct quarry_kmem_cache *s, quarry_gfp_t flags) {
    if ((s->debug->flags & QUARRY_SLAB_FAILSLAB) == 0 || !kmem_failslab_now(&failslab, s->object_bytes))
        return false;
    if ((flags & QUARRY___GFP_NOWARN) != 0)
        return true;
    kmem_report_begin();
    kmem_print(
        "FAULT_INJECTION: forcing a failure.\nname failslab, interval %lu, probability %lu, space %ld, times %ld\n",
        failslab.interval, failslab.probability, atomic_load_explicit(&failslab.space, memory_order_relaxed),
        atomic_load_explicit(&failslab.times, memory_order_relaxed));
    kmem_stack_print();
    kmem_trace_end();
    return true;
}

/* Whether a free object is as it was left. */
static bool free_check(const struct quarry_kmem_cache *s, char *object) {
    const struct kmem_debug *d = s->debug;
    struct quarry_core1_slab slab;
    bool good = kmem_debug_object_check(s, object, KMEM_RED_INACTIVE);
    if (quarry_core1_debug_look(object, &slab))
        (void)kmem_debug_tail_check(s, &slab);
    if (atomic_load_explicit(state_at(d, object), memory_order_relaxed) == state_word(object, KMEM_DEBUG_FREE))
        return good;
    word_corrupt(s, object);
    state_set(d, object, KMEM_DEBUG_FREE);
    return false;
}

/* Somebody writes to it who should not: it is not for others. The kernel gives up the whole slab; and here, too, there
 * is an end to how many are held back. */
static bool hold_back(const struct quarry_kmem_cache *s, char *object) {
    struct kmem_debug *d = s->debug;
    unsigned nr = atomic_fetch_add_explicit(&d->held.nr, 1, memory_order_relaxed);
    if (nr >= ARRAY_NR(d->held.slots))
        return false;
    d->held.slots[nr] = slot_of(d, object);
    kmem_report_fix(s->name, "Marking object %p used", (void *)object);
    return true;
}

static char *object_take(const struct quarry_kmem_cache *s, enum quarry_core1_context context) {
    for (;;) {
        char *slot = context == QUARRY_CORE1_MAY_BLOCK
                         ? quarry_core1_class_alloc(&s->heap)
                         : quarry_core1_class_alloc_atomic(&s->heap, context == QUARRY_CORE1_ATOMIC_RESERVE);
        if (slot == NULL)
            return NULL;
        char *object = slot + s->debug->at.left_bytes;
        if (LIKELY(free_check(s, object)) || !hold_back(s, object))
            return object;
    }
}

static void *object_alloc(const struct quarry_kmem_cache *s, enum quarry_core1_context context, size_t asked,
                          enum kmem_zeroed zeroed) {
    const struct kmem_debug *d = s->debug;
    char *object = object_take(s, context);
    if (object == NULL)
        return NULL;
    kmem_debug_asked_set(d, object, asked, zeroed);
    kmem_track_set(kmem_debug_track(d, object, KMEM_TRACK_ALLOC));
    kmem_debug_object_fill(d, object, KMEM_RED_ACTIVE);
    bool keeps = s->args.ctor != NULL || (s->flags & QUARRY_SLAB_TYPESAFE_BY_RCU) != 0;
    if (zeroed == KMEM_ZEROED || (zeroing && !keeps))
        memset(object, 0, asked);
    state_set(d, object, KMEM_DEBUG_LIVE);
    trace(s, "alloc", object);
    return object;
}

COLD static void dead_report(const struct quarry_kmem_cache *s, const char *what) {
    kmem_report_begin();
    kmem_report_bug(s->name, "%s", what);
    kmem_track_print("Created", &s->debug->tracks[KMEM_TRACK_ALLOC]);
    kmem_track_print("Destroyed", &s->debug->tracks[KMEM_TRACK_FREE]);
    kmem_stack_print();
}

COLD static void *dead_alloc(const struct quarry_kmem_cache *s) {
    dead_report(s, "Allocation from a cache that was destroyed");
    kmem_report_fix(s->name, "Allocation of %u bytes failed", s->object_bytes);
    kmem_report_end();
    return NULL;
}

/* Whose p is now nobody knows: its slab went with the cache. */
COLD static bool dead_free(const struct quarry_kmem_cache *s, const void *p) {
    dead_report(s, "Free to a cache that was destroyed");
    not_freed(s, p);
    return false;
}

static void object_free(const struct quarry_kmem_cache *s, char *object) {
    const struct kmem_debug *d = s->debug;
    struct quarry_core1_slab slab;
    trace(s, "free", object);
    if (atomic_load_explicit(&kmem_accounts_on, memory_order_relaxed) && quarry_core1_debug_look(object, &slab))
        (void)kmem_account_uncharge(&slab);
    kmem_track_set(kmem_debug_track(d, object, KMEM_TRACK_FREE));
    kmem_debug_object_fill(d, object, KMEM_RED_INACTIVE);
    state_set(d, object, KMEM_DEBUG_FREE);
    quarry_core1_debug_free(slot_of(d, object));
}

/* The limit of this thread's account may keep it from an object that there is. */
static void *charged_by(const struct quarry_kmem_cache *s, char *object, quarry_gfp_t flags) {
    if (object == NULL || kmem_account_charge(object, flags))
        return object;
    state_set(s->debug, object, KMEM_DEBUG_BUSY);
    object_free(s, object);
    return NULL;
}

static void *charged(const struct quarry_kmem_cache *s, char *object, enum quarry_core1_context context) {
    if ((s->flags & QUARRY_SLAB_ACCOUNT) == 0)
        return object;
    return charged_by(s, object, kmem_accounted_flags(context));
}

static void *whole_try(const void *cache, quarry_gfp_t flags) {
    const struct quarry_kmem_cache *s = cache;
    return charged_by(s, object_alloc(s, QUARRY_CORE1_MAY_BLOCK, s->object_bytes, KMEM_NOT_ZEROED), flags);
}

/* What meets a limit tries again as what meets the end of memory. */
static void *whole_alloc(const struct quarry_kmem_cache *s, enum quarry_core1_context context) {
    bool is_charged = (s->flags & QUARRY_SLAB_ACCOUNT) != 0 && quarry_account_current() != NULL;
    if (context == QUARRY_CORE1_MAY_BLOCK && is_charged)
        return kmem_gfp_try_inside(whole_try, s);
    return charged(s, object_alloc(s, context, s->object_bytes, KMEM_NOT_ZEROED), context);
}

static void *hook_alloc(unsigned handle, enum quarry_core1_context context) {
    if (handle >= DEAD_HANDLES)
        return dead_alloc(graves[handle - DEAD_HANDLES]);
    struct quarry_kmem_cache *s = cache_of(handle - IDS_NR);
    if (s->debug == NULL)
        return kmem_cache_is_paged(s) ? kmem_paged_alloc(s, context) : kmem_accounted_alloc(s, context);
    return fails(s, kmem_gfp_inside()) ? NULL : whole_alloc(s, context);
}

void *kmem_debug_alloc_sure(const struct quarry_kmem_cache *s) { return whole_alloc(s, QUARRY_CORE1_MAY_BLOCK); }

/* --- freeing --- */

static void pointer_report(const struct quarry_kmem_cache *s, const void *p, char *object,
                           const struct quarry_core1_slab *slab) {
    kmem_report_begin();
    kmem_report_bug(s->name, "Invalid object pointer %p", p);
    if (object != NULL) {
        kmem_report_object(s, object);
        return;
    }
    kmem_report_slab(slab);
    kmem_stack_print();
}

static void wrong_cache_report(const struct quarry_kmem_cache *said, const struct quarry_kmem_cache *s, char *object) {
    kmem_report_begin();
    kmem_report_bug(s->name, "Wrong slab cache. %s but object is from %s", said->name, s->name);
    kmem_report_object(s, object);
    kmem_report_fix(s->name, "Object at %p goes to the cache it is from", (void *)object);
    kmem_report_end();
}

/* Of an object that is not debugged there is no more to say. */
COLD static void wrong_plain_report(const struct quarry_kmem_cache *said, const struct quarry_core1_slab *slab,
                                    const void *p) {
    char text[KMEM_NAME_BYTES];
    struct kmem_text owner = {text, sizeof(text), 0};
    if (!kmem_cache_name_of(slab->id, &owner))
        (void)snprintf(text, sizeof(text), "malloc-%zu", slab->slot_bytes);
    kmem_report_begin();
    kmem_report_bug(text, "Wrong slab cache. %s but object is from %s", said->name, text);
    kmem_report_slab(slab);
    kmem_print("INFO: Object %p @offset=%td\n\n", p, (const char *)p - slab->base);
    kmem_stack_print();
    kmem_report_fix(text, "Object at %p goes to the cache it is from", p);
    kmem_report_end();
}

static bool is_of(const struct quarry_kmem_cache *s, unsigned id) {
    /* order: acquire: the cache of charged objects.                                       pairs: [kmem.cache.handle] */
    const struct quarry_kmem_cache *charged = __atomic_load_n(&s->accounted, __ATOMIC_ACQUIRE);
    return id == s->heap.id || (charged != NULL && id == charged->heap.id);
}

bool kmem_debug_free_is_right(const struct quarry_kmem_cache *s, const void *p) {
    struct quarry_core1_slab slab;
    if (s->class.id >= DEAD_HANDLES)
        return dead_free(s, p);
    if ((s->debug == NULL && !kmem_debug_hardened) || !quarry_core1_slab_look(p, &slab) || is_of(s, slab.id))
        return true;
    const struct quarry_kmem_cache *owner = cache_of(slab.id);
    if (owner == NULL || owner->debug == NULL) /* else hook_free knows more */
        wrong_plain_report(s, &slab, p);
    return true;
}

/* Caches with a handle were asked about before. */
static void hook_said(const void *p, const struct quarry_core1_class *said_class) {
    const struct quarry_kmem_cache *said = (const struct quarry_kmem_cache *)said_class;
    if (!quarry_kmem_cache_is_handled(said))
        (void)kmem_debug_free_is_right(said, p);
}

/* [D1], [D2] False: it is free already. */
static bool claim(const struct quarry_kmem_cache *s, char *object, bool is_out) {
    _Atomic(u64) *at = state_at(s->debug, object);
    /* order: acquire: what was written when it was allocated.                                    pairs: [kmem.debug] */
    u64 word = atomic_load_explicit(at, memory_order_acquire);
    do {
        if (word == state_word(object, KMEM_DEBUG_FREE) || word == state_word(object, KMEM_DEBUG_BUSY))
            return false;
        if (word == state_word(object, KMEM_DEBUG_LIVE))
            continue;
        word_corrupt(s, object);
        if (!is_out)
            return false;
        /* order: acquire, both: as above.                                                        pairs: [kmem.debug] */
    } while (!atomic_compare_exchange_weak_explicit(at, &word, state_word(object, KMEM_DEBUG_BUSY),
                                                    memory_order_acquire, memory_order_acquire));
    return true;
}

static void hook_free(void *p, const struct quarry_core1_class *said_class) {
    const struct quarry_kmem_cache *said = (const struct quarry_kmem_cache *)said_class;
    struct quarry_kmem_cache *s;
    struct quarry_core1_slab slab = {.slot_bytes = 0};
    char *object;
    if (!kmem_debug_find(p, &s, &object, &slab)) {
        if (slab.slot_bytes != 0)
            kmem_accounted_free(p, &slab);
    } else if (p != object) {
        pointer_report(s, p, object, &slab);
        not_freed(s, p);
    } else if (!claim(s, object, slab.is_out)) {
        object_report(s, object, "Object already free");
        not_freed(s, p);
    } else {
        if (said != NULL && said != s)
            wrong_cache_report(said, s, object);
        kmem_debug_tail_check(s, &slab);
        if (kmem_debug_object_check(s, object, KMEM_RED_ACTIVE)) {
            object_free(s, object);
        } else {
            state_set(s->debug, object, KMEM_DEBUG_LIVE);
            kmem_report_begin();
            not_freed(s, p);
        }
    }
}

/* One that is held back is out, and FREE. */
bool kmem_debug_object_validate(const struct quarry_kmem_cache *s, char *object, bool is_out) {
    u64 word = atomic_load_explicit(state_at(s->debug, object), memory_order_relaxed);
    bool is_free = word == state_word(object, KMEM_DEBUG_FREE),
         known = is_free || word == state_word(object, KMEM_DEBUG_LIVE);
    if (!known) {
        word_corrupt(s, object);
        is_free = !is_out;
        state_set(s->debug, object, is_out ? KMEM_DEBUG_LIVE : KMEM_DEBUG_FREE);
    }
    return kmem_debug_object_check(s, object, is_free ? KMEM_RED_INACTIVE : KMEM_RED_ACTIVE) && known;
}

/* Who asks may use it all, so that what is beyond the size asked for is no red zone any more. */
static size_t hook_usable(const void *p) {
    struct quarry_kmem_cache *s;
    struct quarry_core1_slab slab = {.slot_bytes = 0};
    char *object;
    if (!kmem_debug_find(p, &s, &object, &slab))
        return slab.slot_bytes == 0 ? 0 : kmem_accounted_usable(p, &slab);
    if (p != object) {
        pointer_report(s, p, object, &slab);
        kmem_report_end();
        return 0;
    }
    return kmem_debug_asked_all(s->debug, object);
}

/* --- caches --- */

static void letter_unknown(char letter) { kmem_print("slab_debug option '%c' unknown. skipped\n", letter); }

static void options_read(void) {
    struct quarry_core1_debug_options o;
    quarry_core1_debug_options(&o);
    zeroing = o.zero;
    kmem_debug_hardened = o.harden;
    kmem_report_abort_set(o.abort);
    /* The environment is the program's, which may write over it. */
    char *text = o.slab_debug == NULL ? NULL : quarry_core1_alloc(o.slab_debug_bytes + 1);
    if (text != NULL)
        memcpy(text, o.slab_debug, o.slab_debug_bytes);
    kmem_debug_option_read(&option, text, o.slab_debug_bytes, letter_unknown);
    if (o.failslab != NULL && !kmem_failslab_read(&failslab, o.failslab, o.failslab_bytes))
        kmem_print("quarry: failslab is not interval,probability,space,times; nothing fails\n");
}

static void start(void) {
    if (!started)
        options_read();
    started = true;
}

/* With the first cache that is debugged: other programs pay for nothing but the reading of the options. */
static void hooks_start(void) {
    static const struct quarry_core1_debug hooks = {
        .alloc = hook_alloc, .free = hook_free, .usable = hook_usable, .said = hook_said};
    if (kmem_debug_any)
        return;
    kmem_debug_any = true;
    kmem_track_start();
    quarry_core1_debug_start(&hooks);
}

/* Pages of 4 KiB, as for the kernel's orders. */
static unsigned order_of(size_t bytes) {
    return bytes <= 4 * KIB ? 0 : 64 - (unsigned)__builtin_clzl((bytes - 1) >> 12);
}

quarry_slab_flags_t kmem_debug_cache_flags(const char *name, quarry_slab_flags_t flags) {
    start();
    return kmem_debug_option_flags(&option, name, flags);
}

bool kmem_debug_cache_prepare(struct quarry_kmem_cache *s) {
    bool is_kmalloc = (s->flags & KMEM_SLAB_KMALLOC) != 0;
    struct kmem_debug_layout at = kmem_debug_layout(s->object_bytes, s->align_bytes, s->flags, is_kmalloc);
    bool higher = option.no_higher_order && order_of(at.slot_bytes) > order_of(s->object_bytes);
    if ((s->flags & KMEM_DEBUG_ROOM) != 0 && (higher || at.slot_bytes > SLAB_MADE_OBJECT_MAX)) {
        s->flags &= ~KMEM_DEBUG_ROOM;
        at = kmem_debug_layout(s->object_bytes, s->align_bytes, s->flags, is_kmalloc);
    }
    if (at.slot_bytes > SLAB_MADE_OBJECT_MAX)
        s->flags &= ~KMEM_DEBUG_FLAGS;
    if ((s->flags & KMEM_DEBUG_FLAGS) == 0)
        return true;
    struct kmem_debug *d = quarry_core1_zalloc(sizeof(*d));
    if (d == NULL)
        return false;
    hooks_start();
    d->at = at;
    d->flags = s->flags;
    d->is_kmalloc = is_kmalloc;
    d->poisons_object =
        (s->flags & QUARRY_SLAB_POISON) != 0 && (s->flags & QUARRY_SLAB_TYPESAFE_BY_RCU) == 0 && s->args.ctor == NULL;
    s->debug = d;
    s->slot_bytes = at.slot_bytes;
    if (d->poisons_object)
        kmem_fault_explain();
    return true;
}

/* Of a new slab, each slot, before any is handed out. */
void kmem_debug_construct(void *slot) {
    struct quarry_core1_slab slab;
    if (!quarry_core1_debug_look(slot, &slab))
        return;
    const struct quarry_kmem_cache *s = cache_of(slab.id);
    const struct kmem_debug *d = s->debug;
    char *object = (char *)slot + d->at.left_bytes;
    kmem_debug_slot_fill(d, object);
    state_set(d, object, KMEM_DEBUG_FREE);
    if (slab.index == slab.objs_nr - 1)
        kmem_debug_tail_fill(d, &slab);
    if (s->args.ctor != NULL)
        s->args.ctor(object);
}

unsigned kmem_debug_handle(const struct quarry_kmem_cache *s) { return s->heap.id + IDS_NR; }

void kmem_debug_hook(struct quarry_kmem_cache *s) {
    hooks_start();
    /* order: release: the cache.                                                           pairs: [kmem.debug.cache] */
    atomic_store_explicit(&by_id[s->heap.id], s, memory_order_release);
}

void kmem_debug_unhook(const struct quarry_kmem_cache *s) {
    atomic_store_explicit(&by_id[s->heap.id], NULL, memory_order_relaxed);
}

void kmem_debug_cache_begin(struct quarry_kmem_cache *s) {
    s->class = (struct quarry_core1_class){.slot = s->heap.slot, .id = kmem_debug_handle(s)};
    kmem_track_set(&s->debug->tracks[KMEM_TRACK_ALLOC]);
    kmem_debug_hook(s);
}

void kmem_debug_cache_quiesce(struct quarry_kmem_cache *s) {
    struct kmem_debug *d = s->debug;
    unsigned nr = MIN(atomic_load_explicit(&d->held.nr, memory_order_relaxed), (unsigned)ARRAY_NR(d->held.slots));
    kmem_track_set(&d->tracks[KMEM_TRACK_FREE]);
    for (unsigned i = 0; i < nr; i++)
        quarry_core1_debug_free(d->held.slots[i]);
    atomic_store_explicit(&d->held.nr, 0, memory_order_relaxed);
}

void kmem_debug_cache_end(struct quarry_kmem_cache *s) {
    unsigned grave = graves_nr++ % GRAVES_NR;
    struct quarry_kmem_cache *old = graves[grave];
    kmem_debug_unhook(s);
    graves[grave] = s;
    s->class.id = DEAD_HANDLES + grave;
    if (old == NULL)
        return;
    quarry_core1_free(old->name);
    quarry_core1_free(old->debug);
    quarry_core1_free(old);
}

COLD void kmem_debug_destroyed_twice(const struct quarry_kmem_cache *s) {
    dead_report(s, "Cache destroyed twice");
    kmem_report_end();
}

/* --- kmalloc --- */

static const struct kmalloc_size {
    const char *name;
    unsigned bytes;
} kmalloc_sizes[] = {
    {"kmalloc-8", 8},     {"kmalloc-16", 16},   {"kmalloc-32", 32},   {"kmalloc-64", 64},   {"kmalloc-96", 96},
    {"kmalloc-128", 128}, {"kmalloc-192", 192}, {"kmalloc-256", 256}, {"kmalloc-512", 512}, {"kmalloc-1k", 1024},
    {"kmalloc-2k", 2048}, {"kmalloc-4k", 4096}, {"kmalloc-8k", 8192},
};

static struct quarry_kmem_cache *kmalloc_caches[ARRAY_NR(kmalloc_sizes)];

/* NULL: that size is not debugged. */
static struct quarry_kmem_cache *kmalloc_cache(size_t size) {
    for (size_t i = 0; i < ARRAY_NR(kmalloc_sizes); i++) {
        if (size <= kmalloc_sizes[i].bytes)
            return kmalloc_caches[i];
    }
    return NULL;
}

size_t kmem_debug_kmalloc_bytes(size_t size) {
    const struct quarry_kmem_cache *s = kmalloc_cache(size);
    return s == NULL ? 0 : s->object_bytes;
}

bool kmem_debug_kmalloc_poisons(size_t size) {
    const struct quarry_kmem_cache *s = kmalloc_cache(size);
    return s != NULL && s->debug->poisons_object;
}

bool kmem_debug_pages_poison(void) { return (option.global & QUARRY_SLAB_POISON) != 0; }

static enum kmem_zeroed zeroed_by(quarry_gfp_t flags) {
    return (flags & QUARRY___GFP_ZERO) != 0 ? KMEM_ZEROED : KMEM_NOT_ZEROED;
}

/* what: the size. */
static void *kmalloc_try(const void *what, quarry_gfp_t flags) {
    size_t size = *(const size_t *)what;
    enum quarry_core1_context context = kmem_may_block(flags)         ? QUARRY_CORE1_MAY_BLOCK
                                        : kmem_gfp_has_reserve(flags) ? QUARRY_CORE1_ATOMIC_RESERVE
                                                                      : QUARRY_CORE1_ATOMIC;
    const struct quarry_kmem_cache *s = kmalloc_cache(size);
    char *object = object_alloc(s, context, size, zeroed_by(flags));
    return (flags & QUARRY___GFP_ACCOUNT) == 0 ? object : charged_by(s, object, flags);
}

/* The reserve's objects are nobody's: what is to be charged is not taken from there. */
static void *kmalloc_blocking(size_t size, quarry_gfp_t flags) {
    if ((flags & QUARRY___GFP_ACCOUNT) == 0 || quarry_account_current() == NULL)
        return kmem_gfp_alloc(kmalloc_try, size, flags);
    void *p = kmem_gfp_try(kmalloc_try, &size, flags);
    if (p == NULL || kmem_gfp_node_holds(p, size, flags))
        return p;
    quarry_core1_free(p);
    return NULL;
}

bool kmem_debug_kmalloc(size_t size, quarry_gfp_t flags, void **ret_p) {
    const struct quarry_kmem_cache *s = size == 0 ? NULL : kmalloc_cache(size);
    if (s == NULL)
        return false;
    *ret_p = NULL;
    if ((flags & QUARRY___GFP_NOFAIL) == 0 && fails(s, flags))
        return true;
    if (kmem_may_block(flags))
        *ret_p = kmalloc_blocking(size, flags);
    else if (kmem_gfp_node_holds(NULL, size, flags))
        *ret_p = kmalloc_try(&size, flags);
    return true;
}

static bool kmalloc_plain(size_t size, void **ret_p) { return kmem_debug_kmalloc(size, QUARRY_GFP_KERNEL, ret_p); }

static void *resize_in_place(const struct quarry_kmem_cache *s, char *object, size_t size, quarry_gfp_t flags) {
    const struct kmem_debug *d = s->debug;
    size_t asked = kmem_debug_asked(d, object);
    if (zeroed_by(flags) == KMEM_ZEROED && size > asked)
        memset(object + asked, 0, size - asked);
    if ((d->flags & QUARRY_SLAB_RED_ZONE) != 0 && d->is_kmalloc)
        memset(object + size, KMEM_RED_ACTIVE, d->at.object_bytes - size);
    kmem_debug_asked_set(d, object, size, zeroed_by(flags));
    return object;
}

/* What the red zone has to tell would be lost with a new size: it is looked at before. */
bool kmem_debug_krealloc(const void *p, size_t size, quarry_gfp_t flags, void **ret_p) {
    struct quarry_kmem_cache *s;
    struct quarry_core1_slab slab;
    char *object;
    if (!kmem_debug_find(p, &s, &object, &slab) || object == NULL || p != object)
        return false;
    if (kmem_debug_is_free(s->debug, object)) {
        object_report(s, object, "krealloc of an object that is free");
        kmem_report_end();
        *ret_p = NULL;
        return true;
    }
    (void)kmem_debug_object_check(s, object, KMEM_RED_ACTIVE);
    if (size <= s->debug->at.object_bytes) {
        *ret_p = resize_in_place(s, object, size, flags);
        return true;
    }
    *ret_p = quarry_kmalloc(size, flags);
    if (*ret_p != NULL) {
        memcpy(*ret_p, object, kmem_debug_asked(s->debug, object));
        quarry_kfree(object);
    }
    return true;
}

/* The names decide; where none of them is debugged, kmalloc is what it always is. */
__attribute__((constructor)) static void kmalloc_start(void) {
    start();
    for (size_t i = 0; i < ARRAY_NR(kmalloc_sizes); i++) {
        const struct kmalloc_size *k = &kmalloc_sizes[i];
        struct quarry_kmem_cache_args args = {.align = MAX(k->bytes & -k->bytes, 16u)};
        if ((kmem_debug_option_flags(&option, k->name, 0) & KMEM_DEBUG_FLAGS) == 0)
            continue;
        kmalloc_caches[i] = kmem_cache_new(k->name, k->bytes, &args, KMEM_SLAB_KMALLOC | QUARRY_SLAB_NO_MERGE);
        kmem_debug_kmalloc_on = kmem_debug_kmalloc_on || kmalloc_caches[i] != NULL;
    }
    if (kmem_debug_kmalloc_on)
        quarry_core1_debug_kmalloc(kmalloc_plain);
    if (kmem_debug_hardened)
        hooks_start();
}
