/* SPDX-License-Identifier: MIT */
/*
 * process_start: what a preloaded library costs a process that does nothing. /bin/true (or --program's words) is
 * started without and with each given library, in turn, many times. Timed runs use posix_spawn and wait4 and count page
 * faults (ru_minflt); then one traced run per library counts system calls from the first instruction to the exit and,
 * with the process stopped at the exit, reads its private memory from smaps_rollup and checks that the library is
 * mapped at all. This program itself runs without preload. Run by tools/bars.
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"
#include "../lib/mem.h"

enum { CASES_MAX = 16, ROUNDS_MAX = 10000, ENV_MAX = 1024, TEXT_BYTES = 4096, NS_PER_US = 1000, KIB = 1024 };

static const char preload_prefix[] = "LD_PRELOAD=";

/* One way to start the program: plain, or with one library. */
struct start_case {
    const char *name;
    const char *library; /* NULL: plain */
    char preload[TEXT_BYTES];
    char *env[ENV_MAX];
    double spawn_us[ROUNDS_MAX];
    double faults[ROUNDS_MAX];
    uint64_t syscalls;
    struct mem_rollup at_exit;
};

static struct start_case cases[CASES_MAX];
static size_t cases_nr;
static char *const program_argv[] = {(char[]){"/bin/true"}, NULL};
extern char **environ;

static void case_add(char *word) {
    struct start_case *added = &cases[cases_nr];
    char *equals = strchr(word, '=');
    size_t env_nr = 0;

    if (cases_nr == CASES_MAX)
        die("more than %d libraries", CASES_MAX);
    added->name = word;
    if (equals != NULL) {
        *equals = '\0';
        added->library = equals + 1;
        if (snprintf(added->preload, TEXT_BYTES, "%s%s", preload_prefix, added->library) >= TEXT_BYTES)
            die("path too long: %s", added->library);
        added->env[env_nr++] = added->preload;
    }
    for (char **variable = environ; *variable != NULL; variable++) {
        if (strncmp(*variable, preload_prefix, strlen(preload_prefix)) == 0)
            continue;
        if (env_nr == ENV_MAX - 1)
            die("more than %d environment variables", ENV_MAX);
        added->env[env_nr++] = *variable;
    }
    cases_nr++;
}

static void exit_check(int status) {
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("%s failed, wait status 0x%x", program_argv[0], (unsigned)status);
}

static void spawn_timed(struct start_case *start, uint64_t round) {
    struct rusage usage;
    int status;
    pid_t pid;
    uint64_t start_ns = clock_now_ns();

    errno = posix_spawn(&pid, program_argv[0], NULL, NULL, program_argv, start->env);
    if (errno != 0)
        die("posix_spawn %s", program_argv[0]);
    if (wait4(pid, &status, 0, &usage) != pid)
        die("wait4");
    start->spawn_us[round] = (double)(clock_now_ns() - start_ns) / NS_PER_US;
    start->faults[round] = (double)usage.ru_minflt;
    exit_check(status);
}

static void maps_check(const struct start_case *start, pid_t pid) {
    char path[TEXT_BYTES];
    char text[TEXT_BYTES];
    const char *slash = strrchr(start->library, '/');
    bool mapped = false;

    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    if (maps == NULL)
        die("open %s", path);
    while (fgets(text, sizeof(text), maps) != NULL)
        mapped = mapped || strstr(text, slash != NULL ? slash : start->library) != NULL;
    fclose(maps);
    if (!mapped)
        die("%s is not mapped into %s", start->library, program_argv[0]);
}

static void ptrace_do(enum __ptrace_request request, pid_t pid, uintptr_t data) {
    if (ptrace(request, pid, NULL, (void *)data) != 0)
        die("ptrace request %d", (int)request);
}

static pid_t traced_start(const struct start_case *start) {
    int status;
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid == 0) {
        ptrace_do(PTRACE_TRACEME, 0, 0);
        execve(program_argv[0], program_argv, start->env);
        _exit(EXIT_FAILURE);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
        die("%s did not start under trace", program_argv[0]);
    ptrace_do(PTRACE_SETOPTIONS, pid, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL);
    return pid;
}

/*
 * Steps from system call to system call. Stops come in pairs, entry and return, after the return of execve itself;
 * exit_group has an entry and then the exit event.
 */
static void trace_run(struct start_case *start) {
    pid_t pid = traced_start(start);
    uint64_t stops = 0;
    int status;

    for (;;) {
        ptrace_do(PTRACE_SYSCALL, pid, 0);
        if (waitpid(pid, &status, 0) != pid)
            die("waitpid");
        if (WIFSTOPPED(status) && WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            stops++;
        } else if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_EXIT << 8))) {
            mem_rollup_of(pid, &start->at_exit);
            if (start->library != NULL)
                maps_check(start, pid);
            break;
        } else {
            die("%s stopped with wait status 0x%x", program_argv[0], (unsigned)status);
        }
    }
    start->syscalls = (stops + 1) / 2;
    ptrace_do(PTRACE_CONT, pid, 0);
    if (waitpid(pid, &status, 0) != pid)
        die("waitpid");
    exit_check(status);
}

static void case_report(struct start_case *start, uint64_t rounds) {
    json_f64(median_of(start->spawn_us, rounds), "%s.us", start->name);
    json_f64(median_of(start->faults, rounds), "%s.faults", start->name);
    json_u64(start->syscalls, "%s.syscalls", start->name);
    json_u64((start->at_exit.private_clean_bytes + start->at_exit.private_dirty_bytes) / KIB, "%s.private_kib",
             start->name);
    json_u64(start->at_exit.private_dirty_bytes / KIB, "%s.private_dirty_kib", start->name);
}

int main(int argc, char **argv) {
    uint64_t rounds = 300;
    const struct arg args[] = {
        {.name = "rounds", .number = &rounds, .min = 1, .max = ROUNDS_MAX, .help = "timed starts of each kind"},
    };
    int word = args_parse(argc, argv, "process_start [--rounds N] plain NAME=LIBRARY...: the cost of /bin/true", args,
                          ARGS_NR(args));

    for (; word < argc; word++)
        case_add(argv[word]);
    if (cases_nr == 0)
        die("name at least one case: plain, or NAME=LIBRARY");
    for (uint64_t round = 0; round < rounds; round++)
        for (size_t at = 0; at < cases_nr; at++)
            spawn_timed(&cases[(at + round) % cases_nr], round);
    for (size_t at = 0; at < cases_nr; at++)
        trace_run(&cases[at]);

    json_open("process_start");
    for (size_t at = 0; at < cases_nr; at++)
        case_report(&cases[at], rounds);
    json_close();
    return 0;
}
