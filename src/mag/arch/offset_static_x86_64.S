/* SPDX-License-Identifier: MIT */
/* What offset_shared_x86_64.S explains, for executables, where the linker knows the offset. */
    .data
    .balign 16
    .globl mag_rseq_offset, mag_id_offset
    .hidden mag_rseq_offset, mag_id_offset
    .type mag_rseq_offset, @object
    .size mag_rseq_offset, 8
    .type mag_id_offset, @object
    .size mag_id_offset, 8
mag_rseq_offset: .quad mag_rseq_own@tpoff
mag_id_offset: .quad mag_rseq_own@tpoff

    .section .note.GNU-stack, "", @progbits
