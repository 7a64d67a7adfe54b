/* SPDX-License-Identifier: MIT */
/*
 * The option parser: from environment and `quarry_conf` to rt_opt, and one line on stderr for each thing it did not
 * understand. Everything it knows of an option is a row of options.def. It does not decide when options are read or
 * whether the environment may be trusted: engine/init.c does, and calls rt_options_read() once. No allocation, no libc,
 * no global but rt_opt.
 */
#include "rt/options.h"

#include "base/fmt.h"
#include "sys/sys.h"

static const struct rt_options defaults = {
#define OPT_ENUM(name, def, words, doc) .name = (def),
#define OPT_SIZE(name, def, min, max, doc) .name = (def),
#define OPT_UINT(name, def, min, max, unit, doc) .name = (def),
#define OPT_TEXT(name, form, doc) .name = {NULL, 0},
#include "rt/options.def"
#undef OPT_TEXT
#undef OPT_ENUM
#undef OPT_SIZE
#undef OPT_UINT
};

enum row_kind { ROW_ENUM, ROW_SIZE, ROW_UINT, ROW_TEXT };

/* Names and words stand in the row itself: pointers would need relocating in every process that never sets an option.
 */
enum { ROW_NAME_BYTES = 24, ROW_WORDS_BYTES = 48 };
struct row {
    char name[ROW_NAME_BYTES];
    char words[ROW_WORDS_BYTES];
    enum row_kind kind;
    u32 field_offset_bytes;
    u64 min, max;
};

#define FIELD(name) .field_offset_bytes = offsetof(struct rt_options, name)
static const struct row rows[] = {
#define OPT_ENUM(name, def, words, doc) {#name, words, ROW_ENUM, FIELD(name), 0, 0},
#define OPT_SIZE(name, def, min, max, doc) {#name, "", ROW_SIZE, FIELD(name), min, max},
#define OPT_UINT(name, def, min, max, unit, doc) {#name, "", ROW_UINT, FIELD(name), min, max},
#define OPT_TEXT(name, form, doc) {#name, "", ROW_TEXT, FIELD(name), 0, 0},
#include "rt/options.def"
#undef OPT_TEXT
#undef OPT_ENUM
#undef OPT_SIZE
#undef OPT_UINT
};

#define OPT_ENUM(name, def, words, doc)                                                                                \
    _Static_assert(sizeof(#name) <= ROW_NAME_BYTES && sizeof(words) <= ROW_WORDS_BYTES, #name " is too long");
#define OPT_SIZE(name, def, min, max, doc)                                                                             \
    _Static_assert(sizeof(#name) <= ROW_NAME_BYTES, #name " is too long");                                             \
    _Static_assert((def) <= (max) && ((min) == 0 || (def) >= (min)), "the default of " #name " is out of its range");
#define OPT_UINT(name, def, min, max, unit, doc) OPT_SIZE(name, def, min, max, doc)
#define OPT_TEXT(name, form, doc) _Static_assert(sizeof(#name) <= ROW_NAME_BYTES, #name " is too long");
#include "rt/options.def"
#undef OPT_TEXT
#undef OPT_ENUM
#undef OPT_SIZE
#undef OPT_UINT

/* A piece of somebody else's string: not NUL-terminated. */
struct piece {
    const char *at;
    size_t len_bytes;
};

enum setting_source { FROM_ENVIRONMENT, FROM_CONF };

/* One setting as written. In the environment the name is what follows QUARRY_. */
struct setting {
    struct piece name, value;
    enum setting_source source;
};

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c; }
static char upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c; }

static size_t text_len_bytes(const char *s) {
    size_t nr = 0;
    while (s[nr] != '\0')
        nr++;
    return nr;
}

static struct piece piece_of(const char *s) { return (struct piece){s, text_len_bytes(s)}; }

/* Up to the first c; the whole when there is none. */
static struct piece piece_until(struct piece p, char c) {
    size_t nr = 0;
    while (nr < p.len_bytes && p.at[nr] != c)
        nr++;
    return (struct piece){p.at, nr};
}

static struct piece piece_from(struct piece p, size_t skip_bytes) {
    size_t skip = MIN(skip_bytes, p.len_bytes);
    return (struct piece){p.at + skip, p.len_bytes - skip};
}

static bool piece_equal(struct piece a, struct piece b) {
    if (a.len_bytes != b.len_bytes)
        return false;
    for (size_t i = 0; i < a.len_bytes; i++) {
        if (a.at[i] != b.at[i])
            return false;
    }
    return true;
}

static bool piece_equal_nocase(struct piece a, struct piece b) {
    if (a.len_bytes != b.len_bytes)
        return false;
    for (size_t i = 0; i < a.len_bytes; i++) {
        if (lower(a.at[i]) != lower(b.at[i]))
            return false;
    }
    return true;
}

/* ---- numbers ---- */

static unsigned digit_value(char c) {
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c = lower(c);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 99;
}

/* Reads leading digits, decimal or 0x; too large a number becomes the largest. Returns the bytes read, 0 when there is
 * no number. */
static size_t digits_read(struct piece p, u64 *ret_value) {
    bool hex = p.len_bytes > 2 && p.at[0] == '0' && lower(p.at[1]) == 'x' && digit_value(p.at[2]) < 16;
    unsigned radix = hex ? 16 : 10;
    size_t i = hex ? 2 : 0;
    u64 value = 0;
    for (; i < p.len_bytes && digit_value(p.at[i]) < radix; i++) {
        if (__builtin_mul_overflow(value, radix, &value) || __builtin_add_overflow(value, digit_value(p.at[i]), &value))
            value = UINT64_MAX;
    }
    *ret_value = value;
    return i;
}

/* The power of two a size suffix stands for; 0 for a character that is none. */
static unsigned suffix_shift(char c) {
    switch (upper(c)) {
    case 'K': return 10;
    case 'M': return 20;
    case 'G': return 30;
    case 'T': return 40;
    default: return 0;
    }
}

static bool uint_parse(struct piece p, u64 *ret_value) {
    u64 value;
    if (p.len_bytes == 0 || digits_read(p, &value) != p.len_bytes)
        return false;
    *ret_value = value;
    return true;
}

/* "64K", or "64KiB", which is the same: powers of 1024. Not "64KB", which some mean as 64,000. */
static bool size_parse(struct piece p, u64 *ret_bytes) {
    if (uint_parse(p, ret_bytes))
        return true;
    u64 value;
    size_t used_bytes = digits_read(p, &value);
    struct piece unit = piece_from(p, used_bytes);
    unsigned shift = unit.len_bytes != 0 ? suffix_shift(unit.at[0]) : 0;
    if (used_bytes == 0 || shift == 0 ||
        (unit.len_bytes != 1 && !piece_equal_nocase(piece_from(unit, 1), piece_of("iB"))))
        return false;
    *ret_bytes = value > UINT64_MAX >> shift ? UINT64_MAX : value << shift;
    return true;
}

/* 65536 is 64K: in the largest unit that divides it. */
static void size_print(struct fmt_buf *b, u64 bytes) {
    unsigned unit_idx = 0;
    while (unit_idx < 4 && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit_idx++;
    }
    fmt_dec(b, bytes);
    if (unit_idx > 0)
        fmt_char(b, " KMGT"[unit_idx]);
}

/* ---- rows ---- */

static void *row_field(const struct row *row) { return (char *)&rt_opt + row->field_offset_bytes; }

static bool row_is_numa(const struct row *row) { return row->field_offset_bytes == offsetof(struct rt_options, numa); }
static bool row_is_steps(const struct row *row) {
    return row->field_offset_bytes == offsetof(struct rt_options, steps);
}

static bool row_matches(const struct row *row, const struct setting *s) {
    size_t i = 0;
    for (; i < s->name.len_bytes && row->name[i] != '\0'; i++) {
        char want = s->source == FROM_ENVIRONMENT ? upper(row->name[i]) : row->name[i];
        if (s->name.at[i] != want)
            return false;
    }
    return i == s->name.len_bytes && row->name[i] == '\0';
}

static const struct row *row_find(const struct setting *s) {
    for (size_t i = 0; i < ARRAY_NR(rows); i++) {
        if (row_matches(&rows[i], s))
            return &rows[i];
    }
    return NULL;
}

/* Insertions, deletions and changes that turn one name into the other, case not counted: Levenshtein's distance, one
 * row of the table at a time. */
static unsigned edit_distance(struct piece a, struct piece b) {
    unsigned dist[ROW_NAME_BYTES];
    for (unsigned j = 0; j <= b.len_bytes; j++)
        dist[j] = j;
    for (unsigned i = 0; i < a.len_bytes; i++) {
        unsigned diagonal = dist[0];
        dist[0] = i + 1;
        for (unsigned j = 0; j < b.len_bytes; j++) {
            unsigned change = diagonal + (lower(a.at[i]) != lower(b.at[j]));
            diagonal = dist[j + 1];
            dist[j + 1] = MIN(change, MIN(dist[j], diagonal) + 1);
        }
    }
    return dist[b.len_bytes];
}

/* The row most like the name; NULL when half of the name would have to change, for then it is a guess. */
static const struct row *row_nearest(struct piece name) {
    const struct row *best = NULL;
    unsigned best_distance = (unsigned)MIN(name.len_bytes, (size_t)2 * ROW_NAME_BYTES) / 2 + 1;
    for (size_t i = 0; i < ARRAY_NR(rows); i++) {
        unsigned distance = edit_distance(name, piece_of(rows[i].name));
        if (distance < best_distance) {
            best_distance = distance;
            best = &rows[i];
        }
    }
    return best;
}

/* ---- what the user is told ---- */

/* Their text, cut and without control characters: it may hold anything. */
static void piece_print(struct fmt_buf *b, struct piece p) {
    enum { SHOWN_BYTES = 40 };
    for (size_t i = 0; i < MIN(p.len_bytes, (size_t)SHOWN_BYTES); i++)
        fmt_char(b, p.at[i] >= ' ' && p.at[i] <= '~' ? p.at[i] : '?');
    if (p.len_bytes > SHOWN_BYTES)
        fmt_str(b, "...");
}

static void row_name_print(struct fmt_buf *b, const struct row *row, enum setting_source source) {
    if (source == FROM_ENVIRONMENT)
        fmt_str(b, "QUARRY_");
    for (const char *c = row->name; *c != '\0'; c++)
        fmt_char(b, source == FROM_ENVIRONMENT ? upper(*c) : *c);
}

/* Stretches of numbers, "0-3,5". */
static void nodes_print(struct fmt_buf *b, const struct sys_nodes *nodes) {
    const char *between = "";
    for (unsigned id = 0; (id = sys_nodes_next(nodes, id)) < SYS_NODE_IDS_NR; id++) {
        unsigned last = id;
        while (sys_nodes_have(nodes, last + 1))
            last++;
        fmt_printf(b, last == id ? "%s%u" : "%s%u-%u", between, id, last);
        between = ",";
        id = last;
    }
}

/* "bind:N" is printed with the nodes when it is the value in force. */
static void row_value_print(struct fmt_buf *b, const struct row *row) {
    switch (row->kind) {
    case ROW_SIZE: size_print(b, *(size_t *)row_field(row)); return;
    case ROW_UINT: fmt_dec(b, *(unsigned *)row_field(row)); return;
    case ROW_TEXT: return; /* no text is wrong here */
    case ROW_ENUM: break;
    }
    struct piece words = piece_of(row->words);
    for (int skip = *(int *)row_field(row); skip > 0; skip--)
        words = piece_from(words, piece_until(words, '|').len_bytes + 1);
    struct piece word = piece_until(words, '|');
    piece_print(b, piece_until(word, ':'));
    if (piece_until(word, ':').len_bytes < word.len_bytes) {
        fmt_char(b, ':');
        nodes_print(b, &rt_opt.numa_nodes);
    }
}

static void row_range_print(struct fmt_buf *b, const struct row *row) {
    if (row->kind == ROW_SIZE) {
        size_print(b, row->min);
        fmt_str(b, "..");
        size_print(b, row->max);
    } else if (row->kind == ROW_UINT) {
        fmt_printf(b, "%lu..%lu", (unsigned long)row->min, (unsigned long)row->max);
    } else {
        for (const char *c = row->words; *c != '\0'; c++)
            fmt_str(b, *c == '|' ? ", " : (char[]){*c, '\0'});
    }
}

static void line_write(struct fmt_buf *b) {
    fmt_char(b, '\n');
    sys_stderr(b->text, b->len_bytes);
}

enum { LINE_BYTES = 320 };

static void name_complain(const struct setting *s) {
    char text[LINE_BYTES];
    struct fmt_buf b = fmt_init(text, sizeof(text));
    fmt_str(&b, s->source == FROM_ENVIRONMENT ? "quarry: unknown option QUARRY_" : "quarry: unknown option ");
    piece_print(&b, s->name);
    if (s->source == FROM_CONF)
        fmt_str(&b, " in quarry_conf");
    const struct row *near = row_nearest(s->name);
    if (near != NULL) {
        fmt_str(&b, "; did you mean ");
        row_name_print(&b, near, s->source);
        fmt_char(&b, '?');
    } else {
        fmt_str(&b, "; `quarry options` lists them");
    }
    line_write(&b);
}

static void value_complain(const struct setting *s, const struct row *row, const char *what_is_wrong) {
    char text[LINE_BYTES];
    struct fmt_buf b = fmt_init(text, sizeof(text));
    fmt_str(&b, "quarry: ");
    row_name_print(&b, row, s->source);
    fmt_char(&b, s->source == FROM_ENVIRONMENT ? '=' : ':');
    piece_print(&b, s->value);
    fmt_printf(&b, "%s is %s ", s->source == FROM_CONF ? " in quarry_conf" : "", what_is_wrong);
    row_range_print(&b, row);
    fmt_str(&b, "; using ");
    row_value_print(&b, row);
    line_write(&b);
}

/* ---- setting ---- */

/* "0-3,5", where + does for the comma, which separates options in quarry_conf. */
static bool nodes_parse(struct piece p, struct sys_nodes *ret_nodes) {
    u64 first, last;
    *ret_nodes = (struct sys_nodes){{0}};
    do {
        size_t used_bytes = digits_read(p, &first);
        last = first;
        if (used_bytes == 0)
            return false;
        p = piece_from(p, used_bytes);
        if (p.len_bytes != 0 && p.at[0] == '-') {
            used_bytes = digits_read(piece_from(p, 1), &last);
            p = piece_from(p, used_bytes + 1);
            if (used_bytes == 0)
                return false;
        }
        if (last < first || last >= SYS_NODE_IDS_NR || (p.len_bytes != 0 && p.at[0] != ',' && p.at[0] != '+'))
            return false;
        for (u64 id = first; id <= last; id++)
            sys_nodes_add(ret_nodes, (unsigned)id);
        if (p.len_bytes == 1)
            return false; /* a comma at the end */
        p = piece_from(p, 1);
    } while (p.len_bytes != 0);
    return true;
}

/* Whether what was written is this word of the table. In a word "bind:N" the N are nodes. */
static bool word_matches(struct piece word, struct piece written, struct sys_nodes *ret_nodes) {
    struct piece stem = piece_until(word, ':');
    if (stem.len_bytes == word.len_bytes)
        return piece_equal_nocase(word, written);
    return piece_equal_nocase(stem, piece_until(written, ':')) &&
           nodes_parse(piece_from(written, stem.len_bytes + 1), ret_nodes);
}

/* People write 0 and no for off wherever there is such a word; 1, yes and on are the second word, where off is the
 * first. */
static bool switch_matches(const struct row *row, struct piece word, int idx, struct piece written) {
    static const char offs[][6] = {"0", "no", "false"}, ons[][5] = {"1", "on", "yes", "true"};
    bool second = idx == 1 && piece_equal(piece_until(piece_of(row->words), '|'), piece_of("off"));
    for (size_t i = 0; i < ARRAY_NR(offs); i++) {
        if (piece_equal(word, piece_of("off")) && piece_equal_nocase(written, piece_of(offs[i])))
            return true;
    }
    for (size_t i = 0; i < ARRAY_NR(ons); i++) {
        if (second && piece_equal_nocase(written, piece_of(ons[i])))
            return true;
    }
    return false;
}

static void enum_set(const struct setting *s, const struct row *row) {
    struct piece rest = piece_of(row->words);
    struct sys_nodes nodes = {{0}};
    for (int idx = 0; rest.len_bytes > 0; idx++) {
        struct piece word = piece_until(rest, '|');
        if (word_matches(word, s->value, &nodes) || switch_matches(row, word, idx, s->value)) {
            *(int *)row_field(row) = idx;
            if (row_is_numa(row))
                rt_opt.numa_nodes = nodes;
            return;
        }
        rest = piece_from(rest, word.len_bytes + 1);
    }
    value_complain(s, row, "not one of");
}

static void number_set(const struct setting *s, const struct row *row) {
    u64 value;
    bool read = row->kind == ROW_SIZE ? size_parse(s->value, &value) : uint_parse(s->value, &value);
    if (!read)
        value_complain(s, row, row->kind == ROW_SIZE ? "not a size (like 64K, 1M, 2G) in" : "not a number in");
    else if (value < row->min || value > row->max)
        value_complain(s, row, "out of range");
    else if (row_is_steps(row) && !is_pow2(value))
        value_complain(s, row, "not a power of two in");
    else if (row->kind == ROW_SIZE)
        *(size_t *)row_field(row) = value;
    else
        *(unsigned *)row_field(row) = (unsigned)value;
}

static void setting_apply(const struct setting *s) {
    const struct row *row = row_find(s);
    if (row == NULL)
        name_complain(s);
    else if (row->kind == ROW_ENUM)
        enum_set(s, row);
    else if (row->kind == ROW_TEXT)
        *(struct rt_text *)row_field(row) = (struct rt_text){s->value.at, s->value.len_bytes};
    else
        number_set(s, row);
}

/* ---- sources ---- */

static bool env_setting(const char *entry, struct setting *ret_setting) {
    static const char prefix[] = "QUARRY_";
    size_t i = 0;
    for (; prefix[i] != '\0'; i++) {
        if (entry[i] != prefix[i])
            return false;
    }
    struct piece rest = piece_of(entry + i);
    struct piece name = piece_until(rest, '=');
    *ret_setting = (struct setting){name, piece_from(rest, name.len_bytes + 1), FROM_ENVIRONMENT};
    return true;
}

/* A name that stands twice in an environment counts once, the first time, as for getenv(3). */
static bool env_has_before(char *const *envp, size_t nr, const struct setting *s) {
    struct setting earlier;
    for (size_t i = 0; i < nr; i++) {
        if (env_setting(envp[i], &earlier) && piece_equal(earlier.name, s->name))
            return true;
    }
    return false;
}

static void env_read(char *const *envp) {
    struct setting s;
    for (size_t i = 0; envp[i] != NULL; i++) {
        if (env_setting(envp[i], &s) && !env_has_before(envp, i, &s))
            setting_apply(&s);
    }
}

/* "name:value,name:value". The value may hold a colon (numa:bind:1), the name cannot. */
static void conf_read(const char *conf) {
    struct piece rest = piece_of(conf);
    while (rest.len_bytes > 0) {
        struct piece entry = piece_until(rest, ',');
        struct piece name = piece_until(entry, ':');
        if (entry.len_bytes > 0) {
            struct setting s = {name, piece_from(entry, name.len_bytes + 1), FROM_CONF};
            setting_apply(&s);
        }
        rest = piece_from(rest, entry.len_bytes + 1);
    }
}

void rt_options_read(const char *conf, char *const *envp) {
    rt_opt = defaults;
    if (conf != NULL)
        conf_read(conf);
    if (envp != NULL)
        env_read(envp);
}
