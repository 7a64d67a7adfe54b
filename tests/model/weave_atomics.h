/* SPDX-License-Identifier: MIT */
/*
 * In front of a file of src/ that is explored (weave.h): C11's atomic operations and the compiler's own become steps of
 * the machine, and so do the conditions of if and while. Types stay what they are.
 */
#ifndef QUARRY_TESTS_MODEL_WEAVE_ATOMICS_H
#define QUARRY_TESTS_MODEL_WEAVE_ATOMICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* Before the words below mean something else. */
#include <stdlib.h>
#include <string.h>

#include "weave_site.h"

#define WEAVE_SITE(text)                                                                                               \
    ({                                                                                                                 \
        static const struct weave_site site_ = {__FILE__, __func__, text, __LINE__};                                   \
        &site_;                                                                                                        \
    })
/* The value's type without _Atomic. */
#define WEAVE_TYPE(p) __typeof__((void)0, *(p))
#define WEAVE_AT(p) ((void *)(uintptr_t)(p))
/* Of any type to a word and back, by its bytes. */
#define WEAVE_WORD(p, v)                                                                                               \
    ({                                                                                                                 \
        WEAVE_TYPE(p) narrow_ = (v);                                                                                   \
        uint64_t word_ = 0;                                                                                            \
        __builtin_memcpy(&word_, &narrow_, sizeof(narrow_));                                                           \
        word_;                                                                                                         \
    })
#define WEAVE_VALUE(p, word)                                                                                           \
    ({                                                                                                                 \
        uint64_t wide_ = (word);                                                                                       \
        WEAVE_TYPE(p) value_;                                                                                          \
        __builtin_memcpy(&value_, &wide_, sizeof(value_));                                                             \
        value_;                                                                                                        \
    })
#define WEAVE_RMW(op, p, v, kind, order)                                                                               \
    WEAVE_VALUE(p, weave_rmw(WEAVE_SITE(op " " #p), WEAVE_AT(p), sizeof(*(p)), kind, WEAVE_WORD(p, v), order))
#define WEAVE_CAS(p, expected, v, order, failed_order)                                                                 \
    ({                                                                                                                 \
        bool swapped_ = false;                                                                                         \
        __typeof__(expected) expected_ = (expected);                                                                   \
        const uint64_t operands_[2] = {WEAVE_WORD(p, *expected_), WEAVE_WORD(p, v)};                                   \
        uint64_t seen_ =                                                                                               \
            weave_cas(WEAVE_SITE("swap " #p), WEAVE_AT(p), sizeof(*(p)), operands_, order, failed_order, &swapped_);   \
        *expected_ = swapped_ ? *expected_ : WEAVE_VALUE(p, seen_);                                                    \
        swapped_;                                                                                                      \
    })

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_and_explicit
#undef atomic_fetch_or_explicit
#undef atomic_fetch_xor_explicit
#undef atomic_compare_exchange_weak_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_thread_fence
#undef atomic_signal_fence
#define atomic_load_explicit(p, order)                                                                                 \
    WEAVE_VALUE(p, weave_load(WEAVE_SITE("load " #p), WEAVE_AT(p), sizeof(*(p)), order))
#define atomic_store_explicit(p, v, order)                                                                             \
    weave_store(WEAVE_SITE("store " #p), WEAVE_AT(p), sizeof(*(p)), WEAVE_WORD(p, v), order)
#define atomic_exchange_explicit(p, v, order) WEAVE_RMW("exchange", p, v, WEAVE_XCHG, order)
#define atomic_fetch_add_explicit(p, v, order) WEAVE_RMW("fetch_add", p, v, WEAVE_ADD, order)
#define atomic_fetch_sub_explicit(p, v, order) WEAVE_RMW("fetch_sub", p, v, WEAVE_SUB, order)
#define atomic_fetch_and_explicit(p, v, order) WEAVE_RMW("fetch_and", p, v, WEAVE_AND, order)
#define atomic_fetch_or_explicit(p, v, order) WEAVE_RMW("fetch_or", p, v, WEAVE_OR, order)
#define atomic_fetch_xor_explicit(p, v, order) WEAVE_RMW("fetch_xor", p, v, WEAVE_XOR, order)
#define atomic_compare_exchange_weak_explicit(p, expected, v, order, failed) WEAVE_CAS(p, expected, v, order, failed)
#define atomic_compare_exchange_strong_explicit(p, expected, v, order, failed) WEAVE_CAS(p, expected, v, order, failed)
/* For handlers of the same thread, which are not explored. */
#define atomic_signal_fence(order) ((void)(order))
#define atomic_thread_fence(order) weave_fence(WEAVE_SITE("fence"), order)
#define __atomic_load_n(p, order) atomic_load_explicit(p, order)
#define __atomic_store_n(p, v, order) atomic_store_explicit(p, v, order)
#define __atomic_exchange_n(p, v, order) atomic_exchange_explicit(p, v, order)
#define __atomic_fetch_add(p, v, order) atomic_fetch_add_explicit(p, v, order)
#define __atomic_fetch_sub(p, v, order) atomic_fetch_sub_explicit(p, v, order)
#define __atomic_compare_exchange_n(p, expected, v, weak, order, failed) WEAVE_CAS(p, expected, v, order, failed)

/* Conditions, for mutants that do not look at one. */
#define WEAVE_CONDITION(text, ...) weave_condition(WEAVE_SITE(text), !!(__VA_ARGS__))
/* A space before the arguments would make them part of the text. */
/* clang-format off */
#define if(...) if (WEAVE_CONDITION("if (" #__VA_ARGS__ ")", __VA_ARGS__))
#define while(...) while (WEAVE_CONDITION("while (" #__VA_ARGS__ ")", __VA_ARGS__))
/* clang-format on */

#endif
