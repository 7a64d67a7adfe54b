/* SPDX-License-Identifier: MIT */
/*
 * Objects that wait for a grace period, explored (weave.h): the lists and rounds of src/kmem/rcu.c, and the batches of
 * src/kmem/rcu_batch.c, two objects each. Threads hand objects over, by sections and without, run barriers, are the
 * thread that frees, and fork. An object is freed once, after a grace period that began when it was already handed
 * over; whoever frees it writes to it. When a barrier returns what this thread handed over before is freed, and at the
 * end all is that nobody forked away.
 *
 * The child of a fork has each object once, and loses none but the run that somebody was freeing, after its grace
 * period ([G2], [R4]), and what a pusher had in his hands ([R1]).
 */
#include "kmem/rcu.h"

#include "kmem/percpu_ops.h"
#include "kmem/rcu_batch.h"
#include "sys/sys.h"
#include "sys/thread.h"
#include "weave.h"

#include <setjmp.h>

enum { OBJS_EACH = 4, OBJS_NR = WEAVE_THREADS_MAX * OBJS_EACH, BATCHES_NR = 12, LISTS_NR = 6 };

struct percpu percpu;
void (*_Atomic kmem_rcu_barrier)(void);

static struct object {
    struct quarry_rcu_head head;
    u64 freed;
} objects[OBJS_NR];
static unsigned handed_nr[WEAVE_THREADS_MAX]; /* by each thread */

/* What is known of objects, by bit. Nobody decides by them. */
static _Atomic(u64) handing, handed; /* somebody hands it over, or has */
static _Atomic(u64) waited;          /* a grace period has passed since */
static _Atomic(u64) freed;
static _Atomic(u64) readers;         /* there are none */
static _Atomic(unsigned) handing_nr; /* threads that are about it */

/* What a thread does: k hands an object over, c one with a function, b is a barrier, T the thread that frees, until all
 * others are at their end, f a fork, whose child does the rest of the text and the parent nothing. */
static const char *scripts[WEAVE_THREADS_MAX];
static bool has_cpu[WEAVE_THREADS_MAX];
static unsigned done_nr[WEAVE_THREADS_MAX]; /* steps of each text, and grace periods waited for in the present one */
static _Atomic(bool) is_child;
static _Atomic(unsigned) running; /* threads but T */
static void (*child_handler)(void), (*thread_body)(void);
static jmp_buf thread_end;

static u64 get(_Atomic(u64) *word) { return atomic_load_explicit(word, memory_order_relaxed); }

/* --- memory --- */

static _Alignas(RCU_BATCH_BYTES) struct rcu_batch batches[BATCHES_NR];
static _Alignas(CACHE_LINE) char lists[LISTS_NR << PERCPU_LOCK_SHIFT];
static _Atomic(unsigned) batches_made;
static _Atomic(u64) batches_gone;

static void *batch_make(void) {
    unsigned i = atomic_fetch_add_explicit(&batches_made, 1, memory_order_relaxed);
    weave_must(i < BATCHES_NR);
    return &batches[i];
}
static void batch_free(const struct rcu_batch *b) {
    u64 bit = (u64)1 << (b - batches);
    weave_must(b >= batches && b < batches + BATCHES_NR);
    weave_must((atomic_fetch_or_explicit(&batches_gone, bit, memory_order_relaxed) & bit) == 0);
}

void *quarry_core1_alloc_atomic(size_t size, bool reserve) {
    weave_must(size == RCU_BATCH_BYTES && !reserve);
    return batch_make();
}
void *quarry_kmalloc(size_t size, quarry_gfp_t flags) {
    (void)flags;
    weave_must(size == RCU_BATCH_BYTES);
    return batch_make();
}
void quarry_core1_free(void *p) { batch_free(p); }
void *quarry_core1_alloc_aligned(size_t align, size_t size) {
    weave_must(align == CACHE_LINE && size <= sizeof(lists));
    return lists;
}

static void object_freed(struct object *o) {
    u64 bit = (u64)1 << (o - objects);
    weave_must(o >= objects && o < objects + OBJS_NR);
    weave_must((get(&waited) & bit) != 0);
    weave_must((atomic_fetch_or_explicit(&freed, bit, memory_order_relaxed) & bit) == 0);
    o->freed++;
}
size_t quarry_core1_free_bulk(size_t nr, void *const *objs) {
    for (size_t i = 0; i < nr; i++)
        object_freed(objs[i]);
    return nr;
}
static void object_call(struct quarry_rcu_head *head) { object_freed((struct object *)(void *)head); }
void quarry_kvfree(const void *p) { (void)p, weave_broken("the heap frees all of them"); }
void quarry_kvfree_atomic(const void *p) { quarry_kvfree(p); }
void quarry_kfree(const void *p) { quarry_kvfree(p); }

/* --- the system --- */

int section_cpu(void) { return has_cpu[weave_self()] ? 0 : -1; }
unsigned percpu_number_racy(void) { return has_cpu[weave_self()] ? 0 : percpu.cpus_nr; }
bool percpu_start(void) { return true; }
enum sys_barrier sys_membarrier_register(void) { return SYS_BARRIER_READY; }
int sys_membarrier_rseq(void) {
    weave_barrier();
    return 0;
}
void sys_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
    weave_must(prepare == NULL && parent == NULL);
    child_handler = child;
}
int sys_thread_start(void (*body)(void)) {
    thread_body = body;
    return 0;
}
bool sys_handler_maybe(void) { return false; }
u64 sys_clock_ms(void) { return 0; } /* so that full batches alone are taken where pushers ask */
void sys_sleep_ms(unsigned ms) {
    (void)ms;
    weave_wait();
}
/* The end of the wait by the clock. */
void sys_wait(_Atomic(u32) *word, u32 expected, unsigned ms) { (void)word, (void)expected, (void)ms; }
void sys_wake(_Atomic(u32) *word, unsigned nr) { (void)word, (void)nr; }
void sys_word_wait(_Atomic(u32) *word, u32 expected) {
    for (;;) {
        bool all = atomic_load_explicit(&running, memory_order_acquire) == 0;
        if (atomic_load_explicit(word, memory_order_relaxed) != expected)
            return;
        if (all)
            longjmp(thread_end, 1);
        weave_wait();
    }
}
void sys_word_wake(_Atomic(u32) *word) { (void)word; }
_Noreturn void sys_abort(void) { weave_broken("it gives up"); }
void quarry_core1_warn(const char *line) { (void)line; }
void quarry_core1_thread_serve(void) {}
bool sys_thread_end_prepare(u32 *ret_key, void (*fn)(void *)) {
    (void)ret_key, (void)fn;
    return false;
}
bool sys_thread_end_call(u32 key) {
    (void)key;
    return false;
}

/* Readers are not explored: it waits for all, whoever they are. Who is in a barrier keeps nothing in mind meanwhile but
 * that it takes. */
static void grace_period(void) {
    unsigned self = weave_self();
    if (*scripts[self] != 'T')
        weave_forget(++done_nr[self]);
    u64 before = get(&handing);
    (void)atomic_load_explicit(&readers, memory_order_relaxed); /* a step */
    atomic_fetch_or_explicit(&waited, before, memory_order_relaxed);
}
static const struct quarry_rcu_flavour flavour = {.synchronize = grace_period};
const struct quarry_rcu_flavour *const kmem_rcu_default = &flavour;

/* --- threads --- */

static void hand_over(unsigned self, bool call) {
    unsigned i = self * OBJS_EACH + handed_nr[self]++;
    struct object *o = &objects[i];
    o->freed = 0;
    atomic_fetch_add_explicit(&handing_nr, 1, memory_order_relaxed);
    atomic_fetch_or_explicit(&handing, (u64)1 << i, memory_order_relaxed);
    if (call)
        quarry_call_rcu(&o->head, object_call);
    else
        quarry_kvfree_rcu_head(&o->head, 0);
    atomic_fetch_or_explicit(&handed, (u64)1 << i, memory_order_relaxed);
    atomic_fetch_sub_explicit(&handing_nr, 1, memory_order_relaxed);
}

/* Of this thread. */
static u64 objects_handed(unsigned self) { return (((u64)1 << handed_nr[self]) - 1) << (self * OBJS_EACH); }

static void barrier(unsigned self) {
    quarry_kvfree_rcu_barrier();
    weave_must((objects_handed(self) & ~get(&freed)) == 0);
}

static void thread(unsigned self) {
    bool is_thread = *scripts[self] == 'T';
    for (const char *at = scripts[self]; *at != 0; at++) {
        done_nr[self] = (unsigned)(at - scripts[self]) * 8;
        weave_forget(done_nr[self]);
        if (*at == 'T') {
            if (setjmp(thread_end) == 0)
                thread_body();
        } else if (*at == 'b') {
            barrier(self);
        } else if (*at != 'f') {
            hand_over(self, *at == 'c');
        } else if (weave_fork()) {
            atomic_store_explicit(&is_child, true, memory_order_relaxed);
            child_handler();
        } else {
            break;
        }
    }
    if (!is_thread)
        atomic_fetch_sub_explicit(&running, 1, memory_order_release);
}

static void finish(void) {
    if (child_handler == NULL)
        return;
    quarry_kvfree_rcu_barrier();
    u64 lost = get(&handed) & ~get(&freed);
    if (!atomic_load_explicit(&is_child, memory_order_relaxed))
        weave_must(lost == 0);
    else if (atomic_load_explicit(&handing_nr, memory_order_relaxed) == 0)
        weave_must((lost & ~get(&waited)) == 0 && __builtin_popcountll(lost) <= RCU_RUN_NR);
    else
        weave_must(__builtin_popcountll(lost) <= RCU_RUN_NR + RCU_BATCH_OBJS);
}

/* --- models --- */

static void setup(bool sections, const char *first, const char *second, const char *third) {
    const char *const texts[WEAVE_THREADS_MAX] = {first, second, third};
    percpu.rseq = sections;
    percpu.cpus_nr = 1;
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        scripts[t] = texts[t];
        has_cpu[t] = true;
        if (*texts[t] != 0 && *texts[t] != 'T')
            atomic_fetch_add_explicit(&running, 1, memory_order_relaxed);
    }
    _Atomic(u64) *const ghosts[] = {&handing, &handed, &waited, &freed, &batches_gone};
    for (unsigned i = 0; i < ARRAY_NR(ghosts); i++)
        weave_count(ghosts[i]);
    weave_count(&batches_made);
    weave_count(&is_child);
    weave_count(&handing_nr);
    weave_must(kmem_rcu_prepare());
}

#define SETUP(name, sections, first, second, third)                                                                    \
    static void setup_##name(void) { setup(sections, first, second, third); }
SETUP(lists, false, "k", "kb", "")
SETUP(lists_called, false, "c", "kb", "")
SETUP(lists_thread, false, "kc", "T", "")

/* The first forks, whatever the others are about. */
#define SETUP_FORK(name, sections, second, third)                                                                      \
    static void setup_##name(void) {                                                                                   \
        setup(sections, "fkb", second, third);                                                                         \
        weave_forks(1);                                                                                                \
    }
SETUP_FORK(fork_lists, false, "kckb", "")
SETUP_FORK(fork_batches, true, "kkkckbkb", "")
SETUP_FORK(fork_full, true, "kkkbkkkk", "")

static const struct weave_model models[] = {
    {"a fork beside a barrier of lists", 2, setup_fork_lists, thread, finish, WEAVE_BOTH},
    {"a fork beside barriers of batches", 2, setup_fork_batches, thread, finish, WEAVE_BOTH},
    {"a fork beside who fills batches", 2, setup_fork_full, thread, finish, WEAVE_BOTH},
    {"a push to a list beside a barrier", 2, setup_lists, thread, finish, WEAVE_BOTH},
    {"a call beside a barrier of lists", 2, setup_lists_called, thread, finish, WEAVE_BOTH},
    {"pushes to a list wake the thread", 2, setup_lists_thread, thread, finish, WEAVE_SOAK},
};

static const struct weave_suite suite = {.name = "waiting objects", .models = models, .models_nr = ARRAY_NR(models)};

int main(int argc, char **argv) { return weave_main(&suite, argc, argv); }
