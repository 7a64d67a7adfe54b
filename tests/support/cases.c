/* SPDX-License-Identifier: MIT */
/*
 * One fork per case, so that a case which corrupts the heap or crashes costs only itself. See cases.h.
 */
#include "cases.h"

#include "check.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A case takes milliseconds; far longer means a hang. */
enum { CASE_LIMIT_SECONDS = 20 };

static void case_print(const char *format, size_t number, const char *name) {
    dprintf(STDOUT_FILENO, format, number, name);
}

/* A crash is named by its signal on stderr; a failed check has already spoken there. */
static void case_report(size_t number, const char *name, int status) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        case_print("ok %zu - %s\n", number, name);
    else if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP)
        case_print("ok %zu - %s # SKIP see above\n", number, name);
    else {
        case_print("not ok %zu - %s\n", number, name);
        if (WIFSIGNALED(status))
            dprintf(STDERR_FILENO, "%s: %s\n", name, strsignal(WTERMSIG(status)));
        else
            dprintf(STDERR_FILENO, "%s: exit %d\n", name, WEXITSTATUS(status));
    }
}

static int case_run_child(const struct test_case *one, size_t number) {
    int status;
    pid_t child = fork();

    CHECK_MSG(child >= 0, "fork failed");
    if (child == 0) {
        alarm(limit_seconds(CASE_LIMIT_SECONDS));
        one->run(one->argument);
        exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    case_report(number, one->name, status);
    return WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == EXIT_SKIP);
}

static int case_run_named(const struct test_case *table, size_t case_nr, const char *name) {
    for (size_t i = 0; i < case_nr; i++) {
        if (!strcmp(table[i].name, name)) {
            table[i].run(table[i].argument);
            dprintf(STDOUT_FILENO, "1..1\nok 1 - %s\n", name);
            return 0;
        }
    }
    dprintf(STDERR_FILENO, "no case named %s\n", name);
    return 2;
}

static int cases_run_all(const struct test_case *table, size_t case_nr, enum case_scope widest) {
    size_t ran_nr = 0, failed_nr = 0;

    for (size_t i = 0; i < case_nr; i++) {
        if (table[i].scope > widest)
            continue;
        if (!case_run_child(&table[i], ++ran_nr))
            failed_nr++;
    }
    case_print("1..%zu%s\n", ran_nr, "");
    return failed_nr != 0;
}

int cases_main(int argc, char **argv, const struct test_case *table, size_t case_nr) {
    if (argc == 1)
        return cases_run_all(table, case_nr, CASE_QUARRY);
    if (argc == 2 && !strcmp(argv[1], "--standard-only"))
        return cases_run_all(table, case_nr, CASE_STANDARD);
    if (argc == 3 && !strcmp(argv[1], "--case"))
        return case_run_named(table, case_nr, argv[2]);
    if (argc == 2 && !strcmp(argv[1], "--list")) {
        for (size_t i = 0; i < case_nr; i++)
            dprintf(STDOUT_FILENO, "%s\n", table[i].name);
        return 0;
    }
    dprintf(STDERR_FILENO, "usage: %s [--standard-only | --list | --case NAME]\n", argv[0]);
    return 2;
}
