/* SPDX-License-Identifier: MIT */
/* A directory with files for one test, removed with it; for code that reads /proc or /sys below a pretend root. */
#ifndef QUARRY_TESTS_UNIT_FILES_H
#define QUARRY_TESTS_UNIT_FILES_H

#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char files_root[64];

static inline const char *files_start(void) {
    strcpy(files_root, "/tmp/quarry-test-XXXXXX");
    cr_assert_not_null(mkdtemp(files_root));
    return files_root;
}

/* Makes the folders on the way. The path begins with a slash. */
static inline void files_write(const char *path, const char *text) {
    char whole[512];
    snprintf(whole, sizeof(whole), "%s%s", files_root, path);
    for (char *slash = strchr(whole + strlen(files_root) + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        cr_assert(mkdir(whole, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *file = fopen(whole, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

static inline int files_remove(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static inline void files_end(void) { (void)nftw(files_root, files_remove, 8, FTW_DEPTH | FTW_PHYS); }

#endif
