/* SPDX-License-Identifier: MIT */
/*
 * What the kernel says a process holds. Every read uses raw file descriptors and a stack buffer, so that measuring
 * allocates nothing. smaps_rollup is read rather than statm wherever a figure is reported: the resident counters
 * behind statm are per CPU and may lag by some hundred pages, while the rollup walks the page tables. Called by the
 * scenario programs; owns no state.
 */
#ifndef BENCH_MEM_H
#define BENCH_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mem_rollup {
    uint64_t rss_bytes;
    uint64_t private_clean_bytes;
    uint64_t private_dirty_bytes;
};

/* Resident set of this process, exact at the moment of the call. */
uint64_t mem_rss_bytes(void);

/* Resident set of this process from statm: one short read, for sampling while other threads run. */
uint64_t mem_rss_racy_bytes(void);

/* Largest resident set since execve (VmHWM). ru_maxrss would include the parent's size before execve. */
uint64_t mem_peak_bytes(void);

/* smaps_rollup of another process, which the caller keeps stopped. */
void mem_rollup_of(pid_t pid, struct mem_rollup *ret_rollup);

/* Anonymous memory for a program's own books, every page touched: part of the start and not of the result. */
void *mem_map_touched(size_t bytes);

/* Anonymous memory that is charged page by page as it is used and returned by mem_unmap(). */
void *mem_map_lazy(size_t bytes);
void mem_unmap(void *start, size_t bytes);

/* what - start, or 0 when memory shrank below the start. */
uint64_t mem_over(uint64_t bytes, uint64_t start_bytes);

#endif
