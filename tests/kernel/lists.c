/* SPDX-License-Identifier: MIT */
/*
 * Lists of objects that grow at both ends and lose every third: the kernel's commonest use of its allocators. Nodes are
 * kmalloc's by GFP_KERNEL and by GFP_ATOMIC, vmalloc's, and all of them in one list.
 */
#include "check.h"

#include <linux/list.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <quarry/quarry.h>
#include <string.h>

struct item {
    int number;
    size_t bytes; /* of payload */
    struct list_head link;
    unsigned char payload[];
};

enum from { KERNEL, ATOMIC, AREAS, FROMS_NR, MIXED = FROMS_NR };
enum { ITEMS_NR = 3000 };

static LIST_HEAD(items);

static enum from from_of(enum from from, int number) { return from == MIXED ? (enum from)(number % FROMS_NR) : from; }

static struct item *item_get(enum from from, int number) {
    size_t payload_bytes = (size_t)number % 100;
    struct item *it;
    size_t bytes = struct_size(it, payload, payload_bytes);
    switch (from_of(from, number)) {
    case KERNEL: it = kmalloc(bytes, GFP_KERNEL); break;
    case ATOMIC: it = kmalloc(bytes, GFP_ATOMIC); break;
    default: it = vmalloc(bytes); break;
    }
    CHECK(it != NULL && is_vmalloc_addr(it) == (from_of(from, number) == AREAS));
    it->number = number;
    it->bytes = payload_bytes;
    memset(it->payload, number, payload_bytes);
    return it;
}

static void item_put(enum from from, struct item *it) {
    for (size_t i = 0; i < it->bytes; i++)
        CHECK(it->payload[i] == (unsigned char)it->number);
    list_del(&it->link);
    if (from_of(from, it->number) == AREAS)
        vfree(it);
    else
        kfree(it);
}

static void fill(enum from from) {
    for (int i = 0; i < ITEMS_NR; i++) {
        struct item *it = item_get(from, i);
        if (i % 2)
            list_add(&it->link, &items);
        else
            list_add_tail(&it->link, &items);
    }
}

static long sum(void) {
    long total = 0;
    struct item *it;
    list_for_each_entry(it, &items, link) total += it->number;
    return total;
}

static void list_of(enum from from) {
    struct item *it, *after;
    CHECK(list_empty(&items));
    fill(from);
    CHECK(sum() == (long)ITEMS_NR * (ITEMS_NR - 1) / 2);
    CHECK(list_first_entry(&items, struct item, link)->number == ITEMS_NR - 1);
    long removed = 0;
    list_for_each_entry_safe(it, after, &items, link) {
        if (it->number % 3 != (from == MIXED ? (it->number / 3) % 3 : 0))
            continue;
        removed += it->number;
        item_put(from, it);
    }
    CHECK(sum() == (long)ITEMS_NR * (ITEMS_NR - 1) / 2 - removed && removed > 0);
    list_for_each_entry_safe(it, after, &items, link) item_put(from, it);
    CHECK(list_empty(&items));
}

struct letter {
    int number;
    struct list_head link;
};

/* The list reads as text, forwards and backwards. */
static void check_reads(const struct list_head *head, const char *text) {
    size_t at = 0;
    struct letter *it;
    list_for_each_entry(it, head, link) CHECK(text[at++] == it->number);
    CHECK(text[at] == 0 && list_count_nodes(head) == at);
    list_for_each_entry_reverse(it, head, link) CHECK(text[--at] == it->number);
}

static void spelled(struct list_head *head, struct letter *letters, const char *text) {
    INIT_LIST_HEAD(head);
    for (; *text != 0; text++, letters++) {
        letters->number = *text;
        list_add_tail(&letters->link, head);
    }
}

static void rearranging(void) {
    static struct letter a[5];
    LIST_HEAD(front);
    struct list_head all, taken;
    struct letter *it, *next;
    spelled(&all, a, "abcde");
    list_rotate_left(&all);
    check_reads(&all, "bcdea");
    list_rotate_left(&front);
    check_reads(&front, "");
    spelled(&all, a, "abcde");
    list_cut_position(&taken, &all, &a[1].link);
    check_reads(&taken, "ab");
    check_reads(&all, "cde");
    list_cut_position(&front, &all, &all);
    check_reads(&front, "");
    list_cut_position(&front, &all, &a[4].link);
    check_reads(&front, "cde");
    check_reads(&all, "");
    spelled(&all, a, "abcde");
    list_swap(&a[0].link, &a[4].link);
    check_reads(&all, "ebcda");
    list_swap(&a[1].link, &a[2].link);
    check_reads(&all, "ecbda");
    list_swap(&a[1].link, &a[2].link);
    check_reads(&all, "ebcda");
    spelled(&all, a, "abcd");
    list_replace_init(&a[1].link, &a[4].link);
    a[4].number = 'x';
    check_reads(&all, "axcd");
    CHECK(list_empty(&a[1].link));
    list_for_each_entry_safe_reverse(it, next, &all, link) {
        if (it->number != 'x')
            list_del(&it->link);
    }
    check_reads(&all, "x");
}

static void continuing(void) {
    static struct letter a[6];
    struct letter *it, *next;
    LIST_HEAD(head);
    struct list_head *all = opaque(&head); /* of which the compiler would say that no letter is around it */
    char seen[8] = "", *at = seen;
    spelled(all, a, "abcdef");
    it = &a[3];
    list_for_each_entry_continue_reverse(it, all, link) *at++ = (char)it->number;
    it = list_prepare_entry((struct letter *)NULL, all, link);
    list_for_each_entry_continue(it, all, link) {
        if (it->number == 'd')
            break;
    }
    *at++ = (char)it->number;
    CHECK(strcmp(seen, "cbad") == 0 && list_prepare_entry(it, all, link) == it);
    it = &a[3];
    list_for_each_entry_safe_continue(it, next, all, link) list_del(&it->link);
    check_reads(all, "abcd");
    it = &a[1];
    list_for_each_entry_safe_from(it, next, all, link) list_del(&it->link);
    check_reads(all, "a");
}

static uint64_t live_bytes(void) {
    uint64_t bytes = 1;
    CHECK(quarry_stat("live_bytes", &bytes) == 0);
    return bytes;
}

int main(void) {
    uint64_t before = live_bytes();
    rearranging();
    continuing();
    for (enum from from = KERNEL; from <= MIXED; from++) {
        list_of(from);
        CHECK_MSG(live_bytes() == before, "%lu bytes were out before, %lu after", (unsigned long)before,
                  (unsigned long)live_bytes());
    }
    return 0;
}
