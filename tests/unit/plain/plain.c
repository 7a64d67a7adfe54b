/* SPDX-License-Identifier: MIT */
/* The main program behind plain/criterion/criterion.h: runs every test in a child of its own and judges how the child
 * ended. */
#include <criterion/criterion.h>

#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STATUS_FAILED = 121, STATUS_SKIPPED = 77, DEFAULT_TIMEOUT_S = 180 };

static struct plain_test *tests, **tests_end = &tests;
static struct plain_suite *suites;
static atomic_bool any_failed;

void plain_test_add(struct plain_test *test) {
    *tests_end = test;
    tests_end = &test->next;
}

void plain_suite_add(struct plain_suite *suite) {
    suite->next = suites;
    suites = suite;
}

void plain_failed(enum plain_severity severity, const char *file, int line, const char *what, const char *message,
                  ...) {
    va_list args;
    va_start(args, message);
    fprintf(stderr, "%s:%d: %s:", file, line, what);
    vfprintf(stderr, message, args);
    fputc('\n', stderr);
    va_end(args);
    atomic_store(&any_failed, true);
    if (severity == PLAIN_ASSERT)
        _exit(STATUS_FAILED);
}

void plain_skip(void) { _exit(STATUS_SKIPPED); }

static const struct plain_options *suite_options(const char *name) {
    static const struct plain_options none;
    for (const struct plain_suite *s = suites; s != NULL; s = s->next) {
        if (strcmp(s->name, name) == 0)
            return &s->options;
    }
    return &none;
}

static _Noreturn void test_run(const struct plain_test *t, const struct plain_options *suite) {
    void (*init)(void) = t->options.init != NULL ? t->options.init : suite->init;
    void (*fini)(void) = t->options.fini != NULL ? t->options.fini : suite->fini;
    double timeout_s = t->options.timeout > 0 ? t->options.timeout : suite->timeout;
    alarm(timeout_s > 0 ? (unsigned)timeout_s + 1 : DEFAULT_TIMEOUT_S);
    if (init != NULL)
        init();
    t->body();
    if (fini != NULL)
        fini();
    /* exit, not _exit: ThreadSanitizer tells at exit what it saw. */
    exit(atomic_load(&any_failed) ? STATUS_FAILED : 0);
}

/* Whether the child ended as its test wants. */
static bool status_judge(const struct plain_options *o, int status) {
    if (o->signal != 0)
        return WIFSIGNALED(status) && WTERMSIG(status) == o->signal;
    return WIFEXITED(status) && WEXITSTATUS(status) == o->exit_code;
}

static bool test_passes(const struct plain_test *t) {
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        test_run(t, suite_options(t->suite));
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("plain: a test's process");
        exit(1);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_SKIPPED)
        return true;
    if (status_judge(&t->options, status))
        return true;
    fprintf(stderr, "FAILED %s::%s: %s %d\n", t->suite, t->name, WIFSIGNALED(status) ? "signal" : "status",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return false;
}

int main(void) {
    unsigned run_nr = 0, failed_nr = 0;
    for (const struct plain_test *t = tests; t != NULL; t = t->next) {
        if (t->options.disabled || suite_options(t->suite)->disabled)
            continue;
        run_nr++;
        failed_nr += !test_passes(t);
    }
    printf("%u run, %u failed\n", run_nr, failed_nr);
    return run_nr == 0 || failed_nr > 0;
}
