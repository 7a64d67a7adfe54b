/* SPDX-License-Identifier: MIT */
/*
 * The edge rules of the allocation interface as one table (edges.def), run against the preloaded library, and with
 * --standard-only against any allocator, glibc's own first of all. Owns main() and the checks that cases
 * share; the cases live in edges_alloc.c, edges_realloc.c, edges_align.c and edges_info.c.
 */
#include "edges.h"

#include "cases.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

static const struct test_case edge_table[] = {
#define EDGE(scope, name, function, argument) {name, function, argument, CASE_##scope},
#include "edges.def"
#undef EDGE
};

enum { EDGE_NR = sizeof edge_table / sizeof edge_table[0] };
_Static_assert(EDGE_NR >= 120, "the edge table is meant to be broad");

bool edge_on_quarry(void) { return dlsym(RTLD_DEFAULT, "quarry_version") != NULL; }

void *edge_alloc(size_t size) {
    void *p = opaque(malloc(opaque_size(size)));

    CHECK_MSG(p != NULL, "malloc(%zu) gave NULL", size);
    return p;
}

void edge_refused(const void *p) {
    int error = errno;

    CHECK_MSG(p == NULL, "an impossible request gave %p", p);
    CHECK_MSG(error == ENOMEM, "refused with errno %d, expected ENOMEM", error);
}

/* Cheap, position dependent and different for each seed. */
static unsigned char edge_byte(size_t at, unsigned seed) {
    return (unsigned char)((at * 31 + (at >> 8) * 17 + seed * 101 + 7) & 0xff);
}

void edge_fill(void *p, size_t size, unsigned seed) {
    unsigned char *bytes = p;

    for (size_t at = 0; at < size; at++)
        bytes[at] = edge_byte(at, seed);
}

void edge_verify(const void *p, size_t size, unsigned seed) {
    const unsigned char *bytes = p;

    for (size_t at = 0; at < size; at++)
        CHECK_MSG(bytes[at] == edge_byte(at, seed), "byte %zu of %zu at %p is %#x, expected %#x", at, size, p,
                  (unsigned)bytes[at], (unsigned)edge_byte(at, seed));
}

void edge_aligned(const void *p, size_t alignment) {
    CHECK(p != NULL);
    CHECK_MSG(((uintptr_t)p & (alignment - 1)) == 0, "%p is not aligned to %zu", p, alignment);
}

int main(int argc, char **argv) { return cases_main(argc, argv, edge_table, EDGE_NR); }
