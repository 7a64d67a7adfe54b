/* SPDX-License-Identifier: MIT */
/* Found in place of src/mag/most.h: each slot is a place of its own to the machine. */
#ifndef QUARRY_MAG_MOST_H
#define QUARRY_MAG_MOST_H

#include "page/page.h"

enum { FURTHER_END = PAGE_MAP_FURTHER + 1 };

#endif
