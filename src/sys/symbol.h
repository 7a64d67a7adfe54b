/* SPDX-License-Identifier: MIT */
/* From code addresses to names, for reports. */
#ifndef QUARRY_SYS_SYMBOL_H
#define QUARRY_SYS_SYMBOL_H

#include "base/types.h"

enum { SYS_SYMBOL_NAME_BYTES = 96, SYS_SYMBOL_MODULE_BYTES = 48 };
struct sys_symbol {
    char name[SYS_SYMBOL_NAME_BYTES];     /* of the function, cut; empty: not known */
    char module[SYS_SYMBOL_MODULE_BYTES]; /* the file's name without folders; empty: the program itself */
    size_t offset_bytes, size_bytes;      /* without a name: offset from where the file is mapped */
};

/* The function that holds the byte at p, by the symbol table of its file: .symtab, or where that was stripped .dynsym.
 * False: p lies in no file's code. Maps the file for the time. Takes the dynamic linker's lock where the C
 * library has no other way (before glibc 2.35; musl). Leaves errno alone. */
bool sys_symbol_find(const void *p, struct sys_symbol *ret_symbol);
/* Where the file that holds p is mapped; of a program linked statically, the part of it. False: none does. */
bool sys_module_range(const void *p, uintptr_t *ret_first, uintptr_t *ret_end);

#endif
