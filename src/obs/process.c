/* SPDX-License-Identifier: MIT */
/*
 * Reads the process's memory figures from /proc, for report.c and collect.c. Knows the two files' format and nothing of
 * the allocator.
 */
#include "obs/process.h"

#include "sys/sys.h"

/* status and smaps_rollup are about 1.5 KB; the lines wanted stand in the first half of either. */
enum { FILE_BYTES = 2048 };
#define ROLLUP "/proc/self/smaps_rollup"

static const char *line_next(const char *s) {
    while (*s != '\0' && *s != '\n')
        s++;
    return *s == '\n' ? s + 1 : s;
}

/* Behind "key:" when s starts with it. */
static const char *key_skip(const char *s, const char *key) {
    while (*key != '\0') {
        if (*s++ != *key++)
            return NULL;
    }
    return *s == ':' ? s + 1 : NULL;
}

bool obs_kb_line_find(const char *text, const char *key, u64 *ret_bytes) {
    const char *at = NULL;
    for (const char *line = text; *line != '\0' && at == NULL; line = line_next(line))
        at = key_skip(line, key);
    if (at == NULL)
        return false;
    while (*at == ' ' || *at == '\t')
        at++;
    u64 kib = 0;
    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++)
        kib = kib * 10 + (u64)(*at - '0');
    *ret_bytes = kib * KIB;
    return true;
}

/* The first line of status: "Name:\tsh". The kernel writes odd characters as escapes. */
static void name_copy(const char *status, char *name, size_t cap_bytes) {
    const char *at = key_skip(status, "Name");
    size_t nr = 0;
    if (at != NULL && *at == '\t') {
        for (at++; at[nr] != '\0' && at[nr] != '\n' && nr + 1 < cap_bytes; nr++)
            name[nr] = at[nr];
    }
    if (nr == 0)
        name[nr++] = '?';
    name[nr] = '\0';
}

void obs_process_read(struct obs_process *ret_process) {
    char text[FILE_BYTES];
    struct obs_process p = {0};
    if (sys_read_file("/proc/self/status", text, sizeof(text)) <= 0)
        text[0] = '\0';
    name_copy(text, p.name, sizeof(p.name));
    p.peak_known = obs_kb_line_find(text, "VmHWM", &p.peak_resident_bytes);
    if (sys_read_file(ROLLUP, text, sizeof(text)) > 0)
        p.rollup_known =
            obs_kb_line_find(text, "Rss", &p.resident_bytes) && obs_kb_line_find(text, "AnonHugePages", &p.huge_bytes);
    if (p.rollup_known)
        (void)obs_kb_line_find(text, "Private_Hugetlb", &p.hugetlb_bytes);
    *ret_process = p;
}

bool obs_anonymous_read(u64 *ret_bytes) {
    char text[FILE_BYTES];
    u64 hugetlb_bytes = 0;
    if (sys_read_file(ROLLUP, text, sizeof(text)) <= 0 || !obs_kb_line_find(text, "Anonymous", ret_bytes))
        return false;
    (void)obs_kb_line_find(text, "Private_Hugetlb", &hugetlb_bytes);
    *ret_bytes += hugetlb_bytes;
    return true;
}
