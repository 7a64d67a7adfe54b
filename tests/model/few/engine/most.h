/* SPDX-License-Identifier: MIT */
/* Found in place of src/engine/most.h: so few that objects push each other out, and who comes finds the
 * place that another left. */
#ifndef QUARRY_ENGINE_MOST_H
#define QUARRY_ENGINE_MOST_H

enum { RING_SMALL_NR = 2, RING_MEDIUM_NR = 1, RING_LARGE_NR = 1 };
enum { SHUFFLED_NR = 2, SHUFFLED_CLASSES_NR = 4 };
enum { RECLAIM_SLOTS_NR = 2 };

#endif
