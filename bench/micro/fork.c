/* SPDX-License-Identifier: MIT */
/*
 * fork: a process with a heap of 64 MiB of written objects forks; the child replaces a few objects of that heap, writes
 * them and ends, and the parent waits. An allocator takes part by the locks it holds across the fork, by how many
 * mappings and page table entries its heap has, and by what the child's first calls copy. Prints ns of the fork call
 * itself, and ns from the fork to the child's end as seen by the parent; medians over the forks.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/args.h"
#include "../lib/child.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"

enum { FORKS_MAX = 10000, CHILD_OBJS = 100, BYTES_PER_MIB = 1 << 20, MIN_BYTES = 16, MAX_BYTES = 1024 };

static uint64_t forks = 200;
static uint64_t heap_mib = 64;
static double fork_ns[FORKS_MAX];
static double whole_ns[FORKS_MAX];

struct object {
    uint64_t idx;
    unsigned char rest[];
};

static struct object *object_make(struct rand *rand, uint64_t idx) {
    size_t size_bytes = rand_between(rand, MIN_BYTES, MAX_BYTES);
    struct object *object = alloc_or_die(size_bytes);

    memset(object, 0xa5, size_bytes);
    object->idx = idx;
    return object;
}

static void object_free(struct object *object, uint64_t idx) {
    if (object->idx != idx)
        die("object %llu was overwritten", (unsigned long long)idx);
    free(object);
}

static void child_work(struct object **heap, uint64_t nr, uint64_t round) {
    struct rand rand = {.state = round};

    for (unsigned left = CHILD_OBJS; left > 0; left--) {
        uint64_t idx = rand_between(&rand, 0, nr - 1);

        object_free(heap[idx], idx);
        heap[idx] = object_make(&rand, idx);
    }
}

static void fork_measure(struct object **heap, uint64_t nr, uint64_t round) {
    uint64_t start_ns = clock_now_ns();
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid == 0) {
        child_work(heap, nr, round);
        _exit(EXIT_SUCCESS);
    }
    fork_ns[round] = (double)(clock_now_ns() - start_ns);
    child_wait(pid);
    whole_ns[round] = (double)(clock_now_ns() - start_ns);
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "forks", .number = &forks, .min = 1, .max = FORKS_MAX, .help = "children, one after the other"},
        {.name = "mib", .number = &heap_mib, .min = 1, .max = 1 << 14, .help = "MiB of the parent's heap"},
    };

    args_parse_all(argc, argv, "fork: ns of fork, and of a child's whole life, with a heap", args, ARGS_NR(args));
    struct rand rand = {.state = 1};
    uint64_t nr = heap_mib * BYTES_PER_MIB / ((MIN_BYTES + MAX_BYTES) / 2);
    struct object **heap = mem_map_touched(nr * sizeof(*heap));

    for (uint64_t idx = 0; idx < nr; idx++)
        heap[idx] = object_make(&rand, idx);
    for (uint64_t round = 0; round < forks; round++)
        fork_measure(heap, nr, round);
    for (uint64_t idx = 0; idx < nr; idx++)
        object_free(heap[idx], idx);
    json_open("fork");
    json_f64(median_of(fork_ns, forks), "ns_fork");
    json_f64(median_of(whole_ns, forks), "ns_fork_exit");
    json_close();
    return 0;
}
