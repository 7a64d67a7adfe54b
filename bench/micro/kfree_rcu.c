/* SPDX-License-Identifier: MIT */
/*
 * kfree_rcu: kfree_rcu beside kfree, one thread that frees as fast as it can, by the wall, until all is freed: the time
 * ends with kvfree_rcu_barrier, so that what other threads of the library do is in it. Blocks of the two sides take
 * turns. "all": objects that are there, freed one after the other. "turns": a thousand are allocated and freed, again
 * and again. "tens": the same with ten. Prints ns for each object, medians of the blocks; what the caller alone takes;
 * and the medians of the ratios of neighbours, kfree's time to kfree_rcu's, whose bar is 0.5: by the wall, which needs
 * two CPUs to be idle, and in CPU time of all threads, which does not. Not run by tools/bars, which compares
 * allocators.
 */
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <stdbool.h>
#include <stdlib.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"

enum { BLOCKS_MAX = 1001, HELD_MAX = 1000 };

struct object {
    struct rcu_head rcu;
};

static const unsigned sizes[] = {64, 256, 1024};
static struct object **objects;

struct times {
    double caller_ns, whole_ns, cpu_ns; /* for each object */
};

struct moment {
    uint64_t wall_ns, cpu_ns;
};

static void objects_make(size_t size, uint64_t nr) {
    for (uint64_t i = 0; i < nr; i++) {
        if ((objects[i] = kmalloc(size, GFP_KERNEL)) == NULL)
            die("out of memory");
        objects[i]->rcu.next = NULL;
    }
}

static void objects_free(uint64_t nr, bool rcu) {
    if (rcu) {
        for (uint64_t i = 0; i < nr; i++)
            kfree_rcu(objects[i], rcu);
    } else {
        for (uint64_t i = 0; i < nr; i++)
            kfree(objects[i]);
    }
}

static struct moment moment_now(void) { return (struct moment){clock_now_ns(), clock_process_ns()}; }

static struct times times_until_freed(struct moment from, uint64_t nr, bool rcu) {
    uint64_t handed_ns = clock_now_ns();

    if (rcu)
        kvfree_rcu_barrier();
    struct moment end = moment_now();

    return (struct times){
        .caller_ns = (double)(handed_ns - from.wall_ns) / (double)nr,
        .whole_ns = (double)(end.wall_ns - from.wall_ns) / (double)nr,
        .cpu_ns = (double)(end.cpu_ns - from.cpu_ns) / (double)nr,
    };
}

static struct times all_time(size_t size, uint64_t nr, bool rcu) {
    objects_make(size, nr);
    struct moment from = moment_now();

    objects_free(nr, rcu);
    return times_until_freed(from, nr, rcu);
}

static struct times turns_time_of(size_t size, uint64_t nr, bool rcu, uint64_t held) {
    struct moment from = moment_now();

    for (uint64_t done = 0; done < nr; done += held) {
        objects_make(size, held);
        objects_free(held, rcu);
    }
    return times_until_freed(from, nr, rcu);
}

static struct times turns_time(size_t size, uint64_t nr, bool rcu) { return turns_time_of(size, nr, rcu, HELD_MAX); }
static struct times tens_time(size_t size, uint64_t nr, bool rcu) { return turns_time_of(size, nr, rcu, 10); }

typedef struct times timed_fn(size_t size, uint64_t nr, bool rcu);

static void compare(const char *name, timed_fn *fn, unsigned size, uint64_t nr, uint64_t blocks) {
    static double plain_ns[BLOCKS_MAX], caller_ns[BLOCKS_MAX], whole_ns[BLOCKS_MAX], ratio[BLOCKS_MAX],
        cpu_ratio[BLOCKS_MAX];

    for (uint64_t block = 0; block <= blocks; block++) {
        uint64_t at = block == 0 ? 0 : block - 1; /* the first finds everything cold, and is overwritten */
        struct times plain = fn(size, nr, false), rcu = fn(size, nr, true);

        plain_ns[at] = plain.whole_ns;
        caller_ns[at] = rcu.caller_ns;
        whole_ns[at] = rcu.whole_ns;
        ratio[at] = plain.whole_ns / rcu.whole_ns;
        cpu_ratio[at] = plain.cpu_ns / rcu.cpu_ns;
    }
    json_f64(median_of(plain_ns, blocks), "%s_kfree_ns_%u", name, size);
    json_f64(median_of(caller_ns, blocks), "%s_caller_ns_%u", name, size);
    json_f64(median_of(whole_ns, blocks), "%s_rcu_ns_%u", name, size);
    json_f64(median_of(ratio, blocks), "%s_ratio_%u", name, size);
    json_f64(median_of(cpu_ratio, blocks), "%s_cpu_ratio_%u", name, size);
}

int main(int argc, char **argv) {
    uint64_t blocks = 21, kilo_objects = 1000;
    const struct arg args[] = {
        {.name = "blocks", .number = &blocks, .min = 1, .max = BLOCKS_MAX, .help = "timed blocks of each side"},
        {.name = "kilo-objects", .number = &kilo_objects, .min = 1, .max = 100000, .help = "objects of a block / 1000"},
    };

    args_parse_all(argc, argv, "kfree_rcu: ns per object beside kfree, by the wall", args, ARGS_NR(args));
    objects = malloc(kilo_objects * 1000 * sizeof(*objects));
    if (objects == NULL)
        die("out of memory");
    json_open("kfree_rcu");
    for (size_t at = 0; at < ARGS_NR(sizes); at++) {
        uint64_t nr = kilo_objects * 1000;

        compare("all", all_time, sizes[at], nr / (1 + sizes[at] / 256), blocks); /* so that memory holds them */
        compare("turns", turns_time, sizes[at], nr, blocks);
        compare("tens", tens_time, sizes[at], nr, blocks);
    }
    json_close();
    return 0;
}
