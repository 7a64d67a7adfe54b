/* SPDX-License-Identifier: MIT */
/* How many blocks of pages there may be. Apart, because the models of tests/model have few. */
#ifndef QUARRY_BUDDY_MOST_H
#define QUARRY_BUDDY_MOST_H

/* 256 GiB of pages, which is what the metadata pool has room to describe. */
enum { BLOCKS_MAX = 1 << 17 };

#endif
