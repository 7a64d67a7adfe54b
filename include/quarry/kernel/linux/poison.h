/* SPDX-License-Identifier: MIT */
/* The bytes that objects and their red zones have where they are debugged (SLAB_POISON, SLAB_RED_ZONE). */
#ifndef QUARRY_KERNEL_LINUX_POISON_H
#define QUARRY_KERNEL_LINUX_POISON_H

#define POISON_INUSE 0x5a
#define POISON_FREE 0x6b
#define POISON_END 0xa5
#define SLUB_RED_INACTIVE 0xbb
#define SLUB_RED_ACTIVE 0xcc

#endif
