/* SPDX-License-Identifier: MIT */
/*
 * Memory that was not made for devices, as long as it is mapped for one: pinned, where it is said to be, and each pin
 * given back. Needs root and io_uring; skipped where the kernel refuses them to this program as well.
 */
#include "cases.h"
#include "dma.h"

#include <linux/vmalloc.h>
#include <pthread.h>
#include <sys/wait.h>

static int fds_nr(void) {
    int nr = 0;
    for (int fd = 0; fd < 4096; fd++)
        nr += fcntl(fd, F_GETFD) >= 0;
    return nr;
}

static dma_addr_t mapped(const void *p, size_t size) {
    dma_addr_t handle = dma_map_single(NULL, p, size, DMA_BIDIRECTIONAL);
    if (dma_mapping_error(NULL, handle))
        refused_here();
    CHECK(handle % PAGE_SIZE == (uintptr_t)p % PAGE_SIZE);
    return handle;
}

/* The frame of any page of this process. */
static void check_frame(const void *p, dma_addr_t handle) {
    uint64_t entry = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    CHECK(pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)p / PAGE_SIZE * sizeof(entry))) == sizeof(entry));
    close(fd);
    CHECK_MSG((entry & (((uint64_t)1 << 55) - 1)) == handle / PAGE_SIZE, "%p is in frame %#lx, not %#lx", p,
              (unsigned long)(entry & (((uint64_t)1 << 55) - 1)), (unsigned long)(handle / PAGE_SIZE));
}

/* The textbook's buffer; where it is stays where it is, until it is unmapped. */
static void map_objects(size_t size) {
    enum { NR = 100 };
    dma_addr_t handles[NR];
    char *p[NR];
    int status = 0, compact = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC), fds = fds_nr();
    for (int round = 0; round < 2; round++) {
        unsigned long pinned = status_kib("VmPin:");
        for (int i = 0; i < NR; i++) {
            CHECK((p[i] = kmalloc(size, GFP_KERNEL)) != NULL && !is_for_devices(p[i]));
            memset(p[i], i, size);
            handles[i] = mapped(p[i], size);
        }
        CHECK(status_kib("VmPin:") > pinned && fds_nr() == fds + NR);
        if (compact >= 0)
            CHECK(write(compact, "1", 1) == 1);
        (void)page_out(p, NR, PAGE_SIZE);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            for (int i = 0; i < NR; i++)
                memset(p[i], 0x77, size);
            _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
        for (int i = 0; i < NR; i++) {
            CHECK(bytes_are(p[i], 0, size, (unsigned char)i));
            memset(p[i], i + 1, size);
            check_frame(p[i], handles[i]);
            dma_unmap_single(NULL, handles[i], size, DMA_BIDIRECTIONAL);
            kfree(p[i]);
        }
        CHECK(fds_nr() == fds);
        while (status_kib("VmPin:") != pinned) /* the kernel ends rings behind their close */
            usleep(1000);
    }
    if (compact >= 0)
        close(compact);
}

/* One page mapped twice; what is undone once more, or never was; a page, an area, the stack; pages that follow each
 * other or do not; what may not be written. */
static void map_kinds(size_t unused) {
    static const char constant[100] = "constant";
    char on_stack[64] = "", *p = kmalloc(4096, GFP_KERNEL), *area = vmalloc(8 * PAGE_SIZE), *large;
    int fds = fds_nr();
    (void)unused;
    memset(area, 1, 8 * PAGE_SIZE);
    dma_addr_t twice[2] = {mapped(p, 4096), mapped(p, 100)}, page = mapped(area + PAGE_SIZE + 100, PAGE_SIZE - 100),
               stack = mapped(on_stack, 1);
    CHECK(twice[0] == twice[1] && fds_nr() == fds + 4);
    check_frame(p, twice[0]);
    check_frame(area + PAGE_SIZE, page);
    check_frame(on_stack, stack);
    dma_unmap_single(NULL, twice[0], 4096, DMA_TO_DEVICE);
    CHECK(fds_nr() == fds + 3);
    dma_unmap_single(NULL, twice[1], 100, DMA_TO_DEVICE);
    dma_unmap_single(NULL, twice[1], 100, DMA_TO_DEVICE);
    dma_unmap_single(NULL, page, PAGE_SIZE - 100, DMA_TO_DEVICE);
    dma_unmap_single(NULL, stack, 1, DMA_TO_DEVICE);
    dma_unmap_single(NULL, DMA_MAPPING_ERROR, 1, DMA_TO_DEVICE);
    dma_unmap_single(NULL, 0, 1, DMA_TO_DEVICE);
    CHECK(fds_nr() == fds);
    for (size_t size = 2 * PAGE_SIZE; size <= (2 << 20); size *= 4) {
        CHECK((large = kmalloc(opaque_size(size), GFP_KERNEL)) != NULL);
        memset(large, 2, size);
        dma_addr_t handle = dma_map_single(NULL, large, size, DMA_TO_DEVICE);
        for (size_t at = 0; !dma_mapping_error(NULL, handle) && at < size; at += PAGE_SIZE)
            check_frame(large + at, handle + at);
        dma_unmap_single(NULL, handle, size, DMA_TO_DEVICE);
        kfree(large);
    }
    CHECK(dma_mapping_error(NULL, dma_map_single(NULL, p, (2 << 20) + 1, DMA_TO_DEVICE)));
    CHECK(dma_mapping_error(NULL, dma_map_single(NULL, p + 1, 2 << 20, DMA_TO_DEVICE)));
    CHECK(dma_mapping_error(NULL, dma_map_single(NULL, p, SIZE_MAX, DMA_TO_DEVICE)));
    CHECK(dma_mapping_error(NULL, dma_map_single(NULL, p, 0, DMA_TO_DEVICE)));
    CHECK(dma_mapping_error(NULL, dma_map_single(NULL, (void *)(uintptr_t)-100, 50, DMA_TO_DEVICE)));
    CHECK(dma_mapping_error(NULL, dma_map_single(NULL, NULL, 1, DMA_TO_DEVICE)));
    CHECK(dma_mapping_error(NULL, dma_map_single(NULL, constant, sizeof(constant), DMA_TO_DEVICE)));
    struct page *record = alloc_page(GFP_KERNEL);
    memset(page_address(record), 0, PAGE_SIZE);
    dma_addr_t part = dma_map_page(NULL, record, 100, 200, DMA_FROM_DEVICE);
    CHECK(!dma_mapping_error(NULL, part) && part % PAGE_SIZE == 100 && fds_nr() == fds + 1);
    check_frame(page_address(record), part);
    dma_unmap_page(NULL, part, 200, DMA_FROM_DEVICE);
    __free_page(record);
    CHECK(fds_nr() == fds);
    vfree(area);
    kfree(p);
}

/* Each thread's mappings are its own. */
static void *map_thread(void *arg) {
    enum { STEPS = 300, HELD = 8 };
    char *p[HELD];
    dma_addr_t handles[HELD];
    (void)arg;
    for (int step = 0; step < STEPS; step++) {
        int nr = 1 + step % HELD;
        for (int i = 0; i < nr; i++) {
            CHECK((p[i] = kmalloc(4096, GFP_KERNEL)) != NULL);
            handles[i] = mapped(p[i], 4096);
        }
        for (int i = 0; i < nr; i++) {
            check_frame(p[i], handles[i]);
            dma_unmap_single(NULL, handles[i], 4096, DMA_TO_DEVICE);
            kfree(p[i]);
        }
    }
    return NULL;
}

static void map_threads(size_t unused) {
    pthread_t threads[4];
    int fds = fds_nr();
    (void)unused;
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, map_thread, NULL) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(fds_nr() == fds);
}

static const struct test_case table[] = {
    {"mapping of 4096 bytes", map_objects, 4096, CASE_QUARRY},
    {"mapping of 64 bytes", map_objects, 64, CASE_QUARRY},
    {"mapping, kinds", map_kinds, 0, CASE_QUARRY},
    {"mapping, threads", map_threads, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
