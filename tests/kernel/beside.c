/* SPDX-License-Identifier: MIT */
/* libc's own headers with the kernel's in front of them: what they include there must bring them nothing of quarry's.
 */
#include <sys/queue.h>
#include <sys/sysinfo.h>

struct guard;
#if defined(guard) || defined(container_of) || defined(__free)
#error "the kernel's names in a program that did not ask for them"
#endif

struct entry {
    LIST_ENTRY(entry) link;
};
static LIST_HEAD(entries, entry) head;

/* And who asks for them afterwards has them. */
#include <linux/kernel.h>
#ifndef container_of
#error "no container_of()"
#endif

int main(void) {
    static struct entry one;
    head.lh_first = &one;
    return container_of(&head.lh_first->link, struct entry, link) == &one && get_nprocs() > 0 ? 0 : 1;
}
