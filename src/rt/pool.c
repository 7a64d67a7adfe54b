/* SPDX-License-Identifier: MIT */
/* Tagged stacks and block pools. Contract and argument in pool.h. */
#include "rt/pool.h"

#include "sys/sys.h"

enum { SHIFT_MIN = 4, SHIFT_MAX = 12, REF_BITS = 32 };

#define TAG_ONE ((u64)1 << REF_BITS)
#define LOW_HALF (TAG_ONE - 1)

static meta_ref_t head_ref(u64 head) { return (meta_ref_t)(head & LOW_HALF); }
static u64 head_next(u64 head, meta_ref_t ref) { return ((head & ~LOW_HALF) + TAG_ONE) | ref; }

static _Atomic(u64) *link_word(const void *block) { return (_Atomic(u64) *)(uintptr_t)block; }

void *rt_stack_next(const void *block) {
    meta_ref_t ref = (meta_ref_t)(atomic_load_explicit(link_word(block), memory_order_relaxed) >> REF_BITS);
    return ref == 0 ? NULL : rt_meta_at(ref);
}

void rt_stack_push(struct rt_stack *stack, void *block) {
    _Atomic(u64) *word = link_word(block);
    u64 kept = atomic_load_explicit(word, memory_order_relaxed) & LOW_HALF;
    u64 head = atomic_load_explicit(&stack->head, memory_order_relaxed);
    do {
        atomic_store_explicit(word, kept | ((u64)head_ref(head) << REF_BITS), memory_order_relaxed);
        /* order: release, relaxed on failure: publishes the block's contents.                    pairs: [stack.push] */
    } while (!atomic_compare_exchange_weak_explicit(&stack->head, &head, head_next(head, rt_meta_ref(block)),
                                                    memory_order_release, memory_order_relaxed));
}

void *rt_stack_pop(struct rt_stack *stack) {
    /* order: acquire: the link read below must be one at least as new as the head.               pairs: [stack.push] */
    u64 head = atomic_load_explicit(&stack->head, memory_order_acquire);
    while (head_ref(head) != 0) {
        void *block = rt_meta_at(head_ref(head));
        meta_ref_t next = (meta_ref_t)(atomic_load_explicit(link_word(block), memory_order_relaxed) >> REF_BITS);
        /* order: acquire: consumes the block's contents, and the new head's for the next turn.   pairs: [stack.push] */
        if (atomic_compare_exchange_weak_explicit(&stack->head, &head, head_next(head, next), memory_order_acquire,
                                                  memory_order_acquire))
            return block;
    }
    return NULL;
}

void *rt_stack_take_all(struct rt_stack *stack) {
    u64 head = atomic_load_explicit(&stack->head, memory_order_relaxed);
    /* order: acquire: consumes the contents of every block on the list.                          pairs: [stack.push] */
    while (head_ref(head) != 0 && !atomic_compare_exchange_weak_explicit(&stack->head, &head, head_next(head, 0),
                                                                         memory_order_acquire, memory_order_relaxed))
        continue;
    return head_ref(head) == 0 ? NULL : rt_meta_at(head_ref(head));
}

/* Of nodes that are not kept apart nothing is ever touched. */
static struct pools {
    _Alignas(CACHE_LINE) struct rt_stack blocks[RT_POOL_KINDS_NR][SHIFT_MAX + 1];
} pools[SYS_NODES_MAX];

void *rt_pool_get(enum rt_pool_kind kind, unsigned node, unsigned shift) {
    void *block = rt_stack_pop(&pools[node].blocks[kind][shift]);
    if (block == NULL)
        return rt_meta_alloc_near(node, (size_t)1 << shift, (size_t)1 << shift);
    atomic_store_explicit(link_word(block), 0, memory_order_relaxed);
    return block;
}

void rt_pool_put(enum rt_pool_kind kind, unsigned node, void *block, unsigned shift) {
    rt_stack_push(&pools[node].blocks[kind][shift], block);
}
