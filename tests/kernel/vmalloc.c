/* SPDX-License-Identifier: MIT */
/* The edge cases of vmalloc and kvmalloc under the kernel's names. */
#include "cases.h"
#include "kernel.h"
#include "proc.h"

#include <errno.h>
#include <limits.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whether a write to p ends a process by SIGSEGV. */
static bool faults(volatile char *p) {
    int status = 0;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        *p = 1;
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void check_area(char *p, size_t size) {
    size_t bytes = PAGE_ALIGN(size);
    CHECK(p != NULL && PAGE_ALIGNED(p));
    memset(p, 0x5a, bytes);
    CHECK_MSG(faults(p + bytes), "no guard behind %zu bytes", size);
    CHECK(is_vmalloc_addr(p) && is_vmalloc_addr(p + size / 2) && is_vmalloc_addr(p + bytes - 1));
}

static void sizes_and_guards(size_t unused) {
    (void)unused;
    static const size_t sizes[] = {1, 4096, 4097, 100000, 1 << 20, (1 << 20) + 1, 3000001, 8 << 20, 20 << 20};
    errno = 7;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *p = vmalloc(sizes[i]), *q = vzalloc(sizes[i]);
        CHECK(bytes_are(q, 0, PAGE_ALIGN(sizes[i]), 0));
        check_area(p, sizes[i]);
        check_area(q, sizes[i]);
        vfree(p);
        vfree_atomic(q);
        p = vmalloc_huge(sizes[i], GFP_KERNEL);
        q = vmalloc_user(sizes[i]);
        CHECK(bytes_are(q, 0, PAGE_ALIGN(sizes[i]), 0));
        check_area(p, sizes[i]);
        check_area(q, sizes[i]);
        vfree(p);
        vfree(q);
    }
    vfree(NULL);
    vfree_atomic(NULL);
    CHECK(errno == 7);
}

/* However many there are: malloc packs its mappings from 256 on. */
static void guards_of_many(size_t unused) {
    (void)unused;
    enum { NR = 600 };
    static char *all[NR];
    for (int i = 0; i < NR; i++) {
        all[i] = vmalloc(PAGE_SIZE * (size_t)(1 + i % 5));
        memset(all[i], i, PAGE_SIZE * (size_t)(1 + i % 5));
    }
    for (int i = 0; i < NR; i++) {
        CHECK(bytes_are(all[i], 0, PAGE_SIZE * (size_t)(1 + i % 5), (unsigned char)i));
        CHECK(i % 50 != 0 || faults(all[i] + PAGE_SIZE * (size_t)(1 + i % 5)));
    }
    for (int i = 0; i < NR; i++)
        vfree(all[i]);
}

/* Nothing else is a vmalloc address, nor what was one. */
static void addresses(size_t unused) {
    (void)unused;
    static int global;
    int local = 0;
    void *object = kmalloc(100, GFP_KERNEL), *region = kmalloc(3 << 20, GFP_KERNEL), *area = vmalloc(300 << 20);
    unsigned long page = get_zeroed_page(GFP_KERNEL);
    CHECK(!is_vmalloc_addr(NULL) && !is_vmalloc_addr(&global) && !is_vmalloc_addr(&local));
    CHECK(!is_vmalloc_addr(object) && !is_vmalloc_addr(region) && !is_vmalloc_addr((void *)page));
    CHECK(is_vmalloc_addr(area) && is_vmalloc_addr((char *)area + (290 << 20)));
    CHECK(!is_vmalloc_addr((char *)area + (300 << 20) + (16 << 10)));
    vfree(area);
    CHECK(!is_vmalloc_addr(area) && !is_vmalloc_addr((char *)area + (290 << 20)));
    kfree(object);
    kfree(region);
    free_page(page);
}

static void refused(size_t unused) {
    (void)unused;
    CHECK(__vmalloc(opaque_size(0), GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(__vmalloc(opaque_size(100), __GFP_NOWARN) == NULL);
    CHECK(__vmalloc(opaque_size(SIZE_MAX), GFP_KERNEL) == NULL);
    CHECK(vmalloc(opaque_size(SIZE_MAX - 4000)) == NULL);
    CHECK(vmalloc(opaque_size((size_t)1 << 60)) == NULL);
    CHECK(vmalloc_array(opaque_size(SIZE_MAX / 2 + 1), 2) == NULL);
    CHECK(vcalloc(2, opaque_size(SIZE_MAX / 2 + 1)) == NULL);
    CHECK(__vmalloc_node(100, 3, GFP_KERNEL, NUMA_NO_NODE, NULL) == NULL);
}

static void forms(size_t unused) {
    (void)unused;
    char *p = vmalloc_array(1000, 7), *q = vcalloc(1000, 7);
    check_area(p, 7000);
    CHECK(bytes_are(q, 0, 7000, 0));
    vfree(p);
    vfree(q);
    for (size_t align = 1; align <= 64 << 20; align *= 8) {
        p = __vmalloc_node(5000, align, GFP_KERNEL | __GFP_ZERO, NUMA_NO_NODE, NULL);
        CHECK((uintptr_t)p % align == 0 && bytes_are(p, 0, 5000, 0));
        check_area(p, 5000);
        vfree(p);
    }
    p = vmalloc_node(5000, 0);
    check_area(p, 5000);
    vfree(p);
    p = vzalloc_node(3 << 20, NUMA_NO_NODE);
    check_area(p, 3 << 20);
    vfree(p);
}

/* The line of a file of /proc/self that begins with the mapping's address, and the next one that begins with key. */
static bool mapping_says(const char *file, const void *p, const char *key, const char *what) {
    char line[400], start[32];
    bool here = false, says = false;
    FILE *maps = fopen(file, "r");
    if (maps == NULL)
        check_skip("no %s", file);
    snprintf(start, sizeof(start), "%lx", (unsigned long)p);
    while (!says && fgets(line, sizeof(line), maps) != NULL) {
        here = here || strncmp(line, start, strlen(start)) == 0;
        if (here && strncmp(line, key == NULL ? start : key, strlen(key == NULL ? start : key)) == 0) {
            says = strstr(line, what) != NULL;
            break;
        }
    }
    fclose(maps);
    return says;
}

/* What was asked of the system is known to it. */
static void placed(size_t unused) {
    (void)unused;
    char *on_node = vmalloc_node(3 << 20, 0), *anywhere = vmalloc(3 << 20);
    char *huge = vmalloc_huge(3 << 20, GFP_KERNEL), *kv = kvmalloc_node(5 << 20, GFP_KERNEL, 0);
    CHECK(mapping_says("/proc/self/numa_maps", on_node, NULL, " prefer"));
    CHECK(mapping_says("/proc/self/numa_maps", kv, NULL, " prefer"));
    CHECK(!mapping_says("/proc/self/numa_maps", anywhere, NULL, " prefer"));
    CHECK(mapping_says("/proc/self/smaps", huge, "VmFlags:", " hg"));
    CHECK(!mapping_says("/proc/self/smaps", anywhere, "VmFlags:", " hg"));
    vfree(on_node);
    vfree(anywhere);
    vfree(huge);
    kvfree(kv);
}

static void low(size_t unused) {
    (void)unused;
    char *p = vmalloc_32(5 << 20), *q = vmalloc_32_user(100), *r = vmalloc_32(100);
    CHECK(p != NULL && (uintptr_t)p + (5 << 20) <= (uintptr_t)1 << 32);
    CHECK(q != NULL && (uintptr_t)q < (uintptr_t)1 << 32 && bytes_are(q, 0, PAGE_SIZE, 0));
    CHECK(r != NULL && (uintptr_t)r < (uintptr_t)1 << 32);
    check_area(p, 5 << 20);
    check_area(q, 100);
    CHECK(vmalloc_32((size_t)5 << 30) == NULL);
    vfree(p);
    vfree(q);
    vfree(r);
}

static void resizing(size_t unused) {
    (void)unused;
    static const size_t sizes[] = {100, 5000, 4096, 300000, 299999, 100, 9 << 20, 3 << 20, 40 << 20, 1};
    char *p = vrealloc(NULL, 50, GFP_KERNEL | __GFP_ZERO);
    size_t size = 50;
    CHECK(bytes_are(p, 0, PAGE_SIZE, 0));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memset(p, (int)i + 1, size);
        char *q = vrealloc(p, sizes[i], GFP_KERNEL | __GFP_ZERO);
        CHECK(q != NULL && (q == p || sizes[i] > PAGE_ALIGN(size)));
        CHECK(bytes_are(q, 0, sizes[i] < size ? sizes[i] : size, (unsigned char)(i + 1)));
        CHECK_MSG(sizes[i] <= size || bytes_are(q, size, sizes[i], 0), "%zu to %zu is not zero", size, sizes[i]);
        CHECK(faults(q + PAGE_ALIGN(sizes[i])));
        CHECK(is_vmalloc_addr(q + sizes[i] - 1));
        p = q;
        size = sizes[i];
    }
    CHECK(vrealloc(p, SIZE_MAX, GFP_KERNEL) == NULL && vrealloc(p, 1 << 20, 0) == NULL);
    CHECK(bytes_are(p, 0, 1, 10));
    CHECK(vrealloc(p, 0, GFP_KERNEL) == NULL);
    CHECK(!is_vmalloc_addr(p));
    CHECK(vrealloc(NULL, 0, GFP_KERNEL) == NULL);
}

/* What an area held is the system's again. */
static void goes_back(size_t unused) {
    (void)unused;
    size_t before = proc_resident_bytes(), mappings = proc_mapping_nr();
    for (int i = 0; i < 50; i++) {
        char *p = vmalloc(20 << 20);
        memset(p, 1, 20 << 20);
        CHECK(proc_resident_bytes() > before + (19 << 20));
        vfree(p);
    }
    CHECK(proc_resident_bytes() < before + (2 << 20));
    CHECK(proc_mapping_nr() <= mappings + 4);
}

/* Pages of the area's row, of all nodes; -1: no row. */
static long row_pages(const void *p) {
    char text[4000], start[40];
    (void)quarry_vmallocinfo(text, sizeof(text));
    snprintf(start, sizeof(start), "0x%016lx-", (unsigned long)p);
    const char *row = strstr(text, start), *at = row == NULL ? NULL : strstr(row, " vmalloc");
    long sum = at == NULL ? -1 : 0;
    unsigned node;
    long pages;
    for (int len; at != NULL && *(at += strcspn(at, " \n")) == ' '; at += len) {
        len = 1;
        if (sscanf(at, " N%u=%ld%n", &node, &pages, &len) == 2) {
            CHECK(pages > 0);
            sum += pages;
        }
    }
    return sum;
}

/* Those that are in memory, as the kernel counts an area's pages, node by node. */
static void vmallocinfo_nodes(size_t unused) {
    enum { TOUCHED = 70, AREA_PAGES = 100 };
    (void)unused;
    char *p = vmalloc(AREA_PAGES * PAGE_SIZE), *q = vmalloc(PAGE_SIZE);
    CHECK(row_pages(p) == 0 && row_pages(q) == 0);
    for (unsigned i = 0; i < TOUCHED; i++)
        p[i * PAGE_SIZE] = 1;
    int status = -1;
    void *first = p;
    if (syscall(SYS_move_pages, 0, 1UL, &first, NULL, &status, 0) == 0 && status >= 0)
        CHECK_MSG(row_pages(p) == TOUCHED, "%ld pages", row_pages(p));
    CHECK(row_pages(q) == 0);
    vfree(p);
    vfree(q);
    CHECK(row_pages(p) == -1);
}

/* The kernel's row, of "0x%pK-0x%pK %7ld": larger numbers make it longer. */
static void vmallocinfo_row(size_t size) {
    char text[1000], line[100];
    char *p = __vmalloc_node(size, 1, GFP_KERNEL, NUMA_NO_NODE, (void *)0x1234);
    CHECK(p != NULL);
    (void)quarry_vmallocinfo(text, sizeof(text));
    snprintf(line, sizeof(line), "0x%016lx-0x%016lx %7lu 0x1234 pages=%lu vmalloc\n", (unsigned long)p,
             (unsigned long)p + PAGE_ALIGN(size) + PAGE_SIZE, PAGE_ALIGN(size) + PAGE_SIZE,
             PAGE_ALIGN(size) / PAGE_SIZE);
    CHECK_MSG(strstr(text, line) != NULL, "no %sin %s", line, text);
    vfree(p);
}

static void vmallocinfo(size_t unused) {
    (void)unused;
    char text[1000], line[100], cut[30];
    CHECK(quarry_vmallocinfo(text, sizeof(text)) == 0 && text[0] == '\0');
    char *p = vmalloc(10000), *q = vmalloc(100);
    size_t len = quarry_vmallocinfo(text, sizeof(text));
    CHECK(len == strlen(text) && len > 0);
    snprintf(line, sizeof(line), "0x%016lx-", (unsigned long)q);
    CHECK(strstr(text, line) != NULL);
    CHECK(strstr(text, " user\n") == NULL);
    char *u = vmalloc_user(PAGE_SIZE), *low = vmalloc_32_user(PAGE_SIZE), *moved = vmalloc_user(PAGE_SIZE);
    (void)quarry_vmallocinfo(text, sizeof(text));
    /* What grows keeps it, wherever it goes; and whoever gets the place next does not have it. */
    void *grown = vrealloc(moved, 6 << 20, GFP_KERNEL);
    CHECK(grown != NULL && low != NULL && u != NULL);
    vfree(u);
    u = vmalloc(PAGE_SIZE);
    (void)quarry_vmallocinfo(text, sizeof(text));
    snprintf(line, sizeof(line), "0x%016lx-", (unsigned long)u);
    CHECK(strncmp(strchr(strstr(text, line), '\n') - strlen("vmalloc"), "vmalloc", strlen("vmalloc")) == 0);
    void *const users[] = {low, grown};
    for (int i = 0; i < 2; i++) {
        snprintf(line, sizeof(line), "0x%016lx-", (unsigned long)users[i]);
        const char *row = strstr(text, line);
        CHECK(row != NULL &&
              strncmp(strchr(row, '\n') - strlen("vmalloc user"), "vmalloc user", strlen("vmalloc user")) == 0);
        vfree(users[i]);
    }
    vfree(u);
    CHECK(quarry_vmallocinfo(cut, sizeof(cut)) == len && strlen(cut) == sizeof(cut) - 1);
    vfree(p);
    vfree(q);
    CHECK(quarry_vmallocinfo(NULL, 0) == 0);
}

/* --- kvmalloc --- */

static void kv_choice(size_t unused) {
    (void)unused;
    CHECK(kvmalloc(opaque_size(0), GFP_KERNEL) == ZERO_SIZE_PTR);
    for (size_t size = 1; size <= 64 << 20; size *= 3) {
        char *p = kvmalloc(size, GFP_KERNEL), *q = kvzalloc(size, GFP_KERNEL);
        CHECK(p != NULL && is_vmalloc_addr(p) == (size > KMALLOC_MAX_SIZE));
        CHECK(bytes_are(q, 0, size, 0));
        memset(p, 1, size);
        kvfree(p);
        kvfree_sensitive(q, size);
    }
    char *secret = kvmalloc(200, GFP_KERNEL), *at = opaque(secret);
    memset(secret, 0x37, 200);
    kvfree_sensitive(secret, 200);
    CHECK(memchr(opaque(at), 0x37, 200) == NULL);
    kvfree(NULL);
    kvfree(ZERO_SIZE_PTR);
    kvfree_sensitive(ZERO_SIZE_PTR, 100);
    kvfree_sensitive(NULL, 100);
    kvfree(vmalloc(100));
    kvfree(malloc(100));
}

static void kv_limits(size_t unused) {
    (void)unused;
    CHECK(kvmalloc((size_t)INT_MAX + 1, GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(kvmalloc(opaque_size(SIZE_MAX), GFP_KERNEL | __GFP_NOWARN) == NULL);
    void *p = kvmalloc(INT_MAX, GFP_KERNEL);
    CHECK(p != NULL && is_vmalloc_addr(p));
    kvfree(p);
    CHECK(kvmalloc(KMALLOC_MAX_SIZE + 1, __GFP_NOWARN) == NULL); /* may not block: no area */
    CHECK(kvmalloc_array(opaque_size(SIZE_MAX / 2 + 1), 2, GFP_KERNEL) == NULL);
    CHECK(kvcalloc(2, opaque_size(SIZE_MAX / 2 + 1), GFP_KERNEL) == NULL);
    p = kvmalloc_array(3 << 20, 2, GFP_KERNEL);
    CHECK(is_vmalloc_addr(p));
    kvfree(p);
    p = kvcalloc(100, 2, GFP_KERNEL);
    CHECK(!is_vmalloc_addr(p) && bytes_are(p, 0, 200, 0));
    kvfree(p);
    p = kvmalloc_node(200, GFP_KERNEL, NUMA_NO_NODE);
    kvfree(p);
    p = kvzalloc_node(5 << 20, GFP_KERNEL, 0);
    CHECK(is_vmalloc_addr(p) && bytes_are(p, 0, 5 << 20, 0));
    kvfree(p);
}

static void kv_resizing(size_t unused) {
    (void)unused;
    static const size_t sizes[] = {5000, 6 << 20, 9 << 20, 5 << 20, 100000, 1};
    char *p = kvrealloc(NULL, 100, GFP_KERNEL | __GFP_ZERO);
    size_t size = 100;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memset(p, (int)i + 1, size);
        p = kvrealloc(p, sizes[i], GFP_KERNEL | __GFP_ZERO);
        CHECK(p != NULL && is_vmalloc_addr(p) == (i >= 1));
        CHECK(bytes_are(p, 0, sizes[i] < size ? sizes[i] : size, (unsigned char)(i + 1)));
        CHECK(sizes[i] <= size || bytes_are(p, size, sizes[i], 0));
        size = sizes[i];
    }
    CHECK(kvrealloc(p, (size_t)1 << 60, GFP_KERNEL | __GFP_NOWARN) == NULL && bytes_are(p, 0, 1, 6));
    CHECK(kvrealloc(p, 0, GFP_KERNEL) == NULL);
    p = kvmalloc(100, GFP_KERNEL);
    CHECK(kvrealloc(p, (size_t)INT_MAX + 1, GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(kvrealloc(p, 0, GFP_KERNEL) == ZERO_SIZE_PTR);
    CHECK(kvrealloc(NULL, 0, GFP_KERNEL) == ZERO_SIZE_PTR);
    p = kvmemdup("abc", 4, GFP_KERNEL);
    CHECK(strcmp(p, "abc") == 0);
    kvfree(p);
    CHECK(kvmemdup("", opaque_size(0), GFP_KERNEL) == ZERO_SIZE_PTR);
    static char large[KMALLOC_MAX_SIZE + 1];
    memset(large, 7, sizeof(large));
    p = kvmemdup(large, sizeof(large), GFP_KERNEL);
    CHECK(is_vmalloc_addr(p) && bytes_are(p, 0, sizeof(large), 7));
    kvfree(p);
}

/* Aligned from the first call on, whatever becomes of it; what is not aligned is not moved to be. */
static void resizing_aligned(size_t align) {
    static const size_t sizes[] = {100, 40000, 300000, 3 << 20, 9 << 20, 2 << 20, 20 << 20, 10};
    char *p = NULL, *q = NULL;
    size_t size = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t keeps = sizes[i] < size ? sizes[i] : size;
        p = kvrealloc_node_align(p, sizes[i], align, GFP_KERNEL, NUMA_NO_NODE);
        q = vrealloc_node_align(q, sizes[i], align, GFP_KERNEL, 0);
        CHECK_MSG(p != NULL && q != NULL && ((uintptr_t)p & (align - 1)) == 0 && ((uintptr_t)q & (align - 1)) == 0,
                  "%zu bytes at %zu: %p, %p", sizes[i], align, (void *)p, (void *)q);
        CHECK(is_vmalloc_addr(q) && bytes_are(p, 0, keeps, 0x5a) && bytes_are(q, 0, keeps, 0x5a));
        memset(p, 0x5a, sizes[i]);
        memset(q, 0x5a, sizes[i]);
        size = sizes[i];
    }
    CHECK(kvrealloc_node_align(p, size, 48, GFP_KERNEL, 0) == NULL &&
          vrealloc_node_align(q, 1, 3, GFP_KERNEL, 0) == NULL);
    const void *nothing = is_vmalloc_addr(p) ? NULL : ZERO_SIZE_PTR;
    CHECK(kvrealloc_node_align(p, 0, align, GFP_KERNEL, 0) == nothing);
    CHECK(vrealloc_node_align(q, 0, align, GFP_KERNEL, 0) == NULL);
}

static void resizing_by_node(size_t unused) {
    char *p = vrealloc_node(NULL, 5 << 20, GFP_KERNEL | __GFP_ZERO, 0), *area = p;
    (void)unused;
    CHECK(is_vmalloc_addr(p) && bytes_are(p, 0, 5 << 20, 0));
    for (size_t align = 2; align <= (size_t)1 << 30; align *= 2) {
        if (((uintptr_t)p & (align - 1)) != 0)
            CHECK(vrealloc_node_align(p, 6 << 20, align, GFP_KERNEL, 0) == NULL && bytes_are(p, 0, 5 << 20, 0));
    }
    memset(p, 3, 100);
    p = vrealloc_node(p, 1 << 20, GFP_KERNEL, 0);
    CHECK(p == area && bytes_are(p, 0, 100, 3));
    vfree(p);
    p = kvrealloc_node(NULL, 100, GFP_KERNEL, 0);
    memset(p, 4, 100);
    p = kvrealloc_node(p, 5 << 20, GFP_KERNEL, NUMA_NO_NODE);
    CHECK(is_vmalloc_addr(p) && bytes_are(p, 0, 100, 4));
    kvfree(p);
    p = vmalloc_huge_node(3 << 20, GFP_KERNEL, 0);
    CHECK(is_vmalloc_addr(p) && (uintptr_t)p % (2 << 20) == 0);
    vfree(p);
    CHECK(vmalloc_huge_node((size_t)1 << 60, GFP_KERNEL | __GFP_NOWARN, 0) == NULL);
}

static const struct test_case table[] = {
    {"sizes and guards", sizes_and_guards, 0, CASE_QUARRY},
    {"guards of many", guards_of_many, 0, CASE_QUARRY},
    {"addresses", addresses, 0, CASE_QUARRY},
    {"refused", refused, 0, CASE_QUARRY},
    {"forms", forms, 0, CASE_QUARRY},
    {"placed", placed, 0, CASE_QUARRY},
    {"low", low, 0, CASE_QUARRY},
    {"resizing", resizing, 0, CASE_QUARRY},
    {"goes back", goes_back, 0, CASE_QUARRY},
    {"vmallocinfo", vmallocinfo, 0, CASE_QUARRY},
    {"vmallocinfo, a row", vmallocinfo_row, 10000, CASE_QUARRY},
    {"vmallocinfo, a long row", vmallocinfo_row, (size_t)64 << 20, CASE_QUARRY},
    {"vmallocinfo, nodes", vmallocinfo_nodes, 0, CASE_QUARRY},
    {"kvmalloc chooses", kv_choice, 0, CASE_QUARRY},
    {"kvmalloc limits", kv_limits, 0, CASE_QUARRY},
    {"kvrealloc", kv_resizing, 0, CASE_QUARRY},
    {"resizing, at 64 bytes", resizing_aligned, 64, CASE_QUARRY},
    {"resizing, at 64 KiB", resizing_aligned, 1 << 16, CASE_QUARRY},
    {"resizing, at 4 MiB", resizing_aligned, 1 << 22, CASE_QUARRY},
    {"resizing, by node", resizing_by_node, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
