/* SPDX-License-Identifier: MIT */
/* void *dlopen(const char *path, int mode): front/dlopen.c says why this is not C. Clears mode bits and jumps on; the
 * return address stays the caller's. */
    .text
    .p2align 4
    .globl dlopen
    .type dlopen, %function
dlopen:
    .cfi_startproc
    hint #34                                /* bti c */
    adrp x16, front_dlopen_real
    add x16, x16, :lo12:front_dlopen_real
    ldar x17, [x16]                         /* acquire: pairs: [front.dlopen] */
    cbz x17, .Lfirst
.Lknown:
    adrp x16, front_dlopen_mask
    ldr w16, [x16, :lo12:front_dlopen_mask]
    and w1, w1, w16                         /* mode &= mask */
    br x17                                  /* return real(path, mode), as if called by our caller */

.Lfirst:
    stp x29, x30, [sp, #-32]!
    .cfi_adjust_cfa_offset 32
    .cfi_rel_offset 29, 0
    .cfi_rel_offset 30, 8
    mov x29, sp
    stp x0, x1, [sp, #16]
    bl front_dlopen_find
    mov x17, x0
    ldp x0, x1, [sp, #16]
    ldp x29, x30, [sp], #32
    .cfi_restore 30
    .cfi_restore 29
    .cfi_adjust_cfa_offset -32
    b .Lknown
    .cfi_endproc
    .size dlopen, . - dlopen

    .hidden front_dlopen_real
    .hidden front_dlopen_mask
    .hidden front_dlopen_find
    .section .note.GNU-stack, "", %progbits
