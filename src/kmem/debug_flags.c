/* SPDX-License-Identifier: MIT */
/*
 * What the options slab_debug and failslab mean, by the kernel's grammar (Documentation/mm/slub.rst,
 * Documentation/fault-injection): pure functions of the text. Owns nothing.
 *
 *   blocks, by ';':   letters                 for all caches; of several such blocks the last one holds
 *                     letters,name,name...    for caches of these names; the first block that has the name holds
 * No letters before a list are FZPU, and so is a text that is empty as a whole.
 */
#include "kmem/debug.h"

#include <string.h>

#define FLAGS_DEFAULT                                                                                                  \
    (QUARRY_SLAB_CONSISTENCY_CHECKS | QUARRY_SLAB_RED_ZONE | QUARRY_SLAB_POISON | QUARRY_SLAB_STORE_USER)

struct text {
    const char *at;
    size_t bytes;
};

struct block {
    struct text letters, names;
    bool has_names;
};

/* The part before the separator, which is taken off the text with it. False: there was no separator. */
static bool text_cut(struct text *rest, char separator, struct text *ret_part) {
    const char *end = rest->bytes == 0 ? NULL : memchr(rest->at, separator, rest->bytes);
    size_t part = end == NULL ? rest->bytes : (size_t)(end - rest->at), taken = part + (end != NULL);
    *ret_part = (struct text){rest->at, part};
    *rest = (struct text){rest->at + taken, rest->bytes - taken};
    return end != NULL;
}

/* Empty blocks are none. */
static bool block_next(struct text *rest, struct block *ret_block) {
    struct text whole = {NULL, 0};
    while (rest->bytes > 0 && whole.bytes == 0)
        (void)text_cut(rest, ';', &whole);
    if (whole.bytes == 0)
        return false;
    ret_block->has_names = text_cut(&whole, ',', &ret_block->letters);
    ret_block->names = whole;
    return true;
}

static const struct letter {
    char letter;
    quarry_slab_flags_t flag;
} letters[] = {
    {'f', QUARRY_SLAB_CONSISTENCY_CHECKS}, {'z', QUARRY_SLAB_RED_ZONE}, {'p', QUARRY_SLAB_POISON},
    {'u', QUARRY_SLAB_STORE_USER},         {'t', QUARRY_SLAB_TRACE},    {'a', QUARRY_SLAB_FAILSLAB},
};

static quarry_slab_flags_t letter_flag(char c) {
    for (size_t i = 0; i < ARRAY_NR(letters); i++) {
        if ((c | 0x20) == letters[i].letter)
            return letters[i].flag;
    }
    return 0;
}

/* complain may be NULL. */
static quarry_slab_flags_t block_flags(const struct block *b, bool *no_higher_order, void (*complain)(char letter)) {
    quarry_slab_flags_t flags = 0;
    if (b->letters.bytes == 0)
        return FLAGS_DEFAULT;
    for (size_t i = 0; i < b->letters.bytes; i++) {
        char c = b->letters.at[i];
        quarry_slab_flags_t flag = letter_flag(c);
        flags = c == '-' ? 0 : flags | flag;
        *no_higher_order = *no_higher_order || c == 'o' || c == 'O';
        if (flag == 0 && strchr("-oO", c) == NULL && complain != NULL)
            complain(c);
    }
    return flags;
}

void kmem_debug_option_read(struct kmem_debug_option *ret_option, const char *text, size_t bytes,
                            void (*complain)(char letter)) {
    struct text rest = {text, bytes};
    struct block b;
    *ret_option = (struct kmem_debug_option){.text = text, .text_bytes = bytes};
    if (text == NULL)
        return;
    if (bytes == 0)
        ret_option->global = FLAGS_DEFAULT;
    while (block_next(&rest, &b)) {
        quarry_slab_flags_t flags = block_flags(&b, &ret_option->no_higher_order, complain);
        if (!b.has_names)
            ret_option->global = flags;
    }
}

/* From the first star on a pattern fits everything. */
static bool name_fits(const char *name, struct text pattern) {
    const char *star = pattern.bytes == 0 ? NULL : memchr(pattern.at, '*', pattern.bytes);
    size_t same = star == NULL ? pattern.bytes : (size_t)(star - pattern.at), len = strlen(name);
    return len >= same && memcmp(name, pattern.at, same) == 0 && (star != NULL || len == same);
}

static bool block_has(const struct block *b, const char *name) {
    struct text names = b->names, pattern;
    while (b->has_names && names.bytes > 0) {
        (void)text_cut(&names, ',', &pattern);
        if (name_fits(name, pattern))
            return true;
    }
    return false;
}

quarry_slab_flags_t kmem_debug_option_flags(const struct kmem_debug_option *option, const char *name,
                                            quarry_slab_flags_t flags) {
    struct text rest = {option->text, option->text == NULL ? 0 : option->text_bytes};
    struct block b;
    bool ignored = false;
    if ((flags & QUARRY_SLAB_NO_USER_FLAGS) != 0)
        return flags;
    while (block_next(&rest, &b)) {
        if (block_has(&b, name))
            return flags | block_flags(&b, &ignored, NULL);
    }
    /* Whose objects are not to be traced has no stacks, either, unless it is named. */
    if ((flags & QUARRY_SLAB_NOLEAKTRACE) != 0)
        return flags | (option->global & ~QUARRY_SLAB_STORE_USER);
    return flags | option->global;
}

/* --- failslab --- */

static bool number_read(struct text part, long *ret_number) {
    long n = 0, sign = part.bytes > 0 && part.at[0] == '-' ? -1 : 1;
    size_t i = sign < 0;
    if (i == part.bytes || part.bytes > 12)
        return false;
    for (; i < part.bytes; i++) {
        if (part.at[i] < '0' || part.at[i] > '9')
            return false;
        n = n * 10 + (part.at[i] - '0');
    }
    *ret_number = sign * n;
    return true;
}

bool kmem_failslab_read(struct kmem_failslab *ret_fail, const char *text, size_t bytes) {
    struct text rest = {text, bytes}, part;
    long numbers[4];
    for (size_t i = 0; i < ARRAY_NR(numbers); i++) {
        bool more = text_cut(&rest, ',', &part);
        if (!number_read(part, &numbers[i]) || more != (i + 1 < ARRAY_NR(numbers)))
            return false;
    }
    if (numbers[0] < 1 || numbers[1] < 0)
        return false;
    ret_fail->interval = (unsigned long)numbers[0];
    ret_fail->probability = (unsigned long)numbers[1];
    atomic_store_explicit(&ret_fail->space, numbers[2], memory_order_relaxed);
    atomic_store_explicit(&ret_fail->times, numbers[3], memory_order_relaxed);
    return true;
}

/* Below 100, from a counter that is mixed: the same in each run of a program with one thread. */
static unsigned percent_random(struct kmem_failslab *fail) {
    u64 x = atomic_fetch_add_explicit(&fail->random, 0x9e3779b97f4a7c15u, memory_order_relaxed);
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (unsigned)((x ^ x >> 31) % 100);
}

/* times is how many failures are left; below zero: without end. False: none. */
static bool times_take(struct kmem_failslab *fail) {
    long left = atomic_load_explicit(&fail->times, memory_order_relaxed);
    do {
        if (left <= 0)
            return left < 0;
    } while (!atomic_compare_exchange_weak_explicit(&fail->times, &left, left - 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

bool kmem_failslab_now(struct kmem_failslab *fail, size_t size) {
    if (fail->probability == 0)
        return false;
    if (atomic_load_explicit(&fail->space, memory_order_relaxed) > (long)size) {
        atomic_fetch_sub_explicit(&fail->space, (long)size, memory_order_relaxed);
        return false;
    }
    unsigned long call = atomic_fetch_add_explicit(&fail->calls, 1, memory_order_relaxed) + 1;
    if (call % fail->interval != 0 || percent_random(fail) >= fail->probability)
        return false;
    return times_take(fail);
}
