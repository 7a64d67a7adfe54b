/* SPDX-License-Identifier: MIT */
/*
 * Physical memory as far as a process may know and hold it. Contract in sys.h. Memory is pinned by handing it to an
 * io_uring as a registered buffer: that is the long-term pin devices get, under which the kernel neither swaps pages
 * out nor moves them, as it may those of mlock(2).
 */
#include "sys/call.h"
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/uio.h>

/* An entry of pagemap: Documentation/admin-guide/mm/pagemap.rst. Without CAP_SYS_ADMIN frame numbers read as 0. */
#define ENTRY_PRESENT ((u64)1 << 63)
#define ENTRY_FRAME (((u64)1 << 55) - 1)

enum { WINDOW_PAGES = 512, PIN_FD_MIN = 960 };

static u64 entry_frame(u64 entry) { return (entry & ENTRY_PRESENT) != 0 ? entry & ENTRY_FRAME : 0; }

/* How many entries from p's on were read. */
static size_t entries_read(const void *p, u64 *ret_entries, size_t nr) {
    int fd = sys_file_open("/proc/self/pagemap");
    if (fd < 0)
        return 0;
    s64 got = sys_file_read_at(fd, ret_entries, nr * sizeof(u64), (uintptr_t)p / sys_page_bytes() * sizeof(u64));
    sys_file_close(fd);
    return got < 0 ? 0 : (size_t)got / sizeof(u64);
}

u64 sys_vm_frame(const void *p) {
    u64 entry = 0;
    return entries_read(p, &entry, 1) == 1 ? entry_frame(entry) : 0;
}

int sys_vm_contiguous(const void *p, size_t bytes, u64 *ret_frame) {
    u64 entries[WINDOW_PAGES];
    size_t nr = bytes / sys_page_bytes();
    if (nr == 0 || nr > WINDOW_PAGES || entries_read(p, entries, nr) != nr || entry_frame(entries[0]) == 0)
        return -EPERM;
    for (size_t i = 0; i < nr; i++) {
        if (entry_frame(entries[i]) != entry_frame(entries[0]) + i)
            return 1;
    }
    *ret_frame = entry_frame(entries[0]);
    return 0;
}

/* Out of the way of programs that count on getting small numbers. */
static int fd_move_up(int fd) {
    long high = SYS3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, PIN_FD_MIN);
    if (high < 0)
        return fd;
    sys_file_close(fd);
    return (int)high;
}

int sys_vm_pin(void *addr, size_t bytes) {
    struct io_uring_params params = {0};
    struct iovec buffer = {addr, bytes};
    long fd = SYS2(SYS_io_uring_setup, 1, &params);
    if (fd < 0)
        return (int)fd;
    long err = SYS4(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &buffer, 1);
    if (err == 0)
        return fd_move_up((int)fd);
    sys_file_close((int)fd);
    return (int)err;
}

void sys_vm_unpin(int pin) { sys_file_close(pin); }
