/* SPDX-License-Identifier: MIT */
/* How many freed regions are kept, and how many of the hardened mode keep their addresses. Apart, because the models of
 * tests/model have few. */
#ifndef QUARRY_BIG_MOST_H
#define QUARRY_BIG_MOST_H

enum { KEPT_NR = 16, RETIRED_NR = 16 };

#endif
