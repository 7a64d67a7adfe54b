/* SPDX-License-Identifier: MIT */
/*
 * The command-line tool's own contract: its commands and the few words they share. The tool knows the library by its
 * tables (options.def, stats.def, sizeclass.def) and by its file; it does not link it.
 */
#ifndef QUARRY_TOOLS_QUARRY_H
#define QUARRY_TOOLS_QUARRY_H

#include <stdbool.h>
#include <stddef.h>

enum { EXIT_USAGE = 2, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

/* Tables are for people, or for programs as JSON. */
enum table_form { FORM_TEXT, FORM_JSON };

struct command {
    const char *name;
    const char *args;                  /* as shown in the usage line */
    const char *summary;               /* one sentence without its full stop */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; the result is the exit status */
};

/* All commands; the last has no name. */
extern const struct command commands[];

int command_options(int argc, char **argv);
int command_stats_list(int argc, char **argv);
int command_classes(int argc, char **argv);
int command_run(int argc, char **argv);
int command_record(int argc, char **argv);
int command_play(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_slabinfo(int argc, char **argv);
int command_slabtop(int argc, char **argv);
int command_slab(int argc, char **argv);
int command_vmallocinfo(int argc, char **argv);
int command_allocinfo(int argc, char **argv);
int command_buddyinfo(int argc, char **argv);
int command_meminfo(int argc, char **argv);
int command_numa(int argc, char **argv);
int command_version(int argc, char **argv);
int command_help(int argc, char **argv);

/* Reads a command's "--json"; anything else is a usage error, which is reported and gives false. */
bool table_form_read(int argc, char **argv, enum table_form *ret_form);

/* A string in quotes, with what JSON wants escaped. */
void json_string_print(const char *text);

/* Prints "quarry: ..." on stderr. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same about a word that is no option of the command, or lacks its value. */
void complain_option(const char *command, const char *word);

#endif
