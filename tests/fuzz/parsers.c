/* SPDX-License-Identifier: MIT */
/*
 * What quarry parses and has not written itself: options, the files of control groups, and traces. Each target is given
 * any bytes and judges what came of them: nothing is read outside of the input (sanitizers see to that), and what is
 * accepted is in its range. Usage: fuzz-parsers FOLDER [SEED]: the inputs kept in FOLDER/TARGET, as they are and
 * changed at random; with SOAK in the environment a hundred times as often. Built with QUARRY_LIBFUZZER=TARGET it is
 * libFuzzer's target instead.
 */
#include "rt/cgroup.h"
#include "rt/options.h"
#include "trace.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INPUT_BYTES = 8192, CHANGED_NR = 100, SOAK_FACTOR = 100, CHANGES_MAX = 6, NAME_BYTES = 64, ENV_NR = 32 };

/* The input that is being run, for whoever wants to run it again. */
static const char *input_path = "";
static unsigned long input_nr;

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("fuzz-parsers: must hold: %s (%s, change %lu)\n", #condition, input_path, input_nr);                \
            (void)fflush(stdout);                                                                                      \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* --- options: what is before the first NUL is quarry_conf, the rest is the environment, a NUL after each --- */

static unsigned words_nr(const char *words) {
    unsigned nr = 1;
    for (; *words != '\0'; words++)
        nr += *words == '|';
    return nr;
}

static void options_judge(const char *text, const char *end) {
#define OPT_ENUM(name, def, words, doc) MUST(rt_opt.name >= 0 && (unsigned)rt_opt.name < words_nr(words));
#define OPT_SIZE(name, def, min, max, doc) MUST(rt_opt.name + 1 > (size_t)(min) && rt_opt.name <= (size_t)(max));
#define OPT_UINT(name, def, min, max, unit, doc) MUST(rt_opt.name + 1 > (min) && rt_opt.name <= (max));
/* A piece of the text itself. */
#define OPT_TEXT(name, form, doc)                                                                                      \
    MUST(rt_opt.name.at == NULL || (rt_opt.name.at >= text && rt_opt.name.at + rt_opt.name.len_bytes <= end) ||        \
         rt_opt.name.len_bytes == 0);
#include "rt/options.def"
#undef OPT_TEXT
#undef OPT_UINT
#undef OPT_SIZE
#undef OPT_ENUM
}

/* It complains of nearly everything. What a sanitizer has to say of any other line is seen. */
static void options_read_silently(const char *text, char **envp) {
    static int nothing = -1, standard = -1;
    if (nothing < 0) {
        nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
        standard = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    }
    MUST(nothing >= 0 && standard >= 0 && dup2(nothing, STDERR_FILENO) >= 0);
    rt_options_read(text, envp);
    MUST(dup2(standard, STDERR_FILENO) >= 0);
}

static void target_options(const uint8_t *data, size_t bytes) {
    /* Of its own size, so that reading behind it is seen. */
    char *text = malloc(bytes + 1), *envp[ENV_NR + 1];
    size_t nr = 0;
    MUST(text != NULL);
    memcpy(text, data, bytes);
    text[bytes] = '\0';
    for (char *at = text + strlen(text) + 1; at < text + bytes && nr < ENV_NR; at += strlen(at) + 1)
        envp[nr++] = at;
    envp[nr] = NULL;
    options_read_silently(text, envp);
    options_judge(text, text + bytes + 1);
    free(text);
}

/* --- control groups: files one after the other, a NUL between them --- */

static const char *const group_files[] = {"/proc/self/cgroup", "/proc/self/mountinfo", "/g/memory.high",
                                          "/g/memory.max",     "/g/memory.stat",       "/g/a/memory.max"};
enum { GROUP_FILES_NR = sizeof(group_files) / sizeof(group_files[0]) };
static char root[NAME_BYTES];

static void root_make(void) {
    static const char *const folders[] = {"", "/proc", "/proc/self", "/g", "/g/a"};
    const char *scratch = getenv("TMPDIR");
    (void)snprintf(root, sizeof(root), "%s/fuzz-parsers-XXXXXX",
                   scratch != NULL && strlen(scratch) < 32 ? scratch : "/tmp");
    MUST(mkdtemp(root) != NULL);
    for (size_t i = 1; i < sizeof(folders) / sizeof(folders[0]); i++) {
        char path[2 * NAME_BYTES];
        (void)snprintf(path, sizeof(path), "%s%s", root, folders[i]);
        MUST(mkdir(path, 0700) == 0);
    }
}

static void root_unmake(void) {
    static const char *const folders[] = {"/g/a", "/g", "/proc/self", "/proc", ""};
    char path[2 * NAME_BYTES];
    for (size_t i = 0; i < GROUP_FILES_NR; i++) {
        (void)snprintf(path, sizeof(path), "%s%s", root, group_files[i]);
        (void)unlink(path);
    }
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s%s", root, folders[i]);
        (void)rmdir(path);
    }
}

static void group_file_write(size_t index, const uint8_t *data, size_t bytes) {
    char path[2 * NAME_BYTES];
    (void)snprintf(path, sizeof(path), "%s%s", root, group_files[index]);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes);
    MUST(close(fd) == 0);
}

static void target_cgroup(const uint8_t *data, size_t bytes) {
    const uint8_t *at = data, *end = data + bytes;
    struct rt_cgroup c = {0, 0};
    if (root[0] == '\0')
        root_make();
    for (size_t i = 0; i < GROUP_FILES_NR; i++) {
        const uint8_t *stop = memchr(at, '\0', (size_t)(end - at));
        if (stop == NULL)
            stop = end;
        group_file_write(i, at, (size_t)(stop - at));
        at = stop < end ? stop + 1 : end;
    }
    rt_cgroup_root = root;
    rt_cgroup_read(1 << 20, &c);
    MUST(c.soft_bytes != 0 && c.hard_bytes != 0);
}

/* --- traces --- */

/* Else hardly an input would come past the head. */
static void head_sum_set(uint8_t *trace, size_t bytes) {
    uint64_t sum = 0xcbf29ce484222325u;
    size_t at = 0;
    if (bytes < TRACE_HEAD_BYTES)
        return;
    for (; at < offsetof(struct trace_head, head_sum); at++)
        sum = (sum ^ trace[at]) * 0x100000001b3u;
    memcpy(trace + at, &sum, sizeof(sum));
    uint64_t packed_bytes = bytes - TRACE_HEAD_BYTES;
    memcpy(trace + offsetof(struct trace_head, packed_bytes), &packed_bytes, sizeof(packed_bytes));
}

static void record_judge(const struct trace_coder *coder, const struct trace_record *r, uint64_t born_nr) {
    MUST(r->op < TRACE_OPS_NR && r->thread < coder->head.threads_nr);
    MUST(r->align_shift <= TRACE_ALIGN_SHIFT_MAX &&
         (!trace_op_births(r->op) || r->size_bytes >> TRACE_SIZE_SHIFT_MAX <= 1));
    MUST(r->dies == TRACE_NO_OBJECT || (trace_op_dies(r->op) && r->dies < born_nr));
    MUST(trace_op_births(r->op) ? r->born == born_nr && r->born < coder->head.objects_nr : r->born == TRACE_NO_OBJECT);
}

static void target_trace(const uint8_t *data, size_t bytes) {
    struct trace_coder coder;
    struct trace_record record;
    uint64_t born_nr = 0, nr = 0;
    uint8_t *trace = malloc(bytes == 0 ? 1 : bytes);
    MUST(trace != NULL);
    memcpy(trace, data, bytes);
    /* The packed bytes first: they are in the sum. */
    head_sum_set(trace, bytes);
    head_sum_set(trace, bytes);
    if (trace_read_begin(&coder, trace, bytes)) {
        for (; trace_read(&coder, &record); nr++) {
            record_judge(&coder, &record, born_nr);
            born_nr += record.born != TRACE_NO_OBJECT;
        }
        MUST(coder.problem != NULL || (nr == coder.head.records_nr && born_nr == coder.head.objects_nr));
    } else {
        MUST(coder.problem != NULL);
    }
    trace_read_end(&coder);
    free(trace);
}

#if defined(QUARRY_LIBFUZZER)
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static int told;
    if (!told++)
        (void)atexit(root_unmake);
    QUARRY_LIBFUZZER(data, bytes);
    return 0;
}
static void (*const others[])(const uint8_t *data, size_t bytes) = {target_options, target_cgroup, target_trace};
__attribute__((used)) static const void *const others_used = others;
#else

/* --- inputs --- */

static uint64_t random_state;

static size_t random_below(size_t limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return limit == 0 ? 0 : (size_t)(random_state >> 16) % limit;
}

/* One change: a bit, a byte, a piece left out, doubled, or put elsewhere. */
static size_t input_change(uint8_t *data, size_t bytes) {
    static const uint8_t odd[] = {0, '\n', ' ', ':', ',', '=', '-', '0', '9', 'G', 0x7f, 0x80, 0xff};
    size_t at = random_below(bytes), nr = 1 + random_below(16), to = random_below(bytes);
    if (bytes == 0)
        return 0;
    nr = nr < bytes - at ? nr : bytes - at;
    switch (random_below(5)) {
    case 0: data[at] ^= (uint8_t)(1 << random_below(8)); return bytes;
    case 1: data[at] = odd[random_below(sizeof(odd))]; return bytes;
    case 2: memmove(data + at, data + at + nr, bytes - at - nr); return bytes - nr;
    case 3:
        nr = nr < INPUT_BYTES - bytes ? nr : INPUT_BYTES - bytes;
        memmove(data + at + nr, data + at, bytes - at);
        return bytes + nr;
    default: memmove(data + to, data + at, nr < bytes - to ? nr : bytes - to); return bytes;
    }
}

static unsigned long input_run(void (*target)(const uint8_t *data, size_t bytes), const char *path,
                               unsigned long changed_nr) {
    static uint8_t kept[INPUT_BYTES], changed[INPUT_BYTES];
    FILE *file = fopen(path, "rb");
    MUST(file != NULL);
    size_t bytes = fread(kept, 1, sizeof(kept), file);
    (void)fclose(file);
    input_path = path;
    input_nr = 0;
    target(kept, bytes);
    for (unsigned long i = 0; i < changed_nr; i++) {
        input_nr = i + 1;
        size_t changed_bytes = bytes;
        memcpy(changed, kept, bytes);
        for (size_t k = 1 + random_below(CHANGES_MAX); k > 0; k--)
            changed_bytes = input_change(changed, changed_bytes);
        target(changed, changed_bytes);
    }
    return 1 + changed_nr;
}

static unsigned long folder_run(void (*target)(const uint8_t *data, size_t bytes), const char *folder, const char *name,
                                unsigned long changed_nr) {
    char path[1024];
    unsigned long nr = 0;
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    DIR *files = opendir(path);
    for (struct dirent *file; files != NULL && (file = readdir(files)) != NULL;) {
        if (file->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s/%s", folder, name, file->d_name);
        nr += input_run(target, path, changed_nr);
    }
    if (files != NULL)
        (void)closedir(files);
    printf("%s: %lu inputs\n", name, nr);
    return nr;
}

int main(int argc, char **argv) {
    unsigned long changed_nr = getenv("SOAK") != NULL ? CHANGED_NR * SOAK_FACTOR : CHANGED_NR;
    if (argc < 2)
        return 2;
    random_state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    MUST(random_state != 0);
    bool all = folder_run(target_options, argv[1], "options", changed_nr) != 0;
    all = folder_run(target_cgroup, argv[1], "cgroup", changed_nr / 4) != 0 && all;
    all = folder_run(target_trace, argv[1], "trace", changed_nr / 8) != 0 && all;
    root_unmake();
    return all ? 0 : 1;
}
#endif
