/* SPDX-License-Identifier: MIT */
/* Address space, by raw system calls. Contract in sys.h; the only callers are the page tier, big regions and the
 * metadata pool. */
#include "base/bits.h"
#include "sys/call.h"
#include "sys/sys.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

/* What not every C library's or kernel's headers have: MREMAP_DONTUNMAP, and a call of Linux 5.10, which has this
 * number everywhere. */
enum { ERRNO_MAX = 4095, MOVE_DONTUNMAP = 4 };
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

/* Tables for the whole address space take 5 MiB of what RLIMIT_DATA counts. */
#define DATA_SMALL_BYTES ((size_t)64 << 20)

static bool call_failed(long ret) { return ret < 0 && ret >= -(long)ERRNO_MAX; }

size_t sys_page_bytes(void) {
    static _Atomic(size_t) cached;
    size_t bytes = atomic_load_explicit(&cached, memory_order_relaxed);
    if (bytes == 0) {
        bytes = (size_t)getauxval(AT_PAGESZ);
        atomic_store_explicit(&cached, bytes, memory_order_relaxed);
    }
    return bytes;
}

/* What one thread unmaps another is given, and with it all that is kept by address (records, page map entries, the
 * objects themselves), by plain stores. The kernel's lock of mappings orders the two; but that lock is no part of C's
 * memory, so the order is said once more by a word. Only read-modify-writes change it: who adds later sees all who
 * added before. */
static _Atomic(u64) places;

static ALWAYS_INLINE void place_goes(void) {
    /* order: release: all that was written for the address, which goes now.                       pairs: [vm.place] */
    atomic_fetch_add_explicit(&places, 1, memory_order_release);
}

/* ret: as mmap returned it. */
static ALWAYS_INLINE void *place_comes(long ret) {
    if (call_failed(ret))
        return NULL;
    /* order: acquire: what was written by who had the address before.                             pairs: [vm.place] */
    atomic_fetch_add_explicit(&places, 1, memory_order_acquire);
    return (void *)ret; // NOLINT(performance-no-int-to-ptr)
}

static ALWAYS_INLINE void *vm_map(size_t bytes) {
    return place_comes(SYS6(SYS_mmap, NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
}

/* The C library's canary and pointer guard are made of the same 16 bytes: both halves are folded to one before a number
 * is drawn, so that neither follows from any count of places that are known. */
u32 sys_layout_pick(u64 of, u32 nr) {
    u64 halves[2] = {0};
    const void *given = (const void *)getauxval(AT_RANDOM); // NOLINT(performance-no-int-to-ptr)
    if (given != NULL)
        memcpy(halves, given, sizeof(halves));
    u64 seed = bits_mix(halves[0]) + bits_mix(~halves[1]);
    return (u32)((bits_mix(seed ^ bits_mix(of + 1)) >> 32) * nr >> 32);
}

static _Atomic(size_t) lost_bytes;
size_t sys_vm_lost_bytes(void) { return atomic_load_explicit(&lost_bytes, memory_order_relaxed); }

/* Where the cut is refused (map count limit) the piece stays mapped without access, which costs address space alone. */
static void vm_cut(char *from, char *to) {
    if (to > from && sys_vm_release(from, (size_t)(to - from)) != 0)
        atomic_fetch_add_explicit(&lost_bytes, (size_t)(to - from), memory_order_relaxed);
}

/* The kernel often gives an aligned address by itself; else map more and cut both ends. */
void *sys_vm_reserve(size_t bytes, size_t align) {
    if (bytes + align < bytes)
        return NULL;
    char *p = vm_map(bytes);
    if (p == NULL || ((uintptr_t)p & (align - 1)) == 0 || align <= sys_page_bytes())
        return p;
    vm_cut(p, p + bytes);
    char *wide = vm_map(bytes + align);
    if (wide == NULL)
        return NULL;
    p = (char *)round_up((uintptr_t)wide, align);
    vm_cut(wide, p);
    vm_cut(p + bytes, wide + bytes + align);
    return p;
}

/* A kernel that does not know the flag takes the address for a hint. */
int sys_vm_reserve_at(void *addr, size_t bytes) {
    enum { MAP_FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE };
    long ret = SYS6(SYS_mmap, addr, bytes, PROT_NONE, MAP_FLAGS, -1, 0);
    void *p = place_comes(ret);
    if (p == addr)
        return 0;
    if (p == NULL)
        return (int)ret;
    (void)sys_vm_release(p, bytes);
    return -EEXIST;
}

/* MAP_32BIT would search, but below 2 GiB alone and on x86-64 only: so each place is tried, from the top, where
 * programs have nothing. */
void *sys_vm_reserve_low(size_t bytes, size_t align) {
    const u64 top = (u64)4 * GIB, lowest = 16 * MIB;
    for (u64 at = bytes > top ? 0 : round_down(top - bytes, align); at >= lowest && at < top; at -= align) {
        void *p = (void *)at; // NOLINT(performance-no-int-to-ptr)
        int err = sys_vm_reserve_at(p, bytes);
        if (err == 0)
            return p;
        if (err == -ENOMEM)
            return NULL;
    }
    return NULL;
}

/* Not MAP_NORESERVE: the pool's pages are to be set aside, or none. */
void *sys_vm_hugetlb(size_t bytes) {
    enum { HUGE_BITS_SHIFT = 26 }; /* MAP_HUGE_SHIFT is not in every C library's headers. */
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (int)HPAGE_SHIFT << HUGE_BITS_SHIFT;
    return place_comes(SYS6(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0));
}

int sys_vm_populate(void *addr, size_t bytes) {
    enum { POPULATE_WRITE = 23 }; /* MADV_POPULATE_WRITE is not in every C library's headers. */
    return (int)SYS_RARE(3, SYS_madvise, addr, bytes, POPULATE_WRITE); /* filters may look at the advice */
}

int sys_vm_commit(void *addr, size_t bytes) { return (int)SYS3(SYS_mprotect, addr, bytes, PROT_READ | PROT_WRITE); }

int sys_vm_read_only(void *addr, size_t bytes) { return (int)SYS3(SYS_mprotect, addr, bytes, PROT_READ); }

int sys_vm_guard(void *addr, size_t bytes) {
    int err = sys_vm_purge(addr, bytes);
    return err != 0 ? err : (int)SYS3(SYS_mprotect, addr, bytes, PROT_NONE);
}

int sys_vm_purge(void *addr, size_t bytes) { return (int)SYS3(SYS_madvise, addr, bytes, MADV_DONTNEED); }

static size_t ranges_bytes(const struct sys_range *ranges, unsigned nr) {
    size_t bytes = 0;
    for (unsigned i = 0; i < nr; i++)
        bytes += ranges[i].bytes;
    return bytes;
}

/* A process may advise itself by the vector since 6.13, name itself by this number instead of a descriptor since 6.16.
 * Anything but success for all is answered by single calls, which say what failed; a kernel that does not know the
 * call, or forbids it, is not asked again. */
u64 sys_vm_purge_ranges(const struct sys_range *ranges, unsigned nr) {
    enum { PIDFD_SELF = -10001 };
    static _Atomic(bool) refused;
    _Static_assert(sizeof(struct sys_range) == sizeof(struct iovec) &&
                       offsetof(struct sys_range, bytes) == offsetof(struct iovec, iov_len),
                   "a range is an iovec");
    if (nr > 1 && !atomic_load_explicit(&refused, memory_order_relaxed)) {
        long done = SYS_RARE(6, SYS_process_madvise, PIDFD_SELF, ranges, nr, MADV_DONTNEED, 0, 0);
        if (done >= 0 && (size_t)done == ranges_bytes(ranges, nr))
            return ~(u64)0 >> (SYS_RANGES_MAX - nr);
        bool later = done >= 0 || done == -EAGAIN || done == -ENOMEM || done == -EINTR;
        atomic_store_explicit(&refused, !later, memory_order_relaxed);
    }
    u64 given = 0;
    for (unsigned i = 0; i < nr; i++)
        given |= (u64)(sys_vm_purge(ranges[i].addr, ranges[i].bytes) == 0) << i;
    return given;
}

int sys_vm_release(void *addr, size_t bytes) {
    place_goes();
    return (int)SYS2(SYS_munmap, addr, bytes);
}
/* A hugepage is one page of page-table entries, 8 bytes each: 2 MiB with 4 KiB pages, 32 MiB with 16 KiB ones, which is
 * not what is asked for. */
int sys_vm_huge(void *addr, size_t bytes) {
    size_t page = sys_page_bytes();
    return page * page / sizeof(u64) != HPAGE_BYTES ? -1 : (int)SYS3(SYS_madvise, addr, bytes, MADV_HUGEPAGE);
}
int sys_vm_collapse(void *addr, size_t bytes) {
    enum { COLLAPSE = 25 }; /* MADV_COLLAPSE is not in every C library's headers. */
    _Static_assert(SYS_VM_COLLAPSE_UNKNOWN + EINVAL == 0, "what the kernel says of advice it does not know");
    int err = sys_vm_huge(addr, bytes);
    if (err == 0)
        err = (int)SYS3(SYS_madvise, addr, bytes, COLLAPSE);
    (void)sys_vm_nohuge(addr, bytes);
    return err;
}

size_t sys_vm_resident_pages(const void *addr, size_t bytes) {
    enum { WINDOW_PAGES = 512 };
    size_t page = sys_page_bytes(), pages = bytes / page, resident = 0;
    u8 in_memory[WINDOW_PAGES];
    for (size_t at = 0; at < pages; at += WINDOW_PAGES) {
        size_t nr = MIN(pages - at, (size_t)WINDOW_PAGES);
        if (SYS_RARE(3, SYS_mincore, (const char *)addr + at * page, nr * page, in_memory) != 0)
            return pages;
        for (size_t i = 0; i < nr; i++)
            resident += in_memory[i] & 1;
    }
    return resident;
}

int sys_vm_nohuge(void *addr, size_t bytes) { return (int)SYS3(SYS_madvise, addr, bytes, MADV_NOHUGEPAGE); }
int sys_vm_nodump(void *addr, size_t bytes) { return (int)SYS3(SYS_madvise, addr, bytes, MADV_DONTDUMP); }

/*
 * The kernel unmaps the destination first, and looks at what is to be moved afterwards. Between its failure and
 * whatever is done about that another thread may have been given the place: to unmap it then would be to unmap the
 * other's. -EFAULT (the range is several mappings) and -EINTR come after that. -ENOMEM comes before it where mappings
 * are out, and later for want of memory: such a place is left to itself, mapped or not, which costs addresses, where it
 * is still mapped what the commit limit charges for it, and so that it cannot cost many, not more often than this.
 */
enum { LOST_PLACES_MAX = 16 };
static _Atomic(u32) lost_places;

static int move_failed(int err, size_t bytes) {
    if (err == -ENOMEM) {
        atomic_fetch_add_explicit(&lost_places, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&lost_bytes, bytes, memory_order_relaxed);
    }
    return err == -ENOMEM || err == -EFAULT || err == -EINTR ? SYS_VM_LOST_PLACE : err;
}

static ALWAYS_INLINE int vm_move(void *from, size_t bytes, void *to, int more_flags) {
    if (atomic_load_explicit(&lost_places, memory_order_relaxed) >= LOST_PLACES_MAX)
        return -ENOMEM;
    place_goes();
    long ret = SYS6(SYS_mremap, from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | more_flags, to, 0);
    return call_failed(ret) ? move_failed((int)ret, bytes) : 0;
}

int sys_vm_move(void *from, size_t bytes, void *to) { return vm_move(from, bytes, to, 0); }
int sys_vm_move_out(void *from, size_t bytes, void *to) { return vm_move(from, bytes, to, MOVE_DONTUNMAP); }

int sys_vm_place(void *addr, size_t bytes, enum sys_numa_mode mode, const struct sys_nodes *nodes) {
    enum { PREFERRED_MANY = 5 }; /* Linux 5.15; not in every header */
    static const int policy[] = {
        [SYS_NUMA_PREFER] = MPOL_PREFERRED, [SYS_NUMA_BIND] = MPOL_BIND, [SYS_NUMA_INTERLEAVE] = MPOL_INTERLEAVE};
    struct sys_nodes allowed;
    int how = policy[mode];
    unsigned nr = nodes == NULL ? 0 : sys_nodes_count(nodes);
    if (nr == 0 && (mode != SYS_NUMA_INTERLEAVE || !sys_nodes_allowed(&allowed)))
        return -EINVAL;
    if (mode == SYS_NUMA_PREFER && nr > 1)
        how = PREFERRED_MANY;
    const u64 *mask = (nr == 0 ? &allowed : nodes)->words;
    int ret = (int)SYS_RARE(6, SYS_mbind, addr, bytes, how, mask, SYS_NODE_IDS_NR + 1, 0);
    if (ret == -EINVAL && how == PREFERRED_MANY) /* an older kernel: the lowest of them */
        ret = (int)SYS_RARE(6, SYS_mbind, addr, bytes, MPOL_PREFERRED, mask, SYS_NODE_IDS_NR + 1, 0);
    return ret;
}

static size_t limit_bytes(int which) {
    struct rlimit limit;
    if (SYS4(SYS_prlimit64, 0, which, 0, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    return (size_t)limit.rlim_cur;
}

size_t sys_vm_limit_bytes(void) {
    size_t data = limit_bytes(RLIMIT_DATA), space = limit_bytes(RLIMIT_AS);
    return data < DATA_SMALL_BYTES ? MIN(data, space) : space;
}
