/* SPDX-License-Identifier: MIT */
/* The two words of offset_shared_aarch64.S, which are the same in an executable. Here for the build, which names the two files on every architecture. */
#include "mag/arch/offset_shared_aarch64.S"
