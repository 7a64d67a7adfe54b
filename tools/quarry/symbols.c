/* SPDX-License-Identifier: MIT */
/*
 * Names for addresses, out of the symbol tables of the files a process has mapped, by libdw. Contract in symbols.h.
 * Separate files of debugging data are not looked for: that could ask servers, and names of functions are in the files.
 */
#include "symbols.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <inttypes.h>
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

static const char *module_base(Dwfl_Module *module) {
    const char *file = dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    const char *slash = file == NULL ? NULL : strrchr(file, '/');
    return slash != NULL ? slash + 1 : file != NULL ? file : "?";
}

/* The file's name; NULL for the program itself. */
static const char *library_of(struct symbols *s, Dwfl_Module *module) {
    const char *file = dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    return file == NULL || (s->path != NULL && strcmp(file, s->path) == 0) ? NULL : module_base(module);
}

bool symbols_name(struct symbols *s, uint64_t addr, char *text, size_t cap) {
    GElf_Off offset = 0;
    GElf_Sym symbol;
    Dwfl_Module *module = s == NULL ? NULL : dwfl_addrmodule(s->dwfl, addr);
    const char *name = module == NULL ? NULL : dwfl_module_addrinfo(module, addr, &offset, &symbol, NULL, NULL, NULL);
    if (name == NULL)
        return false;
    const char *library = library_of(s, module);
    int len =
        snprintf(text, cap, "%s+0x%llx/0x%llx", name, (unsigned long long)offset, (unsigned long long)symbol.st_size);
    if (len < 0 || (size_t)len >= cap)
        return false;
    if (library != NULL)
        (void)snprintf(text + len, cap - (size_t)len, " [%s]", library);
    return true;
}

/* --- call sites --- */

static void text_set(char *to, const char *text) { (void)snprintf(to, SYMBOLS_SITE_BYTES, "%s", text); }

static bool is_ours(const char *file) { return file != NULL && strstr(file, "include/quarry/") != NULL; }

/* Where the call stands that was inlined. */
static void call_place(Dwarf_Die *call, struct symbols_site *site) {
    Dwarf_Attribute attribute;
    Dwarf_Word number = 0;
    Dwarf_Files *files;
    Dwarf_Die cu;
    if (dwarf_formudata(dwarf_attr(call, DW_AT_call_line, &attribute), &number) == 0)
        site->line = (unsigned)number;
    if (dwarf_formudata(dwarf_attr(call, DW_AT_call_file, &attribute), &number) != 0 ||
        dwarf_diecu(call, &cu, NULL, NULL) == NULL || dwarf_getsrcfiles(&cu, &files, NULL) != 0)
        return;
    const char *file = dwarf_filesrc(files, number, NULL, NULL);
    if (file != NULL)
        text_set(site->file, file);
}

static bool is_function(Dwarf_Die *die) {
    return dwarf_tag(die) == DW_TAG_subprogram || dwarf_tag(die) == DW_TAG_inlined_subroutine;
}

/* Outwards from the innermost function at pc, past what was inlined from our headers. False: the function whose code it
 * is belongs to them, too. */
static bool functions_walk(Dwarf_Die *innermost, struct symbols_site *site) {
    Dwarf_Die *scopes = NULL;
    bool found = false;
    int nr = dwarf_getscopes_die(innermost, &scopes);
    for (int i = 0; i < nr && !found; i++) {
        if (!is_function(&scopes[i]))
            continue;
        found = !is_ours(dwarf_decl_file(&scopes[i]));
        if (found && dwarf_diename(&scopes[i]) != NULL)
            text_set(site->function, dwarf_diename(&scopes[i]));
        if (dwarf_tag(&scopes[i]) == DW_TAG_subprogram)
            break;
        if (!found)
            call_place(&scopes[i], site);
    }
    free(scopes);
    return found;
}

/* The unit of compilation; NULL: no debugging data. Compilers need not write down which addresses are whose, and clang
 * does not: then each is asked. */
static Dwarf_Die *unit_of(Dwfl_Module *module, uint64_t pc, Dwarf_Addr *ret_bias) {
    Dwarf_Die *cu = dwfl_module_addrdie(module, pc, ret_bias);
    if (cu != NULL)
        return cu;
    while ((cu = dwfl_module_nextcu(module, cu, ret_bias)) != NULL) {
        if (dwarf_haspc(cu, pc - *ret_bias) > 0)
            return cu;
    }
    return NULL;
}

/* False: debugging data say that it is not in the program but in our headers. */
static bool debug_site(Dwfl_Module *module, uint64_t pc, struct symbols_site *site) {
    Dwarf_Addr bias = 0;
    Dwarf_Die *scopes = NULL, *cu = unit_of(module, pc, &bias);
    Dwarf_Line *line = cu == NULL ? NULL : dwarf_getsrc_die(cu, pc - bias);
    const char *file = line == NULL ? NULL : dwarf_linesrc(line, NULL, NULL);
    int number = 0;
    bool found = true;
    if (file == NULL)
        return true;
    text_set(site->file, file);
    site->line = dwarf_lineno(line, &number) == 0 ? (unsigned)number : 0;
    int nr = dwarf_getscopes(cu, pc - bias, &scopes), at = 0;
    while (at < nr && !is_function(&scopes[at]))
        at++;
    if (at < nr)
        found = functions_walk(&scopes[at], site);
    free(scopes);
    return found;
}

/* A return address may be the first byte of the next line: the one before is the call's. */
static bool frame_site(struct symbols *s, uint64_t caller, struct symbols_site *site) {
    uint64_t pc = caller - 1;
    Dwfl_Module *module = s == NULL ? NULL : dwfl_addrmodule(s->dwfl, pc);
    *site = (struct symbols_site){.file = "?"};
    (void)snprintf(site->function, sizeof(site->function), "0x%" PRIx64, caller);
    if (module == NULL)
        return true;
    const char *library = library_of(s, module), *name = dwfl_module_addrname(module, pc);
    if (library != NULL)
        text_set(site->module, library);
    if (name != NULL)
        text_set(site->function, name);
    text_set(site->file, module_base(module));
    return debug_site(module, pc, site);
}

void symbols_site(struct symbols *s, const uint64_t *callers, size_t nr, struct symbols_site *ret_site) {
    *ret_site = (struct symbols_site){.file = "?", .function = "?"};
    for (size_t i = 0; i < nr && callers[i] != 0; i++) {
        if (frame_site(s, callers[i], ret_site))
            return;
    }
}
