/* SPDX-License-Identifier: MIT */
/*
 * Slab caches: the kernel's rules over the heap's classes. Owns the list of caches, their names, and which of them are
 * one (merging). Slabs and magazines are the heap's; here is no memory but the records.
 *
 * One lock, for making and destroying; allocating and freeing know nothing of it. The heap wants its classes made and
 * unmade one call at a time, which the lock sees to. It is held over fork, so that the child finds it free and the
 * list whole: whoever holds it waits for nothing that another fork handler holds. Nor for a shrinker, which may take
 * what somebody holds who waits for the lock: memory that lacks under it is asked for when it is released.
 */
#include "kmem/cache.h"

#include "kmem/account.h"
#include "kmem/debug.h"
#include "kmem/gfp.h"
#include "kmem/paged.h"
#include "kmem/view.h"
#include "slab/slab.h"
#include "sys/sys.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(offsetof(struct quarry_kmem_cache, class.id) == sizeof(unsigned) &&
                   (int)QUARRY_CACHE_HANDLES == (int)QUARRY_CORE1_HANDLES,
               "what the inline form of kmem_cache_free reads");

enum { MIN_ALIGN_BYTES = 16, LINE_BYTES = 64, FREEPTR_ALIGN_BYTES = 8 };

#define FLAGS_MERGE_SAME (QUARRY_SLAB_RECLAIM_ACCOUNT | QUARRY_SLAB_ACCOUNT | KMEM_SLAB_ZONES)
#define FLAGS_MERGE_NEVER                                                                                              \
    (QUARRY_SLAB_TYPESAFE_BY_RCU | QUARRY_SLAB_NOLEAKTRACE | QUARRY_SLAB_NO_MERGE | KMEM_SLAB_ACCOUNTED |              \
     KMEM_DEBUG_FLAGS)
#define FLAGS_KNOWN                                                                                                    \
    (FLAGS_MERGE_SAME | (FLAGS_MERGE_NEVER & ~KMEM_SLAB_ACCOUNTED) | QUARRY_SLAB_HWCACHE_ALIGN | QUARRY_SLAB_PANIC |   \
     QUARRY_SLAB_NO_USER_FLAGS)

static pthread_mutex_t caches_lock = PTHREAD_MUTEX_INITIALIZER;
static struct quarry_kmem_cache *caches;
static _Atomic(bool) have_grace; /* there are grace periods, and a cache of SLAB_TYPESAFE_BY_RCU asked for them */
/* Destroyed, but with slabs that must stay what they are: an equal cache that is made later gets them. */
static struct quarry_kmem_cache *pinned;

/* Odd while the list, or a cache on it, may be changing: kmem/view.h. */
static _Atomic(u32) changes;
/* What the thread that changes something was inside of before. */
static quarry_gfp_t changer_inside;

static void lock(void) { (void)pthread_mutex_lock(&caches_lock); }
static void unlock(void) { (void)pthread_mutex_unlock(&caches_lock); }
static void unlock_child(void) {
    unlock();
    if (kmem_grace_fork_child != NULL)
        kmem_grace_fork_child();
}

/* The same for whoever changes something. A reader in another process takes no lock. No allocation asks shrinkers. */
static void changes_begin(void) {
    changer_inside = kmem_gfp_inside_set(kmem_gfp_inside() | QUARRY___GFP_NORETRY | QUARRY___GFP_NOWARN);
    atomic_fetch_add_explicit(&changes, 1, memory_order_relaxed);
    /* order: release: the odd number is seen before any of the changes is. */
    atomic_thread_fence(memory_order_release);
}
static void lock_to_change(void) {
    lock();
    changes_begin();
}
static void unlock_changed(void) {
    /* order: release: the changes are seen before the even number is. */
    atomic_fetch_add_explicit(&changes, 1, memory_order_release);
    (void)kmem_gfp_inside_set(changer_inside);
    unlock();
}

__attribute__((constructor)) static void fork_handlers(void) { (void)pthread_atfork(lock, unlock, unlock_child); }

/* --- making --- */

static bool may_merge(quarry_slab_flags_t flags, const struct quarry_kmem_cache_args *args) {
    return (flags & FLAGS_MERGE_NEVER) == 0 && args->ctor == NULL && args->usersize == 0 && args->sheaf_capacity == 0;
}

/* As asked for, in whole words, as the kernel does. */
static size_t align_in_words(unsigned align) { return round_up((size_t)align, sizeof(void *)); }

/* The kernel's calculate_alignment(): a cache line, or the smallest part of it that holds an object. */
static unsigned align_of(unsigned size, unsigned asked, quarry_slab_flags_t flags) {
    unsigned align = MAX((unsigned)align_in_words(asked), (unsigned)MIN_ALIGN_BYTES);
    if ((flags & QUARRY_SLAB_HWCACHE_ALIGN) == 0)
        return align;
    unsigned line = LINE_BYTES;
    while (size <= line / 2)
        line /= 2;
    return MAX(align, line);
}

bool kmem_cache_args_valid(unsigned size, const struct quarry_kmem_cache_args *args, quarry_slab_flags_t flags) {
    bool keeps_content = (flags & QUARRY_SLAB_TYPESAFE_BY_RCU) != 0 || args->ctor != NULL;
    bool freeptr = !args->use_freeptr_offset ||
                   (keeps_content && args->freeptr_offset < size && args->freeptr_offset % FREEPTR_ALIGN_BYTES == 0);
    size_t align = align_in_words(args->align);
    return size - 1 < QUARRY_KMEM_CACHE_MAX_SIZE && (flags & ~FLAGS_KNOWN) == 0 && freeptr &&
           (align == 0 || (is_pow2(align) && align <= QUARRY_KMEM_CACHE_MAX_SIZE));
}

/* What the kernel warns about and then does without. */
static void args_mend(const char *name, unsigned size, struct quarry_kmem_cache_args *args) {
    if ((args->usersize == 0 && args->useroffset != 0) || size < args->usersize ||
        size - args->usersize < args->useroffset) {
        kmem_print("quarry: warning: kmem_cache_create(%s): usercopy range outside of the object dropped\n", name);
        args->usersize = args->useroffset = 0;
    }
    if (strchr(name, ' ') != NULL)
        kmem_print("quarry: warning: kmem_cache_create(%s): name with a blank\n", name);
    for (const struct quarry_kmem_cache *s = caches; s != NULL; s = s->next) {
        if (strcmp(s->name, name) == 0)
            kmem_print("quarry: warning: kmem_cache of name '%s' already exists\n", name);
    }
}

/* One that serves objects of this size and alignment as well. */
static struct quarry_kmem_cache *mergeable_find(unsigned slot, unsigned align, quarry_slab_flags_t flags) {
    for (struct quarry_kmem_cache *s = caches; s != NULL; s = s->next) {
        if (s->slot_bytes == slot && s->align_bytes >= align && may_merge(s->flags, &s->args) &&
            (s->flags & FLAGS_MERGE_SAME) == (flags & FLAGS_MERGE_SAME))
            return s;
    }
    return NULL;
}

static bool same_type(const struct quarry_kmem_cache *a, const struct quarry_kmem_cache *b) {
    return a->object_bytes == b->object_bytes && a->slot_bytes == b->slot_bytes && a->align_bytes == b->align_bytes &&
           a->flags == b->flags && a->args.ctor == b->args.ctor && a->args.sheaf_capacity == b->args.sheaf_capacity;
}

/* The class that a cache of the same type left behind; that one's record, or NULL. Reports may look at it until the new
 * one has taken its place. */
static struct quarry_kmem_cache *pinned_adopt(struct quarry_kmem_cache *s) {
    for (struct quarry_kmem_cache **at = &pinned; *at != NULL; at = &(*at)->next) {
        struct quarry_kmem_cache *old = *at;
        if (!same_type(old, s))
            continue;
        s->heap = old->heap;
        *at = old->next;
        return old;
    }
    return NULL;
}

static bool is_accounted(const struct quarry_kmem_cache *s) { return (s->flags & KMEM_SLAB_ACCOUNTED) != 0; }

/* A handle is in the place of its class. */
static bool is_handled(const struct quarry_kmem_cache *s) {
    return s->debug != NULL || is_accounted(s) || kmem_cache_is_paged(s);
}

static void (*ctor_of(const struct quarry_kmem_cache *s))(void *object) {
    if (s->debug != NULL)
        return kmem_debug_construct;
    return is_handled(s) && s->args.ctor == NULL ? kmem_accounted_ctor : s->args.ctor;
}

/* That of a cache whose slabs are pages has none: it is an id for the handle, of whatever size. */
static int class_make(struct quarry_kmem_cache *s) {
    return quarry_core1_class_make(
        &s->heap, &(struct quarry_core1_class_make){.size_bytes = MIN(s->slot_bytes, (unsigned)SLAB_MADE_OBJECT_MAX),
                                                    .align_bytes = MIN(s->align_bytes, (unsigned)SLAB_ALIGN_MAX),
                                                    .ctor = ctor_of(s),
                                                    .capacity = s->args.sheaf_capacity,
                                                    .pinned = (s->flags & QUARRY_SLAB_TYPESAFE_BY_RCU) != 0 &&
                                                              !kmem_cache_is_paged(s),
                                                    .debugged = is_handled(s),
                                                    .reclaimable = (s->flags & QUARRY_SLAB_RECLAIM_ACCOUNT) != 0});
}

static struct quarry_kmem_cache *cache_new(const char *name, const struct quarry_kmem_cache *like) {
    struct quarry_kmem_cache *s = quarry_core1_alloc(sizeof(*s));
    size_t name_bytes = strlen(name) + 1;
    char *copy = quarry_core1_alloc(name_bytes); /* by what the thread is inside of, not by flags */
    if (s != NULL && copy != NULL) {
        *s = *like;
        s->name = memcpy(copy, name, name_bytes);
        bool prepared = kmem_debug_cache_prepare(s);
        struct quarry_kmem_cache *old = prepared ? pinned_adopt(s) : NULL;
        if (old != NULL || (prepared && class_make(s) == 0)) {
            s->class = s->heap;
            if (s->debug != NULL)
                kmem_debug_cache_begin(s);
            else if (is_accounted(s))
                kmem_debug_hook(s);
            else if (kmem_cache_is_paged(s))
                kmem_paged_begin(s);
            if (old != NULL)
                quarry_core1_free(old->debug);
            quarry_core1_free(old);
            return s;
        }
        quarry_core1_free(s->debug);
    }
    quarry_core1_free(copy);
    quarry_core1_free(s);
    return NULL;
}

static void cache_list(struct quarry_kmem_cache *s) {
    s->next = caches;
    caches = s;
}

/* Beside s, which is of SLAB_ACCOUNT: a cache for what is charged; and a handle for s, so that each allocation asks
 * first. Its head is read meanwhile: each of old and new, and one of each, leads to objects of s. */
static bool cache_account(struct quarry_kmem_cache *s) {
    char name[KMEM_NAME_BYTES];
    struct quarry_kmem_cache like = *s;
    if ((s->flags & QUARRY_SLAB_ACCOUNT) == 0 || is_handled(s) || s->accounted != NULL)
        return true;
    (void)snprintf(name, sizeof(name), "%.*s(charged)", KMEM_NAME_BYTES - 10, s->name);
    like.flags |= KMEM_SLAB_ACCOUNTED;
    like.users = 1;
    struct quarry_kmem_cache *charged = cache_new(name, &like);
    if (charged == NULL) {
        kmem_print("quarry: warning: no memory to charge objects of the cache %s\n", s->name);
        return false;
    }
    cache_list(charged);
    /* order: release: the cache of charged objects.                                       pairs: [kmem.cache.handle] */
    __atomic_store_n(&s->accounted, charged, __ATOMIC_RELEASE);
    kmem_debug_hook(s);
    /* order: release: the hook, and what it looks at.                                     pairs: [kmem.cache.handle] */
    __atomic_store_n(&s->class.id, kmem_debug_handle(s), __ATOMIC_RELEASE);
    __atomic_store_n(&s->class.slot, charged->heap.slot, __ATOMIC_RELAXED);
    return true;
}

bool kmem_caches_account(void) {
    bool all = true;
    lock_to_change();
    for (struct quarry_kmem_cache *s = caches; s != NULL; s = s->next)
        all = cache_account(s) && all;
    if (all) {
        /* order: release: what was made.                                                     pairs: [kmem.accounted] */
        atomic_store_explicit(&kmem_accounts_on, true, memory_order_release);
    }
    unlock_changed();
    return all;
}

/* Under the lock. NULL: no memory, or no class left. */
static struct quarry_kmem_cache *cache_make(const char *name, unsigned size, struct quarry_kmem_cache_args *args,
                                            quarry_slab_flags_t flags) {
    unsigned align = align_of(size, args->align, flags), slot = (unsigned)round_up(size, align);
    flags = kmem_debug_cache_flags(name, flags);
    if (kmem_paged_wants(slot, flags))
        flags &= ~KMEM_DEBUG_FLAGS;
    struct quarry_kmem_cache *s = may_merge(flags, args) ? mergeable_find(slot, align, flags) : NULL;
    if (s != NULL) {
        s->users++;
        s->object_bytes = MAX(s->object_bytes, size);
        return s;
    }
    s = cache_new(name, &(struct quarry_kmem_cache){.object_bytes = size,
                                                    .slot_bytes = slot,
                                                    .align_bytes = align,
                                                    .flags = flags,
                                                    .users = 1,
                                                    .args = *args,
                                                    .paged = kmem_paged_start(slot, flags)});
    if (s != NULL)
        cache_list(s);
    if (s != NULL && atomic_load_explicit(&kmem_accounts_on, memory_order_relaxed))
        (void)cache_account(s);
    return s;
}

static void grace_prepare(quarry_slab_flags_t flags) {
    if ((flags & QUARRY_SLAB_TYPESAFE_BY_RCU) != 0 && kmem_grace_prepare != NULL && kmem_grace_prepare())
        atomic_store_explicit(&have_grace, true, memory_order_relaxed);
}

/* Whether the flags get memory such as a cache is made of. */
static bool room_is_had(quarry_gfp_t flags) {
    void *p = quarry_kmalloc(sizeof(struct quarry_kmem_cache),
                             flags & ~(QUARRY___GFP_ACCOUNT | QUARRY___GFP_RECLAIMABLE | QUARRY_GFP_ZONES));
    quarry_kfree(p);
    return p != NULL;
}

enum attempt { ATTEMPT_FIRST, ATTEMPT_AGAIN };

/* With the lock, which it lets go. What there is to say of the arguments is said at the first attempt. */
static struct quarry_kmem_cache *once_make(struct quarry_kmem_cache *_Atomic *at, const char *name, unsigned size,
                                           struct quarry_kmem_cache_args *args, quarry_slab_flags_t flags,
                                           enum attempt attempt) {
    changes_begin();
    struct quarry_kmem_cache *s = atomic_load_explicit(at, memory_order_relaxed);
    if (s == NULL && attempt == ATTEMPT_FIRST)
        args_mend(name, size, args);
    if (s == NULL && (s = cache_make(name, size, args, flags)) != NULL) {
        /* order: release: publishes the cache.                                              pairs: [kmem.cache.once] */
        atomic_store_explicit(at, s, memory_order_release);
    }
    unlock_changed();
    return s;
}

struct quarry_kmem_cache *kmem_cache_new_once(struct quarry_kmem_cache *_Atomic *at, const char *name, unsigned size,
                                              struct quarry_kmem_cache_args *args, quarry_slab_flags_t flags,
                                              quarry_gfp_t effort) {
    grace_prepare(flags);
    if (effort == KMEM_CACHE_NO_EFFORT)
        return pthread_mutex_trylock(&caches_lock) == 0 ? once_make(at, name, size, args, flags, ATTEMPT_FIRST) : NULL;
    lock();
    struct quarry_kmem_cache *s = once_make(at, name, size, args, flags, ATTEMPT_FIRST);
    if (s != NULL || !room_is_had(effort))
        return s;
    lock();
    return once_make(at, name, size, args, flags, ATTEMPT_AGAIN);
}

struct quarry_kmem_cache *kmem_cache_new(const char *name, unsigned size, struct quarry_kmem_cache_args *args,
                                         quarry_slab_flags_t flags) {
    struct quarry_kmem_cache *_Atomic made = NULL;
    return kmem_cache_new_once(&made, name, size, args, flags, QUARRY_GFP_KERNEL);
}

bool kmem_cache_name_of(unsigned id, struct kmem_text *out) {
    bool found = false;
    if (pthread_mutex_trylock(&caches_lock) != 0)
        return false;
    for (const struct quarry_kmem_cache *s = caches; s != NULL && !found; s = s->next) {
        if ((found = s->heap.id == id))
            kmem_text_str(out, s->name);
    }
    unlock();
    return found;
}

static void refused(const char *name, quarry_slab_flags_t flags, int error) {
    if ((flags & QUARRY_SLAB_PANIC) != 0) {
        kmem_print("kmem_cache_create: Failed to create slab '%s'. Error %d\n", name, -error);
        abort();
    }
    kmem_print("kmem_cache_create(%s) failed with error %d\n", name, -error);
}

struct quarry_kmem_cache *quarry_kmem_cache_create_args(const char *name, unsigned size,
                                                        const struct quarry_kmem_cache_args *args,
                                                        quarry_slab_flags_t flags) {
    struct quarry_kmem_cache_args mended = {0};
    struct quarry_kmem_cache *s = NULL;
    if (args != NULL)
        mended = *args;
    bool valid = name != NULL && kmem_cache_args_valid(size, &mended, flags);
    if (valid)
        s = kmem_cache_new(name, size, &mended, flags);
    if (s == NULL)
        refused(name != NULL ? name : "(null)", flags, valid ? ENOMEM : EINVAL);
    return s;
}

struct quarry_kmem_cache *quarry_kmem_cache_create_usercopy(const char *name, unsigned size, unsigned align,
                                                            quarry_slab_flags_t flags, unsigned useroffset,
                                                            unsigned usersize, void (*ctor)(void *)) {
    struct quarry_kmem_cache_args args = {.align = align, .useroffset = useroffset, .usersize = usersize, .ctor = ctor};
    return quarry_kmem_cache_create_args(name, size, &args, flags);
}

struct quarry_kmem_cache *quarry_kmem_cache_create(const char *name, unsigned size, unsigned align,
                                                   quarry_slab_flags_t flags, void (*ctor)(void *)) {
    return quarry_kmem_cache_create_usercopy(name, size, align, flags, 0, 0, ctor);
}

/* --- destroying --- */

static void cache_unlist(struct quarry_kmem_cache *s) {
    struct quarry_kmem_cache **at = &caches;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
}

/* The class is gone, or waits for a cache of its type; objects that are out keep it for good. */
static void cache_end(struct quarry_kmem_cache *s, const void *caller) {
    if (s->debug != NULL)
        kmem_debug_cache_quiesce(s);
    long left = kmem_cache_is_paged(s) ? (long)kmem_paged_end(s) : 0;
    if (left == 0)
        left = quarry_core1_class_unmake(&s->heap);
    cache_unlist(s);
    if (left > 0) {
        kmem_leak_report(s, (size_t)left, caller);
        return;
    }
    if (left == 0 && s->debug != NULL) {
        kmem_debug_cache_end(s);
        return;
    }
    kmem_debug_unhook(s);
    quarry_core1_free(s->name);
    s->name = NULL;
    if (left == 0) {
        quarry_core1_free(s);
        return;
    }
    quarry_core1_class_pin(&s->heap);
    s->next = pinned;
    pinned = s;
}

static bool waits_for_grace(const struct quarry_kmem_cache *s) {
    return (s->flags & QUARRY_SLAB_TYPESAFE_BY_RCU) != 0 && atomic_load_explicit(&have_grace, memory_order_relaxed);
}

void quarry_kmem_cache_destroy(struct quarry_kmem_cache *s) {
    if (s == NULL)
        return;
    /* Objects that kfree_rcu() has are not leaked. */
    void (*barrier)(void) = atomic_load_explicit(&kmem_rcu_barrier, memory_order_relaxed);
    if (barrier != NULL)
        barrier();
    bool waited = waits_for_grace(s);
    if (waited)
        kmem_grace_wait();
    lock_to_change();
    if (s->debug != NULL && s->users == 0) {
        kmem_debug_destroyed_twice(s);
    } else if (--s->users == 0) {
        struct quarry_kmem_cache *charged = s->accounted;
        for (struct quarry_kmem_cache *each = charged != NULL ? charged : s; each != NULL;
             each = each == charged ? s : NULL) {
            if (waited)
                quarry_core1_class_unpin(&each->heap);
            cache_end(each, __builtin_return_address(0));
        }
    }
    unlock_changed();
}

int quarry_kmem_cache_shrink(struct quarry_kmem_cache *s) {
    if (kmem_cache_is_paged(s))
        return kmem_paged_shrink(s) != 0;
    bool left = quarry_core1_class_shrink(&s->heap) != 0;
    if (s->accounted != NULL)
        left = quarry_core1_class_shrink(&s->accounted->heap) != 0 || left;
    if (left && waits_for_grace(s))
        kmem_grace_shrink();
    return left;
}

unsigned quarry_kmem_cache_size(const struct quarry_kmem_cache *s) { return s->object_bytes; }

void kmem_cache_look(const struct quarry_kmem_cache *s, struct quarry_core1_class_info *ret_info) {
    if (kmem_cache_is_paged(s))
        kmem_paged_look(s, ret_info);
    else
        quarry_core1_class_look(&s->heap, ret_info);
}

void quarry_kmem_cache_info_get(struct quarry_kmem_cache *s, struct quarry_kmem_cache_info *ret_info) {
    struct quarry_core1_class_info look;
    kmem_cache_look(s, &look);
    size_t cached = MIN(look.objs_cached, look.objs_out);
    *ret_info = (struct quarry_kmem_cache_info){.name = s->name,
                                                .object_bytes = s->object_bytes,
                                                .slot_bytes = s->slot_bytes,
                                                .align_bytes = s->align_bytes,
                                                .aliases = s->users - 1,
                                                .useroffset = s->args.useroffset,
                                                .usersize = s->args.usersize,
                                                .flags = s->flags,
                                                .objs_per_slab = (unsigned)look.objs_per_slab,
                                                .slab_bytes = (unsigned)look.slab_bytes,
                                                .percpu = s->heap.slot == s->heap.id,
                                                .slabs = look.slabs,
                                                .full = look.full,
                                                .partial = look.partial,
                                                .empty = look.empty,
                                                .active_objs = look.objs_out - cached,
                                                .cached_objs = cached};
}

/* --- looking at all of them --- */

void kmem_caches_locked(void (*fn)(void *arg), void *arg) {
    lock();
    fn(arg);
    unlock();
}

void kmem_caches_each(void (*fn)(void *arg, const struct quarry_kmem_cache *s), void *arg) {
    for (const struct quarry_kmem_cache *s = caches; s != NULL; s = s->next)
        fn(arg, s);
}

extern const struct kmem_view kmem_view;
__attribute__((used)) const struct kmem_view kmem_view = {
    .head = {KMEM_VIEW_MAGIC, &kmem_view, sizeof(struct kmem_view), KMEM_VIEW_LAYOUT, QUARRY_VERSION_TEXT},
    .caches = &caches,
    .changes = &changes,
};

/* --- objects --- */

static void *cache_try(const void *cache, quarry_gfp_t flags) {
    const struct quarry_kmem_cache *s = cache;
    bool sure = s->debug != NULL && (flags & QUARRY___GFP_NOFAIL) != 0;
    return sure ? kmem_debug_alloc_sure(s) : quarry_core1_class_alloc(&s->class);
}

static bool is_strict(quarry_gfp_t flags) { return (flags & QUARRY___GFP_THISNODE) != 0; }
static bool is_sure(quarry_gfp_t flags) { return (flags & QUARRY___GFP_NOFAIL) != 0 && kmem_may_block(flags); }

/* What is debugged is told of the flags, which the heap does not know. */
static void *alloc_atomic(struct quarry_kmem_cache *s, quarry_gfp_t flags, bool reserve) {
    if (LIKELY(s->debug == NULL))
        return quarry_core1_class_alloc_atomic(&s->class, reserve);
    quarry_gfp_t before = kmem_gfp_inside_set(flags);
    void *p = quarry_core1_class_alloc_atomic(&s->class, reserve);
    (void)kmem_gfp_inside_set(before);
    return p;
}

static void *alloc_by_context(struct quarry_kmem_cache *s, quarry_gfp_t flags) {
    if (kmem_may_block(flags)) {
        void *p = kmem_gfp_try(cache_try, s, flags);
        bool tries_reserve = p == NULL && s->debug == NULL && kmem_gfp_has_reserve(flags);
        return tries_reserve ? quarry_core1_class_alloc_atomic(&s->class, true) : p;
    }
    kmem_gfp_nofail_ignored(flags);
    return alloc_atomic(s, flags, kmem_gfp_has_reserve(flags));
}

void *kmem_cache_zeroed(const struct quarry_kmem_cache *s, quarry_gfp_t flags, void *p) {
    static _Atomic(bool) said;
    if (p == NULL || (flags & QUARRY___GFP_ZERO) == 0)
        return p;
    if (s->args.ctor != NULL)
        kmem_warn_once(&said, flags, "quarry: warning: __GFP_ZERO for a cache with a constructor\n");
    return memset(p, 0, s->object_bytes);
}

struct wanted {
    const struct quarry_kmem_cache *cache;
    int node; /* negative: this thread's */
};

static void *alloc_on(const void *what, quarry_gfp_t flags) {
    const struct wanted *w = what;
    return quarry_core1_class_alloc_node(&w->cache->heap, w->node, is_strict(flags));
}

/* A handle may take the place of the class at any time: no question of this file's is answered by it. */
static bool is_to_charge(const struct quarry_kmem_cache *s) {
    /* order: acquire: the cache of charged objects.                                       pairs: [kmem.cache.handle] */
    return __atomic_load_n(&s->accounted, __ATOMIC_ACQUIRE) != NULL && quarry_account_current() != NULL;
}

/* From where there is some. What must lie on a node, and nobody knows whether it does, is moved there; what may not
 * block or is debugged cannot be, and is NULL. What may not fail may lie anywhere then. */
static void *alloc_then_settle(struct quarry_kmem_cache *s, quarry_gfp_t flags, int node) {
    int sole = quarry_core1_node_sole();
    bool holds = !is_strict(flags) || is_sure(flags) || (sole >= 0 && (node < 0 || node == sole));
    bool may_move = sole < 0 && kmem_may_block(flags) && s->debug == NULL && !kmem_cache_is_paged(s);
    void *p = holds || may_move ? alloc_by_context(s, flags) : NULL;
    if (p == NULL || holds || quarry_core1_settle_on(p, s->slot_bytes, node))
        return p;
    quarry_kmem_cache_free(s, p);
    return NULL;
}

static void *alloc_by_node(struct quarry_kmem_cache *s, quarry_gfp_t flags, int node) {
    if (LIKELY(kmem_may_block(flags) && s->debug == NULL && !kmem_cache_is_paged(s) && !is_to_charge(s)))
        return kmem_gfp_try(alloc_on, &(struct wanted){s, node}, flags);
    return alloc_then_settle(s, flags, node);
}

bool kmem_cache_charges(const struct quarry_kmem_cache *s, quarry_gfp_t flags) {
    return ((flags & QUARRY___GFP_ACCOUNT) != 0 || (s->flags & QUARRY_SLAB_ACCOUNT) != 0) &&
           quarry_account_current() != NULL;
}

/* Caches of SLAB_ACCOUNT charge by themselves. */
static bool is_charged_by_flag(const struct quarry_kmem_cache *s, quarry_gfp_t flags) {
    return UNLIKELY((flags & QUARRY___GFP_ACCOUNT) != 0) && (s->flags & QUARRY_SLAB_ACCOUNT) == 0 &&
           kmem_cache_charges(s, flags);
}

/* p, which came of s by these flags. */
static void *charged(struct quarry_kmem_cache *s, quarry_gfp_t flags, void *p) {
    if (LIKELY(!is_charged_by_flag(s, flags)) || p == NULL || quarry_kmem_cache_charge(p, flags))
        return p;
    quarry_kmem_cache_free(s, p);
    return NULL;
}

static void *alloc_by_rules(struct quarry_kmem_cache *s, quarry_gfp_t flags) {
    flags = kmem_gfp_node_flags(flags);
    void *p = is_strict(flags) ? alloc_by_node(s, flags, QUARRY_NUMA_NO_NODE) : alloc_by_context(s, flags);
    return charged(s, flags, p);
}

static NOINLINE void *alloc_by_flags(struct quarry_kmem_cache *s, quarry_gfp_t flags) {
    return kmem_cache_zeroed(s, flags, alloc_by_rules(s, flags));
}

FAST_ENTRY void *quarry_kmem_cache_alloc(struct quarry_kmem_cache *s, quarry_gfp_t flags) {
    if (LIKELY(QUARRY_GFP_IS_PLAIN(flags)))
        return quarry_core1_class_alloc(&s->class);
    return alloc_by_flags(s, flags);
}

/* Shrinkers that a limit asks see the flags, as ever. */
void *kmem_cache_alloc_once(struct quarry_kmem_cache *s, quarry_gfp_t flags) {
    if (!kmem_may_block(flags))
        return kmem_cache_zeroed(s, flags, alloc_atomic(s, flags, false));
    quarry_gfp_t before = kmem_gfp_inside_set(flags);
    void *p = quarry_core1_class_alloc(&s->class);
    (void)kmem_gfp_inside_set(before);
    return kmem_cache_zeroed(s, flags, p);
}

void *quarry_kmem_cache_alloc_node(struct quarry_kmem_cache *s, quarry_gfp_t flags, int node) {
    flags = kmem_gfp_node_flags(flags);
    if (node < 0 && !is_strict(flags))
        return quarry_kmem_cache_alloc(s, flags);
    return kmem_cache_zeroed(s, flags, charged(s, flags, alloc_by_node(s, flags, node)));
}

FAST_ENTRY void quarry_kmem_cache_free(struct quarry_kmem_cache *s, void *p) {
    if (UNLIKELY(quarry_kmem_cache_is_handled(s)) && !kmem_debug_free_is_right(s, p))
        return;
    quarry_core1_class_free(&s->class, p); /* p knows whose it is; s is for checks */
}

static size_t bulk_by_one(struct quarry_kmem_cache *s, quarry_gfp_t flags, size_t nr, void **objs) {
    size_t got = 0;
    while (got < nr && (objs[got] = alloc_by_rules(s, flags)) != NULL)
        got++;
    return got;
}

/* One attempt. Limits and shrinkers go by the flags, which the heap does not know. */
static size_t bulk_by_run(struct quarry_kmem_cache *s, quarry_gfp_t flags, size_t nr, void **objs) {
    if (LIKELY(QUARRY_GFP_IS_PLAIN(flags & ~QUARRY___GFP_ZERO)))
        return quarry_core1_class_alloc_bulk(&s->class, nr, objs);
    quarry_gfp_t before = kmem_gfp_inside_set(flags);
    size_t got = quarry_core1_class_alloc_bulk(&s->class, nr, objs);
    (void)kmem_gfp_inside_set(before);
    return got;
}

int quarry_kmem_cache_alloc_bulk(struct quarry_kmem_cache *s, quarry_gfp_t flags, size_t nr, void **objs) {
    bool by_run = kmem_may_block(flags) && !is_strict(flags) && !is_charged_by_flag(s, flags);
    size_t got = by_run ? bulk_by_run(s, flags, nr, objs) : 0;
    got += bulk_by_one(s, flags, nr - got, objs + got);
    if (got < nr) {
        quarry_core1_class_free_bulk(&s->class, got, objs);
        return 0;
    }
    for (size_t i = 0; (flags & QUARRY___GFP_ZERO) != 0 && i < nr; i++)
        (void)kmem_cache_zeroed(s, flags, objs[i]);
    return (int)nr;
}

void quarry_kmem_cache_free_bulk(struct quarry_kmem_cache *s, size_t nr, void **objs) {
    if (s == NULL) {
        quarry_kfree_bulk(nr, objs);
        return;
    }
    bool checked = quarry_kmem_cache_is_handled(s) || kmem_debug_hardened;
    for (size_t i = 0; checked && i < nr; i++)
        quarry_kmem_cache_free(s, objs[i]);
    if (!checked)
        quarry_core1_class_free_bulk(&s->class, nr, objs);
}
