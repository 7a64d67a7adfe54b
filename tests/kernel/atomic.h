/* SPDX-License-Identifier: MIT */
/* Objects of random size that carry their number, in slots: what the programs that allocate atomically share. One box
 * belongs to one thread, or to the handlers of one. */
#ifndef QUARRY_TESTS_ATOMIC_H
#define QUARRY_TESTS_ATOMIC_H

#include "check.h"
#include "oracle.h"

#include <linux/slab.h>

enum { BOX_SLOTS = 256 };

struct box {
    struct rng rng;
    struct object slots[BOX_SLOTS];
    unsigned long served, refused, number;
    size_t large; /* the largest of one size in eight */
};

static inline size_t box_size(struct box *box) {
    size_t limit = rng_below(&box->rng, 8) == 0 ? box->large : 600;
    return 1 + rng_below(&box->rng, limit);
}

static inline void box_retire(struct object *object) {
    if (object->memory == NULL)
        return;
    object_check(object);
    kfree(object->memory);
    object->memory = NULL;
}

/* A slot is emptied, and filled if there is memory. */
static inline void box_step(struct box *box, gfp_t flags) {
    struct object *object = &box->slots[rng_below(&box->rng, BOX_SLOTS)];
    box_retire(object);
    object->size = box_size(box);
    object->memory = kmalloc(object->size, flags);
    if (object->memory == NULL) {
        box->refused++;
        return;
    }
    box->served++;
    object_stamp(object, ++box->number);
}

static inline void box_empty(struct box *box) {
    for (int i = 0; i < BOX_SLOTS; i++)
        box_retire(&box->slots[i]);
}

#endif
