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

/* Usable bytes malloc(size) would give: asking for that many costs no more memory than asking for size. 0 when no
 * object can be that large (above PTRDIFF_MAX). Async-signal-safe. */
size_t quarry_good_size(size_t size) QUARRY_NOTHROW;

/* 1 when p points into memory quarry serves objects from (live or free), 0 when not. Async-signal-safe. */
int quarry_owns(const void *p) QUARRY_NOTHROW;

/* Gives back to the system all that can be given back now, but for about pad bytes of free memory kept for soon.
 * Returns the bytes given back. Costs milliseconds for each 100 MiB held. As malloc_trim(3), which says only whether.
 * Not async-signal-safe. */
size_t quarry_trim(size_t pad) QUARRY_NOTHROW;

/* One figure of quarry's accounts, by its name in docs/stats.md ("live_bytes", "slabs"). Takes a snapshot of all
 * (microseconds to a millisecond). 0 and the figure in *ret_value; ENOENT and *ret_value untouched when there is no
 * such name. Async-signal-safe. */
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

#undef QUARRY_NOTHROW
#ifdef __cplusplus
}
#endif

#endif
