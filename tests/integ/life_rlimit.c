/* SPDX-License-Identifier: MIT */
/*
 * A program under RLIMIT_AS or RLIMIT_DATA (the lower of the two), set before it was started. It must start; each tier
 * must serve a fair part of the limit; at exhaustion the answer is NULL with ENOMEM and nothing already held is harmed;
 * after free there is service again, also in other tiers than the one that filled the space. Set the limit in the
 * driver.
 */
#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* A third may go to the program itself, its libraries and the allocator's own books. */
enum { FAIR_SHARE_DIVISOR = 3 };
/* Filling more than this a second time takes long and shows nothing new. */
#define TWICE_LIMIT_BYTES ((size_t)128 << 20)

struct chain {
    struct chain *next;
    size_t bytes;
};

static size_t limit_bytes(void) {
    struct rlimit space, data;

    CHECK(getrlimit(RLIMIT_AS, &space) == 0 && getrlimit(RLIMIT_DATA, &data) == 0);
    CHECK_MSG(space.rlim_cur != RLIM_INFINITY || data.rlim_cur != RLIM_INFINITY,
              "run this under a finite RLIMIT_AS or RLIMIT_DATA");
    return space.rlim_cur < data.rlim_cur ? space.rlim_cur : data.rlim_cur;
}

static struct chain *chain_fill(size_t bytes, size_t *ret_total_bytes) {
    struct chain *head = NULL, *link;
    size_t total_bytes = 0;

    errno = 0;
    while ((link = malloc(bytes)) != NULL) {
        link->next = head;
        link->bytes = bytes;
        ((unsigned char *)link)[bytes - 1] = 0x77;
        head = link;
        total_bytes += bytes;
        errno = 0;
    }
    CHECK_MSG(errno == ENOMEM, "NULL with errno %d", errno);
    *ret_total_bytes = total_bytes;
    return head;
}

static void exhausted_check(void) {
    void *p = malloc(1 << 20);
    void *q = NULL;

    if (p != NULL)
        free(p);
    errno = 0;
    CHECK(calloc(1, (size_t)1 << 40) == NULL && errno == ENOMEM);
    CHECK(posix_memalign(&q, 4096, (size_t)1 << 40) == ENOMEM && q == NULL);
}

static void chain_free(struct chain *head) {
    while (head != NULL) {
        struct chain *next = head->next;
        CHECK(((unsigned char *)head)[head->bytes - 1] == 0x77);
        errno = 4711;
        free(head);
        CHECK(errno == 4711);
        head = next;
    }
}

static void tier_exhaust(size_t bytes) {
    size_t total_bytes;
    struct chain *head = chain_fill(bytes, &total_bytes);

    CHECK_MSG(total_bytes >= limit_bytes() / FAIR_SHARE_DIVISOR,
              "%zu byte objects: only %zu KiB served of a limit of %zu KiB", bytes, total_bytes >> 10,
              limit_bytes() >> 10);
    exhausted_check();
    if (head != NULL && bytes >= 64) {
        struct chain *grown = realloc(head, (size_t)1 << 40);
        CHECK(grown == NULL && errno == ENOMEM);
    }
    chain_free(head);
}

int main(void) {
    static const size_t tiers[] = {64, 1000, 4096, 30000, 100000, 1 << 20, 2 << 20};

    int rounds = limit_bytes() <= TWICE_LIMIT_BYTES ? 2 : 1;

    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < sizeof tiers / sizeof tiers[0]; i++)
            tier_exhaust(tiers[i]);
    }
    printf("service after exhaustion\n");
    return 0;
}
