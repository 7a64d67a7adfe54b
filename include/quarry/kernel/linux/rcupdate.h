/* SPDX-License-Identifier: MIT */
/* RCU as memory code needs it, under the kernel's names. The contracts are in <quarry/kmem_rcu.h>. Not beside liburcu's
 * headers in one file, which have the same names. */
#ifndef QUARRY_KERNEL_LINUX_RCUPDATE_H
#define QUARRY_KERNEL_LINUX_RCUPDATE_H

#include <linux/cleanup.h>
#ifndef __cplusplus /* which has attributes of some of these names */
#include <linux/compiler.h>
#endif
#include <linux/types.h>
#include <quarry/kmem_rcu.h>

#define __rcu
#define rcu_head quarry_rcu_head
#define callback_head quarry_rcu_head

static inline void rcu_read_lock(void) { quarry_rcu_read_lock(); }
static inline void rcu_read_unlock(void) { quarry_rcu_read_unlock(); }
DEFINE_LOCK_GUARD_0(rcu, rcu_read_lock(), rcu_read_unlock(), bool unused) /* guard(rcu)(); */
static inline void synchronize_rcu(void) { quarry_synchronize_rcu(); }
static inline void synchronize_rcu_expedited(void) { quarry_synchronize_rcu(); }

#define kfree_rcu(p, member) quarry_kfree_rcu(p, member)
#define kvfree_rcu(p, member) quarry_kvfree_rcu(p, member)
static inline void kfree_rcu_mightsleep(const void *p) { quarry_kfree_rcu_mightsleep(p); }
static inline void kvfree_rcu_mightsleep(const void *p) { quarry_kvfree_rcu_mightsleep(p); }
static inline void kvfree_rcu_barrier(void) { quarry_kvfree_rcu_barrier(); }
static inline void kvfree_rcu_barrier_on_cache(struct quarry_kmem_cache *s) { quarry_kvfree_rcu_barrier_on_cache(s); }
static inline void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head)) { quarry_call_rcu(head, func); }
static inline void call_rcu_hurry(struct rcu_head *head, void (*func)(struct rcu_head *head)) { call_rcu(head, func); }
static inline void rcu_barrier(void) { quarry_rcu_barrier(); }

#define rcu_dereference(p) quarry_rcu_dereference(p)
#define rcu_dereference_check(p, condition) quarry_rcu_dereference_check(p, condition)
#define rcu_dereference_raw(p) quarry_rcu_dereference_raw(p)
#define rcu_access_pointer(p) quarry_rcu_access_pointer(p)
#define rcu_dereference_protected(p, condition) quarry_rcu_dereference_protected(p, condition)
#define rcu_pointer_handoff(p) (p)
#define RCU_INITIALIZER(value) (value)
#define rcu_assign_pointer(p, value) quarry_rcu_assign_pointer(p, value)
#define RCU_INIT_POINTER(p, value) QUARRY_RCU_INIT_POINTER(p, value)
#define rcu_replace_pointer(p, value, condition) quarry_rcu_replace_pointer(p, value, condition)

#endif
