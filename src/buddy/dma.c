/* SPDX-License-Identifier: MIT */
/*
 * Memory for devices: hugepages that are one physical piece and stay where they are. A hugepage of the kernel's is
 * contiguous; that it is one, /proc/self/pagemap tells, and a long-term pin keeps it (sys/pin.c). Both need rights:
 * what cannot be known or kept is refused, because a device would write into other memory. Blocks made of such
 * hugepages are those of block.c.
 */
#include "big/big.h"
#include "buddy/block.h"
#include "sys/sys.h"

static const char *_Atomic refusal;

static char *refuse(char *addr, int pin, const char *why) {
    atomic_store_explicit(&refusal, why, memory_order_relaxed);
    if (pin >= 0)
        sys_vm_unpin(pin);
    if (addr != NULL)
        (void)big_free(addr);
    return NULL;
}

const char *buddy_dma_refusal(void) { return atomic_load_explicit(&refusal, memory_order_relaxed); }

/* The pin comes before the question: pinning may move pages itself, out of memory that must stay movable. */
char *dma_hugepage_make(int *ret_pin, u64 *ret_frame) {
    size_t dirty_bytes = 0;
    char *p = big_alloc(HPAGE_BYTES, HPAGE_BYTES, BIG_ANY, &dirty_bytes);
    if (p == NULL)
        return NULL;
    /* What was mapped in small pages before is given back, so that the first touch brings a hugepage. */
    if (chunk_cover(p, HPAGE_BYTES) != 0 || sys_vm_purge(p, HPAGE_BYTES) != 0 || sys_vm_huge(p, HPAGE_BYTES) != 0)
        return refuse(p, -1, "there are no hugepages of 2 MiB");
    for (size_t at = 0; at < HPAGE_BYTES; at += sys_page_bytes())
        __atomic_store_n(p + at, 0, __ATOMIC_RELAXED);
    int pin = sys_vm_pin(p, HPAGE_BYTES);
    if (pin < 0)
        return refuse(p, -1, "memory cannot be pinned (io_uring is missing or forbidden, or RLIMIT_MEMLOCK too low)");
    int err = sys_vm_contiguous(p, HPAGE_BYTES, ret_frame);
    if (err > 0)
        return refuse(p, pin, "no hugepage is to be had");
    if (err != 0)
        return refuse(p, pin, "physical addresses are not told without CAP_SYS_ADMIN");
    *ret_pin = pin;
    return p;
}

void dma_hugepage_release(char *addr, int pin) {
    sys_vm_unpin(pin);
    (void)big_free(addr);
}

u64 buddy_dma_address(const void *p, size_t bytes) {
    const struct buddy_block *b = block_of(p);
    if (b == NULL || !block_is_dma(b))
        return BUDDY_NO_DMA;
    size_t offset = (size_t)((const char *)p - b->addr);
    if (bytes > HPAGE_BYTES - offset)
        return BUDDY_NO_DMA;
    return (b->frame << block_page_shift()) + offset;
}
