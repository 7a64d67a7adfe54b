/* SPDX-License-Identifier: MIT */
/*
 * What this kernel and this libc offer per CPU. quarry uses the rseq area that glibc (2.35 and later) registered for each thread and never
 * registers one itself: a thread has one area only. Sources: rseq(2) in linux/rseq.h, AT_RSEQ_FEATURE_SIZE (27) of kernel
 * 6.3 and later says how many bytes of the area the kernel fills, whatever glibc's __rseq_size claims.
 */
#include "sys/call.h"
#include "sys/sys.h"

#include <linux/membarrier.h>
#include <sys/auxv.h>

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

enum sys_rseq sys_rseq_probe(ptrdiff_t *ret_offset) {
    if (&__rseq_size == NULL || &__rseq_offset == NULL || __rseq_size == 0)
        return SYS_RSEQ_NONE;
    const char *area = (const char *)sys_thread_self() + __rseq_offset; // NOLINT(performance-no-int-to-ptr)
    if (*(const int *)(area + RSEQ_CPU_ID_OFFSET) < 0)
        return SYS_RSEQ_NONE;
    *ret_offset = __rseq_offset;
    /* The area is padded to 32 bytes even where glibc reports the original 20. */
    bool area_has_cid = __rseq_size == RSEQ_ORIGINAL_BYTES || __rseq_size >= RSEQ_MM_CID_END;
    return area_has_cid && getauxval(AT_RSEQ_FEATURE_SIZE) >= RSEQ_MM_CID_END ? SYS_RSEQ_MM_CID : SYS_RSEQ_CPU_ID;
}

bool sys_membarrier_register(void) { return SYS3(SYS_membarrier, MEMBARRIER_REGISTER_RSEQ, 0, 0) == 0; }
int sys_membarrier_rseq(void) { return (int)SYS3(SYS_membarrier, MEMBARRIER_RSEQ, 0, 0); }
