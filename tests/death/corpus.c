/* SPDX-License-Identifier: MIT */
/*
 * corpus CLASS FORM: sixteen classes of heap bugs, each in four forms, on whatever malloc is preloaded. Prints what it
 * is about to do, commits it, goes on working for a while, so that what is only found later is found, and ends
 * normally when nothing stops it. corpus.py judges how it ended. Nothing here is told to the allocator, and nothing the
 * program does but the crime is wrong.
 *
 *   immediate   one step after the other
 *   delayed     thousands of objects come and go between the steps
 *   thread      the last step is another thread's
 *   fork        the last step is a forked child's; the parent ends as its child did
 */
#include "crime.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SMALL = 56, BESIDE = 16, CHURN_NR = 4000, NEIGHBOURS_NR = 64, PAGE = 4096 };
#define LARGE ((size_t)4 << 20)

/* --- the program around the crime --- */

static char *neighbours[NEIGHBOURS_NR];

/* Objects of the victim's size all around it, which live as long as the program. */
static char *victim_small(void) {
    char *p = NULL;
    for (int i = 0; i < NEIGHBOURS_NR; i++) {
        if (i == NEIGHBOURS_NR / 2)
            p = crime_alloc(SMALL);
        neighbours[i] = crime_alloc(SMALL);
        memset(neighbours[i], i, SMALL);
    }
    memset(p, 1, SMALL);
    return p;
}

static char *victim_large(void) {
    char *p = crime_alloc(LARGE);
    memset(p, 1, LARGE);
    return p;
}

static void churn(void) {
    struct crowd crowd = crowd_gather(SMALL, CHURN_NR);
    for (size_t i = 0; i < CHURN_NR; i++)
        memset(crowd.objects[i], 2, SMALL);
    crowd_leave(&crowd);
    for (int i = 0; i < 4; i++)
        crime_free(memset(crime_alloc(LARGE), 3, LARGE));
}

static void go_on(void) {
    churn();
    for (int i = 0; i < NEIGHBOURS_NR; i++)
        free(neighbours[i]);
    memset(neighbours, 0, sizeof neighbours);
    churn();
}

/* --- crimes, in two steps --- */

static void nothing(char *p) { (void)p; }
static void free_it(char *p) { crime_free(p); }
static void free_inside(char *p) { crime_free(p + BESIDE); }
static void free_far_inside(char *p) { crime_free(p + LARGE / 2); }
static void realloc_it(char *p) { crime_free(opaque(realloc(opaque(p), (size_t)3 * SMALL))); }
static void write_behind(char *p) { memset(opaque(p + SMALL), 0x41, BESIDE); }
static void write_before(char *p) { memset(opaque(p - BESIDE), 0x41, BESIDE); }
static void write_far_behind(char *p) { memset(opaque(p + malloc_usable_size(p)), 0x41, 2 * PAGE); }
static void write_inside(char *p) { memset(opaque(p), 0x41, BESIDE); }
static void write_far_inside(char *p) { memset(opaque(p + LARGE / 2), 0x41, BESIDE); }

static char global[256];
static char *victim_global(void) { return opaque(global + 64); }

static char *victim_stack(void) {
    static char *stack;
    if (stack == NULL)
        stack = opaque(__builtin_frame_address(0));
    return (char *)((uintptr_t)stack & ~(uintptr_t)15) + 64;
}

static char *victim_unmapped(void) {
    char *p = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED && munmap(p, PAGE) == 0);
    return p + 64;
}

static char *victim_not_aligned(void) {
    (void)victim_small();
    return crime_alloc_misaligned(SMALL, PAGE);
}

/* C23's function, else C++'s, else what there is: few have the one, and the C library has none. */
static void free_sized_wrong(char *p) {
    void (*with_size)(void *, size_t);
    symbol_get("free_sized", &with_size);
    if (with_size == NULL)
        symbol_get("_ZdlPvm", &with_size);
    if (with_size == NULL)
        crime_free(p);
    else
        with_size(p, (size_t)20 * SMALL);
}

static void free_aligned_wrong(char *p) {
    void (*with_both)(void *, size_t, size_t), (*with_align)(void *, size_t);
    symbol_get("free_aligned_sized", &with_both);
    symbol_get("_ZdlPvSt11align_val_t", &with_align);
    if (with_both != NULL)
        with_both(p, PAGE, SMALL);
    else if (with_align != NULL)
        with_align(p, PAGE);
    else
        crime_free(p);
}

static const struct crime {
    const char *name;
    char *(*victim)(void);
    void (*first)(char *p);
    void (*last)(char *p);
    enum { ENDS, STAYS } victim_after; /* whether the object is the program's still, which then frees it */
} crimes[] = {
    {"double-free", victim_small, free_it, free_it, ENDS},
    {"double-free-large", victim_large, free_it, free_it, ENDS},
    {"interior-free", victim_small, nothing, free_inside, ENDS},
    {"interior-free-large", victim_large, nothing, free_far_inside, ENDS},
    {"stack-free", victim_stack, nothing, free_it, ENDS},
    {"global-free", victim_global, nothing, free_it, ENDS},
    {"wild-free", victim_unmapped, nothing, free_it, ENDS},
    {"realloc-freed", victim_small, free_it, realloc_it, ENDS},
    {"realloc-wild", victim_global, nothing, realloc_it, ENDS},
    {"sized-free", victim_small, nothing, free_sized_wrong, ENDS},
    {"aligned-free", victim_not_aligned, nothing, free_aligned_wrong, ENDS},
    {"overflow-large", victim_large, nothing, write_far_behind, STAYS},
    {"overflow", victim_small, nothing, write_behind, STAYS},
    {"underflow", victim_small, nothing, write_before, STAYS},
    {"write-after-free", victim_small, free_it, write_inside, ENDS},
    {"write-after-free-large", victim_large, free_it, write_far_inside, ENDS},
};

/* --- forms --- */

struct deed {
    const struct crime *crime;
    char *p;
};

static void *last_step(void *arg) {
    const struct deed *deed = arg;
    deed->crime->last(deed->p);
    return NULL;
}

static void by_thread(struct deed *deed) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, last_step, deed) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void by_child(struct deed *deed) {
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        deed->crime->last(deed->p);
        return;
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    _exit(WEXITSTATUS(status));
}

static void commit(struct deed *deed, const char *form) {
    deed->crime->first(deed->p);
    if (!strcmp(form, "delayed")) {
        churn();
        last_step(deed);
        churn();
    } else if (!strcmp(form, "thread")) {
        by_thread(deed);
    } else if (!strcmp(form, "fork")) {
        by_child(deed);
    } else {
        CHECK(!strcmp(form, "immediate"));
        last_step(deed);
    }
}

int main(int argc, char **argv) {
    const struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    if (argc == 1) {
        for (size_t i = 0; i < sizeof crimes / sizeof crimes[0]; i++)
            puts(crimes[i].name);
        return 0;
    }
    CHECK(argc == 3);
    for (size_t i = 0; i < sizeof crimes / sizeof crimes[0]; i++) {
        if (strcmp(argv[1], crimes[i].name) != 0)
            continue;
        struct deed deed = {&crimes[i], crimes[i].victim()};
        dprintf(STDOUT_FILENO, "victim %p\n", (void *)deed.p);
        commit(&deed, argv[2]);
        if (deed.crime->victim_after == STAYS)
            crime_free(deed.p);
        go_on();
        return 0;
    }
    check_fail(__FILE__, __LINE__, "no such crime: %s", argv[1]);
}
