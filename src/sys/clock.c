/* SPDX-License-Identifier: MIT */
/* Time, and waiting. A valid clock does not fail. */
#include "sys/call.h"
#include "sys/span.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <time.h>

enum { MS_PER_S = 1000, NS_PER_MS = 1000000 };

u64 sys_clock_ms(void) {
    struct timespec now = {0};
    (void)sys_clock_read(CLOCK_MONOTONIC_COARSE, &now);
    return (u64)now.tv_sec * MS_PER_S + (u64)now.tv_nsec / NS_PER_MS;
}

u64 sys_clock_ns(void) {
    struct timespec now = {0};
    (void)sys_clock_read(CLOCK_MONOTONIC, &now);
    return (u64)now.tv_sec * MS_PER_S * NS_PER_MS + (u64)now.tv_nsec;
}

/* Not in the vDSO: a system call, which a sandbox may refuse. */
u64 sys_clock_thread_ns(void) {
    struct timespec now = {0};
    (void)sys_clock_read(CLOCK_THREAD_CPUTIME_ID, &now);
    return (u64)now.tv_sec * MS_PER_S * NS_PER_MS + (u64)now.tv_nsec;
}

/* Waits of the thread's own, of which being put off its CPU is none; they too are a system call to know. */
#define WAITS_UNKNOWN UINT64_MAX
static u64 waits_nr(void) {
    struct rusage use = {0};
    return SYS_RARE(2, SYS_getrusage, RUSAGE_THREAD, &use) == 0 ? (u64)use.ru_nvcsw : WAITS_UNKNOWN;
}

void sys_watch_begin(struct sys_watch *ret_watch) {
    *ret_watch = (struct sys_watch){.ran_ns = sys_clock_thread_ns(), .waits_nr = waits_nr()};
    ret_watch->start_ns = sys_clock_ns();
}

u64 sys_watch_ns(const struct sys_watch *watch) {
    u64 took = sys_clock_ns() - watch->start_ns, ran = sys_clock_thread_ns() - watch->ran_ns;
    bool ran_only = watch->ran_ns != 0 && watch->waits_nr != WAITS_UNKNOWN && waits_nr() == watch->waits_nr;
    return ran_only ? MIN(took, ran) : took;
}

void sys_sleep_ms(unsigned ms) {
    struct timespec span = sys_span_of_ms(ms);
    (void)SYS2(SYS_nanosleep, &span, 0);
}

int sys_pipe(int ends[2]) { return (int)SYS2(SYS_pipe2, ends, O_CLOEXEC); }

bool sys_pipe_wait(int end, unsigned ms) {
    struct pollfd fd = {.fd = end, .events = POLLIN};
    struct timespec span = sys_span_of_ms(ms);
    return SYS6(SYS_ppoll, &fd, 1, &span, 0, 0, 0) > 0;
}

void sys_pipe_write(int end) { (void)SYS3(SYS_write, end, "", 1); }
void sys_close(int fd) { (void)SYS1(SYS_close, fd); }
