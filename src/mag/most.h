/* SPDX-License-Identifier: MIT */
/* Up to which page map entry there are further classes. Apart, because the models of tests/model have few. */
#ifndef QUARRY_MAG_MOST_H
#define QUARRY_MAG_MOST_H

#include "page/page.h"

enum { FURTHER_END = PAGE_MAP_CLASSES };

#endif
