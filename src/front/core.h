/* SPDX-License-Identifier: MIT */
/*
 * What libquarry-kmem needs of the heap: the only names the two libraries share besides <quarry/quarry.h>. Private to
 * quarry, but exported, because there must be one heap: libquarry-kmem has no state of its own and calls libquarry. The
 * digit is the version: a change of meaning gets a new name, so that libraries of two builds do not link instead of
 * misunderstanding each other. docs/adr/0031 has the alternatives. No function touches errno.
 */
#ifndef QUARRY_FRONT_CORE_H
#define QUARRY_FRONT_CORE_H

#include "front/names.h"
#include "quarry/kmem_class.h"

/* malloc, but for errno: at multiples of the largest power of two that divides size, up to 2 MiB. */
EXPORT void *quarry_core1_alloc(size_t size);
/* The same, for a size whose class (of this build's classes) the caller knows. */
EXPORT void *QUARRY_CORE_CLASS_ALLOC(unsigned long cls, size_t size);
/* An object of the class out of this CPU's magazine, as it was freed, or NULL: then there is more to do than this. */
EXPORT void *QUARRY_CORE_CLASS_POP(unsigned long cls);
/* An object without system call or waiting, even on top of any code of quarry's: out of a magazine, the depot, slabs
 * that have room, or, with reserve, the reserve. NULL when there is none, and above the largest size class. */
EXPORT void *quarry_core1_alloc_atomic(size_t size, bool reserve);
/* `inside` lies in libquarry-kmem, whose handler of faults is then not taken for the program's. Once, when it
 * is loaded, by dlopen also while there are threads. */
EXPORT void quarry_core1_ally(const void *inside);
/* From now on there is a reserve. */
EXPORT void quarry_core1_reserve_start(void);
/* What quarry_core1_alloc asks when memory is out: fn(size), in the thread that allocates, with nothing held. */
EXPORT void quarry_core1_alloc_failed(void *(*fn)(size_t size));
/* The same for quarry_core1_class_alloc: fn(class). Not asked for a class that is debugged: what gives its slots is. */
struct quarry_core1_class;
EXPORT void quarry_core1_class_failed(void *(*fn)(const struct quarry_core1_class *class));
/* The functions of engine/engine.h of a node, by the kernel's number; negative: this thread's. strict: all of it lies
 * there, or NULL. */
EXPORT void *quarry_core1_alloc_node(size_t size, int node, bool strict);
/* Whether memory of this heap lies there, brought into memory and moved where the kernel can. May enter the system. */
EXPORT bool quarry_core1_settle_on(void *p, size_t bytes, int node);
/* The number of the one node whose memory this process may use; negative: there are several. */
EXPORT int quarry_core1_node_sole(void);
/* Zeroed, size bytes of it. */
EXPORT void *quarry_core1_zalloc(size_t size);
/* align: a power of two up to 1 GiB. */
EXPORT void *quarry_core1_alloc_aligned(size_t align, size_t size);
/* Takes what any of the above gave, and NULL. Never waits, and makes no system call: what is to be given back to the
 * system is left to the next slow call of anybody who may block. */
EXPORT void quarry_core1_free(void *p);
/* The same of up to nr objects, from the first on, until one is no object of a size class, NULL included; returns how
 * many. Those of one class that follow each other are quicker. */
EXPORT size_t quarry_core1_free_bulk(size_t nr, void *const *objs);
/* Pages: the functions of engine/pages.h and buddy/buddy.h. struct quarry_page is struct buddy_page. Flags: those of
 * enum buddy_flags. */
struct quarry_page;
EXPORT struct quarry_page *quarry_core1_pages_alloc(unsigned order, unsigned flags);
EXPORT struct quarry_page *quarry_core1_pages_alloc_node(unsigned order, unsigned flags, int node);
EXPORT void quarry_core1_page_own(struct quarry_page *page, u16 owner);
/* struct buddy_given. */
struct quarry_core1_given {
    u32 owner, pages_nr;
};
EXPORT struct quarry_core1_given quarry_core1_pages_free(struct quarry_page *page, unsigned order);
EXPORT struct quarry_core1_given quarry_core1_pages_free_at(void *p, unsigned order);
EXPORT void quarry_core1_pages_split(struct quarry_page *page, unsigned order);
EXPORT void quarry_core1_page_get(struct quarry_page *page);
EXPORT struct quarry_core1_given quarry_core1_page_put(struct quarry_page *page);
EXPORT unsigned quarry_core1_page_refs(const struct quarry_page *page);
EXPORT struct quarry_page *quarry_core1_page_head(struct quarry_page *page);
EXPORT unsigned quarry_core1_page_compound_order(const struct quarry_page *page);
/* NULL where there are no pages. */
EXPORT struct quarry_page *quarry_core1_page_of(const void *p);
/* Free blocks of each order. */
EXPORT void quarry_core1_pages_free_nr(u64 *ret_nr_by_order);
EXPORT size_t quarry_core1_page_bytes(void);
EXPORT u64 quarry_core1_dma_address(const void *p, size_t bytes);
EXPORT const char *quarry_core1_dma_refusal(void);
/* Physical frame of the page at p, which is brought into memory; 0: the kernel does not say. */
EXPORT u64 quarry_core1_frame_of(void *p);

/* vmalloc areas: engine/areas.h. Flags: those of enum area_flags. */
EXPORT void *quarry_core1_area_alloc(size_t size, size_t align, unsigned flags, int node, const void *caller);
EXPORT void quarry_core1_area_free(void *p);
/* The same without system call: it is unmapped by the next slow call of anybody who may block. */
EXPORT void quarry_core1_area_free_atomic(void *p);
EXPORT void *quarry_core1_area_resize(void *p, size_t size);
/* Bytes usable; p is the start of an area, else misuse. */
EXPORT size_t quarry_core1_area_bytes(const void *p);
/* Whether an address lies in an area. */
EXPORT bool quarry_core1_in_area(const void *p);
struct area_info;
EXPORT void quarry_core1_areas_each(void (*fn)(void *arg, const struct area_info *info), void *arg);

/* Constant data of the program itself, which stays as long as the process. */
EXPORT bool quarry_core1_is_constant(const void *p);

/* The line of an enum misuse_kind, and abort. */
EXPORT _Noreturn void quarry_core1_misuse(unsigned kind, const void *p, size_t object_bytes, const char *state);
/* This thread serves libquarry-kmem: from now on it calls no callback of the program's for memory. */
EXPORT void quarry_core1_thread_serve(void);
/* Lines on stderr, by one write(2). */
EXPORT void quarry_core1_warn(const char *line);

/* --- classes of caches --- */

/* The head of a cache: what the heap needs to serve it. Written by quarry_core1_class_make alone. */
struct quarry_core1_class {
    unsigned slot; /* of the magazines; of none that ever holds an object where the class has no magazines */
    unsigned id;
};
struct quarry_core1_class_make {
    size_t size_bytes;    /* of an object: a multiple of 16 and of align_bytes, 16 bytes to 1 MiB */
    size_t align_bytes;   /* a power of two, 16 bytes to 1 MiB */
    void (*ctor)(void *); /* once for each object of a new slab; may be NULL */
    unsigned capacity;    /* objects of a magazine at most; 0: as malloc's classes of this size */
    bool pinned;          /* slabs are given back by grace_begin and grace_end alone, pages inside them never */
    bool debugged;        /* see below; ctor is required then */
    bool reclaimable;     /* objects are short-lived, and slabs kept apart from others' by the hugepage */
};
/* 0, or -ENOMEM when there is no memory or about 900 classes are made. This, unmake and look: one call at a time. */
EXPORT int quarry_core1_class_make(struct quarry_core1_class *ret_class, const struct quarry_core1_class_make *make);
/* 0: gone. Positive: so many objects are out, and all others in their slabs. -EBUSY: none is out, but the class cannot
 * be unmade: it is pinned, or its magazines are out of reach. Nobody may use the class meanwhile. */
EXPORT long quarry_core1_class_unmake(const struct quarry_core1_class *class);
/* A grace period has passed since a pinned class was last used: it is pinned no more. */
EXPORT void quarry_core1_class_unpin(const struct quarry_core1_class *class);
/* And pinned again, while nobody uses it. */
EXPORT void quarry_core1_class_pin(const struct quarry_core1_class *class);
/* slab_grace_begin and slab_grace_end of slab/made.h; all: no class keeps a few. And what to call when that would give
 * memory back: fn, in any thread that may block. */
EXPORT unsigned quarry_core1_grace_begin(bool all);
EXPORT void quarry_core1_grace_end(void);
EXPORT void quarry_core1_grace_wanted(void (*fn)(void));
/* An object; NULL when memory is out. */
EXPORT void *quarry_core1_class_alloc(const struct quarry_core1_class *class);
/* The same of a node, as quarry_core1_alloc_node(); NULL of a class that is debugged. */
EXPORT void *quarry_core1_class_alloc_node(const struct quarry_core1_class *class, int node, bool strict);
/* The same without system call or waiting; reserve: the reserve may be drawn on. NULL where there is nothing. */
EXPORT void *quarry_core1_class_alloc_atomic(const struct quarry_core1_class *class, bool reserve);
/* Up to nr objects; fewer where memory is out. */
EXPORT size_t quarry_core1_class_alloc_bulk(const struct quarry_core1_class *class, size_t nr, void **objs);
/* An object of any class, and NULL, said to be of this one's cache, which may be NULL too. As quarry_core1_free. */
EXPORT void quarry_core1_class_free(const struct quarry_core1_class *class, void *p);
/* Objects of any class, and NULL; those of this one are quicker. */
EXPORT void quarry_core1_class_free_bulk(const struct quarry_core1_class *class, size_t nr, void *const *objs);
/* Empties magazines and gives free slabs back; returns how many slabs are left. */
EXPORT size_t quarry_core1_class_shrink(const struct quarry_core1_class *class);
struct quarry_core1_class_info {
    size_t slab_bytes, objs_per_slab;
    size_t slabs, full, partial,
        empty;          /* all, and those of which all, some, no objects are handed out or in magazines */
    size_t objs_out;    /* handed out, or in magazines */
    size_t objs_cached; /* in magazines */
};
EXPORT void quarry_core1_class_look(const struct quarry_core1_class *class, struct quarry_core1_class_info *ret_info);
/* The same of all classes, malloc's too, by id, in one walk over the heap. Returns how many rows were written. The
 * first is of no class; others may be of none now, and have no slab then. */
struct quarry_core1_class_row {
    size_t slot_bytes;
    struct quarry_core1_class_info info;
};
enum { QUARRY_CORE1_CLASSES_MAX = 1024 };
EXPORT unsigned quarry_core1_classes_look(struct quarry_core1_class_row *ret_rows, unsigned cap);
/* For each slab of a class that nobody uses: fn(arg, slab, objects out, NULL), then for each object that is out
 * fn(arg, slab, its index, object). */
typedef void quarry_core1_out_fn(void *arg, void *slab, size_t nr, void *object);
EXPORT void quarry_core1_class_each_out(const struct quarry_core1_class *class, quarry_core1_out_fn *fn, void *arg);

/* --- objects in pages and areas --- */

/* What free and its kin ask about an address in pages or in an area. */
struct engine_lent;
/* Before the first such object is handed out; again is no matter. The table is not copied. */
EXPORT void quarry_core1_lent_start(const struct engine_lent *lent);

/* --- debugging --- */

/*
 * A class that is debugged has no magazines: whatever is done with an object of one comes to these functions, which are
 * called with nothing held and are async-signal-safe. A cache's head has, in the place of the id, a handle of
 * QUARRY_CORE1_HANDLES and above that they gave it; the class itself they use by its own id.
 */
enum { QUARRY_CORE1_HANDLES = 1024 };
enum quarry_core1_context { QUARRY_CORE1_MAY_BLOCK, QUARRY_CORE1_ATOMIC, QUARRY_CORE1_ATOMIC_RESERVE };
struct quarry_core1_debug {
    void *(*alloc)(unsigned handle, enum quarry_core1_context context);
    /* p: any address in a slab of such a class. said: the cache it was said to be of, or NULL. */
    void (*free)(void *p, const struct quarry_core1_class *said);
    size_t (*usable)(const void *p); /* 0: no object is there */
    /* With option harden: p is about to be freed, and said to be of this cache. */
    void (*said)(const void *p, const struct quarry_core1_class *said);
};
/* Once, before the first such class is made. The table is not copied. */
EXPORT void quarry_core1_debug_start(const struct quarry_core1_debug *debug);
/* From now on quarry_core1_alloc asks this first; false: the request is none of its. Takes all allocation off the fast
 * path, for good. */
EXPORT void quarry_core1_debug_kmalloc(bool (*alloc)(size_t size, void **ret_p));
/* What the class gave goes back to it. Without system call or waiting. */
EXPORT void quarry_core1_debug_free(void *slot);
/* The slab that p lies in, of any class and of one that is debugged; false: in none. Where magazines are, an object in
 * one of them counts as out. */
struct quarry_core1_slab {
    unsigned id; /* of the class */
    char *base;
    size_t slab_bytes, slot_bytes;
    unsigned objs_nr;
    unsigned out_nr; /* taken out of the slab; may be stale */
    unsigned index;  /* of the slot p lies in; objs_nr or above: behind the last one */
    bool is_out;     /* that slot is */
};
EXPORT bool quarry_core1_slab_look(const void *p, struct quarry_core1_slab *ret_slab);
EXPORT bool quarry_core1_debug_look(const void *p, struct quarry_core1_slab *ret_slab);
/* p, an object that is out: from now on frees of its slab's objects are asked of who debugs, as if its class had been
 * made for that. False: it is of malloc's classes. */
EXPORT bool quarry_core1_slab_watch(const void *p);
/* The options, as they were written; at NULL: not given. Valid as long as the environment of the start. */
struct quarry_core1_debug_options {
    const char *slab_debug, *failslab;
    size_t slab_debug_bytes, failslab_bytes;
    bool abort;  /* after a report */
    bool zero;   /* option zero */
    bool harden; /* option harden */
};
EXPORT void quarry_core1_debug_options(struct quarry_core1_debug_options *ret_options);

/* --- waiting --- */

/* Sleeps while *word is expected, at most ms milliseconds; returns for no reason now and then. */
EXPORT void quarry_core1_wait(unsigned *word, unsigned expected, unsigned ms);
/* Wakes up to nr who sleep on word. */
EXPORT void quarry_core1_wake(unsigned *word, unsigned nr);

#endif
