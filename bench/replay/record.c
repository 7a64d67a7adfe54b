/* SPDX-License-Identifier: MIT */
/*
 * libquarry-record.so: preloaded by `quarry record`, it wraps the allocation functions and notes every call in the raw
 * file (raw.h). The calls go on to whatever allocator the program has. Needs libc alone and allocates nothing itself:
 * a thread's records go to a chunk of the file that it has mapped, and the next chunk is claimed by counting.
 *
 *   Ordering   one counter numbers the calls of all threads [R3]. Its own order is enough: when one call happens before
 *              another, through whatever the program or its allocator synchronise by, so do their counts.
 *   Progress   wait-free but for the system calls of a new chunk.
 *
 * A child by fork is not recorded: the page that says where the file is comes to it as zeros. A program that this one
 * becomes by exec starts anew, as a new image in the same file. When the file cannot be written any more, recording
 * ends and the program goes on.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "raw.h"
#include "record.h"

#define TLS __attribute__((tls_model("initial-exec")))

/* ---- calls before the allocator is known ---- */

enum { ARENA_BYTES = 64 << 10, ARENA_ALIGN = 16 };

/* dlsym() may allocate. It gets memory that is never used again, so it is zero and needs no free(). */
static _Alignas(ARENA_ALIGN) char arena[ARENA_BYTES];
static _Atomic size_t arena_used;

static void *arena_alloc(size_t size) {
    if (size > ARENA_BYTES)
        return NULL;
    size_t at = atomic_fetch_add_explicit(&arena_used, (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1),
                                          memory_order_relaxed);
    return at <= ARENA_BYTES - size ? arena + at : NULL;
}

static bool arena_owns(const void *object) {
    return (const char *)object >= arena && (const char *)object < arena + ARENA_BYTES;
}

/* ---- the file ---- */

/* In a page that a child by fork gets as zeros. */
struct recording {
    struct raw_head *head;
    uint32_t image;
    _Atomic uint32_t threads_nr;
    _Atomic bool on;
    pthread_key_t thread_end;
    char path[PATH_MAX];
};

static struct recording *recording;
static TLS __thread struct raw_chunk *chunk;
static TLS __thread size_t chunk_used;
static TLS __thread uint32_t thread_nr; /* plus 1; 0 until its first chunk */

static void recording_cut(void) {
    atomic_store_explicit(&recording->on, false, memory_order_relaxed);
    atomic_store_explicit(&recording->head->cut, 1, memory_order_relaxed);
}

/* The path is opened each time, because programs close descriptors they do not know and use their numbers again. */
static void *file_map(uint64_t chunk_nr) {
    off_t at = (off_t)(chunk_nr * RAW_CHUNK_BYTES);
    int fd = open(recording->path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return NULL;
    /* Room first: a full disk would otherwise end the program by SIGBUS. */
    void *start = MAP_FAILED;
    if (posix_fallocate(fd, at, RAW_CHUNK_BYTES) == 0)
        start = mmap(NULL, RAW_CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
    close(fd);
    return start != MAP_FAILED ? start : NULL;
}

static void chunk_close(void *closed) {
    munmap(closed, RAW_CHUNK_BYTES);
    chunk = NULL;
}

static uint32_t thread_number(void) {
    if (thread_nr == 0) {
        bool initial = syscall(SYS_gettid) == (long)recording->head->pid;

        thread_nr = 1;
        if (!initial)
            thread_nr += 1 + atomic_fetch_add_explicit(&recording->threads_nr, 1, memory_order_relaxed);
    }
    return thread_nr - 1;
}

static __attribute__((cold, noinline)) void chunk_open(void) {
    int saved_errno = errno;

    if (chunk != NULL)
        chunk_close(chunk);
    chunk = file_map(atomic_fetch_add_explicit(&recording->head->chunks_nr, 1, memory_order_relaxed));
    if (chunk != NULL) {
        chunk->thread = thread_number();
        chunk->image = recording->image;
        chunk_used = 0;
        pthread_setspecific(recording->thread_end, chunk);
    } else {
        recording_cut();
    }
    errno = saved_errno;
}

/* Once in each image, by its first call. Leaves recording NULL when this process is not the one to record. */
static void recording_begin(void) {
    const char *path = getenv(RAW_ENV);
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t bytes = (sizeof(struct recording) + page_bytes - 1) & ~(page_bytes - 1);

    if (path == NULL || strlen(path) >= PATH_MAX)
        return;
    recording = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (recording == MAP_FAILED || madvise(recording, bytes, MADV_WIPEONFORK) != 0) {
        recording = NULL;
        return;
    }
    strcpy(recording->path, path);
    recording->head = file_map(0);
    if (recording->head == NULL || recording->head->pid != (uint32_t)getpid() ||
        pthread_key_create(&recording->thread_end, chunk_close) != 0) {
        recording = NULL;
        return;
    }
    recording->image = atomic_fetch_add_explicit(&recording->head->image, 1, memory_order_relaxed) + 1;
    atomic_store_explicit(&recording->on, true, memory_order_relaxed);
}

/* ---- the allocator ---- */

static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*memalign)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    void (*free)(void *);
} next;

static _Atomic bool next_known;
static TLS __thread bool next_asked;

/* The first call of a process comes before its second thread. */
static __attribute__((cold, noinline)) bool next_find(void) {
    int saved_errno = errno;

    if (next_asked)
        return false;
    next_asked = true;
    *(void **)&next.malloc = dlsym(RTLD_NEXT, "malloc");
    *(void **)&next.calloc = dlsym(RTLD_NEXT, "calloc");
    *(void **)&next.realloc = dlsym(RTLD_NEXT, "realloc");
    *(void **)&next.memalign = dlsym(RTLD_NEXT, "memalign");
    *(void **)&next.posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
    *(void **)&next.aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
    *(void **)&next.free = dlsym(RTLD_NEXT, "free");
    if (next.malloc == NULL || next.calloc == NULL || next.realloc == NULL || next.memalign == NULL ||
        next.posix_memalign == NULL || next.aligned_alloc == NULL || next.free == NULL)
        abort();
    recording_begin();
    atomic_store_explicit(&next_known, true, memory_order_relaxed);
    errno = saved_errno;
    return true;
}

static inline bool next_ready(void) { return atomic_load_explicit(&next_known, memory_order_relaxed) || next_find(); }

bool record_ready(void) { return next_ready(); }

/* ---- noting ---- */

uint64_t record_now_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void note(unsigned op, uint64_t time_ns, const void *object, size_t size, unsigned align_shift) {
    if (recording == NULL || !atomic_load_explicit(&recording->on, memory_order_relaxed))
        return;
    if (chunk == NULL || chunk_used == RAW_CHUNK_RECORDS)
        chunk_open();
    if (chunk == NULL)
        return;
    struct raw_record *record = &chunk->records[chunk_used++];
    uint64_t nr = atomic_fetch_add_explicit(&recording->head->next_nr, 1, memory_order_relaxed);

    record->time_ns = time_ns;
    record->address = (uintptr_t)object;
    record->size_bytes = size;
    /* order: release                                                                             pairs: [R2]
     *   The reader looks after this process has ended; what matters is that a signal or an exec finds the rest written.
     */
    atomic_store_explicit(&record->stamp, nr << RAW_STAMP_NR_SHIFT | (uint64_t)align_shift << RAW_STAMP_OP_BITS | op,
                          memory_order_release);
}

/* Of the least power of two that is not below align, which is what memalign() takes. */
static unsigned shift_of(size_t align) { return align > 1 ? 64 - (unsigned)__builtin_clzl(align - 1) : 0; }

/*
 * One call of the program may reach us twice: an operator of C++ that we pass on comes back as malloc(), or as the
 * operator it stands on. So a thread remembers the birth it noted last and the death it is passing on.
 */
static TLS __thread const void *born = NO_OBJECT;
static TLS __thread const void *dying = NO_OBJECT;

/* A call that failed made no object, and is not part of the trace. */
static void *noted(enum trace_op op, uint64_t time_ns, void *object, size_t size, size_t align) {
    if (object != NULL) {
        note(op, time_ns, object, size, shift_of(align));
        born = object;
    }
    return object;
}

void record_birth_begin(void) { born = NO_OBJECT; }

void *record_birth(enum trace_op op, uint64_t time_ns, void *object, size_t size, size_t align) {
    return object != born ? noted(op, time_ns, object, size, align) : object;
}

bool record_death_begin(const void *object) {
    if (object == dying)
        return false;
    note(TRACE_FREE, record_now_ns(), object, 0, 0);
    dying = object;
    return true;
}

void record_death_end(bool began) {
    if (began)
        dying = NO_OBJECT;
}

/* ---- the functions ---- */

EXPORT void *malloc(size_t size) {
    if (!next_ready())
        return arena_alloc(size);
    uint64_t time_ns = record_now_ns();
    return noted(TRACE_MALLOC, time_ns, next.malloc(size), size, 0);
}

EXPORT void *calloc(size_t nr, size_t size) {
    size_t bytes;

    if (__builtin_mul_overflow(nr, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    if (!next_ready())
        return arena_alloc(bytes);
    uint64_t time_ns = record_now_ns();
    return noted(TRACE_CALLOC, time_ns, next.calloc(nr, size), bytes, 0);
}

EXPORT void free(void *object) {
    if (arena_owns(object) || !next_ready())
        return;
    bool began = record_death_begin(object);
    next.free(object);
    record_death_end(began);
}

/* Of C23, which <stdlib.h> does not have yet; the sizes say nothing that the trace has not. */
EXPORT void free_sized(void *object, size_t size);
EXPORT void free_aligned_sized(void *object, size_t align, size_t size);

EXPORT void free_sized(void *object, size_t size) {
    (void)size;
    free(object);
}

EXPORT void free_aligned_sized(void *object, size_t align, size_t size) {
    (void)align;
    (void)size;
    free(object);
}

static void *arena_leave(const void *object, size_t size) {
    size_t there = (size_t)(arena + ARENA_BYTES - (const char *)object);
    void *moved = malloc(size);

    if (moved != NULL)
        memcpy(moved, object, size < there ? size : there);
    return moved;
}

EXPORT void *realloc(void *object, size_t size) {
    if (arena_owns(object))
        return arena_leave(object, size);
    if (!next_ready())
        return arena_alloc(size);
    uint64_t time_ns = record_now_ns();
    if (object != NULL)
        note(RAW_RESIZE, time_ns, object, 0, 0);
    void *moved = next.realloc(object, size);
    /* NULL is noted, too: the object was freed, or is still there. */
    note(TRACE_REALLOC, time_ns, moved, size, 0);
    return moved;
}

EXPORT void *reallocarray(void *object, size_t nr, size_t size) {
    size_t bytes;

    if (__builtin_mul_overflow(nr, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(object, bytes);
}

EXPORT void *memalign(size_t align, size_t size) {
    if (!next_ready())
        return NULL;
    uint64_t time_ns = record_now_ns();
    return noted(TRACE_MEMALIGN, time_ns, next.memalign(align, size), size, align);
}

EXPORT void *valloc(size_t size) { return memalign((size_t)sysconf(_SC_PAGESIZE), size); }

EXPORT void *pvalloc(size_t size) {
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t bytes;

    if (__builtin_add_overflow(size, page_bytes - 1, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return memalign(page_bytes, bytes & ~(page_bytes - 1));
}

EXPORT void *aligned_alloc(size_t align, size_t size) {
    if (!next_ready())
        return NULL;
    uint64_t time_ns = record_now_ns();
    return noted(TRACE_ALIGNED_ALLOC, time_ns, next.aligned_alloc(align, size), size, align);
}

EXPORT int posix_memalign(void **ret_object, size_t align, size_t size) {
    if (!next_ready())
        return ENOMEM;
    uint64_t time_ns = record_now_ns();
    int error = next.posix_memalign(ret_object, align, size);
    if (error == 0)
        noted(TRACE_POSIX_MEMALIGN, time_ns, *ret_object, size, align);
    return error;
}
