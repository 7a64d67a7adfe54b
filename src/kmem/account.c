/* SPDX-License-Identifier: MIT */
/*
 * Accounts: how much is charged to each, its limit, and which one a thread is in. Owns the table of accounts. Whose an
 * object is, is owner.c's; that it is charged at all, accounted.c's and debug.c's.
 *
 * Invariants  [A1] refs is one for the account itself, until it is destroyed, and one for each object and each page
 *             charged to it; an account with none is free to be made again, so a number in an owner's entry, or in a
 *             page's record, is never another's.
 *             [A2] charged is the sum of what its objects were charged with, and at most the limit but for what passes
 *             it (kmem_gfp_passes_limit).
 * Ordering    The last reference dropped happens before the account is made again. [kmem.account]
 * Progress    Lock-free, but for making: no lock, no system call, no waiting in charging and freeing.
 * Reclamation [A1].
 */
#include "kmem/account.h"

#include "kmem/gfp.h"

#include <stdio.h>

enum { NAME_BYTES = 64 };

struct quarry_account {
    _Atomic(u64) refs; /* [A1] */
    _Atomic(size_t) charged_bytes, peak_bytes, limit_bytes, refused;
    char name[NAME_BYTES];
} __attribute__((aligned(CACHE_LINE)));

static struct quarry_account accounts[QUARRY_ACCOUNTS_MAX]; /* an owner's entry is the place in it, and 1 */
static __thread struct quarry_account *current;

_Atomic(bool) kmem_accounts_on;

/* --- making --- */

static struct quarry_account *free_find(void) {
    for (struct quarry_account *a = accounts; a < accounts + QUARRY_ACCOUNTS_MAX; a++) {
        u64 none = 0;
        /* order: acquire: what its last owner did.                                            pairs: [kmem.account] */
        if (atomic_compare_exchange_strong_explicit(&a->refs, &none, 1, memory_order_acquire, memory_order_relaxed))
            return a;
    }
    return NULL;
}

static void refs_drop(struct quarry_account *a, size_t nr) {
    /* order: release: all that was done to it before others find it free.                     pairs: [kmem.account] */
    atomic_fetch_sub_explicit(&a->refs, nr, memory_order_release);
}
static void ref_drop(struct quarry_account *a) { refs_drop(a, 1); }

struct quarry_account *quarry_account_create(const char *name, size_t limit_bytes) {
    if (name == NULL || !kmem_accounted_start())
        return NULL;
    struct quarry_account *a = free_find();
    if (a == NULL)
        return NULL;
    (void)snprintf(a->name, sizeof(a->name), "%s", name);
    atomic_store_explicit(&a->charged_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&a->peak_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&a->refused, 0, memory_order_relaxed);
    atomic_store_explicit(&a->limit_bytes, limit_bytes, memory_order_relaxed);
    return a;
}

void quarry_account_destroy(struct quarry_account *a) {
    if (a != NULL)
        ref_drop(a);
}

struct quarry_account *quarry_account_enter(struct quarry_account *a) {
    struct quarry_account *before = current;
    current = a;
    return before;
}

struct quarry_account *quarry_account_current(void) {
    return current;
}

void quarry_account_limit(struct quarry_account *a, size_t limit_bytes) {
    atomic_store_explicit(&a->limit_bytes, limit_bytes, memory_order_relaxed);
}

void quarry_account_info_get(const struct quarry_account *a, struct quarry_account_info *ret_info) {
    u64 refs = atomic_load_explicit(&a->refs, memory_order_relaxed);
    *ret_info = (struct quarry_account_info){
        .name = a->name,
        .charged_bytes = atomic_load_explicit(&a->charged_bytes, memory_order_relaxed),
        .peak_bytes = atomic_load_explicit(&a->peak_bytes, memory_order_relaxed),
        .limit_bytes = atomic_load_explicit(&a->limit_bytes, memory_order_relaxed),
        .objects = refs == 0 ? 0 : refs - 1,
        .refused = atomic_load_explicit(&a->refused, memory_order_relaxed),
    };
}

/* --- charging --- */

static void peak_raise(struct quarry_account *a, size_t bytes) {
    size_t peak = atomic_load_explicit(&a->peak_bytes, memory_order_relaxed);
    while (peak < bytes && !atomic_compare_exchange_weak_explicit(&a->peak_bytes, &peak, bytes, memory_order_relaxed,
                                                                  memory_order_relaxed))
        continue;
}

/* [A2] By compare and swap, so that an attempt that fails is no reason for another's to fail. */
static bool sum_add(struct quarry_account *a, size_t bytes, quarry_gfp_t flags) {
    size_t limit = atomic_load_explicit(&a->limit_bytes, memory_order_relaxed);
    size_t charged = atomic_load_explicit(&a->charged_bytes, memory_order_relaxed);
    bool forced = limit == 0 || kmem_gfp_passes_limit(flags);
    do {
        if (!forced && (bytes > limit || charged > limit - bytes)) {
            atomic_fetch_add_explicit(&a->refused, 1, memory_order_relaxed);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&a->charged_bytes, &charged, charged + bytes, memory_order_relaxed,
                                                    memory_order_relaxed));
    peak_raise(a, charged + bytes);
    return true;
}

static void sum_sub(struct quarry_account *a, size_t bytes) {
    atomic_fetch_sub_explicit(&a->charged_bytes, bytes, memory_order_relaxed);
}

static u16 number_of(const struct quarry_account *a) { return (u16)(a - accounts + 1); }

/* slab->slot_bytes for the object that slab->index says, which nobody else has and nobody is charged for. */
static bool charge(const struct quarry_core1_slab *slab, quarry_gfp_t flags) {
    struct quarry_account *a = current;
    if (a == NULL)
        return true;
    _Atomic(u16) *owner = kmem_owner_make(slab, flags);
    if (owner == NULL || !sum_add(a, slab->slot_bytes, flags))
        return false;
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    /* What else stands there is no account's of now: a fork may have come between a free and its uncharging. */
    u16 before = atomic_load_explicit(owner, memory_order_relaxed);
    atomic_store_explicit(owner, (u16)((before & KMEM_OWNER_LENT) | number_of(a)), memory_order_relaxed);
    return true;
}

bool kmem_account_charge(const void *p, quarry_gfp_t flags) {
    struct quarry_core1_slab slab;
    return current == NULL || !quarry_core1_debug_look(p, &slab) || charge(&slab, flags);
}

/* Whose number stands in an owner's entry; NULL: nobody's, of an object that is lent. */
static struct quarry_account *account_of(u16 number) {
    number &= (u16) ~(KMEM_OWNER_LENT | KMEM_OWNER_CACHE);
    return number == 0 ? NULL : &accounts[number - 1];
}

/* Of two who charge one object, one does. */
bool kmem_account_charge_late(const struct quarry_core1_slab *slab, quarry_gfp_t flags) {
    struct quarry_account *a = current;
    _Atomic(u16) *owner = a == NULL ? NULL : kmem_owner_make(slab, flags);
    u16 seen = owner == NULL ? 0 : atomic_load_explicit(owner, memory_order_relaxed);
    if (owner == NULL || account_of(seen) != NULL)
        return true;
    if (!sum_add(a, slab->slot_bytes, flags))
        return false;
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    if (atomic_compare_exchange_strong_explicit(owner, &seen, (u16)(seen | number_of(a)), memory_order_relaxed,
                                                memory_order_relaxed))
        return true;
    sum_sub(a, slab->slot_bytes);
    ref_drop(a);
    return true;
}

static void give_back(u16 number, size_t bytes, size_t refs_nr) {
    struct quarry_account *a = account_of(number);
    if (a == NULL)
        return;
    sum_sub(a, bytes);
    refs_drop(a, refs_nr);
}

/* Of two who free one object, one finds the number. */
bool kmem_account_uncharge(const struct quarry_core1_slab *slab) {
    _Atomic(u16) *owner = kmem_owner_find(slab);
    u16 number = owner == NULL ? 0 : atomic_exchange_explicit(owner, 0, memory_order_relaxed);
    give_back(number, slab->slot_bytes, 1);
    return number != 0;
}

/* --- pages --- */

bool kmem_account_pages_charge(unsigned order, quarry_gfp_t flags, u16 *ret_number) {
    struct quarry_account *a = current;
    *ret_number = a == NULL ? 0 : number_of(a);
    if (a == NULL)
        return true;
    if (!sum_add(a, QUARRY_PAGE_SIZE << order, flags))
        return false;
    atomic_fetch_add_explicit(&a->refs, (u64)1 << order, memory_order_relaxed);
    return true;
}

void kmem_account_pages_uncharge(u16 number, size_t pages_nr) {
    give_back(number, QUARRY_PAGE_SIZE * pages_nr, pages_nr);
}

/* --- objects that are lent --- */

bool kmem_account_lend(const struct quarry_core1_slab *slab, quarry_gfp_t flags) {
    _Atomic(u16) *owner = kmem_owner_make(slab, flags);
    if (owner != NULL)
        (void)atomic_fetch_or_explicit(owner, KMEM_OWNER_LENT, memory_order_relaxed);
    return owner != NULL;
}

bool kmem_account_is_lent(const struct quarry_core1_slab *slab) {
    const _Atomic(u16) *owner = kmem_owner_find(slab);
    return owner != NULL && (atomic_load_explicit(owner, memory_order_relaxed) & KMEM_OWNER_LENT) != 0;
}

bool kmem_account_slot_charge(const struct quarry_core1_slab *slab, quarry_gfp_t flags) { return charge(slab, flags); }

/* --- areas --- */

/* An area is the one object at its place, whose size may change. */
static struct quarry_core1_slab area_slab(const void *p, size_t bytes) {
    return (struct quarry_core1_slab){.base = (char *)(uintptr_t)p, .slot_bytes = bytes, .objs_nr = 1, .index = 0};
}

bool kmem_account_area_charge(const void *p, size_t bytes, quarry_gfp_t flags) {
    struct quarry_core1_slab slab = area_slab(p, bytes);
    return charge(&slab, flags);
}

static u16 area_number(const void *p) {
    struct quarry_core1_slab slab = area_slab(p, 0);
    if (!atomic_load_explicit(&kmem_accounts_on, memory_order_relaxed))
        return 0;
    const _Atomic(u16) *owner = kmem_owner_find(&slab);
    return owner == NULL ? 0 : atomic_load_explicit(owner, memory_order_relaxed);
}

bool kmem_account_area_is_known(const void *p) { return area_number(p) != 0; }
bool kmem_account_area_is_charged(const void *p) { return account_of(area_number(p)) != NULL; }

void kmem_account_area_uncharge(const void *p, size_t bytes) {
    struct quarry_core1_slab slab = area_slab(p, bytes);
    (void)kmem_account_uncharge(&slab);
}

void kmem_account_area_disown(const void *p, size_t bytes) {
    struct quarry_core1_slab slab = area_slab(p, bytes);
    _Atomic(u16) *owner = kmem_owner_find(&slab);
    if (owner != NULL)
        give_back(atomic_fetch_and_explicit(owner, KMEM_OWNER_LENT, memory_order_relaxed), bytes, 1);
}

u16 kmem_account_area_take(const void *p) {
    struct quarry_core1_slab slab = area_slab(p, 0);
    _Atomic(u16) *owner = kmem_owner_find(&slab);
    return owner == NULL ? 0 : atomic_exchange_explicit(owner, 0, memory_order_relaxed);
}

/* What is lent to a thread in no account has an entry that names none. */
bool kmem_account_area_resize(u16 number, size_t from, size_t to, quarry_gfp_t flags) {
    struct quarry_account *a = account_of(number);
    if (a == NULL)
        return true;
    if (to > from)
        return sum_add(a, to - from, flags);
    sum_sub(a, from - to);
    return true;
}

void kmem_account_area_put(const void *p, u16 number, size_t bytes) {
    struct quarry_core1_slab slab = area_slab(p, bytes);
    _Atomic(u16) *owner = kmem_owner_make(&slab, QUARRY_GFP_KERNEL);
    if (owner != NULL) {
        atomic_store_explicit(owner, number, memory_order_relaxed);
        return;
    }
    give_back(number, bytes, 1);
}
