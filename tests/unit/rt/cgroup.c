/* SPDX-License-Identifier: MIT */
/* What control groups leave: the lowest of all levels, less what others hold; containers, hybrid hierarchies and odd
 * files. In a pretend root directory. */
#include "rt/cgroup.h"

#include "unit/files.h"

#include <criterion/criterion.h>

#define LIMITS(path, high, max)                                                                                        \
    files_write(path "/memory.high", high "\n");                                                                       \
    files_write(path "/memory.max", max "\n")
#define STAT(path, text) files_write(path "/memory.stat", text)
#define MOUNT "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"

static struct rt_cgroup read_with(u64 heap_bytes) {
    struct rt_cgroup c;
    rt_cgroup_read(heap_bytes, &c);
    return c;
}

/* Of what is left to a heap: not the page tables of what is still to be touched, 8 bytes for each 4 KiB. */
static u64 with_tables(u64 left, u64 touched) { return left - (left > touched ? (left - touched) / 512 : 0); }

static void start(void) { rt_cgroup_root = files_start(); }
static void end(void) { files_end(); }

static void world(const char *group, const char *mounts) {
    files_write("/proc/self/cgroup", group);
    files_write("/proc/self/mountinfo", mounts);
}

Test(cgroup, the_lowest_of_all_levels_counts, .init = start, .fini = end) {
    world("0::/a/b\n", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" MOUNT);
    LIMITS("/sys/fs/cgroup/a", "max", "104857600");
    STAT("/sys/fs/cgroup/a", "anon 31457280\nfile 999999999\nkernel 1048576\n");
    LIMITS("/sys/fs/cgroup/a/b", "52428800", "max");
    STAT("/sys/fs/cgroup/a/b", "anon 10485760\nfile 4096\nkernel 0\nshmem 1048576\n");
    struct rt_cgroup c = read_with(5 * MIB);
    cr_expect_eq(c.hard_bytes, with_tables((100 - (30 + 1 - 5)) * MIB, 5 * MIB), "%zu", (size_t)c.hard_bytes);
    cr_expect_eq(c.soft_bytes, with_tables((50 - (10 + 1 - 5)) * MIB, 5 * MIB), "%zu", (size_t)c.soft_bytes);
    LIMITS("/sys/fs/cgroup/a/b", "52428800", "62914560");
    cr_expect_eq(read_with(11 * MIB).hard_bytes, with_tables(59 * MIB, 10 * MIB), "the nearest is lower now");
    LIMITS("/sys/fs/cgroup/a", "max", "41943040");
    cr_expect_eq(read_with(31 * MIB).hard_bytes, with_tables(39 * MIB, 30 * MIB), "the ancestor is lower now");
}

Test(cgroup, no_group_no_limit, .init = start, .fini = end) {
    cr_expect_eq(read_with(0).hard_bytes, RT_CGROUP_NONE, "there is no such file");
    world("4:memory:/a\n0::/\n", "30 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    cr_expect_eq(read_with(0).hard_bytes, RT_CGROUP_NONE, "version 1 has the memory controller");
    world("4:memory:/a\n", MOUNT);
    LIMITS("/sys/fs/cgroup", "1", "1");
    cr_expect_eq(read_with(0).hard_bytes, RT_CGROUP_NONE, "the process is in no group of version 2");
    world("0::/a\n", "30 25 0:26 / /sys/fs/cgroup rw - cgroup cgroup rw,memory\n");
    cr_expect_eq(read_with(0).hard_bytes, RT_CGROUP_NONE, "the hierarchy is not mounted");
    world("0::/a\n", MOUNT);
    LIMITS("/sys/fs/cgroup/a", "max", "garbage");
    LIMITS("/sys/fs/cgroup", "max", "max");
    cr_expect_eq(read_with(0).hard_bytes, RT_CGROUP_NONE);
    cr_expect_eq(read_with(0).soft_bytes, RT_CGROUP_NONE);
}

Test(cgroup, a_container_sees_a_part_of_the_hierarchy, .init = start, .fini = end) {
    world("0::/docker/xyz/sub\n", "30 25 0:26 /docker/xyz /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    LIMITS("/sys/fs/cgroup", "max", "67108864");
    LIMITS("/sys/fs/cgroup/sub", "33554432", "max");
    cr_expect_eq(read_with(0).hard_bytes, with_tables(64 * MIB, 0));
    cr_expect_eq(read_with(0).soft_bytes, with_tables(32 * MIB, 0));
    world("0::/\n", "30 25 0:26 /docker/xyz /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    cr_expect_eq(read_with(0).hard_bytes, with_tables(64 * MIB, 0), "outside of what is mounted: its top");
    world("0::/docker/xyzzy\n", "30 25 0:26 /docker/xyz /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    cr_expect_eq(read_with(0).soft_bytes, RT_CGROUP_NONE, "another group whose name begins alike");
}

Test(cgroup, a_group_that_others_fill_leaves_nothing, .init = start, .fini = end) {
    world("0::/\n", MOUNT);
    LIMITS("/sys/fs/cgroup", "0", "1048576");
    STAT("/sys/fs/cgroup", "anon 2097152\n");
    cr_expect_eq(read_with(0).hard_bytes, 1u, "0 would read as unlimited");
    cr_expect_eq(read_with(0).soft_bytes, 1u);
    cr_expect_eq(read_with(64 * MIB).hard_bytes, 1 * MIB, "what is counted here and not yet there is no credit");
}

/* A heap counts pages before they are touched, as much as all that the group holds: page tables are held all the same.
 */
Test(cgroup, what_the_kernel_holds_is_never_the_heaps, .init = start, .fini = end) {
    world("0::/\n", MOUNT);
    LIMITS("/sys/fs/cgroup", "max", "67108864");
    STAT("/sys/fs/cgroup", "anon 4194304\nkernel 3145728\nshmem 1048576\n");
    cr_expect_eq(read_with(8 * MIB).hard_bytes, with_tables(60 * MIB, 4 * MIB));
    cr_expect_eq(read_with(63 * MIB).hard_bytes, with_tables(60 * MIB, 4 * MIB), "none of it is touched yet");
    STAT("/sys/fs/cgroup", "anon 62914560\nkernel 3145728\nshmem 1048576\n");
    cr_expect_eq(read_with(60 * MIB).hard_bytes, 60 * MIB, "above it no more is to come");
}

Test(cgroup, what_reclaim_gets_of_the_kernels_is_the_heaps, .init = start, .fini = end) {
    world("0::/\n", MOUNT);
    LIMITS("/sys/fs/cgroup", "max", "67108864");
    STAT("/sys/fs/cgroup", "anon 0\nkernel 5242880\nslab_reclaimable 3145728\nslab_unreclaimable 1048576\n");
    cr_expect_eq(read_with(0).hard_bytes, with_tables(62 * MIB, 0));
    STAT("/sys/fs/cgroup", "anon 0\nslab_reclaimable 3145728\nshmem 1048576\n");
    cr_expect_eq(read_with(0).hard_bytes, with_tables(63 * MIB, 0), "a kernel that does not say what its memory is");
}

Test(cgroup, long_lines_and_paths, .init = start, .fini = end) {
    static char mounts[5000], group[3000];
    memset(mounts, 'x', 3000);
    snprintf(mounts + 3000, sizeof(mounts) - 3000, "%s", "\n" MOUNT);
    world("0::/a", mounts);
    LIMITS("/sys/fs/cgroup/a", "max", "1048576");
    cr_expect_eq(read_with(0).hard_bytes, with_tables(1 * MIB, 0),
                 "a line without its newline, behind one longer than any window");
    snprintf(group, sizeof(group), "0::/%0*d\n", 2000, 0);
    world(group, MOUNT);
    LIMITS("/sys/fs/cgroup", "max", "1048576");
    cr_expect_eq(read_with(0).hard_bytes, RT_CGROUP_NONE, "a path cut short is not taken for another");
}
