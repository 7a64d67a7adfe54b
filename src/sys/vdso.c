/* SPDX-License-Identifier: MIT */
/*
 * The clock, from the kernel itself: its function in the vDSO, or the system call where it offers none. Not libc's
 * clock_gettime, which a library preloaded beside this one may have replaced (libfaketime): time is asked for with
 * locks held and objects half freed, and such a function allocates, frees, and fails where it is entered twice. Nor is
 * a time that somebody made up any use for how long memory was free. Contract in sys.h.
 */
#include "sys/call.h"
#include "sys/sys.h"

#include <elf.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>

#if defined(__x86_64__)
#define CLOCK_NAME "__vdso_clock_gettime"
#else
#define CLOCK_NAME "__kernel_clock_gettime"
#endif

typedef int clock_fn(clockid_t clock, struct timespec *ret_time);

static int clock_by_call(clockid_t clock, struct timespec *ret_time) {
    return (int)SYS2(SYS_clock_gettime, clock, ret_time);
}

/* What is needed of the image, which lies in memory as it would in a file. */
struct vdso {
    uintptr_t load; /* what addresses in it are relative to: 0 where they are none */
    const Elf64_Sym *symbols;
    const char *names;
    size_t names_bytes;
};

static void dynamic_read(struct vdso *v, const Elf64_Dyn *dynamic) {
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_SYMTAB)
            v->symbols = (const Elf64_Sym *)(v->load + dynamic->d_un.d_ptr); // NOLINT(performance-no-int-to-ptr)
        else if (dynamic->d_tag == DT_STRTAB)
            v->names = (const char *)(v->load + dynamic->d_un.d_ptr); // NOLINT(performance-no-int-to-ptr)
        else if (dynamic->d_tag == DT_STRSZ)
            v->names_bytes = dynamic->d_un.d_val;
    }
}

static bool image_read(const char *image, struct vdso *ret_vdso) {
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)(const void *)image;
    const Elf64_Phdr *segments = (const Elf64_Phdr *)(const void *)(image + head->e_phoff);
    const Elf64_Dyn *dynamic = NULL;
    struct vdso v = {0};
    bool loaded = false;
    for (unsigned i = 0; i < head->e_phnum; i++) {
        if (segments[i].p_type == PT_LOAD && !loaded) {
            v.load = (uintptr_t)image + segments[i].p_offset - segments[i].p_vaddr;
            loaded = true;
        } else if (segments[i].p_type == PT_DYNAMIC) {
            dynamic = (const Elf64_Dyn *)(const void *)(image + segments[i].p_offset);
        }
    }
    if (!loaded || dynamic == NULL)
        return false;
    dynamic_read(&v, dynamic);
    *ret_vdso = v;
    return v.symbols != NULL && v.names != NULL;
}

/* The number of symbols stands in one of two hash tables, of which a kernel may have either. But the kernel's linker
 * scripts put the names right behind the symbols, on both architectures. NULL: it offers none. */
static clock_fn *clock_find(void) {
    const char *image = (const char *)getauxval(AT_SYSINFO_EHDR); // NOLINT(performance-no-int-to-ptr)
    struct vdso v;
    if (image == NULL || !image_read(image, &v))
        return NULL;
    for (const Elf64_Sym *s = v.symbols; (const char *)(s + 1) <= v.names; s++) {
        if (s->st_shndx != SHN_UNDEF && s->st_name < v.names_bytes && strcmp(v.names + s->st_name, CLOCK_NAME) == 0)
            return (clock_fn *)(v.load + s->st_value); // NOLINT
    }
    return NULL;
}

/* Of a library without the sealed page, which is libquarry-kmem.so. */
__attribute__((weak)) clock_fn *sys_clock_kernel;

/* What is found again is not written again: the page may be closed. */
void sys_clock_init(void) {
    clock_fn *fn = sys_clock_kernel == NULL ? clock_find() : NULL;
    if (fn != NULL)
        sys_clock_kernel = fn;
}

int sys_clock_read(int clock, struct timespec *ret_time) {
    return sys_clock_kernel == NULL ? clock_by_call(clock, ret_time) : sys_clock_kernel(clock, ret_time);
}
