/* SPDX-License-Identifier: MIT */
/*
 * CPUs go offline and come back while a process allocates on them: no object may be lost or handed out twice, and what
 * the magazines of dead CPUs hold must come back. Owns the switching of CPUs; the oracle is the stress's and that of
 * its own pools. Takes CPUs away from the whole machine, so it does nothing unless it is told what. In the guests of
 * tests/numa/guests:
 *
 * guest churn: churn /stress --seconds 4 --signals --affinity --forks --threads 16
 * guest churn-cpu_id: QUARRY_PERCPU=cpu_id churn /stress --seconds 3 --signals --affinity --threads 16
 * guest holes: holes /stress --seconds 2 --signals --threads 16
 * guest drain: drain
 * guest drain-cpu_id: QUARRY_PERCPU=cpu_id drain
 */
#include "check.h"
#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    CPUS_MAX = 64,
    PAUSE_MS = 20,
    SWITCHES_MIN = 10,
    FILL_NR = 400,
    FILL_ROUNDS = 20,
    POOL_STEPS = 2000,
    DRAIN_LIMIT_S = 20, /* of a quiet machine */
    FILL_TRIES = 20,
};

static unsigned cpus_nr;

static void pause_ms(unsigned ms) {
    struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* --- CPUs; the first cannot go --- */

/* The kernel may refuse for a moment. */
static bool cpu_switch(unsigned cpu, bool online) {
    char path[64];
    (void)snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK_MSG(fd >= 0, "cannot open %s", path);
    bool done = write(fd, online ? "1" : "0", 1) == 1;
    CHECK_MSG(done || errno == EBUSY || errno == EAGAIN, "CPU %u does not switch: errno %d", cpu, errno);
    close(fd);
    return done;
}

static void cpus_switch_all(bool online) {
    for (unsigned cpu = 1; cpu < cpus_nr; cpu++) {
        for (unsigned tries = 0; !cpu_switch(cpu, online); tries++) {
            CHECK_MSG(tries < 100, "CPU %u stays as it is", cpu);
            pause_ms(PAUSE_MS);
        }
    }
}

static void pin_to(unsigned cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
}

/* --- another program, while CPUs come and go --- */

static pid_t program_start(char **command) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)execv(command[0], command);
        check_fail(__FILE__, __LINE__, "cannot run %s: errno %d", command[0], errno);
    }
    return child;
}

/* Whether it is still there; fails when it did not end well. */
static bool program_runs(pid_t child) {
    int status;
    pid_t ended = waitpid(child, &status, WNOHANG);
    CHECK_MSG(ended == 0 || (ended == child && status == 0), "the program ended with wait status %#x",
              (unsigned)status);
    return ended == 0;
}

/* holes: the program starts while the CPUs' numbers have gaps, and then gets all of them. */
static unsigned program_disturb_once(char **command, bool holes, struct rng *rng) {
    bool online[CPUS_MAX];
    unsigned switches_nr = 0;
    for (unsigned cpu = 0; cpu < cpus_nr; cpu++)
        online[cpu] = cpu == 0 || !holes || cpu % 2 == 0 || !cpu_switch(cpu, false);
    pid_t child = program_start(command);
    while (program_runs(child)) {
        unsigned cpu = 1 + (unsigned)rng_below(rng, cpus_nr - 1);
        if (cpu_switch(cpu, !online[cpu])) {
            online[cpu] = !online[cpu];
            switches_nr++;
        }
        pause_ms(PAUSE_MS);
    }
    cpus_switch_all(true);
    return switches_nr;
}

/* A switch takes as long as the machine is busy: again, until there were enough of them. */
static void program_disturb(char **command, bool holes) {
    struct rng rng = {(uint64_t)time(NULL)};
    unsigned switches_nr = 0;
    printf("seed: %llu\n", (unsigned long long)rng.state);
    fflush(stdout);
    while (switches_nr < SWITCHES_MIN)
        switches_nr += program_disturb_once(command, holes, &rng);
    printf("%u switches\n", switches_nr);
}

/* --- what dead CPUs hold --- */

static struct pool pools[CPUS_MAX];
static pthread_barrier_t filled;

static uint64_t figure(const char *name) {
    uint64_t value = 0;
    CHECK(quarry_stat(name, &value) == 0);
    return value;
}

/* Fills the magazines of the id this runs on, and leaves the memory otherwise free. */
static void magazines_fill(void) {
    static const size_t sizes[] = {48, 320, 1000};
    void *held[FILL_NR];
    for (unsigned round = 0; round < FILL_ROUNDS; round++) {
        for (unsigned i = 0; i < FILL_NR; i++)
            CHECK((held[i] = malloc(sizes[i % 3])) != NULL);
        for (unsigned i = 0; i < FILL_NR; i++)
            free(held[i]);
    }
}

/* All at once, so that each has an id of its own. */
static void *cpu_fill(void *arg) {
    unsigned cpu = (unsigned)(uintptr_t)arg;
    pin_to(cpu);
    pool_steps(&pools[cpu], POOL_STEPS);
    magazines_fill();
    (void)pthread_barrier_wait(&filled);
    magazines_fill();
    (void)pthread_barrier_wait(&filled);
    return NULL;
}

static void cpus_fill(void) {
    pthread_t threads[CPUS_MAX];
    CHECK(pthread_barrier_init(&filled, NULL, cpus_nr - 1) == 0);
    for (unsigned cpu = 1; cpu < cpus_nr; cpu++)
        CHECK(pthread_create(&threads[cpu], NULL, cpu_fill, (void *)(uintptr_t)cpu) == 0);
    for (unsigned cpu = 1; cpu < cpus_nr; cpu++)
        CHECK(pthread_join(threads[cpu], NULL) == 0);
    (void)pthread_barrier_destroy(&filled);
}

/* This thread goes on by itself, as programs do, until no more is cached than one CPU does; it is given far longer than
 * it needs. */
static uint64_t cached_after_rest(uint64_t wanted_bytes) {
    time_t start = time(NULL);
    uint64_t bytes;
    do {
        magazines_fill();
        pause_ms(PAUSE_MS);
        bytes = figure("cached_bytes");
    } while (bytes > wanted_bytes && time(NULL) - start < (time_t)limit_seconds(DRAIN_LIMIT_S));
    return bytes;
}

/* All CPUs', once they hold so much: where one waits long for the host, the others are emptied meanwhile, as idle. */
static uint64_t cached_by_all(uint64_t wanted_bytes) {
    uint64_t bytes;
    unsigned tries = 0;
    do {
        cpus_fill();
        bytes = figure("cached_bytes");
    } while (bytes < wanted_bytes && ++tries < FILL_TRIES);
    return bytes;
}

/* Each CPU does the same, so each holds about the same; what the first holds is known before the others begin. */
static void drain_judge(void) {
    pin_to(0);
    for (unsigned cpu = 0; cpu < cpus_nr; cpu++)
        pool_init(&pools[cpu], 21, cpu, 4000);
    pool_steps(&pools[0], POOL_STEPS);
    magazines_fill();
    uint64_t one = figure("cached_bytes"), wanted = one + (cpus_nr - 1) * one / 4;
    /* From before the others are filled: where they wait long, those that are emptied meanwhile may be enough. */
    uint64_t drains = figure("drains"), all = cached_by_all(wanted);
    CHECK_MSG(all >= wanted, "%llu bytes cached by one CPU, %llu by all", (unsigned long long)one,
              (unsigned long long)all);
    cpus_switch_all(false);
    uint64_t rest = cached_after_rest(one * 3 / 2);
    CHECK_MSG(rest <= one * 3 / 2, "%llu bytes cached by one CPU, %llu by all, and %llu after the others are gone",
              (unsigned long long)one, (unsigned long long)all, (unsigned long long)rest);
    CHECK(figure("drains") > drains);
    /* What was allocated on CPUs that are gone is whole, and so is what they do when they are back. */
    for (unsigned cpu = 1; cpu < cpus_nr; cpu++)
        pool_steps(&pools[cpu], POOL_STEPS);
    cpus_switch_all(true);
    cpus_fill();
    for (unsigned cpu = 0; cpu < cpus_nr; cpu++)
        pool_drain(&pools[cpu]);
    printf("%llu bytes cached by one CPU, %llu by all, %llu after the others were gone\n", (unsigned long long)one,
           (unsigned long long)all, (unsigned long long)rest);
}

int main(int argc, char **argv) {
    cpus_nr = (unsigned)sysconf(_SC_NPROCESSORS_CONF);
    CHECK(cpus_nr <= CPUS_MAX);
    if (argc < 2 || cpus_nr < 2)
        check_skip("CPUs are taken away in a guest only, which says so");
    cpus_switch_all(true); /* whatever one that failed left behind */
    if (strcmp(argv[1], "drain") == 0)
        drain_judge();
    else if (argc > 2 && (strcmp(argv[1], "churn") == 0 || strcmp(argv[1], "holes") == 0))
        program_disturb(argv + 2, strcmp(argv[1], "holes") == 0);
    else
        check_fail(__FILE__, __LINE__, "usage: hotplug drain | hotplug churn|holes PROGRAM [ARGUMENT...]");
    return 0;
}
