/* SPDX-License-Identifier: MIT */
/*
 * A small object freed by the thread that allocated it and again by another; each frees many others afterwards.
 */
#include "crime.h"

#include <pthread.h>

static struct crowd crowds[2];

static void *second_owner(void *p) {
    crime_free(p);
    crowd_leave(&crowds[1]);
    return NULL;
}

int main(void) {
    void *p = crime_alloc(96);
    pthread_t thread;

    crowds[0] = crowd_gather(96, 4000);
    crowds[1] = crowd_gather(96, 4000);
    crime_expect_released("Q01", "double-free", p);
    crime_free(p);
    crowd_leave(&crowds[0]);
    CHECK(pthread_create(&thread, NULL, second_owner, p) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    return 0;
}
