/* SPDX-License-Identifier: MIT */
/* See weave_heap.h. Blocks are cut off one after the other, as they are by the real pool. */
#include "weave_heap.h"

#include "rt/misuse.h"
#include "rt/options.h"
#include "slab/made.h"
#include "weave.h"

#include <stdlib.h>

enum { HEAP_BYTES = 64 << 10 };

struct rt_meta rt_meta;
struct rt_options rt_opt;
__attribute__((weak)) _Atomic(unsigned) slab_ids_end, mag_ids_end;
__attribute__((weak)) _Atomic(unsigned) page_nodes_opened = 1; /* of page/node.h */
static _Alignas(4096) char heap[HEAP_BYTES];
static _Atomic(size_t) used;

void weave_heap_start(unsigned ids_end) {
    rt_meta.base = heap;
    rt_meta.map_end = (u32 *)(void *)heap;
    atomic_store_explicit(&used, CACHE_LINE, memory_order_relaxed); /* place 0 is none */
    atomic_store_explicit(&slab_ids_end, ids_end, memory_order_relaxed);
    atomic_store_explicit(&mag_ids_end, ids_end, memory_order_relaxed);
    weave_count(&used);
    weave_count(&slab_ids_end);
    weave_count(&mag_ids_end);
}

/* What is larger than all of it is mostly never touched: from the C library, and not modelled. */
void *rt_meta_alloc(size_t bytes, size_t align) {
    if (bytes > HEAP_BYTES)
        return calloc(1, round_up(bytes, align));
    bytes = round_up(bytes, align);
    size_t at = atomic_fetch_add_explicit(&used, bytes + align, memory_order_relaxed);
    weave_must(at + bytes + align <= HEAP_BYTES);
    return heap + round_up(at, align);
}

void *rt_meta_alloc_near(unsigned node, size_t bytes, size_t align) {
    weave_must(node == 0);
    return rt_meta_alloc(bytes, align);
}

/* --- what models without classes made at run time never reach --- */

#define NEVER __attribute__((weak))
NEVER const struct slab_geometry *slab_made_geometry(unsigned cls) {
    (void)cls;
    weave_broken("a class that was made at run time is asked for");
}
NEVER bool slab_made_has_slot(unsigned cls) {
    (void)cls;
    weave_broken("a class that was made at run time is asked for");
}
NEVER bool slab_visit_begin(unsigned cls) {
    (void)cls;
    weave_broken("a class that was made at run time is visited");
}
NEVER void slab_visit_end(unsigned cls) { (void)cls; }
NEVER struct slab_place slab_locate(const void *p) {
    (void)p;
    return (struct slab_place){.where = SLAB_WHERE_NONE};
}
NEVER _Noreturn void rt_misuse(enum misuse_kind kind, const void *p, size_t class_bytes, const char *state) {
    (void)kind, (void)p, (void)class_bytes, (void)state;
    weave_broken("a misuse is reported");
}
