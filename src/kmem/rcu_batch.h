/* SPDX-License-Identifier: MIT */
/*
 * Private to kmem/: objects that wait for a grace period, by the batch. A batch is an array of addresses, so that
 * neither who hands an object over nor who frees it touches the object. rcu.c has the CPUs' current batches, and the
 * grace periods; here are the batches that are full, those whose grace period is over, and those that are empty.
 *
 *   rcu_batch_get() -> a CPU's current batch -> rcu_batch_hand_over() -> rcu_batch_take() -> grace period
 *         ^                                                                                     |
 *         +-- objects freed, by whoever needs a batch next, or by the thread <-- rcu_batch_ready()
 */
#ifndef QUARRY_KMEM_RCU_BATCH_H
#define QUARRY_KMEM_RCU_BATCH_H

#include "kmem/kmem.h"
#include "kmem/most.h"

/* A batch lies at a multiple of its size, so that the place behind its last object says that it is full. */
#define RCU_BATCH_BYTES ((RCU_BATCH_OBJS + (size_t)2) * sizeof(void *))
struct rcu_batch {
    struct rcu_batch *next;
    u32 objs_nr, freed_nr;
    const void *objs[RCU_BATCH_OBJS];
};
_Static_assert(sizeof(struct rcu_batch) == RCU_BATCH_BYTES,
               "percpu_put_word() tells by the place that a batch is full");

/* --- who hands over: any context, with no system call and no waiting --- */

/* What is between enter and leave is in nobody's lists; a barrier waits for it. False: a barrier waits, leave it be. */
bool rcu_batch_enter(u32 *ret_generation);
void rcu_batch_leave(u32 generation);
/* An empty batch. Frees the objects of one or two on the way, if there are any whose grace period is over. NULL: no
 * memory that is to be had so; rcu_batch_stock() brings some, by who may block. */
struct rcu_batch *rcu_batch_get(void);
void rcu_batch_put(struct rcu_batch *b);
/* Get found nothing, and would find nothing yet. Cheap, because it is asked for each object then. */
bool rcu_batch_is_lacking(void);
/* The first object of an empty batch; the place behind it. */
u64 rcu_batch_begin(struct rcu_batch *b, const void *object);
/* A batch in which objects are, by the place behind the last. Returns how many wait for a grace period to begin. */
u32 rcu_batch_hand_over(u64 end);
/* In the child of a fork: of a batch that may be a current one yet. */
bool rcu_batch_is_handed_over(u64 end);

/* --- who waits for grace periods: one thread at a time --- */

/* Brings more empty ones where they were wanted, but while a barrier is under way. */
void rcu_batch_stock(void);
/* The same number of empty ones as there always is. */
void rcu_batch_trim(void);
/* All that were handed over now wait for one; those that a child of fork found waiting come first. False: none. */
bool rcu_batch_take(void);
/* In the child of a fork that found somebody taking. */
void rcu_batch_take_mend(void);
/* The grace period is over: who needs a batch next frees them. Returns how many objects they have. */
size_t rcu_batch_ready(void);
/* Frees all that are ready. */
void rcu_batch_free_ready(void);
/* Nothing was handed over that is not freed. */
bool rcu_batch_none(void);

/* Keeps who hands over out, and waits for those who are inside. Counted: threads do so together. */
u32 rcu_batch_shut(void);
void rcu_batch_open(u32 generation);
void rcu_batch_fork_child(void);

#endif
