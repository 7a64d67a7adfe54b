/* SPDX-License-Identifier: MIT */
/*
 * Private to weave: the machine that weave_memory.c (locations, messages, races) and weave.c (threads, exploration,
 * mutants) share. All of it is set back at the start of each run but the names of places, which keep their numbers.
 */
#ifndef QUARRY_TESTS_MODEL_WEAVE_MACHINE_H
#define QUARRY_TESTS_MODEL_WEAVE_MACHINE_H

#include "weave.h"
#include "weave_site.h"

enum {
    LOCS_MAX = 48,
    MESSAGES_MAX = 40,
    GRANULES_MAX = 4096,
    NARROW_MAX = 8,
    COUNTS_MAX = 32,
    RANGES_MAX = 8,
    IDS_MAX = 2
};
enum { T = WEAVE_THREADS_MAX };

/* What a thread, or the writer of a message, knows: the oldest message of each location it may still read, and how far
 * each thread had come (in releases). */
struct know {
    uint8_t view[LOCS_MAX];
    uint8_t clock[T];
};

struct message {
    uint64_t value;
    struct know know;
};

struct loc {
    char *at;
    size_t bytes;
    unsigned messages_nr; /* 0: not looked at in this run */
    bool plainly_written; /* since the last atomic access */
    struct message messages[MESSAGES_MAX];
};

/* By whom a byte was last accessed, and when: releases of that thread before, plus 1; 0 never. */
struct shadow {
    uint8_t writer, written, read[T], stored[T], loaded[T];
};

struct granule {
    char *at;
    bool used; /* in this run */
    struct shadow bytes[8];
};

enum step_kind {
    STEP_LOAD,
    STEP_STORE,
    STEP_RMW,
    STEP_CAS,
    STEP_FENCE,
    STEP_WAIT,
    STEP_SECTION,
    STEP_SPLIT,
    STEP_FORK,
    STEP_PLAIN
};

struct step {
    enum step_kind kind;
    const struct weave_site *site;
    struct loc *loc;
    uint64_t expected; /* of a compare-and-swap */
};

struct late {
    struct loc *loc;
    uint64_t value;
    int order;
};

struct thread {
    struct step step; /* that it will take next */
    unsigned option;  /* the way it takes it */
    bool done, waiting;
    uint64_t past; /* fingerprint of all it has read */
    uint64_t kept; /* what past was at the mark of the section */
    struct know now, acquired, released;
    struct late late;
    unsigned section_id;
    bool in_section, restarted;
};

struct machine {
    bool running, weak, finishing; /* finishing: the model looks at the end of a run, alone */
    unsigned threads_nr, self;
    unsigned forks_nr, forks_left; /* of a run; plain stores are steps while any is left */
    struct thread threads[T];
    struct know ids[IDS_MAX]; /* what whoever ran on an id before knew: the kernel switches between them */
    struct know fences;       /* what sequentially consistent fences have passed on */
    struct loc locs[LOCS_MAX];
    unsigned locs_nr;
    struct granule granules[GRANULES_MAX];
    uint16_t used[GRANULES_MAX]; /* granules used in this run */
    unsigned used_nr;
    struct {
        const void *word;
        uint64_t mask, tag_mask;
    } narrow[NARROW_MAX];
    unsigned narrow_nr;
    const void *counts[COUNTS_MAX];
    unsigned counts_nr;
    struct {
        char *at, *saved;
        size_t bytes;
    } ranges[RANGES_MAX];
    unsigned ranges_nr;
    enum weave_mutant mutant;
    const struct weave_site *mutated;
};

/* Everything static of the machine is here, apart from what is modelled. */
#define WEAVE_STATE __attribute__((section("weave_state")))
extern struct machine *weave_m;

/* weave_memory.c */
/* It waits for something to be written, and has seen all that is. */
bool thread_waits(const struct thread *t);
struct loc *loc_of(const void *at, size_t bytes);
unsigned step_options(const struct thread *t);
uint64_t state_fingerprint(void);
void memory_start(void); /* of a run: knows nothing, has nothing written */
uint64_t mix(uint64_t x);
void know_join(struct know *to, const struct know *from);
void know_all(struct thread *me); /* what all others know, and all that is written */
bool is_modelled(const void *at);
void late_store_do(struct thread *me);
void sections_restart(const struct thread *me);

/* weave.c */
void step_take(const struct step *step); /* returns when the thread is to take it */
void trace_print(void);
void site_seen(const struct weave_site *site, enum weave_mutant mutant);

#endif
