/* SPDX-License-Identifier: MIT */
/*
 * What a debugger's gcore(1) writes of a process: each mapping that is not marked to be left out (dd in
 * /proc/self/smaps), whether it holds memory or not. Of all that is mapped and reserved no more may be left in than the
 * heap's own first reservation and the program; its objects must be.
 */
#include "check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEFT_IN_MAX_KIB (UINT64_C(1536) << 10)

struct mapping {
    uintptr_t first, end;
    uint64_t kib;
};

static void mapping_count(const struct mapping *m, const void *object, uint64_t *ret_kib, int *ret_found) {
    *ret_kib += m->kib;
    *ret_found |= (uintptr_t)object >= m->first && (uintptr_t)object < m->end;
}

int main(void) {
    char line[512], *object = malloc(100), *region = malloc(8 << 20);
    struct mapping m = {0};
    uint64_t kib = 0;
    int object_found = 0, region_found = 0;

    CHECK(object != NULL && region != NULL);
    memset(object, 1, 100);
    region[0] = 1;
    FILE *maps = fopen("/proc/self/smaps", "r");
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL) {
        uintptr_t first, end;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &first, &end) == 2)
            m.first = first, m.end = end;
        (void)sscanf(line, "Size: %" SCNu64 " kB", &m.kib);
        if (!strncmp(line, "VmFlags:", 8) && strstr(line, " dd") == NULL) {
            mapping_count(&m, object, &kib, &object_found);
            uint64_t none = 0;
            mapping_count(&m, region, &none, &region_found);
        }
    }
    fclose(maps);
    CHECK(object_found && region_found);
    CHECK_MSG(kib <= LEFT_IN_MAX_KIB, "%" PRIu64 " KiB would be written", kib);
    free(object);
    free(region);
    return 0;
}
