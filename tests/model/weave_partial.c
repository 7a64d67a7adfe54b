/* SPDX-License-Identifier: MIT */
/*
 * The partial lists of src/slab/partial.c, explored (weave.h). Who pops a slab, or takes a list, owns the slabs and
 * writes to the owner's field of their records; at the end each slab is on one list, or in one hand, once. The tag is
 * cut to three bits. The child of a fork has each slab once at most, and lacks those that the others had taken.
 */
#include "slab/class.h"
#include "weave.h"

#include <stdlib.h>

enum { SLABS_NR = 3, HAND_MAX = 4, TAG_SHIFT = 34, TAG_BITS = 3, NOBJ = 8 };
#define TAG_MASK ((((u64)1 << TAG_BITS) - 1) << TAG_SHIFT)
#define ID_MASK (((u64)1 << TAG_SHIFT) - 1)
#define SLABS_AT ((char *)((uintptr_t)1 << 32)) // NOLINT(performance-no-int-to-ptr)

struct rt_meta rt_meta;
static struct slab_class class;
static struct hand {
    char *slab[HAND_MAX];
    unsigned nr;
} hands[WEAVE_THREADS_MAX];

/* What a thread does: o pop, u push what it has had longest as one with little free, U with much, a take all; O, B and
 * A are o, U and a of the list of those without memory; f forks: the child does the rest. */
static const char *scripts[WEAVE_THREADS_MAX];
static bool is_child;
static unsigned forked_by, taken_max; /* by the others, at a time */

static char *slab_addr(unsigned i) { return SLABS_AT + i * GRANULE_BYTES; }

/* Page map and chunk table are constants here, and so not modelled; of the records those in use are. */
static void records_make(void) {
    rt_meta.base = aligned_alloc(META_UNIT, META_UNIT + sizeof(struct chunk));
    rt_meta.chunks = calloc(1, sizeof(*rt_meta.chunks));
    if (rt_meta.base == NULL || rt_meta.chunks == NULL)
        abort();
    atomic_store_explicit(rt_meta.chunks, 1, memory_order_relaxed);
    struct page_desc *descs = chunk_desc(rt_meta_at(1), SLABS_AT);
    for (unsigned i = 0; i < SLABS_NR; i++)
        *(struct slab *)(void *)(descs + i) = (struct slab){0};
    weave_range(descs, SLABS_NR * sizeof(*descs));
}

static void setup(unsigned listed_nr, const char *first, const char *second, const char *third) {
    scripts[0] = first;
    scripts[1] = second;
    scripts[2] = third;
    records_make();
    for (unsigned i = 0; i < BUCKETS_NR; i++)
        weave_narrow(&class.partial[i], ID_MASK | TAG_MASK, TAG_MASK);
    weave_narrow(&class.unbacked, ID_MASK | TAG_MASK, TAG_MASK);
    for (unsigned i = listed_nr; i > 0; i--)
        partial_push(&class, slab_addr(i - 1), NOBJ, NOBJ);
}

static void hand_add(struct hand *h, unsigned self, char *slab) {
    if (slab == NULL)
        return;
    slab_at(slab)->purged = self + 1;
    weave_must(h->nr < HAND_MAX);
    h->slab[h->nr++] = slab;
}

static void hand_push(struct hand *h, unsigned self, char how) {
    if (h->nr == 0)
        return;
    char *slab = h->slab[0];
    for (unsigned i = 1; i < h->nr; i++)
        h->slab[i - 1] = h->slab[i];
    h->nr--;
    weave_must(slab_at(slab)->purged == self + 1);
    if (how == 'B')
        partial_push_unbacked(&class, slab);
    else
        partial_push(&class, slab, how == 'u' ? 0 : NOBJ, NOBJ);
}

static void hand_take_all(struct hand *h, unsigned self, unsigned list) {
    unsigned nr = 0;
    for (char *slab = partial_take_all(&class, list), *next; slab != NULL; slab = next) {
        weave_must(nr++ < SLABS_NR);
        next = partial_next(slab);
        hand_add(h, self, slab);
    }
}

static char *pop_fullest(void) {
    char *slab = NULL;
    for (unsigned list = 0; list < BUCKETS_NR && slab == NULL; list++)
        slab = partial_pop(&class, list);
    return slab;
}

static unsigned slab_number(const char *slab) { return (unsigned)((slab - SLABS_AT) >> GRANULE_SHIFT); }

static u64 all_it_knows(const struct hand *h, unsigned done) {
    u64 key = done;
    for (unsigned i = 0; i < h->nr; i++)
        key = key * 8 + slab_number(h->slab[i]);
    return key * 8 + h->nr;
}

static void thread(unsigned self) {
    struct hand *h = &hands[self];
    for (const char *at = scripts[self]; *at != 0; at++) {
        if (*at == 'f') {
            if (!weave_fork())
                return;
            is_child = true;
            forked_by = self;
        } else if (*at == 'u' || *at == 'U' || *at == 'B')
            hand_push(h, self, *at);
        else if (*at == 'a' || *at == 'A')
            hand_take_all(h, self, *at == 'a' ? BUCKETS_NR - 1 : BUCKET_UNBACKED);
        else
            hand_add(h, self, *at == 'O' ? partial_pop(&class, BUCKET_UNBACKED) : pop_fullest());
        weave_forget(all_it_knows(h, (unsigned)(at - scripts[self])));
    }
}

static void finish(void) {
    unsigned seen[SLABS_NR] = {0}, nr = 0, lost = 0;
    for (struct hand *h = hands; h < hands + WEAVE_THREADS_MAX; h++) {
        for (unsigned i = 0; i < h->nr && (!is_child || h == &hands[forked_by]); i++)
            seen[slab_number(h->slab[i])]++;
    }
    for (unsigned list = 0; list < PARTIAL_LISTS_NR; list++) {
        for (char *slab = partial_take_all(&class, list); slab != NULL; slab = partial_next(slab)) {
            weave_must(nr++ < SLABS_NR);
            seen[slab_number(slab)]++;
        }
    }
    for (unsigned i = 0; i < SLABS_NR; i++) {
        weave_must(seen[i] <= 1);
        lost += seen[i] == 0;
    }
    weave_must(lost <= (is_child ? taken_max : 0));
}

static void setup_aba(void) { setup(3, "o", "ooU", ""); }
static void setup_two(void) { setup(3, "oUo", "ooUu", ""); }
static void setup_sweep(void) { setup(3, "aU", "oU", ""); }
static void setup_refused(void) { setup(3, "oBOB", "oBA", ""); }
static void setup_three(void) { setup(3, "oU", "oU", "oU"); }
static void setup_fork(void) {
    setup(3, "foo", "oUo", "");
    taken_max = 1;
    weave_forks(1);
}
static void setup_fork_sweep(void) {
    setup(3, "foUo", "aU", "");
    taken_max = SLABS_NR;
    weave_forks(1);
}
static void setup_sweeps(void) { setup(3, "aU", "oU", "a"); }

static const struct weave_model models[] = {
    {"a pop during two pops and a push", 2, setup_aba, thread, finish, WEAVE_BOTH},
    {"two threads pop and push back", 2, setup_two, thread, finish, WEAVE_BOTH},
    {"a fork beside pops and a push", 2, setup_fork, thread, finish, WEAVE_BOTH},
    {"a fork beside a sweep", 2, setup_fork_sweep, thread, finish, WEAVE_BOTH},
    {"a sweep and a pop", 2, setup_sweep, thread, finish, WEAVE_BOTH},
    {"a refusal and a sweep of refused ones", 2, setup_refused, thread, finish, WEAVE_BOTH},
    {"three threads pop and push back", 3, setup_three, thread, finish, WEAVE_SC},
    {"two sweeps and a pop", 3, setup_sweeps, thread, finish, WEAVE_BOTH},
};

static const struct weave_excuse excuses[] = {
    {"partial_pop", "swap head", WEAVE_NO_ACQUIRE,
     "by [L1] it swaps the very head that was read before, by acquire; C11 asks for no less than where it fails"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"push_on", "while (!atomic_compare", WEAVE_NEVER},
    {"partial_pop", "while ((seen & ID_MASK)", WEAVE_ALWAYS},
    {"partial_pop", "if (atomic_compare", WEAVE_ALWAYS},
    {"partial_take_all", "while ((seen & ID_MASK)", WEAVE_NEVER},
};

WEAVE_MAIN("partial lists")
