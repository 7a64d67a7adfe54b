/* SPDX-License-Identifier: MIT */
/* What offset_shared_x86_64.S explains, for executables, where the linker knows the offset. It is negative, and above -2 GiB: so the upper half
 * is ones. gold and lld know no relocation of all 64 bits (R_X86_64_TPOFF64) in an object. */
    .data
    .balign 16
    .globl mag_rseq_offset, mag_id_offset
    .hidden mag_rseq_offset, mag_id_offset
    .type mag_rseq_offset, @object
    .size mag_rseq_offset, 8
    .type mag_id_offset, @object
    .size mag_id_offset, 8
mag_rseq_offset: .long mag_rseq_own@tpoff, -1
mag_id_offset: .long mag_rseq_own@tpoff, -1

    .section .note.GNU-stack, "", @progbits
