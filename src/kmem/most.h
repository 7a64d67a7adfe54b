/* SPDX-License-Identifier: MIT */
/* How much one batch of waiting objects holds, how many wait, how many are freed in one step, and what a pool's
 * reserve begins with. Apart, because the models of tests/model have few. */
#ifndef QUARRY_KMEM_MOST_H
#define QUARRY_KMEM_MOST_H

enum {
    RCU_BATCH_OBJS = 510,
    RCU_RUN_NR = 64,        /* objects freed in one step */
    RCU_GATHER_OBJS = 8192, /* that hand-over asks for a grace period at once: of 256 bytes 2 MiB, a near cache */
    RCU_STOCK_LEAST = 32,   /* empty batches kept, so that the first objects of many find some: of addresses 128 KiB */
    MEMPOOL_FIRST_NODES = 16,
};

#endif
