/* SPDX-License-Identifier: MIT */
/*
 * What is decided at the start and read on every call, in one page of its own, which start.c then closes: the tables of sizes, the options,
 * the hardened mode's key, where the kernel's clock is, and where the metadata lies. Not C, because several layers' variables are to lie in one page wherever they are linked. Until the start the page map has
 * one entry, the four bytes before its end: zero, which says of every address that it is not ours. src/layout.ld puts the page beside what the loader closes.
 */
#include "engine/sealed.h"

#if defined(__aarch64__)
#define OBJECT %object
#define PROGBITS %progbits
#else
#define OBJECT @object
#define PROGBITS @progbits
#endif

    .section .quarry_sealed, "aw", PROGBITS
    .balign SEALED_PAGE_BYTES
    .globl engine_sealed, engine_sealed_end, mag_tabs, rt_opt, slab_tables_rest, harden_key, sys_clock_kernel, rt_meta
    .hidden engine_sealed, engine_sealed_end, mag_tabs, rt_opt, slab_tables_rest, harden_key, sys_clock_kernel, rt_meta
    .type mag_tabs, OBJECT
    .type rt_opt, OBJECT
    .type slab_tables_rest, OBJECT
    .type harden_key, OBJECT
    .type sys_clock_kernel, OBJECT
    .type rt_meta, OBJECT
    .size mag_tabs, SEALED_TABS_BYTES
    .size rt_opt, SEALED_OPTIONS_BYTES
    .size slab_tables_rest, SEALED_SIZES_BYTES
    .size harden_key, SEALED_KEY_BYTES
    .size sys_clock_kernel, SEALED_CLOCK_BYTES
    .size rt_meta, SEALED_META_BYTES + SEALED_META_LEFT_BYTES
engine_sealed:
mag_tabs: .zero SEALED_TABS_BYTES
rt_opt: .zero SEALED_OPTIONS_BYTES
slab_tables_rest: .zero SEALED_SIZES_BYTES
harden_key: .zero SEALED_KEY_BYTES
sys_clock_kernel: .zero SEALED_CLOCK_BYTES
    .zero SEALED_PAGE_BYTES - SEALED_TABS_BYTES - SEALED_OPTIONS_BYTES - SEALED_SIZES_BYTES - SEALED_KEY_BYTES - SEALED_CLOCK_BYTES - SEALED_META_BYTES
rt_meta: .quad rt_meta, -1
    .zero SEALED_META_BYTES - 16
engine_sealed_end:
    .zero SEALED_META_LEFT_BYTES

    .section .note.GNU-stack, "", PROGBITS
