/* SPDX-License-Identifier: MIT */
/*
 * Aborts at every instruction of every per-CPU section. A tracer takes a child through one primitive, instruction by
 * instruction, as far as the k-th of its section, does there what another thread of this CPU, a signal or a migration
 * could do meanwhile, and lets the kernel abort the section. Afterwards every magazine and every object must be in one
 * place. To come as far as k unharmed, the tracer clears the thread's rseq_cs at each stop before it (else the stop
 * itself aborts the section); at k it puts it back.
 *
 * That this can fail is shown each time: the same without putting rseq_cs back, so without the abort, must lose or
 * double something.
 */
#include "unit/mag/world.h"
#include "unit/stepper.h"

#if defined(__x86_64__)

#include <sched.h>
#include <sys/mman.h>

enum { STEPS_MAX = 5000, CHILD = 0, OTHER = 1, HANDLER = 2 }; /* hands of the child, of another thread, of a handler */

static struct world *w; /* shared with the child */

/* --- what the child does --- */

struct operation {
    const char *name;
    void (*run)(void);
    bool needs_aborts; /* without them something is lost or doubled; where it changes nothing, nothing is */
};

static void op_pop(void) { w->hand_obj[2] = (u64)rseq_pop(w->views, SLOT_HALF); }
static void op_pop_last(void) { w->hand_obj[2] = (u64)rseq_pop(w->views, SLOT_FULL); }
static void op_pop_empty(void) { w->hand_obj[2] = (u64)rseq_pop(w->views, SLOT_EMPTY); }

static void op_pop_at(void) { w->hand_obj[2] = (u64)rseq_pop_at(w->views, world_pop_table, SLOT_HALF); }
static void op_pop_empty_at(void) { w->hand_obj[2] = (u64)rseq_pop_at(w->views, world_pop_table, SLOT_EMPTY); }

/* As malloc's own section does it: the descriptor lies before the table of sizes, here one of slots. */
RSEQ_POP_ENTRY(malloc)
#if QUARRY_RSEQ
extern HIDDEN const struct mag_section mag_section_malloc;
#else
static const struct mag_section mag_section_malloc; /* of no use */
#endif
static void entry_prepare(void) {
    mag_tabs.entries.malloc = mag_section_malloc;
    memcpy(mag_tabs.classes.small, world_pop_table, sizeof(world_pop_table));
}
static __attribute__((noinline)) void *entry_pop(enum world_slot slot) { return malloc_pop(w->views, slot); }
static void op_pop_entry(void) { w->hand_obj[2] = (u64)entry_pop(SLOT_HALF); }
static void op_pop_empty_entry(void) { w->hand_obj[2] = (u64)entry_pop(SLOT_EMPTY); }

static void push_to(enum world_slot slot) {
    if (rseq_push(w->views, slot, (void *)w->hand_obj[CHILD]))
        w->hand_obj[CHILD] = 0;
}
static void push_at(enum world_slot slot) {
    if (rseq_push_at(w->views, world_push_table, slot, (void *)w->hand_obj[CHILD]))
        w->hand_obj[CHILD] = 0;
}
static void op_push_at(void) { push_at(SLOT_HALF); }
static void op_push_full_at(void) { push_at(SLOT_FULL); }
static void op_push(void) { push_to(SLOT_HALF); }
static void op_push_first(void) { push_to(SLOT_EMPTY); }
static void op_push_full(void) { push_to(SLOT_FULL); }

/* Two objects: all that is there when the magazine has only one more. */
static void pop_run_from(enum world_slot slot) {
    void *objs[2] = {NULL, NULL};
    u64 nr = rseq_pop_run(w->views, slot, 2, objs);
    w->hand_obj[2] = nr > 0 ? (u64)objs[0] : 0;
    w->hand_obj[7] = nr > 1 ? (u64)objs[1] : 0;
}
static void op_pop_run(void) { pop_run_from(SLOT_HALF); }
static void op_pop_run_empty(void) { pop_run_from(SLOT_EMPTY); }
static void push_run_to(enum world_slot slot) {
    void *objs[2] = {(void *)w->hand_obj[CHILD], (void *)w->hand_obj[6]};
    u64 nr = rseq_push_run(w->views, slot, 2, objs);
    if (nr > 0)
        w->hand_obj[CHILD] = 0;
    if (nr > 1)
        w->hand_obj[6] = 0;
}
/* Five: a turn of the section, and one more. */
static const unsigned run_taken[] = {2, 7, 11, 12, 13}, run_given[] = {CHILD, 6, 8, 9, 10};
enum { TURN_RUN = ARRAY_NR(run_given) };
static void pop_turn_from(enum world_slot slot) {
    void *objs[TURN_RUN];
    u64 nr = rseq_pop_run(w->views, slot, TURN_RUN, objs);
    for (u64 i = 0; i < nr; i++)
        w->hand_obj[run_taken[i]] = (u64)objs[i];
}
static void push_turn_to(enum world_slot slot) {
    void *objs[TURN_RUN];
    for (unsigned i = 0; i < TURN_RUN; i++)
        objs[i] = (void *)w->hand_obj[run_given[i]];
    u64 nr = rseq_push_run(w->views, slot, TURN_RUN, objs);
    for (u64 i = 0; i < nr; i++)
        w->hand_obj[run_given[i]] = 0;
}
static void op_pop_turn(void) { pop_turn_from(SLOT_FULL); }
static void op_pop_turn_short(void) { pop_turn_from(SLOT_HALF); }
static void op_push_turn(void) { push_turn_to(SLOT_EMPTY); }
static void op_push_turn_short(void) { push_turn_to(SLOT_HALF); }

static void op_push_run(void) { push_run_to(SLOT_HALF); }
static void op_push_run_full(void) { push_run_to(SLOT_FULL); }

static void op_swap_empty(void) {
    u64 old;
    if (rseq_swap_if_empty(w->views, WORLD_SLOT_OFF(SLOT_EMPTY), w->hand_mag[CHILD], &old) == RSEQ_DONE)
        w->hand_mag[CHILD] = old;
}
static void op_swap_full(void) {
    u64 old;
    if (rseq_swap_if_full(w->views, WORLD_SLOT_OFF(SLOT_FULL), w->hand_mag[CHILD], &old) == RSEQ_DONE)
        w->hand_mag[CHILD] = old;
}
static void op_put_spare(void) {
    u64 old;
    if (rseq_swap_if_equal(w->views, WORLD_SPARE_OFF, 0, w->hand_mag[CHILD], &old) == RSEQ_DONE)
        w->hand_mag[CHILD] = 0;
}

static const struct operation operations[] = {
    {"pop", op_pop, true},
    {"pop from a full one", op_pop_last, false},
    {"pop from an empty one", op_pop_empty, false},
    {"push", op_push, true},
    {"push into an empty one", op_push_first, false},
    {"push into a full one", op_push_full, false},
    {"pop by a table", op_pop_at, true},
    {"pop by a table from an empty one", op_pop_empty_at, false},
    {"pop of an entry point", op_pop_entry, true},
    {"pop of an entry point from an empty one", op_pop_empty_entry, false},
    {"push by a table", op_push_at, true},
    {"push by a table into a full one", op_push_full_at, false},
    {"swap if empty", op_swap_empty, true},
    {"swap if full", op_swap_full, true},
    {"swap if equal", op_put_spare, true},
    {"pop a run", op_pop_run, true},
    {"push a run", op_push_run, true},
    {"pop a run from an empty one", op_pop_run_empty, false},
    {"push a run into a full one", op_push_run_full, false},
    {"pop a longer run", op_pop_turn, true},
    {"pop a longer run than there is", op_pop_turn_short, true},
    {"push a longer run", op_push_turn, false},
    {"push a longer run than there is room for", op_push_turn_short, true},
};

/* --- what happens to it at the chosen instruction --- */

static void other_pops(void) {
    for (enum world_slot slot = SLOT_HALF; slot <= SLOT_FULL && w->hand_obj[3] == 0; slot++)
        w->hand_obj[3] = (u64)ref_pop(w->slot, slot);
    w->hand_obj[4] = (u64)ref_pop(w->slot, SLOT_FULL);
}
static void other_pushes(void) {
    for (enum world_slot slot = SLOT_HALF; slot <= SLOT_FULL && w->hand_obj[OTHER] != 0; slot++) {
        if (ref_push(w->slot, slot, (void *)w->hand_obj[OTHER]))
            w->hand_obj[OTHER] = 0;
    }
}
static void other_fills_empty(void) {
    if (ref_push(w->slot, SLOT_EMPTY, (void *)w->hand_obj[OTHER]))
        w->hand_obj[OTHER] = 0;
}
/* Every magazine in the slots moves on by one, through the hand; the spare gets one. As a drainer or a slow path would.
 */
static void other_swaps(void) {
    u64 carried = w->hand_mag[OTHER];
    for (enum world_slot slot = SLOT_HALF; slot <= SLOT_FULL; slot++) {
        u64 next = w->slot[slot];
        w->slot[slot] = carried;
        carried = next;
    }
    w->hand_mag[OTHER] = w->spare;
    w->spare = carried;
}
static void other_migrates(void);
static void nobody(void) {}

enum signal_sent { SIGNAL_NO, SIGNAL_YES };
struct disturbance {
    const char *name;
    void (*run)(void);
    enum signal_sent signal;
};

static const struct disturbance disturbances[] = {
    {"nothing", nobody, SIGNAL_NO},
    {"another thread pops", other_pops, SIGNAL_NO},
    {"another thread pushes", other_pushes, SIGNAL_NO},
    {"another thread fills the empty one", other_fills_empty, SIGNAL_NO},
    {"another thread swaps every magazine", other_swaps, SIGNAL_NO},
    {"a signal handler pops and pushes", nobody, SIGNAL_YES},
    {"the thread moves to another CPU", other_migrates, SIGNAL_NO},
};

static void on_usr1(int signal_nr) {
    (void)signal_nr;
    w->hand_obj[5] = (u64)rseq_pop(w->views, SLOT_FULL);
    if (w->hand_obj[OTHER] != 0 && rseq_push(w->views, SLOT_HALF, (void *)w->hand_obj[OTHER]))
        w->hand_obj[OTHER] = 0;
}

/* --- the tracer --- */

enum abort_wanted { ABORT_YES, ABORT_PREVENTED };
enum trace_end { REACHED, NOT_SO_LONG };

static void other_migrates(void) {
    cpu_set_t may, one;
    CPU_ZERO(&one);
    MUST(sched_getaffinity(0, sizeof(may), &may) == 0);
    /* Where the child was last is where it may be again: of two CPUs one is another. */
    static unsigned turn;
    unsigned skip = turn++ % (unsigned)CPU_COUNT(&may);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &may) && skip-- == 0)
            CPU_SET(cpu, &one);
    }
    MUST(sched_setaffinity(child, sizeof(one), &one) == 0);
}

static void start(const struct operation *op) {
    int status;
    world_init(w);
    child = fork();
    MUST(child >= 0);
    if (child == 0) {
        MUST(signal(SIGUSR1, on_usr1) != SIG_ERR);
        MUST(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
        raise(SIGSTOP);
        op->run();
        _exit(0);
    }
    MUST(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
}

/* Takes the child to the k-th instruction of its section, disturbs it there and lets it end. */
static enum trace_end trace(const struct operation *op, const struct disturbance *d, unsigned k,
                            enum abort_wanted wanted) {
    u64 descriptor = 0, first = 0, bytes = 0;
    unsigned at = 0;
    start(op);
    u64 area_cs = regs().fs_base + (u64)mag_rseq_offset + offsetof(struct mag_rseq_area, rseq_cs);
    for (unsigned steps = 0;; steps++) {
        MUST(steps < STEPS_MAX);
        u64 ip = regs().rip;
        if (descriptor == 0 && (descriptor = peek(area_cs)) != 0) {
            first = peek(descriptor + 8);
            bytes = peek(descriptor + 16);
            MUST(ip == first);
        }
        if (descriptor != 0 && ip - first >= bytes) {
            finish(0);
            return NOT_SO_LONG;
        }
        if (descriptor != 0 && at++ == k)
            break;
        if (descriptor != 0)
            poke(area_cs, 0);
        step();
    }
    poke(area_cs, wanted == ABORT_YES ? descriptor : 0);
    d->run();
    if (wanted == ABORT_YES && d->signal == SIGNAL_NO)
        must_abort(area_cs, descriptor, first, bytes);
    finish(d->signal == SIGNAL_YES ? SIGUSR1 : 0);
    return REACHED;
}

static void must_be_whole(const struct operation *op, const struct disturbance *d, unsigned k) {
    const char *wrong = world_check(w);
    if (wrong == NULL)
        return;
    fprintf(stderr, "%s, at instruction %u: %s: %s\n", op->name, k, d->name, wrong);
    exit(ALONE_FAILED);
}

/* Returns how many aborts were made. */
static unsigned abort_everywhere(const struct operation *op) {
    unsigned aborts_nr = 0;
    for (size_t i = 0; i < ARRAY_NR(disturbances); i++) {
        for (unsigned k = 0; trace(op, &disturbances[i], k, ABORT_YES) == REACHED; k++) {
            must_be_whole(op, &disturbances[i], k);
            aborts_nr++;
        }
        must_be_whole(op, &disturbances[i], UINT32_MAX);
    }
    return aborts_nr;
}

static void must_need_aborts(const struct operation *op) {
    unsigned wrong_nr = 0;
    for (size_t i = 0; i < ARRAY_NR(disturbances) && wrong_nr == 0; i++) {
        for (unsigned k = 0;
             disturbances[i].signal == SIGNAL_NO && trace(op, &disturbances[i], k, ABORT_PREVENTED) == REACHED; k++)
            wrong_nr += world_check(w) != NULL;
    }
    must_go_wrong(op->name, wrong_nr);
}

int main(void) {
    unsigned aborts_nr = 0;
    if (!world_use_rseq())
        SKIP("no rseq in this build, kernel or libc: there are no sections to abort");
    w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(w != MAP_FAILED);
    entry_prepare();
    for (size_t i = 0; i < ARRAY_NR(operations); i++)
        aborts_nr += abort_everywhere(&operations[i]);
    for (size_t i = 0; i < ARRAY_NR(operations); i++) {
        if (operations[i].needs_aborts)
            must_need_aborts(&operations[i]);
    }
    printf("%u aborts, nothing lost\n", aborts_nr);
    return 0;
}

#else

int main(void) { SKIP("the tracer knows the registers of x86-64 only"); }

#endif
