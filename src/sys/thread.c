/* SPDX-License-Identifier: MIT */
/* Waiting words, and the end of threads: for libquarry-kmem alone, which has a thread of its own. Contract in thread.h.
 */
#include "sys/thread.h"

#include "sys/call.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <time.h>

void sys_word_wait(_Atomic(u32) *word, u32 seen) { (void)SYS6(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, 0, 0, 0); }
void sys_word_wake(_Atomic(u32) *word) { (void)SYS3(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX); }

bool sys_thread_end_prepare(u32 *ret_key, void (*fn)(void *unused)) {
    pthread_key_t key;
    if (pthread_key_create(&key, fn) != 0)
        return false;
    *ret_key = key;
    return true;
}

bool sys_thread_end_call(u32 key) { return pthread_setspecific(key, &key) == 0; }

#if defined(__GLIBC__)
/* A lock that checks its owner has the number of who holds it, which glibc reads out of its record of the thread. */
u32 sys_thread_number(void) {
    pthread_mutex_t mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
    (void)pthread_mutex_trylock(&mutex);
    u32 number = (u32)mutex.__data.__owner;
    (void)pthread_mutex_unlock(&mutex);
    return number;
}
#else
u32 sys_thread_number(void) { return (u32)SYS0(SYS_gettid); }
#endif
