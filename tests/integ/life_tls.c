/* SPDX-License-Identifier: MIT */
/*
 * Libraries that come and go in a process whose static TLS block is full: libraries that need a piece of it are loaded
 * until the loader refuses one. Then several threads load and unload a library that allocates in its constructor and
 * destructor, and whose thread-local block libc allocates in the thread that touches it, which still runs when the
 * library goes. The oracle: the libraries check their own objects, blocks are zero at first, and the pools of
 * the threads beside. Arguments: the library that needs static TLS, the one that comes and goes.
 */
#include "check.h"
#include "oracle.h"
#include "workers.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCKS_MAX = 4096, LOADERS = 4, ROUNDS = 30, COPIES = 4, WORKERS = 4, SIZE_LIMIT = 60000 };

static struct pool pools[LOADERS];
static char copies[COPIES][64]; /* paths */

/* The loader takes each for a library of its own, because it is a file of its own. */
static void copy_make(const char *path, char *ret_path, size_t path_bytes) {
    struct stat info;
    int from = open(path, O_RDONLY | O_CLOEXEC), to = memfd_create("copy", MFD_CLOEXEC);
    CHECK(from >= 0 && to >= 0 && fstat(from, &info) == 0);
    CHECK(sendfile(to, from, NULL, (size_t)info.st_size) == info.st_size);
    close(from);
    (void)snprintf(ret_path, path_bytes, "/proc/self/fd/%d", to);
}

static void static_tls_fill(const char *path) {
    unsigned nr = 0;
    bool full = false;
    for (; nr < BLOCKS_MAX && !full; nr++) {
        char copy[64];
        copy_make(path, copy, sizeof(copy));
        full = dlopen(copy, RTLD_NOW | RTLD_LOCAL) == NULL;
        if (full)
            CHECK_MSG(strstr(dlerror(), "static TLS") != NULL, "a library was refused for another reason");
    }
    CHECK_MSG(full && nr > 1, "%u libraries did not fill the static TLS block", nr);
    printf("%u blocks of static TLS\n", nr - 1);
}

static void block_use(void *library, unsigned char filling) {
    char *(*local_get)(size_t * ret_bytes);
    void *symbol = dlsym(library, "local_get");
    size_t bytes;
    CHECK(symbol != NULL);
    memcpy(&local_get, &symbol, sizeof(symbol));
    char *local = local_get(&bytes);
    CHECK_MSG(local[0] == 0 && local[bytes - 1] == 0, "a new block is not zero");
    memset(local, filling, bytes);
}

/* Each thread has a copy of the library to itself, so that it really goes. */
static void *loader_run(void *arg) {
    size_t i = (size_t)(uintptr_t)arg;
    for (unsigned round = 0; round < ROUNDS; round++) {
        void *library = dlopen(copies[i], RTLD_NOW | RTLD_LOCAL);
        CHECK_MSG(library != NULL, "%s", dlerror());
        block_use(library, (unsigned char)(round + 1));
        pool_steps(&pools[i], 100);
        CHECK(dlclose(library) == 0);
        CHECK_MSG(dlopen(copies[i], RTLD_NOW | RTLD_NOLOAD) == NULL, "the library stayed");
        pool_steps(&pools[i], 20);
    }
    pool_drain(&pools[i]);
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t loaders[LOADERS];
    CHECK(argc == 3);
    static_tls_fill(argv[1]);
    for (size_t i = 0; i < COPIES; i++)
        copy_make(argv[2], copies[i], sizeof(copies[i]));
    workers_start(WORKERS, 13, SIZE_LIMIT, POOL_ENOMEM_FATAL);
    for (size_t i = 0; i < LOADERS; i++) {
        pool_init(&pools[i], 13, i, SIZE_LIMIT);
        CHECK(pthread_create(&loaders[i], NULL, loader_run, (void *)(uintptr_t)i) == 0);
    }
    for (size_t i = 0; i < LOADERS; i++)
        CHECK(pthread_join(loaders[i], NULL) == 0);
    workers_stop();
    return 0;
}
