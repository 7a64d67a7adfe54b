/* SPDX-License-Identifier: MIT */
/* The accounts of another process, read out of its memory while it runs. */
#ifndef QUARRY_TOOLS_PEEK_H
#define QUARRY_TOOLS_PEEK_H

#include "obs/obs.h"
#include "target.h"

/* Fills what explaining needs: the parts of the kernel's figure, and it. Of several readings the one during which least
 * moved is taken. False, and a complaint, when the process ended meanwhile. */
bool peek_collect(struct target *t, struct obs_stats *ret_stats);

#endif
