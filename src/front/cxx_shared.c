/* SPDX-License-Identifier: MIT */
/*
 * The C++ runtime, found at run time. First by weak references: the dynamic linker binds them when the program itself
 * uses C++. A process that only loads C++ modules privately (an interpreter and its extensions) has the runtime in no
 * global scope; the scope of the object that asked for memory has it. For the shared library alone.
 */
#include "front/cxx_runtime.h"

#include <dlfcn.h>

/* std::get_new_handler() and std::__throw_bad_alloc(), of libstdc++ and libc++ alike; the rest is the Itanium C++
 * ABI's. */
extern cxx_handler_fn *_ZSt15get_new_handlerv(void) __attribute__((weak));
extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak));
extern void *__cxa_begin_catch(void *exception) __attribute__((weak));
extern void __cxa_end_catch(void) __attribute__((weak));
extern void _Unwind_SetGR(void *context, int nr, uintptr_t value) __attribute__((weak));
extern void _Unwind_SetIP(void *context, uintptr_t address) __attribute__((weak));

/* dlsym in the scope of the object that holds caller. The object is running, so it stays loaded when the handle is
 * closed. */
static void *private_symbol(const void *caller, const char *name) {
    Dl_info object;
    if (dladdr(caller, &object) == 0)
        return NULL;
    void *handle = dlopen(object.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (handle == NULL)
        return NULL;
    void *symbol = dlsym(handle, name);
    (void)dlclose(handle);
    return symbol;
}

/* Function pointers and object pointers are one on every system dlsym exists on. */
#define FIND(function, caller)                                                                                         \
    (&(function) != NULL ? &(function) : (__typeof__(&(function)))private_symbol((caller), #function))

void cxx_runtime_find(const void *caller, struct cxx_runtime *ret_runtime) {
    *ret_runtime = (struct cxx_runtime){
        .get_new_handler = FIND(_ZSt15get_new_handlerv, caller),
        .throw_bad_alloc = FIND(_ZSt17__throw_bad_allocv, caller),
        .begin_catch = FIND(__cxa_begin_catch, caller),
        .end_catch = FIND(__cxa_end_catch, caller),
    };
}

void cxx_unwinder_find(const void *caller, struct cxx_unwinder *ret_unwinder) {
    *ret_unwinder = (struct cxx_unwinder){
        .set_gr = FIND(_Unwind_SetGR, caller),
        .set_ip = FIND(_Unwind_SetIP, caller),
    };
}
