/* SPDX-License-Identifier: MIT */
/*
 * The one line a bench program prints: a flat JSON object. Keys are printf formats, so that a sweep writes "ns_64".
 * Every line says which file malloc came from, because a failed preload is only a warning to the dynamic linker and
 * would otherwise be measured as glibc. Not thread-safe; called by main() after the measurement.
 */
#ifndef BENCH_JSON_H
#define BENCH_JSON_H

#include <stdint.h>

void json_open(const char *program);
__attribute__((format(printf, 2, 3))) void json_u64(uint64_t value, const char *key_format, ...);
__attribute__((format(printf, 2, 3))) void json_f64(double value, const char *key_format, ...);
/* Writes the line. Adds rss_end_bytes, the resident set at this moment, unless the program has said what its end is. */
void json_close(void);

#endif
