/* SPDX-License-Identifier: MIT */
/*
 * The filter: refuse one number with an errno, allow the rest. The architecture is not looked at, because the test
 * programs issue native calls alone. See deny.h.
 */
#include "deny.h"

#include "check.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A filter that does not bite would let every test behind it pass. Refused calls do nothing, whatever their arguments.
 */
static void denial_check(long syscall_nr, int error) {
    errno = 0;
    CHECK(syscall(syscall_nr, 0, 0, 0, 0, 0, 0) == -1 && errno == error);
}

void deny_syscall(long syscall_nr, int error) {
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)syscall_nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((unsigned)error & SECCOMP_RET_DATA)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof steps / sizeof steps[0], steps};

    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0) {
        denial_check(syscall_nr, error);
        return;
    }
    if (errno == ENOSYS || errno == EINVAL)
        check_skip("no seccomp filters in this kernel (errno %d)", errno);
    check_fail(__FILE__, __LINE__, "seccomp filter refused with errno %d", errno);
}
