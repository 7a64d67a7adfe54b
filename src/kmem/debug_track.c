/* SPDX-License-Identifier: MIT */
/*
 * Stacks: recorded when an object is allocated and freed, named when a report is made. Owns where this library and
 * libquarry are loaded, whose own functions at the top of a stack are left out.
 *
 * Recording walks the unwind tables by the compiler's own unwinder, so that no frame pointers are needed. It allocates
 * nothing, and where the C library finds the tables without a lock (glibc 2.35, with the unwinder of gcc 12) it takes
 * none. Names are looked for in the files' symbol tables (sys/symbol.c) when they are printed, and nowhere else.
 */
#include "kmem/debug.h"

#include "sys/symbol.h"
#include "sys/sys.h"
#include "sys/thread.h"

#include <string.h>
#include <unwind.h>

enum { FRAMES_MAX = 32, COMM_BYTES = 32 };

struct range {
    uintptr_t first, end;
};
/* Empty where the library is part of the program. */
static struct range ours[2];

static bool is_ours(uintptr_t address) {
    for (size_t i = 0; i < ARRAY_NR(ours); i++) {
        if (address >= ours[i].first && address < ours[i].end)
            return true;
    }
    return false;
}

struct walk {
    const void **addrs;
    unsigned nr, max;
};

static _Unwind_Reason_Code frame_add(struct _Unwind_Context *context, void *arg) {
    struct walk *w = arg;
    uintptr_t address = _Unwind_GetIP(context);
    if (address == 0)
        return _URC_END_OF_STACK;
    if (w->nr == 0 && is_ours(address))
        return _URC_NO_REASON;
    w->addrs[w->nr++] = (const void *)address; // NOLINT(performance-no-int-to-ptr)
    return w->nr == w->max ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static unsigned stack_take(const void **addrs, unsigned max) {
    struct walk w = {addrs, 0, max};
    (void)_Unwind_Backtrace(frame_add, &w);
    return w.nr;
}

void kmem_track_start(void) {
    struct range heap = {0, 0}, self = {0, 0};
    const void *first[1];
    /* What the unwinder does but once, a program's static tables' sorting among it, is done before anybody may not
     * wait. */
    (void)stack_take(first, ARRAY_NR(first));
    if (!sys_module_range((const void *)(uintptr_t)quarry_core1_alloc, &heap.first, &heap.end) ||
        !sys_module_range((const void *)(uintptr_t)kmem_track_start, &self.first, &self.end) ||
        heap.first == self.first)
        return;
    ours[0] = heap;
    ours[1] = self;
}

void kmem_track_set(struct kmem_track *t) {
    if (t == NULL)
        return;
    t->addrs_nr = stack_take(t->addrs, KMEM_TRACK_ADDRS);
    t->when_ms = sys_clock_ms();
    t->cpu = sys_cpu_racy();
    t->pid = sys_thread_number();
}

/* --- printing --- */

/* "function+0x12/0x40 [library]". A return address may be the first byte of the next function: the one before is the
 * caller's. */
static void address_print(const char *before, const void *address, const char *after) {
    struct sys_symbol symbol;
    char where[SYS_SYMBOL_MODULE_BYTES + 4] = "";
    struct kmem_text text = {where, sizeof(where), 0};
    bool known = sys_symbol_find((const char *)address - 1, &symbol);
    if (known && symbol.module[0] != '\0') {
        kmem_text_str(&text, " [");
        kmem_text_str(&text, symbol.module);
        kmem_text_str(&text, "]");
    }
    if (known && symbol.name[0] != '\0')
        kmem_print("%s%s+0x%zx/0x%zx%s%s\n", before, symbol.name, symbol.offset_bytes + 1, symbol.size_bytes, where,
                   after);
    else
        kmem_print("%s0x%lx%s%s\n", before, (unsigned long)(uintptr_t)address, where, after);
}

static void stack_print(const char *before, const void *const *addrs, unsigned nr) {
    for (unsigned i = 0; i < nr; i++)
        address_print(before, addrs[i], "");
}

void kmem_track_print_stack(const char *what, const struct kmem_track *t) {
    if (t == NULL || t->pid == 0)
        return;
    if (what != NULL)
        quarry_core1_warn(what);
    stack_print("    ", t->addrs, MIN(t->addrs_nr, (unsigned)KMEM_TRACK_ADDRS));
}

/* A slot may be damaged: what is no count is none. */
void kmem_track_print(const char *what, const struct kmem_track *t) {
    char head[32], tail[96];
    if (t == NULL || t->pid == 0)
        return;
    unsigned nr = MIN(t->addrs_nr, (unsigned)KMEM_TRACK_ADDRS);
    struct kmem_text before = {head, sizeof(head), 0}, after = {tail, sizeof(tail), 0};
    kmem_text_str(&before, "INFO: ");
    kmem_text_str(&before, what);
    kmem_text_str(&before, " in ");
    kmem_text_str(&after, " age=");
    kmem_text_dec(&after, sys_clock_ms() - t->when_ms, 0);
    kmem_text_str(&after, " cpu=");
    kmem_text_dec(&after, (u64)MAX(t->cpu, 0), 0);
    kmem_text_str(&after, " pid=");
    kmem_text_dec(&after, t->pid, 0);
    address_print(head, nr > 0 ? t->addrs[0] : NULL, tail);
    if (nr > 1)
        stack_print(" ", t->addrs + 1, nr - 1);
}

/* The program's name ends with a newline. */
void kmem_stack_print(void) {
    const void *addrs[FRAMES_MAX];
    char comm[COMM_BYTES] = "";
    if (sys_read_file("/proc/self/comm", comm, sizeof(comm)) > 0)
        comm[strcspn(comm, "\n")] = '\0';
    kmem_print("CPU: %d PID: %u Comm: %s\nCall Trace:\n", sys_cpu_racy(), sys_thread_number(), comm);
    stack_print(" ", addrs, stack_take(addrs, FRAMES_MAX));
}
