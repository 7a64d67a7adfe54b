/* SPDX-License-Identifier: MIT */
/* Found in place of src/kmem/most.h: so few that batches become full, what is freed is freed in several steps, and a
 * pool that is resized makes nodes. */
#ifndef QUARRY_KMEM_MOST_H
#define QUARRY_KMEM_MOST_H

enum { RCU_BATCH_OBJS = 2, RCU_RUN_NR = 1, RCU_GATHER_OBJS = 2, RCU_STOCK_LEAST = 1 };
enum { MEMPOOL_FIRST_NODES = 1 };

#endif
