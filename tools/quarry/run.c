/* SPDX-License-Identifier: MIT */
/*
 * quarry run: finds the library, puts it first in LD_PRELOAD and becomes the program. Says beforehand what would make
 * that be of no effect: a statically linked program, or one that runs with more rights than its caller, for the dynamic
 * linker then ignores LD_PRELOAD. quarry record shares these steps (preload.h).
 */
#include "preload.h"

#include "quarry.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
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

/* The library of the build this tool is from, else the installed one. */
static bool lib_find(const char *build_folder, const char *name, char *path, size_t cap_bytes) {
    char exe[PATH_MAX];
    ssize_t nr = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (nr > 0) {
        exe[nr] = '\0';
        *strrchr(exe, '/') = '\0';
        if ((size_t)snprintf(path, cap_bytes, "%s/../%s/%s", exe, build_folder, name) < cap_bytes &&
            access(path, R_OK) == 0)
            return true;
    }
    return (size_t)snprintf(path, cap_bytes, "%s/%s", QUARRY_LIBDIR, name) < cap_bytes && access(path, R_OK) == 0;
}

int lib_choose(const char *given, const char *build_folder, const char *name, char ret_lib[PATH_MAX]) {
    char found[PATH_MAX];
    if (given == NULL && !lib_find(build_folder, name, found, sizeof(found))) {
        complain("found no %s, neither beside this tool's build nor in " QUARRY_LIBDIR "; name it with --lib", name);
        return EXIT_NOT_FOUND;
    }
    if (realpath(given != NULL ? given : found, ret_lib) == NULL) {
        complain("%s: %s", given != NULL ? given : found, strerror(errno));
        return EXIT_NOT_FOUND;
    }
    /* The dynamic linker splits LD_PRELOAD at both. */
    if (strpbrk(ret_lib, " :") != NULL) {
        complain("LD_PRELOAD cannot carry the blank or colon in %s", ret_lib);
        return EXIT_CANNOT_RUN;
    }
    return 0;
}

/* Where execvp would find the program: false when nowhere, which execvp itself will report. */
static bool program_find(const char *name, char *path, size_t cap_bytes) {
    if (strchr(name, '/') != NULL)
        return (size_t)snprintf(path, cap_bytes, "%s", name) < cap_bytes;
    const char *dirs = getenv("PATH");
    while (dirs != NULL && *dirs != '\0') {
        size_t nr = strcspn(dirs, ":");
        if ((size_t)snprintf(path, cap_bytes, "%.*s/%s", (int)nr, dirs, name) < cap_bytes && access(path, X_OK) == 0)
            return true;
        dirs += nr + (dirs[nr] == ':');
    }
    return false;
}

/* An ELF program that names no dynamic linker. False for all else, scripts included. */
static bool elf_is_static(int fd) {
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    if (pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64)
        return false;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        off_t at = (off_t)(header.e_phoff + (Elf64_Off)i * header.e_phentsize);
        if (pread(fd, &segment, sizeof(segment), at) != (ssize_t)sizeof(segment) || segment.p_type == PT_INTERP)
            return false;
    }
    return true;
}

static bool file_gains_rights(const struct stat *st) {
    return ((st->st_mode & S_ISUID) != 0 && st->st_uid != geteuid()) ||
           ((st->st_mode & S_ISGID) != 0 && st->st_gid != getegid());
}

static void program_warn(const char *name) {
    char path[PATH_MAX];
    struct stat st;
    int fd = program_find(name, path, sizeof(path)) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    if (elf_is_static(fd))
        complain("%s is statically linked and will keep its own malloc", path);
    if (fstat(fd, &st) == 0 && file_gains_rights(&st))
        complain("%s runs with more rights than you have and will not load the library", path);
    close(fd);
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
