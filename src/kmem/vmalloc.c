/* SPDX-License-Identifier: MIT */
/* vmalloc's names and edge rules. Areas are the core's (front/core.h); owns nothing. */
#include "kmem/account.h"
#include "kmem/gfp.h"
#include "kmem/kmem.h"

#include "big/area.h"
#include "sys/sys.h"

#include <string.h>

/* No process has more addresses. */
#define ADDRESSES_BYTES ((size_t)1 << 47)
#define CALLER __builtin_return_address(0)

COLD static void *refuse(_Atomic(bool) *said, quarry_gfp_t flags, const char *line) {
    kmem_warn_once(said, flags, line);
    return NULL;
}

/* An area that is wanted, or one that is to grow. */
struct wanted {
    void *old;
    size_t size, align;
    unsigned how;
    int node;
    const void *caller;
};

/* Of an area that is charged, or lent: room in its account first. What it then has is charged in any case. */
static void *known_resize(void *p, size_t size, quarry_gfp_t flags) {
    size_t before = quarry_core1_area_bytes(p), want = MAX(round_up(size, QUARRY_PAGE_SIZE), before);
    u16 number = kmem_account_area_take(p);
    bool room = kmem_account_area_resize(number, before, want, flags);
    void *q = room ? quarry_core1_area_resize(p, size) : NULL, *now = q != NULL ? q : p;
    size_t bytes = quarry_core1_area_bytes(now);
    if (room)
        (void)kmem_account_area_resize(number, want, bytes, QUARRY_GFP_KERNEL | QUARRY___GFP_NOFAIL);
    kmem_account_area_put(now, number, bytes);
    return q;
}

/* Nobody's area that grows with __GFP_ACCOUNT is this thread's account's from then on, whole; nobody's again if it does
 * not grow. */
static void *charge_and_resize(void *p, size_t size, quarry_gfp_t flags) {
    if (!kmem_account_area_charge(p, quarry_core1_area_bytes(p), flags))
        return NULL;
    void *q = known_resize(p, size, flags);
    if (q == NULL)
        kmem_account_area_disown(p, quarry_core1_area_bytes(p));
    return q;
}

static void *resize(void *p, size_t size, quarry_gfp_t flags) {
    bool wanted = (flags & QUARRY___GFP_ACCOUNT) != 0 && quarry_account_current() != NULL;
    if (UNLIKELY(wanted && size > quarry_core1_area_bytes(p) && !kmem_account_area_is_charged(p)))
        return charge_and_resize(p, size, flags);
    return UNLIKELY(kmem_account_area_is_known(p)) ? known_resize(p, size, flags) : quarry_core1_area_resize(p, size);
}

static void *wanted_try(const void *what, quarry_gfp_t flags) {
    const struct wanted *w = what;
    if (w->old != NULL)
        return resize(w->old, w->size, flags);
    void *p = quarry_core1_area_alloc(w->size, w->align, w->how, w->node, w->caller);
    if (p == NULL || (flags & QUARRY___GFP_ACCOUNT) == 0 ||
        kmem_account_area_charge(p, quarry_core1_area_bytes(p), flags))
        return p;
    quarry_core1_area_free(p);
    return NULL;
}

static void uncharge(const void *p) {
    if (UNLIKELY(kmem_account_area_is_known(p)))
        kmem_account_area_uncharge(p, quarry_core1_area_bytes(p));
}

/* More than the process may ever have, which no effort brings; the kernel looks at all the memory there is. */
static bool never_fits(const struct wanted *w) {
    struct quarry_pressure p;
    (void)quarry_pressure(&p);
    return w->size >= ADDRESSES_BYTES || w->align > GIB || (p.hard_bytes != 0 && w->size > p.hard_bytes);
}

/* Below 4 GiB it is addresses that are missing. */
static void *area_get(const struct wanted *w, quarry_gfp_t flags) {
    static _Atomic(bool) said;
    bool plain = (flags & QUARRY___GFP_NORETRY) == 0; /* a first attempt may ask the shrinkers */
    void *p = plain ? wanted_try(w, flags) : NULL;
    if (LIKELY(p != NULL) || (w->how & AREA_LOW) != 0)
        return p;
    if (never_fits(w))
        return (flags & QUARRY___GFP_NOFAIL) == 0
                   ? NULL
                   : refuse(&said, flags, "quarry: warning: vmalloc of more than there may be refused\n");
    return kmem_gfp_try(wanted_try, w, flags);
}

/* An area reads as zeros, whether that was asked for or not: it is made of memory the kernel just gave. */
static void *area(size_t size, size_t align, quarry_gfp_t flags, unsigned how, int node, const void *caller) {
    static _Atomic(bool) said_empty, said_context;
    flags = kmem_gfp_node_flags(flags);
    if (UNLIKELY(size == 0))
        return refuse(&said_empty, flags, "quarry: warning: vmalloc of 0 bytes refused\n");
    if (UNLIKELY(!kmem_may_block(flags)))
        return refuse(&said_context, flags, "quarry: warning: vmalloc without __GFP_DIRECT_RECLAIM refused\n");
    void *p = area_get(&(struct wanted){NULL, size, align, how, node, caller}, flags);
    if (p == NULL || (flags & QUARRY___GFP_THISNODE) == 0 || quarry_core1_settle_on(p, size, node))
        return p;
    quarry_vfree(p);
    return NULL;
}

static void *plain(size_t size, unsigned how, int node, const void *caller) {
    return area(size, 1, QUARRY_GFP_KERNEL, how, node, caller);
}

void *quarry_vmalloc(unsigned long size) { return plain(size, 0, AREA_ANY_NODE, CALLER); }
void *quarry_vzalloc(unsigned long size) { return plain(size, 0, AREA_ANY_NODE, CALLER); }
void *quarry_vmalloc_user(unsigned long size) { return plain(size, AREA_USER, AREA_ANY_NODE, CALLER); }
void *quarry_vmalloc_node(unsigned long size, int node) { return plain(size, 0, node, CALLER); }
void *quarry_vzalloc_node(unsigned long size, int node) { return plain(size, 0, node, CALLER); }
void *quarry_vmalloc_32(unsigned long size) { return plain(size, AREA_LOW, AREA_ANY_NODE, CALLER); }
void *quarry_vmalloc_32_user(unsigned long size) { return plain(size, AREA_LOW | AREA_USER, AREA_ANY_NODE, CALLER); }
void *quarry_vmalloc_huge(unsigned long size, quarry_gfp_t flags) {
    return area(size, 1, flags, AREA_HUGE, AREA_ANY_NODE, CALLER);
}
void *quarry_vmalloc_huge_node(unsigned long size, quarry_gfp_t flags, int node) {
    return area(size, 1, flags, AREA_HUGE, node, CALLER);
}
void *quarry___vmalloc(unsigned long size, quarry_gfp_t flags) {
    return area(size, 1, flags, 0, AREA_ANY_NODE, CALLER);
}
void *quarry___vmalloc_node(unsigned long size, unsigned long align, quarry_gfp_t flags, int node, const void *caller) {
    return is_pow2(align) ? area(size, align, flags, 0, node, caller) : NULL;
}

void quarry_vfree(const void *p) {
    if (p == NULL)
        return;
    uncharge(p);
    quarry_core1_area_free((void *)(uintptr_t)p);
}

void quarry_vfree_atomic(const void *p) {
    if (p == NULL)
        return;
    uncharge(p);
    quarry_core1_area_free_atomic((void *)(uintptr_t)p);
}

bool quarry_is_vmalloc_addr(const void *p) { return quarry_core1_in_area(p); }

/* What is left beyond the end is zeroed, so that a later call finds zeros when it grows into it again. */
static void *vrealloc_here(char *p, size_t size, size_t usable, quarry_gfp_t flags) {
    if (kmem_may_block(flags))
        (void)resize(p, size, flags);
    if ((flags & QUARRY___GFP_ZERO) != 0)
        memset(p + size, 0, MIN(quarry_core1_area_bytes(p), usable) - size);
    return p;
}

/* To where its pages come from a node, or at a larger alignment than every area has. */
static void *vrealloc_move(const void *p, size_t usable, const struct wanted *w, quarry_gfp_t flags) {
    void *q = area(w->size, w->align, flags, 0, w->node, w->caller);
    if (q == NULL)
        return NULL;
    memcpy(q, p, MIN(usable, w->size));
    quarry_vfree(p);
    return q;
}

/* Pages that are there already are of whatever node. */
static bool vrealloc_moves(const struct wanted *w, size_t usable, quarry_gfp_t flags) {
    bool strict = (flags & QUARRY___GFP_THISNODE) != 0 && w->node >= 0 && quarry_core1_node_sole() != w->node;
    return strict || (w->size > usable && w->align > HPAGE_BYTES);
}

/* w: what is wanted in the place of p. */
static void *vrealloc_by(const void *p, const struct wanted *w, quarry_gfp_t flags) {
    if (w->size == 0) {
        quarry_vfree(p);
        return NULL;
    }
    if (p == NULL)
        return area(w->size, w->align, flags, 0, w->node, w->caller);
    if (((uintptr_t)p & (w->align - 1)) != 0)
        return NULL;
    size_t usable = quarry_core1_area_bytes(p);
    if (UNLIKELY(vrealloc_moves(w, usable, flags)))
        return vrealloc_move(p, usable, w, flags);
    if (w->size <= usable)
        return vrealloc_here((char *)(uintptr_t)p, w->size, usable, flags);
    return kmem_may_block(flags) ? area_get(&(struct wanted){.old = (void *)(uintptr_t)p, .size = w->size}, flags)
                                 : NULL;
}

void *quarry_vrealloc(const void *p, size_t size, quarry_gfp_t flags) {
    return vrealloc_by(p, &(struct wanted){.size = size, .align = 1, .node = AREA_ANY_NODE, .caller = CALLER}, flags);
}

void *quarry_vrealloc_node_align(const void *p, size_t size, unsigned long align, quarry_gfp_t flags, int node) {
    align = MAX(align, 1ul);
    return is_pow2(align)
               ? vrealloc_by(p, &(struct wanted){.size = size, .align = align, .node = node, .caller = CALLER}, flags)
               : NULL;
}

/* --- kvmalloc --- */

COLD static void *kvmalloc_refused(quarry_gfp_t flags) {
    static _Atomic(bool) said;
    return refuse(&said, flags, "quarry: warning: kvmalloc of more than INT_MAX refused\n");
}

static bool falls_back(size_t size, quarry_gfp_t flags) {
    return size > QUARRY_PAGE_SIZE && kmem_may_block(flags) && (flags & QUARRY_GFP_ZONES) == 0;
}

/* Of the first attempt: no more effort, and no word, than for what there is another way to. */
static quarry_gfp_t flags_first(size_t size, quarry_gfp_t flags) {
    return falls_back(size, flags) ? (flags & ~QUARRY___GFP_NOFAIL) | QUARRY___GFP_NORETRY | QUARRY___GFP_NOWARN
                                   : flags;
}

static void *kvmalloc_by(size_t size, size_t align, quarry_gfp_t flags, int node, const void *caller) {
    bool to_area = falls_back(size, flags);
    if (LIKELY(size <= QUARRY_KMALLOC_MAX_SIZE)) {
        void *p = quarry_kmalloc_node(round_up(size, align), flags_first(size, flags), node);
        if (LIKELY(p != NULL) || !to_area)
            return p;
    }
    if (UNLIKELY(size > INT_MAX))
        return kvmalloc_refused(flags);
    return to_area ? area(size, align, flags, 0, node, caller) : NULL;
}

void *quarry_kvmalloc_node(size_t size, quarry_gfp_t flags, int node) {
    return kvmalloc_by(size, 1, flags, node, CALLER);
}

void *quarry_kvmalloc_node_align(size_t size, unsigned long align, quarry_gfp_t flags, int node) {
    bool known = align <= 1 || is_pow2(align);
    return known && align <= QUARRY_KMALLOC_MAX_SIZE ? kvmalloc_by(size, MAX(align, 1ul), flags, node, CALLER) : NULL;
}

void quarry_kvfree(const void *p) {
    if (quarry_core1_in_area(p))
        quarry_vfree(p);
    else
        quarry_kfree(p);
}

void quarry_kvfree_atomic(const void *p) {
    if (quarry_core1_in_area(p))
        quarry_vfree_atomic(p);
    else
        quarry_kfree(p);
}

void quarry_kvfree_sensitive(const void *p, size_t len) {
    if (QUARRY_ZERO_OR_NULL_PTR(p))
        return;
    void *object = (void *)(uintptr_t)p;
    memset(object, 0, len);
    __asm__ volatile("" : : "r"(object) : "memory"); /* the compiler may not drop a store nobody reads */
    quarry_kvfree(object);
}

/* krealloc tries, and waits, no more than kvmalloc's first attempt: an area will do as well. */
static void *kvrealloc_by(const void *p, const struct wanted *w, quarry_gfp_t flags) {
    if (quarry_core1_in_area(p))
        return vrealloc_by(p, w, flags);
    if (w->size <= QUARRY_KMALLOC_MAX_SIZE) {
        void *q = quarry_krealloc_node_align(p, w->size, w->align, flags_first(w->size, flags), w->node);
        if (q != NULL || !falls_back(w->size, flags))
            return q;
    }
    void *q = kvmalloc_by(w->size, w->align, flags, w->node, w->caller);
    if (q == NULL || QUARRY_ZERO_OR_NULL_PTR(p))
        return q;
    memcpy(q, p, MIN(quarry_ksize(p), w->size));
    quarry_kfree(p);
    return q;
}

void *quarry_kvrealloc(const void *p, size_t size, quarry_gfp_t flags) {
    return kvrealloc_by(p, &(struct wanted){.size = size, .align = 1, .node = AREA_ANY_NODE, .caller = CALLER}, flags);
}

void *quarry_kvrealloc_node_align(const void *p, size_t size, unsigned long align, quarry_gfp_t flags, int node) {
    align = MAX(align, 1ul);
    return is_pow2(align) && align <= QUARRY_KMALLOC_MAX_SIZE
               ? kvrealloc_by(p, &(struct wanted){.size = size, .align = align, .node = node, .caller = CALLER}, flags)
               : NULL;
}

void *quarry_kvmemdup(const void *src, size_t len, quarry_gfp_t flags) {
    void *p = kvmalloc_by(len, 1, flags, AREA_ANY_NODE, CALLER);
    if (!QUARRY_ZERO_OR_NULL_PTR(p))
        memcpy(p, src, len);
    return p;
}

/* --- views --- */

static void area_line(void *arg, const struct area_info *info) {
    u32 node_pages[SYS_NODE_IDS_NR] = {0};
    sys_vm_nodes_count(info->addr, info->bytes, node_pages);
    kmem_area_row(arg, &(struct kmem_area_row){.addr = (u64)info->addr,
                                               .bytes = info->bytes,
                                               .caller = (u64)info->caller,
                                               .page_bytes = QUARRY_PAGE_SIZE,
                                               .node_pages = node_pages,
                                               .is_user = info->is_user});
}

size_t quarry_vmallocinfo(char *text, size_t cap) {
    struct kmem_text out = {text, cap, 0};
    kmem_text_str(&out, "");
    quarry_core1_areas_each(area_line, &out);
    return out.len;
}
