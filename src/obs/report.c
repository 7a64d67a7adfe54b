/* SPDX-License-Identifier: MIT */
/*
 * The reports: the rows of stats.def as text, as JSON and as malloc_info's XML, and the few lines tools/run ends with.
 * Owns their form and nothing of their content: obs_collect() gathers the figures, obs_process_read() asks the kernel.
 * Called by front/ and at exit.
 *
 * Everything is written with sys_write alone from a buffer on the stack. The short and the JSON report fit into it and
 * so leave in one write: reports of processes that share a stderr do not mix.
 */
#include "obs/obs.h"

#include "base/fmt.h"
#include "mag/mag.h"
#include "obs/process.h"
#include "sys/sys.h"

enum stat_unit { UNIT_bytes, UNIT_count, UNIT_ms };
static const char unit_names[][6] = {[UNIT_bytes] = "bytes", [UNIT_count] = "count", [UNIT_ms] = "ms"};

/* All strings of the table in one object and offsets in its rows: pointers would need relocating in every process. */
static const struct stat_texts {
#define STAT(name, unit, doc)                                                                                          \
    char name##_name[sizeof(#name)];                                                                                   \
    char name##_doc[sizeof(doc)];
#include "obs/stats.def"
#undef STAT
} stat_texts = {
#define STAT(name, unit, doc) #name, doc,
#include "obs/stats.def"
#undef STAT
};

static const struct stat_row {
    u16 name_offset_bytes, doc_offset_bytes, field_offset_bytes, unit;
} stat_rows[] = {
#define STAT(name, unit, doc)                                                                                          \
    {offsetof(struct stat_texts, name##_name), offsetof(struct stat_texts, name##_doc),                                \
     offsetof(struct obs_stats, name), UNIT_##unit},
#include "obs/stats.def"
#undef STAT
};
_Static_assert(sizeof(stat_texts) <= UINT16_MAX, "the rows' offsets have 16 bits");

static const char *stat_name(const struct stat_row *row) { return (const char *)&stat_texts + row->name_offset_bytes; }
static const char *stat_doc(const struct stat_row *row) { return (const char *)&stat_texts + row->doc_offset_bytes; }

static u64 stat_value(const struct obs_stats *stats, const struct stat_row *row) {
    return *(const u64 *)((const char *)stats + row->field_offset_bytes);
}

/* ---- writer ---- */

enum { WRITER_BYTES = 4096, WRITER_ITEM_BYTES = 512 };

/* Text on its way to a sink. An item (a line, a JSON member) is at most WRITER_ITEM_BYTES long and never cut. */
struct writer {
    obs_sink_fn sink;
    void *arg;
    struct fmt_buf out;
    char text[WRITER_BYTES];
};

static void writer_init(struct writer *w, obs_sink_fn sink, void *arg) {
    w->sink = sink;
    w->arg = arg;
    w->out = fmt_init(w->text, sizeof(w->text));
}

static void writer_flush(struct writer *w) {
    w->sink(w->arg, w->text, w->out.len_bytes);
    w->out = fmt_init(w->text, sizeof(w->text));
}

/* The buffer, with room for one item. */
static struct fmt_buf *writer_item(struct writer *w) {
    if (w->out.cap_bytes - w->out.len_bytes < WRITER_ITEM_BYTES)
        writer_flush(w);
    return &w->out;
}

static void fd_sink(void *arg, const char *text, size_t bytes) { sys_write(*(int *)arg, text, bytes); }

/* ---- figures ---- */

static void pad_to(struct fmt_buf *b, size_t len_bytes) {
    while (b->len_bytes < len_bytes)
        fmt_char(b, ' ');
}

/* 12.3 MiB: one decimal, in the unit that leaves at most four digits before it. */
static void bytes_print(struct fmt_buf *b, u64 bytes) {
    static const char units[][4] = {"KiB", "MiB", "GiB", "TiB"};
    u64 unit_bytes = KIB;
    size_t unit_idx = 0;
    if (bytes < KIB) {
        fmt_printf(b, "%lu B", (unsigned long)bytes);
        return;
    }
    while (bytes / unit_bytes >= KIB && unit_idx + 1 < ARRAY_NR(units)) {
        unit_bytes *= KIB;
        unit_idx++;
    }
    fmt_printf(b, "%lu.%lu %s", (unsigned long)(bytes / unit_bytes),
               (unsigned long)(bytes % unit_bytes * 10 / unit_bytes), units[unit_idx]);
}

static void figure_print(struct fmt_buf *b, enum stat_unit unit, u64 value) {
    if (unit == UNIT_bytes)
        bytes_print(b, value);
    else
        fmt_printf(b, unit == UNIT_ms ? "%lu ms" : "%lu", (unsigned long)value);
}

/* Right-aligned in a column that ends end_bytes from the buffer's start. */
static void figure_print_column(struct fmt_buf *b, enum stat_unit unit, u64 value, size_t end_bytes) {
    char text[32];
    struct fmt_buf figure = fmt_init(text, sizeof(text));
    figure_print(&figure, unit, value);
    pad_to(b, end_bytes - figure.len_bytes);
    fmt_str(b, text);
}

/* A share of a whole in percent with one decimal; 0.0 of nothing. */
static void percent_print(struct fmt_buf *b, u64 part, u64 whole) {
    u64 tenths = whole == 0 ? 0 : part * 1000 / whole;
    fmt_printf(b, "%lu.%lu %%", (unsigned long)(tenths / 10), (unsigned long)(tenths % 10));
}

/* ---- short ---- */

static void short_calls(struct fmt_buf *b, const struct obs_stats *s) {
    fmt_printf(b, "quarry: calls      malloc %lu, calloc %lu, realloc %lu, aligned %lu, free %lu; magazines: ",
               (unsigned long)s->calls_malloc, (unsigned long)s->calls_calloc, (unsigned long)s->calls_realloc,
               (unsigned long)s->calls_memalign, (unsigned long)s->calls_free);
    fmt_printf(b, "%lu refills, %lu flushes\n", (unsigned long)s->refills, (unsigned long)s->flushes);
}

static void short_memory(struct fmt_buf *b, const struct obs_stats *s, const struct obs_process *p) {
    fmt_str(b, "quarry: memory     peak live ");
    bytes_print(b, s->peak_live_bytes);
    fmt_str(b, ", peak resident ");
    if (p->peak_known)
        bytes_print(b, p->peak_resident_bytes);
    else
        fmt_str(b, "unknown");
    fmt_str(b, " with code, stacks and files\n");
}

static void short_hugepages(struct fmt_buf *b, const struct obs_stats *s, const struct obs_process *p) {
    fmt_str(b, "quarry: hugepages  ");
    if (p->rollup_known) {
        percent_print(b, p->huge_bytes, p->resident_bytes);
        fmt_str(b, " of resident memory (");
        bytes_print(b, p->huge_bytes);
        fmt_str(b, " of ");
        bytes_print(b, p->resident_bytes);
        fmt_str(b, "); for slabs and runs asked for ");
        bytes_print(b, s->huge_bytes);
        if (p->hugetlb_bytes != 0) {
            fmt_str(b, "; besides ");
            bytes_print(b, p->hugetlb_bytes);
            fmt_str(b, " of the hugetlb pool");
        }
        fmt_char(b, '\n');
    } else {
        fmt_str(b, "unknown: /proc/self/smaps_rollup cannot be read\n");
    }
}

void obs_report_short(int fd) {
    struct obs_stats stats;
    struct obs_process process;
    struct writer w;
    obs_collect(&stats, OBS_COUNTERS);
    obs_process_read(&process);
    writer_init(&w, fd_sink, &fd);
    fmt_printf(writer_item(&w), "quarry: process    %u %s\n", sys_process_id(), process.name);
    short_calls(writer_item(&w), &stats);
    short_memory(writer_item(&w), &stats, &process);
    short_hugepages(writer_item(&w), &stats, &process);
    fmt_printf(writer_item(&w), "quarry: per CPU    %s, %lu ids\n", mag_mode_name(), (unsigned long)stats.ids);
    writer_flush(&w);
}

/* ---- text ---- */

enum { TEXT_FIGURE_COLUMN = 34, TEXT_DOC_COLUMN = 36, TEXT_LINE_WIDTH = 110 };

/* The end of the part of a doc string that fits on a line: before the last blank within the width. */
static size_t wrap_bytes(const char *doc, size_t width) {
    size_t fit = 0, i = 0;
    for (; doc[i] != '\0' && i <= width; i++) {
        if (doc[i] == ' ')
            fit = i;
    }
    return doc[i] == '\0' && i <= width ? i : fit;
}

static void doc_print(struct fmt_buf *b, const char *doc) {
    for (;;) {
        size_t part = wrap_bytes(doc, TEXT_LINE_WIDTH - TEXT_DOC_COLUMN);
        for (size_t i = 0; i < part; i++)
            fmt_char(b, doc[i]);
        fmt_char(b, '\n');
        doc += part;
        if (*doc == '\0')
            return;
        doc++;
        pad_to(b, b->len_bytes + TEXT_DOC_COLUMN);
    }
}

static void text_row(struct fmt_buf *b, const char *name, enum stat_unit unit, u64 value, const char *doc) {
    size_t start = b->len_bytes;
    fmt_printf(b, "  %s", name);
    figure_print_column(b, unit, value, start + TEXT_FIGURE_COLUMN);
    pad_to(b, start + TEXT_DOC_COLUMN);
    doc_print(b, doc);
}

/* Zeros are left out: what did not happen needs no line. */
static void text_section(struct writer *w, const struct obs_stats *stats, const char *title, bool of_memory) {
    fmt_printf(writer_item(w), "%s\n", title);
    for (size_t i = 0; i < ARRAY_NR(stat_rows); i++) {
        u64 value = stat_value(stats, &stat_rows[i]);
        enum stat_unit unit = stat_rows[i].unit;
        if ((unit == UNIT_bytes) == of_memory && value != 0)
            text_row(writer_item(w), stat_name(&stat_rows[i]), unit, value, stat_doc(&stat_rows[i]));
    }
}

static void text_process(struct writer *w, const struct obs_process *p) {
    fmt_str(writer_item(w), "process, as the kernel sees it\n");
    if (p->rollup_known) {
        text_row(writer_item(w), "resident", UNIT_bytes, p->resident_bytes,
                 "all memory of the process: heap, code, stacks, files");
        text_row(writer_item(w), "hugepages", UNIT_bytes, p->huge_bytes,
                 "the part of it that is transparent hugepages");
        if (p->hugetlb_bytes != 0)
            text_row(writer_item(w), "hugetlb pool", UNIT_bytes, p->hugetlb_bytes,
                     "private pages of hugetlb pools, which are no part of it");
    }
    if (p->peak_known)
        text_row(writer_item(w), "peak resident", UNIT_bytes, p->peak_resident_bytes, "largest it has been");
}

void obs_report_text(int fd) {
    struct obs_stats stats;
    struct obs_process process;
    struct writer w;
    obs_collect(&stats, OBS_KERNEL);
    obs_process_read(&process);
    writer_init(&w, fd_sink, &fd);
    fmt_printf(writer_item(&w), "quarry %s, process %u %s, per-CPU mode %s\n", QUARRY_VERSION_TEXT, sys_process_id(),
               process.name, mag_mode_name());
    text_section(&w, &stats, "memory", true);
    text_section(&w, &stats, "events and things", false);
    text_process(&w, &process);
    writer_flush(&w);
}

/* ---- JSON ---- */

static void json_member(struct writer *w, const char *name, u64 value, const char *before) {
    fmt_printf(writer_item(w), "%s\"%s\":%lu", before, name, (unsigned long)value);
}

/* One object on one line; members of "stats" are the rows of stats.def, all of them. What the kernel does not tell is
 * null. */
void obs_report_json(int fd) {
    struct obs_stats stats;
    struct obs_process process;
    struct writer w;
    obs_collect(&stats, OBS_KERNEL);
    obs_process_read(&process);
    writer_init(&w, fd_sink, &fd);
    fmt_printf(writer_item(&w), "{\"quarry\":\"%s\",\"pid\":%u,\"percpu\":\"%s\",\"process\":{", QUARRY_VERSION_TEXT,
               sys_process_id(), mag_mode_name());
    if (process.rollup_known) {
        json_member(&w, "resident_bytes", process.resident_bytes, "");
        json_member(&w, "huge_bytes", process.huge_bytes, ",");
        json_member(&w, "hugetlb_bytes", process.hugetlb_bytes, ",");
    } else {
        fmt_str(writer_item(&w), "\"resident_bytes\":null,\"huge_bytes\":null,\"hugetlb_bytes\":null");
    }
    if (process.peak_known)
        json_member(&w, "peak_resident_bytes", process.peak_resident_bytes, ",");
    else
        fmt_str(writer_item(&w), ",\"peak_resident_bytes\":null");
    fmt_str(writer_item(&w), "},\"stats\":{");
    for (size_t i = 0; i < ARRAY_NR(stat_rows); i++)
        json_member(&w, stat_name(&stat_rows[i]), stat_value(&stats, &stat_rows[i]), i == 0 ? "" : ",");
    fmt_str(writer_item(&w), "}}\n");
    writer_flush(&w);
}

/* ---- XML ---- */

/* The elements glibc's malloc_info has and for which quarry has a true figure, then every row of stats.def. glibc's
 * "count" attributes and its "max" have no counterpart here and are left out. */
void obs_report_xml(obs_sink_fn sink, void *arg) {
    struct obs_stats s;
    struct writer w;
    obs_collect(&s, OBS_KERNEL);
    writer_init(&w, sink, arg);
    fmt_str(writer_item(&w), "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n</sizes>\n");
    fmt_printf(writer_item(&w), "<total type=\"fast\" size=\"%lu\"/>\n",
               (unsigned long)(s.cached_bytes + s.depot_bytes));
    fmt_printf(writer_item(&w), "<total type=\"rest\" size=\"%lu\"/>\n",
               (unsigned long)(s.slab_free_bytes + s.run_free_bytes));
    fmt_str(writer_item(&w), "</heap>\n");
    fmt_printf(writer_item(&w), "<total type=\"mmap\" count=\"%lu\" size=\"%lu\"/>\n", (unsigned long)s.big_regions,
               (unsigned long)s.big_live_bytes);
    fmt_printf(writer_item(&w), "<system type=\"current\" size=\"%lu\"/>\n", (unsigned long)s.backed_bytes);
    fmt_printf(writer_item(&w), "<aspace type=\"total\" size=\"%lu\"/>\n", (unsigned long)s.committed_bytes);
    fmt_printf(writer_item(&w), "<quarry version=\"%s\" percpu=\"%s\">\n", QUARRY_VERSION_TEXT, mag_mode_name());
    for (size_t i = 0; i < ARRAY_NR(stat_rows); i++)
        fmt_printf(writer_item(&w), "<stat name=\"%s\" unit=\"%s\" value=\"%lu\"/>\n", stat_name(&stat_rows[i]),
                   unit_names[stat_rows[i].unit], (unsigned long)stat_value(&s, &stat_rows[i]));
    fmt_str(writer_item(&w), "</quarry>\n</malloc>\n");
    writer_flush(&w);
}
