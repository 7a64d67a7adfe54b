/* SPDX-License-Identifier: MIT */
/* Structures whose last member is counted by another: kmalloc_flex sets that one, too. The compiler's word for it,
 * which few have, is this program's own here. */
#include "check.h"

#include <stdint.h>

#define COUNTER_BYTES 8
#define QUARRY_COUNTED_BY_REF(array)                                                                                   \
    _Generic((array), uint64_t *                                                                                       \
             : (unsigned char *)(array)-COUNTER_BYTES, uint16_t *                                                      \
             : (unsigned *)(void *)((char *)(array)-COUNTER_BYTES), default                                            \
             : (void *)NULL)

#include <linux/slab.h>

struct few {
    long other;
    unsigned char nr;
    uint64_t parts[];
};

struct many {
    long other;
    unsigned nr, unused;
    uint16_t parts[];
};

struct uncounted {
    long nr;
    char parts[];
};

_Static_assert(offsetof(struct few, parts) - offsetof(struct few, nr) == COUNTER_BYTES, "where the counter is");
_Static_assert(offsetof(struct many, parts) - offsetof(struct many, nr) == COUNTER_BYTES, "where the counter is");

int main(void) {
    int asked = 0;
    struct few *f = kmalloc_flex(struct few, parts, (asked++, 13));
    CHECK(f != NULL && f->nr == 13 && asked == 1 && ksize(f) >= struct_size(f, parts, 13));
    kfree(f);
    CHECK((f = kzalloc_flex(*f, parts, opaque_size(255), GFP_KERNEL)) != NULL && f->nr == 255 && f->parts[254] == 0);
    kfree(f);
    CHECK(kzalloc_flex(*f, parts, opaque_size(256), GFP_KERNEL) == NULL); /* more than the counter tells */
    struct many *m = kvmalloc_flex(struct many, parts, 3 << 20, GFP_KERNEL);
    CHECK(m != NULL && m->nr == 3 << 20);
    kvfree(m);
    CHECK(kvzalloc_flex(struct many, parts, opaque_size((size_t)1 << 32)) == NULL);
    CHECK(kmalloc_flex(struct many, parts, opaque_size(SIZE_MAX / 2), GFP_KERNEL | __GFP_NOWARN) == NULL);
    struct uncounted *u = kzalloc_flex(struct uncounted, parts, 100);
    CHECK(u != NULL && u->nr == 0);
    kfree(u);
    CHECK(kmalloc_flex(struct uncounted, parts, opaque_size(SIZE_MAX), GFP_KERNEL | __GFP_NOWARN) == NULL);
    return 0;
}
