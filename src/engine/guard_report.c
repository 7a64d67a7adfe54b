/* SPDX-License-Identifier: MIT */
/*
 * What is said of a crime on a guarded object: the line of every misuse, then who did it, who allocated the object and
 * who freed it. The process is about to end, and records are read as they are: another thread may be changing one that
 * is at no crime's place. Writes each line as it is made; names come from the files' symbol tables, which are opened
 * here and nowhere else.
 */
#include "base/fmt.h"
#include "big/big.h"
#include "engine/guard_pool.h"
#include "engine/start.h"
#include "sys/symbol.h"
#include "sys/sys.h"
#include "sys/unwind.h"

enum { LINE_BYTES = 256 };

static void line_write(struct fmt_buf *b) {
    fmt_char(b, '\n');
    sys_stderr(b->text, b->len_bytes);
}

/* "quarry:     function+0x12/0x40 [library]". A call may be a function's last instruction: the byte before its return
 * address is the caller's. */
static void address_write(const void *address, size_t back_bytes) {
    char line[LINE_BYTES];
    struct fmt_buf b = fmt_init(line, sizeof(line));
    struct sys_symbol symbol;
    bool known = sys_symbol_find((const char *)address - back_bytes, &symbol);
    if (known && symbol.name[0] != '\0')
        fmt_printf(&b, "quarry:     %s+%lx/%lx", symbol.name, (u64)symbol.offset_bytes + back_bytes,
                   (u64)symbol.size_bytes);
    else
        fmt_printf(&b, "quarry:     %p", address);
    if (known && symbol.module[0] != '\0')
        fmt_printf(&b, " [%s]", symbol.module);
    if (known && symbol.name[0] == '\0') /* for addr2line */
        fmt_printf(&b, " +%lx", (u64)symbol.offset_bytes + back_bytes);
    line_write(&b);
}

enum first_is { FIRST_CALLED, FIRST_FAILED };

static void stack_write(const char *what, const struct guard_stack *stack, enum first_is first) {
    char line[LINE_BYTES];
    struct fmt_buf b = fmt_init(line, sizeof(line));
    fmt_printf(&b, "quarry:   %s by %s:", what, stack->thread == sys_thread_self() ? "this thread" : "another thread");
    line_write(&b);
    for (unsigned i = 0; i < MIN(stack->nr, (unsigned)GUARD_STACK_NR); i++)
        address_write(stack->addrs[i], i == 0 && first == FIRST_FAILED ? 0 : 1);
}

/* "3 bytes behind an object of 48 bytes at 0x7f..." */
static void place_write(const char *p, const char *object, size_t bytes, const char *verb) {
    char line[LINE_BYTES];
    struct fmt_buf b = fmt_init(line, sizeof(line));
    const char *end = object + bytes;
    u64 apart = (u64)(p < object ? object - p : p >= end ? p - end : p - object);
    const char *where = p < object ? "bytes before" : p >= end ? "bytes behind the end of" : "bytes into";
    fmt_printf(&b, "quarry:   %s %lu %s an object of %lu bytes at %p", verb, apart, where, (u64)bytes, object);
    line_write(&b);
}

static const char *verb_of(const struct sys_fault *used) {
    static const char verbs[][12] = {
        [SYS_ACCESS_UNKNOWN] = "used", [SYS_ACCESS_READ] = "read", [SYS_ACCESS_WRITE] = "written"};
    return used == NULL ? "at" : verbs[used->access];
}

bool guard_settle(const struct guard_slot *slot) {
    enum { WAITS_NR = 50 }; /* whoever it is may be this thread, below a signal handler */
    u32 state = GUARD_CLOSING;
    for (unsigned i = 0; i < WAITS_NR && (state == GUARD_CLOSING || state == GUARD_OPENING); i++) {
        if (i != 0)
            sys_sleep_ms(1);
        /* order: acquire: the record.                                                           pairs: [guard.slot] */
        state = atomic_load_explicit(&slot->state, memory_order_acquire);
    }
    return state == GUARD_LIVE;
}

COLD _Noreturn void guard_report(enum misuse_kind kind, const void *p, const struct guard_slot *slot,
                                 const struct sys_fault *used) {
    struct guard_stack here = {.thread = sys_thread_self()};
    rt_misuse_line(kind, p, slot->size_bytes, "guarded");
    if (slot->size_bytes != 0)
        place_write(p, slot->object, slot->size_bytes, verb_of(used));
    here.nr = used == NULL ? sys_stack_take(here.addrs, GUARD_STACK_NR)
                           : sys_stack_take_from(&used->frame, here.addrs, GUARD_STACK_NR);
    stack_write("found", &here, used == NULL ? FIRST_CALLED : FIRST_FAILED);
    if (slot->size_bytes != 0)
        stack_write("allocated", &slot->allocated, FIRST_CALLED);
    /* An overflow is found by the free itself. */
    if (slot->freed.nr != 0 && kind != MISUSE_OVERFLOW)
        stack_write("freed", &slot->freed, FIRST_CALLED);
    sys_abort();
}

/* --- faults --- */

static u64 distance(const struct guard_slot *slot, const char *p) {
    const char *end = slot->object + slot->size_bytes;
    if (slot->size_bytes == 0)
        return UINT64_MAX;
    return p < slot->object ? (u64)(slot->object - p) : p >= end ? (u64)(p - end) : 0;
}

/* On a page the slot's; between two pages that of the object which is nearer. */
static const struct guard_slot *slot_near(const struct guard_pool *pool, const char *p) {
    size_t page = (size_t)(p - pool->base) / pool->page_bytes, after = page / 2;
    const struct guard_slot *next = after < pool->slots_nr ? &pool->slots[after] : NULL;
    const struct guard_slot *last = after > 0 && after - 1 < pool->slots_nr ? &pool->slots[after - 1] : NULL;
    if (page % 2 != 0 || last == NULL)
        return next;
    return next == NULL || distance(last, p) <= distance(next, p) ? last : next;
}

/* Behind a region, or in one that is kept back. */
static void region_explain(const char *p, const struct sys_fault *fault) {
    char *object;
    size_t bytes;
    enum big_where where = big_locate_guard(p, &object, &bytes);
    if (where == BIG_WHERE_NONE)
        return;
    struct guard_stack here = {.thread = sys_thread_self()};
    rt_misuse_line(where == BIG_WHERE_FREED ? MISUSE_USE_FREED : MISUSE_BOUNDS, p, bytes, "big");
    place_write(p, object, bytes, verb_of(fault));
    here.nr = sys_stack_take_from(&fault->frame, here.addrs, GUARD_STACK_NR);
    stack_write("found", &here, FIRST_FAILED);
    sys_abort();
}

void guard_explain(const struct sys_fault *fault) {
    const char *p = (const char *)(uintptr_t)fault->address; // NOLINT(performance-no-int-to-ptr)
    if (engine_started())
        region_explain(p, fault);
    if (!guard_has(p))
        return;
    /* order: acquire, as in guard_has().                                                        pairs: [guard.pool] */
    const struct guard_pool *pool = atomic_load_explicit(&guard_pool, memory_order_acquire);
    const struct guard_slot *slot = slot_near(pool, p);
    if (slot == NULL || slot->size_bytes == 0)
        return;
    guard_report(guard_settle(slot) ? MISUSE_BOUNDS : MISUSE_USE_FREED, p, slot, fault);
}
