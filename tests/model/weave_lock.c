/* SPDX-License-Identifier: MIT */
/*
 * The futex lock of src/sys/lock.c, explored (weave.h): threads acquire, try, or only wait, and release. The kernel's
 * part is here: who waits compares and goes to sleep in one step, who wakes takes the first sleepers, in a step of its
 * own after the release, and a sleeper may be woken by nothing (a signal, or no reason at all). One thread at a time is
 * inside, sees what those before it did there, and nobody sleeps for ever: a wake that is lost leaves threads that wait
 * for each other.
 */
#include "sys/sys.h"

#include "sys/call.h"
#include "weave.h"
#include "weave_sleep.h"

#include <linux/futex.h>

static struct sys_lock lock;
static u64 inside, entries, entered[WEAVE_THREADS_MAX];
/* a acquire and release, A the same and wake all, r acquire twice, t try, w wait once without wanting it. */
static const char *scripts[WEAVE_THREADS_MAX];
static unsigned thread_shift;

u64 sys_thread_self(void) { return (u64)(weave_self() + 1) << thread_shift; }

/* --- the kernel --- */

static unsigned early[WEAVE_THREADS_MAX]; /* how many sleeps end by themselves */
static u64 early_used[WEAVE_THREADS_MAX]; /* modelled */

static void futex_wait(void *word, u32 expected) {
    unsigned self = weave_self();
    /* What is there now and nothing older: the kernel's lock, and its fence on either side. */
    if ((u32)atomic_fetch_add_explicit((_Atomic(u64) *)word, 0, memory_order_relaxed) != expected)
        return;
    sleeper_add(self);
    if (early_used[self] < early[self]) {
        early_used[self]++;
        kernel_step();
        if (is_asleep(self))
            sleeper_remove(sleeper_find(self));
    }
    while (is_asleep(self))
        weave_wait();
}

long futex_call(void *word, int operation, u64 value) {
    if (operation == FUTEX_WAIT_PRIVATE) {
        futex_wait(word, (u32)value);
        return 0;
    }
    weave_must(operation == FUTEX_WAKE_PRIVATE);
    sleepers_wake(value);
    return 0;
}

/* --- threads --- */

static void critical_section(unsigned self) {
    weave_must(inside++ == 0);
    entries++;
    entered[self]++;
    inside--;
}

static void thread(unsigned self) {
    for (const char *at = scripts[self]; *at != 0; at++) {
        if (*at == 'w') {
            sys_lock_wait(&lock, SYS_LOCK_WAIT_MS);
        } else if (*at != 't' || sys_lock_try(&lock)) {
            weave_must(*at == 't' || sys_lock_acquire(&lock));
            weave_must(*at != 'r' || !sys_lock_acquire(&lock));
            critical_section(self);
            weave_must(sys_lock_is_mine(&lock));
            if (*at == 'A')
                sys_lock_release_all(&lock);
            else
                sys_lock_release(&lock);
        }
        weave_forget((u64)(at - scripts[self]));
    }
}

static void finish(void) {
    u64 all = 0;
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++)
        all += entered[t];
    weave_must(entries == all && inside == 0);
    weave_must(atomic_load_explicit(&lock.word, memory_order_relaxed) == 0);
    weave_must(sleepers_get() == 0);
}

/* shift: where thread pointers differ; with 32 their lower halves, which alone the futex compares, are one. */
static void setup(unsigned shift, unsigned early_nr, const char *const texts[WEAVE_THREADS_MAX]) {
    thread_shift = shift;
    sleepers_start();
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        scripts[t] = texts[t];
        early[t] = early_nr;
    }
}

#define SETUP(name, shift, early_nr, first, second, third)                                                             \
    static void setup_##name(void) { setup(shift, early_nr, (const char *const[3]){first, second, third}); }
SETUP(two, 12, 0, "a", "a", "")
SETUP(again, 12, 0, "aa", "aa", "")
SETUP(twice, 12, 0, "r", "a", "")
SETUP(try, 12, 0, "ta", "at", "")
SETUP(halves, 32, 0, "aa", "aa", "")
SETUP(early, 12, 2, "aa", "aa", "")
SETUP(waits, 12, 0, "A", "w", "")
SETUP(three, 12, 0, "a", "a", "a")
SETUP(three_early, 32, 1, "a", "a", "a")
SETUP(all, 12, 0, "A", "w", "w")
SETUP(all_one, 12, 0, "A", "w", "A")

static const struct weave_model models[] = {
    {"two acquire", 2, setup_two, thread, finish, WEAVE_BOTH},
    {"one acquires twice", 2, setup_twice, thread, finish, WEAVE_BOTH},
    {"one holds, one only waits", 2, setup_waits, thread, finish, WEAVE_BOTH},
    {"two acquire again", 2, setup_again, thread, finish, WEAVE_BOTH},
    {"two try and acquire", 2, setup_try, thread, finish, WEAVE_BOTH},
    {"two whose lower halves are one", 2, setup_halves, thread, finish, WEAVE_BOTH},
    {"two who wake by themselves", 2, setup_early, thread, finish, WEAVE_BOTH},
    {"three acquire", 3, setup_three, thread, finish, WEAVE_SC},
    {"one holds, two only wait", 3, setup_all, thread, finish, WEAVE_BOTH},
    {"two hold, one only waits", 3, setup_all_one, thread, finish, WEAVE_SC},
    {"three who wake by themselves", 3, setup_three_early, thread, finish, WEAVE_SOAK},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"sys_lock_wait", "if (seen == 0", WEAVE_NEVER},
    {"sys_lock_acquire", "if (sys_lock_try_spinning", WEAVE_ALWAYS},
    {"sys_lock_acquire", "if (sys_lock_is_mine", WEAVE_NEVER},
    {"sys_lock_acquire", "if (sys_lock_is_mine", WEAVE_ALWAYS},
    {"sys_lock_acquire", "while (!sys_lock_try_as", WEAVE_NEVER},
    {"release", "if (old & SYS_LOCK_WAITED", WEAVE_NEVER},
};

static const struct weave_suite suite = {
    .name = "lock", .models = models, .models_nr = ARRAY_NR(models), .checks = checks, .checks_nr = ARRAY_NR(checks)};

int main(int argc, char **argv) { return weave_main(&suite, argc, argv); }
