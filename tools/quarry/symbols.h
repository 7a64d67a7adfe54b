/* SPDX-License-Identifier: MIT */
/* Names for addresses of another process's code, in the kernel's form (%pS): function+0xoffset/0xsize, and [library]
 * but for the program itself. */
#ifndef QUARRY_TOOLS_SYMBOLS_H
#define QUARRY_TOOLS_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct symbols;

/* NULL: there will be no names (no libdw, no memory, or the process's files are out of reach); all the others take that
 * as well. */
struct symbols *symbols_open(pid_t pid);
/* False: no name is known, and text is not written. */
bool symbols_name(struct symbols *s, uint64_t addr, char *text, size_t cap);
/* Where in the program a stack of return addresses, innermost first, calls one of quarry's headers: functions of those,
 * inlined or not, are none of the program's. */
enum { SYMBOLS_SITE_BYTES = 256 };
struct symbols_site {
    char file[SYMBOLS_SITE_BYTES];     /* as the compiler wrote it down; without debugging data that of the code */
    unsigned line;                     /* 0: not known */
    char module[SYMBOLS_SITE_BYTES];   /* the library's file; empty for the program itself */
    char function[SYMBOLS_SITE_BYTES]; /* its address where it has no name */
};
void symbols_site(struct symbols *s, const uint64_t *callers, size_t nr, struct symbols_site *ret_site);
void symbols_close(struct symbols *s);

#endif
