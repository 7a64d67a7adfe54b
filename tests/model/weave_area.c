/* SPDX-License-Identifier: MIT */
/*
 * Areas of per-CPU variables (src/kmem/percpu_area.c), explored (weave.h): areas that are taken and freed by threads of
 * which one holds the lock, so that the other leaves what it frees to that one, and forks beside them. Who has an area
 * writes to it. At the end each area is free once, or in one hand. The child of a fork has no area twice, and lacks
 * those that another thread has, and one at most that another was about to take or free.
 */
#include "kmem/account.h"
#include "kmem/gfp.h"
#include "kmem/percpu.h"
#include "weave.h"

#include <stdlib.h>
#include <string.h>

enum { UNIT = 8, AREAS_NR = 4, HAND_MAX = 2, CHUNK_BYTES_MOST = 16 << 10 };
#define TAG ((uintptr_t)1 << 63)

struct percpu percpu;
_Atomic(bool) kmem_accounts_on;

/* Those of the models are in the first units of one chunk; the rest of it is never touched. */
static char *copies;
static _Alignas(CACHE_LINE) char record[CHUNK_BYTES_MOST];
static _Atomic(unsigned) chunks_nr;

/* What a thread does: a takes an area, d frees the one it has had longest, f forks: the child does the rest. */
static const char *scripts[WEAVE_THREADS_MAX];
static struct hand {
    const char *area[HAND_MAX];
    unsigned nr;
} hands[WEAVE_THREADS_MAX];
static bool is_child;
static unsigned forked_by;

/* --- what percpu_area.c calls --- */

bool percpu_start(void) { return true; }

void *quarry_core1_zalloc(size_t size) {
    weave_must(size <= sizeof(record) && atomic_fetch_add_explicit(&chunks_nr, 1, memory_order_relaxed) == 0);
    return record;
}
void quarry_core1_free(void *p) { (void)p, weave_broken("the first chunk is for good"); }
void *sys_vm_reserve(size_t bytes, size_t align) {
    weave_must(bytes == PERCPU_COPY_BYTES && align == PERCPU_COPY_BYTES);
    return copies;
}
int sys_vm_commit(void *at, size_t bytes) { return (void)at, (void)bytes, 0; }
int sys_vm_nohuge(void *at, size_t bytes) { return (void)at, (void)bytes, 0; }
int sys_vm_release(void *at, size_t bytes) { (void)at, (void)bytes, weave_broken("the first chunk is for good"); }
void quarry_core1_warn(const char *line) { (void)line, weave_broken("it warns"); }
void kmem_warn_once(_Atomic(bool) *said, quarry_gfp_t flags, const char *line) {
    (void)said, (void)flags;
    quarry_core1_warn(line);
}
_Noreturn void sys_abort(void) { weave_broken("it gives up"); }
struct quarry_account *quarry_account_current(void) {
    return NULL;
}
bool kmem_account_slot_charge(const struct quarry_core1_slab *slab, quarry_gfp_t flags) {
    (void)slab, (void)flags;
    weave_broken("there are no accounts");
}
bool kmem_account_uncharge(const struct quarry_core1_slab *slab) { return kmem_account_slot_charge(slab, 0); }
void *kmem_gfp_try(void *(*alloc)(const void *what, quarry_gfp_t flags), const void *what, quarry_gfp_t flags) {
    return alloc(what, flags);
}

/* --- threads --- */

static u64 *area_word(const char *area) {
    return (u64 *)((uintptr_t)area & ~TAG); // NOLINT(performance-no-int-to-ptr)
}

static void hand_take(struct hand *h, unsigned self) {
    const char *area = quarry_alloc_percpu(UNIT, UNIT, QUARRY_GFP_KERNEL);
    weave_must(area != NULL && h->nr < HAND_MAX && *area_word(area) == 0);
    *area_word(area) = self + 1;
    h->area[h->nr++] = area;
}

static void hand_free(struct hand *h, unsigned self) {
    if (h->nr == 0)
        return;
    const char *area = h->area[--h->nr];
    weave_must(*area_word(area) == self + 1);
    quarry_free_percpu((void *)(uintptr_t)area);
}

static u64 all_it_knows(const struct hand *h, unsigned done) {
    u64 key = done;
    for (unsigned i = 0; i < h->nr; i++)
        key = key * 64 + ((uintptr_t)h->area[i] / UNIT) % 64;
    return key * 8 + h->nr;
}

static void thread(unsigned self) {
    struct hand *h = &hands[self];
    for (const char *at = scripts[self]; *at != 0; at++) {
        if (*at == 'a') {
            hand_take(h, self);
        } else if (*at == 'd') {
            hand_free(h, self);
        } else if (weave_fork()) {
            is_child = true;
            forked_by = self;
            percpu_area_fork_child();
        } else {
            return;
        }
        weave_forget(all_it_knows(h, (unsigned)(at - scripts[self])));
    }
}

/* How many of the first AREAS_NR nobody has. */
static unsigned free_count(void) {
    for (unsigned nr = 0;; nr++) {
        u64 *word = area_word(quarry_alloc_percpu(UNIT, UNIT, QUARRY_GFP_KERNEL));
        if ((char *)word >= copies + AREAS_NR * UNIT)
            return nr;
        weave_must(*word == 0);
        *word = WEAVE_THREADS_MAX + 1;
    }
}

/* Nothing waits for another call: all of them are found at once. */
static void all_check(void) {
    char *all = (char *)area_word(quarry_alloc_percpu((size_t)AREAS_NR * UNIT, UNIT, QUARRY_GFP_KERNEL));
    weave_must(all == copies);
    quarry_free_percpu((void *)((uintptr_t)all | TAG)); // NOLINT(performance-no-int-to-ptr)
}

static void finish(void) {
    unsigned held = 0, others = 0;
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        bool other = is_child && t != forked_by;
        if (other && *scripts[t] != 0)
            others += hands[t].nr + 1;
        for (unsigned i = 0; !other && i < hands[t].nr; i++, held++)
            weave_must(*area_word(hands[t].area[i]) == t + 1);
    }
    if (held == 0 && !is_child)
        all_check();
    unsigned there = held + free_count();
    weave_must(there <= AREAS_NR && there + others >= AREAS_NR);
}

/* --- models --- */

/* held: by each of the first two. */
static void setup(unsigned held, const char *const texts[WEAVE_THREADS_MAX]) {
    copies = aligned_alloc(PERCPU_COPY_BYTES, PERCPU_COPY_BYTES);
    if (copies == NULL)
        abort();
    memset(copies, 0, PERCPU_COPY_BYTES);
    weave_range(copies, 2 * AREAS_NR * UNIT); /* what a child takes more */
    weave_count(&chunks_nr);
    quarry_free_percpu(quarry_alloc_percpu(UNIT, UNIT, QUARRY_GFP_KERNEL));
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        scripts[t] = texts[t];
        for (unsigned i = 0; t < 2 && i < held; i++)
            hand_take(&hands[t], t);
        if (*texts[t] == 'f')
            weave_forks(1);
    }
}

#define SETUP(name, held, ...)                                                                                         \
    static void setup_##name(void) { setup(held, (const char *const[WEAVE_THREADS_MAX]){__VA_ARGS__}); }
SETUP(free, 1, "d", "d", "")
SETUP(take, 1, "da", "ad", "")
SETUP(twice, 1, "add", "d", "")
SETUP(fork_free, 1, "fda", "d", "")
SETUP(fork_take, 1, "fda", "add", "")
/* Who frees beside one that frees leaves it to that one. */
SETUP(fork_left, 2, "dd", "dd", "fa")

static const struct weave_model models[] = {
    {"two threads free", 2, setup_free, thread, finish, WEAVE_BOTH},
    {"two threads take and free", 2, setup_take, thread, finish, WEAVE_BOTH},
    {"one takes and frees, one frees", 2, setup_twice, thread, finish, WEAVE_BOTH},
    {"a fork beside a free", 2, setup_fork_free, thread, finish, WEAVE_BOTH},
    {"a fork beside who takes and frees", 2, setup_fork_take, thread, finish, WEAVE_BOTH},
    {"a fork beside who frees for another", 3, setup_fork_left, thread, finish, WEAVE_SC},
};

static const struct weave_excuse excuses[] = {
    {"deferred_free_locked", "&taken", WEAVE_LATE, "it is done before anything of the area changes"},
    {"deferred_mend", "&deferred", WEAVE_LATE, "the child has one thread"},
    {"kmem_accounts_are_on", "&kmem_accounts_on", WEAVE_NO_ACQUIRE, "there are no accounts here"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"area_free", "if (sys_lock_try", WEAVE_NEVER},
    {"deferred_free_locked", "if (taken_get", WEAVE_ALWAYS},
    {"deferred_free_locked", "if (taken_get", WEAVE_NEVER},
    {"deferred_mend", "if (base == first", WEAVE_NEVER},
};

WEAVE_MAIN("per-CPU areas")
