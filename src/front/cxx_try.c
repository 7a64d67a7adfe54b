/* SPDX-License-Identifier: MIT */
/*
 * A try block in C: the half of cxx_try() that decides. The frame itself is arch/<cpu>/cxx_try.S: it calls the
 * function, names cxx_try_personality() in its unwind data and has a landing pad. Why not C++, and why not the
 * runtime's own nothrow new: docs/adr/0020-nothrow-new-in-c.md. Called by the unwinder (Itanium C++ ABI, exception
 * handling, level I) and by the frame.
 */
#include "front/cxx_runtime.h"

/* Of <unwind.h>, whose functions we may only reach through cxx_runtime.h. */
enum unwind_action { UNWIND_SEARCH_PHASE = 1, UNWIND_FORCED = 8 };
enum unwind_reason { UNWIND_HANDLER_FOUND = 6, UNWIND_INSTALL_CONTEXT = 7, UNWIND_CONTINUE = 8 };

/* The frame's landing pad: takes the exception in the first return register. */
extern const char cxx_try_landing_pad[];

enum unwind_reason cxx_try_personality(int version, int actions, u64 class, void *exception, void *context);
void cxx_try_swallow(void *exception, const struct cxx_runtime *runtime);

/* Every exception is caught here; a thread that is being cancelled (forced unwinding) passes through. */
enum unwind_reason cxx_try_personality(int version, int actions, u64 class, void *exception, void *context) {
    struct cxx_unwinder unwinder;
    (void)version;
    (void)class;
    if ((actions & UNWIND_FORCED) != 0)
        return UNWIND_CONTINUE;
    cxx_unwinder_find(__builtin_return_address(0), &unwinder);
    if (unwinder.set_gr == NULL || unwinder.set_ip == NULL)
        return UNWIND_CONTINUE;
    if ((actions & UNWIND_SEARCH_PHASE) != 0)
        return UNWIND_HANDLER_FOUND;
    unwinder.set_gr(context, __builtin_eh_return_data_regno(0), (uintptr_t)exception);
    unwinder.set_ip(context, (uintptr_t)cxx_try_landing_pad);
    return UNWIND_INSTALL_CONTEXT;
}

/* The body of the catch block: the exception is destroyed. */
void cxx_try_swallow(void *exception, const struct cxx_runtime *runtime) {
    (void)runtime->begin_catch(exception);
    runtime->end_catch();
}
