/* SPDX-License-Identifier: MIT */
/*
 * For models of slabs (src/slab/slab.c, give.c, sweep.c and partial.c): a few slabs of one class, the page tier below
 * them, threads that allocate, free and sweep by a script, and what must hold at the end. A model is a setup.
 *
 * Who has an object writes to it, and so does whoever gives its page or its slab back; who owns a slab writes to its
 * record's plain fields. At the end each slab with something free is on one list, once, each object is out or free,
 * once, the accounts are true, and all that is free can be had. The sequence of slab words and the tag of lists are cut
 * to two and three bits.
 */
#ifndef QUARRY_TESTS_MODEL_WEAVE_SLABS_H
#define QUARRY_TESTS_MODEL_WEAVE_SLABS_H

#include "rt/context.h"

/* Whose slabs have four granules. A full one is listed by the first free that finds it so, or by the second. */
enum slabs_class { SLABS_OF_8 = 48, SLABS_OF_16 = 40 };

/*
 * What a thread does: t take one object, T two, g give back what it has had longest, G all it has at once, s sweep, r
 * retire all that is free, p purge pages inside, l lift the limit. context: of all threads. In RT_ATOMIC no slab is
 * made or given back, and memory that was purged is refused until the limit is lifted.
 */
void slabs_setup(enum slabs_class of, enum rt_context context, const char *first, const char *second,
                 const char *third);
/* One more slab whose lowest objects are free and purged of purged pages; the rest is somebody's for good. With nothing
 * free it is full, and on no list. */
void slabs_add(int free_nr, unsigned purged);
/* So many of the objects of the slab from there on, which are neither free nor anybody else's, are the thread's. */
void slabs_hand_over(unsigned slab, unsigned first, unsigned nr, unsigned self);
/* The class keeps as many slabs as it may elsewhere. */
void slabs_keep_no_more(void);

void slabs_thread(unsigned self);
void slabs_finish(void);

#endif
