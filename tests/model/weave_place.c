/* SPDX-License-Identifier: MIT */
/*
 * Addresses that go back to the kernel and come from it, src/sys/vm.c, explored (weave.h). The kernel is here, and does
 * no more than it must: a place is one caller's at a time, and its calls order nothing. So what one owner left in a
 * place's record is ordered before the next one's by the word of src/sys/vm.c alone; a real kernel's lock does it once
 * more.
 */
#include "sys/sys.h"

#include "sys/call.h"
#include "weave.h"

#include <errno.h>

enum { PLACES_NR = 2, NOBODY = WEAVE_THREADS_MAX };

/* A place is its record, which its owners write as they like. */
static struct place { u64 owner, uses; } places_there[PLACES_NR];
static _Atomic(u64) mapped; /* a bit for each place */
static struct place *own[WEAVE_THREADS_MAX][PLACES_NR];
static u64 uses[WEAVE_THREADS_MAX];
/* m map, h the same of the pool, u unmap what was mapped first, v move it to what was mapped last. */
static const char *scripts[WEAVE_THREADS_MAX];

static u64 bit_of(const void *at) { return (u64)1 << ((const struct place *)at - places_there); }

/* The first that is free. */
static long map(void) {
    for (unsigned i = 0; i < PLACES_NR; i++) {
        if ((atomic_fetch_or_explicit(&mapped, (u64)1 << i, memory_order_relaxed) >> i & 1) == 0)
            return (long)&places_there[i];
    }
    return -ENOMEM;
}

long place_call(long nr, const void *from, const void *to) {
    if (nr == SYS_mmap)
        return map();
    weave_must(nr == SYS_munmap || nr == SYS_mremap);
    weave_must((atomic_fetch_and_explicit(&mapped, ~bit_of(from), memory_order_relaxed) & bit_of(from)) != 0);
    return nr == SYS_munmap ? 0 : (long)to;
}

/* As region_restore() and region_withdraw(). */
static void come(unsigned self, struct place *p) {
    if (p == NULL)
        return;
    weave_must(p->owner == NOBODY);
    p->owner = self;
    p->uses++;
    uses[self]++;
    own[self][own[self][0] == NULL ? 0 : 1] = p;
}
static struct place *go(unsigned self) {
    struct place *p = own[self][0];
    weave_must(p->owner == self);
    p->owner = NOBODY;
    own[self][0] = own[self][1];
    own[self][1] = NULL;
    return p;
}

static void step(unsigned self, char what) {
    if (what == 'm')
        come(self, sys_vm_reserve(sizeof(struct place), 1));
    else if (what == 'h')
        come(self, sys_vm_hugetlb(sizeof(struct place)));
    else if (what == 'u' && own[self][0] != NULL)
        weave_must(sys_vm_release(go(self), sizeof(struct place)) == 0);
    else if (what == 'v' && own[self][1] != NULL)
        weave_must(sys_vm_move(go(self), sizeof(struct place), own[self][0]) == 0);
}

static void thread(unsigned self) {
    for (const char *at = scripts[self]; *at != 0; at++)
        step(self, *at);
}

static void finish(void) {
    u64 all = 0, left = 0;
    for (unsigned i = 0; i < PLACES_NR; i++) {
        weave_must((places_there[i].owner != NOBODY) ==
                   ((atomic_load_explicit(&mapped, memory_order_relaxed) >> i & 1) != 0));
        all += places_there[i].uses;
    }
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++)
        left += uses[t];
    weave_must(all == left);
}

/* held: so many are mapped by the first threads, one each, or both by the first. */
static void setup(const char *first, const char *second, const char *third, unsigned held, unsigned by) {
    scripts[0] = first;
    scripts[1] = second;
    scripts[2] = third;
    atomic_store_explicit(&mapped, ((u64)1 << held) - 1, memory_order_relaxed);
    for (unsigned i = 0; i < PLACES_NR; i++) {
        places_there[i].owner = NOBODY;
        if (i < held)
            come(by == 1 ? 0 : i, &places_there[i]);
    }
}
static void setup_two(void) { setup("umu", "mum", "", 1, 1); }
static void setup_pool(void) { setup("uhu", "hu", "", 1, 1); }
static void setup_move(void) { setup("v", "mu", "", 2, 1); }
static void setup_leave(void) { setup("u", "u", "mm", 2, 2); }

static const struct weave_model models[] = {
    {"one place, two owners in turn", 2, setup_two, thread, finish, WEAVE_BOTH},
    {"the same, of the pool", 2, setup_pool, thread, finish, WEAVE_BOTH},
    {"one moves away, another comes", 2, setup_move, thread, finish, WEAVE_BOTH},
    {"two leave, one comes", 3, setup_leave, thread, finish, WEAVE_BOTH},
};

static const struct weave_excuse excuses[] = {
    {"place_comes", "&places", WEAVE_LOST, "who comes publishes nothing: a read-modify-write reads what is there last"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"place_comes", "if (call_failed", WEAVE_NEVER},
};

WEAVE_MAIN("places")
