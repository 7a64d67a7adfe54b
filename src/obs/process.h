/* SPDX-License-Identifier: MIT */
/* What the kernel says of this process's memory, beside our own accounts in the reports. */
#ifndef QUARRY_OBS_PROCESS_H
#define QUARRY_OBS_PROCESS_H

#include "base/types.h"

struct obs_process {
    u64 resident_bytes;      /* Rss of smaps_rollup */
    u64 peak_resident_bytes; /* VmHWM of status */
    u64 huge_bytes;          /* AnonHugePages of smaps_rollup: a part of resident_bytes */
    u64 hugetlb_bytes;       /* Private_Hugetlb of smaps_rollup: not a part of resident_bytes */
    bool rollup_known;       /* smaps_rollup could be read: it is missing in some containers and before Linux 4.14 */
    bool peak_known;
    char name[16]; /* the kernel's short name of the program; "?" when /proc cannot be read */
};

/* Reads /proc/self. Async-signal-safe; takes about 10 us and 2 KiB of stack. What cannot be read is 0 and not known. */
void obs_process_read(struct obs_process *ret_process);

/* Anonymous of smaps_rollup, which RssAnon of status estimates, and Private_Hugetlb; false where it cannot be read.
 * Async-signal-safe. */
bool obs_anonymous_read(u64 *ret_bytes);

/* The figure of a line "Key:    123 kB" in a file of /proc, in bytes; false when there is no such line. key has no
 * colon. */
bool obs_kb_line_find(const char *text, const char *key, u64 *ret_bytes);

#endif
