/* SPDX-License-Identifier: MIT */
/* See percpu_lib.h. */
#include <linux/percpu.h>

DEFINE_PER_CPU(long, lib_seed) = 1234;
EXPORT_PER_CPU_SYMBOL(lib_seed);
static DEFINE_PER_CPU(int, counted);

void lib_count(int nr);
int lib_sum(void);

void lib_count(int nr) { this_cpu_add(counted, nr); }

int lib_sum(void) {
    int cpu, sum = 0;
    for_each_possible_cpu(cpu) sum += per_cpu(counted, cpu);
    return sum;
}
