/* SPDX-License-Identifier: MIT */
/*
 * Accounts of the kernel's allocation API, with a prefix: who of a program's tenants holds how much, and no more than
 * that. What the kernel's control groups are to __GFP_ACCOUNT and SLAB_ACCOUNT. <linux/memcontrol.h> has the kernel's
 * names. docs/kmem.md says what is charged and what it costs.
 *
 * A thread enters an account; from then on what it allocates with __GFP_ACCOUNT by kmalloc, __vmalloc, alloc_pages or
 * alloc_percpu_gfp, or with any flags from a cache of SLAB_ACCOUNT, is charged to it by the size of its slot or area,
 * by its pages, or by all CPUs' copies, until it is freed, by whichever thread. Where that would pass the account's
 * limit, the allocation fails as when memory is out, after the shrinkers were asked; as in the kernel, __GFP_NOFAIL,
 * __GFP_HIGH (GFP_ATOMIC) and all in a scope of QUARRY_MEMALLOC_NORECLAIM are charged beyond the limit, and so is
 * __GFP_MEMALLOC. Sizes are bytes. Valid as C11 and C++17.
 */
#ifndef QUARRY_KMEM_ACCOUNT_H
#define QUARRY_KMEM_ACCOUNT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#define QUARRY_NOTHROW noexcept
#else
#define QUARRY_NOTHROW
#endif

enum { QUARRY_ACCOUNTS_MAX = 1024 };

struct quarry_account;

/* limit_bytes 0: none. name is copied, cut to 63 bytes. NULL for no name, without memory, when there is no class left
 * for a cache that is to be charged, and while there are QUARRY_ACCOUNTS_MAX accounts, those among them that were
 * destroyed and are charged for something. The first one takes caches of SLAB_ACCOUNT off the fast path, for good.
 * Takes a lock and may sleep; not for signal handlers. */
struct quarry_account *quarry_account_create(const char *name, size_t limit_bytes) QUARRY_NOTHROW;
/* Nobody may be in it or enter it any more. What is charged stays charged until it is freed; then the account is gone.
 * NULL does nothing. Async-signal-safe. */
void quarry_account_destroy(struct quarry_account *a) QUARRY_NOTHROW;
/* What this thread allocates is charged to a from now on; NULL: to nobody. Returns whose it was before, to enter again.
 * A new thread is in no account; after fork the child's is in its parent's, of its own copy. Async-signal-safe. */
struct quarry_account *quarry_account_enter(struct quarry_account *a) QUARRY_NOTHROW;
/* Whose this thread's allocations are; NULL: nobody's. Async-signal-safe. */
struct quarry_account *quarry_account_current(void) QUARRY_NOTHROW;
/* 0: none. Below what is charged it keeps more from being charged. Async-signal-safe. */
void quarry_account_limit(struct quarry_account *a, size_t limit_bytes) QUARRY_NOTHROW;

struct quarry_account_info {
    const char *name; /* valid as long as the account */
    size_t charged_bytes, peak_bytes, limit_bytes;
    size_t objects; /* that are charged, of pages each */
    size_t refused; /* attempts that would have passed the limit */
};
/* Each figure exact while nobody allocates or frees. Async-signal-safe. */
void quarry_account_info_get(const struct quarry_account *a, struct quarry_account_info *ret_info) QUARRY_NOTHROW;

#undef QUARRY_NOTHROW
#ifdef __cplusplus
}
#endif

#endif
