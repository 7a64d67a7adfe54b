/* SPDX-License-Identifier: MIT */
/*
 * What life_dlopen.c calls in the library it opens at run time.
 */
#ifndef QUARRY_TESTS_LIFE_PLUGIN_H
#define QUARRY_TESTS_LIFE_PLUGIN_H

#include <stddef.h>

struct plugin {
    void *(*alloc)(size_t bytes);
    void *(*resize)(void *memory, size_t bytes);
    void (*release)(void *memory);
    char *(*copy)(const char *text);
};

/* Exported as "plugin_get". */
const struct plugin *plugin_get(void);

#endif
