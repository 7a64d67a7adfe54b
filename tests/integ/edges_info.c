/* SPDX-License-Identifier: MIT */
/*
 * Edge cases of mallinfo, mallinfo2, malloc_info, malloc_stats, malloc_trim and mallopt, which must tell the truth
 * about the allocator that really serves, and of the surroundings: small stacks, other threads, libc's own
 * allocations. Rows in edges.def.
 */
#include "edges.h"

#include "proc.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INFO_TOTAL_BYTES = 16 << 20, INFO_SLACK_BYTES = 2 << 20 };

/* glibc books mappings of their own under hblkhd and the rest under uordblks; together they are what is in use. */
static size_t used_bytes(void) {
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

void edge_mallinfo_follows(size_t size) {
    size_t held_nr = INFO_TOTAL_BYTES / size;
    void **held = edge_alloc(held_nr * sizeof *held);
    size_t start_bytes = used_bytes(), usable_bytes = 0, grown_bytes, end_bytes;

    for (size_t i = 0; i < held_nr; i++) {
        held[i] = edge_alloc(size);
        usable_bytes += malloc_usable_size(held[i]);
    }
    grown_bytes = used_bytes() - start_bytes;
    CHECK_MSG(grown_bytes >= held_nr * size && grown_bytes >= usable_bytes - usable_bytes / 10,
              "%zu bytes allocated, %zu usable, books grew by %zu", held_nr * size, usable_bytes, grown_bytes);
    /* The hardened mode has what is beyond the size asked for not used, and guarded. */
    size_t beyond_bytes = getenv("QUARRY_HARDEN") != NULL ? usable_bytes / 4 : usable_bytes / 8;
    CHECK_MSG(grown_bytes <= usable_bytes + beyond_bytes, "%zu bytes usable, books grew by %zu", usable_bytes,
              grown_bytes);
    for (size_t i = 0; i < held_nr; i++)
        free(held[i]);
    end_bytes = used_bytes();
    CHECK_MSG(end_bytes <= start_bytes + INFO_SLACK_BYTES, "all freed, books say %zu, at the start %zu", end_bytes,
              start_bytes);
    free(held);
}

void edge_mallinfo_agrees(size_t unused) {
    struct mallinfo (*fn)(void);
    struct mallinfo narrow;
    struct mallinfo2 wide;
    void *p = edge_alloc(1 << 20);

    (void)unused;
    symbol_get("mallinfo", &fn);
    CHECK(fn != NULL);
    narrow = fn();
    wide = mallinfo2();
    CHECK_MSG((size_t)narrow.uordblks == wide.uordblks && (size_t)narrow.arena == wide.arena &&
                  (size_t)narrow.hblkhd == wide.hblkhd && (size_t)narrow.fordblks == wide.fordblks,
              "uordblks %d and %zu, arena %d and %zu", narrow.uordblks, wide.uordblks, narrow.arena, wide.arena);
    free(p);
}

void edge_mallinfo_adds_up(size_t unused) {
    enum { HELD_NR = 3000 };
    static void *held[HELD_NR];

    (void)unused;
    for (size_t i = 0; i < HELD_NR; i++)
        held[i] = edge_alloc(i);
    for (size_t i = 0; i < HELD_NR; i += 2)
        free(held[i]);
    {
        struct mallinfo2 info = mallinfo2();
        CHECK_MSG(info.uordblks + info.fordblks <= info.arena + info.hblkhd,
                  "used %zu, free %zu, arena %zu, mapped %zu", info.uordblks, info.fordblks, info.arena, info.hblkhd);
        CHECK(info.uordblks > 0 && info.arena > 0);
    }
}

enum { XML_DEPTH = 32, XML_NAME = 64 };

/* Answers the tag's end; names are pushed and popped on a stack of elements. */
static const char *xml_tag(const char *at, char (*stack)[XML_NAME], size_t *depth) {
    const char *end = strchr(at, '>');
    size_t closing = at[0] == '/', length = strcspn(at + closing, " \t\n/>");

    CHECK_MSG(end != NULL && length > 0 && length < XML_NAME, "malformed tag <%.40s", at);
    if (at[0] == '?' || at[0] == '!')
        return end + 1;
    if (closing) {
        CHECK_MSG(*depth > 0, "</%.20s closes nothing", at);
        *depth -= 1;
        CHECK_MSG(strlen(stack[*depth]) == length && !strncmp(stack[*depth], at + 1, length), "<%s> closed by <%.20s",
                  stack[*depth], at);
    } else if (end[-1] != '/') {
        CHECK(*depth < XML_DEPTH);
        memcpy(stack[*depth], at, length);
        stack[*depth][length] = '\0';
        *depth += 1;
    }
    return end + 1;
}

static void xml_check(const char *text) {
    char stack[XML_DEPTH][XML_NAME];
    size_t depth = 0, tags_nr = 0;
    const char *at = text;

    while ((at = strchr(at, '<')) != NULL) {
        at = xml_tag(at + 1, stack, &depth);
        tags_nr++;
    }
    CHECK_MSG(depth == 0, "%zu elements are not closed", depth);
    CHECK_MSG(tags_nr >= 2 && strstr(text, "<malloc") != NULL, "no <malloc> element in: %.60s", text);
}

void edge_malloc_info(size_t unused) {
    char *text = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);
    void *p = edge_alloc(SIZE_RUN);

    (void)unused;
    CHECK(memory != NULL);
    CHECK(malloc_info(0, memory) == 0);
    CHECK(fclose(memory) == 0 && length > 20);
    xml_check(text);
    free(text);
    free(p);
}

void edge_malloc_info_invalid(size_t unused) {
    (void)unused;
    CHECK(malloc_info(1, stdout) != 0);
}

/* Answers how many bytes the function wrote to that descriptor. */
static size_t written_bytes(int fd, void (*write_all)(void)) {
    char buffer[1 << 16];
    int saved = dup(fd), pipes[2];
    ssize_t got;

    CHECK(saved >= 0 && pipe(pipes) == 0 && dup2(pipes[1], fd) == fd);
    write_all();
    fflush(NULL);
    CHECK(dup2(saved, fd) == fd && close(pipes[1]) == 0);
    got = read(pipes[0], buffer, sizeof buffer);
    close(pipes[0]);
    CHECK(got >= 0);
    return (size_t)got;
}

static size_t stats_on_stdout_bytes;

static void stats_count_stdout(void) { stats_on_stdout_bytes = written_bytes(STDOUT_FILENO, malloc_stats); }

void edge_malloc_stats(size_t unused) {
    (void)unused;
    CHECK(written_bytes(STDERR_FILENO, stats_count_stdout) > 20);
    CHECK(stats_on_stdout_bytes == 0);
}

static void *stats_thread(void *unused) {
    (void)unused;
    pthread_cancel(pthread_self());
    malloc_stats();
    return NULL;
}

static void stats_cancelled(void) {
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, stats_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* A lock left held by the cancelled thread would hang the calls that follow. */
void edge_malloc_stats_cancelled(size_t unused) {
    (void)unused;
    written_bytes(STDERR_FILENO, stats_cancelled);
    for (size_t i = 0; i < 1000; i++)
        free(edge_alloc(i * 100));
    CHECK(written_bytes(STDERR_FILENO, malloc_stats) > 20);
}

void edge_malloc_trim(size_t unused) {
    enum { HELD_NR = 64 << 10 };
    static void *held[HELD_NR];
    size_t start_bytes = proc_resident_bytes(), full_bytes, end_bytes;

    (void)unused;
    for (size_t i = 0; i < HELD_NR; i++) {
        held[i] = edge_alloc(1000);
        memset(held[i], 1, 1000);
    }
    full_bytes = proc_resident_bytes();
    CHECK(full_bytes > start_bytes + (50 << 20));
    for (size_t i = 0; i < HELD_NR; i++)
        free(held[i]);
    end_bytes = proc_resident_bytes();
    CHECK_MSG(malloc_trim(0) == 1 || end_bytes < start_bytes + (4 << 20), "malloc_trim says it gave nothing back");
    end_bytes = proc_resident_bytes();
    CHECK_MSG(end_bytes < start_bytes + (16 << 20), "%zu MiB held after malloc_trim, %zu at the start", end_bytes >> 20,
              start_bytes >> 20);
}

void edge_malloc_trim_nothing(size_t unused) {
    (void)unused;
    malloc_trim(0);
    CHECK(malloc_trim(0) == 0);
}

void edge_mallopt(size_t row) {
    static const struct {
        int parameter, value;
    } known[] = {{M_MXFAST, 64},     {M_TRIM_THRESHOLD, 1 << 20}, {M_TOP_PAD, 1 << 16}, {M_MMAP_THRESHOLD, 1 << 20},
                 {M_MMAP_MAX, 1000}, {M_CHECK_ACTION, 3},         {M_PERTURB, 0x5a},    {M_ARENA_TEST, 2},
                 {M_ARENA_MAX, 2}};

    CHECK(mallopt(known[row].parameter, known[row].value) == 1);
    for (size_t size = 1; size < 5 << 20; size = size * 2 + 1) {
        void *p = edge_alloc(size);
        edge_fill(p, size, 1);
        edge_verify(p, size, 1);
        free(p);
    }
}

void edge_mallopt_answer(size_t row) {
    static const struct {
        int parameter, value, answer;
    } said[] = {{77, 1, 1},
                {M_MXFAST, 160, 1},
                {M_MXFAST, 161, 0},
                {M_MXFAST, -1, 0},
                {M_MMAP_THRESHOLD, 32 << 20, 1},
                {M_MMAP_THRESHOLD, (32 << 20) + 1, 1},
                {M_MMAP_THRESHOLD, -1, 1},
                {M_PERTURB, 0x12345, 1}};

    CHECK(mallopt(said[row].parameter, said[row].value) == said[row].answer);
}

/* The hints say nothing to quarry, and this is what README promises of them. */
void edge_mallopt_perturb(size_t unused) {
    enum { FREE_NR = 2000, SIZE = 96 };
    static unsigned char *held[FREE_NR];
    size_t kept = 0;

    (void)unused;
    CHECK(mallopt(M_PERTURB, 0x5a) == 1);
    for (unsigned i = 0; i < FREE_NR; i++)
        memset(held[i] = edge_alloc(SIZE), 0x77, SIZE);
    for (unsigned i = 0; i < FREE_NR; i++)
        free(held[i]);
    for (unsigned i = 0; i < FREE_NR; i++)
        kept += (held[i] = edge_alloc(SIZE))[SIZE - 1] == 0x77;
    CHECK(kept > 0);
    for (unsigned i = 0; i < FREE_NR; i++)
        free(held[i]);
}

void edge_mallopt_threshold(size_t unused) {
    (void)unused;
    CHECK(mallopt(M_MMAP_THRESHOLD, 4096) == 1);
    size_t before = mallinfo2().hblks;
    void *p = edge_alloc(SIZE_RUN);
    CHECK(mallinfo2().hblks == before);
    free(p);
}

static void *tiers_thread(void *unused) {
    static const size_t sizes[] = {1, SIZE_SMALL, 1024, SIZE_MEDIUM, SIZE_RUN, SIZE_BIG};

    for (size_t round = 0; round < 50; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            unsigned char *p = edge_alloc(sizes[i]), *q = opaque(calloc(opaque_size(1), sizes[i]));
            CHECK(q != NULL);
            p = opaque(realloc(p, sizes[i] * 2));
            CHECK(p != NULL);
            p[sizes[i] - 1] = 1;
            free(p);
            free(q);
            free(opaque(memalign(4096, sizes[i])));
        }
    }
    malloc_trim(0);
    return unused;
}

void edge_tiny_stack(size_t unused) {
    pthread_attr_t attributes;
    pthread_t thread;

    (void)unused;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, (size_t)sysconf(_SC_THREAD_STACK_MIN)) == 0);
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&thread, &attributes, tiers_thread, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
}

enum { CROSSING_NR = 2000 };

static void *crossing_thread(void *slots) {
    void **held = slots;

    for (size_t i = 0; i < CROSSING_NR; i++) {
        edge_verify(held[i], 1 + i * 7 % 3000, (unsigned)i);
        free(held[i]);
        held[i] = edge_alloc(1 + i * 11 % 3000);
        edge_fill(held[i], 1 + i * 11 % 3000, (unsigned)i + 1);
    }
    return NULL;
}

void edge_crosses_threads(size_t unused) {
    static void *held[CROSSING_NR];
    pthread_t thread;

    (void)unused;
    for (size_t i = 0; i < CROSSING_NR; i++) {
        held[i] = edge_alloc(1 + i * 7 % 3000);
        edge_fill(held[i], 1 + i * 7 % 3000, (unsigned)i);
    }
    CHECK(pthread_create(&thread, NULL, crossing_thread, held) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    for (size_t i = 0; i < CROSSING_NR; i++) {
        edge_verify(held[i], 1 + i * 11 % 3000, (unsigned)i + 1);
        free(held[i]);
    }
}

/* Memory that libc hands to the program must come from the allocator whose free the program calls. */
void edge_libc_memory(size_t unused) {
    char *line = NULL, *text = NULL;
    size_t room = 0;
    FILE *file = fopen("/proc/self/status", "r");

    (void)unused;
    CHECK(file != NULL && getline(&line, &room, file) > 0);
    CHECK(malloc_usable_size(line) >= room);
    fclose(file);
    CHECK(asprintf(&text, "%0500d", 7) == 500 && malloc_usable_size(text) >= 501);
    free(text);
    text = strdup(line);
    CHECK(text != NULL && !strcmp(text, line));
    free(text);
    free(line);
    line = getcwd(NULL, 0);
    CHECK(line != NULL && malloc_usable_size(line) > strlen(line));
    free(line);
    line = realpath("/proc/self/..", NULL);
    CHECK(line != NULL && !strcmp(line, "/proc"));
    free(line);
}
