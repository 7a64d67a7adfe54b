/* SPDX-License-Identifier: MIT */
/*
 * The depot of src/mag/depot.c with the magazines of src/mag/magazine.c and the pool of their blocks (src/rt/pool.c),
 * explored (weave.h). Who holds a magazine writes to its objects; at the end each object is in one hand, in the depot,
 * or with the slabs, once, and the depot's accounts are exact. Who has an id of his own takes what that put in, and
 * where slabs have plenty nothing else. Blocks go from the depot to the pool and come back as magazines with another
 * content while somebody may still hold an old head of either stack.
 *
 * The child of a fork has each object in one place at most. It lacks one at most of each other thread, which that had
 * between two places; and no account says less than is there.
 */
#include "mag/region.h"
#include "mag/rseq.h"
#include "rt/options.h"
#include "rt/pool.h"
#include "rt/usage.h"
#include "weave.h"
#include "weave_heap.h"

enum { CLS = 1, CAP = 1, OBJS_NR = 4, HAND_MAX = 3, LIVE_OBJS = 1 << 20, TAG_BITS = 3, OUT_PART = 8, LOST_MAX = 2 };
#define TAG_MASK ((((u64)1 << TAG_BITS) - 1) << 32)
#define HEAD_MASK (UINT32_MAX | TAG_MASK)
#define OBJECT_BYTES (128 * KIB) /* so that what all depots may hold of large objects is reached */

static struct object { u64 owner, given; } objects[OBJS_NR];

static struct hand {
    u64 m[HAND_MAX]; /* full magazines */
    void *loose[HAND_MAX];
    unsigned nr, loose_nr;
} hands[WEAVE_THREADS_MAX];

/* What a thread does: p puts a magazine, g gets one, t empties the depot, i trims what is idle, x takes a magazine
 * apart and m makes one again of the object; f forks: the child does the rest. */
static const char *scripts[WEAVE_THREADS_MAX];
static bool is_child;
static unsigned forked_by;

/* Threads have so many ids in turn, and so has who puts in what is there before. */
static unsigned ids_nr, prepared_nr;
static bool preparing, plenty;
int section_id(void) { return (int)((preparing ? prepared_nr : weave_self()) % ids_nr); }

const struct slab_geometry slab_geometry[SLAB_CLASSES_NR] = {[CLS] = {.size_bytes = OBJECT_BYTES, .nobj = 1}};
_Atomic(s64) rt_usage_out_bytes;
_Atomic(u64) rt_usage_group_soft, rt_usage_group_hard;

/* --- what depot.c and magazine.c call --- */

void slab_class_stats_get(unsigned cls, struct slab_class_stats *ret_stats) {
    *ret_stats = (struct slab_class_stats){.slabs = plenty ? 2 * LIVE_OBJS : 0, .out_objs = cls == CLS ? LIVE_OBJS : 0};
}

bool rt_usage_in_waves(void) { return false; }

void slab_give(void *const *objs, unsigned nr) {
    for (unsigned i = 0; i < nr; i++) {
        struct object *o = objs[i];
        o->owner = weave_self();
        weave_must(o->given++ == 0);
    }
}

/* --- threads --- */

static void hand_own(const struct hand *h, unsigned self) {
    for (unsigned i = 0; i < h->nr; i++) {
        weave_must(mag_count(h->m[i]) == CAP);
        ((struct object *)*(u64 *)h->m[i])->owner = self;
    }
}

static u64 hand_pull(struct hand *h) {
    u64 m = h->m[0];
    for (unsigned i = 1; i < h->nr; i++)
        h->m[i - 1] = h->m[i];
    h->nr--;
    return m;
}

static void hand_put(struct hand *h, unsigned self) {
    if (h->nr == 0)
        return;
    hand_own(h, self);
    u64 m = hand_pull(h);
    if (!depot_put(CLS, m))
        h->m[h->nr++] = m;
}

static void hand_get(struct hand *h, unsigned self) {
    u64 m = depot_get(CLS);
    if (m == 0) {
        depot_regret(CLS);
        return;
    }
    weave_must(h->nr < HAND_MAX);
    weave_must(!plenty || ((struct object *)*(u64 *)m)->owner % ids_nr == self % ids_nr);
    h->m[h->nr++] = m;
    hand_own(h, self);
}

static void hand_take_apart(struct hand *h) {
    if (h->nr == 0)
        return;
    u64 m = hand_pull(h);
    h->loose[h->loose_nr++] = (void *)*(u64 *)m;
    *(u64 *)m = 0; /* as who empties a magazine leaves it: no word above the top is odd */
    mag_unmake(m - sizeof(u64));
}

static u64 mag_of(void *object) {
    u64 *w = (u64 *)mag_make(CAP, 0);
    weave_must(w != NULL && (w[0] & MAG_WORD_END) != 0 && (w[CAP + 1] & MAG_WORD_END) != 0);
    w[CAP] = (u64)object;
    return (u64)(w + CAP);
}

static void hand_make(struct hand *h) {
    if (h->loose_nr > 0)
        h->m[h->nr++] = mag_of(h->loose[--h->loose_nr]);
}

static u64 all_it_knows(const struct hand *h, unsigned done) {
    u64 key = done;
    for (unsigned i = 0; i < h->nr; i++)
        key = key * 1024 + (h->m[i] >> 3) % 1024;
    for (unsigned i = 0; i < h->loose_nr; i++)
        key = key * 16 + (u64)((struct object *)h->loose[i] - objects) + 1;
    return key * 4 + h->nr;
}

static void thread(unsigned self) {
    struct hand *h = &hands[self];
    for (const char *at = scripts[self]; *at != 0; at++) {
        switch (*at) {
        case 'f':
            if (!weave_fork())
                return;
            is_child = true;
            forked_by = self;
            break;
        case 'p': hand_put(h, self); break;
        case 'g': hand_get(h, self); break;
        case 't': mag_depot_trim(MAG_DRAIN_ALL); break;
        case 'i': mag_depot_trim(MAG_DRAIN_IDLE); break;
        case 'x': hand_take_apart(h); break;
        default: hand_make(h); break;
        }
        weave_forget(all_it_knows(h, (unsigned)(at - scripts[self])));
    }
}

/* --- ends --- */

/* Demand earns room. */
static void room_earn(void) {
    for (unsigned i = 0; i < OBJS_NR; i++)
        weave_must(depot_get(CLS) == 0);
}

/* All depots together hold nothing, by their account: there is room for just so much. */
static void total_check(void) {
    room_earn();
    for (unsigned i = 0; i < OBJS_NR; i++)
        weave_must(depot_put(CLS, mag_of(&objects[i])));
    weave_must(!depot_put(CLS, mag_of(&objects[0])));
}

static void hand_count(const struct hand *h, unsigned seen[OBJS_NR]) {
    for (unsigned i = 0; i < h->nr; i++)
        seen[(struct object *)*(u64 *)h->m[i] - objects]++;
    for (unsigned i = 0; i < h->loose_nr; i++)
        seen[(struct object *)h->loose[i] - objects]++;
}

/* What others hold is theirs, and so is what each has between two places. */
static void child_check(const unsigned seen[OBJS_NR], s64 lacking) {
    unsigned lost = 0;
    for (unsigned i = 0; i < OBJS_NR; i++) {
        weave_must(seen[i] + objects[i].given <= 1);
        lost += seen[i] + objects[i].given == 0;
    }
    weave_must(lost <= LOST_MAX);
    weave_must(lacking >= 0 && lacking <= CAP);
}

static void finish(void) {
    u64 in_depot = 0, m;
    unsigned seen[OBJS_NR] = {0};
    s64 counted = depot_objs_racy(CLS);
    plenty = false;
    u64 bytes = depot_bytes_racy();
    for (; (m = depot_get(CLS)) != 0; in_depot++) {
        weave_must(in_depot < OBJS_NR);
        seen[(struct object *)*(u64 *)m - objects]++;
    }
    weave_must(bytes == (u64)counted * OBJECT_BYTES);
    if (is_child) {
        hand_count(&hands[forked_by], seen);
        child_check(seen, counted - (s64)in_depot * CAP);
        return;
    }
    weave_must(counted == (s64)in_depot * CAP);
    for (const struct hand *h = hands; h < hands + WEAVE_THREADS_MAX; h++)
        hand_count(h, seen);
    for (unsigned i = 0; i < OBJS_NR; i++)
        weave_must(seen[i] + objects[i].given == 1);
    total_check();
}

static void depot_prepare(unsigned depot_nr) {
    preparing = true;
    room_earn();
    for (prepared_nr = 0; prepared_nr < depot_nr; prepared_nr++) {
        objects[prepared_nr].owner = prepared_nr;
        weave_must(depot_put(CLS, mag_of(&objects[prepared_nr])));
    }
    preparing = false;
}

/* depot_nr objects lie in the depot, and each thread has so many. */
static void setup_ids(unsigned ids, unsigned depot_nr, const unsigned hand_nr[3], const char *const texts[3]) {
    unsigned nr = depot_nr;
    ids_nr = ids;
    weave_heap_start(CLS + 1);
    rt_opt.depot_bytes = 64 * MIB;
    weave_count(&rt_usage_out_bytes);
    atomic_store_explicit(&rt_usage_out_bytes, OUT_PART * OBJS_NR * OBJECT_BYTES, memory_order_relaxed);
    const char *account = (const char *)mag_depots_view.objs + CLS * mag_depots_view.stride_bytes;
    for (u64 before = sizeof(struct rt_stack); before <= mag_depots_view.objs_offset_bytes;
         before += sizeof(struct rt_stack))
        weave_narrow(account - before, HEAD_MASK, TAG_MASK);
    /* Hints: the fewest objects, the idle ones, the credit, what was refused and what is regretted. */
    for (unsigned hint = 1; hint <= 6; hint++)
        weave_count(account + hint * sizeof(s32));
    depot_prepare(depot_nr);
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        scripts[t] = texts[t];
        for (unsigned i = 0; i < hand_nr[t]; i++)
            hands[t].m[hands[t].nr++] = mag_of(&objects[nr++]);
    }
    weave_must(nr <= OBJS_NR);
    for (; nr < OBJS_NR; nr++)
        objects[nr].given = 1;
}
static void setup(unsigned depot_nr, const unsigned hand_nr[3], const char *const texts[3]) {
    setup_ids(1, depot_nr, hand_nr, texts);
}
static void setup_aba(void) { setup(3, (unsigned[3]){0}, (const char *const[3]){"g", "ggp", ""}); }
static void setup_exchange(void) { setup(1, (unsigned[3]){1, 1}, (const char *const[3]){"pg", "gp", ""}); }
static void setup_reuse(void) { setup(2, (unsigned[3]){0}, (const char *const[3]){"g", "gxmp", ""}); }
static void setup_trim(void) { setup(2, (unsigned[3]){1}, (const char *const[3]){"pg", "t", ""}); }
static void setup_idle(void) { setup(2, (unsigned[3]){0}, (const char *const[3]){"gp", "ii", ""}); }
static void setup_fork(void) {
    setup(2, (unsigned[3]){1, 1}, (const char *const[3]){"fgp", "pg", ""});
    weave_forks(1);
}
static void setup_fork_reuse(void) {
    setup(2, (unsigned[3]){0}, (const char *const[3]){"fgg", "gxmp", ""});
    weave_forks(1);
}
static void setup_fork_trim(void) {
    setup(3, (unsigned[3]){0}, (const char *const[3]){"fg", "t", ""});
    weave_forks(1);
}
static void setup_own(void) {
    setup_ids(2, 2, (unsigned[3]){1, 1}, (const char *const[3]){"pgg", "gpg", ""});
    plenty = true;
}
static void setup_other(void) { setup_ids(2, 3, (unsigned[3]){0}, (const char *const[3]){"gg", "gxmp", ""}); }
static void setup_trim_ids(void) { setup_ids(2, 2, (unsigned[3]){1}, (const char *const[3]){"pg", "t", ""}); }
static void setup_three(void) { setup(2, (unsigned[3]){1}, (const char *const[3]){"p", "g", "g"}); }

static const struct weave_model models[] = {
    {"a get during two gets and a put", 2, setup_aba, thread, finish, WEAVE_BOTH},
    {"two threads exchange", 2, setup_exchange, thread, finish, WEAVE_BOTH},
    {"a block comes back with another content", 2, setup_reuse, thread, finish, WEAVE_BOTH},
    {"the depot is emptied", 2, setup_trim, thread, finish, WEAVE_BOTH},
    {"the idle are trimmed", 2, setup_idle, thread, finish, WEAVE_BOTH},
    {"a fork beside a put and a get", 2, setup_fork, thread, finish, WEAVE_BOTH},
    {"a fork beside a block that comes back", 2, setup_fork_reuse, thread, finish, WEAVE_BOTH},
    {"a fork while the depot is emptied", 2, setup_fork_trim, thread, finish, WEAVE_BOTH},
    {"two ids, and slabs have plenty", 2, setup_own, thread, finish, WEAVE_BOTH},
    {"two ids, and slabs have little", 2, setup_other, thread, finish, WEAVE_BOTH},
    {"the depot of two ids is emptied", 2, setup_trim_ids, thread, finish, WEAVE_BOTH},
    {"one puts, two get", 3, setup_three, thread, finish, WEAVE_SC},
};

static const struct weave_excuse excuses[] = {
    {"rt_stack_pop", "swap &stack->head", WEAVE_NO_ACQUIRE,
     "by [T1] it swaps the very head that was read before, by acquire; C11 asks for no less than where it fails"},
    {"credit_add", "&d->credit", WEAVE_ANY, "a hint: how much the depot may hold"},
    {"refused_add", "&d->refused", WEAVE_ANY, "a hint: what a refill may regret"},
    {"regret_fade", "&d->refused", WEAVE_ANY, "a hint: what a refill may regret"},
    {"regret_fade", "&d->refills", WEAVE_ANY, "a hint: how often that was"},
    {"depot_trim", "&d->idle_objs", WEAVE_ANY, "a hint: how much is idle"},
    {"depot_trim", "&d->objs_min", WEAVE_ANY, "a hint: how much is idle"},
    {"depot_take", "&d->objs_min", WEAVE_ANY, "a hint: how much is idle"},
    {"mag_ids_end_get", "&mag_ids_end", WEAVE_NO_ACQUIRE, "no class is made here; weave_visit.c has that"},
    {"rt_pool_get", "link_word(block)", WEAVE_ANY,
     "for bitmaps (tests/unit/slab/slab.c): a magazine begins with a word of its own"},
    {"page_nodes_nr", "&page_nodes_opened", WEAVE_NO_ACQUIRE, "there is one node here"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"depot_put", "if (objs + cap > max", WEAVE_NEVER},       {"depot_get", "if (w == NULL", WEAVE_NEVER},
    {"depot_get", "if (!depot_is_empty", WEAVE_ALWAYS},       {"depot_get", "if (!depot_is_empty", WEAVE_NEVER},
    {"depot_give", "while (objs > 0", WEAVE_NEVER},           {"rt_stack_pop", "if (atomic_compare", WEAVE_ALWAYS},
    {"rt_stack_push", "while (!atomic_compare", WEAVE_NEVER},
};

WEAVE_MAIN("depot")
