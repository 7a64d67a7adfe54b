/* SPDX-License-Identifier: MIT */
/* A clock that moves when told. See fake.h. */
#include "fakes/fake.h"

enum { NS_PER_MS = 1000000 };

static _Atomic(u64) now_ns = (u64)1000 * NS_PER_MS;
static _Atomic(u64) look_ns[2]; /* of small pages and of a hugepage */
static _Atomic(bool) is_huge;

void fake_clock_advance_ms(u64 ms) { atomic_fetch_add(&now_ns, ms * NS_PER_MS); }
void fake_touch_takes_ns(u64 small_ns, u64 huge_ns) {
    atomic_store(&look_ns[0], small_ns);
    atomic_store(&look_ns[1], huge_ns);
}
void fake_touch_is_huge(bool huge) { atomic_store(&is_huge, huge); }

u64 sys_clock_ms(void) { return atomic_load(&now_ns) / NS_PER_MS; }
u64 sys_clock_ns(void) { return atomic_fetch_add(&now_ns, atomic_load(&look_ns[atomic_load(&is_huge)])); }
void sys_sleep_ms(unsigned ms) { fake_clock_advance_ms(ms); }
