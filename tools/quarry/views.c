/* SPDX-License-Identifier: MIT */
/* The kernel's views of memory, of a process on quarry: `quarry slabinfo|vmallocinfo|buddyinfo|meminfo PID`. The
 * rows are kmem/rows.h, the figures caches.h and buddies.h. */
#include "views.h"

#include "big/area.h"
#include "buddies.h"
#include "caches.h"
#include "kmem/view.h"
#include "quarry.h"
#include "symbols.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- text --- */

/* Room for bytes more: no row is longer but by a name. */
static bool text_room(struct kmem_text *text, size_t bytes) {
    if (text->len + bytes <= text->cap)
        return true;
    size_t cap = (text->len + bytes) * 2;
    char *larger = realloc(text->text, cap);
    if (larger == NULL)
        return false;
    text->text = larger;
    text->cap = cap;
    return true;
}

enum { ROW_BYTES = 512, SYMBOL_BYTES = 256 };

bool view_slabinfo(struct target *t, struct kmem_text *text) {
    static struct caches caches;
    bool read = caches_read(t, &caches) && text_room(text, ROW_BYTES);
    text->len = 0;
    if (read)
        kmem_slabinfo_head(text);
    for (size_t i = 0; read && i < caches.nr; i++) {
        struct kmem_slab_row row = cache_row(&caches.rows[i], t->page_bytes);
        read = text_room(text, ROW_BYTES + strlen(row.name));
        if (read)
            kmem_slabinfo_row(text, &row);
    }
    caches_free(&caches);
    return read;
}

static bool view_buddyinfo(struct target *t, struct kmem_text *text) {
    struct buddy_stats stats;
    buddies_read(t, &stats);
    if (!text_room(text, ROW_BYTES))
        return false;
    kmem_buddyinfo_row(text, stats.free_nr, BUDDY_ORDERS_NR);
    return target_is_same(t);
}

struct areas_walk {
    struct kmem_text *text;
    struct symbols *symbols;
    bool whole;
};

static void page_count(int id, void *arg) {
    u32 *node_pages = arg;
    if (id < SYS_NODE_IDS_NR)
        node_pages[id]++;
}

static void area_add(const struct target *t, const struct chunk *at, const struct hpage *h, void *arg) {
    struct areas_walk *w = arg;
    u32 node_pages[SYS_NODE_IDS_NR] = {0};
    char symbol[SYMBOL_BYTES];
    (void)at;
    if (h->state != HPAGE_BIG || (h->big_flags & BIG_AREA) == 0)
        return;
    bool named = symbols_name(w->symbols, (uintptr_t)h->big_caller, symbol, sizeof(symbol));
    target_nodes_each(t, h->addr, h->big_bytes, page_count, node_pages);
    w->whole = w->whole && text_room(w->text, ROW_BYTES);
    if (w->whole)
        kmem_area_row(w->text, &(struct kmem_area_row){.addr = (uintptr_t)h->addr,
                                                       .bytes = h->big_bytes,
                                                       .caller = (uintptr_t)h->big_caller,
                                                       .page_bytes = t->page_bytes,
                                                       .symbol = named ? symbol : NULL,
                                                       .node_pages = node_pages,
                                                       .is_user = (h->big_flags & BIG_AREA_USER) != 0});
}

static bool view_vmallocinfo(struct target *t, struct kmem_text *text) {
    struct areas_walk w = {text, symbols_open(t->pid), true};
    target_hpages_each(t, area_add, &w);
    symbols_close(w.symbols);
    return target_is_same(t) && w.whole;
}

static void area_count(const struct target *t, const struct chunk *at, const struct hpage *h, void *arg) {
    struct kmem_meminfo *m = arg;
    (void)t, (void)at;
    if (h->state == HPAGE_BIG && (h->big_flags & BIG_AREA) != 0)
        m->vmalloc_bytes += h->big_bytes;
}

static bool view_meminfo(struct target *t, struct kmem_text *text) {
    static struct caches caches;
    struct kmem_meminfo m = {0};
    bool read = caches_read(t, &caches) && text_room(text, ROW_BYTES);
    for (size_t i = 0; read && i < caches.nr; i++) {
        const struct cache *c = &caches.rows[i];
        u64 bytes = c->class->stats.slabs * c->class->slab_bytes;
        m.slab_bytes += bytes;
        m.reclaimable_bytes += (c->flags & QUARRY_SLAB_RECLAIM_ACCOUNT) != 0 ? bytes : 0;
    }
    caches_free(&caches);
    if (!read)
        return false;
    target_hpages_each(t, area_count, &m);
    kmem_meminfo_rows(text, &m);
    return target_is_same(t);
}

/* Nothing is printed of what could not be read to the end. */
static int view_command(int argc, char **argv, bool (*view)(struct target *t, struct kmem_text *text)) {
    struct target t;
    struct kmem_text text = {NULL, 0, 0};
    int status = target_begin(&t, argc, argv);
    if (status != 0)
        return status;
    bool read = view(&t, &text);
    if (read && text.len > 0)
        fwrite(text.text, 1, text.len, stdout);
    free(text.text);
    target_close(&t);
    return read ? 0 : 1;
}

int command_slabinfo(int argc, char **argv) { return view_command(argc, argv, view_slabinfo); }
int command_vmallocinfo(int argc, char **argv) { return view_command(argc, argv, view_vmallocinfo); }
int command_buddyinfo(int argc, char **argv) { return view_command(argc, argv, view_buddyinfo); }
int command_meminfo(int argc, char **argv) { return view_command(argc, argv, view_meminfo); }
