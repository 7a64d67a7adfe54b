/* SPDX-License-Identifier: MIT */
/*
 * vmalloc areas. Their record is that of their first hugepage, as a big region's, with BIG_AREA in its flags; in the
 * page map all their granules are PAGE_MAP_VMALLOC, so that free() does not take them for its own.
 */
#include "big/area.h"

#include "big/cache.h"
#include "big/defer.h"
#include "big/lot.h"
#include "rt/context.h"
#include "rt/leftover.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "sys/sys.h"

_Static_assert(((BIG_AREA | BIG_AREA_USER) &
                (LOT_FREE_FIRST | LOT_FREE_LAST | LOT_REGION | LOT_IS_HUGE | BIG_IS_PLACED | BIG_IS_NEW)) == 0,
               "flags of a lot's records");

/* As for big regions: from here on hugepages waste a fifth at most, and are asked for without being told to. */
#define HUGE_EARNED_BYTES (8 * MIB)

static struct hpage *record_of(const void *p) {
    struct chunk *c = chunk_of(p);
    return c == NULL ? NULL : chunk_hpage(c, p);
}

static bool is_area(const struct hpage *h) {
    return atomic_load_explicit(&h->state, memory_order_relaxed) == HPAGE_BIG && (h->big_flags & BIG_AREA) != 0;
}

static struct hpage *area_record(const void *p) {
    struct hpage *h = big_in_area(p) ? record_of(p) : NULL;
    return h != NULL && is_area(h) && h->addr == p ? h : NULL;
}

static void map_area(char *p, size_t bytes, unsigned value) {
    page_map_set(p, round_up(bytes, GRANULE_BYTES) / GRANULE_BYTES, value);
}

static void area_advise(char *p, size_t reserve_bytes, unsigned flags, int node) {
    size_t huge_min = (flags & AREA_HUGE) != 0 ? HPAGE_BYTES : page_huge_min_bytes(HUGE_EARNED_BYTES);
    if (rt_opt.thp == OPT_THP_ALWAYS || (rt_opt.thp == OPT_THP_EARNED && reserve_bytes > huge_min))
        (void)sys_vm_huge(p, reserve_bytes);
    else
        (void)sys_vm_nohuge(p, reserve_bytes);
    if (node == AREA_ANY_NODE)
        page_place(p, reserve_bytes);
    else
        page_place_near(p, reserve_bytes, node);
}

/* Address space for bytes and a guard, the bytes writable; nothing is recorded yet. */
static char *area_map(size_t bytes, size_t align, unsigned flags, int node) {
    size_t reserve_bytes = bytes + sys_page_bytes();
    align = MAX(align, HPAGE_BYTES);
    /* A page map cut down for RLIMIT_AS serves addresses that lie close together. */
    if ((flags & AREA_LOW) != 0 && rt_meta.limited)
        return NULL;
    char *p = (flags & AREA_LOW) != 0 ? sys_vm_reserve_low(reserve_bytes, align) : sys_vm_reserve(reserve_bytes, align);
    if (p == NULL)
        return NULL;
    area_advise(p, reserve_bytes, flags, node);
    if (chunk_cover(p, HPAGE_BYTES) == 0 && rt_meta_map_commit(p, bytes) == 0 && sys_vm_commit(p, bytes) == 0)
        return p;
    rt_release(p, reserve_bytes, 0);
    return NULL;
}

static void area_publish(char *p, size_t bytes, size_t reserve_bytes, u32 user, const void *caller) {
    struct hpage *h = record_of(p);
    h->addr = p;
    h->big_bytes = bytes;
    h->big_reserve_bytes = reserve_bytes;
    h->big_flags = BIG_AREA | user;
    h->big_caller = caller;
    atomic_store_explicit(&h->state, HPAGE_BIG, memory_order_relaxed);
    map_area(p, bytes, PAGE_MAP_VMALLOC);
    big_count(1, (s64)bytes);
}

/* False: another free was first. */
static bool area_withdraw(struct hpage *h) {
    u8 live = HPAGE_BIG;
    size_t bytes = h->big_bytes;
    if (!atomic_compare_exchange_strong_explicit(&h->state, &live, HPAGE_WAS_BIG, memory_order_relaxed,
                                                 memory_order_relaxed))
        return false;
    map_area(h->addr, bytes, PAGE_MAP_NOT_OURS);
    h->big_flags = 0;
    big_count(-1, -(s64)bytes);
    return true;
}

static bool size_fits(size_t size, size_t align) {
    return size != 0 && size <= PTRDIFF_MAX - 2 * MAX(align, HPAGE_BYTES);
}

void *big_area_alloc(size_t size, size_t align, unsigned flags, int node, const void *caller) {
    size_t bytes = round_up(size, sys_page_bytes());
    if (!size_fits(size, align) || !rt_usage_reserve(bytes))
        return NULL;
    char *p = area_map(bytes, align, flags, node);
    if (p == NULL) {
        rt_usage_add(-(s64)bytes);
        return NULL;
    }
    u32 user = (flags & AREA_USER) != 0 ? BIG_AREA_USER : 0;
    area_publish(p, bytes, bytes + sys_page_bytes(), user, caller);
    return p;
}

void area_give(const struct hpage *h) { rt_release(h->addr, h->big_reserve_bytes, h->big_bytes); }

bool big_area_free(void *p) {
    struct hpage *h = area_record(p);
    if (h == NULL)
        return false;
    if (!area_withdraw(h))
        return false;
    if (rt_may_block()) {
        area_give(h);
    } else {
        h->big_flags = BIG_AREA;
        big_defer(h);
    }
    return true;
}

size_t big_area_bytes(const void *p) {
    const struct hpage *h = area_record(p);
    return h == NULL ? 0 : h->big_bytes;
}

/* The pages become part of the guard, and may be used again by growth. */
static void area_shrink(struct hpage *h, size_t bytes) {
    size_t cut = h->big_bytes - bytes, kept = round_up(bytes, GRANULE_BYTES);
    if (cut == 0 || sys_vm_guard(h->addr + bytes, cut) != 0)
        return;
    if (kept < h->big_bytes)
        map_area(h->addr + kept, h->big_bytes - kept, PAGE_MAP_NOT_OURS);
    h->big_bytes = bytes;
    big_count(0, -(s64)cut);
    rt_usage_add(-(s64)cut);
}

/* The caller counted the memory that is added. */
static bool area_grow_here(struct hpage *h, size_t bytes) {
    size_t more = bytes - h->big_bytes;
    if (bytes + sys_page_bytes() > h->big_reserve_bytes || sys_vm_commit(h->addr + h->big_bytes, more) != 0)
        return false;
    h->big_bytes = bytes;
    map_area(h->addr, bytes, PAGE_MAP_VMALLOC);
    big_count(0, (s64)more);
    return true;
}

/* Page tables move, bytes do not. */
static void *area_move(struct hpage *h, size_t bytes) {
    size_t old_bytes = h->big_bytes, old_reserve = h->big_reserve_bytes;
    const void *caller = h->big_caller;
    u32 user = h->big_flags & BIG_AREA_USER;
    char *from = h->addr, *p = area_map(bytes, HPAGE_BYTES, 0, AREA_ANY_NODE);
    if (p == NULL)
        return NULL;
    /* First: once its pages have moved the old place, and its record, may be another thread's. */
    bool withdrawn = area_withdraw(h);
    int err = withdrawn ? sys_vm_move(from, old_bytes, p) : -1;
    if (err != 0) {
        size_t lost = err == SYS_VM_LOST_PLACE ? old_bytes : 0;
        rt_release(p + lost, bytes + sys_page_bytes() - lost, 0);
        if (withdrawn)
            area_publish(from, old_bytes, old_reserve, user, caller);
        return NULL;
    }
    rt_release(from + old_bytes, old_reserve - old_bytes, 0);
    area_publish(p, bytes, bytes + sys_page_bytes(), user, caller);
    return p;
}

void *big_area_resize(void *p, size_t size) {
    struct hpage *h = area_record(p);
    size_t bytes = round_up(size, sys_page_bytes());
    if (h == NULL || !size_fits(size, HPAGE_BYTES))
        return NULL;
    if (bytes <= h->big_bytes) {
        area_shrink(h, bytes);
        return p;
    }
    size_t more = bytes - h->big_bytes;
    if (!rt_usage_reserve(more))
        return NULL;
    void *q = area_grow_here(h, bytes) ? p : area_move(h, bytes);
    if (q == NULL)
        rt_usage_add(-(s64)more);
    return q;
}

struct areas_walk {
    void (*fn)(void *arg, const struct area_info *info);
    void *arg;
};

static void chunk_areas(void *walk, struct chunk *c) {
    const struct areas_walk *w = walk;
    for (const struct hpage *h = c->hpages; h < c->hpages + CHUNK_HPAGES; h++) {
        if (is_area(h))
            w->fn(w->arg,
                  &(struct area_info){h->addr, h->big_caller, h->big_bytes, (h->big_flags & BIG_AREA_USER) != 0});
    }
}

void big_areas_each(void (*fn)(void *arg, const struct area_info *info), void *arg) {
    struct areas_walk w = {fn, arg};
    chunks_each(chunk_areas, &w);
}
