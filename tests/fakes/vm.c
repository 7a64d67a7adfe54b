/* SPDX-License-Identifier: MIT */
/* Address space for unit tests: real anonymous mappings behind counters and failures on order. See fake.h; the contract
 * is sys/sys.h. */
#include "fakes/fake.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const names[FAKE_CALLS_NR] = {
    [FAKE_RESERVE] = "reserve",   [FAKE_COMMIT] = "commit",     [FAKE_READ_ONLY] = "read only",
    [FAKE_GUARD] = "guard",       [FAKE_PURGE] = "purge",       [FAKE_RELEASE] = "release",
    [FAKE_HUGE] = "huge",         [FAKE_NOHUGE] = "nohuge",     [FAKE_MOVE] = "move",
    [FAKE_PLACE] = "place",       [FAKE_COLLAPSE] = "collapse", [FAKE_HUGETLB] = "hugetlb",
    [FAKE_POPULATE] = "populate", [FAKE_PIPE] = "pipe",         [FAKE_MOVE_LATE] = "move, late",
};

static struct kind {
    _Atomic(unsigned) calls_nr, failed_nr;
    _Atomic(int) until_failure; /* calls that succeed first; negative: fails */
    _Atomic(int) failures_left;
} kinds[FAKE_CALLS_NR];

static _Atomic(size_t) reserved_bytes;
static char *reserve_end; /* NULL: the kernel chooses */
static size_t limit_bytes = SIZE_MAX;

/* A hugepage of the pool, by its number in the address space; 0: none. */
enum { POOL_MAX = 256 };
static uintptr_t pool[POOL_MAX];
static unsigned pool_nr;

unsigned fake_calls_nr(enum fake_call call) { return atomic_load(&kinds[call].calls_nr); }
unsigned fake_failed_nr(enum fake_call call) { return atomic_load(&kinds[call].failed_nr); }
const char *fake_call_name(enum fake_call call) { return names[call]; }
size_t fake_reserved_bytes(void) { return atomic_load(&reserved_bytes); }
void fake_limit(size_t bytes) { limit_bytes = bytes; }
void fake_reserve_below(void *end) { reserve_end = end; }

void fake_fail(enum fake_call call, unsigned nth, unsigned many) {
    atomic_store(&kinds[call].failed_nr, 0);
    atomic_store(&kinds[call].until_failure, (int)nth - 1);
    atomic_store(&kinds[call].failures_left, nth == 0 ? 0 : (int)many);
}

void (*fake_calling)(enum fake_call call);

/* Counts a call; true when it is one of those that are to fail. */
static bool fails(enum fake_call call) {
    struct kind *k = &kinds[call];
    if (fake_calling != NULL)
        fake_calling(call);
    atomic_fetch_add(&k->calls_nr, 1);
    if (atomic_load(&k->failures_left) <= 0 || atomic_fetch_sub(&k->until_failure, 1) > 0)
        return false;
    atomic_fetch_sub(&k->failures_left, 1);
    atomic_fetch_add(&k->failed_nr, 1);
    return true;
}

/* Page by page: an emulator may refuse a page without access, which holds nothing then. */
size_t fake_resident_bytes(const void *addr, size_t bytes) {
    size_t page = sys_page_bytes(), resident = 0;
    for (size_t at = 0; at < bytes; at += page) {
        unsigned char in_core = 0;
        if (mincore((void *)((uintptr_t)addr + at), page, &in_core) == 0 && (in_core & 1) != 0)
            resident += page;
    }
    return resident;
}

/* --- sys/sys.h --- */

size_t sys_page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }
size_t sys_vm_limit_bytes(void) { return limit_bytes; }
size_t sys_vm_lost_bytes(void) { return 0; }

u32 fake_layout;
u32 sys_layout_pick(u64 of, u32 nr) {
    (void)of;
    return MIN(fake_layout, nr - 1);
}

static char *map(void *at, size_t bytes, int prot) {
    int fixed = at == NULL ? 0 : MAP_FIXED_NOREPLACE;
    void *p = mmap(at, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void unmap(char *from, char *to) {
    if (to > from && munmap(from, (size_t)(to - from)) != 0)
        abort();
}

void *sys_vm_reserve(size_t bytes, size_t align) {
    if (fails(FAKE_RESERVE) || bytes + align < bytes)
        return NULL;
    if (reserve_end != NULL)
        reserve_end -= round_up(bytes + align, sys_page_bytes());
    char *wide = map(reserve_end, bytes + align, PROT_NONE);
    if (wide == NULL)
        return NULL;
    char *p = (char *)round_up((uintptr_t)wide, MAX(align, sys_page_bytes()));
    unmap(wide, p);
    unmap(p + bytes, wide + round_up(bytes + align, sys_page_bytes()));
    atomic_fetch_add(&reserved_bytes, bytes);
    return p;
}

void fake_hugetlb(unsigned hpages_nr) {
    if (hpages_nr > POOL_MAX)
        abort();
    pool_nr = hpages_nr;
}

unsigned fake_hugetlb_left(void) {
    unsigned left = 0;
    for (unsigned i = 0; i < pool_nr; i++)
        left += pool[i] == 0;
    return left;
}

/* Ordinary memory that is in the pool's list. */
void *sys_vm_hugetlb(size_t bytes) {
    unsigned nr = (unsigned)(bytes / HPAGE_BYTES), left = fake_hugetlb_left();
    char *p = fails(FAKE_HUGETLB) || nr > left ? NULL : sys_vm_reserve(bytes, HPAGE_BYTES);
    if (p == NULL || mprotect(p, bytes, PROT_READ | PROT_WRITE) != 0)
        return NULL;
    for (unsigned i = 0, at = 0; i < nr; at++) {
        if (pool[at] == 0)
            pool[at] = (uintptr_t)p / HPAGE_BYTES + i++;
    }
    return p;
}

static bool pool_has(const void *addr) {
    for (unsigned i = 0; i < pool_nr; i++) {
        if (pool[i] != 0 && pool[i] == (uintptr_t)addr / HPAGE_BYTES)
            return true;
    }
    return false;
}

/* Unmapped, or another mapping in its place. */
static void pool_return(const void *addr, size_t bytes) {
    uintptr_t first = (uintptr_t)addr / HPAGE_BYTES;
    for (unsigned i = 0; i < pool_nr; i++) {
        if (pool[i] >= first && pool[i] < first + bytes / HPAGE_BYTES)
            pool[i] = 0;
    }
}

int sys_vm_populate(void *addr, size_t bytes) {
    if (fails(FAKE_POPULATE))
        return -ENOMEM;
    for (size_t at = 0; at < bytes; at += sys_page_bytes())
        *(_Atomic(char) *)((char *)addr + at) += 0;
    return 0;
}

int sys_pipe(int ends[2]) { return fails(FAKE_PIPE) ? -EMFILE : pipe(ends) == 0 ? 0 : -errno; }
bool sys_pipe_wait(int end, unsigned ms) {
    struct pollfd fd = {.fd = end, .events = POLLIN};
    return poll(&fd, 1, (int)ms) > 0;
}
void sys_pipe_write(int end) {
    if (write(end, "", 1) != 1)
        abort();
}
void sys_close(int fd) { (void)close(fd); }

int sys_vm_reserve_at(void *addr, size_t bytes) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    if (fails(FAKE_RESERVE))
        return -ENOMEM;
    if (mmap(addr, bytes, PROT_NONE, flags, -1, 0) == MAP_FAILED)
        return -errno;
    atomic_fetch_add(&reserved_bytes, bytes);
    return 0;
}

void *sys_vm_reserve_low(size_t bytes, size_t align) {
    (void)align;
    void *p = (void *)(uintptr_t)(2 * GIB);
    return sys_vm_reserve_at(p, bytes) == 0 ? p : NULL;
}

int sys_vm_commit(void *addr, size_t bytes) {
    return fails(FAKE_COMMIT) ? -ENOMEM : mprotect(addr, bytes, PROT_READ | PROT_WRITE) == 0 ? 0 : -errno;
}

int sys_vm_read_only(void *addr, size_t bytes) {
    return fails(FAKE_READ_ONLY) ? -ENOMEM : mprotect(addr, bytes, PROT_READ) == 0 ? 0 : -errno;
}

int sys_vm_purge(void *addr, size_t bytes) {
    if (pool_has(addr))
        abort(); /* the kernel would say it did, and do nothing, or lose what was set aside */
    return fails(FAKE_PURGE) ? -ENOMEM : madvise(addr, bytes, MADV_DONTNEED) == 0 ? 0 : -errno;
}

u64 sys_vm_purge_ranges(const struct sys_range *ranges, unsigned nr) {
    u64 given = 0;
    for (unsigned i = 0; i < nr; i++)
        given |= (u64)(sys_vm_purge(ranges[i].addr, ranges[i].bytes) == 0) << i;
    return given;
}

int sys_vm_guard(void *addr, size_t bytes) {
    if (fails(FAKE_GUARD))
        return -ENOMEM;
    return madvise(addr, bytes, MADV_DONTNEED) == 0 && mprotect(addr, bytes, PROT_NONE) == 0 ? 0 : -errno;
}

void (*fake_released)(void *addr, size_t bytes);

static int released(void *addr, size_t bytes) {
    if (munmap(addr, bytes) != 0)
        return -errno;
    pool_return(addr, bytes);
    atomic_fetch_sub(&reserved_bytes, bytes);
    if (fake_released != NULL)
        fake_released(addr, bytes);
    return 0;
}

int sys_vm_release(void *addr, size_t bytes) { return fails(FAKE_RELEASE) ? -ENOMEM : released(addr, bytes); }

void (*fake_moved)(void *from);

static int moved(void *from) {
    if (fake_moved != NULL)
        fake_moved(from);
    return 0;
}

static int lost_place(void *to, size_t bytes) {
    if (released(to, bytes) != 0)
        abort();
    return SYS_VM_LOST_PLACE;
}

int sys_vm_move(void *from, size_t bytes, void *to) {
    if (fails(FAKE_MOVE) || pool_has(from))
        return -ENOMEM;
    if (fails(FAKE_MOVE_LATE))
        return lost_place(to, bytes);
    pool_return(to, bytes);
    if (mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
        return -errno;
    atomic_fetch_sub(&reserved_bytes, bytes);
    return moved(from);
}

int sys_vm_move_out(void *from, size_t bytes, void *to) {
    enum { DONTUNMAP = 4 };
    if (fails(FAKE_MOVE))
        return -ENOMEM;
    if (fails(FAKE_MOVE_LATE))
        return lost_place(to, bytes);
    if (mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | DONTUNMAP, to) == MAP_FAILED)
        return -errno;
    return moved(from);
}

/* Hints: nothing happens, so that what is resident does not depend on the machine's hugepages. */
static int hint(enum fake_call call, void *addr, size_t bytes) {
    (void)addr, (void)bytes;
    return fails(call) ? -ENOMEM : 0;
}

void *fake_huge_at;
int sys_vm_huge(void *addr, size_t bytes) {
    __atomic_store_n(&fake_huge_at, addr, __ATOMIC_RELAXED); /* several threads may ask */
    return hint(FAKE_HUGE, addr, bytes);
}
int sys_vm_nohuge(void *addr, size_t bytes) { return hint(FAKE_NOHUGE, addr, bytes); }
int sys_vm_nodump(void *addr, size_t bytes) {
    (void)addr, (void)bytes;
    return 0;
}
bool fake_all_resident;
size_t sys_vm_resident_pages(const void *addr, size_t bytes) {
    return (fake_all_resident ? bytes : fake_resident_bytes(addr, bytes)) / sys_page_bytes();
}
int sys_vm_collapse(void *addr, size_t bytes) { return hint(FAKE_COLLAPSE, addr, bytes); }
static bool small_come;
void fake_thp_unasked_small(bool come) { small_come = come; }
bool sys_thp_unasked_small(const char *root, size_t bytes) {
    (void)root, (void)bytes;
    return small_come;
}

void (*fake_placing)(void *addr);

int sys_vm_place(void *addr, size_t bytes, enum sys_numa_mode mode, const struct sys_nodes *nodes) {
    if (fake_placing != NULL)
        fake_placing(addr);
    fake_placed(addr, bytes, mode, nodes);
    return hint(FAKE_PLACE, addr, bytes);
}
