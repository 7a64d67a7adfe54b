/* SPDX-License-Identifier: MIT */
/*
 * The C++ runtime, found at link time. The references are strong, because a weak one does not make the linker take a
 * member out of libstdc++.a, and bad_alloc would not be thrown for want of its code. Only a program with C++ in it
 * reaches this file (through cxx.c, through an operator it uses), and such a program links a runtime. For the static
 * library alone.
 */
#include "front/cxx_runtime.h"

extern cxx_handler_fn *_ZSt15get_new_handlerv(void);
extern void _ZSt17__throw_bad_allocv(void);
extern void *__cxa_begin_catch(void *exception);
extern void __cxa_end_catch(void);
extern void _Unwind_SetGR(void *context, int nr, uintptr_t value);
extern void _Unwind_SetIP(void *context, uintptr_t address);

void cxx_runtime_find(const void *caller, struct cxx_runtime *ret_runtime) {
    (void)caller;
    *ret_runtime = (struct cxx_runtime){
        .get_new_handler = _ZSt15get_new_handlerv,
        .throw_bad_alloc = _ZSt17__throw_bad_allocv,
        .begin_catch = __cxa_begin_catch,
        .end_catch = __cxa_end_catch,
    };
}

void cxx_unwinder_find(const void *caller, struct cxx_unwinder *ret_unwinder) {
    (void)caller;
    *ret_unwinder = (struct cxx_unwinder){.set_gr = _Unwind_SetGR, .set_ip = _Unwind_SetIP};
}
