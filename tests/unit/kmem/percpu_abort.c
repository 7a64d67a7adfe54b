/* SPDX-License-Identifier: MIT */
/*
 * Aborts at every instruction of every section of the kernel API's per-CPU operations (src/kmem/percpu_x86_64.h), as
 * tests/unit/mag/abort.c does it to those of the magazines: at the k-th instruction another thread of the CPU changes
 * the word or holds the copy, a signal handler does, or the thread is moved; and the kernel aborts. The operation must
 * then have happened once, to what was there, on the CPU it ended on; or not at all where the copy is held.
 *
 * Behind its last instruction each section must have had its effect: what another thread stores there stays. So a
 * commit that is moved out of its section shows there, and one that is moved forward happens twice.
 *
 * That this can fail is shown each time: without the abort each operation must go wrong somewhere.
 */
#include "kmem/percpu_ops.h"
#include "unit/stepper.h"

#if QUARRY_RSEQ && defined(__x86_64__)

#include <sched.h>
#include <string.h>
#include <sys/mman.h>

struct percpu percpu;

enum { STEPS_MAX = 5000, CPUS_MAX = 256, SETS = 2, BLOCK_BYTES = 64, BLOCK_WORDS = BLOCK_BYTES / sizeof(u64) };
enum { OPERAND = 5, OTHERS = 0x77, HELD_WORD = 2 };

struct line {
    _Alignas(CACHE_LINE) u64 word;
};
_Static_assert(sizeof(struct line) == (size_t)1 << PERCPU_LOCK_SHIFT, "as far apart as locks");

/* Shared with the child. */
static struct world {
    struct percpu_lock locks[CPUS_MAX + 1];
    struct line lists[SETS][CPUS_MAX]; /* first of a list, or the slot of a block */
    u64 set;                           /* address of the one that is in use */
    u64 nodes[2];                      /* links: the child's, the other's */
    _Alignas(BLOCK_BYTES) u64 blocks[CPUS_MAX + 1][BLOCK_WORDS];
    u64 done, result, cpu;
} * w;
static char *copies;
static unsigned cpu_first, cpu_second; /* where the child begins, and where it is moved */

static u64 *copy_word(unsigned cpu) { return (u64 *)(void *)(copies + ((size_t)cpu << PERCPU_COPY_SHIFT)); }
static u64 *list_word(unsigned set, unsigned cpu) { return &w->lists[set][cpu].word; }
static u64 copy_start(unsigned cpu) { return 0x11 + cpu % 8; }

/* --- what the child does, and what must come of it --- */

enum kind { READ, WRITE, ADD, AND, OR, XCHG, CMPXCHG, HOLD, PUSH, PUT_WORD, PUT_PLACE };

struct operation {
    const char *name;
    enum kind kind;
    unsigned bits;
    void (*run)(void);
};

#define OPERATIONS(bits)                                                                                               \
    static void read_##bits(void) { w->done = percpu_read_##bits((uintptr_t)copies, &w->result); }                     \
    static void write_##bits(void) { w->done = percpu_write_##bits((uintptr_t)copies, OPERAND); }                      \
    static void add_##bits(void) {                                                                                     \
        u64 value = OPERAND;                                                                                           \
        w->done = percpu_add_##bits((uintptr_t)copies, &value);                                                        \
        w->result = (u##bits)value;                                                                                    \
    }                                                                                                                  \
    static void and_##bits(void) { w->done = percpu_and_##bits((uintptr_t)copies, OPERAND); }                          \
    static void or_##bits(void) { w->done = percpu_or_##bits((uintptr_t)copies, OPERAND); }                            \
    static void xchg_##bits(void) { w->done = percpu_xchg_##bits((uintptr_t)copies, OPERAND, &w->result); }            \
    static void cmpxchg_##bits(void) {                                                                                 \
        u64 expected = OTHERS;                                                                                         \
        w->done = percpu_cmpxchg_##bits((uintptr_t)copies, &expected, OPERAND);                                        \
        w->result = (u##bits)expected;                                                                                 \
    }
OPERATIONS(8)
OPERATIONS(16)
OPERATIONS(32)
OPERATIONS(64)

static void hold(void) {
    unsigned cpu;
    w->done = percpu_try_hold(HELD_WORD, &cpu);
    w->cpu = cpu;
}
static void push(void) {
    void *first;
    w->done = percpu_push(&w->set, &w->nodes[0], &first);
    w->result = (u64)first;
}
static void put_word(void) { w->done = percpu_put_word(&w->set, 0, BLOCK_BYTES, &w->nodes[0]); }
static void put_place(void) {
    w->done = percpu_put_place(&w->set, 0, BLOCK_BYTES, (u64)&w->blocks[CPUS_MAX][1], &w->result);
}

#define SIZES(name, kind)                                                                                              \
    {#name " 8", kind, 8, name##_8}, {#name " 16", kind, 16, name##_16}, {#name " 32", kind, 32, name##_32}, {         \
#name " 64", kind, 64, name##_64                                                                               \
    }
static const struct operation operations[] = {
    SIZES(read, READ),
    SIZES(write, WRITE),
    SIZES(add, ADD),
    SIZES(and, AND),
    SIZES(or, OR),
    SIZES(xchg, XCHG),
    SIZES(cmpxchg, CMPXCHG),
    {"hold", HOLD, 64, hold},
    {"push", PUSH, 64, push},
    {"put a word", PUT_WORD, 64, put_word},
    {"put a place", PUT_PLACE, 64, put_place},
};

/* Of a word of a copy: what is there afterwards. */
static u64 word_after(const struct operation *op, u64 old) {
    switch (op->kind) {
    case WRITE:
    case XCHG: return OPERAND;
    case ADD: return old + OPERAND;
    case AND: return old & OPERAND;
    case OR: return old | OPERAND;
    case CMPXCHG: return old == OTHERS ? OPERAND : old;
    default: return old;
    }
}
static bool has_result(const struct operation *op) {
    return op->kind == READ || op->kind == ADD || op->kind == XCHG || op->kind == CMPXCHG;
}

/* --- what happens to it at the chosen instruction --- */

enum disturbance { NOTHING, OTHER, HELD, SWITCHED, SIGNAL, MOVED, DISTURBANCES_NR };
static const char *const names[] = {"nothing",
                                    "another thread does the same",
                                    "the copy is held",
                                    "the set is another",
                                    "a handler does the same",
                                    "the thread is moved"};

/* Another thread of this CPU, or a handler. */
static void other_runs(const struct operation *op) {
    u64 *list = list_word(0, cpu_first);
    switch (op->kind) {
    case PUSH:
        w->nodes[1] = *list;
        *list = (u64)&w->nodes[1];
        break;
    case PUT_WORD:
        *(u64 *)*list = (u64)&w->nodes[1]; // NOLINT(performance-no-int-to-ptr)
        *list += sizeof(u64);
        break;
    case PUT_PLACE: *list = (u64)&w->blocks[cpu_first][1]; break;
    case HOLD: atomic_store(&w->locks[cpu_first].lock.word, OTHERS); break;
    default: *copy_word(cpu_first) = OTHERS;
    }
}

static const struct operation *running; /* the child's */
static void on_usr1(int signal_nr) {
    (void)signal_nr;
    other_runs(running);
}

static void child_move(unsigned cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    MUST(sched_setaffinity(child, sizeof(one), &one) == 0);
}

static void disturb(const struct operation *op, enum disturbance d) {
    if (d == OTHER)
        other_runs(op);
    else if (d == HELD)
        atomic_store(&w->locks[cpu_first].lock.word, OTHERS);
    else if (d == SWITCHED)
        w->set = (u64)w->lists[1];
    else if (d == MOVED)
        child_move(cpu_second);
}

static bool is_of_lists(const struct operation *op) { return op->kind >= PUSH; }

/* Whether the disturbance means anything to the operation. */
static bool concerns(enum disturbance d, const struct operation *op) {
    return (d != HELD || !is_of_lists(op)) && (d != SWITCHED || is_of_lists(op)) &&
           (d != MOVED || cpu_first != cpu_second);
}

/* --- the outcome --- */

static bool copies_right(const struct operation *op, enum disturbance d, unsigned cpu) {
    u64 mask = bits_mask(op->bits), old = d == OTHER || d == SIGNAL ? OTHERS : copy_start(cpu);
    bool refused = d == HELD;
    if (w->done != !refused || (!refused && has_result(op) && w->result != old))
        return false;
    for (unsigned c = 0; c < percpu.cpus_nr; c++) {
        u64 is = c != cpu ? copy_start(c) : refused ? old : word_after(op, old);
        if ((*copy_word(c) & mask) != (is & mask) || (*copy_word(c) & ~mask) != 0)
            return false;
    }
    return true;
}

static bool lock_right(enum disturbance d, unsigned cpu) {
    bool refused = d == HELD || d == OTHER || d == SIGNAL;
    for (unsigned c = 0; c < percpu.cpus_nr; c++) {
        u64 is = c != cpu ? 0 : refused ? OTHERS : HELD_WORD;
        if (atomic_load(&w->locks[c].lock.word) != is)
            return false;
    }
    return w->done == !refused && (refused || w->cpu == cpu);
}

/* In the slot of the set and CPU it ended on, behind what the other did there; every other slot as it was. */
static bool lists_right(const struct operation *op, enum disturbance d, unsigned cpu) {
    bool after = d == OTHER || d == SIGNAL, refused = op->kind == PUT_PLACE && after;
    unsigned set = d == SWITCHED;
    const u64 *block = w->blocks[cpu];
    u64 is[] = {[PUSH - PUSH] = (u64)&w->nodes[0],
                [PUT_WORD - PUSH] = (u64)&block[1 + after + 1],
                [PUT_PLACE - PUSH] = refused ? (u64)&block[1] : (u64)&w->blocks[CPUS_MAX][1]};
    if (w->done != !refused || *list_word(set, cpu) != is[op->kind - PUSH])
        return false;
    if (op->kind == PUSH && w->nodes[0] != (after ? (u64)&w->nodes[1] : 0))
        return false;
    if (op->kind == PUT_WORD && (block[1 + after] != (u64)&w->nodes[0] || (after && block[1] != (u64)&w->nodes[1])))
        return false;
    for (unsigned i = 0; i < SETS * percpu.cpus_nr; i++) {
        unsigned s = i % SETS, c = i / SETS;
        u64 start = op->kind == PUT_WORD ? (u64)&w->blocks[c][1] : 0;
        if ((s != set || c != cpu) && *list_word(s, c) != start)
            return false;
    }
    return true;
}

static bool is_right(const struct operation *op, enum disturbance d, unsigned cpu) {
    return is_of_lists(op) ? lists_right(op, d, cpu) : op->kind == HOLD ? lock_right(d, cpu) : copies_right(op, d, cpu);
}

/* --- the tracer --- */

static void world_start(const struct operation *op) {
    memset(w, 0, sizeof(*w));
    w->set = (u64)w->lists[0];
    for (unsigned c = 0; c < percpu.cpus_nr; c++) {
        *copy_word(c) = copy_start(c);
        for (unsigned s = 0; op->kind == PUT_WORD && s < SETS; s++)
            *list_word(s, c) = (u64)&w->blocks[c][1];
    }
}

static void start(const struct operation *op) {
    int status;
    world_start(op);
    running = op;
    child = fork();
    MUST(child >= 0);
    if (child == 0) {
        MUST(signal(SIGUSR1, on_usr1) != SIG_ERR);
        MUST(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
        __asm__ volatile("int3" ::: "memory"); /* stops a few instructions from the section */
        op->run();
        _exit(0);
    }
    MUST(waitpid(child, &status, 0) == child && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
    child_move(cpu_first);
}

enum abort_wanted { ABORT_YES, ABORT_PREVENTED };
enum trace_end { REACHED, NOT_SO_LONG };

/* Behind the section: what is stored there now stays. */
static void committed_check(const struct operation *op) {
    other_runs(op);
    const u64 there = *copy_word(cpu_first), list = *list_word(0, cpu_first);
    const u64 lock = atomic_load(&w->locks[cpu_first].lock.word);
    finish(0);
    if (*copy_word(cpu_first) == there && *list_word(0, cpu_first) == list &&
        atomic_load(&w->locks[cpu_first].lock.word) == lock && w->done == 1)
        return;
    fprintf(stderr, "%s: a store comes behind its section\n", op->name);
    exit(ALONE_FAILED);
}

/* Takes the child to the k-th instruction of its section, disturbs it there and lets it end. */
static enum trace_end trace(const struct operation *op, enum disturbance d, unsigned k, enum abort_wanted wanted) {
    u64 descriptor = 0, first = 0, bytes = 0;
    unsigned at = 0;
    start(op);
    u64 area_cs = regs().fs_base + (u64)percpu.rseq_offset + 8;
    for (unsigned steps = 0;; steps++) {
        MUST(steps < STEPS_MAX);
        u64 ip = regs().rip;
        if (descriptor == 0 && (descriptor = peek(area_cs)) != 0) {
            first = peek(descriptor + 8);
            bytes = peek(descriptor + 16);
            MUST(ip == first);
        }
        if (descriptor != 0 && ip - first >= bytes) {
            MUST(ip == first + bytes);
            committed_check(op);
            return NOT_SO_LONG;
        }
        if (descriptor != 0 && at++ == k)
            break;
        if (descriptor != 0)
            poke(area_cs, 0);
        step();
    }
    poke(area_cs, wanted == ABORT_YES ? descriptor : 0);
    disturb(op, d);
    if (wanted == ABORT_YES && d != SIGNAL)
        must_abort(area_cs, descriptor, first, bytes);
    finish(d == SIGNAL ? SIGUSR1 : 0);
    return REACHED;
}

/* Returns how many aborts were made. */
static unsigned abort_everywhere(const struct operation *op) {
    unsigned aborts_nr = 0;
    for (enum disturbance d = NOTHING; d < DISTURBANCES_NR; d++) {
        for (unsigned k = 0; concerns(d, op) && trace(op, d, k, ABORT_YES) == REACHED; k++) {
            aborts_nr++;
            if (is_right(op, d, d == MOVED ? cpu_second : cpu_first))
                continue;
            fprintf(stderr, "%s, at instruction %u: %s: wrong\n", op->name, k, names[d]);
            exit(ALONE_FAILED);
        }
    }
    return aborts_nr;
}

static void must_need_aborts(const struct operation *op) {
    unsigned wrong_nr = 0;
    for (enum disturbance d = OTHER; d <= SWITCHED && wrong_nr == 0; d++) {
        for (unsigned k = 0; wrong_nr == 0 && concerns(d, op) && trace(op, d, k, ABORT_PREVENTED) == REACHED; k++)
            wrong_nr += !is_right(op, d, cpu_first);
    }
    must_go_wrong(op->name, wrong_nr);
}

static void cpus_choose(void) {
    cpu_set_t may;
    CPU_ZERO(&may);
    MUST(sched_getaffinity(0, sizeof(may), &may) == 0);
    while (!CPU_ISSET(cpu_first, &may))
        cpu_first++;
    for (unsigned cpu = cpu_second = cpu_first; cpu < CPU_SETSIZE; cpu++)
        cpu_second = CPU_ISSET(cpu, &may) ? cpu : cpu_second;
    if (cpu_second >= CPUS_MAX)
        SKIP("this process may run on CPUs beyond those there is room for");
    percpu.cpus_nr = cpu_second + 1;
}

int main(void) {
    unsigned aborts_nr = 0;
    if (sys_rseq_probe(&percpu.rseq_offset) == SYS_RSEQ_NONE)
        SKIP("no rseq in this kernel or libc: there are no sections to abort");
    cpus_choose();
    w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    copies = mmap(NULL, (size_t)percpu.cpus_nr << PERCPU_COPY_SHIFT, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MUST(w != MAP_FAILED && copies != MAP_FAILED);
    percpu.locks = w->locks;
    for (size_t i = 0; i < ARRAY_NR(operations); i++) {
        /* Each stop of the child waits for its turn on a busy machine. The small sizes differ by their last
         * instructions alone. */
        if (operations[i].bits != 64 && getenv("SOAK") == NULL)
            continue;
        unsigned nr = abort_everywhere(&operations[i]);
        MUST(nr > 0);
        aborts_nr += nr;
        must_need_aborts(&operations[i]);
    }
    printf("%u aborts, each operation done once\n", aborts_nr);
    return 0;
}

#else

int main(void) { SKIP("there are sections on x86-64 alone"); }

#endif
