/* SPDX-License-Identifier: MIT */
/*
 * aligned: objects at alignments from 32 B to 64 KiB, on one thread: posix_memalign of 100 B, as for a structure that
 * wants cache lines or pages of its own, and aligned_alloc of three times the alignment, as for buffers (mimalloc 2.0.9
 * misaligns what is exactly as large as its alignment, its issue 700, and would have no figure). Once as pairs with
 * free, and once as batches of 100, freed oldest first. Prints ns per allocation+free pair for each alignment and kind,
 * with the check of every address, a mask and a branch.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/escape.h"
#include "../lib/json.h"
#include "../lib/placed.h"
#include "../lib/rounds.h"

enum { STRUCT_BYTES = 100, BUFFER_UNITS = 3, BATCH_OBJS = 100, ROUND_MAX_OBJS = 20000, ROUND_BYTES = 16 << 20 };

static const size_t alignments[] = {32, 64, 256, 1024, 4096, 16384, 65536};
static void *objects[BATCH_OBJS];

static ALWAYS_INLINE void *struct_alloc(size_t align_bytes) {
    void *object;

    return posix_memalign(&object, align_bytes, STRUCT_BYTES) == 0 ? object : NULL;
}

static ALWAYS_INLINE void *buffer_alloc(size_t align_bytes) {
    return aligned_alloc(align_bytes, BUFFER_UNITS * align_bytes);
}

static ALWAYS_INLINE void address_check(const void *object, size_t align_bytes) {
    if (object == NULL || ((uintptr_t)object & (align_bytes - 1)) != 0)
        die("%p is not aligned to %zu", object, align_bytes);
}

static ALWAYS_INLINE uint64_t pairs_ns(void *(*alloc)(size_t), size_t align_bytes, uint64_t nr) {
    uint64_t start_ns = clock_thread_ns();

    for (; nr > 0; nr--) {
        void *object = alloc(align_bytes);

        escape(object);
        address_check(object, align_bytes);
        free(object);
    }
    return clock_thread_ns() - start_ns;
}

/* nr is a multiple of the batch. */
static ALWAYS_INLINE uint64_t batches_ns(void *(*alloc)(size_t), size_t align_bytes, uint64_t nr) {
    uint64_t start_ns = clock_thread_ns();

    for (; nr > 0; nr -= BATCH_OBJS) {
        for (size_t at = 0; at < BATCH_OBJS; at++)
            objects[at] = alloc(align_bytes);
        for (size_t at = 0; at < BATCH_OBJS; at++) {
            address_check(objects[at], align_bytes);
            free(objects[at]);
        }
    }
    return clock_thread_ns() - start_ns;
}

#define ALIGNED_LOOP(name, loop, alloc)                                                                                \
    static ALWAYS_INLINE uint64_t name(size_t align_bytes, uint64_t nr) { return loop(alloc, align_bytes, nr); }       \
    PLACED(name, uint64_t, (size_t align_bytes, uint64_t nr), (align_bytes, nr))

ALIGNED_LOOP(struct_pairs_ns, pairs_ns, struct_alloc)
ALIGNED_LOOP(struct_batches_ns, batches_ns, struct_alloc)
ALIGNED_LOOP(buffer_pairs_ns, pairs_ns, buffer_alloc)
ALIGNED_LOOP(buffer_batches_ns, batches_ns, buffer_alloc)

static const struct {
    const char *name;
    timed_loop *const *places;
} kinds[] = {
    {"memalign_pair", struct_pairs_ns_at},
    {"memalign_batch", struct_batches_ns_at},
    {"aligned_alloc_pair", buffer_pairs_ns_at},
    {"aligned_alloc_batch", buffer_batches_ns_at},
};

/* Fewer of the larger ones, a multiple of the batch: some allocators give the whole batch back to the kernel. */
static uint64_t round_objs(size_t align_bytes) {
    uint64_t objs = ROUND_BYTES / align_bytes;

    if (objs > ROUND_MAX_OBJS)
        return ROUND_MAX_OBJS;
    return objs < BATCH_OBJS ? BATCH_OBJS : objs / BATCH_OBJS * BATCH_OBJS;
}

int main(int argc, char **argv) {
    uint64_t rounds = 25;
    const struct arg args[] = {
        {.name = "rounds",
         .number = &rounds,
         .min = 1,
         .max = ROUNDS_MAX,
         .help = "timed rounds per alignment and kind"},
    };

    args_parse_all(argc, argv, "aligned: ns per pair at alignments of 32 B to 64 KiB", args, ARGS_NR(args));
    json_open("aligned");
    for (size_t kind = 0; kind < ARGS_NR(kinds); kind++)
        for (size_t at = 0; at < ARGS_NR(alignments); at++)
            json_f64(rounds_op_ns(kinds[kind].places, alignments[at], round_objs(alignments[at]), rounds), "ns_%s_%zu",
                     kinds[kind].name, alignments[at]);
    json_close();
    return 0;
}
