/* SPDX-License-Identifier: MIT */
/* The rows of the views. Contract in rows.h; owns nothing. */
#include "kmem/rows.h"

/* Columns of a slabinfo row: "%-17s %6lu %6lu %6u %4u %4d : tunables %4u %4u %4u : slabdata %6lu %6lu %6lu". */
enum { NAME_WIDTH = 17, COUNT_WIDTH = 6, PART_WIDTH = 4 };
/* Of a vmallocinfo row: "0x%pK-0x%pK %7ld", and what is said of the area. */
enum { AREA_WIDTH = 7 };

static void column(struct kmem_text *out, u64 v, unsigned width) {
    kmem_text_str(out, " ");
    kmem_text_dec(out, v, width);
}

void kmem_slabinfo_head(struct kmem_text *out) {
    kmem_text_str(out, "slabinfo - version: 2.1\n"
                       "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
                       " : tunables <limit> <batchcount> <sharedfactor>"
                       " : slabdata <active_slabs> <num_slabs> <sharedavail>\n");
}

void kmem_slabinfo_row(struct kmem_text *out, const struct kmem_slab_row *row) {
    kmem_text_left(out, row->name, NAME_WIDTH);
    column(out, row->active_objs, COUNT_WIDTH);
    column(out, row->objs, COUNT_WIDTH);
    column(out, row->slot_bytes, COUNT_WIDTH);
    column(out, row->objs_per_slab, PART_WIDTH);
    column(out, row->pages_per_slab, PART_WIDTH);
    /* Nothing here is tuned by writing to the file: zeros, as the kernel since it has SLUB alone. */
    kmem_text_str(out, " : tunables    0    0    0 : slabdata");
    column(out, row->active_slabs, COUNT_WIDTH);
    column(out, row->slabs, COUNT_WIDTH);
    column(out, 0, COUNT_WIDTH);
    kmem_text_str(out, "\n");
}

static void name_number(char *name, const char *stem, u64 number) {
    struct kmem_text out = {name, KMEM_NAME_BYTES, 0};
    kmem_text_str(&out, stem);
    kmem_text_dec(&out, number, 1);
}

void kmem_class_name(char name[KMEM_NAME_BYTES], size_t slot_bytes) { name_number(name, "malloc-", slot_bytes); }
void kmem_left_name(char name[KMEM_NAME_BYTES], unsigned id) { name_number(name, "destroyed-", id); }

void kmem_area_row(struct kmem_text *out, const struct kmem_area_row *row) {
    u64 with_guard = row->bytes + row->page_bytes;
    kmem_text_str(out, "0x");
    kmem_text_hex(out, row->addr, 16);
    kmem_text_str(out, "-0x");
    kmem_text_hex(out, row->addr + with_guard, 16);
    column(out, with_guard, AREA_WIDTH);
    if (row->symbol != NULL) {
        kmem_text_str(out, " ");
        kmem_text_str(out, row->symbol);
    } else {
        kmem_text_str(out, " 0x");
        kmem_text_hex(out, row->caller, 1);
    }
    kmem_text_str(out, " pages=");
    kmem_text_dec(out, row->bytes / row->page_bytes, 1);
    kmem_text_str(out, row->is_user ? " vmalloc user" : " vmalloc");
    for (unsigned id = 0; id < SYS_NODE_IDS_NR; id++) {
        if (row->node_pages[id] == 0)
            continue;
        kmem_text_str(out, " N");
        kmem_text_dec(out, id, 1);
        kmem_text_str(out, "=");
        kmem_text_dec(out, row->node_pages[id], 1);
    }
    kmem_text_str(out, "\n");
}

void kmem_buddyinfo_row(struct kmem_text *out, const u64 *free_nr, unsigned orders_nr) {
    kmem_text_str(out, "Node 0, zone   Normal ");
    for (unsigned order = 0; order < orders_nr; order++) {
        kmem_text_dec(out, free_nr[order], 6);
        kmem_text_str(out, " ");
    }
    kmem_text_str(out, "\n");
}

void kmem_allocinfo_head(struct kmem_text *out) {
    kmem_text_str(out, "allocinfo - version: 1.0\n#     <size>  <calls> <tag info>\n");
}

void kmem_allocinfo_row(struct kmem_text *out, const struct kmem_site_row *row) {
    enum { BYTES_WIDTH = 12, NUMBER_WIDTH = 8 };
    kmem_text_dec(out, row->bytes, BYTES_WIDTH);
    kmem_text_str(out, " ");
    kmem_text_dec(out, row->calls, NUMBER_WIDTH);
    kmem_text_str(out, " ");
    kmem_text_str(out, row->file);
    kmem_text_str(out, ":");
    kmem_text_dec(out, row->line, 1);
    if (row->module != NULL) {
        kmem_text_str(out, " [");
        kmem_text_str(out, row->module);
        kmem_text_str(out, "]");
    }
    kmem_text_str(out, " func:");
    kmem_text_str(out, row->function);
    kmem_text_str(out, " \n");
}

static void meminfo_row(struct kmem_text *out, const char *name, u64 bytes) {
    enum { LABEL_WIDTH = 16, VALUE_WIDTH = 8 };
    kmem_text_left(out, name, LABEL_WIDTH);
    kmem_text_dec(out, bytes / KIB, VALUE_WIDTH);
    kmem_text_str(out, " kB\n");
}

void kmem_meminfo_rows(struct kmem_text *out, const struct kmem_meminfo *m) {
    meminfo_row(out, "KReclaimable:", m->reclaimable_bytes);
    meminfo_row(out, "Slab:", m->slab_bytes);
    meminfo_row(out, "SReclaimable:", m->reclaimable_bytes);
    meminfo_row(out, "SUnreclaim:", m->slab_bytes - m->reclaimable_bytes);
    meminfo_row(out, "VmallocUsed:", m->vmalloc_bytes);
}
