/* SPDX-License-Identifier: MIT */
/*
 * Work in a forked process of its own, for measures that need a heap nobody has used yet. The memory and faults of a
 * child that was waited for are part of what wait4() later says of its parent. Called by single-threaded bench
 * programs.
 */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include <stddef.h>
#include <sys/types.h>

/* Memory that a child writes its figures to and the parent reads; zero at the start, kept until the end. */
void *child_shared_map(size_t bytes);

/* Waits for the child; the program ends when the child did not end with status 0. */
void child_wait(pid_t pid);

/* Runs body(argument) in a child and waits for it. */
void child_run(void (*body)(void *argument), void *argument);

#endif
