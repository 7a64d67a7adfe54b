/* SPDX-License-Identifier: MIT */
/*
 * mag_rseq_offset and mag_id_offset start out as the offset of mag_rseq_own from the thread pointer, so that a free that comes before
 * anything else, in some library's constructor, finds "not registered" and leaves the fast path. In a shared library only the dynamic
 * linker knows that offset, and the linker offers no relocation for it in data; but it may run a resolver for a word, and does so after all other
 * relocations of this library. The static library needs no such trick: offset_static_x86_64.S.
 */
    .text
    .type rseq_offset_resolve, @function
rseq_offset_resolve:
    endbr64
    movq mag_rseq_own@gottpoff(%rip), %rax
    ret
    .size rseq_offset_resolve, .-rseq_offset_resolve

    .local rseq_offset_initial
    .type rseq_offset_initial, @gnu_indirect_function
    .set rseq_offset_initial, rseq_offset_resolve

    .data
    .balign 16
    .globl mag_rseq_offset, mag_id_offset
    .hidden mag_rseq_offset, mag_id_offset
    .type mag_rseq_offset, @object
    .size mag_rseq_offset, 8
    .type mag_id_offset, @object
    .size mag_id_offset, 8
mag_rseq_offset: .quad rseq_offset_initial
mag_id_offset: .quad rseq_offset_initial

    .section .note.GNU-stack, "", @progbits
