/* SPDX-License-Identifier: MIT */
/*
 * What of a loaded library can be written to after start, and points to code: one line for each such word, "offset
 * target-file target-offset", offsets as the files were linked; "relro WRITABLE" where the part that the loader
 * should have closed is open; and "open first end" for each part of its data that is. The library has been used by
 * then, so that what it fills in at first use is there. Knows nothing of what should be found. Usage: writable
 * PART-OF-THE-LIBRARY'S-NAME, with the library preloaded. Run by writable.py.
 */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MODULES_MAX = 64, PIECES_MAX = 256, LINE_BYTES = 4096 };

/* An executable segment of a loaded file. */
struct piece {
    uintptr_t start, end, load;
    const char *file;
};

static struct piece pieces[PIECES_MAX];
static size_t pieces_nr;
static const char *wanted;
static uintptr_t load, data_start, data_end, relro_start, relro_end;

static void segment_take(const struct dl_phdr_info *info, const ElfW(Phdr) * segment, int is_wanted) {
    uintptr_t start = info->dlpi_addr + segment->p_vaddr, end = start + segment->p_memsz;
    if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X) != 0 && pieces_nr < PIECES_MAX)
        pieces[pieces_nr++] = (struct piece){start, end, info->dlpi_addr, info->dlpi_name};
    if (!is_wanted)
        return;
    load = info->dlpi_addr;
    if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W) != 0) {
        data_start = start;
        data_end = end;
    } else if (segment->p_type == PT_GNU_RELRO) {
        relro_start = start;
        relro_end = end & ~(uintptr_t)(sysconf(_SC_PAGESIZE) - 1);
    }
}

static int module_look(struct dl_phdr_info *info, size_t bytes, void *arg) {
    (void)bytes;
    (void)arg;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        segment_take(info, &info->dlpi_phdr[i], strstr(info->dlpi_name, wanted) != NULL);
    return 0;
}

static const struct piece *code_at(uintptr_t address) {
    for (size_t i = 0; i < pieces_nr; i++) {
        if (address >= pieces[i].start && address < pieces[i].end)
            return &pieces[i];
    }
    return NULL;
}

static void words_print(void) {
    for (const uintptr_t *word = (const uintptr_t *)relro_end; (uintptr_t)(word + 1) <= data_end; word++) {
        const struct piece *code = code_at(*word);
        if (code != NULL)
            printf("%#lx %s %#lx\n", (unsigned long)((uintptr_t)word - load),
                   code->file[0] != '\0' ? code->file : "program", (unsigned long)(*word - code->load));
    }
}

/* By the kernel's word: each line of the maps that lies in the loader's part must be without w. */
static void rights_print(void) {
    char line[LINE_BYTES], rights[8];
    unsigned long start, end;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (maps == NULL)
        exit(2);
    while (fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) != 3 || strchr(rights, 'w') == NULL)
            continue;
        if (start < relro_end && end > relro_start)
            printf("relro WRITABLE\n");
        if (start < data_end && end > data_start)
            printf("open %#lx %#lx\n", start - load, end - load);
    }
    (void)fclose(maps);
}

static void *thread_use(void *arg) {
    free(realloc(malloc(100), 100000));
    return arg;
}

static void library_use(void) {
    int (*reclaim_register)(void (*fn)(void *), void *arg);
    void *symbol = dlsym(RTLD_DEFAULT, "quarry_reclaim_register");
    pthread_t thread;
    memcpy(&reclaim_register, &symbol, sizeof(symbol));
    if (pthread_create(&thread, NULL, thread_use, NULL) != 0 || pthread_join(thread, NULL) != 0 ||
        reclaim_register == NULL || reclaim_register(free, NULL) != 0)
        exit(2);
    free(calloc(1, 3 << 20));
    (void)dlopen("libm.so.6", RTLD_NOW);
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    wanted = argv[1];
    library_use();
    (void)dl_iterate_phdr(module_look, NULL);
    if (data_start == 0 || relro_end <= relro_start || relro_end < data_start || pieces_nr == PIECES_MAX)
        return 2;
    rights_print();
    words_print();
    return 0;
}
