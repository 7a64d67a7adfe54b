/* SPDX-License-Identifier: MIT */
/*
 * process_run: /bin/true is started and waited for, one after the other, under the allocator that this program has by
 * LD_PRELOAD: what an allocator costs a process that hardly uses it. Prints us for one start, the median of all, and
 * the pages each faulted in. process_start compares several libraries in one run, and looks inside; tools/bars runs
 * that.
 */
#include <errno.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"

enum { STARTS_MAX = 10000, NS_PER_US = 1000 };

static char *const program_argv[] = {(char[]){"/bin/true"}, NULL};
static double start_us[STARTS_MAX];
static double faults[STARTS_MAX];

static void process_run(uint64_t at) {
    struct rusage usage;
    int status;
    pid_t pid;
    uint64_t start_ns = clock_now_ns();

    errno = posix_spawn(&pid, program_argv[0], NULL, NULL, program_argv, environ);
    if (errno != 0)
        die("posix_spawn %s", program_argv[0]);
    if (wait4(pid, &status, 0, &usage) != pid)
        die("wait4");
    start_us[at] = (double)(clock_now_ns() - start_ns) / NS_PER_US;
    faults[at] = (double)usage.ru_minflt;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("%s failed, wait status 0x%x", program_argv[0], (unsigned)status);
}

int main(int argc, char **argv) {
    uint64_t starts = 500;
    const struct arg args[] = {
        {.name = "starts", .number = &starts, .min = 1, .max = STARTS_MAX, .help = "processes, one after the other"},
    };

    args_parse(argc, argv, "process_run [--starts N]: processes that do nothing", args, ARGS_NR(args));
    for (uint64_t at = 0; at < starts; at++)
        process_run(at);

    json_open("process_run");
    json_f64(median_of(start_us, starts), "us_start");
    json_f64(median_of(faults, starts), "faults_start");
    json_close();
    return 0;
}
