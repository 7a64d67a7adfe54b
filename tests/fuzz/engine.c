/* SPDX-License-Identifier: MIT */
/*
 * Random streams on the engine, in one process with libc's own malloc, so that sanitizers see everything but the heap
 * under test. Beside the shadow heap: after each stream all is free, and a trim leaves nothing. Usage: fuzz-engine
 * [SEED [STREAMS]]; with SOAK in the environment a hundred times as many; the seed of each stream is printed when it
 * fails. Built with QUARRY_LIBFUZZER it is libFuzzer's target instead, and streams are its inputs.
 */
#include "ops.h"

#include "engine/engine.h"
#include "engine/start.h"
#include "page/page.h"
#include "unit/calls.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STREAM_BYTES = 8192, STREAMS_NR = 60, SOAK_FACTOR = 100 };

static void sized_free(void *p, size_t size) { engine_free_sized(p, size, 0); }
static size_t usable(void *p) { return engine_usable(p); }
static void trim(void) { (void)engine_trim(0); }
/* The engine takes 0 for 1: what realloc(p, 0) does is front/'s business. */
static void *resize(void *p, size_t size) { return engine_realloc(p, size); }

static const struct fuzz_api engine_api = {
    .malloc = alloc,
    .calloc = engine_calloc,
    .realloc = resize,
    .memalign = engine_memalign,
    .free = give,
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

static void seed_tell(int signal_nr) {
    char text[64];
    int len = snprintf(text, sizeof(text), "repeat: fuzz-engine %llu 1\n", (unsigned long long)current_seed);
    (void)!write(STDERR_FILENO, text, (size_t)len);
    signal(signal_nr, SIG_DFL);
}

int main(int argc, char **argv) {
    static uint8_t stream[STREAM_BYTES];
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    unsigned long nr = argc > 2 ? strtoul(argv[2], NULL, 10) : STREAMS_NR;
    signal(SIGABRT, seed_tell);
    signal(SIGSEGV, seed_tell);
    if (getenv("SOAK") != NULL && argc <= 2)
        nr *= SOAK_FACTOR;
    for (current_seed = seed; current_seed < seed + nr; current_seed++) {
        fuzz_stream(current_seed, stream, sizeof(stream));
        (void)fuzz_run(&engine_api, stream, sizeof(stream));
        nothing_left();
    }
    printf("%lu streams from seed %llu\n", nr, (unsigned long long)seed);
    return 0;
}
#endif
