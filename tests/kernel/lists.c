/* SPDX-License-Identifier: MIT */
/* A list of objects that grows at both ends and loses every third: the kernel's commonest use of kmalloc. */
#include "check.h"

#include <linux/list.h>
#include <linux/slab.h>

struct item {
    int number;
    struct list_head link;
    char payload[];
};

enum { ITEMS_NR = 3000 };

static LIST_HEAD(items);

static void fill(void) {
    for (int i = 0; i < ITEMS_NR; i++) {
        struct item *it = kmalloc(struct_size(it, payload, (size_t)i % 100), GFP_KERNEL);
        CHECK(it != NULL);
        it->number = i;
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

int main(void) {
    struct item *it, *after;
    struct list_head local;
    INIT_LIST_HEAD(&local);
    CHECK(list_empty(&items) && list_empty(&local));
    fill();
    CHECK(sum() == (long)ITEMS_NR * (ITEMS_NR - 1) / 2);
    CHECK(list_first_entry(&items, struct item, link)->number == ITEMS_NR - 1);
    long removed = 0;
    list_for_each_entry_safe(it, after, &items, link) {
        if (it->number % 3 != 0)
            continue;
        removed += it->number;
        list_del(&it->link);
        kfree(it);
    }
    CHECK(sum() == (long)ITEMS_NR * (ITEMS_NR - 1) / 2 - removed && removed > 0);
    list_for_each_entry_safe(it, after, &items, link) {
        list_del(&it->link);
        kfree(it);
    }
    CHECK(list_empty(&items));
    return 0;
}
