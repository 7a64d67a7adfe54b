/* SPDX-License-Identifier: MIT */
/*
 * A module with two buffers of 1 and 4 KiB: taken in order, written, printed, given back in order, with goto unwinding.
 * What it prints is matched by the driver. With an argument the load fails at that point, and must unwind from there:
 * 1 and 2 are the buffers, 3 is what comes behind them. Either way no byte may be out at the end.
 */
#include "module.h"

#include <linux/err.h>
#include <linux/slab.h>
#include <quarry/quarry.h>
#include <string.h>

enum { SMALL_BYTES = 1024, LARGE_BYTES = 4096 };

static int fail_at;
static char *small_buf, *large_buf;
static uint64_t before_bytes;

/* What printk needs of the heap it has by then. */
static uint64_t out_bytes(void) {
    uint64_t bytes = 0;
    return quarry_stat("live_bytes", &bytes) == 0 ? bytes : UINT64_MAX;
}

/* More than any kmalloc at the point of failure. */
static size_t bytes_or_fail(size_t bytes, int step) { return step == fail_at ? SIZE_MAX : bytes; }

static int __init buffers_init(void) {
    int error = -ENOMEM;
    printk(KERN_INFO "buffers: loading\n");
    before_bytes = out_bytes();
    small_buf = kmalloc(bytes_or_fail(SMALL_BYTES, 1), GFP_KERNEL | __GFP_NOWARN);
    if (!small_buf)
        goto out;
    large_buf = kzalloc(bytes_or_fail(LARGE_BYTES, 2), GFP_KERNEL | __GFP_NOWARN);
    if (!large_buf)
        goto out_small;
    error = -EINVAL;
    if ((unsigned long)small_buf % SMALL_BYTES != 0 || (unsigned long)large_buf % LARGE_BYTES != 0 || fail_at == 3)
        goto out_large;
    memset(small_buf, 'q', SMALL_BYTES);
    printk(KERN_INFO "small: %zu bytes %.4s\n", ksize(small_buf), small_buf);
    printk(KERN_INFO "large: %zu bytes %d %d\n", ksize(large_buf), large_buf[0], large_buf[LARGE_BYTES - 1]);
    memset(large_buf, 'L', LARGE_BYTES);
    memcpy(large_buf, small_buf, SMALL_BYTES);
    printk(KERN_INFO "large: %.2s%.2s\n", large_buf + SMALL_BYTES - 2, large_buf + SMALL_BYTES);
    return 0;
out_large:
    kfree(large_buf);
out_small:
    kfree(small_buf);
out:
    printk(KERN_ERR "buffers: error %d, %zu bytes left\n", error, (size_t)(out_bytes() - before_bytes));
    return error;
}

static void __exit buffers_exit(void) {
    kfree(small_buf);
    kfree(large_buf);
    printk(KERN_INFO "buffers: unloaded, %zu bytes left\n", (size_t)(out_bytes() - before_bytes));
}

MODULE_RUN(buffers_init, buffers_exit, fail_at)
