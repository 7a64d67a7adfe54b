/* SPDX-License-Identifier: MIT */
/*
 * dma_map_single of memory that was not made for devices: its pages are pinned as long as they are mapped, and must be
 * one physical piece. Owns a record for each such mapping. Called for what dma.c does not find in its own pages.
 *
 * States      A record is free (handle FREE), about to change (CHANGING), or of a mapping (its bus address).
 * Invariants  [D1] Records are listed for good and never freed. [D2] Who made a record CHANGING alone writes it; one of
 * a mapping has its pin. Two mappings of one address are two records, of which either is undone first.
 * Ordering    A record is filled before its handle is set. [dmamap.record] It is listed when it is made. [dmamap.list]
 * Progress    Lock-free, but for the kernel. Reclamation None: there are as many as were mapped at once.
 */
#include "kmem/dma_map.h"

#include "sys/sys.h"

#include <errno.h>

enum { FREE = 0 };
#define CHANGING QUARRY_DMA_MAPPING_ERROR

struct mapping {
    struct mapping *next;
    _Atomic(u64) handle;
    int pin;
};

static struct mapping *_Atomic mappings;

static bool claim(struct mapping *m, u64 from) {
    /* order: acquire: the pin of the one who filled it.                                     pairs: [dmamap.record] */
    return atomic_compare_exchange_strong_explicit(&m->handle, &from, CHANGING, memory_order_acquire,
                                                   memory_order_relaxed);
}

/* A record of that handle, which is the caller's then. */
static struct mapping *mapping_claim(u64 handle) {
    /* order: acquire: what is listed is filled.                                             pairs: [dmamap.list] */
    struct mapping *m = atomic_load_explicit(&mappings, memory_order_acquire);
    while (m != NULL && !claim(m, handle))
        m = m->next;
    return m;
}

static struct mapping *mapping_make(void) {
    struct mapping *m = quarry_core1_alloc(sizeof(*m));
    if (m == NULL)
        return NULL;
    atomic_store_explicit(&m->handle, CHANGING, memory_order_relaxed);
    m->next = atomic_load_explicit(&mappings, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&mappings, &m->next, m,
                                                  /* order: release: the record.              pairs: [dmamap.list] */
                                                  memory_order_release, memory_order_relaxed))
        continue;
    return m;
}

static void mapping_set(struct mapping *m, u64 handle) {
    /* order: release: the pin.                                                              pairs: [dmamap.record] */
    atomic_store_explicit(&m->handle, handle, memory_order_release);
}

static const char *why_not(int err) {
    switch (err) {
    case -EPERM:
    case -EACCES:
    case -ENOSYS: return "memory cannot be pinned (io_uring is missing or forbidden)";
    case -ENOMEM: return "memory cannot be pinned (RLIMIT_MEMLOCK is too low, or memory is out)";
    default: return NULL; /* of this memory alone: nothing is mapped there, or may not be written */
    }
}

/* Pinned and one piece, or what is missing, if that is a right. */
static int pin_piece(char *start, size_t bytes, u64 *ret_frame, const char **ret_why) {
    int pin = sys_vm_pin(start, bytes);
    if (pin < 0) {
        *ret_why = why_not(pin);
        return pin;
    }
    /* The pin comes before the question: pinning may move pages itself, out of memory that must stay movable. */
    int err = sys_vm_contiguous(start, bytes, ret_frame);
    if (err == 0)
        return pin;
    sys_vm_unpin(pin);
    *ret_why = err < 0 ? "physical addresses are not told without CAP_SYS_ADMIN" : NULL;
    return -EINVAL;
}

quarry_dma_addr_t kmem_dma_map(const void *p, size_t size, const char **ret_why) {
    size_t page_bytes = sys_page_bytes(), offset = (uintptr_t)p % page_bytes;
    u64 frame = 0;
    *ret_why = NULL;
    if (size > HPAGE_BYTES - offset)
        return QUARRY_DMA_MAPPING_ERROR;
    struct mapping *m = mapping_claim(FREE);
    if (m == NULL && (m = mapping_make()) == NULL)
        return QUARRY_DMA_MAPPING_ERROR;
    m->pin = pin_piece((char *)(uintptr_t)p - offset, round_up(offset + size, page_bytes), &frame, ret_why);
    u64 handle = frame * page_bytes + offset;
    mapping_set(m, m->pin < 0 ? FREE : handle);
    return m->pin < 0 ? QUARRY_DMA_MAPPING_ERROR : handle;
}

void kmem_dma_unmap(quarry_dma_addr_t handle) {
    if (handle == FREE || handle == CHANGING)
        return;
    struct mapping *m = mapping_claim(handle);
    if (m == NULL)
        return;
    sys_vm_unpin(m->pin);
    mapping_set(m, FREE);
}
