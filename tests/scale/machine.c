/* SPDX-License-Identifier: MIT */
/* See machine.h. */
#include "scale/machine.h"

#include "fakes/fake.h"

#include <stdlib.h>
#include <string.h>

enum { IDLE = -1 };

static unsigned round_nr;
static int id_of[CPUS_MAX]; /* concurrency id of the CPU while it runs threads; IDLE */
static bool id_taken[CPUS_MAX];

/* The same on every run and every machine. */
u32 machine_random(u32 below) {
    static u64 seed = 88172645463325252u;
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (u32)(seed >> 32) % below;
}

unsigned machine_node(const struct machine *m, unsigned cpu) { return cpu * m->nodes_nr / m->cpus_nr; }

void machine_start(const struct machine *m) {
    u16 ids[NODES_MAX];
    for (unsigned node = 0; node < m->nodes_nr; node++)
        ids[node] = (u16)node;
    for (unsigned cpu = 0; cpu < m->cpus_nr; cpu++)
        id_of[cpu] = IDLE;
    fake_nodes(m->nodes_nr, ids);
    fake_node_go(0);
    many_cpus(m->cpus_nr, m->ids);
    many_go(0, 0);
}

/* The kernel hands out the lowest id that is free, and a CPU keeps it as long as it runs threads of the process. */
static void cpu_run(const struct machine *m, unsigned cpu) {
    unsigned id = 0;
    while (id_of[cpu] == IDLE && id_taken[id])
        id++;
    if (id_of[cpu] == IDLE) {
        id_of[cpu] = (int)id;
        id_taken[id] = true;
    }
    many_go(cpu, (unsigned)id_of[cpu]);
    fake_node_go((int)machine_node(m, cpu));
}

static void cpu_rest(unsigned cpu) {
    if (id_of[cpu] != IDLE)
        id_taken[id_of[cpu]] = false;
    id_of[cpu] = IDLE;
}

/* With fewer threads than CPUs those that run are on CPUs chosen anew, all different. */
static void few_round(const struct machine *m, void (*slice)(unsigned thread, unsigned node)) {
    unsigned cpu_at[CPUS_MAX];
    for (unsigned cpu = 0; cpu < m->cpus_nr; cpu++)
        cpu_at[cpu] = cpu;
    for (unsigned i = 0; i < m->threads_nr; i++) {
        unsigned other = i + machine_random(m->cpus_nr - i), cpu = cpu_at[other];
        cpu_at[other] = cpu_at[i];
        cpu_at[i] = cpu;
    }
    for (unsigned i = m->threads_nr; i < m->cpus_nr; i++)
        cpu_rest(cpu_at[i]);
    for (unsigned i = 0; i < m->threads_nr; i++) {
        cpu_run(m, cpu_at[i]);
        slice(i, machine_node(m, cpu_at[i]));
    }
}

void machine_round(const struct machine *m, void (*slice)(unsigned thread, unsigned node)) {
    unsigned shift = m->placement == PLACEMENT_WANDERING ? machine_random(m->cpus_nr) : 0;
    unsigned turns = m->threads_nr / m->cpus_nr;
    round_nr++;
    if (turns == 0) {
        few_round(m, slice);
    } else {
        for (unsigned i = 0; i < m->cpus_nr; i++) {
            unsigned cpu = (i + shift) % m->cpus_nr;
            cpu_run(m, cpu);
            slice(i + m->cpus_nr * (round_nr % turns), machine_node(m, cpu));
        }
    }
    fake_clock_advance_ms(SLICE_MS);
}

void machine_round_on(const struct machine *m, unsigned cpu, void (*slice)(unsigned thread, unsigned node)) {
    for (unsigned other = 0; other < m->cpus_nr; other++) {
        if (other != cpu)
            cpu_rest(other);
    }
    cpu_run(m, cpu);
    slice(cpu, machine_node(m, cpu));
    fake_clock_advance_ms(SLICE_MS);
}
