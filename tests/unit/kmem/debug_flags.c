/* SPDX-License-Identifier: MIT */
/* The grammar of slab_debug and failslab: each example of the kernel's documentation, and its edges. */
#include "kmem/debug.h"

#include <criterion/criterion.h>
#include <string.h>

#define F QUARRY_SLAB_CONSISTENCY_CHECKS
#define Z QUARRY_SLAB_RED_ZONE
#define P QUARRY_SLAB_POISON
#define U QUARRY_SLAB_STORE_USER
#define T QUARRY_SLAB_TRACE
#define A QUARRY_SLAB_FAILSLAB

static char unknown[16];
static size_t unknown_nr;

static void complain(char letter) { unknown[unknown_nr++] = letter; }

static struct kmem_debug_option read_text(const char *text) {
    struct kmem_debug_option option;
    unknown_nr = 0;
    kmem_debug_option_read(&option, text, text == NULL ? 0 : strlen(text), complain);
    return option;
}

static quarry_slab_flags_t flags_of(const char *text, const char *name) {
    struct kmem_debug_option option = read_text(text);
    return kmem_debug_option_flags(&option, name, 0);
}

Test(slab_debug, each_text_and_name) {
    static const struct {
        const char *text, *name;
        quarry_slab_flags_t flags;
    } cases[] = {
        {NULL, "dentry", 0},
        {"", "dentry", F | Z | P | U},
        {"F", "dentry", F},
        {"fzputa", "dentry", F | Z | P | U | T | A},
        {"-", "dentry", 0},
        {"FZ-U", "dentry", U},
        {",dentry", "dentry", F | Z | P | U},
        {",dentry", "dentry2", 0},
        {",dentry2", "dentry", 0},
        {"P,kmalloc-*,dentry", "kmalloc-64", P},
        {"P,kmalloc-*,dentry", "kmalloc", 0},
        {"P,kmalloc-*,dentry", "dentry", P},
        {"P,kmalloc-*,dentry", "inode", 0},
        {"Z,dentry;U,kmalloc-*", "dentry", Z},
        {"Z,dentry;U,kmalloc-*", "kmalloc-8", U},
        {"Z,dentry;U,kmalloc-*", "inode", 0},
        /* The first list that has the name; the last block without a list. */
        {"Z,dentry;U,dentry", "dentry", Z},
        {"Z;U", "dentry", U},
        {"FZ;-,zs_handle,zspage", "zspage", 0},
        {"FZ;-,zs_handle,zspage", "dentry", F | Z},
        {"-,zspage;FZ", "zspage", 0},
        {"FZPU;-", "dentry", 0},
        {";;Z;;", "dentry", Z},
        {";", "dentry", 0},
        {"Z,", "dentry", 0},
        {"Z,*", "dentry", Z},
        {"Z,a,,b", "b", Z},
        {"Z, dentry", "dentry", 0},
        {"O", "dentry", 0},
    };
    for (size_t i = 0; i < ARRAY_NR(cases); i++) {
        quarry_slab_flags_t got = flags_of(cases[i].text, cases[i].name);
        cr_expect_eq(got, cases[i].flags, "%s for %s gave %x", cases[i].text == NULL ? "none" : cases[i].text,
                     cases[i].name, got);
        cr_expect_eq(unknown_nr, 0);
    }
}

Test(slab_debug, text_ends_where_it_says) {
    struct kmem_debug_option option;
    kmem_debug_option_read(&option, "Z,dentryP", 8, complain);
    cr_expect_eq(kmem_debug_option_flags(&option, "dentry", 0), Z);
    cr_expect_eq(kmem_debug_option_flags(&option, "dentryP", 0), 0);
}

Test(slab_debug, unknown_letters_are_named_and_skipped) {
    cr_expect_eq(flags_of("FxZ9", "dentry"), F | Z);
    cr_expect_eq(unknown_nr, 2);
    cr_expect(unknown[0] == 'x' && unknown[1] == '9');
}

Test(slab_debug, higher_orders) {
    cr_expect(read_text("FZo").no_higher_order);
    cr_expect(read_text("F,dentry;O").no_higher_order);
    cr_expect_not(read_text("FZ").no_higher_order);
}

Test(slab_debug, what_a_cache_asks_for) {
    struct kmem_debug_option option = read_text("FU");
    cr_expect_eq(kmem_debug_option_flags(&option, "x", P), P | F | U);
    cr_expect_eq(kmem_debug_option_flags(&option, "x", P | QUARRY_SLAB_NO_USER_FLAGS), P | QUARRY_SLAB_NO_USER_FLAGS);
    cr_expect_eq(kmem_debug_option_flags(&option, "x", QUARRY_SLAB_NOLEAKTRACE), F | QUARRY_SLAB_NOLEAKTRACE);
    option = read_text("FU,x");
    cr_expect_eq(kmem_debug_option_flags(&option, "x", QUARRY_SLAB_NOLEAKTRACE), F | U | QUARRY_SLAB_NOLEAKTRACE);
}

static bool fail_read(struct kmem_failslab *fail, const char *text) {
    memset(fail, 0, sizeof(*fail));
    return kmem_failslab_read(fail, text, strlen(text));
}

static unsigned failures(const char *text, unsigned calls, size_t size) {
    struct kmem_failslab fail;
    unsigned nr = 0;
    cr_expect(fail_read(&fail, text));
    for (unsigned i = 0; i < calls; i++)
        nr += kmem_failslab_now(&fail, size);
    return nr;
}

Test(failslab, wrong_texts) {
    static const char *const texts[] = {"",        "1",      "1,100,0",  "1,100,0,-1,2", "0,100,0,1",
                                        "1,x,0,1", "1,,0,1", "1,-1,0,1", "1,100,0,-"};
    struct kmem_failslab fail;
    for (size_t i = 0; i < ARRAY_NR(texts); i++)
        cr_expect_not(fail_read(&fail, texts[i]), "%s", texts[i]);
}

Test(failslab, how_many_fail) {
    cr_expect_eq(failures("1,100,0,-1", 50, 8), 50);
    cr_expect_eq(failures("10,100,0,-1", 50, 8), 5);
    cr_expect_eq(failures("1,100,0,3", 50, 8), 3);
    cr_expect_eq(failures("1,0,0,-1", 50, 8), 0);
    cr_expect_eq(failures("1,100,0,0", 50, 8), 0);
    /* 100 bytes go through first: 12 objects of 8, after which 4 are left, which are fewer than 8. */
    cr_expect_eq(failures("1,100,100,-1", 50, 8), 38);
    unsigned half = failures("1,50,0,-1", 1000, 8);
    cr_expect(half > 400 && half < 600, "%u of 1000 failed by half", half);
}
