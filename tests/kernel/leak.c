/* SPDX-License-Identifier: MIT */
/* A cache destroyed with three objects out, of two slabs: the driver reads the report. The objects stay as they are. */
#include "kernel.h"

enum { OBJS_NR = 64 };

int main(void) {
    void *objs[OBJS_NR];
    struct kmem_cache *s = kmem_cache_create("leaky", 1000, 0, SLAB_NO_MERGE, NULL);
    struct kmem_cache *quiet = kmem_cache_create("quiet", 1000, 0, SLAB_NOLEAKTRACE, NULL);
    for (int i = 0; i < OBJS_NR; i++) {
        objs[i] = kmem_cache_alloc(s, GFP_KERNEL);
        CHECK(objs[i] != NULL);
    }
    char *first = objs[0];
    uintptr_t slab = (uintptr_t)first / 16384;
    int kept = 0, beside = 0;
    memset(first, 0x5a, 1000);
    for (int i = 1; i < OBJS_NR; i++) {
        bool same = (uintptr_t)objs[i] / 16384 == slab;
        if ((same && beside++ == 0) || (!same && kept++ == 0))
            continue;
        kmem_cache_free(s, objs[i]);
    }
    CHECK(beside > 0 && kept > 0);
    kmem_cache_destroy(s);
    CHECK(bytes_are(first, 0, 1000, 0x5a));
    CHECK(kmem_cache_alloc(quiet, GFP_KERNEL) != NULL);
    kmem_cache_destroy(quiet);
    return 0;
}
