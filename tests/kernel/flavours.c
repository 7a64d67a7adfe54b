/* SPDX-License-Identifier: MIT */
/* See flavours.h. */
#include "flavours.h"

#include "check.h"

#include <quarry/kmem_rcu.h>
#include <string.h>
#include <urcu/urcu-bp.h>
#include <urcu/urcu-qsbr.h>

static const struct quarry_rcu_flavour bp = {
    .read_lock = urcu_bp_read_lock, .read_unlock = urcu_bp_read_unlock, .synchronize = urcu_bp_synchronize_rcu};

/* Readers are bounded by quiescent states; the threads make themselves known. */
static const struct quarry_rcu_flavour qsbr = {.synchronize = urcu_qsbr_synchronize_rcu};

static int by_qsbr;

void flavour_choose(const char *name) {
    by_qsbr = strcmp(name, "qsbr") == 0;
    if (by_qsbr)
        CHECK(quarry_rcu_use(&qsbr) == 0);
    else if (strcmp(name, "bp") == 0)
        CHECK(quarry_rcu_use(&bp) == 0);
    else
        CHECK_MSG(strcmp(name, "memb") == 0, "no flavour %s", name);
}

void flavour_thread_begin(void) {
    if (by_qsbr)
        urcu_qsbr_register_thread();
}

void flavour_thread_end(void) {
    if (by_qsbr)
        urcu_qsbr_unregister_thread();
}

void flavour_quiescent(void) {
    if (by_qsbr)
        urcu_qsbr_quiescent_state();
}
