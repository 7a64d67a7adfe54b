/* SPDX-License-Identifier: MIT */
/* What sysfs says of transparent hugepages by size, in files of the kernel's form below a pretended root. */
#include "sys/sys.h"
#include "unit/files.h"

#define SMALL (64 * KIB)

static void start(void) { (void)files_start(); }

static void all_is(const char *text) { files_write("/thp/enabled", text); }
static void size_is(unsigned kb, const char *text) {
    char path[64];
    snprintf(path, sizeof(path), "/thp/hugepages-%ukB/enabled", kb);
    files_write(path, text);
}

static bool small_alone(void) {
    char root[128];
    snprintf(root, sizeof(root), "%s/thp", files_root);
    return sys_thp_unasked_small(root, SMALL);
}

/* As a kernel comes up: the large size follows the common setting, others are off. */
static void kernel(void) {
    start();
    all_is("always [madvise] never\n");
    for (unsigned kb = 8; kb < 2048; kb *= 2)
        size_is(kb, "always inherit madvise [never]\n");
    size_is(2048, "always [inherit] madvise never\n");
}

Test(sys_thp, nothing_is_given_unasked_as_a_rule, .init = kernel, .fini = files_end) { cr_expect_not(small_alone()); }

Test(sys_thp, a_small_size_is_enough, .init = kernel, .fini = files_end) {
    size_is(64, "[always] inherit madvise never\n");
    cr_expect(small_alone());
    size_is(16, "[always] inherit madvise never\n");
    cr_expect(small_alone());
    size_is(64, "always inherit madvise [never]\n");
    cr_expect_not(small_alone(), "one file is looked at");
}

Test(sys_thp, not_where_one_must_ask_for_it, .init = kernel, .fini = files_end) {
    size_is(64, "always inherit [madvise] never\n");
    cr_expect_not(small_alone());
    size_is(64, "always [inherit] madvise never\n");
    cr_expect_not(small_alone());
}

Test(sys_thp, not_with_a_large_one_besides, .init = kernel, .fini = files_end) {
    size_is(64, "[always] inherit madvise never\n");
    size_is(128, "[always] inherit madvise never\n");
    cr_expect_not(small_alone());
    size_is(128, "always inherit madvise [never]\n");
    size_is(2048, "[always] inherit madvise never\n");
    cr_expect_not(small_alone());
    size_is(2048, "always inherit madvise [never]\n");
    cr_expect(small_alone());
    size_is(512 * 1024, "[always] inherit madvise never\n"); /* of kernels with larger pages */
    cr_expect_not(small_alone());
}

/* What is set for all is the large size's setting, unless that says otherwise. */
Test(sys_thp, set_for_all, .init = kernel, .fini = files_end) {
    size_is(64, "[always] inherit madvise never\n");
    all_is("[always] madvise never\n");
    cr_expect_not(small_alone());
    size_is(2048, "always inherit madvise [never]\n");
    cr_expect(small_alone());
    size_is(64, "always [inherit] madvise never\n");
    cr_expect(small_alone());
}

Test(sys_thp, a_kernel_that_knows_one_size, .init = start, .fini = files_end) {
    all_is("[always] madvise never\n");
    cr_expect_not(small_alone());
    all_is("always [madvise] never\n");
    cr_expect_not(small_alone());
}

Test(sys_thp, a_kernel_without_any, .init = start, .fini = files_end) { cr_expect_not(small_alone()); }
