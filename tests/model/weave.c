/* SPDX-License-Identifier: MIT */
/*
 * The threads of weave, the search through their interleavings, and the mutants. Threads are coroutines that stop
 * before each step. A state cannot be kept and gone back to (it has stacks in it), so each path is run from the start:
 * down the choices of the one before, but for the last that had another. States seen are remembered by fingerprints of
 * 64 bits.
 */
#include "weave_machine.h"

#include <link.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { STACK_BYTES = 64 << 10, DEPTH_MAX = 2000, SEEN_SHIFT = 23, SITES_MAX = 512, EXCUSES_MAX = 64, SKIPPED = 77 };
enum { SITE_TEXT_MAX = 80, END_STEPS_MAX = 100000 };
#define SEEN_NR ((size_t)1 << SEEN_SHIFT)

WEAVE_STATE struct machine *weave_m = NULL;

struct choice {
    unsigned at, nr; /* of nr ways to go on from there */
    unsigned thread;
    enum step_kind kind;
    const struct weave_site *site;
};

struct target {
    const struct weave_site *site;
    enum weave_mutant mutant;
};

struct explorer {
    const struct weave_model *model;
    struct choice path[DEPTH_MAX];
    unsigned depth, path_nr, end_steps;
    const char *broken;
    uint64_t *seen;
    size_t states_nr, ends_nr, paths_nr;
    struct target targets[SITES_MAX];
    unsigned targets_nr;
    const struct weave_check *checks; /* while mutants are looked for */
    size_t checks_nr;
    bool met[EXCUSES_MAX], needed[EXCUSES_MAX];
    struct {
        void *at;
        size_t bytes;
        char *of[T + 2];
    } tls; /* the program's thread-local data: each thread's, and those below */
    jmp_buf scheduler, starts[T], places[T], sections[T];
    ucontext_t main, entries[T];
};
WEAVE_STATE static struct explorer *ex = NULL;

/* --- threads --- */

static struct thread *self(void) { return &weave_m->threads[weave_m->self]; }

static __attribute__((noinline)) void pause_here(void) {
    if (_setjmp(ex->places[weave_m->self]) == 0)
        _longjmp(ex->scheduler, 1);
}

unsigned weave_self(void) { return weave_m->self; }

void step_take(const struct step *step) {
    self()->step = *step;
    self()->option = 0;
    if (!weave_m->finishing)
        pause_here();
    else if (++ex->end_steps == END_STEPS_MAX)
        weave_broken("the end makes no progress");
    if (!self()->in_section || !self()->restarted)
        return;
    self()->in_section = false;
    self()->past = self()->kept;
    _longjmp(ex->sections[weave_m->self], 1);
}

jmp_buf *weave_section_mark(void) {
    self()->kept = self()->past;
    return &ex->sections[weave_m->self];
}

_Noreturn void weave_broken(const char *rule) {
    ex->broken = rule;
    if (!weave_m->running) {
        fprintf(stderr, "weave: broken outside a run: %s\n", rule);
        exit(2);
    }
    _longjmp(ex->scheduler, 1);
}

void weave_wait(void) {
    const struct step step = {STEP_WAIT, NULL, NULL, 0};
    struct thread *me = self();
    me->waiting = true;
    step_take(&step);
    me->waiting = false;
    for (unsigned i = 0; i < weave_m->locs_nr; i++) {
        if (weave_m->locs[i].messages_nr != 0)
            me->now.view[i] = (uint8_t)(weave_m->locs[i].messages_nr - 1);
    }
}

bool weave_fork(void) {
    const struct step step = {STEP_FORK, NULL, NULL, 0};
    step_take(&step);
    weave_m->forks_left--;
    bool is_child = self()->option == 1;
    self()->past = mix(self()->past + 1 + is_child);
    if (!is_child)
        return false;
    for (unsigned t = 0; t < weave_m->threads_nr; t++)
        weave_m->threads[t].done = weave_m->threads[t].done || t != weave_m->self;
    know_all(self());
    weave_m->forks_left = 0;
    weave_m->finishing = true;
    ex->end_steps = 0;
    return true;
}

void weave_forget(uint64_t all_it_knows) {
    if (weave_m->running)
        self()->past = mix(all_it_knows + 1);
}

static void thread_entry(unsigned t) {
    if (_setjmp(ex->starts[t]) == 0)
        swapcontext(&ex->entries[t], &ex->main);
    ex->model->thread(weave_m->self);
    late_store_do(self());
    self()->done = true;
    _longjmp(ex->scheduler, 1);
}

/* Once: each coroutine stands at its start from then on, to which a jump leads. */
static void threads_make(void) {
    for (unsigned t = 0; t < T; t++) {
        getcontext(&ex->entries[t]);
        ex->entries[t].uc_stack.ss_sp = malloc(STACK_BYTES);
        ex->entries[t].uc_stack.ss_size = STACK_BYTES;
        ex->entries[t].uc_link = NULL;
        if (ex->entries[t].uc_stack.ss_sp == NULL)
            abort();
        makecontext(&ex->entries[t], (void (*)(void))thread_entry, 1, t);
        swapcontext(&ex->main, &ex->entries[t]);
    }
}

/* As the program began; as each thread of a model begins, which is as its setup left it. */
enum { TLS_PROGRAM = T, TLS_MODEL = T + 1 };

/* Of the program itself: those of libraries are the machine's. */
static int tls_find(struct dl_phdr_info *info, size_t bytes, void *unused) {
    (void)bytes, (void)unused;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_TLS)
            continue;
        ex->tls.at = info->dlpi_tls_data;
        ex->tls.bytes = info->dlpi_phdr[i].p_memsz;
    }
    return 1; /* it comes first */
}

static void tls_start(void) {
    dl_iterate_phdr(tls_find, NULL);
    for (unsigned t = 0; t < T + 2; t++) {
        if ((ex->tls.of[t] = malloc(ex->tls.bytes + 1)) == NULL)
            abort();
    }
    memcpy(ex->tls.of[TLS_PROGRAM], ex->tls.at, ex->tls.bytes);
}

static void tls_load(unsigned t) { memcpy(ex->tls.at, ex->tls.of[t], ex->tls.bytes); }
static void tls_save(unsigned t) { memcpy(ex->tls.of[t], ex->tls.at, ex->tls.bytes); }

/* Lets a thread go on to before its next step, or its end. */
static __attribute__((noinline)) void thread_run(unsigned t, bool first) {
    weave_m->self = t;
    tls_load(first ? TLS_MODEL : t);
    if (_setjmp(ex->scheduler) == 0)
        _longjmp(first ? ex->starts[t] : ex->places[t], 1);
    tls_save(weave_m->self);
}

/* A mutant may follow any pointer. */
static void on_crash(int signal_nr) {
    (void)signal_nr;
    if (!weave_m->running) {
        static const char text[] = "weave: crashed outside a run\n";
        fwrite(text, 1, sizeof(text) - 1, stderr);
        _exit(2);
    }
    ex->broken = "the program crashed";
    _longjmp(ex->scheduler, 1);
}

static void crashes_catch(void) {
    stack_t alternate = {.ss_sp = malloc(STACK_BYTES), .ss_size = STACK_BYTES};
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK | SA_NODEFER};
    sigaltstack(&alternate, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
    sigaction(SIGABRT, &action, NULL);
}

/* --- memory of a run --- */

extern char __data_start[], _end[];                      // NOLINT(bugprone-reserved-identifier)
extern char __start_weave_state[], __stop_weave_state[]; // NOLINT(bugprone-reserved-identifier)

static void range_add(char *at, size_t bytes) {
    unsigned i = weave_m->ranges_nr++;
    if (i == RANGES_MAX || (weave_m->ranges[i].saved = malloc(bytes + 1)) == NULL)
        abort();
    weave_m->ranges[i].at = at;
    weave_m->ranges[i].bytes = bytes;
}

void weave_range(void *at, size_t bytes) { range_add(at, bytes); }

static void memory_save(void) {
    for (unsigned i = 0; i < weave_m->ranges_nr; i++)
        memcpy(weave_m->ranges[i].saved, weave_m->ranges[i].at, weave_m->ranges[i].bytes);
}

static void memory_restore(void) {
    for (unsigned i = 0; i < weave_m->ranges_nr; i++)
        memcpy(weave_m->ranges[i].at, weave_m->ranges[i].saved, weave_m->ranges[i].bytes);
}

static void ranges_start(void) {
    weave_m->ranges_nr = 0;
    range_add(__data_start, (size_t)(__start_weave_state - __data_start));
    range_add(__stop_weave_state, (size_t)(_end - __stop_weave_state));
}

void weave_forks(unsigned nr) { weave_m->forks_nr = nr; }

void weave_count(const void *word) { weave_m->counts[weave_m->counts_nr++] = word; }

void weave_narrow(const void *word, uint64_t mask, uint64_t tag_mask) {
    unsigned i = weave_m->narrow_nr++;
    if (i == NARROW_MAX)
        abort();
    weave_m->narrow[i].word = word;
    weave_m->narrow[i].mask = mask;
    weave_m->narrow[i].tag_mask = tag_mask;
    site_seen(NULL, WEAVE_TAGLESS);
}

/* What setup left in it. */
static void narrow_now(unsigned i) {
    uint64_t value, mask = weave_m->narrow[i].mask;
    if (weave_m->mutant == WEAVE_TAGLESS)
        mask &= ~weave_m->narrow[i].tag_mask;
    memcpy(&value, weave_m->narrow[i].word, sizeof(value));
    value &= mask;
    memcpy((void *)(uintptr_t)weave_m->narrow[i].word, &value, sizeof(value)); // NOLINT(performance-no-int-to-ptr)
}

/* --- the search --- */

static bool state_is_new(uint64_t print) {
    for (size_t i = print >> (64 - SEEN_SHIFT);; i = (i + 1) % SEEN_NR) {
        if (ex->seen[i] == print)
            return false;
        if (ex->seen[i] != 0)
            continue;
        ex->seen[i] = print;
        if (++ex->states_nr > SEEN_NR / 4 * 3) {
            fprintf(stderr, "weave: %s: more than %zu states\n", ex->model->name, ex->states_nr);
            exit(2);
        }
        return true;
    }
}

static unsigned options_all(unsigned options[T]) {
    unsigned nr = 0;
    for (unsigned t = 0; t < weave_m->threads_nr; t++)
        nr += options[t] = step_options(&weave_m->threads[t]);
    return nr;
}

/* The step that the path has next, or the first of several. False: this state was seen, or is broken. */
static bool choose(unsigned options[T], unsigned nr) {
    struct choice *c = &ex->path[ex->depth];
    if (ex->depth == DEPTH_MAX) {
        ex->broken = "a thread makes no progress";
        return false;
    }
    if (ex->depth == ex->path_nr) {
        if (!state_is_new(state_fingerprint()))
            return false;
        *c = (struct choice){.nr = nr};
        ex->path_nr++;
    }
    unsigned t = 0, at = c->at;
    for (; at >= options[t]; t++)
        at -= options[t];
    struct thread *thread = &weave_m->threads[t];
    thread->option = at;
    c->thread = t;
    c->kind = thread->step.kind;
    c->site = thread->step.site;
    ex->depth++;
    sections_restart(thread);
    thread_run(t, false);
    return ex->broken == NULL;
}

static void end_check(void) {
    for (unsigned t = 0; t < weave_m->threads_nr; t++) {
        if (!weave_m->threads[t].done) {
            ex->broken = "the threads wait for each other";
            return;
        }
    }
    ex->ends_nr++;
    if (ex->model->finish == NULL)
        return;
    if (_setjmp(ex->scheduler) != 0)
        return;              /* broken */
    if (!weave_m->finishing) /* else it is a child, and who forked goes on */
        weave_m->self = 0;
    know_all(self());
    weave_m->finishing = true;
    ex->end_steps = 0;
    ex->model->finish();
}

static void path_run(void) {
    unsigned options[T] = {0}, nr = 1;
    memory_restore();
    memory_start();
    weave_m->running = true;
    ex->depth = 0;
    ex->paths_nr++;
    for (unsigned t = 0; t < weave_m->threads_nr && ex->broken == NULL; t++)
        thread_run(t, true);
    while (ex->broken == NULL && (nr = options_all(options)) > 0) {
        if (!choose(options, nr))
            break;
    }
    if (ex->broken == NULL && nr == 0)
        end_check();
    weave_m->running = weave_m->finishing = false;
}

/* The last choice that has another way to go takes it. */
static bool path_next(void) {
    while (ex->path_nr > 0 && ex->path[ex->path_nr - 1].at + 1 == ex->path[ex->path_nr - 1].nr)
        ex->path_nr--;
    if (ex->path_nr == 0)
        return false;
    ex->path[ex->path_nr - 1].at++;
    return true;
}

static void explore(const struct weave_model *model, bool weak) {
    ex->model = model;
    ex->broken = NULL;
    ex->states_nr = ex->ends_nr = ex->paths_nr = 0;
    ex->path_nr = 0;
    memset(ex->seen, 0, SEEN_NR * sizeof(*ex->seen));
    for (unsigned i = 2; i < weave_m->ranges_nr; i++)
        free(weave_m->ranges[i].saved);
    weave_m->ranges_nr = 2;
    memory_restore(); /* as the program began */
    weave_m->counts_nr = weave_m->narrow_nr = weave_m->locs_nr = weave_m->forks_nr = 0;
    memset(weave_m->granules, 0, sizeof(weave_m->granules));
    weave_m->used_nr = 0;
    weave_m->threads_nr = model->threads_nr;
    weave_m->weak = weak;
    tls_load(TLS_PROGRAM);
    model->setup();
    tls_save(TLS_MODEL);
    for (unsigned i = 0; i < weave_m->narrow_nr; i++)
        narrow_now(i);
    char *began[2] = {weave_m->ranges[0].saved, weave_m->ranges[1].saved};
    for (unsigned i = 0; i < 2; i++)
        weave_m->ranges[i].saved = malloc(weave_m->ranges[i].bytes + 1);
    memory_save();
    do
        path_run();
    while (ex->broken == NULL && path_next());
    for (unsigned i = 0; i < 2; i++) {
        free(weave_m->ranges[i].saved);
        weave_m->ranges[i].saved = began[i];
    }
}

/* --- the real code --- */

static const char *const kind_names[] = {"load", "store",   "rmw",   "cas",  "fence",
                                         "wait", "section", "split", "fork", "plain store"};

void trace_print(void) {
    for (unsigned i = 0; i < ex->depth && i < ex->path_nr; i++) {
        const struct choice *c = &ex->path[i];
        printf("    %u: %s", c->thread, kind_names[c->kind]);
        if (c->site != NULL)
            printf(" %s in %s:%d", c->site->what, c->site->func, c->site->line);
        printf("\n");
    }
}

static bool real_explore(const struct weave_model *model, bool weak) {
    explore(model, weak);
    printf("%-44s %-5s %9zu states, %7zu ends: %s\n", model->name, weak ? "weak" : "sc", ex->states_nr, ex->ends_nr,
           ex->broken == NULL ? "ok" : ex->broken);
    fflush(stdout);
    if (ex->broken != NULL)
        trace_print();
    return ex->broken == NULL && ex->ends_nr > 0;
}

static int real_explore_all(const struct weave_suite *suite) {
    for (size_t i = 0; i < suite->models_nr; i++) {
        if (suite->models[i].size == WEAVE_SOAK && getenv("SOAK") == NULL)
            continue;
        if (!real_explore(&suite->models[i], false) ||
            (suite->models[i].size == WEAVE_BOTH && !real_explore(&suite->models[i], true)))
            return 1;
    }
    return 0;
}

/* --- mutants --- */

static const char *const mutant_names[] = {
    [WEAVE_REAL] = "the real code",          [WEAVE_NO_RELEASE] = "does not release",
    [WEAVE_NO_ACQUIRE] = "does not acquire", [WEAVE_NO_ACQUIRE_FAILED] = "does not acquire when it fails",
    [WEAVE_NO_FENCE] = "is not there",       [WEAVE_BLIND] = "swaps whatever is there",
    [WEAVE_SPLIT] = "is not atomic",         [WEAVE_LOST] = "is not done",
    [WEAVE_LATE] = "is done too late",       [WEAVE_TAGLESS] = "has no tag",
    [WEAVE_NEVER] = "is never so",           [WEAVE_ALWAYS] = "is always so",
};

void site_seen(const struct weave_site *site, enum weave_mutant mutant) {
    /* What stands in for other files is not under test. */
    if (weave_m->mutant != WEAVE_REAL || (site != NULL && strstr(site->file, "tests/model/") != NULL))
        return;
    for (unsigned i = 0; i < ex->targets_nr; i++) {
        if (ex->targets[i].site == site && ex->targets[i].mutant == mutant)
            return;
    }
    if (ex->targets_nr == SITES_MAX)
        abort();
    ex->targets[ex->targets_nr++] = (struct target){site, mutant};
}

bool weave_condition(const struct weave_site *site, bool value) {
    if (!weave_m->running)
        return value;
    for (size_t i = 0; weave_m->mutant == WEAVE_REAL && i < ex->checks_nr; i++) {
        const struct weave_check *c = &ex->checks[i];
        if (strcmp(c->func, site->func) == 0 && strncmp(site->what, c->text, strlen(c->text)) == 0)
            site_seen(site, c->mutant);
    }
    return weave_m->mutated == site ? weave_m->mutant == WEAVE_ALWAYS : value;
}

static bool is_of_check(const struct target *t) { return t->mutant == WEAVE_NEVER || t->mutant == WEAVE_ALWAYS; }

/* How many of the suite's checks are not at just one place. */
static int checks_check(void) {
    int wrong = 0;
    for (size_t i = 0; i < ex->checks_nr; i++) {
        const struct weave_check *c = &ex->checks[i];
        unsigned nr = 0;
        for (const struct target *t = ex->targets; t < ex->targets + ex->targets_nr; t++)
            nr += t->mutant == c->mutant && strcmp(c->func, t->site->func) == 0 &&
                  strncmp(t->site->what, c->text, strlen(c->text)) == 0;
        if (nr == 1)
            continue;
        printf("%s: %s: %u SUCH CONDITIONS\n", c->func, c->text, nr);
        wrong++;
    }
    return wrong;
}

/* Whether the site is one of those, or the one of those, that the excuse names. */
static bool is_excused(const struct weave_excuse *e, const struct weave_site *site) {
    const char *number = strchr(e->what, '#');
    char what[SITE_TEXT_MAX];
    snprintf(what, sizeof(what), "%.*s", (int)(number == NULL ? strlen(e->what) : (size_t)(number - e->what)), e->what);
    if (strcmp(e->func, site->func) != 0 || strstr(site->what, what) == NULL)
        return false;
    int before = 0, last_line = 0;
    for (unsigned i = 0; number != NULL && i < ex->targets_nr; i++) {
        /* In the order of lines, each line once. */
        int line = site->line;
        for (unsigned j = 0; j < ex->targets_nr; j++) {
            const struct weave_site *other = ex->targets[j].site;
            if (other != NULL && !is_of_check(&ex->targets[j]) && strcmp(other->func, site->func) == 0 &&
                strstr(other->what, what) != NULL && other->line > last_line && other->line < line)
                line = other->line;
        }
        if (line == site->line)
            break;
        last_line = line;
        before++;
    }
    return number == NULL || atoi(number + 1) == before + 1;
}

static const struct weave_excuse *excuse_of(const struct weave_suite *suite, const struct target *target) {
    for (size_t i = 0; target->site != NULL && !is_of_check(target) && i < suite->excuses_nr; i++) {
        const struct weave_excuse *e = &suite->excuses[i];
        if ((e->mutant == target->mutant || e->mutant == WEAVE_ANY) && is_excused(e, target->site))
            return e;
    }
    return NULL;
}

static bool mutant_breaks(const struct weave_suite *suite, const struct target *target) {
    weave_m->mutant = target->mutant;
    weave_m->mutated = target->site;
    bool of_order = target->mutant == WEAVE_NO_RELEASE || target->mutant == WEAVE_NO_ACQUIRE ||
                    target->mutant == WEAVE_NO_ACQUIRE_FAILED || target->mutant == WEAVE_NO_FENCE ||
                    target->mutant == WEAVE_LATE;
    ex->broken = NULL;
    /* What the weak mode finds includes all that the other does. */
    for (size_t i = 0; i < suite->models_nr && ex->broken == NULL && suite->models[i].size != WEAVE_SOAK; i++)
        explore(&suite->models[i], of_order && suite->models[i].size == WEAVE_BOTH);
    weave_m->mutant = WEAVE_REAL;
    return ex->broken != NULL;
}

/* How many excuses nothing needs, as far as this part of the mutants tells. */
static int excuses_check(const struct weave_suite *suite, bool all) {
    int wrong = 0;
    for (size_t i = 0; i < suite->excuses_nr; i++) {
        if (ex->needed[i] || (!all && (!ex->met[i] || suite->excuses[i].mutant == WEAVE_ANY)))
            continue;
        printf("EXCUSED WITHOUT NEED: %s, %s\n", suite->excuses[i].func, suite->excuses[i].reason);
        wrong++;
    }
    return wrong;
}

/* part, parts: every parts-th mutant. */
static int mutants_explore_all(const struct weave_suite *suite, unsigned part, unsigned parts) {
    int wrong = 0;
    bool soak = getenv("SOAK") != NULL;
    unsigned explored = 0, excused = 0;
    ex->checks = suite->checks;
    ex->checks_nr = suite->checks_nr;
    /* What sites there are shows where the real code is explored; loads with an order do so in either mode. */
    for (size_t i = 0; i < suite->models_nr && suite->models[i].size != WEAVE_SOAK; i++)
        explore(&suite->models[i], false);
    wrong += checks_check();
    for (unsigned i = part - 1; i < ex->targets_nr; i += parts) {
        const struct target *target = &ex->targets[i];
        const struct weave_excuse *excuse = excuse_of(suite, target);
        excused += excuse != NULL;
        if (excuse != NULL)
            ex->met[excuse - suite->excuses] = true;
        /* To be excused takes the whole search. */
        if (excuse != NULL && !soak)
            continue;
        explored++;
        bool breaks = mutant_breaks(suite, target);
        const char *verdict = breaks ? ex->broken : excuse != NULL ? excuse->reason : "SURVIVED";
        if (target->site == NULL)
            printf("the words %s: %s\n", mutant_names[target->mutant], verdict);
        else
            printf("%s:%d %s %s: %s%s\n", target->site->func, target->site->line, target->site->what,
                   mutant_names[target->mutant], !breaks && excuse != NULL ? "harmless: " : "", verdict);
        fflush(stdout);
        wrong += !breaks && excuse == NULL;
        if (breaks && excuse != NULL && excuse->mutant == WEAVE_ANY) {
            printf("EXCUSED WITHOUT NEED: %s, %s\n", excuse->func, excuse->reason);
            wrong++;
        }
        if (!breaks && excuse != NULL)
            ex->needed[excuse - suite->excuses] = true;
    }
    wrong += soak ? excuses_check(suite, parts == 1) : 0;
    printf("%u mutants, %u tried, %u excused, %d wrong\n", ex->targets_nr, explored, excused, wrong);
    return wrong == 0 && explored > 0 ? 0 : 1;
}

int weave_main(const struct weave_suite *suite, int argc, char **argv) {
    weave_m = calloc(1, sizeof(*weave_m));
    ex = calloc(1, sizeof(*ex));
    if (weave_m == NULL || ex == NULL || (ex->seen = calloc(SEEN_NR, sizeof(*ex->seen))) == NULL)
        abort();
    if (suite->excuses_nr > EXCUSES_MAX)
        abort();
    ranges_start();
    memory_save();
    tls_start();
    threads_make();
    crashes_catch();
    if (argc == 1)
        return real_explore_all(suite);
    unsigned part = 1, parts = 1;
    if (strcmp(argv[1], "mutants") != 0 || argc > 4 ||
        (argc >= 3 && (sscanf(argv[2], "%u/%u", &part, &parts) != 2 || part == 0 || part > parts))) {
        fprintf(stderr, "usage: %s [mutants [I/N [soak]]]\n", argv[0]);
        return 2;
    }
    if (argc == 4 && getenv("SOAK") == NULL) {
        printf("SKIP: with SOAK in the environment\n");
        return SKIPPED;
    }
    return mutants_explore_all(suite, part, parts);
}
