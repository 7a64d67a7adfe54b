/* SPDX-License-Identifier: MIT */
/*
 * The tables the fast path reads, and the magazine's shape. Written at start; the views themselves, alloc_view and
 * mag_free_view(), when ids are stopped, too. The fast path itself writes nothing but a magazine and its slot.
 *
 *   view[id] ---> slot[class] ---> top object word of a magazine
 *
 *   magazine:  | header, odd | object | object | top -> object | (free) | trailer, odd |
 *              w[0]            w[1] ..                           w[cap]   w[cap + 1]
 *
 * A slot holds the address of the top object's word; in an empty magazine that is the header. So pop looks at *top and
 * push at top[1], and an odd word is the end in either direction: no counter, no bound. What must not be used (an id
 * nobody started, a stopped one) has slots whose magazine is both empty and full, so the fast path needs no further
 * branch.
 */
#ifndef QUARRY_MAG_TABS_H
#define QUARRY_MAG_TABS_H

#include "slab/slab.h"

enum {
    MAG_CAP_MAX = 510,
    MAG_RUN_MAX = 64,     /* moved in one section: more make it likelier that it is interrupted, and begins again */
    MAG_WORD_END = 1,     /* bit of header and trailer */
    MAG_WORD_STOPPED = 3, /* both ends of the magazine that may not be replaced either */
};

/* What describes a section to the kernel: struct rseq_cs of linux/rseq.h. */
struct mag_section {
    _Alignas(32) u32 version;
    u32 flags;
    u64 start, bytes, abort;
};

/* Of entry points whose sections are used from here: see RSEQ_POP_ENTRY. */
struct mag_entries {
    struct mag_section malloc, new;
};

struct mag_tabs {
    _Alignas(CACHE_LINE) struct slab_class_tables classes;
    struct mag_entries entries;
    size_t small_limit;  /* sizes below it are in classes.small; 0 until the allocator is started */
    size_t medium_limit; /* sizes up to it in classes.medium; 0 likewise */
    size_t large_limit;  /* sizes up to it in slab_tables_rest.large; 0 likewise */
    u64 **alloc_view;    /* slots by id */
};

extern HIDDEN struct mag_tabs mag_tabs; /* engine/sealed.S: read-only once the allocator is started */

/* Behind the page map (rt/meta.h), which free has at hand. Before the start no place of one. */
static ALWAYS_INLINE u64 **mag_free_view(void) { return (u64 **)(void *)rt_meta.map_end; }

/* An rseq area, as the kernel fills it. */
struct mag_rseq_area {
    _Alignas(32) u32 cpu_id_start;
    _Atomic(s32) cpu_id;
    u64 rseq_cs;
    u32 flags, node_id, mm_cid, rest;
};
/* The thread's own, which says "not registered" but where register.c has registered it. */
extern HIDDEN __thread struct mag_rseq_area mag_rseq_own;

/* Offsets from the thread pointer: of the thread's rseq area, and of the word in it that is the id. Until start, and
 * where there is no rseq, both are the offset of mag_rseq_own. Defined in arch/offset_*.S. */
extern HIDDEN ptrdiff_t mag_rseq_offset;
extern HIDDEN ptrdiff_t mag_id_offset;

#endif
