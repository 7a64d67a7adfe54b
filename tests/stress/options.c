/* SPDX-License-Identifier: MIT */
/*
 * See options.h. The repeat command names the preloaded library, without which it repeats nothing.
 */
#include "options.h"

#include "check.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { DEFAULT_SECONDS = 5, THREADS_PER_CPU = 8 };

static const char usage_text[] =
    "usage: stress [--seconds N] [--seed N] [--threads N] [--signals] [--affinity] [--forks]\n";

static uint64_t seed_draw(void) {
    uint64_t seed;

    CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed);
    return seed % 1000000000;
}

static void usage_exit(void) {
    dprintf(STDERR_FILENO, "%s", usage_text);
    _exit(2);
}

static uint64_t number_parse(const char *text) {
    char *end;
    uint64_t value = strtoull(text, &end, 0);

    if (!*text || *end)
        usage_exit();
    return value;
}

static void option_take(struct options *options, int option) {
    switch (option) {
    case 't': options->seconds = number_parse(optarg); break;
    case 's': options->seed = number_parse(optarg); break;
    case 'n': options->thread_nr = number_parse(optarg); break;
    case 'g': options->signals = 1; break;
    case 'a': options->affinity = 1; break;
    case 'f': options->forks = 1; break;
    default: usage_exit();
    }
}

struct options options_parse(int argc, char **argv, size_t thread_limit) {
    static const struct option longs[] = {{"seconds", required_argument, NULL, 't'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"threads", required_argument, NULL, 'n'},
                                          {"signals", no_argument, NULL, 'g'},
                                          {"affinity", no_argument, NULL, 'a'},
                                          {"forks", no_argument, NULL, 'f'},
                                          {NULL, 0, NULL, 0}};
    struct options options = {.seconds = DEFAULT_SECONDS,
                              .seed = seed_draw(),
                              .thread_nr = THREADS_PER_CPU * (size_t)sysconf(_SC_NPROCESSORS_ONLN)};
    int option;

    if (options.thread_nr > thread_limit)
        options.thread_nr = thread_limit;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1)
        option_take(&options, option);
    if (optind != argc || options.thread_nr == 0 || options.thread_nr > thread_limit)
        usage_exit();
    return options;
}

/* Whether that setting of the environment steers the allocator. */
static int setting_matters(const char *setting) {
    return !strncmp(setting, "LD_PRELOAD=", 11) || !strncmp(setting, "GLIBC_TUNABLES=", 15) ||
           !strncmp(setting, "QUARRY_", 7);
}

void options_print(const struct options *options, const char *program) {
    static char repeat[1024];
    size_t used = 0;

    for (char **setting = environ; *setting; setting++) {
        if (setting_matters(*setting))
            used += (size_t)snprintf(repeat + used, sizeof repeat - used, "%s ", *setting);
        CHECK(used < sizeof repeat / 2);
    }
    snprintf(repeat + used, sizeof repeat - used, "%s --seed %llu --seconds %lu --threads %zu%s%s%s", program,
             (unsigned long long)options->seed, options->seconds, options->thread_nr,
             options->signals ? " --signals" : "", options->affinity ? " --affinity" : "",
             options->forks ? " --forks" : "");
    printf("seed: %llu\nrepeat: %s\n", (unsigned long long)options->seed, repeat);
    fflush(stdout);
    check_repeat_set(repeat);
}
