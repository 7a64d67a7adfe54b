/* SPDX-License-Identifier: MIT */
/* The process: environment, output, threads, fork. Contract in sys.h. */
#include "sys/call.h"
#include "sys/fault.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

enum { THREAD_STACK_BYTES = 64 * 1024, LINES_WINDOW_BYTES = 1024 };

extern char **environ;
/* glibc: where the kernel put argc; known before environ is. */
extern void *__libc_stack_end __attribute__((weak));

char *const *sys_environ(void) {
    if (environ != NULL)
        return environ;
    if (&__libc_stack_end == NULL || __libc_stack_end == NULL)
        return NULL;
    long argc = *(long *)__libc_stack_end;
    /* argc, argv[argc], NULL, then the environment. */
    return (char *const *)__libc_stack_end + 1 + argc + 1;
}

/* The kernel tells where the program's headers lie. Segments that are made read-only later (relocated constants) count
 * as written: they hold pointers, not text. */
bool sys_program_constant(const void *p) {
    const ElfW(Phdr) *headers = (const ElfW(Phdr) *)getauxval(AT_PHDR); // NOLINT(performance-no-int-to-ptr)
    unsigned long nr = getauxval(AT_PHNUM);
    uintptr_t base = 0, at = (uintptr_t)p;
    for (unsigned long i = 0; i < nr; i++) {
        if (headers[i].p_type == PT_PHDR)
            base = (uintptr_t)headers - headers[i].p_vaddr;
    }
    for (unsigned long i = 0; i < nr; i++) {
        const ElfW(Phdr) *h = &headers[i];
        if (h->p_type == PT_LOAD && (h->p_flags & PF_W) == 0 && at - base - h->p_vaddr < h->p_filesz)
            return true;
    }
    return false;
}

_Atomic(bool) sys_confined;

bool sys_is_confined(void) { return atomic_load_explicit(&sys_confined, memory_order_relaxed); }

long sys_prctl(int op, const unsigned long args[4]) {
    if (op == PR_SET_NO_NEW_PRIVS || op == PR_SET_SECCOMP)
        atomic_store_explicit(&sys_confined, true, memory_order_relaxed);
    return SYS6(SYS_prctl, op, args[0], args[1], args[2], args[3], 0);
}

bool sys_secure(void) { return getauxval(AT_SECURE) != 0; }

void sys_write(int fd, const char *text, size_t bytes) {
    while (bytes > 0) {
        long done = SYS3(SYS_write, fd, text, bytes);
        if (done <= 0)
            return;
        text += done;
        bytes -= (size_t)done;
    }
}

void sys_stderr(const char *text, size_t bytes) { sys_write(2, text, bytes); }

s64 sys_read_file(const char *path, char *buf, size_t cap_bytes) {
    long fd = SYS4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    size_t len = 0;
    long got = 0;
    while (len + 1 < cap_bytes && (got = SYS3(SYS_read, fd, buf + len, cap_bytes - 1 - len)) > 0)
        len += (size_t)got;
    buf[len] = '\0';
    (void)SYS1(SYS_close, fd);
    return got < 0 ? got : (s64)len;
}

/* The C library's own, which it lets nobody ask about. */
#define SIGNALS_OF_LIBC ((u64)3 << (32 - 1))
/* Nobody can block them, or, for musl's third, musl lets nobody. */
#define SIGNALS_NEVER_BLOCKED (SIGNALS_OF_LIBC | SIGNAL(34) | SIGNAL(SIGKILL) | SIGNAL(SIGSTOP))
/* Of faults: no thread blocks them to wait for them, but one that blocks all signals. */
#define SIGNALS_OF_FAULTS                                                                                              \
    (SIGNAL(SIGSEGV) | SIGNAL(SIGBUS) | SIGNAL(SIGFPE) | SIGNAL(SIGILL) | SIGNAL(SIGABRT) | SIGNAL(SIGTRAP))
#define SIGNAL(nr) ((u64)1 << ((nr)-1))

bool sys_handler_maybe(void) {
    struct sigaction now;
    u64 mask = 0;
    if (SYS4(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof(mask)) != 0)
        return true;
    if ((mask & SIGNALS_OF_FAULTS) != 0 && (mask | SIGNALS_NEVER_BLOCKED) != ~(u64)0)
        return true; /* whether it still has its handler or not */
    for (mask &= ~SIGNALS_OF_LIBC; mask != 0; mask &= mask - 1) {
        if (sigaction(__builtin_ctzll(mask) + 1, NULL, &now) != 0 ||
            (now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN && !sys_fault_is_ours((uintptr_t)now.sa_sigaction)))
            return true;
    }
    return false;
}

static __thread bool serves; /* of threads of sys_thread_start, and others who say so */

void sys_thread_serve(void) { serves = true; }
bool sys_calls_nobody(void) { return serves || sys_handler_maybe(); }

int sys_file_open(const char *path) { return (int)SYS4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0); }

s64 sys_file_read_at(int fd, void *buf, size_t bytes, u64 offset_bytes) {
    return SYS4(SYS_pread64, fd, buf, bytes, offset_bytes);
}

struct lines {
    bool (*match)(const char *line, void *arg);
    void *arg;
    bool inside; /* of a line whose beginning was shown */
    char text[LINES_WINDOW_BYTES];
};

static bool line_show(struct lines *l, size_t start, size_t end) {
    bool rest = l->inside;
    l->inside = false;
    l->text[end] = '\0';
    return !rest && l->match(l->text + start, l->arg);
}

/* The lines that end in the first bytes of the window; *ret_used is how much of it they are. */
static bool window_find(struct lines *l, size_t bytes, size_t *ret_used) {
    bool found = false;
    *ret_used = 0;
    for (size_t at = 0; at < bytes && !found; at++) {
        if (l->text[at] != '\n')
            continue;
        found = line_show(l, *ret_used, at);
        *ret_used = at + 1;
    }
    return found;
}

bool sys_lines_find(const char *path, bool (*match)(const char *line, void *arg), void *arg) {
    struct lines l;
    l.match = match;
    l.arg = arg;
    l.inside = false;
    int fd = sys_file_open(path);
    bool found = false;
    s64 got;
    size_t used;
    for (u64 at = 0; fd >= 0 && !found && (got = sys_file_read_at(fd, l.text, sizeof(l.text) - 1, at)) > 0;
         at += used) {
        found = window_find(&l, (size_t)got, &used);
        if (used > 0)
            continue;
        found = line_show(&l, 0, used = (size_t)got); /* longer than the window, or the last, without its newline */
        l.inside = true;
    }
    if (fd >= 0)
        sys_file_close(fd);
    return found;
}

void sys_file_close(int fd) { (void)SYS1(SYS_close, fd); }

_Noreturn void sys_abort(void) {
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        u64 mask;
    } dfl = {0};
    u64 only_abort = (u64)1 << (SIGABRT - 1);
    long pid = SYS0(SYS_getpid);
    long tid = SYS0(SYS_gettid);
    (void)SYS4(SYS_rt_sigprocmask, SIG_UNBLOCK, &only_abort, 0, sizeof(u64));
    (void)SYS3(SYS_tgkill, pid, tid, SIGABRT);
    (void)SYS4(SYS_rt_sigaction, SIGABRT, &dfl, 0, sizeof(u64));
    (void)SYS3(SYS_tgkill, pid, tid, SIGABRT);
    for (;;)
        __builtin_trap();
}

void sys_random(void *to, size_t bytes) {
    enum { NO_WAIT = 1 };
    if (SYS3(SYS_getrandom, to, bytes, NO_WAIT) == (long)bytes)
        return;
    u64 x = sys_clock_ns() ^ (u64)(uintptr_t)to << 16;
    for (size_t i = 0; i < bytes; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        ((u8 *)to)[i] = (u8)(x >> 56);
    }
}

u32 sys_process_id(void) { return (u32)SYS0(SYS_getpid); }
u64 sys_thread_self(void) { return sys_thread_pointer(); }
uintptr_t sys_stack_pointer(void) { return (uintptr_t)__builtin_frame_address(0); }

void sys_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
    (void)pthread_atfork(prepare, parent, child);
}

static void *thread_main(void *body) {
    sys_thread_serve();
    ((void (*)(void))body)(); // NOLINT: a function pointer carried through void *
    return NULL;
}

int sys_thread_start(void (*body)(void)) {
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int err = pthread_create(&thread, &attr, thread_main, (void *)body);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return -err;
}
