/* SPDX-License-Identifier: MIT */
/*
 * quarry: what a program may ask of the allocator it runs on, beyond malloc(3). Nothing here is needed to use quarry:
 * malloc, free, operator new and the rest are its interface. Link with -lquarry or libquarry.a; a program that must
 * also run without quarry declares what it uses weak and tests for NULL.
 *
 * Sizes are bytes. No function sets errno. All are thread-safe; which are async-signal-safe is said with each. Valid as
 * C11 and C++17.
 */
#ifndef QUARRY_QUARRY_H
#define QUARRY_QUARRY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define QUARRY_NOTHROW noexcept
#else
#define QUARRY_NOTHROW
#endif

/* Configuration the program brings along, as "name:value,name:value" with the names of quarry(7): define
 *     const char *quarry_conf = "thp:never,purge_delay:0";
 * and quarry reads it once, before the first allocation. It must be a constant initialiser: no code has run by then.
 * QUARRY_<NAME> environment variables win over it. Mistakes are reported on stderr and ignored. Never defined by quarry
 * itself; in a program that only meets quarry by LD_PRELOAD it is seen when the program exports it (-rdynamic). */
extern const char *quarry_conf __attribute__((weak));

/* "major.minor.patch" of the library that runs, which may be another than the one compiled against. Static storage.
 * Async-signal-safe. */
const char *quarry_version(void) QUARRY_NOTHROW;

/* Bytes of the object at p that may be used: at least what was asked for, all of it writable. 0 for NULL. p must be a
 * live object of this allocator: anything else is misuse, which is reported and ends the program. As
 * malloc_usable_size(3). Async-signal-safe. */
size_t quarry_usable_size(const void *p) QUARRY_NOTHROW;

/* Usable bytes an object of malloc(size) has room for: asking for that many costs no more memory than asking for size.
 * Ask for as many as are to be used: with the options guard and harden malloc(size) itself gives just size. 0 when no
 * object can be that large (above PTRDIFF_MAX). Async-signal-safe. */
size_t quarry_good_size(size_t size) QUARRY_NOTHROW;

/*
 * NUMA nodes, by the kernel's numbers (numactl --hardware). Allocations are served from the node the thread runs on
 * anyway; these are for who knows better. They have their effect with QUARRY_NUMA=auto and without a memory policy of
 * the process's own (numactl(8)), which is left alone.
 */
/* malloc from a node, or the nearest with memory when it has none left or is none; negative: the one this thread runs
 * on. Not by the fast path: some tens of ns. NULL as malloc, without errno. Freed by free(); realloc() may take it
 * elsewhere. Async-signal-safe. */
void *quarry_malloc_node(size_t size, int node) QUARRY_NOTHROW;
/* All that this thread allocates from now on comes from a node, as by quarry_malloc_node(); negative: from where it
 * runs again. Objects above 2 MiB are new mappings then, which are not kept for reuse. The first call takes all
 * threads' allocations off the fast path, for good: some tens of ns for each. 0; EINVAL: this process may not use
 * memory of such a node; ENOTSUP: nodes are not kept apart here. Not async-signal-safe. */
int quarry_set_thread_node(int node) QUARRY_NOTHROW;

/* 1 when p points into memory quarry serves objects from (live or free), 0 when not. Async-signal-safe. */
int quarry_owns(const void *p) QUARRY_NOTHROW;

/* Gives back to the system all that can be given back now, but for about pad bytes of free memory kept for soon.
 * Returns the bytes given back. Costs milliseconds for each 100 MiB held. As malloc_trim(3), which says only whether.
 * Not async-signal-safe. */
size_t quarry_trim(size_t pad) QUARRY_NOTHROW;

/* One figure of quarry's accounts, by its name in docs/stats.md ("live_bytes", "slabs"). Takes a snapshot of all
 * (microseconds to a millisecond; for the figures from meta_resident_bytes to difference_bytes the kernel is asked for
 * each page of the heap, milliseconds for each GiB and several times over in a busy process). 0 and the figure in
 * *ret_value; ENOENT and *ret_value untouched when there is no such name. Async-signal-safe. */
int quarry_stat(const char *name, uint64_t *ret_value) QUARRY_NOTHROW;

/* The names quarry_stat takes: 0, 1, 2 and so on, until NULL. Static storage. Async-signal-safe. */
const char *quarry_stat_name(size_t index) QUARRY_NOTHROW;

enum quarry_format {
    QUARRY_SHORT = 1, /* a few lines */
    QUARRY_TEXT = 2,  /* everything, for people */
    QUARRY_JSON = 3   /* everything, one JSON object */
};

/* Writes a report to a file descriptor, with write(2) alone: no stdio, no allocation, no cancellation point. What
 * cannot be written is lost. 0, or EINVAL for an unknown format. Async-signal-safe. */
int quarry_report(int fd, enum quarry_format format) QUARRY_NOTHROW;

/* Has quarry call fn(arg) when memory runs short, so that the program frees what it can spare: when memory in use
 * passes QUARRY_LIMIT_SOFT (then at most once a second, or for each 1/32 of the limit by which use has grown since),
 * and before an allocation fails because of QUARRY_LIMIT_HARD. fn runs in the thread that allocates, inside its
 * allocation call, with no lock of quarry held; the program's own locks are as they were, so fn should only try for
 * those. It may allocate, free, register and unregister. One thread runs callbacks at a time and others do not wait for
 * it; they never nest. They do not run in a thread of the library's own, nor in one that has a signal blocked for which
 * the program has a handler, or one of SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and SIGTRAP (unless all signals are
 * blocked), which keeps them out of signal handlers (one of another signal that is installed with SA_NODEFER and an
 * empty mask, or with SA_RESETHAND, or that calls signal(nr, SIG_DFL) first, must not allocate while callbacks are
 * registered). A child of fork keeps the
 * registrations. glibc declares malloc as a leaf: statics of its own file that fn changes must be volatile or atomic.
 * 0; EINVAL when fn is NULL; ENOSPC when 16 are registered. Not async-signal-safe. */
int quarry_reclaim_register(void (*fn)(void *arg), void *arg) QUARRY_NOTHROW;

/* Takes back one registration of this fn and arg. When it returns, fn(arg) is not running and will not be called again:
 * it waits for another thread that is inside, so do not hold a lock fn waits for. Called from inside a callback it
 * returns at once; the running call then ends as usual. 0, or ENOENT when there is none. Not async-signal-safe. */
int quarry_reclaim_unregister(void (*fn)(void *arg), void *arg) QUARRY_NOTHROW;

enum quarry_pressure_level {
    QUARRY_PRESSURE_NONE = 0,
    QUARRY_PRESSURE_SOME = 1, /* in use: above 7/8 of the soft limit */
    QUARRY_PRESSURE_HIGH = 2  /* above the soft limit, or above 7/8 of the hard one */
};

struct quarry_pressure {
    uint64_t used_bytes; /* what the limits are compared with: memory quarry may hold, free memory and its own records
                            included */
    uint64_t soft_bytes; /* QUARRY_LIMIT_SOFT; 0: none */
    uint64_t hard_bytes; /* QUARRY_LIMIT_HARD; 0: none */
};

/* How near the limits memory in use is; the figures in *ret_pressure unless that is NULL. Nanoseconds.
 * Async-signal-safe. */
enum quarry_pressure_level quarry_pressure(struct quarry_pressure *ret_pressure) QUARRY_NOTHROW;

#undef QUARRY_NOTHROW
#ifdef __cplusplus
}
#endif

#endif
