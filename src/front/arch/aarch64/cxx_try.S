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
    .type cxx_try, %function
cxx_try:
    .cfi_startproc
    .cfi_personality 0x1b, cxx_try_personality      /* pc-relative, 4 bytes: it is in this very library */
    .cfi_lsda 0x1b, .Lno_lsda                       /* a frame without LSDA would not be asked */
    hint #34                                        /* bti c */
    stp x29, x30, [sp, #-32]!
    .cfi_def_cfa_offset 32
    .cfi_offset 29, -32
    .cfi_offset 30, -24
    mov x29, sp
    str x4, [sp, #16]                               /* runtime, for the landing pad */
    mov x9, x0
    mov x0, x1
    mov x1, x2
    mov x2, x3
    blr x9                                          /* p = fn(size, align, caller) */
    b .Lreturn

    .globl cxx_try_landing_pad
    .hidden cxx_try_landing_pad
cxx_try_landing_pad:                                /* x0 = exception */
    hint #36                                        /* bti j */
    ldr x1, [sp, #16]
    bl cxx_try_swallow                              /* cxx_try_swallow(exception, runtime) */
    mov x0, #0                                      /* return NULL */
.Lreturn:
    ldp x29, x30, [sp], #32
    .cfi_restore 30
    .cfi_restore 29
    .cfi_def_cfa_offset 0
    ret                                             /* return p */
    .cfi_endproc
    .size cxx_try, . - cxx_try

    .section .gcc_except_table, "a", %progbits
.Lno_lsda:
    .word 0
    .hidden cxx_try_personality
    .hidden cxx_try_swallow
    .section .note.GNU-stack, "", %progbits
