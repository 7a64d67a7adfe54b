/* SPDX-License-Identifier: MIT */
/*
 * operator delete(void *, size_t) says 4 MiB of objects of 40 bytes. The size is looked at where a free leaves the fast
 * path, so many are deleted and any of them may be the one that is named. Called by its mangled name: a C program will
 * do.
 */
#include "crime.h"

int main(void) {
    void (*sized_delete)(void *, size_t);
    struct crowd crowd = crowd_gather(40, 4000);

    symbol_get("_ZdlPvm", &sized_delete);
    CHECK(sized_delete != NULL);
    crime_expect_one_of("Q06", "sized-free-mismatch", crowd.objects[0]);
    for (size_t i = 0; i < crowd.object_nr; i++)
        sized_delete(crowd.objects[i], 4 << 20);
    return 0;
}
