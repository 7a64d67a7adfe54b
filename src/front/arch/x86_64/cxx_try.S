/* SPDX-License-Identifier: MIT */
/*
 * void *cxx_try(cxx_new_fn *fn, size_t size, size_t align, const void *caller, const struct cxx_runtime *runtime):
 * the frame of the try block that front/cxx_try.c describes. An exception that reaches it continues at
 * cxx_try_landing_pad, with the frame as it was at the call.
 */
    .text
    .p2align 4
    .globl cxx_try
    .hidden cxx_try
    .type cxx_try, @function
cxx_try:
    .cfi_startproc
    .cfi_personality 0x1b, cxx_try_personality      /* pc-relative, 4 bytes: it is in this very library */
    .cfi_lsda 0x1b, .Lno_lsda                       /* a frame without LSDA would not be asked */
    endbr64
    subq $24, %rsp
    .cfi_adjust_cfa_offset 24
    movq %r8, 8(%rsp)                               /* runtime, for the landing pad */
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq %rcx, %rdx
    call *%rax                                      /* p = fn(size, align, caller) */
    addq $24, %rsp
    .cfi_adjust_cfa_offset -24
    ret                                             /* return p */

    .cfi_adjust_cfa_offset 24
    .globl cxx_try_landing_pad
    .hidden cxx_try_landing_pad
cxx_try_landing_pad:                                /* rax = exception */
    endbr64
    movq %rax, %rdi
    movq 8(%rsp), %rsi
    call cxx_try_swallow                            /* cxx_try_swallow(exception, runtime) */
    xorl %eax, %eax
    addq $24, %rsp
    .cfi_adjust_cfa_offset -24
    ret                                             /* return NULL */
    .cfi_endproc
    .size cxx_try, . - cxx_try

    .section .gcc_except_table, "a", @progbits
.Lno_lsda:
    .long 0
    .hidden cxx_try_personality
    .hidden cxx_try_swallow
    .section .note.GNU-stack, "", @progbits
