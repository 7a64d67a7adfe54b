/* SPDX-License-Identifier: MIT */
/* The metadata pool. Contract in meta.h. */
#include "rt/meta.h"

#include "base/bits.h"
#include "rt/context.h"
#include "sys/sys.h"

#if defined(__x86_64__)
#define USER_VA_BITS 47
#else
#define USER_VA_BITS 48
#endif

enum {
    /* Below 2^34 (16 GiB) the mapping area, where every reservation of ours lies, would alias itself too soon. */
    VA_BITS_MIN = 34,
    /* Of a finite RLIMIT_AS, the page map may take one part in 32, the pool one in 16. */
    LIMIT_MAP_SHIFT = 5,
    LIMIT_POOL_SHIFT = 4,
};

#define POOL_RESERVE_BYTES (4 * GIB)
#define POOL_RESERVE_MIN (2 * MIB)
#define POOL_STEP_BYTES (1 * MIB)
/* Page map is made writable for this much address space at a time, so that neighbours share one kernel mapping. */
#define MAP_STEP_BYTES (4 * CHUNK_BYTES)
#define CHUNK_BYTES ((size_t)1 << CHUNK_SHIFT)

/* Until start every address has the entry "not ours". */
static u16 map_before_start;
struct rt_meta rt_meta = {.map = &map_before_start};

static size_t map_bytes(unsigned va_bits) { return ((size_t)1 << (va_bits - GRANULE_SHIFT)) * sizeof(u16); }
static size_t chunk_tab_bytes(unsigned va_bits) {
    return round_up(((size_t)1 << (va_bits - CHUNK_SHIFT)) * sizeof(meta_ref_t), 64 * KIB);
}

/* One attempt with a page map for 2^va_bits of address space and a pool of pool_bytes. */
static int meta_reserve(unsigned va_bits, size_t pool_bytes) {
    size_t map = map_bytes(va_bits), tab = chunk_tab_bytes(va_bits);
    char *p = sys_vm_reserve_readable(map + tab + pool_bytes);
    if (p == NULL)
        return -1;
    size_t first = tab + MIN(POOL_STEP_BYTES, pool_bytes);
    if (sys_vm_commit(p + map, first) != 0) {
        (void)sys_vm_release(p, map + tab + pool_bytes);
        return -1;
    }
    rt_meta.map = (u16 *)(void *)p;
    rt_meta.map_mask = ((u64)1 << (va_bits - GRANULE_SHIFT)) - 1;
    rt_meta.chunks = (_Atomic(meta_ref_t) *)(void *)(p + map);
    rt_meta.chunks_mask = ((u64)1 << (va_bits - CHUNK_SHIFT)) - 1;
    rt_meta.base = p + map + tab;
    rt_meta.reserved_bytes = pool_bytes;
    atomic_store_explicit(&rt_meta.committed_bytes, first - tab, memory_order_relaxed);
    atomic_store_explicit(&rt_meta.used_bytes, CACHE_LINE, memory_order_relaxed); /* place 0 means none */
    return 0;
}

int rt_meta_init(void) {
    unsigned va_bits = USER_VA_BITS;
    size_t pool = POOL_RESERVE_BYTES;
    size_t limit = sys_vm_limit_bytes();
    rt_meta.limited = limit != SIZE_MAX;
    rt_meta.limit_bytes = limit;
    if (rt_meta.limited) {
        while (va_bits > VA_BITS_MIN && map_bytes(va_bits) > limit >> LIMIT_MAP_SHIFT)
            va_bits--;
        pool = CLAMP(round_down(limit >> LIMIT_POOL_SHIFT, POOL_STEP_BYTES), POOL_RESERVE_MIN, POOL_RESERVE_BYTES);
    }
    /* Some systems refuse large reservations for reasons they do not tell: ask for less until they agree. */
    for (; va_bits >= VA_BITS_MIN; va_bits--) {
        if (meta_reserve(va_bits, pool) == 0)
            return 0;
        pool = MAX(pool / 2, POOL_RESERVE_MIN);
    }
    return -1;
}

/* Makes the pool writable up to end_bytes at least. Idempotent, so that two threads may both do it. */
static bool pool_commit(u64 end_bytes) {
    u64 committed = atomic_load_explicit(&rt_meta.committed_bytes, memory_order_relaxed);
    while (committed < end_bytes) {
        if (!rt_may_block()) {
            rt_chore_note(RT_CHORE_RESERVE);
            return false;
        }
        u64 target = MIN(round_up(end_bytes, POOL_STEP_BYTES), rt_meta.reserved_bytes);
        if (sys_vm_commit(rt_meta.base + committed, target - committed) != 0)
            return false;
        if (atomic_compare_exchange_strong_explicit(&rt_meta.committed_bytes, &committed, target, memory_order_relaxed,
                                                    memory_order_relaxed))
            return true;
    }
    return true;
}

void *rt_meta_alloc(size_t bytes, size_t align) {
    u64 used = atomic_load_explicit(&rt_meta.used_bytes, memory_order_relaxed);
    u64 start;
    align = MAX(align, META_UNIT);
    do {
        start = round_up(used, align);
        if (bytes > rt_meta.reserved_bytes || start > rt_meta.reserved_bytes - bytes || !pool_commit(start + bytes))
            return NULL;
        /* relaxed: the block is not shared until its new owner publishes it. */
    } while (!atomic_compare_exchange_weak_explicit(&rt_meta.used_bytes, &used, start + bytes, memory_order_relaxed,
                                                    memory_order_relaxed));
    return rt_meta.base + start;
}

bool rt_meta_headroom(size_t bytes) {
    u64 end = atomic_load_explicit(&rt_meta.used_bytes, memory_order_relaxed) + bytes;
    return end <= rt_meta.reserved_bytes && pool_commit(end);
}

int rt_meta_map_commit(const void *addr, size_t bytes) {
    size_t span = MIN(MAP_STEP_BYTES, (rt_meta.map_mask + 1) << GRANULE_SHIFT);
    uintptr_t end = (uintptr_t)addr + bytes;
    for (uintptr_t p = round_down((uintptr_t)addr, span); p < end; p += span) {
        u64 index = (p >> GRANULE_SHIFT) & rt_meta.map_mask;
        size_t len = round_up((span >> GRANULE_SHIFT) * sizeof(u16), sys_page_bytes());
        char *at = (char *)round_down((uintptr_t)(rt_meta.map + index), sys_page_bytes());
        if (sys_vm_commit(at, len) != 0)
            return -1;
    }
    return 0;
}
