/* SPDX-License-Identifier: MIT */
/*
 * What no machine at hand can show: how the heap's caches behave with 256 CPUs on 8 nodes and 4,096 threads. The
 * library itself, fast path included, on pretended CPUs (fakes/many.h); its counts and bytes, not its speed. Each row
 * is a process of its own and comes out the same on every run.
 *
 *   scale           all rows, as the tables of docs/scaling.md (tools/dev/gen_scaling)
 *   scale --quick   the smaller machines, judged: see bounds_check()
 */
#include "engine/engine.h"
#include "engine/fast.h"
#include "fakes/fake.h"
#include "mag/region.h"
#include "page/page.h"
#include "rt/context.h"
#include "rt/meta.h"
#include "rt/options.h"
#include "scale/machine.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "not ok: %s: ", #condition);                                                               \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

enum { HELD = 192, BOX = 64, STEPS = 96, SAMPLE_ROUNDS = 16, EACH_CLASS = 8, PERMILLE = 1000, REST_ROUNDS = 1001 };
enum { REST_SAMPLE_ROUNDS = 250 }; /* a second */
enum { ALONE_STEPS = 2000, CHANGE_ROUNDS = 25, CHANGES = 16 };

/* What a thread holds, and what others handed to it. */
static struct thread {
    void *held[HELD];
    void *box[BOX];
    unsigned box_nr;
} threads[THREADS_MAX];

static struct machine machine;

static struct sums {
    u64 allocs, frees, misplaced;
    u64 cached_most, depot_most, live_most, id_most, id_mean;
} sums;

/* --- a thread's steps --- */

static void *take(size_t size, unsigned node) {
    void *p = engine_malloc_fast(size);
    if (p == NULL)
        p = engine_alloc_slow(size);
    CHECK(p != NULL, "no memory");
    sums.allocs++;
    sums.misplaced += page_nodes_nr() > 1 && page_node_id(slot_node(page_map_get(p))) != (int)node;
    return p;
}

static void give(void *p) {
    if (!engine_free_fast(p))
        engine_free_slow(p);
    sums.frees++;
}

/* Mostly small, as programs are: each size half as often as the one before. */
static size_t some_size(void) {
    static const u16 sizes[] = {32, 64, 48, 112, 256, 640, 1024, 4096};
    unsigned at = 0;
    while (at + 1 < sizeof(sizes) / sizeof(*sizes) && machine_random(2) != 0)
        at++;
    return sizes[at];
}

/* Frees what it allocated itself, in any order. */
static void own_steps(unsigned thread, unsigned node, unsigned steps) {
    for (unsigned i = 0; i < steps; i++) {
        void **at = &threads[thread].held[machine_random(HELD)];
        if (*at != NULL)
            give(*at);
        *at = take(some_size(), node);
    }
}

static void own(unsigned thread, unsigned node) { own_steps(thread, node, STEPS); }
static void own_2k(unsigned thread, unsigned node) { own_steps(thread, node, 1000); }
static void own_20k(unsigned thread, unsigned node) { own_steps(thread, node, 10000); }
static void own_100k(unsigned thread, unsigned node) { own_steps(thread, node, 50000); }

/* The thread half the machine away, on another node. */
static struct thread *partner(unsigned thread) { return &threads[(thread + machine.cpus_nr / 2) % machine.threads_nr]; }

static void hand_on(unsigned thread, unsigned node) {
    struct thread *to = partner(thread);
    if (to->box_nr < BOX)
        to->box[to->box_nr++] = take(some_size(), node);
}

static void receive(unsigned thread) {
    struct thread *t = &threads[thread];
    if (t->box_nr != 0)
        give(t->box[--t->box_nr]);
}

/* All that it frees was allocated on another node, and what it allocates is freed there. */
static void crossed(unsigned thread, unsigned node) {
    for (unsigned i = 0; i < STEPS; i++) {
        receive(thread);
        hand_on(thread, node);
    }
}

/* One half of the machine allocates, the other frees and allocates a little for itself. */
static void one_way(unsigned thread, unsigned node) {
    bool maker = thread % machine.cpus_nr < machine.cpus_nr / 2;
    for (unsigned i = 0; i < STEPS; i++) {
        if (maker)
            hand_on(thread, node);
        else
            receive(thread);
    }
    if (!maker) {
        void **at = &threads[thread].held[machine_random(HELD)];
        if (*at != NULL)
            give(*at);
        *at = take(some_size(), node);
    }
}

/* Some of every class there is, and back: what is cached then is the most that can be. */
static void all_classes(unsigned thread, unsigned node) {
    (void)thread;
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
        void *objs[EACH_CLASS];
        size_t size = slab_geometry_of(cls)->size_bytes;
        for (unsigned i = 0; i < EACH_CLASS; i++)
            objs[i] = take(size, node);
        for (unsigned i = 0; i < EACH_CLASS; i++)
            give(objs[i]);
    }
}

/* One thread goes on, a million calls a second, and does something else now and then. */
static void alone(unsigned thread, unsigned node) {
    static unsigned turns;
    size_t larger = turns++ / CHANGE_ROUNDS % CHANGES * 16;
    for (unsigned i = 0; i < ALONE_STEPS; i++) {
        void **at = &threads[thread].held[machine_random(HELD)];
        if (*at != NULL)
            give(*at);
        *at = take(some_size() + larger, node);
    }
}

/* --- figures --- */

static u64 region_cached_bytes(struct mag_region *r) {
    u64 bytes = 0;
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
        size_t size = slab_geometry_of(cls)->size_bytes;
        for (unsigned node = 0; node < page_nodes_nr(); node++) {
            u64 m = r->slot[slot_at(cls, node)];
            bytes += mag_is_null(m) ? 0 : mag_count_racy(m) * size;
        }
        bytes += region_class(r, cls)->spare <= SPARE_STOPPED ? 0 : mag_count_racy(region_class(r, cls)->spare) * size;
    }
    return bytes;
}

static u64 live_bytes(void) {
    u64 out = 0;
    struct mag_stats st;
    mag_stats_get(&st);
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
        struct slab_class_stats class;
        slab_class_stats_get(cls, &class);
        out += class.out_objs * slab_geometry_of(cls)->size_bytes;
    }
    return out - st.cached_bytes - st.depot_bytes;
}

static void sample(void) {
    u64 all = 0, most = 0, ids = 0;
    for (unsigned i = 0; i < regions_nr(); i++) {
        struct mag_region *r = region_at(i);
        u64 bytes = r == NULL ? 0 : region_cached_bytes(r);
        ids += r != NULL;
        all += bytes;
        most = MAX(most, bytes);
    }
    if (all > sums.cached_most) {
        sums.cached_most = all;
        sums.id_most = most;
        sums.id_mean = all / MAX(ids, (u64)1);
    }
    sums.depot_most = MAX(sums.depot_most, depot_bytes_racy());
    sums.live_most = MAX(sums.live_most, live_bytes());
}

/* --- rows --- */

static const struct row {
    const char *name;
    struct machine machine;
    void (*slice)(unsigned thread, unsigned node);
    unsigned rounds;
    bool quick;
} rows[] = {
#define ROW_OF(name, cpus, nodes, threads, place, ids, slice, rounds, quick)                                           \
    { name, {cpus, nodes, threads, PLACEMENT_##place, SYS_RSEQ_##ids}, slice, rounds, quick }
    ROW_OF("frees its own", 8, 1, 64, PINNED, CPU_ID, own, 400, true),
    ROW_OF("frees its own", 64, 8, 512, PINNED, CPU_ID, own, 400, true),
    ROW_OF("frees its own", 256, 8, 4096, PINNED, CPU_ID, own, 400, false),
    ROW_OF("wanders", 64, 8, 512, WANDERING, CPU_ID, own, 400, true),
    ROW_OF("wanders", 256, 8, 4096, WANDERING, CPU_ID, own, 400, false),
    ROW_OF("hands over across nodes", 64, 8, 512, PINNED, CPU_ID, crossed, 400, true),
    ROW_OF("hands over across nodes", 256, 8, 4096, PINNED, CPU_ID, crossed, 400, false),
    ROW_OF("one way", 64, 8, 512, PINNED, CPU_ID, one_way, 400, true),
    ROW_OF("one way", 256, 8, 4096, PINNED, CPU_ID, one_way, 400, false),
    ROW_OF("32 threads, by CPU", 256, 8, 32, WANDERING, CPU_ID, own, 1200, false),
    ROW_OF("32 threads, by mm_cid", 256, 8, 32, WANDERING, MM_CID, own, 1200, false),
    ROW_OF("2,000 calls a turn", 256, 8, 32, WANDERING, MM_CID, own_2k, 240, false),
    ROW_OF("20,000 calls a turn", 256, 8, 32, WANDERING, MM_CID, own_20k, 80, false),
    ROW_OF("100,000 calls a turn", 256, 8, 32, WANDERING, MM_CID, own_100k, 20, false),
};
enum { ROWS_NR = sizeof(rows) / sizeof(*rows) };

static const struct machine idle_machines[] = {
    {8, 1, 64, PLACEMENT_PINNED, SYS_RSEQ_CPU_ID},
    {64, 8, 512, PLACEMENT_PINNED, SYS_RSEQ_CPU_ID},
    {256, 8, 4096, PLACEMENT_PINNED, SYS_RSEQ_CPU_ID},
};
enum { IDLE_NR = sizeof(idle_machines) / sizeof(*idle_machines), IDLE_QUICK_NR = 2 };

/* Nothing but what is written here decides the figures. */
static void options_clear(void) {
    static const char prefix[] = "QUARRY_";
    for (char **entry = environ; *entry != NULL;) {
        char name[64];
        size_t nr = strcspn(*entry, "=");
        if (strncmp(*entry, prefix, strlen(prefix)) != 0 || nr >= sizeof(name)) {
            entry++;
            continue;
        }
        memcpy(name, *entry, nr);
        name[nr] = '\0';
        unsetenv(name); /* the next one takes its place */
    }
}

/* Far from all that the kernel lays. Which records two nodes share depends on where reservations lie. */
#define ADDRESSES_END (((uintptr_t)1 << 45) + 128 * MIB)

static void heap_start(void) {
    options_clear();
    machine_start(&machine);
    CHECK(rt_meta_init() == 0, "no metadata"); /* wherever */
    fake_reserve_below((void *)ADDRESSES_END); // NOLINT(performance-no-int-to-ptr)
    setenv("QUARRY_THP", "never", 1);
    setenv("QUARRY_GUARD", "0", 1);
    CHECK(engine_ready(), "no heap");
}

static double mib(u64 bytes) { return (double)bytes / (double)MIB; }
static double per_mille(u64 part, u64 of) { return (double)part * PERMILLE / (double)MAX(of, (u64)1); }

/* --- bounds --- */

/*
 * The magazines of an id: what docs/design.md promises under "Bounds", a quarter of what is in use for all ids together
 * and for each within bounds, counted half full; and as much again for what is on its way to other nodes. Judged where
 * a program has few classes, so that the first magazine of each, which is given in any case, is nothing beside it.
 */
static u64 cached_bound(u64 live) {
    u64 all = MAX(live / 4, (u64)2 * MIB), ids = machine.cpus_nr, id = CLAMP(all / ids, (u64)32 * KIB, (u64)2 * MIB);
    return ids * id * 2 * (machine.nodes_nr > 1 ? 2 : 1);
}

enum { MISPLACED_PERMILLE = 10, SLAB_PERMILLE = 10, SLOW_PERMILLE = 50, BALANCE = 3, LEFT_PART = 100 };
/* By concurrency id; where these roam, all allocations are slow, half of all calls. */
enum { MISPLACED_BY_CID_PERMILLE = 75, SLOW_ROAMING_PERMILLE = 500 };

static void bounds_check(const struct row *row, const struct mag_stats *before, const struct mag_stats *after) {
    u64 calls = sums.allocs + sums.frees, bound = cached_bound(sums.live_most);
    bool by_cid = row->machine.ids == SYS_RSEQ_MM_CID, roams = by_cid && row->slice == own;
    CHECK(sums.cached_most <= bound, "%s, %u CPUs: %llu KiB in magazines, more than %llu", row->name, machine.cpus_nr,
          (unsigned long long)sums.cached_most / KIB, (unsigned long long)bound / KIB);
    CHECK(sums.id_most <= BALANCE * sums.id_mean, "%s: one id has %llu bytes, all %llu on average", row->name,
          (unsigned long long)sums.id_most, (unsigned long long)sums.id_mean);
    CHECK(sums.misplaced * PERMILLE <= sums.allocs * (u64)(by_cid ? MISPLACED_BY_CID_PERMILLE : MISPLACED_PERMILLE),
          "%s: %llu of %llu objects are of another node than their thread", row->name,
          (unsigned long long)sums.misplaced, (unsigned long long)sums.allocs);
    CHECK((after->refills + after->flushes - before->refills - before->flushes) * PERMILLE <= calls * SLAB_PERMILLE,
          "%s: %llu refills and flushes", row->name,
          (unsigned long long)(after->refills + after->flushes - before->refills - before->flushes));
    CHECK((after->slow_allocs + after->slow_frees - before->slow_allocs - before->slow_frees) * PERMILLE <=
              calls * (u64)(roams ? SLOW_ROAMING_PERMILLE : SLOW_PERMILLE),
          "%s: too many slow calls", row->name);
}

static void all_back(void) {
    for (unsigned thread = 0; thread < machine.threads_nr; thread++) {
        struct thread *t = &threads[thread];
        for (unsigned i = 0; i < HELD; i++) {
            if (t->held[i] != NULL)
                give(t->held[i]);
        }
        while (t->box_nr != 0)
            give(t->box[--t->box_nr]);
    }
    mag_depot_trim(MAG_DRAIN_ALL);
    mag_drain(MAG_DRAIN_ALL);
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
        struct slab_class_stats st;
        slab_class_stats_get(cls, &st);
        CHECK(st.out_objs == 0, "class %u: %llu objects are lost", cls, (unsigned long long)st.out_objs);
    }
}

static void row_run(const struct row *row) {
    struct mag_stats before, after;
    machine = row->machine;
    heap_start();
    for (unsigned i = 0; i < row->rounds / 4; i++)
        machine_round(&machine, row->slice);
    mag_stats_get(&before);
    sums = (struct sums){0};
    for (unsigned i = 0; i < row->rounds; i++) {
        machine_round(&machine, row->slice);
        if (i % SAMPLE_ROUNDS == 0)
            sample();
    }
    mag_stats_get(&after);
    u64 calls = sums.allocs + sums.frees;
    printf("| %s | %u | %u | %u | %.1f | %.1f | %.1f | %.1f | %.2f | %.1f | %.1f | %.1f | %.0f / %.0f |\n", row->name,
           machine.cpus_nr, machine.nodes_nr, machine.threads_nr,
           per_mille(after.slow_allocs + after.slow_frees - before.slow_allocs - before.slow_frees, calls),
           per_mille(after.refills + after.flushes - before.refills - before.flushes, calls),
           per_mille(after.depot_gets + after.depot_puts - before.depot_gets - before.depot_puts, calls),
           per_mille(after.remote_frees - before.remote_frees, sums.frees) / 10,
           per_mille(sums.misplaced, sums.allocs) / 10, mib(sums.live_most), mib(sums.cached_most),
           mib(sums.depot_most), (double)sums.id_mean / KIB, (double)sums.id_most / KIB);
    bounds_check(row, &before, &after);
    all_back();
}

static void idle_run(const struct machine *m) {
    machine = *m;
    heap_start();
    for (unsigned turn = 0; turn < 2 * machine.threads_nr / machine.cpus_nr; turn++)
        machine_round(&machine, all_classes);
    sample();
    u64 first = sums.cached_most, first_depot = depot_bytes_racy(), most = sums.id_most;
    printf("| %u | %u | %u | %.1f | %.1f | %.0f |", machine.cpus_nr, machine.nodes_nr, machine.threads_nr, mib(first),
           mib(first_depot), (double)most / KIB);
    for (unsigned i = 0; i < REST_ROUNDS; i++) {
        machine_round_on(&machine, 0, alone);
        sums.cached_most = 0;
        if (i != 0 && i % REST_SAMPLE_ROUNDS == 0) {
            sample();
            printf(" %.1f |", mib(sums.cached_most + depot_bytes_racy()));
        }
    }
    putchar('\n');
    sums.cached_most = 0;
    sample();
    u64 left = sums.cached_most - sums.id_most; /* the fullest is the one that goes on */
    CHECK(left <= first / LEFT_PART, "%llu KiB of %llu are left in magazines nobody uses",
          (unsigned long long)(left / KIB), (unsigned long long)(first / KIB));
    all_back();
}

/* --- an id that roams --- */

/* Steps of the first thread, by the first id, on a node. Returns how many allocations were slow. */
static u64 steps_on(unsigned node, unsigned steps) {
    struct mag_stats before, after;
    mag_stats_get(&before);
    sums = (struct sums){0};
    many_go(node * machine.cpus_nr / machine.nodes_nr, 0);
    fake_node_go((int)node);
    own_steps(0, node, steps);
    mag_stats_get(&after);
    return after.slow_allocs - before.slow_allocs;
}

enum { TURNS = 64, SEEN = 8, LONG = 20000, SLOW_PART = 50 };

/* On another node with each turn: as soon as the id was seen to be, which ticks see to where all calls are fast, it
 * serves its thread from where that is. */
static void roam(void) {
    for (unsigned turn = 0; turn < TURNS; turn++) {
        if (turn < SEEN)
            mag_nodes_nudge();
        (void)steps_on(turn % machine.nodes_nr, STEPS);
        CHECK(turn < SEEN || sums.misplaced == 0, "turn %u: %llu of %u objects are of another node", turn,
              (unsigned long long)sums.misplaced, STEPS);
    }
}

/* A moment later most calls are fast. */
static void expect_fast_on(unsigned node, const char *when) {
    u64 slow = steps_on(node, LONG);
    CHECK(slow * SLOW_PART <= LONG, "%llu slow of %u %s", (unsigned long long)slow, LONG, when);
}

/* Who may not block does not look where it runs, nor would it see that the id stays. */
static u64 atomic_slow_calls(unsigned calls) {
    enum { SMALL = 48 };
    struct mag_stats before, after;
    enum rt_context context = rt_context_enter(RT_ATOMIC);
    mag_stats_get(&before);
    for (unsigned i = 0; i < calls; i++) {
        void *p = engine_malloc_fast(SMALL);
        if (p == NULL)
            p = mag_alloc(slab_class_for(SMALL), NULL);
        CHECK(p != NULL && engine_free_fast(p), "no room where it was taken");
    }
    mag_stats_get(&after);
    rt_context_leave(context);
    return after.slow_allocs - before.slow_allocs;
}

/* The first id's next thread, which takes two nodes in turn by a policy of its own. */
static void *take_turns(void *unused) {
    struct sys_nodes nodes = {{0}};
    (void)unused;
    sys_nodes_add(&nodes, 0);
    sys_nodes_add(&nodes, 1);
    fake_policy(SYS_POLICY_TURNS, &nodes);
    (void)steps_on(0, LONG);
    expect_fast_on(0, "with nodes in turn");
    return NULL;
}

static void expect_end_with_turns(void) {
    pthread_t thread;
    roam();
    CHECK(pthread_create(&thread, NULL, take_turns, NULL) == 0 && pthread_join(thread, NULL) == 0, "no thread");
}

/* Those who may not block make all allocations, and a tick on the same id answers each time that it is told to look. */
static void expect_end_with_answers(void) {
    roam();
    for (unsigned tick = 0; tick < 2; tick++) {
        u64 slow;
        mag_nodes_nudge();
        mag_rest();
        slow = atomic_slow_calls(LONG);
        CHECK(tick == 0 || slow * SLOW_PART <= LONG, "%llu slow of %u where others answer", (unsigned long long)slow,
              LONG);
    }
}

static void roaming_run(unsigned unused) {
    (void)unused;
    machine = (struct machine){16, 4, 16, PLACEMENT_PINNED, SYS_RSEQ_MM_CID};
    heap_start();
    for (unsigned i = 0; i < 4; i++)
        machine_round(&machine, own);
    CHECK(page_nodes_nr() == machine.nodes_nr, "%u nodes", page_nodes_nr());
    unsigned last = (TURNS - 1) % machine.nodes_nr;
    roam();
    expect_fast_on(last, "when it stays");
    expect_fast_on(0, "after one change");
    roam();
    mag_nodes_nudge();
    CHECK(atomic_slow_calls(STEPS) == STEPS, "fast while it roams");
    mag_nodes_nudge();
    CHECK(atomic_slow_calls(LONG) * SLOW_PART <= LONG, "nobody lets go of an id whose threads may not block");
    expect_end_with_answers();
    expect_end_with_turns();
    all_back();
}

/* --- a filter in front of the barrier --- */

static void cache_everywhere(void) {
    for (unsigned cpu = 0; cpu < machine.cpus_nr; cpu++)
        machine_round_on(&machine, cpu, all_classes);
}

static void drain_all(void) { mag_drain(MAG_DRAIN_ALL); }
static void drain_class(void) { (void)mag_class_drain(1); }

/* Whom libc takes to be alone passes none, until another thread has registered an area of its own. */
static void alone_run(void (*drain)(void), unsigned drains) {
    many_barrier_answers(0, 0);
    many_is_alone = true;
    many_barriers_nr = 0;
    for (unsigned i = 0; i < drains; i++)
        drain();
    CHECK(many_barriers_nr == 0, "%u barriers for a thread that is alone", many_barriers_nr);
    (void)thread_join();
    cache_everywhere();
    drain();
    CHECK(many_barriers_nr > 0, "no barrier beside a thread libc does not know");
    many_is_alone = false;
    cache_everywhere();
    many_barrier_answers(0, -EPERM);
    drain(); /* refused again */
}

/* How often the barrier is asked for, and passed, by three times that all ids are to be emptied, of all or a class. */
static void barrier_run(unsigned index) {
    enum { DRAINS = 3 };
    void (*drain)(void) = index == 0 ? drain_all : drain_class;
    machine = idle_machines[0];
    heap_start();
    cache_everywhere();
    many_barrier_answers(-EPERM, 0);
    many_registered_nr = 0;
    for (unsigned i = 0; i < DRAINS; i++)
        drain();
    CHECK(many_registered_nr == DRAINS, "%u times for %d drains behind a filter", many_registered_nr, DRAINS);
    many_barrier_answers(0, -EPERM);
    many_registered_nr = many_barriers_nr = 0;
    for (unsigned i = 0; i < DRAINS; i++)
        drain();
    CHECK(many_registered_nr == DRAINS && many_barriers_nr == DRAINS, "%u and %u times for %d drains refused",
          many_registered_nr, many_barriers_nr, DRAINS);
    alone_run(drain, DRAINS);
    many_barrier_answers(-ENOSYS, 0);
    many_registered_nr = many_barriers_nr = 0;
    for (unsigned i = 0; i < DRAINS; i++)
        drain();
    CHECK(many_registered_nr == 1 && many_barriers_nr == 0, "%u times although the kernel has none",
          many_registered_nr);
}

/* --- */

static bool in_child(void (*run)(unsigned index), unsigned index) {
    int status = 1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        run(index);
        fflush(stdout);
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static void run_row(unsigned index) { row_run(&rows[index]); }
static void run_idle(unsigned index) { idle_run(&idle_machines[index]); }

int main(int argc, char **argv) {
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0, good = true;
    puts("| threads | CPUs | nodes | threads | slow | slabs | depot | remote | astray | live | magazines | depot | an "
         "id |\n"
         "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (unsigned i = 0; i < ROWS_NR; i++)
        good = ((quick && !rows[i].quick) || in_child(run_row, i)) && good;
    puts("\n| CPUs | nodes | threads | magazines | depot | an id | after 1 s | 2 s | 3 s | 4 s |\n"
         "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (unsigned i = 0; i < (quick ? (unsigned)IDLE_QUICK_NR : (unsigned)IDLE_NR); i++)
        good = in_child(run_idle, i) && good;
    good = in_child(roaming_run, 0) && good;
    good = in_child(barrier_run, 0) && in_child(barrier_run, 1) && good;
    return good ? 0 : 1;
}
