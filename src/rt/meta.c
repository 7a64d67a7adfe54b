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
    /* Below 2^32 (4 GiB) the mapping area, where every reservation of ours lies, would alias itself too soon. */
    VA_BITS_MIN = 32,
    /* Of a finite RLIMIT_AS, the page map may take one part in 32, the pool one in 16. */
    LIMIT_MAP_SHIFT = 5,
    LIMIT_POOL_SHIFT = 4,
};

/* Of the largest page, so that it is the same everywhere. */
#define FENCE_BYTES (64 * KIB)
#define POOL_RESERVE_BYTES (4 * GIB)
#define POOL_RESERVE_MIN (2 * MIB)
#define POOL_STEP_BYTES (1 * MIB)
/* Page map is made writable for this much address space at a time, so that neighbours share one kernel mapping. */
#define MAP_STEP_BYTES (4 * CHUNK_BYTES)
#define CHUNK_BYTES ((size_t)1 << CHUNK_SHIFT)

static size_t map_bytes(unsigned va_bits) { return ((size_t)1 << (va_bits - GRANULE_SHIFT)) * sizeof(u32); }
static size_t chunk_tab_bytes(unsigned va_bits) {
    return round_up(((size_t)1 << (va_bits - CHUNK_SHIFT)) * sizeof(meta_ref_t), 64 * KIB);
}

/* One attempt with a page map for 2^va_bits of address space and a pool of pool_bytes. */
static int meta_reserve(unsigned va_bits, size_t pool_bytes) {
    size_t map = map_bytes(va_bits), tab = chunk_tab_bytes(va_bits), all = map + tab + pool_bytes + 2 * FENCE_BYTES;
    char *fence = sys_vm_reserve(all, sys_page_bytes());
    if (fence == NULL)
        return -1;
    char *pool = fence + FENCE_BYTES + map, *chunks = pool + pool_bytes;
    /* gcore(1) of gdb writes what can be read, and what cannot, whether it has memory or not: 36 GiB of zeros. */
    (void)sys_vm_nodump(fence, all);
    /* Records are few and far between: where hugepages come unasked, the first write would bring 2 MiB, and all of it
     * to the node that the process begins on. The map has none before it is writable for 8 GiB of address space in a
     * row, and may have them then. */
    (void)sys_vm_nohuge(pool, pool_bytes + tab + FENCE_BYTES);
    size_t first = MIN(POOL_STEP_BYTES, pool_bytes);
    if (sys_vm_read_only(pool - map, map) != 0 || sys_vm_commit(pool, first) != 0 || sys_vm_commit(chunks, tab) != 0) {
        (void)sys_vm_release(fence, all);
        return -1;
    }
    rt_meta.map_end = (u32 *)(void *)pool;
    rt_meta.map_ones = -((u64)1 << (va_bits - GRANULE_SHIFT));
    rt_meta.chunks = (_Atomic(meta_ref_t) *)(void *)chunks;
    rt_meta.chunks_mask = ((u64)1 << (va_bits - CHUNK_SHIFT)) - 1;
    rt_meta.base = pool;
    rt_meta.reserved_bytes = pool_bytes;
    rt_meta.ids_nr = sys_cpu_ids_nr();
    atomic_store_explicit(&rt_meta.committed_bytes, first, memory_order_relaxed);
    /* The words of ids, of which there is always one: place 0 means none. */
    atomic_store_explicit(&rt_meta.used_bytes, round_up(rt_meta.ids_nr * sizeof(u64), CACHE_LINE),
                          memory_order_relaxed);
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

bool rt_meta_has(const void *p) {
    uintptr_t start = (uintptr_t)rt_meta_map(&rt_meta);
    uintptr_t end = (uintptr_t)(rt_meta.chunks + rt_meta.chunks_mask + 1);
    return rt_meta.base != NULL && (uintptr_t)p - start < end - start;
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

/* What is left to those who cannot make it writable: rt_meta_headroom(). */
static _Atomic(u64) headroom_bytes;

void *rt_meta_alloc(size_t bytes, size_t align) {
    u64 used = atomic_load_explicit(&rt_meta.used_bytes, memory_order_relaxed);
    u64 start, left = rt_meta.reserved_bytes;
    u64 beside = rt_may_block() ? atomic_load_explicit(&headroom_bytes, memory_order_relaxed) : 0;
    align = MAX(align, META_UNIT);
    if (bytes > left - beside)
        return NULL;
    bytes += beside;
    do {
        start = round_up(used, align);
        if (start > left - bytes || !pool_commit(start + bytes))
            return NULL;
        /* relaxed: the block is not shared until its new owner publishes it. */
    } while (!atomic_compare_exchange_weak_explicit(&rt_meta.used_bytes, &used, start + bytes - beside,
                                                    memory_order_relaxed, memory_order_relaxed));
    return rt_meta.base + start;
}

/* --- pieces near a node --- */

/*
 * What of a node's newest piece is left: first place and end, as meta_ref_t, in one word that is only replaced whole.
 * What is left of the piece before is lost, and of the second of two that are taken at once: never touched, it is
 * address space, and no more than was cut from that piece. A piece grows with the pool, of which all together so have
 * some hundred, each two mappings more.
 */
static struct {
    _Atomic(u64) left;
    _Atomic(u32) id; /* the kernel's number + 1; 0: not told */
} near[SYS_NODES_MAX];

enum { REF_BITS = 32, PIECE_PART = 32 };
#define PIECE_MIN_BYTES (256 * KIB)
#define PIECE_MAX_BYTES (4 * MIB)

static u64 left_make(u64 start, u64 end) { return end >> META_UNIT_SHIFT << REF_BITS | start >> META_UNIT_SHIFT; }
static u64 left_start(u64 left) { return (left & UINT32_MAX) << META_UNIT_SHIFT; }
static u64 left_end(u64 left) { return left >> REF_BITS << META_UNIT_SHIFT; }

static void place_near(void *p, size_t bytes, unsigned node) {
    struct sys_nodes where = {{0}};
    sys_nodes_add(&where, atomic_load_explicit(&near[node].id, memory_order_relaxed) - 1);
    (void)sys_vm_place(p, bytes, SYS_NUMA_PREFER, &where);
}

static void *piece_cut(unsigned node, size_t bytes, size_t align) {
    u64 left = atomic_load_explicit(&near[node].left, memory_order_relaxed), start;
    do {
        start = round_up(left_start(left), MAX(align, META_UNIT));
        if (start + bytes > left_end(left))
            return NULL;
        /* relaxed: the block is not shared until its new owner publishes it. */
    } while (!atomic_compare_exchange_weak_explicit(&near[node].left, &left,
                                                    left_make(round_up(start + bytes, META_UNIT), left_end(left)),
                                                    memory_order_relaxed, memory_order_relaxed));
    return rt_meta.base + start;
}

static size_t piece_bytes(void) {
    u64 used = atomic_load_explicit(&rt_meta.used_bytes, memory_order_relaxed);
    return round_up(CLAMP(used / PIECE_PART, PIECE_MIN_BYTES, PIECE_MAX_BYTES), sys_page_bytes());
}

static char *piece_take(unsigned node, size_t bytes) {
    char *piece = rt_meta_alloc(bytes, sys_page_bytes());
    if (piece != NULL)
        place_near(piece, bytes, node);
    return piece;
}

/* At least bytes are left of the node's piece, unless others are quicker. Of a new one it is twice as much, because
 * what is left is lost at the next call that finds less than it asks for: half of the piece was used by then. */
static bool piece_renew(unsigned node, size_t bytes) {
    size_t whole = MAX(piece_bytes(), round_up(2 * bytes, sys_page_bytes()));
    char *piece = piece_take(node, whole);
    if (piece == NULL)
        return false;
    u64 start = (u64)(piece - rt_meta.base);
    atomic_store_explicit(&near[node].left, left_make(start, start + whole), memory_order_relaxed);
    return true;
}

static bool is_near(unsigned node) {
    return node != 0 && atomic_load_explicit(&near[node].id, memory_order_relaxed) != 0;
}

void rt_meta_near(unsigned node, unsigned id) {
    atomic_store_explicit(&near[node].id, id + 1, memory_order_relaxed);
    if (node != 0)
        return;
    size_t used = round_up(atomic_load_explicit(&rt_meta.used_bytes, memory_order_relaxed), sys_page_bytes());
    if (used < rt_meta.reserved_bytes)
        place_near(rt_meta.base + used, rt_meta.reserved_bytes - used, 0);
}

void *rt_meta_alloc_near(unsigned node, size_t bytes, size_t align) {
    void *block = is_near(node) ? piece_cut(node, bytes, align) : NULL;
    if (block != NULL || !is_near(node) || !rt_may_block())
        return block != NULL ? block : rt_meta_alloc(bytes, align);
    if (bytes >= piece_bytes() / 4)
        return bytes > rt_meta.reserved_bytes ? NULL : piece_take(node, round_up(bytes, sys_page_bytes()));
    block = piece_renew(node, bytes) ? piece_cut(node, bytes, align) : NULL;
    return block != NULL ? block : rt_meta_alloc(bytes, align);
}

bool rt_meta_headroom(unsigned node, size_t bytes) {
    u64 left = is_near(node) ? atomic_load_explicit(&near[node].left, memory_order_relaxed) : 0;
    if (is_near(node))
        return left_end(left) - left_start(left) >= bytes || piece_renew(node, bytes);
    u64 end = atomic_load_explicit(&rt_meta.used_bytes, memory_order_relaxed) + bytes;
    if (end > rt_meta.reserved_bytes || !pool_commit(end))
        return false;
    atomic_store_explicit(&headroom_bytes, bytes, memory_order_relaxed);
    return true;
}

int rt_meta_map_commit(const void *addr, size_t bytes) {
    size_t span = MIN(MAP_STEP_BYTES, rt_meta_map_nr(&rt_meta) << GRANULE_SHIFT);
    uintptr_t end = (uintptr_t)addr + bytes;
    for (uintptr_t p = round_down((uintptr_t)addr, span); p < end; p += span) {
        s64 index = rt_meta_map_index(&rt_meta, p);
        size_t len = round_up((span >> GRANULE_SHIFT) * sizeof(u32), sys_page_bytes());
        char *at = (char *)round_down((uintptr_t)(rt_meta.map_end + index), sys_page_bytes());
        if (sys_vm_commit(at, len) != 0)
            return -1;
    }
    return 0;
}
