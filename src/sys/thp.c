/* SPDX-License-Identifier: MIT */
/* What the administrator set of transparent hugepages, size by size (multi-size hugepages, Linux 6.8). Contract in
 * sys.h. */
#include "base/fmt.h"
#include "sys/sys.h"

#include <string.h>

enum { LARGEST_KB = 512 * 1024, TEXT_BYTES = 64, PATH_BYTES = 128 };

/* What a file gives to memory that was told nothing: one size's, or that which is for all. */
enum given { GIVEN_NEVER, GIVEN_ALWAYS, GIVEN_AS_ALL };

/* The file lists all words, the one that holds in brackets. */
static enum given file_read(const char *path) {
    char text[TEXT_BYTES];
    if (sys_read_file(path, text, sizeof(text)) <= 0)
        return GIVEN_NEVER;
    return strstr(text, "[always]") != NULL    ? GIVEN_ALWAYS
           : strstr(text, "[inherit]") != NULL ? GIVEN_AS_ALL
                                               : GIVEN_NEVER;
}

static enum given size_read(const char *root, unsigned kb) {
    char path[PATH_BYTES];
    struct fmt_buf b = fmt_init(path, sizeof(path));
    fmt_printf(&b, "%s/hugepages-%ukB/enabled", root, kb);
    return file_read(path);
}

static bool is_all_given(const char *root) {
    char path[PATH_BYTES];
    struct fmt_buf b = fmt_init(path, sizeof(path));
    fmt_printf(&b, "%s/enabled", root);
    return file_read(path) == GIVEN_ALWAYS;
}

/* Hardly a system gives the small size: there no other file is read. A kernel that has it has a file for each size, up
 * to one that depends on its pages. */
bool sys_thp_unasked_small(const char *root, size_t bytes) {
    unsigned kb = (unsigned)(bytes / KIB);
    enum given given = size_read(root, kb);
    if (given == GIVEN_NEVER)
        return false;
    bool all_given = is_all_given(root);
    if (given == GIVEN_AS_ALL && !all_given)
        return false;
    for (kb *= 2; kb <= LARGEST_KB; kb *= 2) {
        given = size_read(root, kb);
        if (given == GIVEN_ALWAYS || (given == GIVEN_AS_ALL && all_given))
            return false;
    }
    return true;
}
