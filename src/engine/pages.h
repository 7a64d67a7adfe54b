/* SPDX-License-Identifier: MIT */
/*
 * The page allocator as the rest of the engine is: started when needed, reclaiming when memory is out, ticking. Called
 * by front/ for libquarry-kmem. Thread-safe and async-signal-safe as engine.h says.
 */
#ifndef QUARRY_ENGINE_PAGES_H
#define QUARRY_ENGINE_PAGES_H

#include "buddy/buddy.h"

/* buddy_alloc; where memory is out all that can be given back is, and a second attempt made. */
struct buddy_page *engine_pages_alloc(unsigned order, unsigned flags);
/* The same of a node, by the kernel's number (negative: this thread's), or the nearest with memory; with BUDDY_STRICT
 * all of it lies there, or NULL. */
struct buddy_page *engine_pages_alloc_node(unsigned order, unsigned flags, int id);
/* buddy_free and buddy_put, without system call; and of the pages at p, which must be the first byte of some: anything
 * else is misuse. What becomes free as a whole goes back with the next call of somebody who may block. */
struct buddy_given engine_page_free(struct buddy_page *page, unsigned order);
struct buddy_given engine_page_put(struct buddy_page *page);
struct buddy_given engine_pages_free(void *p, unsigned order);
/* The record of the page p lies in; where there is none, misuse. */
struct buddy_page *engine_page_of(const void *p);

#endif
