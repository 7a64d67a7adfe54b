/* SPDX-License-Identifier: MIT */
/*
 * Implementation of explore.h. States seen are kept as 64-bit fingerprints: for n states the chance that two share one,
 * and the second is not visited, is n^2 / 2^65, some 10^-7 for two million.
 */
#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEN_SHIFT = 23 };
#define SEEN_NR ((size_t)1 << SEEN_SHIFT)

static uint64_t *seen;
static size_t seen_nr;
static const struct explore_model *model;
static struct explore_result *result;
static struct {
    unsigned thread;
    const char *name;
} path[EXPLORE_DEPTH_MAX];

static uint64_t mix(uint64_t x) {
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
}

static uint64_t fingerprint(const void *state) {
    uint64_t words[EXPLORE_STATE_MAX / sizeof(uint64_t)] = {0}, h = 0x9e3779b97f4a7c15u;
    memcpy(words, state, model->state_bytes);
    for (size_t i = 0; i < (model->state_bytes + 7) / 8; i++)
        h = mix(h + words[i] * 0x2545f4914f6cdd1du + i);
    return h | 1; /* 0 means an empty place */
}

/* True the first time a state comes by. */
static bool remember(const void *state) {
    uint64_t f = fingerprint(state);
    for (size_t i = f >> (64 - SEEN_SHIFT);; i = (i + 1) % SEEN_NR) {
        if (seen[i] == f)
            return false;
        if (seen[i] != 0)
            continue;
        seen[i] = f;
        if (++seen_nr > SEEN_NR / 4 * 3) {
            fprintf(stderr, "explore: more than %zu states\n", seen_nr);
            exit(2);
        }
        return true;
    }
}

static void found(const char *broken, unsigned depth) {
    size_t len = 0;
    result->broken = broken;
    for (unsigned i = 0; i < depth && len < sizeof(result->trace) - 64; i++)
        len +=
            (size_t)snprintf(result->trace + len, sizeof(result->trace) - len, " %u:%s", path[i].thread, path[i].name);
}

static void visit(const void *state, unsigned depth) {
    _Alignas(8) char next[EXPLORE_STATE_MAX];
    bool final = true;
    if (!remember(state))
        return;
    result->states_nr++;
    for (unsigned t = 0; t < model->threads_nr; t++) {
        unsigned choices_nr = model->choices(state, t);
        for (unsigned choice = 0; choice < choices_nr && result->broken == NULL; choice++) {
            final = false;
            if (depth == EXPLORE_DEPTH_MAX) {
                found("a thread makes no progress", depth);
                return;
            }
            memcpy(next, state, model->state_bytes);
            path[depth].thread = t;
            path[depth].name = model->name(state, t);
            const char *broken = model->step(next, t, choice);
            if (broken == NULL)
                broken = model->check(next, false);
            if (broken != NULL)
                found(broken, depth + 1);
            else
                visit(next, depth + 1);
        }
    }
    if (!final || result->broken != NULL)
        return;
    result->finals_nr++;
    const char *broken = model->check(state, true);
    if (broken != NULL)
        found(broken, depth);
}

void explore(const struct explore_model *m, const void *first, struct explore_result *ret_result) {
    if (seen == NULL && (seen = calloc(SEEN_NR, sizeof(*seen))) == NULL)
        abort();
    memset(seen, 0, SEEN_NR * sizeof(*seen));
    memset(ret_result, 0, sizeof(*ret_result));
    seen_nr = 0;
    model = m;
    result = ret_result;
    visit(first, 0);
}
