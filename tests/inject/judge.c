/* SPDX-License-Identifier: MIT */
/*
 * The function between the library and the kernel in the test library: counts the calls of one number, notes where each
 * was made, and refuses those the rule names. Nothing reaches the kernel for a call that is refused. What happens
 * before the program can set a rule is ruled by the environment: INJECT=NUMBER:ERROR:FIRST:MANY:BESIDE:EVERY.
 */
#include "inject.h"

#include "big/lot.h"
#include "sys/call.h"
#include "sys/sys.h"

#include <errno.h>
#include <sys/single_threaded.h>
#include <time.h>

/* Where the library was loaded; a linker's symbol. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

static struct inject rule = {.nr = -1, .beside_nr = -1};
static _Atomic(bool) settled;
static _Atomic(long) paused_ns;

struct inject *inject_get(void) {
    __libc_single_threaded = 0; /* who never had a second thread asks for no barrier, and none could be refused */
    return &rule;
}
size_t inject_spare_bytes(void) { return sys_vm_lost_bytes() + lot_free_bytes_racy(); }

static long number_next(const char **text) {
    long n = 0;
    for (; **text >= '0' && **text <= '9'; ++*text)
        n = n * 10 + (**text - '0');
    *text += **text == ':';
    return n;
}

static void environment_read(char *const *envp) {
    static const char name[] = "INJECT=";
    for (; envp != NULL && *envp != NULL; envp++) {
        const char *at = *envp;
        for (size_t i = 0; i < sizeof(name) - 1 && *at == name[i]; i++)
            at++;
        if (at != *envp + sizeof(name) - 1)
            continue;
        rule.nr = number_next(&at);
        rule.error = (int)number_next(&at);
        rule.first = (unsigned)number_next(&at);
        rule.many = (unsigned)number_next(&at);
        rule.beside_nr = number_next(&at);
        rule.beside_every = (unsigned)number_next(&at);
    }
}

/* The library's clock (the linker's --wrap): it stands while someone looks at a call before it is judged. */
int __real_sys_clock_read(int clock, struct timespec *ret_time);
int __wrap_sys_clock_read(int clock, struct timespec *ret_time);

enum { NS_PER_S = 1000000000 };

static long ns_of(const struct timespec *time) { return time->tv_sec * NS_PER_S + time->tv_nsec; }

int __wrap_sys_clock_read(int clock, struct timespec *ret_time) {
    int error = __real_sys_clock_read(clock, ret_time);
    long ns = ns_of(ret_time) - atomic_load(&paused_ns);
    *ret_time = (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
    return error;
}

static void call_show(unsigned call) {
    void (*before)(unsigned) = atomic_load(&rule.before);
    struct timespec start, end;
    if (before == NULL)
        return;
    (void)__real_sys_clock_read(CLOCK_MONOTONIC, &start);
    before(call);
    (void)__real_sys_clock_read(CLOCK_MONOTONIC, &end);
    atomic_fetch_add(&paused_ns, ns_of(&end) - ns_of(&start));
}

static bool rule_denies(const void *site) {
    unsigned call = atomic_fetch_add(&rule.calls, 1) + 1;
    if (call <= INJECT_CALLS_MAX)
        atomic_store(&rule.sites[call - 1], (unsigned long)((const char *)site - __ehdr_start));
    call_show(call);
    unsigned first = atomic_load(&rule.first);
    if (first == 0 || call < first || call - first >= atomic_load(&rule.many))
        return false;
    atomic_fetch_add(&rule.denied, 1);
    return true;
}

static bool rule_concerns(long nr) {
    static const long any[] = {SYS_mmap,   SYS_mprotect,        SYS_madvise,    SYS_mremap, SYS_munmap,
                               SYS_openat, SYS_process_madvise, SYS_membarrier, SYS_futex};
    long ruled = atomic_load(&rule.nr);
    for (unsigned i = 0; ruled == INJECT_ANY && i < sizeof(any) / sizeof(any[0]); i++) {
        if (nr == any[i])
            return true;
    }
    return nr == ruled;
}

static bool beside_denies(void) {
    unsigned every = atomic_load(&rule.beside_every);
    return every != 0 && atomic_fetch_add(&rule.beside_calls, 1) % every == 0;
}

long sys_call_judged(const void *site, long nr, long a, long b, long c, long d, long e, long f) {
    if (!atomic_exchange(&settled, true))
        environment_read(sys_environ());
    if (rule_concerns(nr) && rule_denies(site))
        return -(long)atomic_load(&rule.error);
    if (nr == atomic_load(&rule.beside_nr) && beside_denies())
        return -ENOMEM;
    return sys_call_raw(nr, a, b, c, d, e, f);
}
