/* SPDX-License-Identifier: MIT */
/*
 * Threads on the CPUs of a pretended machine, one step of each at a time: who runs where and by which id. Owns the
 * scheduling; what a thread does in its slice is the caller's.
 */
#ifndef QUARRY_TESTS_SCALE_MACHINE_H
#define QUARRY_TESTS_SCALE_MACHINE_H

#include "fakes/many.h"

enum { CPUS_MAX = 256, NODES_MAX = 8, THREADS_MAX = 4096, SLICE_MS = 4 };

enum placement {
    PLACEMENT_PINNED,    /* each thread on its CPU, in turn with the others there */
    PLACEMENT_WANDERING, /* each slice on another */
};

struct machine {
    unsigned cpus_nr, nodes_nr, threads_nr;
    enum placement placement;
    enum sys_rseq ids;
};

/* Before the heap starts. */
void machine_start(const struct machine *m);
/* Gives each CPU that has a thread to run one slice, and moves the clock on by as long. */
void machine_round(const struct machine *m, void (*slice)(unsigned thread, unsigned node));
/* The same for a CPU alone; the others have no thread to run. */
void machine_round_on(const struct machine *m, unsigned cpu, void (*slice)(unsigned thread, unsigned node));
unsigned machine_node(const struct machine *m, unsigned cpu);
u32 machine_random(u32 below);

#endif
