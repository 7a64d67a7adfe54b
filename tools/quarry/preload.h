/* SPDX-License-Identifier: MIT */
/*
 * The steps of becoming a program with a library of ours before all others. Offered by run.c to the commands that run
 * programs; each says by complain() what went wrong.
 */
#ifndef QUARRY_TOOLS_PRELOAD_H
#define QUARRY_TOOLS_PRELOAD_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * A file that is built and installed with this tool: the one in its build, by a path from the top of that, else the
 * installed one, by a path from the folder of libraries. False when neither can be read.
 */
bool own_file_find(const char *in_build, const char *in_libdir, char *path, size_t cap_bytes);

/*
 * The library to preload: the one given, or, for NULL, the one called name in this tool's build (build_folder is from
 * the top of it) or among the installed ones. A path that LD_PRELOAD could not carry is given another name, by a link
 * in /tmp. 0, or the exit status.
 */
int lib_choose(const char *given, const char *build_folder, const char *name, char ret_lib[PATH_MAX]);

/* Says what the file of the program, or of a script's interpreter, tells of preloading. (warn.c) */
void program_warn(const char *name);

/* Becomes the program; returns only when that fails, with the exit status. */
int program_become(const char *lib, char **program);

#endif
