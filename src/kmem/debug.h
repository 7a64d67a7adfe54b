/* SPDX-License-Identifier: MIT */
/*
 * Private to kmem/: caches that are debugged as the kernel's SLUB does (slab_debug). Which caches, and what of each, is
 * debug_flags.c; where things lie in a slot and whether they are as they should, debug_layout.c; who allocated and
 * freed, debug_track.c; what is printed, debug_report.c; the calls themselves, debug.c. docs/kmem.md is the user's
 * view, docs/adr/0040 has the reasons.
 *
 *   slot                object                                                            the next slot
 *   | left red zone     | object        | right    | state | allocated | asked | padding |
 *   |                   |               | red zone |       | freed     | size  |         |
 *   <--- left_bytes --->                inuse ---->^ state
 */
#ifndef QUARRY_KMEM_DEBUG_H
#define QUARRY_KMEM_DEBUG_H

#include "kmem/cache.h"

/* --- debug_flags.c --- */

#define KMEM_DEBUG_FLAGS                                                                                               \
    (QUARRY_SLAB_CONSISTENCY_CHECKS | QUARRY_SLAB_RED_ZONE | QUARRY_SLAB_POISON | QUARRY_SLAB_STORE_USER |             \
     QUARRY_SLAB_TRACE | QUARRY_SLAB_FAILSLAB)
/* Those that make an object's slot larger. */
#define KMEM_DEBUG_ROOM (QUARRY_SLAB_RED_ZONE | QUARRY_SLAB_POISON | QUARRY_SLAB_STORE_USER)

/* The option slab_debug, read: text is kept for the blocks with lists of names. */
struct kmem_debug_option {
    const char *text;
    size_t text_bytes;
    quarry_slab_flags_t global;
    bool no_higher_order; /* O */
};
/* complain is called for each letter that is unknown. */
void kmem_debug_option_read(struct kmem_debug_option *ret_option, const char *text, size_t bytes,
                            void (*complain)(char letter));
/* A cache's flags and what the option adds to them for its name. */
quarry_slab_flags_t kmem_debug_option_flags(const struct kmem_debug_option *option, const char *name,
                                            quarry_slab_flags_t flags);

/* The kernel's failslab=interval,probability,space,times. */
struct kmem_failslab {
    unsigned long interval, probability;
    _Atomic(long) space, times;
    _Atomic(unsigned long) calls;
    _Atomic(u64) random;
};
bool kmem_failslab_read(struct kmem_failslab *ret_fail, const char *text, size_t bytes);
/* Whether this allocation of size bytes is to fail. Async-signal-safe. */
bool kmem_failslab_now(struct kmem_failslab *fail, size_t size);

/* --- debug_layout.c --- */

/* The kernel's (include/linux/poison.h). */
enum {
    KMEM_RED_INACTIVE = 0xbb,
    KMEM_RED_ACTIVE = 0xcc,
    KMEM_POISON_INUSE = 0x5a,
    KMEM_POISON_FREE = 0x6b,
    KMEM_POISON_END = 0xa5
};

/* Bytes. All but the first are counted from the object's start. */
struct kmem_debug_layout {
    u32 left_bytes;
    u32 object_bytes, inuse, state, tracks, asked, padding, end;
    u32 slot_bytes;
};

enum { KMEM_TRACK_ADDRS = 16 };
struct kmem_track {
    const void *addrs[KMEM_TRACK_ADDRS];
    u64 when_ms;
    u32 pid; /* of the thread; 0: nothing is recorded */
    s32 cpu;
    u32 addrs_nr;
};
enum kmem_track_kind { KMEM_TRACK_ALLOC, KMEM_TRACK_FREE, KMEM_TRACKS_NR };

struct kmem_debug {
    struct kmem_debug_layout at;
    quarry_slab_flags_t flags;
    bool poisons_object; /* P, where objects have no content of their own while they are free */
    bool is_kmalloc;
    /* Objects found damaged, which are not handed out again; their slots. */
    struct {
        _Atomic(unsigned) nr;
        void *slots[64];
    } held;
    struct kmem_track tracks[KMEM_TRACKS_NR]; /* of the cache: made, destroyed */
};

struct kmem_debug_layout kmem_debug_layout(unsigned size, unsigned align, quarry_slab_flags_t flags, bool is_kmalloc);
/* Red zones and poison of an object as it is handed out (active) or free. asked: bytes the caller wanted. */
void kmem_debug_object_fill(const struct kmem_debug *d, char *object, u8 red);
/* All of a slot that is new. */
void kmem_debug_slot_fill(const struct kmem_debug *d, char *object);
/* False: something was not as it should; it is reported and put right. */
bool kmem_debug_object_check(const struct quarry_kmem_cache *s, char *object, u8 red);
/* The bytes of a slab behind its last slot, P alone. */
void kmem_debug_tail_fill(const struct kmem_debug *d, const struct quarry_core1_slab *slab);
/* False: as above. */
bool kmem_debug_tail_check(const struct quarry_kmem_cache *s, const struct quarry_core1_slab *slab);
/* Bytes of an object that the caller asked for. */
#define KMEM_ASKED_ZEROED ((u32)1 << 31) /* beside them: what was handed out reads as zeros behind */
size_t kmem_debug_asked(const struct kmem_debug *d, const char *object);
enum kmem_zeroed { KMEM_NOT_ZEROED, KMEM_ZEROED };
void kmem_debug_asked_set(const struct kmem_debug *d, char *object, size_t bytes, enum kmem_zeroed zeroed);
/* All of the object is the caller's from now on, and zero where he was promised that. Returns its bytes. */
size_t kmem_debug_asked_all(const struct kmem_debug *d, char *object);

static inline struct kmem_track *kmem_debug_track(const struct kmem_debug *d, char *object, enum kmem_track_kind kind) {
    return (d->flags & QUARRY_SLAB_STORE_USER) == 0 ? NULL
                                                    : (struct kmem_track *)(void *)(object + d->at.tracks) + kind;
}

/* What the word beside an object says, mixed with the object's address. BUSY: it is being freed. */
enum kmem_debug_state { KMEM_DEBUG_LIVE = 1, KMEM_DEBUG_FREE, KMEM_DEBUG_BUSY };
static inline u64 kmem_debug_state_word(uintptr_t object, enum kmem_debug_state state) {
    const u64 key = 0x51ab0bec7c0ffe00u;
    return (key ^ object) | (u64)state;
}

/* --- debug_track.c --- */

/* Once, before the next. */
void kmem_track_start(void);
/* Who does it, when and where; t may be NULL. No system call, no allocation, no lock. */
void kmem_track_set(struct kmem_track *t);
/* "INFO: what in function+offset/size age= cpu= pid=", and the stack. Nothing where nothing was recorded. */
void kmem_track_print(const char *what, const struct kmem_track *t);
/* The stack alone, each line behind some blanks; what is printed before it, unless it is NULL. */
void kmem_track_print_stack(const char *what, const struct kmem_track *t);
/* The stack of the caller, as the kernel's dump_stack(). */
void kmem_stack_print(void);

/* --- debug_report.c --- */

/* Reports come one after the other, whoever makes them; in a signal handler on top of a report, inside it. */
void kmem_report_begin(void);
/* Ends the program where the option says so; and the same for what is no report of a mistake. */
void kmem_report_end(void);
void kmem_trace_end(void);
void kmem_report_bug(const char *cache, const char *format, ...) __attribute__((format(printf, 2, 3)));
void kmem_report_fix(const char *cache, const char *format, ...) __attribute__((format(printf, 2, 3)));
void kmem_report_section(const char *what, const void *from, size_t bytes);
/* All there is to say of an object, and the stack of the caller. */
void kmem_report_object(const struct quarry_kmem_cache *s, char *object);
void kmem_report_slab(const struct quarry_core1_slab *slab);
void kmem_report_abort_set(bool abort);

/* --- debug_fault.c --- */

/* From now on a fault at an address that is poison is explained, unless the program has a handler of its own. */
void kmem_fault_explain(void);

/* --- debug.c --- */

/* False: no object of a cache that is debugged is at p. ret_object: the start of the one p lies in, or NULL behind the
 * last one. */
bool kmem_debug_find(const void *p, struct quarry_kmem_cache **ret_cache, char **ret_object,
                     struct quarry_core1_slab *ret_slab);
/* What the word beside an object says. */
const char *kmem_debug_state_name(const struct kmem_debug *d, const char *object);
bool kmem_debug_is_free(const struct kmem_debug *d, const char *object);
/* A slot that nobody uses, handed out or not: false: something was not as it should; it is reported and put right. */
bool kmem_debug_object_validate(const struct quarry_kmem_cache *s, char *object, bool is_out);
/* There is, or was, a cache that is debugged; some sizes of kmalloc are. */
extern HIDDEN bool kmem_debug_any, kmem_debug_kmalloc_on;
/* Option harden: what is freed is looked at whichever cache it is said to be of. */
extern HIDDEN bool kmem_debug_hardened;
/* What is freed to s, a cache with a handle or any with harden, and is not debugged itself: that it is of another
 * cache is reported. False: s was destroyed, which is reported, and p stays. Async-signal-safe. */
bool kmem_debug_free_is_right(const struct quarry_kmem_cache *s, const void *p);
/* An object of s, whatever failslab says. */
void *kmem_debug_alloc_sure(const struct quarry_kmem_cache *s);

/* The flags of a new cache, by the option. Under the lock of caches. */
quarry_slab_flags_t kmem_debug_cache_flags(const char *name, quarry_slab_flags_t flags);
/* Makes room for debugging in a cache that has flags for it; s->flags and s->slot_bytes may change. False: no memory.
 */
bool kmem_debug_cache_prepare(struct quarry_kmem_cache *s);
void kmem_debug_construct(void *slot);
/* The cache has its class: s->heap. */
void kmem_debug_cache_begin(struct quarry_kmem_cache *s);
/* Calls of the class that s->heap is come to debug.c, which knows the cache by it; those of one that is not debugged go
 * on to accounted.c. The handle is what leads there by a cache's head. */
void kmem_debug_hook(struct quarry_kmem_cache *s);
void kmem_debug_unhook(const struct quarry_kmem_cache *s);
unsigned kmem_debug_handle(const struct quarry_kmem_cache *s);
/* Before its class is unmade, and after: the cache's record is then kept for a while. */
void kmem_debug_cache_quiesce(struct quarry_kmem_cache *s);
void kmem_debug_cache_end(struct quarry_kmem_cache *s);
void kmem_debug_destroyed_twice(const struct quarry_kmem_cache *s);

/* kmalloc where the option debugs it: false: not of this size. */
bool kmem_debug_kmalloc(size_t size, quarry_gfp_t flags, void **ret_p);
/* krealloc of an object that is debugged; false: p is none. */
bool kmem_debug_krealloc(const void *p, size_t size, quarry_gfp_t flags, void **ret_p);
/* Bytes of the kmalloc cache that serves size, or 0. */
size_t kmem_debug_kmalloc_bytes(size_t size);
/* Whether objects of size bytes are poisoned while they are free. */
bool kmem_debug_kmalloc_poisons(size_t size);
/* Whether pages that a pool keeps are: the option has P for all caches. */
bool kmem_debug_pages_poison(void);

#endif
