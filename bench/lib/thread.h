/* SPDX-License-Identifier: MIT */
/*
 * Threads of the bench programs: start and join that cannot fail quietly, and one way to wait for another thread.
 * Called by prodcons and the threaded scenarios; owns no state.
 */
#ifndef BENCH_THREAD_H
#define BENCH_THREAD_H

#include <pthread.h>

pthread_t thread_start(void *(*body)(void *), void *argument);
void thread_join(pthread_t thread);
void thread_meet(pthread_barrier_t *barrier);

/*
 * One step of waiting for a queue to move. attempt counts from 0 within one wait: the first steps pause the CPU, in
 * case the other thread runs on its neighbour, the later ones give the CPU away, in case it needs this one.
 */
void thread_wait_step(unsigned attempt);

#endif
