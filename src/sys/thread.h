/* SPDX-License-Identifier: MIT */
/* What libquarry-kmem asks of the system beyond sys.h; not part of libquarry, which uses no pthread key. */
#ifndef QUARRY_SYS_THREAD_H
#define QUARRY_SYS_THREAD_H

#include "base/types.h"

/* Sleeps while the word is as seen, until a wake; may return early. The other wakes all who sleep. Async-signal-safe.
 */
void sys_word_wait(_Atomic(u32) *word, u32 seen);
void sys_word_wake(_Atomic(u32) *word);

/* A key for calls at the end of threads; false when there is none left. */
bool sys_thread_end_prepare(u32 *ret_key, void (*fn)(void *unused));
/* fn will be called when this thread ends, once. False: memory is out. */
bool sys_thread_end_call(u32 key);

/* The kernel's number of this thread, without asking it where the C library tells. Async-signal-safe. */
u32 sys_thread_number(void);

#endif
