/* SPDX-License-Identifier: MIT */
/* RCU as memory code needs it, under the kernel's names. The contracts are in <quarry/kmem_rcu.h>. Not beside liburcu's
 * headers in one file, which have the same names. */
#ifndef QUARRY_KERNEL_LINUX_RCUPDATE_H
#define QUARRY_KERNEL_LINUX_RCUPDATE_H

#include <linux/types.h>
#include <quarry/kmem_rcu.h>

#define __rcu
#define rcu_head quarry_rcu_head
#define callback_head quarry_rcu_head

static inline void rcu_read_lock(void) { quarry_rcu_read_lock(); }
static inline void rcu_read_unlock(void) { quarry_rcu_read_unlock(); }
static inline void synchronize_rcu(void) { quarry_synchronize_rcu(); }

#define kfree_rcu(p, member) quarry_kfree_rcu(p, member)
#define kvfree_rcu(p, member) quarry_kfree_rcu(p, member)
static inline void kfree_rcu_mightsleep(const void *p) { quarry_kvfree_rcu_mightsleep(p); }
static inline void kvfree_rcu_mightsleep(const void *p) { quarry_kvfree_rcu_mightsleep(p); }
static inline void kvfree_rcu_barrier(void) { quarry_kvfree_rcu_barrier(); }
/* Waits for all caches' objects. */
struct quarry_kmem_cache;
static inline void kvfree_rcu_barrier_on_cache(struct quarry_kmem_cache *s) {
    (void)s;
    quarry_kvfree_rcu_barrier();
}
static inline void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head)) { quarry_call_rcu(head, func); }
static inline void rcu_barrier(void) { quarry_kvfree_rcu_barrier(); }

/* --- pointers to what readers look at --- */

/* order: acquire, where the kernel has the dependency alone: compilers may break that. */
#define rcu_dereference(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define rcu_dereference_check(p, condition) ((void)(condition), rcu_dereference(p))
#define rcu_dereference_raw(p) rcu_dereference(p)
#define rcu_access_pointer(p) __atomic_load_n(&(p), __ATOMIC_RELAXED)
#define rcu_dereference_protected(p, condition) ((void)(condition), rcu_access_pointer(p))
#define rcu_assign_pointer(p, value) __atomic_store_n(&(p), (value), __ATOMIC_RELEASE)
#define RCU_INIT_POINTER(p, value) __atomic_store_n(&(p), (value), __ATOMIC_RELAXED)
#define rcu_replace_pointer(p, value, condition)                                                                       \
    ((void)(condition), __atomic_exchange_n(&(p), (value), __ATOMIC_ACQ_REL))

#endif
