/* SPDX-License-Identifier: MIT */
/* As much of a module's surroundings as its memory code needs: entry points, and printk on stdout. */
#ifndef QUARRY_TESTS_MODULE_H
#define QUARRY_TESTS_MODULE_H

#include <stdio.h>
#include <stdlib.h>

#define __init
#define __exit
#define KERN_INFO
#define KERN_ERR
#define printk(...) printf(__VA_ARGS__)

/* Loads and unloads the module; its parameter is the program's argument, 0 without, and what its init says its status.
 */
#define MODULE_RUN(load, unload, parameter)                                                                            \
    int main(int argc, char **argv) {                                                                                  \
        parameter = argc > 1 ? atoi(argv[1]) : 0;                                                                      \
        int status = load();                                                                                           \
        if (status != 0)                                                                                               \
            return -status;                                                                                            \
        unload();                                                                                                      \
        return 0;                                                                                                      \
    }

#endif
