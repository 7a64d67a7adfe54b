/* SPDX-License-Identifier: MIT */
/*
 * A thread's registration of its rseq area with the kernel, taken back and made again behind libc's back. The kernel
 * leaves cpu_id at -1 in an area it takes its hands off.
 */
#ifndef QUARRY_TESTS_REGISTRATION_H
#define QUARRY_TESTS_REGISTRATION_H

#include "check.h"
#include "thread_pointer.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __aarch64__
enum { RSEQ_SIGNATURE = (int)0xd428bc00u };
#else
enum { RSEQ_SIGNATURE = 0x53053053 };
#endif
enum { RSEQ_REGISTER, RSEQ_UNREGISTER, RSEQ_AREA_BYTES = 32 };

/* Where libc keeps the area. Skips the test where it registers none. */
static inline char *rseq_area(void) {
    const ptrdiff_t *offset = dlsym(RTLD_DEFAULT, "__rseq_offset");
    const unsigned *size = dlsym(RTLD_DEFAULT, "__rseq_size");
    if (offset == NULL || size == NULL || *size == 0)
        check_skip("this libc registers no rseq area");
    return thread_pointer() + *offset;
}

/* The length must be the registered one: 32 bytes, or more where libc knows of more features. Returns it. */
static inline unsigned rseq_unregister(void) {
    char *area = rseq_area();
    for (unsigned bytes = 32; bytes <= 256; bytes += 32) {
        if (syscall(SYS_rseq, area, bytes, RSEQ_UNREGISTER, RSEQ_SIGNATURE) == 0)
            return bytes;
    }
    check_fail(__FILE__, __LINE__, "unregistering failed with errno %d", errno);
}

/* The same of an area of 32 bytes of which nobody says where it is, but that it is thread-local. */
static inline void rseq_unregister_found(void) {
    enum { REACH_BYTES = 1 << 16 };
    char *self = thread_pointer();
    for (ptrdiff_t off = -REACH_BYTES; off < REACH_BYTES; off += RSEQ_AREA_BYTES) {
        char *area = self - (uintptr_t)self % RSEQ_AREA_BYTES + off;
        if (syscall(SYS_rseq, area, RSEQ_AREA_BYTES, RSEQ_UNREGISTER, RSEQ_SIGNATURE) == 0)
            return;
    }
    check_fail(__FILE__, __LINE__, "no area found near %p", (void *)self);
}

static inline void rseq_register(unsigned bytes) {
    CHECK_MSG(syscall(SYS_rseq, rseq_area(), bytes, RSEQ_REGISTER, RSEQ_SIGNATURE) == 0,
              "registering failed with errno %d", errno);
}

#endif
