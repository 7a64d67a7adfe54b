/* SPDX-License-Identifier: MIT */
/*
 * Free lists of fixed-size metadata blocks, and the tagged stack they are made of, which depot and partial lists share
 * in kind. Used by slab/ (bitmaps), mag/ (magazines) and leftover.c.
 *
 * States      A block is in use by one owner, or linked on exactly one stack.
 * Invariants  [T1] The head's tag changes with every successful push and pop.
 *             [T2] A block's memory is never unmapped and its link word is only written by its owner.
 * Ordering    push releases, pop acquires: what the pusher wrote into the block is seen by the popper.   [stack.push]
 * Progress    Lock-free: a failed compare-and-swap means another thread's succeeded.
 * Reclamation None needed: by [T2] reading the link of a block that was popped meanwhile is harmless, by [T1] the swap
 * then fails. The tag has 32 bits: a thread must sleep through exactly a multiple of 2^32 operations on one stack to be
 * fooled.
 */
#ifndef QUARRY_RT_POOL_H
#define QUARRY_RT_POOL_H

#include "rt/meta.h"

/* low 32 bits: meta_ref_t of the top block; high 32 bits: tag. */
struct rt_stack {
    _Atomic(u64) head;
};

/* The first 8 bytes of a linked block hold its link in the high half; the low half belongs to the block's type. */
void rt_stack_push(struct rt_stack *stack, void *block);
void *rt_stack_pop(struct rt_stack *stack); /* NULL when empty */
/* Takes the whole list at once; walk it with rt_stack_next. */
void *rt_stack_take_all(struct rt_stack *stack);
void *rt_stack_next(const void *block);

/* Blocks of one kind never become blocks of another: magazines rely on what their kind leaves behind in a block
 * (mag/magazine.c). */
enum rt_pool_kind { RT_POOL_BITMAPS, RT_POOL_MAGAZINES, RT_POOL_LEFTOVERS, RT_POOL_KINDS_NR };

/* A block of 1 << shift bytes (4 <= shift <= 12), naturally aligned: zeroed and never read when new, else as it was
 * put but for its first 8 bytes, which are zero. Near a node, by index: it goes back to the blocks it came from, which
 * its owner knows. NULL when memory is out. Lock-free. */
void *rt_pool_get(enum rt_pool_kind kind, unsigned node, unsigned shift);
void rt_pool_put(enum rt_pool_kind kind, unsigned node, void *block, unsigned shift);

#endif
