/* SPDX-License-Identifier: MIT */
/* The table of crimes, and the line made from it. */
#include "rt/misuse.h"

#include "base/fmt.h"
#include "sys/sys.h"

enum { LINE_BYTES = 512 };

static const struct {
    const char *name, *what, *hint;
} crimes[MISUSE_KINDS_NR] = {
    [MISUSE_DOUBLE_FREE] =
        {"double-free", "an object that is free already",
         "it was freed twice, the second time possibly long ago: look for two owners of one pointer"},
    [MISUSE_INTERIOR] = {"interior-pointer", "an address inside an object, not its start",
                         "free the pointer that malloc returned"},
    [MISUSE_WILD] = {"wild-pointer", "an address that is no memory of this process's heap",
                     "it is uninitialised, damaged, or was never allocated"},
    [MISUSE_STACK] = {"stack-pointer", "an address on a stack", "only what malloc returned may be freed"},
    [MISUSE_FOREIGN] =
        {"foreign-pointer", "memory that another allocator made",
         "it is left alone and leaks; further ones are not named; QUARRY_FOREIGN=abort stops at the first"},
    [MISUSE_SIZE] = {"sized-free-mismatch", "freed with a size it was not allocated with",
                     "check the type behind the pointer, or delete through a base class without virtual destructor"},
    [MISUSE_ALIGN] = {"bad-alignment", "freed with an alignment it does not have",
                      "free it with the alignment it was allocated with"},
    [MISUSE_ORDER] = {"wrong-order", "pages that were not allocated with this order",
                      "free pages with the order they were allocated with"},
    [MISUSE_INTERFACE] = {"wrong-interface", "memory that another function frees",
                          "pages go to free_pages, vmalloc's areas to vfree or kvfree, all else to kfree or free"},
    [MISUSE_BOUNDS] = {"out-of-bounds", "a byte outside of an object was used",
                       "look at the size and the index: the stacks say which object and where"},
    [MISUSE_USE_FREED] = {"use-after-free", "a byte of an object that is free was used",
                          "look for a pointer that is kept after the free: the stacks say whose"},
    [MISUSE_OVERFLOW] = {"overflow", "bytes beside the object were written",
                         "look at what writes to it: more than was asked for, or before its start"},
    [MISUSE_WRITE_FREED] = {"write-after-free", "an object that is free was written to",
                            "look for a pointer that is kept after the free"},
};

COLD static void line_print(enum misuse_kind kind, const char *what, const void *p, size_t class_bytes,
                            const char *slab_state) {
    char line[LINE_BYTES];
    unsigned nr = (unsigned)kind + 1;
    struct fmt_buf b = fmt_init(line, sizeof(line));
    fmt_printf(&b, "quarry: error Q%c%c %s: pointer %p: %s; class ", (char)('0' + nr / 10), (char)('0' + nr % 10),
               crimes[kind].name, p, what);
    if (class_bytes != 0)
        fmt_dec(&b, class_bytes);
    else
        fmt_char(&b, '-');
    fmt_printf(&b, " slab %s; %s\n", slab_state != NULL ? slab_state : "-", crimes[kind].hint);
    sys_stderr(line, b.len_bytes);
}

COLD void rt_misuse_line(enum misuse_kind kind, const void *p, size_t class_bytes, const char *slab_state) {
    line_print(kind, crimes[kind].what, p, class_bytes, slab_state);
}

COLD _Noreturn void rt_misuse(enum misuse_kind kind, const void *p, size_t class_bytes, const char *slab_state) {
    rt_misuse_line(kind, p, class_bytes, slab_state);
    sys_abort();
}

COLD _Noreturn void rt_misuse_size(const void *p, size_t given_bytes, size_t usable_bytes) {
    char what[LINE_BYTES / 4] = {0};
    struct fmt_buf b = fmt_init(what, sizeof(what) - 1);
    fmt_printf(&b, "%s: %lu given, the object has %lu", crimes[MISUSE_SIZE].what, given_bytes, usable_bytes);
    line_print(MISUSE_SIZE, what, p, usable_bytes, NULL);
    sys_abort();
}

COLD void rt_misuse_warn(enum misuse_kind kind, const void *p) { rt_misuse_line(kind, p, 0, NULL); }
