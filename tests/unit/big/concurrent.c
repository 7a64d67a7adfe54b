/* SPDX-License-Identifier: MIT */
/* Threads take, extend and give extents of lots as fast as they can: each hugepage has one owner at a time, and in the
 * end all of them are one another's neighbours again. On the real system. */
#include "big/lot.h"
#include "rt/leftover.h"
#include "rt/options.h"
#include "unit/alone.h"

#include <criterion/criterion.h>
#include <pthread.h>

enum { THREADS_NR = 4, HELD_MAX = 12, STEPS = 200000 };

/* A word in each hugepage says whose it is: 0 nobody's. */
static void own(char *p, size_t bytes, u64 from, u64 to) {
    for (size_t at = 0; at < bytes; at += HPAGE_BYTES) {
        u64 was = __atomic_exchange_n((u64 *)(void *)(p + at), to, __ATOMIC_RELAXED);
        MUST(was == from);
    }
}

struct held {
    char *p;
    size_t bytes;
};

static void step(struct held *h, u64 me, u64 dice) {
    if (h->p == NULL) {
        h->bytes = (1 + dice % 4) * HPAGE_BYTES;
        h->p = lot_take(h->bytes, HPAGE_BYTES, LOT_PLAIN);
        MUST(h->p != NULL);
        own(h->p, h->bytes, 0, me);
    } else if (dice % 3 == 0) {
        if (!lot_extend(h->p + h->bytes, HPAGE_BYTES, LOT_PLAIN))
            return;
        own(h->p + h->bytes, HPAGE_BYTES, 0, me);
        h->bytes += HPAGE_BYTES;
    } else {
        own(h->p, h->bytes, me, 0);
        MUST(lot_give(h->p, h->bytes, LOT_PLAIN));
        h->p = NULL;
    }
}

static pthread_barrier_t together;

static void *worker(void *arg) {
    struct held held[HELD_MAX] = {{NULL, 0}};
    pthread_barrier_wait(&together);
    u64 me = (uintptr_t)arg + 1, state = me * 0x9E3779B97F4A7C15u;
    for (int i = 0; i < STEPS; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        step(&held[(state >> 33) % HELD_MAX], me, state >> 40);
    }
    for (int i = 0; i < HELD_MAX; i++) {
        if (held[i].p != NULL) {
            own(held[i].p, held[i].bytes, me, 0);
            MUST(lot_give(held[i].p, held[i].bytes, LOT_PLAIN));
        }
    }
    return NULL;
}

Test(lots, each_hugepage_has_one_owner) {
    pthread_t threads[THREADS_NR];
    rt_options_read(NULL, NULL);
    rt_opt.thp = OPT_THP_NEVER;
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
    pthread_barrier_init(&together, NULL, THREADS_NR);
    for (uintptr_t i = 0; i < THREADS_NR; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, worker, (void *)i), 0);
    for (int i = 0; i < THREADS_NR; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    size_t space = lot_free_bytes_racy();
    /* Lots of 64, 128, 256 and 512 MiB, and in the worst case each thread makes the largest while another does. */
    cr_expect_leq(space, (size_t)1 * GIB + (THREADS_NR - 1) * (512 * MIB), "%zu MiB for at most 400", space / MIB);
    cr_expect_eq(lot_release(), space, "an extent was lost");
    cr_expect_eq(rt_leftover_bytes(), 0u);
}
