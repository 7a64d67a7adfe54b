/* SPDX-License-Identifier: MIT */
/* Going over the CPUs. The last number is no CPU, but the copy of threads that have no CPU number: who sums up a
 * variable must go over it, too, and does with these. */
#ifndef QUARRY_KERNEL_LINUX_CPUMASK_H
#define QUARRY_KERNEL_LINUX_CPUMASK_H

#include <linux/types.h>
#include <quarry/kmem_percpu.h>

#define nr_cpu_ids quarry_percpu_nr()
#define num_possible_cpus() quarry_percpu_nr()
#define for_each_possible_cpu(cpu) for ((cpu) = 0; (unsigned)(cpu) < quarry_percpu_nr(); (cpu)++)
/* A CPU that is offline keeps what it counted. */
#define for_each_online_cpu(cpu) for_each_possible_cpu(cpu)

#endif
