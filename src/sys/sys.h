/* SPDX-License-Identifier: MIT */
/*
 * Everything quarry asks of the operating system, in one contract. Only this folder includes system headers. Functions
 * return 0 or -errno (or a pointer, NULL on failure), never touch errno, and are async-signal-safe unless said
 * otherwise. Unit tests link a pretend system (tests/fakes) in the place of vm.c and clock.c.
 */
#ifndef QUARRY_SYS_SYS_H
#define QUARRY_SYS_SYS_H

#include "base/bits.h"
#include "base/types.h"

/* --- address space (vm.c). Addresses and lengths are multiples of sys_page_bytes() unless said otherwise. --- */

/* 4 KiB, 16 KiB or 64 KiB; known after the first call. */
size_t sys_page_bytes(void);

/* Address space without access or memory, aligned to align (a power of two; page alignment when smaller). Not charged
 * to the commit limit; counted by RLIMIT_AS. NULL when there is none. */
void *sys_vm_reserve(size_t bytes, size_t align);
/* A number below nr (> 0) for where something lies: always the same in one process and its children, hardly the same in
 * another, or for another of. Made of the random bytes that the kernel gives each program, without a system call; not
 * for secrets. */
u32 sys_layout_pick(u64 of, u32 nr);
/* Address space that reservations could not cut to their alignment, and places of moves that failed: lost. */
size_t sys_vm_lost_bytes(void);
/* Writable memory in 2 MiB hugepages of the administrator's pool (hugetlbfs), bytes of it (a multiple of 2 MiB),
 * aligned to one. The pool's pages are set aside for it; they come with sys_vm_populate(), or by being written to,
 * which ends the process where the kernel then has none after all. NULL: the pool has not so many. */
void *sys_vm_hugetlb(size_t bytes);
/* Brings the memory of a writable range as writing to each page would, its contents unchanged, but fails where that
 * would end the process. -EINVAL before Linux 5.14. */
int sys_vm_populate(void *addr, size_t bytes);
/* The same as sys_vm_reserve, below 4 GiB. */
void *sys_vm_reserve_low(size_t bytes, size_t align);
/* Address space at addr, of which page alignment is asked. -EEXIST: some of it is taken; else 0 or -errno. */
int sys_vm_reserve_at(void *addr, size_t bytes);
/* Make reserved memory writable; it reads as zeros. -ENOMEM when the commit limit is reached. */
int sys_vm_commit(void *addr, size_t bytes);
/* Make reserved memory readable and no more, or close written memory against writing; contents stay. Not charged to the
 * commit limit. */
int sys_vm_read_only(void *addr, size_t bytes);
/* Take access away again, for guard pages; contents are dropped. */
int sys_vm_guard(void *addr, size_t bytes);
/* Give the memory back and keep the address space; it reads as zeros again. On failure contents are intact. */
int sys_vm_purge(void *addr, size_t bytes);
/* The same for up to SYS_RANGES_MAX ranges, in one call and with one interruption of the other CPUs where the kernel
 * can (Linux 6.16). Returns a bit for each range that was given back. */
struct sys_range {
    void *addr;
    size_t bytes;
};
enum { SYS_RANGES_MAX = 64 };
u64 sys_vm_purge_ranges(const struct sys_range *ranges, unsigned nr);
/* Give memory and address space back. -ENOMEM when the map count limit forbids a split: the range is then still mapped.
 */
int sys_vm_release(void *addr, size_t bytes);
/* Ask for or forbid hugepages. A hint: failure is harmless. */
int sys_vm_huge(void *addr, size_t bytes);
int sys_vm_nohuge(void *addr, size_t bytes);
/* Leaves a range out of core files, and of what debuggers write in their place. A hint, too. */
int sys_vm_nodump(void *addr, size_t bytes);
/* Makes a hugepage of the small pages of a range that is one, whatever the range was told before; afterwards it is as
 * after sys_vm_nohuge. Copies, and takes as long as finding a hugepage does. -EINVAL: the kernel (before Linux 6.1)
 * cannot. */
int sys_vm_collapse(void *addr, size_t bytes);
/* Pages of a range that are in memory, as far as the kernel tells: all of them where it says nothing. */
size_t sys_vm_resident_pages(const void *addr, size_t bytes);
#define SYS_VM_COLLAPSE_UNKNOWN (-22) /* -EINVAL, for those who have no errno.h */
/* Whether memory that was told nothing comes in hugepages of so many bytes, a power of two from 16 KiB on (multi-size
 * hugepages, Linux 6.8), and in none larger. root: "/sys/kernel/mm/transparent_hugepage". Opens one file, and where
 * these come some fifteen. */
#define SYS_THP_ROOT "/sys/kernel/mm/transparent_hugepage"
bool sys_thp_unasked_small(const char *root, size_t bytes);
/* Move the pages of [from, from + bytes) to the reserved range at to, which is replaced; from becomes unmapped. 0;
 * -errno: nothing was done; SYS_VM_LOST_PLACE: it failed, and [to, to + bytes) is not the caller's any more, and may be
 * another thread's. Kernels before Linux 6.17 move no more than one of their mappings at a time, and where a range was
 * moved once what is added behind it is another; later ones move one after the other, and where the kernel has no
 * memory of its own for the second (there is no other reason) the first has gone. */
enum { SYS_VM_LOST_PLACE = 1 };
int sys_vm_move(void *from, size_t bytes, void *to);
/* The same, but from stays mapped, without memory: it reads as zeros. Linux 5.7. */
int sys_vm_move_out(void *from, size_t bytes, void *to);
/* Placement of future pages: on the first of the nodes that has room or else on others, on one of them alone, or on
 * each in turn. Interleaving over no node is over all that this process may use. */
enum sys_numa_mode { SYS_NUMA_PREFER, SYS_NUMA_BIND, SYS_NUMA_INTERLEAVE };
struct sys_nodes;
int sys_vm_place(void *addr, size_t bytes, enum sys_numa_mode mode, const struct sys_nodes *nodes);
/* RLIMIT_AS, or a RLIMIT_DATA so small that tables made for the whole address space would fill it (it counts what is
 * writable); SIZE_MAX when there is neither. */
size_t sys_vm_limit_bytes(void);

/* --- physical memory (pin.c) --- */

/* Physical number of the page at p, which must be in memory; 0: the kernel does not say. */
u64 sys_vm_frame(const void *p);
/* Whether the pages of [p, p + bytes), up to 512 in memory, lie physically one after the other; *ret_frame is the first
 * one's number. 0; 1: they do not; -EPERM: the kernel does not say. */
int sys_vm_contiguous(const void *p, size_t bytes, u64 *ret_frame);
/* Keeps memory where it is, physically, until sys_vm_unpin of what is returned: a number that is not negative, or
 * -errno (io_uring is missing or forbidden, RLIMIT_MEMLOCK). A pin is a file descriptor: who closes all, ends it. */
int sys_vm_pin(void *addr, size_t bytes);
void sys_vm_unpin(int pin);

/* --- clock (clock.c) --- */

/* As clock_gettime(2), but for errno, and nobody's but the kernel's (vdso.c): by a system call, and once somebody has
 * looked where it is, by its function. 0 or -errno. */
struct timespec;
int sys_clock_read(int clock, struct timespec *ret_time);
void sys_clock_init(void);
extern HIDDEN int (*sys_clock_kernel)(int clock,
                                      struct timespec *ret_time); /* in libquarry of the sealed page: engine/sealed.S */
/* Milliseconds of a monotonic clock, from an arbitrary start; a coarse clock of some ms resolution. */
u64 sys_clock_ms(void);
/* Nanoseconds of a monotonic clock, exact enough to time a page fault. */
u64 sys_clock_ns(void);
/* Nanoseconds this thread has run; 0 where that cannot be known. */
u64 sys_clock_thread_ns(void);
/* How long it takes this thread to do something, waits of its own with it and the turns of others on its CPU without:
 * on a busy machine those are longer than what is timed. */
struct sys_watch {
    u64 start_ns, ran_ns, waits_nr;
};
void sys_watch_begin(struct sys_watch *ret_watch);
u64 sys_watch_ns(const struct sys_watch *watch);
void sys_sleep_ms(unsigned ms);
/* A pipe, which ends with exec: ends[0] is read, ends[1] written. 0 or -errno. */
int sys_pipe(int ends[2]);
/* Waits so long at most. True: a byte is there, or nobody can write one any more. */
bool sys_pipe_wait(int end, unsigned ms);
/* A byte, which nobody needs to read. */
void sys_pipe_write(int end);
void sys_close(int fd);

/* --- the process (proc.c) --- */

/* The environment, found even before libc has set environ; NULL when it cannot be found. */
char *const *sys_environ(void);
/* The process runs with more rights than its caller (setuid): the environment must not be trusted. */
bool sys_secure(void);
/*
 * prctl(2) as the program calls it. -4095 to -1: the error. By PR_SET_NO_NEW_PRIVS or PR_SET_SECCOMP it is about to
 * forbid itself system calls, and may mean by death. Sandboxes are written by what glibc's malloc calls; so from then
 * on, of all threads and of children, mmap, munmap, mprotect, mremap, madvise, futex, nanosleep and clock_gettime are
 * all that is called where a report or an option does not ask for more. What the others would have told counts as
 * refused, which every caller has to bear anyhow. There is no way back.
 */
long sys_prctl(int op, const unsigned long args[4]);
bool sys_is_confined(void);
void sys_stderr(const char *text, size_t bytes);
void sys_write(int fd, const char *text, size_t bytes);
/* Reads a small file whole, NUL-terminated; bytes read, or -errno. */
s64 sys_read_file(const char *path, char *buf, size_t cap_bytes);
/* A file that is read in pieces: a descriptor or -errno, bytes read or -errno. */
int sys_file_open(const char *path);
s64 sys_file_read_at(int fd, void *buf, size_t bytes, u64 offset_bytes);
void sys_file_close(int fd);
/* Calls match with each line of a file, without its newline, until it answers true. By a window on the stack: the file
 * may have any size; of a line the first KiB is shown. False: none, or no such file. */
bool sys_lines_find(const char *path, bool (*match)(const char *line, void *arg), void *arg);
_Noreturn void sys_abort(void);
/* Whether p lies in what the program's own file (not a library) maps without write access: its code and constants. */
bool sys_program_constant(const void *p);
/* Whether this thread may be in a signal handler: it has a signal blocked that the program handles, as nearly every
 * handler has its own; or a signal of faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP), handled or not,
 * unless all are blocked. A signal that is blocked to be waited for (sigwait, signalfd) has no handler. Not seen is a
 * handler of another signal that has lost its place meanwhile (SA_RESETHAND, signal(nr, SIG_DFL)), and one that blocks
 * nothing (SA_NODEFER). Async-signal-safe. */
bool sys_handler_maybe(void);
/* Whether this thread must not call functions of the program: it may be in a signal handler, or sys_thread_start began
 * it, so that it has a small stack and what it serves waits for it. Async-signal-safe. */
bool sys_calls_nobody(void);
/* This thread is one of those: each of two libraries has a note of its own. */
void sys_thread_serve(void);
/* Bytes nobody can guess, by the kernel; where it has none, by clock and address. */
void sys_random(void *to, size_t bytes);
u32 sys_process_id(void);
/* A number no two living threads share: the thread pointer. */
u64 sys_thread_self(void);
/* The approximate stack pointer of the caller. */
uintptr_t sys_stack_pointer(void);
/* Handlers around fork. Not async-signal-safe; needs a running libc. */
void sys_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
/* A detached thread with all signals blocked and a small stack, which calls nobody. Not async-signal-safe. 0 or -errno.
 */
int sys_thread_start(void (*body)(void));

/* --- per-CPU facts (cpu.c) --- */

/* Upper bound of the kernel's CPU numbers and concurrency ids, not of the CPUs this process may use. */
unsigned sys_cpu_ids_nr(void);

/* The CPU this thread runs on; stale on return. Negative when it cannot be told. */
int sys_cpu_racy(void);

/* --- NUMA (node.c). A node is what the kernel calls by a number; numbers may have gaps. --- */

enum { SYS_NODE_IDS_NR = 1024, SYS_NODES_MAX = 64 }; /* the kernel's most, and the most that are told apart here */
struct sys_nodes {
    u64 words[SYS_NODE_IDS_NR / 64];
};
static inline bool sys_nodes_have(const struct sys_nodes *nodes, unsigned id) {
    return id < SYS_NODE_IDS_NR && (nodes->words[id / 64] >> id % 64 & 1) != 0;
}
static inline void sys_nodes_add(struct sys_nodes *nodes, unsigned id) {
    if (id < SYS_NODE_IDS_NR)
        nodes->words[id / 64] |= (u64)1 << id % 64;
}
static inline unsigned sys_nodes_count(const struct sys_nodes *nodes) {
    unsigned nr = 0;
    for (unsigned w = 0; w < ARRAY_NR(nodes->words); w++)
        nr += bits_count(nodes->words[w]);
    return nr;
}
/* The lowest from id on; SYS_NODE_IDS_NR: there is none. */
static inline unsigned sys_nodes_next(const struct sys_nodes *nodes, unsigned id) {
    while (id < SYS_NODE_IDS_NR && !sys_nodes_have(nodes, id))
        id++;
    return id;
}

/* The nodes whose memory this process may use (its cpuset's); false: the kernel does not say. One system call. */
bool sys_nodes_allowed(struct sys_nodes *ret_nodes);
/* What this thread's memory policy says (set_mempolicy(2), numactl(8)): "where first touched", these nodes, or these in
 * turn. NONE where the kernel does not tell. No nodes where it tells others than it takes (MPOL_F_RELATIVE_NODES). One
 * system call. */
enum sys_policy { SYS_POLICY_NONE, SYS_POLICY_NODES, SYS_POLICY_TURNS };
enum sys_policy sys_thread_policy(struct sys_nodes *ret_nodes);
/* The program may set policies of single threads: libnuma was loaded with it. */
bool sys_policies_are_used(void);

/* The nodes with memory, by index: those of them that this process may use, the first SYS_NODES_MAX of them. */
struct sys_numa {
    unsigned nr;
    u16 id[SYS_NODES_MAX];                  /* ascending */
    u8 home[SYS_NODE_IDS_NR];               /* by the number of any node: the index of the nearest with memory */
    u8 order[SYS_NODES_MAX][SYS_NODES_MAX]; /* by index: all, the nearest first, itself to begin with */
};
/* root: "/sys/devices/system/node". What cannot be read there is taken to be as allowed says, all equally far. */
#define SYS_NODE_ROOT "/sys/devices/system/node"
void sys_numa_read(const char *root, const struct sys_nodes *allowed, struct sys_numa *ret_numa);

/* The node of this thread's CPU, stale on return, without system call where rseq or the vDSO tell; and that of the page
 * at p if it has memory. Negative when it cannot be told. */
int sys_node_racy(void);
int sys_node_of(const void *p);
/* Adds the pages of a range that are in memory to where they are counted, by the kernel's number of their node; none
 * where it does not tell. */
void sys_vm_nodes_count(const char *addr, size_t bytes, u32 node_pages[SYS_NODE_IDS_NR]);
/* Whether every page of the range lies on the node; those that do not are moved there where that is asked for, which
 * fails where the node is out of memory and never ends a process. Pages without memory lie nowhere. */
enum sys_settle { SYS_SETTLE_LOOK, SYS_SETTLE_MOVE };
bool sys_vm_on_node(void *addr, size_t bytes, unsigned node, enum sys_settle settle);

/* --- restartable sequences (cpu.c) --- */

/* What restartable sequences offer here. */
enum sys_rseq { SYS_RSEQ_NONE, SYS_RSEQ_CPU_ID, SYS_RSEQ_MM_CID };
/* offset: of the thread's rseq area (glibc's own registration) from the thread pointer. Written only when the result is
 * not NONE. */
enum sys_rseq sys_rseq_probe(ptrdiff_t *ret_offset);
/* Whether the environment tells libc to register no areas (glibc.pthread.rseq=0), whatever this libc knows of that. */
bool sys_rseq_is_off(char *const *envp);
/* What the kernel fills of an area that sys_rseq_register() registers. NONE: none may be registered here, because the
 * program or a library of its registers areas, or libc does not keep a thread's memory until the thread is gone. */
enum sys_rseq sys_rseq_filled(void);
/* Registers 32 bytes, aligned to as many, for this thread and as long as it runs; its cpu_id is set on return. 0: they
 * are registered, as they may have been before. -EINVAL: others are; or -errno. */
int sys_rseq_register(void *area);

/* Whether this process has had one thread only, as far as libc knows; false where libc does not say. */
bool sys_thread_alone(void);
/* Registers for expedited rseq barriers; must have been answered with READY before the next is called. NONE: this
 * kernel has none. REFUSED: not now, for lack of memory or by a filter; it may be asked again. */
enum sys_barrier { SYS_BARRIER_REFUSED, SYS_BARRIER_NONE, SYS_BARRIER_READY };
enum sys_barrier sys_membarrier_register(void);
/* On return every restartable sequence that was running in this process has been aborted or finished. 0 or -errno. */
int sys_membarrier_rseq(void);

/* --- lock (lock.c): docs/locking.md lists every lock there is --- */

struct sys_lock {
    _Atomic(u64)
        word; /* 0 free; SYS_LOCK_LOST; else sys_thread_self() of the holder, with bit 0 set when somebody waits */
};

/* False when this very thread holds the lock already: the caller runs in a signal handler on top of the holder, and
 * waiting would never end. And when it is lost. */
bool sys_lock_acquire(struct sys_lock *lock);
bool sys_lock_try(struct sys_lock *lock);
/* Tries for as long as a holder needs who is not interrupted. */
bool sys_lock_try_spinning(struct sys_lock *lock);
/* Lets another thread run that is ready to, a lock's holder perhaps. */
void sys_yield(void);
/* The same in pieces, for locks that are also taken in other ways (kmem/percpu_cpu.c): word is sys_thread_self(), with
 * SYS_LOCK_WAITED once the caller has slept. */
#define SYS_LOCK_WAITED ((u64)1)
bool sys_lock_try_as(struct sys_lock *lock, u64 word);
/* Sleeps until the word may have changed, ms at most: who waits may have something else to look at. */
enum { SYS_LOCK_WAIT_MS = 1000 };
void sys_lock_wait(struct sys_lock *lock, unsigned ms);
/* Who slept and goes away without the lock may have been woken to take it: wakes another in its place. */
void sys_lock_wake(struct sys_lock *lock);
void sys_lock_release(struct sys_lock *lock);
/* Wakes all who wait, not one: for locks whose waiters may go on without ever taking them. */
void sys_lock_release_all(struct sys_lock *lock);
bool sys_lock_is_mine(struct sys_lock *lock);
/* Sleeps while *word is expected, at most ms milliseconds; may return early. And wakes up to nr who sleep there. */
void sys_wait(_Atomic(u32) *word, u32 expected, unsigned ms);
void sys_wake(_Atomic(u32) *word, unsigned nr);
/* Back to free, whoever held it: for the child of a fork. */
void sys_lock_reset(struct sys_lock *lock);
/* Never to be had again, for what it protects is not whole: in the child of a fork that could not wait for the holder.
 * No thread pointer is such a word. */
#define SYS_LOCK_LOST ((u64)2)
void sys_lock_lose(struct sys_lock *lock);
bool sys_lock_is_lost(struct sys_lock *lock);

#endif
