/* SPDX-License-Identifier: MIT */
/*
 * A machine of many CPUs on one thread, linked in the place of src/sys/cpu.c: the thread says on which CPU it is, and
 * that is what the fast path finds in its rseq area, a pretended one that the kernel does not know. Whole restartable
 * sections run, none is ever restarted: of orders and races nothing is learned here, of counts and bytes everything.
 * The caller stays on one thread.
 */
#ifndef QUARRY_TESTS_FAKES_MANY_H
#define QUARRY_TESTS_FAKES_MANY_H

#include "sys/sys.h"

/* How many CPUs there are, and whether ids are theirs or concurrency ids. Before the heap starts. */
void many_cpus(unsigned cpus_nr, enum sys_rseq ids);
/* This thread runs on a CPU from now on; id: its concurrency id there. */
void many_go(unsigned cpu, unsigned id);

/* What the barrier answers from now on: 0, or -errno. */
void many_barrier_answers(int registering, int passing);
extern unsigned many_registered_nr, many_barriers_nr;
extern bool many_is_alone; /* as libc says */

#endif
