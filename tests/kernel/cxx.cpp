/* SPDX-License-Identifier: MIT */
/* The same headers from C++. */
#include "check.h"

#include <linux/err.h>
#include <linux/list.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/types.h>

static DEFINE_PER_CPU(long, counter) = 5;

static void percpu() {
    long *dynamic = alloc_percpu(long), sum = 0;
    unsigned cpu;
    this_cpu_add(counter, 2);
    get_cpu_var(counter) += 1;
    put_cpu_var(counter);
    this_cpu_sub(*dynamic, 1);
    for_each_possible_cpu(cpu) sum += per_cpu(counter, cpu) + *per_cpu_ptr(dynamic, cpu);
    CHECK(sum == 5L * nr_cpu_ids + 2);
    free_percpu(dynamic);
}

int main() {
    percpu();
    int *values = static_cast<int *>(kcalloc(10, sizeof(int), GFP_KERNEL));
    CHECK(values != nullptr && values[9] == 0 && ksize(values) >= 10 * sizeof(int));
    values = static_cast<int *>(krealloc_array(values, 1000, sizeof(int), GFP_KERNEL | __GFP_ZERO));
    CHECK(values != nullptr && values[999] == 0);
    char *name = kstrdup("slab", GFP_KERNEL);
    CHECK(strcmp(name, "slab") == 0);
    delete[] name; /* one heap */
    kfree(values);
    kfree(new int(1));
    CHECK(kmalloc(0, GFP_KERNEL) == ZERO_SIZE_PTR);
    return 0;
}
