/* SPDX-License-Identifier: MIT */
/* The one counter behind usage.h. */
#include "rt/usage.h"

_Atomic(s64) rt_usage_bytes;
