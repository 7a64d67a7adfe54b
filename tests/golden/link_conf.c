/* SPDX-License-Identifier: MIT */
/* A program with options of its own; link.py looks at what they do. */
#include <stdio.h>
#include <stdlib.h>

const char *quarry_conf;
const char *quarry_conf = "stats:short,no_such_option:1";

int main(void) {
    void *volatile p = malloc(100);
    free(p);
    return p == NULL || puts("conf") < 0;
}
