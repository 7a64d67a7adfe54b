/* SPDX-License-Identifier: MIT */
/* A build without liburcu: programs plug in a flavour of their own, or end with a line that says so. */
#include "kmem/rcu.h"

const struct quarry_rcu_flavour *const kmem_rcu_default = NULL;
