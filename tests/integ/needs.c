/* SPDX-License-Identifier: MIT */
/*
 * What the preloaded library brings into a C program: itself and nothing else. Reads the library's own dynamic section
 * (as readelf -d does) and the list of loaded objects: libc and the loader alone may be needed, no C++ runtime may come
 * in, its TLS must be small enough for any process, and no text relocation or executable stack may be asked for.
 */
#include "check.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TLS_LIMIT_BYTES = 64 };

static const char *library_path;
static size_t allowed_nr;

static int name_starts(const char *path, const char *prefix) {
    const char *slash = strrchr(path, '/');

    return !strncmp(slash ? slash + 1 : path, prefix, strlen(prefix));
}

static void tags_check(const ElfW(Dyn) * entry, const char *strings) {
    for (; entry->d_tag != DT_NULL; entry++) {
        const char *name = strings + entry->d_un.d_val;
        CHECK_MSG(entry->d_tag != DT_TEXTREL, "the library has text relocations");
        if (entry->d_tag != DT_NEEDED)
            continue;
        CHECK_MSG(name_starts(name, "libc.so.") || name_starts(name, "ld-linux"), "the library needs %s", name);
        allowed_nr++;
    }
}

static void dynamic_check(const struct dl_phdr_info *object, const ElfW(Phdr) * header) {
    const ElfW(Dyn) *dynamic = (const void *)(object->dlpi_addr + header->p_vaddr), *entry;
    const char *strings = NULL;

    for (entry = dynamic; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_STRTAB)
            strings = (const char *)entry->d_un.d_ptr;
    }
    CHECK(strings != NULL);
    tags_check(dynamic, strings);
}

static void library_check(const struct dl_phdr_info *object) {
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        if (header->p_type == PT_TLS)
            CHECK_MSG(header->p_memsz <= TLS_LIMIT_BYTES, "%zu bytes of TLS", (size_t)header->p_memsz);
        if (header->p_type == PT_GNU_STACK)
            CHECK_MSG(!(header->p_flags & PF_X), "the library asks for an executable stack");
        if (header->p_type == PT_DYNAMIC)
            dynamic_check(object, header);
    }
}

static int object_check(struct dl_phdr_info *object, size_t size, void *seen) {
    const char *path = object->dlpi_name;

    (void)size;
    if (!strcmp(path, library_path)) {
        *(int *)seen = 1;
        library_check(object);
        return 0;
    }
    CHECK_MSG(!*path || name_starts(path, "linux-vdso") || name_starts(path, "libc.so.") ||
                  name_starts(path, "ld-linux"),
              "%s was loaded into a C program", path);
    return 0;
}

int main(void) {
    int seen = 0;

    library_path = getenv("LD_PRELOAD");
    CHECK_MSG(library_path != NULL && *library_path == '/', "run this with LD_PRELOAD set to an absolute path");
    dl_iterate_phdr(object_check, &seen);
    CHECK_MSG(seen, "%s is not loaded", library_path);
    CHECK_MSG(allowed_nr >= 1, "the library does not even need libc");
    return 0;
}
