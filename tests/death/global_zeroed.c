/* SPDX-License-Identifier: MIT */
/*
 * A global of the program is freed that was never set: far behind the file's last page, in memory that /proc/self/maps
 * shows like an allocator's.
 */
#include "crime.h"

enum { GLOBAL_BYTES = 1 << 20, ALIGN = 64 };
static char global[GLOBAL_BYTES];

int main(void) {
    char *p = (char *)(((uintptr_t)global + GLOBAL_BYTES / 2) & ~(uintptr_t)(ALIGN - 1));

    crime_expect_stranger("Q03", "wild-pointer", p);
    crime_free(p);
    return 0;
}
