/* SPDX-License-Identifier: MIT */
/* As much of a module's surroundings as its memory code needs: entry points, and printk on stdout. */
#ifndef QUARRY_TESTS_MODULE_H
#define QUARRY_TESTS_MODULE_H

#include <stdio.h>

#define __init
#define __exit
#define KERN_INFO
#define KERN_ERR
#define printk(...) printf(__VA_ARGS__)

/* Loads and unloads the module; what its init says is the program's status. */
#define MODULE_RUN(load, unload)                                                                                       \
    int main(void) {                                                                                                   \
        int status = load();                                                                                           \
        if (status != 0)                                                                                               \
            return 1;                                                                                                  \
        unload();                                                                                                      \
        return 0;                                                                                                      \
    }

#endif
