/* SPDX-License-Identifier: MIT */
/* Found in place of src/big/most.h: so few that regions push each other out. */
#ifndef QUARRY_BIG_MOST_H
#define QUARRY_BIG_MOST_H

enum { KEPT_NR = 2, RETIRED_NR = 2 };

#endif
