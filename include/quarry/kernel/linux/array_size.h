/* SPDX-License-Identifier: MIT */
/* Elements of an array. A pointer in its place does not compile. */
#ifndef QUARRY_KERNEL_LINUX_ARRAY_SIZE_H
#define QUARRY_KERNEL_LINUX_ARRAY_SIZE_H

#ifdef __cplusplus
#include <cstddef>
extern "C++" {
template <typename Element, std::size_t nr> char (&quarry_array_bytes(Element (&array)[nr]))[nr];
}
#define QUARRY_ARRAY_SIZE(array) sizeof(quarry_array_bytes(array))
#else
/* 0, as the size of nothing; no array has the type of the pointer to its first element. */
#define QUARRY_MUST_BE_ARRAY(array)                                                                                    \
    (0 * sizeof(struct {                                                                                               \
         _Static_assert(!__builtin_types_compatible_p(__typeof__(array), __typeof__(&(array)[0])),                     \
                        "ARRAY_SIZE of what is no array");                                                             \
         int unused;                                                                                                   \
     }))
#define QUARRY_ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]) + QUARRY_MUST_BE_ARRAY(array))
#endif
#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array) QUARRY_ARRAY_SIZE(array)
#endif

#endif
