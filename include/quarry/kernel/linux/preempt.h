/* SPDX-License-Identifier: MIT */
/* What stands for switching preemption off: staying with this CPU's copy of per-CPU variables, as get_cpu() does, whose
 * contract is in <quarry/kmem_percpu.h>. The thread may be moved; nobody else who does the same comes to the copy. */
#ifndef QUARRY_KERNEL_LINUX_PREEMPT_H
#define QUARRY_KERNEL_LINUX_PREEMPT_H

#include <linux/cleanup.h>
#include <linux/smp.h>

#define preempt_disable() ((void)get_cpu())
#define preempt_enable() put_cpu()
#define preempt_disable_notrace() preempt_disable()
#define preempt_enable_notrace() preempt_enable()
#define preempt_enable_no_resched() preempt_enable()
DEFINE_LOCK_GUARD_0(preempt, preempt_disable(), preempt_enable(), bool unused) /* guard(preempt)(); */

#endif
