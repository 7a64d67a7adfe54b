/* SPDX-License-Identifier: MIT */
/*
 * Freeing after a grace period, with a prefix; <linux/rcupdate.h> puts the kernel's names on these. Grace periods are
 * liburcu's, of its flavour memb, or of what the program plugs in; a thread of libquarry-kmem waits for them, which
 * starts with the first use. Link with -lquarry-kmem -lquarry.
 *
 * A child of fork has the objects that waited, but with memb a thread of the parent that was reading at that moment
 * reads for ever in the child, where nothing is freed then. Valid as C11 and C++17, with GNU's statement expressions
 * and typeof.
 *
 * What is called async-signal-safe tells handlers by a signal that is blocked and handled, or a blocked signal of
 * faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP) unless all are blocked: there it starts no thread. A
 * handler that is not seen so (of another signal, installed with SA_RESETHAND, or with SA_NODEFER and an empty mask, or
 * that has taken its own place away by signal(nr, SIG_DFL)) must not be the first to hand an object over.
 */
#ifndef QUARRY_KMEM_RCU_H
#define QUARRY_KMEM_RCU_H

#include "quarry/kmem.h"

#ifdef __cplusplus
extern "C" {
#define QUARRY_NOTHROW noexcept
#define QUARRY_RCU_ASSERT(...) static_assert(__VA_ARGS__)
#else
#define QUARRY_NOTHROW
#define QUARRY_RCU_ASSERT(...) _Static_assert(__VA_ARGS__)
#endif

/* --- flavours --- */

/* What there must be to wait for readers. All functions are called from any thread; those that may be NULL then do
 * nothing. */
struct quarry_rcu_flavour {
    void (*read_lock)(void);   /* may be NULL where readers are bounded by quiescent states */
    void (*read_unlock)(void); /* likewise */
    void (*synchronize)(void); /* returns when every reader that was inside has been outside; waits */
    /* Called in a thread before its first read_lock, and when it ends. NULL: threads need not be known, or the program
     * makes them known itself. */
    void (*thread_register)(void);
    void (*thread_unregister)(void);
    /* Around what a thread waits for in quarry_kvfree_rcu_barrier(), which may be another's grace period. Needed where
     * a thread that is known and waits holds grace periods up. */
    void (*thread_offline)(void);
    void (*thread_online)(void);
};

/* The flavour to use, before any other function of this header and the first cache of QUARRY_SLAB_TYPESAFE_BY_RCU;
 * *flavour must stay. 0; -EINVAL without synchronize;
 * -EBUSY when one is in use. */
int quarry_rcu_use(const struct quarry_rcu_flavour *flavour) QUARRY_NOTHROW;
enum { QUARRY_RCU_EBUSY = 16, QUARRY_RCU_EINVAL = 22 };

/* --- readers --- */

/* Sections nest. Async-signal-safe but for a thread's first with a flavour that must know it, as memb does. Do not wait
 * for a grace period inside. */
void quarry_rcu_read_lock(void) QUARRY_NOTHROW;
void quarry_rcu_read_unlock(void) QUARRY_NOTHROW;
void quarry_synchronize_rcu(void) QUARRY_NOTHROW;

/* --- freeing --- */

struct quarry_rcu_head {
    struct quarry_rcu_head *next;
    void (*func)(struct quarry_rcu_head *head);
};

enum { QUARRY_RCU_OFFSET_MAX = 4095 };

/* Frees what kvfree() takes (an object of kmalloc, of a cache or of malloc, or a vmalloc area), of which head is offset
 * bytes inside, after a grace period. Needs no memory,
 * waits for nobody, and is async-signal-safe; it may wake the thread that frees, which is a system call, and the first
 * one starts it. The object may be read meanwhile, but for head. */
void quarry_kvfree_rcu_head(struct quarry_rcu_head *head, size_t offset) QUARRY_NOTHROW;
/* The same for an object without a head; NULL is let pass. May wait: without memory it waits for the grace period. */
void quarry_kvfree_rcu_mightsleep(const void *p) QUARRY_NOTHROW;
/* Calls func(head) after a grace period, in the thread that frees. func must not wait for grace periods. */
void quarry_call_rcu(struct quarry_rcu_head *head, void (*func)(struct quarry_rcu_head *head)) QUARRY_NOTHROW;
/* Returns when all that was handed to the functions above before is freed, or called. Not in a reader's section, and
 * not async-signal-safe. */
void quarry_kvfree_rcu_barrier(void) QUARRY_NOTHROW;

/* p points to a structure with a struct quarry_rcu_head member at an offset below 4096; NULL is let pass. */
#define quarry_kfree_rcu(p, member)                                                                                    \
    __extension__({                                                                                                    \
        __typeof__(p) quarry_p_ = (p);                                                                                 \
        QUARRY_RCU_ASSERT(offsetof(__typeof__(*quarry_p_), member) <= QUARRY_RCU_OFFSET_MAX, "offset below 4096");     \
        if (quarry_p_)                                                                                                 \
            quarry_kvfree_rcu_head(&quarry_p_->member, offsetof(__typeof__(*quarry_p_), member));                      \
    })

#define quarry_kvfree_rcu(p, member) quarry_kfree_rcu(p, member)
#define quarry_kfree_rcu_mightsleep(p) quarry_kvfree_rcu_mightsleep(p)
/* Waits for all caches' objects. */
struct quarry_kmem_cache;
static inline void quarry_kvfree_rcu_barrier_on_cache(struct quarry_kmem_cache *s) QUARRY_NOTHROW {
    (void)s;
    quarry_kvfree_rcu_barrier();
}
/* Calls of functions wait in the same rounds. */
static inline void quarry_rcu_barrier(void) QUARRY_NOTHROW { quarry_kvfree_rcu_barrier(); }

/* --- pointers to what readers look at --- */

/* order: acquire, where the kernel has the dependency alone: compilers may break that. */
#define quarry_rcu_dereference(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define quarry_rcu_dereference_check(p, condition) ((void)(condition), quarry_rcu_dereference(p))
#define quarry_rcu_dereference_raw(p) quarry_rcu_dereference(p)
#define quarry_rcu_access_pointer(p) __atomic_load_n(&(p), __ATOMIC_RELAXED)
#define quarry_rcu_dereference_protected(p, condition) ((void)(condition), quarry_rcu_access_pointer(p))
#define quarry_rcu_assign_pointer(p, value) __atomic_store_n(&(p), (value), __ATOMIC_RELEASE)
#define QUARRY_RCU_INIT_POINTER(p, value) __atomic_store_n(&(p), (value), __ATOMIC_RELAXED)
#define quarry_rcu_replace_pointer(p, value, condition)                                                                \
    ((void)(condition), __atomic_exchange_n(&(p), (value), __ATOMIC_ACQ_REL))

#undef QUARRY_NOTHROW
#ifdef __cplusplus
}
#endif

#endif
