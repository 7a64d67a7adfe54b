/* SPDX-License-Identifier: MIT */
/* The slow path of allocation, and everything that is never fast: zeroed, aligned, large. */
#include "big/big.h"
#include "engine/atomic.h"
#include "engine/engine.h"
#include "engine/fast.h"
#include "engine/guard.h"
#include "engine/harden.h"
#include "engine/pressure.h"
#include "engine/start.h"
#include "mag/mag.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "sys/sys.h"

#include <string.h>

enum zero_wanted { ZERO_NO, ZERO_YES };

static bool is_slab_size(size_t size) {
    return size <= SLAB_OBJECT_MAX && (size <= rt_opt.vmalloc_threshold || size <= SLAB_MEDIUM_MAX);
}

/* Nothing keeps the magazine from serving but that each allocation is to be seen. */
static void *watched_magazine(unsigned cls) {
    void *p = mag_pop_watched(cls);
    if (p == NULL)
        return NULL;
    enum rt_context before = rt_context_enter(RT_MAY_BLOCK);
    engine_tick_watched();
    rt_context_leave(before);
    return p;
}

/* An object straight from the magazine of its class where the fast path did not serve, or NULL. Where each object is
 * to be cleared or sealed, none. */
static void *untried_magazine(unsigned cls) {
    if (UNLIKELY(rt_opt.zero || rt_opt.harden))
        return NULL;
    return UNLIKELY(mag_is_watched()) ? watched_magazine(cls) : mag_pop_untried(cls);
}

/* The same where it was not asked. */
static ALWAYS_INLINE void *class_magazine(unsigned cls) {
    void *p = rseq_pop(mag_tabs.alloc_view, cls);
    return LIKELY(p != NULL) ? p : untried_magazine(cls);
}

/* By size, where engine_malloc_fast() gave none; and where it was not asked. */
static void *size_magazine(size_t size) {
    if (UNLIKELY(mag_tabs.small_limit == 0) || !is_slab_size(size))
        return NULL;
    return untried_magazine(slab_class_for(size));
}
static ALWAYS_INLINE void *any_magazine(size_t size) {
    void *p = engine_malloc_fast(size);
    return LIKELY(p != NULL) ? p : size_magazine(size);
}

/* p, which may be NULL, as what the call gave. */
static ALWAYS_INLINE void *counted(void *p, enum engine_call call) {
    if (UNLIKELY(engine_counting) && p != NULL)
        engine_count(call, (s64)engine_usable(p));
    return p;
}

/* What calloc promises is as long as was asked for; what option zero does is as long as may be used, so that what
 * realloc grows into without a move reads as zeros, too. */
static size_t zero_bytes(size_t asked, size_t usable) { return UNLIKELY(rt_opt.zero) ? usable : asked; }

/* A region of its own, at a multiple of align. */
static void *alloc_region(size_t size, size_t align, enum zero_wanted zero) {
    size_t dirty_bytes = 0;
    enum big_use use = zero == ZERO_YES ? BIG_SPARSE : BIG_ANY;
    int hinted = page_node_hinted();
    void *p = LIKELY(hinted == PAGE_NODE_ANY) || !big_may_place()
                  ? NULL
                  : big_alloc_near(MAX(size, (size_t)1), align, use, page_node_id((unsigned)hinted));
    if (p != NULL) /* a mapping of its own, which reads as zeros */
        return p;
    p = big_alloc(MAX(size, (size_t)1), align, use, &dirty_bytes);
    if (p != NULL && zero == ZERO_YES)
        memset(p, 0, MIN(zero_bytes(size, big_usable(p)), dirty_bytes));
    return p;
}

static void *alloc_object(unsigned cls, size_t size, enum zero_wanted zero) {
    bool zeroed = false;
    void *p = mag_alloc(cls, zero == ZERO_YES ? &zeroed : NULL);
    if (p != NULL && zero == ZERO_YES && !zeroed)
        memset(p, 0, zero_bytes(size, slab_geometry[cls].size_bytes));
    return p;
}

static bool is_hardened_size(size_t size) { return size <= HARDEN_OBJECT_MAX && is_slab_size(size); }

/* Option harden. A slot reads as zeros already. */
COLD static void *alloc_hardened(size_t size, size_t align, enum zero_wanted zero) {
    size_t need = MAX(size, (size_t)1) + HARDEN_SEAL_BYTES;
    unsigned cls = is_hardened_size(need) ? slab_class_aligned(need, align) : 0;
    if (cls != 0 && !is_hardened_size(slab_geometry[cls].size_bytes))
        cls = 0;
    void *p = cls != 0 ? harden_take(cls) : alloc_region(need, align, zero);
    return p == NULL ? NULL : harden_seal(p, size);
}

/* Where the page tier cannot be used. */
static void *alloc_region_only(size_t size, size_t align, enum zero_wanted zero) {
    if (LIKELY(!rt_opt.harden))
        return alloc_region(size, align, zero);
    void *p = alloc_region(size + HARDEN_SEAL_BYTES, align, zero);
    return p == NULL ? NULL : harden_seal(p, size);
}

static void *alloc_once(size_t size, enum zero_wanted zero) {
    if (UNLIKELY(rt_opt.harden))
        return alloc_hardened(size, 1, zero);
    return is_slab_size(size) ? alloc_object(slab_class_for(size), size, zero) : alloc_region(size, 1, zero);
}

/* Not to be had the usual way. In a signal handler that interrupted this thread inside the page tier, *ret_busy, the
 * lock can't be waited for, and for a fork that has it not for ever: such a request gets a region of its own. */
COLD static void *alloc_region_instead(size_t size, size_t align, enum zero_wanted zero, bool *ret_busy) {
    *ret_busy = page_is_busy_here();
    return *ret_busy || page_is_forked() ? alloc_region_only(size, align, zero) : NULL;
}

/* Where that is not so, memory is out: give back what can be given and try once more. */
COLD static void *alloc_hard(size_t size, enum zero_wanted zero) {
    bool busy;
    void *p = alloc_region_instead(size, 1, zero, &busy);
    if (p != NULL || busy)
        return p;
    engine_pressure_hard();
    return alloc_once(size, zero);
}

/* What every call that may block does last. before: as rt_context_enter() gave it. */
static void slow_end(enum rt_context before) {
    engine_chores_look();
    engine_pressure_look();
    engine_tick_maybe();
    rt_context_leave(before);
}

enum effort { EFFORT_ONCE, EFFORT_HARD };

static void *alloc_sized(size_t size, enum zero_wanted zero, enum effort effort) {
    if (UNLIKELY(size > PTRDIFF_MAX) || !engine_ready())
        return NULL;
    if (rt_opt.zero)
        zero = ZERO_YES;
    /* A handler on top of an atomic context may block, for all that is known. */
    enum rt_context before = rt_context_enter(RT_MAY_BLOCK);
    void *p = alloc_once(size, zero);
    if (UNLIKELY(p == NULL) && effort == EFFORT_HARD)
        p = alloc_hard(size, zero);
    slow_end(before);
    return p;
}

/* A slow call is looked at, and of several thousand one gets its object between guard pages. */
static void *alloc_or_guard(size_t size, enum zero_wanted zero) {
    void *p = UNLIKELY(guard_due()) ? guard_alloc(size) : NULL;
    return p != NULL ? p : alloc_sized(size, zero, EFFORT_HARD);
}

static NOINLINE void *alloc_counted(size_t size) { return counted(alloc_or_guard(size, ZERO_NO), ENGINE_CALL_MALLOC); }

/* --- of a node --- */

/* The node's index, or a negative one: the node has no memory here. */
static int node_of(int id, enum engine_node how) {
    if (how == ENGINE_NODE_NEAR || page_nodes_nr() == 1)
        return (int)page_node_nearest(id);
    return page_node_index(id);
}

/* The kernel API's kmalloc aligns to the size where that is a power of two, up to this. */
#define KMALLOC_ALIGN_MAX (2 * HPAGE_BYTES)

static void *node_once(size_t size, int id, enum engine_node how) {
    int node = node_of(id, how);
    if (node < 0)
        return NULL;
    /* Where nodes are not kept apart the option, or the process's own policy, says where regions lie. */
    if (!is_slab_size(size))
        return big_alloc_near(size, is_pow2(size) && size <= KMALLOC_ALIGN_MAX ? size : 1, BIG_ANY,
                              page_nodes_nr() == 1 ? PAGE_NODE_ANY : id);
    enum mag_near near = how == ENGINE_NODE_NEAR ? MAG_NEAR : MAG_STRICT;
    return mag_alloc_node(slab_class_for(size), (unsigned)node, near, NULL);
}

/* MPOL_BIND would see to it, too, and end a process where the node is out of memory: so the pages are brought into
 * memory as everywhere, and those that came from elsewhere are asked to move, which may fail. */
bool engine_settle_on(void *p, size_t bytes, int id) {
    size_t page = sys_page_bytes();
    int sole = page_node_sole();
    if (sole >= 0 || id < 0)
        return sole == id;
    char *end = (char *)p + bytes;
    for (char *at = p; at < end; at = (char *)round_down((uintptr_t)at, page) + page) {
        u8 nothing = 0;
        __asm__("" : "+r"(nothing)); /* what changes nothing would be dropped */
        __atomic_fetch_or((u8 *)at, nothing, __ATOMIC_RELAXED);
    }
    return sys_vm_on_node(p, bytes, (unsigned)id, SYS_SETTLE_MOVE);
}

static void *node_settled(void *p, size_t size, int id, enum engine_node how) {
    if (p == NULL)
        return NULL;
    if (rt_opt.zero)
        memset(p, 0, engine_usable(p));
    if (how == ENGINE_NODE_NEAR || engine_settle_on(p, MAX(size, (size_t)1), id))
        return p;
    engine_free_slow(p);
    return NULL;
}

/* Sealed objects come from wherever one is; a strict request asks their pages to move. */
COLD static void *alloc_node_hardened(size_t size, int id, enum engine_node how) {
    void *p = engine_alloc_unguarded(size, ENGINE_ANY_CONTENT);
    (void)mag_nodes_start(PAGE_OPEN_WAIT);
    return node_settled(p, size, id < 0 ? sys_node_racy() : id, how);
}

void *engine_alloc_node(size_t size, int id, enum engine_node how) {
    if (UNLIKELY(size > PTRDIFF_MAX) || !engine_ready())
        return NULL;
    if (UNLIKELY(rt_opt.harden))
        return alloc_node_hardened(size, id, how);
    enum rt_context before = rt_context_enter(RT_MAY_BLOCK);
    (void)mag_nodes_start(PAGE_OPEN_WAIT);
    id = id < 0 ? sys_node_racy() : id;
    void *p = node_once(size, id, how);
    bool busy = p == NULL && page_is_busy_here();
    if (how == ENGINE_NODE_NEAR && (busy || (p == NULL && page_is_forked())))
        p = alloc_region_only(size, 1, ZERO_NO);
    if (UNLIKELY(p == NULL) && !busy) {
        engine_pressure_hard();
        p = node_once(size, id, how);
    }
    (void)counted(p, ENGINE_CALL_MALLOC);
    p = node_settled(p, size, id, how);
    slow_end(before);
    return p;
}

int engine_node_sole(void) {
    if (engine_ready())
        (void)mag_nodes_start(PAGE_OPEN_WAIT);
    return page_node_sole();
}

/* Another thread may be finding the nodes just now, or a fork of a large process may keep them from being opened. */
static unsigned nodes_start_surely(void) {
    enum { TRIES = 10000 };
    unsigned nr = mag_nodes_start(PAGE_OPEN_WAIT);
    for (unsigned i = 0; i < TRIES && nr == 1 && page_nodes_decided() != 1; i++) {
        sys_sleep_ms(1);
        nr = mag_nodes_start(PAGE_OPEN_WAIT);
    }
    return nr;
}

enum engine_node_set engine_thread_node(int id) {
    if (id < 0) {
        page_node_hint(PAGE_NODE_ANY);
        return ENGINE_NODE_SET;
    }
    if (!engine_ready() || nodes_start_surely() == 1)
        return page_node_sole() < 0 ? ENGINE_NODE_OFF : page_node_sole() == id ? ENGINE_NODE_SET : ENGINE_NODE_UNKNOWN;
    int node = page_node_index(id);
    if (node < 0)
        return ENGINE_NODE_UNKNOWN;
    mag_divert_allocs();
    page_node_hint(node);
    return ENGINE_NODE_SET;
}

/* Threads the fast path does not serve have their magazines, too. */
void *engine_alloc_slow(size_t size) {
    void *p = size_magazine(size);
    return LIKELY(p != NULL) ? counted(p, ENGINE_CALL_MALLOC) : alloc_counted(size);
}

/* Where every object is to be guarded none is larger than was asked for, or what is written behind that would not be
 * seen. */
void *engine_alloc_easy(size_t size) {
    if (!is_slab_size(size) || rt_opt.guard == 1 || rt_usage_forbids(size))
        return NULL;
    void *p = any_magazine(size);
    if (p != NULL)
        return counted(p, ENGINE_CALL_MALLOC);
    return counted(alloc_sized(size, ZERO_NO, EFFORT_ONCE), ENGINE_CALL_MALLOC);
}

void *engine_alloc_region(size_t size) {
    if (rt_usage_forbids(size))
        return NULL;
    enum rt_context before = rt_context_enter(RT_MAY_BLOCK);
    void *p = alloc_region(size, 1, rt_opt.zero ? ZERO_YES : ZERO_NO);
    slow_end(before);
    return counted(p, ENGINE_CALL_MALLOC);
}

void *engine_calloc(size_t nr, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(nr, size, &bytes))
        return NULL;
    void *p = any_magazine(bytes);
    if (LIKELY(p != NULL))
        return memset(counted(p, ENGINE_CALL_CALLOC), 0, bytes);
    return counted(alloc_or_guard(bytes, ZERO_YES), ENGINE_CALL_CALLOC);
}

/* The kernel's objects are as large as their class, and lie at multiples of what divides that. */
COLD static void *alloc_unguarded_hardened(size_t size, enum zero_wanted zero) {
    size_t bytes = engine_good_size(size);
    void *p = bytes == 0 ? NULL : engine_memalign(MIN(bytes & -bytes, KMALLOC_ALIGN_MAX), bytes);
    if (p != NULL && zero == ZERO_YES && page_map_get(p) % PAGE_MAP_CLASSES == PAGE_MAP_BIG)
        memset(p, 0, size);
    return p;
}

void *engine_alloc_unguarded(size_t size, enum engine_content content) {
    if (UNLIKELY(rt_opt.harden))
        return alloc_unguarded_hardened(size, content == ENGINE_ZEROED ? ZERO_YES : ZERO_NO);
    void *p = any_magazine(size);
    if (LIKELY(p != NULL) && content == ENGINE_ZEROED)
        memset(p, 0, size);
    else if (p == NULL)
        p = alloc_sized(size, content == ENGINE_ZEROED ? ZERO_YES : ZERO_NO, EFFORT_HARD);
    return counted(p, content == ENGINE_ZEROED ? ENGINE_CALL_CALLOC : ENGINE_CALL_MALLOC);
}

static void *memalign_once(size_t align, size_t size) {
    enum zero_wanted zero = rt_opt.zero ? ZERO_YES : ZERO_NO;
    if (UNLIKELY(rt_opt.harden))
        return alloc_hardened(size, align, zero);
    unsigned cls = slab_class_aligned(size, align);
    if (cls == 0 || !is_slab_size(slab_geometry[cls].size_bytes))
        return alloc_region(size, align, zero);
    void *p = class_magazine(cls); /* with option zero nothing comes out of it */
    return p != NULL ? p : alloc_object(cls, size, zero);
}

/* Half of the addresses a process has. What would need more is refused before all that is free is given back for it. */
#define ALIGN_MAX ((size_t)1 << 46)

void *engine_memalign(size_t align, size_t size) {
    if (size > PTRDIFF_MAX || align > ALIGN_MAX || !engine_ready())
        return NULL;
    enum rt_context before = rt_context_enter(RT_MAY_BLOCK);
    void *p = memalign_once(align, size);
    bool busy = false;
    if (p == NULL)
        p = alloc_region_instead(size, align, rt_opt.zero ? ZERO_YES : ZERO_NO, &busy);
    if (p == NULL && !busy) {
        engine_pressure_hard();
        p = memalign_once(align, size);
    }
    (void)counted(p, ENGINE_CALL_MEMALIGN);
    slow_end(before);
    return p;
}

size_t engine_good_size(size_t size) {
    if (size > PTRDIFF_MAX || !engine_ready())
        return 0;
    if (is_slab_size(size))
        return slab_geometry[slab_class_for(size)].size_bytes;
    return round_up(size, 4 * KIB);
}
