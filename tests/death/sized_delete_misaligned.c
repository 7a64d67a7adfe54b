/* SPDX-License-Identifier: MIT */
/*
 * operator delete(void *, size_t, align_val_t) claims an alignment that the objects do not have. It is looked at where
 * a free leaves the fast path, so many are deleted and any of them may be the one that is named.
 */
#include "crime.h"

int main(void) {
    void (*sized_delete)(void *, size_t, size_t);
    struct crowd crowd = crowd_gather(208, 4000);

    symbol_get("_ZdlPvmSt11align_val_t", &sized_delete);
    CHECK(sized_delete != NULL);
    crime_expect_one_of("Q07", "bad-alignment", crowd.objects[0]);
    for (size_t i = 0; i < crowd.object_nr; i++) {
        if ((uintptr_t)crowd.objects[i] & 4095)
            sized_delete(crowd.objects[i], 208, 4096);
    }
    return 0;
}
