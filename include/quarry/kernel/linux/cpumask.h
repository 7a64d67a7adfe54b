/* SPDX-License-Identifier: MIT */
/* Going over the CPUs. The contracts are in <quarry/kmem_percpu.h>. */
#ifndef QUARRY_KERNEL_LINUX_CPUMASK_H
#define QUARRY_KERNEL_LINUX_CPUMASK_H

#include <linux/types.h>
#include <quarry/kmem_percpu.h>

#define nr_cpu_ids quarry_nr_cpu_ids
#define num_possible_cpus() quarry_num_possible_cpus()
#define for_each_possible_cpu(cpu) quarry_for_each_possible_cpu(cpu)
#define num_present_cpus() num_possible_cpus()
#define num_online_cpus() num_possible_cpus()
#define for_each_present_cpu(cpu) for_each_possible_cpu(cpu)
#define for_each_online_cpu(cpu) quarry_for_each_online_cpu(cpu)

#endif
