/* SPDX-License-Identifier: MIT */
/* The accounts of another process, read out of its memory while it runs. */
#ifndef QUARRY_TOOLS_PEEK_H
#define QUARRY_TOOLS_PEEK_H

#include "obs/obs.h"

#include <stdbool.h>
#include <sys/types.h>

/* Fills what explaining needs: the parts of the kernel's figure, and it. False, and a complaint, when the process is
 * not on quarry of this very version, or may not be read (that needs the rights of ptrace(2)). The process is not
 * stopped and does not take part; of several readings the one during which least moved is taken. */
bool peek_collect(pid_t pid, struct obs_stats *ret_stats);

#endif
