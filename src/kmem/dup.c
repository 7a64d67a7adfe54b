/* SPDX-License-Identifier: MIT */
/* Copies of strings and memory in kmalloc'ed objects. Owns nothing. */
#include "kmem/kmem.h"

#include <string.h>

void *quarry_kmemdup(const void *src, size_t len, quarry_gfp_t flags) {
    void *p = quarry_kmalloc(len, flags);
    if (!QUARRY_ZERO_OR_NULL_PTR(p))
        memcpy(p, src, len);
    return p;
}

char *quarry_kmemdup_nul(const char *s, size_t len, quarry_gfp_t flags) {
    if (s == NULL)
        return NULL;
    /* SIZE_MAX wraps to 0, which would be the one size kmalloc answers without memory. */
    char *p = len == SIZE_MAX ? NULL : quarry_kmalloc(len + 1, flags);
    if (p == NULL)
        return NULL;
    memcpy(p, s, len);
    p[len] = '\0';
    return p;
}

char *quarry_kstrdup(const char *s, quarry_gfp_t flags) {
    return s == NULL ? NULL : quarry_kmemdup(s, strlen(s) + 1, flags);
}

const char *quarry_kstrdup_const(const char *s, quarry_gfp_t flags) {
    return quarry_core1_is_constant(s) ? s : quarry_kstrdup(s, flags);
}

void quarry_kfree_const(const void *p) {
    if (!quarry_core1_is_constant(p))
        quarry_kfree(p);
}

char *quarry_kstrndup(const char *s, size_t max, quarry_gfp_t flags) {
    return s == NULL ? NULL : quarry_kmemdup_nul(s, strnlen(s, max), flags);
}
