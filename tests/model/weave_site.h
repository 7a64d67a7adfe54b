/* SPDX-License-Identifier: MIT */
/* The calls that weave_atomics.h makes of atomic operations, and of conditions. */
#ifndef QUARRY_TESTS_MODEL_WEAVE_SITE_H
#define QUARRY_TESTS_MODEL_WEAVE_SITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weave_site {
    const char *file, *func, *what;
    int line;
};

enum weave_rmw { WEAVE_XCHG, WEAVE_ADD, WEAVE_SUB, WEAVE_AND, WEAVE_OR, WEAVE_XOR };

uint64_t weave_load(const struct weave_site *site, const void *at, size_t bytes, int order);
void weave_store(const struct weave_site *site, void *at, size_t bytes, uint64_t value, int order);
uint64_t weave_rmw(const struct weave_site *site, void *at, size_t bytes, enum weave_rmw kind, uint64_t operand,
                   int order);
/* operands: expected, desired. Returns what was there; it was swapped if that is what was expected. */
uint64_t weave_cas(const struct weave_site *site, void *at, size_t bytes, const uint64_t operands[2], int order,
                   int failed_order, bool *ret_swapped);
void weave_fence(const struct weave_site *site, int order);
bool weave_condition(const struct weave_site *site, bool value);

#endif
