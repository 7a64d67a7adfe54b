/* SPDX-License-Identifier: MIT */
/* Classes made while the program runs: their geometry, their ids, constructors, and what never goes back. */
#include "slab/made.h"
#include "slab/class.h"
#include "unit/core.h"

#include <pthread.h>
#include <string.h>

enum { OBJS_MAX = 4096 };

static void *objs[OBJS_MAX];

static unsigned make(size_t size, size_t align, slab_ctor_fn ctor, bool pinned) {
    return slab_make(&(struct slab_make){.size_bytes = size, .align_bytes = align, .ctor = ctor, .pinned = pinned});
}

static void take(unsigned cls, unsigned nr) {
    cr_assert_leq(nr, OBJS_MAX);
    cr_assert_eq(slab_take(cls, 0, nr, objs + nr, NULL), nr);
}

static void expect_fits(const struct slab_geometry *g, size_t size, size_t align) {
    size_t slab = g->granules * GRANULE_BYTES, used = (size_t)g->nobj * g->size_bytes;
    cr_assert(g->size_bytes == size && used <= slab && g->nobj >= 1 && g->nobj <= 1024 && g->granules <= 64);
    cr_assert((slab - used) * 4 <= slab || g->nobj == 1024, "size %zu: %zu of %zu bytes are tail", size, slab - used,
              slab);
    cr_assert(g->threshold >= 1 && g->threshold <= g->nobj);
    cr_assert_geq((size_t)8 << g->bitmap_shift, g->nobj);
    cr_assert(is_pow2(g->align) && g->align * GRANULE_BYTES >= align);
    for (unsigned i = 0; i < g->nobj; i++) {
        cr_assert_eq(slab_index(g, (size_t)i * size), i);
        cr_assert_eq(slab_index(g, (size_t)i * size + size - 1), i);
    }
}

/* Every multiple of 16 up to 64 KiB, with every alignment that divides it, and some beyond. Ids are used again. */
Test(slab_made, any_size_has_a_geometry, .init = core_start_slabs) {
    for (size_t size = 16; size <= SLAB_MADE_OBJECT_MAX; size += size < 64 * KIB ? 16 : 16 * 521) {
        for (size_t align = 16; align <= SLAB_ALIGN_MAX && size % align == 0; align *= 2) {
            unsigned cls = make(size, align, NULL, false);
            cr_assert_eq(cls, (unsigned)SLAB_CLASSES_NR);
            expect_fits(slab_geometry_of(cls), size, align);
            slab_unmake(cls);
        }
    }
}

Test(slab_made, objects_are_aligned_and_apart, .init = core_start_slabs) {
    static const size_t sizes[] = {16, 48, 4112, 16 * 1021, 65536, 3 * 65536, SLAB_MADE_OBJECT_MAX};
    for (size_t i = 0; i < ARRAY_NR(sizes); i++) {
        size_t size = sizes[i], align = size & -size;
        unsigned cls = make(size, align, NULL, false), nr = (unsigned)MIN(64 * MIB / size, (size_t)OBJS_MAX);
        take(cls, nr);
        for (unsigned k = 0; k < nr; k++) {
            cr_assert_eq((uintptr_t)objs[k] % align, 0u);
            memset(objs[k], (int)k, size);
        }
        for (unsigned k = 0; k < nr; k++) {
            const unsigned char *p = objs[k];
            cr_assert(p[0] == (u8)k && p[size - 1] == (u8)k, "object %u of %zu bytes was overwritten", k, size);
            cr_assert_eq(slab_id_of(p, page_map_get(p) % PAGE_MAP_CLASSES), cls);
        }
        slab_give(objs, nr);
        slab_made_retire(cls);
        slab_unmake(cls);
    }
}

static unsigned make_debugged(void) {
    return slab_make(&(struct slab_make){.size_bytes = 48, .align_bytes = 16, .debugged = true});
}

/* Ids with slots first; never one that means something else; beyond those, one page map entry for all. */
Test(slab_made, ids, .init = core_start_slabs) {
    bool seen[SLAB_IDS_NR] = {false};
    unsigned nr = 0, cls, last = 0;
    while ((cls = make(48, 16, NULL, false)) != 0) {
        cr_assert(cls >= SLAB_CLASSES_NR && cls < SLAB_IDS_NR && cls > last && !seen[cls]);
        cr_assert(cls < SLAB_BARE || cls >= PAGE_MAP_FURTHER);
        seen[last = cls] = true;
        nr++;
        take(cls, 1);
        unsigned entry = page_map_get(objs[0]) % PAGE_MAP_CLASSES;
        cr_assert_eq(entry, cls < SLAB_SLOT_IDS_NR ? cls : SLAB_BARE);
        cr_assert_eq(slab_has_slot(cls), cls < SLAB_SLOT_IDS_NR);
        cr_assert_eq(slab_id_of(objs[0], entry), cls);
        cr_assert_eq(slab_locate(objs[0]).cls, cls);
        slab_give(objs, 1);
        slab_made_retire(cls);
    }
    cr_assert_eq(nr, SLAB_MADE_NR - (PAGE_MAP_FURTHER - SLAB_BARE));
    slab_unmake(500);
    slab_unmake(90);
    cr_assert_eq(make(64, 64, NULL, false), 90u);
    cr_assert_eq(make(64, 64, NULL, false), 500u);
    cr_assert_eq(make(64, 64, NULL, false), 0u);
    cr_assert_eq(slab_geometry_of(90)->size_bytes, 64u);
}

/* A class that is debugged leaves the ids whose slots are always there to others, and its own id's slot unused; who has
 * the id next has the slot. */
Test(slab_made, debugged_ids_have_no_slot, .init = core_start_slabs) {
    unsigned cls = make_debugged();
    cr_assert_eq(cls, (unsigned)PAGE_MAP_FURTHER);
    take(cls, 1);
    cr_assert(!slab_has_slot(cls));
    cr_assert_eq(page_map_get(objs[0]) % PAGE_MAP_CLASSES, (unsigned)SLAB_BARE);
    cr_assert_eq(slab_locate(objs[0]).cls, cls);
    slab_give(objs, 1);
    slab_made_retire(cls);
    slab_unmake(cls);
    for (unsigned id = SLAB_CLASSES_NR; id < SLAB_BARE; id++)
        cr_assert_eq(make(48, 16, NULL, false), id);
    cr_assert_eq(make(48, 16, NULL, false), cls);
    take(cls, 1);
    cr_assert_eq(page_map_get(objs[0]) % PAGE_MAP_CLASSES, cls);
    cr_assert_eq(make_debugged(), cls + 1);
}

static void *visitor(void *cls) {
    cr_assert(slab_made_enter(*(unsigned *)cls));
    return NULL;
}

/* One that is not over when the process forks. */
static void visit_elsewhere(unsigned cls) {
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, visitor, &cls), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

/* By a handler on top of a visit: it ends in the child as in the parent, and nobody else's number is taken for it. */
Test(slab_made, a_visit_below_a_fork_goes_on, .init = core_start_slabs) {
    unsigned cls = make(48, 16, NULL, false);
    cr_assert(slab_made_enter(cls));
    slab_made_fork_child();
    slab_made_leave(cls);
    cr_assert(slab_made_enter(cls), "closed for good");
    slab_made_leave(cls);
    slab_made_close(cls);
    slab_made_open(cls);
    visit_elsewhere(cls);
    slab_made_fork_child();
    slab_made_close(cls);
}

Test(slab_made, a_closed_class_admits_nobody, .init = core_start_slabs) {
    unsigned cls = make(48, 16, NULL, false);
    cr_assert(slab_made_enter(cls) && slab_made_enter(cls));
    slab_made_leave(cls);
    slab_made_leave(cls);
    slab_made_close(cls);
    cr_assert(!slab_made_enter(cls) && !slab_made_enter(cls));
    slab_made_close(cls); /* who was refused is not inside */
    slab_made_open(cls);
    visit_elsewhere(cls);
    slab_made_fork_child();
    slab_made_close(cls); /* nor is one who is not in this process */
    slab_unmake(cls);
    cr_assert_eq(make(64, 16, NULL, false), cls);
    cr_assert(slab_made_enter(cls));
    cr_assert(slab_made_enter(SLAB_CLASS_MAX));
}

static unsigned ctor_nr;
static void ctor(void *p) {
    cr_assert_eq(*(u64 *)p, 0u, "constructed twice");
    *(u64 *)p = 0xc0de;
    ctor_nr++;
}

static unsigned slabs_of(unsigned cls) {
    struct slab_class_stats st;
    slab_class_stats_get(cls, &st);
    return (unsigned)st.slabs;
}

/* Each object of a slab once when the slab is made, and not again however often it is used. Every object that was used
 * keeps what its last owner left, also where all neighbours are free and pages are given back. */
Test(slab_made, constructors_run_once_for_each_object, .init = core_start_slabs) {
    unsigned cls = make(512, 16, ctor, false), nobj = slab_geometry_of(cls)->nobj, nr = 60 * nobj;
    cr_assert_eq(ctor_nr, 0u);
    take(cls, 1);
    cr_assert_eq(ctor_nr, nobj, "the whole slab is constructed");
    slab_give(objs, 1);
    for (unsigned round = 0; round < 5; round++) {
        take(cls, nr);
        cr_assert_eq(ctor_nr, slabs_of(cls) * nobj);
        for (unsigned i = 0; i < nr; i++) {
            u64 *p = objs[i];
            cr_assert(p[0] == 0xc0de || p[0] == 0xc0de + 1, "an object lost its contents");
            p[0] = 0xc0de + 1;
            p[1]++;
        }
        /* All but one of each slab, which then has free pages, and must keep them. */
        for (unsigned i = 0; i < nr; i++) {
            if (i % nobj != 0)
                slab_give(&objs[i], 1);
        }
        slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_INSIDE);
        cr_assert_eq(slab_class_at(0, cls)->purged_bytes, 0);
        take(cls, nr / nobj);
        for (unsigned i = 0; i < nr / nobj; i++)
            cr_assert_geq(*(u64 *)objs[i], (u64)0xc0de);
        slab_give(objs, nr / nobj);
        for (unsigned i = nr / nobj + nobj - (nr / nobj) % nobj; i < nr; i += nobj)
            slab_give(&objs[i], 1);
        break;
    }
}

static unsigned counted_nr;
static void counting_ctor(void *p) {
    (void)p;
    counted_nr++;
}

/* A slab that went back and is made again is constructed again. */
Test(slab_made, slabs_made_again_are_constructed_again, .init = core_start_slabs) {
    unsigned cls = make(1024, 16, counting_ctor, false), nobj = slab_geometry_of(cls)->nobj;
    for (unsigned round = 1; round <= 3; round++) {
        take(cls, 8 * nobj);
        cr_assert_eq(counted_nr, round * 8 * nobj);
        slab_give(objs, 8 * nobj);
        slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO);
        cr_assert_eq(slabs_of(cls), 0u);
    }
}

Test(slab_made, pinned_slabs_stay_what_they_are, .init = core_start_slabs) {
    unsigned cls = make(256, 16, NULL, true), nobj = slab_geometry_of(cls)->nobj, nr = 20 * nobj;
    take(cls, nr);
    for (unsigned i = 0; i < nr; i++)
        *(u64 *)objs[i] = (u64)objs[i];
    slab_give(objs, nr);
    slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_INSIDE);
    for (unsigned i = 0; i < 300; i++)
        slab_tick(100 * i);
    cr_assert_eq(slabs_of(cls), 20u);
    for (unsigned i = 0; i < nr; i++) {
        cr_assert_eq(page_map_get(objs[i]), cls);
        cr_assert_eq(*(u64 *)objs[i], (u64)objs[i], "a free object of a pinned slab changed");
    }
    take(cls, nr);
    cr_assert_eq(slabs_of(cls), 20u);
}

struct seen_slabs {
    unsigned full, partial, empty, out;
};

static void see(void *arg, const struct slab_seen *slab) {
    struct seen_slabs *seen = arg;
    unsigned cls = slab_cls(slab_at(slab->base)), nobj = slab_geometry_of(cls)->nobj;
    seen->full += slab->free_nr == 0;
    seen->empty += slab->free_nr == nobj;
    seen->partial += slab->free_nr != 0 && slab->free_nr != nobj;
    for (unsigned i = 0; i < nobj; i++)
        seen->out += slab_made_is_out(cls, slab->base, i);
}

static void expect_seen(unsigned cls, unsigned full, unsigned partial, unsigned empty, unsigned out) {
    struct seen_slabs seen = {0};
    slab_made_walk(cls, see, &seen);
    cr_assert(seen.full == full && seen.partial == partial && seen.empty == empty && seen.out == out,
              "full %u, partial %u, empty %u, %u objects out", seen.full, seen.partial, seen.empty, seen.out);
}

static void count_class(void *arg, const struct slab_seen *slab) {
    unsigned *slabs_nr = arg;
    cr_assert_lt(slab->cls, (unsigned)SLAB_IDS_NR);
    slabs_nr[slab->cls]++;
}

Test(slab_made, a_walk_over_all_classes_tells_them_apart, .init = core_start_slabs) {
    static unsigned slabs_nr[SLAB_IDS_NR];
    unsigned one = make(1024, 16, NULL, false), two = make(48, 16, NULL, false), fixed = slab_class_for(4096);
    take(one, 3 * slab_geometry_of(one)->nobj);
    take(two, 2 * slab_geometry_of(two)->nobj);
    take(fixed, slab_geometry_of(fixed)->nobj);
    slab_made_walk(SLAB_ANY_CLASS, count_class, slabs_nr);
    cr_expect(slabs_nr[one] == 3 && slabs_nr[two] == 2 && slabs_nr[fixed] == 1, "%u, %u, %u slabs", slabs_nr[one],
              slabs_nr[two], slabs_nr[fixed]);
    for (unsigned cls = 0; cls < SLAB_IDS_NR; cls++)
        cr_expect(cls == one || cls == two || cls == fixed || slabs_nr[cls] == 0, "class %u", cls);
}

Test(slab_made, a_walk_sees_every_slab_and_object, .init = core_start_slabs) {
    unsigned other = make(1024, 16, NULL, false), cls = make(1024, 16, NULL, false), nobj = slab_geometry_of(cls)->nobj;
    take(other, 100);
    expect_seen(cls, 0, 0, 0, 0);
    take(cls, 3 * nobj - 1);
    expect_seen(cls, 2, 1, 0, 3 * nobj - 1);
    slab_give(objs, nobj); /* of one slab, or all but one of two */
    struct seen_slabs seen = {0};
    slab_made_walk(cls, see, &seen);
    cr_assert_eq(seen.out, 2 * nobj - 1);
    slab_give(objs + nobj, 2 * nobj - 1);
    slab_made_walk(cls, see, &(struct seen_slabs){0});
    slab_made_retire(cls);
    expect_seen(cls, 0, 0, 0, 0);
}
