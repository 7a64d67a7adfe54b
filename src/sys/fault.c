/* SPDX-License-Identifier: MIT */
/* The handler of SIGSEGV, and reading memory that may not be there. Contract in fault.h. */
#include "sys/fault.h"

#include "sys/call.h"
#include "sys/symbol.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/uio.h>
#include <ucontext.h>

enum { WATCHERS_MAX = 2 };
static void (*_Atomic watchers[WATCHERS_MAX])(const struct sys_fault *fault);
static struct sigaction before; /* what comes after us: written before the handler is set */

#if defined(__x86_64__)
static void regs_get(const ucontext_t *context, struct sys_fault *ret_fault) {
    const greg_t *regs = context->uc_mcontext.gregs;
    enum { R8 = 0, RDI = 8, RSI, RBP, RBX, RDX, RAX, RCX, RSP, RIP, ERR = 19 }; /* the order of struct sigcontext */
    enum { ERR_WRITE = 2 };
    static const u8 order[] = {RAX, RDX, RCX, RBX, RSI, RDI, RBP, RSP}; /* and that of the unwind tables */
    for (unsigned i = R8; i <= RCX; i++)
        ret_fault->regs[ret_fault->regs_nr++] = (u64)regs[i];
    ret_fault->stack_pointer = (u64)regs[RSP];
    ret_fault->access = (regs[ERR] & ERR_WRITE) != 0 ? SYS_ACCESS_WRITE : SYS_ACCESS_READ;
    for (unsigned i = 0; i < ARRAY_NR(order); i++) {
        ret_fault->frame.regs[i] = (u64)regs[order[i]];
        ret_fault->frame.regs[ARRAY_NR(order) + i] = (u64)regs[R8 + i];
    }
    ret_fault->frame.pc = (u64)regs[RIP];
}
#else
static void regs_get(const ucontext_t *context, struct sys_fault *ret_fault) {
    enum { LINK_REGS_NR = 31 };
    for (unsigned i = 0; i < LINK_REGS_NR; i++) {
        ret_fault->regs[ret_fault->regs_nr++] = context->uc_mcontext.regs[i];
        ret_fault->frame.regs[i] = context->uc_mcontext.regs[i];
    }
    ret_fault->stack_pointer = context->uc_mcontext.sp;
    ret_fault->frame.regs[LINK_REGS_NR] = context->uc_mcontext.sp;
    ret_fault->frame.pc = context->uc_mcontext.pc;
}
#endif

/* The instruction fails again, and then goes where it would have gone without us. A signal that was sent must be sent
 * again; it is blocked here. */
static void handler(int signal_nr, siginfo_t *info, void *context) {
    struct sys_fault fault = {.address = (u64)(uintptr_t)info->si_addr};
    int saved_errno = errno;
    if (info->si_code > 0) {
        regs_get(context, &fault);
        for (unsigned i = 0; i < WATCHERS_MAX; i++) {
            void (*fn)(const struct sys_fault *) = atomic_load_explicit(&watchers[i], memory_order_relaxed);
            if (fn != NULL)
                fn(&fault);
        }
    }
    (void)sigaction(signal_nr, &before, NULL);
    if (info->si_code <= 0)
        (void)SYS4(SYS_rt_tgsigqueueinfo, SYS0(SYS_getpid), SYS0(SYS_gettid), signal_nr, info);
    errno = saved_errno;
}

/* A handler of the other of our two libraries does as this one: what comes before it comes back to it. */
static _Atomic(uintptr_t) ally_end, ally_bytes; /* 0 bytes: nothing is in it */

void sys_fault_ally(const void *ally) {
    uintptr_t first, end, at = (uintptr_t)handler;
    if (!sys_module_range(ally, &first, &end) || (at >= first && at < end))
        return; /* linked into one, statically */
    atomic_store_explicit(&ally_end, end, memory_order_relaxed);
    /* order: release: where it ends, for who sees how long it is.                             pairs: [fault.ally] */
    atomic_store_explicit(&ally_bytes, end - first, memory_order_release);
}

static bool is_ally(uintptr_t action) {
    /* order: acquire: where it ends.                                                          pairs: [fault.ally] */
    uintptr_t bytes = atomic_load_explicit(&ally_bytes, memory_order_acquire);
    return atomic_load_explicit(&ally_end, memory_order_relaxed) - 1 - action < bytes;
}
bool sys_fault_is_ours(uintptr_t action) { return action == (uintptr_t)handler || is_ally(action); }

/* The first that is `from` becomes `to`; NULL is an empty place. */
static bool watcher_change(void (*from)(const struct sys_fault *), void (*to)(const struct sys_fault *)) {
    for (unsigned i = 0; i < WATCHERS_MAX; i++) {
        void (*seen)(const struct sys_fault *) = from;
        if (atomic_compare_exchange_strong_explicit(&watchers[i], &seen, to, memory_order_relaxed,
                                                    memory_order_relaxed))
            return true;
    }
    return false;
}

/* now: what we saw. Where the program set another between our look and our step, that is put back, and false. A fault
 * in between gets the other as well, once `before` is written. */
static bool handler_set(const struct sigaction *now) {
    struct sigaction watch = *now, old; /* a handler gets the signal again as it would have: its mask, its stack */
    if (now->sa_handler == SIG_DFL)
        memset(&watch, 0, sizeof(watch));
    watch.sa_sigaction = handler;
    watch.sa_flags = (watch.sa_flags & ~(int)SA_RESETHAND) | SA_SIGINFO | SA_ONSTACK;
    before = *now;
    if (sigaction(SIGSEGV, &watch, &old) != 0)
        return false;
    if (old.sa_sigaction == now->sa_sigaction || old.sa_sigaction == handler)
        return true;
    before = old;
    (void)sigaction(SIGSEGV, &old, NULL);
    return false;
}

bool sys_fault_watch(void (*fn)(const struct sys_fault *fault), enum sys_fault_chain chain) {
    struct sigaction now;
    if (atomic_load_explicit(&sys_confined, memory_order_relaxed) || sigaction(SIGSEGV, NULL, &now) != 0 ||
        now.sa_handler == SIG_IGN)
        return false;
    bool ours = now.sa_sigaction == handler;
    if (!ours && chain == SYS_FAULT_ALONE && now.sa_handler != SIG_DFL && !is_ally((uintptr_t)now.sa_sigaction))
        return false;
    if (!watcher_change(NULL, fn)) /* before the handler, whose first fault is its last */
        return false;
    if (ours || handler_set(&now))
        return true;
    (void)watcher_change(fn, NULL);
    return false;
}

size_t sys_memory_read(void *to, u64 from, size_t bytes) {
    struct iovec here = {to, bytes}, there = {(void *)(uintptr_t)from, bytes}; // NOLINT(performance-no-int-to-ptr)
    long done = SYS_RARE(6, SYS_process_vm_readv, SYS0(SYS_getpid), &here, 1, &there, 1, 0);
    return done < 0 ? 0 : (size_t)done;
}
