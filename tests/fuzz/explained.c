/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer's target for statistics: any bytes as the JSON report that `quarry explain` reads, through the command
 * itself. It must end with an answer, or with one line that says what is wrong with the file. Without libFuzzer
 * report.py does the same with damaged reports, and with the inputs that were found here.
 */
#include "../../tools/quarry/quarry.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned complaints;

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "fuzz-explain: must hold: %s\n", #condition);                                              \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

void complain(const char *format, ...) {
    char line[4096];
    va_list args;
    va_start(args, format);
    complaints++;
    if (vsnprintf(line, sizeof(line), format, args) < 0)
        abort();
    va_end(args);
}

/* The command's own is in its main file; what is printed is looked at by nobody here. */
void json_string_print(const char *text) { MUST(fputs(text, stdout) != EOF); }

void complain_option(const char *command, const char *word) { complain("%s: %s", command, word); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static char path[64], command[] = "explain", option[] = "--json";
    static int file = -1;
    if (file < 0) {
        file = memfd_create("report", MFD_CLOEXEC);
        MUST(file >= 0 && freopen("/dev/null", "w", stdout) != NULL);
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    }
    MUST(ftruncate(file, 0) == 0 && pwrite(file, data, bytes, 0) == (ssize_t)bytes);
    for (int json = 0; json < 2; json++) {
        char *words[] = {command, json ? option : path, json ? path : NULL, NULL};
        complaints = 0;
        int status = command_explain(2 + json, words);
        MUST(status == 0 ? complaints == 0 : status == 1 && complaints == 1);
    }
    return 0;
}
