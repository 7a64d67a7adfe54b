/* SPDX-License-Identifier: MIT */
/* The interpreter and its shadow heap. See ops.h. */
#include "ops.h"

#include "turns.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLOTS_NR = 64,
    EXCHANGES_NR = 16,
    AT_ONCE_BYTES = 32768,
    FULL_BYTES = 4096, /* objects up to this size are written and read whole, longer ones at both ends and in steps */
    STEP_BYTES = 1021, /* a prime, so that no power of two hides from it */
    ALIGN_MIN = 16,
    /* malloc(3): the alignment of any object that holds a smaller type may be smaller. */
    ALIGN_SMALL = 8,
};
#define BELOW_MAX ((size_t)PTRDIFF_MAX)

enum op {
    OP_MALLOC,
    OP_MALLOC_AGAIN,
    OP_CALLOC,
    OP_CALLOC_OVERFLOW,
    OP_REALLOC,
    OP_REALLOC_NEAR,
    OP_REALLOC_KIND,
    OP_REALLOC_ABSURD,
    OP_MEMALIGN,
    OP_ABSURD,
    OP_FREE,
    OP_FREE_AGAIN,
    OP_FREE_SIZED,
    OP_CHECK,
    OP_USE_ALL,
    OP_TRIM,
    OP_FREE_ALL,
    OP_TURN,
    OPS_NR
};

struct object {
    uint8_t *p;
    size_t size;
    uint64_t stamp;
    bool sized; /* may be freed with its size, and with this alignment */
    size_t align;
    unsigned thread;
};

struct run {
    const struct fuzz_api *api;
    const uint8_t *at, *end;
    struct object slots[SLOTS_NR];
    uint64_t digest, steps;
    enum op op;
    unsigned thread; /* whose turn it is */
    bool at_once;    /* with others, who have a run of their own */
    uint64_t handed_nr;
};

/* Where threads that run at once leave an object for the next. */
static struct {
    pthread_mutex_t lock;
    struct object object;
} exchanges[EXCHANGES_NR];

uint64_t fuzz_moves[FUZZ_KINDS_NR][FUZZ_KINDS_NR];
uint64_t fuzz_handed_nr;

#define MUST(run, condition)                                                                                           \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fail(run, #condition);                                                                                     \
    } while (0)

static void fail(const struct run *r, const char *what) {
    fprintf(stderr, "fuzz: step %llu, operation %d: must hold: %s\n", (unsigned long long)r->steps, (int)r->op, what);
    abort();
}

/* --- the stream --- */

static uint64_t bytes_next(struct run *r, unsigned nr) {
    uint64_t value = 0;
    for (unsigned i = 0; i < nr && r->at < r->end; i++)
        value = value << 8 | *r->at++;
    return value;
}

/* One byte before, on, or behind an edge: classes change at eighths of powers of two, or at some of them. */
static size_t edge_next(uint64_t value) {
    size_t power = (size_t)1 << (value % 64 == 0 ? value / 64 % 22 : 4 + value % 12);
    return power + power / 8 * (size_t)((value >> 16) % 8) + (size_t)(value >> 8) % 3 - 1;
}

/* Sizes of every tier, and those around the edges of classes. */
static size_t size_next(struct run *r) {
    static const size_t tiers[] = {64, 1024, 1024, 4096, 32768, 300000, 1100000, 3000000};
    uint64_t kind = bytes_next(r, 1), value = bytes_next(r, 3);
    if (kind % 4 == 0)
        return edge_next(value);
    /* Few of the large ones: the rest should go on quickly. */
    return (size_t)value % tiers[kind / 4 % 16 < 15 ? kind / 4 % 5 : kind % 8];
}

#define KIB ((size_t)1024)

static enum fuzz_kind kind_of(size_t size) {
    return size <= KIB ? FUZZ_SMALL : size <= 64 * KIB ? FUZZ_MEDIUM : size <= 1024 * KIB ? FUZZ_RUN : FUZZ_REGION;
}

/* A size of the kind that is drawn, so that each becomes each. */
static size_t kind_next(struct run *r) {
    static const size_t from[] = {1, KIB + 1, 64 * KIB + 1, 1024 * KIB + 1},
                        span[] = {KIB, 63 * KIB, KIB * 960, KIB * 2048};
    unsigned kind = (unsigned)bytes_next(r, 1) % FUZZ_KINDS_NR;
    return from[kind] + bytes_next(r, 3) % span[kind];
}

static unsigned how_next(struct run *r) { return (unsigned)bytes_next(r, 1); }

/* Beyond what any address space holds, and beyond what may be asked for. */
static size_t absurd_next(struct run *r) {
    static const size_t sizes[] = {BELOW_MAX,    BELOW_MAX + 1,   SIZE_MAX,         SIZE_MAX - 15,
                                   SIZE_MAX / 2, (size_t)1 << 57, BELOW_MAX - 4096, SIZE_MAX - 4096};
    return sizes[bytes_next(r, 1) % (sizeof(sizes) / sizeof(sizes[0]))];
}

/* --- the shadow heap --- */

/* Of its stamp and place, not of the size: what realloc keeps stays right. */
static uint8_t byte_of(uint64_t stamp, size_t at) {
    uint64_t x = (stamp + at) * 0x9E3779B97F4A7C15u;
    return (uint8_t)(x >> 56);
}

static size_t place_next(size_t at, size_t size) {
    if (size <= FULL_BYTES || at + 64 >= size || at < 64)
        return at + 1;
    return at + STEP_BYTES < size - 64 ? at + STEP_BYTES : size - 64;
}

static void object_write(struct object *o) {
    for (size_t at = 0; at < o->size; at = place_next(at, o->size))
        o->p[at] = byte_of(o->stamp, at);
}

/* The first bytes of it, as they were written when it had o->size. */
static void object_check(const struct run *r, const struct object *o, size_t bytes) {
    for (size_t at = 0; at < o->size && at < bytes; at = place_next(at, o->size))
        MUST(r, o->p[at] == byte_of(o->stamp, at));
}

static void apart_check(const struct run *r, const struct object *o) {
    for (const struct object *other = r->slots; other < r->slots + SLOTS_NR; other++)
        MUST(r, other == o || other->p == NULL || o->p + o->size <= other->p || other->p + other->size <= o->p);
}

static void digest_add(struct run *r, uint64_t value) { r->digest = (r->digest ^ value) * 0x100000001b3u; }

/* What the program sees of a call's answer. */
static bool answered(struct run *r, const void *p) {
    digest_add(r, (uint64_t)r->op << 8 | (p != NULL));
    if (p == NULL && r->api->error != NULL)
        digest_add(r, (uint64_t)*r->api->error());
    return p != NULL;
}

static void error_clear(const struct run *r) {
    if (r->api->error != NULL)
        *r->api->error() = 0;
}

static void object_new(struct run *r, struct object *o, void *p, size_t size, size_t align) {
    uint64_t stamp = (++r->steps * FUZZ_THREADS_NR + r->thread) * 0xD1342543DE82EF95u;
    *o = (struct object){p, size, stamp, true, align, r->thread};
    size_t least = size >= ALIGN_MIN ? ALIGN_MIN : ALIGN_SMALL;
    MUST(r, ((uintptr_t)p & ((align > least ? align : least) - 1)) == 0);
    MUST(r, r->api->usable(p) >= size);
    apart_check(r, o);
    object_write(o);
}

static void handed_count(struct run *r, const struct object *o) {
    if (o->p != NULL && o->thread != r->thread)
        r->handed_nr++;
}

static void object_free(struct run *r, struct object *o) {
    object_check(r, o, o->size);
    handed_count(r, o);
    if (o->p != NULL)
        r->api->free(o->p, (unsigned)r->steps);
    o->p = NULL;
    o->size = 0;
}

/* --- operations --- */

static void op_malloc(struct run *r, struct object *o) {
    size_t size = size_next(r);
    object_free(r, o);
    void *p = r->api->malloc(size, how_next(r));
    MUST(r, answered(r, p));
    object_new(r, o, p, size, 0);
}

static void op_calloc(struct run *r, struct object *o) {
    size_t size = size_next(r), nr = 1 + (size_t)bytes_next(r, 1) % 8;
    object_free(r, o);
    uint8_t *p = r->api->calloc(nr, size, how_next(r));
    MUST(r, answered(r, p));
    for (size_t at = 0; at < nr * size; at += nr * size <= 16 * (size_t)FULL_BYTES ? 1 : 61)
        MUST(r, p[at] == 0);
    object_new(r, o, p, nr * size, 0);
}

/* Up to 4 MiB, mostly those below the size of a slab. */
static size_t align_next(struct run *r) {
    uint64_t value = bytes_next(r, 1);
    return (size_t)1 << (4 + value % 16 + (value >= 240 ? (value - 240) % 4 : 0));
}

static void op_memalign(struct run *r, struct object *o) {
    size_t align = align_next(r), size = 1 + size_next(r);
    object_free(r, o);
    unsigned how = how_next(r);
    void *p = r->api->memalign(align, size, how);
    MUST(r, answered(r, p));
    object_new(r, o, p, size, align);
    o->sized = (how & FUZZ_ROUNDED) == 0;
}

/* No power of two, or one below that of a pointer. */
static void op_misaligned(struct run *r) {
    uint64_t value = bytes_next(r, 3);
    size_t align = value % 4 == 0 ? value / 4 % sizeof(void *) : (value | 1) << value % 21;
    if (align >= sizeof(void *) && (align & (align - 1)) == 0)
        align += sizeof(void *) + align / 2;
    if (r->api->refuses != NULL)
        MUST(r, r->api->refuses(align, size_next(r)));
}

static void op_realloc(struct run *r, struct object *o, size_t size) {
    object_check(r, o, o->size);
    handed_count(r, o);
    if (o->p != NULL && size != 0 && !r->at_once)
        fuzz_moves[kind_of(o->size)][kind_of(size)]++;
    void *p = r->api->realloc(o->p, size, how_next(r));
    if (size == 0 && o->p != NULL) {
        /* glibc's answer is to free and return NULL; another is an object of no size. */
        (void)answered(r, p);
        *o = (struct object){p, 0, 0, false, 0, r->thread};
        return;
    }
    MUST(r, answered(r, p));
    struct object moved = {p, o->size, o->stamp, false, 0, r->thread};
    object_check(r, &moved, size);
    object_new(r, o, p, size, 0);
    o->sized = false;
}

/* Around the size it has, where it should stay in place or nearly so. */
static size_t near_next(struct run *r, const struct object *o) {
    size_t more = (size_t)bytes_next(r, 2);
    return more % 2 ? o->size + more / 2 : o->size - (more / 2 < o->size ? more / 2 : o->size / 2);
}

static void op_refused(struct run *r, struct object *o) {
    size_t size = absurd_next(r);
    void *p = NULL;
    error_clear(r);
    if (r->op == OP_ABSURD)
        p = r->api->malloc(size, 0);
    else if (r->op == OP_CALLOC_OVERFLOW)
        p = r->api->calloc(size, 2 + (size_t)bytes_next(r, 1), how_next(r));
    else if (o->p != NULL)
        p = r->api->realloc(o->p, size, how_next(r));
    MUST(r, !answered(r, p));
    object_check(r, o, o->size);
}

/* All that may be used is the program's. */
static void op_use_all(struct run *r, struct object *o) {
    if (o->p == NULL)
        return;
    object_check(r, o, o->size);
    o->size = r->api->usable(o->p);
    o->sized = false;
    apart_check(r, o);
    object_write(o);
}

static void op_free_sized(struct run *r, struct object *o) {
    if (o->p == NULL || !o->sized || r->api->free_sized == NULL) {
        object_free(r, o);
        return;
    }
    object_check(r, o, o->size);
    handed_count(r, o);
    r->api->free_sized(o->p, o->size, o->align);
    o->p = NULL;
    o->size = 0;
}

static void all_free(struct run *r) {
    for (struct object *o = r->slots; o < r->slots + SLOTS_NR; o++)
        object_free(r, o);
}

/* What another thread left is taken for what this one has there. */
static void exchange(struct run *r, struct object *o) {
    unsigned at = (unsigned)bytes_next(r, 1) % EXCHANGES_NR;
    struct object mine = *o;
    if (pthread_mutex_lock(&exchanges[at].lock) != 0)
        abort();
    *o = exchanges[at].object;
    exchanges[at].object = mine;
    (void)pthread_mutex_unlock(&exchanges[at].lock);
    object_check(r, o, o->size);
}

static void op_turn(struct run *r, struct object *o) {
    if (r->at_once)
        exchange(r, o);
    else
        r->thread = (unsigned)bytes_next(r, 1) % FUZZ_THREADS_NR;
}

/* Rarely; and as rarely what has no number of its own, so that kept streams stay what they were. */
static void op_trim(struct run *r) {
    uint64_t value = bytes_next(r, 1) % 16;
    if (value == 0)
        r->api->trim();
    else if (value <= 2)
        op_misaligned(r);
}

static void step(struct run *r) {
    r->op = (enum op)(bytes_next(r, 1) % OPS_NR);
    struct object *o = &r->slots[bytes_next(r, 1) % SLOTS_NR];
    r->steps++;
    switch (r->op) {
    case OP_MALLOC:
    case OP_MALLOC_AGAIN: op_malloc(r, o); break;
    case OP_CALLOC: op_calloc(r, o); break;
    case OP_REALLOC: op_realloc(r, o, size_next(r)); break;
    case OP_REALLOC_NEAR: op_realloc(r, o, near_next(r, o)); break;
    case OP_REALLOC_KIND: op_realloc(r, o, kind_next(r)); break;
    case OP_MEMALIGN: op_memalign(r, o); break;
    case OP_ABSURD:
    case OP_CALLOC_OVERFLOW:
    case OP_REALLOC_ABSURD: op_refused(r, o); break;
    case OP_FREE:
    case OP_FREE_AGAIN: object_free(r, o); break;
    case OP_FREE_SIZED: op_free_sized(r, o); break;
    case OP_USE_ALL: op_use_all(r, o); break;
    case OP_TRIM: op_trim(r); break;
    case OP_FREE_ALL:
        if (bytes_next(r, 1) % 16 == 0)
            all_free(r);
        break;
    case OP_TURN: op_turn(r, o); break;
    default: object_check(r, o, o->size); break;
    }
}

/* One thread's steps, until it is another's turn. */
static void turn(void *arg) {
    struct run *r = arg;
    unsigned thread = r->thread;
    while (r->at < r->end && r->thread == thread)
        step(r);
}

uint64_t fuzz_run(const struct fuzz_api *api, const uint8_t *data, size_t bytes) {
    static struct run r;
    r = (struct run){.api = api, .at = data, .end = data + bytes, .digest = 0xcbf29ce484222325u};
    while (r.at < r.end)
        turn_on(r.thread, turn, &r);
    all_free(&r);
    fuzz_handed_nr += r.handed_nr;
    return r.digest;
}

static void *run_beside(void *argument) {
    struct run *r = argument;
    while (r->at < r->end)
        step(r);
    all_free(r);
    return NULL;
}

/* The exchanges' objects belong to nobody then, and the first run frees them. */
static void exchanges_free(struct run *r) {
    for (unsigned i = 0; i < EXCHANGES_NR; i++)
        object_free(r, &exchanges[i].object);
}

uint64_t fuzz_run_at_once(const struct fuzz_api *api, uint64_t seed) {
    static struct run runs[FUZZ_THREADS_NR];
    static uint8_t streams[FUZZ_THREADS_NR][AT_ONCE_BYTES];
    pthread_t threads[FUZZ_THREADS_NR];
    uint64_t handed_nr = 0;
    for (unsigned i = 0; i < EXCHANGES_NR; i++) {
        if (pthread_mutex_init(&exchanges[i].lock, NULL) != 0)
            abort();
    }
    for (unsigned i = 0; i < FUZZ_THREADS_NR; i++) {
        fuzz_stream(seed * FUZZ_THREADS_NR + i, streams[i], AT_ONCE_BYTES);
        runs[i] =
            (struct run){.api = api, .at = streams[i], .end = streams[i] + AT_ONCE_BYTES, .thread = i, .at_once = true};
        if (pthread_create(&threads[i], NULL, run_beside, &runs[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < FUZZ_THREADS_NR; i++) {
        (void)pthread_join(threads[i], NULL);
        handed_nr += runs[i].handed_nr;
    }
    exchanges_free(&runs[0]);
    return handed_nr;
}

void fuzz_stream(uint64_t seed, uint8_t *ret_data, size_t bytes) {
    uint64_t state = seed * 0x2545F4914F6CDD1Du + 1;
    for (size_t i = 0; i < bytes; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ret_data[i] = (uint8_t)(state >> 32);
    }
}
