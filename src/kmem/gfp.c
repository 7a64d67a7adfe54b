/* SPDX-License-Identifier: MIT */
/*
 * What allocation flags mean when memory does not come at once: how hard to try, for whom the reserve is, what the
 * scopes of a thread forbid. Owns a thread's scopes. The reserve itself is the heap's (page/reserve.c), the heap has
 * reclaimed what it can before anything here is asked; here are the shrinkers, and patience.
 *
 *   flags                      tries
 *   __GFP_NORETRY              one
 *   none of the three          as long as shrinkers free something, TRIES_DEFAULT at most
 *   __GFP_RETRY_MAYFAIL        TRIES_MAYFAIL, and between them a while for others to free
 *   __GFP_NOFAIL               until it succeeds, and says once when that takes long
 *
 * Each try has the heap reclaim, and call what was registered for that, before it gives up; between two the shrinkers
 * are asked. What waits for others to free sleeps, for frees of the kernel API make no system call and so wake nobody.
 */
#include "kmem/gfp.h"

#include "kmem/cache.h"
#include "sys/sys.h"

#include <string.h>

enum { TRIES_DEFAULT = 4, TRIES_MAYFAIL = 12, EFFORT_FIRST = 2, SLEEP_MAX_SHIFT = 5, STALL_WARN_MS = 5000 };

static __thread unsigned scope;      /* QUARRY_MEMALLOC_ bits */
static __thread quarry_gfp_t inside; /* flags of the allocation this thread is inside; 0: none */

/* --- scopes --- */

unsigned quarry_memalloc_save(unsigned scopes) {
    unsigned before = scope & scopes;
    scope |= scopes;
    return before;
}

void quarry_memalloc_restore(unsigned scopes, unsigned before) { scope = (scope & ~scopes) | (before & scopes); }

quarry_gfp_t kmem_gfp_in_scope(quarry_gfp_t flags) {
    if ((scope & QUARRY_MEMALLOC_NOIO) != 0)
        flags &= ~(QUARRY___GFP_IO | QUARRY___GFP_FS);
    if ((scope & QUARRY_MEMALLOC_NOFS) != 0)
        flags &= ~QUARRY___GFP_FS;
    if ((scope & QUARRY_MEMALLOC_PIN) != 0)
        flags &= ~QUARRY___GFP_MOVABLE;
    return flags;
}

bool kmem_gfp_may_shrink(void) {
    return (inside & QUARRY___GFP_NORETRY) == 0 && (scope & QUARRY_MEMALLOC_NORECLAIM) == 0;
}

quarry_gfp_t quarry_current_gfp_context(quarry_gfp_t flags) { return kmem_gfp_in_scope(flags); }
quarry_gfp_t kmem_gfp_current(void) { return kmem_gfp_in_scope(inside != 0 ? inside : QUARRY_GFP_KERNEL); }

bool kmem_gfp_has_reserve(quarry_gfp_t flags) {
    if ((flags & QUARRY___GFP_NOMEMALLOC) != 0)
        return (flags & QUARRY___GFP_HIGH) != 0;
    return (flags & (QUARRY___GFP_HIGH | QUARRY___GFP_MEMALLOC)) != 0 || (scope & QUARRY_MEMALLOC_NORECLAIM) != 0;
}

/* The kernel's try_charge_memcg(): what may not fail, or stands for others who wait. __GFP_MEMALLOC is refused there,
 * which has no reserve for each flag; here who has the reserve has it whole. */
bool kmem_gfp_passes_limit(quarry_gfp_t flags) {
    return (flags & (QUARRY___GFP_HIGH | QUARRY___GFP_MEMALLOC)) != 0 || (scope & QUARRY_MEMALLOC_NORECLAIM) != 0 ||
           ((flags & QUARRY___GFP_NOFAIL) != 0 && kmem_may_block(flags));
}

/* --- nodes --- */

quarry_gfp_t kmem_gfp_node_flags(quarry_gfp_t flags) {
    bool may_fail = (flags & QUARRY___GFP_NOFAIL) == 0 || !kmem_may_block(flags);
    return may_fail ? flags : flags & ~QUARRY___GFP_THISNODE;
}

bool kmem_gfp_node_holds(void *p, size_t size, quarry_gfp_t flags) {
    if ((flags & QUARRY___GFP_THISNODE) == 0 || quarry_core1_node_sole() >= 0)
        return true;
    if (p == NULL || !kmem_may_block(flags))
        return false; /* asking the kernel is a system call */
    return quarry_core1_settle_on(p, size, -1);
}

/* --- effort --- */

static unsigned tries_nr(quarry_gfp_t flags) {
    if ((flags & QUARRY___GFP_NOFAIL) != 0)
        return UINT_MAX;
    if ((flags & QUARRY___GFP_NORETRY) != 0 || (scope & QUARRY_MEMALLOC_NORECLAIM) != 0)
        return 1;
    return (flags & QUARRY___GFP_RETRY_MAYFAIL) != 0 ? TRIES_MAYFAIL : TRIES_DEFAULT;
}

/* What a program sees that has set a limit too low, or leaks, where the kernel shows a stall and kills somebody. */
static void stall_warn(quarry_gfp_t flags, u64 since_ms) {
    static _Atomic(bool) said;
    struct quarry_pressure p;
    u64 waited_ms = sys_clock_ms() - since_ms;
    if (LIKELY(waited_ms < STALL_WARN_MS) || (flags & QUARRY___GFP_NOWARN) != 0 ||
        atomic_exchange_explicit(&said, true, memory_order_relaxed))
        return;
    (void)quarry_pressure(&p);
    if (p.hard_bytes != 0)
        kmem_print(
            "quarry: warning: __GFP_NOFAIL waits for memory since %lu s: limit_hard is %lu KiB, in use are %lu KiB\n",
            waited_ms / 1000, p.hard_bytes / KIB, p.used_bytes / KIB);
    else
        kmem_print(
            "quarry: warning: __GFP_NOFAIL waits for memory since %lu s: the system has none, in use are %lu KiB\n",
            waited_ms / 1000, p.used_bytes / KIB);
}

/* Between two tries. False: another is no use. A shrinker that frees, and frees, what does not help is as one that
 * frees nothing. */
static bool make_room(quarry_gfp_t flags, unsigned tried) {
    unsigned effort = tried < EFFORT_FIRST ? EFFORT_FIRST - tried : 0;
    bool freed = (scope & QUARRY_MEMALLOC_NORECLAIM) == 0 && kmem_shrink(kmem_gfp_in_scope(flags), effort) != 0;
    if (freed && tried < TRIES_MAYFAIL)
        return true;
    if ((flags & (QUARRY___GFP_NOFAIL | QUARRY___GFP_RETRY_MAYFAIL)) == 0)
        return effort != 0;
    sys_sleep_ms(1u << MIN(tried, (unsigned)SLEEP_MAX_SHIFT));
    return true;
}

quarry_gfp_t kmem_gfp_inside_set(quarry_gfp_t flags) {
    quarry_gfp_t before = inside;
    inside = flags;
    return before;
}

void *kmem_gfp_try(kmem_try_fn *try, const void *what, quarry_gfp_t flags) {
    quarry_gfp_t before = kmem_gfp_inside_set(flags);
    unsigned left = tries_nr(flags);
    void *p = try(what, flags);
    u64 since_ms = p == NULL ? sys_clock_ms() : 0;
    for (unsigned tried = 0; p == NULL && --left > 0 && make_room(flags, tried); tried++) {
        p = try(what, flags);
        if (p == NULL)
            stall_warn(flags, since_ms);
    }
    inside = before;
    return p;
}

static void *alloc_reserved(size_t size, quarry_gfp_t flags) {
    void *p = kmem_gfp_has_reserve(flags) ? quarry_core1_alloc_atomic(size, true) : NULL;
    if (p != NULL && (flags & QUARRY___GFP_ZERO) != 0)
        memset(p, 0, quarry_usable_size(p));
    return p;
}

void *kmem_gfp_alloc(kmem_try_fn *try, size_t size, quarry_gfp_t flags) {
    void *p = kmem_gfp_try(try, &size, flags);
    if (p == NULL)
        p = alloc_reserved(size, flags);
    if (p == NULL || kmem_gfp_node_holds(p, size, flags))
        return p;
    quarry_core1_free(p);
    return NULL;
}

void kmem_gfp_nofail_ignored(quarry_gfp_t flags) {
    static _Atomic(bool) said;
    if ((flags & QUARRY___GFP_NOFAIL) != 0)
        kmem_warn_once(&said, flags, "quarry: warning: __GFP_NOFAIL of an allocation that may not block is ignored\n");
}

static void *try_plain(const void *size, quarry_gfp_t flags) {
    (void)flags;
    return quarry_core1_alloc(*(const size_t *)size);
}

quarry_gfp_t kmem_gfp_inside(void) { return inside != 0 ? inside : QUARRY_GFP_KERNEL; }

void *kmem_gfp_try_inside(kmem_try_fn *try, const void *what) {
    return inside != 0 ? try(what, inside) : kmem_gfp_try(try, what, QUARRY_GFP_KERNEL);
}

/* A request that needs no rule went to the heap itself, which found memory out. Inside kmem_gfp_alloc that is for it.
 */
static void *alloc_failed(size_t size) {
    return inside != 0 ? NULL : kmem_gfp_alloc(try_plain, size, QUARRY_GFP_KERNEL);
}

static void *try_class(const void *class, quarry_gfp_t flags) {
    (void)flags;
    return quarry_core1_class_alloc(class);
}

/* The same of an object of a cache. */
static void *class_failed(const struct quarry_core1_class *class) {
    return inside != 0 ? NULL : kmem_gfp_try(try_class, class, QUARRY_GFP_KERNEL);
}

/* Who asks first may be in an atomic context, so it is asked for now. */
__attribute__((constructor)) static void gfp_start(void) {
    sys_clock_init();
    (void)quarry_core1_node_sole();
    quarry_core1_alloc_failed(alloc_failed);
    quarry_core1_class_failed(class_failed);
    quarry_core1_reserve_start();
}
