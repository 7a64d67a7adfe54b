/* SPDX-License-Identifier: MIT */
/*
 * Exhaustive exploration of real sources: a file of src/ is compiled with weave_atomics.h in front, which turns each
 * atomic operation into a step of this machine, and with the compiler's instrumentation for data races, whose calls
 * land here too. A model (a few threads with a few operations, and what must hold at the end) is then run in every
 * interleaving of those steps, and, in the weak mode, with every value that C11 lets a load see. So a model has no copy
 * of the code it speaks about, and cannot drift from it.
 *
 * Memory is that of release and acquire by views: each location keeps the messages written to it in the order in which
 * they were written; a thread may read any that is not older than what it knows, and learns by acquiring what the
 * writer knew by releasing. Fences of all orders, release sequences of read-modify-writes and stale reads by failing
 * compare-and-swaps are there. Not there: a store taking a place before one already made (so two stores of one thread
 * to two places never appear reversed to writers), and loads that read from later stores of their own future. Plain
 * accesses are checked for races by vector clocks.
 *
 * What is modelled: all static data of the program but the machine's own, and what weave_range() adds. Anything else
 * (stacks, a heap) is taken for a thread's own or constant.
 *
 * A fork may come before any step of another thread, and before any of its plain stores: the child has memory as it is
 * then, and the thread that forked, alone. (The kernel makes what a thread stores while its memory is copied wait, from
 * some store on; so a child has the first stores of each other thread, up to some point.)
 *
 * Mutants are made at the machine: at each site of an atomic operation an order is weakened, a swap made blind, a
 * read-modify-write split in two, a store lost, or done after the thread's next operation. Each must break something or
 * be excused by the model, with a reason; with SOAK in the environment an excuse that is not needed fails too. And the
 * conditions that a suite lists, of if and while, are taken for true, or for false: each must break something.
 */
#ifndef QUARRY_TESTS_MODEL_WEAVE_H
#define QUARRY_TESTS_MODEL_WEAVE_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEAVE_THREADS_MAX = 3 };

enum weave_mutant {
    WEAVE_REAL,
    WEAVE_NO_RELEASE, /* the site's order without its release part */
    WEAVE_NO_ACQUIRE,
    WEAVE_NO_ACQUIRE_FAILED, /* of a compare-and-swap that fails */
    WEAVE_NO_FENCE,
    WEAVE_BLIND,   /* a compare-and-swap swaps whatever is there */
    WEAVE_SPLIT,   /* a read-modify-write is a load and a store */
    WEAVE_LOST,    /* the store does not happen */
    WEAVE_LATE,    /* the store happens after the thread's next operation */
    WEAVE_TAGLESS, /* of weave_narrow(): no bit of the tag is left */
    WEAVE_NEVER,   /* of conditions: as if it were false */
    WEAVE_ALWAYS,  /* of conditions: as if it were true */
    WEAVE_ANY      /* of excuses: each, and all survive */
};

struct weave_excuse {
    const char *func, *what; /* of the site: the function, and part of the text of its operand; with #2 behind it, of
                                the second such site of the function */
    enum weave_mutant mutant;
    const char *reason;
};

/* A mutant whose condition of an if or while is not looked at. There must be just one such site. */
struct weave_check {
    const char *func, *text; /* the function, and how the text begins: "if (x" */
    enum weave_mutant mutant;
};

enum weave_size {
    WEAVE_BOTH, /* small enough for both modes */
    WEAVE_SC,   /* too large for the weak mode */
    WEAVE_SOAK  /* the same, and without SOAK in the environment, and for mutants */
};

struct weave_model {
    const char *name;
    unsigned threads_nr;
    void (*setup)(void);           /* the first state; runs alone */
    void (*thread)(unsigned self); /* what each thread does */
    void (*finish)(void);          /* runs alone at each end; calls weave_must() */
    enum weave_size size;
};

struct weave_suite {
    const char *name;
    const struct weave_model *models;
    size_t models_nr;
    const struct weave_excuse *excuses;
    size_t excuses_nr;
    const struct weave_check *checks;
    size_t checks_nr;
};

/* weave NAME [mutants [I/N]]: explores all models, in both modes; or each mutant, or every Nth from the Ith on, until
 * one breaks. Returns the exit status. */
int weave_main(const struct weave_suite *suite, int argc, char **argv);

/* The end of a suite's file, which has models, excuses and checks. */
#define WEAVE_MAIN(title)                                                                                              \
    static const struct weave_suite suite = {title,  models,          ARRAY_NR(models), excuses, ARRAY_NR(excuses),    \
                                             checks, ARRAY_NR(checks)};                                                \
    int main(int argc, char **argv) { return weave_main(&suite, argc, argv); }

/* --- for models, in setup --- */

/* More memory to model: aligned to 8 bytes. */
void weave_range(void *at, size_t bytes);
/* A word whose value nobody decides by: its operations are done with the step before. */
void weave_count(const void *word);
/* Keeps only these bits of what is stored there; tag_mask: those of them that are the tag. */
void weave_narrow(const void *word, uint64_t mask, uint64_t tag_mask);

/* How many times weave_fork() will be called. */
void weave_forks(unsigned nr);

/* --- for models, anywhere --- */

#define weave_must(condition) ((condition) ? (void)0 : weave_broken(#condition))
_Noreturn void weave_broken(const char *rule);
unsigned weave_self(void);
/* The thread goes on only after another one has written something, and then sees all that is written. */
void weave_wait(void);
/* fork(2), both ways: false in the parent, true in the child, in which the others stand still for good. */
bool weave_fork(void);
/* All that the thread knows of the past is in these bytes (and in what it may read): states that differ in nothing else
 * are one. For the places between two operations of a model's thread. */
void weave_forget(uint64_t all_it_knows);
/* A barrier on all threads, as membarrier(2): each has passed a sequentially consistent fence. Sections are restarted.
 */
void weave_barrier(void);
/* A restartable section: the mark in its function, then begin, then reads and stores nobody looks at, then commit, its
 * one store that counts. Whoever else begins or goes on with a section of the same id, and a barrier, send it back to
 * the mark. */
#define WEAVE_SECTION() ((void)_setjmp(*weave_section_mark()))
jmp_buf *weave_section_mark(void);
void weave_section_begin(unsigned id);
void weave_section_commit(uint64_t *word, uint64_t value);
void weave_section_leave(void);

#endif
