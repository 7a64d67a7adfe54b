/* SPDX-License-Identifier: MIT */
/* Doubly linked lists through the objects, as far as kernel-style code that allocates needs them. */
#ifndef QUARRY_KERNEL_LINUX_LIST_H
#define QUARRY_KERNEL_LINUX_LIST_H

#include <linux/container_of.h>
#ifndef __cplusplus /* which has attributes of some of these names */
#include <linux/compiler.h>
#endif
#include <linux/types.h>

struct list_head {
    struct list_head *next, *prev;
};

#define LIST_HEAD_INIT(name)                                                                                           \
    { &(name), &(name) }
#define LIST_HEAD(name) struct list_head name = LIST_HEAD_INIT(name)

static inline void INIT_LIST_HEAD(struct list_head *head) { head->next = head->prev = head; }
static inline bool list_empty(const struct list_head *head) { return head->next == head; }
static inline bool list_is_head(const struct list_head *entry, const struct list_head *head) { return entry == head; }
static inline bool list_is_first(const struct list_head *entry, const struct list_head *head) {
    return entry->prev == head;
}
static inline bool list_is_last(const struct list_head *entry, const struct list_head *head) {
    return entry->next == head;
}
static inline bool list_is_singular(const struct list_head *head) {
    return !list_empty(head) && head->next == head->prev;
}

static inline void list_add(struct list_head *entry, struct list_head *head) {
    entry->next = head->next;
    entry->prev = head;
    head->next->prev = entry;
    head->next = entry;
}

static inline void list_add_tail(struct list_head *entry, struct list_head *head) { list_add(entry, head->prev); }

/* The entry's own links are left NULL, where any use of them ends the program. */
static inline void list_del(struct list_head *entry) {
    entry->next->prev = entry->prev;
    entry->prev->next = entry->next;
    entry->next = entry->prev = NULL;
}

static inline void list_del_init(struct list_head *entry) {
    list_del(entry);
    INIT_LIST_HEAD(entry);
}
static inline void list_move(struct list_head *entry, struct list_head *head) {
    list_del(entry);
    list_add(entry, head);
}
static inline void list_move_tail(struct list_head *entry, struct list_head *head) {
    list_del(entry);
    list_add_tail(entry, head);
}
static inline void list_replace(struct list_head *from, struct list_head *to) {
    to->next = from->next;
    to->prev = from->prev;
    to->next->prev = to->prev->next = to;
}

static inline void list_replace_init(struct list_head *from, struct list_head *to) {
    list_replace(from, to);
    INIT_LIST_HEAD(from);
}
static inline void list_swap(struct list_head *a, struct list_head *b) {
    struct list_head *at = b->prev;
    list_del(b);
    list_replace(a, b);
    list_add(a, at == a ? b : at);
}
static inline size_t list_count_nodes(const struct list_head *head) {
    size_t nr = 0;
    for (const struct list_head *at = head->next; at != head; at = at->next)
        nr++;
    return nr;
}
static inline void list_rotate_left(struct list_head *head) {
    if (!list_empty(head))
        list_move_tail(head->next, head);
}
/* The entries of head up to at, which may be head: none, become those of list, which had none. */
static inline void list_cut_position(struct list_head *list, struct list_head *head, struct list_head *at) {
    INIT_LIST_HEAD(list);
    if (at == head || list_empty(head))
        return;
    list->next = head->next;
    list->prev = at;
    head->next = at->next;
    head->next->prev = head;
    list->next->prev = at->next = list;
}

/* All entries of list go behind at, which may be a head; list itself is left as it was. */
static inline void list_splice(const struct list_head *list, struct list_head *at) {
    if (list_empty(list))
        return;
    list->prev->next = at->next;
    at->next->prev = list->prev;
    at->next = list->next;
    list->next->prev = at;
}
static inline void list_splice_tail(struct list_head *list, struct list_head *head) { list_splice(list, head->prev); }
/* The same, and list is empty then. */
static inline void list_splice_init(struct list_head *list, struct list_head *head) {
    list_splice(list, head);
    INIT_LIST_HEAD(list);
}
static inline void list_splice_tail_init(struct list_head *list, struct list_head *head) {
    list_splice_init(list, head->prev);
}

#define list_entry(p, type, member) container_of(p, type, member)
#define list_first_entry(head, type, member) list_entry((head)->next, type, member)
#define list_last_entry(head, type, member) list_entry((head)->prev, type, member)
#define list_first_entry_or_null(head, type, member) (list_empty(head) ? NULL : list_first_entry(head, type, member))
#define list_next_entry(at, member) list_entry((at)->member.next, __typeof__(*(at)), member)
#define list_prev_entry(at, member) list_entry((at)->member.prev, __typeof__(*(at)), member)
#define list_entry_is_head(at, head, member) (&(at)->member == (head))

#define list_for_each(at, head) for ((at) = (head)->next; (at) != (head); (at) = (at)->next)
#define list_for_each_prev(at, head) for ((at) = (head)->prev; (at) != (head); (at) = (at)->prev)
#define list_for_each_safe(at, after, head)                                                                            \
    for ((at) = (head)->next, (after) = (at)->next; (at) != (head); (at) = (after), (after) = (at)->next)

#define list_for_each_entry(at, head, member)                                                                          \
    for ((at) = list_first_entry(head, __typeof__(*(at)), member); &(at)->member != (head);                            \
         (at) = list_next_entry(at, member))
#define list_for_each_entry_reverse(at, head, member)                                                                  \
    for ((at) = list_last_entry(head, __typeof__(*(at)), member); &(at)->member != (head);                             \
         (at) = list_prev_entry(at, member))
/* Goes on behind at; from at. */
#define list_for_each_entry_continue(at, head, member)                                                                 \
    for ((at) = list_next_entry(at, member); &(at)->member != (head); (at) = list_next_entry(at, member))
#define list_for_each_entry_from(at, head, member) for (; &(at)->member != (head); (at) = list_next_entry(at, member))
/* The body may remove at. */
#define list_for_each_entry_safe(at, after, head, member)                                                              \
    for ((at) = list_first_entry(head, __typeof__(*(at)), member), (after) = list_next_entry(at, member);              \
         &(at)->member != (head); (at) = (after), (after) = list_next_entry(after, member))

#define list_for_each_entry_safe_reverse(at, before, head, member)                                                     \
    for ((at) = list_last_entry(head, __typeof__(*(at)), member), (before) = list_prev_entry(at, member);              \
         &(at)->member != (head); (at) = (before), (before) = list_prev_entry(before, member))
/* Go on behind at, backwards, and while the body may remove it; where to begin for the one before. */
#define list_for_each_entry_continue_reverse(at, head, member)                                                         \
    for ((at) = list_prev_entry(at, member); &(at)->member != (head); (at) = list_prev_entry(at, member))
#define list_for_each_entry_safe_continue(at, after, head, member)                                                     \
    for ((at) = list_next_entry(at, member), (after) = list_next_entry(at, member); &(at)->member != (head);           \
         (at) = (after), (after) = list_next_entry(after, member))
#define list_for_each_entry_safe_from(at, after, head, member)                                                         \
    for ((after) = list_next_entry(at, member); &(at)->member != (head);                                               \
         (at) = (after), (after) = list_next_entry(after, member))
#define list_prepare_entry(at, head, member) ((at) != NULL ? (at) : list_entry(head, __typeof__(*(at)), member))

/* --- lists with one pointer in the head, for tables of many --- */

struct hlist_node {
    struct hlist_node *next, **pprev;
};
struct hlist_head {
    struct hlist_node *first;
};

#define HLIST_HEAD_INIT                                                                                                \
    { NULL }
#define HLIST_HEAD(name) struct hlist_head name = HLIST_HEAD_INIT
#define INIT_HLIST_HEAD(head) ((head)->first = NULL)
static inline void INIT_HLIST_NODE(struct hlist_node *node) {
    node->next = NULL;
    node->pprev = NULL;
}
static inline bool hlist_unhashed(const struct hlist_node *node) { return node->pprev == NULL; }
static inline bool hlist_empty(const struct hlist_head *head) { return head->first == NULL; }

static inline void hlist_add_head(struct hlist_node *node, struct hlist_head *head) {
    node->next = head->first;
    if (node->next != NULL)
        node->next->pprev = &node->next;
    head->first = node;
    node->pprev = &head->first;
}
static inline void hlist_add_before(struct hlist_node *node, struct hlist_node *next) {
    node->pprev = next->pprev;
    node->next = next;
    next->pprev = &node->next;
    *node->pprev = node;
}
static inline void hlist_add_behind(struct hlist_node *node, struct hlist_node *before) {
    node->next = before->next;
    before->next = node;
    node->pprev = &before->next;
    if (node->next != NULL)
        node->next->pprev = &node->next;
}
static inline void hlist_del(struct hlist_node *node) {
    *node->pprev = node->next;
    if (node->next != NULL)
        node->next->pprev = node->pprev;
    INIT_HLIST_NODE(node);
}
static inline void hlist_del_init(struct hlist_node *node) {
    if (!hlist_unhashed(node))
        hlist_del(node);
}

#define hlist_entry(p, type, member) container_of(p, type, member)
#define hlist_entry_safe(p, type, member)                                                                              \
    __extension__({                                                                                                    \
        __typeof__(p) hlist_at_ = (p);                                                                                 \
        hlist_at_ == NULL ? (type *)NULL : hlist_entry(hlist_at_, type, member);                                       \
    })
#define hlist_for_each(at, head) for ((at) = (head)->first; (at) != NULL; (at) = (at)->next)
#define hlist_for_each_entry(at, head, member)                                                                         \
    for ((at) = hlist_entry_safe((head)->first, __typeof__(*(at)), member); (at) != NULL;                              \
         (at) = hlist_entry_safe((at)->member.next, __typeof__(*(at)), member))
/* The body may remove at; after is a struct hlist_node *. */
#define hlist_for_each_entry_safe(at, after, head, member)                                                             \
    for ((at) = hlist_entry_safe((head)->first, __typeof__(*(at)), member);                                            \
         (at) != NULL && ((after) = (at)->member.next, true);                                                          \
         (at) = hlist_entry_safe(after, __typeof__(*(at)), member))

#endif
