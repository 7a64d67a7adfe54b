/* SPDX-License-Identifier: MIT */
/* How many objects the hardened mode keeps back, by size, and shuffles of each class, and how many callbacks there may
 * be. Apart, because the models of tests/model have few. */
#ifndef QUARRY_ENGINE_MOST_H
#define QUARRY_ENGINE_MOST_H

enum { RING_SMALL_NR = 4096, RING_MEDIUM_NR = 256, RING_LARGE_NR = 16 };
/* Classes up to 1 KiB: at most 8 KiB more for each. */
enum { SHUFFLED_NR = 8, SHUFFLED_CLASSES_NR = 25 };
enum { RECLAIM_SLOTS_NR = 16 };

#endif
