/* SPDX-License-Identifier: MIT */
/*
 * mag_rseq_offset and mag_id_offset start out as 0, "no rseq yet". The linker has no relocation that puts an offset in TLS into data here, nor is
 * one needed: the primitives of rseq_aarch64.h test for 0.
 */
    .data
    .balign 16
    .globl mag_rseq_offset, mag_id_offset
    .hidden mag_rseq_offset, mag_id_offset
    .type mag_rseq_offset, %object
    .size mag_rseq_offset, 8
    .type mag_id_offset, %object
    .size mag_id_offset, 8
mag_rseq_offset: .quad 0
mag_id_offset: .quad 0

    .section .note.GNU-stack, "", %progbits
