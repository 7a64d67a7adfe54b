/* SPDX-License-Identifier: MIT */
/*
 * Reads the accounts of a running process from outside: its memory by process_vm_readv(2), its page table by
 * /proc/PID/pagemap, its sum by /proc/PID/smaps_rollup. Where the accounts lie says the library's obs_view, which is
 * found by its magic number. Their structs are the library's own, so tool and library must be of one build; the view
 * says whether they are. Everything read may be changing: counts are used as they are, pointers are followed once and
 * only into what a read then finds, and a walk is bounded by what the structs can hold.
 */
#include "peek.h"

#include "obs/sums.h"
#include "obs/view.h"
#include "quarry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    TRIES_NR = 8,
    STILL_PART = 256, /* as obs/collect.c */
    SCAN_BYTES = 1 << 20,
    ENTRIES_NR = 512,
    BLOCK_BYTES = 4096, /* the largest magazine, and its alignment at most */
    IDS_MAX = 1 << 16,
    NODES_MAX = 64,
};

/* Bits of a pagemap entry: Documentation/admin-guide/mm/pagemap.rst. */
#define ENTRY_PRESENT ((u64)1 << 63)
#define ENTRY_FILE ((u64)1 << 61)

struct target {
    pid_t pid;
    int pagemap;
    size_t page_bytes;
    struct obs_view view;
    struct rt_meta meta;
    struct slab_geometry geometry[SLAB_CLASSES_NR];
};

static bool peek(const struct target *t, void *to, const void *from, size_t bytes) {
    struct iovec local = {to, bytes}, remote = {(void *)(uintptr_t)from, bytes};
    return process_vm_readv(t->pid, &local, 1, &remote, 1, 0) == (ssize_t)bytes;
}

/* A pointer that lies there; NULL when it cannot be read. */
static const void *peek_pointer(const struct target *t, const void *at) {
    const void *p = NULL;
    return peek(t, &p, at, sizeof(void *)) ? p : NULL;
}

/* --- finding the view --- */

static bool view_at(struct target *t, const char *addr) {
    return peek(t, &t->view, addr, sizeof(t->view)) && t->view.magic == OBS_VIEW_MAGIC &&
           (const char *)t->view.self == addr;
}

static bool view_in_range(struct target *t, const char *from, const char *to) {
    static u64 window[SCAN_BYTES / sizeof(u64)];
    for (; from < to; from += SCAN_BYTES) {
        size_t bytes = MIN((size_t)(to - from), sizeof(window));
        if (!peek(t, window, from, bytes))
            continue;
        for (size_t i = 0; i < bytes / sizeof(u64); i++) {
            if (window[i] == OBS_VIEW_MAGIC && view_at(t, from + i * sizeof(u64)))
                return true;
        }
    }
    return false;
}

/* A file's private mapping that is not executed: data of the program or a library, relocated constants among it. */
static bool view_in_mapping(struct target *t, const char *line) {
    unsigned long from, to, inode;
    char flags[5];
    if (sscanf(line, "%lx-%lx %4s %*x %*x:%*x %lu", &from, &to, flags, &inode) != 4 || inode == 0 || flags[0] != 'r' ||
        flags[2] == 'x' || flags[3] != 'p')
        return false;
    return view_in_range(t, (const char *)from, (const char *)to);
}

static bool view_find(struct target *t) {
    char path[64], line[8192];
    bool found = false;
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)t->pid);
    FILE *maps = fopen(path, "r");
    if (maps == NULL) {
        complain("explain: cannot read %s: %s", path, strerror(errno));
        return false;
    }
    while (!found && fgets(line, sizeof(line), maps) != NULL)
        found = view_in_mapping(t, line);
    fclose(maps);
    if (!found)
        complain("explain: process %d does not run on quarry, or may not be read (see ptrace(2))", (int)t->pid);
    return found;
}

static bool view_fits(const struct target *t) {
    if (t->view.bytes == sizeof(t->view) && t->view.layout == OBS_VIEW_LAYOUT &&
        strncmp(t->view.version, QUARRY_VERSION_TEXT, sizeof(t->view.version)) == 0)
        return true;
    complain("explain: process %d runs quarry %.15s of another build than this tool (%s)", (int)t->pid, t->view.version,
             QUARRY_VERSION_TEXT);
    return false;
}

/* --- counters --- */

static unsigned nodes_nr(const struct target *t) {
    unsigned nr = 0;
    return peek(t, &nr, t->view.nodes_nr, sizeof(nr)) ? MIN(nr, (unsigned)NODES_MAX) : 0;
}

static void slabs_read(const struct target *t, struct obs_stats *s) {
    static struct slab_class classes[SLAB_CLASSES_NR];
    const struct slab_class(*rows)[SLAB_CLASSES_NR] = peek_pointer(t, t->view.classes);
    if (rows == NULL)
        return;
    for (unsigned node = 0; node < nodes_nr(t); node++) {
        if (!peek(t, classes, &rows[node], sizeof(classes)))
            continue;
        for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
            const struct slab_class *c = &classes[cls];
            struct slab_class_stats st = {(u64)MAX(c->slabs, 0), (u64)MAX(c->out_objs, 0),
                                          (u64)MAX(c->purged_bytes, 0)};
            obs_class_add(s, &t->geometry[cls], t->geometry[cls - 1].size_bytes, &st);
        }
    }
}

/* Objects below and at the top word of a magazine: down to its header, which is odd, in the same block. */
static u64 magazine_objs(const struct target *t, u64 top) {
    u64 words[BLOCK_BYTES / sizeof(u64)];
    u64 from = top & ~(u64)(BLOCK_BYTES - 1);
    size_t nr = (top - from) / sizeof(u64) + 1, objs = 0;
    if (top <= SPARE_STOPPED || top % sizeof(u64) != 0 || !peek(t, words, (const void *)from, nr * sizeof(u64)))
        return 0;
    while (objs < nr && (words[nr - 1 - objs] & MAG_WORD_END) == 0)
        objs++;
    return objs == nr ? 0 : objs;
}

static void region_read(const struct target *t, const struct mag_region *at, struct obs_stats *s) {
    static struct mag_region r;
    if (at == NULL || !peek(t, &r, at, sizeof(r)))
        return;
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++)
        s->cached_bytes +=
            (magazine_objs(t, r.slot[cls]) + magazine_objs(t, r.spare[cls])) * t->geometry[cls].size_bytes;
}

static void regions_read(const struct target *t, const void *array_at, const unsigned *nr_at, struct obs_stats *s) {
    const struct mag_region *const *array = peek_pointer(t, array_at);
    unsigned nr;
    if (array == NULL || !peek(t, &nr, nr_at, sizeof(nr)))
        return;
    for (unsigned i = 0; i < MIN(nr, (unsigned)IDS_MAX); i++)
        region_read(t, peek_pointer(t, &array[i]), s);
}

static void magazines_read(const struct target *t, struct obs_stats *s) {
    struct mag_regions_view regions;
    struct mag_depots_view depots;
    if (peek(t, &regions, t->view.regions, sizeof(regions))) {
        regions_read(t, regions.by_id, regions.ids_nr, s);
        regions_read(t, regions.locked, regions.locked_nr, s);
    }
    if (!peek(t, &depots, t->view.depots, sizeof(depots)))
        return;
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
        s32 objs;
        if (peek(t, &objs, (const char *)depots.objs + cls * depots.stride_bytes, sizeof(objs)))
            s->depot_bytes += (u64)MAX(objs, 0) * t->geometry[cls].size_bytes;
    }
}

static void pages_read(const struct target *t, struct obs_stats *s) {
    static struct page_tier tier;
    const struct page_tier *tiers = peek_pointer(t, t->view.tiers);
    s64 usage = 0;
    u64 pages = 0;
    (void)peek(t, &s->big_live_bytes, t->view.big_live_bytes, sizeof(u64));
    (void)peek(t, &s->big_regions, t->view.big_regions, sizeof(u64));
    (void)peek(t, &usage, t->view.usage_bytes, sizeof(usage));
    if (tiers == NULL)
        return;
    for (unsigned i = 0; i < nodes_nr(t) * NODE_TIERS_NR; i++) {
        if (!peek(t, &tier, &tiers[i], sizeof(tier)))
            continue;
        s->run_free_bytes += tier.free_backed_granules * GRANULE_BYTES;
        pages += obs_minus(tier.backed_granules_racy * GRANULE_BYTES, tier.inside_purged_bytes);
    }
    s->live_bytes += s->big_live_bytes;
    s->big_cached_bytes = obs_minus((u64)MAX(usage, 0), pages + s->big_live_bytes);
    s->backed_bytes = pages + s->big_live_bytes + s->big_cached_bytes;
}

static bool kernel_read(const struct target *t, struct obs_stats *s) {
    char path[64], line[256];
    u64 kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)t->pid);
    FILE *file = fopen(path, "r");
    while (file != NULL && kib == 0 && fgets(line, sizeof(line), file) != NULL)
        (void)sscanf(line, "Anonymous: %" SCNu64, &kib);
    if (file != NULL)
        fclose(file);
    s->kernel_anon_bytes = kib * KIB;
    return kib != 0;
}

static bool counters_read(const struct target *t, struct obs_stats *s) {
    *s = (struct obs_stats){0};
    slabs_read(t, s);
    magazines_read(t, s);
    obs_cached_take(s);
    pages_read(t, s);
    return kernel_read(t, s);
}

/* --- pages, as obs/backing.c of its own process --- */

/* How many of up to ENTRIES_NR pages from addr on could be asked about. */
static size_t entries_read(const struct target *t, u64 *entries, const void *addr, size_t pages_nr) {
    off_t at = (off_t)((uintptr_t)addr / t->page_bytes * sizeof(u64));
    ssize_t got = pread(t->pagemap, entries, MIN(pages_nr, (size_t)ENTRIES_NR) * sizeof(u64), at);
    return got <= 0 ? 0 : (size_t)got / sizeof(u64);
}

static bool entry_has_memory(u64 entry) { return (entry & (ENTRY_PRESENT | ENTRY_FILE)) == ENTRY_PRESENT; }

static u64 memory_bytes(const struct target *t, const void *addr, size_t bytes) {
    u64 entries[ENTRIES_NR], pages = 0;
    uintptr_t at = round_down((uintptr_t)addr, t->page_bytes), end = (uintptr_t)addr + bytes;
    while (at < end) {
        size_t nr = entries_read(t, entries, (const void *)at, (end - at + t->page_bytes - 1) / t->page_bytes);
        if (nr == 0)
            break;
        for (size_t i = 0; i < nr; i++)
            pages += entry_has_memory(entries[i]);
        at += nr * t->page_bytes;
    }
    return pages * t->page_bytes;
}

static void runs_add(const struct target *t, const struct hpage *h, struct obs_backing *b) {
    u64 entries[ENTRIES_NR];
    size_t nr = entries_read(t, entries, h->addr, HPAGE_BYTES / t->page_bytes);
    for (size_t i = 0; i < nr; i++) {
        unsigned granule = (unsigned)(i * t->page_bytes / GRANULE_BYTES);
        bool backed = (h->backed[granule / 64] >> granule % 64 & 1) != 0, memory = entry_has_memory(entries[i]);
        b->heap_bytes += memory ? t->page_bytes : 0;
        b->unbacked_bytes += backed && !memory ? t->page_bytes : 0;
        b->unasked_bytes += memory && !backed ? t->page_bytes : 0;
    }
}

static void chunk_add(const struct target *t, const struct chunk *at, size_t idx, struct obs_backing *b) {
    static struct hpage hpages[CHUNK_HPAGES];
    if (!peek(t, hpages, at->hpages, sizeof(hpages)))
        return;
    for (const struct hpage *h = hpages; h < hpages + CHUNK_HPAGES; h++) {
        if (h->state == HPAGE_RUNS) {
            runs_add(t, h, b);
        } else if (h->state == HPAGE_BIG) {
            u64 memory = memory_bytes(t, h->addr, h->big_bytes);
            b->heap_bytes += memory;
            b->unbacked_bytes += obs_minus(h->big_bytes, memory);
        }
    }
    b->meta_bytes += memory_bytes(t, t->meta.map + idx * CHUNK_GRANULES, CHUNK_GRANULES * sizeof(u16));
}

/* Only pages of the table that hold memory are read: a read would give the others some. */
static void chunks_add(const struct target *t, struct obs_backing *b) {
    size_t per_page = t->page_bytes / sizeof(meta_ref_t);
    meta_ref_t *refs = malloc(t->page_bytes);
    for (size_t first = 0; refs != NULL && first <= t->meta.chunks_mask; first += per_page) {
        const void *page = (const char *)t->meta.chunks + first * sizeof(meta_ref_t);
        u64 memory = memory_bytes(t, page, t->page_bytes);
        b->meta_bytes += memory;
        if (memory == 0 || !peek(t, refs, page, t->page_bytes))
            continue;
        for (size_t i = 0; i < per_page && first + i <= t->meta.chunks_mask; i++) {
            if (refs[i] != 0)
                chunk_add(t, (const struct chunk *)(t->meta.base + ((size_t)refs[i] << META_UNIT_SHIFT)), first + i, b);
        }
    }
    free(refs);
}

/* Freed regions that are kept have no record that says so: they count as they are accounted. */
static void backing_read(const struct target *t, struct obs_backing *b, u64 big_cached_bytes) {
    *b = (struct obs_backing){.known = true};
    chunks_add(t, b);
    b->heap_bytes += big_cached_bytes;
    b->meta_bytes += memory_bytes(t, t->meta.base, t->meta.used_bytes);
}

/* --- all of it --- */

static bool still_read(struct target *t, struct obs_stats *ret_stats) {
    struct obs_stats before, after;
    struct obs_backing b;
    u64 least = UINT64_MAX;
    for (int tries = 0; tries < TRIES_NR && least > ret_stats->kernel_anon_bytes / STILL_PART; tries++) {
        if (!counters_read(t, &before) || !peek(t, &t->meta, t->view.meta, sizeof(t->meta))) {
            complain("explain: process %d cannot be read any more", (int)t->pid);
            return false;
        }
        backing_read(t, &b, before.big_cached_bytes);
        if (!counters_read(t, &after))
            continue;
        u64 motion = obs_motion_bytes(&before, &after) + obs_walk_motion_bytes(&after, &b);
        if (motion < least) {
            least = motion;
            *ret_stats = after;
            obs_sums_add(ret_stats, &b);
        }
    }
    return least != UINT64_MAX;
}

bool peek_collect(pid_t pid, struct obs_stats *ret_stats) {
    struct target t = {.pid = pid, .page_bytes = (size_t)sysconf(_SC_PAGESIZE)};
    char path[64];
    *ret_stats = (struct obs_stats){0};
    if (!view_find(&t) || !view_fits(&t) || !peek(&t, t.geometry, t.view.geometry, sizeof(t.geometry)))
        return false;
    snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
    t.pagemap = open(path, O_RDONLY | O_CLOEXEC);
    if (t.pagemap < 0) {
        complain("explain: cannot read %s: %s", path, strerror(errno));
        return false;
    }
    bool read = still_read(&t, ret_stats);
    close(t.pagemap);
    return read;
}
