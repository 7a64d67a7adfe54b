/* SPDX-License-Identifier: MIT */
/*
 * quarry run: finds the library, puts it first in LD_PRELOAD and becomes the program, after warn.c has said what would
 * make that be of no effect. quarry record shares these steps (preload.h).
 */
#include "preload.h"

#include "quarry.h"

#include "base/types.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct run_args {
    const char *lib, *stats;
    char **program; /* argv of the program; NULL-terminated */
};

static bool run_args_read(int argc, char **argv, struct run_args *ret_args) {
    static const struct option longs[] = {
        {"lib", required_argument, NULL, 'l'}, {"stats", required_argument, NULL, 's'}, {0}};
    struct run_args args = {0};
    int letter;
    opterr = 0;
    while ((letter = getopt_long(argc, argv, "+", longs, NULL)) != -1) {
        if (letter == 'l') {
            args.lib = optarg;
        } else if (letter == 's') {
            args.stats = optarg;
        } else {
            complain_option(argv[0], argv[optind - 1]);
            return false;
        }
    }
    if (optind == argc) {
        complain("run: which program?");
        return false;
    }
    args.program = argv + optind;
    *ret_args = args;
    return true;
}

bool own_file_find(const char *in_build, const char *in_libdir, char *path, size_t cap_bytes) {
    char exe[PATH_MAX];
    ssize_t nr = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (nr > 0) {
        exe[nr] = '\0';
        *strrchr(exe, '/') = '\0';
        if ((size_t)snprintf(path, cap_bytes, "%s/../%s", exe, in_build) < cap_bytes && access(path, R_OK) == 0)
            return true;
    }
    return (size_t)snprintf(path, cap_bytes, "%s/%s", QUARRY_LIBDIR, in_libdir) < cap_bytes && access(path, R_OK) == 0;
}

/* The dynamic linker splits LD_PRELOAD at both, and knows no quoting. */
#define SPLITTERS " :"

/* A folder that nobody else may write to or has made. */
static bool folder_of_ours(const char *path) {
    struct stat st;
    (void)mkdir(path, S_IRWXU);
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* Another name for the library, without what the linker would split at: a link that stays for the next time. It is
 * made under a name of this process and moved to its place, so that it is whole whoever makes it at the same time. */
static int lib_rename(char lib[PATH_MAX]) {
    char folder[PATH_MAX], made[PATH_MAX], link[PATH_MAX];
    u64 hash = 0xcbf29ce484222325u; /* FNV-1a: a name for each library */
    for (const char *c = lib; *c != '\0'; c++)
        hash = (hash ^ (u8)*c) * 0x100000001b3u;
    snprintf(folder, sizeof(folder), "/tmp/quarry-%u", (unsigned)geteuid());
    snprintf(link, sizeof(link), "/tmp/quarry-%u/%016llx.so", (unsigned)geteuid(), (unsigned long long)hash);
    snprintf(made, sizeof(made), "/tmp/quarry-%u/%d", (unsigned)geteuid(), (int)getpid());
    (void)unlink(made);
    if (!folder_of_ours(folder) || symlink(lib, made) != 0 || rename(made, link) != 0) {
        complain("LD_PRELOAD cannot carry the blank or colon in %s, and %s cannot hold a link to it", lib, folder);
        return EXIT_CANNOT_RUN;
    }
    memcpy(lib, link, sizeof(link));
    return 0;
}

int lib_choose(const char *given, const char *build_folder, const char *name, char ret_lib[PATH_MAX]) {
    char in_build[NAME_MAX], found[PATH_MAX];
    snprintf(in_build, sizeof(in_build), "%s/%s", build_folder, name);
    if (given == NULL && !own_file_find(in_build, name, found, sizeof(found))) {
        complain("found no %s, neither beside this tool's build nor in " QUARRY_LIBDIR "; name it with --lib", name);
        return EXIT_NOT_FOUND;
    }
    if (realpath(given != NULL ? given : found, ret_lib) == NULL) {
        complain("%s: %s", given != NULL ? given : found, strerror(errno));
        return EXIT_NOT_FOUND;
    }
    return strpbrk(ret_lib, SPLITTERS) == NULL ? 0 : lib_rename(ret_lib);
}

static void preload_set(const char *lib) {
    const char *before = getenv("LD_PRELOAD");
    size_t cap_bytes = strlen(lib) + (before != NULL ? strlen(before) : 0) + 2;
    char *list = malloc(cap_bytes);
    if (list == NULL)
        abort();
    bool more = before != NULL && *before != '\0';
    snprintf(list, cap_bytes, "%s%s%s", lib, more ? ":" : "", more ? before : "");
    setenv("LD_PRELOAD", list, 1);
    free(list);
}

int program_become(const char *lib, char **program) {
    program_warn(program[0]);
    preload_set(lib);
    execvp(program[0], program);
    int err = errno;
    complain("%s: %s", program[0], strerror(err));
    return err == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

int command_run(int argc, char **argv) {
    struct run_args args;
    char lib[PATH_MAX];
    if (!run_args_read(argc, argv, &args))
        return EXIT_USAGE;
    int status = lib_choose(args.lib, "src", "libquarry.so", lib);
    if (status != 0)
        return status;
    if (args.stats != NULL)
        setenv("QUARRY_STATS", args.stats, 1);
    return program_become(lib, args.program);
}
