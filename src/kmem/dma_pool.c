/* SPDX-License-Identifier: MIT */
/*
 * Pools of equal small pieces of memory for devices. A run is the pages of one allocation with __GFP_DMA, cut into up
 * to 64 pieces; which are free is a word in the record of its first page, so that nothing is written into the pieces.
 *
 * States      A piece is free (its bit is set) or has one owner. A run stays on its pool's list until the pool goes.
 * Ordering    Free sets the bit by release, alloc clears it by acquire: the last write of the one who freed comes
 * before the first of the next owner. [pool.piece] A run is filled before it is listed. [pool.run] Progress Lock-free
 * but for the page allocator, which is asked when no run has a free piece. Reclamation None while the pool is used:
 * runs are only added. Destroying a pool is its owner's last use of it.
 */
#include "kmem/kmem.h"

#include "base/bits.h"
#include "rt/misuse.h"

#include <string.h>

enum { NAME_BYTES = 32, PIECES_MAX = 64, PIECE_MIN_BYTES = 16 /* as the kernel's, which links them */ };

struct quarry_dma_pool {
    _Atomic(struct quarry_page *) runs; /* linked by lru[0] */
    size_t stride;                      /* from piece to piece */
    size_t boundary;                    /* a piece does not cross a multiple of it */
    unsigned order, pieces_nr;          /* of a run */
    char name[NAME_BYTES];
};

static u64 all_pieces(const struct quarry_dma_pool *pool) { return bits_mask(pool->pieces_nr); }

static size_t piece_offset(const struct quarry_dma_pool *pool, unsigned i) {
    size_t per_boundary = pool->boundary / pool->stride;
    return i / per_boundary * pool->boundary + i % per_boundary * pool->stride;
}

struct quarry_dma_pool *quarry_dma_pool_create(const char *name, void *dev, size_t size, size_t align,
                                               size_t boundary) {
    (void)dev;
    align = MAX(align, (size_t)1);
    if (size == 0 || size > HPAGE_BYTES || !is_pow2(align) || align > HPAGE_BYTES)
        return NULL;
    size_t stride = round_up(MAX(size, (size_t)PIECE_MIN_BYTES), align);
    if (boundary != 0 && (!is_pow2(boundary) || boundary < stride))
        return NULL;
    struct quarry_dma_pool *pool = quarry_kzalloc(sizeof(*pool), QUARRY_GFP_KERNEL);
    if (pool == NULL)
        return NULL;
    pool->stride = stride;
    pool->order = quarry_get_order(pool->stride);
    size_t run_bytes = QUARRY_PAGE_SIZE << pool->order;
    pool->boundary = boundary == 0 ? run_bytes : MIN(boundary, run_bytes);
    pool->pieces_nr = (unsigned)MIN(run_bytes / pool->boundary * (pool->boundary / pool->stride), (size_t)PIECES_MAX);
    for (size_t i = 0; name != NULL && i + 1 < NAME_BYTES && name[i] != '\0'; i++)
        pool->name[i] = name[i];
    return pool;
}

static struct quarry_page *run_next(const struct quarry_page *run) { return run->lru[0]; }

static void *piece_at(const struct quarry_dma_pool *pool, const struct quarry_page *run, unsigned i) {
    return run->quarry_addr + piece_offset(pool, i);
}

static void *piece_take(const struct quarry_dma_pool *pool, struct quarry_page *run) {
    u64 free = __atomic_load_n(&run->private_data, __ATOMIC_RELAXED);
    while (free != 0) {
        unsigned i = bits_lowest(free);
        /* order: acquire                                                                       pairs: [pool.piece] */
        if (__atomic_compare_exchange_n(&run->private_data, &free, free & (free - 1), false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return piece_at(pool, run, i);
    }
    return NULL;
}

/* What flags say of the piece is not said of its run, which has others' pieces and stays when this one is freed. */
#define FLAGS_OF_PIECES (QUARRY___GFP_ZERO | QUARRY___GFP_ACCOUNT)

/* A run whose first piece is the caller's. */
static void *run_add(struct quarry_dma_pool *pool, quarry_gfp_t flags) {
    struct quarry_page *run =
        quarry_alloc_pages((flags & ~FLAGS_OF_PIECES) | QUARRY___GFP_DMA | QUARRY___GFP_COMP, pool->order);
    if (run == NULL)
        return NULL;
    run->mapping = pool;
    run->private_data = all_pieces(pool) & ~(u64)1;
    struct quarry_page *head = atomic_load_explicit(&pool->runs, memory_order_relaxed);
    do {
        run->lru[0] = head;
        /* order: release: the run.                                                             pairs: [pool.run] */
    } while (
        !atomic_compare_exchange_weak_explicit(&pool->runs, &head, run, memory_order_release, memory_order_relaxed));
    return run->quarry_addr;
}

void *quarry_dma_pool_alloc(struct quarry_dma_pool *pool, quarry_gfp_t flags, quarry_dma_addr_t *ret_handle) {
    void *p = NULL;
    /* order: acquire: what is listed is filled.                                                pairs: [pool.run] */
    struct quarry_page *run = atomic_load_explicit(&pool->runs, memory_order_acquire);
    for (; run != NULL && p == NULL; run = run_next(run))
        p = piece_take(pool, run);
    if (p == NULL)
        p = run_add(pool, flags);
    if (p == NULL)
        return NULL;
    if ((flags & QUARRY___GFP_ZERO) != 0)
        memset(p, 0, pool->stride);
    *ret_handle = quarry_core1_dma_address(p, pool->stride);
    return p;
}

/* Index of the piece at p, or the program ends. */
static unsigned piece_index(const struct quarry_dma_pool *pool, const struct quarry_page *run, const char *p) {
    size_t offset = (size_t)(p - run->quarry_addr), in_boundary = offset % pool->boundary;
    size_t i = offset / pool->boundary * (pool->boundary / pool->stride) + in_boundary / pool->stride;
    if (i >= pool->pieces_nr || piece_offset(pool, (unsigned)i) != offset)
        quarry_core1_misuse(MISUSE_INTERIOR, p, pool->stride, "pool");
    return (unsigned)i;
}

void quarry_dma_pool_free(struct quarry_dma_pool *pool, void *p, quarry_dma_addr_t handle) {
    struct quarry_page *page = quarry_virt_to_page(p), *run = page == NULL ? NULL : quarry_compound_head(page);
    (void)handle;
    if (run == NULL || run->mapping != pool)
        quarry_core1_misuse(MISUSE_INTERFACE, p, 0, "pool");
    u64 bit = (u64)1 << piece_index(pool, run, p);
    /* order: release                                                                           pairs: [pool.piece] */
    if ((__atomic_fetch_or(&run->private_data, bit, __ATOMIC_RELEASE) & bit) != 0)
        quarry_core1_misuse(MISUSE_DOUBLE_FREE, p, pool->stride, "pool");
}

static void busy_say(const struct quarry_dma_pool *pool) {
    enum { LINE_BYTES = 120 };
    char line[LINE_BYTES];
    struct kmem_text out = {line, sizeof(line), 0};
    kmem_text_str(&out, "quarry: warning: dma_pool_destroy ");
    kmem_text_str(&out, pool->name);
    kmem_text_str(&out, ": pieces are still in use, and leak\n");
    quarry_core1_warn(line);
}

void quarry_dma_pool_destroy(struct quarry_dma_pool *pool) {
    if (pool == NULL)
        return;
    bool busy = false;
    struct quarry_page *run = atomic_load_explicit(&pool->runs, memory_order_relaxed), *next;
    for (; run != NULL; run = next) {
        next = run_next(run);
        if (run->private_data == all_pieces(pool))
            quarry___free_pages(run, pool->order);
        else
            busy = true;
    }
    if (busy)
        busy_say(pool);
    quarry_kfree(pool);
}
