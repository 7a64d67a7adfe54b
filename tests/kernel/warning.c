/* SPDX-License-Identifier: MIT */
/* What is warned about: nothing is said with __GFP_NOWARN, and else one line, the first time. */
#include "cases.h"
#include "kernel.h"

#include <limits.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/vmalloc.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAY_NOT_BLOCK (__GFP_KSWAPD_RECLAIM | __GFP_NOFAIL)

static void constructor(void *p) { (void)p; }

static struct kmem_cache *constructed(void) {
    static struct kmem_cache *s;
    if (s == NULL)
        s = kmem_cache_create("constructed", 100, 0, 0, constructor);
    CHECK(s != NULL);
    return s;
}

/* --- each of them done with more flags --- */

static void too_large(gfp_t more) { CHECK(kmalloc(opaque_size(KMALLOC_MAX_SIZE + 1), GFP_KERNEL | more) == NULL); }
static void too_large_constant(gfp_t more) { CHECK(kmalloc(KMALLOC_MAX_SIZE + 1, GFP_ATOMIC | more) == NULL); }
static void too_large_zeroed(gfp_t more) { CHECK(kzalloc(opaque_size(SIZE_MAX), GFP_KERNEL | more) == NULL); }
static void too_large_node(gfp_t more) { CHECK(kmalloc_node(opaque_size(SIZE_MAX), GFP_KERNEL | more, 0) == NULL); }
static void too_large_krealloc(gfp_t more) {
    void *p = kmalloc(10, GFP_KERNEL);
    CHECK(krealloc(p, KMALLOC_MAX_SIZE + 1, GFP_KERNEL | more) == NULL);
    CHECK(krealloc_node_align(p, KMALLOC_MAX_SIZE + 1, 64, GFP_KERNEL | more, 0) == NULL);
    kfree(p);
}
static void too_large_copy(gfp_t more) {
    CHECK(kmemdup_array("", 2, opaque_size(SIZE_MAX), GFP_KERNEL | more) == NULL);
}
static void nolock_flags(gfp_t more) { CHECK(kmalloc_nolock(100, __GFP_HIGH | more, NUMA_NO_NODE) == NULL); }
static void nofail_kmalloc(gfp_t more) { kfree(kmalloc(100, MAY_NOT_BLOCK | more)); }
static void nofail_cache(gfp_t more) {
    kmem_cache_free(constructed(), kmem_cache_alloc(constructed(), MAY_NOT_BLOCK | more));
}
static void nofail_page(gfp_t more) { free_page(__get_free_page(MAY_NOT_BLOCK | more)); }
static void nofail_pages(gfp_t more) {
    unsigned long pages = __get_free_pages(GFP_KERNEL | __GFP_NOFAIL | more, 2);
    CHECK(pages != 0);
    free_pages(pages, 2);
}
static void order(gfp_t more) {
    CHECK(alloc_pages(GFP_KERNEL | more, MAX_PAGE_ORDER + 1) == NULL);
    CHECK(__get_free_pages(GFP_ATOMIC | more, 100) == 0 && alloc_pages_node(0, GFP_KERNEL | more, UINT_MAX) == NULL);
    CHECK(alloc_pages_exact((PAGE_SIZE << MAX_PAGE_ORDER) + 1, GFP_KERNEL | more) == NULL);
}
static void no_bytes(gfp_t more) {
    CHECK(__vmalloc(opaque_size(0), GFP_KERNEL | more) == NULL && vmalloc_huge(0, GFP_KERNEL | more) == NULL);
    if (more != 0) /* those without flags cannot be asked for silence */
        return;
    CHECK(vmalloc(opaque_size(0)) == NULL && vzalloc(0) == NULL && vmalloc_user(0) == NULL && vmalloc_32(0) == NULL);
    CHECK(vmalloc_node(0, 0) == NULL && vzalloc_node(0, NUMA_NO_NODE) == NULL && vmalloc_32_user(0) == NULL);
    CHECK(vmalloc_array(0, 8) == NULL && vcalloc(8, 0) == NULL);
}
static void area_at_once(gfp_t more) { CHECK(__vmalloc(100, GFP_ATOMIC | more) == NULL); }
static void area_never(gfp_t more) {
    CHECK(__vmalloc(opaque_size((size_t)1 << 50), GFP_KERNEL | __GFP_NOFAIL | more) == NULL);
}
static void above_int(gfp_t more) {
    CHECK(kvmalloc((size_t)INT_MAX + 1, GFP_KERNEL | more) == NULL);
    CHECK(kvmalloc_node((size_t)INT_MAX + 1, GFP_ATOMIC | more, 0) == NULL);
    CHECK(kvrealloc(NULL, (size_t)INT_MAX + 1, GFP_KERNEL | more) == NULL);
}
static void zeroed_object(gfp_t more) {
    char *p = kmem_cache_zalloc(constructed(), GFP_KERNEL | more);
    CHECK(p != NULL && bytes_are(p, 0, 100, 0));
    kmem_cache_free(constructed(), p);
}
static void zeroed_bulk(gfp_t more) {
    void *objs[2];
    CHECK(kmem_cache_alloc_bulk(constructed(), GFP_KERNEL | __GFP_ZERO | more, 2, objs) == 2);
    CHECK(bytes_are(objs[0], 0, 100, 0) && bytes_are(objs[1], 0, 100, 0));
    kmem_cache_free_bulk(constructed(), 2, objs);
}
static void zeroed_sheaf(gfp_t more) {
    struct slab_sheaf *sheaf = kmem_cache_prefill_sheaf(constructed(), GFP_KERNEL, 1);
    CHECK(sheaf != NULL);
    char *p = kmem_cache_alloc_from_sheaf(constructed(), GFP_KERNEL | __GFP_ZERO | more, sheaf);
    CHECK(p != NULL && bytes_are(p, 0, 100, 0));
    kmem_cache_return_sheaf(constructed(), GFP_KERNEL, sheaf);
    kmem_cache_free(constructed(), p);
}
static void zeroed_element(gfp_t more) {
    static mempool_t *pool;
    if (pool == NULL)
        pool = mempool_create_kmalloc_pool(1, 100);
    CHECK(pool != NULL);
    mempool_free(mempool_alloc(pool, GFP_KERNEL | __GFP_ZERO | more), pool);
}
static void constructed_pool(gfp_t unused) {
    (void)unused;
    mempool_t *pool = mempool_create(2, mempool_alloc_slab, mempool_free_slab, constructed());
    CHECK(pool != NULL);
    mempool_destroy(pool);
}
/* It is served all the same while the pool's function has some. */
static void bulk_of_more(gfp_t unused) {
    (void)unused;
    void *all[3] = {NULL, NULL, NULL};
    mempool_t *pool = mempool_create_kmalloc_pool(2, 100);
    CHECK(pool != NULL && mempool_alloc_bulk(pool, all, 3, 0) == 0 && all[2] != NULL);
    for (int i = 0; i < 3; i++)
        mempool_free(all[i], pool);
    mempool_destroy(pool);
}
static void nolock_pages(gfp_t more) { CHECK(alloc_pages_nolock(__GFP_HIGH | more, NUMA_NO_NODE, 0) == NULL); }
static void percpu_size(gfp_t more) { CHECK(__alloc_percpu_gfp(opaque_size(0), 8, GFP_KERNEL | more) == NULL); }

/* Has no area to fall back on, which is no mistake. */
static void kv_at_once(gfp_t more) {
    CHECK(kvmalloc(opaque_size(KMALLOC_MAX_SIZE + 1), GFP_ATOMIC | more) == NULL);
    CHECK(kvmalloc_node(opaque_size(KMALLOC_MAX_SIZE), GFP_NOWAIT | more, 0) == NULL);
}

#define WARNING(text) "quarry: warning: " text "\n"
enum silence { CAN_BE_SILENT, NEVER_SILENT };

static const struct {
    const char *name;
    void (*act)(gfp_t more);
    const char *line;
    enum silence silence;
} warnings[] = {
    {"too large", too_large, WARNING("kmalloc of more than KMALLOC_MAX_SIZE refused"), CAN_BE_SILENT},
    {"too large constant", too_large_constant, WARNING("kmalloc of more than KMALLOC_MAX_SIZE refused"), CAN_BE_SILENT},
    {"too large zeroed", too_large_zeroed, WARNING("kmalloc of more than KMALLOC_MAX_SIZE refused"), CAN_BE_SILENT},
    {"too large node", too_large_node, WARNING("kmalloc of more than KMALLOC_MAX_SIZE refused"), CAN_BE_SILENT},
    {"too large krealloc", too_large_krealloc, WARNING("kmalloc of more than KMALLOC_MAX_SIZE refused"), CAN_BE_SILENT},
    {"too large copy", too_large_copy, WARNING("kmalloc of more than KMALLOC_MAX_SIZE refused"), CAN_BE_SILENT},
    {"nolock flags", nolock_flags, WARNING("kmalloc_nolock with flags it does not know refused"), CAN_BE_SILENT},
    {"nofail kmalloc", nofail_kmalloc, WARNING("__GFP_NOFAIL of an allocation that may not block is ignored"),
     CAN_BE_SILENT},
    {"nofail cache", nofail_cache, WARNING("__GFP_NOFAIL of an allocation that may not block is ignored"),
     CAN_BE_SILENT},
    {"nofail page", nofail_page, WARNING("__GFP_NOFAIL of an allocation that may not block is ignored"), CAN_BE_SILENT},
    {"nofail pages", nofail_pages, WARNING("alloc_pages of an order above 1 with __GFP_NOFAIL"), CAN_BE_SILENT},
    {"order", order, WARNING("alloc_pages of an order above MAX_PAGE_ORDER refused"), CAN_BE_SILENT},
    {"no bytes", no_bytes, WARNING("vmalloc of 0 bytes refused"), CAN_BE_SILENT},
    {"area at once", area_at_once, WARNING("vmalloc without __GFP_DIRECT_RECLAIM refused"), CAN_BE_SILENT},
    {"area never", area_never, WARNING("vmalloc of more than there may be refused"), CAN_BE_SILENT},
    {"above int", above_int, WARNING("kvmalloc of more than INT_MAX refused"), CAN_BE_SILENT},
    {"zeroed object", zeroed_object, WARNING("__GFP_ZERO for a cache with a constructor"), CAN_BE_SILENT},
    {"zeroed bulk", zeroed_bulk, WARNING("__GFP_ZERO for a cache with a constructor"), CAN_BE_SILENT},
    {"zeroed sheaf", zeroed_sheaf, WARNING("__GFP_ZERO for a cache with a constructor"), CAN_BE_SILENT},
    {"zeroed element", zeroed_element, WARNING("__GFP_ZERO for a mempool dropped"), CAN_BE_SILENT},
    {"bulk of more", bulk_of_more, WARNING("mempool_alloc_bulk of more elements than the pool keeps"), NEVER_SILENT},
    {"nolock pages", nolock_pages, WARNING("alloc_pages_nolock with flags it does not know refused"), CAN_BE_SILENT},
    {"constructed pool", constructed_pool, WARNING("mempool of a cache with a constructor"), NEVER_SILENT},
    {"kv at once", kv_at_once, "", CAN_BE_SILENT},
    {"percpu size", percpu_size, WARNING("alloc_percpu of more than 32 KiB or a bad alignment refused"), CAN_BE_SILENT},
};

/* What act says. */
static const char *heard(void (*act)(gfp_t more), gfp_t more) {
    static char said[1000];
    int file = memfd_create("said", 0), before = dup(STDERR_FILENO);
    CHECK(file >= 0 && before >= 0 && dup2(file, STDERR_FILENO) == STDERR_FILENO);
    act(more);
    CHECK(dup2(before, STDERR_FILENO) == STDERR_FILENO);
    ssize_t bytes = pread(file, said, sizeof(said) - 1, 0);
    CHECK(bytes >= 0 && close(file) == 0 && close(before) == 0);
    said[bytes] = '\0';
    return said;
}

static void warns(size_t index) {
    const char *text;
    if (warnings[index].silence == CAN_BE_SILENT)
        CHECK_MSG(*(text = heard(warnings[index].act, __GFP_NOWARN)) == '\0', "with __GFP_NOWARN: %s", text);
    CHECK_MSG(strcmp(text = heard(warnings[index].act, 0), warnings[index].line) == 0, "said: %s", text);
    CHECK_MSG(*(text = heard(warnings[index].act, 0)) == '\0', "said again: %s", text);
}

enum { WARNINGS_NR = sizeof(warnings) / sizeof(warnings[0]) };

int main(int argc, char **argv) {
    static struct test_case table[WARNINGS_NR];
    for (size_t i = 0; i < WARNINGS_NR; i++)
        table[i] = (struct test_case){warnings[i].name, warns, i, CASE_QUARRY};
    return cases_main(argc, argv, table, WARNINGS_NR);
}
