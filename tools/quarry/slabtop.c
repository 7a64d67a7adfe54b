/* SPDX-License-Identifier: MIT */
/*
 * `quarry slabtop PID ARGS`: the slabtop that is installed, unmodified, on a process. It is run in a mount namespace of
 * its own, where /proc/slabinfo is a file of ours; the file is written anew while it runs. Reading the process stays
 * with the parent, outside of the namespace: in there nobody has the rights for it.
 *
 * slabtop opens the file once and reads it from the beginning each time. It must not see half of one table and half of
 * the next, and a file knows no lock that a reader keeps to. So the file is written while slabtop is stopped, and only
 * if it then stands at the file's beginning or end: anywhere else it is in the middle of a reading. The file never
 * changes its size, so that its end is the end for who has read that far: the rest is filled with comments.
 */
#include "quarry.h"
#include "target.h"
#include "views.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SLABINFO "/proc/slabinfo"

enum {
    /* As many rows as there can be, with names of a hundred characters. */
    FILE_BYTES = 256 * 1024,
    FILL_LINE_BYTES = 64,
    /* slabtop looks every second at most, every three by default. */
    REFRESH_MS = 500,
    HIDDEN_MAX = 20,
    /* Where reading takes long it takes no more than a part of the time. */
    READ_PART = 10,
};

struct slabtop {
    struct target target;
    struct kmem_text text;
    char path[4096];
    int file;
    pid_t child;
    unsigned hidden_nr; /* times in a row that nothing was to be seen of it */
};

/* --- the file --- */

static bool file_make(struct slabtop *s) {
    const char *folder = getenv("TMPDIR");
    int len = snprintf(s->path, sizeof(s->path), "%s/quarry-slabinfo-XXXXXX", folder != NULL ? folder : P_tmpdir);
    if (len >= 0 && (size_t)len < sizeof(s->path) && (s->file = mkostemp(s->path, O_CLOEXEC)) >= 0)
        return true;
    complain("slabtop: cannot make %s: %s", s->path, strerror(errno));
    return false;
}

/* The table, and comments up to the size of the file. slabtop takes no empty line: the last comment, which may be
 * longer than the others, has a character before its end. */
static bool file_write(struct slabtop *s) {
    static char whole[FILE_BYTES];
    if (s->text.len > FILE_BYTES - 2) {
        complain("slabtop: the names of the caches are too long");
        return false;
    }
    memcpy(whole, s->text.text, s->text.len);
    memset(whole + s->text.len, '#', FILE_BYTES - s->text.len);
    for (size_t at = s->text.len + FILL_LINE_BYTES; at < FILE_BYTES - 2; at += FILL_LINE_BYTES)
        whole[at] = '\n';
    whole[FILE_BYTES - 1] = '\n';
    if (pwrite(s->file, whole, FILE_BYTES, 0) == FILE_BYTES)
        return true;
    complain("slabtop: cannot write %s: %s", s->path, strerror(errno));
    return false;
}

/* --- the child --- */

static bool text_write(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

/* Who may not mount where he is, may in a user namespace of his own, where he stays who he is. */
static bool namespace_enter(void) {
    char uid_map[64], gid_map[64];
    snprintf(uid_map, sizeof(uid_map), "%u %u 1", (unsigned)geteuid(), (unsigned)geteuid());
    snprintf(gid_map, sizeof(gid_map), "%u %u 1", (unsigned)getegid(), (unsigned)getegid());
    if (unshare(CLONE_NEWNS) != 0 &&
        (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !text_write("/proc/self/setgroups", "deny") ||
         !text_write("/proc/self/uid_map", uid_map) || !text_write("/proc/self/gid_map", gid_map)))
        return false;
    return mount("none", "/proc", NULL, MS_PRIVATE, NULL) == 0; /* "/" is none's mount in a chroot */
}

static _Noreturn void child_run(const struct slabtop *s, int ready, char **argv) {
    sigset_t none;
    if (!namespace_enter()) {
        complain("slabtop: no mount namespace of its own to be had: %s; `quarry slabinfo` needs none", strerror(errno));
        _exit(EXIT_CANNOT_RUN);
    }
    if (mount(s->path, SLABINFO, NULL, MS_BIND, NULL) != 0) {
        complain("slabtop: cannot mount %s on " SLABINFO ": %s", s->path, strerror(errno));
        _exit(EXIT_CANNOT_RUN);
    }
    (void)!write(ready, "m", 1);
    /* Not before the namespace: entering it forgets this. Should the parent end while the child is stopped, nobody
     * would wake it. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    execvp("slabtop", argv);
    complain("slabtop: %s", errno == ENOENT ? "not installed; Debian has it in the package procps" : strerror(errno));
    _exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
}

/* What the parent waits for: the child's end, and being asked to end. The terminal's signals are the child's. */
static sigset_t signals_take(void) {
    struct sigaction child = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)sigaction(SIGCHLD, &child, NULL);
    return set;
}

/* The file has no name any more once the child has it in its namespace. */
static bool child_start(struct slabtop *s, char **argv) {
    int ready[2];
    char byte;
    if (pipe2(ready, O_CLOEXEC) != 0 || (s->child = fork()) < 0) {
        complain("slabtop: %s", strerror(errno));
        return false;
    }
    if (s->child == 0)
        child_run(s, ready[1], argv);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGQUIT, SIG_IGN);
    close(ready[1]);
    (void)!read(ready[0], &byte, 1);
    close(ready[0]);
    return true;
}

/* --- writing the file while it is read --- */

/* Where the child's descriptor stands; -1: not to be had. */
static long descriptor_position(pid_t child, const char *name) {
    char path[300], line[128];
    long position = -1;
    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", (int)child, name);
    FILE *file = fopen(path, "r");
    while (file != NULL && position < 0 && fgets(line, sizeof(line), file) != NULL)
        (void)sscanf(line, "pos: %ld", &position);
    if (file != NULL)
        fclose(file);
    return position;
}

static bool is_our_file(pid_t child, const char *name, const struct stat *ours) {
    char path[300];
    struct stat st;
    snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)child, name);
    return stat(path, &st) == 0 && st.st_dev == ours->st_dev && st.st_ino == ours->st_ino;
}

/* Of the file in the child, which is stopped: held at its beginning or its end at most; somewhere in it; nobody knows.
 */
enum reading { READING_NOTHING, READING, READING_HIDDEN };

static enum reading child_reading(const struct slabtop *s) {
    char path[64];
    struct stat ours;
    bool nothing = true;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)s->child);
    DIR *folder = fstat(s->file, &ours) == 0 ? opendir(path) : NULL;
    if (folder == NULL)
        return READING_HIDDEN;
    for (const struct dirent *e; nothing && (e = readdir(folder)) != NULL;) {
        if (e->d_name[0] == '.' || !is_our_file(s->child, e->d_name, &ours))
            continue;
        long position = descriptor_position(s->child, e->d_name);
        nothing = position == 0 || position == FILE_BYTES;
    }
    closedir(folder);
    return nothing ? READING_NOTHING : READING;
}

enum refreshed { REFRESHED, REFRESH_LATER, REFRESH_ENDED, REFRESH_FAILED };

/* A child that has entered its namespaces is hidden until it executes slabtop. */
static enum refreshed stopped_refresh(struct slabtop *s) {
    enum reading reading = child_reading(s);
    s->hidden_nr = reading == READING_HIDDEN ? s->hidden_nr + 1 : 0;
    if (reading == READING_NOTHING)
        return file_write(s) ? REFRESHED : REFRESH_FAILED;
    if (s->hidden_nr < HIDDEN_MAX)
        return REFRESH_LATER;
    complain("slabtop: cannot see what of the table it has read: %s", strerror(errno));
    return REFRESH_FAILED;
}

/* ret_status: of the child, when it ended. */
static enum refreshed file_refresh(struct slabtop *s, int *ret_status) {
    if (kill(s->child, SIGSTOP) != 0 || waitpid(s->child, ret_status, WUNTRACED) != s->child)
        return REFRESH_FAILED;
    if (!WIFSTOPPED(*ret_status))
        return REFRESH_ENDED;
    enum refreshed done = stopped_refresh(s);
    (void)kill(s->child, SIGCONT);
    return done;
}

/* --- all of it --- */

static u64 clock_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (u64)now.tv_sec * 1000 + (u64)now.tv_nsec / 1000000;
}

/* slabtop leaves the terminal as it was when it is interrupted. */
static int child_interrupt(const struct slabtop *s) {
    int status = 0;
    (void)kill(s->child, SIGINT);
    (void)waitpid(s->child, &status, 0);
    return status;
}

static bool table_read(struct slabtop *s) { return target_is_there(&s->target) && view_slabinfo(&s->target, &s->text); }

/* Until the child ends; its status. Failed: something of ours did, which is said at the end. */
static int child_attend(struct slabtop *s, const sigset_t *signals, bool *ret_failed) {
    struct timespec pause = {.tv_nsec = REFRESH_MS * 1000000L};
    int status = 0;
    for (;;) {
        int number = sigtimedwait(signals, NULL, &pause);
        if (number == SIGTERM)
            return child_interrupt(s);
        if (waitpid(s->child, &status, WNOHANG) == s->child)
            return status;
        u64 began = clock_ms();
        enum refreshed done = table_read(s) ? file_refresh(s, &status) : REFRESH_FAILED;
        if (done == REFRESH_ENDED)
            return status;
        if (done == REFRESH_FAILED) {
            *ret_failed = true;
            return child_interrupt(s);
        }
        u64 ms = MAX((clock_ms() - began) * READ_PART, (u64)REFRESH_MS);
        pause = (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    }
}

static int child_status(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

static int slabtop_run(struct slabtop *s, char **argv) {
    sigset_t signals = signals_take();
    bool failed = false;
    bool started = file_write(s) && child_start(s, argv);
    (void)unlink(s->path);
    if (!started)
        return 1;
    int status = child_attend(s, &signals, &failed);
    return failed && !target_is_same(&s->target) ? 1 : failed ? EXIT_CANNOT_RUN : child_status(status);
}

int command_slabtop(int argc, char **argv) {
    static struct slabtop s;
    pid_t pid;
    if (argc < 2 || !target_pid_read(argv[1], &pid)) {
        complain("slabtop takes a process id, and arguments of slabtop(1)");
        return EXIT_USAGE;
    }
    if (!target_open(&s.target, argv[0], pid))
        return 1;
    argv[1] = argv[0]; /* the command's name is the program's */
    int status = view_slabinfo(&s.target, &s.text) && file_make(&s) ? slabtop_run(&s, argv + 1) : 1;
    free(s.text.text);
    target_close(&s.target);
    return status;
}
