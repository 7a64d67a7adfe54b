/* SPDX-License-Identifier: MIT */
/*
 * The tagged stack of src/rt/pool.c, explored (weave.h). Blocks are pushed, popped and taken all at once by threads
 * that own what they hold: each writes to it without atomics, so that two owners, or one who does not see what the last
 * one wrote, are a race. At the end each block is on the stack or in one hand, once. The tag is cut to three bits.
 */
#include "rt/pool.h"
#include "weave.h"

enum { BLOCKS_NR = 3, HAND_MAX = 4, TAG_BITS = 3 };
#define REF_MASK ((u64)UINT32_MAX)
#define TAG_MASK ((((u64)1 << TAG_BITS) - 1) << 32)

struct rt_meta rt_meta;
void *rt_meta_alloc_near(unsigned node, size_t bytes, size_t align) {
    (void)node, (void)bytes, (void)align;
    return NULL;
}

struct block {
    u64 link, owner;
};
_Static_assert(sizeof(struct block) == META_UNIT, "one place each");
static _Alignas(META_UNIT) struct block blocks[1 + BLOCKS_NR]; /* the first is no place */
static struct rt_stack stack;

static struct hand {
    struct block *block[HAND_MAX];
    unsigned nr;
} hands[WEAVE_THREADS_MAX];

/* What a thread does: o pop, u push what it has had longest, a take all. */
static const char *scripts[WEAVE_THREADS_MAX];

static void setup(unsigned pushed_nr, const char *first, const char *second, const char *third) {
    scripts[0] = first;
    scripts[1] = second;
    scripts[2] = third;
    rt_meta.base = (char *)blocks;
    weave_narrow(&stack.head, REF_MASK | TAG_MASK, TAG_MASK);
    for (unsigned i = pushed_nr; i > 0; i--)
        rt_stack_push(&stack, &blocks[i]);
}

static void hand_add(struct hand *h, unsigned self, struct block *b) {
    if (b == NULL)
        return;
    b->owner = self;
    weave_must(h->nr < HAND_MAX);
    h->block[h->nr++] = b;
}

static void hand_push(struct hand *h, unsigned self) {
    if (h->nr == 0)
        return;
    struct block *b = h->block[0];
    for (unsigned i = 1; i < h->nr; i++)
        h->block[i - 1] = h->block[i];
    h->nr--;
    weave_must(b->owner == self);
    rt_stack_push(&stack, b);
}

static void hand_take_all(struct hand *h, unsigned self) {
    unsigned nr = 0;
    for (struct block *b = rt_stack_take_all(&stack), *next; b != NULL; b = next) {
        weave_must(nr++ < BLOCKS_NR);
        next = rt_stack_next(b);
        hand_add(h, self, b);
    }
}

static u64 all_it_knows(const struct hand *h, unsigned done) {
    u64 key = done;
    for (unsigned i = 0; i < h->nr; i++)
        key = key * 8 + (u64)(h->block[i] - blocks);
    return key * 8 + h->nr;
}

static void thread(unsigned self) {
    struct hand *h = &hands[self];
    for (const char *at = scripts[self]; *at != 0; at++) {
        if (*at == 'u')
            hand_push(h, self);
        else if (*at == 'a')
            hand_take_all(h, self);
        else
            hand_add(h, self, rt_stack_pop(&stack));
        weave_forget(all_it_knows(h, (unsigned)(at - scripts[self])));
    }
}

static void finish(void) {
    unsigned seen[1 + BLOCKS_NR] = {0}, nr = 0;
    for (struct hand *h = hands; h < hands + WEAVE_THREADS_MAX; h++) {
        for (unsigned i = 0; i < h->nr; i++, nr++)
            seen[h->block[i] - blocks]++;
    }
    for (struct block *b = rt_stack_take_all(&stack); b != NULL; b = rt_stack_next(b)) {
        weave_must(nr++ < BLOCKS_NR);
        seen[b - blocks]++;
    }
    for (unsigned i = 1; i <= BLOCKS_NR; i++)
        weave_must(seen[i] == (blocks[i].link != UINT64_MAX));
}

static void setup_aba(void) { setup(3, "o", "oou", ""); }
static void setup_two(void) { setup(3, "ouo", "oouu", ""); }
static void setup_three(void) { setup(3, "ou", "ou", "ou"); }
static void setup_all(void) { setup(3, "au", "ou", ""); }
static void setup_all_three(void) { setup(3, "au", "ou", "a"); }

static const struct weave_model models[] = {
    {"a pop during two pops and a push", 2, setup_aba, thread, finish, WEAVE_BOTH},
    {"two threads pop and push back", 2, setup_two, thread, finish, WEAVE_BOTH},
    {"one takes all", 2, setup_all, thread, finish, WEAVE_BOTH},
    {"three threads pop and push back", 3, setup_three, thread, finish, WEAVE_SC},
    {"two of three take all", 3, setup_all_three, thread, finish, WEAVE_BOTH},
};

static const struct weave_excuse excuses[] = {
    {"rt_stack_pop", "swap &stack->head", WEAVE_NO_ACQUIRE,
     "by [T1] it swaps the very head that was read before, by acquire; C11 asks for no less than where it fails"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"rt_stack_push", "while (!atomic_compare", WEAVE_NEVER},
    {"rt_stack_pop", "while (head_ref(head)", WEAVE_ALWAYS},
    {"rt_stack_pop", "if (atomic_compare", WEAVE_ALWAYS},
    {"rt_stack_take_all", "while (head_ref(head)", WEAVE_NEVER},
};

WEAVE_MAIN("tagged stack")
