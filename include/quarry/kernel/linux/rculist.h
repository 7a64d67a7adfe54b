/* SPDX-License-Identifier: MIT */
/*
 * Lists that are read under rcu_read_lock() while one writer at a time changes them: what is removed keeps its way on
 * for those who stand on it, and is freed by kfree_rcu or after synchronize_rcu. Writers keep each other out.
 */
#ifndef QUARRY_KERNEL_LINUX_RCULIST_H
#define QUARRY_KERNEL_LINUX_RCULIST_H

#include <linux/list.h>
#include <linux/rcupdate.h>

#define list_next_rcu(entry) ((entry)->next)

static inline void INIT_LIST_HEAD_RCU(struct list_head *head) {
    rcu_assign_pointer(head->next, head);
    rcu_assign_pointer(head->prev, head);
}

/* The entry is complete before a reader can come to it. */
static inline void list_add_rcu(struct list_head *entry, struct list_head *head) {
    entry->next = head->next;
    entry->prev = head;
    rcu_assign_pointer(head->next, entry);
    entry->next->prev = entry;
}
static inline void list_add_tail_rcu(struct list_head *entry, struct list_head *head) {
    list_add_rcu(entry, head->prev);
}
/* Readers look at next alone. */
static inline void list_del_rcu(struct list_head *entry) {
    entry->next->prev = entry->prev;
    RCU_INIT_POINTER(entry->prev->next, entry->next);
    entry->prev = NULL;
}
static inline void list_replace_rcu(struct list_head *from, struct list_head *to) {
    to->next = from->next;
    to->prev = from->prev;
    rcu_assign_pointer(to->prev->next, to);
    to->next->prev = to;
    from->prev = NULL;
}

#define list_entry_rcu(p, type, member) container_of(rcu_dereference(p), type, member)
#define list_first_or_null_rcu(head, type, member)                                                                     \
    __extension__({                                                                                                    \
        struct list_head *first_ = rcu_dereference((head)->next);                                                      \
        first_ == (head) ? (type *)NULL : container_of(first_, type, member);                                          \
    })
/* Behind member there may be a condition of lockdep's, which is not looked at. */
#define list_for_each_entry_rcu(at, head, ...) QUARRY_LIST_EACH_RCU(at, head, __VA_ARGS__, true)
#define QUARRY_LIST_EACH_RCU(at, head, member, ...)                                                                    \
    for ((at) = list_entry_rcu((head)->next, __typeof__(*(at)), member); &(at)->member != (head);                      \
         (at) = list_entry_rcu((at)->member.next, __typeof__(*(at)), member))

static inline void hlist_add_head_rcu(struct hlist_node *node, struct hlist_head *head) {
    struct hlist_node *first = head->first;
    node->next = first;
    node->pprev = &head->first;
    rcu_assign_pointer(head->first, node);
    if (first != NULL)
        first->pprev = &node->next;
}
static inline void hlist_del_rcu(struct hlist_node *node) {
    RCU_INIT_POINTER(*node->pprev, node->next);
    if (node->next != NULL)
        node->next->pprev = node->pprev;
    node->pprev = NULL;
}
/* The same of one that may be on no list, and is on none then; readers who stand on it go on. */
static inline void hlist_del_init_rcu(struct hlist_node *node) {
    if (!hlist_unhashed(node))
        hlist_del_rcu(node);
}
static inline void hlist_replace_rcu(struct hlist_node *from, struct hlist_node *to) {
    to->next = from->next;
    to->pprev = from->pprev;
    rcu_assign_pointer(*to->pprev, to);
    if (to->next != NULL)
        to->next->pprev = &to->next;
    from->pprev = NULL;
}
static inline void hlist_add_before_rcu(struct hlist_node *node, struct hlist_node *next) {
    node->pprev = next->pprev;
    node->next = next;
    rcu_assign_pointer(*node->pprev, node);
    next->pprev = &node->next;
}
static inline void hlist_add_behind_rcu(struct hlist_node *node, struct hlist_node *before) {
    node->next = before->next;
    node->pprev = &before->next;
    rcu_assign_pointer(before->next, node);
    if (node->next != NULL)
        node->next->pprev = &node->next;
}

#define hlist_for_each_entry_rcu(at, head, ...) QUARRY_HLIST_EACH_RCU(at, head, __VA_ARGS__, true)
#define QUARRY_HLIST_EACH_RCU(at, head, member, ...)                                                                   \
    for ((at) = hlist_entry_safe(rcu_dereference((head)->first), __typeof__(*(at)), member); (at) != NULL;             \
         (at) = hlist_entry_safe(rcu_dereference((at)->member.next), __typeof__(*(at)), member))

#endif
