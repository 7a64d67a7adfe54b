/* SPDX-License-Identifier: MIT */
/*
 * Hugepages of the administrator's pool (hugetlbfs), where the option hugetlb asks for them: for records of the tiers,
 * and for big regions here. docs/adr/0068-hugepages-of-the-pool.md.
 */
#ifndef QUARRY_PAGE_HUGETLB_H
#define QUARRY_PAGE_HUGETLB_H

#include "page/page.h"

/* bytes (a multiple of 2 MiB) of the pool for a big region, writable, zero and in memory, so that no touch of it can
 * fail; covered by chunks, its first record marked. NULL: not wanted, or the pool has not so many. */
char *hugetlb_region_map(size_t bytes);
static inline bool hugetlb_is_region(const struct hpage *h) { return hpage_huge(h) == HPAGE_HUGETLB; }
/* The region's memory is about to be unmapped: before it is, so that a child of a fork at that moment looks for none.
 */
void hugetlb_region_leave(struct hpage *h, size_t bytes);
/* So many bytes at its end are about to be unmapped. */
void hugetlb_region_cut(size_t bytes);

#endif
