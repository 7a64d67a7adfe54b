/* SPDX-License-Identifier: MIT */
/* A clock that moves when told. See fake.h. */
#include "fakes/fake.h"

enum { NS_PER_MS = 1000000 };

static _Atomic(u64) now_ns = (u64)1000 * NS_PER_MS;
static _Atomic(u64) look_ns;

void fake_clock_advance_ms(u64 ms) { atomic_fetch_add(&now_ns, ms * NS_PER_MS); }
void fake_clock_look_takes_ns(u64 ns) { atomic_store(&look_ns, ns); }

u64 sys_clock_ms(void) { return atomic_load(&now_ns) / NS_PER_MS; }
u64 sys_clock_ns(void) { return atomic_fetch_add(&now_ns, atomic_load(&look_ns)); }
u64 sys_clock_thread_ns(void) { return sys_clock_ns(); } /* it never waits */
void sys_watch_begin(struct sys_watch *ret_watch) { *ret_watch = (struct sys_watch){.start_ns = sys_clock_ns()}; }
u64 sys_watch_ns(const struct sys_watch *watch) { return sys_clock_ns() - watch->start_ns; }
void sys_clock_init(void) {}
void sys_sleep_ms(unsigned ms) { fake_clock_advance_ms(ms); }
