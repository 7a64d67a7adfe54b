/* SPDX-License-Identifier: MIT */
/*
 * Names for addresses, out of the symbol tables of the files a process has mapped, by libdw. Contract in symbols.h.
 * Separate files of debugging data are not looked for: that could ask servers, and names of functions are in the files.
 */
#include "symbols.h"

#include <elfutils/libdwfl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct symbols {
    Dwfl *dwfl;
    char *path; /* /proc/PID/exe leads there */
};

static int debuginfo_none(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, const char *file,
                          const char *link, GElf_Word crc, char **ret_file) {
    (void)module, (void)data, (void)name, (void)base, (void)file, (void)link, (void)crc, (void)ret_file;
    return -1;
}

static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_linux_proc_find_elf, .find_debuginfo = debuginfo_none};

struct symbols *symbols_open(pid_t pid) {
    char link[64];
    struct symbols *s = calloc(1, sizeof(*s));
    snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
    if (s == NULL)
        return NULL;
    s->path = realpath(link, NULL);
    s->dwfl = dwfl_begin(&callbacks);
    if (s->dwfl != NULL && dwfl_linux_proc_report(s->dwfl, pid) == 0 && dwfl_report_end(s->dwfl, NULL, NULL) == 0)
        return s;
    symbols_close(s);
    return NULL;
}

void symbols_close(struct symbols *s) {
    if (s == NULL)
        return;
    if (s->dwfl != NULL)
        dwfl_end(s->dwfl);
    free(s->path);
    free(s);
}

bool symbols_name(struct symbols *s, uint64_t addr, char *text, size_t cap) {
    GElf_Off offset = 0;
    GElf_Sym symbol;
    Dwfl_Module *module = s == NULL ? NULL : dwfl_addrmodule(s->dwfl, addr);
    const char *name = module == NULL ? NULL : dwfl_module_addrinfo(module, addr, &offset, &symbol, NULL, NULL, NULL);
    if (name == NULL)
        return false;
    const char *file = dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    int len =
        snprintf(text, cap, "%s+0x%llx/0x%llx", name, (unsigned long long)offset, (unsigned long long)symbol.st_size);
    if (len < 0 || (size_t)len >= cap)
        return false;
    if (file != NULL && (s->path == NULL || strcmp(file, s->path) != 0)) {
        const char *base = strrchr(file, '/');
        (void)snprintf(text + len, cap - (size_t)len, " [%s]", base == NULL ? file : base + 1);
    }
    return true;
}
