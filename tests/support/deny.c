/* SPDX-License-Identifier: MIT */
/*
 * The filter: refuse some numbers with an errno, allow the rest. The architecture is not looked at, because the test
 * programs issue native calls alone. See deny.h.
 */
#include "deny.h"

#include "check.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
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

enum { DENIED_MAX = 64, STEPS_BESIDE = 3 };

static struct sock_fprog filter_make(struct sock_filter *steps, const long *syscall_nrs, size_t nr, unsigned action) {
    size_t at = 0;

    CHECK(nr <= DENIED_MAX);
    steps[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    /* Behind the comparisons: allow, then refuse. */
    for (size_t i = 0; i < nr; i++)
        steps[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)syscall_nrs[i],
                                                   (unsigned char)(nr - i), 0);
    steps[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    steps[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
    return (struct sock_fprog){(unsigned short)at, steps};
}

static void filter_install(const struct sock_fprog *program) {
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, program) == 0)
        return;
    if (errno == ENOSYS || errno == EINVAL)
        check_skip("no seccomp filters in this kernel (errno %d)", errno);
    check_fail(__FILE__, __LINE__, "seccomp filter refused with errno %d", errno);
}

void deny_syscalls(const long *syscall_nrs, size_t nr, int error) {
    struct sock_filter steps[DENIED_MAX + STEPS_BESIDE];
    struct sock_fprog program =
        filter_make(steps, syscall_nrs, nr, SECCOMP_RET_ERRNO | ((unsigned)error & SECCOMP_RET_DATA));

    filter_install(&program);
    for (size_t i = 0; i < nr; i++)
        denial_check(syscall_nrs[i], error);
}

void deny_deadly(long syscall_nr) {
    struct sock_filter steps[DENIED_MAX + STEPS_BESIDE];
    struct sock_fprog program = filter_make(steps, &syscall_nr, 1, SECCOMP_RET_KILL_PROCESS);

    filter_install(&program);
}

void deny_as_sshd(void) {
    static const long allowed[] = {
        SYS_brk,          SYS_clock_gettime,   SYS_close,  SYS_exit,         SYS_exit_group, SYS_futex,
        SYS_geteuid,      SYS_getpgid,         SYS_getpid, SYS_getrandom,    SYS_gettid,     SYS_getuid,
        SYS_gettimeofday, SYS_madvise,         SYS_mmap,   SYS_mprotect,     SYS_mremap,     SYS_munmap,
        SYS_nanosleep,    SYS_clock_nanosleep, SYS_ppoll,  SYS_pselect6,     SYS_read,       SYS_rt_sigprocmask,
        SYS_shutdown,     SYS_write,           SYS_writev, SYS_rt_sigreturn,
    };
    static const long failing[] = {SYS_openat, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_shmget, SYS_shmat, SYS_shmdt};
    enum { ALLOWED_NR = sizeof allowed / sizeof allowed[0], FAILING_NR = sizeof failing / sizeof failing[0] };
    struct sock_filter steps[1 + 2 * (ALLOWED_NR + FAILING_NR) + 1];
    size_t at = 0;

    steps[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < ALLOWED_NR + FAILING_NR; i++) {
        bool fails = i >= ALLOWED_NR;
        long syscall_nr = fails ? failing[i - ALLOWED_NR] : allowed[i];
        steps[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)syscall_nr, 0, 1);
        steps[at++] =
            (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, fails ? SECCOMP_RET_ERRNO | EACCES : SECCOMP_RET_ALLOW);
    }
    steps[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {(unsigned short)at, steps};
    filter_install(&program);
}

/* All from first on. */
static void deny_from(long first, int error) {
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (unsigned)first, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((unsigned)error & SECCOMP_RET_DATA)),
    };
    struct sock_fprog program = {sizeof steps / sizeof steps[0], steps};

    filter_install(&program);
    denial_check(first, error);
}

void deny_syscall(long syscall_nr, int error) { deny_syscalls(&syscall_nr, 1, error); }

/* What both runtimes reserve for capabilities a container does not have. */
static const long privileged[] = {SYS_mbind,
                                  SYS_set_mempolicy,
                                  SYS_get_mempolicy,
                                  SYS_perf_event_open,
                                  SYS_bpf,
                                  SYS_process_vm_readv,
                                  SYS_process_vm_writev,
                                  SYS_process_madvise,
                                  SYS_ptrace,
                                  SYS_kcmp,
                                  SYS_setns,
                                  SYS_fanotify_init,
                                  SYS_open_by_handle_at,
                                  SYS_lookup_dcookie,
                                  SYS_quotactl,
                                  SYS_chroot,
                                  SYS_acct,
                                  SYS_init_module,
                                  SYS_finit_module,
                                  SYS_delete_module,
                                  SYS_settimeofday,
                                  SYS_clock_settime,
                                  SYS_sethostname,
                                  SYS_setdomainname,
                                  SYS_vhangup};
enum { NEWER_THAN_THE_PROFILES = 442 }; /* the last that profiles of 2021 name is one less, on every machine */
#define NR(list) (sizeof(list) / sizeof((list)[0]))

/* Whatever the list of allowed calls does not have fails with EPERM. */
void deny_as_docker(void) {
    static const long refused[] = {SYS_move_pages,
                                   SYS_migrate_pages,
                                   SYS_io_uring_setup,
                                   SYS_io_uring_enter,
                                   SYS_io_uring_register,
                                   SYS_userfaultfd,
                                   SYS_add_key,
                                   SYS_request_key,
                                   SYS_keyctl,
                                   SYS_pidfd_getfd,
                                   SYS_unshare,
                                   SYS_mount,
                                   SYS_umount2,
                                   SYS_move_mount,
                                   SYS_open_tree,
                                   SYS_fsopen,
                                   SYS_fsconfig,
                                   SYS_fsmount,
                                   SYS_fspick,
                                   SYS_pivot_root,
                                   SYS_name_to_handle_at,
                                   SYS_syslog,
                                   SYS_reboot,
                                   SYS_swapon,
                                   SYS_swapoff,
                                   SYS_kexec_load,
                                   SYS_clock_adjtime};

    deny_syscalls(privileged, NR(privileged), EPERM);
    deny_syscalls(refused, NR(refused), EPERM);
    deny_syscall(SYS_clone3, ENOSYS);
    deny_from(NEWER_THAN_THE_PROFILES, ENOSYS);
}

/* A list of refused calls, which membarrier is on, beside that of the allowed ones; what is on neither is unknown. */
void deny_as_podman(void) {
    static const long refused[] = {SYS_membarrier, SYS_migrate_pages, SYS_move_pages, SYS_userfaultfd,
                                   SYS_vmsplice,   SYS_kexec_load,    SYS_swapon,     SYS_swapoff};
    static const long unknown[] = {SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_add_key,
                                   SYS_request_key};

    deny_syscalls(privileged, NR(privileged), EPERM);
    deny_syscalls(refused, NR(refused), EPERM);
    deny_syscalls(unknown, NR(unknown), ENOSYS);
    deny_from(NEWER_THAN_THE_PROFILES, ENOSYS);
}
