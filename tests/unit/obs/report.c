/* SPDX-License-Identifier: MIT */
/*
 * The reports, from made-up accounts and a made-up /proc: the short one word for word, the layout of the text, and that
 * JSON and XML are whole and name every row of stats.def with its value. That the JSON parses is also seen by a real
 * parser, in tests/golden.
 */
#include "obs/obs.h"
#include "obs/process.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the pretend process ---- */

static char out[16384];
static size_t out_bytes;
static unsigned writes_nr;
static struct obs_stats accounts;
static const char *status_text, *rollup_text;

void sys_write(int fd, const char *text, size_t bytes);
void sys_write(int fd, const char *text, size_t bytes) {
    cr_assert_eq(fd, 7);
    cr_assert_lt(out_bytes + bytes, sizeof(out));
    memcpy(out + out_bytes, text, bytes);
    out_bytes += bytes;
    out[out_bytes] = '\0';
    writes_nr++;
}

s64 sys_read_file(const char *path, char *buf, size_t cap_bytes);
s64 sys_read_file(const char *path, char *buf, size_t cap_bytes) {
    const char *text = strcmp(path, "/proc/self/status") == 0 ? status_text : rollup_text;
    if (text == NULL)
        return -2;
    snprintf(buf, cap_bytes, "%s", text);
    return (s64)strlen(buf);
}

u32 sys_process_id(void);
u32 sys_process_id(void) { return 4242; }
const char *mag_mode_name(void);
const char *mag_mode_name(void) { return "mm_cid"; }
void obs_collect(struct obs_stats *ret_stats, enum obs_depth depth) {
    (void)depth;
    *ret_stats = accounts;
}

static void setup(void) {
    out[out_bytes = 0] = '\0';
    writes_nr = 0;
    memset(&accounts, 0, sizeof(accounts));
    status_text = "Name:\tsome program\nVmPeak:\t   99999 kB\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n";
    rollup_text = "55d0-7fff ---p 00000000 00:00 0    [rollup]\nRss:               10240 kB\nPss:   1 "
                  "kB\nAnonHugePages:      4096 kB\n";
}

TestSuite(report, .init = setup);

/* ---- short ---- */

Test(report, short_says_what_run_promises) {
    accounts.calls_malloc = 900;
    accounts.calls_calloc = 50;
    accounts.calls_realloc = 25;
    accounts.calls_memalign = 5;
    accounts.calls_free = 1020;
    accounts.refills = 20;
    accounts.flushes = 10;
    accounts.peak_live_bytes = 3 * MIB + 512 * KIB;
    accounts.huge_bytes = 6 * MIB;
    accounts.ids = 2;
    obs_report_short(7);
    cr_expect_str_eq(out,
                     "quarry: process    4242 some program\n"
                     "quarry: calls      malloc 900, calloc 50, realloc 25, aligned 5, free 1020; magazines: 20 "
                     "refills, 10 flushes\n"
                     "quarry: memory     peak live 3.5 MiB, peak resident 20.0 MiB with code, stacks and files\n"
                     "quarry: hugepages  40.0 % of resident memory (4.0 MiB of 10.0 MiB); for slabs and runs asked for "
                     "6.0 MiB\n"
                     "quarry: per CPU    mm_cid, 2 ids\n");
    cr_expect_eq(writes_nr, 1u, "one write, so that processes do not mix their lines");
}

Test(report, short_without_proc_says_unknown) {
    status_text = rollup_text = NULL;
    obs_report_short(7);
    cr_expect_not_null(strstr(out, "peak live 0 B, peak resident unknown with"));
    cr_expect_not_null(strstr(out, "hugepages  unknown: /proc/self/smaps_rollup cannot be read\n"));
    cr_expect_not_null(strstr(out, "quarry: process    4242 ?\n"));
}

/* ---- text ---- */

Test(report, text_aligns_figures_and_leaves_zeros_out) {
    accounts.live_bytes = 12 * MIB + 300 * KIB;
    accounts.meta_bytes = 1023;
    accounts.committed_bytes = 3 * GIB;
    accounts.slabs = 77;
    obs_report_text(7);
    cr_expect_not_null(
        strstr(out, "quarry " QUARRY_VERSION_TEXT ", process 4242 some program, per-CPU mode mm_cid\nmemory\n"));
    cr_expect_not_null(strstr(out, "\n  live_bytes              12.2 MiB  held by the program: "));
    cr_expect_not_null(strstr(out, "\n  meta_bytes                1023 B  "));
    cr_expect_not_null(strstr(out, "\n  committed_bytes          3.0 GiB  "));
    cr_expect_not_null(strstr(out, "\n  slabs                         77  slabs in use\n"));
    cr_expect_not_null(strstr(out, "\n  resident                10.0 MiB  "));
    cr_expect_null(strstr(out, "depot_bytes"));
    cr_expect_null(strstr(out, "ticks"));
}

Test(report, text_lines_fit_a_terminal_and_lose_no_word) {
    memset(&accounts, 0x11, sizeof(accounts));
    obs_report_text(7);
    char flat[sizeof(out)];
    size_t flat_bytes = 0, column = 0, widest = 0;
    for (const char *c = out; *c != '\0'; c++) {
        column = *c == '\n' ? 0 : column + 1;
        widest = MAX(widest, column);
        bool blank = *c == ' ' || *c == '\n';
        if (!blank || (flat_bytes > 0 && flat[flat_bytes - 1] != ' '))
            flat[flat_bytes++] = blank ? ' ' : *c;
    }
    flat[flat_bytes] = '\0';
    cr_expect_leq(widest, 110u);
#define STAT(name, unit, doc) cr_expect_not_null(strstr(flat, doc), "%s: its description is not whole", #name);
#include "obs/stats.def"
#undef STAT
}

/* ---- JSON and XML ---- */

static void give_each_stat_its_own_value(void) {
    u64 value = 1000000;
#define STAT(name, unit, doc) accounts.name = value++;
#include "obs/stats.def"
#undef STAT
}

static void expect_in_out(const char *format, const char *name, u64 value) {
    char want[128];
    snprintf(want, sizeof(want), format, name, (unsigned long)value); // NOLINT: the formats are the two literals below
    cr_expect_not_null(strstr(out, want), "%s is missing", want);
}

Test(report, json_has_every_stat_on_one_line) {
    give_each_stat_its_own_value();
    obs_report_json(7);
#define STAT(name, unit, doc) expect_in_out("\"%s\":%lu", #name, accounts.name);
#include "obs/stats.def"
#undef STAT
    cr_expect_eq(strchr(out, '\n'), out + out_bytes - 1);
    cr_expect_eq(strncmp(out, "{\"quarry\":\"", 11), 0);
    cr_expect_not_null(
        strstr(out, "\"percpu\":\"mm_cid\",\"process\":{\"resident_bytes\":10485760,\"huge_bytes\":4194304,"
                    "\"hugetlb_bytes\":0,\"peak_resident_bytes\":20971520},\"stats\":{\"live_bytes\":1000000,"));
    cr_expect_null(strstr(out, ",,"));
    cr_expect_null(strstr(out, "{,"));
    cr_expect_eq(writes_nr, 1u);
}

Test(report, json_writes_null_for_what_is_not_known) {
    status_text = rollup_text = NULL;
    obs_report_json(7);
    cr_expect_not_null(strstr(out, "\"process\":{\"resident_bytes\":null,\"huge_bytes\":null,\"hugetlb_bytes\":null,"
                                   "\"peak_resident_bytes\":null},"));
}

static void xml_sink(void *arg, const char *text, size_t bytes) {
    cr_assert_eq(arg, &accounts);
    sys_write(7, text, bytes);
}

Test(report, xml_has_every_stat_and_closes_what_it_opens) {
    give_each_stat_its_own_value();
    obs_report_xml(xml_sink, &accounts);
#define STAT(name, unit, doc)                                                                                          \
    expect_in_out("<stat name=\"%s\" unit=\"" #unit "\" value=\"%lu\"/>\n", #name, accounts.name);
#include "obs/stats.def"
#undef STAT
    cr_expect_eq(strncmp(out, "<malloc version=\"1\">\n", 21), 0);
    cr_expect_str_eq(out + out_bytes - strlen("</quarry>\n</malloc>\n"), "</quarry>\n</malloc>\n");
    int depth = 0;
    for (const char *c = out; *c != '\0'; c++)
        depth += c[0] == '<' ? (c[1] == '/' ? -1 : 1) : -(c[0] == '/' && c[1] == '>');
    cr_expect_eq(depth, 0);
}

/* ---- /proc ---- */

Test(process, a_key_is_found_only_at_a_lines_start_and_whole) {
    u64 bytes = 5;
    cr_expect(obs_kb_line_find("Rss:  3 kB\n", "Rss", &bytes));
    cr_expect_eq(bytes, 3 * KIB);
    cr_expect(!obs_kb_line_find("VmRss: 3 kB\nRssFile: 4 kB\n", "Rss", &bytes));
    cr_expect(!obs_kb_line_find("", "Rss", &bytes));
    cr_expect(!obs_kb_line_find("Rss:\n", "Rss", &bytes));
    cr_expect(!obs_kb_line_find("Rss: many\n", "Rss", &bytes));
    cr_expect_eq(bytes, 3 * KIB, "left alone on failure");
}
