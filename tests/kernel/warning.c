/* SPDX-License-Identifier: MIT */
/* kmalloc above its maximum: not a word with __GFP_NOWARN, one line the first time without. The driver reads stderr. */
#include "kernel.h"

int main(void) {
    CHECK(kmalloc(opaque_size(KMALLOC_MAX_SIZE + 1), GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(kmalloc(opaque_size(KMALLOC_MAX_SIZE + 1), GFP_KERNEL) == NULL);
    CHECK(kmalloc(opaque_size(KMALLOC_MAX_SIZE + 1), GFP_KERNEL) == NULL);
    return 0;
}
