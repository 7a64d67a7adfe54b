/* SPDX-License-Identifier: MIT */
/* Names of the kernel API that are forms of others, each once with what it promises beyond its model; the programs
 * named after a family have the rest. tests/lint/kernel_names.py wants every name in one of them. */
#include "cases.h"
#include "kernel.h"

#include <errno.h>
#include <limits.h>
#include <linux/cache.h>
#include <linux/dmapool.h>
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/poison.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>
#include <linux/vmalloc.h>
#include <stdlib.h>

struct thing {
    struct list_head link;
    unsigned nr;
    u64 parts[];
};

static void by_type(size_t unused) {
    (void)unused;
    struct thing *t = kmalloc_obj(struct thing), *u = kzalloc_obj(*t, GFP_ATOMIC | __GFP_NOWARN);
    CHECK(t != NULL && ksize(t) >= sizeof(*t) && ksize(t) < 2 * sizeof(*t));
    CHECK(u != NULL && bytes_are(u, 0, ksize(u), 0));
    kfree(t);
    kfree(u);
    u64 *words = kzalloc_objs(u64, 100), *many = kmalloc_objs(*words, opaque_size(SIZE_MAX / 2), __GFP_NOWARN);
    CHECK(words != NULL && bytes_are(words, 0, 100 * sizeof(u64), 0) && many == NULL);
    kfree(words);
    CHECK((words = kmalloc_objs(u64, 3, GFP_KERNEL)) != NULL && ksize(words) == 32);
    kfree(words);
    t = kmalloc_flex(struct thing, parts, 13);
    u = kzalloc_flex(*t, parts, opaque_size(14), GFP_KERNEL);
    CHECK(t != NULL && ksize(t) >= struct_size(t, parts, 13) && bytes_are(u, 0, struct_size(u, parts, 14), 0));
    kfree(t);
    kfree(u);
    CHECK(kmalloc_flex(struct thing, parts, opaque_size(SIZE_MAX / 8), GFP_KERNEL | __GFP_NOWARN) == NULL);
}

static void by_type_large(size_t unused) {
    (void)unused;
    struct thing *t = kvmalloc_obj(struct thing), *u = kvzalloc_obj(*t);
    CHECK(t != NULL && u != NULL && bytes_are(u, 0, sizeof(*u), 0));
    kvfree(t);
    kvfree(u);
    u64 *words = kvmalloc_objs(u64, 1 << 20), *zeros = kvzalloc_objs(u64, 1 << 20, GFP_KERNEL);
    CHECK(is_vmalloc_addr(words) && is_vmalloc_addr(zeros) && bytes_are(zeros, 0, 8 << 20, 0));
    kvfree_atomic(words);
    kvfree(zeros);
    t = kvmalloc_flex(*t, parts, 1 << 20);
    u = kvzalloc_flex(struct thing, parts, 4);
    CHECK(is_vmalloc_addr(t) && u != NULL && bytes_are(u, 0, struct_size_t(struct thing, parts, 4), 0));
    kvfree(t);
    kvfree(u);
}

static void arrays(size_t unused) {
    size_t sum;
    (void)unused;
    CHECK(check_add_overflow((size_t)1, SIZE_MAX, &sum) && check_sub_overflow((size_t)1, (size_t)2, &sum));
    CHECK(check_mul_overflow(SIZE_MAX, (size_t)2, &sum) && !check_mul_overflow((size_t)6, (size_t)7, &sum) &&
          sum == 42);
    CHECK(array_size(3, 4) == 12 && array3_size(3, 4, 5) == 60 && array3_size(SIZE_MAX, 2, 1) == SIZE_MAX);
    const struct thing *t = NULL;
    CHECK(flex_array_size(t, parts, 5) == 40 && flex_array_size(t, parts, SIZE_MAX) == SIZE_MAX);
    CHECK(struct_size(t, parts, SIZE_MAX / 8) == SIZE_MAX && struct_size_t(struct thing, parts, 1) == sizeof(*t) + 8);
    void *p = kvmalloc_array_node(100, 1000, GFP_KERNEL, NUMA_NO_NODE), *q = kvcalloc_node(100, 1000, GFP_KERNEL, 0);
    CHECK(p != NULL && q != NULL && bytes_are(q, 0, 100000, 0));
    CHECK(kvmalloc_array_node(SIZE_MAX / 2, 3, GFP_KERNEL, 0) == NULL);
    CHECK(kvcalloc_node(SIZE_MAX / 2, 3, GFP_KERNEL, 0) == NULL);
    kvfree(p);
    kvfree_atomic(q);
    kvfree_atomic(NULL);
    kvfree_atomic(kmalloc(10, GFP_KERNEL));
}

/* Flags that say nothing to a heap, or where its memory lies, and the names for several: an object as of any other. */
static void flags(size_t unused) {
    static const gfp_t all[] = {GFP_USER,
                                GFP_HIGHUSER,
                                GFP_HIGHUSER_MOVABLE,
                                GFP_KERNEL_ACCOUNT,
                                GFP_KERNEL | __GFP_RECLAIMABLE,
                                GFP_KERNEL | __GFP_WRITE | __GFP_NOLOCKDEP | __GFP_HARDWALL,
                                GFP_KERNEL | __GFP_HIGHMEM | __GFP_MOVABLE,
                                GFP_KERNEL | __GFP_ACCOUNT,
                                __GFP_RECLAIM,
                                __GFP_KSWAPD_RECLAIM};
    bool apart = getenv("QUARRY_HARDEN") == NULL; /* __GFP_RECLAIMABLE has caches of its own */
    (void)unused;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        gfp_t wanted = (gfp_t)opaque_size(all[i]);
        char *p = kmalloc(100, wanted), *q = kzalloc(300000, wanted | __GFP_DIRECT_RECLAIM);
        size_t room = apart && (wanted & __GFP_RECLAIMABLE) != 0 ? 128 : kmalloc_size_roundup(100);
        CHECK(p != NULL && ksize(p) == room && q != NULL && bytes_are(q, 0, 300000, 0));
        kfree(p);
        kfree(q);
        unsigned long page = __get_free_page(all[i] | __GFP_DIRECT_RECLAIM);
        CHECK(page != 0 && (page & ~PAGE_MASK) == 0);
        free_page(page);
    }
    CHECK(GFP_DMA == __GFP_DMA && GFP_DMA32 == __GFP_DMA32 && (GFP_TRANSHUGE & __GFP_DIRECT_RECLAIM) != 0);
    CHECK((__GFP_ZEROTAGS | __GFP_SKIP_ZERO | __GFP_SKIP_KASAN | __GFP_NO_OBJ_EXT) == 0);
    struct page *huge = alloc_pages(GFP_TRANSHUGE, 9);
    CHECK((GFP_TRANSHUGE_LIGHT & __GFP_RECLAIM) == 0 && huge != NULL && compound_order(huge) == 9);
    CHECK((uintptr_t)page_address(huge) % (PAGE_SIZE << 9) == 0);
    __free_pages(huge, 9);
    kfree(kmalloc(100, GFP_KERNEL | __GFP_DMA | __GFP_NOWARN));
    CHECK((GFP_KERNEL & __GFP_RECLAIM) == (__GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM));
    CHECK(gfpflags_allow_spinning(GFP_ATOMIC) && !gfpflags_allow_spinning(__GFP_ZERO));
    CHECK(gfp_has_io_fs(GFP_KERNEL) && !gfp_has_io_fs(GFP_NOFS) && !gfp_has_io_fs(GFP_NOIO));
    CHECK(gfp_nested_mask(GFP_NOFS | __GFP_ZERO) == (GFP_NOFS | __GFP_NORETRY | __GFP_NOMEMALLOC | __GFP_NOWARN));
    CHECK(!gfpflags_allow_blocking(__GFP_KSWAPD_RECLAIM) && gfpflags_allow_blocking(GFP_KERNEL_ACCOUNT));
}

static void limits(size_t unused) {
    (void)unused;
    CHECK(KMALLOC_MIN_SIZE == ARCH_KMALLOC_MINALIGN && 1 << KMALLOC_SHIFT_LOW == KMALLOC_MIN_SIZE);
    CHECK(kmalloc_size_roundup(1) == KMALLOC_MIN_SIZE);
    void *p = kmalloc_nolock(KMALLOC_MAX_CACHE_SIZE, 0, NUMA_NO_NODE);
    CHECK(kmalloc_nolock(KMALLOC_MAX_CACHE_SIZE + 1, 0, NUMA_NO_NODE) == NULL);
    kfree_nolock(p);
    CHECK(kmalloc_size_roundup(KMALLOC_MAX_SIZE) == KMALLOC_MAX_SIZE);
    CHECK(get_order(KMALLOC_MAX_SIZE) == MAX_PAGE_ORDER && KMALLOC_MAX_ORDER == MAX_PAGE_ORDER);
}

static void pages(size_t unused) {
    enum { NR = 5 };
    struct page *array[NR] = {NULL}, *other[NR] = {NULL};
    (void)unused;
    CHECK(alloc_pages_bulk_array(GFP_KERNEL, NR, array) == NR);
    other[2] = array[2];
    CHECK(alloc_pages_bulk_node(GFP_KERNEL, 0, NR, other) == NR && other[2] == array[2]);
    for (int i = 0; i < NR; i++) {
        CHECK(page_address(array[i]) != NULL && (i == 2 || other[i] != array[i]));
        __free_page(array[i]);
        if (i != 2)
            __free_page(other[i]);
    }
    for (int node = NUMA_NO_NODE; node <= 0; node++) {
        void *p = alloc_pages_exact_nid(node, 3 * PAGE_SIZE, GFP_KERNEL);
        CHECK(p != NULL && ((uintptr_t)p & ~PAGE_MASK) == 0);
        CHECK(page_count(virt_to_page((char *)p + 2 * PAGE_SIZE)) == 1);
        free_pages_exact(p, 3 * PAGE_SIZE);
        CHECK(alloc_pages_exact_nid(node, (size_t)8 << 20, GFP_KERNEL | __GFP_NOWARN) == NULL);
    }
    memset(other, 0, sizeof(other));
    other[1] = array[0] = alloc_page(GFP_KERNEL);
    CHECK(alloc_pages_bulk_array_node(GFP_KERNEL, NUMA_NO_NODE, NR, other) == NR && other[1] == array[0]);
    for (int i = 0; i < NR; i++)
        __free_page(other[i]);
    unsigned long dma = __get_dma_pages(GFP_KERNEL | __GFP_NOWARN, 1);
    if (dma != 0) /* with the rights alone */
        free_pages(dma, 1);
}

/* Zeroed, by the pages that are at hand, and of no other orders than the kernel has. */
static void pages_nolock(size_t unused) {
    (void)unused;
    __free_page(alloc_page(GFP_KERNEL));
    struct page *page = alloc_pages_nolock(0, NUMA_NO_NODE, 0), *four = alloc_pages_nolock(__GFP_ACCOUNT, 0, 2);
    CHECK(page != NULL && four != NULL && compound_order(four) == 2);
    CHECK(bytes_are(page_address(page), 0, PAGE_SIZE, 0) && bytes_are(page_address(four), 0, 4 * PAGE_SIZE, 0));
    memset(page_address(page), 1, PAGE_SIZE);
    free_pages_nolock(page, 0);
    free_pages_nolock(four, 2);
    CHECK((page = alloc_pages_nolock(0, NUMA_NO_NODE, 0)) != NULL && bytes_are(page_address(page), 0, PAGE_SIZE, 0));
    free_pages_nolock(page, 0);
    CHECK(alloc_pages_nolock(0, NUMA_NO_NODE, 4) == NULL && alloc_pages_nolock(0, NUMA_NO_NODE, 11) == NULL);
}

static void pools(size_t unused) {
    (void)unused;
    struct kmem_cache *s = kmem_cache_create_usercopy("pooled", 40, 0, SLAB_TEMPORARY, 8, 16, NULL);
    struct quarry_kmem_cache_info info;
    struct mempool pool; /* the tag that kernel code declares; before Linux 6.19 it was another */
    struct mempool_s *before = &pool;
    mempool_t *large;
    CHECK(s != NULL && mempool_init_slab_pool(&pool, 3, s) == 0);
    quarry_kmem_cache_info_get(s, &info);
    CHECK(info.useroffset == 8 && info.usersize == 16 && (info.flags & SLAB_RECLAIM_ACCOUNT) != 0);
    CHECK(info.active_objs == 3);
    mempool_exit(before);
    quarry_kmem_cache_info_get(s, &info);
    CHECK(info.active_objs == 0);
#if TEST_RCU
    kvfree_rcu_barrier_on_cache(s);
#endif
    kmem_cache_destroy(s);
    CHECK((large = mempool_create(1, mempool_kvmalloc, mempool_kvfree, (void *)(uintptr_t)(5 << 20))) != NULL);
    void *p = mempool_alloc(large, GFP_KERNEL);
    CHECK(is_vmalloc_addr(p));
    mempool_free(p, large);
    mempool_destroy(large);
}

/* Flags of kernels that are built without what they are for are 0 there, too. */
static void cache_flags(size_t unused) {
    enum { NOTHING = SLAB_SKIP_KFENCE | SLAB_KASAN | SLAB_DEBUG_OBJECTS };
    (void)unused;
    struct kmem_cache *s = kmem_cache_create("flags", 64, 0, NOTHING | SLAB_FAILSLAB, NULL);
    struct quarry_kmem_cache_info info;
    CHECK(s != NULL && NOTHING == 0);
    quarry_kmem_cache_info_get(s, &info);
    CHECK(info.flags == SLAB_FAILSLAB);
    kmem_cache_destroy(s);
}

static DEFINE_PER_CPU_SHARED_ALIGNED(long, counter);
static DEFINE_PER_CPU(u8, bits);

static void percpu(size_t unused) {
    unsigned cpu, nr = 0;
    (void)unused;
    __this_cpu_write(counter, 5);
    __this_cpu_add(counter, 10);
    __this_cpu_sub(counter, 1);
    __this_cpu_inc(counter);
    __this_cpu_dec(counter);
    raw_cpu_add(counter, 2);
    raw_cpu_inc(counter);
    long sum = 0;
    for_each_online_cpu(cpu) {
        sum += per_cpu(counter, cpu);
        CHECK((uintptr_t)per_cpu_ptr(&counter, cpu) % 64 == 0);
        nr++;
    }
    CHECK_MSG(sum == 17 && nr == num_possible_cpus(), "%ld on %u CPUs", sum, nr);
    CHECK(nr == num_online_cpus() && nr == num_present_cpus());
    for_each_present_cpu(cpu) nr--;
    CHECK(nr == 0);
    preempt_disable();
    CHECK(get_cpu() == smp_processor_id());
    preempt_enable(); /* held still */
    CHECK(raw_smp_processor_id() == smp_processor_id() && raw_cpu_ptr(&bits) == this_cpu_ptr(&bits));
    raw_cpu_write(bits, 0xf0);
    __this_cpu_and(bits, 0x3f);
    __this_cpu_or(bits, 1);
    CHECK(__this_cpu_read(bits) == 0x31 && __this_cpu_xchg(bits, 7) == 0x31);
    CHECK(__this_cpu_cmpxchg(bits, 8, 9) == 7 && __this_cpu_add_return(bits, 250) == 1);
    u8 old = 3;
    CHECK(!this_cpu_try_cmpxchg(bits, &old, 4) && old == 1 && this_cpu_try_cmpxchg(bits, &old, 4) && old == 1);
    CHECK(this_cpu_read(bits) == 4);
    CHECK(!__this_cpu_try_cmpxchg(bits, &old, 5) && old == 4 && __this_cpu_try_cmpxchg(bits, &old, 0x7f));
    raw_cpu_sub(bits, 0xf);
    raw_cpu_and(bits, 0x31);
    raw_cpu_or(bits, 2);
    CHECK(raw_cpu_read(bits) == 0x32 && raw_cpu_add_return(bits, 8) == 0x3a && raw_cpu_xchg(bits, 6) == 0x3a);
    CHECK(raw_cpu_cmpxchg(bits, 6, 7) == 6 && !raw_cpu_try_cmpxchg(bits, &old, 8) && old == 7);
    CHECK(raw_cpu_try_cmpxchg(bits, &old, 4) && raw_cpu_read(bits) == 4);
    CHECK(raw_cpu_inc_return(bits) == 5 && raw_cpu_sub_return(bits, 6) == 255 && raw_cpu_dec_return(bits) == 254);
    put_cpu();
    long *p = alloc_percpu_gfp(long, GFP_KERNEL | __GFP_ZERO);
    CHECK(p != NULL && *per_cpu_ptr(p, 0) == 0);
    free_percpu(p);
}

static void embedded(size_t unused) {
    struct thing t;
    (void)unused;
    CHECK(container_of(&t.nr, struct thing, nr) == &t);
}

/* What tells checkers, or whose caller is to be known: here as without. */
static void told(size_t unused) {
    (void)unused;
    might_alloc(GFP_KERNEL);
    void *p = kmalloc_track_caller(100, GFP_KERNEL), *q = kmalloc_node_track_caller(opaque_size(0), GFP_KERNEL, 0);
    CHECK(p != NULL && ksize(p) == kmalloc_size_roundup(100) && q == ZERO_SIZE_PTR);
    kfree(p);
    CHECK(ERR_CAST(ERR_PTR(-EIO)) == ERR_PTR(-EIO));
}

static int evaluated;
static int counted(int value) {
    evaluated++;
    return value;
}

static void helpers(size_t unused) {
    (void)unused;
    static const struct thing three[3];
    int small = -5, large = 9;
    const u8 narrow = 200;
    CHECK(ARRAY_SIZE(three) == 3 && sizeof(char[ARRAY_SIZE(three)]) == 3);
    CHECK(min(small, large) == -5 && max(small, large) == 9 && min(narrow, 7) == 7 && max(sizeof(three), 1UL) > 1);
    CHECK(min_t(unsigned, small, large) == 9 && max_t(u8, 300, 40) == 44);
    CHECK(clamp(small, 0, large) == 0 && clamp(large, 0, 5) == 5 && clamp_t(int, narrow, 0, 100) == 100);
    CHECK(min(counted(3), counted(2)) == 2 && clamp(counted(3), 1, 5) == 3 && evaluated == 3);
    swap(small, large);
    CHECK(small == 9 && large == -5);
    CHECK(DIV_ROUND_UP(0, 8) == 0 && DIV_ROUND_UP(17, 8) == 3 && round_up(17UL, 16) == 32 &&
          round_down(17UL, 16) == 16);
    CHECK(roundup(17, 6) == 18 && roundup(18, 6) == 18 && rounddown(17, 6) == 12);
    CHECK(round_up((u64)1 << 40 | 1, 4096) == ((u64)1 << 40) + 4096);
    CHECK(ALIGN(17UL, 16) == 32 && ALIGN(32UL, 16) == 32 && ALIGN_DOWN(31UL, 16) == 16);
    CHECK(IS_ALIGNED(32UL, 16) && !IS_ALIGNED(24UL, 16) && IS_ALIGNED((uintptr_t)PTR_ALIGN(&small, 64), 64));
    CHECK((char *)PTR_ALIGN_DOWN(&small, 64) <= (char *)&small && (char *)PTR_ALIGN(&small, 64) >= (char *)&small);
    CHECK(!is_power_of_2(0) && is_power_of_2(64) && !is_power_of_2(65) && ilog2(4095) == 11 &&
          order_base_2(4097) == 13);
    CHECK(roundup_pow_of_two(1) == 1 && roundup_pow_of_two(65) == 128 && rounddown_pow_of_two(127) == 64);
    CHECK(order_base_2(0) == 0 && order_base_2(1) == 0 && roundup_pow_of_two(128) == 128);
    WRITE_ONCE(small, 4);
    CHECK(likely(READ_ONCE(small) == 4) && !unlikely(small != 4) && likely(narrow) == 1);
}

static void sizes_of_structures(size_t unused) {
    struct counted_words {
        int nr;
        short tail;
        long words[] __counted_by(nr);
    };
    struct apart {
        char first;
        char second ____cacheline_aligned;
    };
    static char buffer[64];
    u8 small = 0;
    int whole = 0;
    (void)unused;
    CHECK(sizeof_field(struct counted_words, tail) == 2 && offsetofend(struct counted_words, tail) == 6);
    CHECK(offsetof(struct apart, second) == SMP_CACHE_BYTES && L1_CACHE_BYTES == cache_line_size());
    CHECK(L1_CACHE_ALIGN(65) == 128 && 1 << L1_CACHE_SHIFT == L1_CACHE_BYTES);
    CHECK(!check_shl_overflow(3, 6, &small) && small == 192 && check_shl_overflow(4, 6, &small) && small == 0);
    CHECK(check_shl_overflow(1, 8, &small) && check_shl_overflow(1, -1, &small) && check_shl_overflow(-1, 1, &whole));
    CHECK(!check_shl_overflow(1, 30, &whole) && whole == 1 << 30 && check_shl_overflow(1, 31, &whole));
    CHECK(check_shl_overflow((u64)1 << 32, 0, &whole) && !check_shl_overflow(0u, 31, &whole));
    CHECK(overflows_type(256, u8) && !overflows_type(255, u8) && overflows_type(-1, unsigned) &&
          !overflows_type(-1, int) && overflows_type(1 << 20, small) && !overflows_type(1 << 20, whole));
    memset(buffer, 1, sizeof(buffer));
    memzero_explicit(buffer + 1, sizeof(buffer) - 2);
    CHECK(buffer[0] == 1 && bytes_are(buffer, 1, 63, 0) && buffer[63] == 1);
    CHECK((size_t)1 << KMALLOC_SHIFT_MAX == KMALLOC_MAX_SIZE &&
          (size_t)1 << KMALLOC_SHIFT_HIGH == KMALLOC_MAX_CACHE_SIZE);
    CHECK(PAGE_ALIGN_DOWN(PAGE_SIZE * 3 - 1) == PAGE_SIZE * 2 && ARCH_SLAB_MINALIGN % sizeof(void *) == 0);
}

struct hashed {
    int nr;
    struct hlist_node node;
};

/* As a number of one digit each, in the list's order. */
static int digits_of(struct hlist_head *head) {
    struct hashed *at;
    int digits = 0;
    hlist_for_each_entry_rcu(at, head, node) digits = digits * 10 + at->nr;
    return digits;
}

static void hashed_lists(size_t unused) {
    HLIST_HEAD(head);
    struct hashed e[6];
    (void)unused;
    for (int i = 0; i < 6; i++) {
        e[i].nr = i;
        INIT_HLIST_NODE(&e[i].node);
    }
    hlist_del_init_rcu(&e[1].node); /* on no list */
    hlist_add_head_rcu(&e[1].node, &head);
    hlist_add_behind_rcu(&e[3].node, &e[1].node);
    hlist_add_behind_rcu(&e[2].node, &e[1].node);
    hlist_add_before_rcu(&e[4].node, &e[1].node);
    CHECK_MSG(digits_of(&head) == 4123, "%d", digits_of(&head));
    hlist_replace_rcu(&e[1].node, &e[5].node);
    CHECK(digits_of(&head) == 4523 && hlist_unhashed(&e[1].node) && e[1].node.next == &e[2].node);
    hlist_replace_rcu(&e[3].node, &e[0].node);
    hlist_del_init_rcu(&e[4].node);
    CHECK(digits_of(&head) == 520 && hlist_unhashed(&e[4].node) && e[4].node.next == &e[5].node);
    hlist_del_init_rcu(&e[5].node);
    hlist_del_init_rcu(&e[0].node);
    hlist_del_init_rcu(&e[2].node);
    CHECK(hlist_empty(&head));
}

/* What debugged objects are filled with. */
static void poisoned(size_t unused) {
    (void)unused;
    struct kmem_cache *s = kmem_cache_create("poisoned", 64, 0, SLAB_POISON | SLAB_RED_ZONE, NULL);
    CHECK(s != NULL);
    unsigned char *p = kmem_cache_alloc(s, GFP_KERNEL);
    CHECK(p != NULL && bytes_are(p, 0, 63, POISON_FREE) && bytes_are(p, 63, 64, POISON_END));
    CHECK(bytes_are(p, 64, 72, SLUB_RED_ACTIVE) && POISON_INUSE == 0x5a);
    kmem_cache_free(s, p);
    CHECK(bytes_are(p, 0, 63, POISON_FREE) && bytes_are(p, 64, 72, SLUB_RED_INACTIVE));
    kmem_cache_destroy(s);
}

static const struct test_case table[] = {
    {"by type", by_type, 0, CASE_QUARRY},
    {"by type, large", by_type_large, 0, CASE_QUARRY},
    {"arrays", arrays, 0, CASE_QUARRY},
    {"flags", flags, 0, CASE_QUARRY},
    {"limits", limits, 0, CASE_QUARRY},
    {"pages", pages, 0, CASE_QUARRY},
    {"pages, without lock", pages_nolock, 0, CASE_QUARRY},
    {"pools", pools, 0, CASE_QUARRY},
    {"flags of caches", cache_flags, 0, CASE_QUARRY},
    {"per-CPU variables", percpu, 0, CASE_QUARRY},
    {"embedded", embedded, 0, CASE_QUARRY},
    {"told", told, 0, CASE_QUARRY},
    {"helpers", helpers, 0, CASE_QUARRY},
    {"sizes of structures", sizes_of_structures, 0, CASE_QUARRY},
    {"hashed lists", hashed_lists, 0, CASE_QUARRY},
    {"poisoned", poisoned, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
