/* SPDX-License-Identifier: MIT */
/* What the administrator set of transparent hugepages, size by size (multi-size hugepages, Linux 6.8). Contract in
 * sys.h. */
#include "base/fmt.h"
#include "sys/sys.h"

#include <string.h>

enum { SMALLEST_KB = 8, LARGEST_KB = 2048, TEXT_BYTES = 64, PATH_BYTES = 128 };

/* What the size gives to memory that was told nothing. A kernel without the file gives one size, as all is set. */
enum given { GIVEN_NEVER, GIVEN_ALWAYS, GIVEN_AS_ALL };

/* The file lists all words, the one that holds in brackets. */
static enum given file_read(const char *path, enum given missing) {
    char text[TEXT_BYTES];
    if (sys_read_file(path, text, sizeof(text)) <= 0)
        return missing;
    return strstr(text, "[always]") != NULL    ? GIVEN_ALWAYS
           : strstr(text, "[inherit]") != NULL ? GIVEN_AS_ALL
                                               : GIVEN_NEVER;
}

static bool size_is_given(const char *root, unsigned kb, bool all_given) {
    char path[PATH_BYTES];
    struct fmt_buf b = fmt_init(path, sizeof(path));
    fmt_printf(&b, "%s/hugepages-%ukB/enabled", root, kb);
    enum given given = file_read(path, kb == LARGEST_KB ? GIVEN_AS_ALL : GIVEN_NEVER);
    return given == GIVEN_ALWAYS || (given == GIVEN_AS_ALL && all_given);
}

/* Whether any of the sizes from one to another comes unasked. */
static bool any_is_given(const char *root, unsigned from_kb, unsigned to_kb, bool all_given) {
    for (unsigned kb = from_kb; kb <= to_kb; kb *= 2) {
        if (size_is_given(root, kb, all_given))
            return true;
    }
    return false;
}

/* The small ones first: hardly a system gives any, and no further file is read. */
bool sys_thp_unasked_small(const char *root, size_t most_bytes) {
    char path[PATH_BYTES];
    struct fmt_buf b = fmt_init(path, sizeof(path));
    fmt_printf(&b, "%s/enabled", root);
    bool all_given = file_read(path, GIVEN_NEVER) == GIVEN_ALWAYS;
    unsigned most_kb = (unsigned)(most_bytes / KIB);
    return any_is_given(root, SMALLEST_KB, most_kb, all_given) &&
           !any_is_given(root, 2 * most_kb, LARGEST_KB, all_given);
}
