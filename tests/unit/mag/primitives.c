/* SPDX-License-Identifier: MIT */
/*
 * The per-CPU primitives of this architecture against the model in C (mag/ref.h): the same random operations on two
 * equal worlds must give equal results and leave equal worlds. Then the same world under a storm of signals whose
 * handler uses it too: nothing may be lost or doubled. Skipped, and said so, where there is no rseq.
 */
#include "unit/alone.h"
#include "unit/mag/world.h"

#include <sys/time.h>
#include <time.h>

enum { ROUNDS = 200000, STORM_MS = 1500, STORM_PERIOD_US = 50, HANDLED_MIN = 200 };

static struct world real, model;
static u64 seed = 20240611;

/* A word as it is in any world: addresses inside the world become offsets. */
static u64 normal(const struct world *w, u64 word) {
    u64 offset = word - (u64)w;
    return offset < offsetof(struct world, views) ? offset : word;
}

static void must_be_equal(unsigned round) {
    const u64 *a = (const u64 *)&real, *b = (const u64 *)&model;
    for (size_t i = 0; i < offsetof(struct world, views) / sizeof(u64); i++) {
        if (normal(&real, a[i]) == normal(&model, b[i]))
            continue;
        fprintf(stderr, "after %u operations word %zu is %lx here and %lx in the model\n", round, i, a[i], b[i]);
        exit(ALONE_FAILED);
    }
}

static void both_pop(unsigned slot) {
    static bool by_table;
    by_table = !by_table;
    u64 a = (u64)(by_table ? rseq_pop_at(real.views, world_pop_table, slot) : rseq_pop(real.views, slot));
    u64 b = (u64)ref_pop(model.slot, slot);
    MUST(a == b);
    for (unsigned i = 0; a != 0 && i < WORLD_HANDS; i++) {
        if (real.hand_obj[i] == 0) {
            real.hand_obj[i] = model.hand_obj[i] = a;
            return;
        }
    }
    /* No hand is free: put it back where it was. */
    MUST(a == 0 || (rseq_push(real.views, slot, (void *)a) && ref_push(model.slot, slot, (void *)b)));
}

static void both_push(unsigned slot, unsigned hand) {
    u64 obj = real.hand_obj[hand];
    if (obj == 0)
        return;
    static bool by_table;
    by_table = !by_table;
    bool a = by_table ? rseq_push_at(real.views, world_push_table, slot, (void *)obj)
                      : rseq_push(real.views, slot, (void *)obj);
    bool b = ref_push(model.slot, slot, (void *)obj);
    MUST(a == b);
    if (a)
        real.hand_obj[hand] = model.hand_obj[hand] = 0;
}

enum { RUN_MAX = 8 }; /* two turns of the sections, and more than a magazine has */

/* What no hand is free for goes back, the last first. */
static void both_pop_run(unsigned slot, unsigned nr) {
    void *a[RUN_MAX], *b[RUN_MAX];
    u64 done = rseq_pop_run(real.views, slot, nr, a);
    MUST(done == ref_pop_run(model.slot, slot, nr, b) && done <= nr);
    for (u64 i = 0; i < done; i++)
        MUST(a[i] == b[i]);
    for (unsigned i = 0, next = 0; i < WORLD_HANDS && next < done; i++) {
        /* Topmost first: what stays is below, and goes back in the end. */
        if (real.hand_obj[i] == 0)
            real.hand_obj[i] = model.hand_obj[i] = (u64)a[next++];
        if (i + 1 == WORLD_HANDS || next == done) {
            for (u64 back = done; back > next; back--)
                MUST(rseq_push(real.views, slot, a[back - 1]) && ref_push(model.slot, slot, b[back - 1]));
        }
    }
}

static void both_push_run(unsigned slot, unsigned hand, unsigned nr) {
    void *objs[RUN_MAX];
    unsigned from[RUN_MAX], have = 0;
    for (unsigned i = 0; i < WORLD_HANDS && have < nr; i++) {
        unsigned at = (hand + i) % WORLD_HANDS;
        if (real.hand_obj[at] == 0)
            continue;
        objs[have] = (void *)real.hand_obj[at];
        from[have++] = at;
    }
    if (have == 0)
        return;
    u64 done = rseq_push_run(real.views, slot, have, objs);
    MUST(done == ref_push_run(model.slot, slot, have, objs) && done <= have);
    for (u64 i = 0; i < done; i++)
        real.hand_obj[from[i]] = model.hand_obj[from[i]] = 0;
}

enum swap { SWAP_IF_EMPTY, SWAP_IF_FULL, SWAP_IF_EQUAL, SWAPS_NR };

static enum rseq_status real_swap(enum swap kind, s64 off, u64 expected, u64 next, u64 *ret_old) {
    return kind == SWAP_IF_EMPTY  ? rseq_swap_if_empty(real.views, off, next, ret_old)
           : kind == SWAP_IF_FULL ? rseq_swap_if_full(real.views, off, next, ret_old)
                                  : rseq_swap_if_equal(real.views, off, expected, next, ret_old);
}

static enum rseq_status model_swap(enum swap kind, s64 off, u64 expected, u64 next, u64 *ret_old) {
    return kind == SWAP_IF_EMPTY  ? ref_swap_if_empty(model.slot, off, next, ret_old)
           : kind == SWAP_IF_FULL ? ref_swap_if_full(model.slot, off, next, ret_old)
                                  : ref_swap_if_equal(model.slot, off, expected, next, ret_old);
}

/* A magazine in hand against the one in a slot or, by equality, the spare. */
static void both_swap(enum swap kind, unsigned slot, unsigned hand, bool right_guess) {
    s64 off = kind == SWAP_IF_EQUAL ? WORLD_SPARE_OFF : WORLD_SLOT_OFF(slot);
    u64 a_old = 0, b_old = 0;
    /* A slot always has a magazine; the spare may have none. */
    if (kind != SWAP_IF_EQUAL && real.hand_mag[hand] == 0)
        return;
    enum rseq_status a = real_swap(kind, off, right_guess ? real.spare : 2, real.hand_mag[hand], &a_old);
    enum rseq_status b = model_swap(kind, off, right_guess ? model.spare : 2, model.hand_mag[hand], &b_old);
    MUST(a == b);
    MUST(normal(&real, a_old) == normal(&model, b_old));
    if (a == RSEQ_DONE) {
        real.hand_mag[hand] = a_old;
        model.hand_mag[hand] = b_old;
    }
}

static void random_operation(void) {
    u64 r = alone_random(&seed);
    unsigned slot = (unsigned)(r % WORLD_SLOTS), hand = (unsigned)(r / 16384 % WORLD_HANDS);
    switch (r / 64 % 8) {
    case 0:
    case 1: both_pop(slot); break;
    case 2: both_pop_run(slot, 1 + (unsigned)(r / 512 % RUN_MAX)); break;
    case 3:
    case 4: both_push(slot, hand); break;
    case 5: both_push_run(slot, hand, 1 + (unsigned)(r / 512 % RUN_MAX)); break;
    default: both_swap((enum swap)(r / 1024 % SWAPS_NR), slot, hand, r / 4096 % 4 != 0); break;
    }
}

static void primitives_equal_the_model(void) {
    world_init(&real);
    world_init(&model);
    MUST(world_check(&real) == NULL);
    for (unsigned round = 0; round < ROUNDS; round++) {
        random_operation();
        must_be_equal(round);
    }
    MUST(world_check(&real) == NULL);
}

/* --- under signals --- */

static volatile sig_atomic_t handled_nr;
static u64 handler_seed = 7;

/* One object or magazine at a time, between the slots and these hands, which nobody else uses. */
static void storm_step(u64 *at, unsigned obj_hand, unsigned mag_hand) {
    u64 r = alone_random(at), old;
    unsigned slot = (unsigned)(r % SLOT_STOPPED);
    if (r / 8 % 4 == 0) {
        u64 m = real.hand_mag[mag_hand], spare = real.spare;
        /* A magazine taken as spare may be gone by the time of the swap, which then refuses. */
        if (m != 0 && rseq_swap_if_equal(real.views, WORLD_SPARE_OFF, spare, m, &old) == RSEQ_DONE)
            real.hand_mag[mag_hand] = spare;
        m = real.hand_mag[mag_hand];
        if (m != 0 && (r / 64 % 2 ? rseq_swap_if_empty(real.views, WORLD_SLOT_OFF(slot), m, &old)
                                  : rseq_swap_if_full(real.views, WORLD_SLOT_OFF(slot), m, &old)) == RSEQ_DONE)
            real.hand_mag[mag_hand] = old;
    } else if (real.hand_obj[obj_hand] == 0) {
        real.hand_obj[obj_hand] =
            (u64)(r / 32 % 2 ? rseq_pop_at(real.views, world_pop_table, slot) : rseq_pop(real.views, slot));
    } else if (r / 32 % 2 ? rseq_push_at(real.views, world_push_table, slot, (void *)real.hand_obj[obj_hand])
                          : rseq_push(real.views, slot, (void *)real.hand_obj[obj_hand])) {
        real.hand_obj[obj_hand] = 0;
    }
}

static void on_alarm(int signal_nr) {
    (void)signal_nr;
    handled_nr++;
    for (int i = 0; i < 3; i++)
        storm_step(&handler_seed, 1, 1);
}

static u64 now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (u64)now.tv_sec * 1000 + (u64)now.tv_nsec / 1000000;
}

static void signals_lose_nothing(void) {
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval on = {{0, STORM_PERIOD_US}, {0, STORM_PERIOD_US}}, off = {{0, 0}, {0, 0}};
    world_init(&real);
    MUST(sigaction(SIGALRM, &action, NULL) == 0);
    MUST(setitimer(ITIMER_REAL, &on, NULL) == 0);
    for (u64 end = now_ms() + STORM_MS; now_ms() < end || handled_nr < HANDLED_MIN;) {
        for (int i = 0; i < 1000; i++)
            storm_step(&seed, 0, 0);
    }
    MUST(setitimer(ITIMER_REAL, &off, NULL) == 0);
    const char *wrong = world_check(&real);
    if (wrong != NULL)
        fprintf(stderr, "after %d signals: %s\n", (int)handled_nr, wrong);
    MUST(wrong == NULL);
}

int main(void) {
    if (!world_use_rseq())
        SKIP("no rseq in this build, kernel or libc: there are no primitives to test");
    primitives_equal_the_model();
    signals_lose_nothing();
    printf("%u operations equal to the model; nothing lost in %d signals\n", (unsigned)ROUNDS, (int)handled_nr);
    return 0;
}
