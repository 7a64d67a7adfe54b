/* SPDX-License-Identifier: MIT */
/* Doubly linked lists through the objects, as far as kernel-style code that allocates needs them. */
#ifndef QUARRY_KERNEL_LINUX_LIST_H
#define QUARRY_KERNEL_LINUX_LIST_H

#include <linux/types.h>

struct list_head {
    struct list_head *next, *prev;
};

#define LIST_HEAD(name) struct list_head name = {&(name), &(name)}

static inline void INIT_LIST_HEAD(struct list_head *head) { head->next = head->prev = head; }
static inline bool list_empty(const struct list_head *head) { return head->next == head; }

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

#ifndef container_of
#define container_of(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))
#endif
#define list_entry(p, type, member) container_of(p, type, member)
#define list_first_entry(head, type, member) list_entry((head)->next, type, member)
#define list_next_entry(at, member) list_entry((at)->member.next, __typeof__(*(at)), member)

#define list_for_each_entry(at, head, member)                                                                          \
    for ((at) = list_first_entry(head, __typeof__(*(at)), member); &(at)->member != (head);                            \
         (at) = list_next_entry(at, member))
/* The body may remove at. */
#define list_for_each_entry_safe(at, after, head, member)                                                              \
    for ((at) = list_first_entry(head, __typeof__(*(at)), member), (after) = list_next_entry(at, member);              \
         &(at)->member != (head); (at) = (after), (after) = list_next_entry(after, member))

#endif
