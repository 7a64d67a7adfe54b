/* SPDX-License-Identifier: MIT */
/*
 * What a program's file tells before it runs: that preloading will be of no effect, since it is linked statically or
 * runs with more rights than its caller, for the dynamic linker then ignores LD_PRELOAD; or that it may end without
 * the report it was asked for. Of a script its interpreter is looked at. Contract in preload.h.
 */
#include "preload.h"

#include "quarry.h"

#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file as it lies in memory, read only. */
struct image {
    const char *base;
    size_t bytes;
};

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

/* nr records of `each` bytes at an offset, or NULL where the file has not so much. */
static const void *image_at(const struct image *file, size_t at, size_t nr, size_t each) {
    size_t bytes;
    if (__builtin_mul_overflow(nr, each, &bytes) || at > file->bytes || bytes > file->bytes - at)
        return NULL;
    return file->base + at;
}

/* Its header, of a 64-bit ELF program; NULL for all else, scripts included. */
static const Elf64_Ehdr *elf_header(const struct image *file) {
    const Elf64_Ehdr *header = image_at(file, 0, 1, sizeof(*header));
    bool elf =
        header != NULL && memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 && header->e_ident[EI_CLASS] == ELFCLASS64;
    return elf ? header : NULL;
}

/* A program that names no dynamic linker. */
static bool elf_is_static(const struct image *file) {
    const Elf64_Ehdr *header = elf_header(file);
    if (header == NULL)
        return false;
    const Elf64_Phdr *segments = image_at(file, header->e_phoff, header->e_phnum, sizeof(*segments));
    for (unsigned i = 0; segments != NULL && i < header->e_phnum; i++) {
        if (segments[i].p_type == PT_INTERP)
            return false;
    }
    return segments != NULL;
}

/* Whether one of the symbols the program wants from its libraries has the name. */
static bool symbols_want(const struct image *file, const Elf64_Shdr *table, const Elf64_Shdr *text, const char *name) {
    const char *names = image_at(file, text->sh_offset, text->sh_size, 1);
    size_t nr = table->sh_size / sizeof(Elf64_Sym);
    const Elf64_Sym *symbols = image_at(file, table->sh_offset, nr, sizeof(*symbols));
    if (names == NULL || symbols == NULL || text->sh_size == 0 || names[text->sh_size - 1] != '\0')
        return false;
    for (size_t i = 0; i < nr; i++) {
        if (symbols[i].st_shndx == SHN_UNDEF && symbols[i].st_name < text->sh_size &&
            strcmp(names + symbols[i].st_name, name) == 0)
            return true;
    }
    return false;
}

static bool elf_wants(const struct image *file, const char *name) {
    const Elf64_Ehdr *header = elf_header(file);
    const Elf64_Shdr *sections =
        header == NULL ? NULL : image_at(file, header->e_shoff, header->e_shnum, sizeof(*sections));
    for (unsigned i = 0; sections != NULL && i < header->e_shnum; i++) {
        if (sections[i].sh_type == SHT_DYNSYM && sections[i].sh_link < header->e_shnum)
            return symbols_want(file, &sections[i], &sections[sections[i].sh_link], name);
    }
    return false;
}

static bool file_gains_rights(const struct stat *st) {
    return ((st->st_mode & S_ISUID) != 0 && st->st_uid != geteuid()) ||
           ((st->st_mode & S_ISGID) != 0 && st->st_gid != getegid());
}

/* The interpreter that a script's first line names, without what stands behind it. */
static bool script_interpreter(const struct image *file, char ret_path[PATH_MAX]) {
    if (file->bytes < 2 || memcmp(file->base, "#!", 2) != 0)
        return false;
    size_t at = 2, nr = 0;
    while (at < file->bytes && (file->base[at] == ' ' || file->base[at] == '\t'))
        at++;
    while (at + nr < file->bytes && nr < PATH_MAX - 1 && strchr(" \t\n", file->base[at + nr]) == NULL)
        nr++;
    memcpy(ret_path, file->base + at, nr);
    ret_path[nr] = '\0';
    return nr != 0;
}

static bool report_wanted(void) {
    const char *stats = getenv("QUARRY_STATS");
    return stats != NULL && *stats != '\0' && strcmp(stats, "off") != 0 && strcmp(stats, "0") != 0;
}

/* Of programs that want _exit alone some return from main all the same, and leave their report. */
static void image_warn(const char *path, const struct image *file, const struct stat *st) {
    if (elf_is_static(file))
        complain("%s is statically linked and will keep its own malloc", path);
    else if (file_gains_rights(st))
        complain("%s runs with more rights than you have and will not load the library", path);
    else if (report_wanted() && elf_wants(file, "_exit") && !elf_wants(file, "exit"))
        complain("%s may end by _exit(), and leaves no report then: programs it starts may have one", path);
}

static bool image_open(const char *path, struct image *ret_file, struct stat *ret_st) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    void *base = MAP_FAILED;
    if (fstat(fd, ret_st) == 0 && S_ISREG(ret_st->st_mode) && ret_st->st_size > 0)
        base = mmap(NULL, (size_t)ret_st->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (base == MAP_FAILED)
        return false;
    *ret_file = (struct image){base, (size_t)ret_st->st_size};
    return true;
}

void program_warn(const char *name) {
    enum { INTERPRETERS_MAX = 4 }; /* an interpreter may be a script; the kernel goes as far */
    char path[PATH_MAX], next[PATH_MAX];
    struct image file;
    struct stat st;
    bool found = program_find(name, path, sizeof(path));
    for (unsigned i = 0; found && i <= INTERPRETERS_MAX && image_open(path, &file, &st); i++) {
        found = script_interpreter(&file, next);
        if (!found)
            image_warn(path, &file, &st);
        munmap((void *)(uintptr_t)file.base, file.bytes);
        memcpy(path, next, found ? sizeof(path) : 0);
    }
}
