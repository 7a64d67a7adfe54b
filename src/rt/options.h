/* SPDX-License-Identifier: MIT */
/*
 * The options: one table (options.def) makes this struct, the parser, `quarry options`, docs/tuning.md and the man
 * page. Read once, at start, from QUARRY_<NAME> environment variables and from the string `quarry_conf` the program may
 * define ("name:value,name:value"; the environment wins). In a setuid program the environment is ignored. Written only
 * before the allocator is started; read-only afterwards.
 */
#ifndef QUARRY_RT_OPTIONS_H
#define QUARRY_RT_OPTIONS_H

#include "base/types.h"
#include "sys/sys.h"

enum opt_percpu { OPT_PERCPU_AUTO, OPT_PERCPU_MM_CID, OPT_PERCPU_CPU_ID, OPT_PERCPU_OFF };
enum opt_rseq { OPT_RSEQ_AUTO, OPT_RSEQ_LIBC, OPT_RSEQ_OWN };
enum opt_thp { OPT_THP_EARNED, OPT_THP_ALWAYS, OPT_THP_NEVER };
enum opt_numa { OPT_NUMA_AUTO, OPT_NUMA_OFF, OPT_NUMA_INTERLEAVE, OPT_NUMA_BIND, OPT_NUMA_PREFER };
enum opt_layout { OPT_LAYOUT_RANDOM, OPT_LAYOUT_FIXED };
enum opt_stats { OPT_STATS_OFF, OPT_STATS_TEXT, OPT_STATS_SHORT, OPT_STATS_JSON };
enum opt_background { OPT_BACKGROUND_OFF, OPT_BACKGROUND_ON };
enum opt_deepbind { OPT_DEEPBIND_STRIP, OPT_DEEPBIND_KEEP };
enum opt_foreign { OPT_FOREIGN_WARN, OPT_FOREIGN_ABORT };

enum opt_slab_debug_action { OPT_SLAB_DEBUG_FIX, OPT_SLAB_DEBUG_ABORT };

/* As it was written, not NUL-terminated: a piece of the environment, or of quarry_conf. at NULL: it was not given. */
struct rt_text {
    const char *at;
    size_t len_bytes;
};

struct rt_options {
    /* One member per row of options.def: OPT_ENUM rows are int (one of the enums above), OPT_SIZE rows size_t (bytes),
     * OPT_UINT rows unsigned, OPT_TEXT rows struct rt_text; numa additionally sets numa_nodes. */
#define OPT_ENUM(name, def, words, doc) int name;
#define OPT_SIZE(name, def, min, max, doc) size_t name;
#define OPT_UINT(name, def, min, max, unit, doc) unsigned name;
#define OPT_TEXT(name, form, doc) struct rt_text name;
#include "rt/options.def"
#undef OPT_TEXT
#undef OPT_ENUM
#undef OPT_SIZE
#undef OPT_UINT
    struct sys_nodes numa_nodes; /* with numa=bind:N and numa=prefer:N */
};

extern HIDDEN struct rt_options rt_opt; /* engine/sealed.S */

/* Fills rt_opt with defaults, then conf (may be NULL), then envp (may be NULL; pass NULL in setuid programs). Wrong
 * names and values are reported on stderr, one line each, with the nearest right name or the allowed range, and
 * ignored. Uses no libc but write. */
void rt_options_read(const char *conf, char *const *envp);

#endif
