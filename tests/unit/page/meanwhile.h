/* SPDX-License-Identifier: MIT */
/* What happens while an allocation of a run is inside a call of the pretend system. */
#ifndef QUARRY_TESTS_UNIT_PAGE_MEANWHILE_H
#define QUARRY_TESTS_UNIT_PAGE_MEANWHILE_H

#include "fakes/fake.h"
#include "page/page.h"

#include <criterion/criterion.h>

/* A thread that this process does not have. */
#define OTHER_THREAD ((u64)0x1000)

static inline char *alloc(unsigned nr) {
    enum page_content content;
    return page_run_alloc(0, nr, 1, &content);
}

static inline struct page_stats stats(void) {
    struct page_stats st;
    page_stats_get(&st);
    return st;
}

/* Called once, at the next such call. */
static void (*meanwhile)(void);
static enum fake_call meanwhile_in;
static inline void meanwhile_at(enum fake_call call) {
    if (call != meanwhile_in)
        return;
    fake_calling = NULL;
    meanwhile();
}

/* Runs what inside the first such call that the run's allocation makes; there must be one. */
static inline char *alloc_inside(unsigned nr, enum fake_call call, void (*what)(void)) {
    meanwhile = what;
    meanwhile_in = call;
    fake_calling = meanwhile_at;
    char *run = alloc(nr);
    cr_assert_null(fake_calling, "there was no such call");
    return run;
}

#endif
