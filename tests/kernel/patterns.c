/* SPDX-License-Identifier: MIT */
/*
 * Code as drivers and modules have it, against the kernel's headers alone: a table of objects with reference counts
 * that readers look through under RCU while a writer replaces entries; work queued on lists and moved between them; a
 * ring of pages whose records carry the program's flags, index and list; a device's private part behind its struct;
 * statistics for each CPU; requests out of a mempool over a cache. Each checks that nothing is left when it has cleaned
 * up.
 */
#include "cases.h"
#include "check.h"

#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/kref.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#if TEST_RCU
#include <linux/rculist.h>
#endif
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

/* --- sessions found by number --- */

#if TEST_RCU
enum { BUCKETS = 16, SESSIONS = 200, REPLACED = 20000, READERS = 2 };

struct session {
    struct hlist_node node;
    struct list_head all;
    struct kref ref;
    struct rcu_head rcu;
    u32 id, check;
    char *name;
};

static struct hlist_head table_of_sessions[BUCKETS];
static LIST_HEAD(sessions);
static struct kmem_cache *session_cache;
static atomic_bool ends;
static atomic_long found_nr;

static void session_release(struct kref *ref) {
    struct session *s = container_of(ref, struct session, ref);
    kfree(s->name);
    s->check = 0;
    kfree_rcu(s, rcu);
}

static struct session *session_new(u32 id) {
    struct session *s = kmem_cache_zalloc(session_cache, GFP_KERNEL);
    if (s == NULL)
        return ERR_PTR(-ENOMEM);
    if ((s->name = kstrdup("a session", GFP_KERNEL)) == NULL) {
        kmem_cache_free(session_cache, s);
        return ERR_PTR(-ENOMEM);
    }
    kref_init(&s->ref);
    s->id = id;
    s->check = ~id;
    hlist_add_head_rcu(&s->node, &table_of_sessions[id % BUCKETS]);
    list_add_tail_rcu(&s->all, &sessions);
    return s;
}

static struct session *session_get(u32 id) {
    struct session *s;
    rcu_read_lock();
    hlist_for_each_entry_rcu(s, &table_of_sessions[id % BUCKETS], node) {
        if (s->id == id && kref_get_unless_zero(&s->ref)) {
            rcu_read_unlock();
            return s;
        }
    }
    rcu_read_unlock();
    return NULL;
}

static void *reader(void *unused) {
    for (u32 id = 0; !atomic_load(&ends); id = (id + 7) % SESSIONS) {
        struct session *s = session_get(id);
        if (s != NULL) {
            CHECK(s->check == ~id && strcmp(s->name, "a session") == 0);
            atomic_fetch_add(&found_nr, 1);
            kref_put(&s->ref, session_release);
        }
        size_t nr = 0;
        rcu_read_lock();
        list_for_each_entry_rcu(s, &sessions, all) nr++;
        rcu_read_unlock();
        CHECK(nr >= SESSIONS - 1); /* those that come to the end meanwhile are seen, too */
    }
    return unused;
}

static void table_under_rcu(size_t unused) {
    struct quarry_kmem_cache_info info;
    struct session *s, *after;
    pthread_t readers[READERS];
    (void)unused;
    session_cache = KMEM_CACHE(session, SLAB_HWCACHE_ALIGN | SLAB_NO_MERGE);
    CHECK(session_cache != NULL);
    for (u32 id = 0; id < SESSIONS; id++)
        CHECK(!IS_ERR(session_new(id)));
    for (int i = 0; i < READERS; i++)
        CHECK(pthread_create(&readers[i], NULL, reader, NULL) == 0);
    for (u32 i = 0; i < REPLACED || atomic_load(&found_nr) == 0; i++) {
        s = list_first_or_null_rcu(&sessions, struct session, all);
        CHECK(s != NULL);
        u32 id = s->id;
        hlist_del_rcu(&s->node);
        list_del_rcu(&s->all);
        kref_put(&s->ref, session_release);
        CHECK(!IS_ERR(session_new(id)));
    }
    atomic_store(&ends, true);
    for (int i = 0; i < READERS; i++)
        CHECK(pthread_join(readers[i], NULL) == 0);
    list_for_each_entry_safe(s, after, &sessions, all) {
        hlist_del_rcu(&s->node);
        list_del_rcu(&s->all);
        CHECK(kref_read(&s->ref) == 1 && kref_put(&s->ref, session_release) == 1);
    }
    CHECK(list_empty(&sessions));
    rcu_barrier();
    quarry_kmem_cache_info_get(session_cache, &info);
    CHECK(info.active_objs == 0);
    kmem_cache_destroy(session_cache);
}
#endif

/* --- work on lists --- */

struct work {
    struct list_head link;
    int nr;
};

static int sum_of(struct list_head *head, int *ret_nr) {
    struct work *w;
    int sum = 0;
    *ret_nr = 0;
    list_for_each_entry(w, head, link) {
        sum = sum * 3 + w->nr;
        (*ret_nr)++;
    }
    int back_nr = 0;
    list_for_each_entry_reverse(w, head, link) back_nr++;
    CHECK(back_nr == *ret_nr);
    return sum;
}

static void lists(size_t unused) {
    enum { NR = 10 };
    LIST_HEAD(todo);
    LIST_HEAD(done);
    struct list_head urgent = LIST_HEAD_INIT(urgent), *at, *after;
    struct work *all[NR], *w, *next;
    int nr;
    (void)unused;
    CHECK(list_first_entry_or_null(&todo, struct work, link) == NULL && !list_is_singular(&todo));
    for (int i = 0; i < NR; i++) {
        CHECK((all[i] = kmalloc(sizeof(*w), i % 2 ? GFP_KERNEL : GFP_ATOMIC)) != NULL);
        all[i]->nr = i;
        list_add_tail(&all[i]->link, &todo);
        CHECK(list_is_singular(&todo) == (i == 0));
    }
    CHECK(list_is_first(&all[0]->link, &todo) && list_is_last(&all[NR - 1]->link, &todo));
    list_for_each_entry_safe(w, next, &todo, link) {
        if (w->nr % 3 == 0)
            list_move(&w->link, &urgent); /* 9 6 3 0 */
        else if (w->nr % 3 == 1)
            list_move_tail(&w->link, &done); /* 1 4 7 */
    }
    (void)sum_of(&todo, &nr);
    CHECK(nr == 3 && list_first_entry(&urgent, struct work, link)->nr == 9);
    list_splice_init(&urgent, &todo); /* 9 6 3 0 2 5 8 */
    CHECK(list_empty(&urgent) && list_first_entry(&todo, struct work, link)->nr == 9);
    list_splice_tail_init(&done, &todo); /* and 1 4 7 */
    CHECK(list_empty(&done) && list_last_entry(&todo, struct work, link)->nr == 7);
    (void)sum_of(&todo, &nr);
    CHECK(nr == NR);
    w = all[2];
    nr = 0;
    list_for_each_entry_continue(w, &todo, link) nr++;
    CHECK(nr == 5);
    struct work *replacement = kmemdup(all[5], sizeof(*replacement), GFP_KERNEL);
    CHECK(replacement != NULL);
    list_replace(&all[5]->link, &replacement->link);
    kfree(all[5]);
    list_del_init(&all[4]->link);
    CHECK(list_empty(&all[4]->link));
    kfree(all[4]);
    nr = 0;
    list_for_each_safe(at, after, &todo) {
        list_del(at);
        kfree(list_entry(at, struct work, link));
        nr++;
    }
    CHECK(nr == NR - 1 && list_empty(&todo));
}

struct bucket_entry {
    struct hlist_node node;
    int key;
};

static void buckets(size_t unused) {
    enum { NR = 100, TABLE = 8 };
    struct hlist_head table[TABLE];
    struct bucket_entry *e;
    struct hlist_node *after;
    int nr = 0;
    (void)unused;
    for (int i = 0; i < TABLE; i++)
        INIT_HLIST_HEAD(&table[i]);
    for (int i = 0; i < NR; i++) {
        CHECK((e = kzalloc(sizeof(*e), GFP_KERNEL)) != NULL && hlist_unhashed(&e->node));
        e->key = i;
        hlist_add_head(&e->node, &table[i % TABLE]);
    }
    for (int i = 0; i < TABLE; i++) {
        hlist_for_each_entry_safe(e, after, &table[i], node) {
            CHECK(e->key % TABLE == i);
            if (e->key % 2 == 0) {
                hlist_del_init(&e->node);
                kfree(e);
                nr++;
            }
        }
    }
    for (int i = 0; i < TABLE; i++) {
        while (!hlist_empty(&table[i])) {
            e = hlist_entry(table[i].first, struct bucket_entry, node);
            hlist_del(&e->node);
            kfree(e);
            nr++;
        }
    }
    CHECK(nr == NR);
}

/* --- a ring of pages --- */

enum { RING_PAGES = 32, PAGE_DIRTY = 1 };

static void page_ring(size_t unused) {
    LIST_HEAD(clean);
    LIST_HEAD(dirty);
    struct page *page, *after;
    unsigned long nr = 0;
    (void)unused;
    for (unsigned long i = 0; i < RING_PAGES; i++) {
        CHECK((page = alloc_page(GFP_KERNEL | __GFP_ZERO)) != NULL && page->flags == 0);
        page->index = i;
        set_page_private(page, i * i);
        list_add_tail(&page->lru, &clean);
    }
    list_for_each_entry_safe(page, after, &clean, lru) {
        if (page->index % 4 != 0)
            continue;
        page->flags |= PAGE_DIRTY;
        memset(page_address(page), (int)page->index, PAGE_SIZE);
        get_page(page);
        list_move_tail(&page->lru, &dirty);
    }
    list_for_each_entry_safe(page, after, &dirty, lru) {
        CHECK(page->flags == PAGE_DIRTY && page_private(page) == page->index * page->index && page_count(page) == 2);
        CHECK(virt_to_page((char *)page_address(page) + 100) == page);
        CHECK(((unsigned char *)page_address(page))[PAGE_SIZE - 1] == (unsigned char)page->index);
        list_del(&page->lru);
        put_page(page);
        put_page(page);
        nr++;
    }
    list_for_each_entry_safe(page, after, &clean, lru) {
        list_del(&page->lru);
        __free_page(page);
        nr++;
    }
    CHECK(nr == RING_PAGES);
}

/* --- a device: what belongs to the driver behind the struct, buffers, failure at each point --- */

struct device_stats {
    u64 packets, bytes;
};

struct device {
    struct kref ref;
    struct device_stats __percpu *stats;
    struct kmem_cache *requests;
    mempool_t *pool;
    void **ring;
    char *log;
    int slots_nr;
    u64 slots[];
};

static int devices_freed;

static void device_release(struct kref *ref) {
    struct device *d = container_of(ref, struct device, ref);
    vfree(d->log);
    kvfree(d->ring);
    mempool_destroy(d->pool);
    kmem_cache_destroy(d->requests);
    free_percpu(d->stats);
    kfree(d);
    devices_freed++;
}

static struct device *device_new(int slots_nr, int fail_at) {
    int err = -ENOMEM;
    struct device *d = kzalloc(struct_size(d, slots, (size_t)slots_nr), GFP_KERNEL);
    if (d == NULL || fail_at == 0)
        goto out_device;
    d->slots_nr = slots_nr;
    kref_init(&d->ref);
    d->stats = alloc_percpu(struct device_stats);
    if (d->stats == NULL || fail_at == 1)
        goto out_stats;
    d->requests = kmem_cache_create("device-requests", 200, 0, SLAB_HWCACHE_ALIGN | SLAB_NO_MERGE, NULL);
    if (d->requests == NULL || fail_at == 2)
        goto out_requests;
    d->pool = mempool_create_slab_pool(4, d->requests);
    if (d->pool == NULL || fail_at == 3)
        goto out_pool;
    d->ring = kvmalloc_array(5000, sizeof(*d->ring), GFP_KERNEL | __GFP_ZERO);
    if (d->ring == NULL || fail_at == 4)
        goto out_ring;
    d->log = vzalloc(3 * PAGE_SIZE);
    if (d->log == NULL || fail_at == 5)
        goto out_log;
    return d;
out_log:
    vfree(d->log);
out_ring:
    kvfree(d->ring);
out_pool:
    mempool_destroy(d->pool);
out_requests:
    kmem_cache_destroy(d->requests);
out_stats:
    free_percpu(d->stats);
out_device:
    kfree(d);
    return ERR_PTR(err);
}

static void *traffic(void *arg) {
    struct device *d = arg;
    for (int i = 0; i < 20000; i++) {
        char *request = mempool_alloc(d->pool, i % 3 ? GFP_KERNEL : GFP_ATOMIC);
        if (request == NULL)
            continue;
        memset(request, i, 200);
        this_cpu_inc(d->stats->packets);
        this_cpu_add(d->stats->bytes, 200);
        mempool_free(request, d->pool);
    }
    kref_put(&d->ref, device_release);
    return NULL;
}

static void devices(size_t unused) {
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    (void)unused;
    for (int fail_at = 0; fail_at <= 5; fail_at++) {
        struct device *failed = device_new(10, fail_at);
        CHECK(IS_ERR(failed) && PTR_ERR(failed) == -ENOMEM);
    }
    struct device *d = device_new(100, -1);
    CHECK(!IS_ERR_OR_NULL(d) && d->slots[99] == 0 && d->ring[4999] == NULL && d->log[PAGE_SIZE] == 0);
    CHECK(is_vmalloc_addr(d->log) && !is_vmalloc_addr(d));
    for (int i = 0; i < THREADS; i++) {
        kref_get(&d->ref);
        CHECK(pthread_create(&threads[i], NULL, traffic, d) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    u64 packets = 0, bytes = 0;
    unsigned cpu;
    for_each_possible_cpu(cpu) {
        packets += per_cpu_ptr(d->stats, cpu)->packets;
        bytes += per_cpu_ptr(d->stats, cpu)->bytes;
    }
    CHECK(packets > THREADS * 13000 && packets <= THREADS * 20000 && bytes == packets * 200);
    CHECK(kref_put(&d->ref, device_release) == 1 && devices_freed == 1);
}

/* --- pages to encrypt into, before they are written --- */

/* As a file system does for each write: as many pages at once as there are, the rest by the pool, and statistics that
 * belong together. The other way round when the write is done. */
enum { BOUNCE_PAGES = 16, WRITES = 400, WRITERS = 3 };
static mempool_t bounce_pool;
struct bounced {
    u64 writes, pages;
};
static DEFINE_PER_CPU(struct bounced, bounced);

static void bounce_count(u64 pages_nr) {
    guard(preempt)();
    u64 writes = __this_cpu_read(bounced.writes);
    this_cpu_ptr(&bounced)->pages += pages_nr;
    __this_cpu_write(bounced.writes, writes + 1);
}

static void *writer(void *arg) {
    long me = (long)arg;
    for (int turn = 0; turn < WRITES; turn++) {
        struct page *pages[BOUNCE_PAGES] = {NULL};
        unsigned int nr = 1 + (unsigned int)(turn + me) % BOUNCE_PAGES;
        unsigned int got = (unsigned int)alloc_pages_bulk(GFP_NOWAIT, turn % 2 ? nr : nr / 2, pages);
        if (got < nr)
            CHECK(mempool_alloc_bulk(&bounce_pool, (void **)pages, nr, got) == 0);
        for (unsigned int i = 0; i < nr; i++)
            memset(page_address(pages[i]), (int)(me + i), PAGE_SIZE);
        bounce_count(nr);
        for (unsigned int i = 0; i < nr; i++) {
            const char *at = page_address(pages[i]);
            CHECK(at[0] == (char)(me + i) && at[PAGE_SIZE - 1] == at[0]);
        }
        for (unsigned int i = mempool_free_bulk(&bounce_pool, (void **)pages, nr); i < nr; i++)
            __free_page(pages[i]);
    }
    return NULL;
}

static void bounce_pages(size_t unused) {
    pthread_t threads[WRITERS];
    (void)unused;
    CHECK(mempool_init_page_pool(&bounce_pool, BOUNCE_PAGES, 0) == 0);
    for (long i = 0; i < WRITERS; i++)
        CHECK(pthread_create(&threads[i], NULL, writer, (void *)i) == 0);
    for (int i = 0; i < WRITERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    u64 writes = 0, pages_nr = 0;
    unsigned cpu;
    for_each_present_cpu(cpu) {
        writes += per_cpu(bounced, cpu).writes;
        pages_nr += per_cpu(bounced, cpu).pages;
    }
    CHECK(writes == (u64)WRITERS * WRITES && pages_nr == writes * (BOUNCE_PAGES + 1) / 2);
    CHECK(mempool_is_saturated(&bounce_pool) && bounce_pool.curr_nr == BOUNCE_PAGES);
    mempool_exit(&bounce_pool);
}

static const struct test_case cases[] = {
#if TEST_RCU
    {"table under RCU", table_under_rcu, 0, CASE_QUARRY},
#endif
    {"lists", lists, 0, CASE_QUARRY},
    {"buckets", buckets, 0, CASE_QUARRY},
    {"page ring", page_ring, 0, CASE_QUARRY},
    {"devices", devices, 0, CASE_QUARRY},
    {"bounce pages", bounce_pages, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0])); }
