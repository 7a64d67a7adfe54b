/* SPDX-License-Identifier: MIT */
/*
 * A library for dlopen: allocates in its constructor, frees in its destructor, and frees, resizes and returns memory
 * for the program. Whose malloc it calls is decided by how it was opened.
 */
#include "life_plugin.h"

#include <stdlib.h>
#include <string.h>

static void *constructed[50];

__attribute__((constructor)) static void plugin_init(void) {
    for (size_t i = 0; i < 50; i++)
        constructed[i] = calloc(i + 1, 33);
}

__attribute__((destructor)) static void plugin_fini(void) {
    for (size_t i = 0; i < 50; i++)
        free(constructed[i]);
}

static void *plugin_alloc(size_t bytes) { return malloc(bytes); }

static void *plugin_resize(void *memory, size_t bytes) { return realloc(memory, bytes); }

static void plugin_release(void *memory) { free(memory); }

static char *plugin_copy(const char *text) { return strdup(text); }

const struct plugin *plugin_get(void) {
    static const struct plugin table = {plugin_alloc, plugin_resize, plugin_release, plugin_copy};

    return &table;
}
