/* SPDX-License-Identifier: MIT */
/*
 * The part of Criterion's interface that the unit tests use, for builds where Criterion itself cannot be had: under
 * ThreadSanitizer (it wants to map fixed addresses, which are the sanitizer's) and for another machine. Each test runs
 * in a child, as Criterion's do; plain.c has the main program. A test that uses more of Criterion than stands here does
 * not compile in those builds: add what it uses.
 */
#ifndef QUARRY_TESTS_PLAIN_CRITERION_H
#define QUARRY_TESTS_PLAIN_CRITERION_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct plain_options {
    void (*init)(void);
    void (*fini)(void);
    int signal;     /* the test must die of it */
    int exit_code;  /* the test must leave with it */
    double timeout; /* seconds */
    bool disabled;
    const char *description;
};

struct plain_test {
    const char *suite, *name;
    void (*body)(void);
    struct plain_options options;
    struct plain_test *next;
};

struct plain_suite {
    const char *name;
    struct plain_options options;
    struct plain_suite *next;
};

void plain_test_add(struct plain_test *test);
void plain_suite_add(struct plain_suite *suite);

enum plain_severity { PLAIN_EXPECT, PLAIN_ASSERT };

/* Tells a failure; does not return for PLAIN_ASSERT. message begins with a blank. */
void plain_failed(enum plain_severity severity, const char *file, int line, const char *what, const char *message, ...)
    __attribute__((format(printf, 5, 6)));
_Noreturn void plain_skip(void);

#define Test(suite_, name_, ...)                                                                                       \
    static void plain_##suite_##_##name_(void);                                                                        \
    __attribute__((constructor)) static void plain_add_##suite_##_##name_(void) {                                      \
        static struct plain_test test = {                                                                              \
            .suite = #suite_, .name = #name_, .body = plain_##suite_##_##name_, .options = {__VA_ARGS__}};             \
        plain_test_add(&test);                                                                                         \
    }                                                                                                                  \
    static void plain_##suite_##_##name_(void)

#define TestSuite(suite_, ...)                                                                                         \
    __attribute__((constructor)) static void plain_suite_##suite_(void) {                                              \
        static struct plain_suite suite = {.name = #suite_, .options = {__VA_ARGS__}};                                 \
        plain_suite_add(&suite);                                                                                       \
    }                                                                                                                  \
    struct plain_suite

#define PLAIN_CHECK(severity, condition, what, ...)                                                                    \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            plain_failed(severity, __FILE__, __LINE__, what, " " __VA_ARGS__);                                         \
    } while (0)
#define PLAIN_COMPARE(severity, a, op, b, ...) PLAIN_CHECK(severity, (a)op(b), #a " " #op " " #b, __VA_ARGS__)
#define PLAIN_STR(severity, a, op, b, ...) PLAIN_CHECK(severity, strcmp(a, b) op 0, #a " " #op " " #b, __VA_ARGS__)

#define cr_assert(condition, ...) PLAIN_CHECK(PLAIN_ASSERT, condition, #condition, __VA_ARGS__)
#define cr_assert_not(condition, ...) PLAIN_CHECK(PLAIN_ASSERT, !(condition), "not " #condition, __VA_ARGS__)
#define cr_assert_eq(a, b, ...) PLAIN_COMPARE(PLAIN_ASSERT, a, ==, b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...) PLAIN_COMPARE(PLAIN_ASSERT, a, !=, b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...) PLAIN_COMPARE(PLAIN_ASSERT, a, <, b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...) PLAIN_COMPARE(PLAIN_ASSERT, a, <=, b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...) PLAIN_COMPARE(PLAIN_ASSERT, a, >, b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...) PLAIN_COMPARE(PLAIN_ASSERT, a, >=, b, __VA_ARGS__)
#define cr_assert_null(a, ...) PLAIN_COMPARE(PLAIN_ASSERT, a, ==, NULL, __VA_ARGS__)
#define cr_assert_not_null(a, ...) PLAIN_COMPARE(PLAIN_ASSERT, a, !=, NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) PLAIN_STR(PLAIN_ASSERT, a, ==, b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) PLAIN_STR(PLAIN_ASSERT, a, !=, b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, bytes, ...)                                                                             \
    PLAIN_CHECK(PLAIN_ASSERT, memcmp(a, b, bytes) == 0, #a " and " #b " differ", __VA_ARGS__)
#define cr_assert_fail(...) PLAIN_CHECK(PLAIN_ASSERT, false, "reached", __VA_ARGS__)

#define cr_expect(condition, ...) PLAIN_CHECK(PLAIN_EXPECT, condition, #condition, __VA_ARGS__)
#define cr_expect_not(condition, ...) PLAIN_CHECK(PLAIN_EXPECT, !(condition), "not " #condition, __VA_ARGS__)
#define cr_expect_eq(a, b, ...) PLAIN_COMPARE(PLAIN_EXPECT, a, ==, b, __VA_ARGS__)
#define cr_expect_neq(a, b, ...) PLAIN_COMPARE(PLAIN_EXPECT, a, !=, b, __VA_ARGS__)
#define cr_expect_lt(a, b, ...) PLAIN_COMPARE(PLAIN_EXPECT, a, <, b, __VA_ARGS__)
#define cr_expect_leq(a, b, ...) PLAIN_COMPARE(PLAIN_EXPECT, a, <=, b, __VA_ARGS__)
#define cr_expect_gt(a, b, ...) PLAIN_COMPARE(PLAIN_EXPECT, a, >, b, __VA_ARGS__)
#define cr_expect_geq(a, b, ...) PLAIN_COMPARE(PLAIN_EXPECT, a, >=, b, __VA_ARGS__)
#define cr_expect_null(a, ...) PLAIN_COMPARE(PLAIN_EXPECT, a, ==, NULL, __VA_ARGS__)
#define cr_expect_not_null(a, ...) PLAIN_COMPARE(PLAIN_EXPECT, a, !=, NULL, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) PLAIN_STR(PLAIN_EXPECT, a, ==, b, __VA_ARGS__)
#define cr_expect_str_neq(a, b, ...) PLAIN_STR(PLAIN_EXPECT, a, !=, b, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, bytes, ...)                                                                             \
    PLAIN_CHECK(PLAIN_EXPECT, memcmp(a, b, bytes) == 0, #a " and " #b " differ", __VA_ARGS__)
#define cr_expect_fail(...) PLAIN_CHECK(PLAIN_EXPECT, false, "reached", __VA_ARGS__)
#define cr_fail(...) cr_expect_fail(__VA_ARGS__)

#define cr_skip_test(...) plain_skip()
#define cr_skip(...) plain_skip()

#endif
