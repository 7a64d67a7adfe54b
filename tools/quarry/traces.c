/* SPDX-License-Identifier: MIT */
/*
 * Who allocated the objects of a cache that are out, or who freed them before: by stack, most objects first, in the
 * kernel's format (mm/slub.c, slab_debugfs_show(), Linux 6.12): how many, the caller, what kmalloc's objects have more
 * than was asked for, how long ago (ms, the kernel's are ticks), by which threads, CPUs and nodes, and the stack.
 */
#include "traces.h"

#include "quarry.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NAME_BYTES = 256, RECORDS_MIN = 1024 };

/* One object's; objects of one origin are one place. */
struct record {
    struct origin {
        u64 addrs[KMEM_TRACK_ADDRS]; /* zeros behind the last */
        u64 waste_bytes;
    } origin;
    u64 age_ms;
    unsigned cpu, node;
    u32 pid;
};

struct records {
    struct record *all;
    size_t nr, cap;
    enum kmem_track_kind kind;
    u64 now_ms;
    bool no_memory;
};

/* Neighbours among the records, sorted by origin. */
struct place {
    const struct record *first;
    size_t nr;
};

/* The clock of sys_clock_ms(), there. */
static u64 clock_ms(void) {
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (u64)now.tv_sec * 1000 + (u64)now.tv_nsec / 1000000;
}

static bool records_room(struct records *r) {
    if (r->nr < r->cap)
        return true;
    struct record *larger = tracks_array_grow(r->all, &r->cap, RECORDS_MIN, sizeof(*larger));
    r->all = larger != NULL ? larger : r->all;
    return larger != NULL;
}

/* An object that was never freed has no who and no when, which the kernel prints as they are: of no thread, at boot. */
static void record_add(void *arg, const struct tracked *object) {
    struct records *r = arg;
    const struct kmem_track *track = &object->tracks[r->kind];
    r->no_memory = r->no_memory || !records_room(r);
    if (r->no_memory)
        return;
    struct record *one = &r->all[r->nr++];
    *one = (struct record){.origin.waste_bytes = object->waste_bytes,
                           .age_ms = r->now_ms - MIN(track->when_ms, r->now_ms),
                           .cpu = (unsigned)MAX(track->cpu, 0),
                           .node = object->node,
                           .pid = track->pid};
    for (u32 i = 0; track->pid != 0 && i < track->addrs_nr; i++)
        one->origin.addrs[i] = (uintptr_t)track->addrs[i];
}

static int record_compare(const void *a, const void *b) { return memcmp(a, b, sizeof(struct origin)); }

/* Most objects first; equal ones as the stacks are. */
static int place_compare(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    int order = (x->nr < y->nr) - (x->nr > y->nr);
    return order != 0 ? order : record_compare(x->first, y->first);
}

static size_t places_make(const struct records *r, struct place *places) {
    size_t nr = 0;
    for (size_t i = 0; i < r->nr; i++) {
        if (nr == 0 || record_compare(places[nr - 1].first, &r->all[i]) != 0)
            places[nr++] = (struct place){&r->all[i], 0};
        places[nr - 1].nr++;
    }
    qsort(places, nr, sizeof(*places), place_compare);
    return nr;
}

/* --- printing --- */

static void address_print(struct symbols *symbols, u64 address) {
    char name[NAME_BYTES];
    if (symbols_name(symbols, address, name, sizeof(name)))
        fputs(name, stdout);
    else
        printf("0x%" PRIx64, address);
}

/* " label=least-most", or the one there is. */
static void range_print(const char *label, u64 least, u64 most) {
    printf(least != most ? " %s=%" PRIu64 "-%" PRIu64 : " %s=%" PRIu64, label, least, most);
}

/* The numbers a place has, as the kernel prints a mask: 0-2,5. */
static void list_print(const char *label, const struct place *p, unsigned (*number)(const struct record *r)) {
    const char *before = "";
    printf(" %s=", label);
    for (u64 from = 0, next; from != UINT64_MAX; from = next) {
        u64 least = UINT64_MAX, last;
        for (size_t i = 0; i < p->nr; i++)
            least = number(&p->first[i]) >= from ? MIN(least, (u64)number(&p->first[i])) : least;
        if (least == UINT64_MAX)
            return;
        bool more = true;
        for (last = least; more; last += more) {
            more = false;
            for (size_t i = 0; i < p->nr && !more; i++)
                more = number(&p->first[i]) == last + 1;
        }
        printf(last == least ? "%s%" PRIu64 : "%s%" PRIu64 "-%" PRIu64, before, least, last);
        before = ",";
        next = last + 1;
    }
}

static unsigned record_cpu(const struct record *r) { return r->cpu; }
static unsigned record_node(const struct record *r) { return r->node; }

static void place_print(const struct place *p, unsigned nodes_nr, struct symbols *symbols) {
    const u64 *addrs = p->first->origin.addrs, waste = p->first->origin.waste_bytes;
    u64 sum_ms = 0, least_ms = UINT64_MAX, most_ms = 0;
    u32 least_pid = UINT32_MAX, most_pid = 0;
    for (const struct record *r = p->first; r < p->first + p->nr; r++) {
        sum_ms += r->age_ms;
        least_ms = MIN(least_ms, r->age_ms);
        most_ms = MAX(most_ms, r->age_ms);
        least_pid = MIN(least_pid, r->pid);
        most_pid = MAX(most_pid, r->pid);
    }
    printf("%7zu ", p->nr);
    if (addrs[0] == 0)
        fputs("<not-available>", stdout);
    else
        address_print(symbols, addrs[0]);
    if (waste != 0)
        printf(" waste=%" PRIu64 "/%" PRIu64, p->nr * waste, waste);
    /* The kernel's condition: the sum, of one object alone, is its age. */
    if (sum_ms != least_ms)
        printf(" age=%" PRIu64 "/%" PRIu64 "/%" PRIu64, least_ms, sum_ms / p->nr, most_ms);
    else
        printf(" age=%" PRIu64, least_ms);
    range_print("pid", least_pid, most_pid);
    if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
        list_print("cpus", p, record_cpu);
    if (nodes_nr > 1)
        list_print("nodes", p, record_node);
    putchar('\n');
    for (unsigned i = 0; i < KMEM_TRACK_ADDRS && addrs[i] != 0; i++) {
        fputs("        ", stdout);
        address_print(symbols, addrs[i]);
        putchar('\n');
    }
    if (addrs[0] != 0)
        putchar('\n');
}

static bool records_print(const struct records *r, unsigned nodes_nr, struct symbols *symbols) {
    struct place *places = calloc(MAX(r->nr, (size_t)1), sizeof(*places));
    if (places == NULL)
        return false;
    if (r->nr != 0)
        qsort(r->all, r->nr, sizeof(*r->all), record_compare);
    size_t nr = places_make(r, places);
    for (size_t i = 0; i < nr; i++)
        place_print(&places[i], nodes_nr, symbols);
    if (nr == 0)
        puts("No data");
    free(places);
    return true;
}

bool traces_print(const struct target *t, const struct caches *caches, const struct cache *c, enum kmem_track_kind kind,
                  struct symbols *symbols) {
    struct records r = {.kind = kind, .now_ms = clock_ms()};
    enum tracks_result result = tracks_each(t, caches, c, record_add, &r);
    bool printed = result == TRACKS_DONE && !r.no_memory && records_print(&r, caches->classes.nodes_nr, symbols);
    if (result == TRACKS_NONE)
        complain("slab: %s keeps no users' stacks; it does with QUARRY_SLAB_DEBUG=U,%s", c->name, c->name);
    else if (!printed)
        complain("slab: out of memory");
    free(r.all);
    return printed;
}
