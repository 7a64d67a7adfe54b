/* SPDX-License-Identifier: MIT */
/*
 * How a child program of the driver says that something is wrong. Owns the failure line, the skip status
 * and the laundering that keeps a compiler from reasoning about allocations; owns no test. Usable from signal
 * handlers and before constructors: nothing here allocates. Included by every program under tests/integ,
 * tests/death and tests/stress, C and C++.
 */
#ifndef QUARRY_TESTS_CHECK_H
#define QUARRY_TESTS_CHECK_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { EXIT_SKIP = 77 };

/* Prints one line on stderr and leaves with status 1, running no exit handlers. */
void check_fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, cold, format(printf, 3, 4)));

/* Says why the test cannot run here and leaves with the status the driver reads as a skip. */
void check_skip(const char *format, ...) __attribute__((noreturn, cold, format(printf, 1, 2)));

/* For alarm(): seconds after which a quiet machine of two CPUs would hang, times PATIENCE of the environment
 * (tests/meson.build). */
unsigned limit_seconds(unsigned seconds);

/* A command line to print with every failure; must stay valid. */
void check_repeat_set(const char *command);

/* The same value, of which the compiler knows nothing any more. */
void *opaque(const void *p);
size_t opaque_size(size_t n);

/* The function of that name in the running process, or NULL. Storage for any function pointer type. */
void symbol_get(const char *name, void *ret_function_pointer);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            check_fail(__FILE__, __LINE__, "%s", #condition);                                                          \
    } while (0)

#define CHECK_MSG(condition, ...)                                                                                      \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            check_fail(__FILE__, __LINE__, __VA_ARGS__);                                                               \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
