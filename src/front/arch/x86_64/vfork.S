/* SPDX-License-Identifier: MIT */
/*
 * int vfork(void), with the engine told on both sides (front/process.c). The child runs first, on this very stack, and
 * overwrites everything below the caller's frame, this function's return address included. What the parent needs
 * after it must be in registers, which the kernel keeps for each of the two apart: the return address in rdi, the
 * outer ticket in esi.
 * No shadow-stack mark: a return address that travels in a register does not fit one.
 */
#define NR_VFORK 58
#define ERRNO_MAX 4095

    .text
    .p2align 4
    .globl vfork
    .type vfork, @function
    .weak __vfork
    .set __vfork, vfork
vfork:
    .cfi_startproc
    endbr64
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call front_vfork_begin
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    movl %eax, %esi                         /* outer ticket */
    popq %rdi                               /* return address */
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rdi
    movl $NR_VFORK, %eax
    syscall                                 /* rcx, r11 and rax change */
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rip, 0
    cmpq $-ERRNO_MAX, %rax
    jae .Lfailed
    pushq %rax
    .cfi_adjust_cfa_offset 8
    testq %rax, %rax
    jz .Lchild
    movl %esi, %edi
    call front_vfork_parent                 /* front_vfork_parent(outer ticket) */
    popq %rax
    .cfi_adjust_cfa_offset -8
    ret                                     /* return pid */

    .cfi_adjust_cfa_offset 8
.Lchild:
    call front_vfork_child
    popq %rax
    .cfi_adjust_cfa_offset -8
    ret                                     /* return 0 */

.Lfailed:
    movq %rax, %rdi
    jmp front_vfork_failed                  /* return front_vfork_failed(error) */
    .cfi_endproc
    .size vfork, . - vfork

    .hidden front_vfork_begin
    .hidden front_vfork_parent
    .hidden front_vfork_child
    .hidden front_vfork_failed
    .section .note.GNU-stack, "", @progbits
