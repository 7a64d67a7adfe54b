/* SPDX-License-Identifier: MIT */
/*
 * What this kernel and this libc offer per CPU. quarry uses the rseq area that glibc (2.35 and later) registered for
 * each thread and never registers one itself: a thread has one area only. Sources: rseq(2) in linux/rseq.h,
 * AT_RSEQ_FEATURE_SIZE (27) of kernel 6.3 and later says how many bytes of the area the kernel fills, whatever glibc's
 * __rseq_size claims.
 */
#include "sys/call.h"
#include "sys/sys.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/utsname.h>

#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#endif

#define MEMBARRIER_RSEQ (1 << 7)
#define MEMBARRIER_REGISTER_RSEQ (1 << 8)

enum {
    MASK_BYTES = 1024, /* 8192 CPUs, the most Linux supports */
    RSEQ_MM_CID_END = 28,
    RSEQ_ORIGINAL_BYTES = 20,
    RSEQ_CPU_ID_OFFSET = 4,
};

/* glibc's, absent from other libcs and from glibc before 2.35. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

unsigned sys_cpu_ids_nr(void) {
    u64 mask[MASK_BYTES / sizeof(u64)];
    long bytes = SYS3(SYS_sched_getaffinity, 0, sizeof(mask), mask);
    /* The kernel returns the size of its own mask, which has a bit for every possible CPU. */
    return bytes > 0 ? (unsigned)bytes * 8 : MASK_BYTES * 8;
}

int sys_cpu_racy(void) { return sched_getcpu(); }

#if defined(__aarch64__)
/* Reads a number and the dot behind it, if there is one. */
static unsigned number_next(const char **text) {
    unsigned n = 0;
    for (; **text >= '0' && **text <= '9'; ++*text)
        n = n * 10 + (unsigned)(**text - '0');
    *text += **text == '.';
    return n;
}

/*
 * arm64 kernels from 6.19 to 7.0.13 restart a section only when its thread has changed CPU, not when another thread ran
 * on the same one: two threads would commit to one id. Fixed in 7.1 and 7.0.14 ("arm64/entry: Fix arm64-specific rseq
 * brokenness"). A distribution's 7.0.0-22 may have the fix; nothing tells, and the locked regions are right on every
 * kernel.
 */
static bool kernel_restarts_sections(void) {
    struct utsname name;
    if (SYS1(SYS_uname, &name) != 0)
        return false;
    const char *release = name.release;
    unsigned major = number_next(&release), minor = number_next(&release), patch = number_next(&release);
    return !(major == 6 && minor >= 19) && !(major == 7 && minor == 0 && patch < 14);
}
#else
static bool kernel_restarts_sections(void) { return true; }
#endif

enum sys_rseq sys_rseq_probe(ptrdiff_t *ret_offset) {
    if (&__rseq_size == NULL || &__rseq_offset == NULL || __rseq_size == 0 || !kernel_restarts_sections())
        return SYS_RSEQ_NONE;
    const char *area = (const char *)sys_thread_self() + __rseq_offset; // NOLINT(performance-no-int-to-ptr)
    if (*(const int *)(area + RSEQ_CPU_ID_OFFSET) < 0)
        return SYS_RSEQ_NONE;
    *ret_offset = __rseq_offset;
    /* The area is padded to 32 bytes even where glibc reports the original 20. */
    bool area_has_cid = __rseq_size == RSEQ_ORIGINAL_BYTES || __rseq_size >= RSEQ_MM_CID_END;
    return area_has_cid && getauxval(AT_RSEQ_FEATURE_SIZE) >= RSEQ_MM_CID_END ? SYS_RSEQ_MM_CID : SYS_RSEQ_CPU_ID;
}

enum sys_barrier sys_membarrier_register(void) {
    long err = SYS3(SYS_membarrier, MEMBARRIER_REGISTER_RSEQ, 0, 0);
    if (err == 0)
        return SYS_BARRIER_READY;
    return err == -EINVAL || err == -ENOSYS ? SYS_BARRIER_NONE : SYS_BARRIER_REFUSED;
}
int sys_membarrier_rseq(void) { return (int)SYS3(SYS_membarrier, MEMBARRIER_RSEQ, 0, 0); }
