/* SPDX-License-Identifier: MIT */
/* The edge cases of the copies. */
#include "kernel.h"

#include <stdlib.h>

void dup_strings(size_t unused) {
    (void)unused;
    CHECK(kstrdup(NULL, GFP_KERNEL) == NULL && kstrndup(NULL, 3, GFP_KERNEL) == NULL);
    CHECK(kmemdup_nul(NULL, 3, GFP_KERNEL) == NULL);
    char *s = kstrdup("slab", GFP_KERNEL), *empty = kstrdup("", GFP_KERNEL);
    CHECK(strcmp(s, "slab") == 0 && empty[0] == '\0');
    /* No character beyond max is looked at. */
    const char bare[3] = {'a', 'b', 'c'};
    char *two = kstrndup(bare, 2, GFP_KERNEL), *none = kstrndup(bare, 0, GFP_KERNEL);
    char *all = kstrndup("ab", SIZE_MAX, GFP_KERNEL);
    CHECK(strcmp(two, "ab") == 0 && strcmp(none, "") == 0 && strcmp(all, "ab") == 0);
    CHECK(!ZERO_OR_NULL_PTR(none) && !ZERO_OR_NULL_PTR(empty));
    void *objects[] = {s, empty, two, none, all};
    kfree_bulk(5, objects);
}

/* A constant of this program is its own copy; what is written, or lies in a library, is copied. */
void dup_constants(size_t unused) {
    (void)unused;
    static const char constant[] = "constant";
    static char variable[] = "variable";
    char local[] = "local";
    const char *heap = kstrdup("heap", GFP_KERNEL), *library = strerror(2);
    const char *sources[] = {constant, "literal", variable, local, heap, library};
    for (int i = 0; i < 6; i++) {
        const char *s = kstrdup_const(sources[i], GFP_KERNEL);
        CHECK_MSG((s == sources[i]) == (i < 2), "%s at %p, copied to %p", sources[i], (const void *)sources[i],
                  (const void *)s);
        CHECK(strcmp(s, sources[i]) == 0);
        kfree_const(s);
        CHECK(strcmp(s, sources[i]) == 0 || i >= 2);
    }
    kfree_const(heap);
    kfree_const(NULL);
    kfree_const(ZERO_SIZE_PTR);
    CHECK(kstrdup_const(NULL, GFP_KERNEL) == NULL);
}

void dup_memory(size_t unused) {
    (void)unused;
    static const unsigned short words[] = {1, 2, 3};
    char *dirty = kmalloc(4, GFP_KERNEL);
    memset(dirty, 0xee, 4);
    kfree(dirty);
    char *nul = kmemdup_nul("a\0b", 3, GFP_KERNEL);
    /* Else its NUL could be one that was there before. Hardened, what is freed is kept back, and reads as zeros. */
    CHECK(nul == opaque(dirty) || getenv("QUARRY_HARDEN") != NULL);
    CHECK(memcmp(nul, "a\0b", 4) == 0);
    unsigned short *copy = kmemdup(words, sizeof(words), GFP_KERNEL), *array = kmemdup_array(words, 3, 2, GFP_KERNEL);
    CHECK(memcmp(copy, words, sizeof(words)) == 0 && memcmp(array, words, sizeof(words)) == 0);
    CHECK(kmemdup(words, opaque_size(0), GFP_KERNEL) == ZERO_SIZE_PTR);
    CHECK(kmemdup_nul("", opaque_size(SIZE_MAX), GFP_KERNEL | __GFP_NOWARN) == NULL);
    void *objects[] = {nul, copy, array};
    kfree_bulk(3, objects);
}
