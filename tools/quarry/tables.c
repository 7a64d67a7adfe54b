/* SPDX-License-Identifier: MIT */
/*
 * The library's tables, printed: options, figures, size classes. Their rows are included from the library's sources, so
 * that the tool, the parser and the documents (tools/dev/gen_docs reads the JSON) cannot disagree.
 */
#include "quarry.h"

#include "rt/options.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- options ---- */

enum option_kind { OPTION_ENUM, OPTION_SIZE, OPTION_UINT, OPTION_TEXT };

struct option_row {
    const char *name, *words, *unit, *doc;
    enum option_kind kind;
    uint64_t def, min, max;
};

static const struct option_row option_rows[] = {
#define OPT_ENUM(name, def, words, doc) {#name, words, "", doc, OPTION_ENUM, (uint64_t)(def), 0, 0},
#define OPT_SIZE(name, def, min, max, doc) {#name, "", "bytes", doc, OPTION_SIZE, def, min, max},
#define OPT_UINT(name, def, min, max, unit, doc) {#name, "", unit, doc, OPTION_UINT, def, min, max},
#define OPT_TEXT(name, form, doc) {#name, form, "", doc, OPTION_TEXT, 0, 0, 0},
#include "rt/options.def"
#undef OPT_TEXT
#undef OPT_ENUM
#undef OPT_SIZE
#undef OPT_UINT
};

enum { VALUE_BYTES = 64, RANGE_BYTES = 2 * VALUE_BYTES + 2, DOC_WIDTH = 96 };

/* 65536 as 64K: the form in which sizes are set. */
static void size_format(char *text, uint64_t bytes) {
    static const char units[][2] = {"", "K", "M", "G", "T"};
    size_t unit_idx = 0;
    while (unit_idx < 4 && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit_idx++;
    }
    snprintf(text, VALUE_BYTES, "%" PRIu64 "%s", bytes, units[unit_idx]);
}

static void value_format(char *text, const struct option_row *row, uint64_t value) {
    if (row->kind == OPTION_SIZE) {
        size_format(text, value);
    } else if (row->kind == OPTION_UINT) {
        snprintf(text, VALUE_BYTES, "%" PRIu64, value);
    } else if (row->kind == OPTION_TEXT) {
        *text = '\0';
    } else {
        const char *word = row->words;
        for (; value > 0; value--)
            word = strchr(word, '|') + 1;
        snprintf(text, VALUE_BYTES, "%.*s", (int)strcspn(word, "|"), word);
    }
}

static void range_format(char *text, const struct option_row *row) {
    char low[VALUE_BYTES], high[VALUE_BYTES];
    if (row->kind == OPTION_ENUM || row->kind == OPTION_TEXT) {
        snprintf(text, RANGE_BYTES, "%s", row->words);
        return;
    }
    value_format(low, row, row->min);
    value_format(high, row, row->max);
    snprintf(text, RANGE_BYTES, "%s..%s", low, high);
}

static void env_name_print(const char *name) {
    fputs("QUARRY_", stdout);
    for (const char *c = name; *c != '\0'; c++)
        putchar(toupper((unsigned char)*c));
}

/* In lines of DOC_WIDTH, indented. */
static void doc_print(const char *doc) {
    while (*doc != '\0') {
        size_t part = strlen(doc);
        if (part > DOC_WIDTH) {
            for (part = DOC_WIDTH; part > 0 && doc[part] != ' '; part--)
                continue;
        }
        printf("    %.*s\n", (int)part, doc);
        doc += part;
        while (*doc == ' ')
            doc++;
    }
}

static void option_text(const struct option_row *row) {
    char def[VALUE_BYTES], range[RANGE_BYTES];
    value_format(def, row, row->def);
    range_format(range, row);
    env_name_print(row->name);
    printf("=%s  (%s%s%s)\n", def, range, row->kind == OPTION_UINT ? " " : "",
           row->kind == OPTION_UINT ? row->unit : "");
    doc_print(row->doc);
}

static void json_member(const char *before, const char *name, const char *value) {
    printf("%s\"%s\":", before, name);
    json_string_print(value);
}

static void option_json(const struct option_row *row, const char *before) {
    static const char *const kinds[] = {"enum", "size", "uint", "text"};
    char def[VALUE_BYTES], range[RANGE_BYTES];
    value_format(def, row, row->def);
    range_format(range, row);
    json_member(before, "name", row->name);
    json_member(",", "kind", kinds[row->kind]);
    json_member(",", "default", def);
    json_member(",", "range", range);
    json_member(",", "unit", row->unit);
    json_member(",", "doc", row->doc);
    putchar('}');
}

int command_options(int argc, char **argv) {
    enum table_form form;
    if (!table_form_read(argc, argv, &form))
        return EXIT_USAGE;
    for (size_t i = 0; i < ARRAY_NR(option_rows); i++) {
        if (form == FORM_JSON)
            option_json(&option_rows[i], i == 0 ? "[\n{" : ",\n{");
        else
            option_text(&option_rows[i]);
    }
    if (form == FORM_JSON)
        puts("\n]");
    return 0;
}

/* ---- figures ---- */

static const struct stat_row {
    const char *name, *unit, *doc;
} stat_rows[] = {
#define STAT(name, unit, doc) {#name, #unit, doc},
#include "obs/stats.def"
#undef STAT
};

int command_stats_list(int argc, char **argv) {
    enum table_form form;
    if (!table_form_read(argc, argv, &form))
        return EXIT_USAGE;
    for (size_t i = 0; i < ARRAY_NR(stat_rows); i++) {
        if (form == FORM_JSON) {
            json_member(i == 0 ? "[\n{" : ",\n{", "name", stat_rows[i].name);
            json_member(",", "unit", stat_rows[i].unit);
            json_member(",", "doc", stat_rows[i].doc);
            putchar('}');
        } else {
            printf("%s (%s)\n", stat_rows[i].name, stat_rows[i].unit);
            doc_print(stat_rows[i].doc);
        }
    }
    if (form == FORM_JSON)
        puts("\n]");
    return 0;
}

/* ---- size classes ---- */

static const struct class_row {
    unsigned idx, object_bytes, granules_nr, objs_nr;
} class_rows[] = {
#define CLASS(idx, object_bytes, granules_nr, objs_nr) {idx, object_bytes, granules_nr, objs_nr},
#include "slab/sizeclass.def"
#undef CLASS
};

/* The share of a slab that no object covers. */
static double tail_pct(const struct class_row *row) {
    double slab_bytes = (double)row->granules_nr * (double)GRANULE_BYTES;
    return 100.0 * (slab_bytes - (double)row->object_bytes * row->objs_nr) / slab_bytes;
}

/* What the least request that gets this class leaves unused. */
static double worst_pct(const struct class_row *row, unsigned below_bytes) {
    return 100.0 * (row->object_bytes - (below_bytes + 1)) / row->object_bytes;
}

static void class_text(const struct class_row *row, unsigned below_bytes) {
    printf("%5u  %8u  %7zu KiB  %7u  %5.1f %%  %5.1f %%\n", row->idx, row->object_bytes,
           row->granules_nr * GRANULE_BYTES / KIB, row->objs_nr, tail_pct(row), worst_pct(row, below_bytes));
}

static void class_json(const struct class_row *row, const char *before) {
    printf("%s\"class\":%u,\"object_bytes\":%u,\"slab_bytes\":%zu,\"objects\":%u}", before, row->idx, row->object_bytes,
           row->granules_nr * GRANULE_BYTES, row->objs_nr);
}

int command_classes(int argc, char **argv) {
    enum table_form form;
    if (!table_form_read(argc, argv, &form))
        return EXIT_USAGE;
    if (form == FORM_TEXT)
        puts("class    object         slab  objects  no object  worst fit");
    for (size_t i = 0; i < ARRAY_NR(class_rows); i++) {
        if (form == FORM_JSON)
            class_json(&class_rows[i], i == 0 ? "[\n{" : ",\n{");
        else
            class_text(&class_rows[i], i == 0 ? 0 : class_rows[i - 1].object_bytes);
    }
    if (form == FORM_JSON)
        puts("\n]");
    return 0;
}
