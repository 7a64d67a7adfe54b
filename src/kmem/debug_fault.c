/* SPDX-License-Identifier: MIT */
/*
 * Reads of poison. What a program reads from an object that is free, or that nobody has written yet, is 0x6b6b6b6b; as
 * a pointer that is an address no process can have, and using it ends the program. Then this looks which object the
 * poison came from: one that a register or the top of the stack points into and that is full of it. That is a guess,
 * and said to be one; the kernel prints the registers and leaves the guess to the reader. Owns nothing.
 */
#include "kmem/debug.h"

#include "sys/fault.h"

#include <string.h>

enum { ADDRESS_BITS = 47, NEAR_BYTES = 64 * 1024, STACK_WORDS = 256, STACK_PIECE = 32, NAMED_MAX = 2 };
#define POISON_WORD 0x6b6b6b6b6b6b6b6bu
#define POISON_LAST_WORD 0xa56b6b6b6b6b6b6bu

static bool is_near(u64 v, u64 poison) { return v - poison + NEAR_BYTES < 2 * (u64)NEAR_BYTES; }
static bool is_poison(u64 v) { return is_near(v, POISON_WORD) || is_near(v, POISON_LAST_WORD); }

/* The poison that was used for an address; 0: the fault is another's. */
static u64 poison_used(const struct sys_fault *fault) {
    if (is_poison(fault->address))
        return fault->address;
    for (unsigned i = 0; fault->address == 0 && i < fault->regs_nr; i++) {
        if (is_poison(fault->regs[i]))
            return fault->regs[i];
    }
    return 0;
}

static bool has_poison(const struct quarry_kmem_cache *s, const char *object) {
    u64 word;
    for (size_t i = 0; s->debug->poisons_object && i + sizeof(word) <= s->debug->at.object_bytes; i += sizeof(word)) {
        memcpy(&word, object + i, sizeof(word));
        if (word == POISON_WORD || word == POISON_LAST_WORD)
            return true;
    }
    return false;
}

struct search {
    u64 poison;
    const char *named[NAMED_MAX];
    unsigned nr;
};

static void candidate(struct search *w, u64 word) {
    struct quarry_kmem_cache *s;
    struct quarry_core1_slab slab;
    char *object;
    const void *p = (const void *)(uintptr_t)word; // NOLINT(performance-no-int-to-ptr)
    if (w->nr == NAMED_MAX || word >> ADDRESS_BITS != 0 || !kmem_debug_find(p, &s, &object, &slab) || object == NULL ||
        !has_poison(s, object))
        return;
    for (unsigned i = 0; i < w->nr; i++) {
        if (w->named[i] == object)
            return;
    }
    w->named[w->nr++] = object;
    kmem_report_bug(s->name, "%s: address 0x%llx was probably read here",
                    kmem_debug_is_free(s->debug, object) ? "Freed memory used" : "Uninitialised memory used",
                    (unsigned long long)w->poison);
    kmem_report_object(s, object);
}

static void stack_search(struct search *w, u64 from) {
    u64 words[STACK_PIECE];
    for (unsigned at = 0; at < STACK_WORDS; at += STACK_PIECE) {
        size_t got = sys_memory_read(words, from + at * sizeof(u64), sizeof(words)) / sizeof(u64);
        for (size_t i = 0; i < got; i++)
            candidate(w, words[i]);
    }
}

static void explain(const struct sys_fault *fault) {
    struct search w = {.poison = poison_used(fault)};
    if (w.poison == 0)
        return;
    kmem_report_begin();
    kmem_print("general protection fault, probably for non-canonical address 0x%llx\n", (unsigned long long)w.poison);
    for (unsigned i = 0; i < fault->regs_nr; i++)
        candidate(&w, fault->regs[i]);
    stack_search(&w, fault->stack_pointer);
    if (w.nr == 0)
        kmem_stack_print();
    kmem_trace_end();
}

/* Each library has its own handler, and takes the other's for no program's. Before the constructors that make caches.
 */
__attribute__((constructor(101))) static void ally_start(void) {
    sys_fault_ally((const void *)(uintptr_t)quarry_core1_alloc);
    quarry_core1_ally((const void *)(uintptr_t)ally_start);
}

void kmem_fault_explain(void) {
    static bool watched;
    if (watched)
        return;
    watched = true;
    (void)sys_fault_watch(explain, SYS_FAULT_ALONE);
}
