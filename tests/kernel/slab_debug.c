/* SPDX-License-Identifier: MIT */
/*
 * Caches that are debugged: what holds when nobody does wrong, and how a wrong is put right; each case reads what is
 * said. The reports themselves are the subject of crimes.c.
 */
#include "cases.h"
#include "kernel.h"

#include <linux/mempool.h>
#include <linux/mm.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 56, SAID_BYTES = 1 << 26, ROUNDS = 1500, FZP = SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON };
enum { FZPU = FZP | SLAB_STORE_USER };

/* --- what is said --- */

static int said_fd, stderr_fd;
static char said[SAID_BYTES];

static void listen(void) {
    said_fd = memfd_create("said", 0);
    stderr_fd = dup(STDERR_FILENO);
    CHECK(said_fd >= 0 && stderr_fd >= 0 && dup2(said_fd, STDERR_FILENO) == STDERR_FILENO);
}

/* Since the last listen(). */
static const char *heard(void) {
    CHECK(dup2(stderr_fd, STDERR_FILENO) == STDERR_FILENO);
    ssize_t bytes = pread(said_fd, said, sizeof(said) - 1, 0);
    CHECK(bytes >= 0);
    said[bytes] = '\0';
    CHECK(close(said_fd) == 0 && close(stderr_fd) == 0);
    return said;
}

static unsigned times(const char *text, const char *word) {
    unsigned nr = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word))
        nr++;
    return nr;
}

static struct quarry_kmem_cache_info info_of(struct kmem_cache *s) {
    struct quarry_kmem_cache_info info;
    quarry_kmem_cache_info_get(s, &info);
    return info;
}

static struct kmem_cache *cache_of_flags(const char *name, slab_flags_t flags, void (*ctor)(void *)) {
    struct kmem_cache *s = kmem_cache_create(name, SIZE, 0, flags, ctor);
    CHECK(s != NULL);
    return s;
}

__attribute__((noinline)) static char *taken(struct kmem_cache *s) {
    char *p = opaque(kmem_cache_alloc(s, GFP_KERNEL));
    CHECK(p != NULL);
    return p;
}

/* --- cases --- */

/* Each combination of the letters: objects are whole and apart, and nothing is said. */
static void combinations(size_t unused) {
    (void)unused;
    static const slab_flags_t bits[] = {SLAB_CONSISTENCY_CHECKS, SLAB_RED_ZONE, SLAB_POISON, SLAB_STORE_USER};
    static const unsigned sizes[] = {1, 7, 8, 15, 16, 56, 100, 4096, 70000};
    listen();
    for (unsigned set = 1; set < 16; set++) {
        slab_flags_t flags = 0;
        for (unsigned i = 0; i < 4; i++)
            flags |= (set >> i & 1) != 0 ? bits[i] : 0;
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            void *all[20];
            unsigned align = i % 2 ? 64 : 0;
            struct kmem_cache *s = kmem_cache_create("combined", sizes[i], align, flags, NULL);
            CHECK(s != NULL && !info_of(s).percpu && info_of(s).flags == flags);
            for (int n = 0; n < 20; n++) {
                CHECK((all[n] = kmem_cache_alloc(s, GFP_KERNEL)) != NULL && ksize(all[n]) == sizes[i]);
                CHECK((uintptr_t)all[n] % (align == 0 ? 16 : align) == 0);
                memset(all[n], n, sizes[i]);
            }
            for (int n = 0; n < 20; n++) {
                CHECK(bytes_are(all[n], 0, sizes[i], (unsigned char)n));
                kmem_cache_free(s, all[n]);
            }
            kmem_cache_destroy(s);
        }
    }
    const char *text = heard();
    CHECK_MSG(*text == '\0', "said: %s", text);
}

static unsigned constructed_nr;

static void construct(void *p) {
    memset(p, 'c', SIZE);
    constructed_nr++;
}

/* Objects keep what is in them, so they are not poisoned; red zones they have. */
static void constructor(size_t flags) {
    struct kmem_cache *s = cache_of_flags("constructed", (slab_flags_t)flags, construct);
    char *p = taken(s);
    CHECK(constructed_nr == info_of(s).objs_per_slab);
    CHECK(bytes_are(p, 0, SIZE, 'c'));
    kmem_cache_free(s, p);
    CHECK(bytes_are(p, 0, SIZE, 'c'));
    CHECK(taken(s) == p && bytes_are(p, 0, SIZE, 'c'));
    p[SIZE] = 'x';
    listen();
    kmem_cache_free(s, p);
    CHECK(times(heard(), "Right Redzone overwritten") == 1);
    kmem_cache_free(s, p);
    kmem_cache_destroy(s);
    s = cache_of_flags("constructed", (slab_flags_t)flags, construct);
    CHECK(bytes_are(taken(s), 0, SIZE, 'c'));
}

/* Readers may still look at a free object, so it keeps what is in it. */
static void type_safe(size_t unused) {
    (void)unused;
    struct kmem_cache *s = cache_of_flags("type-safe", FZPU | SLAB_TYPESAFE_BY_RCU, NULL);
    char *p = taken(s);
    memset(p, 't', SIZE);
    kmem_cache_free(s, p);
    CHECK(bytes_are(p, 0, SIZE, 't') && taken(s) == p);
}

/* What was reported is right again, and is not reported twice. */
static void put_right(size_t unused) {
    (void)unused;
    struct kmem_cache *s = cache_of_flags("mended", FZPU, NULL);
    char *p = taken(s);
    p[-1] = p[SIZE + 3] = 'x';
    listen();
    kmem_cache_free(s, p);
    const char *text = heard();
    CHECK(times(text, "BUG ") == 2 && times(text, "FIX mended: Restoring ") == 2 && times(text, " not freed") == 1);
    CHECK(info_of(s).active_objs == 1);
    listen();
    kmem_cache_free(s, p);
    CHECK(*heard() == '\0' && info_of(s).active_objs == 0);
    kmem_cache_destroy(s);
}

/* An object that was written to while it was free is not handed out, and not missed. */
static void held_back(size_t unused) {
    (void)unused;
    void *all[200];
    struct kmem_cache *s = cache_of_flags("held", FZPU, NULL);
    char *p = taken(s);
    kmem_cache_free(s, p);
    p[SIZE - 1] = 'x';
    listen();
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL, 200, all) == 200);
    CHECK(times(heard(), "End Poison overwritten") == 1);
    for (int i = 0; i < 200; i++)
        CHECK(all[i] != p);
    kmem_cache_free_bulk(s, 200, all);
    listen();
    kmem_cache_destroy(s);
    CHECK(*heard() == '\0');
}

static void traced(size_t unused) {
    (void)unused;
    struct kmem_cache *s = cache_of_flags("traced", SLAB_TRACE, NULL);
    listen();
    kmem_cache_free(s, taken(s));
    const char *text = heard();
    CHECK(times(text, "TRACE traced alloc 0x") == 1 && times(text, "TRACE traced free 0x") == 1);
    CHECK(times(text, " taken+0x") == 1 && times(text, " traced+0x") == 2);
    CHECK(times(text, "\nObject   0x") == (SIZE + 15) / 16);
}

static void dump(size_t unused) {
    (void)unused;
    char line[200];
    int local;
    struct kmem_cache *s = cache_of_flags("dumped", FZPU, NULL), *plain = cache_of_flags("plain", SLAB_NO_MERGE, NULL);
    char *p = taken(s);
    listen();
    CHECK(kmem_dump_obj(p + 10));
    const char *text = heard();
    (void)snprintf(line, sizeof(line), " slab dumped start %p pointer offset 10 size %d\n", (void *)p, SIZE);
    CHECK(times(text, line) == 1 && times(text, "    taken+0x") == 1 && times(text, "Free path") == 0);
    kmem_cache_free(s, p);
    listen();
    CHECK(!kmem_dump_obj(p));
    text = heard();
    CHECK(times(text, "    taken+0x") == 1 && times(text, " Free path:\n    dump+0x") == 1);
    p = taken(plain);
    listen();
    CHECK(kmem_dump_obj(p) && !kmem_dump_obj(&local) && !kmem_dump_obj(NULL));
    (void)snprintf(line, sizeof(line), " slab plain start %p pointer offset 0 size 64\n", (void *)p);
    CHECK(strcmp(heard(), line) == 0);
}

/* What has no room is not debugged, and works. */
static void too_large(size_t unused) {
    (void)unused;
    struct kmem_cache *s = kmem_cache_create("large", QUARRY_KMEM_CACHE_MAX_SIZE, 0, FZPU, NULL);
    CHECK(s != NULL);
    char *p = taken(s);
    memset(p, 'x', QUARRY_KMEM_CACHE_MAX_SIZE);
    kmem_cache_free(s, p);
    kmem_cache_destroy(s);
}

static void child_of_fork(size_t unused) {
    (void)unused;
    struct kmem_cache *s = cache_of_flags("forked", FZPU, NULL);
    char *p = taken(s), *q = taken(s);
    kmem_cache_free(s, q);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        listen();
        kmem_cache_free(s, p);
        CHECK(*heard() == '\0');
        listen();
        kmem_cache_free(s, q);
        CHECK(times(heard(), "Object already free") == 1);
        kmem_cache_destroy(s);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    kmem_cache_free(s, p);
    kmem_cache_destroy(s);
}

/* --- one object, freed by several threads at the same time --- */

struct race {
    struct kmem_cache *cache;
    char *object;
    atomic_int round, done; /* spun on, so that all begin at the same moment */
};

static void wait_for(atomic_int *word, int value) {
    for (unsigned spins = 1; atomic_load(word) != value; spins++) {
        if (spins % 4096 == 0)
            (void)sched_yield();
    }
}

static void *racer(void *arg) {
    struct race *race = arg;
    for (int round = 1; round <= ROUNDS; round++) {
        wait_for(&race->round, round);
        kmem_cache_free(race->cache, race->object);
        atomic_store(&race->done, round);
    }
    return NULL;
}

/* One of two threads frees it, and the other is reported; the heap, which ends the program at a second free, sees one.
 */
static void race(size_t damage) {
    pthread_t thread;
    struct race r = {.cache = cache_of_flags("raced", FZP, NULL)};
    listen();
    CHECK(pthread_create(&thread, NULL, racer, &r) == 0);
    for (int round = 1; round <= ROUNDS; round++) {
        r.object = taken(r.cache);
        if (damage)
            memset(r.object + SIZE + 8, round, 8);
        atomic_store(&r.round, round);
        /* The other is told a moment later: from too early for it to too late. */
        for (volatile int i = round % 256; i > 0; i--)
            continue;
        kmem_cache_free(r.cache, r.object);
        wait_for(&r.done, round);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    const char *text = heard();
    CHECK_MSG(times(text, "Object already free") == ROUNDS, "%u reports of %d rounds",
              times(text, "Object already free"), ROUNDS);
    CHECK(damage || times(text, "BUG ") == ROUNDS);
    CHECK(info_of(r.cache).active_objs == 0);
    kmem_cache_destroy(r.cache);
}

/* Reports without end, until the cache's object is said to be gone. */
static void *reporter(void *arg) {
    struct race *race = arg;
    while (atomic_load(&race->done) == 0)
        kmem_cache_free(race->cache, race->object);
    return NULL;
}

/* A child that was made in the middle of a report of another thread makes its own. */
static void fork_in_report(size_t unused) {
    (void)unused;
    struct race r = {.cache = cache_of_flags("reported", FZP, NULL)};
    pthread_t thread;
    int status;
    r.object = taken(r.cache);
    kmem_cache_free(r.cache, r.object);
    listen();
    CHECK(pthread_create(&thread, NULL, reporter, &r) == 0);
    for (int i = 0; i < 50; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            alarm(limit_seconds(5));
            kmem_cache_free(r.cache, r.object);
            _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    atomic_store(&r.done, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(times(heard(), "Object already free") > 0);
}

/* --- by options --- */

/* QUARRY_SLAB_DEBUG=FZ,first*;x,second;U: x is unknown. */
static void names(size_t unused) {
    (void)unused;
    CHECK(info_of(cache_of_flags("first-1", 0, NULL)).flags == (SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE));
    CHECK(info_of(cache_of_flags("second", 0, NULL)).flags == 0);
    struct kmem_cache *third = cache_of_flags("third", 0, NULL),
                      *own = cache_of_flags("own", SLAB_NO_USER_FLAGS | SLAB_NO_MERGE, NULL);
    CHECK(info_of(third).flags == SLAB_STORE_USER && !info_of(third).percpu);
    CHECK(info_of(own).flags == (SLAB_NO_USER_FLAGS | SLAB_NO_MERGE) && info_of(own).percpu);
}

/* QUARRY_SLAB_DEBUG=FZPUO: 56 bytes stay in a page with all there is to add, 4000 do not. */
static void higher_order(size_t unused) {
    (void)unused;
    CHECK(info_of(cache_of_flags("small", 0, NULL)).flags == FZPU);
    struct kmem_cache *s = kmem_cache_create("page", 4000, 0, 0, NULL);
    CHECK(s != NULL && info_of(s).flags == SLAB_CONSISTENCY_CHECKS && info_of(s).slot_bytes == 4016);
}

/* QUARRY_SLAB_DEBUG=A,failing,kmalloc-64 QUARRY_FAILSLAB=2,100,0,5: every second, five times. */
static void failing(size_t unused) {
    (void)unused;
    struct kmem_cache *s = cache_of_flags("failing", 0, NULL), *other = cache_of_flags("other", SLAB_NO_MERGE, NULL);
    unsigned failed = 0;
    listen();
    for (int i = 0; i < 4; i++)
        failed += (unsigned)(kmem_cache_alloc(s, GFP_KERNEL) == NULL) + (kmalloc(opaque_size(60), GFP_ATOMIC) == NULL);
    CHECK(failed == 4);
    CHECK(kmem_cache_alloc(other, GFP_KERNEL) != NULL && kmalloc(opaque_size(30), GFP_KERNEL) != NULL);
    for (int i = 0; i < 2; i++)
        CHECK(kmem_cache_alloc(s, GFP_KERNEL | __GFP_NOFAIL) != NULL && kmalloc(60, GFP_KERNEL | __GFP_NOFAIL) != NULL);
    for (int i = 0; i < 100; i++)
        (void)kmalloc(opaque_size(60), GFP_KERNEL);
    CHECK(times(heard(),
                "FAULT_INJECTION: forcing a failure.\nname failslab, interval 2, probability 100, space 0, times ") ==
          5);
}

/* QUARRY_SLAB_DEBUG=A,quiet,kmalloc-64 QUARRY_FAILSLAB=1,100,0,-1: everything, and with __GFP_NOWARN in silence. */
static void failing_quietly(size_t unused) {
    (void)unused;
    struct kmem_cache *s = cache_of_flags("quiet", 0, NULL);
    const gfp_t once = GFP_KERNEL | __GFP_NORETRY, ways[] = {GFP_KERNEL, once, GFP_ATOMIC, GFP_NOWAIT, __GFP_ZERO};
    void *objs[3];
    listen();
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        gfp_t flags = ways[i] | __GFP_NOWARN;
        CHECK(kmem_cache_alloc(s, flags) == NULL && kmem_cache_alloc_bulk(s, flags, 3, objs) == 0);
        CHECK(kmem_cache_alloc_node(s, flags, 0) == NULL && kmalloc(opaque_size(60), flags) == NULL);
    }
    const char *text = heard();
    CHECK_MSG(*text == '\0', "said: %s", text);
    listen();
    CHECK(kmem_cache_alloc(s, once) == NULL && kmem_cache_alloc(s, GFP_ATOMIC) == NULL);
    CHECK(kmalloc(opaque_size(60), once) == NULL && kmalloc(opaque_size(60), GFP_ATOMIC) == NULL);
    CHECK(times(heard(), "FAULT_INJECTION") == 4);
    kmem_cache_destroy(s);
}

/* Elements of a pool's reserve are nobody's: who writes to one, at its byte `at`, is told of when it is taken out, each
 * time anew. of: where the bytes of an element are. */
static void kept_is_poison(mempool_t *pool, size_t size, size_t at, unsigned char *(*of)(void *element)) {
    char line[200];
    CHECK(pool != NULL);
    listen();
    void *element = mempool_alloc_preallocated(pool);
    unsigned char *p = of(element);
    mempool_free(element, pool);
    CHECK(mempool_alloc_preallocated(pool) == element && *heard() == '\0');
    mempool_free(element, pool);
    unsigned char was = p[at];
    p[at] = 0x78;
    listen();
    CHECK(mempool_alloc_preallocated(pool) == element);
    (void)snprintf(line, sizeof(line), "BUG: mempool element poison mismatch\nMempool %p size %zu\n nr=0 @ %p: %s0x",
                   (void *)pool, size, (void *)p, at > 8 ? "... " : "");
    size_t head = strlen(line);
    const char *text = heard();
    CHECK_MSG(strncmp(text, line, head) == 0, "said: %s", text);
    CHECK_MSG(strstr(text + head, at == 0 ? "78 6b 6b 6b 6b 6b 6b 6b ...\nCPU: " : "6b 78 a5 \nCPU: ") != NULL,
              "said: %s", text);
    CHECK(times(text, "BUG") == 1 && times(text, "kept_is_poison+0x") == 1 && p[at] == 0x78 && was == 0x6b);
    listen();
    mempool_free(element, pool);
    CHECK(mempool_alloc_preallocated(pool) == element);
    CHECK(*heard() == '\0');
    mempool_free(element, pool);
    p[at] = 0x78;
    listen();
    mempool_destroy(pool);
    CHECK(times(heard(), "poison mismatch") == 1);
}

static unsigned char *object_bytes(void *object) { return object; }
static unsigned char *pages_bytes(void *page) { return page_address(page); }

static void reserve(size_t at) {
    struct kmem_cache *s = cache_of_flags("pooled", SLAB_POISON, NULL);
    kept_is_poison(mempool_create_slab_pool(1, s), SIZE, at, object_bytes);
    kmem_cache_destroy(s);
}

/* QUARRY_SLAB_DEBUG=P;Z,third: pages have no cache, so that what holds for all of them holds for pages. */
static void reserve_of_pages(size_t unused) {
    (void)unused;
    kept_is_poison(mempool_create_page_pool(1, 0), PAGE_SIZE, 0, pages_bytes);
    kept_is_poison(mempool_create_page_pool(1, 2), PAGE_SIZE << 2, (PAGE_SIZE << 2) - 2, pages_bytes);
}

/* QUARRY_SLAB_DEBUG=Z;P,third */
static void reserve_of_plain_pages(size_t unused) {
    (void)unused;
    mempool_t *pool = mempool_create_page_pool(1, 1);
    void *element = mempool_alloc_preallocated(pool);
    memset(pages_bytes(element), 0x78, PAGE_SIZE << 1);
    mempool_free(element, pool);
    listen();
    CHECK(mempool_alloc_preallocated(pool) == element && *heard() == '\0');
    CHECK(pages_bytes(element)[0] == 0x78 && pages_bytes(element)[(PAGE_SIZE << 1) - 1] == 0x78);
    mempool_free(element, pool);
    mempool_destroy(pool);
}

static const struct test_case table[] = {
    {"combinations", combinations, 0, CASE_QUARRY},
    {"constructor", constructor, FZPU, CASE_QUARRY},
    {"constructor, type-safe", constructor, FZPU | SLAB_TYPESAFE_BY_RCU, CASE_QUARRY},
    {"type-safe", type_safe, 0, CASE_QUARRY},
    {"put right", put_right, 0, CASE_QUARRY},
    {"held back", held_back, 0, CASE_QUARRY},
    {"traced", traced, 0, CASE_QUARRY},
    {"dump", dump, 0, CASE_QUARRY},
    {"too large", too_large, 0, CASE_QUARRY},
    {"child of fork", child_of_fork, 0, CASE_QUARRY},
    {"reserve", reserve, 0, CASE_QUARRY},
    {"reserve, near the end", reserve, SIZE - 2, CASE_QUARRY},
    {"race", race, 0, CASE_QUARRY},
    {"race, damaged", race, 1, CASE_QUARRY},
    {"fork in report", fork_in_report, 0, CASE_QUARRY},
};

/* What takes options of its own. */
static const struct test_case by_option[] = {
    {"names", names, 0, CASE_QUARRY},
    {"higher order", higher_order, 0, CASE_QUARRY},
    {"failing", failing, 0, CASE_QUARRY},
    {"failing quietly", failing_quietly, 0, CASE_QUARRY},
    {"reserve of pages", reserve_of_pages, 0, CASE_QUARRY},
    {"reserve of plain pages", reserve_of_plain_pages, 0, CASE_QUARRY},
};

int main(int argc, char **argv) {
    for (size_t i = 0; argc == 2 && i < sizeof(by_option) / sizeof(by_option[0]); i++) {
        if (strcmp(argv[1], by_option[i].name) == 0) {
            by_option[i].run(0);
            return 0;
        }
    }
    return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0]));
}
