/* SPDX-License-Identifier: MIT */
/*
 * The first process of the small guests that tests/support/guest.bash boots: says what the machine is, runs the
 * commands of /tests, one a line, reports how each ended and switches the machine off. A line is a name, then words
 * that may begin with NAME=VALUE for the environment, separated by single blanks. The kernel's command line may set
 * TEST_SECONDS. Static; owns nothing but that format.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORDS_MAX = 32, LINE_MAX_BYTES = 1024, TEST_SECONDS = 180, STATUS_NOT_RUN = 126 };

static void guest_prepare(void) {
    static const char *const folders[] = {"/proc", "/sys", "/tmp", "/dev"};
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        (void)mkdir(folders[i], 0755);
    if (mount("proc", "/proc", "proc", 0, NULL) != 0 || mount("sysfs", "/sys", "sysfs", 0, NULL) != 0)
        printf("guest: no proc or sys: %s\n", strerror(errno));
    (void)mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
}

/* Words of the command line the kernel does not know become the first process's environment. */
static unsigned test_seconds(void) {
    const char *text = getenv("TEST_SECONDS");
    return text == NULL ? TEST_SECONDS : (unsigned)strtoul(text, NULL, 10);
}

/* Which nodes there are, as the kernel lists them; nothing where it knows of none. */
static void nodes_print(const char *name, const char *file) {
    char path[64], list[64] = "";
    (void)snprintf(path, sizeof(path), "/sys/devices/system/node/%s", file);
    FILE *f = fopen(path, "r");
    if (f != NULL && fgets(list, sizeof(list), f) != NULL)
        printf(" %s %s", name, strtok(list, "\n"));
    if (f != NULL)
        (void)fclose(f);
}

static void guest_print(void) {
    struct utsname name;
    (void)uname(&name);
    printf("GUEST %s page %lu cpus %ld", name.release, getauxval(AT_PAGESZ), sysconf(_SC_NPROCESSORS_ONLN));
    nodes_print("nodes", "online");
    nodes_print("memory", "has_memory");
    nodes_print("cpu", "has_cpu");
    printf("\n");
}

static _Noreturn void child_run(char **words) {
    char *environment[WORDS_MAX + 2] = {"LC_ALL=C", "PATIENCE=6"}; /* emulated */
    size_t nr = 2;
    for (; *words != NULL && strchr(*words, '=') != NULL; words++)
        environment[nr++] = *words;
    (void)setpgid(0, 0);
    (void)alarm(test_seconds()); /* survives exec */
    if (*words != NULL)
        execve(*words, words, environment);
    printf("guest: cannot run %s: %s\n", *words == NULL ? "nothing" : *words, strerror(errno));
    fflush(stdout);
    _exit(STATUS_NOT_RUN);
}

static void line_run(char *line) {
    char *words[WORDS_MAX + 1] = {NULL};
    size_t nr = 0;
    int status = 0;
    time_t start = time(NULL);
    for (char *word = strtok(line, " \n"); word != NULL && nr < WORDS_MAX; word = strtok(NULL, " \n"))
        words[nr++] = word;
    if (nr == 0)
        return;
    printf("BEGIN %s\n", words[0]);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        child_run(words + 1);
    while (child < 0 || waitpid(child, &status, 0) != child) {
        if (child < 0 || errno != EINTR)
            break;
    }
    (void)kill(-child, SIGKILL);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
    status = child < 0 ? -1 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    printf("END %s %d after %ld s\n", words[0], status, (long)(time(NULL) - start));
    fflush(stdout);
}

int main(void) {
    char line[LINE_MAX_BYTES];
    guest_prepare();
    guest_print();
    FILE *tests = fopen("/tests", "r");
    if (tests == NULL)
        printf("guest: no /tests\n");
    while (tests != NULL && fgets(line, sizeof(line), tests) != NULL)
        line_run(line);
    printf("GUEST done\n");
    fflush(stdout);
    (void)reboot(RB_POWER_OFF);
    return 1;
}
