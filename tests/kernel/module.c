/* SPDX-License-Identifier: MIT */
/* A module with two buffers of 1 and 4 KiB: taken in order, written, read back, given back, with goto unwinding. */
#include "module.h"

#include <linux/err.h>
#include <linux/slab.h>
#include <string.h>

enum { SMALL_BYTES = 1024, LARGE_BYTES = 4096 };

static char *small_buf, *large_buf;

static int __init buffers_init(void) {
    int error = -ENOMEM;
    small_buf = kmalloc(SMALL_BYTES, GFP_KERNEL);
    if (!small_buf)
        goto out;
    large_buf = kzalloc(LARGE_BYTES, GFP_KERNEL);
    if (!large_buf)
        goto out_small;
    error = -EINVAL;
    if ((unsigned long)small_buf % SMALL_BYTES != 0 || (unsigned long)large_buf % LARGE_BYTES != 0)
        goto out_large;
    memset(small_buf, 'q', SMALL_BYTES);
    memcpy(large_buf, small_buf, SMALL_BYTES);
    if (large_buf[SMALL_BYTES - 1] != 'q' || large_buf[SMALL_BYTES] != 0 || ksize(large_buf) != LARGE_BYTES)
        goto out_large;
    printk(KERN_INFO "buffers: %.4s\n", large_buf);
    return 0;
out_large:
    kfree(large_buf);
out_small:
    kfree(small_buf);
out:
    printk(KERN_ERR "buffers: %d\n", error);
    return error;
}

static void __exit buffers_exit(void) {
    kfree(large_buf);
    kfree(small_buf);
}

MODULE_RUN(buffers_init, buffers_exit)
