/* SPDX-License-Identifier: MIT */
/* The same headers from C++. */
#include "check.h"

#include <linux/err.h>
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/types.h>

int main() {
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
