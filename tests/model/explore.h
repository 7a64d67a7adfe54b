/* SPDX-License-Identifier: MIT */
/*
 * A small exhaustive explorer: from a first state it takes every step of every thread in every order, visits each state
 * once, and stops at the first one that breaks a rule, with the steps that led there. What a state and a step are is
 * the model's business (slab_word.c).
 */
#ifndef QUARRY_TESTS_MODEL_EXPLORE_H
#define QUARRY_TESTS_MODEL_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct explore_model {
    size_t state_bytes; /* states are compared by their bytes: no padding that differs, no pointers */
    unsigned threads_nr;
    /* How many different ways the thread's next step can go; 0 when it has finished. */
    unsigned (*choices)(const void *state, unsigned thread);
    /* Takes it. Returns NULL, or the rule that the step broke. */
    const char *(*step)(void *state, unsigned thread, unsigned choice);
    /* NULL, or the rule that the state breaks. final: no thread has a step left. */
    const char *(*check)(const void *state, bool final);
    /* Name of the thread's next step, for the trace. */
    const char *(*name)(const void *state, unsigned thread);
};

struct explore_result {
    uint64_t states_nr, finals_nr;
    const char *broken; /* NULL: every state keeps every rule */
    char trace[4096];   /* the steps to the broken one, if so */
};

enum { EXPLORE_STATE_MAX = 128, EXPLORE_DEPTH_MAX = 400 };

/* Exits the program when the state space is larger than memory set aside for it. */
void explore(const struct explore_model *model, const void *first, struct explore_result *ret_result);

#endif
