/* SPDX-License-Identifier: MIT */
/* void *dlopen(const char *path, int mode): front/dlopen.c says why this is not C. Clears mode bits and jumps on; the
 * return address stays the caller's. */
    .text
    .p2align 4
    .globl dlopen
    .type dlopen, @function
dlopen:
    .cfi_startproc
    endbr64
    movq front_dlopen_real(%rip), %rax      /* acquire, as every load here is: pairs: [front.dlopen] */
    testq %rax, %rax
    jz .Lfirst
.Lknown:
    andl front_dlopen_mask(%rip), %esi      /* mode &= mask */
    jmpq *%rax                              /* return real(path, mode), as if called by our caller */

.Lfirst:
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    pushq %rsi
    .cfi_adjust_cfa_offset 8
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call front_dlopen_find
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %rsi
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
    jmp .Lknown
    .cfi_endproc
    .size dlopen, . - dlopen

    .hidden front_dlopen_real
    .hidden front_dlopen_mask
    .hidden front_dlopen_find
    .section .note.GNU-stack, "", @progbits
