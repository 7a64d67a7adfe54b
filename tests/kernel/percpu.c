/* SPDX-License-Identifier: MIT */
/* The edge cases of per-CPU variables, each without other threads: percpu_race.c has those. */
#include "cases.h"
#include "check.h"
#include "percpu_lib.h"

#include <linux/percpu.h>
#include <linux/slab.h>
#include <string.h>

struct pair {
    char tag;
    long value;
};

static DEFINE_PER_CPU(int, started) = 42;
DEFINE_PER_CPU(struct pair, pair) = {.tag = 'p', .value = -7};
static DEFINE_PER_CPU(unsigned short[4], shorts);
static DEFINE_PER_CPU(char *, name);
DECLARE_PER_CPU(struct pair, pair);
static DEFINE_PER_CPU_ALIGNED(unsigned char, alone);

static void initial_values(size_t unused) {
    unsigned cpu, nr = 0;
    (void)unused;
    for_each_possible_cpu(cpu) {
        CHECK(per_cpu(started, cpu) == 42);
        CHECK(per_cpu(pair, cpu).tag == 'p' && per_cpu(pair, cpu).value == -7);
        CHECK(per_cpu(shorts[3], cpu) == 0 && per_cpu(name, cpu) == NULL);
        CHECK((uintptr_t)per_cpu_ptr(&alone, cpu) % 64 == 0);
        for (unsigned other = 0; other < cpu; other++)
            CHECK(per_cpu_ptr(&started, cpu) != per_cpu_ptr(&started, other));
        nr++;
    }
    CHECK(nr == nr_cpu_ids && nr >= 2 && smp_processor_id() < nr);
}

/* Sum of a variable's copies, as the kernel's code has it. */
#define SUM(type, p)                                                                                                   \
    __extension__({                                                                                                    \
        type sum_ = 0;                                                                                                 \
        unsigned cpu_;                                                                                                 \
        for_each_possible_cpu(cpu_) sum_ = (type)(sum_ + *per_cpu_ptr(p, cpu_));                                       \
        sum_;                                                                                                          \
    })

/* One size: each operation, with neighbours that must not change. The thread holds the copy, so that it is one. */
#define SIZE_CASE(type, name_)                                                                                         \
    static void name_(size_t hold) {                                                                                   \
        type *p = (type *)__alloc_percpu(3 * sizeof(type), sizeof(type)) + 1;                                          \
        const type low = (type)-1 / 3, top = (type) ~((type)-1 / 2);                                                   \
        CHECK(p != NULL);                                                                                              \
        if (hold)                                                                                                      \
            get_cpu();                                                                                                 \
        this_cpu_add(*p, low);                                                                                         \
        CHECK(SUM(type, p) == low);                                                                                    \
        this_cpu_sub(*p, low);                                                                                         \
        this_cpu_dec(*p);                                                                                              \
        CHECK(SUM(type, p) == (type)-1);                                                                               \
        this_cpu_inc(*p);                                                                                              \
        CHECK(SUM(type, p) == 0);                                                                                      \
        if (hold) {                                                                                                    \
            this_cpu_write(*p, top);                                                                                   \
            CHECK(this_cpu_read(*p) == top && SUM(type, p) == top);                                                    \
            CHECK(this_cpu_add_return(*p, top) == 0 && this_cpu_inc_return(*p) == 1);                                  \
            CHECK(this_cpu_sub_return(*p, 2) == (type)-1 && this_cpu_dec_return(*p) == (type)-2);                      \
            this_cpu_and(*p, low);                                                                                     \
            CHECK(this_cpu_read(*p) == (low & (type)-2));                                                              \
            this_cpu_or(*p, top | 1);                                                                                  \
            CHECK(this_cpu_read(*p) == (type)((low & (type)-2) | top | 1));                                            \
            CHECK(this_cpu_xchg(*p, 5) == (type)((low & (type)-2) | top | 1));                                         \
            CHECK(this_cpu_cmpxchg(*p, 4, 6) == 5 && this_cpu_read(*p) == 5);                                          \
            CHECK(this_cpu_cmpxchg(*p, 5, low) == 5 && this_cpu_read(*p) == low);                                      \
            CHECK(*this_cpu_ptr(p) == low);                                                                            \
            put_cpu();                                                                                                 \
        }                                                                                                              \
        CHECK(SUM(type, p - 1) == 0 && SUM(type, p + 1) == 0);                                                         \
        free_percpu(p - 1);                                                                                            \
    }

SIZE_CASE(uint8_t, words_8)
SIZE_CASE(uint16_t, words_16)
SIZE_CASE(uint32_t, words_32)
SIZE_CASE(uint64_t, words_64)

static void kinds(size_t unused) {
    static char text[] = "eth0";
    (void)unused;
    get_cpu();
    this_cpu_write(name, text);
    CHECK(this_cpu_read(name) == text && this_cpu_xchg(name, NULL) == text && this_cpu_read(name) == NULL);
    this_cpu_add(pair.value, -3);
    CHECK(this_cpu_read(pair.value) == -10 && this_cpu_sub_return(pair.value, -10) == 0);
    this_cpu_inc(shorts[2]);
    CHECK(this_cpu_read(shorts[2]) == 1 && this_cpu_read(shorts[1]) == 0 && this_cpu_read(shorts[3]) == 0);
    CHECK(__this_cpu_dec_return(started) == 41 && raw_cpu_read(started) == 41);
    put_cpu();
}

/* Getting nests; inside, this CPU is one, and a plain pointer the variable's own. */
static void getting(size_t unused) {
    struct pair *p = alloc_percpu(struct pair), *mine, *again;
    (void)unused;
    mine = get_cpu_ptr(p);
    again = get_cpu_ptr(p);
    CHECK(mine == again && mine == per_cpu_ptr(p, smp_processor_id()) && mine == this_cpu_ptr(p));
    mine->value = 5;
    put_cpu_ptr(again);
    this_cpu_inc(p->value);
    CHECK(mine->value == 6);
    get_cpu_var(pair).value = 9;
    CHECK(this_cpu_read(pair.value) == 9);
    put_cpu_var(pair);
    put_cpu_ptr(p);
    CHECK(get_cpu() < nr_cpu_ids);
    put_cpu();
    free_percpu(p);
}

static void allocation(size_t unused) {
    enum { NR = 3000 };
    static long *all[NR];
    unsigned cpu;
    (void)unused;
    CHECK(__alloc_percpu_gfp(0, 8, GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(__alloc_percpu_gfp(32769, 8, GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(__alloc_percpu_gfp(opaque_size(SIZE_MAX), 8, GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(__alloc_percpu_gfp(8, 24, GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(__alloc_percpu_gfp(8, 8192, GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(__alloc_percpu_gfp(8, 5, GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(__alloc_percpu_gfp(8, opaque_size(SIZE_MAX), GFP_KERNEL | __GFP_NOWARN) == NULL);
    free_percpu(NULL);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < NR; i++) {
            size_t bytes = 8 * (1 + i % 64), align = (size_t)1 << (i % 13);
            CHECK((all[i] = __alloc_percpu(bytes, align)) != NULL);
            for_each_possible_cpu(cpu) {
                char *at = (char *)per_cpu_ptr(all[i], cpu);
                CHECK((uintptr_t)at % align == 0);
                for (size_t b = 0; b < bytes; b++)
                    CHECK_MSG(at[b] == 0, "byte %zu of %zu is not zero", b, bytes);
                memset(at, (int)i | 1, bytes); /* found by whoever gets it next, and by whoever overlaps */
            }
        }
        for (size_t i = 0; i < NR; i++) {
            for_each_possible_cpu(cpu) {
                char *at = (char *)per_cpu_ptr(all[i], cpu);
                CHECK(at[0] == (char)(i | 1) && at[8 * (1 + i % 64) - 1] == (char)(i | 1));
            }
            if (round < 2 || i % 2)
                free_percpu(all[i]);
        }
    }
    for (size_t i = 0; i < NR; i += 2)
        free_percpu(all[i]);
}

/* The largest of all, and the strictest alignment. */
static void limits(size_t bytes) {
    size_t align = bytes == 32768 ? 4096 : 8;
    unsigned cpu;
    for (int round = 0; round < 3; round++) {
        char *p = __alloc_percpu(bytes, align);
        CHECK(p != NULL);
        for_each_possible_cpu(cpu) {
            char *at = per_cpu_ptr(p, cpu);
            CHECK((uintptr_t)at % align == 0);
            for (size_t b = 0; b < bytes; b++)
                CHECK(at[b] == 0);
            memset(at, 1, bytes);
        }
        free_percpu(p);
    }
}

/* As in the kernel no alignment at all, and any below 4, is one of 4. */
static void little_alignment(size_t align) {
    int *first = __alloc_percpu(sizeof(int), align), *second = __alloc_percpu(1, align);
    unsigned cpu;
    CHECK(first != NULL && second != NULL);
    for_each_possible_cpu(cpu) {
        CHECK((uintptr_t)per_cpu_ptr(first, cpu) % 4 == 0 && (uintptr_t)per_cpu_ptr(second, cpu) % 4 == 0);
        CHECK(*per_cpu_ptr(first, cpu) == 0);
        *per_cpu_ptr(first, cpu) = -1;
    }
    for_each_possible_cpu(cpu) CHECK(*(char *)per_cpu_ptr(second, cpu) == 0);
    free_percpu(first);
    free_percpu(second);
}

/* Room in a chunk serves those who may not wait; a new chunk does not. */
static void without_waiting(size_t unused) {
    enum { NR = 100 };
    void *all[NR];
    size_t got = 0;
    (void)unused;
    while (got < NR && (all[got] = __alloc_percpu_gfp(32768, 8, __GFP_NOWARN)) != NULL)
        got++;
    CHECK_MSG(got > 0 && got < NR, "%zu areas of 32 KiB without waiting", got);
    for (size_t i = 0; i < got; i++)
        free_percpu(all[i]);
}

/* Variables of a library, reached from both sides, and gone with it. */
static void library(size_t rounds) {
    for (size_t i = 0; i < rounds; i++) {
        struct percpu_lib lib;
        unsigned cpu;
        percpu_lib_open(&lib);
        lib.count(3);
        lib.count(4);
        CHECK(lib.sum() == 7);
        for_each_possible_cpu(cpu) CHECK(*per_cpu_ptr(lib.seed, cpu) == 1234);
        this_cpu_write(*lib.seed, (long)i);
        percpu_lib_close(&lib);
    }
    CHECK(SUM(int, &started) == 42 * (int)nr_cpu_ids);
}

static const struct test_case table[] = {
    {"initial values", initial_values, 0, CASE_QUARRY},
    {"8 bits", words_8, 0, CASE_QUARRY},
    {"8 bits, held", words_8, 1, CASE_QUARRY},
    {"16 bits", words_16, 0, CASE_QUARRY},
    {"16 bits, held", words_16, 1, CASE_QUARRY},
    {"32 bits", words_32, 0, CASE_QUARRY},
    {"32 bits, held", words_32, 1, CASE_QUARRY},
    {"64 bits", words_64, 0, CASE_QUARRY},
    {"64 bits, held", words_64, 1, CASE_QUARRY},
    {"kinds", kinds, 0, CASE_QUARRY},
    {"getting", getting, 0, CASE_QUARRY},
    {"allocation", allocation, 0, CASE_QUARRY},
    {"limits", limits, 32768, CASE_QUARRY},
    {"limits, one byte", limits, 1, CASE_QUARRY},
    {"no alignment", little_alignment, 0, CASE_QUARRY},
    {"alignment 1", little_alignment, 1, CASE_QUARRY},
    {"alignment 3", little_alignment, 3, CASE_QUARRY},
    {"without waiting", without_waiting, 0, CASE_QUARRY},
    {"library", library, 1, CASE_QUARRY},
    {"library 1000 times", library, 1000, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
