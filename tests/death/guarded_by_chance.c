/* SPDX-License-Identifier: MIT */
/*
 * With no option set one slow call of several thousand gets an object between guard pages, usable to the byte: so it is
 * known among others. It is read after its free. Until the first there is one, SIGSEGV is as it was.
 */
#include "crime.h"

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>

/* So many of them at most come of one slow call, and of 7,500 slow calls one is guarded. */
enum { BYTES = 100, REFILL_MAX = 512, OBJECTS_MAX = 7500 * REFILL_MAX };

static void no_handler_check(void) {
    struct sigaction now;
    CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
}

/* The others stay: none of them comes again from a magazine. */
static volatile char *guarded_find(void) {
    for (unsigned i = 0; i < OBJECTS_MAX; i++) {
        char *p = crime_alloc(BYTES);
        if (malloc_usable_size(p) == BYTES)
            return p;
        if (i == 1000)
            no_handler_check();
    }
    CHECK_MSG(0, "no object of %u was guarded", OBJECTS_MAX);
    return NULL;
}

int main(void) {
    volatile char *p = guarded_find();
    crime_expect_object("Q11", "use-after-free", (const void *)p, (const void *)p);
    crime_free((const void *)p);
    return *p;
}
