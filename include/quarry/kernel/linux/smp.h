/* SPDX-License-Identifier: MIT */
/* Which CPU this is, and staying with its per-CPU variables. The contracts are in <quarry/kmem_percpu.h>. */
#ifndef QUARRY_KERNEL_LINUX_SMP_H
#define QUARRY_KERNEL_LINUX_SMP_H

#include <linux/cpumask.h>

#define smp_processor_id() quarry_smp_processor_id()
#define raw_smp_processor_id() quarry_raw_smp_processor_id()
#define get_cpu() quarry_get_cpu()
#define put_cpu() quarry_put_cpu()

#endif
