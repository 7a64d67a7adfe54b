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
void symbols_close(struct symbols *s);

#endif
