/* SPDX-License-Identifier: MIT */
/*
 * What a bad pointer is. Off every path that matters: reads /proc/self/maps to tell memory of another allocator,
 * which a program with several allocators may hand us in good faith, from a stack, a global, and what is no memory at
 * all.
 */
#include "big/big.h"
#include "engine/guard.h"
#include "engine/start.h"
#include "rt/misuse.h"
#include "rt/options.h"
#include "slab/slab.h"
#include "sys/symbol.h"
#include "sys/sys.h"

enum { GLIBC_CHUNK_ALIGN = 16 };

struct mapping {
    uintptr_t wanted, start, end;
    bool writable, anonymous, heap, stack;
};

static uintptr_t hex_parse(const char **at) {
    uintptr_t v = 0;
    for (;; (*at)++) {
        char c = **at;
        if (c >= '0' && c <= '9')
            v = v * 16 + (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v * 16 + (uintptr_t)(c - 'a') + 10;
        else
            return v;
    }
}

static bool text_at(const char *at, const char *what) {
    while (*what != '\0' && *at == *what)
        at++, what++;
    return *what == '\0';
}

/* One line: start-end perms offset dev inode path. */
static void mapping_parse(const char *at, struct mapping *ret) {
    ret->start = hex_parse(&at);
    at++;
    ret->end = hex_parse(&at);
    ret->writable = at[0] == ' ' && at[2] == 'w';
    while (*at != '\0' && *at != '/' && *at != '[')
        at++;
    ret->heap = text_at(at, "[heap]");
    ret->stack = text_at(at, "[stack");
    ret->anonymous = *at == '\0' || text_at(at, "[anon");
}

static bool mapping_line(const char *line, void *arg) {
    struct mapping *m = arg;
    mapping_parse(line, m);
    return m->wanted >= m->start && m->wanted < m->end;
}

/* Without memory of its own: that may be out. */
static bool mapping_find(const void *p, struct mapping *ret) {
    ret->wanted = (uintptr_t)p;
    return sys_lines_find("/proc/self/maps", mapping_line, ret);
}

/* A stack: the main one by its name, a thread's own because our frame lies in the same mapping. */
static bool is_stack(const struct mapping *m) {
    uintptr_t sp = sys_stack_pointer();
    return m->stack || (sp >= m->start && sp < m->end);
}

/* Zeroed data of a program or library: behind its first page that is anonymous memory, as an allocator's. */
static bool is_global(const void *p) {
    uintptr_t first, end;
    return sys_module_range(p, &first, &end);
}

/* Before malloc'ed memory of glibc stands the chunk's size: at least 32, its low bits flags. Most allocators align
 * to 16. */
static bool looks_allocated(const void *p, const struct mapping *m) {
    if (((uintptr_t)p & (GLIBC_CHUNK_ALIGN - 1)) != 0 || !m->writable)
        return false;
    return (m->heap || m->anonymous) && !is_global(p);
}

static void report_slab(const void *p, const struct slab_place *place) {
    static const enum misuse_kind kinds[] = {[SLAB_WHERE_LIVE_OR_CACHED] = MISUSE_DOUBLE_FREE,
                                             [SLAB_WHERE_FREE] = MISUSE_DOUBLE_FREE,
                                             [SLAB_WHERE_INTERIOR] = MISUSE_INTERIOR,
                                             [SLAB_WHERE_TAIL] = MISUSE_WILD};
    rt_misuse(kinds[place->where], p, slab_geometry_of(place->cls)->size_bytes, place->slab_state);
}

/* Inside memory of ours that no object occupies now. */
static void report_ours(const void *p) {
    unsigned kind = page_map_get(p) % PAGE_MAP_CLASSES;
    if (kind == PAGE_MAP_PAGES || kind == PAGE_MAP_VMALLOC)
        rt_misuse(MISUSE_INTERFACE, p, 0, kind == PAGE_MAP_PAGES ? "pages" : "vmalloc");
    struct slab_place place = slab_locate(p);
    if (place.where != SLAB_WHERE_NONE)
        report_slab(p, &place);
    enum big_where where = big_locate(p);
    if (where == BIG_WHERE_INTERIOR)
        rt_misuse(MISUSE_INTERIOR, p, 0, "big");
    if (where == BIG_WHERE_FREED || where == BIG_WHERE_START)
        rt_misuse(MISUSE_DOUBLE_FREE, p, 0, "big");
    struct chunk *c = chunk_of(p);
    if (c != NULL && atomic_load_explicit(&chunk_hpage(c, p)->state, memory_order_relaxed) == HPAGE_RUNS)
        rt_misuse(MISUSE_DOUBLE_FREE, p, 0, "released");
}

COLD void engine_bad_pointer(const void *p) {
    static _Atomic(bool) named;
    struct mapping m = {0};
    if (guard_has(p))
        guard_report_pointer(p);
    report_ours(p);
    if (rt_meta_has(p) || !mapping_find(p, &m))
        rt_misuse(MISUSE_WILD, p, 0, NULL);
    if (is_stack(&m))
        rt_misuse(MISUSE_STACK, p, 0, NULL);
    if (!looks_allocated(p, &m))
        rt_misuse(MISUSE_WILD, p, 0, NULL);
    if (rt_opt.foreign == OPT_FOREIGN_ABORT)
        rt_misuse(MISUSE_FOREIGN, p, 0, NULL);
    if (!atomic_exchange_explicit(&named, true, memory_order_relaxed))
        rt_misuse_warn(MISUSE_FOREIGN, p);
}
