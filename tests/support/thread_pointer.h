/* SPDX-License-Identifier: MIT */
/* __builtin_thread_pointer(), which gcc has on x86-64 from 11 on. */
#ifndef QUARRY_TESTS_THREAD_POINTER_H
#define QUARRY_TESTS_THREAD_POINTER_H

static inline char *thread_pointer(void) {
#ifdef __x86_64__
    char *self;
    __asm__("movq %%fs:0, %0" : "=r"(self));
    return self;
#else
    return __builtin_thread_pointer();
#endif
}

#endif
