/* SPDX-License-Identifier: MIT */
/*
 * Our pages against the kernel's page table. The accounts know what was handed out; whether it was ever written only
 * the kernel knows. /proc/self/pagemap says it for each page; mincore does not (it calls a page that was only read
 * resident), and smaps cannot tell our pages from a neighbour's that the kernel merged with them. Owns nothing;
 * reads the records of page/ and big/ without a lock, so that each hugepage is right at some moment of the call.
 */
#include "obs/backing.h"

#include "big/big.h"
#include "page/page.h"
#include "rt/meta.h"
#include "sys/sys.h"

enum { WINDOW_PAGES = 512 };

/* Bits of a pagemap entry: Documentation/admin-guide/mm/pagemap.rst. */
#define ENTRY_PRESENT ((u64)1 << 63)
#define ENTRY_FILE ((u64)1 << 61)

struct walk {
    int fd;
    struct obs_backing sum;
    u64 entries[WINDOW_PAGES];
};

/* Entries of up to WINDOW_PAGES pages from addr on; how many were read. */
static size_t window_read(struct walk *w, const char *addr, size_t pages_nr) {
    u64 at = (uintptr_t)addr / sys_page_bytes() * sizeof(u64);
    s64 got = sys_file_read_at(w->fd, w->entries, MIN(pages_nr, (size_t)WINDOW_PAGES) * sizeof(u64), at);
    return got <= 0 ? 0 : (size_t)got / sizeof(u64);
}

static bool entry_has_memory(u64 entry) { return (entry & (ENTRY_PRESENT | ENTRY_FILE)) == ENTRY_PRESENT; }

static u64 span_memory_bytes(struct walk *w, const char *addr, size_t bytes) {
    u64 pages = 0;
    const char *end = addr + bytes;
    for (addr = (const char *)round_down((uintptr_t)addr, sys_page_bytes()); addr < end;) {
        size_t nr = window_read(w, addr, ((size_t)(end - addr) + sys_page_bytes() - 1) / sys_page_bytes());
        if (nr == 0)
            break;
        for (size_t i = 0; i < nr; i++)
            pages += entry_has_memory(w->entries[i]);
        addr += nr * sys_page_bytes();
    }
    return pages * sys_page_bytes();
}

static void region_add(void *walk, char *addr, size_t bytes) {
    struct walk *w = walk;
    size_t end = hpage_big_end_bytes(chunk_hpage(chunk_of(addr), addr), bytes);
    u64 memory = span_memory_bytes(w, addr, bytes), rest = span_memory_bytes(w, addr + bytes, end - bytes);
    w->sum.heap_bytes += memory + rest;
    w->sum.unasked_bytes += rest;
    w->sum.unbacked_bytes += bytes - MIN(bytes, memory);
}

static void runs_add(struct walk *w, const struct hpage *h) {
    size_t page = sys_page_bytes(), nr = window_read(w, h->addr, HPAGE_BYTES / page);
    for (size_t i = 0; i < nr; i++) {
        unsigned granule = (unsigned)(i * page / GRANULE_BYTES);
        bool backed = (h->backed[granule / 64] >> granule % 64 & 1) != 0, memory = entry_has_memory(w->entries[i]);
        w->sum.heap_bytes += memory ? page : 0;
        w->sum.unbacked_bytes += backed && !memory ? page : 0;
        w->sum.unasked_bytes += memory && !backed ? page : 0;
    }
}

/* chunk_idx also finds the chunk's part of the page map. */
static void chunk_add(struct walk *w, const struct chunk *c, size_t chunk_idx) {
    for (const struct hpage *h = c->hpages; h < c->hpages + CHUNK_HPAGES; h++) {
        u8 state = atomic_load_explicit(&h->state, memory_order_relaxed);
        if (state == HPAGE_RUNS)
            runs_add(w, h);
        else if (state == HPAGE_BIG)
            region_add(w, h->addr, h->big_bytes);
    }
    const u32 *map = rt_meta_map(&rt_meta) + chunk_idx * CHUNK_GRANULES;
    w->sum.meta_bytes += span_memory_bytes(w, (const char *)map, CHUNK_GRANULES * sizeof(*map));
}

/* Most of the chunk table was never written: reading it would give it page tables, so its own entries are asked first.
 */
static void chunks_page_add(struct walk *w, size_t first_idx, size_t nr) {
    for (size_t i = first_idx; i < first_idx + nr && i <= rt_meta.chunks_mask; i++) {
        const struct chunk *c = chunk_of((const void *)(i << CHUNK_SHIFT));
        if (c != NULL)
            chunk_add(w, c, i);
    }
}

static void chunks_add(struct walk *w) {
    size_t page = sys_page_bytes(), per_page = page / sizeof(meta_ref_t);
    const char *table = (const char *)rt_meta.chunks;
    for (size_t idx = 0; idx <= rt_meta.chunks_mask; idx += per_page) {
        u64 memory = span_memory_bytes(w, table + idx * sizeof(meta_ref_t), page);
        w->sum.meta_bytes += memory;
        if (memory != 0)
            chunks_page_add(w, idx, per_page);
    }
}

void obs_backing_read(struct obs_backing *ret_backing) {
    struct walk w = {.fd = sys_file_open("/proc/self/pagemap")};
    if (w.fd >= 0) {
        chunks_add(&w);
        big_cached_each(region_add, &w);
        w.sum.meta_bytes +=
            span_memory_bytes(&w, rt_meta.base, atomic_load_explicit(&rt_meta.used_bytes, memory_order_relaxed));
        w.sum.known = true;
        sys_file_close(w.fd);
    }
    *ret_backing = w.sum;
}
