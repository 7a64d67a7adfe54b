/* SPDX-License-Identifier: MIT */
/*
 * Prints where the hot structs' fields lie: what the per-CPU sections address, and which fields share a cache line.
 * Compared with layout.txt, so that a moved field is a visible change. Includes the layers' private headers and links
 * nothing of them.
 */
#include "mag/region.h"
#include "mag/tabs.h"
#include "page/page.h"
#include "slab/class.h"

#include <stdio.h>

#define STRUCT(type) printf("struct %s: %zu bytes, aligned to %zu\n", #type, sizeof(struct type), _Alignof(struct type))
#define FIELD(type, field)                                                                                             \
    printf("    %-20s %8zu  line %zu\n", #field, offsetof(struct type, field),                                         \
           offsetof(struct type, field) / CACHE_LINE)

static void print_mag(void) {
    STRUCT(mag_tabs);
    FIELD(mag_tabs, classes);
    FIELD(mag_tabs, small_limit);
    FIELD(mag_tabs, medium_limit);
    FIELD(mag_tabs, alloc_view);
    STRUCT(mag_region);
    FIELD(mag_region, class);
    FIELD(mag_region, counts);
    FIELD(mag_region, stops);
    FIELD(mag_region, lock);
    FIELD(mag_region, slot);
}

static void print_slab(void) {
    STRUCT(slab);
    FIELD(slab, word);
    FIELD(slab, link);
    FIELD(slab, bits);
    FIELD(slab, purged);
    FIELD(slab, back);
    FIELD(slab, first);
    FIELD(slab, kind);
    STRUCT(slab_class);
    FIELD(slab_class, partial);
    FIELD(slab_class, out_objs);
}

static void print_page(void) {
    STRUCT(page_desc);
    STRUCT(hpage);
    FIELD(hpage, used);
    FIELD(hpage, backed);
    FIELD(hpage, longest);
    FIELD(hpage, state);
    FIELD(hpage, big_bytes);
    STRUCT(chunk);
    FIELD(chunk, hpages);
    FIELD(chunk, descs);
}

int main(void) {
    print_mag();
    print_slab();
    print_page();
    return 0;
}
