/* SPDX-License-Identifier: MIT */
/*
 * Another process: its memory by process_vm_readv(2), its page table by /proc/PID/pagemap. Contract in target.h. Knows
 * how the heap's records are found, not what is counted in them.
 */
#include "target.h"

#include "quarry.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SCAN_BYTES = 1 << 20 };

/* Bits of a pagemap entry: Documentation/admin-guide/mm/pagemap.rst. */
#define ENTRY_PRESENT ((u64)1 << 63)
#define ENTRY_FILE ((u64)1 << 61)

bool target_peek(const struct target *t, void *to, const void *from, size_t bytes) {
    struct iovec local = {to, bytes}, remote = {(void *)(uintptr_t)from, bytes};
    return process_vm_readv(t->pid, &local, 1, &remote, 1, 0) == (ssize_t)bytes;
}

const void *target_peek_pointer(const struct target *t, const void *at) {
    const void *p = NULL;
    return target_peek(t, &p, at, sizeof(void *)) ? p : NULL;
}

/* --- finding constants --- */

struct search {
    const struct target *t;
    u64 magic;
    u32 layout;
    void *constant;
    size_t bytes;
    bool refused; /* the kernel said so of a read */
};

/* A constant that knows its own address. */
static enum target_found constant_at(const struct search *s, const char *addr) {
    struct obs_view_head head;
    if (!target_peek(s->t, &head, addr, sizeof(head)) || head.magic != s->magic || (const char *)head.self != addr)
        return TARGET_NOT_FOUND;
    if (head.bytes != s->bytes || head.layout != s->layout ||
        strncmp(head.version, QUARRY_VERSION_TEXT, sizeof(head.version)) != 0)
        return TARGET_OTHER_BUILD;
    return target_peek(s->t, s->constant, addr, s->bytes) ? TARGET_FOUND : TARGET_NOT_FOUND;
}

static enum target_found range_search(struct search *s, const char *from, const char *to) {
    static u64 window[SCAN_BYTES / sizeof(u64)];
    for (; from < to; from += SCAN_BYTES) {
        size_t bytes = MIN((size_t)(to - from), sizeof(window));
        if (!target_peek(s->t, window, from, bytes)) {
            s->refused = s->refused || errno == EPERM;
            continue;
        }
        for (size_t i = 0; i < bytes / sizeof(u64); i++) {
            enum target_found found = window[i] == s->magic ? constant_at(s, from + i * sizeof(u64)) : TARGET_NOT_FOUND;
            if (found != TARGET_NOT_FOUND)
                return found;
        }
    }
    return TARGET_NOT_FOUND;
}

/* A file's private mapping that is not executed: data of the program or a library, relocated constants among it. */
static enum target_found mapping_search(struct search *s, const char *line) {
    unsigned long from, to, inode;
    char flags[5];
    if (sscanf(line, "%lx-%lx %4s %*x %*x:%*x %lu", &from, &to, flags, &inode) != 4 || inode == 0 || flags[0] != 'r' ||
        flags[2] == 'x' || flags[3] != 'p')
        return TARGET_NOT_FOUND;
    return range_search(s, (const char *)from, (const char *)to);
}

/* False, with errno: the mappings cannot be read. */
static bool mappings_search(struct search *s, enum target_found *ret_found) {
    char path[64], line[8192];
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)s->t->pid);
    *ret_found = TARGET_NOT_FOUND;
    FILE *maps = fopen(path, "r");
    if (maps == NULL)
        return false;
    while (*ret_found == TARGET_NOT_FOUND && fgets(line, sizeof(line), maps) != NULL)
        *ret_found = mapping_search(s, line);
    int error = ferror(maps) ? errno : s->refused ? EPERM : 0;
    fclose(maps);
    errno = error;
    return *ret_found != TARGET_NOT_FOUND || error == 0;
}

enum target_found target_find(const struct target *t, u64 magic, u32 layout, void *ret_constant, size_t bytes) {
    struct search s = {.t = t, .magic = magic, .layout = layout, .constant = ret_constant, .bytes = bytes};
    enum target_found found;
    return mappings_search(&s, &found) ? found : TARGET_NOT_FOUND;
}

/* --- opening --- */

static void complain_unreadable(const struct target *t, int error) {
    complain("%s: cannot read process %d: %s%s", t->command, (int)t->pid,
             error == ENOENT ? "there is none, or /proc does not show it" : strerror(error),
             error == EACCES || error == EPERM ? " (another user's, or protected: see ptrace(2))" : "");
}

static bool view_find(struct target *t) {
    struct search s = {
        .t = t, .magic = OBS_VIEW_MAGIC, .layout = OBS_VIEW_LAYOUT, .constant = &t->view, .bytes = sizeof(t->view)};
    enum target_found found;
    if (!mappings_search(&s, &found))
        complain_unreadable(t, errno);
    else if (found == TARGET_NOT_FOUND)
        complain("%s: process %d does not run on quarry", t->command, (int)t->pid);
    else if (found == TARGET_OTHER_BUILD)
        complain("%s: process %d runs quarry of another build than this tool (%s)", t->command, (int)t->pid,
                 QUARRY_VERSION_TEXT);
    return found == TARGET_FOUND;
}

static bool meta_read(struct target *t) {
    if (!target_peek(t, &t->meta, t->view.meta, sizeof(t->meta)))
        complain_unreadable(t, errno);
    else if (t->meta.base == NULL || target_peek_pointer(t, t->view.classes) == NULL)
        complain("%s: process %d has not allocated anything yet", t->command, (int)t->pid);
    else
        return true;
    return false;
}

bool target_open(struct target *t, const char *command, pid_t pid) {
    char path[64];
    *t = (struct target){.pid = pid, .command = command, .page_bytes = (size_t)sysconf(_SC_PAGESIZE)};
    if (!view_find(t) || !meta_read(t))
        return false;
    snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
    t->pagemap = open(path, O_RDONLY | O_CLOEXEC);
    if (t->pagemap < 0)
        complain_unreadable(t, errno);
    return t->pagemap >= 0;
}

int target_begin(struct target *t, int argc, char **argv) {
    pid_t pid;
    if (argc != 2 || !target_pid_read(argv[1], &pid)) {
        complain("%s takes a process id", argv[0]);
        return EXIT_USAGE;
    }
    return target_open(t, argv[0], pid) ? 0 : 1;
}

void target_close(struct target *t) { close(t->pagemap); }

/* Another program, or the same started again, has its constant or its heap elsewhere. */
bool target_is_there(struct target *t) {
    struct obs_view view;
    struct rt_meta meta;
    if (target_peek(t, &view, t->view.head.self, sizeof(view)) && memcmp(&view, &t->view, sizeof(view)) == 0 &&
        target_peek(t, &meta, view.meta, sizeof(meta)) && meta.map_end == t->meta.map_end &&
        meta.base == t->meta.base) {
        t->meta = meta;
        return true;
    }
    return false;
}

bool target_is_same(struct target *t) {
    if (target_is_there(t))
        return true;
    complain("%s: process %d ended, or became another program, while it was read", t->command, (int)t->pid);
    return false;
}

bool target_pid_read(const char *word, pid_t *ret_pid) {
    size_t digits = 0;
    while (isdigit((unsigned char)word[digits]))
        digits++;
    if (digits == 0 || digits >= 10 || word[digits] != '\0')
        return false;
    *ret_pid = (pid_t)strtol(word, NULL, 10);
    return true;
}

/* --- which pages hold memory, as obs/backing.c of its own process --- */

size_t target_entries_read(const struct target *t, u64 *entries, const void *addr, size_t pages_nr) {
    off_t at = (off_t)((uintptr_t)addr / t->page_bytes * sizeof(u64));
    ssize_t got = pread(t->pagemap, entries, MIN(pages_nr, (size_t)TARGET_ENTRIES_NR) * sizeof(u64), at);
    return got <= 0 ? 0 : (size_t)got / sizeof(u64);
}

bool target_entry_has_memory(u64 entry) { return (entry & (ENTRY_PRESENT | ENTRY_FILE)) == ENTRY_PRESENT; }

u64 target_memory_bytes(const struct target *t, const void *addr, size_t bytes) {
    u64 entries[TARGET_ENTRIES_NR], pages = 0;
    uintptr_t at = round_down((uintptr_t)addr, t->page_bytes), end = (uintptr_t)addr + bytes;
    while (at < end) {
        size_t nr = target_entries_read(t, entries, (const void *)at, (end - at + t->page_bytes - 1) / t->page_bytes);
        if (nr == 0)
            break;
        for (size_t i = 0; i < nr; i++)
            pages += target_entry_has_memory(entries[i]);
        at += nr * t->page_bytes;
    }
    return pages * t->page_bytes;
}

/* --- walking --- */

u64 target_chunks_each(const struct target *t, target_chunk_fn *fn, void *arg) {
    size_t per_page = t->page_bytes / sizeof(meta_ref_t);
    meta_ref_t *refs = malloc(t->page_bytes);
    u64 table_bytes = 0;
    for (size_t first = 0; refs != NULL && first <= t->meta.chunks_mask; first += per_page) {
        const void *page = (const char *)t->meta.chunks + first * sizeof(meta_ref_t);
        u64 memory = target_memory_bytes(t, page, t->page_bytes);
        table_bytes += memory;
        if (memory == 0 || !target_peek(t, refs, page, t->page_bytes))
            continue;
        for (size_t i = 0; i < per_page && first + i <= t->meta.chunks_mask; i++) {
            if (refs[i] != 0)
                fn(t, (const struct chunk *)(t->meta.base + ((size_t)refs[i] << META_UNIT_SHIFT)), first + i, arg);
        }
    }
    free(refs);
    return table_bytes;
}

bool target_hpages_read(const struct target *t, const struct chunk *at, struct hpage *ret_hpages) {
    return target_peek(t, ret_hpages, at->hpages, sizeof(at->hpages));
}

struct hpages_walk {
    target_hpage_fn *fn;
    void *arg;
};

static void chunk_hpages(const struct target *t, const struct chunk *at, size_t idx, void *arg) {
    static struct hpage hpages[CHUNK_HPAGES];
    const struct hpages_walk *w = arg;
    (void)idx;
    if (!target_hpages_read(t, at, hpages))
        return;
    for (const struct hpage *h = hpages; h < hpages + CHUNK_HPAGES; h++) {
        if (h->state != HPAGE_FOREIGN)
            w->fn(t, at, h, w->arg);
    }
}

void target_hpages_each(const struct target *t, target_hpage_fn *fn, void *arg) {
    struct hpages_walk w = {fn, arg};
    (void)target_chunks_each(t, chunk_hpages, &w);
}

/* The kernel is asked about each page; one without memory lies nowhere, and gets none by that. */
void target_nodes_each(const struct target *t, const char *addr, u64 bytes, target_node_fn *fn, void *arg) {
    u64 left = bytes / t->page_bytes;
    for (u64 nr; left > 0; left -= nr, addr += nr * t->page_bytes) {
        const void *pages[TARGET_ENTRIES_NR];
        int status[TARGET_ENTRIES_NR];
        nr = MIN(left, (u64)TARGET_ENTRIES_NR);
        for (u64 i = 0; i < nr; i++)
            pages[i] = addr + i * t->page_bytes;
        if (syscall(SYS_move_pages, t->pid, (unsigned long)nr, pages, NULL, status, 0) < 0)
            return;
        for (u64 i = 0; i < nr; i++) {
            if (status[i] >= 0)
                fn(status[i], arg);
        }
    }
}
