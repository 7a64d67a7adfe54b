/* SPDX-License-Identifier: MIT */
/*
 * The engine: every way to get, resize and give back memory, without libc's names and without errno. front/ puts the
 * names on and sets errno; the kernel API does the same with its own conventions. The inline fast path is in
 * engine/fast.h; the functions here are complete in themselves (they start the allocator when it is not started yet).
 *
 * All functions are thread-safe. All but engine_trim and engine_shutdown are async-signal-safe: a handler that
 * interrupts the allocator in this very thread never waits for a lock its own thread holds (a large request may then
 * fail with NULL). Failure is NULL and leaves everything as it was. Sizes are bytes. Nothing here reads or writes
 * errno; system calls are raw.
 */
#ifndef QUARRY_ENGINE_ENGINE_H
#define QUARRY_ENGINE_ENGINE_H

#include "base/types.h"

/* What an address is, for front/'s questions and for misuse reports. */
enum engine_kind {
    ENGINE_NOT_OURS = 0,
    ENGINE_SLAB, /* an object of a size class, up to 2 MiB */
    ENGINE_BIG,  /* a region of its own, or lent (lent.h) */
};

/* malloc and free in full: first the fast path's own work, then everything the fast path could not do.
 * size 0 gives a unique object; size > PTRDIFF_MAX gives NULL. free of NULL does nothing. */
void *engine_alloc_slow(size_t size);
/* The same of a size class in one try: NULL where memory would have to be made room for, and where objects are guarded,
 * which are as large as was asked for. For who has another size to ask for. */
void *engine_alloc_easy(size_t size);
/* A region whatever the size, in one try, which grows without a copy. */
void *engine_alloc_region(size_t size);
void engine_free_slow(void *p);

/* malloc in full, of a NUMA node by the kernel's number; negative: the one this thread runs on. NEAR: from the nearest
 * that has something. STRICT: every page of it lies on that node, or NULL; nobody is made to suffer for it. */
enum engine_node { ENGINE_NODE_NEAR, ENGINE_NODE_STRICT };
void *engine_alloc_node(size_t size, int id, enum engine_node how);
/* Whether all of an object lies there, brought into memory and, where the kernel can, moved there for it. */
bool engine_settle_on(void *p, size_t bytes, int id);
/* The number of the one node whose memory this process may use; negative: there are several, or nothing is known. */
int engine_node_sole(void);
/* What this thread allocates comes from a node from now on, as by NEAR; negative: from where it runs. From the first
 * call on no allocation of the process is served by the fast path. */
enum engine_node_set { ENGINE_NODE_SET, ENGINE_NODE_UNKNOWN, ENGINE_NODE_OFF };
enum engine_node_set engine_thread_node(int id);

/* Zeroed memory, nr * size bytes; NULL when the product overflows. */
void *engine_calloc(size_t nr, size_t size);

/* Either of the two for the kernel API, whose objects lie as their class does: never among the guarded (guard.h). */
enum engine_content { ENGINE_ANY_CONTENT, ENGINE_ZEROED };
void *engine_alloc_unguarded(size_t size, enum engine_content content);

/* Contents are kept up to the smaller size. p NULL allocates. size 0 is treated as 1 here: what realloc(p, 0) does is
 * front/'s business. On failure p stays as it was. Misuse (p never allocated, or freed) is reported and aborts. */
void *engine_realloc(void *p, size_t size);

/* align must be a power of two, up to 1 GiB (NULL beyond). */
void *engine_memalign(size_t align, size_t size);

/* Usable bytes of a live object; 0 for NULL. A pointer that is not ours is reported as misuse. */
size_t engine_usable(const void *p);
/* Usable bytes malloc(size) would give, or 0 when the size is too large. */
size_t engine_good_size(size_t size);

/* C23 free_sized and C++ sized delete: like free, and the stated size (and alignment; 0 = none stated) is checked
 * against the object when it is not plausible from the fast path's table alone. A mismatch is reported and aborts. */
void engine_free_sized(void *p, size_t size, size_t align);

enum engine_kind engine_kind_of(const void *p);

/* Give everything back that can be given back now: magazines of every id, depot, empty slabs, free pages above
 * pad_bytes, cached regions. Returns the bytes returned to the system. */
size_t engine_trim(size_t pad_bytes);

/* Called at most once, by front/, from a constructor: registers fork and exit handlers that need a running libc.
 * Allocation works before it. */
void engine_libc_ready(void);
/* What is decided at the start is read-only from now on, or, where it is not started yet, from then on: options, the
 * fast path's tables, where the metadata lies. Only where pages are of 4 KiB. */
void engine_seal(void);

/* Exit audit: drains what this process's magazines hold so that a double free that never reached a slab is still found.
 */
void engine_exit_audit(void);

/* The id this thread's rseq area shows must not be used by the fast path while a vfork child (which shares that area
 * but is not registered with the kernel) runs, nor may an area that shows none be registered by the child. Called in
 * the child, first thing, with no lock held; returns what to give to engine_vfork_leave, which the parent calls when it
 * runs again: an id, or a negative number. Counted: nested and concurrent calls are fine. -1: nothing to do. */
int engine_vfork_enter(void);
void engine_vfork_leave(int id);
/* A task was made that shares both our memory and a running thread's TLS (clone with CLONE_VM, without CLONE_SETTLS or
 * CLONE_VFORK): per-CPU magazines are switched off for good, every thread uses the locked ones. The engine is started.
 */
void engine_percpu_off(void);

/* From now on no allocation is served by the fast path. */
void engine_divert_allocs(void);

#endif
