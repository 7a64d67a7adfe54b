/* SPDX-License-Identifier: MIT */
/* Raw system calls: no errno, no cancellation point, no libc state. Private to sys/. One body per architecture. A test
 * library (tests/inject) is built with QUARRY_INJECT, has a function of its own between, and may refuse any call. */
#ifndef QUARRY_SYS_CALL_H
#define QUARRY_SYS_CALL_H

#include "base/types.h"

#include <errno.h>
#include <sys/syscall.h>

/* How often who waits for another CPU looks, with sys_relax() between, before it sleeps. */
enum { SYS_SPINS = 100 };

#if defined(__x86_64__)
static inline long sys_call_raw(long nr, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long ret;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}
/* In a loop that waits for another CPU. */
static inline void sys_relax(void) { __builtin_ia32_pause(); }
/* What it points at begins with its own address. gcc has __builtin_thread_pointer() here from 11 on. */
static inline u64 sys_thread_pointer(void) {
    u64 self;
    __asm__("movq %%fs:0, %0" : "=r"(self));
    return self;
}
#elif defined(__aarch64__)
static inline long sys_call_raw(long nr, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
static inline void sys_relax(void) { __asm__ volatile("yield" ::: "memory"); }
static inline u64 sys_thread_pointer(void) { return (u64)__builtin_thread_pointer(); }
#else
#error "quarry runs on x86-64 and aarch64"
#endif

#if defined(QUARRY_INJECT)
/* site: the return address of the function of sys/ that makes the call. */
long sys_call_judged(const void *site, long nr, long a, long b, long c, long d, long e, long f);
#define sys_call(nr, a, b, c, d, e, f) sys_call_judged(__builtin_return_address(0), (nr), (a), (b), (c), (d), (e), (f))
#else
#define sys_call sys_call_raw
#endif

/* Of a program that forbids itself system calls: see sys_prctl(). */
extern HIDDEN _Atomic(bool) sys_confined;
/* SYS0 to SYS6 for calls that no allocator needs: -EPERM where they may be a program's death. */
#define SYS_RARE(args_nr, ...)                                                                                         \
    (atomic_load_explicit(&sys_confined, memory_order_relaxed) ? -EPERM : SYS##args_nr(__VA_ARGS__))

#define SYS0(nr) sys_call((nr), 0, 0, 0, 0, 0, 0)
#define SYS1(nr, a) sys_call((nr), (long)(a), 0, 0, 0, 0, 0)
#define SYS2(nr, a, b) sys_call((nr), (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3(nr, a, b, c) sys_call((nr), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4(nr, a, b, c, d) sys_call((nr), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS6(nr, a, b, c, d, e, f) sys_call((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
