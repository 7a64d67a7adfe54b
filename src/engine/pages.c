/* SPDX-License-Identifier: MIT */
/* Pages, with what the engine adds to them. Contract in pages.h. */
#include "engine/pages.h"

#include "engine/atomic.h"
#include "engine/engine.h"
#include "engine/pressure.h"
#include "engine/start.h"
#include "mag/mag.h"
#include "rt/misuse.h"
#include "rt/options.h"
#include "sys/sys.h"

static struct buddy_page *pages_alloc(unsigned order, unsigned flags) {
    bool may_wait = (flags & BUDDY_AT_HAND) == 0;
    if (order > BUDDY_ORDER_MAX || !(may_wait ? engine_ready() : engine_started()))
        return NULL;
    if (rt_opt.zero)
        flags |= BUDDY_ZERO;
    struct buddy_page *page = buddy_alloc(order, flags);
    if (!may_wait)
        return page;
    /* What DMA memory lacks is seldom memory. */
    if (UNLIKELY(page == NULL) && !page_is_busy_here() && (flags & BUDDY_DMA) == 0) {
        engine_pressure_hard();
        page = buddy_alloc(order, flags);
    }
    engine_chores_look();
    engine_pressure_look();
    engine_tick_maybe();
    return page;
}

struct buddy_page *engine_pages_alloc(unsigned order, unsigned flags) {
    return pages_alloc(order, buddy_flags_on(flags, page_node_here()));
}

/* Where the pages lie the kernel is asked, which is a system call. */
COLD static struct buddy_page *pages_alloc_strict(unsigned order, unsigned flags, int id) {
    int sole = page_node_sole(), node = page_nodes_nr() == 1 ? 0 : page_node_index(id);
    if (sole >= 0 ? sole != id : (flags & BUDDY_AT_HAND) != 0 || node < 0)
        return NULL;
    struct buddy_page *page = pages_alloc(order, buddy_flags_on(flags, (unsigned)node));
    if (page == NULL || sole >= 0 || engine_settle_on(page->addr, sys_page_bytes() << order, id))
        return page;
    (void)engine_page_free(page, order);
    return NULL;
}

struct buddy_page *engine_pages_alloc_node(unsigned order, unsigned flags, int id) {
    if (order > BUDDY_ORDER_MAX || !((flags & BUDDY_AT_HAND) == 0 ? engine_ready() : engine_started()))
        return NULL;
    (void)mag_nodes_start(PAGE_OPEN_WAIT);
    if (id < 0)
        id = sys_node_racy();
    if ((flags & BUDDY_STRICT) != 0)
        return pages_alloc_strict(order, flags, id);
    return pages_alloc(order, buddy_flags_on(flags, page_node_nearest(id)));
}

struct buddy_page *engine_page_of(const void *p) {
    struct buddy_page *page = engine_started() ? buddy_page_of(p) : NULL;
    if (LIKELY(page != NULL))
        return page;
    if (engine_kind_of(p) != ENGINE_NOT_OURS)
        rt_misuse(MISUSE_INTERFACE, p, engine_usable(p), NULL);
    engine_bad_pointer(p);
    return NULL;
}

/* Without system call, whoever calls: the kernel's callers are in any context, too. */
struct buddy_given engine_page_free(struct buddy_page *page, unsigned order) {
    enum rt_context before = rt_context_enter(MAX(rt_context(), RT_ATOMIC));
    struct buddy_given given = buddy_free(page, order);
    rt_context_leave(before);
    return given;
}

struct buddy_given engine_page_put(struct buddy_page *page) {
    enum rt_context before = rt_context_enter(MAX(rt_context(), RT_ATOMIC));
    struct buddy_given given = buddy_put(page);
    rt_context_leave(before);
    return given;
}

struct buddy_given engine_pages_free(void *p, unsigned order) {
    struct buddy_page *page = engine_page_of(p);
    if (page == NULL)
        return (struct buddy_given){0};
    if (page->addr != p)
        rt_misuse(MISUSE_INTERIOR, p, 0, "pages");
    return engine_page_free(page, order);
}
