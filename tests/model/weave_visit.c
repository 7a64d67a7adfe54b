/* SPDX-License-Identifier: MIT */
/*
 * Classes made at run time (src/slab/made.c), explored (weave.h). Who closes a class is alone with it, and writes to
 * what visitors read; who finds a class by walking to the end of ids sees its geometry whole.
 */
#include "slab/made.h"

#include "sys/sys.h"
#include "weave.h"
#include "weave_heap.h"

enum { OBJECT_BYTES = 1024, CLASSES_NR = 2 };

static unsigned cls;
static u64 size_now; /* of the class's objects: visitors read it, who has it alone writes it */
static u64 visits_nr[WEAVE_THREADS_MAX];
/* v visit, c close, write and open, r the same with another size, m make a class, w walk the classes. */
static const char *scripts[WEAVE_THREADS_MAX];
static unsigned ids_end;

void sys_sleep_ms(unsigned ms) {
    (void)ms;
    weave_wait();
}

static unsigned class_make(size_t size_bytes) {
    const struct slab_make make = {.size_bytes = size_bytes, .align_bytes = CACHE_LINE};
    return slab_make(&make);
}

static void visit(unsigned self) {
    if (!slab_made_enter(cls))
        return;
    visits_nr[self]++;
    weave_must(slab_geometry_of(cls)->size_bytes == size_now);
    slab_made_leave(cls);
}

/* The same, which the compiler need not know. */
static __attribute__((noinline)) u64 changed(u64 size) { return size; }

static void change(void) {
    slab_made_close(cls);
    size_now = changed(size_now);
    slab_made_open(cls);
}

static void remake(void) {
    slab_made_close(cls);
    size_now *= 2;
    slab_unmake(cls);
    weave_must(class_make(size_now) == cls);
}

static void walk(void) {
    for (unsigned id = SLAB_CLASSES_NR; id < slab_ids_end_get(); id++) {
        size_t size = slab_geometry_of(id)->size_bytes;
        weave_must(size == OBJECT_BYTES || size == 2 * OBJECT_BYTES);
    }
}

static void thread(unsigned self) {
    for (const char *at = scripts[self]; *at != 0; at++) {
        switch (*at) {
        case 'v': visit(self); break;
        case 'c': change(); break;
        case 'r': remake(); break;
        case 'm': (void)class_make(OBJECT_BYTES); break;
        default: walk(); break;
        }
        weave_forget((u64)(at - scripts[self]) * 8 + visits_nr[self]);
    }
}

static void finish(void) {
    u64 before = visits_nr[0];
    visit(0);
    weave_must(visits_nr[0] == before + 1);
    weave_must(slab_ids_end_get() == ids_end);
}

static void setup(unsigned made_nr, const char *first, const char *second, const char *third) {
    scripts[0] = first;
    scripts[1] = second;
    scripts[2] = third;
    weave_heap_start(SLAB_CLASSES_NR);
    cls = class_make(OBJECT_BYTES);
    weave_must(cls == SLAB_CLASSES_NR);
    size_now = OBJECT_BYTES;
    ids_end = SLAB_CLASSES_NR + made_nr;
    const struct slab_made_view *view = &slab_made_view;
    weave_range(*(char *const *)view->table_at, CLASSES_NR * view->stride_bytes);
}
static void setup_visit(void) { setup(1, "vv", "c", ""); }
static void setup_closes(void) { setup(1, "vc", "v", ""); }
static void setup_remake(void) { setup(1, "r", "vw", ""); }
static void setup_make(void) { setup(2, "m", "w", ""); }
static void setup_visits(void) { setup(1, "v", "v", "c"); }

static const struct weave_model models[] = {
    {"visits while a class is closed and opened", 2, setup_visit, thread, finish, WEAVE_BOTH},
    {"a visitor closes", 2, setup_closes, thread, finish, WEAVE_BOTH},
    {"a visit and a walk while a class changes", 2, setup_remake, thread, finish, WEAVE_BOTH},
    {"a class is made during a walk", 2, setup_make, thread, finish, WEAVE_BOTH},
    {"two visit while one closes", 3, setup_visits, thread, finish, WEAVE_BOTH},
};

static const struct weave_excuse excuses[] = {
    {"slab_make", "&m->class.pinned", WEAVE_ANY, "no class is pinned here"},
    {"slab_make", "&m->class.unpinned", WEAVE_ANY, "no class is pinned here"},
    {"slab_make", "&m->class.keeps", WEAVE_ANY, "no slab is made here"},
    {"slab_make", "&m->debugged", WEAVE_ANY, "no object is freed here; who frees one had it after the class was made"},
    {"slab_make", "&m->geometry", WEAVE_LATE, "before the end of ids, and the opening, all the same"},
    {"slab_make", "&slab_ids_end", WEAVE_LATE, "a walk meanwhile ends before it"},
    {"slab_ids_end_get", "&slab_ids_end", WEAVE_NO_ACQUIRE, "of its copies, that of who makes classes, one at a time"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"slab_visit_begin", "if (LIKELY((was & VISITS_CLOSED)", WEAVE_ALWAYS},
    {"slab_made_close", "while ((inside", WEAVE_NEVER},
};

WEAVE_MAIN("classes made at run time")
