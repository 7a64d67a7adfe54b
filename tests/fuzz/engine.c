/* SPDX-License-Identifier: MIT */
/*
 * Random streams on the engine, in one process with libc's own malloc, so that sanitizers see everything but the heap
 * under test. Beside the shadow heap: after each stream all is free, and a trim leaves nothing. Usage: fuzz-engine
 * [SEED [STREAMS]]; with SOAK in the environment a hundred times as many; the seed of each stream is printed when it
 * fails. Or fuzz-engine --corpus FOLDER: the streams kept there, which libFuzzer found to reach different code. Built
 * with QUARRY_LIBFUZZER it is libFuzzer's target instead, and streams are its inputs.
 */
#include "ops.h"

#include "engine/engine.h"
#include "engine/start.h"
#include "page/page.h"
#include "unit/calls.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STREAM_BYTES = 8192, STREAMS_NR = 60, SOAK_FACTOR = 100 };

static void *ask(size_t size, unsigned how) {
    switch (how % 4) {
    case 0: return engine_realloc(NULL, size);
    case 1: return engine_alloc_slow(size);
    default: return alloc(size);
    }
}
static void *ask_zeros(size_t nr, size_t size, unsigned how) {
    (void)how;
    return engine_calloc(nr, size);
}
static void *ask_aligned(size_t align, size_t size, unsigned how) {
    void *p = how % 2 == 0 ? engine_memalign_fast(align, size) : NULL;
    return p != NULL ? p : engine_memalign(align, size);
}
static void drop(void *p, unsigned how) {
    if (how % 4 == 0)
        engine_free_slow(p);
    else
        give(p);
}
static void sized_free(void *p, size_t size, size_t align) { engine_free_sized(p, size, align); }
static size_t usable(void *p) { return engine_usable(p); }
static void trim(void) { (void)engine_trim(0); }
/* The engine takes 0 for 1: what realloc(p, 0) does is front/'s business. */
static void *resize(void *p, size_t size, unsigned how) {
    (void)how;
    return engine_realloc(p, size);
}

static const struct fuzz_api engine_api = {
    .malloc = ask,
    .calloc = ask_zeros,
    .realloc = resize,
    .memalign = ask_aligned,
    .free = drop,
    .free_sized = sized_free,
    .usable = usable,
    .trim = trim,
};

/* What a stream left behind. */
static void nothing_left(void) {
    (void)engine_trim(0);
    if (page_backed_bytes_racy() != 0) {
        fprintf(stderr, "fuzz: %zu bytes are backed after all was freed\n", page_backed_bytes_racy());
        abort();
    }
}

#if defined(QUARRY_LIBFUZZER)
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    (void)fuzz_run(&engine_api, data, bytes);
    nothing_left();
    return 0;
}
#else
static uint64_t current_seed;
static const char *current_file;

static void stream_tell(int signal_nr) {
    char text[256];
    int len = current_file != NULL
                  ? snprintf(text, sizeof(text), "it was the stream %s\n", current_file)
                  : snprintf(text, sizeof(text), "repeat: fuzz-engine %llu 1\n", (unsigned long long)current_seed);
    (void)!write(STDERR_FILENO, text, (size_t)len);
    signal(signal_nr, SIG_DFL);
}

static void file_run(const char *folder, const char *name) {
    static uint8_t stream[STREAM_BYTES];
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    size_t bytes = fread(stream, 1, sizeof(stream), file);
    (void)fclose(file);
    current_file = name;
    (void)fuzz_run(&engine_api, stream, bytes);
    nothing_left();
}

static unsigned long corpus_run(const char *folder) {
    unsigned long nr = 0;
    DIR *files = opendir(folder);
    for (struct dirent *file; files != NULL && (file = readdir(files)) != NULL;) {
        if (file->d_name[0] == '.')
            continue;
        file_run(folder, file->d_name);
        nr++;
    }
    if (files != NULL)
        (void)closedir(files);
    return nr;
}

static unsigned long seeds_run(uint64_t seed, unsigned long nr) {
    static uint8_t stream[STREAM_BYTES];
    for (current_seed = seed; current_seed < seed + nr; current_seed++) {
        fuzz_stream(current_seed, stream, sizeof(stream));
        (void)fuzz_run(&engine_api, stream, sizeof(stream));
        nothing_left();
    }
    return nr;
}

/* Of what the streams should do all was done. */
static int moves_missing(void) {
    int missing = fuzz_handed_nr == 0;
    for (unsigned from = 0; from < FUZZ_KINDS_NR; from++) {
        for (unsigned to = 0; to < FUZZ_KINDS_NR; to++)
            missing += fuzz_moves[from][to] == 0;
    }
    return missing;
}

int main(int argc, char **argv) {
    unsigned long nr;
    signal(SIGABRT, stream_tell);
    signal(SIGSEGV, stream_tell);
    if (argc == 3 && strcmp(argv[1], "--corpus") == 0) {
        nr = corpus_run(argv[2]);
    } else {
        uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
        nr = argc > 2 ? strtoul(argv[2], NULL, 10) : STREAMS_NR;
        nr = seeds_run(seed, getenv("SOAK") != NULL && argc <= 2 ? nr * SOAK_FACTOR : nr);
    }
    printf("%lu streams, %llu objects handed over\n", nr, (unsigned long long)fuzz_handed_nr);
    if (nr == 0 || (argc != 3 && moves_missing() != 0)) {
        fprintf(stderr, "fuzz: %lu streams, and not every kind of object became every other\n", nr);
        return 1;
    }
    return 0;
}
#endif
