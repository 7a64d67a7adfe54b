/* SPDX-License-Identifier: MIT */
/* Slabs from one thread: every object is out once or free once, misuse is found exactly, empty slabs go back, and
 * memory purged inside a slab reads as zeros. */
#include "rt/context.h"
#include "rt/usage.h"
#include "slab/class.h"
#include "unit/alone.h"
#include "unit/core.h"

#include <string.h>
#include <sys/mman.h>

enum { OBJS_MAX = 20000, BATCH = 128 };

static void *out[OBJS_MAX];
static unsigned out_nr;
static u64 seed = 99;

static void stamp(void *obj, unsigned cls) {
    memset(obj, (int)((uintptr_t)obj >> 4) & 0xff, MIN((size_t)slab_geometry[cls].size_bytes, (size_t)64));
}
static void expect_stamp(const void *obj, unsigned cls) {
    const u8 *bytes = obj;
    for (size_t i = 0; i < MIN((size_t)slab_geometry[cls].size_bytes, (size_t)64); i++)
        cr_assert_eq(bytes[i], (u8)((uintptr_t)obj >> 4), "object %p was written by another", obj);
}

/* Takes up to want objects behind those in out; they must be free, aligned and ascending from the top of the stack. */
static unsigned take(unsigned cls, unsigned want) {
    void *stack[BATCH];
    unsigned got = slab_take(cls, 0, want, stack + BATCH, NULL);
    size_t size = slab_geometry[cls].size_bytes;
    for (unsigned i = 0; i < got; i++) {
        void *obj = stack[BATCH - 1 - i];
        cr_assert_eq((uintptr_t)obj & ((size & -size) - 1), 0u, "object of %zu at %p", size, obj);
        cr_assert_eq(page_map_get(obj) % PAGE_MAP_CLASSES, cls);
        cr_assert_eq((int)slab_locate(obj).where, (int)SLAB_WHERE_LIVE_OR_CACHED);
        out[out_nr++] = obj;
    }
    return got;
}

static struct slab_class_stats stats(unsigned cls) {
    struct slab_class_stats st;
    slab_class_stats_get(cls, &st);
    return st;
}

static void give_all(void) {
    slab_give(out, out_nr);
    out_nr = 0;
}

/* How many of the pages wholly between two addresses are mapped, if only to be read as zeros. */
static unsigned pages_mapped(const void *from, const void *to, unsigned *ret_all) {
    size_t page = sys_page_bytes();
    char *start = (char *)round_up((uintptr_t)from, page), *end = (char *)round_down((uintptr_t)to, page);
    unsigned mapped = 0;
    *ret_all = 0;
    for (unsigned char there; start < end; start += page, ++*ret_all) {
        cr_assert_eq(mincore(start, page, &there), 0);
        mapped += there & 1;
    }
    return mapped;
}

Test(slab, bitmaps_are_not_looked_at_before_something_comes_back, .init = core_start_slabs) {
    enum { SLABS = 1024 };
    const unsigned cls = slab_class_for(16);
    const struct slab_geometry *g = slab_geometry_of(cls);
    uintptr_t low = UINTPTR_MAX, high = 0;
    cr_assert_neq(g->bitmap_shift, 3, "a bitmap of its own");
    cr_assert_eq(take(cls, 1), 1u); /* the records of the address space come between the first bitmap and the others */
    for (unsigned objs = 0, got; objs < SLABS * g->nobj; objs += got) {
        void *stack[BATCH];
        got = slab_take(cls, 0, BATCH, stack + BATCH, NULL);
        cr_assert_gt(got, 0u);
        char *base;
        uintptr_t bitmap = (uintptr_t)slab_bitmap(slab_of(stack[BATCH - 1], &base), g);
        if (slab_of(stack[BATCH - 1], &base) == slab_of(out[0], &base))
            continue;
        low = MIN(low, bitmap);
        high = MAX(high, bitmap);
    }
    unsigned all;
    cr_expect_eq(pages_mapped((void *)low, (void *)high, &all), 0u, "of %u", all);
    cr_assert_gt(all, 0u);
}

/* The next objects of a class that were never taken, as many as a slab has, untouched: pages there of all. */
static unsigned carved_mapped(unsigned cls, unsigned *ret_all) {
    void *stack[BATCH];
    unsigned nobj = slab_geometry[cls].nobj;
    cr_assert_leq(nobj, BATCH);
    cr_assert_eq(slab_take(cls, 0, nobj, stack + BATCH, NULL), nobj);
    char *first = stack[BATCH - 1];
    return pages_mapped(first, first + (size_t)nobj * slab_geometry[cls].size_bytes, ret_all);
}

static void slabs_take(unsigned cls, size_t bytes) {
    void *stack[BATCH];
    while (stats(cls).slabs * slab_geometry[cls].granules * GRANULE_BYTES < bytes)
        cr_assert_neq(slab_take(cls, 0, slab_geometry[cls].nobj, stack + BATCH, NULL), 0u);
}

/* Not before Linux 5.14, nor by qemu-user, which says that it did. */
static bool kernel_brings(void) {
    enum { PAGES = 4 };
    size_t bytes = PAGES * sys_page_bytes();
    unsigned all;
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(p, MAP_FAILED);
    bool brings = sys_vm_populate(p, bytes) == 0 && pages_mapped(p, p + bytes, &all) == PAGES;
    (void)munmap(p, bytes);
    return brings;
}

/* A sixteenth of what the class has, and no more than 64 KiB, which a slab of the second class is larger than. */
Test(slab, a_class_that_grows_has_its_memory_brought, .init = core_start_slabs) {
    const unsigned cls = slab_class_for(1024);
    unsigned all;
    if (sys_page_bytes() != 4 * KIB || !kernel_brings())
        cr_skip("for pages of 4 KiB, and kernels that bring them");
    cr_expect_eq(carved_mapped(cls, &all), 0u, "of the first slab");
    slabs_take(cls, 448 * KIB);
    cr_expect_eq(carved_mapped(cls, &all), 512 * KIB / 16 / (4 * KIB));
    slabs_take(cls, 4 * MIB);
    cr_expect_eq(carved_mapped(cls, &all), 64 * KIB / (4 * KIB), "of %u", all);
    const unsigned larger = slab_class_for(1792);
    cr_assert_gt(slab_geometry[larger].granules * GRANULE_BYTES, 64 * KIB);
    slabs_take(larger, 4 * MIB);
    cr_expect_eq(carved_mapped(larger, &all), 64 * KIB / (4 * KIB), "of %u", all);
}

/* Its page may never be written. */
Test(slab, memory_of_objects_of_a_page_is_left_alone, .init = core_start_slabs) {
    const unsigned cls = slab_class_for(4096);
    unsigned all;
    slabs_take(cls, 4 * MIB);
    cr_expect_eq(carved_mapped(cls, &all), 0u);
    cr_assert_gt(all, 0u);
}

Test(slab, objects_are_conserved, .init = core_start_slabs) {
    static const unsigned sizes[] = {16, 48, 64, 112, 640, 1024, 2048, 9000, 40000};
    for (size_t i = 0; i < ARRAY_NR(sizes); i++) {
        unsigned cls = slab_class_for(sizes[i]);
        u64 taken = 0;
        out_nr = 0;
        for (int round = 0; round < 3000; round++) {
            u64 r = alone_random(&seed);
            unsigned want = 1 + (unsigned)(r % BATCH);
            if (r / 256 % 2 == 0 && out_nr + want <= 2000 && (out_nr + want) * (u64)sizes[i] <= 16 * MIB) {
                unsigned from = out_nr;
                cr_assert_eq(take(cls, want), want);
                for (unsigned k = from; k < out_nr; k++)
                    stamp(out[k], cls);
                taken += want;
                continue;
            }
            /* Any of those that are out, in any order. */
            for (want = MIN(want, out_nr); want > 0; want--) {
                unsigned k = (unsigned)(alone_random(&seed) % out_nr);
                expect_stamp(out[k], cls);
                slab_give(&out[k], 1);
                out[k] = out[--out_nr];
            }
            cr_assert_eq(stats(cls).out_objs, out_nr);
        }
        cr_assert_gt(taken, 1000u);
        for (unsigned k = 0; k < out_nr; k++)
            expect_stamp(out[k], cls);
        give_all();
        cr_assert_eq(stats(cls).out_objs, 0u);
        slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO);
        cr_assert_eq(stats(cls).slabs, 0u, "class %u keeps %lu slabs", sizes[i], stats(cls).slabs);
    }
    struct page_stats pages;
    page_stats_get(&pages);
    cr_assert_eq(pages.run_used_bytes, 0u);
    cr_assert_eq(atomic_load(&rt_usage_out_bytes), 0);
}

Test(slab, a_batch_of_one_slab_ascends, .init = core_start_slabs) {
    unsigned cls = slab_class_for(64);
    take(cls, 100);
    /* take() walks down from top[-1]: what slab_take wrote first is the lowest. */
    for (unsigned i = 1; i < out_nr; i++)
        cr_assert_eq((char *)out[i] - (char *)out[i - 1], 64);
}

/* Fresh objects are taken that way, and used ones. */
Test(slab, neighbours_in_a_batch_share_no_cache_line, .init = core_start_slabs) {
    const unsigned sizes[] = {16, 32, 48};
    for (unsigned i = 0; i < ARRAY_NR(sizes); i++) {
        for (unsigned used = 0; used < 2; used++) {
            unsigned cls = slab_class_for(sizes[i]), same_line = 0;
            take(cls, 128);
            for (unsigned k = 1; k < out_nr; k++)
                same_line += (uintptr_t)out[k] / CACHE_LINE == (uintptr_t)out[k - 1] / CACHE_LINE;
            cr_expect_eq(same_line, 0u, "%u of %u neighbours of %u bytes", same_line, out_nr, sizes[i]);
            give_all();
        }
    }
}

Test(slab, a_batch_goes_to_the_slabs_it_came_from, .init = core_start_slabs) {
    for (unsigned size = 16; size <= 4096; size *= 2) {
        while (take(slab_class_for(size), 16) < 16)
            continue;
    }
    for (unsigned i = out_nr; i > 1; i--) {
        unsigned k = (unsigned)(alone_random(&seed) % i);
        void *swapped = out[i - 1];
        out[i - 1] = out[k];
        out[k] = swapped;
    }
    give_all();
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++)
        cr_assert_eq(stats(cls).out_objs, 0u);
}

Test(slab, fresh_objects_read_as_zeros_and_say_so, .init = core_start_slabs) {
    unsigned cls = slab_class_for(1024), nobj = slab_geometry[cls].nobj;
    void *stack[BATCH];
    bool zero = false;
    cr_assert_eq(slab_take(cls, 0, nobj, stack + BATCH, &zero), nobj);
    cr_assert(zero);
    for (unsigned i = 1; i <= nobj; i++) {
        for (size_t b = 0; b < 1024; b++)
            cr_assert_eq(((char *)stack[BATCH - i])[b], 0);
        memset(stack[BATCH - i], 0xee, 1024);
    }
    slab_give(stack + BATCH - nobj, nobj);
    cr_assert_eq(slab_take(cls, 0, 1, stack + BATCH, &zero), 1u);
    cr_assert_not(zero);
    slab_give(stack + BATCH - 1, 1);
    /* Also when the slab went back to the page tier meanwhile and the memory did not. */
    slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO);
    cr_assert_eq(slab_take(cls, 0, 1, stack + BATCH, &zero), 1u);
    cr_assert(!zero || ((char *)stack[BATCH - 1])[0] == 0);
}

/* Objects of 32 bytes have a bitmap of their own: 512 of them in a granule. */
Test(slab, used_objects_come_before_new_ones, .init = core_start_slabs) {
    unsigned cls = slab_class_for(32);
    take(cls, 100);
    void *lowest = out[0], *next_new = (char *)out[99] + 32;
    slab_give(out, 40);
    cr_assert_eq(take(cls, 50), 50u);
    cr_expect_eq(out[100], lowest);
    cr_expect_eq(out[140], next_new, "%p, not %p", out[140], next_new);
}

/* With a bitmap of its own, and with one word in the descriptor. */
Test(slab, new_objects_read_as_zeros_beside_used_ones, .init = core_start_slabs) {
    static const unsigned sizes[] = {32, 512};
    for (size_t i = 0; i < ARRAY_NR(sizes); i++) {
        unsigned cls = slab_class_for(sizes[i]);
        enum { HALF = 16 };
        void *stack[BATCH];
        bool zero = false;
        cr_assert_eq(slab_take(cls, 0, HALF, stack + BATCH, &zero), (unsigned)HALF);
        cr_assert(zero);
        for (unsigned k = 1; k <= HALF; k++)
            memset(stack[BATCH - k], 0xee, sizes[i]);
        cr_assert_eq(slab_take(cls, 0, HALF - 1, stack + BATCH - HALF, &zero), HALF - 1u);
        cr_expect(zero, "%u B: objects never taken are not known to be zeros", sizes[i]);
        for (unsigned k = HALF + 1; k < 2 * HALF; k++)
            cr_expect_eq(*(u64 *)stack[BATCH - k], 0u);
        slab_give(stack + BATCH - HALF, HALF);
        cr_assert_eq(slab_take(cls, 0, HALF + 1, stack + BATCH, &zero), HALF + 1u);
        cr_expect_not(zero, "%u B: used objects are said to be zeros", sizes[i]);
    }
}

/* Metadata costs memory for objects that are freed, not for those that are only taken. */
Test(slab, a_bitmap_is_written_at_the_first_free, .init = core_start_slabs) {
    unsigned cls = slab_class_for(32);
    const struct slab_geometry *g = &slab_geometry[cls];
    for (unsigned i = 0; i < 4 * g->nobj / BATCH; i++)
        take(cls, BATCH);
    u64 set = 0;
    for (unsigned i = 0; i < out_nr; i += g->nobj) {
        _Atomic(u64) *words = slab_bitmap(slab_at(out[i]), g);
        for (unsigned w = 0; w < g->nobj / 64; w++)
            set |= atomic_load(&words[w]);
    }
    cr_expect_eq(set, 0u);
    slab_give(&out[70], 1);
    char *base;
    slab_of(out[70], &base);
    unsigned index = slab_index(g, (size_t)((char *)out[70] - base));
    cr_expect_eq(atomic_load(&slab_bitmap(slab_at(base), g)[index / 64]), (u64)1 << (index % 64));
}

/* A batch of three classes in no order, of more objects and slabs than are sorted at once; slabs 4 MiB apart share a
 * slot. Given twice in it, far apart, an object is found. */
static unsigned take_shuffled(void) {
    static const unsigned sizes[] = {48, 512, 4608};
    for (size_t i = 0; i < ARRAY_NR(sizes); i++) {
        unsigned cls = slab_class_for(sizes[i]), from = out_nr;
        while ((out_nr - from) * sizes[i] < 9 * MIB && out_nr + BATCH < OBJS_MAX * (i + 1) / ARRAY_NR(sizes))
            take(cls, BATCH);
    }
    for (unsigned i = out_nr - 1; i > 0; i--) {
        unsigned k = (unsigned)(alone_random(&seed) % (i + 1));
        void *obj = out[i];
        out[i] = out[k];
        out[k] = obj;
    }
    return out_nr;
}

Test(slab, a_batch_in_no_order_comes_back_whole, .init = core_start_slabs) {
    for (int round = 0; round < 4; round++) {
        unsigned nr = take_shuffled();
        cr_assert_gt(nr, 10000u);
        for (unsigned i = 0; i < nr; i++)
            cr_assert_eq((int)slab_locate(out[i]).where, (int)SLAB_WHERE_LIVE_OR_CACHED);
        give_all();
        cr_expect_eq(stats(slab_class_for(48)).out_objs + stats(slab_class_for(512)).out_objs +
                         stats(slab_class_for(4608)).out_objs,
                     0u);
        slab_sweep(slab_class_for(48), SLAB_KEEP_NONE, SLAB_PURGE_NO);
        slab_sweep(slab_class_for(512), SLAB_KEEP_NONE, SLAB_PURGE_NO);
        cr_expect_eq(stats(slab_class_for(48)).slabs + stats(slab_class_for(512)).slabs, 0u, "a slab lost objects");
    }
}

/* Neighbours, as many as are marked byte by byte, in two stretches that share the words of a bitmap. */
Test(slab, neighbours_in_two_stretches_come_back_whole, .init = core_start_slabs) {
    enum { EACH = 100 };
    void *batch[2 * EACH + 1];
    take(slab_class_for(512), 1);
    batch[EACH] = out[0];
    for (unsigned i = 0; i < 2 * EACH; i++) {
        take(slab_class_for(48), 1);
        batch[i % 2 * (EACH + 1) + i / 2] = out[out_nr - 1];
    }
    slab_give(batch, ARRAY_NR(batch));
    for (unsigned i = 0; i < ARRAY_NR(batch); i++)
        cr_expect_eq((int)slab_locate(batch[i]).where, (int)SLAB_WHERE_FREE, "object %u", i);
}

/* Objects of one class, slab by slab. */
enum { SLABS_FEW = 60 };
static struct source {
    char *base;
    void **objs;
    unsigned left; /* of them are not given back */
} sources[SLABS_FEW];

static unsigned sources_take(unsigned cls) {
    unsigned nobj = slab_geometry[cls].nobj, nr = MIN((OBJS_MAX - BATCH) / nobj, (unsigned)SLABS_FEW), sources_nr = 0;
    out_nr = 0;
    while (out_nr < nr * nobj)
        MUST(take(cls, MIN((unsigned)BATCH, nr * nobj - out_nr)) > 0);
    for (unsigned i = 0; i < out_nr; i++) {
        char *base;
        slab_of(out[i], &base);
        if (sources_nr == 0 || sources[sources_nr - 1].base != base)
            sources[sources_nr++] = (struct source){base, &out[i], 0};
        sources[sources_nr - 1].left++;
    }
    return sources_nr;
}

/* Up to each objects of every slab, in turns; they are behind those that are left. */
static unsigned sources_gather(unsigned nr, unsigned each, void **batch) {
    unsigned got = 0;
    for (unsigned turn = 0; turn < each; turn++) {
        for (unsigned i = 0; i < nr; i++) {
            struct source *from = &sources[i];
            if (from->left == 0)
                continue;
            unsigned k = (unsigned)(alone_random(&seed) % from->left--);
            void *obj = from->objs[k];
            from->objs[k] = from->objs[from->left];
            from->objs[from->left] = batch[got++] = obj;
        }
    }
    return got;
}

/* All that is free in a slab is counted, and from its threshold on the slab is listed. */
static void expect_counted(const struct source *from, const struct slab_geometry *g) {
    slab_word_t word = slab_word_load(slab_at(from->base));
    cr_assert_eq(slab_word_free(word), g->nobj - (int)from->left, "%d of %u objects of %u bytes are free, %u are out",
                 slab_word_free(word), g->nobj, g->size_bytes, from->left);
    if (slab_word_free(word) >= g->threshold)
        cr_assert_eq((int)slab_word_state(word), (int)SLAB_LISTED, "objects of %u bytes", g->size_bytes);
}

/* One to four of each slab at a time, which are given back one by one; the bitmap inside the descriptor and outside,
 * slabs of one granule and of many, of many objects and of one. */
Test(slab, few_objects_of_each_slab_are_counted_exactly, .init = core_start_slabs) {
    static const unsigned sizes[] = {16, 48, 64, 256, 704, 1024, 9000, 40000, 1 << 20};
    static void *batch[SLABS_FEW * 4];
    for (size_t i = 0; i < ARRAY_NR(sizes); i++) {
        unsigned cls = slab_class_for(sizes[i]), nr = sources_take(cls), live = out_nr, given;
        for (unsigned each = 1; (given = sources_gather(nr, each, batch)) != 0; each = each % 4 + 1) {
            slab_give(batch, given);
            live -= given;
            cr_assert_eq(stats(cls).out_objs, live);
            for (unsigned s = 0; s < nr; s++) {
                if (sources[s].left == 0)
                    continue; /* the slab may be gone */
                expect_counted(&sources[s], &slab_geometry[cls]);
                cr_assert_eq((int)slab_locate(sources[s].objs[0]).where, (int)SLAB_WHERE_LIVE_OR_CACHED);
                cr_assert_eq((int)slab_locate(sources[s].objs[sources[s].left]).where, (int)SLAB_WHERE_FREE);
            }
        }
        slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO);
        cr_assert_eq(stats(cls).slabs, 0u, "%lu slabs of %u bytes are kept", stats(cls).slabs, sizes[i]);
    }
    cr_assert_eq(atomic_load(&rt_usage_out_bytes), 0);
}

/* --- misuse --- */

/* One object of each of many slabs, and obj, twice. */
static void among_strangers(void *obj, void *again) {
    void *batch[SLABS_FEW + 2];
    unsigned nr = sources_gather(sources_take(slab_class_for(704)), 1, batch + 1) + 1;
    MUST(nr > SLABS_FEW / 2);
    batch[0] = obj;
    batch[nr] = again;
    slab_give(batch, nr + 1);
}
static void twice_among_strangers(void *obj) { among_strangers(obj, obj); }
static void inside_among_strangers(void *obj) { among_strangers(obj, (char *)obj + 16); }

static void twice_in_a_shuffled_batch(void *obj) {
    unsigned nr = take_shuffled();
    out[nr - 1] = obj;
    out[nr - 200] = obj;
    give_all();
}

/* Neighbours, as many as are marked byte by byte; other: in their midst. */
enum { NEIGHBOURS = 200 };
static void among_neighbours(void *obj, void *other) {
    void *batch[NEIGHBOURS];
    unsigned from = out_nr;
    for (unsigned i = 0; i < NEIGHBOURS; i++)
        take(slab_class_for(48), 1);
    memcpy(batch, out + from, sizeof(batch));
    batch[10] = batch[NEIGHBOURS - 10] = obj;
    if (other != NULL)
        batch[NEIGHBOURS / 2] = other;
    slab_give(batch, NEIGHBOURS);
}
static void twice_among_neighbours(void *obj) { among_neighbours(obj, NULL); }
static void twice_among_neighbours_apart(void *obj) {
    take(slab_class_for(512), 1);
    among_neighbours(obj, out[out_nr - 1]);
}
static void inside_among_neighbours(void *obj) { among_neighbours((char *)obj + 16, NULL); }

static void twice_in_one_batch(void *obj) { slab_give((void *[]){obj, obj}, 2); }
static void twice(void *obj) {
    slab_give(&obj, 1);
    slab_give(&obj, 1);
}
static void inside(void *obj) { slab_give((void *[]){(char *)obj + 16}, 1); }
static void in_the_tail(void *obj) {
    const struct slab_geometry *g = &slab_geometry[slab_class_for(48)];
    char *base = (char *)round_down((uintptr_t)obj, GRANULE_BYTES);
    slab_give((void *[]){base + (size_t)g->nobj * g->size_bytes}, 1);
}
static void never_taken(void *obj) { slab_give((void *[]){(char *)obj + 48}, 1); }
/* Where the bits are in the descriptor. */
static void never_taken_of_few(void *obj) {
    (void)obj;
    take(slab_class_for(768), 1);
    slab_give((void *[]){(char *)out[out_nr - 1] + 768}, 1);
}
static void after_retirement(void *obj) {
    slab_give(&obj, 1);
    slab_sweep(slab_class_for(48), SLAB_KEEP_NONE, SLAB_PURGE_NO);
    slab_give(&obj, 1);
}

/*
 * All objects of a slab, whose class keeps no more that are wholly free, one of another that is sorted to the same
 * slot, and one of the first again: the first is given in two turns, and no slab any more when its second comes.
 */
enum { SLABS_OUT = 280, SLABS_BACK = 40 };

/* Starts of the objects in out, slab by slab: the nth two slabs from here on with one slot. */
static bool slot_sharers(unsigned nth, unsigned from, unsigned nobj, unsigned ret_two[2]) {
    for (unsigned i = from; i + nobj <= out_nr; i += nobj) {
        for (unsigned k = from; k < i; k += nobj) {
            char *one, *other;
            struct slab *s = slab_of(out[i], &one), *t = slab_of(out[k], &other);
            if (slab_sort_slot(rt_meta_ref(s)) != slab_sort_slot(rt_meta_ref(t)) || nth-- != 0)
                continue;
            ret_two[0] = i;
            ret_two[1] = k;
            return true;
        }
    }
    return false;
}

static void again_after_the_whole_slab(void *nth) {
    unsigned cls = slab_class_for(704), nobj = slab_geometry[cls].nobj, two[2];
    static void *batch[255], *back[SLABS_BACK * 128];
    while (out_nr < SLABS_OUT * nobj)
        MUST(take(cls, BATCH) == BATCH);
    slab_give(memcpy(back, out, sizeof(void *) * SLABS_BACK * nobj), SLABS_BACK * nobj);
    MUST(slot_sharers((unsigned)(uintptr_t)nth, SLABS_BACK * nobj, nobj, two));
    memcpy(batch, out + two[0], sizeof(void *) * nobj);
    batch[nobj] = out[two[1]];
    batch[nobj + 1] = batch[5];
    slab_give(batch, nobj + 2);
}

static void expect_abort(void (*crime)(void *), void *obj, const char *want) {
    char said[1024];
    cr_expect_eq(alone_die(crime, obj, said, sizeof(said)), SIGABRT, "no abort: %s", want);
    cr_expect_not_null(strstr(said, want), "want %s, got %s", want, said);
}

Test(slab, misuse_is_found_exactly, .init = core_start_slabs) {
    char want[128];
    take(slab_class_for(48), 1);
    snprintf(want, sizeof(want), "quarry: error Q01 double-free: pointer %p: ", out[0]);
    expect_abort(twice_in_one_batch, out[0], want);
    expect_abort(twice_in_a_shuffled_batch, out[0], want);
    expect_abort(twice_among_neighbours, out[0], want);
    expect_abort(twice_among_strangers, out[0], want);
    expect_abort(twice_among_neighbours_apart, out[0], want);
    expect_abort(twice, out[0], want);
    expect_abort(after_retirement, out[0], want);
    snprintf(want, sizeof(want), "quarry: error Q02 interior-pointer: pointer %p: ", (void *)((char *)out[0] + 16));
    expect_abort(inside, out[0], want);
    expect_abort(inside_among_neighbours, out[0], want);
    expect_abort(inside_among_strangers, out[0], want);
    expect_abort(in_the_tail, out[0], "Q02 interior-pointer");
    expect_abort(inside, out[0], "class 48 slab ");
    snprintf(want, sizeof(want), "quarry: error Q01 double-free: pointer %p: ", (void *)((char *)out[0] + 48));
    expect_abort(never_taken, out[0], want);
    expect_abort(never_taken_of_few, out[0], "Q01 double-free");
}

Test(slab, a_second_free_of_what_was_retired_in_the_batch_is_found, .init = core_start_slabs) {
    for (uintptr_t nth = 0; nth < 8; nth++)
        expect_abort(again_after_the_whole_slab, (void *)nth, "Q01 double-free");
}

Test(slab, an_address_is_located, .init = core_start_slabs) {
    unsigned cls = slab_class_for(48);
    const struct slab_geometry *g = &slab_geometry[cls];
    take(cls, 2);
    char *base = (char *)round_down((uintptr_t)out[0], GRANULE_BYTES);
    struct slab_place place = slab_locate((char *)out[1] + 17);
    cr_expect_eq((int)place.where, (int)SLAB_WHERE_INTERIOR);
    cr_expect_eq(place.object, out[1]);
    cr_expect_eq(place.cls, cls);
    cr_expect_eq((int)slab_locate(base + g->nobj * g->size_bytes).where, (int)SLAB_WHERE_TAIL);
    slab_give(&out[1], 1);
    cr_expect_eq((int)slab_locate(out[1]).where, (int)SLAB_WHERE_FREE);
    cr_expect_eq((int)slab_locate(out[0]).where, (int)SLAB_WHERE_LIVE_OR_CACHED);
    cr_expect_eq((int)slab_locate((char *)out[1] + 48).where, (int)SLAB_WHERE_FREE, "an object never taken");
    cr_expect_eq((int)slab_locate(&place).where, (int)SLAB_WHERE_NONE);
    cr_expect_eq((int)slab_locate(NULL).where, (int)SLAB_WHERE_NONE);
}

/* --- giving back --- */

Test(slab, empty_slabs_beyond_a_few_are_retired_without_a_sweep, .init = core_start_slabs) {
    unsigned cls = slab_class_for(64), nobj = slab_geometry[cls].nobj;
    while (out_nr + BATCH <= 60 * nobj)
        take(cls, BATCH);
    u64 before = stats(cls).slabs;
    cr_assert_geq(before, 60u - 1);
    give_all();
    cr_assert_lt(stats(cls).slabs, before / 2);
}

/* Who sweeps when another thread forks is not in the child: no sweep of the class would ever begin there. */
Test(slab, a_child_sweeps_what_was_being_swept, .init = core_start_slabs) {
    unsigned cls = slab_class_for(256);
    while (out_nr + BATCH <= 4000)
        take(cls, BATCH);
    give_all();
    u64 before = stats(cls).slabs;
    atomic_store(&slab_class_at(0, cls)->sweeping, 1);
    slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO);
    cr_assert_eq(stats(cls).slabs, before, "two sweep at once");
    slab_fork_child();
    slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO);
    cr_expect_eq(stats(cls).slabs, 0u);
}

Test(slab, keep_some_keeps_few_and_keep_none_none, .init = core_start_slabs) {
    unsigned cls = slab_class_for(256);
    while (out_nr + BATCH <= 4000)
        take(cls, BATCH);
    give_all();
    slab_sweep(cls, SLAB_KEEP_SOME, SLAB_PURGE_NO);
    cr_expect_leq(stats(cls).slabs, 8u);
    slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO);
    cr_expect_eq(stats(cls).slabs, 0u);
    /* And what was retired can be had again. */
    cr_expect_eq(take(cls, BATCH), (unsigned)BATCH);
}

/* One object in every slab stays, the rest is given back. */
static unsigned keep_one_in_each_slab(unsigned cls) {
    unsigned kept = 0;
    uintptr_t last = 0;
    for (unsigned i = 0; i < out_nr; i++) {
        uintptr_t slab = round_down((uintptr_t)out[i], GRANULE_BYTES);
        if (slab == last) {
            slab_give(&out[i], 1);
        } else {
            last = slab;
            out[kept++] = out[i];
        }
    }
    cr_assert_eq(stats(cls).out_objs, kept);
    return out_nr = kept;
}

Test(slab, purged_pages_read_as_zeros_and_the_rest_is_kept, .init = core_start_slabs) {
    enum { SIZE = 64, SLABS = 40 };
    unsigned cls = slab_class_for(SIZE);
    while (out_nr < SLABS * slab_geometry[cls].nobj)
        take(cls, BATCH);
    for (unsigned i = 0; i < out_nr; i++)
        stamp(out[i], cls);
    unsigned kept = keep_one_in_each_slab(cls);
    slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_INSIDE);
    size_t pages = GRANULE_BYTES / 4096;
    cr_assert_geq(stats(cls).purged_bytes, kept * (pages - 1) * 4096, "%lu bytes purged", stats(cls).purged_bytes);
    for (unsigned i = 0; i < kept; i++) {
        expect_stamp(out[i], cls);
        /* The pages of the granule that the kept object is not on. */
        for (size_t page = 0; page < pages; page++) {
            const char *at = (const char *)round_down((uintptr_t)out[i], GRANULE_BYTES) + page * 4096;
            if (round_down((uintptr_t)out[i], 4096) == (uintptr_t)at)
                continue;
            for (size_t b = 0; b < 4096; b++)
                cr_assert_eq(at[b], 0);
        }
    }
    /* Used again, they are no longer counted as purged. */
    unsigned from = out_nr;
    while (out_nr < SLABS * slab_geometry[cls].nobj)
        take(cls, BATCH);
    for (unsigned i = from; i < out_nr; i++)
        stamp(out[i], cls);
    for (unsigned i = 0; i < out_nr; i++)
        expect_stamp(out[i], cls);
    cr_expect_eq(stats(cls).purged_bytes, 0u);
}

static unsigned unbacked_nr(unsigned cls) {
    struct slab_class *c = slab_class_at(0, cls);
    unsigned nr = 0;
    for (char *base = partial_take_all(c, BUCKET_UNBACKED), *next; base != NULL; base = next, nr++) {
        next = partial_next(base);
        partial_push_unbacked(c, base);
    }
    return nr;
}

/* A limit forbids the memory of slabs that were purged. Who may not block looks at a few of them, and finds those that
 * were used since. */
Test(slab, refused_slabs_take_few_steps, .init = core_start_slabs) {
    enum { SLABS = 70, STEPS = 4 * BUCKETS_NR + 1, CALLS = 60 };
    unsigned cls = slab_class_for(64), refused = 0;
    while (out_nr < SLABS * slab_geometry[cls].nobj)
        take(cls, BATCH);
    cr_assert_geq(keep_one_in_each_slab(cls), (unsigned)SLABS);
    slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_INSIDE);
    rt_opt.limit_hard = rt_usage_total();
    u64 purged = stats(cls).purged_bytes;
    cr_expect_eq(take(cls, 1), 0u, "who may block is told at once");
    cr_expect_eq(unbacked_nr(cls), 1u);
    enum rt_context before = rt_context_enter(RT_ATOMIC);
    for (unsigned call = 0; call < CALLS && refused < SLABS; call++) {
        unsigned nr = unbacked_nr(cls);
        cr_expect_eq(take(cls, 1), 0u);
        refused = unbacked_nr(cls);
        cr_expect_leq(refused - nr, (unsigned)STEPS);
        cr_expect_gt(refused, nr, "each call brings it nearer to those behind");
    }
    cr_expect_geq(refused, (unsigned)SLABS, "%u slabs were refused", refused);
    rt_context_leave(before);
    cr_expect_eq(stats(cls).purged_bytes, purged);
    rt_opt.limit_hard = 0;
    cr_expect_eq(take(cls, BATCH), (unsigned)BATCH);
    cr_expect_lt(stats(cls).purged_bytes, purged);
    cr_expect_eq(unbacked_nr(cls), refused - 1, "a refused slab is used when its memory may be had");
}

/* One that was used since lies above them, and as long as it has something free nobody looks at those. */
Test(slab, a_slab_with_memory_is_found_before_refused_ones, .init = core_start_slabs) {
    enum { SLABS = 70 };
    unsigned cls = slab_class_for(64), nobj = slab_geometry[cls].nobj;
    while (out_nr < SLABS * nobj)
        take(cls, BATCH);
    keep_one_in_each_slab(cls);
    slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_INSIDE);
    cr_expect_eq(take(cls, 1), 1u);
    rt_opt.limit_hard = rt_usage_total();
    enum rt_context before = rt_context_enter(RT_ATOMIC);
    for (unsigned i = 2; i < nobj; i++)
        cr_expect_eq(take(cls, 1), 1u, "object %u", i);
    cr_expect_eq(unbacked_nr(cls), 0u);
    rt_context_leave(before);
}

/* A slab with memory lies below them, and each try is followed by a sweep that purges nothing. */
Test(slab, sweeps_do_not_put_refused_slabs_in_the_way_again, .init = core_start_slabs) {
    enum { SLABS = 70 };
    unsigned cls = slab_class_for(64), got = 0;
    while (out_nr < SLABS * slab_geometry[cls].nobj)
        take(cls, BATCH);
    keep_one_in_each_slab(cls);
    slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_INSIDE);
    cr_assert_eq(take(cls, 1), 1u); /* it has memory, and goes to the bottom of its list */
    slab_sweep(cls, SLAB_KEEP_SOME, SLAB_PURGE_NO);
    rt_opt.limit_hard = rt_usage_total();
    enum rt_context before = rt_context_enter(RT_ATOMIC);
    for (unsigned call = 0; call < SLABS && got == 0; call++) {
        got = take(cls, 1);
        slab_sweep(cls, SLAB_KEEP_SOME, SLAB_PURGE_NO);
    }
    rt_context_leave(before);
    cr_expect_eq(got, 1u, "%u slabs were refused", unbacked_nr(cls));
}

Test(slab, pages_purged_once_are_not_purged_again, .init = core_start_slabs) {
    unsigned cls = slab_class_for(64);
    while (out_nr < 10 * slab_geometry[cls].nobj)
        take(cls, BATCH);
    keep_one_in_each_slab(cls);
    slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_INSIDE);
    u64 purged = stats(cls).purged_bytes;
    slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_INSIDE);
    cr_expect_eq(stats(cls).purged_bytes, purged);
    give_all();
    slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_INSIDE);
    cr_expect_eq(stats(cls).purged_bytes, 0u);
    cr_expect_eq(stats(cls).slabs, 0u);
    struct page_stats pages;
    page_stats_get(&pages);
    cr_expect_eq(pages.inside_purged_bytes, 0u);
}

Test(slab, a_quiet_class_is_swept_by_ticks, .init = core_start_slabs) {
    unsigned cls = slab_class_for(64);
    while (out_nr < 150 * slab_geometry[cls].nobj && out_nr + BATCH <= OBJS_MAX)
        take(cls, BATCH);
    keep_one_in_each_slab(cls);
    u64 before = stats(cls).purged_bytes;
    for (u64 now_ms = 0; now_ms < 3000; now_ms += 100)
        slab_tick(now_ms);
    cr_expect_gt(stats(cls).purged_bytes + 1, before);
    cr_expect_gt(stats(cls).purged_bytes, 0u);
}
