/* SPDX-License-Identifier: MIT */
/*
 * The sections of percpu_x86_64.h that rcu.c is made of, as the machine of weave.h runs them. Found in place of
 * src/kmem/percpu_none.h. The set is read by acquire, for what hardware orders by the address.
 */
#ifndef QUARRY_KMEM_PERCPU_NONE_H
#define QUARRY_KMEM_PERCPU_NONE_H

#include "kmem/percpu.h"
#include "weave.h"

/* The CPU this thread runs on, of the model; -1: the kernel tells it none. */
int section_cpu(void);

static inline u64 percpu_word_load(u64 at) { return __atomic_load_n((u64 *)at, __ATOMIC_RELAXED); }

/* This CPU's list of the set; 0: there is no CPU number. */
static inline u64 percpu_list_enter(const u64 *set) {
    int cpu = section_cpu();
    if (cpu < 0)
        return 0;
    weave_section_begin((unsigned)cpu);
    return __atomic_load_n(set, __ATOMIC_ACQUIRE) + ((u64)cpu << PERCPU_LOCK_SHIFT);
}

static inline bool percpu_push(const u64 *set, void *head, void **ret_first) {
    WEAVE_SECTION();
    u64 list = percpu_list_enter(set);
    if (list == 0)
        return false;
    *ret_first = (void *)percpu_word_load(list);
    *(void **)head = *ret_first;
    weave_section_commit((u64 *)list, (u64)head);
    return true;
}

static inline bool percpu_put_word(const u64 *set, u32 slot_at, u32 block_bytes, const void *word) {
    WEAVE_SECTION();
    u64 list = percpu_list_enter(set);
    if (list == 0)
        return false;
    u64 place = percpu_word_load(list + slot_at);
    if (place % block_bytes == 0)
        return weave_section_leave(), false;
    *(const void **)place = word;
    weave_section_commit((u64 *)(list + slot_at), place + sizeof(word));
    return true;
}

static inline bool percpu_put_place(const u64 *set, u32 slot_at, u32 block_bytes, u64 place, u64 *ret_before) {
    WEAVE_SECTION();
    u64 list = percpu_list_enter(set);
    if (list == 0)
        return false;
    *ret_before = percpu_word_load(list + slot_at);
    if (*ret_before % block_bytes != 0)
        return weave_section_leave(), false;
    weave_section_commit((u64 *)(list + slot_at), place);
    return true;
}

#endif
