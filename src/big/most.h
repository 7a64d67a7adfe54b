/* SPDX-License-Identifier: MIT */
/* How many freed regions keep their addresses. Apart, because the models of tests/model have few. */
#ifndef QUARRY_BIG_MOST_H
#define QUARRY_BIG_MOST_H

enum { RETIRED_NR = 16 };

#endif
