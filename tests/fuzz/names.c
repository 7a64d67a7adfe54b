/* SPDX-License-Identifier: MIT */
/*
 * Random streams on libc's names, whoever serves them: prints the digest of each stream. names.py runs it on quarry and
 * on the C library and compares. Usage: fuzz-names SEED STREAMS
 */
#include "ops.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum { STREAM_BYTES = 8192 };

static void *aligned(size_t align, size_t size) {
    void *p = NULL;
    int err = posix_memalign(&p, align, size);
    if (err != 0)
        errno = err;
    return err == 0 ? p : NULL;
}
static void trim(void) { (void)malloc_trim(0); }
static int *error(void) { return &errno; }

static const struct fuzz_api names_api = {
    .malloc = malloc,
    .calloc = calloc,
    .realloc = realloc,
    .memalign = aligned,
    .free = free,
    .usable = malloc_usable_size,
    .trim = trim,
    .error = error,
};

int main(int argc, char **argv) {
    static uint8_t stream[STREAM_BYTES];
    if (argc != 3)
        return 2;
    uint64_t seed = strtoull(argv[1], NULL, 10), end = seed + strtoull(argv[2], NULL, 10);
    for (; seed < end; seed++) {
        fuzz_stream(seed, stream, sizeof(stream));
        printf("%llu %016llx\n", (unsigned long long)seed,
               (unsigned long long)fuzz_run(&names_api, stream, sizeof(stream)));
        fflush(stdout);
    }
    return 0;
}
