/* SPDX-License-Identifier: MIT */
/* Finding the process's cgroup v2 and reading its limits. Contract in cgroup.h. */
#include "rt/cgroup.h"

#include "base/fmt.h"
#include "sys/sys.h"

enum { PATH_BYTES = 1024, VALUE_BYTES = 64, STAT_BYTES = 1024, ROOT_FIELD = 3, MOUNT_FIELD = 4 };

const char *rt_cgroup_root = "";

/* A directory of the group; the file to read is put behind it. */
struct place {
    char path[PATH_BYTES];
    size_t mount_len, len; /* of the mount point, which is as far up as one sees, and of the directory */
    char group[PATH_BYTES];
    bool too_long;
};

static bool text_begins(const char *text, const char *with) {
    while (*with != '\0' && *text == *with)
        text++, with++;
    return *with == '\0';
}

static void text_copy(char *to, size_t cap_bytes, const char *from, size_t len, bool *too_long) {
    *too_long = *too_long || len >= cap_bytes;
    len = MIN(len, cap_bytes - 1);
    for (size_t i = 0; i < len; i++)
        to[i] = from[i];
    to[len] = '\0';
}

static size_t text_len(const char *text) {
    size_t len = 0;
    while (text[len] != '\0')
        len++;
    return len;
}

/* --- where the group is --- */

/* /proc/self/cgroup: "0::/path" is the group in the one hierarchy of version 2. */
static bool group_line(const char *line, void *arg) {
    struct place *p = arg;
    if (!text_begins(line, "0::/"))
        return false;
    const char *path = line + sizeof("0::") - 1;
    text_copy(p->group, sizeof(p->group), path, text_len(path), &p->too_long);
    return true;
}

/* The nth field of a line, counted from 0, and its length. */
static const char *field_at(const char *line, unsigned nth, size_t *ret_len) {
    for (; nth > 0 && *line != '\0'; line++)
        nth -= *line == ' ';
    *ret_len = 0;
    while (line[*ret_len] != '\0' && line[*ret_len] != ' ')
        ++*ret_len;
    return line;
}

static bool line_is_cgroup2(const char *line) {
    for (; *line != '\0'; line++) {
        if (text_begins(line, " - cgroup2 "))
            return true;
    }
    return false;
}

/* What of the group's path lies below the mount: in a container the mount shows a part of the hierarchy. */
static const char *group_below(const char *group, const char *root, size_t root_len) {
    size_t i = 0;
    while (i < root_len && group[i] == root[i])
        i++;
    if (root_len == 1 || i < root_len || (group[i] != '/' && group[i] != '\0'))
        return root_len == 1 ? group : "";
    return group + i;
}

/* /proc/self/mountinfo: id parent major:minor root mount-point options ... - type ... (proc(5)). */
static bool mount_line(const char *line, void *arg) {
    struct place *p = arg;
    size_t root_len, mount_len;
    if (!line_is_cgroup2(line))
        return false;
    const char *root = field_at(line, ROOT_FIELD, &root_len), *mount = field_at(line, MOUNT_FIELD, &mount_len);
    const char *below = group_below(p->group, root, root_len);
    size_t at = text_len(rt_cgroup_root);
    text_copy(p->path, sizeof(p->path), rt_cgroup_root, at, &p->too_long);
    text_copy(p->path + at, sizeof(p->path) - at, mount, mount_len, &p->too_long);
    p->mount_len = MIN(at + mount_len, sizeof(p->path) - 1);
    text_copy(p->path + p->mount_len, sizeof(p->path) - p->mount_len, below, text_len(below), &p->too_long);
    p->len = text_len(p->path);
    while (p->len > p->mount_len && p->path[p->len - 1] == '/')
        p->len--;
    return true;
}

static bool lines_find(const char *path, bool (*match)(const char *line, void *arg), void *arg) {
    char whole[PATH_BYTES];
    struct fmt_buf b = {whole, sizeof(whole), 0};
    fmt_printf(&b, "%s%s", rt_cgroup_root, path);
    return sys_lines_find(whole, match, arg);
}

/* --- what it says --- */

static s64 file_read(struct place *p, const char *name, char *buf, size_t cap_bytes) {
    bool too_long = false;
    text_copy(p->path + p->len, sizeof(p->path) - p->len, name, text_len(name), &too_long);
    return too_long ? -1 : sys_read_file(p->path, buf, cap_bytes);
}

static bool number_parse(const char *text, u64 *ret_value) {
    u64 value = 0;
    if (*text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (u64)(*text - '0');
    *ret_value = value;
    return true;
}

/* A limit in bytes, or none: "max", and no file at the root of the hierarchy. */
static u64 limit_read(struct place *p, const char *name) {
    char text[VALUE_BYTES];
    u64 value;
    return file_read(p, name, text, sizeof(text)) > 0 && number_parse(text, &value) ? value : RT_CGROUP_NONE;
}

/* What the group holds, by memory.stat, in bytes; a line the kernel does not have is 0. */
struct held {
    u64 anon, kernel, shmem, slab_reclaimable;
};

/* The lines wanted are among the first. */
static struct held held_read(struct place *p) {
    struct held h = {0, 0, 0, 0};
    const struct {
        const char *name;
        u64 *ret_bytes;
    } wanted[] = {
        {"anon ", &h.anon}, {"kernel ", &h.kernel}, {"shmem ", &h.shmem}, {"slab_reclaimable ", &h.slab_reclaimable}};
    char text[STAT_BYTES];
    if (file_read(p, "/memory.stat", text, sizeof(text)) <= 0)
        return h;
    for (const char *line = text; *line != '\0';) {
        for (size_t i = 0; i < ARRAY_NR(wanted); i++) {
            if (text_begins(line, wanted[i].name))
                (void)number_parse(line + text_len(wanted[i].name), wanted[i].ret_bytes);
        }
        while (*line != '\0' && *line++ != '\n')
            continue;
    }
    return h;
}

/*
 * A page's entry is 8 bytes of a page table, which the kernel charges to the group, too: pages of 4 KiB have the most.
 * Those of what the heap has touched are among what the group holds; those of what is still to be touched must be left,
 * be it counted already or not.
 */
enum { PAGE_TABLE_PART = 4096 / 8 };

/* Never 0, which would read as "none". */
static u64 left_of(u64 limit, u64 others, u64 touched) {
    if (limit == RT_CGROUP_NONE)
        return limit;
    u64 left = limit > others ? limit - others : 1;
    return left > touched ? left - (left - touched) / PAGE_TABLE_PART : left;
}

/*
 * A heap has anonymous memory alone: what it counts before a page is touched must not stand for its page tables. Of the
 * kernel's memory, reclaim gets what caches of files have (dentries, inodes), as it gets their pages.
 */
static void level_read(struct place *p, u64 heap_bytes, struct rt_cgroup *c) {
    u64 high = limit_read(p, "/memory.high"), max = limit_read(p, "/memory.max");
    if (high == RT_CGROUP_NONE && max == RT_CGROUP_NONE)
        return;
    struct held h = held_read(p);
    u64 touched = MIN(h.anon, heap_bytes);
    u64 others = h.anon - touched + h.shmem + h.kernel - MIN(h.kernel, h.slab_reclaimable);
    c->soft_bytes = MIN(c->soft_bytes, left_of(high, others, touched));
    c->hard_bytes = MIN(c->hard_bytes, left_of(max, others, touched));
}

/* The directory above; false at the mount point. */
static bool place_up(struct place *p) {
    if (p->len <= p->mount_len)
        return false;
    while (p->len > p->mount_len && p->path[p->len - 1] != '/')
        p->len--;
    while (p->len > p->mount_len && p->path[p->len - 1] == '/')
        p->len--;
    return true;
}

void rt_cgroup_read(u64 heap_bytes, struct rt_cgroup *ret_cgroup) {
    struct rt_cgroup c = {RT_CGROUP_NONE, RT_CGROUP_NONE};
    struct place p = {.len = 0};
    if (lines_find("/proc/self/cgroup", group_line, &p) && lines_find("/proc/self/mountinfo", mount_line, &p) &&
        !p.too_long) {
        do
            level_read(&p, heap_bytes, &c);
        while (place_up(&p));
    }
    *ret_cgroup = c;
}
