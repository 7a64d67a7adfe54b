/* SPDX-License-Identifier: MIT */
/* Which flavour of RCU the torture runs on. A file of its own, because liburcu's headers have the kernel's names. */
#ifndef QUARRY_TESTS_FLAVOURS_H
#define QUARRY_TESTS_FLAVOURS_H

/* "memb": what libquarry-kmem uses by itself; "bp", "qsbr": plugged in. */
void flavour_choose(const char *name);
/* What a reader's thread does at its beginning and end, and now and then outside of sections. */
void flavour_thread_begin(void);
void flavour_thread_end(void);
void flavour_quiescent(void);

#endif
