/* SPDX-License-Identifier: MIT */
/* Stacks are those the compiler's own unwinder finds, from plain functions, through the C library, and from frames of
 * which the table has the unusual rules. */
#include "sys/unwind.h"

#include "base/types.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unwind.h>

enum { MAX_NR = 64 };

struct stacks {
    const void *ours[MAX_NR], *theirs[MAX_NR];
    unsigned ours_nr, theirs_nr;
};

static _Unwind_Reason_Code frame_add(struct _Unwind_Context *context, void *arg) {
    struct stacks *s = arg;
    s->theirs[s->theirs_nr++] = (const void *)(uintptr_t)_Unwind_GetIP(context); // NOLINT(performance-no-int-to-ptr)
    return s->theirs_nr == MAX_NR ? _URC_END_OF_STACK : _URC_NO_REASON;
}

/* The first of each is in this function, at different calls. */
static NOINLINE void compare(void) {
    struct stacks s = {.ours_nr = 0};
    s.ours_nr = sys_stack_take(s.ours, MAX_NR);
    (void)_Unwind_Backtrace(frame_add, &s);
    while (s.theirs_nr > 0 && s.theirs[s.theirs_nr - 1] == NULL)
        s.theirs_nr--;
    cr_assert_eq(s.ours_nr, s.theirs_nr, "%u frames, the unwinder has %u", s.ours_nr, s.theirs_nr);
    cr_assert(s.ours_nr > 3);
    for (unsigned i = 1; i < s.ours_nr; i++)
        cr_assert_eq(s.ours[i], s.theirs[i], "frame %u: %p, the unwinder has %p", i, s.ours[i], s.theirs[i]);
}

static int compare_in_sort(const void *a, const void *b) {
    static unsigned calls;
    if (calls++ == 0)
        compare();
    return *(const int *)a - *(const int *)b;
}

/* A frame of unknown size, which needs a register of its own, and one that is aligned to more than the stack. */
static NOINLINE void through_alloca(size_t bytes) {
    volatile char *p = __builtin_alloca(bytes);
    p[0] = 1;
    compare();
    p[bytes - 1] = p[0];
}

static NOINLINE void through_alignment(size_t bytes) {
    _Alignas(256) volatile char here[512];
    here[bytes] = 1;
    through_alloca(bytes);
    here[0] = here[bytes];
}

/* Both: the frame's end is then found through a word in it. */
static NOINLINE void through_both(size_t bytes) {
    _Alignas(256) volatile char here[512];
    volatile char *p = __builtin_alloca(bytes);
    here[bytes] = p[0] = 1;
    compare();
    p[bytes - 1] = here[bytes];
}

static NOINLINE void through_depth(unsigned depth) {
    if (depth > 0)
        through_depth(depth - 1);
    else
        compare();
    __asm__ volatile("" ::: "memory");
}

Test(unwind, finds_what_the_compilers_unwinder_finds) {
    int numbers[] = {5, 3, 9, 1, 4, 7};
    compare();
    through_alloca(100);
    through_alignment(200);
    through_both(200);
    through_depth(20);
    qsort(numbers, ARRAY_NR(numbers), sizeof(numbers[0]), compare_in_sort);
}

Test(unwind, takes_no_more_than_asked_for) {
    const void *addrs[3] = {NULL, NULL, NULL};
    cr_assert_eq(sys_stack_take(addrs, 2), 2);
    cr_assert_null(addrs[2]);
    cr_assert_eq(sys_stack_take(addrs, 0), 0);
}

/* Registers that lead nowhere end the stack, and nothing outside of it is read. */
Test(unwind, garbage_ends_it) {
    struct sys_frame frame = {.pc = (u64)(uintptr_t)compare + 1};
    const void *addrs[4];
    for (unsigned i = 0; i < SYS_FRAME_REGS_NR; i++)
        frame.regs[i] = 0x10 + 8 * (u64)i;
    frame.regs[7] = frame.regs[31] = ~(u64)0 - 4096;
    cr_assert_leq(sys_stack_take_from(&frame, addrs, 4), 2);
    frame.pc = 0x1234;
    cr_assert_eq(sys_stack_take_from(&frame, addrs, 4), 1);
}
