/* SPDX-License-Identifier: MIT */
/* liburcu's flavour memb: readers pay no barrier where the kernel has membarrier(2). Threads must be known to it. */
#include "kmem/rcu.h"

#include <urcu/urcu-memb.h>

static const struct quarry_rcu_flavour memb = {
    .read_lock = urcu_memb_read_lock,
    .read_unlock = urcu_memb_read_unlock,
    .synchronize = urcu_memb_synchronize_rcu,
    .thread_register = urcu_memb_register_thread,
    .thread_unregister = urcu_memb_unregister_thread,
};

const struct quarry_rcu_flavour *const kmem_rcu_default = &memb;
