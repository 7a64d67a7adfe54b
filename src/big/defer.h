/* SPDX-License-Identifier: MIT */
/* Private to big/: regions and areas freed where nothing may block (rt/context.h). */
#ifndef QUARRY_BIG_DEFER_H
#define QUARRY_BIG_DEFER_H

#include "big/area.h"
#include "big/big.h"

/* Withdrawn, and still mapped: whoever may block gives it back. The record is the list's until then. */
void big_defer(struct hpage *h);
size_t big_deferred_bytes_racy(void);
/* fn for each, but for those that somebody gives back just now. */
void big_deferred_each(void (*fn)(void *arg, char *addr, size_t bytes), void *arg);

/* What giving back is, of a withdrawn region (big.c) and area (area.c). */
void region_give(struct hpage *h);
void area_give(const struct hpage *h);

#endif
