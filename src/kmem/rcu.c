/* SPDX-License-Identifier: MIT */
/*
 * Objects that wait for a grace period: in a batch for each CPU (rcu_batch.h), or where that cannot be on a list for
 * each, linked through the objects; and a thread that takes all, waits for one grace period, and frees, or leaves the
 * freeing to those who hand over more. Owns the lists, the thread and which flavour is in use; grace periods are the
 * flavour's. Calls of functions are on lists.
 *
 * Where there are restartable sequences a push is one, without lock prefix, so the pusher does not wait for a cache
 * line of the object or of another CPU. To take the batches and lists of other CPUs a round turns all pushers to a
 * second set of them and passes a barrier: then nobody touches the first. A round that full batches asked for takes
 * these alone, which are in nobody's place any more: a barrier interrupts every CPU, which costs more than all else.
 *
 * States      An object is in one batch, on one list, in one chain taken by the round, or freed.
 * Invariants  [G1] Chains are touched under round_lock alone. A round frees what it took before its grace period began.
 *             [G2] A chain's head moves on before its objects are freed: a child of fork that finds a chain goes on
 *                  with it, and at most loses the run of objects that was just being freed.
 *             [G3] Sections read the set inside. After the set was turned and a membarrier(RSEQ) passed no section that
 *                  read the old one can commit. Lists that are pushed to by compare-and-swap (of threads without a CPU
 *                  number; all without rseq or membarrier) are in the first set alone.
 *             [G4] What a round moves is at its new place before it leaves the old one, so it is in no moment nowhere:
 *                  a fork between leaves it at both, and the child takes it from the old one. A fork makes many such
 *                  moments, for a thread waits at its next store to a page until the fork is over.
 * Ordering    A push releases the object and takes all before into account: whoever took the list by acquire and then
 *             waits for a grace period waits for every reader that can have seen an object of it.          [rcu.list]
 *             Pusher and thread: either the thread sees the push before it sleeps, or the pusher sees that it is about
 *             to.                                                                                          [rcu.idle]
 * Progress    A push is a section, or a compare-and-swap on a list few others push to; it never waits. Who fills a
 *             batch frees the objects of up to two whose grace period is over, so what waits is what was handed over
 *             during some grace periods. What is in places and on lists waits for GATHER_MS besides, up to twice that
 *             where batches come fast. A barrier runs a round of its own, after the one that is under way; the thread
 *             begins none before it.
 * Reclamation Take-all: what is on a list leaves it by the round alone, which frees it later, so there is no ABA.
 */
#include "kmem/rcu.h"

#include "kmem/percpu_ops.h"
#include "kmem/presence.h"
#include "kmem/rcu_batch.h"
#include "sys/sys.h"
#include "sys/thread.h"

#include <string.h>

enum {
    GATHER_MS = 2,                                     /* between rounds: more objects share a grace period */
    GATHER_BATCHES = RCU_GATHER_OBJS / RCU_BATCH_OBJS, /* but not while so many wait: they come faster */
    PUSH_TRIES = 8,                                    /* to find a batch of its own in this CPU's place */
    ASKED_ALWAYS = 64,  /* of each thread: objects handed over that ask whether rcu's may be started */
    ASKED_PERIOD = 256, /* of those behind them, one of so many */
    HEADLESS = 4095,    /* in the place of an offset, and none a head can have: that of a struct headless */
};

/* In the place of a head inside an object. */
struct headless {
    struct quarry_rcu_head head;
    const void *object;
};

struct list {
    _Alignas(CACHE_LINE) _Atomic(struct quarry_rcu_head *) first;
    struct quarry_rcu_head *chain; /* taken by the round */
    u64 place;                     /* in the current batch behind the last object; 0: there is none */
};
_Static_assert(sizeof(struct list) == (size_t)1 << PERCPU_LOCK_SHIFT, "sections find it by the CPU's number");
_Static_assert(offsetof(struct list, first) == 0, "where sections push");
#define PLACE_AT offsetof(struct list, place)

/* What each push reads, and apart from it what rounds write. */
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
static struct {
    const struct quarry_rcu_flavour *_Atomic flavour;
    struct list *lists;               /* from start on: two sets, each one for each copy of per-CPU data */
    u64 set;                          /* address of the set that sections push to; changed under round_lock */
    _Atomic(bool) sections;           /* pushes are sections; not before the lists are there */
    _Alignas(CACHE_LINE) bool forked; /* both sets may have objects */
    struct sys_lock start_lock, round_lock;
    _Atomic(bool) thread_runs;
    presence barriers;    /* that wait for round_lock, or have it: the thread stands back */
    _Atomic(u32) idle;    /* 1: the thread sleeps, or is about to */
    _Atomic(u32) gathers; /* 1: it lets objects gather */
    u64 all_ms;           /* when a round last took all there was; under round_lock */
    u32 end_key;          /* under start_lock, as the next */
    bool have_end_key;
} rcu;

/* --- start --- */

COLD static _Noreturn void rcu_fatal(const char *line) {
    quarry_core1_warn(line);
    sys_abort();
}

/* Who has come to the flavour knows. */
static ALWAYS_INLINE bool by_sections(void) { return atomic_load_explicit(&rcu.sections, memory_order_relaxed); }

static u32 lists_nr(void) { return 2 * percpu_copies_nr(); }

/* [G4] */
static void places_leave(struct list *list, u32 nr) {
    for (struct list *end = list + nr; list < end; list++) {
        if (list->place != 0)
            (void)rcu_batch_hand_over(list->place);
        kmem_in_this_order();
        list->place = 0;
    }
}

/* [G4] In the child of a fork that found somebody in a round: what a list still leads into was taken. */
static void list_mend(struct list *list) {
    struct quarry_rcu_head *head = atomic_load_explicit(&list->first, memory_order_relaxed);
    if (list->place != 0 && rcu_batch_is_handed_over(list->place))
        list->place = 0;
    if (list->chain == NULL)
        return;
    if (head == list->chain) {
        atomic_store_explicit(&list->first, NULL, memory_order_relaxed);
        return;
    }
    while (head != NULL && head->next != list->chain)
        head = head->next;
    if (head != NULL)
        head->next = NULL;
}

/* Current batches of the parent's are handed over: who hands over to none is who starts the thread. */
static void lists_fork_child(void) {
    for (u32 i = 0; i < lists_nr(); i++)
        list_mend(&rcu.lists[i]);
    rcu_batch_take_mend();
    places_leave(rcu.lists, lists_nr());
}

static __thread u32 asked_nr; /* objects this one handed over that found no thread */

/* The thread, and whoever was in a round, is not in the child; but for who forked on top of its own. */
static void fork_child(void) {
    if (!sys_lock_is_mine(&rcu.start_lock))
        sys_lock_reset(&rcu.start_lock);
    rcu_batch_fork_child();
    if (!sys_lock_is_mine(&rcu.round_lock)) {
        lists_fork_child();
        sys_lock_reset(&rcu.round_lock);
    }
    rcu.forked = true;
    atomic_store_explicit(&rcu.thread_runs, false, memory_order_relaxed);
    atomic_store_explicit(&rcu.idle, 0, memory_order_relaxed);
    presence_fork_child(&rcu.barriers);
    asked_nr = 0;
}

static struct list *lists_make(void) {
    size_t bytes = percpu_start() ? lists_nr() * sizeof(struct list) : 0;
    struct list *lists = bytes == 0 ? NULL : quarry_core1_alloc_aligned(CACHE_LINE, bytes);
    if (lists == NULL)
        rcu_fatal("quarry: no memory for RCU's lists; the program ends\n");
    return memset(lists, 0, bytes);
}

/* The flavour becomes the one in use, unless there is one; returns that. */
static const struct quarry_rcu_flavour *rcu_begin(const struct quarry_rcu_flavour *flavour) {
    bool locked = sys_lock_acquire(&rcu.start_lock);
    const struct quarry_rcu_flavour *used = atomic_load_explicit(&rcu.flavour, memory_order_relaxed);
    if (used == NULL && flavour != NULL) {
        rcu.lists = lists_make();
        rcu.set = (u64)rcu.lists;
        sys_atfork(NULL, NULL, fork_child);
        bool sections = percpu.rseq && sys_membarrier_register() == SYS_BARRIER_READY;
        /* order: release: the lists are there.                                                pairs: [rcu.sections] */
        atomic_store_explicit(&rcu.sections, sections, memory_order_release);
        used = flavour;
        /* order: release: the lists are there.                                                 pairs: [rcu.flavour] */
        atomic_store_explicit(&rcu.flavour, flavour, memory_order_release);
        atomic_store_explicit(&kmem_rcu_barrier, quarry_kvfree_rcu_barrier, memory_order_relaxed);
    }
    if (locked)
        sys_lock_release(&rcu.start_lock);
    return used;
}

COLD static const struct quarry_rcu_flavour *rcu_start(void) {
    const struct quarry_rcu_flavour *used = rcu_begin(kmem_rcu_default);
    if (used == NULL)
        rcu_fatal("quarry: built without liburcu, and quarry_rcu_use() was not called; the program ends\n");
    return used;
}

static ALWAYS_INLINE const struct quarry_rcu_flavour *flavour_get(void) {
    /* order: acquire                                                                           pairs: [rcu.flavour] */
    const struct quarry_rcu_flavour *flavour = atomic_load_explicit(&rcu.flavour, memory_order_acquire);
    return LIKELY(flavour != NULL) ? flavour : rcu_start();
}

int quarry_rcu_use(const struct quarry_rcu_flavour *flavour) {
    if (flavour == NULL || flavour->synchronize == NULL)
        return -QUARRY_RCU_EINVAL;
    return rcu_begin(flavour) == flavour ? 0 : -QUARRY_RCU_EBUSY;
}

/* --- readers --- */

static __thread bool known;

static void thread_ends(void *unused) {
    (void)unused;
    const struct quarry_rcu_flavour *flavour = flavour_get();
    if (known && flavour->thread_unregister != NULL)
        flavour->thread_unregister();
    known = false;
}

/* Once for each thread. Should it not be told of the thread's end, the flavour would look at its memory for ever. */
COLD static void thread_make_known(const struct quarry_rcu_flavour *flavour) {
    if (flavour->thread_unregister != NULL) {
        bool locked = sys_lock_acquire(&rcu.start_lock);
        bool have_key = rcu.have_end_key || sys_thread_end_prepare(&rcu.end_key, thread_ends);
        rcu.have_end_key = have_key;
        if (locked)
            sys_lock_release(&rcu.start_lock);
        if (!have_key || !sys_thread_end_call(rcu.end_key))
            rcu_fatal("quarry: no thread key or memory to make a thread known to RCU; the program ends\n");
    }
    known = true;
    flavour->thread_register();
}

void quarry_rcu_read_lock(void) {
    const struct quarry_rcu_flavour *flavour = flavour_get();
    if (UNLIKELY(!known) && flavour->thread_register != NULL)
        thread_make_known(flavour);
    if (flavour->read_lock != NULL)
        flavour->read_lock();
}

void quarry_rcu_read_unlock(void) {
    const struct quarry_rcu_flavour *flavour = flavour_get();
    if (flavour->read_unlock != NULL)
        flavour->read_unlock();
}

void quarry_synchronize_rcu(void) { flavour_get()->synchronize(); }

/* --- rounds --- */

/* Of a head that is no object's own. */
static void head_run(struct quarry_rcu_head *head) {
    if ((uintptr_t)head->func != HEADLESS) {
        head->func(head);
        return;
    }
    quarry_kvfree(((struct headless *)(void *)head)->object);
    quarry_kfree(head);
}

/* Takes heads off the chain that stand for their objects, up to nr. [G2] */
static size_t chain_take(struct list *list, size_t nr, void **objs) {
    size_t taken = 0;
    for (struct quarry_rcu_head *head; taken < nr && (head = list->chain) != NULL; taken++) {
        if ((uintptr_t)head->func >= HEADLESS)
            break;
        objs[taken] = (char *)head - (uintptr_t)head->func;
        list->chain = head->next;
    }
    return taken;
}

static size_t chain_free(struct list *list) {
    void *objs[RCU_RUN_NR];
    size_t nr = 0;
    while (list->chain != NULL) {
        size_t run = chain_take(list, RCU_RUN_NR, objs);
        kmem_free_each(run, objs, quarry_kvfree);
        nr += run;
        struct quarry_rcu_head *head = list->chain;
        if (run < RCU_RUN_NR && head != NULL) {
            list->chain = head->next;
            head_run(head);
            nr++;
        }
    }
    return nr;
}

/* Turns the pushers to the other set; returns the first list of the one that is now still, of which there are nr. [G3]
 */
static struct list *set_turn(u32 *ret_nr) {
    struct list *first = rcu.lists, *second = first + percpu_copies_nr();
    bool from_first = rcu.set == (u64)first;
    *ret_nr = 0;
    if (!by_sections())
        return first;
    __atomic_store_n(&rcu.set, (u64)(from_first ? second : first), __ATOMIC_RELAXED);
    if (sys_membarrier_rseq() == 0)
        *ret_nr = percpu.cpus_nr;
    return from_first ? first : second;
}

/* [G4] */
static void list_take(struct list *list) {
    struct quarry_rcu_head *first = atomic_load_explicit(&list->first, memory_order_relaxed);
    do {
        list->chain = first;
        kmem_in_this_order();
        /* order: acquire: the objects, and what made readers unable to find them.                  pairs: [rcu.list] */
    } while (first != NULL && !atomic_compare_exchange_weak_explicit(&list->first, &first, NULL, memory_order_acquire,
                                                                     memory_order_relaxed));
}

/* Lists that are pushed to by compare-and-swap. A chain that is there was left by the parent of a fork. */
static bool lists_take_swapped(void) {
    bool any = false;
    for (u32 i = by_sections() ? percpu.cpus_nr : 0; i < percpu_copies_nr(); i++) {
        struct list *list = &rcu.lists[i];
        if (list->chain == NULL)
            list_take(list);
        any = any || list->chain != NULL;
    }
    return any;
}

static bool lists_take_still(void) {
    u32 nr;
    bool any = false;
    struct list *set = set_turn(&nr);
    places_leave(set, nr);
    for (struct list *list = set, *end = list + nr; list < end; list++) {
        if (list->chain == NULL) {
            list->chain = atomic_load_explicit(&list->first, memory_order_relaxed);
            kmem_in_this_order();
            atomic_store_explicit(&list->first, NULL, memory_order_relaxed);
        }
        any = any || list->chain != NULL;
    }
    return any;
}

/* What a round takes. */
enum taking {
    TAKEN_FULL, /* batches that are handed over */
    TAKEN_ALL,  /* and current ones, and lists */
};

static size_t lists_free(void) {
    size_t nr = 0;
    for (u32 i = 0; i < lists_nr(); i++)
        nr += chain_free(&rcu.lists[i]);
    return nr;
}

/* [G1] Objects freed or called, and those of batches, which are ready. */
static size_t round_locked(const struct quarry_rcu_flavour *flavour, enum taking what) {
    bool swapped = what == TAKEN_ALL && lists_take_swapped(), still = what == TAKEN_ALL && lists_take_still();
    bool batches = rcu_batch_take();
    if (!swapped && !still && !batches)
        return 0;
    flavour->synchronize();
    return (swapped || still ? lists_free() : 0) + rcu_batch_ready();
}

/* Who frees the batches whose grace period is over. */
enum freeing {
    FREED_BY_ROUND,
    FREED_BY_PUSHERS, /* they hand over more, and each takes some, into the magazines it allocates from */
};

/* Who had no memory for a batch has its objects on the lists. */
static enum taking round_takes(enum freeing by, u64 now_ms) {
    bool all = by == FREED_BY_ROUND || rcu.forked || rcu_batch_is_lacking() || now_ms - rcu.all_ms >= GATHER_MS;
    return all ? TAKEN_ALL : TAKEN_FULL;
}

/* What a fork left takes up to three: chains, one set, the other. Whether the next one follows at once: what comes fast
 * besides full batches makes nobody ask for it. */
static bool round_run(const struct quarry_rcu_flavour *flavour, enum freeing by) {
    if (!sys_lock_acquire(&rcu.round_lock))
        return false; /* from a callback: it is the round */
    u64 now_ms = sys_clock_ms();
    enum taking what = round_takes(by, now_ms);
    size_t nr = 0;
    for (int rounds = rcu.forked ? 3 : 1; rounds > 0; rounds--)
        nr += round_locked(flavour, what);
    if (what == TAKEN_ALL)
        rcu.all_ms = now_ms;
    if (by == FREED_BY_ROUND)
        rcu_batch_free_ready();
    rcu.forked = false;
    rcu_batch_stock();
    sys_lock_release(&rcu.round_lock);
    return by == FREED_BY_ROUND && nr >= RCU_GATHER_OBJS;
}

static bool lists_empty(void) {
    for (u32 i = 0; i < lists_nr(); i++) {
        const struct list *list = &rcu.lists[i];
        if (atomic_load_explicit(&list->first, memory_order_relaxed) != NULL || list->chain != NULL ||
            __atomic_load_n(&list->place, __ATOMIC_RELAXED) != 0)
            return false;
    }
    return rcu_batch_none();
}

/* As much memory for batches as is wanted, or none. */
static void stock_by(void (*stock)(void)) {
    if (sys_lock_acquire(&rcu.round_lock)) {
        stock();
        sys_lock_release(&rcu.round_lock);
    }
}

static void thread_sleep(void) {
    stock_by(rcu_batch_trim);
    atomic_store_explicit(&rcu.idle, 1, memory_order_relaxed);
    /* order: seq_cst fence: idle is set before the lists are looked at.                           pairs: [rcu.idle] */
    atomic_thread_fence(memory_order_seq_cst);
    while (lists_empty() && atomic_load_explicit(&rcu.idle, memory_order_relaxed) != 0)
        sys_word_wait(&rcu.idle, 1);
    atomic_store_explicit(&rcu.idle, 0, memory_order_relaxed);
}

/* Lets objects gather. Who frees what waited long enough then: a gathering that was cut short had pushers who fill
 * batches, or had no memory for one. */
static enum freeing thread_gather(void) {
    stock_by(rcu_batch_stock);
    atomic_store_explicit(&rcu.gathers, 1, memory_order_relaxed);
    sys_wait(&rcu.gathers, 1, GATHER_MS);
    return atomic_exchange_explicit(&rcu.gathers, 0, memory_order_relaxed) == 0 ? FREED_BY_PUSHERS : FREED_BY_ROUND;
}

static bool barrier_waits(void) { return presence_any(&rcu.barriers, memory_order_relaxed); }

static void thread_main(void) {
    const struct quarry_rcu_flavour *flavour = flavour_get();
    quarry_core1_thread_serve();
    for (;;) {
        enum freeing by;
        thread_sleep();
        do {
            do
                by = thread_gather();
            while (barrier_waits());
            while (round_run(flavour, by) && !barrier_waits())
                continue;
        } while (by == FREED_BY_PUSHERS);
    }
}

/* Nothing for a signal handler. */
COLD static void thread_start(void) {
    if (atomic_exchange_explicit(&rcu.thread_runs, true, memory_order_relaxed))
        return;
    if (sys_thread_start(thread_main) != 0)
        atomic_store_explicit(&rcu.thread_runs, false, memory_order_relaxed);
}

static bool thread_runs(void) { return LIKELY(atomic_load_explicit(&rcu.thread_runs, memory_order_relaxed)); }

bool kmem_rcu_thread_runs(void) { return thread_runs(); }

bool kmem_rcu_prepare(void) {
    bool ready = rcu_begin(kmem_rcu_default) != NULL;
    if (ready && !thread_runs())
        thread_start();
    return ready;
}

/* --- freeing --- */

/* Returns what was first on the list before. */
static struct quarry_rcu_head *list_push_swapped(struct quarry_rcu_head *head) {
    struct list *list = &rcu.lists[by_sections() ? percpu.cpus_nr : percpu_number_racy()];
    struct quarry_rcu_head *first = atomic_load_explicit(&list->first, memory_order_relaxed);
    do {
        head->next = first;
        /* order: release: the object, and that readers cannot find it any more.                   pairs: [rcu.list] */
    } while (
        !atomic_compare_exchange_weak_explicit(&list->first, &first, head, memory_order_release, memory_order_relaxed));
    return first;
}

/* In what may be a signal handler the start is left to a later call. */
static void thread_ask(void) {
    if (!thread_runs() && !sys_handler_maybe())
        thread_start();
}

/* Whether the thread runs. Of each thread the first objects ask, and then some: one that always looks like a handler
 * would pay for a system call each time. */
static bool thread_is_there(void) {
    if (!thread_runs() && (asked_nr < ASKED_ALWAYS || asked_nr % ASKED_PERIOD == 0))
        thread_ask();
    asked_nr += !thread_runs();
    return thread_runs();
}

static void thread_wake(_Atomic(u32) *word) {
    if (atomic_load_explicit(word, memory_order_relaxed) != 0 &&
        atomic_exchange_explicit(word, 0, memory_order_relaxed) != 0)
        sys_word_wake(word);
}

/* Something was pushed where the thread may have found nothing. */
static void thread_tell(void) {
    /* order: seq_cst fence: the push comes before the look at idle.                               pairs: [rcu.idle] */
    atomic_thread_fence(memory_order_seq_cst);
    thread_wake(&rcu.idle);
}

static void list_push(struct quarry_rcu_head *head) {
    void *first;
    (void)flavour_get();
    if (UNLIKELY(!by_sections()) || UNLIKELY(!percpu_push(&rcu.set, head, &first)))
        first = list_push_swapped(head);
    if (first == NULL) /* else whoever made the list begin has told it */
        thread_tell();
}

/* This CPU has no batch, or a full one. False: the thread has moved on to a CPU that has one with room. */
static bool batch_begin(struct rcu_batch *b, const void *p) {
    u64 full;
    if (!percpu_put_place(&rcu.set, PLACE_AT, RCU_BATCH_BYTES, rcu_batch_begin(b, p), &full))
        return false;
    if (full != 0 && rcu_batch_hand_over(full) >= GATHER_BATCHES)
        thread_wake(&rcu.gathers);
    return true;
}

/* Inside. False: no memory for a batch, or no CPU number. */
static bool batch_push_inside(const void *p) {
    struct rcu_batch *b = rcu_batch_get();
    bool begun = false, pushed = false;
    for (int i = 0; b != NULL && !begun && !pushed && i < PUSH_TRIES; i++) {
        begun = batch_begin(b, p);
        pushed = !begun && percpu_put_word(&rcu.set, PLACE_AT, RCU_BATCH_BYTES, p);
    }
    if (b != NULL && !begun)
        rcu_batch_put(b);
    if (begun)
        thread_tell();
    return begun || pushed;
}

/* False: not by the batch. Where the thread does not run, so that any push tries to start it. */
static NOINLINE bool batch_push_slow(const void *p) {
    if (!thread_is_there() || !by_sections())
        return false;
    if (rcu_batch_is_lacking()) {
        thread_wake(&rcu.gathers);
        return false;
    }
    u32 generation;
    if (!rcu_batch_enter(&generation))
        return false;
    bool pushed = batch_push_inside(p);
    rcu_batch_leave(generation);
    return pushed;
}

/* False: there is no batch with room. Nothing else is looked at, for this is what each object costs. */
static ALWAYS_INLINE bool batch_put(const void *p) {
    /* order: acquire                                                                          pairs: [rcu.sections] */
    return LIKELY(atomic_load_explicit(&rcu.sections, memory_order_acquire)) &&
           LIKELY(percpu_put_word(&rcu.set, PLACE_AT, RCU_BATCH_BYTES, p));
}

static NOINLINE void head_push_slow(struct quarry_rcu_head *head, size_t offset) {
    (void)flavour_get();
    if (batch_push_slow((const char *)head - offset))
        return;
    head->func = (void (*)(struct quarry_rcu_head *))offset; // NOLINT(performance-no-int-to-ptr)
    list_push(head);
}

/* Ends in a jump, so that nothing is saved across a call. */
FAST_ENTRY void quarry_kvfree_rcu_head(struct quarry_rcu_head *head, size_t offset) {
    if (UNLIKELY(!batch_put((const char *)head - offset)))
        head_push_slow(head, offset);
}

void quarry_call_rcu(struct quarry_rcu_head *head, void (*func)(struct quarry_rcu_head *head)) {
    head->func = func;
    list_push(head);
    thread_ask(); /* each time: no other call may follow that would */
}

void quarry_kvfree_rcu_mightsleep(const void *p) {
    if (QUARRY_ZERO_OR_NULL_PTR(p))
        return;
    (void)flavour_get();
    if (!thread_runs())
        thread_start(); /* no signal handler calls what may wait */
    if (batch_put(p) || batch_push_slow(p))
        return;
    struct headless *h = quarry_kmalloc(sizeof(*h), QUARRY_GFP_KERNEL | QUARRY___GFP_NORETRY | QUARRY___GFP_NOWARN);
    if (h == NULL) {
        quarry_synchronize_rcu();
        quarry_kvfree(p);
        return;
    }
    h->object = p;
    h->head.func = (void (*)(struct quarry_rcu_head *))HEADLESS; // NOLINT(performance-no-int-to-ptr)
    list_push(&h->head);
}

void quarry_kvfree_rcu_barrier(void) {
    const struct quarry_rcu_flavour *flavour = flavour_get();
    if (flavour->thread_offline != NULL)
        flavour->thread_offline();
    u32 waits = presence_enter(&rcu.barriers), shut = rcu_batch_shut();
    (void)round_run(flavour, FREED_BY_ROUND);
    stock_by(rcu_batch_trim);
    rcu_batch_open(shut);
    presence_leave(&rcu.barriers, waits);
    if (flavour->thread_online != NULL)
        flavour->thread_online();
}
