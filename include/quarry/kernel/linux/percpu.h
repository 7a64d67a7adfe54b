/* SPDX-License-Identifier: MIT */
/* Per-CPU variables under the kernel's names. The contracts are in <quarry/kmem_percpu.h>. */
#ifndef QUARRY_KERNEL_LINUX_PERCPU_H
#define QUARRY_KERNEL_LINUX_PERCPU_H

#include <linux/gfp.h>
#include <linux/preempt.h>
#include <linux/smp.h>
#include <quarry/kmem_percpu.h>

#define __percpu

/* --- variables --- */

#define DECLARE_PER_CPU(type, name) QUARRY_DECLARE_PER_CPU(type, name)
#define DEFINE_PER_CPU(type, name) QUARRY_DEFINE_PER_CPU(type, name)
#define DECLARE_PER_CPU_READ_MOSTLY(type, name) DECLARE_PER_CPU(type, name)
#define DEFINE_PER_CPU_READ_MOSTLY(type, name) DEFINE_PER_CPU(type, name)
#define DECLARE_PER_CPU_ALIGNED(type, name) QUARRY_DECLARE_PER_CPU_ALIGNED(type, name)
#define DEFINE_PER_CPU_ALIGNED(type, name) QUARRY_DEFINE_PER_CPU_ALIGNED(type, name)
#define DECLARE_PER_CPU_SHARED_ALIGNED(type, name) QUARRY_DECLARE_PER_CPU_SHARED_ALIGNED(type, name)
#define DEFINE_PER_CPU_SHARED_ALIGNED(type, name) QUARRY_DEFINE_PER_CPU_SHARED_ALIGNED(type, name)
#define EXPORT_PER_CPU_SYMBOL(name) QUARRY_PERCPU_ASSERT(sizeof(name) != 0, "declared")
#define EXPORT_PER_CPU_SYMBOL_GPL(name) EXPORT_PER_CPU_SYMBOL(name)

#define __alloc_percpu_gfp(size, align, flags) quarry___alloc_percpu_gfp(size, align, flags)
#define __alloc_percpu(size, align) quarry___alloc_percpu(size, align)
#define alloc_percpu_gfp(type, flags) quarry_alloc_percpu_gfp(type, flags)
#define alloc_percpu(type) alloc_percpu_gfp(type, GFP_KERNEL)
static inline void free_percpu(void *p) { quarry_free_percpu(p); }
DEFINE_FREE(free_percpu, void *, free_percpu(_T))

/* --- copies by address --- */

#define per_cpu_ptr(p, cpu) quarry_per_cpu_ptr(p, cpu)
#define per_cpu(name, cpu) quarry_per_cpu(name, cpu)
#define this_cpu_ptr(p) quarry_this_cpu_ptr(p)
#define raw_cpu_ptr(p) quarry_raw_cpu_ptr(p)
#define get_cpu_ptr(p) quarry_get_cpu_ptr(p)
#define put_cpu_ptr(p) quarry_put_cpu_ptr(p)
#define get_cpu_var(name) quarry_get_cpu_var(name)
#define put_cpu_var(name) quarry_put_cpu_var(name)

/* --- operations --- */

#define this_cpu_read(pcp) quarry_this_cpu_read(pcp)
#define this_cpu_write(pcp, value) quarry_this_cpu_write(pcp, value)
#define this_cpu_add(pcp, value) quarry_this_cpu_add(pcp, value)
#define this_cpu_sub(pcp, value) quarry_this_cpu_sub(pcp, value)
#define this_cpu_inc(pcp) quarry_this_cpu_inc(pcp)
#define this_cpu_dec(pcp) quarry_this_cpu_dec(pcp)
#define this_cpu_and(pcp, value) quarry_this_cpu_and(pcp, value)
#define this_cpu_or(pcp, value) quarry_this_cpu_or(pcp, value)
#define this_cpu_add_return(pcp, value) quarry_this_cpu_add_return(pcp, value)
#define this_cpu_sub_return(pcp, value) quarry_this_cpu_sub_return(pcp, value)
#define this_cpu_inc_return(pcp) quarry_this_cpu_inc_return(pcp)
#define this_cpu_dec_return(pcp) quarry_this_cpu_dec_return(pcp)
#define this_cpu_xchg(pcp, value) quarry_this_cpu_xchg(pcp, value)
#define this_cpu_cmpxchg(pcp, expected, value) quarry_this_cpu_cmpxchg(pcp, expected, value)
#define this_cpu_try_cmpxchg(pcp, expected, value) quarry_this_cpu_try_cmpxchg(pcp, expected, value)

#define __this_cpu_read(pcp) quarry___this_cpu_read(pcp)
#define __this_cpu_write(pcp, value) quarry___this_cpu_write(pcp, value)
#define __this_cpu_add(pcp, value) quarry___this_cpu_add(pcp, value)
#define __this_cpu_sub(pcp, value) quarry___this_cpu_sub(pcp, value)
#define __this_cpu_inc(pcp) quarry___this_cpu_inc(pcp)
#define __this_cpu_dec(pcp) quarry___this_cpu_dec(pcp)
#define __this_cpu_and(pcp, value) quarry___this_cpu_and(pcp, value)
#define __this_cpu_or(pcp, value) quarry___this_cpu_or(pcp, value)
#define __this_cpu_add_return(pcp, value) quarry___this_cpu_add_return(pcp, value)
#define __this_cpu_sub_return(pcp, value) quarry___this_cpu_sub_return(pcp, value)
#define __this_cpu_inc_return(pcp) quarry___this_cpu_inc_return(pcp)
#define __this_cpu_dec_return(pcp) quarry___this_cpu_dec_return(pcp)
#define __this_cpu_xchg(pcp, value) quarry___this_cpu_xchg(pcp, value)
#define __this_cpu_cmpxchg(pcp, expected, value) quarry___this_cpu_cmpxchg(pcp, expected, value)
#define __this_cpu_try_cmpxchg(pcp, expected, value) quarry___this_cpu_try_cmpxchg(pcp, expected, value)
#define raw_cpu_read(pcp) quarry_raw_cpu_read(pcp)
#define raw_cpu_write(pcp, value) quarry_raw_cpu_write(pcp, value)
#define raw_cpu_add(pcp, value) quarry_raw_cpu_add(pcp, value)
#define raw_cpu_sub(pcp, value) quarry_raw_cpu_sub(pcp, value)
#define raw_cpu_inc(pcp) quarry_raw_cpu_inc(pcp)
#define raw_cpu_dec(pcp) quarry_raw_cpu_dec(pcp)
#define raw_cpu_and(pcp, value) quarry_raw_cpu_and(pcp, value)
#define raw_cpu_or(pcp, value) quarry_raw_cpu_or(pcp, value)
#define raw_cpu_add_return(pcp, value) quarry_raw_cpu_add_return(pcp, value)
#define raw_cpu_sub_return(pcp, value) quarry_this_cpu_sub_return(pcp, value)
#define raw_cpu_inc_return(pcp) quarry_this_cpu_inc_return(pcp)
#define raw_cpu_dec_return(pcp) quarry_this_cpu_dec_return(pcp)
#define raw_cpu_xchg(pcp, value) quarry_raw_cpu_xchg(pcp, value)
#define raw_cpu_cmpxchg(pcp, expected, value) quarry_raw_cpu_cmpxchg(pcp, expected, value)
#define raw_cpu_try_cmpxchg(pcp, expected, value) quarry_raw_cpu_try_cmpxchg(pcp, expected, value)

#endif
