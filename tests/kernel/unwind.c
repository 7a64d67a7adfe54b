/* SPDX-License-Identifier: MIT */
/* A structure with a name, a buffer and an array, released in reverse on each point of failure; nothing may be lost. */
#include "check.h"

#include <linux/err.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <quarry/quarry.h>

struct device {
    char *name;
    char *buffer;
    int *values;
    size_t values_nr;
};

/* More than any kmalloc: what fails at the point asked for. */
static size_t bytes_or_fail(size_t bytes, int step, int fail_at) { return step == fail_at ? SIZE_MAX : bytes; }

static struct device *device_create(const char *name, size_t values_nr, int fail_at) {
    const gfp_t flags = GFP_KERNEL | __GFP_NOWARN;
    struct device *d = kzalloc(bytes_or_fail(sizeof(*d), 0, fail_at), flags);
    if (!d)
        goto fail;
    d->name = kmemdup(name, bytes_or_fail(strlen(name) + 1, 1, fail_at), flags);
    if (!d->name)
        goto fail_name;
    d->buffer = kmalloc(bytes_or_fail(70000, 2, fail_at), flags);
    if (!d->buffer)
        goto fail_buffer;
    d->values = kcalloc(bytes_or_fail(values_nr, 3, fail_at), sizeof(*d->values), flags);
    if (!d->values)
        goto fail_values;
    d->values_nr = values_nr;
    return d;
fail_values:
    kfree(d->buffer);
fail_buffer:
    kfree(d->name);
fail_name:
    kfree(d);
fail:
    return ERR_PTR(-ENOMEM);
}

static void device_destroy(struct device *d) {
    kfree(d->values);
    kfree(d->buffer);
    kfree(d->name);
    kfree(d);
}

static uint64_t out_bytes(void) {
    uint64_t bytes = 0;
    quarry_trim(0); /* nothing rests in magazines */
    CHECK(quarry_stat("live_bytes", &bytes) == 0);
    return bytes;
}

int main(void) {
    uint64_t before = out_bytes();
    for (int round = 0; round < 1000; round++) {
        for (int fail_at = 0; fail_at < 4; fail_at++) {
            struct device *failed = device_create("eth0", 100, fail_at);
            CHECK(IS_ERR(failed) && PTR_ERR(failed) == -ENOMEM && PTR_ERR_OR_ZERO(failed) == -ENOMEM);
        }
        struct device *d = device_create("eth0", 100, -1);
        CHECK(!IS_ERR_OR_NULL(d) && PTR_ERR_OR_ZERO(d) == 0 && strcmp(d->name, "eth0") == 0 && d->values[99] == 0);
        device_destroy(d);
    }
    CHECK_MSG(out_bytes() == before, "%llu bytes before, %llu after", (unsigned long long)before,
              (unsigned long long)out_bytes());
    CHECK(IS_ERR_OR_NULL(NULL) && !IS_ERR(NULL));
    return 0;
}
