/* SPDX-License-Identifier: MIT */
/*
 * A local of a second thread is freed by that thread.
 */
#include "crime.h"

#include <pthread.h>

static void *thread_run(void *unused) {
    char local[64] = "on the stack";
    char *p = (char *)(((uintptr_t)local + 15) & ~(uintptr_t)15);

    crime_expect_stranger("Q04", "stack-pointer", p);
    crime_free(p);
    return local[0] ? unused : NULL;
}

int main(void) {
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, thread_run, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    return 0;
}
