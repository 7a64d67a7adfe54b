/* SPDX-License-Identifier: MIT */
/*
 * Keeps the compiler from removing or merging an allocation whose object is never read: after escape() the pointer may
 * be known anywhere and memory may have changed. Costs no instruction.
 */
#ifndef BENCH_ESCAPE_H
#define BENCH_ESCAPE_H

static inline void escape(void *object) { __asm__ volatile("" : : "r"(object) : "memory"); }

#endif
