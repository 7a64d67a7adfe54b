/* SPDX-License-Identifier: MIT */
/*
 * Another process that runs on quarry, read while it runs. It is not stopped and does not take part. Where things lie
 * say constants in its data, which are found by their magic numbers (obs/view.h, kmem/view.h). Their structs are the
 * library's own, so that tool and library must be of one build; the constants say whether they are.
 *
 * Everything read may be changing: counts are used as they are, pointers are followed once and only into what a read
 * then finds, and walks are bounded by what the structs can hold.
 */
#ifndef QUARRY_TOOLS_TARGET_H
#define QUARRY_TOOLS_TARGET_H

#include "obs/view.h"

#include <stdbool.h>
#include <sys/types.h>

struct target {
    pid_t pid;
    const char *command; /* for complaints */
    int pagemap;         /* /proc/PID/pagemap */
    size_t page_bytes;
    struct obs_view view;
    struct rt_meta meta; /* as target_open or target_is_same last found it */
};

/* False, and a complaint in the name of the command, when the process is not there, not on quarry of this very build,
 * or may not be read (that needs the rights of ptrace(2)), or when it has not allocated yet. */
bool target_open(struct target *t, const char *command, pid_t pid);
/* How a command begins whose one argument is a process id: 0, or the exit status to end with. */
int target_begin(struct target *t, int argc, char **argv);
void target_close(struct target *t);
/* Whether the process is still there and the same program; the second complains if not. To be asked after a reading,
 * before it is believed. */
bool target_is_there(struct target *t);
bool target_is_same(struct target *t);
/* All digits is a process id: false, without a complaint, for anything else. */
bool target_pid_read(const char *word, pid_t *ret_pid);

bool target_peek(const struct target *t, void *to, const void *from, size_t bytes);
/* A pointer that lies there; NULL when it cannot be read. */
const void *target_peek_pointer(const struct target *t, const void *at);

/* Looks for the constant that begins with struct obs_view_head and this magic number. layout: what it must say. */
enum target_found { TARGET_FOUND, TARGET_NOT_FOUND, TARGET_OTHER_BUILD };
enum target_found target_find(const struct target *t, u64 magic, u32 layout, void *ret_constant, size_t bytes);

/* How many of up to TARGET_ENTRIES_NR pages from addr on could be asked about, and whether one holds memory. */
enum { TARGET_ENTRIES_NR = 512 };
size_t target_entries_read(const struct target *t, u64 *entries, const void *addr, size_t pages_nr);
bool target_entry_has_memory(u64 entry);
u64 target_memory_bytes(const struct target *t, const void *addr, size_t bytes);

/* Calls fn for each chunk, of which at is the address there; returns the bytes of memory in the table of chunks. Only
 * pages of the table that hold memory are read: a read would give the others some. */
typedef void target_chunk_fn(const struct target *t, const struct chunk *at, size_t idx, void *arg);
u64 target_chunks_each(const struct target *t, target_chunk_fn *fn, void *arg);
/* The same for the record of each hugepage that is or was ours; a copy, with its chunk. */
typedef void target_hpage_fn(const struct target *t, const struct chunk *at, const struct hpage *h, void *arg);
void target_hpages_each(const struct target *t, target_hpage_fn *fn, void *arg);
/* Calls fn for each page of a range that is in memory, with the kernel's number of its node. */
typedef void target_node_fn(int id, void *arg);
void target_nodes_each(const struct target *t, const char *addr, u64 bytes, target_node_fn *fn, void *arg);
/* The records of one chunk; false: not to be read. */
bool target_hpages_read(const struct target *t, const struct chunk *at, struct hpage *ret_hpages);

#endif
