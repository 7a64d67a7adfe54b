/* SPDX-License-Identifier: MIT */
/*
 * Objects of classes made for a cache: what engine.h does by size, done by class. Called by front/ for the kernel API.
 * Conventions as in engine.h. The fast path is the caller's: rseq_pop() with the class's slot.
 */
#ifndef QUARRY_ENGINE_CACHE_H
#define QUARRY_ENGINE_CACHE_H

#include "engine/engine.h"
#include "rt/context.h"

/* An object of the class, whatever it takes; NULL when memory is out. */
void *engine_class_alloc_slow(unsigned cls);
/* The same of a node, as engine_alloc_node(). */
void *engine_class_alloc_node(unsigned cls, int id, enum engine_node how);
/* As the first without system call or waiting, out of magazines, depot, slabs that have room, or the reserve if the
 * context has it. Async-signal-safe. */
void *engine_class_alloc_atomic(unsigned cls, enum rt_context context);
/* Up to nr objects; fewer where memory is out. */
size_t engine_class_alloc_bulk(unsigned cls, size_t nr, void **objs);
/* An object of any class, and NULL, said to be of this one's cache; what the fast path refused. */
struct quarry_core1_class;
void engine_class_free_slow(const struct quarry_core1_class *class, void *p);
/* Objects of any class, and NULL; runs of this one go to the magazine together. */
void engine_class_free_bulk(unsigned cls, size_t nr, void *const *objs);
/* Objects of size classes, whichever, up to the first that is none; returns how many were freed. Objects of one class
 * that follow each other go to the magazine together. As every free of the kernel API without system call or waiting.
 */
size_t engine_free_bulk(size_t nr, void *const *objs);

#endif
