/* SPDX-License-Identifier: MIT */
/* Regions that were freed in the hardened mode: the last 16 keep their addresses. Private to big/; lock-free, but for
 * the system calls of those that make way. */
#ifndef QUARRY_BIG_RETIRED_H
#define QUARRY_BIG_RETIRED_H

#include "page/page.h"

/* Of a withdrawn region that holds neither memory nor access; what it takes the place of goes to the system. */
void retired_put(struct hpage *h);
/* The retired region that p lies in. Async-signal-safe. */
bool retired_find(const void *p, char **ret_addr, size_t *ret_bytes);
/* All go to the system. Returns bytes of address space. */
size_t retired_release_all(void);

#endif
