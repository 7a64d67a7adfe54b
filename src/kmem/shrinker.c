/* SPDX-License-Identifier: MIT */
/*
 * Shrinkers: the caches of a program, asked for memory when an allocation finds none, and when the heap passes its soft
 * limit or meets its hard one (through quarry_reclaim_register). Owns the list of them.
 *
 *   [K1] The list and the place in it change under shrinkers_lock, which is held while a shrinker runs: one thread at a
 *        time asks, the others go on without.
 *   [K2] Who unregisters waits for that lock, so the shrinker runs no more when it returns; inside a shrinker the lock
 * is its own thread's, and the walk goes on behind what was taken out.
 */
#include "kmem/gfp.h"

#include "sys/sys.h"

#include <string.h>

enum { BATCH_DEFAULT = 128, SEEKS_COST = 4 };

static struct sys_lock shrinkers_lock;
static struct quarry_shrinker *first;
static struct quarry_shrinker *now, *next; /* of the walk; now: NULL once it took itself off */
static _Atomic(bool) any;

/* As many of its objects as effort and seeks say, batch by batch. */
static unsigned long shrinker_run(struct quarry_shrinker *s, quarry_gfp_t flags, unsigned effort) {
    struct quarry_shrink_control control = {.gfp_mask = flags};
    now = s;
    unsigned long have = s->count_objects(s, &control), freed = 0;
    if (now != s || have == 0 || have >= QUARRY_SHRINK_EMPTY)
        return 0;
    unsigned long batch = s->batch > 0 ? (unsigned long)s->batch : BATCH_DEFAULT;
    unsigned long want = have >> effort;
    want = s->seeks > 0 ? want * SEEKS_COST / (unsigned)s->seeks : want / 2;
    want = MAX(MIN(want, 2 * have), MIN(batch, have));
    while (want > 0 && now == s) {
        control.nr_to_scan = control.nr_scanned = MIN(batch, want);
        unsigned long got = s->scan_objects(s, &control);
        if (got == QUARRY_SHRINK_STOP)
            break;
        freed += got;
        want -= MIN(want, MAX(control.nr_scanned, 1ul));
    }
    now = NULL;
    return freed;
}

unsigned long kmem_shrink(quarry_gfp_t flags, unsigned effort) {
    unsigned long freed = 0;
    if (!atomic_load_explicit(&any, memory_order_relaxed) || sys_calls_nobody() || !sys_lock_try(&shrinkers_lock))
        return 0;
    /* What a shrinker allocates is asked for by flags of its own: the outer __GFP_NOFAIL is not its. */
    quarry_gfp_t outer = kmem_gfp_inside_set(0);
    for (struct quarry_shrinker *s = first; s != NULL; s = next) {
        next = s->next;
        freed += shrinker_run(s, flags, effort);
    }
    (void)kmem_gfp_inside_set(outer);
    sys_lock_release(&shrinkers_lock);
    return freed;
}

/* The heap is near a limit; the allocation may be malloc's. A part, for it asks again while that lasts. */
static void heap_pressed(void *unused) {
    enum { EFFORT = 1 };
    (void)unused;
    if (kmem_gfp_may_shrink())
        (void)kmem_shrink(kmem_gfp_current(), EFFORT);
}

static void fork_child(void) {
    if (!sys_lock_is_mine(&shrinkers_lock))
        sys_lock_reset(&shrinkers_lock);
}

int quarry_shrinker_register(struct quarry_shrinker *s) {
    static bool prepared;
    if (s->count_objects == NULL || s->scan_objects == NULL)
        return -QUARRY_SHRINKER_EINVAL;
    bool locked = sys_lock_acquire(&shrinkers_lock);
    int error = 0;
    if (!prepared && quarry_reclaim_register(heap_pressed, NULL) != 0)
        error = -QUARRY_SHRINKER_ENOMEM;
    if (error == 0) {
        if (!prepared)
            sys_atfork(NULL, NULL, fork_child);
        prepared = true;
        s->next = first;
        first = s;
        atomic_store_explicit(&any, true, memory_order_relaxed);
    }
    if (locked)
        sys_lock_release(&shrinkers_lock);
    return error;
}

void quarry_shrinker_unregister(struct quarry_shrinker *s) {
    bool locked = sys_lock_acquire(&shrinkers_lock);
    struct quarry_shrinker **link = &first;
    while (*link != NULL && *link != s)
        link = &(*link)->next;
    if (*link == s)
        *link = s->next;
    if (next == s)
        next = s->next;
    if (now == s)
        now = NULL;
    atomic_store_explicit(&any, first != NULL, memory_order_relaxed);
    if (locked)
        sys_lock_release(&shrinkers_lock);
}

struct quarry_shrinker *quarry_shrinker_alloc(unsigned flags) {
    struct quarry_shrinker *s = quarry_kzalloc(sizeof(*s), QUARRY_GFP_KERNEL);
    if (s != NULL) {
        s->flags = flags;
        s->seeks = QUARRY_DEFAULT_SEEKS;
    }
    return s;
}

void quarry_shrinker_free(struct quarry_shrinker *s) {
    if (s == NULL)
        return;
    quarry_shrinker_unregister(s);
    quarry_kfree(s);
}
