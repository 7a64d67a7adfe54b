/* SPDX-License-Identifier: MIT */
/*
 * quarry play: becomes the player of traces, a program of its own, because what plays a trace must allocate nothing
 * else and be under the allocator that LD_PRELOAD names from its start.
 */
#include "preload.h"
#include "quarry.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int command_play(int argc, char **argv) {
    char path[PATH_MAX];
    char name[] = "quarry: play"; /* what the player complains as */
    (void)argc;
    argv[0] = name;
    if (!own_file_find("bench/replay/bench_play", "quarry/bench_play", path, sizeof(path))) {
        complain("found no bench_play, neither beside this tool's build nor in " QUARRY_LIBDIR "/quarry");
        return EXIT_NOT_FOUND;
    }
    execv(path, argv);
    complain("%s: %s", path, strerror(errno));
    return EXIT_CANNOT_RUN;
}
