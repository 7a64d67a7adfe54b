/* SPDX-License-Identifier: MIT */
/* What every restartable sequence on x86-64 begins with, whoever's it is: mag/ and kmem/ have some. */
#ifndef QUARRY_SYS_SECTION_X86_64_H
#define QUARRY_SYS_SECTION_X86_64_H

/* Descriptor of the section 1..2 with abort handler 4, which is preceded by the signature 0x53053053 as operand of a
 * ud1. It holds addresses of code that the kernel jumps to, so it lies where nobody writes once the loader is done. */
#define RSEQ_SECTION_DESCRIPTOR                                                                                        \
    ".pushsection .data.rel.ro.rseq_cs, \"aw\"\n\t"                                                                    \
    ".balign 32\n\t"                                                                                                   \
    "3: .long 0, 0\n\t"                                                                                                \
    ".quad 1f, 2f - 1f, 4f\n\t"                                                                                        \
    ".popsection\n\t"                                                                                                  \
    ".pushsection .text.unlikely, \"ax\"\n\t"                                                                          \
    ".byte 0x0f, 0xb9, 0x3d\n\t"                                                                                       \
    ".long 0x53053053\n\t"                                                                                             \
    "4: jmp 5f\n\t"                                                                                                    \
    ".popsection\n\t"

/* The same with a name, an assembler's string, of the library's own. */
#define RSEQ_NAMED_DESCRIPTOR(name)                                                                                    \
    ".pushsection .data.rel.ro.rseq_cs, \"aw\"\n\t"                                                                    \
    ".balign 32\n\t"                                                                                                   \
    ".globl " name "\n\t"                                                                                              \
    ".hidden " name "\n" name ":\n\t"                                                                                  \
    ".popsection\n\t" RSEQ_SECTION_DESCRIPTOR

#endif
