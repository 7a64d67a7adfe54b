/* SPDX-License-Identifier: MIT */
/*
 * A pretend system for unit tests, linked in the place of src/sys/vm.c and clock.c: address space is real, but every
 * call is counted and can be made to fail, the address space in use is known to the byte, and time stands still until
 * told. One thread tells; calls may come from many.
 */
#ifndef QUARRY_TESTS_FAKES_FAKE_H
#define QUARRY_TESTS_FAKES_FAKE_H

#include "sys/sys.h"

enum fake_call {
    FAKE_RESERVE,
    FAKE_READ_ONLY,
    FAKE_COMMIT,
    FAKE_GUARD,
    FAKE_PURGE,
    FAKE_RELEASE,
    FAKE_HUGE,
    FAKE_NOHUGE,
    FAKE_COLLAPSE,
    FAKE_MOVE,
    FAKE_MOVE_LATE, /* not counted where FAKE_MOVE fails: when the destination was unmapped already */
    FAKE_PLACE,
    FAKE_HUGETLB,
    FAKE_POPULATE,
    FAKE_PIPE,
    FAKE_CALLS_NR,
};

/* Calls of one kind so far, those that were made to fail included. */
unsigned fake_calls_nr(enum fake_call call);
/* Of the calls from now on, the nth (from 1) and the many - 1 after it fail: NULL, or -ENOMEM, or what sys.h says of a
 * move that fails late. nth 0: none. */
void fake_fail(enum fake_call call, unsigned nth, unsigned many);
/* Calls that fake_fail made fail since its last call for this kind. */
unsigned fake_failed_nr(enum fake_call call);
const char *fake_call_name(enum fake_call call);
/* Called with each call, before it is made, by the thread that makes it. NULL: nothing is. */
extern void (*fake_calling)(enum fake_call call);

/* Reservations lie below this address from now on, each below the one before, where the kernel would lay them anywhere.
 * Nothing else may be mapped there. */
void fake_reserve_below(void *end);

/* Address space reserved and not released. */
size_t fake_reserved_bytes(void);
/* Memory behind a range, by what the kernel says. */
size_t fake_resident_bytes(const void *addr, size_t bytes);
/* From now on sys_vm_resident_pages() says that all is there, as where the kernel does not tell. */
extern bool fake_all_resident;
/* The administrator's pool: so many hugepages, 0 at first, of which those mapped are taken. */
void fake_hugetlb(unsigned hpages_nr);
/* Left in it. */
unsigned fake_hugetlb_left(void);
/* Of what range sys_vm_huge() was last told. */
extern void *fake_huge_at;
/* Whether small hugepages come unasked; not at first. */
void fake_thp_unasked_small(bool come);
/* What sys_layout_pick() gives, or the most that is allowed; 0 at first. */
extern u32 fake_layout;
/* What sys_vm_limit_bytes says; SIZE_MAX at first. */
void fake_limit(size_t bytes);

/* Called when pages were moved away from an address, before whoever moved them goes on: from then on the address may be
 * anybody's. NULL: nothing is. */
extern void (*fake_moved)(void *from);

/* The same when address space was unmapped, by a move that fails late too. */
extern void (*fake_released)(void *addr, size_t bytes);

/* Called with each range that is placed on a node, before it is. NULL: nothing is. */
extern void (*fake_placing)(void *addr);

/* --- nodes (node.c): one node, numbered 0, until told --- */

/* Nodes with memory, by the kernel's numbers; the distance between the ith and the jth is 10 + 10 * |i - j|. */
void fake_nodes(unsigned nr, const u16 *ids);
/* This thread has a memory policy from now on; and how often any was asked for its own. */
void fake_policy(enum sys_policy set, const struct sys_nodes *nodes);
unsigned fake_policy_asked_nr(void);
/* Where this thread runs from now on, by the kernel's number. */
void fake_node_go(int id);
/* The node that a range was said to prefer last, or -1. */
int fake_node_preferred(const void *p);
void fake_placed(void *addr, size_t bytes, enum sys_numa_mode mode, const struct sys_nodes *nodes);

/* The clock starts at one second. */
void fake_clock_advance_ms(u64 ms);
/* From now on every look at the exact clock takes that long. */
void fake_clock_look_takes_ns(u64 ns);

#endif
