/* SPDX-License-Identifier: MIT */
/* Frees that cannot be right, each in a process of its own, which must end by SIGABRT with the line expected. */
#include "cases.h"
#include "kernel.h"

#include <linux/mm.h>
#include <linux/vmalloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SAID_BYTES = 1000 };

/* The commands free p, and the line begins with want, which names p. */
static void expect(void (*crime)(void *p), void *p, const char *want) {
    int fds[2], status = 0;
    char said[SAID_BYTES], line[200];
    size_t len = 0;
    ssize_t got;
    CHECK(pipe(fds) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        crime(p);
        _exit(0);
    }
    close(fds[1]);
    while (len + 1 < sizeof(said) && (got = read(fds[0], said + len, sizeof(said) - 1 - len)) > 0)
        len += (size_t)got;
    said[len] = '\0';
    close(fds[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_MSG(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "not stopped: %s: %s", want, said);
    snprintf(line, sizeof(line), "quarry: error %s: pointer %p: ", want, p);
    CHECK_MSG(strncmp(said, line, strlen(line)) == 0, "want %s, got %s", line, said);
}

static void do_free(void *p) { free(opaque(p)); }
static void do_kfree(void *p) { kfree(opaque(p)); }
static void do_vfree(void *p) { vfree(opaque(p)); }
static void do_kvfree(void *p) { kvfree(opaque(p)); }
static void do_realloc(void *p) { p = realloc(opaque(p), 100); }
static void do_krealloc(void *p) { p = krealloc(opaque(p), 100000, GFP_KERNEL); }
static void do_vrealloc(void *p) { p = vrealloc(opaque(p), 100, GFP_KERNEL); }
static void do_free_page(void *p) { free_page((unsigned long)p); }
static void do_free_pages_3(void *p) { free_pages((unsigned long)p, 3); }
static void free_page_twice(void *p) {
    free_page((unsigned long)p);
    free_page((unsigned long)p);
}
static void put_page_twice(void *p) {
    struct page *page = virt_to_page(p);
    put_page(page);
    put_page(page);
}
static void get_after_free(void *p) {
    struct page *page = virt_to_page(p);
    __free_page(page);
    get_page(page);
}
static void free_exact_twice(void *p) {
    free_pages_exact(p, PAGE_SIZE);
    free_pages_exact(p, PAGE_SIZE);
}
static void vfree_twice(void *p) {
    vfree(p);
    vfree(p);
}

static void of_pages(size_t unused) {
    (void)unused;
    void *one = (void *)__get_free_page(GFP_KERNEL), *eight = (void *)__get_free_pages(GFP_KERNEL, 3);
    char *four_mib = (char *)__get_free_pages(GFP_KERNEL, MAX_PAGE_ORDER);
    expect(free_page_twice, one, "Q01 double-free");
    expect(put_page_twice, one, "Q01 double-free");
    expect(get_after_free, one, "Q01 double-free");
    expect(free_exact_twice, one, "Q01 double-free");
    expect(do_free_pages_3, one, "Q08 wrong-order");
    expect(do_free_page, eight, "Q08 wrong-order");
    expect(do_free_page, (char *)eight + PAGE_SIZE, "Q02 interior-pointer");
    expect(do_free_page, (char *)one + 8, "Q02 interior-pointer");
    expect(do_free_page, four_mib, "Q08 wrong-order");
    expect(do_free_page, four_mib + (3 << 20), "Q02 interior-pointer");
    expect(do_free, one, "Q09 wrong-interface");
    expect(do_kfree, eight, "Q09 wrong-interface");
    expect(do_kvfree, four_mib, "Q09 wrong-interface");
    expect(do_vfree, one, "Q09 wrong-interface");
    expect(do_realloc, one, "Q09 wrong-interface");
    expect(do_krealloc, one, "Q09 wrong-interface");
    free_pages((unsigned long)four_mib, MAX_PAGE_ORDER);
    expect(do_free_page, four_mib, "Q01 double-free");
    expect(do_kfree, four_mib, "Q01 double-free");
}

static void of_areas(size_t unused) {
    (void)unused;
    char *area = vmalloc(1 << 20);
    expect(vfree_twice, area, "Q01 double-free");
    expect(do_vfree, area + PAGE_SIZE, "Q02 interior-pointer");
    expect(do_vrealloc, area + 16, "Q02 interior-pointer");
    expect(do_free, area, "Q09 wrong-interface");
    expect(do_kfree, area, "Q09 wrong-interface");
    expect(do_kfree, area + 4096, "Q09 wrong-interface");
    expect(do_free_page, area, "Q09 wrong-interface");
    expect(do_realloc, area, "Q09 wrong-interface");
    vfree(area);
    expect(do_vfree, area, "Q01 double-free");
}

static void of_objects(size_t unused) {
    (void)unused;
    void *small = malloc(100), *page = kmalloc(PAGE_SIZE, GFP_KERNEL), *region = kmalloc(3 << 20, GFP_KERNEL);
    static int global;
    expect(do_vfree, small, "Q09 wrong-interface");
    expect(do_vfree, region, "Q09 wrong-interface");
    expect(do_vrealloc, region, "Q09 wrong-interface");
    expect(do_free_page, page, "Q09 wrong-interface");
    expect(do_free_page, region, "Q09 wrong-interface");
    expect(do_vfree, &global, "Q03 wild-pointer");
    expect(do_free_page, &global, "Q03 wild-pointer");
    expect(do_vfree, (void *)0x5000, "Q03 wild-pointer");
    expect(do_free_page, (void *)0x5000, "Q03 wild-pointer");
}

static const struct test_case table[] = {
    {"of pages", of_pages, 0, CASE_QUARRY},
    {"of areas", of_areas, 0, CASE_QUARRY},
    {"of objects", of_objects, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
