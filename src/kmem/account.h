/* SPDX-License-Identifier: MIT */
/*
 * Private to kmem/: accounts of tenants. Contract towards programs: <quarry/kmem_account.h>. Who is charged and how
 * much is account.c; whose an object is, owner.c; the caches such objects come from, accounted.c. docs/adr/0062 has the
 * reasons.
 */
#ifndef QUARRY_KMEM_ACCOUNT_PRIVATE_H
#define QUARRY_KMEM_ACCOUNT_PRIVATE_H

#include "kmem/cache.h"

#pragma GCC visibility push(default)
#include "quarry/kmem_account.h"
#pragma GCC visibility pop

/* --- account.c --- */

/* There is, or was, an account. */
extern HIDDEN _Atomic(bool) kmem_accounts_on;
static inline bool kmem_accounts_are_on(void) {
    /* order: acquire: all that the first one made.                                           pairs: [kmem.accounted] */
    return atomic_load_explicit(&kmem_accounts_on, memory_order_acquire);
}

/* The object at p, whose slot is of a class without magazines, is charged to this thread's account, if it is in one.
 * False: its limit, or no memory to write down whose the object is. Flags as of the allocation. Lock-free but for that
 * memory; without system call where flags may not block. */
bool kmem_account_charge(const void *p, quarry_gfp_t flags);
/* The same of an object that was allocated before, at the slot that slab->index says; true as well where it is charged
 * already, or there is no memory to write down whose it is. */
bool kmem_account_charge_late(const struct quarry_core1_slab *slab, quarry_gfp_t flags);
/* The slot that slab->index says is nobody's again; false: it was nobody's. Wait-free, without system call. */
bool kmem_account_uncharge(const struct quarry_core1_slab *slab);

/* Objects of kmalloc outside of slabs (lent.c), at the place that slab says, have this in their owner's entry, charged
 * or not. lend: false without memory. */
enum {
    KMEM_OWNER_LENT = 0x8000,
    KMEM_OWNER_CACHE = 0x4000, /* of a page: a slab of pages begins there (paged.c) */
};
_Static_assert((unsigned)QUARRY_ACCOUNTS_MAX < (unsigned)KMEM_OWNER_CACHE, "numbers of accounts are below both");
bool kmem_account_lend(const struct quarry_core1_slab *slab, quarry_gfp_t flags);
bool kmem_account_is_lent(const struct quarry_core1_slab *slab);
/* As kmem_account_charge, of the slot that slab says. What is lent stays lent. */
bool kmem_account_slot_charge(const struct quarry_core1_slab *slab, quarry_gfp_t flags);

/* The same of vmalloc areas. charge: as above. Which are charged, and how much, is asked before they are freed or
 * resized: their place may be another's as soon as they are. */
bool kmem_account_area_charge(const void *p, size_t bytes, quarry_gfp_t flags);
bool kmem_account_area_is_known(const void *p); /* charged, or lent */
bool kmem_account_area_is_charged(const void *p);
void kmem_account_area_uncharge(const void *p, size_t bytes);
/* The same of what goes on to be lent, if it was. */
void kmem_account_area_disown(const void *p, size_t bytes);
/* Around a change of size: the number of the account, which nobody else finds meanwhile; whether it may be charged for
 * other bytes; and the number put where the area then lies. Without memory to write it down there it is nobody's. */
u16 kmem_account_area_take(const void *p);
bool kmem_account_area_resize(u16 number, size_t from, size_t to, quarry_gfp_t flags);
void kmem_account_area_put(const void *p, u16 number, size_t bytes);

/* And of pages, one by one, whose record says whose they are. charge: for 2^order of them this thread's account, whose
 * number *ret_number becomes, 0 where it is in none. False: its limit. Both lock-free, without system call. */
bool kmem_account_pages_charge(unsigned order, quarry_gfp_t flags, u16 *ret_number);
void kmem_account_pages_uncharge(u16 number, size_t pages_nr);

/* --- owner.c --- */

/* Where the number of the account that an object is charged to stands, 0 for none. make: NULL without memory. find:
 * NULL where there never was one. */
_Atomic(u16) *kmem_owner_make(const struct quarry_core1_slab *slab, quarry_gfp_t flags);
_Atomic(u16) *kmem_owner_find(const struct quarry_core1_slab *slab);

/* --- accounted.c --- */

/* The constructor of objects that have none. */
void kmem_accounted_ctor(void *object);
/* With the first account: the caches of kmalloc, and those beside the caches of SLAB_ACCOUNT. False: no memory. */
bool kmem_accounted_start(void);
/* As kmalloc with __GFP_ACCOUNT where there are accounts: size 1 to KMALLOC_MAX_SIZE. Of a thread in none it is charged
 * to nobody, and may be later. */
void *kmem_accounted_kmalloc(size_t size, quarry_gfp_t flags);
/* What debug.c does for its caches: an object of a cache of SLAB_ACCOUNT; one of the slots that were charged; its
 * bytes. */
quarry_gfp_t kmem_accounted_flags(enum quarry_core1_context context); /* of the allocation that comes so */
void *kmem_accounted_alloc(const struct quarry_kmem_cache *s, enum quarry_core1_context context);
void kmem_accounted_free(void *p, const struct quarry_core1_slab *slab);
size_t kmem_accounted_usable(const void *p, const struct quarry_core1_slab *slab);

#endif
