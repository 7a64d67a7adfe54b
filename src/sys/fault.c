/* SPDX-License-Identifier: MIT */
/* The handler of SIGSEGV, and reading memory that may not be there. Contract in fault.h. */
#include "sys/fault.h"

#include "sys/call.h"

#include <signal.h>
#include <string.h>
#include <sys/uio.h>
#include <ucontext.h>

static void (*fault_fn)(const struct sys_fault *fault);

#if defined(__x86_64__)
static void regs_get(const ucontext_t *context, struct sys_fault *ret_fault) {
    const greg_t *regs = context->uc_mcontext.gregs;
    enum { R8 = 0, RCX = 14, RSP = 15 }; /* the order of struct sigcontext */
    for (unsigned i = R8; i <= RCX; i++)
        ret_fault->regs[ret_fault->regs_nr++] = (u64)regs[i];
    ret_fault->stack_pointer = (u64)regs[RSP];
}
#else
static void regs_get(const ucontext_t *context, struct sys_fault *ret_fault) {
    for (unsigned i = 0; i < 31; i++)
        ret_fault->regs[ret_fault->regs_nr++] = context->uc_mcontext.regs[i];
    ret_fault->stack_pointer = context->uc_mcontext.sp;
}
#endif

/* The instruction fails again, and then nobody is asked. A signal that was sent must be sent again. */
static void handler(int signal_nr, siginfo_t *info, void *context) {
    struct sys_fault fault = {.address = (u64)(uintptr_t)info->si_addr};
    struct sigaction now, fatal;
    memset(&fatal, 0, sizeof(fatal));
    fatal.sa_handler = SIG_DFL;
    if (sigaction(signal_nr, NULL, &now) == 0 && now.sa_sigaction == handler)
        (void)sigaction(signal_nr, &fatal, NULL);
    if (info->si_code <= 0) {
        (void)raise(signal_nr); /* blocked here: it ends the program on return */
        return;
    }
    regs_get(context, &fault);
    fault_fn(&fault);
}

bool sys_fault_watch(void (*fn)(const struct sys_fault *fault)) {
    struct sigaction now, watch;
    if (sigaction(SIGSEGV, NULL, &now) != 0 || now.sa_handler != SIG_DFL)
        return false;
    memset(&watch, 0, sizeof(watch));
    watch.sa_sigaction = handler;
    watch.sa_flags = SA_SIGINFO | SA_ONSTACK;
    fault_fn = fn;
    return sigaction(SIGSEGV, &watch, NULL) == 0;
}

size_t sys_memory_read(void *to, u64 from, size_t bytes) {
    struct iovec here = {to, bytes}, there = {(void *)(uintptr_t)from, bytes}; // NOLINT(performance-no-int-to-ptr)
    long done = SYS6(SYS_process_vm_readv, SYS0(SYS_getpid), &here, 1, &there, 1, 0);
    return done < 0 ? 0 : (size_t)done;
}
