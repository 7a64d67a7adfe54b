/* SPDX-License-Identifier: MIT */
/*
 * Option tables of the bench programs (see args.h). Owns the translation to getopt_long() and the help text; no state.
 */
#include "args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "die.h"

enum { ARGS_MAX = 16 };

static void print_help(const char *summary, const struct arg *args, size_t nr) {
    printf("%s\n", summary);
    for (size_t at = 0; at < nr; at++) {
        if (args[at].number != NULL)
            printf("  --%s N   %s (now %llu, %llu to %llu)\n", args[at].name, args[at].help,
                   (unsigned long long)*args[at].number, (unsigned long long)args[at].min,
                   (unsigned long long)args[at].max);
        else
            printf("  --%s   %s\n", args[at].name, args[at].help);
    }
}

static void number_set(const struct arg *arg, const char *text) {
    char *end;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || value < arg->min || value > arg->max) {
        die_of_usage("--%s takes %llu to %llu, not '%s'", arg->name, (unsigned long long)arg->min,
                     (unsigned long long)arg->max, text);
    }
    *arg->number = value;
}

int args_parse(int argc, char **argv, const char *summary, const struct arg *args, size_t nr) {
    struct option options[ARGS_MAX + 2] = {{0}};
    int chosen;

    if (nr > ARGS_MAX)
        die("more than %d options", ARGS_MAX);
    for (size_t at = 0; at < nr; at++) {
        options[at].name = args[at].name;
        options[at].has_arg = args[at].number != NULL ? required_argument : no_argument;
        options[at].val = (int)at;
    }
    options[nr].name = "help";
    options[nr].val = 'h';

    while ((chosen = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
        if (chosen == 'h') {
            print_help(summary, args, nr);
            exit(EXIT_SUCCESS);
        }
        if (chosen < 0 || (size_t)chosen >= nr)
            exit(EXIT_USAGE);
        if (args[chosen].number != NULL)
            number_set(&args[chosen], optarg);
        else
            *args[chosen].flag = true;
    }
    return optind;
}

void args_parse_all(int argc, char **argv, const char *summary, const struct arg *args, size_t nr) {
    int first_word = args_parse(argc, argv, summary, args, nr);

    if (first_word < argc)
        die_of_usage("unexpected '%s'", argv[first_word]);
}
