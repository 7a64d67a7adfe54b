/* SPDX-License-Identifier: MIT */
/*
 * Allocation by type, as the kernel has it since 7.0; a part of <linux/slab.h>, which programs include. The first
 * argument is a type or an expression of it, the result points to that type; flags are the last argument, GFP_KERNEL
 * where they are left out. A size that overflows is larger than any allocation. _flex: a structure with nr elements in
 * its last member; a counter of these is the program's to set, as in the kernel with compilers before gcc 15 and clang
 * 20.
 */
#ifndef QUARRY_KERNEL_LINUX_SLAB_OBJ_H
#define QUARRY_KERNEL_LINUX_SLAB_OBJ_H

/* Not to be used alone: the third, fourth or fifth of the arguments, which is the form with flags or that without. */
#define QUARRY_THIRD(a, b, c, ...) c
#define QUARRY_FOURTH(a, b, c, d, ...) d
#define QUARRY_FIFTH(a, b, c, d, e, ...) e

#define QUARRY_OBJ(alloc, type, flags) ((__typeof__(type) *)alloc(sizeof(__typeof__(type)), flags))
#define QUARRY_OBJ_KERNEL(alloc, type) QUARRY_OBJ(alloc, type, GFP_KERNEL)
#define QUARRY_OBJS(alloc, type, nr, flags) ((__typeof__(type) *)alloc(size_mul(sizeof(__typeof__(type)), nr), flags))
#define QUARRY_OBJS_KERNEL(alloc, type, nr) QUARRY_OBJS(alloc, type, nr, GFP_KERNEL)
#define QUARRY_FLEX(alloc, type, member, nr, flags)                                                                    \
    ((__typeof__(type) *)alloc(struct_size_t(__typeof__(type), member, nr), flags))
#define QUARRY_FLEX_KERNEL(alloc, type, member, nr) QUARRY_FLEX(alloc, type, member, nr, GFP_KERNEL)

#define kmalloc_obj(...) QUARRY_THIRD(__VA_ARGS__, QUARRY_OBJ, QUARRY_OBJ_KERNEL, )(kmalloc, __VA_ARGS__)
#define kzalloc_obj(...) QUARRY_THIRD(__VA_ARGS__, QUARRY_OBJ, QUARRY_OBJ_KERNEL, )(kzalloc, __VA_ARGS__)
#define kvmalloc_obj(...) QUARRY_THIRD(__VA_ARGS__, QUARRY_OBJ, QUARRY_OBJ_KERNEL, )(kvmalloc, __VA_ARGS__)
#define kvzalloc_obj(...) QUARRY_THIRD(__VA_ARGS__, QUARRY_OBJ, QUARRY_OBJ_KERNEL, )(kvzalloc, __VA_ARGS__)

#define kmalloc_objs(...) QUARRY_FOURTH(__VA_ARGS__, QUARRY_OBJS, QUARRY_OBJS_KERNEL, )(kmalloc, __VA_ARGS__)
#define kzalloc_objs(...) QUARRY_FOURTH(__VA_ARGS__, QUARRY_OBJS, QUARRY_OBJS_KERNEL, )(kzalloc, __VA_ARGS__)
#define kvmalloc_objs(...) QUARRY_FOURTH(__VA_ARGS__, QUARRY_OBJS, QUARRY_OBJS_KERNEL, )(kvmalloc, __VA_ARGS__)
#define kvzalloc_objs(...) QUARRY_FOURTH(__VA_ARGS__, QUARRY_OBJS, QUARRY_OBJS_KERNEL, )(kvzalloc, __VA_ARGS__)

#define kmalloc_flex(...) QUARRY_FIFTH(__VA_ARGS__, QUARRY_FLEX, QUARRY_FLEX_KERNEL, )(kmalloc, __VA_ARGS__)
#define kzalloc_flex(...) QUARRY_FIFTH(__VA_ARGS__, QUARRY_FLEX, QUARRY_FLEX_KERNEL, )(kzalloc, __VA_ARGS__)
#define kvmalloc_flex(...) QUARRY_FIFTH(__VA_ARGS__, QUARRY_FLEX, QUARRY_FLEX_KERNEL, )(kvmalloc, __VA_ARGS__)
#define kvzalloc_flex(...) QUARRY_FIFTH(__VA_ARGS__, QUARRY_FLEX, QUARRY_FLEX_KERNEL, )(kvzalloc, __VA_ARGS__)

#endif
