/* SPDX-License-Identifier: MIT */
/*
 * What the hardened mode keeps back, src/engine/harden.c, explored (weave.h), with two places of a ring and two
 * shuffled objects of a class: threads free objects, some of them twice, get what others freed, and one looks through
 * all of it. Whoever gets an object has it alone and finds it zeroed; of two frees of one one succeeds and the other is
 * reported; in the end each object is somebody's, once.
 */
#include "engine/harden.h"

#include "big/big.h"
#include "engine/engine.h"
#include "engine/most.h"
#include "engine/start.h"
#include "mag/mag.h"
#include "rt/context.h"
#include "rt/misuse.h"
#include "weave.h"
#include "weave_heap.h"

enum { OBJECTS_NR = 4, SMALL_CLASS = 3, WORDS_NR = 6 };

static _Alignas(CACHE_LINE) struct object { u64 words[WORDS_NR]; } objects[OBJECTS_NR];
_Static_assert(sizeof(struct object) == 48, "class 3");

/* Of each thread: objects of the magazines, and the one it uses. In models of a crime two use one. */
static struct hand {
    char *idle[OBJECTS_NR];
    unsigned idle_nr;
    char *used;
} hands[WEAVE_THREADS_MAX];
static u64 bad_nr[WEAVE_THREADS_MAX], frees_nr[WEAVE_THREADS_MAX];
static _Atomic(char *) box; /* an object, from thread to thread as programs do that */
static u32 map_entry = SMALL_CLASS * PAGE_SLOT_BYTES;
/* t take one and write, f free it, u ask for its size, g hand it over, r get what was, a look through all that is kept
 * back. */
static const char *scripts[WEAVE_THREADS_MAX];

struct harden_key harden_key; /* of engine/sealed.S */
_Atomic(u32) rt_chores;
__thread _Atomic(u8) rt_context_word;
bool engine_counting;

/* --- what harden.c calls --- */

void engine_count(enum engine_call call, s64 bytes) { (void)call, (void)bytes; }
void sys_random(void *to, size_t bytes) { memset(to, 0x5a, bytes); }
size_t big_usable(const void *p) {
    (void)p;
    weave_broken("a region is asked for");
}
bool big_retire(void *p) { return p == NULL; }
struct slab_place slab_locate(const void *p) {
    return (struct slab_place){.object = (void *)(uintptr_t)p, .cls = SMALL_CLASS};
}

void *mag_alloc(unsigned cls, bool *ret_zero) {
    struct hand *hand = &hands[weave_self()];
    weave_must(cls == SMALL_CLASS && ret_zero == NULL);
    return hand->idle_nr == 0 ? NULL : hand->idle[--hand->idle_nr];
}
void mag_free(unsigned slot, void *p) {
    struct hand *hand = &hands[weave_self()];
    weave_must(slot == SMALL_CLASS && hand->idle_nr < OBJECTS_NR);
    hand->idle[hand->idle_nr++] = p;
}

/* A second free, and nothing else here. */
void engine_bad_pointer(const void *p) {
    weave_must(p == hands[weave_self()].used);
    bad_nr[weave_self()]++;
}

/* --- threads --- */

static void take(unsigned self) {
    struct hand *hand = &hands[self];
    bool many = hand->idle_nr > SHUFFLED_NR;
    u64 *words = hand->used == NULL ? harden_take(SMALL_CLASS) : NULL;
    weave_must(words != NULL || !many || hand->used != NULL);
    if (words == NULL)
        return;
    for (unsigned i = 0; i + 1 < WORDS_NR; i++)
        weave_must(words[i] == 0);
    (void)harden_seal(words, sizeof(struct object) - HARDEN_SEAL_BYTES);
    for (unsigned i = 0; i + 1 < WORDS_NR; i++)
        words[i] = self + 1;
    hand->used = (char *)words;
}

static void release(struct hand *hand, unsigned self) {
    if (hand->used == NULL)
        return;
    harden_free(hand->used);
    frees_nr[self]++;
    hand->used = NULL;
}

static void hand_over(struct hand *hand) {
    atomic_store_explicit(&box, hand->used, memory_order_release);
    hand->used = NULL;
}

static void step(struct hand *hand, unsigned self, char what) {
    switch (what) {
    case 't': take(self); break;
    case 'f': release(hand, self); break;
    case 'u':
        weave_must(hand->used == NULL || harden_usable(hand->used) == sizeof(struct object) - HARDEN_SEAL_BYTES);
        break;
    case 'g': hand_over(hand); break;
    case 'r': hand->used = atomic_exchange_explicit(&box, NULL, memory_order_acquire); break;
    default: harden_audit(); break;
    }
}

static void thread(unsigned self) {
    for (const char *at = scripts[self]; *at != 0; at++)
        step(&hands[self], self, *at);
}

static void count(unsigned seen[OBJECTS_NR], const char *p) {
    if (p != NULL)
        seen[(const struct object *)(const void *)p - objects]++;
}

static void finish(void) {
    unsigned seen[OBJECTS_NR] = {0};
    harden_audit();
    count(seen, atomic_load_explicit(&box, memory_order_relaxed));
    for (const struct hand *h = hands; h < hands + WEAVE_THREADS_MAX; h++) {
        count(seen, h->used);
        for (unsigned i = 0; i < h->idle_nr; i++)
            count(seen, h->idle[i]);
    }
    for (unsigned i = 0; i < OBJECTS_NR; i++)
        weave_must(seen[i] == 1);
    weave_must(bad_nr[0] + bad_nr[1] + bad_nr[2] == 0);
}

/* The second thread's first object was the first's, too. */
static void finish_crime(void) {
    weave_must(bad_nr[0] + bad_nr[1] + bad_nr[2] == 1);
    memset(bad_nr, 0, sizeof(bad_nr));
    finish();
}

/* idle: to each of the first two threads, of four; the others are in use by them, the first's first. */
static void setup(const char *first, const char *second, const char *third, unsigned used_nr) {
    scripts[0] = first;
    scripts[1] = second;
    scripts[2] = third;
    weave_heap_start(SLAB_CLASSES_NR);
    rt_meta.map_end = &map_entry + 1;
    rt_meta.map_ones = -(u64)1;
    rt_opt.harden = true;
    harden_init();
    for (unsigned i = 0; i < OBJECTS_NR; i++) {
        struct hand *hand = &hands[i % 2];
        char *p = (char *)&objects[i];
        if (i >= used_nr) {
            hand->idle[hand->idle_nr++] = p;
            continue;
        }
        hand->used = harden_seal(p, sizeof(struct object) - HARDEN_SEAL_BYTES);
        objects[i].words[0] = 7;
    }
}
static void setup_free(void) { setup("ftf", "ftf", "", 2); }
static void setup_take(void) { setup("tft", "tuft", "", 0); }
static void setup_turns(void) { setup("ftuf", "tft", "", 1); }
static void setup_twice(void) {
    setup("ft", "f", "", 1);
    hands[1].used = hands[0].used;
}
static void setup_twice_apart(void) {
    setup("f", "f", "t", 1);
    hands[1].used = hands[0].used;
}
/* All begin with the first thread. */
static void setup_one(const char *first, const char *second) {
    setup(first, second, "", 0);
    while (hands[1].idle_nr > 0)
        hands[0].idle[hands[0].idle_nr++] = hands[1].idle[--hands[1].idle_nr];
}
static void setup_many(void) { setup_one("tft", "t"); }
static void setup_hand_over(void) { setup_one("tg", "rf"); }
static void setup_three(void) { setup("ft", "ft", "t", 2); }
static void setup_audit(void) { setup("ft", "a", "", 2); }

static const struct weave_model models[] = {
    {"two free and take", 2, setup_free, thread, finish, WEAVE_BOTH},
    {"two take first", 2, setup_take, thread, finish, WEAVE_BOTH},
    {"an object goes from hand to hand", 2, setup_turns, thread, finish, WEAVE_BOTH},
    {"one has all", 2, setup_many, thread, finish, WEAVE_BOTH},
    {"an object is handed over", 2, setup_hand_over, thread, finish, WEAVE_BOTH},
    {"an object is freed twice", 2, setup_twice, thread, finish_crime, WEAVE_BOTH},
    {"freed twice beside a third thread", 3, setup_twice_apart, thread, finish_crime, WEAVE_BOTH},
    {"three free and take", 3, setup_three, thread, finish, WEAVE_SC},
    {"one looks through what is kept back", 2, setup_audit, thread, finish, WEAVE_BOTH},
};

static const struct weave_excuse excuses[] = {
    {"random_next", "&random_state", WEAVE_ANY, "chance"},
    {"keep_back", "&r->next", WEAVE_ANY, "a hint: which place is next"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"harden_free", "if (size == 0", WEAVE_NEVER},
    {"let_go", "if (p != NULL", WEAVE_ALWAYS},
    {"shuffle", "if (other != NULL", WEAVE_ALWAYS},
};

WEAVE_MAIN("hardened objects")
