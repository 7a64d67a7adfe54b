/* SPDX-License-Identifier: MIT */
/*
 * A network driver's memory, end to end: heads of packets out of a cache, a handful at a time into a place of each
 * CPU's and back in bulk; small packets' bytes as fragments of pages, larger ones' of kmalloc, whose whole room is
 * used; the rest in pages with references. Interfaces receive by GFP_ATOMIC, and ask for what was lacking where they
 * may wait; packets are cloned, handed to other threads, looked at byte by byte there, and freed by them.
 */
#include "kernel.h"

#include <linux/cache.h>
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <pthread.h>
#include <quarry/quarry.h>

enum {
    INTERFACES = 3,
    PACKETS = 20000,
    NAPI_HEADS = 64, /* of each CPU's place */
    NAPI_BULK = 16,
    COPY_BREAK = 1024, /* larger ones are no fragments */
    PAGED_FROM = 3000, /* what is behind lies in pages */
    FRAGS_MAX = 3
};

/* At the end of a packet's bytes, and of all its clones. */
struct shared {
    int refs;
    unsigned frags_nr;
    struct {
        struct page *page;
        unsigned len;
    } frags[FRAGS_MAX];
};

struct packet {
    struct packet *next;
    unsigned char *data, *end; /* end: the struct shared */
    unsigned len, seed;
    bool is_fragment;
    char cb[48];
};

struct napi {
    unsigned nr;
    void *heads[NAPI_HEADS];
    struct page_frag_cache frags;
};

#define DATA_ALIGN(size) ALIGN((size_t)(size), SMP_CACHE_BYTES)
#define WITH_SHARED(size) (DATA_ALIGN(size) + DATA_ALIGN(sizeof(struct shared)))

static struct kmem_cache *packet_cache;
static DEFINE_PER_CPU_ALIGNED(struct napi, napis);

/* --- heads --- */

static struct packet *head_alloc(void) {
    struct napi *napi = &get_cpu_var(napis);
    if (napi->nr == 0)
        napi->nr = (unsigned)kmem_cache_alloc_bulk(packet_cache, GFP_ATOMIC | __GFP_NOWARN, NAPI_BULK, napi->heads);
    struct packet *p = napi->nr == 0 ? NULL : napi->heads[--napi->nr];
    put_cpu_var(napis);
    return p;
}

static void head_free(struct packet *p) {
    struct napi *napi = &get_cpu_var(napis);
    napi->heads[napi->nr++] = p;
    if (napi->nr == NAPI_HEADS) {
        kmem_cache_free_bulk(packet_cache, NAPI_HEADS / 2, napi->heads + NAPI_HEADS / 2);
        napi->nr = NAPI_HEADS / 2;
    }
    put_cpu_var(napis);
}

/* --- bytes --- */

static unsigned char *fragment_alloc(size_t size) {
    struct napi *napi = get_cpu_ptr(&napis);
    unsigned char *p = page_frag_alloc_align(&napi->frags, (unsigned)size, GFP_ATOMIC | __GFP_NOWARN, SMP_CACHE_BYTES);
    put_cpu_ptr(&napis);
    CHECK((uintptr_t)p % SMP_CACHE_BYTES == 0);
    return p;
}

/* What kmalloc has anyway is the packet's. */
static unsigned char *room_alloc(size_t *size) {
    *size = kmalloc_size_roundup(*size);
    unsigned char *p = kmalloc_node_track_caller(*size, GFP_ATOMIC | __GFP_NOWARN, NUMA_NO_NODE);
    CHECK(p == NULL || ksize(p) >= *size);
    return p;
}

static void bytes_free(struct packet *p) {
    struct shared *shared = (struct shared *)(void *)p->end;
    if (__atomic_sub_fetch(&shared->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    for (unsigned i = 0; i < shared->frags_nr; i++)
        put_page(shared->frags[i].page);
    if (p->is_fragment)
        page_frag_free(p->data);
    else
        kfree(p->data);
}

static void packet_free(struct packet *p) {
    bytes_free(p);
    head_free(p);
}

static bool bytes_alloc(struct packet *p, unsigned linear) {
    size_t size = WITH_SHARED(linear);
    p->is_fragment = size <= COPY_BREAK;
    p->data = p->is_fragment ? fragment_alloc(size) : room_alloc(&size);
    if (p->data == NULL)
        return false;
    p->end = p->data + size - DATA_ALIGN(sizeof(struct shared));
    struct shared *shared = (struct shared *)(void *)p->end;
    memset(shared, 0, sizeof(*shared));
    shared->refs = 1;
    CHECK(p->data + linear <= p->end);
    return true;
}

/* --- packets --- */

static unsigned char byte_of(unsigned seed, unsigned i) { return (unsigned char)(seed * 31 + i * 7); }

static bool pages_fill(struct packet *p, unsigned from) {
    struct shared *shared = (struct shared *)(void *)p->end;
    while (from < p->len) {
        struct page *page = alloc_page(GFP_ATOMIC | __GFP_NOWARN);
        if (page == NULL)
            return false;
        unsigned len = (unsigned)min((unsigned long)(p->len - from), PAGE_SIZE);
        for (unsigned i = 0; i < len; i++)
            ((unsigned char *)page_address(page))[i] = byte_of(p->seed, from + i);
        shared->frags[shared->frags_nr].page = page;
        shared->frags[shared->frags_nr++].len = len;
        from += len;
    }
    return true;
}

/* NULL: something was not at hand. */
static struct packet *packet_receive(unsigned len, unsigned seed) {
    struct packet *p = head_alloc();
    if (p == NULL)
        return NULL;
    unsigned linear = min(len, (unsigned)PAGED_FROM);
    memset(p, 0, sizeof(*p));
    p->len = len;
    p->seed = seed;
    if (!bytes_alloc(p, linear)) {
        head_free(p);
        return NULL;
    }
    for (unsigned i = 0; i < linear; i++)
        p->data[i] = byte_of(seed, i);
    if (pages_fill(p, linear))
        return p;
    packet_free(p);
    return NULL;
}

static struct packet *packet_clone(const struct packet *p) {
    struct packet *clone = head_alloc();
    if (clone == NULL)
        return NULL;
    *clone = *p;
    (void)__atomic_add_fetch(&((struct shared *)(void *)p->end)->refs, 1, __ATOMIC_RELAXED);
    return clone;
}

static void packet_check(const struct packet *p) {
    const struct shared *shared = (const struct shared *)(const void *)p->end;
    unsigned at = min(p->len, (unsigned)PAGED_FROM);
    for (unsigned i = 0; i < at; i++)
        CHECK_MSG(p->data[i] == byte_of(p->seed, i), "byte %u of packet %u", i, p->seed);
    for (unsigned f = 0; f < shared->frags_nr; f++) {
        const unsigned char *bytes = page_address(shared->frags[f].page);
        for (unsigned i = 0; i < shared->frags[f].len; i++, at++)
            CHECK_MSG(bytes[i] == byte_of(p->seed, at), "byte %u of packet %u, in pages", at, p->seed);
    }
    CHECK(at == p->len);
}

/* --- interfaces --- */

static struct queue {
    pthread_mutex_t lock;
    struct packet *packets;
} queues[INTERFACES];
static unsigned long received, cloned, refilled;

static void queue_put(struct queue *q, struct packet *p) {
    pthread_mutex_lock(&q->lock);
    p->next = q->packets;
    q->packets = p;
    pthread_mutex_unlock(&q->lock);
}

static void queue_drain(struct queue *q) {
    pthread_mutex_lock(&q->lock);
    struct packet *p = q->packets, *next;
    q->packets = NULL;
    pthread_mutex_unlock(&q->lock);
    for (; p != NULL; p = next) {
        next = p->next;
        packet_check(p);
        packet_free(p);
    }
}

/* The work a driver has done where it may wait. */
static void refill(void) {
    void *heads[NAPI_BULK];
    struct page *page = alloc_pages(GFP_KERNEL, 3);
    CHECK(kmem_cache_alloc_bulk(packet_cache, GFP_KERNEL, NAPI_BULK, heads) == NAPI_BULK && page != NULL);
    kmem_cache_free_bulk(packet_cache, NAPI_BULK, heads);
    __free_pages(page, 3);
    kfree(kmalloc(PAGED_FROM * 2, GFP_KERNEL));
    (void)__atomic_add_fetch(&refilled, 1, __ATOMIC_RELAXED);
}

static void *interface_run(void *arg) {
    static const unsigned lens[] = {60, 1500, 64, 200, 576, 9000, 90, 3001, 2999, 1};
    size_t me = (size_t)(uintptr_t)arg;
    for (unsigned i = 0; i < PACKETS; i++) {
        unsigned len = lens[(i + me) % ARRAY_SIZE(lens)];
        struct packet *p;
        while ((p = packet_receive(len, i * INTERFACES + (unsigned)me)) == NULL)
            refill();
        struct packet *clone = i % 3 == 0 ? packet_clone(p) : NULL;
        if (clone != NULL) {
            (void)__atomic_add_fetch(&cloned, 1, __ATOMIC_RELAXED);
            queue_put(&queues[(me + 2) % INTERFACES], clone);
        }
        queue_put(&queues[(me + 1) % INTERFACES], p);
        (void)__atomic_add_fetch(&received, 1, __ATOMIC_RELAXED);
        if (i % 16 == 0)
            queue_drain(&queues[me]);
    }
    return NULL;
}

static void napi_end(struct napi *napi) {
    kmem_cache_free_bulk(packet_cache, napi->nr, napi->heads);
    page_frag_cache_drain(&napi->frags);
}

int main(void) {
    pthread_t threads[INTERFACES];
    struct quarry_kmem_cache_info info;
    uint64_t pages = 1;
    unsigned cpu;
    packet_cache = kmem_cache_create_usercopy("packet", sizeof(struct packet), 0, SLAB_HWCACHE_ALIGN | SLAB_PANIC,
                                              offsetof(struct packet, cb), sizeof_field(struct packet, cb), NULL);
    for (int i = 0; i < INTERFACES; i++)
        CHECK(pthread_mutex_init(&queues[i].lock, NULL) == 0);
    for (size_t i = 0; i < INTERFACES; i++)
        CHECK(pthread_create(&threads[i], NULL, interface_run, (void *)(uintptr_t)i) == 0);
    for (int i = 0; i < INTERFACES; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < INTERFACES; i++)
        queue_drain(&queues[i]);
    CHECK(received == (unsigned long)INTERFACES * PACKETS && cloned > 0);
    for_each_possible_cpu(cpu) napi_end(per_cpu_ptr(&napis, cpu));
    quarry_kmem_cache_info_get(packet_cache, &info);
    CHECK(info.active_objs == 0 && info.usersize == 48);
    CHECK(quarry_stat("pages_live_bytes", &pages) == 0);
    CHECK_MSG(pages == 0, "%lu bytes of pages are left", (unsigned long)pages);
    kmem_cache_destroy(packet_cache);
    return 0;
}
