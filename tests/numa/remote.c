/* SPDX-License-Identifier: MIT */
/*
 * One node makes, another frees, and allocates for itself meanwhile: memory must return to the first, which so stays as
 * large as it was, and none of it may be stranded on the second, nor handed out there. Where the program begins, which
 * is where the library lays what it makes at start, must not matter: it is begun anew on the one or the other node.
 * Owns the two threads and the judging; the nodes are nodes.h's, the figures the kernel's and, for what was counted,
 * quarry's.
 *
 * All memory of the process is judged, not the heap's alone. What has no policy the kernel moves as it likes
 * (kernel.numa_balancing): the program's own data, stacks, libraries and the first records, less than OTHERS_KIB.
 *
 * guest: REMOTE_BEGINS=freer 10000000
 * guest cpu_id: QUARRY_PERCPU=cpu_id REMOTE_BEGINS=maker 10000000
 */
#include "nodes.h"

#include <errno.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <semaphore.h>
#include <sys/prctl.h>

enum { HELD = 60000, SIZE = 200, PARTS = 10, OWN_EVERY = 1000, OTHERS_KIB = 1024, GROWTH_PART = 10, PERCENT_MIN = 98 };
/* Objects go by the batch: where CPUs are emulated, handing over one by one takes longer than making them. */
enum { BATCH = 256, BATCHES = 16, RING = BATCHES * BATCH };

static void *ring[RING], *held[HELD];
static sem_t room, filled; /* in batches */
static unsigned long objects_nr, made_nr, own, own_there;
static unsigned makers, freers;
/* KiB of the makers' and the freers' node after each part; the first is what the others are compared with. */
static unsigned long maker_kib[PARTS], freer_kib[PARTS];

static void wait_for(sem_t *sem) {
    while (sem_wait(sem) != 0)
        CHECK(errno == EINTR);
}

static void hand_over(void *p) {
    static unsigned long nr;
    if (nr % BATCH == 0)
        wait_for(&room);
    ring[nr++ % RING] = p;
    if (nr % BATCH == 0)
        CHECK(sem_post(&filled) == 0);
}

/* Holds many, hands on the oldest: it is always the same number that is live. */
static void *make(void *unused) {
    (void)unused;
    nodes_go(makers);
    for (made_nr = 0; made_nr < objects_nr; made_nr++) {
        void **slot = &held[made_nr % HELD];
        if (*slot != NULL)
            hand_over(*slot);
        CHECK((*slot = malloc(SIZE)) != NULL);
        *(unsigned char *)*slot = 1;
        if ((made_nr + 1) % (objects_nr / PARTS) == 0) {
            unsigned long part = made_nr / (objects_nr / PARTS);
            maker_kib[part] = nodes_kib(makers);
            freer_kib[part] = nodes_kib(freers);
        }
    }
    return NULL;
}

static void drop_one(void *p) {
    static unsigned long nr;
    free(p);
    unsigned char *mine = malloc(SIZE);
    CHECK(mine != NULL);
    mine[0] = 1;
    if (nr++ % OWN_EVERY == 0) {
        own++;
        own_there += nodes_of(mine) == (int)freers;
    }
    free(mine);
}

static void *drop(void *unused) {
    (void)unused;
    nodes_go(freers);
    for (unsigned long batch = 0; batch < (objects_nr - HELD) / BATCH; batch++) {
        wait_for(&filled);
        for (unsigned i = 0; i < BATCH; i++)
            drop_one(ring[batch * BATCH % RING + i]);
        CHECK(sem_post(&room) == 0);
    }
    return NULL;
}

static void judge(void) {
    unsigned long there = 0;
    uint64_t remote = 0;
    CHECK(quarry_stat("remote_frees", &remote) == 0);
    for (unsigned i = 0; i < HELD; i++)
        there += nodes_of(held[i]) == (int)makers;
    printf("made on node %u, where %lu of %u lie in the end; %lu of the freer's %lu own there; counted %lu\n", makers,
           there, HELD, own_there, own, (unsigned long)remote);
    for (unsigned i = 0; i < PARTS; i++)
        printf("after %u of %u parts: node %u %lu KiB, node %u %lu KiB\n", i + 1, PARTS, makers, maker_kib[i], freers,
               freer_kib[i]);
    for (unsigned i = 1; i < PARTS; i++) {
        CHECK_MSG(maker_kib[i] <= maker_kib[0] + maker_kib[0] / GROWTH_PART,
                  "the makers' node grew from %lu to %lu KiB", maker_kib[0], maker_kib[i]);
        CHECK_MSG(freer_kib[i] <= freer_kib[0] + OTHERS_KIB, "stranded: %lu KiB, then %lu", freer_kib[0], freer_kib[i]);
    }
    CHECK_MSG(there * 100 >= (unsigned long)HELD * PERCENT_MIN, "%lu of %u lie on the makers' node", there, HELD);
    CHECK_MSG(own_there * 100 >= own * PERCENT_MIN, "%lu of %lu of the freer's own lie there", own_there, own);
    unsigned long freed = (objects_nr - HELD) / BATCH * BATCH;
    CHECK_MSG(remote >= freed - freed / 100 && remote <= freed + freed / 100, "%lu counted of %lu remote frees",
              (unsigned long)remote, freed);
}

static bool both(unsigned node) { return nodes_memory[node] && nodes_has_cpus(node); }

/* remote OBJECTS, from the environment where to begin. */
int main(int argc, char **argv) {
    const char *begins = getenv("REMOTE_BEGINS");
    pthread_t maker, freer;
    objects_nr = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    CHECK_MSG(objects_nr >= HELD && objects_nr % PARTS == 0, "%lu objects: not %u at least, in %u parts", objects_nr,
              HELD, PARTS);
    nodes_read();
    while (!both(makers))
        makers++;
    for (freers = makers + 1; freers < nodes_nr && !both(freers);)
        freers++;
    if (freers == nodes_nr)
        return NODES_SKIPPED;
    if (begins != NULL)
        nodes_begin_on(strcmp(begins, "freer") == 0 ? freers : makers, "REMOTE_BEGINS", argv);
    CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0); /* stacks would grow by hugepages now and then */
    CHECK(sem_init(&room, 0, BATCHES) == 0 && sem_init(&filled, 0, 0) == 0);
    CHECK(pthread_create(&maker, NULL, make, NULL) == 0);
    CHECK(pthread_create(&freer, NULL, drop, NULL) == 0);
    CHECK(pthread_join(maker, NULL) == 0);
    CHECK(pthread_join(freer, NULL) == 0);
    judge();
    return 0;
}
