/* SPDX-License-Identifier: MIT */
/* A shrinker that has some objects of kmalloc to give, and gives all of them when it is asked. */
#ifndef QUARRY_TESTS_KERNEL_SHRINK_H
#define QUARRY_TESTS_KERNEL_SHRINK_H

#include <linux/shrinker.h>
#include <linux/slab.h>

static void **shrink_objs; /* what it can give, */
static size_t shrink_nr;   /* and how many of them */
static unsigned long asked;

static inline unsigned long shrink_count(struct shrinker *s, struct shrink_control *sc) {
    (void)s, (void)sc;
    asked++;
    return shrink_nr;
}

static inline unsigned long shrink_scan(struct shrinker *s, struct shrink_control *sc) {
    unsigned long freed = shrink_nr;
    (void)s, (void)sc;
    while (shrink_nr > 0)
        kfree(shrink_objs[--shrink_nr]);
    return freed;
}

#endif
