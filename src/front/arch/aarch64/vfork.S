/* SPDX-License-Identifier: MIT */
/*
 * int vfork(void), with the engine told on both sides (front/process.c). The child runs first, on this very stack, and
 * overwrites everything below the caller's frame. What the parent needs after it must be in registers, which the
 * kernel keeps for each of the two apart: the return address in x30, the outer ticket in w9. There is no vfork system
 * call here; it is a clone.
 */
#define NR_CLONE 220
#define FLAGS 0x4111 /* CLONE_VFORK | CLONE_VM | SIGCHLD */
#define ERRNO_MAX 4095

    .text
    .p2align 4
    .globl vfork
    .type vfork, %function
    .weak __vfork
    .set __vfork, vfork
vfork:
    .cfi_startproc
    hint #34                                /* bti c */
    stp x29, x30, [sp, #-16]!
    .cfi_adjust_cfa_offset 16
    .cfi_rel_offset 29, 0
    .cfi_rel_offset 30, 8
    bl front_vfork_begin
    ldp x29, x30, [sp], #16
    .cfi_restore 30
    .cfi_restore 29
    .cfi_adjust_cfa_offset -16
    mov w9, w0                              /* outer ticket */
    mov x0, #FLAGS
    mov x1, #0                              /* stack: the caller's */
    mov x2, #0
    mov x3, #0
    mov x4, #0
    mov x8, #NR_CLONE
    svc #0                                  /* x0 changes */
    cmn x0, #ERRNO_MAX
    b.cs .Lfailed
    stp x30, x0, [sp, #-16]!
    .cfi_adjust_cfa_offset 16
    .cfi_rel_offset 30, 0
    cbz x0, .Lchild
    mov w0, w9
    bl front_vfork_parent                   /* front_vfork_parent(outer ticket) */
    b .Lreturn
.Lchild:
    bl front_vfork_child
.Lreturn:
    ldp x30, x0, [sp], #16                  /* return pid, or 0 in the child */
    .cfi_restore 30
    .cfi_adjust_cfa_offset -16
    ret

.Lfailed:
    b front_vfork_failed                    /* return front_vfork_failed(error) */
    .cfi_endproc
    .size vfork, . - vfork

    .hidden front_vfork_begin
    .hidden front_vfork_parent
    .hidden front_vfork_child
    .hidden front_vfork_failed
    .section .note.GNU-stack, "", %progbits
