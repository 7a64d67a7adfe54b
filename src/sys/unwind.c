/* SPDX-License-Identifier: MIT */
/*
 * A reader of .eh_frame: for a code address the table says where the caller's frame begins, and where in it the
 * registers are that the function saved. Knows the rules that compilers use for C and C++; where it meets another the
 * stack ends. Contract in unwind.h.
 *
 * The tables are the loaded files' own and are believed, as they are when an exception is thrown. The stack is not: it
 * is read between the stack pointer and the frame's end alone, and frames must follow each other upwards and end within
 * WALK_BYTES_MAX.
 */
#include "sys/unwind.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

#define WALK_BYTES_MAX ((u64)256 * KIB)
enum { STATES_MAX = 4 };

/* --- where the tables are --- */

#if defined(DLFO_STRUCT_HAS_EH_DBASE)
/* Weak, so that an older C library loads this one, too. */
extern __typeof__(_dl_find_object) _dl_find_object __attribute__((weak));

static bool module_of(u64 pc, struct dl_find_object *ret_module) {
    return _dl_find_object != NULL && _dl_find_object((void *)(uintptr_t)pc, ret_module) == 0;
}

static const u8 *header_of(u64 pc) {
    struct dl_find_object module;
    return module_of(pc, &module) ? (const u8 *)module.dlfo_eh_frame : NULL;
}

/* The program itself has no name. */
static bool is_ours(u64 pc) {
    struct dl_find_object own, other;
    return module_of((u64)(uintptr_t)is_ours, &own) && own.dlfo_link_map->l_name[0] != '\0' && module_of(pc, &other) &&
           other.dlfo_link_map == own.dlfo_link_map;
}
#else
static const u8 *header_of(u64 pc) {
    (void)pc;
    return NULL;
}
static bool is_ours(u64 pc) {
    (void)pc;
    return false;
}
#endif

/* --- reading --- */

struct cursor {
    const u8 *at, *end;
};

static u64 get_bytes(struct cursor *c, unsigned bytes) {
    u64 v = 0;
    if ((size_t)(c->end - c->at) < bytes)
        c->at = c->end;
    else
        memcpy(&v, c->at, bytes); /* little-endian machines alone */
    c->at += c->at == c->end ? 0 : bytes;
    return v;
}

static u64 get_uleb(struct cursor *c) {
    u64 v = 0;
    for (unsigned shift = 0; c->at < c->end; shift += 7) {
        u8 b = *c->at++;
        v |= shift < 64 ? (u64)(b & 0x7f) << shift : 0;
        if ((b & 0x80) == 0)
            break;
    }
    return v;
}

static s64 get_sleb(struct cursor *c) {
    u64 v = 0;
    unsigned shift = 0;
    u8 b = 0x80;
    while ((b & 0x80) != 0 && c->at < c->end) {
        b = *c->at++;
        v |= shift < 64 ? (u64)(b & 0x7f) << shift : 0;
        shift += 7;
    }
    return (s64)(shift < 64 && (b & 0x40) != 0 ? v | ~(u64)0 << shift : v);
}

enum { ENC_FORMAT = 0x0f, ENC_BASE = 0x70, ENC_PCREL = 0x10, ENC_DATAREL = 0x30, ENC_OMIT = 0xff };
enum { ENC_ABS = 0, ENC_U4 = 3, ENC_U8 = 4, ENC_S4 = 0xb, ENC_S8 = 0xc };

/* A pointer as the tables encode it. False: in a way that is not read here. */
static bool get_encoded(struct cursor *c, u8 enc, u64 data_base, u64 *ret) {
    u64 here = (u64)(uintptr_t)c->at;
    switch (enc & ENC_FORMAT) {
    case ENC_ABS:
    case ENC_U8:
    case ENC_S8: *ret = get_bytes(c, 8); break;
    case ENC_U4: *ret = get_bytes(c, 4); break;
    case ENC_S4: *ret = (u64)(s64)(s32)get_bytes(c, 4); break;
    default: return false;
    }
    if ((enc & ENC_BASE) == ENC_PCREL)
        *ret += here;
    else if ((enc & ENC_BASE) == ENC_DATAREL)
        *ret += data_base;
    return (enc & ENC_BASE) == ENC_PCREL || (enc & ENC_BASE) == ENC_DATAREL || (enc & ENC_BASE) == 0;
}

/* --- the table of one function --- */

struct function {
    u64 first, end; /* its code */
    u64 code_align;
    s64 data_align;
    unsigned return_reg;
    u8 enc;
    struct cursor start, body; /* instructions of all functions of its kind, and its own */
};

/* What leads from a frame to its caller's. */
struct rules {
    u64 saved;                 /* a bit for each register whose value is in the frame */
    u64 lost;                  /* and for each that cannot be told */
    s32 at[SYS_FRAME_REGS_NR]; /* of those saved: from the frame's end, in data_align */
    u64 by_reg;                /* those whose place is counted from another register, base, and in bytes */
    u8 base[SYS_FRAME_REGS_NR];
    u8 cfa_reg;
    bool cfa_deref; /* the frame's end is what lies there */
    s64 cfa_offset;
};

/* The last entry of the sorted table that does not begin above pc. NULL: none, or a table of another make. */
static const u8 *entry_find(const u8 *header, u64 pc) {
    enum { VERSION = 1, SORTED = ENC_DATAREL | ENC_S4, HEAD_BYTES = 12, ENTRY_BYTES = 8 };
    if (header == NULL || header[0] != VERSION || header[2] != ENC_U4 || header[3] != SORTED ||
        (header[1] & ENC_FORMAT) != ENC_S4)
        return NULL;
    u32 nr;
    memcpy(&nr, header + 8, sizeof(nr));
    const u8 *entries = header + HEAD_BYTES;
    u32 low = 0, high = nr;
    while (low < high) {
        u32 mid = low + (high - low) / 2;
        s32 first;
        memcpy(&first, entries + (size_t)mid * ENTRY_BYTES, sizeof(first));
        if ((u64)(uintptr_t)header + (u64)(s64)first <= pc)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0)
        return NULL;
    s32 at;
    memcpy(&at, entries + (size_t)(low - 1) * ENTRY_BYTES + 4, sizeof(at));
    return header + at;
}

static bool record_open(const u8 *at, struct cursor *ret) {
    u32 bytes;
    memcpy(&bytes, at, sizeof(bytes));
    *ret = (struct cursor){at + sizeof(bytes), at + sizeof(bytes) + bytes};
    return bytes != 0 && bytes != 0xffffffff;
}

/* What all functions of its kind share. False: a signal's frame, or something not known. */
static bool common_read(const u8 *at, struct function *f, bool *ret_has_data) {
    struct cursor c;
    if (!record_open(at, &c) || get_bytes(&c, 4) != 0)
        return false;
    u64 version = get_bytes(&c, 1);
    const char *text = (const char *)c.at;
    c.at += strlen(text) + 1;
    f->code_align = get_uleb(&c);
    f->data_align = get_sleb(&c);
    f->return_reg = (unsigned)(version == 1 ? get_bytes(&c, 1) : get_uleb(&c));
    f->enc = ENC_ABS;
    *ret_has_data = text[0] == 'z';
    if (f->return_reg >= SYS_FRAME_REGS_NR || (text[0] != 'z' && text[0] != '\0'))
        return false;
    u64 data_bytes = *ret_has_data ? get_uleb(&c) : 0, personality;
    struct cursor data = {c.at, c.at + data_bytes};
    for (text += *ret_has_data; *text != '\0'; text++) {
        u8 enc = strchr("RLP", *text) != NULL ? (u8)get_bytes(&data, 1) : 0;
        f->enc = *text == 'R' ? enc : f->enc;
        bool known = *text != 'P' || get_encoded(&data, enc & (ENC_FORMAT | ENC_PCREL), 0, &personality);
        if (*text == 'S' || !known)
            return false;
    }
    f->start = (struct cursor){c.at + data_bytes, c.end};
    return true;
}

static bool function_find(u64 pc, struct function *ret) {
    const u8 *at = entry_find(header_of(pc), pc);
    struct cursor c;
    bool has_data;
    u64 bytes;
    if (at == NULL || !record_open(at, &c))
        return false;
    const u8 *common = c.at;
    common -= get_bytes(&c, 4);
    if (!common_read(common, ret, &has_data) || !get_encoded(&c, ret->enc, 0, &ret->first) ||
        !get_encoded(&c, ret->enc & ENC_FORMAT, 0, &bytes))
        return false;
    ret->end = ret->first + bytes;
    if (has_data) {
        u64 skip = get_uleb(&c);
        c.at += MIN(skip, (u64)(c.end - c.at));
    }
    ret->body = c;
    return pc >= ret->first && pc < ret->end;
}

/* --- its instructions --- */

static void reg_saved(struct rules *r, u64 reg, s64 at) {
    if (reg >= SYS_FRAME_REGS_NR)
        return;
    r->saved |= (u64)1 << reg;
    r->by_reg &= ~((u64)1 << reg);
    r->lost &= ~((u64)1 << reg);
    r->at[reg] = (s32)at;
}

static void reg_as_it_was(struct rules *r, const struct rules *initial, u64 reg) {
    u64 bit = reg < SYS_FRAME_REGS_NR ? (u64)1 << reg : 0;
    r->saved = (r->saved & ~bit) | (initial->saved & bit);
    r->lost = (r->lost & ~bit) | (initial->lost & bit);
    r->by_reg = (r->by_reg & ~bit) | (initial->by_reg & bit);
    if (bit == 0)
        return;
    r->at[reg] = initial->at[reg];
    r->base[reg] = initial->base[reg];
}

static void reg_lost(struct rules *r, u64 reg) {
    u64 bit = reg < SYS_FRAME_REGS_NR ? (u64)1 << reg : 0;
    r->saved &= ~bit;
    r->lost |= bit;
}

/* A register and an offset, perhaps what lies there: functions that align their stack have that. */
struct expression {
    u8 reg;
    bool deref;
    s64 offset;
};

static bool get_expression(struct cursor *c, struct expression *ret) {
    enum { OP_BREG0 = 0x70, OP_BREG31 = 0x8f, OP_DEREF = 0x06 };
    u64 bytes = get_uleb(c);
    struct cursor e = {c->at, c->at + MIN(bytes, (u64)(c->end - c->at))};
    c->at = e.end;
    u64 op = get_bytes(&e, 1);
    if (op < OP_BREG0 || op > OP_BREG31)
        return false;
    ret->reg = (u8)(op - OP_BREG0);
    ret->offset = get_sleb(&e);
    ret->deref = e.at < e.end && get_bytes(&e, 1) == OP_DEREF;
    return e.at == e.end;
}

static bool cfa_expression(struct cursor *c, struct rules *r) {
    struct expression e;
    bool known = get_expression(c, &e);
    if (known) {
        r->cfa_reg = e.reg;
        r->cfa_offset = e.offset;
        r->cfa_deref = e.deref;
    }
    return known;
}

static void reg_expression(struct cursor *c, struct rules *r, u64 reg) {
    struct expression e;
    if (!get_expression(c, &e) || e.deref || reg >= SYS_FRAME_REGS_NR) {
        reg_lost(r, reg);
        return;
    }
    reg_saved(r, reg, e.offset);
    r->by_reg |= (u64)1 << reg;
    r->base[reg] = e.reg;
}

static void cfa_set(struct rules *r, u64 reg, s64 offset) {
    r->cfa_reg = (u8)MIN(reg, (u64)SYS_FRAME_REGS_NR - 1);
    r->cfa_offset = offset;
    r->cfa_deref = false;
}

struct run {
    const struct function *f;
    struct rules now, initial, states[STATES_MAX];
    unsigned states_nr;
    u64 at; /* code from here on has the rules that follow */
};

/* Those with an operand in the low bits. */
enum { OP_KIND = 0xc0, OP_LOW = 0x3f, OP_ADVANCE = 0x40, OP_OFFSET = 0x80, OP_RESTORE = 0xc0 };
enum {
    OP_NOP = 0,
    OP_ADVANCE1 = 2,
    OP_ADVANCE2 = 3,
    OP_ADVANCE4 = 4,
    OP_OFFSET_EXT = 5,
    OP_RESTORE_EXT = 6,
    OP_UNDEFINED = 7,
    OP_SAME = 8,
    OP_REGISTER = 9,
    OP_REMEMBER = 0xa,
    OP_RECALL = 0xb,
    OP_CFA = 0xc,
    OP_CFA_REG = 0xd,
    OP_CFA_OFFSET = 0xe,
    OP_CFA_EXPR = 0xf,
    OP_EXPR = 0x10,
    OP_OFFSET_EXT_SF = 0x11,
    OP_CFA_SF = 0x12,
    OP_CFA_OFFSET_SF = 0x13,
    OP_VAL_EXPR = 0x16,
    OP_SIGNED_RETURN = 0x2d, /* aarch64: the return address is signed from here on, or no more */
    OP_ARGS_BYTES = 0x2e,
};

static bool op_state(struct run *x, u8 op) {
    if (op == OP_REMEMBER && x->states_nr < STATES_MAX) {
        x->states[x->states_nr++] = x->now;
        return true;
    }
    if (op == OP_RECALL && x->states_nr > 0) {
        x->now = x->states[--x->states_nr];
        return true;
    }
    return false;
}

/* Sequenced by hand: the order in which arguments are evaluated is not given. */
static bool op_register(struct cursor *c, struct run *x, u8 op) {
    u64 reg = get_uleb(c);
    switch (op) {
    case OP_OFFSET_EXT: reg_saved(&x->now, reg, (s64)get_uleb(c)); return true;
    case OP_OFFSET_EXT_SF: reg_saved(&x->now, reg, get_sleb(c)); return true;
    case OP_RESTORE_EXT:
    case OP_SAME: reg_as_it_was(&x->now, &x->initial, reg); return true;
    case OP_UNDEFINED: reg_lost(&x->now, reg); return true;
    case OP_REGISTER: (void)get_uleb(c); break;
    case OP_CFA: cfa_set(&x->now, reg, (s64)get_uleb(c)); return true;
    case OP_CFA_SF: cfa_set(&x->now, reg, get_sleb(c) * x->f->data_align); return true;
    case OP_CFA_REG: cfa_set(&x->now, reg, x->now.cfa_offset); return true;
    case OP_EXPR: reg_expression(c, &x->now, reg); return true;
    case OP_VAL_EXPR: {
        u64 bytes = get_uleb(c);
        c->at += MIN(bytes, (u64)(c->end - c->at));
        break;
    }
    default: return false;
    }
    reg_lost(&x->now, reg);
    return true;
}

static bool op_other(struct cursor *c, struct run *x, u8 op) {
    switch (op) {
    case OP_NOP:
    case OP_SIGNED_RETURN: return true;
    case OP_ADVANCE1: x->at += get_bytes(c, 1) * x->f->code_align; return true;
    case OP_ADVANCE2: x->at += get_bytes(c, 2) * x->f->code_align; return true;
    case OP_ADVANCE4: x->at += get_bytes(c, 4) * x->f->code_align; return true;
    case OP_CFA_OFFSET: x->now.cfa_offset = (s64)get_uleb(c); return true;
    case OP_CFA_OFFSET_SF: x->now.cfa_offset = get_sleb(c) * x->f->data_align; return true;
    case OP_CFA_EXPR: return cfa_expression(c, &x->now);
    case OP_ARGS_BYTES: (void)get_uleb(c); return true;
    case OP_REMEMBER:
    case OP_RECALL: return op_state(x, op);
    default: return op_register(c, x, op);
    }
}

/* Runs instructions up to the code address. False: one is not known. */
static bool rules_run(struct run *x, struct cursor c, u64 pc) {
    while (c.at < c.end && x->at <= pc) {
        u8 op = *c.at++, low = op & OP_LOW;
        switch (op & OP_KIND) {
        case OP_ADVANCE: x->at += low * x->f->code_align; break;
        case OP_OFFSET: reg_saved(&x->now, low, (s64)get_uleb(&c)); break;
        case OP_RESTORE: reg_as_it_was(&x->now, &x->initial, low); break;
        default:
            if (!op_other(&c, x, op))
                return false;
        }
    }
    return true;
}

/* --- frames --- */

#if defined(__x86_64__)
enum { REG_SP = 7, REG_RETURN = 16 };
#define CODE_BITS (~(u64)0)
/* What a call must leave alone, and the place itself. */
static ALWAYS_INLINE void frame_here(struct sys_frame *f) {
    u64 *r = f->regs;
    __asm__ volatile("movq %%rbx, 24(%1)\n\tmovq %%rbp, 48(%1)\n\tmovq %%rsp, 56(%1)\n\tmovq %%r12, 96(%1)\n\t"
                     "movq %%r13, 104(%1)\n\tmovq %%r14, 112(%1)\n\tmovq %%r15, 120(%1)\n\tleaq 0(%%rip), %0"
                     : "=&r"(f->pc)
                     : "r"(r)
                     : "memory");
}
#else
enum { REG_SP = 31, REG_RETURN = 30 };
#define CODE_BITS (((u64)1 << VA_BITS) - 1) /* above them a signature */
static ALWAYS_INLINE void frame_here(struct sys_frame *f) {
    u64 *r = f->regs;
    __asm__ volatile("stp x19, x20, [%1, #152]\n\tstp x21, x22, [%1, #168]\n\tstp x23, x24, [%1, #184]\n\t"
                     "stp x25, x26, [%1, #200]\n\tstp x27, x28, [%1, #216]\n\tstp x29, x30, [%1, #232]\n\t"
                     "mov %0, sp\n\tstr %0, [%1, #248]\n\tadr %0, ."
                     : "=&r"(f->pc)
                     : "r"(r)
                     : "memory");
}
#endif

static bool word_read(u64 at, u64 from, u64 end, u64 *ret) {
    if (at < from || at + sizeof(u64) > end || at % sizeof(u64) != 0)
        return false;
    memcpy(ret, (const void *)(uintptr_t)at, sizeof(*ret)); // NOLINT(performance-no-int-to-ptr)
    return true;
}

/* Every place is told by the registers as they are. */
static bool regs_restore(struct sys_frame *frame, const struct rules *r, s64 data_align, u64 cfa) {
    struct sys_frame now = *frame;
    for (u64 left = r->saved; left != 0; left &= left - 1) {
        unsigned reg = (unsigned)__builtin_ctzll(left);
        bool by_reg = (r->by_reg >> reg & 1) != 0;
        u64 at = by_reg ? now.regs[r->base[reg]] + (u64)(s64)r->at[reg] : cfa + (u64)(r->at[reg] * data_align);
        if (!word_read(at, now.regs[REG_SP], cfa, &frame->regs[reg]))
            return false;
    }
    frame->regs[REG_SP] = cfa;
    return true;
}

/* To the caller. pc is the instruction whose rules hold, inside the function. */
static bool frame_step(struct sys_frame *frame, u64 pc, u64 walk_end) {
    struct function f;
    struct run x = {.f = &f};
    u64 sp = frame->regs[REG_SP], cfa;
    if (!function_find(pc, &f))
        return false;
    x.at = 0;
    if (!rules_run(&x, f.start, pc))
        return false;
    x.initial = x.now;
    x.at = f.first;
    if (!rules_run(&x, f.body, pc) || (x.now.lost & ((u64)1 << x.now.cfa_reg | (u64)1 << f.return_reg)) != 0)
        return false;
    cfa = frame->regs[x.now.cfa_reg] + (u64)x.now.cfa_offset;
    if (x.now.cfa_deref && !word_read(cfa, sp, walk_end, &cfa))
        return false;
    if (cfa < sp || cfa > walk_end)
        return false;
    u64 before = frame->pc;
    if (!regs_restore(frame, &x.now, f.data_align, cfa))
        return false;
    frame->pc = frame->regs[f.return_reg] & CODE_BITS;
    return frame->pc != 0 && (cfa > sp || frame->pc != before);
}

enum first { FIRST_IS_NEXT, FIRST_IS_EXACT };

static unsigned walk(struct sys_frame *frame, enum first first, const void **addrs, unsigned max) {
    u64 walk_end = frame->regs[REG_SP] + WALK_BYTES_MAX, pc = frame->pc;
    unsigned nr = 0;
    if (first == FIRST_IS_EXACT)
        addrs[nr++] = (const void *)(uintptr_t)pc; // NOLINT(performance-no-int-to-ptr)
    while (nr < max && frame_step(frame, pc, walk_end)) {
        /* The call is before where it returns to, which may be another function's start. */
        pc = frame->pc - 1;
        if (nr != 0 || !is_ours(pc))
            addrs[nr++] = (const void *)(uintptr_t)frame->pc; // NOLINT(performance-no-int-to-ptr)
    }
    return nr;
}

NOINLINE unsigned sys_stack_take(const void **addrs, unsigned max) {
    struct sys_frame frame;
    memset(&frame, 0, sizeof(frame));
    frame_here(&frame);
    return walk(&frame, FIRST_IS_NEXT, addrs, max);
}

unsigned sys_stack_take_from(const struct sys_frame *frame, const void **addrs, unsigned max) {
    struct sys_frame f = *frame;
    return max == 0 ? 0 : walk(&f, FIRST_IS_EXACT, addrs, max);
}
