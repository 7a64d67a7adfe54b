/* SPDX-License-Identifier: MIT */
/* Freeing after a grace period, case by case; rcu_torture.c has readers. */
#include "cases.h"
#include "check.h"

#include <errno.h>
#include <linux/rcupdate.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <pthread.h>
#include <quarry/kmem_account.h>
#include <quarry/quarry.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* Until what nobody is asked for is done: by a thread that may have to wait for its CPU. */
#define LOOKS (100 * limit_seconds(10))
enum { LOOK_US = 10000 };

#define AT(bytes)                                                                                                      \
    struct at_##bytes {                                                                                                \
        char before[bytes];                                                                                            \
        struct rcu_head rcu;                                                                                           \
        char after[40];                                                                                                \
    }
struct at_0 {
    struct rcu_head rcu;
    char after[40];
};
AT(8);
AT(104);
AT(2000);
AT(4080);

static uint64_t out_bytes(void) {
    uint64_t bytes = 0;
    quarry_trim(0);
    CHECK(quarry_stat("live_bytes", &bytes) == 0);
    return bytes;
}

/* The first use makes the thread and its stack. */
static uint64_t out_bytes_warm(void) {
    struct at_0 *warm = kmalloc(sizeof(*warm), GFP_KERNEL);
    kfree_rcu(warm, rcu);
    kvfree_rcu_barrier();
    return out_bytes();
}

#define FREE_ONE(bytes)                                                                                                \
    do {                                                                                                               \
        struct at_##bytes *p = kmalloc(sizeof(*p), GFP_KERNEL);                                                        \
        CHECK(p != NULL);                                                                                              \
        memset(p, 0x5a, sizeof(*p));                                                                                   \
        kfree_rcu(p, rcu);                                                                                             \
    } while (0)

static void offsets(size_t rounds) {
    uint64_t before = out_bytes_warm();
    for (size_t i = 0; i < rounds; i++) {
        FREE_ONE(0);
        FREE_ONE(8);
        FREE_ONE(104);
        FREE_ONE(2000);
        FREE_ONE(4080);
    }
    struct at_104 *none = NULL;
    kfree_rcu(none, rcu);
    kvfree_rcu(none, rcu);
    kvfree_rcu_barrier();
    uint64_t after = out_bytes();
    CHECK_MSG(after == before, "%lu bytes before, %lu after", (unsigned long)before, (unsigned long)after);
}

static void headless(size_t unused) {
    (void)unused;
    uint64_t before = out_bytes_warm();
    for (size_t i = 1; i < 3000; i++)
        kfree_rcu_mightsleep(kmalloc(i, GFP_KERNEL));
    kvfree_rcu_mightsleep(NULL);
    kfree_rcu_mightsleep(ZERO_SIZE_PTR);
    kvfree_rcu_barrier();
    CHECK(out_bytes() == before);
}

/* kmem_cache_destroy waits for what was handed over, of which nothing is said then; a barrier on the cache, too. */
static void destroyed_behind(size_t by_barrier) {
    for (int round = 0; round < 20; round++) {
        struct kmem_cache *s =
            kmem_cache_create("handed-over", sizeof(struct at_104), 0, SLAB_NO_MERGE | SLAB_NO_USER_FLAGS, NULL);
        struct quarry_kmem_cache_info info;
        CHECK(s != NULL);
        for (int i = 0; i < 300; i++) {
            struct at_104 *p = kmem_cache_alloc(s, GFP_KERNEL);
            CHECK(p != NULL);
            if (i % 2)
                kfree_rcu(p, rcu);
            else
                kfree_rcu_mightsleep(p);
        }
        if (by_barrier) {
            kvfree_rcu_barrier_on_cache(s);
            quarry_kmem_cache_info_get(s, &info);
            CHECK(info.active_objs == 0);
        }
        kmem_cache_destroy(s);
    }
}

static uint64_t areas_nr(void) {
    uint64_t nr = 0;
    CHECK(quarry_stat("big_regions", &nr) == 0);
    return nr;
}

/* What kvfree unmaps: areas, and what kvmalloc has from where areas are; with a head and without, and also where a
 * reader still looks at them. */
static void areas(size_t bytes) {
    enum { NR = 40 };
    struct at_104 *seen[NR];
    uint64_t before = out_bytes_warm(), regions = areas_nr();
    rcu_read_lock();
    for (int i = 0; i < NR; i++) {
        CHECK((seen[i] = i % 2 ? vmalloc(bytes) : kvmalloc(bytes, GFP_KERNEL)) != NULL);
        CHECK(i % 2 == 0 || is_vmalloc_addr(seen[i]));
        memset(seen[i], i, bytes);
        if (i % 4 < 2)
            kvfree_rcu(seen[i], rcu);
        else
            kvfree_rcu_mightsleep(seen[i]);
    }
    CHECK(areas_nr() >= regions + NR / 2);
    for (int i = 0; i < NR; i++)
        CHECK(seen[i]->before[0] == i && ((char *)seen[i])[bytes - 1] == i);
    rcu_read_unlock();
    kvfree_rcu_barrier();
    uint64_t after = out_bytes();
    CHECK_MSG(after == before, "%lu bytes before, %lu after", (unsigned long)before, (unsigned long)after);
    CHECK_MSG(areas_nr() == regions, "%lu regions before, %lu after", (unsigned long)regions,
              (unsigned long)areas_nr());
}

struct called {
    long value;
    struct rcu_head rcu;
};
static atomic_long called_sum;

static void on_grace(struct rcu_head *head) {
    struct called *c = (struct called *)((char *)head - offsetof(struct called, rcu));
    atomic_fetch_add(&called_sum, c->value);
    kfree(c);
}

static void callbacks(size_t unused) {
    (void)unused;
    for (long i = 1; i <= 1000; i++) {
        struct called *c = kmalloc(sizeof(*c), GFP_KERNEL);
        c->value = i;
        if (i % 2)
            call_rcu(&c->rcu, on_grace);
        else
            call_rcu_hurry(&c->rcu, on_grace);
    }
    synchronize_rcu_expedited();
    rcu_barrier();
    CHECK(atomic_load(&called_sum) == 500500);
}

static atomic_int inside, released, freed_early;
static struct called *published;

static void *reader(void *unused) {
    (void)unused;
    rcu_read_lock();
    rcu_read_lock();
    struct called *c = rcu_dereference(published);
    rcu_read_unlock();
    atomic_store(&inside, 1);
    while (!atomic_load(&released))
        usleep(100);
    if (c->value != 77)
        atomic_store(&freed_early, 1);
    rcu_read_unlock();
    return NULL;
}

static void mark(struct rcu_head *head) {
    ((struct called *)((char *)head - offsetof(struct called, rcu)))->value = -1;
    atomic_fetch_add(&called_sum, 1);
}

/* A reader that is inside holds the grace period up, however long it is. */
static void reader_holds_up(size_t unused) {
    pthread_t thread;
    struct called *c = kmalloc(sizeof(*c), GFP_KERNEL);
    (void)unused;
    c->value = 77;
    rcu_assign_pointer(published, c);
    CHECK(pthread_create(&thread, NULL, reader, NULL) == 0);
    while (!atomic_load(&inside))
        usleep(100);
    CHECK(rcu_replace_pointer(published, NULL, true) == c && rcu_access_pointer(published) == NULL);
    call_rcu(&c->rcu, mark);
    usleep(50000);
    CHECK(atomic_load(&called_sum) == 0);
    atomic_store(&released, 1);
    rcu_barrier();
    CHECK(atomic_load(&called_sum) == 1 && !atomic_load(&freed_early));
    CHECK(pthread_join(thread, NULL) == 0);
    synchronize_rcu();
    kfree(c);
}

static void on_signal(int signal_nr) {
    struct at_8 *p = kmalloc(sizeof(*p), GFP_ATOMIC);
    (void)signal_nr;
    if (p != NULL)
        kfree_rcu(p, rcu);
}

/* In a handler, also as the very first. */
static void handlers(size_t first) {
    (void)first;
    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
    kfree(kmalloc(sizeof(struct at_8), GFP_KERNEL));
    if (!first) {
        FREE_ONE(8);
        kvfree_rcu_barrier();
    }
    for (int i = 0; i < 1000; i++)
        CHECK(raise(SIGUSR1) == 0);
    kvfree_rcu_barrier();
    uint64_t before = out_bytes();
    for (int i = 0; i < 1000; i++)
        CHECK(raise(SIGUSR1) == 0);
    kvfree_rcu_barrier();
    CHECK(out_bytes() == before);
}

enum { FREED_AT_ONCE = 64 }; /* objects at most: RUN_NR of rcu_batch.c */

/* What waited at the fork is freed in both, and the child's own, too. */
static void child(size_t unused) {
    (void)unused;
    uint64_t before = out_bytes_warm();
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 500; i++)
            FREE_ONE(104);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            for (int i = 0; i < 500; i++)
                FREE_ONE(8);
            kvfree_rcu_barrier();
            uint64_t after = out_bytes();
            /* What the thread that is not there was just freeing may be lost. */
            CHECK_MSG(after <= before + FREED_AT_ONCE * 2 * sizeof(struct at_104), "%lu bytes before, %lu in the child",
                      (unsigned long)before, (unsigned long)after);
            _exit(0);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    kvfree_rcu_barrier();
    CHECK(out_bytes() == before);
}

/* Forks that find the thread at any step of a round: what it was moving is in the child, once. */
static void children_of_rounds(size_t forks) {
    uint64_t before = out_bytes_warm();
    unsigned seed = 1;
    for (size_t i = 0; i < forks; i++) {
        for (int nr = rand_r(&seed) % 1500; nr > 0; nr--)
            FREE_ONE(104);
        usleep((unsigned)rand_r(&seed) % 3000);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            kvfree_rcu_barrier();
            uint64_t after = out_bytes();
            CHECK_MSG(after >= before && after <= before + FREED_AT_ONCE * 2 * sizeof(struct at_104),
                      "%zu: %lu bytes before, %lu in the child", i, (unsigned long)before, (unsigned long)after);
            _exit(0);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    kvfree_rcu_barrier();
    CHECK(out_bytes() == before);
}

/* A handler forks on top of whatever its thread does to hand objects over: what that had in hand it has in the child,
 * where it goes on and nothing is lost but what the library's thread was just freeing. */
enum { FORKS_ON_TOP = 150 };
static volatile sig_atomic_t forks_nr, in_child;
static void fork_on_top(int signal_nr) {
    int status = -1;
    (void)signal_nr;
    if (in_child || forks_nr >= FORKS_ON_TOP)
        return;
    pid_t pid = fork();
    in_child = pid == 0;
    CHECK(pid == 0 || (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0));
    forks_nr++;
}

static void children_on_top(size_t unused) {
    struct itimerval every = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    (void)unused;
    uint64_t before = out_bytes_warm();
    CHECK(signal(SIGALRM, fork_on_top) != SIG_ERR && setitimer(ITIMER_REAL, &every, NULL) == 0);
    for (unsigned i = 0; forks_nr < FORKS_ON_TOP && !in_child; i++) {
        FREE_ONE(104);
        if (i % 4096 == 0)
            kvfree_rcu_barrier();
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    kvfree_rcu_barrier();
    uint64_t after = out_bytes();
    CHECK_MSG(after >= before && after <= before + (in_child ? FREED_AT_ONCE * 2 * sizeof(struct at_104) : 0),
              "%lu bytes before, %lu after fork %d", (unsigned long)before, (unsigned long)after, (int)forks_nr);
    if (in_child)
        _exit(0);
}

/* Called as callbacks, for that can be seen without asking the heap. */
static void count_called(struct rcu_head *head) {
    (void)head;
    atomic_fetch_add(&called_sum, 1);
}

static void called_in_time(long nr) {
    for (unsigned i = 0; i < LOOKS && atomic_load(&called_sum) < nr; i++)
        usleep(LOOK_US);
    CHECK_MSG(atomic_load(&called_sum) == nr, "%ld of %ld were called", atomic_load(&called_sum), nr);
}

/* Nobody asks: the thread does it, also after it has slept. */
static void by_itself(size_t unused) {
    static struct called all[5];
    (void)unused;
    for (long i = 0; i < 5; i++) {
        call_rcu(&all[i].rcu, count_called);
        called_in_time(i + 1);
        usleep(20000);
    }
}

static void signals_set(int how) {
    sigset_t all;
    CHECK(sigfillset(&all) == 0 && pthread_sigmask(how, &all, NULL) == 0);
}

/* A thread that blocks signals to wait for them is no handler: it is served from the first object on. */
static void signals_blocked(size_t unused) {
    static struct called all[5];
    (void)unused;
    signals_set(SIG_BLOCK);
    for (long i = 0; i < 5; i++)
        call_rcu(&all[i].rcu, count_called);
    called_in_time(5);
}

/* One that blocks a signal it handles looks like a handler, where no thread may be started: what it hands over waits
 * for an object that comes from elsewhere. */
static void handled_signal_blocked(size_t unused) {
    enum { FIRST = 2000 };
    static struct called all[FIRST + 1];
    (void)unused;
    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
    signals_set(SIG_BLOCK);
    for (long i = 0; i < FIRST; i++)
        call_rcu(&all[i].rcu, count_called);
    usleep(20000);
    CHECK(atomic_load(&called_sum) == 0);
    signals_set(SIG_UNBLOCK);
    call_rcu(&all[FIRST].rcu, count_called);
    called_in_time(FIRST + 1);
}

enum { ASKED_OFTEN = 100 }; /* more than ASKED_ALWAYS of rcu.c, and no multiple of its ASKED_PERIOD */

static void objects_in_vain(void) {
    signals_set(SIG_BLOCK);
    for (int i = 0; i < ASKED_OFTEN; i++)
        FREE_ONE(8);
    signals_set(SIG_UNBLOCK);
}

static struct called in_vain;
static void *asker_in_vain(void *unused) {
    (void)unused;
    objects_in_vain();
    signals_set(SIG_BLOCK);
    call_rcu(&in_vain.rcu, count_called);
    return NULL;
}

/* A thread that asked in vain is no reason for another not to ask. */
static void handled_signal_blocked_elsewhere(size_t unused) {
    pthread_t thread;
    (void)unused;
    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
    CHECK(pthread_create(&thread, NULL, asker_in_vain, NULL) == 0 && pthread_join(thread, NULL) == 0);
    usleep(20000);
    CHECK(atomic_load(&called_sum) == 0);
    FREE_ONE(8);
    called_in_time(1);
}

/* Nor are its objects one for its call_rcu. */
static void call_asks_always(size_t unused) {
    (void)unused;
    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
    objects_in_vain();
    call_rcu(&in_vain.rcu, count_called);
    called_in_time(1);
}

/* Callbacks that come again each round, so many that rounds follow each other, keep nobody from freeing the rest. */
static atomic_bool storm_over;
static void again(struct rcu_head *head) {
    if (!atomic_load(&storm_over))
        call_rcu(head, again);
}

static void storm_of_calls(size_t unused) {
    enum { STORM = 100000, OBJECTS = 100000 };
    (void)unused;
    struct at_104 **objs = malloc(OBJECTS * sizeof(struct at_104 *));
    struct rcu_head *storm = malloc(STORM * sizeof(struct rcu_head));
    struct quarry_account *a = quarry_account_create("storm", 0);
    struct quarry_account_info info;
    CHECK(objs != NULL && storm != NULL && a != NULL);
    quarry_account_enter(a);
    for (int i = 0; i < OBJECTS; i++)
        CHECK((objs[i] = kmalloc(sizeof(struct at_104), GFP_KERNEL_ACCOUNT)) != NULL);
    quarry_account_enter(NULL);
    for (int i = 0; i < STORM; i++)
        call_rcu(&storm[i], again);
    usleep(20000);
    for (int i = 0; i < OBJECTS; i++)
        kfree_rcu(objs[i], rcu);
    quarry_account_info_get(a, &info);
    for (unsigned i = 0; i < LOOKS && info.objects != 0; i++) {
        usleep(LOOK_US);
        quarry_account_info_get(a, &info);
    }
    CHECK_MSG(info.objects == 0, "%zu objects wait", (size_t)info.objects);
    atomic_store(&storm_over, true);
    rcu_barrier();
}

/* A callback of RCU that meets the hard limit, which the driver sets, has none of the program's called for memory. */
static atomic_int reclaims, reclaims_elsewhere, shrinks_elsewhere, refusals;
static _Thread_local bool of_program;

static void reclaim(void *unused) {
    (void)unused;
    atomic_fetch_add(of_program ? &reclaims : &reclaims_elsewhere, 1);
}

static unsigned long shrink_count(struct shrinker *s, struct shrink_control *sc) {
    (void)s, (void)sc;
    if (!of_program)
        atomic_fetch_add(&shrinks_elsewhere, 1);
    return 0;
}

static unsigned long shrink_scan(struct shrinker *s, struct shrink_control *sc) {
    (void)s, (void)sc;
    return SHRINK_STOP;
}

static void too_much(struct rcu_head *unused) {
    (void)unused;
    void *p = vmalloc((size_t)1 << 40);
    atomic_fetch_add(&refusals, p == NULL);
    vfree(p);
}

static void callbacks_of_the_program(size_t unused) {
    static struct shrinker shrinker = {.count_objects = shrink_count, .scan_objects = shrink_scan};
    static struct rcu_head head;
    (void)unused;
    of_program = true;
    CHECK(quarry_reclaim_register(reclaim, NULL) == 0 && register_shrinker(&shrinker, "counts") == 0);
    call_rcu(&head, too_much);
    for (unsigned i = 0; i < LOOKS && atomic_load(&refusals) == 0; i++)
        usleep(LOOK_US); /* a barrier would call it here */
    CHECK(atomic_load(&refusals) == 1);
    CHECK(atomic_load(&reclaims_elsewhere) == 0 && atomic_load(&shrinks_elsewhere) == 0);
    too_much(NULL);
    CHECK(atomic_load(&reclaims) > 0);
}

/* Threads that do nothing else, with alarms whose handler does the same on top of them: each head is called once. */
enum { PUSHERS = 8, PUSHES = 300000, PUSHES_OF_ALARMS = 20000, ALARM_US = 50 };
static struct rcu_head *heads[PUSHERS], *alarm_heads;
static atomic_int alarm_heads_used;

static void on_alarm(int signal_nr) {
    (void)signal_nr;
    for (int i = 0; i < 3; i++) {
        int at = atomic_fetch_add(&alarm_heads_used, 1);
        if (at < PUSHES_OF_ALARMS)
            call_rcu(&alarm_heads[at], count_called);
    }
}

static void *pusher(void *index) {
    struct rcu_head *mine = heads[(size_t)index];
    for (int i = 0; i < PUSHES; i++)
        call_rcu(&mine[i], count_called);
    return NULL;
}

static void pushes(size_t unused) {
    struct itimerval every = {{0, ALARM_US}, {0, ALARM_US}}, never = {{0, 0}, {0, 0}};
    pthread_t threads[PUSHERS];
    (void)unused;
    alarm_heads = kcalloc(PUSHES_OF_ALARMS, sizeof(struct rcu_head), GFP_KERNEL);
    CHECK(alarm_heads != NULL && signal(SIGALRM, on_alarm) != SIG_ERR);
    for (size_t i = 0; i < PUSHERS; i++)
        CHECK((heads[i] = malloc(PUSHES * sizeof(struct rcu_head))) != NULL);
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
    for (size_t i = 0; i < PUSHERS; i++)
        CHECK(pthread_create(&threads[i], NULL, pusher, (void *)i) == 0);
    for (size_t i = 0; i < PUSHERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    rcu_barrier();
    int used = atomic_load(&alarm_heads_used);
    long want = (long)PUSHERS * PUSHES + (used < PUSHES_OF_ALARMS ? used : PUSHES_OF_ALARMS);
    CHECK_MSG(atomic_load(&called_sum) == want, "%ld of %ld were called", atomic_load(&called_sum), want);
}

static atomic_int graces;
static void grace_when_released(void) {
    atomic_fetch_add(&graces, 1);
    while (!atomic_load(&released))
        usleep(1000);
}

/* The fork comes while the thread waits, with what it took: the child goes on with that. */
static void child_of_a_grace_period(size_t unused) {
    static const struct quarry_rcu_flavour slow = {.synchronize = grace_when_released};
    static struct called taken[3], later;
    int status;
    (void)unused;
    CHECK(quarry_rcu_use(&slow) == 0);
    for (int i = 0; i < 3; i++)
        call_rcu(&taken[i].rcu, count_called);
    while (atomic_load(&graces) == 0)
        usleep(1000);
    call_rcu(&later.rcu, count_called);
    pid_t pid = fork();
    CHECK(pid >= 0);
    atomic_store(&released, 1);
    rcu_barrier();
    CHECK_MSG(atomic_load(&called_sum) == 4, "%ld of 4 were called %s", atomic_load(&called_sum),
              pid == 0 ? "in the child" : "in the parent");
    if (pid == 0) {
        call_rcu(&later.rcu, count_called);
        called_in_time(5); /* by the child's own thread */
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void grace_now(void) {}
static const struct quarry_rcu_flavour own = {.synchronize = grace_now};

/* The program's own, which knows that nobody reads. */
static void plugged(size_t unused) {
    static const struct quarry_rcu_flavour empty;
    (void)unused;
    CHECK(quarry_rcu_use(NULL) == -EINVAL && quarry_rcu_use(&empty) == -EINVAL);
    CHECK(quarry_rcu_use(&own) == 0 && quarry_rcu_use(&own) == 0);
    rcu_read_lock();
    FREE_ONE(8);
    kvfree_rcu_barrier(); /* this flavour does not see readers */
    rcu_read_unlock();
    static const struct quarry_rcu_flavour other = {.synchronize = grace_now};
    CHECK(quarry_rcu_use(&other) == -EBUSY);
}

static const struct test_case table[] = {
    {"offsets", offsets, 1000, CASE_QUARRY},
    {"headless", headless, 0, CASE_QUARRY},
    {"destroyed behind", destroyed_behind, 0, CASE_QUARRY},
    {"destroyed behind a barrier", destroyed_behind, 1, CASE_QUARRY},
    {"areas of a page", areas, 4096, CASE_QUARRY},
    {"areas of 5 MiB", areas, 5 << 20, CASE_QUARRY},
    {"callbacks", callbacks, 0, CASE_QUARRY},
    {"a reader holds up", reader_holds_up, 0, CASE_QUARRY},
    {"handlers", handlers, 0, CASE_QUARRY},
    {"handlers first", handlers, 1, CASE_QUARRY},
    {"child of fork", child, 0, CASE_QUARRY},
    {"children of rounds", children_of_rounds, 300, CASE_QUARRY},
    {"children on top", children_on_top, 0, CASE_QUARRY},
    {"by itself", by_itself, 0, CASE_QUARRY},
    {"pushes", pushes, 0, CASE_QUARRY},
    {"child of a grace period", child_of_a_grace_period, 0, CASE_QUARRY},
    {"signals blocked", signals_blocked, 0, CASE_QUARRY},
    {"handled signal blocked", handled_signal_blocked, 0, CASE_QUARRY},
    {"handled signal blocked elsewhere", handled_signal_blocked_elsewhere, 0, CASE_QUARRY},
    {"call_rcu asks always", call_asks_always, 0, CASE_QUARRY},
    {"storm of calls", storm_of_calls, 0, CASE_QUARRY},
    {"callbacks of the program", callbacks_of_the_program, 0, CASE_QUARRY},
    {"plugged", plugged, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
