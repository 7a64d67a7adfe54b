/* SPDX-License-Identifier: MIT */
/* The functions of core.h: the engine, fast path first, for libquarry-kmem. Owns nothing. */
#include "front/core.h"

#include "engine/areas.h"
#include "engine/atomic.h"
#include "engine/cache.h"
#include "engine/engine.h"
#include "engine/fast.h"
#include "engine/pages.h"
#include "rt/misuse.h"
#include "sys/fault.h"
#include "sys/sys.h"

#include <string.h>

static void *(*_Atomic alloc_failed)(size_t size);
static bool (*_Atomic kmalloc_debug)(size_t size, void **ret_p);

void quarry_core1_alloc_failed(void *(*fn)(size_t size)) {
    atomic_store_explicit(&alloc_failed, fn, memory_order_relaxed);
}

void quarry_core1_debug_kmalloc(bool (*alloc)(size_t size, void **ret_p)) {
    if (!engine_ready())
        return;
    atomic_store_explicit(&kmalloc_debug, alloc, memory_order_relaxed);
    engine_divert_allocs();
}

static COLD void *alloc_slow(size_t size) {
    bool (*debug)(size_t, void **) = atomic_load_explicit(&kmalloc_debug, memory_order_relaxed);
    void *p;
    if (UNLIKELY(debug != NULL) && debug(size, &p))
        return p;
    p = engine_alloc_unguarded(size, ENGINE_ANY_CONTENT);
    void *(*failed)(size_t) = p != NULL ? NULL : atomic_load_explicit(&alloc_failed, memory_order_relaxed);
    return failed == NULL ? p : failed(size);
}

FAST_ENTRY void *quarry_core1_alloc(size_t size) {
    void *p = engine_malloc_fast(size);
    return LIKELY(p != NULL) ? p : alloc_slow(size);
}

void quarry_core1_thread_serve(void) { sys_thread_serve(); }

void *quarry_core1_alloc_atomic(size_t size, bool reserve) {
    return engine_alloc_atomic(size, reserve ? RT_ATOMIC_RESERVE : RT_ATOMIC);
}

static enum engine_node node_how(bool strict) { return strict ? ENGINE_NODE_STRICT : ENGINE_NODE_NEAR; }

void *quarry_core1_alloc_node(size_t size, int node, bool strict) {
    return engine_alloc_node(size, node, node_how(strict));
}
bool quarry_core1_settle_on(void *p, size_t bytes, int node) {
    return engine_settle_on(p, bytes, node < 0 ? sys_node_racy() : node);
}
int quarry_core1_node_sole(void) { return engine_node_sole(); }
void *quarry_core1_class_alloc_node(const struct quarry_core1_class *class, int node, bool strict) {
    return engine_class_alloc_node(class->id, node, node_how(strict));
}

void quarry_core1_ally(const void *inside) { sys_fault_ally(inside); }

void quarry_core1_reserve_start(void) { engine_reserve_start(); }

/* A class the steps option leaves out never has a magazine with anything in it, so the size decides then. */
FAST_ENTRY void *QUARRY_CORE_CLASS_ALLOC(unsigned long cls, size_t size) {
    void *p = rseq_pop(mag_tabs.alloc_view, cls);
    return LIKELY(p != NULL) ? p : quarry_core1_alloc(size);
}

FAST_ENTRY void *QUARRY_CORE_CLASS_POP(unsigned long cls) { return rseq_pop(mag_tabs.alloc_view, cls); }

void *quarry_core1_zalloc(size_t size) { return engine_alloc_unguarded(size, ENGINE_ZEROED); }

void *quarry_core1_alloc_aligned(size_t align, size_t size) { return engine_memalign(align, size); }

FAST_ENTRY void quarry_core1_free(void *p) {
    if (UNLIKELY(!engine_free_fast(p)))
        engine_free_atomic(p);
}

/* struct quarry_page is declared by the public header alone, struct buddy_page by the core alone. */
static struct buddy_page *core_page(const struct quarry_page *page) { return (struct buddy_page *)(uintptr_t)page; }
static struct quarry_page *api_page(struct buddy_page *page) { return (struct quarry_page *)page; }

struct quarry_page *quarry_core1_pages_alloc(unsigned order, unsigned flags) {
    return api_page(engine_pages_alloc(order, flags));
}
struct quarry_page *quarry_core1_pages_alloc_node(unsigned order, unsigned flags, int node) {
    return api_page(engine_pages_alloc_node(order, flags, node));
}
static struct quarry_core1_given api_given(struct buddy_given given) {
    return (struct quarry_core1_given){given.owner, given.pages_nr};
}

void quarry_core1_page_own(struct quarry_page *page, u16 owner) { buddy_own(core_page(page), owner); }
struct quarry_core1_given quarry_core1_pages_free(struct quarry_page *page, unsigned order) {
    return api_given(engine_page_free(core_page(page), order));
}
struct quarry_core1_given quarry_core1_pages_free_at(void *p, unsigned order) {
    return api_given(engine_pages_free(p, order));
}
void quarry_core1_pages_split(struct quarry_page *page, unsigned order) { buddy_split(core_page(page), order); }
void quarry_core1_page_get(struct quarry_page *page) { buddy_get(core_page(page)); }
struct quarry_core1_given quarry_core1_page_put(struct quarry_page *page) {
    return api_given(engine_page_put(core_page(page)));
}
unsigned quarry_core1_page_refs(const struct quarry_page *page) { return buddy_refs_racy(core_page(page)); }
struct quarry_page *quarry_core1_page_head(struct quarry_page *page) {
    return api_page(buddy_head(core_page(page)));
}
unsigned quarry_core1_page_compound_order(const struct quarry_page *page) {
    return buddy_compound_order(core_page(page));
}
size_t quarry_core1_page_bytes(void) { return sys_page_bytes(); }
struct quarry_page *quarry_core1_page_of(const void *p) {
    return api_page(buddy_page_of(p));
}

void quarry_core1_pages_free_nr(u64 *ret_nr_by_order) {
    struct buddy_stats st;
    buddy_stats_get(&st);
    memcpy(ret_nr_by_order, st.free_nr, sizeof(st.free_nr));
}

u64 quarry_core1_dma_address(const void *p, size_t bytes) { return buddy_dma_address(p, bytes); }
const char *quarry_core1_dma_refusal(void) { return buddy_dma_refusal(); }

/* Written to, but with what is there, so that it is the page's own memory and not the one page of zeros. The
 * compiler must not see that nothing changes: clang would drop it. */
u64 quarry_core1_frame_of(void *p) {
    u8 nothing = 0;
    __asm__("" : "+r"(nothing));
    __atomic_fetch_or((u8 *)p, nothing, __ATOMIC_RELAXED);
    return sys_vm_frame(p);
}

void *quarry_core1_area_alloc(size_t size, size_t align, unsigned flags, int node, const void *caller) {
    return engine_area_alloc(size, align, flags, node, caller);
}
void quarry_core1_area_free(void *p) { engine_area_free(p); }
void quarry_core1_area_free_atomic(void *p) { engine_area_free_atomic(p); }
void *quarry_core1_area_resize(void *p, size_t size) { return engine_area_resize(p, size); }
size_t quarry_core1_area_bytes(const void *p) { return engine_area_bytes(p); }
bool quarry_core1_in_area(const void *p) { return big_in_area(p); }
void quarry_core1_areas_each(void (*fn)(void *arg, const struct area_info *info), void *arg) {
    big_areas_each(fn, arg);
}

bool quarry_core1_is_constant(const void *p) { return sys_program_constant(p); }

void quarry_core1_misuse(unsigned kind, const void *p, size_t object_bytes, const char *state) {
    rt_misuse((enum misuse_kind)kind, p, object_bytes, state);
}

void quarry_core1_warn(const char *line) { sys_stderr(line, strlen(line)); }
