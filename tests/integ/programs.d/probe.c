/* SPDX-License-Identifier: MIT */
/*
 * The loading probe of tests/integ/programs. Preloaded into every process of a workload, it appends one line to the
 * file named by PROGRAMS_PROBE_LOG: the program's path, a tab, and the path of the object that answers the name malloc
 * in that process. It allocates nothing and changes nothing; the driver reads the lines. Without the variable, or when
 * the file cannot be opened, it writes nothing, and the driver then reports that the program was never seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void probe_write(const char *log, const char *program, const char *provider) {
    char line[2 * PATH_MAX + 2];
    size_t program_bytes = strlen(program);
    size_t provider_bytes = strlen(provider);

    if (program_bytes >= PATH_MAX || provider_bytes >= PATH_MAX)
        return;
    memcpy(line, program, program_bytes);
    line[program_bytes] = '\t';
    memcpy(line + program_bytes + 1, provider, provider_bytes);
    line[program_bytes + 1 + provider_bytes] = '\n';

    int fd = open(log, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return;
    /* One write with O_APPEND: lines of processes that start together do not mix. */
    ssize_t wrote = write(fd, line, program_bytes + provider_bytes + 2);
    (void)wrote;
    close(fd);
}

/* The path of the object that holds the address, or "unknown"; *ret_symbol is the symbol found there or NULL. */
static const char *probe_owner(void *address, const ElfW(Sym) * *ret_symbol) {
    Dl_info info;
    void *symbol = NULL;

    *ret_symbol = NULL;
    if (dladdr1(address, &info, &symbol, RTLD_DL_SYMENT) == 0 || info.dli_fname == NULL)
        return "unknown";
    *ret_symbol = symbol;
    return info.dli_fname;
}

static const char *probe_malloc_owner(void) {
    /* The address as this object's relocation sees it, which is the one every other object calls. */
    void *(*answers)(size_t) = malloc;
    const ElfW(Sym) * symbol;
    const char *owner = probe_owner((void *)answers, &symbol);

    /*
     * A program linked at a fixed address that takes the address of malloc lends its own jump slot for it: a symbol it
     * does not define. Who stands behind the slot is the next definition after this object, which the driver
     * therefore names before the library.
     */
    if (symbol != NULL && symbol->st_shndx == SHN_UNDEF) {
        void *next = dlsym(RTLD_NEXT, "malloc");
        owner = next != NULL ? probe_owner(next, &symbol) : "unknown";
    }
    return owner;
}

__attribute__((constructor)) static void probe_record(void) {
    const char *log = getenv("PROGRAMS_PROBE_LOG");
    int saved_errno = errno;
    char program[PATH_MAX];

    if (log == NULL)
        return;
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length > 0) {
        program[length] = '\0';
        probe_write(log, program, probe_malloc_owner());
    }
    errno = saved_errno;
}
