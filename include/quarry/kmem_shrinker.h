/* SPDX-License-Identifier: MIT */
/*
 * Shrinkers, with a prefix; <linux/shrinker.h> puts the kernel's names on these. A shrinker is a cache of the program
 * that can free objects when memory runs short. It is called when kmalloc finds none, and, for malloc as well, when
 * memory in use passes QUARRY_LIMIT_SOFT or an allocation meets QUARRY_LIMIT_HARD. Link with -lquarry-kmem -lquarry.
 *
 * A shrinker runs in the thread that allocates, inside its call, with whatever locks the program holds there: it should
 * only try for them. Shrinkers never nest, one thread runs them at a time, and they do not run in a thread of the
 * library's own, as that of call_rcu is. Nor do they run in a thread that has a signal blocked for which the program
 * has a handler, or one of SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and SIGTRAP (unless all signals are blocked), which
 * keeps them out of signal handlers. A handler of another signal that is installed with SA_RESETHAND, or with
 * SA_NODEFER and an empty mask, or that calls signal(nr, SIG_DFL) first, is not seen so, and must not allocate while
 * there are shrinkers. They may allocate, free, and unregister themselves. Valid as C11 and C++17.
 */
#ifndef QUARRY_KMEM_SHRINKER_H
#define QUARRY_KMEM_SHRINKER_H

#include "quarry/kmem.h"

#ifdef __cplusplus
extern "C" {
#define QUARRY_NOTHROW noexcept
#else
#define QUARRY_NOTHROW
#endif

struct quarry_shrink_control {
    quarry_gfp_t gfp_mask; /* of the allocation, less what the thread's scopes forbid: without __GFP_FS and __GFP_IO the
                              shrinker must not enter what the caller may be inside */
    int nid;               /* 0: there is one heap */
    unsigned long nr_to_scan;
    unsigned long nr_scanned; /* nr_to_scan; a shrinker that looked at fewer or more may say so */
};

#define QUARRY_SHRINK_STOP (~0ul)      /* from scan_objects: nothing can be done now */
#define QUARRY_SHRINK_EMPTY (~0ul - 1) /* from count_objects: it has none */
#define QUARRY_DEFAULT_SEEKS 2
enum { QUARRY_SHRINKER_ENOMEM = 12, QUARRY_SHRINKER_EINVAL = 22 };

struct quarry_shrinker {
    /* How many objects could be freed; 0 or QUARRY_SHRINK_EMPTY: none. */
    unsigned long (*count_objects)(struct quarry_shrinker *, struct quarry_shrink_control *);
    /* Looks at nr_to_scan of them; returns how many were freed, or QUARRY_SHRINK_STOP. */
    unsigned long (*scan_objects)(struct quarry_shrinker *, struct quarry_shrink_control *);
    long batch; /* the most nr_to_scan; 0: 128 */
    int seeks;  /* what an object costs to make again; more: fewer are asked for. 0: nothing */
    unsigned flags;
    void *private_data; /* the program's own */
    struct quarry_shrinker *next;
};

/* Zeroed, with seeks set; flags are kept as they are: there are no nodes or groups to be aware of. NULL: memory is out.
 */
struct quarry_shrinker *quarry_shrinker_alloc(unsigned flags) QUARRY_NOTHROW;
/* 0; -EINVAL without both functions; -ENOMEM when the heap takes no callback any more. Not async-signal-safe. */
int quarry_shrinker_register(struct quarry_shrinker *s) QUARRY_NOTHROW;
/* When it returns the shrinker does not run and will not; inside it, after this call of it. One that is not registered
 * is let pass. Not async-signal-safe. */
void quarry_shrinker_unregister(struct quarry_shrinker *s) QUARRY_NOTHROW;
/* The same, and frees what quarry_shrinker_alloc gave; NULL is let pass. */
void quarry_shrinker_free(struct quarry_shrinker *s) QUARRY_NOTHROW;

#undef QUARRY_NOTHROW
#ifdef __cplusplus
}
#endif

#endif
