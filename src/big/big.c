/* SPDX-License-Identifier: MIT */
/* Big regions: making, resizing, finding and freeing them. What is kept for reuse is cache.c. */
#include "big/big.h"

#include "big/cache.h"
#include "big/defer.h"
#include "big/kept.h"
#include "big/lot.h"
#include "big/retired.h"
#include "page/huge.h"
#include "page/hugetlb.h"
#include "rt/context.h"
#include "rt/leftover.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "sys/sys.h"

#include <string.h>

/* From this size on a region asks for hugepages: at 8 MiB the last, partly used one is at most a fifth. */
#define HUGE_MIN_BYTES (8 * MIB)
/* And from this size on one that came slowly may be an accident. */
#define HUGE_RETRY_BYTES (64 * MIB)

/*
 * Each region with a guard is two mappings of the kernel's, and a process may have 65530. From this many on new ones
 * are cut from lots. Regions that grow may have more mappings of their own, because moving page tables there is so much
 * cheaper than copying: beyond this number they are copied.
 */
enum { PACK_AFTER = 256, MOVE_UNTIL = 512 };

/* Of its size a region reserves an eighth more addresses, so that its mapping, once free, also serves what is a little
 * larger; one that had to move, half, so that growth by steps moves seldom. */
enum { SLACK_PART = 8, MOVED_SLACK_PART = 2 };

/* Of a region in a lot, what a hugepage may bring behind it. */
enum { HUGE_END_PART = 16 };

/* A cached region is used for what is up to a quarter smaller as it is. */
enum { FIT_PART = 4 };

_Atomic(u64) big_held_bytes;
_Atomic(u64) big_held_nr;
static _Atomic(u64) own_nr; /* regions with mappings of their own, cached ones too */

void big_count(s64 nr, s64 bytes) {
    atomic_fetch_add_explicit(&big_held_bytes, (u64)bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&big_held_nr, (u64)nr, memory_order_relaxed);
}

struct hpage *big_record(const void *p) {
    struct chunk *c = chunk_of(p);
    return c == NULL ? NULL : chunk_hpage(c, p);
}

static bool region_is_live(const struct hpage *h, const void *p) {
    return h != NULL && atomic_load_explicit(&h->state, memory_order_relaxed) == HPAGE_BIG && h->addr == p;
}

/* What follows is all plain, or relaxed: who had the address before has unmapped it and wrote nothing to the record
 * after that, which [vm.place] (sys/vm.c) orders. Addresses that change hands without the kernel do so under the lots'
 * lock or in a place of kept.c. */

/* Makes the first granule known; the record is whole. */
static void region_open(struct hpage *h) {
    atomic_store_explicit(&h->state, HPAGE_BIG, memory_order_relaxed);
    page_map_set(h->addr, 1, PAGE_MAP_BIG);
}

/* The other way round. False when another free was first. */
static bool region_close(struct hpage *h) {
    u8 live = HPAGE_BIG;
    if (!atomic_compare_exchange_strong_explicit(&h->state, &live, HPAGE_WAS_BIG, memory_order_relaxed,
                                                 memory_order_relaxed))
        return false;
    page_map_set(h->addr, 1, PAGE_MAP_NOT_OURS);
    return true;
}

/* The same, and it is counted, as it was withdrawn. */
static void region_restore(struct hpage *h) {
    region_open(h);
    big_count(1, (s64)h->big_bytes);
}

static bool region_withdraw(struct hpage *h) {
    if (!region_close(h))
        return false;
    big_count(-1, -(s64)h->big_bytes);
    return true;
}

/* A new one. */
static void region_publish(char *p, size_t bytes, size_t reserve_bytes) {
    struct hpage *h = big_record(p);
    lot_flags_set(h, lot_flags(h) | BIG_IS_NEW);
    h->addr = p;
    h->big_bytes = bytes;
    h->big_reserve_bytes = reserve_bytes;
    h->big_writable_bytes = bytes;
    region_restore(h);
}

static bool is_in_lot(const struct hpage *h) { return (lot_flags(h) & LOT_REGION) != 0; }
/* Its mapping prefers a node, which the next one to get it would not know. */
static bool is_placed(const struct hpage *h) { return (lot_flags(h) & BIG_IS_PLACED) != 0; }

static bool wants_hugepages(size_t bytes, enum big_use use) {
    return rt_opt.thp == OPT_THP_ALWAYS ||
           (rt_opt.thp == OPT_THP_EARNED && use == BIG_ANY && bytes >= page_huge_min_bytes(HUGE_MIN_BYTES));
}

/* Whether what regions ask for is used: as of the last that was freed for the first time. A hint. */
static _Atomic(bool) regions_are_sparse;

/* By windows of a hugepage each: of a real one it is not known what is used, but whether any is. Once for each mapping,
 * lest a loop that has it from the cache pay for a look in each turn. */
static void use_look(struct hpage *h) {
    enum { WINDOWS_NR = 4, USED_PART = 2 };
    size_t hpages = h->big_bytes >> HPAGE_SHIFT, there = 0;
    bool looks = (lot_flags(h) & BIG_IS_NEW) != 0 && h->big_bytes >= HUGE_MIN_BYTES && !hugetlb_is_region(h);
    lot_flags_set(h, lot_flags(h) & ~(u32)BIG_IS_NEW);
    if (!looks || rt_opt.thp != OPT_THP_EARNED)
        return;
    for (size_t i = 0; i < WINDOWS_NR; i++)
        there += sys_vm_resident_pages(h->addr + (hpages * i / WINDOWS_NR << HPAGE_SHIFT), HPAGE_BYTES);
    bool sparse = there * sys_page_bytes() < WINDOWS_NR * HPAGE_BYTES / USED_PART;
    atomic_store_explicit(&regions_are_sparse, sparse, memory_order_relaxed);
}

/* For a region of so many bytes, of which those beyond kept_bytes are new. */
static enum huge_answer hugepages_ask(size_t bytes, size_t kept_bytes, enum big_use use) {
    if (!wants_hugepages(bytes, use))
        return HUGE_NOT_NOW;
    if (rt_opt.thp == OPT_THP_ALWAYS)
        return HUGE_ASK;
    if (atomic_load_explicit(&regions_are_sparse, memory_order_relaxed))
        return HUGE_NOT_NOW;
    return huge_ask(MAX((bytes - kept_bytes) >> HPAGE_SHIFT, 1));
}

/* What a region is made of. */
struct region_want {
    size_t bytes, reserve_bytes, align;
    enum huge_answer huge;
    int node; /* by the kernel's number, or ANY_NODE */
};
enum { ANY_NODE = -1 };

/* Addresses for a region and its guard, whole hugepages: such a request the kernel aligns by itself, since 6.7. Where
 * addresses are limited no more than is needed. */
static size_t reserve_bytes_of(size_t bytes, unsigned slack_part) {
    if (rt_meta.limited)
        return bytes + sys_page_bytes();
    return round_up(bytes + bytes / slack_part + sys_page_bytes(), HPAGE_BYTES);
}

/* Hardened, there is address space without access before each region, too; there are no lots then, and no regions of
 * the administrator's pool, so it is every region, for as long as the process lives. Whole hugepages, as above. */
static size_t before_bytes(void) {
    if (LIKELY(!rt_opt.harden))
        return 0;
    return rt_meta.limited ? sys_page_bytes() : HPAGE_BYTES;
}

/* At a multiple of align, and what is to be before it. */
static char *place_reserve(size_t bytes, size_t align) {
    size_t before = before_bytes();
    char *p = sys_vm_reserve(before == 0 ? bytes : align + bytes, align);
    if (p == NULL || before == 0)
        return p;
    if (align > before)
        rt_release(p, align - before, 0);
    return p + align;
}

static void place_release(char *p, size_t reserve_bytes, size_t counted_bytes) {
    size_t before = before_bytes();
    if (before != 0) /* by itself: where all is refused the memory goes, which begins at p */
        rt_release(p - before, before, 0);
    rt_release(p, reserve_bytes, counted_bytes);
}

/* Of a place whose first so many bytes have gone, and may be another's. */
static void place_rest_release(char *p, size_t gone_bytes, size_t reserve_bytes) {
    size_t before = before_bytes();
    if (before != 0)
        rt_release(p - before, before, 0);
    rt_release(p + gone_bytes, reserve_bytes - gone_bytes, 0);
    atomic_fetch_sub_explicit(&own_nr, 1, memory_order_relaxed);
}

static void region_place(char *p, const struct region_want *want) {
    page_place(p, want->reserve_bytes);
    if (want->node != ANY_NODE)
        page_place_near(p, want->reserve_bytes, want->node);
}

/* Of one place in the library, which the tests then know to reach. */
static NOINLINE void small_pages(char *p, const struct region_want *want) {
    (void)sys_vm_nohuge(p, want->reserve_bytes);
}

/* With addresses for later, or where these are out, for what is wanted and its guard. */
static char *addresses_reserve(struct region_want *want) {
    size_t align = MAX(want->align, HPAGE_BYTES);
    char *p = place_reserve(want->reserve_bytes, align);
    if (p != NULL || want->reserve_bytes == want->bytes + sys_page_bytes())
        return p;
    want->reserve_bytes = want->bytes + sys_page_bytes();
    return place_reserve(want->reserve_bytes, align);
}

/* Reserved and committed, without a record yet. The caller has counted the bytes. */
static char *region_map(struct region_want *want) {
    char *p = addresses_reserve(want);
    if (p == NULL)
        return NULL;
    if (want->huge != HUGE_NOT_NOW)
        (void)sys_vm_huge(p, want->reserve_bytes); /* before the split into two mappings, so that both agree */
    else if (page_huge_unwanted())
        small_pages(p, want);
    region_place(p, want);
    if (chunk_cover(p, HPAGE_BYTES) != 0 || sys_vm_commit(p, want->bytes) != 0) {
        place_release(p, want->reserve_bytes, 0);
        return NULL;
    }
    atomic_fetch_add_explicit(&own_nr, 1, memory_order_relaxed);
    return p;
}

/* The first hugepage of what is new, that beyond kept_bytes, is touched. One slow touch may be an accident: a
 * large region, which gets small pages for all its life, has a second trial. */
static bool hugepages_are_quick(char *p, size_t bytes, size_t kept_bytes) {
    size_t at = round_up(kept_bytes, HPAGE_BYTES);
    if (at + HPAGE_BYTES > bytes || huge_touch(p + at))
        return true;
    return bytes - at >= HUGE_RETRY_BYTES && huge_touch(p + at + HPAGE_BYTES);
}

static void hugepages_try(char *p, const struct region_want *want, size_t kept_bytes) {
    if (want->huge == HUGE_ASK_TIMED && !hugepages_are_quick(p, want->bytes, kept_bytes))
        small_pages(p, want);
}

static void own_release(char *p, size_t reserve_bytes, size_t counted_bytes) {
    struct hpage *h = big_record(p);
    if (UNLIKELY(h != NULL && hugetlb_is_region(h)))
        hugetlb_region_leave(h, reserve_bytes);
    place_release(p, reserve_bytes, counted_bytes);
    atomic_fetch_sub_explicit(&own_nr, 1, memory_order_relaxed);
}

/* A lot is writable to its end: the last hugepage of a region there comes in full, and what is behind the region is
 * counted nowhere. That is none of it where a limit is exact, and else a small part of the region. */
static bool huge_end_is_small(size_t bytes) {
    size_t waste = round_up(bytes, HPAGE_BYTES) - bytes;
    if (rt_opt.limit_hard != 0)
        return waste == 0;
    return rt_opt.thp == OPT_THP_ALWAYS || waste <= bytes / HUGE_END_PART;
}

/* Cut from a lot, whole hugepages of addresses. Where hugepages turn out to be slow, the next one gets small pages. */
static char *lot_region_make(size_t bytes, size_t align, enum huge_answer huge) {
    enum lot_kind kind = huge != HUGE_NOT_NOW && huge_end_is_small(bytes) ? LOT_HUGE : LOT_PLAIN;
    char *p = lot_take(round_up(bytes, HPAGE_BYTES), MAX(align, HPAGE_BYTES), kind);
    if (p == NULL)
        return NULL;
    lot_flags_set(big_record(p), LOT_REGION | (kind == LOT_HUGE ? LOT_IS_HUGE : 0));
    if (kind == LOT_HUGE && huge == HUGE_ASK_TIMED)
        (void)huge_touch(p);
    return p;
}

/* A region of a lot, or with a mapping and a guard of its own. */
static char *region_make(size_t bytes, size_t align, enum big_use use, size_t *ret_reserve_bytes) {
    enum huge_answer huge = hugepages_ask(bytes, 0, use);
    if (!rt_opt.harden && atomic_load_explicit(&own_nr, memory_order_relaxed) >= PACK_AFTER) {
        *ret_reserve_bytes = round_up(bytes, HPAGE_BYTES);
        char *p = lot_region_make(bytes, align, huge);
        if (p != NULL)
            return p;
    }
    struct region_want want = {bytes, reserve_bytes_of(bytes, SLACK_PART), align, huge, ANY_NODE};
    char *p = region_map(&want);
    if (p != NULL)
        hugepages_try(p, &want, 0);
    *ret_reserve_bytes = want.reserve_bytes;
    return p;
}

/* A part of a lot becomes free. It is purged as a whole: a hugepage may have brought more than was asked for. */
static bool lot_return(char *p, size_t bytes, enum lot_kind kind) {
    return sys_vm_purge(p, bytes) == 0 && lot_give(p, bytes, kind);
}

void big_region_release(struct hpage *h, size_t counted_bytes) {
    char *p = h->addr;
    size_t reserve_bytes = h->big_reserve_bytes;
    if (!is_in_lot(h)) {
        own_release(p, reserve_bytes, counted_bytes);
        return;
    }
    enum lot_kind kind = lot_kind_of(h);
    lot_flags_set(h, 0);
    if (lot_return(p, reserve_bytes, kind))
        rt_usage_add(-(s64)counted_bytes);
    else
        rt_release(p, reserve_bytes, counted_bytes);
}

void big_region_drop(struct hpage *h) {
    big_count(-1, -(s64)h->big_bytes);
    big_region_release(h, h->big_bytes);
}

/* Of a closed region that is counted still. */
static void region_keep(struct hpage *h) {
    use_look(h);
    if (is_placed(h))
        lot_flags_set(h, 0);
    else if (!rt_opt.harden && big_cache_put(h)) /* a seal knows of little slack alone */
        return;
    big_region_drop(h);
}

void region_give(struct hpage *h) {
    big_count(1, (s64)h->big_bytes);
    region_keep(h);
}

bool big_free(void *p) {
    struct hpage *h = big_record(p);
    if (!region_is_live(h, p) || !region_close(h))
        return false;
    if (rt_may_block()) {
        region_keep(h);
    } else {
        big_count(-1, -(s64)h->big_bytes);
        big_defer(h);
    }
    return true;
}

bool big_retire(void *p) {
    struct hpage *h = big_record(p);
    if (!rt_may_block())
        return big_free(p);
    if (!region_is_live(h, p) || !region_withdraw(h))
        return false;
    if (sys_vm_guard(h->addr, h->big_bytes) != 0) {
        region_give(h);
        return true;
    }
    rt_usage_add(-(s64)h->big_bytes);
    retired_put(h);
    return true;
}

struct search {
    const char *at;
    const struct hpage *before;
};

static void chunk_search(void *arg, struct chunk *c) {
    struct search *s = arg;
    for (const struct hpage *h = c->hpages; h < c->hpages + CHUNK_HPAGES; h++) {
        if (atomic_load_explicit(&h->state, memory_order_relaxed) == HPAGE_BIG && h->addr <= s->at &&
            (s->before == NULL || h->addr > s->before->addr))
            s->before = h;
    }
}

/* The last live region that starts at p or before it, or NULL. It may have begun any number of chunks earlier, and
 * those it only reaches into need not exist. */
static const struct hpage *live_before(const void *p) {
    struct search s = {p, NULL};
    chunks_each(chunk_search, &s);
    return s.before;
}

/* The live region before which p lies, in what has no access there, or NULL. */
static const struct hpage *live_behind_guard(const char *p) {
    const char *start = p + (HPAGE_BYTES - (uintptr_t)p % HPAGE_BYTES);
    const struct hpage *h = big_record(start);
    return region_is_live(h, start) && (size_t)(start - p) <= before_bytes() ? h : NULL;
}

enum big_where big_locate_guard(const void *p, char **ret_addr, size_t *ret_bytes) {
    const char *at = p;
    if (retired_find(p, ret_addr, ret_bytes))
        return BIG_WHERE_FREED;
    const struct hpage *h = live_before(p);
    if (h == NULL || at < h->addr + h->big_bytes || at >= h->addr + h->big_reserve_bytes)
        h = live_behind_guard(at);
    if (h == NULL)
        return BIG_WHERE_NONE;
    *ret_addr = h->addr;
    *ret_bytes = h->big_bytes;
    return BIG_WHERE_START;
}

size_t big_usable(const void *p) {
    const struct hpage *h = big_record(p);
    return region_is_live(h, p) ? h->big_bytes : 0;
}

/* Of a region in a lot: pages go, and whole hugepages become free. */
static bool lot_shrink(struct hpage *h, size_t bytes) {
    size_t keep = round_up(bytes, HPAGE_BYTES), reserve = h->big_reserve_bytes;
    if (sys_vm_purge(h->addr + bytes, reserve - bytes) != 0)
        return false;
    if (keep < reserve && lot_give(h->addr + keep, reserve - keep, lot_kind_of(h)))
        h->big_reserve_bytes = keep;
    return true;
}

/* Whole hugepages of the pool go, with their address space: first out of the record, so that no child of a fork copies
 * what is unmapped. */
static void pool_shrink(struct hpage *h, size_t bytes) {
    size_t keep = round_up(MAX(bytes, 1), HPAGE_BYTES), cut = h->big_bytes - keep;
    if (cut == 0)
        return;
    h->big_bytes = h->big_writable_bytes = h->big_reserve_bytes = keep;
    hugetlb_region_cut(cut);
    big_count(0, -(s64)cut);
    rt_release(h->addr + keep, cut, cut);
}

static bool own_shrink(struct hpage *h, size_t bytes) {
    if (sys_vm_guard(h->addr + bytes, h->big_writable_bytes - bytes) != 0)
        return false;
    h->big_writable_bytes = bytes;
    return true;
}

/* Where a shrunk region ends: where a limit is exact, with the hugepage that would come in full. */
static size_t shrunk_bytes(const struct hpage *h, size_t bytes) {
    if (rt_opt.limit_hard == 0 || !is_in_lot(h) || lot_kind_of(h) != LOT_HUGE)
        return bytes;
    return MIN(round_up(bytes, HPAGE_BYTES), h->big_bytes);
}

/* The end of a shrunk region goes back; its address space stays for growth, but in a lot. */
static void region_shrink(struct hpage *h, size_t bytes) {
    if (UNLIKELY(hugetlb_is_region(h))) {
        pool_shrink(h, bytes);
        return;
    }
    bytes = shrunk_bytes(h, bytes);
    size_t cut = h->big_bytes - bytes;
    if (cut == 0 || !(is_in_lot(h) ? lot_shrink(h, bytes) : own_shrink(h, bytes)))
        return;
    h->big_bytes = bytes;
    big_count(0, -(s64)cut);
    rt_usage_add(-(s64)cut);
}

/*
 * How much of what follows becomes writable. What the program grows will grow again, and no hugepage comes to a part of
 * one: to its end, but where limits are exact. A mapping used again ends where it is wanted, or the first write to its
 * end would bring a hugepage.
 */
enum growth { GROWTH_AGAIN, GROWTH_ONCE };

static bool own_commit(struct hpage *h, size_t bytes, enum growth growth) {
    size_t writable = h->big_writable_bytes, most = h->big_reserve_bytes - sys_page_bytes();
    size_t end = MIN(round_up(bytes, HPAGE_BYTES), most);
    if (growth == GROWTH_ONCE || rt_opt.limit_hard != 0)
        end = bytes;
    while (sys_vm_commit(h->addr + writable, end - writable) != 0) {
        if (end == bytes)
            return false;
        end = bytes;
    }
    h->big_writable_bytes = end;
    return true;
}

static bool own_extend(struct hpage *h, size_t bytes, enum growth growth) {
    return bytes + sys_page_bytes() <= h->big_reserve_bytes &&
           (bytes <= h->big_writable_bytes || own_commit(h, bytes, growth));
}

/* A lot is writable already, and what follows may be free; elsewhere the guard stays. */
static bool end_is_writable(struct hpage *h, size_t bytes, enum growth growth) {
    if (is_in_lot(h)) {
        size_t more = round_up(bytes, HPAGE_BYTES) - h->big_reserve_bytes;
        if (bytes <= h->big_reserve_bytes)
            return true;
        if (lot_kind_of(h) == LOT_HUGE && !huge_end_is_small(bytes))
            return false;
        if (!lot_extend(h->addr + h->big_reserve_bytes, more, lot_kind_of(h)))
            return false;
        h->big_reserve_bytes += more;
        return true;
    }
    return own_extend(h, bytes, growth);
}

static bool region_grow_in_place(struct hpage *h, size_t bytes, enum growth growth) {
    size_t more = bytes - h->big_bytes;
    if (!rt_usage_reserve(more))
        return false;
    if (!end_is_writable(h, bytes, growth)) {
        rt_usage_add(-(s64)more);
        return false;
    }
    h->big_bytes = bytes;
    big_count(0, (s64)more);
    return true;
}

/* A mapping out of the cache, its end moved to where it is wanted: what is in memory is kept. NULL: none. */
static char *region_reuse(size_t bytes, size_t align, size_t *ret_dirty_bytes) {
    struct hpage *h = big_cache_take(bytes, align);
    if (h == NULL)
        return NULL;
    size_t used = h->big_bytes;
    region_open(h);
    if (bytes <= used && used - bytes > bytes / FIT_PART)
        region_shrink(h, bytes);
    if (bytes <= used || region_grow_in_place(h, bytes, GROWTH_ONCE)) {
        *ret_dirty_bytes = MIN(h->big_bytes, used); /* all that may be used and was, though it is not asked for */
        return h->addr;
    }
    (void)region_close(h);
    big_region_drop(h);
    return NULL;
}

/* Whole hugepages of the administrator's pool, all of them usable, without slack or guard. Each is a mapping. */
static char *region_of_pool(size_t bytes, size_t align, enum big_use use) {
    if (LIKELY(!rt_opt.hugetlb) || use != BIG_ANY || bytes < HUGE_MIN_BYTES || align > HPAGE_BYTES ||
        atomic_load_explicit(&own_nr, memory_order_relaxed) >= PACK_AFTER)
        return NULL;
    bytes = round_up(bytes, HPAGE_BYTES);
    if (!rt_usage_reserve(bytes))
        return NULL;
    char *p = hugetlb_region_map(bytes);
    if (p == NULL) {
        rt_usage_add(-(s64)bytes);
        return NULL;
    }
    atomic_fetch_add_explicit(&own_nr, 1, memory_order_relaxed);
    region_publish(p, bytes, bytes);
    return p;
}

void *big_alloc(size_t size, size_t align, enum big_use use, size_t *ret_dirty_bytes) {
    if (size > PTRDIFF_MAX - 2 * HPAGE_BYTES)
        return NULL;
    size_t bytes = round_up(size, sys_page_bytes());
    big_deferred_give(); /* one of them may be what is wanted */
    char *p = region_reuse(bytes, align, ret_dirty_bytes);
    if (p != NULL)
        return p;
    *ret_dirty_bytes = 0;
    if ((p = region_of_pool(bytes, align, use)) != NULL)
        return p;
    size_t reserve_bytes;
    if (!rt_usage_reserve(bytes))
        return NULL;
    p = region_make(bytes, align, use, &reserve_bytes);
    if (p == NULL) {
        rt_usage_add(-(s64)bytes);
        return NULL;
    }
    region_publish(p, bytes, reserve_bytes);
    return p;
}

bool big_may_place(void) { return atomic_load_explicit(&own_nr, memory_order_relaxed) < MOVE_UNTIL; }

void *big_alloc_near(size_t size, size_t align, enum big_use use, int id) {
    if (size > PTRDIFF_MAX - 2 * HPAGE_BYTES)
        return NULL;
    size_t bytes = round_up(size, sys_page_bytes());
    if (!rt_usage_reserve(bytes))
        return NULL;
    struct region_want want = {bytes, reserve_bytes_of(bytes, SLACK_PART), align, hugepages_ask(bytes, 0, use), id};
    char *p = region_map(&want);
    if (p == NULL) {
        rt_usage_add(-(s64)bytes);
        return NULL;
    }
    hugepages_try(p, &want, 0);
    lot_flags_set(big_record(p), BIG_IS_PLACED);
    region_publish(p, bytes, want.reserve_bytes);
    return p;
}

/* The old place of a region whose pages moved to another. */
static void place_leave(struct hpage *h, bool in_lot, char *from, size_t bytes, size_t reserve_bytes) {
    if (!in_lot) {
        if (reserve_bytes != bytes)
            place_rest_release(from, bytes, reserve_bytes);
        else /* what a child copied out of the pool has no guard, and what follows is another's */
            atomic_fetch_sub_explicit(&own_nr, 1, memory_order_relaxed);
        return;
    }
    enum lot_kind kind = lot_kind_of(h);
    lot_flags_set(h, 0);
    if (!lot_return(from, reserve_bytes, kind))
        rt_release(from, reserve_bytes, 0);
}

/* The pages of a region, to another place. Those of the pool stay where they are, and are copied: at the new place they
 * would be followed by pages of another size. What grows once is then ordinary, and moves from there on. */
static int pages_move(bool in_lot, bool of_pool, char *from, size_t bytes, char *to) {
    if (of_pool) {
        memcpy(to, from, bytes);
        return 0;
    }
    return in_lot ? sys_vm_move_out(from, bytes, to) : sys_vm_move(from, bytes, to);
}

/* A new place with room to grow; the pages move there without being copied. */
static void *region_move(struct hpage *h, size_t bytes) {
    char *const from = h->addr;
    const size_t old_bytes = h->big_bytes, old_reserve_bytes = h->big_reserve_bytes;
    bool in_lot = is_in_lot(h), of_pool = hugetlb_is_region(h);
    u32 placed = lot_flags(h) & BIG_IS_PLACED; /* the policy moves with the pages, and what is new gets the same */
    /* The old place is given up, so the limit need not admit both: only growth is counted, before it happens;
     * but what is copied is there twice. */
    size_t more = of_pool ? bytes : bytes - old_bytes;
    if (atomic_load_explicit(&own_nr, memory_order_relaxed) >= MOVE_UNTIL || !rt_usage_reserve(more))
        return NULL;
    struct region_want want = {bytes, reserve_bytes_of(bytes, MOVED_SLACK_PART), HPAGE_BYTES,
                               hugepages_ask(bytes, old_bytes, BIG_ANY), placed != 0 ? sys_node_of(from) : ANY_NODE};
    char *p = region_map(&want);
    /* First of all: once its pages have moved the old place, and its record, may be another thread's. */
    bool withdrawn = p != NULL && region_withdraw(h);
    if (withdrawn && placed != 0)
        lot_flags_set(h, 0);
    int err = withdrawn ? pages_move(in_lot, of_pool, from, old_bytes, p) : -1;
    if (err == 0) {
        if (of_pool)
            own_release(from, old_reserve_bytes, old_bytes);
        else
            place_leave(h, in_lot, from, old_bytes, old_reserve_bytes);
        hugepages_try(p, &want, old_bytes);
        lot_flags_set(big_record(p), placed);
        region_publish(p, bytes, want.reserve_bytes);
        return p;
    }
    if (withdrawn) {
        if (placed != 0)
            lot_flags_set(h, placed);
        region_restore(h);
    }
    if (err == SYS_VM_LOST_PLACE)
        place_rest_release(p, old_bytes, want.reserve_bytes);
    else if (p != NULL)
        own_release(p, want.reserve_bytes, 0); /* holds nothing yet */
    rt_usage_add(-(s64)more);
    return NULL;
}

void *big_resize(void *p, size_t size) {
    struct hpage *h = big_record(p);
    if (!region_is_live(h, p) || size > PTRDIFF_MAX - 2 * HPAGE_BYTES)
        return NULL;
    size_t bytes = round_up(size, sys_page_bytes());
    if (bytes <= h->big_bytes) {
        region_shrink(h, bytes);
        return p;
    }
    return region_grow_in_place(h, bytes, GROWTH_AGAIN) ? p : region_move(h, bytes);
}

enum big_where big_locate(const void *p) {
    const struct hpage *h = big_record(p), *before = live_before(p);
    if (region_is_live(h, p))
        return BIG_WHERE_START;
    if (before != NULL && (const char *)p < before->addr + before->big_bytes)
        return BIG_WHERE_INTERIOR;
    bool freed = h != NULL && atomic_load_explicit(&h->state, memory_order_relaxed) == HPAGE_WAS_BIG && h->addr == p;
    return freed ? BIG_WHERE_FREED : BIG_WHERE_NONE;
}

void big_stats_get(struct big_stats *ret_stats) {
    u64 bytes = atomic_load_explicit(&big_held_bytes, memory_order_relaxed);
    u64 regions = atomic_load_explicit(&big_held_nr, memory_order_relaxed);
    size_t kept = kept_bytes_racy(), kept_nr = kept_regions_racy(); /* later: what is kept was counted, as a rule */
    ret_stats->live_bytes = bytes - MIN(bytes, kept);
    ret_stats->regions = regions - MIN(regions, kept_nr);
    ret_stats->cached_bytes = kept + big_deferred_bytes_racy();
}

size_t big_release(void) { return retired_release_all() + lot_release(); }
