/* SPDX-License-Identifier: MIT */
/*
 * A program to be recorded: what it allocates has sizes that nothing in libc asks for, so the test finds its calls
 * among those of the start. The first argument says what it does.
 */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MARK_BYTES = 70001, OBJECTS_NR = 300, HANDED_NR = 20000, HANDED_BYTES = 1300 };

/* Every call once, in an order that the test knows. */
static int calls(void) {
    void *object = malloc(MARK_BYTES);
    void *zeroed = calloc(3, MARK_BYTES);
    object = realloc(object, MARK_BYTES + 1);
    void *fresh = realloc(NULL, MARK_BYTES + 2);
    fresh = reallocarray(fresh, 2, MARK_BYTES);
    void *aligned = memalign(64, MARK_BYTES);
    void *paged = aligned_alloc(4096, 4096 * 5);
    void *whole_pages = pvalloc(MARK_BYTES);
    void *posix = NULL;
    if (posix_memalign(&posix, 256, MARK_BYTES) != 0 || malloc((size_t)1 << 62) != NULL ||
        realloc(object, (size_t)1 << 62) != NULL)
        return 1;
    free(NULL);
    free(object);
    free(zeroed);
    free(aligned);
    free(paged);
    free(posix);
    free(whole_pages);
    return realloc(fresh, 0) == NULL ? 0 : 1;
}

/* Objects and their deaths in one order; ends as the caller likes. */
static void burst(void) {
    void *objects[OBJECTS_NR];

    for (size_t at = 0; at < OBJECTS_NR; at++)
        objects[at] = malloc(MARK_BYTES + at);
    for (size_t at = 0; at < OBJECTS_NR; at += 2)
        free(objects[at]);
}

static int gate[2];

static void *hand_over(void *argument) {
    for (size_t at = 0; at < HANDED_NR; at++) {
        void *object = malloc(HANDED_BYTES);
        if (write(gate[1], &object, sizeof(object)) != (ssize_t)sizeof(object))
            abort();
    }
    return argument;
}

/* Each object is freed by another thread than it comes from, and its address soon comes again. */
static int threads(void) {
    pthread_t producer;
    void *object;

    if (pipe(gate) != 0 || pthread_create(&producer, NULL, hand_over, NULL) != 0)
        return 1;
    for (size_t at = 0; at < HANDED_NR; at++) {
        if (read(gate[0], &object, sizeof(object)) != (ssize_t)sizeof(object))
            return 1;
        free(object);
    }
    return pthread_join(producer, NULL);
}

/* The child's calls are not of the trace; those after it are. */
static int forks(void) {
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        burst();
        _exit(0);
    }
    burst();
    return waitpid(pid, &status, 0) == pid ? status : 1;
}

/* C++ whose runtime comes by dlopen(), where a library loaded before does not see it. */
static int late(const char *path) {
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    int (*forms)(void) = NULL;

    if (plugin != NULL)
        *(void **)&forms = dlsym(plugin, "forms");
    return forms != NULL ? forms() : 1;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";

    if (strcmp(what, "calls") == 0)
        return calls();
    if (strcmp(what, "threads") == 0)
        return threads();
    if (strcmp(what, "fork") == 0)
        return forks();
    if (strcmp(what, "late") == 0)
        return late(argv[2]);
    burst();
    if (strcmp(what, "exit") == 0)
        _exit(7);
    if (strcmp(what, "signal") == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(what, "exec") == 0)
        execl(argv[0], argv[0], "calls", (char *)NULL);
    return 1;
}
