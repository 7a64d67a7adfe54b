/* SPDX-License-Identifier: MIT */
/*
 * quarry record: runs a program with the recorder before its allocator, as a child, and makes a trace of what the
 * recorder left when the program has ended, in whatever way. The raw file lies beside the trace and is removed.
 */
#include "preload.h"
#include "quarry.h"

#include "../../bench/replay/convert.h"
#include "../../bench/replay/raw.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_SIGNALLED = 128 };

struct record_args {
    const char *out, *lib;
    char **program; /* argv of the program; NULL-terminated */
};

static bool record_args_read(int argc, char **argv, struct record_args *ret_args) {
    static const struct option longs[] = {{"lib", required_argument, NULL, 'l'}, {0}};
    struct record_args args = {0};
    int letter;
    opterr = 0;
    while ((letter = getopt_long(argc, argv, "+o:", longs, NULL)) != -1) {
        if (letter == 'l') {
            args.lib = optarg;
        } else if (letter == 'o') {
            args.out = optarg;
        } else {
            complain_option(argv[0], argv[optind - 1]);
            return false;
        }
    }
    if (args.out == NULL || optind == argc) {
        complain(args.out == NULL ? "record: which file? say -o FILE" : "record: which program?");
        return false;
    }
    args.program = argv + optind;
    *ret_args = args;
    return true;
}

/* What lies there is written over when the program has ended, which may take hours, and removed when that fails: so it
 * is looked at before, and is a file that may be written or nothing yet. raw_create() tries the folder. */
static bool out_usable(const char *out) {
    struct stat st;
    const char *problem = NULL;
    if (stat(out, &st) != 0)
        problem = errno == ENOENT ? NULL : strerror(errno);
    else if (!S_ISREG(st.st_mode))
        problem = "not a regular file";
    else if (access(out, W_OK) != 0)
        problem = strerror(errno);
    if (problem != NULL)
        complain("%s: %s", out, problem);
    return problem == NULL;
}

/* Creates the raw file; its path is absolute, because the program may go to another folder before it allocates. */
static int raw_create(const char *out, char raw[PATH_MAX]) {
    char folder[PATH_MAX], whole[PATH_MAX];
    const char *slash = strrchr(out, '/');
    size_t nr = slash != NULL ? (size_t)(slash - out) + 1 : 0;
    if ((size_t)snprintf(folder, sizeof(folder), "%.*s.", (int)nr, out) >= sizeof(folder) ||
        realpath(folder, whole) == NULL || (size_t)snprintf(raw, PATH_MAX, "%s/.qtrace-XXXXXX", whole) >= PATH_MAX)
        return -1;
    return mkstemp(raw);
}

/* Says to the child, by a pipe, that the raw file knows its number. */
static int program_start(const struct record_args *args, const char *lib, const char *raw, int raw_fd, pid_t *ret_pid) {
    int gate[2];
    char go = 0;
    if (pipe(gate) != 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        close(gate[1]);
        if (read(gate[0], &go, 1) != 1)
            _exit(EXIT_CANNOT_RUN);
        close(gate[0]);
        close(raw_fd);
        setenv(RAW_ENV, raw, 1);
        _exit(program_become(lib, args->program));
    }
    int err = pid < 0 ? -errno : convert_prepare(raw_fd, pid);
    if (err == 0 && write(gate[1], &go, 1) != 1)
        err = -errno;
    close(gate[0]);
    close(gate[1]);
    *ret_pid = pid;
    return err;
}

/* An interrupt from the terminal is the program's; what it did until then is still a trace. */
static int program_wait(pid_t pid) {
    int status;
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return EXIT_CANNOT_RUN;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNALLED + WTERMSIG(status);
}

static void report_print(const char *path, const struct convert_report *report, long bytes) {
    complain("%s: %llu calls by %u threads in %ld bytes", path, (unsigned long long)report->records_nr,
             report->threads_nr, bytes);
    if (report->strays_nr > 0)
        complain("%llu calls of memory that came or went unseen were left out or made up",
                 (unsigned long long)report->strays_nr);
    if (report->cut)
        complain("recording ended before the program: the raw file could not be written further");
}

static bool trace_save(const struct record_args *args, int raw_fd) {
    struct convert_report report;
    FILE *out = fopen(args->out, "wb");
    if (out == NULL) {
        complain("%s: %s", args->out, strerror(errno));
        return false;
    }
    const char *problem = convert(raw_fd, out, basename(args->program[0]), &report);
    long bytes = fseek(out, 0, SEEK_END) == 0 ? ftell(out) : 0;
    bool failed = ferror(out) != 0;
    failed |= fclose(out) != 0;
    if (problem == NULL && failed)
        problem = strerror(errno);
    if (problem != NULL) {
        complain("%s: %s", args->out, problem);
        unlink(args->out);
        return false;
    }
    report_print(args->out, &report, bytes);
    return true;
}

static int program_record(const struct record_args *args, const char *lib, const char *raw, int raw_fd) {
    pid_t pid = -1;
    int err = program_start(args, lib, raw, raw_fd, &pid);
    int status = pid > 0 ? program_wait(pid) : EXIT_CANNOT_RUN;
    if (err != 0) {
        complain("record: %s", strerror(-err));
        return EXIT_CANNOT_RUN;
    }
    if ((status == EXIT_NOT_FOUND || status == EXIT_CANNOT_RUN) && !convert_has_begun(raw_fd))
        return status;
    return trace_save(args, raw_fd) || status != 0 ? status : 1;
}

int command_record(int argc, char **argv) {
    struct record_args args;
    char lib[PATH_MAX], raw[PATH_MAX];
    if (!record_args_read(argc, argv, &args))
        return EXIT_USAGE;
    int status = lib_choose(args.lib, "bench/replay", "libquarry-record.so", lib);
    if (status != 0)
        return status;
    if (!out_usable(args.out))
        return EXIT_CANNOT_RUN;
    int raw_fd = raw_create(args.out, raw);
    if (raw_fd < 0) {
        complain("%s: %s", args.out, strerror(errno));
        return EXIT_CANNOT_RUN;
    }
    status = program_record(&args, lib, raw, raw_fd);
    unlink(raw);
    close(raw_fd);
    return status;
}
