/* SPDX-License-Identifier: MIT */
/* A library with per-CPU variables, opened while the program runs: what percpu.c calls of it. */
#ifndef QUARRY_TESTS_PERCPU_LIB_H
#define QUARRY_TESTS_PERCPU_LIB_H

#include "check.h"

#include <dlfcn.h>
#include <string.h>

struct percpu_lib {
    void *handle;
    void (*count)(int nr);
    int (*sum)(void);
    long *seed; /* its per-CPU variable */
};

static inline void *percpu_lib_symbol(struct percpu_lib *lib, const char *name) {
    void *symbol = dlsym(lib->handle, name);
    CHECK_MSG(symbol != NULL, "the library has no %s", name);
    return symbol;
}

static inline void percpu_lib_open(struct percpu_lib *lib) {
    void *count, *sum;
    lib->handle = dlopen(PERCPU_LIB, RTLD_NOW);
    CHECK_MSG(lib->handle != NULL, "%s", dlerror());
    count = percpu_lib_symbol(lib, "lib_count");
    sum = percpu_lib_symbol(lib, "lib_sum");
    memcpy(&lib->count, &count, sizeof(count));
    memcpy(&lib->sum, &sum, sizeof(sum));
    lib->seed = percpu_lib_symbol(lib, "lib_seed");
}

static inline void percpu_lib_close(struct percpu_lib *lib) { CHECK(dlclose(lib->handle) == 0); }

#endif
