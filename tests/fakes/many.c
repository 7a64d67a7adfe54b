/* SPDX-License-Identifier: MIT */
/* CPUs that are not there. See many.h; the contract is sys/sys.h. */
#include "fakes/many.h"

#include <errno.h>

/* The kernel's layout: linux/rseq.h. */
static __thread struct {
    _Alignas(32) u32 cpu_id_start;
    s32 cpu_id;
    u64 rseq_cs;
    u32 flags, node_id, mm_cid, end;
} area;

unsigned many_registered_nr, many_barriers_nr;
bool many_is_alone;
static unsigned ids_nr = 64;
static enum sys_rseq kind = SYS_RSEQ_CPU_ID;
static int registering, passing;

void many_cpus(unsigned cpus_nr, enum sys_rseq ids) {
    ids_nr = cpus_nr;
    kind = ids;
}

void many_go(unsigned cpu, unsigned id) {
    area.cpu_id_start = cpu;
    area.cpu_id = (s32)cpu;
    area.mm_cid = id;
}

void many_barrier_answers(int to_registering, int to_passing) {
    registering = to_registering;
    passing = to_passing;
}

/* --- sys/sys.h --- */

unsigned sys_cpu_ids_nr(void) { return ids_nr; }
int sys_cpu_racy(void) { return area.cpu_id; }

enum sys_rseq sys_rseq_probe(ptrdiff_t *ret_offset) {
    *ret_offset = (ptrdiff_t)((uintptr_t)&area - (uintptr_t)sys_thread_self());
    return kind;
}

bool sys_rseq_is_off(char *const *unused) {
    (void)unused;
    return true;
}
enum sys_rseq sys_rseq_filled(void) { return SYS_RSEQ_NONE; }
int sys_rseq_register(void *unused) {
    (void)unused;
    return -ENOSYS;
}

bool sys_thread_alone(void) { return many_is_alone; }
enum sys_barrier sys_membarrier_register(void) {
    many_registered_nr++;
    if (registering == 0)
        return SYS_BARRIER_READY;
    return registering == -ENOSYS ? SYS_BARRIER_NONE : SYS_BARRIER_REFUSED;
}

int sys_membarrier_rseq(void) {
    many_barriers_nr++;
    return passing;
}
