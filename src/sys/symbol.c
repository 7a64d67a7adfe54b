/* SPDX-License-Identifier: MIT */
/*
 * Symbol tables of the files that are loaded, read when a report is made and let go after it. A file may be stripped,
 * replaced or broken: whatever lies outside of it is not read, and there is no name then. Contract in symbol.h.
 */
#include "sys/symbol.h"

#include "sys/call.h"
#include "sys/sys.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>

/* --- which file --- */

struct module {
    uintptr_t address; /* what is asked for */
    uintptr_t load, first, end;
    const char *path; /* valid as long as the file is loaded */
};

#if defined(DLFO_STRUCT_HAS_EH_DBASE)
/* Without a lock (glibc 2.35): a thread that held one at a fork would hold it in the child for ever. */
extern __typeof__(_dl_find_object) _dl_find_object __attribute__((weak)); /* an older C library has none */

static bool module_find(const void *p, struct module *ret_module) {
    struct dl_find_object found;
    if (_dl_find_object == NULL || _dl_find_object((void *)(uintptr_t)p, &found) != 0)
        return false;
    *ret_module = (struct module){.address = (uintptr_t)p,
                                  .load = found.dlfo_link_map->l_addr,
                                  .first = (uintptr_t)found.dlfo_map_start,
                                  .end = (uintptr_t)found.dlfo_map_end,
                                  .path = found.dlfo_link_map->l_name};
    return true;
}
#else
static int module_look(struct dl_phdr_info *info, size_t bytes, void *arg) {
    struct module *m = arg;
    bool has = false;
    (void)bytes;
    m->first = UINTPTR_MAX;
    m->end = 0;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t first = info->dlpi_addr + segment->p_vaddr, end = first + segment->p_memsz;
        if (segment->p_type != PT_LOAD)
            continue;
        m->first = MIN(m->first, first);
        m->end = MAX(m->end, end);
        has = has || (m->address >= first && m->address < end);
    }
    m->load = info->dlpi_addr;
    m->path = info->dlpi_name;
    return has;
}

static bool module_find(const void *p, struct module *ret_module) {
    *ret_module = (struct module){.address = (uintptr_t)p};
    return dl_iterate_phdr(module_look, ret_module) != 0;
}
#endif

bool sys_module_range(const void *p, uintptr_t *ret_first, uintptr_t *ret_end) {
    struct module m;
    if (!module_find(p, &m))
        return false;
    *ret_first = m.first;
    *ret_end = m.end;
    return true;
}

/* --- its table --- */

struct image {
    const char *base;
    size_t bytes;
};

static bool image_map(const char *path, struct image *ret_image) {
    long fd = SYS4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    long bytes = SYS3(SYS_lseek, fd, 0, SEEK_END);
    long at = bytes <= 0 ? -1 : SYS6(SYS_mmap, 0, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)SYS1(SYS_close, fd);
    if (at < 0 && at > -4096)
        return false;
    *ret_image = (struct image){(const char *)at, (size_t)bytes}; // NOLINT(performance-no-int-to-ptr)
    return true;
}

/* nr records of size bytes from offset on, or NULL where the file does not have them. */
static const void *image_part(const struct image *file, u64 offset, u64 nr, size_t size, size_t align) {
    if (offset > file->bytes || nr > (file->bytes - offset) / size || offset % align != 0)
        return NULL;
    return file->base + offset;
}

static const ElfW(Shdr) * section_find(const struct image *file, const ElfW(Ehdr) * head, unsigned type) {
    const ElfW(Shdr) *sections =
        image_part(file, head->e_shoff, head->e_shnum, sizeof(*sections), _Alignof(ElfW(Shdr)));
    for (unsigned i = 0; sections != NULL && i < head->e_shnum; i++) {
        if (sections[i].sh_type == type && sections[i].sh_link < head->e_shnum)
            return &sections[i];
    }
    return NULL;
}

/* The name, if it ends inside its table. */
static void name_copy(const struct image *file, const ElfW(Shdr) * names, u32 offset, struct sys_symbol *ret_symbol) {
    const char *text = image_part(file, names->sh_offset, names->sh_size, 1, 1);
    size_t left = text == NULL || offset >= names->sh_size ? 0 : names->sh_size - offset;
    if (left == 0 || memchr(text + offset, '\0', left) == NULL)
        return;
    size_t bytes = MIN(strlen(text + offset), sizeof(ret_symbol->name) - 1);
    memcpy(ret_symbol->name, text + offset, bytes);
    ret_symbol->name[bytes] = '\0';
}

static void table_search(const struct image *file, const ElfW(Ehdr) * head, const ElfW(Shdr) * table, u64 value,
                         struct sys_symbol *ret_symbol) {
    u64 nr = table->sh_size / sizeof(ElfW(Sym));
    const ElfW(Sym) *symbols = image_part(file, table->sh_offset, nr, sizeof(*symbols), _Alignof(ElfW(Sym)));
    const ElfW(Shdr) *sections =
        image_part(file, head->e_shoff, head->e_shnum, sizeof(*sections), _Alignof(ElfW(Shdr)));
    for (u64 i = 0; symbols != NULL && i < nr; i++) {
        const ElfW(Sym) *sym = &symbols[i];
        if (ELF64_ST_TYPE(sym->st_info) != STT_FUNC || value < sym->st_value || value - sym->st_value >= sym->st_size)
            continue;
        ret_symbol->offset_bytes = value - sym->st_value;
        ret_symbol->size_bytes = sym->st_size;
        name_copy(file, &sections[table->sh_link], sym->st_name, ret_symbol);
        return;
    }
}

static void image_search(const struct image *file, u64 value, struct sys_symbol *ret_symbol) {
    const ElfW(Ehdr) *head = image_part(file, 0, 1, sizeof(*head), 1);
    if (head == NULL || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_shentsize != sizeof(ElfW(Shdr)))
        return;
    const unsigned types[] = {SHT_SYMTAB, SHT_DYNSYM};
    for (size_t i = 0; i < ARRAY_NR(types) && ret_symbol->name[0] == '\0'; i++) {
        const ElfW(Shdr) *table = section_find(file, head, types[i]);
        if (table != NULL)
            table_search(file, head, table, value, ret_symbol);
    }
}

static void module_name(const char *path, struct sys_symbol *ret_symbol) {
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    size_t bytes = MIN(strlen(name), sizeof(ret_symbol->module) - 1);
    memcpy(ret_symbol->module, name, bytes);
    ret_symbol->module[bytes] = '\0';
}

bool sys_symbol_find(const void *p, struct sys_symbol *ret_symbol) {
    struct module m;
    struct image file;
    if (!module_find(p, &m))
        return false;
    memset(ret_symbol, 0, sizeof(*ret_symbol));
    ret_symbol->offset_bytes = m.address - m.first;
    module_name(m.path, ret_symbol);
    if (image_map(m.path[0] == '\0' ? "/proc/self/exe" : m.path, &file)) {
        image_search(&file, m.address - m.load, ret_symbol);
        (void)SYS2(SYS_munmap, file.base, file.bytes);
    }
    return true;
}
