/* SPDX-License-Identifier: MIT */
/* A library whose thread-local block must be in the static TLS area. life_tls.c loads copies of it until that is full.
 */
enum { BLOCK_BYTES = 64 };
static _Thread_local char block[BLOCK_BYTES] __attribute__((tls_model("initial-exec")));

char *block_get(void);
char *block_get(void) { return block; }
