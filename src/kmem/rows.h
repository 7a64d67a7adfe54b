/* SPDX-License-Identifier: MIT */
/*
 * The rows of the views, in the kernel's formats: what a process writes of itself and what the quarry command writes of
 * another are the same text. Facts are those of Linux 6.12: mm/slab_common.c, mm/vmalloc.c,
 * mm/vmstat.c, lib/alloc_tag.c, lib/codetag.c, fs/proc/meminfo.c.
 */
#ifndef QUARRY_KMEM_ROWS_H
#define QUARRY_KMEM_ROWS_H

#include "base/types.h"
#include "sys/sys.h"

/* Text that is cut at cap bytes, NUL included; len goes on counting. */
struct kmem_text {
    char *text;
    size_t cap, len;
};
void kmem_text_str(struct kmem_text *out, const char *s);
void kmem_text_left(struct kmem_text *out, const char *s, unsigned width); /* blanks after it */
void kmem_text_dec(struct kmem_text *out, u64 v, unsigned width);          /* blanks before it */
void kmem_text_hex(struct kmem_text *out, u64 v, unsigned width);          /* zeros before it */

/* --- /proc/slabinfo, version 2.1 --- */

struct kmem_slab_row {
    const char *name;
    u64 active_objs, objs; /* handed out; handed out, in magazines, or free in a slab */
    u64 slot_bytes, objs_per_slab, pages_per_slab;
    u64 active_slabs, slabs; /* with an object that is not free in it; all */
};
enum { KMEM_NAME_BYTES = 64 };
/* Of one of malloc's classes, and of a class whose cache was destroyed and left something behind. */
void kmem_class_name(char name[KMEM_NAME_BYTES], size_t slot_bytes);
void kmem_left_name(char name[KMEM_NAME_BYTES], unsigned id);

void kmem_slabinfo_head(struct kmem_text *out);
void kmem_slabinfo_row(struct kmem_text *out, const struct kmem_slab_row *row);

/* --- /proc/vmallocinfo, /proc/buddyinfo --- */

/* symbol: who allocated it; NULL: the caller's address. node_pages: those in memory, by the kernel's number of their
 * node, of which there are SYS_NODE_IDS_NR. */
struct kmem_area_row {
    u64 addr, bytes, caller, page_bytes;
    const char *symbol;
    const u32 *node_pages;
    bool is_user;
};
void kmem_area_row(struct kmem_text *out, const struct kmem_area_row *row);
void kmem_buddyinfo_row(struct kmem_text *out, const u64 *free_nr, unsigned orders_nr);

/* --- /proc/allocinfo, version 1.0 --- */

/* A place in the program, and what was allocated there and is not freed. module: NULL for the program itself. */
struct kmem_site_row {
    u64 bytes, calls;
    const char *file, *module, *function;
    unsigned line;
};
void kmem_allocinfo_head(struct kmem_text *out);
void kmem_allocinfo_row(struct kmem_text *out, const struct kmem_site_row *row);

/* --- /proc/meminfo: those of its rows that a heap has --- */

struct kmem_meminfo {
    u64 slab_bytes, reclaimable_bytes; /* of all slabs; of those of SLAB_RECLAIM_ACCOUNT */
    u64 vmalloc_bytes;                 /* of areas, without guard pages */
};
void kmem_meminfo_rows(struct kmem_text *out, const struct kmem_meminfo *m);

#endif
