/* SPDX-License-Identifier: MIT */
/* The quarry command: chooses a command from the table and runs it. What the commands do is in tables.c, run.c,
 * record.c and play.c. */
#include "quarry.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct command commands[] = {
    {"run", "[--lib=FILE] [--stats=off|text|short|json] PROGRAM [ARGS]",
     "run a program on quarry, by LD_PRELOAD; the exit status is the program's", command_run},
    {"record", "-o FILE [--lib=FILE] PROGRAM [ARGS]",
     "run a program and write a trace of its allocation calls, for quarry play; the exit status is the program's",
     command_record},
    {"play", "[--info|--list] [--rounds=N] [--speed=PCT] [--window=N] FILE",
     "make the calls of a trace again on the allocator that LD_PRELOAD names, and print ns per call and resident "
     "memory",
     command_play},
#if QUARRY_EXPLAIN
    {"explain", "[--json] PID|FILE",
     "say in words where the memory of a process, or in a JSON report, is and what would change it, largest first",
     command_explain},
#endif
    {"slabinfo", "PID", "print the caches and size classes of a process in the format of /proc/slabinfo",
     command_slabinfo},
    {"slabtop", "PID [ARGS]", "run slabtop(1) with its arguments on the caches and size classes of a process",
     command_slabtop},
    {"slab", "PID [CACHE [ATTRIBUTE]]",
     "list the caches and size classes of a process, or show attributes of one, by their names in /sys/kernel/slab",
     command_slab},
    {"vmallocinfo", "PID", "print the vmalloc areas of a process in the format of /proc/vmallocinfo",
     command_vmallocinfo},
    {"allocinfo", "PID",
     "print what a process allocated and did not free, by places in the program, in the format of /proc/allocinfo",
     command_allocinfo},
    {"buddyinfo", "PID", "print the free pages of a process's page allocator in the format of /proc/buddyinfo",
     command_buddyinfo},
    {"meminfo", "PID", "print slabs and vmalloc areas of a process in the format of /proc/meminfo", command_meminfo},
    {"numa", "PID",
     "print what of a process's heap is of which NUMA node, by size class, where it lies, and what was freed elsewhere",
     command_numa},
    {"options", "[--json]", "list every option with its default and what it may be", command_options},
    {"stats-list", "[--json]", "list every figure of the reports with its meaning", command_stats_list},
    {"classes", "[--json]", "list the size classes with what each wastes", command_classes},
    {"version", "", "print the version", command_version},
    {"help", "[--json|COMMAND]", "list the commands, or tell of one, as COMMAND --help does", command_help},
    {NULL, NULL, NULL, NULL},
};

void complain(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("quarry: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

void complain_option(const char *command, const char *word) {
    complain("%s: %s is not an option of it, or lacks its value; `quarry help` lists them", command, word);
}

void json_string_print(const char *text) {
    putchar('"');
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            putchar('\\');
        if ((unsigned char)*c < ' ')
            printf("\\u%04x", (unsigned)*c);
        else
            putchar(*c);
    }
    putchar('"');
}

bool table_form_read(int argc, char **argv, enum table_form *ret_form) {
    if (argc > 2 || (argc == 2 && strcmp(argv[1], "--json") != 0)) {
        complain("%s takes nothing but --json", argv[0]);
        return false;
    }
    *ret_form = argc == 2 ? FORM_JSON : FORM_TEXT;
    return true;
}

int command_version(int argc, char **argv) {
    if (argc > 1) {
        complain("%s takes no arguments", argv[0]);
        return EXIT_USAGE;
    }
    puts("quarry " QUARRY_VERSION_TEXT);
    return 0;
}

static void command_text(const struct command *c, const char *before) {
    printf("%s%s%s%s\n      %s\n", before, c->name, c->args[0] != '\0' ? " " : "", c->args, c->summary);
}

static void help_text(void) {
    puts("usage: quarry COMMAND");
    for (const struct command *c = commands; c->name != NULL; c++)
        command_text(c, "  ");
    puts("Options are set by QUARRY_NAME=VALUE in the environment: `quarry options`, quarry(7).");
}

static void help_json(void) {
    for (const struct command *c = commands; c->name != NULL; c++) {
        fputs(c == commands ? "[\n{\"name\":" : ",\n{\"name\":", stdout);
        json_string_print(c->name);
        fputs(",\"args\":", stdout);
        json_string_print(c->args);
        fputs(",\"summary\":", stdout);
        json_string_print(c->summary);
        putchar('}');
    }
    puts("\n]");
}

static bool asks_for_help(const char *word) { return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0; }

static const struct command *command_find(const char *name) {
    if (asks_for_help(name))
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (const struct command *c = commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

static const struct command *command_get(const char *name) {
    const struct command *c = command_find(name);
    if (c == NULL)
        complain("no command %s; `quarry help` lists them", name);
    return c;
}

static int help_one(const char *name) {
    const struct command *c = command_get(name);
    if (c == NULL)
        return EXIT_USAGE;
    command_text(c, "usage: quarry ");
    return 0;
}

int command_help(int argc, char **argv) {
    enum table_form form;
    if (argc == 2 && argv[1][0] != '-')
        return help_one(argv[1]);
    if (!table_form_read(argc, argv, &form))
        return EXIT_USAGE;
    if (form == FORM_JSON)
        help_json();
    else
        help_text();
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        complain("which command? `quarry help` lists them");
        return EXIT_USAGE;
    }
    const struct command *command = command_get(argv[1]);
    if (command == NULL)
        return EXIT_USAGE;
    int status = argc == 3 && asks_for_help(argv[2]) ? help_one(argv[1]) : command->run(argc - 1, argv + 1);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        complain("cannot write");
        return 1;
    }
    return status;
}
