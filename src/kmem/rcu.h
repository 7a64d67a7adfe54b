/* SPDX-License-Identifier: MIT */
/* Private to kmem/: the flavour of RCU that is used when the program plugs in none. */
#ifndef QUARRY_KMEM_RCU_PRIVATE_H
#define QUARRY_KMEM_RCU_PRIVATE_H

#include "kmem/kmem.h"

#pragma GCC visibility push(default)
#include "quarry/kmem_rcu.h"
#pragma GCC visibility pop

/* The flavour is settled, and the thread runs; false where the build had none and the program plugged in none. Not for
 * signal handlers. */
bool kmem_rcu_prepare(void);
bool kmem_rcu_thread_runs(void);

/* liburcu's memb (rcu_memb.c), or NULL where the build had no liburcu (rcu_none.c). */
extern HIDDEN const struct quarry_rcu_flavour *const kmem_rcu_default;

#endif
