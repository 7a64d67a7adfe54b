/* SPDX-License-Identifier: MIT */
/*
 * The option parser against what a user may write: each kind of row, each way to be wrong with its exact line, and the
 * order of sources. sys_stderr is replaced by a buffer. Names and ranges used here are rows of options.def.
 */
#include "rt/options.h"

#include <criterion/criterion.h>
#include <string.h>

static char said[4096];
static size_t said_bytes;

/* sys_stderr, declared in sys/sys.h. */
void sys_stderr(const char *text, size_t bytes);
void sys_stderr(const char *text, size_t bytes) {
    cr_assert_lt(said_bytes + bytes, sizeof(said));
    memcpy(said + said_bytes, text, bytes);
    said_bytes += bytes;
    said[said_bytes] = '\0';
}

static void read_env(const char *a, const char *b) {
    char *envp[] = {(char *)"HOME=/", (char *)a, (char *)b, NULL};
    said[said_bytes = 0] = '\0';
    rt_options_read(NULL, envp);
}

static void read_conf(const char *conf) {
    said[said_bytes = 0] = '\0';
    rt_options_read(conf, NULL);
}

static void expect_said(const char *want) { cr_expect_str_eq(said, want); }

Test(options, defaults_are_the_tables) {
    read_env(NULL, NULL);
#define OPT_ENUM(name, def, words, doc) cr_expect_eq(rt_opt.name, (int)(def));
#define OPT_SIZE(name, def, min, max, doc) cr_expect_eq(rt_opt.name, (size_t)(def));
#define OPT_UINT(name, def, min, max, unit, doc) cr_expect_eq(rt_opt.name, (unsigned)(def));
#define OPT_TEXT(name, form, doc) cr_expect_null(rt_opt.name.at);
#include "rt/options.def"
    expect_said("");
}

Test(options, no_sources_at_all) {
    said[said_bytes = 0] = '\0';
    rt_options_read(NULL, NULL);
    cr_expect_eq(rt_opt.steps, 8u);
    expect_said("");
}

Test(options, environment_sets_each_kind) {
    read_env("QUARRY_STEPS=4", "QUARRY_THP=never");
    cr_expect_eq(rt_opt.steps, 4u);
    cr_expect_eq(rt_opt.thp, (int)OPT_THP_NEVER);
    read_env("QUARRY_VMALLOC_CACHE=3M", "QUARRY_PURGE_DELAY=0");
    cr_expect_eq(rt_opt.vmalloc_cache, 3 * MIB);
    cr_expect_eq(rt_opt.purge_delay, 0u);
    expect_said("");
}

Test(options, a_text_may_be_anything) {
    read_env("QUARRY_SLAB_DEBUG=FZ,dentry;-,x*", "QUARRY_FAILSLAB=");
    cr_expect_eq(rt_opt.slab_debug.len_bytes, strlen("FZ,dentry;-,x*"));
    cr_expect_eq(memcmp(rt_opt.slab_debug.at, "FZ,dentry;-,x*", rt_opt.slab_debug.len_bytes), 0);
    cr_expect(rt_opt.failslab.at != NULL && rt_opt.failslab.len_bytes == 0);
    read_conf("slab_debug:P;U,steps:4");
    cr_expect_eq(rt_opt.slab_debug.len_bytes, 3);
    cr_expect_eq(rt_opt.steps, 4u);
    expect_said("");
}

Test(options, a_second_read_starts_from_the_defaults) {
    read_env("QUARRY_STEPS=4", NULL);
    read_env(NULL, NULL);
    cr_expect_eq(rt_opt.steps, 8u);
}

Test(options, sizes_take_suffixes_in_either_case_and_hex) {
    static const struct {
        const char *text;
        size_t bytes;
    } cases[] = {
        {"QUARRY_DEPOT_BYTES=0", 0},
        {"QUARRY_DEPOT_BYTES=4096", 4096},
        {"QUARRY_DEPOT_BYTES=64K", 64 * KIB},
        {"QUARRY_DEPOT_BYTES=64k", 64 * KIB},
        {"QUARRY_DEPOT_BYTES=0x10000", 65536},
        {"QUARRY_DEPOT_BYTES=0x10K", 16 * KIB},
        {"QUARRY_DEPOT_BYTES=64KiB", 64 * KIB},
        {"QUARRY_DEPOT_BYTES=1mib", MIB},
        {"QUARRY_DEPOT_BYTES=0x10KiB", 16 * KIB},
        {"QUARRY_LIMIT_SOFT=1TiB", (size_t)1 << 40},
        {"QUARRY_DEPOT_BYTES=1G", GIB},
        {"QUARRY_LIMIT_SOFT=64T", (size_t)1 << 46},
    };
    for (size_t i = 0; i < ARRAY_NR(cases); i++) {
        read_env(cases[i].text, NULL);
        size_t got = strstr(cases[i].text, "LIMIT") != NULL ? rt_opt.limit_soft : rt_opt.depot_bytes;
        cr_expect_eq(got, cases[i].bytes, "%s gave %zu", cases[i].text, got);
        expect_said("");
    }
}

Test(options, range_ends_are_allowed_and_one_past_is_not) {
    read_env("QUARRY_THP_AFTER=2M", NULL);
    expect_said("");
    cr_expect_eq(rt_opt.thp_after, 2 * MIB);
    read_env("QUARRY_THP_AFTER=2097151", NULL);
    expect_said("quarry: QUARRY_THP_AFTER=2097151 is out of range 2M..1T; using 16M\n");
    read_env("QUARRY_THP_AFTER=1T", NULL);
    expect_said("");
    read_env("QUARRY_THP_AFTER=1099511627777", NULL);
    expect_said("quarry: QUARRY_THP_AFTER=1099511627777 is out of range 2M..1T; using 16M\n");
    cr_expect_eq(rt_opt.thp_after, 16 * MIB);
}

Test(options, numbers_too_large_for_a_word_are_out_of_range) {
    read_env("QUARRY_DEPOT_BYTES=18446744073709551616", NULL);
    expect_said("quarry: QUARRY_DEPOT_BYTES=18446744073709551616 is out of range 0..1G; using 4M\n");
    read_env("QUARRY_DEPOT_BYTES=18014398509481985K", NULL);
    expect_said("quarry: QUARRY_DEPOT_BYTES=18014398509481985K is out of range 0..1G; using 4M\n");
    read_env("QUARRY_DEPOT_BYTES=0x10000000000000000", NULL);
    expect_said("quarry: QUARRY_DEPOT_BYTES=0x10000000000000000 is out of range 0..1G; using 4M\n");
}

Test(options, wrong_value_names_the_range) {
    read_env("QUARRY_STEPS=99", NULL);
    expect_said("quarry: QUARRY_STEPS=99 is out of range 1..8; using 8\n");
    cr_expect_eq(rt_opt.steps, 8u);
    read_env("QUARRY_STEPS=3", NULL);
    expect_said("quarry: QUARRY_STEPS=3 is not a power of two in 1..8; using 8\n");
    cr_expect_eq(rt_opt.steps, 8u);
}

Test(options, what_is_no_number_is_said_so) {
    read_env("QUARRY_STEPS=", NULL);
    expect_said("quarry: QUARRY_STEPS= is not a number in 1..8; using 8\n");
    read_env("QUARRY_STEPS", NULL);
    expect_said("quarry: QUARRY_STEPS= is not a number in 1..8; using 8\n");
    read_env("QUARRY_STEPS=4x", NULL);
    expect_said("quarry: QUARRY_STEPS=4x is not a number in 1..8; using 8\n");
    read_env("QUARRY_STEPS=-1", NULL);
    expect_said("quarry: QUARRY_STEPS=-1 is not a number in 1..8; using 8\n");
    read_env("QUARRY_STEPS=0x", NULL);
    expect_said("quarry: QUARRY_STEPS=0x is not a number in 1..8; using 8\n");
    read_env("QUARRY_STEPS=1K", NULL);
    expect_said("quarry: QUARRY_STEPS=1K is not a number in 1..8; using 8\n");
    read_env("QUARRY_DEPOT_BYTES=1KB", NULL);
    expect_said("quarry: QUARRY_DEPOT_BYTES=1KB is not a size (like 64K, 1M, 2G) in 0..1G; using 4M\n");
    read_env("QUARRY_DEPOT_BYTES=1Ki", NULL);
    expect_said("quarry: QUARRY_DEPOT_BYTES=1Ki is not a size (like 64K, 1M, 2G) in 0..1G; using 4M\n");
    read_env("QUARRY_DEPOT_BYTES=1iB", NULL);
    expect_said("quarry: QUARRY_DEPOT_BYTES=1iB is not a size (like 64K, 1M, 2G) in 0..1G; using 4M\n");
    read_env("QUARRY_DEPOT_BYTES=1KiBs", NULL);
    expect_said("quarry: QUARRY_DEPOT_BYTES=1KiBs is not a size (like 64K, 1M, 2G) in 0..1G; using 4M\n");
    read_env("QUARRY_DEPOT_BYTES=K", NULL);
    expect_said("quarry: QUARRY_DEPOT_BYTES=K is not a size (like 64K, 1M, 2G) in 0..1G; using 4M\n");
    read_env("QUARRY_DEPOT_BYTES=1P", NULL);
    expect_said("quarry: QUARRY_DEPOT_BYTES=1P is not a size (like 64K, 1M, 2G) in 0..1G; using 4M\n");
}

Test(options, wrong_word_lists_the_words) {
    read_env("QUARRY_THP=maybe", NULL);
    expect_said("quarry: QUARRY_THP=maybe is not one of earned, always, never; using earned\n");
    read_env("QUARRY_THP=alway", NULL);
    expect_said("quarry: QUARRY_THP=alway is not one of earned, always, never; using earned\n");
    read_env("QUARRY_THP=always|never", NULL);
    expect_said("quarry: QUARRY_THP=always|never is not one of earned, always, never; using earned\n");
    cr_expect_eq(rt_opt.thp, (int)OPT_THP_EARNED);
}

Test(options, words_in_any_case_and_what_stands_for_them) {
    read_env("QUARRY_THP=Always", "QUARRY_ZERO=1");
    cr_expect_eq(rt_opt.thp, (int)OPT_THP_ALWAYS);
    cr_expect_eq(rt_opt.zero, 1);
    read_env("QUARRY_BACKGROUND=1", "QUARRY_EXIT_CHECK=0");
    cr_expect_eq(rt_opt.background, (int)OPT_BACKGROUND_ON);
    cr_expect_eq(rt_opt.exit_check, 0);
    read_env("QUARRY_STATS=1", "QUARRY_EXIT_CHECK=No");
    cr_expect_eq(rt_opt.stats, (int)OPT_STATS_TEXT);
    cr_expect_eq(rt_opt.exit_check, 0);
    read_env("QUARRY_STATS=yes", "QUARRY_PERCPU=false");
    cr_expect_eq(rt_opt.stats, (int)OPT_STATS_TEXT);
    cr_expect_eq(rt_opt.percpu, (int)OPT_PERCPU_OFF);
    expect_said("");
    read_env("QUARRY_STATS=2", NULL);
    expect_said("quarry: QUARRY_STATS=2 is not one of off, text, short, json; using off\n");
    read_env("QUARRY_PERCPU=on", NULL);
    expect_said("quarry: QUARRY_PERCPU=on is not one of auto, mm_cid, cpu_id, off; using auto\n");
    read_env("QUARRY_THP=1", NULL);
    expect_said("quarry: QUARRY_THP=1 is not one of earned, always, never; using earned\n");
}

static void expect_nodes(u64 first_word) {
    cr_expect_eq(rt_opt.numa_nodes.words[0], first_word);
    for (size_t w = 1; w < ARRAY_NR(rt_opt.numa_nodes.words); w++)
        cr_expect_eq(rt_opt.numa_nodes.words[w], 0u);
}

Test(options, numa_words_carry_nodes) {
    read_env("QUARRY_NUMA=bind:3", NULL);
    cr_expect_eq(rt_opt.numa, (int)OPT_NUMA_BIND);
    expect_nodes(1 << 3);
    read_conf("numa:prefer:1");
    cr_expect_eq(rt_opt.numa, (int)OPT_NUMA_PREFER);
    expect_nodes(1 << 1);
    read_env("QUARRY_NUMA=bind:0-2,5", NULL);
    cr_expect_eq(rt_opt.numa, (int)OPT_NUMA_BIND);
    expect_nodes(0x27);
    read_conf("numa:prefer:1+3-4,zero:on");
    cr_expect_eq(rt_opt.numa, (int)OPT_NUMA_PREFER);
    expect_nodes(0x1a);
    cr_expect_eq(rt_opt.zero, 1);
    read_env("QUARRY_NUMA=bind:1023", NULL);
    cr_expect_eq(rt_opt.numa_nodes.words[15], (u64)1 << 63);
    read_env("QUARRY_NUMA=off", NULL);
    cr_expect_eq(rt_opt.numa, (int)OPT_NUMA_OFF);
    expect_said("");
    read_env("QUARRY_NUMA=interleave", NULL);
    cr_expect_eq(rt_opt.numa, (int)OPT_NUMA_INTERLEAVE);
    expect_said("");
    static const char *const wrong[] = {"bind",    "bind:",    "bind:x",  "bind:1024", "auto:1", "bindd:1",
                                        "bind:1,", "bind:2-1", "bind:1-", "bind:1;2",  "bind:-1"};
    for (size_t i = 0; i < ARRAY_NR(wrong); i++) {
        char entry[64] = "QUARRY_NUMA=", want[160] = "quarry: QUARRY_NUMA=";
        read_env(strcat(entry, wrong[i]), NULL);
        expect_said(
            strcat(strcat(want, wrong[i]), " is not one of auto, off, interleave, bind:N, prefer:N; using auto\n"));
        cr_expect_eq(rt_opt.numa, (int)OPT_NUMA_AUTO);
    }
}

Test(options, unknown_name_gets_the_nearest) {
    read_env("QUARRY_STEP=4", NULL);
    expect_said("quarry: unknown option QUARRY_STEP; did you mean QUARRY_STEPS?\n");
    cr_expect_eq(rt_opt.steps, 8u);
    read_env("QUARRY_PRUGE_DELAY=4", NULL);
    expect_said("quarry: unknown option QUARRY_PRUGE_DELAY; did you mean QUARRY_PURGE_DELAY?\n");
    read_env("QUARRY_VMALLOCTHRESHOLD=4", NULL);
    expect_said("quarry: unknown option QUARRY_VMALLOCTHRESHOLD; did you mean QUARRY_VMALLOC_THRESHOLD?\n");
    read_env("QUARRY_stats=text", NULL);
    expect_said("quarry: unknown option QUARRY_stats; did you mean QUARRY_STATS?\n");
    cr_expect_eq(rt_opt.stats, (int)OPT_STATS_OFF);
}

Test(options, a_name_like_none_points_at_the_list) {
    read_env("QUARRY_WIBBLEWOBBLE=4", NULL);
    expect_said("quarry: unknown option QUARRY_WIBBLEWOBBLE; `quarry options` lists them\n");
    read_env("QUARRY_=4", NULL);
    expect_said("quarry: unknown option QUARRY_; `quarry options` lists them\n");
}

Test(options, a_name_of_any_length_is_survived_and_cut) {
    static char entry[5000] = "QUARRY_";
    memset(entry + 7, 'A', sizeof(entry) - 8);
    read_env(entry, NULL);
    expect_said(
        "quarry: unknown option QUARRY_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA...; `quarry options` lists them\n");
}

Test(options, control_characters_never_reach_the_terminal) {
    read_env("QUARRY_THP=\033[2J\n", NULL);
    expect_said("quarry: QUARRY_THP=?[2J? is not one of earned, always, never; using earned\n");
}

Test(options, each_wrong_name_once_and_the_first_of_two_counts) {
    read_env("QUARRY_STEP=4", "QUARRY_STEP=2");
    expect_said("quarry: unknown option QUARRY_STEP; did you mean QUARRY_STEPS?\n");
    read_env("QUARRY_STEPS=4", "QUARRY_STEPS=2");
    cr_expect_eq(rt_opt.steps, 4u);
}

Test(options, others_variables_are_none_of_ours) {
    read_env("QUARRYSTEPS=4", "XQUARRY_STEPS=4");
    read_env("QUARR", "");
    expect_said("");
    cr_expect_eq(rt_opt.steps, 8u);
}

Test(options, conf_sets_and_the_environment_wins) {
    read_conf("steps:4,thp:never,,vmalloc_cache:1G,");
    expect_said("");
    cr_expect_eq(rt_opt.steps, 4u);
    cr_expect_eq(rt_opt.thp, (int)OPT_THP_NEVER);
    cr_expect_eq(rt_opt.vmalloc_cache, GIB);
    char *envp[] = {(char *)"QUARRY_STEPS=2", NULL};
    rt_options_read("steps:4,thp:never", envp);
    cr_expect_eq(rt_opt.steps, 2u);
    cr_expect_eq(rt_opt.thp, (int)OPT_THP_NEVER);
}

Test(options, a_wrong_value_leaves_what_conf_said) {
    char *envp[] = {(char *)"QUARRY_STEPS=99", (char *)"QUARRY_NUMA=bind:x", NULL};
    rt_options_read("steps:4,numa:bind:2", envp);
    cr_expect_eq(rt_opt.steps, 4u);
    expect_said("quarry: QUARRY_STEPS=99 is out of range 1..8; using 4\n"
                "quarry: QUARRY_NUMA=bind:x is not one of auto, off, interleave, bind:N, prefer:N; using bind:2\n");
}

Test(options, conf_mistakes_say_where_they_are) {
    read_conf("step:4,STEPS:4,steps:99,steps");
    expect_said("quarry: unknown option step in quarry_conf; did you mean steps?\n"
                "quarry: unknown option STEPS in quarry_conf; did you mean steps?\n"
                "quarry: steps:99 in quarry_conf is out of range 1..8; using 8\n"
                "quarry: steps: in quarry_conf is not a number in 1..8; using 8\n");
}
