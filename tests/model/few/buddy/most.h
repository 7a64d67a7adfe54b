/* SPDX-License-Identifier: MIT */
/* Found in place of src/buddy/most.h: all static data is set back for each path of a model. */
#ifndef QUARRY_BUDDY_MOST_H
#define QUARRY_BUDDY_MOST_H

enum { BLOCKS_MAX = 4 };

#endif
