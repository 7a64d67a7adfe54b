/* SPDX-License-Identifier: MIT */
/*
 * A filesystem's inodes, end to end, in less memory than they would take: a radix tree that readers walk under RCU,
 * whose nodes come from a sheaf that was filled before the lock, and are freed by kfree_rcu; inodes out of a cache with
 * a constructor and SLAB_RECLAIM_ACCOUNT, which go by call_rcu; a shrinker that evicts those nobody uses, oldest first,
 * and stands back in transactions, whose allocations are bound by memalloc_nofs_save. Run with a limit below what all
 * inodes take: whoever is found is whole, and who was evicted is made again.
 */
#include "check.h"

#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <pthread.h>
#include <stdio.h>

enum {
    THREADS = 3,
    INODES = 96 << 10,
    OPENS = 60000, /* of each thread */
    OPEN_AT_ONCE = 16,
    SLOTS_SHIFT = 6,
    SLOTS = 1 << SLOTS_SHIFT,
    LEVELS = 3, /* 64^3 numbers */
    NAME_BYTES = 100,
    BLOCKS = 60 /* an inode takes some 600 bytes, with its name 700 */
};

struct inode {
    unsigned long number;
    int refs; /* of who has it open; -1: evicted */
    struct list_head lru;
    char *name;
    struct rcu_head rcu;
    u64 blocks[BLOCKS];
};

struct node {
    void *slots[SLOTS];
    unsigned nr;
    struct rcu_head rcu;
};

static struct kmem_cache *inode_cache, *node_cache;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of writers: the tree and the list */
static void *root;
static LIST_HEAD(lru); /* all that are in the tree, oldest first */
static unsigned long inodes_nr, evicted, stood_back, made;

/* --- the tree --- */

static unsigned slot_of(unsigned long number, int level) {
    return (unsigned)(number >> (SLOTS_SHIFT * level)) & (SLOTS - 1);
}

/* Inside rcu_read_lock(), or with the lock. */
static struct inode *tree_find(unsigned long number) {
    struct node *node = rcu_dereference(root);
    for (int level = LEVELS - 1; node != NULL && level > 0; level--)
        node = rcu_dereference(node->slots[slot_of(number, level)]);
    return node == NULL ? NULL : rcu_dereference(node->slots[slot_of(number, 0)]);
}

static struct node *node_below(void **place, unsigned *nr, struct slab_sheaf *sheaf) {
    if (*place == NULL) {
        struct node *node = kmem_cache_alloc_from_sheaf(node_cache, GFP_NOWAIT | __GFP_ZERO, sheaf);
        CHECK(node != NULL); /* which it is for */
        rcu_assign_pointer(*place, node);
        *nr += 1;
    }
    return *place;
}

static void tree_insert(struct inode *inode, struct slab_sheaf *sheaf) {
    unsigned roots = 0;
    struct node *node = node_below(&root, &roots, sheaf);
    for (int level = LEVELS - 1; level > 0; level--)
        node = node_below(&node->slots[slot_of(inode->number, level)], &node->nr, sheaf);
    rcu_assign_pointer(node->slots[slot_of(inode->number, 0)], inode);
    node->nr++;
}

/* With the nodes that have nothing left. */
static void tree_delete(unsigned long number) {
    struct node *path[LEVELS];
    path[LEVELS - 1] = root;
    for (int level = LEVELS - 1; level > 0; level--)
        path[level - 1] = path[level]->slots[slot_of(number, level)];
    for (int level = 0; level < LEVELS; level++) {
        RCU_INIT_POINTER(path[level]->slots[slot_of(number, level)], NULL);
        if (--path[level]->nr != 0)
            return;
        if (level == LEVELS - 1)
            RCU_INIT_POINTER(root, NULL);
        kfree_rcu(path[level], rcu);
    }
}

/* --- inodes --- */

static void inode_construct(void *p) {
    struct inode *inode = p;
    memset(inode, 0, sizeof(*inode));
    INIT_LIST_HEAD(&inode->lru);
}

/* As it was constructed but for what its next use sets. */
static void inode_callback(struct rcu_head *head) {
    struct inode *inode = container_of(head, struct inode, rcu);
    CHECK(inode->refs == -1 && list_empty(&inode->lru));
    kfree(inode->name);
    inode->name = NULL;
    kmem_cache_free(inode_cache, inode);
}

static struct inode *inode_new(unsigned long number) {
    struct inode *inode = kmem_cache_alloc_lru(inode_cache, NULL, GFP_NOFS);
    if (inode == NULL)
        return NULL;
    CHECK(list_empty(&inode->lru) && inode->name == NULL);
    char name[NAME_BYTES];
    int len = snprintf(name, sizeof(name), "inode number %lu, of a name that is not short at all", number);
    inode->name = kmemdup_nul(name, (size_t)len, GFP_NOFS);
    if (inode->name == NULL) {
        kmem_cache_free(inode_cache, inode);
        return NULL;
    }
    inode->number = number;
    inode->refs = 1;
    for (unsigned i = 0; i < BLOCKS; i++)
        inode->blocks[i] = number * BLOCKS + i;
    return inode;
}

static bool inode_get(struct inode *inode) {
    int refs = READ_ONCE(inode->refs);
    while (refs >= 0 &&
           !__atomic_compare_exchange_n(&inode->refs, &refs, refs + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        continue;
    return refs >= 0;
}

static void inode_put(struct inode *inode) { (void)__atomic_sub_fetch(&inode->refs, 1, __ATOMIC_RELEASE); }

static void inode_check(const struct inode *inode, unsigned long number) {
    char start[40];
    (void)snprintf(start, sizeof(start), "inode number %lu,", number);
    CHECK_MSG(inode->number == number, "%lu is %lu", number, inode->number);
    CHECK(strncmp(inode->name, start, strlen(start)) == 0);
    for (unsigned i = 0; i < BLOCKS; i++)
        CHECK(inode->blocks[i] == number * BLOCKS + i);
}

/* With the lock. */
static bool inode_evict(struct inode *inode) {
    int unused = 0;
    if (!__atomic_compare_exchange_n(&inode->refs, &unused, -1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return false;
    tree_delete(inode->number);
    list_del_init(&inode->lru);
    inodes_nr--;
    evicted++;
    call_rcu(&inode->rcu, inode_callback);
    return true;
}

/* --- the shrinker --- */

static unsigned long inodes_count(struct shrinker *s, struct shrink_control *sc) {
    CHECK(s->private_data == &lru);
    (void)sc;
    unsigned long nr = READ_ONCE(inodes_nr);
    return nr != 0 ? nr : SHRINK_EMPTY;
}

static unsigned long inodes_scan(struct shrinker *s, struct shrink_control *sc) {
    struct inode *inode, *next;
    unsigned long freed = 0, left = sc->nr_to_scan;
    (void)s;
    if (!(sc->gfp_mask & __GFP_FS) || pthread_mutex_trylock(&lock) != 0) {
        (void)__atomic_add_fetch(&stood_back, 1, __ATOMIC_RELAXED);
        return SHRINK_STOP;
    }
    list_for_each_entry_safe(inode, next, &lru, lru) {
        if (left-- == 0)
            break;
        if (!inode_evict(inode))
            list_move_tail(&inode->lru, &lru);
        else
            freed++;
    }
    pthread_mutex_unlock(&lock);
    return freed;
}

/* --- who opens them --- */

static struct inode *inode_find(unsigned long number) {
    guard(rcu)();
    struct inode *inode = tree_find(number);
    return inode != NULL && inode_get(inode) ? inode : NULL;
}

/* Where memory is out whoever waits for readers is waited for: evicted inodes are memory again then. */
static struct slab_sheaf *nodes_preload(void) {
    struct slab_sheaf *sheaf;
    while ((sheaf = kmem_cache_prefill_sheaf(node_cache, GFP_KERNEL, LEVELS)) == NULL)
        rcu_barrier();
    return sheaf;
}

/* Outside of transactions, where the shrinker may run. */
static void make_room(void) {
    struct inode *inode = kmem_cache_alloc(inode_cache, GFP_KERNEL);
    if (inode != NULL)
        kmem_cache_free(inode_cache, inode);
    kfree(kmalloc(NAME_BYTES, GFP_KERNEL));
    rcu_barrier();
}

/* In a transaction, in which nobody may come back into the filesystem. */
static struct inode *inode_make(unsigned long number) {
    unsigned flags = memalloc_nofs_save();
    CHECK(current_gfp_context(GFP_KERNEL) == GFP_NOFS);
    struct inode *inode = inode_new(number);
    memalloc_nofs_restore(flags);
    return inode;
}

static struct inode *inode_add(struct inode *mine, struct slab_sheaf *sheaf) {
    pthread_mutex_lock(&lock);
    struct inode *there = tree_find(mine->number);
    if (there != NULL && !inode_get(there))
        there = NULL; /* cannot be: evicted ones left the tree with the lock */
    if (there == NULL) {
        tree_insert(mine, sheaf);
        list_add_tail(&mine->lru, &lru);
        inodes_nr++;
        made++;
    }
    pthread_mutex_unlock(&lock);
    return there;
}

static struct inode *inode_open(unsigned long number) {
    struct inode *inode = inode_find(number), *there;
    if (inode != NULL)
        return inode;
    struct slab_sheaf *sheaf = nodes_preload();
    while ((inode = inode_make(number)) == NULL)
        make_room();
    there = inode_add(inode, sheaf);
    kmem_cache_return_sheaf(node_cache, GFP_NOWAIT, sheaf);
    if (there == NULL)
        return inode;
    kfree(inode->name);
    inode->name = NULL;
    kmem_cache_free(inode_cache, inode);
    return there;
}

static void *opener(void *arg) {
    struct inode *open[OPEN_AT_ONCE] = {NULL};
    u64 state = (uintptr_t)arg * 7919 + 1;
    for (int i = 0; i < OPENS; i++) {
        struct inode **at = &open[i % OPEN_AT_ONCE];
        if (*at != NULL) {
            inode_check(*at, (*at)->number);
            inode_put(*at);
        }
        state = state * 6364136223846793005u + 1442695040888963407u;
        unsigned long number = (state >> 33) % INODES;
        *at = inode_open(number);
        inode_check(*at, number);
    }
    for (int i = 0; i < OPEN_AT_ONCE; i++)
        inode_put(open[i]);
    return NULL;
}

/* As a filesystem is unmounted. */
static void evict_all(void) {
    struct inode *inode, *next;
    pthread_mutex_lock(&lock);
    list_for_each_entry_safe(inode, next, &lru, lru) CHECK(inode_evict(inode));
    CHECK(inodes_nr == 0 && root == NULL && list_empty(&lru));
    pthread_mutex_unlock(&lock);
}

static size_t out_nr(struct kmem_cache *s) {
    struct quarry_kmem_cache_info info;
    quarry_kmem_cache_info_get(s, &info);
    return info.active_objs;
}

int main(void) {
    pthread_t threads[THREADS];
    inode_cache = kmem_cache_create("inode", sizeof(struct inode), 0, SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT | SLAB_PANIC,
                                    inode_construct);
    struct kmem_cache_args args = {.align = __alignof__(struct node), .sheaf_capacity = 32};
    node_cache = kmem_cache_create("node", sizeof(struct node), &args, SLAB_RECLAIM_ACCOUNT | SLAB_PANIC);
    struct shrinker *s = shrinker_alloc(0, "inodes-%d", 1);
    CHECK(s != NULL);
    s->count_objects = inodes_count;
    s->scan_objects = inodes_scan;
    s->batch = 1024;
    s->private_data = &lru;
    shrinker_register(s);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, opener, (void *)(uintptr_t)i) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_MSG(evicted > 0, "%lu made, %lu kept, the shrinker stood back %lu times", made, inodes_nr, stood_back);
    shrinker_free(s);
    evict_all();
    CHECK(made == evicted);
    rcu_barrier();
    CHECK(out_nr(inode_cache) == 0);
    kvfree_rcu_barrier();
    CHECK(out_nr(node_cache) == 0);
    kmem_cache_destroy(node_cache);
    kmem_cache_destroy(inode_cache);
    return 0;
}
