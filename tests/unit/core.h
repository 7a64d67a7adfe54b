/* SPDX-License-Identifier: MIT */
/* Starts the core below the engine as engine/start.c does, for tests of one layer; each test runs in a process of its
 * own. */
#ifndef QUARRY_TESTS_UNIT_CORE_H
#define QUARRY_TESTS_UNIT_CORE_H

#include "rt/options.h"
#include "slab/slab.h"

#include <criterion/criterion.h>

static struct slab_class_tables core_class_tables;

/* Metadata, page tier and slabs, with default options; a test may change rt_opt afterwards. */
static inline void core_start_slabs(void) {
    rt_options_read(NULL, NULL);
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
    cr_assert_eq(slab_init(&core_class_tables), 0);
}

#endif
