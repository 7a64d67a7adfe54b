/* SPDX-License-Identifier: MIT */
/*
 * What is said of a cache that is debugged, in the kernel's form (Documentation/mm/slub.rst). Owns the lock that keeps
 * reports of several threads apart.
 */
#include "kmem/debug.h"

#include "sys/sys.h"

#include <stdarg.h>
#include <stdio.h>

enum { LINE_BYTES = 256, ROW_BYTES = 16, OBJECT_SHOWN_MAX = 4096 };

static struct sys_lock report_lock;
/* Reports of the holder that are inside each other; under the lock, and 0 where it is free. */
static unsigned depth;
static bool abort_after;

void kmem_report_abort_set(bool abort) { abort_after = abort; }

static void fork_child(void) {
    if (!sys_lock_is_mine(&report_lock)) {
        sys_lock_reset(&report_lock);
        depth = 0;
    }
}

__attribute__((constructor)) static void fork_handlers(void) { sys_atfork(NULL, NULL, fork_child); }

void kmem_report_begin(void) {
    if (!sys_lock_acquire(&report_lock))
        depth++;
}

void kmem_trace_end(void) {
    if (depth > 0)
        depth--;
    else
        sys_lock_release(&report_lock);
}

void kmem_report_end(void) {
    if (abort_after)
        sys_abort();
    kmem_trace_end();
}

static void rule(char c) {
    char line[79];
    for (size_t i = 0; i < 77; i++)
        line[i] = c;
    line[77] = '\n';
    line[78] = '\0';
    quarry_core1_warn(line);
}

static void line_print(const char *head, const char *cache, const char *format, va_list args) {
    char text[LINE_BYTES];
    (void)vsnprintf(text, sizeof(text), format, args);
    kmem_print("%s %s%s: %s\n", head, cache, head[0] == 'B' ? " (Not tainted)" : "", text);
}

void kmem_report_bug(const char *cache, const char *format, ...) {
    va_list args;
    va_start(args, format);
    rule('=');
    line_print("BUG", cache, format, args);
    rule('-');
    quarry_core1_warn("\n");
    va_end(args);
}

void kmem_report_fix(const char *cache, const char *format, ...) {
    va_list args;
    va_start(args, format);
    line_print("FIX", cache, format, args);
    va_end(args);
}

static void row_print(const char *what, const u8 *at, size_t bytes) {
    static const char digits[] = "0123456789abcdef";
    char hex[3 * ROW_BYTES + 1], text[ROW_BYTES + 1];
    for (size_t i = 0; i < ROW_BYTES; i++) {
        bool there = i < bytes;
        hex[3 * i] = there ? digits[at[i] >> 4] : ' ';
        hex[3 * i + 1] = there ? digits[at[i] & 15] : ' ';
        hex[3 * i + 2] = ' ';
        text[i] = (char)(!there ? '\0' : at[i] >= ' ' && at[i] <= '~' ? at[i] : '.');
    }
    hex[sizeof(hex) - 1] = text[ROW_BYTES] = '\0';
    kmem_print("%s%p: %s %s\n", what, (const void *)at, hex, text);
}

void kmem_report_section(const char *what, const void *from, size_t bytes) {
    const u8 *at = from;
    for (size_t i = 0; i < bytes; i += ROW_BYTES)
        row_print(what, at + i, MIN(bytes - i, (size_t)ROW_BYTES));
}

void kmem_report_slab(const struct quarry_core1_slab *slab) {
    kmem_print("INFO: Slab %p objects=%u used=%u\n", (void *)slab->base, slab->objs_nr, slab->out_nr);
}

void kmem_report_object(const struct quarry_kmem_cache *s, char *object) {
    const struct kmem_debug *d = s->debug;
    struct quarry_core1_slab slab;
    kmem_track_print("Allocated", kmem_debug_track(d, object, KMEM_TRACK_ALLOC));
    kmem_track_print("Freed", kmem_debug_track(d, object, KMEM_TRACK_FREE));
    if (quarry_core1_debug_look(object, &slab)) {
        kmem_report_slab(&slab);
        kmem_print("INFO: Object %p @offset=%td %s\n\n", (void *)object, object - slab.base,
                   kmem_debug_state_name(d, object));
        if ((d->flags & QUARRY_SLAB_RED_ZONE) == 0 && object - slab.base >= ROW_BYTES)
            kmem_report_section("Bytes b4 ", object - ROW_BYTES, ROW_BYTES);
    }
    kmem_report_section("Redzone  ", object - d->at.left_bytes, d->at.left_bytes);
    kmem_report_section("Object   ", object, MIN(d->at.object_bytes, (u32)OBJECT_SHOWN_MAX));
    if ((d->flags & QUARRY_SLAB_RED_ZONE) != 0)
        kmem_report_section("Redzone  ", object + d->at.object_bytes, d->at.inuse - d->at.object_bytes);
    kmem_report_section("Padding  ", object + d->at.padding, d->at.end - d->at.padding);
    kmem_stack_print();
}
