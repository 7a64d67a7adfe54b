/* SPDX-License-Identifier: MIT */
/*
 * A program for the views of memory: makes caches of every kind, areas and pages, says of itself what the quarry
 * command must find, and waits until stdin ends; each byte on stdin lets it take more objects. The rows it writes
 * itself are checked here, against printf with the kernel's format and the counters of each cache. With "churn" a
 * thread makes and destroys caches all the while, of which the name tells the size; with "longer" each byte makes the
 * table longer by one. Run by views.py.
 */
#include "check.h"

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    TEXT_BYTES = 1 << 18,
    CACHES_MAX = 80,
    MORE_CACHES_NR = 45,
    LARGE_NR = 3,
    MORE_NR = 5000,
    SIZES_NR = 60,
    CHURN_US = 500,
    CUT_STEP = 37,
    ALIVE_MAX = 7,
    NAME_BYTES = 100,
};

static struct kmem_cache *caches[CACHES_MAX];
static unsigned caches_nr;
static char text[TEXT_BYTES];

static struct kmem_cache *keep(struct kmem_cache *s) {
    CHECK(s != NULL && caches_nr < CACHES_MAX);
    caches[caches_nr++] = s;
    return s;
}

/* nr objects, of which every step-th is kept; 0: none. */
static struct kmem_cache *fill(struct kmem_cache *s, int nr, int step) {
    static _Thread_local void *objs[MORE_NR];
    CHECK(nr <= MORE_NR && kmem_cache_alloc_bulk(s, GFP_KERNEL, (size_t)nr, objs) == nr);
    for (int i = 0; i < nr; i++) {
        if (step == 0 || i % step != 0)
            kmem_cache_free(s, objs[i]);
    }
    return s;
}

static void ctor(void *object) { memset(object, 1, 8); }

/* What destroyed caches leave: an object that is out, and memory that stays of its type. */
static void leave(void) {
    struct kmem_cache *left = kmem_cache_create("left", 96, 0, SLAB_NO_MERGE | SLAB_NOLEAKTRACE, NULL);
    struct kmem_cache *typed = kmem_cache_create("typed", 128, 0, SLAB_TYPESAFE_BY_RCU, NULL);
    CHECK(kmem_cache_alloc(left, GFP_KERNEL) != NULL);
    kmem_cache_destroy(left);
    kmem_cache_destroy(fill(typed, 10, 0));
}

static void make(void) {
    struct kmem_cache_args sheaf = {.sheaf_capacity = 7}, range = {.useroffset = 8, .usersize = 16};
    fill(keep(kmem_cache_create("plain", 200, 0, SLAB_NO_MERGE, NULL)), 3000, 3);
    fill(keep(kmem_cache_create("ctor", 64, 0, 0, ctor)), 100, 1);
    fill(keep(kmem_cache_create("lines", 100, 0, SLAB_HWCACHE_ALIGN | SLAB_NO_MERGE, NULL)), 10, 1);
    fill(keep(kmem_cache_create("rcu", 300, 0, SLAB_TYPESAFE_BY_RCU, NULL)), 500, 2);
    fill(keep(kmem_cache_create("reclaim", 500, 0, SLAB_RECLAIM_ACCOUNT | SLAB_NO_MERGE, NULL)), 400, 0);
    fill(keep(kmem_cache_create("copied", 700, &range, 0)), 40, 1);
    fill(keep(kmem_cache_create("merged", 1000, 0, SLAB_ACCOUNT, NULL)), 20, 1);
    CHECK(kmem_cache_create("merged-too", 1000, 0, SLAB_ACCOUNT, NULL) == caches[caches_nr - 1]);
    fill(keep(kmem_cache_create("sheaf", 48, &sheaf, 0)), 300, 5);
    fill(keep(kmem_cache_create("large", 300000, 0, SLAB_NO_MERGE, NULL)), LARGE_NR, 1);
    keep(kmem_cache_create("empty", 4096, 0, SLAB_NO_MERGE, NULL));
    fill(keep(kmem_cache_create("a-name-that-is-longer-than-its-column", 32, 0, SLAB_NO_MERGE, NULL)), 30, 1);
    leave();
    for (int i = 0; i < MORE_CACHES_NR; i++) {
        char name[16];
        snprintf(name, sizeof(name), "more-%d", i);
        fill(keep(kmem_cache_create(name, 240, 0, SLAB_NO_MERGE, NULL)), i, 1);
    }
    fill(keep(kmem_cache_create("bare", 240, 0, SLAB_CONSISTENCY_CHECKS, NULL)), 44, 1);
    fill(keep(kmem_cache_create("huge", 1100000, 0, 0, NULL)), 1, 1);
    CHECK(vmalloc(100000) != NULL && vmalloc(3 << 20) != NULL && vmalloc(1) != NULL && vmalloc_user(1) != NULL);
    for (unsigned order = 0; order < 9; order++)
        CHECK(alloc_pages(GFP_KERNEL, order) != NULL);
    free_pages(__get_free_pages(GFP_KERNEL, 3), 3);
}

/* --- what it writes itself --- */

struct row {
    char name[64];
    unsigned long active_objs, objs, active_slabs, slabs;
    unsigned size, objs_per_slab;
    int pages;
};

/* The kernel's format, mm/slab_common.c: a row written by printf is the same bytes. */
static bool row_read(const char *line, struct row *r) {
    char again[256];
    if (sscanf(line, "%63s %lu %lu %u %u %d : tunables 0 0 0 : slabdata %lu %lu 0", r->name, &r->active_objs, &r->objs,
               &r->size, &r->objs_per_slab, &r->pages, &r->active_slabs, &r->slabs) != 8)
        return false;
    int len = snprintf(
        again, sizeof(again), "%-17s %6lu %6lu %6u %4u %4d : tunables %4u %4u %4u : slabdata %6lu %6lu %6lu\n", r->name,
        r->active_objs, r->objs, r->size, r->objs_per_slab, r->pages, 0u, 0u, 0u, r->active_slabs, r->slabs, 0ul);
    return strncmp(line, again, (size_t)len) == 0;
}

static const char *const head =
    "slabinfo - version: 2.1\n"
    "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> "
    "<sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n";

static void row_check(const struct row *r, struct kmem_cache *s) {
    struct quarry_kmem_cache_info info;
    quarry_kmem_cache_info_get(s, &info);
    CHECK_MSG(r->active_objs == info.active_objs && r->objs == info.slabs * info.objs_per_slab &&
                  r->size == info.slot_bytes && r->objs_per_slab == info.objs_per_slab &&
                  (unsigned)r->pages == info.slab_bytes / PAGE_SIZE && r->slabs == info.slabs &&
                  r->active_slabs == info.slabs - info.empty,
              "the row of %s is not its counters", r->name);
}

static struct kmem_cache *cache_named(const char *name) {
    for (unsigned i = 0; i < caches_nr; i++) {
        struct quarry_kmem_cache_info info;
        quarry_kmem_cache_info_get(caches[i], &info);
        if (strcmp(info.name, name) == 0)
            return caches[i];
    }
    return NULL;
}

static void slabinfo_check(void) {
    size_t len = quarry_slabinfo(text, sizeof(text));
    unsigned seen = 0, left = 0;
    struct row r;
    CHECK(len == strlen(text) && strncmp(text, head, strlen(head)) == 0);
    for (const char *line = text + strlen(head); *line != '\0'; line = strchr(line, '\n') + 1) {
        CHECK_MSG(row_read(line, &r), "no row: %s", line);
        struct kmem_cache *s = cache_named(r.name);
        if (s != NULL)
            row_check(&r, s);
        seen += s != NULL;
        left += strncmp(r.name, "destroyed-", 10) == 0;
    }
    /* Of the two that were destroyed, the one of SLAB_TYPESAFE_BY_RCU is gone where there are grace periods. */
    CHECK_MSG(seen == caches_nr && (left == 1 || left == 2), "%u of %u caches, %u destroyed ones", seen, caches_nr,
              left);
}

/* The kernel's rows; what they count is in the rows of slabinfo, and three areas were made. */
static void meminfo_check(void) {
    unsigned long reclaimable, slab, also, unreclaimable, areas, slabs_kib = 0, reclaimable_kib = 0;
    char again[256];
    struct row r;
    (void)quarry_slabinfo(text, sizeof(text));
    for (const char *line = text + strlen(head); *line != '\0' && row_read(line, &r); line = strchr(line, '\n') + 1) {
        unsigned long kib = r.slabs * (unsigned)r.pages * (PAGE_SIZE >> 10);
        slabs_kib += kib;
        reclaimable_kib += strcmp(r.name, "reclaim") == 0 ? kib : 0;
    }
    size_t len = quarry_meminfo(text, sizeof(text));
    CHECK(sscanf(text,
                 "KReclaimable: %lu kB\nSlab: %lu kB\nSReclaimable: %lu kB\nSUnreclaim: %lu kB\nVmallocUsed: %lu kB\n",
                 &reclaimable, &slab, &also, &unreclaimable, &areas) == 5);
    (void)snprintf(
        again, sizeof(again),
        "KReclaimable:   %8lu kB\nSlab:           %8lu kB\nSReclaimable:   %8lu kB\nSUnreclaim:     %8lu kB\n"
        "VmallocUsed:    %8lu kB\n",
        reclaimable, slab, also, unreclaimable, areas);
    CHECK_MSG(strcmp(again, text) == 0 && len == strlen(text), "not the kernel's form: %s", text);
    CHECK_MSG(slab == slabs_kib && reclaimable == reclaimable_kib && also == reclaimable && reclaimable > 0 &&
                  unreclaimable == slab - reclaimable,
              "%lu and %lu KiB of slabs, by slabinfo %lu and %lu", slab, reclaimable, slabs_kib, reclaimable_kib);
    CHECK_MSG(areas == (size_t)(100 + (3 << 10) + 8), "%lu KiB of areas", areas);
}

/* Cut at every length: what is there is the beginning of the whole, and ends. */
static void cut_check(void) {
    static char part[1000];
    size_t len = quarry_slabinfo(text, sizeof(text));
    CHECK(quarry_slabinfo(NULL, 0) == len);
    for (size_t cap = 1; cap < sizeof(part) - 1; cap += CUT_STEP) {
        memset(part, 'x', sizeof(part));
        CHECK(quarry_slabinfo(part, cap) == len && strlen(part) == cap - 1 && part[cap] == 'x');
        CHECK(strncmp(part, text, cap - 1) == 0);
    }
}

/* --- what the tool must find --- */

static void infos_print(void) {
    for (unsigned i = 0; i < caches_nr; i++) {
        struct quarry_kmem_cache_info f;
        quarry_kmem_cache_info_get(caches[i], &f);
        dprintf(STDOUT_FILENO,
                "info {\"name\":\"%s\",\"objects\":%zu,\"cached\":%zu,\"slabs\":%zu,\"partial\":%zu,\"object_size\":%u,"
                "\"slab_size\":%u,\"align\":%u,\"aliases\":%u,\"usersize\":%u,\"objs_per_slab\":%u,\"slab_bytes\":%u,"
                "\"flags\":%u}\n",
                f.name, f.active_objs, f.cached_objs, f.slabs, f.partial, f.object_bytes, f.slot_bytes, f.align_bytes,
                f.aliases, f.usersize, f.objs_per_slab, f.slab_bytes, f.flags);
    }
}

static void view_print(const char *name, size_t (*view)(char *text, size_t cap)) {
    size_t len = view(text, sizeof(text));
    CHECK(len < sizeof(text));
    dprintf(STDOUT_FILENO, "view %s\n%s", name, text);
}

static void all_print(void) {
    infos_print();
    view_print("slabinfo", quarry_slabinfo);
    view_print("vmallocinfo", quarry_vmallocinfo);
    view_print("buddyinfo", quarry_buddyinfo);
    view_print("meminfo", quarry_meminfo);
    dprintf(STDOUT_FILENO, "end\n");
}

/* The number in the name says the size, so that a row put together of two caches shows; and how many there are changes,
 * so that the other rows change their places. */
static void *churn(void *unused) {
    struct kmem_cache *alive[ALIVE_MAX];
    for (unsigned n = 0;; n++) {
        unsigned slot = n % ALIVE_MAX;
        char name[48];
        snprintf(name, sizeof(name), "churn-%u-%u", n, n);
        alive[slot] = kmem_cache_create(name, 16 * (n % SIZES_NR + 1), 0, SLAB_NO_MERGE, NULL);
        CHECK(alive[slot] != NULL);
        fill(alive[slot], (int)(n % 20), 0);
        usleep(CHURN_US);
        for (unsigned i = 0; slot == ALIVE_MAX - 1 && i < ALIVE_MAX; i++)
            kmem_cache_destroy(alive[i]);
    }
    return unused;
}

/* One cache more, whose name is wider than its column, by one more each time. */
static void lengthen(void) {
    static char name[NAME_BYTES] = "a-name-wider-than-its-column";
    static struct kmem_cache *last;
    size_t len = strlen(name);
    CHECK(len + 1 < sizeof(name));
    name[len] = 'n';
    kmem_cache_destroy(last);
    last = kmem_cache_create(name, 64, 0, SLAB_NO_MERGE, NULL);
    CHECK(last != NULL && write(STDOUT_FILENO, "longer\n", 7) == 7);
}

int main(int argc, char **argv) {
    char byte;
    pthread_t thread;
    make();
    if (argc == 1) {
        slabinfo_check();
        meminfo_check();
        cut_check();
    }
    CHECK(write(STDOUT_FILENO, "ready\n", 6) == 6);
    if (argc > 1 && strcmp(argv[1], "churn") == 0)
        CHECK(pthread_create(&thread, NULL, churn, NULL) == 0);
    else if (argc == 1)
        all_print();
    while (read(STDIN_FILENO, &byte, 1) > 0) {
        if (byte == 'x')
            (void)execv("/proc/self/exe", argv);
        if (byte == 'l')
            lengthen();
        else
            fill(caches[0], MORE_NR, 1);
    }
    _exit(0);
}
