/* SPDX-License-Identifier: MIT */
/*
 * `quarry numa PID`: what of a process's heap belongs to which NUMA node, by size class; on which node the kernel says
 * its pages lie; and which nodes freed the objects of which. Reading the process is target.c's, what the counters mean
 * slab/class.h's and mag/node.c's.
 */
#include "quarry.h"
#include "target.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES_MAX = PAGE_NODES_MAX, NAME_WIDTH = 18, COLUMN_WIDTH = 16, ELSEWHERE = NODES_MAX, CACHES = 0 };

/* By index of the node. Row CACHES of the classes stands for all that were made while the process ran. */
struct numa {
    unsigned nr;
    int id[NODES_MAX];
    u64 held_bytes[SLAB_CLASSES_NR][NODES_MAX]; /* by slabs */
    u64 out_bytes[SLAB_CLASSES_NR][NODES_MAX];  /* of those handed out or in magazines */
    u64 memory_bytes[NODES_MAX][NODES_MAX + 1]; /* by the node it belongs to, and the one it lies on */
    u64 remote_frees[NODES_MAX][NODES_MAX];     /* by the node that freed, and the object's */
};

/* --- reading --- */

/* A process that does not keep nodes apart has one, without a number. */
static bool ids_read(const struct target *t, struct numa *n) {
    static struct sys_numa numa;
    struct page_nodes_view view;
    u8 first = 0;
    for (unsigned node = 0; node < NODES_MAX; node++)
        n->id[node] = -1;
    if (n->nr == 1)
        return true;
    if (!target_peek(t, &view, t->view.nodes, sizeof(view)) || !target_peek(t, &first, view.first, sizeof(first)))
        return false;
    const struct sys_numa *at = target_peek_pointer(t, view.numa);
    if (at == NULL || !target_peek(t, &numa, at, sizeof(numa)))
        return false;
    for (unsigned node = 0; node < n->nr; node++)
        n->id[node] = numa.id[(node == 0 ? first : node == first ? 0 : node) % NODES_MAX];
    return true;
}

static void class_add(struct numa *n, unsigned row, unsigned node, const struct slab_geometry *g,
                      const struct slab_class *c) {
    n->held_bytes[row][node] += (u64)MAX(c->slabs, 0) * g->granules * GRANULE_BYTES;
    n->out_bytes[row][node] += (u64)MAX(c->out_objs, 0) * g->size_bytes;
}

static bool fixed_read(const struct target *t, struct numa *n) {
    static struct slab_geometry geometry[SLAB_CLASSES_NR];
    static struct slab_class row[SLAB_CLASSES_NR];
    if (!target_peek(t, geometry, t->view.geometry, sizeof(geometry)))
        return false;
    for (unsigned node = 0; node < n->nr; node++) {
        const struct slab_class *at = target_peek_pointer(t, &t->view.classes[node]);
        if (at == NULL || !target_peek(t, row, at, sizeof(row)))
            return false;
        for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++)
            class_add(n, cls, node, &geometry[cls], &row[cls]);
    }
    return true;
}

/* One class made while the process ran: its record, and its lists on the other nodes. */
static bool made_class_read(const struct target *t, struct numa *n, const struct slab_made_view *made, unsigned idx) {
    const char *record = (const char *)target_peek_pointer(t, made->table_at) + idx * (size_t)made->stride_bytes;
    const struct slab_geometry *at = target_peek_pointer(t, record + made->geometry_offset);
    struct slab_geometry g;
    struct slab_class c;
    if (at == NULL)
        return true; /* never used */
    if (!target_peek(t, &g, at, sizeof(g)))
        return false;
    for (unsigned node = 0; node < n->nr; node++) {
        const struct slab_class *row = node == 0 ? NULL : target_peek_pointer(t, &made->nodes[node]);
        const void *class_at = node == 0 ? record + made->class_offset : (const void *)(row + idx);
        if ((node != 0 && row == NULL) || !target_peek(t, &c, class_at, sizeof(c)))
            return false;
        class_add(n, CACHES, node, &g, &c);
    }
    return true;
}

static bool made_read(const struct target *t, struct numa *n) {
    struct slab_made_view made;
    unsigned end = 0;
    if (!target_peek(t, &end, t->view.ids_end, sizeof(end)) || !target_peek(t, &made, t->view.made, sizeof(made)))
        return false;
    bool read = true;
    for (unsigned cls = SLAB_CLASSES_NR; read && cls < MIN(end, (unsigned)SLAB_IDS_NR); cls++)
        read = made_class_read(t, n, &made, cls - SLAB_CLASSES_NR);
    return read;
}

static bool remote_read(const struct target *t, struct numa *n) {
    const u64 *at = n->nr == 1 ? NULL : target_peek_pointer(t, t->view.remote_frees);
    bool read = n->nr == 1 || at != NULL;
    for (unsigned from = 0; read && at != NULL && from < n->nr; from++)
        read = target_peek(t, n->remote_frees[from], at + (size_t)from * n->nr, n->nr * sizeof(u64));
    return read;
}

static unsigned index_of(const struct numa *n, int id) {
    for (unsigned node = 0; node < n->nr; node++) {
        if (n->id[node] == id || n->nr == 1)
            return node;
    }
    return ELSEWHERE;
}

struct hpage_walk {
    struct numa *n;
    unsigned node;
    u64 page_bytes;
};

static void page_memory(int id, void *arg) {
    const struct hpage_walk *w = arg;
    w->n->memory_bytes[w->node][index_of(w->n, id)] += w->page_bytes;
}

static void hpage_memory(const struct target *t, const struct chunk *at, const struct hpage *h, void *arg) {
    struct hpage_walk w = {arg, h->tier / NODE_TIERS_NR, t->page_bytes};
    (void)at;
    if (h->state == HPAGE_RUNS && w.node < w.n->nr)
        target_nodes_each(t, h->addr, HPAGE_BYTES, page_memory, &w);
}

static bool numa_read(struct target *t, struct numa *n) {
    if (!target_peek(t, &n->nr, t->view.nodes_nr, sizeof(n->nr)))
        return false;
    n->nr = CLAMP(n->nr, 1u, (unsigned)NODES_MAX);
    if (!ids_read(t, n) || !fixed_read(t, n) || !made_read(t, n) || !remote_read(t, n))
        return false;
    target_hpages_each(t, hpage_memory, n);
    return true;
}

/* --- printing --- */

static void node_print(const struct numa *n, unsigned node) {
    char name[COLUMN_WIDTH];
    snprintf(name, sizeof(name), n->id[node] < 0 ? "all nodes" : "node %d", n->id[node]);
    printf("%*s", COLUMN_WIDTH, name);
}

static void head_print(const struct numa *n, const char *title) {
    printf("%-*s", NAME_WIDTH, title);
    for (unsigned node = 0; node < n->nr; node++)
        node_print(n, node);
}

static void row_print(const struct numa *n, const char *name, const u64 *figures) {
    printf("%-*s", NAME_WIDTH, name);
    for (unsigned node = 0; node < n->nr; node++)
        printf("%*" PRIu64, COLUMN_WIDTH, figures[node]);
}

static void classes_print(const struct numa *n, const char *title, u64 figures[][NODES_MAX],
                          const struct slab_geometry *geometry) {
    u64 sum[NODES_MAX] = {0}, *row;
    char name[NAME_WIDTH];
    head_print(n, title);
    puts("");
    for (unsigned at = 1; at <= SLAB_CLASSES_NR; at++) {
        unsigned cls = at % SLAB_CLASSES_NR; /* caches last */
        u64 all = 0;
        row = figures[cls];
        for (unsigned node = 0; node < n->nr; node++) {
            sum[node] += row[node];
            all += row[node];
        }
        snprintf(name, sizeof(name), cls == CACHES ? "caches" : "malloc-%u", geometry[cls].size_bytes);
        if (all == 0)
            continue;
        row_print(n, name, row);
        puts("");
    }
    row_print(n, "all", sum);
    puts("\n");
}

static void from_print(const struct numa *n, unsigned node) {
    char name[NAME_WIDTH];
    snprintf(name, sizeof(name), "of node %d", n->id[node]);
    printf("%-*s", NAME_WIDTH, n->id[node] < 0 ? "heap" : name);
}

static void matrices_print(const struct numa *n) {
    head_print(n, "bytes that lie on");
    printf("%*s\n", COLUMN_WIDTH, "elsewhere");
    for (unsigned node = 0; node < n->nr; node++) {
        from_print(n, node);
        for (unsigned on = 0; on < n->nr; on++)
            printf("%*" PRIu64, COLUMN_WIDTH, n->memory_bytes[node][on]);
        printf("%*" PRIu64 "\n", COLUMN_WIDTH, n->memory_bytes[node][ELSEWHERE]);
    }
    if (n->nr == 1)
        return;
    puts("");
    head_print(n, "objects freed on");
    puts("");
    for (unsigned node = 0; node < n->nr; node++) {
        from_print(n, node);
        for (unsigned from = 0; from < n->nr; from++) {
            if (from == node)
                printf("%*s", COLUMN_WIDTH, "-");
            else
                printf("%*" PRIu64, COLUMN_WIDTH, n->remote_frees[from][node]);
        }
        puts("");
    }
}

int command_numa(int argc, char **argv) {
    static struct numa numa;
    static struct slab_geometry geometry[SLAB_CLASSES_NR];
    struct target t;
    int status = target_begin(&t, argc, argv);
    if (status != 0)
        return status;
    bool read = target_peek(&t, geometry, t.view.geometry, sizeof(geometry)) && numa_read(&t, &numa);
    bool same = target_is_same(&t);
    if (same && !read)
        complain("%s: process %d cannot be read", t.command, (int)t.pid);
    if (same && read) {
        classes_print(&numa, "bytes in slabs", numa.held_bytes, geometry);
        classes_print(&numa, "handed out", numa.out_bytes, geometry);
        matrices_print(&numa);
    }
    target_close(&t);
    return same && read ? 0 : 1;
}
