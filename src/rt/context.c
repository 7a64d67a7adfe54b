/* SPDX-License-Identifier: MIT */
/* The words behind context.h. */
#include "rt/context.h"

__thread _Atomic(u8) rt_context_word;
_Atomic(u32) rt_chores;
