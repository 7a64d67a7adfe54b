/* SPDX-License-Identifier: MIT */
/*
 * A library opened at run time, in the ordinary way and with RTLD_DEEPBIND, which makes it look for malloc and
 * free in its own dependencies first: it frees the program's memory and the program frees its memory, in both
 * directions and for every tier, while the library comes and goes. Argument: the library.
 */
#include "check.h"
#include "life_plugin.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static const size_t tier_bytes[] = {1, 48, 1000, 5000, 30000, 100000, 1 << 20, 3 << 20};
enum { TIERS = sizeof tier_bytes / sizeof tier_bytes[0], ROUNDS = 60 };

static void memory_cross(const struct plugin *plugin, size_t bytes) {
    unsigned char *ours = malloc(bytes), *theirs = plugin->alloc(bytes);

    CHECK(ours != NULL && theirs != NULL);
    memset(ours, 1, bytes);
    memset(theirs, 2, bytes);
    CHECK(malloc_usable_size(theirs) >= bytes);
    ours = plugin->resize(ours, bytes * 2);
    theirs = realloc(theirs, bytes * 2);
    CHECK(ours != NULL && theirs != NULL);
    CHECK(ours[bytes - 1] == 1 && theirs[bytes - 1] == 2);
    plugin->release(ours);
    free(theirs);
}

static void text_cross(const struct plugin *plugin) {
    char *text = strdup("from the program"), *copy = plugin->copy(text);

    CHECK(text != NULL && copy != NULL && !strcmp(text, copy));
    plugin->release(text);
    free(copy);
}

static void plugin_exercise(const char *path, int flags) {
    const struct plugin *(*get)(void);
    void *library = dlopen(path, flags), *symbol;

    CHECK_MSG(library != NULL, "%s", dlerror());
    symbol = dlsym(library, "plugin_get");
    CHECK(symbol != NULL);
    memcpy(&get, &symbol, sizeof get);
    for (size_t i = 0; i < TIERS; i++)
        memory_cross(get(), tier_bytes[i]);
    text_cross(get());
    CHECK(dlclose(library) == 0);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    for (int round = 0; round < ROUNDS; round++) {
        plugin_exercise(argv[1], RTLD_NOW);
        plugin_exercise(argv[1], RTLD_LAZY | RTLD_DEEPBIND);
        plugin_exercise(argv[1], RTLD_NOW | RTLD_GLOBAL | RTLD_DEEPBIND);
    }
    CHECK(dlopen("/nowhere/no-such-library.so", RTLD_NOW | RTLD_DEEPBIND) == NULL && dlerror() != NULL);
    return 0;
}
