/* SPDX-License-Identifier: MIT */
/* What the programs for devices' memory share: whether it can be had here, and what the kernel does to move memory. */
#ifndef QUARRY_TESTS_DMA_H
#define QUARRY_TESTS_DMA_H

#include "kernel.h"

#include <fcntl.h>
#include <linux/dma-mapping.h>
#include <linux/io_uring.h>
#include <linux/mm.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* --- whether it can be had here: asked of the kernel, not of the library --- */

enum { HPAGE = 2 << 20 };

static inline bool may_pin(void *p) {
    struct io_uring_params params = {0};
    struct iovec buffer = {p, HPAGE};
    int fd = (int)syscall(SYS_io_uring_setup, 1, &params);
    bool may = fd >= 0 && syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &buffer, 1) == 0;
    if (fd >= 0)
        close(fd);
    return may;
}

/* Frames read as 0 to who may not know them. */
static inline bool may_know_frames(const void *p) {
    uint64_t entry = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    bool may =
        fd >= 0 && pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)p / PAGE_SIZE * sizeof(entry))) == sizeof(entry);
    if (fd >= 0)
        close(fd);
    return may && (entry & (((uint64_t)1 << 55) - 1)) != 0;
}

/* Bytes of p's mapping that are hugepages. */
static inline bool has_hugepages(char *p) {
    char line[200];
    bool here = false, some = false;
    FILE *smaps = fopen("/proc/self/smaps", "r");
    while (smaps != NULL && fgets(line, sizeof(line), smaps) != NULL) {
        unsigned long start = 0, end = 0, kib = 0;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            here = start <= (uintptr_t)p && (uintptr_t)p < end;
        else if (here && sscanf(line, "AnonHugePages: %lu", &kib) == 1)
            some = kib >= HPAGE / 1024;
    }
    if (smaps != NULL)
        fclose(smaps);
    return some;
}

static inline _Noreturn void refused_here(void) {
    char *p = mmap(NULL, 2 * HPAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    p += HPAGE - (uintptr_t)p % HPAGE;
    if (madvise(p, HPAGE, MADV_HUGEPAGE) != 0)
        check_skip("no hugepages here");
    memset(p, 1, HPAGE);
    if (!has_hugepages(p))
        check_skip("no hugepage is to be had here");
    if (!may_pin(p))
        check_skip("no memory can be pinned here");
    if (!may_know_frames(p))
        check_skip("no physical addresses are told here");
    const char *(*why)(void);
    symbol_get("quarry_core1_dma_refusal", &why);
    const char *said = why == NULL ? NULL : why();
    if (said != NULL && strcmp(said, "no hugepage is to be had") == 0) /* then; now there is one */
        check_skip("%s", said);
    CHECK_MSG(false, "memory for devices is refused where the kernel allows it: %s", said == NULL ? "" : said);
}

static inline unsigned long status_kib(const char *name) {
    char line[200];
    unsigned long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof(line), status) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtoul(line + strlen(name), NULL, 10);
    }
    fclose(status);
    return kib;
}

static inline char *page_start(char *p) { return p - (uintptr_t)p % PAGE_SIZE; }

static inline bool is_there(void *p) {
    unsigned char resident = 0;
    CHECK(mincore(p, PAGE_SIZE, &resident) == 0);
    return (resident & 1) != 0;
}

/* Whether p lies in memory made for devices. */
static inline bool is_for_devices(const void *p) {
    uint64_t (*address)(const void *p, size_t bytes);
    symbol_get("quarry_core1_dma_address", &address);
    CHECK(address != NULL);
    return address(p, 1) != DMA_MAPPING_ERROR;
}

/* Asks the kernel to swap all of this out, now; whether it does so with a page that nobody pins. */
static inline bool page_out(char **p, size_t nr, size_t bytes) {
    char *plain = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(plain != MAP_FAILED);
    *plain = 1;
    bool swaps = madvise(plain, PAGE_SIZE, MADV_PAGEOUT) == 0 && !is_there(plain);
    for (size_t i = 0; i < nr; i++)
        (void)madvise(page_start(p[i]), bytes, MADV_PAGEOUT);
    for (size_t i = 0; i < nr; i++)
        CHECK(is_there(page_start(p[i])) && is_there(page_start(p[i]) + bytes - PAGE_SIZE));
    munmap(plain, PAGE_SIZE);
    return swaps;
}

#endif
