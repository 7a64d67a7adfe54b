/* SPDX-License-Identifier: MIT */
/*
 * NUMA nodes, without libnuma, whose constructor opens files and allocates: which nodes have memory this process may
 * use, how far they are from each other, where a thread runs, where a page lies. Sources: get_mempolicy(2),
 * move_pages(2), getcpu(2), and /sys/devices/system/node (Documentation/ABI/stable/sysfs-devices-node). Contract in
 * sys.h.
 */
#include "base/bits.h"
#include "base/fmt.h"
#include "sys/call.h"
#include "sys/sys.h"

#include <linux/mempolicy.h>
#include <sys/auxv.h>

#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#endif

enum {
    WORD_BITS = 64,
    PATH_BYTES = 96,
    LIST_BYTES = 512,       /* of node numbers, as sysfs writes it */
    DISTANCES_BYTES = 4096, /* a page is the most sysfs gives */
    DISTANCE_UNKNOWN = 255,
    RSEQ_NODE_ID_OFFSET = 20,
    RSEQ_NODE_ID_END = 24,
    RSEQ_CPU_ID_OFFSET = 4,
    RSEQ_ORIGINAL_BYTES = 20,
};

/* glibc's, absent from other libcs and from glibc before 2.35. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));
/* glibc's since 2.29, by the vDSO. */
extern int getcpu(unsigned *cpu, unsigned *node) __attribute__((weak));

/* --- sets of nodes, as sysfs writes them --- */

static bool number_read(const char **text, unsigned *ret_value) {
    const char *at = *text;
    unsigned value = 0;
    for (; *at >= '0' && *at <= '9' && value < SYS_NODE_IDS_NR * 10; at++)
        value = value * 10 + (unsigned)(*at - '0');
    bool read = at != *text;
    *text = at;
    *ret_value = value;
    return read;
}

/* "0-3,5" */
static void list_read(const char *text, struct sys_nodes *ret_nodes) {
    unsigned first, last;
    *ret_nodes = (struct sys_nodes){{0}};
    while (number_read(&text, &first)) {
        last = first;
        if (*text == '-') {
            text++;
            (void)number_read(&text, &last);
        }
        for (unsigned id = first; id <= MIN(last, SYS_NODE_IDS_NR - 1u); id++)
            sys_nodes_add(ret_nodes, id);
        text += *text == ',';
    }
}

/* --- what the kernel allows --- */

bool sys_nodes_allowed(struct sys_nodes *ret_nodes) {
    *ret_nodes = (struct sys_nodes){{0}};
    return SYS_RARE(6, SYS_get_mempolicy, NULL, ret_nodes->words, SYS_NODE_IDS_NR, 0, MPOL_F_MEMS_ALLOWED, 0) == 0;
}

enum sys_policy sys_thread_policy(struct sys_nodes *ret_nodes) {
    enum { LOCAL = 4, WEIGHTED_INTERLEAVE = 6, RELATIVE = 1 << 14, FLAGS = 7 << 13 }; /* not in every header */
    int mode = MPOL_DEFAULT;
    *ret_nodes = (struct sys_nodes){{0}};
    if (SYS_RARE(6, SYS_get_mempolicy, &mode, ret_nodes->words, SYS_NODE_IDS_NR, 0, 0, 0) != 0)
        return SYS_POLICY_NONE;
    bool relative = (mode & RELATIVE) != 0;
    mode &= ~FLAGS;
    if (mode == MPOL_DEFAULT || mode == LOCAL || sys_nodes_count(ret_nodes) == 0)
        return SYS_POLICY_NONE;
    if (relative)
        *ret_nodes = (struct sys_nodes){{0}};
    return mode == MPOL_INTERLEAVE || mode == WEIGHTED_INTERLEAVE ? SYS_POLICY_TURNS : SYS_POLICY_NODES;
}

/* libnuma's, which sets policies for a program that is linked with it. */
extern long set_mempolicy(int mode, const unsigned long *nodes, unsigned long max_node) __attribute__((weak));

bool sys_policies_are_used(void) { return &set_mempolicy != NULL; }

/* --- topology --- */

/* ROOT/NAME, or with a node ROOT/nodeN/NAME. */
static s64 file_read(const char *root, const char *name, int node, char *text, size_t cap_bytes) {
    char path[PATH_BYTES];
    struct fmt_buf b = fmt_init(path, sizeof(path));
    fmt_str(&b, root);
    if (node >= 0)
        fmt_printf(&b, "/node%u", (unsigned)node);
    fmt_char(&b, '/');
    fmt_str(&b, name);
    return sys_read_file(path, text, cap_bytes);
}

/* A line of distances has one for each node that is online, by ascending number. */
static void distances_read(const char *root, unsigned id, const struct sys_nodes *online, const struct sys_numa *numa,
                           u8 *ret_distance) {
    char text[DISTANCES_BYTES];
    unsigned other = 0, distance;
    for (unsigned i = 0; i < numa->nr; i++)
        ret_distance[i] = numa->id[i] == id ? 0 : DISTANCE_UNKNOWN;
    if (file_read(root, "distance", (int)id, text, sizeof(text)) <= 0)
        return;
    for (const char *at = text; number_read(&at, &distance); at += *at == ' ') {
        other = sys_nodes_next(online, other);
        for (unsigned i = 0; i < numa->nr; i++) {
            if (numa->id[i] == other && other != id)
                ret_distance[i] = (u8)MIN(distance, DISTANCE_UNKNOWN);
        }
        other++;
    }
}

/* All nodes by distance, those with CPUs first among equals: memory without CPUs is slower than a line says. */
static void order_fill(const u8 *distance, const u64 with_cpus, unsigned nr, u8 *ret_order) {
    for (unsigned i = 0; i < nr; i++) {
        unsigned at = i, key = distance[i] * 2u + ((with_cpus >> i & 1) == 0);
        for (; at > 0; at--) {
            unsigned before = ret_order[at - 1];
            if (distance[before] * 2u + ((with_cpus >> before & 1) == 0) <= key)
                break;
            ret_order[at] = (u8)before;
        }
        ret_order[at] = (u8)i;
    }
}

static void members_fill(const struct sys_nodes *members, struct sys_numa *numa) {
    for (unsigned id = 0; (id = sys_nodes_next(members, id)) < SYS_NODE_IDS_NR && numa->nr < SYS_NODES_MAX; id++)
        numa->id[numa->nr++] = (u16)id;
}

void sys_numa_read(const char *root, const struct sys_nodes *allowed, struct sys_numa *ret_numa) {
    char text[LIST_BYTES];
    struct sys_nodes online = *allowed, members = *allowed, cpus = {{0}};
    u64 with_cpus = 0;
    ret_numa->nr = 0;
    if (file_read(root, "online", -1, text, sizeof(text)) > 0)
        list_read(text, &online);
    if (file_read(root, "has_cpu", -1, text, sizeof(text)) > 0)
        list_read(text, &cpus);
    if (file_read(root, "has_memory", -1, text, sizeof(text)) > 0) {
        list_read(text, &members);
        for (unsigned w = 0; w < ARRAY_NR(members.words); w++)
            members.words[w] &= allowed->words[w];
    }
    members_fill(&members, ret_numa);
    for (unsigned i = 0; i < ret_numa->nr; i++)
        with_cpus |= (u64)sys_nodes_have(&cpus, ret_numa->id[i]) << i;
    for (unsigned id = 0; id < SYS_NODE_IDS_NR && ret_numa->nr != 0; id++) {
        u8 distance[SYS_NODES_MAX], order[SYS_NODES_MAX];
        ret_numa->home[id] = 0;
        if (!sys_nodes_have(&online, id))
            continue;
        distances_read(root, id, &online, ret_numa, distance);
        order_fill(distance, with_cpus, ret_numa->nr, order);
        ret_numa->home[id] = order[0];
        for (unsigned at = 0; at < ret_numa->nr && ret_numa->id[order[0]] == id; at++)
            ret_numa->order[order[0]][at] = order[at];
    }
}

/* --- threads and pages --- */

/* The kernel fills the field since 6.3, and says so by the size of what it fills; the area is padded to 32 bytes even
 * where glibc reports the original 20. */
static const int *rseq_node(void) {
    static _Atomic(int) known; /* 0 not yet, 1 yes, -1 no */
    int state = atomic_load_explicit(&known, memory_order_relaxed);
    if (state == 0) {
        bool has = &__rseq_size != NULL && &__rseq_offset != NULL && __rseq_size >= RSEQ_ORIGINAL_BYTES &&
                   getauxval(AT_RSEQ_FEATURE_SIZE) >= RSEQ_NODE_ID_END;
        state = has ? 1 : -1;
        atomic_store_explicit(&known, state, memory_order_relaxed);
    }
    if (state < 0)
        return NULL;
    const char *area = (const char *)sys_thread_self() + __rseq_offset; // NOLINT(performance-no-int-to-ptr)
    return __atomic_load_n((const int *)(area + RSEQ_CPU_ID_OFFSET), __ATOMIC_RELAXED) < 0
               ? NULL
               : (const int *)(area + RSEQ_NODE_ID_OFFSET);
}

int sys_node_racy(void) {
    unsigned node = 0;
    const int *field = rseq_node();
    if (field != NULL)
        return __atomic_load_n(field, __ATOMIC_RELAXED);
    if (&getcpu != NULL)
        return getcpu(NULL, &node) == 0 ? (int)node : -1;
    return SYS_RARE(3, SYS_getcpu, 0, &node, 0) == 0 ? (int)node : -1;
}

int sys_node_of(const void *p) {
    int status = -1;
    /* Without target nodes the call only tells where the pages are. */
    return SYS_RARE(6, SYS_move_pages, 0, 1, &p, 0, &status, 0) == 0 ? status : -1;
}

enum { PAGES_NR = 32 };

void sys_vm_nodes_count(const char *addr, size_t bytes, u32 node_pages[SYS_NODE_IDS_NR]) {
    size_t left = bytes / sys_page_bytes();
    for (unsigned nr; left > 0; left -= nr, addr += nr * sys_page_bytes()) {
        const void *pages[PAGES_NR];
        int status[PAGES_NR];
        nr = (unsigned)MIN(left, (size_t)PAGES_NR);
        for (unsigned i = 0; i < nr; i++)
            pages[i] = addr + i * sys_page_bytes();
        if (SYS_RARE(6, SYS_move_pages, 0, nr, pages, 0, status, 0) != 0)
            return;
        for (unsigned i = 0; i < nr; i++) {
            if (status[i] >= 0 && status[i] < SYS_NODE_IDS_NR)
                node_pages[status[i]]++;
        }
    }
}

/* Up to PAGES_NR pages from p on, all of them on the node, where told by being moved there. */
static bool pages_settle(char *p, unsigned nr, int node, bool move) {
    void *pages[PAGES_NR];
    int nodes[PAGES_NR], status[PAGES_NR];
    bool all = true;
    for (unsigned i = 0; i < nr; i++) {
        pages[i] = p + i * sys_page_bytes();
        nodes[i] = node;
        status[i] = -1;
    }
    long err = SYS_RARE(6, SYS_move_pages, 0, nr, pages, move ? nodes : NULL, status, move ? MPOL_MF_MOVE : 0);
    for (unsigned i = 0; i < nr; i++)
        all = all && status[i] == node;
    return err >= 0 && all;
}

bool sys_vm_on_node(void *addr, size_t bytes, unsigned node, enum sys_settle settle) {
    char *p = (char *)round_down((uintptr_t)addr, sys_page_bytes());
    size_t left = (round_up((uintptr_t)addr + bytes, sys_page_bytes()) - (uintptr_t)p) / sys_page_bytes();
    for (unsigned nr; left > 0; left -= nr, p += nr * sys_page_bytes()) {
        nr = (unsigned)MIN(left, (size_t)PAGES_NR);
        if (pages_settle(p, nr, (int)node, false))
            continue;
        if (settle == SYS_SETTLE_LOOK)
            return false;
        /* Its answer is not the last word: of several pages in one hugepage, which moves whole, but the first are
         * called busy. */
        (void)pages_settle(p, nr, (int)node, true);
        if (!pages_settle(p, nr, (int)node, false))
            return false;
    }
    return true;
}
