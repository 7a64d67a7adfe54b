/* SPDX-License-Identifier: MIT */
/* Registering an rseq area with the real kernel, in a thread whose area libc gave up; and how it is told not to. */
#include "sys/sys.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
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

Test(cpu, the_tunable_is_one_of_a_list) {
    cr_assert(off("GLIBC_TUNABLES=glibc.pthread.rseq=0"));
    cr_assert(off("GLIBC_TUNABLES=glibc.malloc.check=3:glibc.pthread.rseq=0"));
    cr_assert(off("GLIBC_TUNABLES=glibc.pthread.rseq=0:glibc.malloc.check=3"));
    cr_assert_not(off("A=GLIBC_TUNABLES=glibc.pthread.rseq=0"));
    cr_assert_not(off("GLIBC_TUNABLES="));
    cr_assert_not(off("GLIBC_TUNABLES=glibc.pthread.rseq=1"));
    cr_assert_not(off("GLIBC_TUNABLES=glibc.pthread.rseq=01"));
    cr_assert_not(off("GLIBC_TUNABLES=xglibc.pthread.rseq=0"));
    cr_assert_not(off("GLIBC_TUNABLES=glibc.malloc.check=3:"));
    cr_assert_not(sys_rseq_is_off(NULL));
    cr_assert_not(sys_rseq_is_off((char *const[]){NULL}));
}
