/* SPDX-License-Identifier: MIT */
/* Registering an rseq area with the real kernel, in a thread whose area libc gave up; and how it is told not to. */
#include "sys/sys.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RSEQ_AREA_BYTES = 32, RSEQ_AREA_MAX_BYTES = 256, RSEQ_UNREGISTER = 1 };
#ifdef __aarch64__
enum { RSEQ_SIGNATURE = (int)0xd428bc00u };
#else
enum { RSEQ_SIGNATURE = 0x53053053 };
#endif

struct area {
    _Alignas(RSEQ_AREA_BYTES) u32 cpu_id_start;
    s32 cpu_id;
    char rest[RSEQ_AREA_BYTES - 8];
};

static __thread struct area mine = {.cpu_id = -1}, another;

static bool unregister(void *area, unsigned bytes) {
    return syscall(SYS_rseq, area, bytes, RSEQ_UNREGISTER, RSEQ_SIGNATURE) == 0;
}

/* How long it is only newer libcs tell. */
static bool libcs_unregister(void) {
    const ptrdiff_t *offset = dlsym(RTLD_DEFAULT, "__rseq_offset");
    char *area = (char *)sys_thread_self() + (offset == NULL ? 0 : *offset);
    unsigned bytes = RSEQ_AREA_BYTES;
    while (bytes <= RSEQ_AREA_MAX_BYTES && !unregister(area, bytes))
        bytes += RSEQ_AREA_BYTES;
    return bytes <= RSEQ_AREA_MAX_BYTES;
}

static void *register_run(void *ret_known) {
    ptrdiff_t offset;
    if (sys_rseq_probe(&offset) != SYS_RSEQ_NONE) {
        cr_assert_eq(sys_rseq_register(&mine), -EINVAL, "libc's is registered");
        cr_assert(libcs_unregister());
    }
    int err = sys_rseq_register(&mine);
    *(bool *)ret_known = err != -ENOSYS;
    if (err == -ENOSYS)
        return NULL;
    cr_assert_eq(err, 0);
    cr_assert_geq(mine.cpu_id, 0, "the kernel fills it before it returns");
    cr_assert_eq(sys_rseq_register(&mine), 0, "it is registered");
    cr_assert_eq(sys_rseq_register(&another), -EINVAL);
    cr_assert_eq(sys_rseq_register((char *)&another + 8), -EINVAL);
    cr_assert(unregister(&mine, RSEQ_AREA_BYTES));
    cr_assert_lt(mine.cpu_id, 0);
    return NULL;
}

Test(cpu, an_area_is_registered_once) {
    bool known = false;
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, register_run, &known), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert(known || sys_rseq_probe(&(ptrdiff_t){0}) == SYS_RSEQ_NONE);
}

static bool off(const char *tunables) {
    char path[] = "PATH=/bin", text[128];
    char *const envp[] = {path, text, NULL};
    snprintf(text, sizeof(text), "%s", tunables);
    return sys_rseq_is_off(envp);
}

#define RSEQ "glibc.pthread.rseq="
static const struct {
    const char *list;
    bool off;
} lists[] = {
    {RSEQ "0", true},
    {"glibc.malloc.check=3:" RSEQ "0", true},
    {RSEQ "0:glibc.malloc.check=3", true},
    {"::nothing:" RSEQ "0:", true},
    {"", false},
    {"x" RSEQ "0", false},
    {"glibc.malloc.check=3:", false},
    /* numbers */
    {RSEQ "1", false},
    {RSEQ "00", true},
    {RSEQ "01", false},
    {RSEQ "0x0", true},
    {RSEQ "0X00", true},
    {RSEQ "0x1", false},
    {RSEQ "0xa", false},
    {RSEQ "0xF", false},
    {RSEQ "10", false},
    {RSEQ "010", false},
    {RSEQ "08", true},
    {RSEQ " \t+0", true},
    {RSEQ "-0", true},
    {RSEQ "-1", false},
    {RSEQ "18446744073709551616", false},
    {RSEQ "0x10000000000000000", false},
    {RSEQ "2", false},
    {RSEQ, true},
    {RSEQ "no", true},
    {RSEQ "0,5", true},
    /* the last that is a value counts */
    {RSEQ "0:" RSEQ "1", false},
    {RSEQ "1:" RSEQ "0", true},
    {RSEQ "0:" RSEQ "2", true},
    {RSEQ "0:" RSEQ "-1", true},
};

Test(cpu, the_tunable_is_one_of_a_list) {
    char text[128], first[] = "GLIBC_TUNABLES=" RSEQ "0", second[] = "GLIBC_TUNABLES=" RSEQ "1";
    for (size_t i = 0; i < ARRAY_NR(lists); i++) {
        snprintf(text, sizeof(text), "GLIBC_TUNABLES=%s", lists[i].list);
        cr_expect_eq(off(text), lists[i].off, "%s", text);
    }
    cr_expect_not(off("A=GLIBC_TUNABLES=" RSEQ "0"));
    cr_expect(off(first));
    cr_expect_not(sys_rseq_is_off((char *const[]){first, second, NULL}));
    cr_expect(sys_rseq_is_off((char *const[]){second, first, NULL}));
    cr_expect_not(sys_rseq_is_off(NULL));
    cr_expect_not(sys_rseq_is_off((char *const[]){NULL}));
}

/* By the loader's own list of tunables; -1: it has none, or not this one. */
static int loader_says(const char *list) {
    Dl_info loader;
    char command[512], line[256];
    int value = -1;
    cr_assert(dladdr((void *)getauxval(AT_BASE), &loader) != 0); // NOLINT(performance-no-int-to-ptr)
    snprintf(command, sizeof(command), "GLIBC_TUNABLES='%s' %s --list-tunables 2>&1", list, loader.dli_fname);
    FILE *out = popen(command, "r");
    cr_assert_not_null(out);
    while (fgets(line, sizeof(line), out) != NULL)
        (void)sscanf(line, "glibc.pthread.rseq: %d", &value);
    (void)pclose(out);
    return value;
}

/* Whatever this version makes of them: to register where it was told not to would be wrong, not the reverse. */
Test(cpu, the_tunable_is_read_as_by_the_loader) {
    for (size_t i = 0; i < ARRAY_NR(lists); i++) {
        int says = loader_says(lists[i].list);
        cr_expect(says != 0 || lists[i].off, "%s: the loader says %d", lists[i].list, says);
        if (i == 0 && says < 0)
            cr_skip("a loader without this tunable");
    }
}
