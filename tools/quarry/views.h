/* SPDX-License-Identifier: MIT */
/* The views of another process as text, for the commands that print them and the one that goes on doing so. */
#ifndef QUARRY_TOOLS_VIEWS_H
#define QUARRY_TOOLS_VIEWS_H

#include "kmem/rows.h"
#include "target.h"

/* /proc/slabinfo of the process, into text that grows as needed (text->text is freed by the caller, NULL to begin
 * with). False, and a complaint, when it cannot be read. */
bool view_slabinfo(struct target *t, struct kmem_text *text);

#endif
