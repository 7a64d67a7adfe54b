/* SPDX-License-Identifier: MIT */
/*
 * What this kernel and this libc offer per CPU. A thread has one rseq area only: the one that glibc (2.35 and later)
 * registered for it, or where there is none, one that quarry registers. Sources: rseq(2) in linux/rseq.h,
 * AT_RSEQ_FEATURE_SIZE (27) of kernel 6.3 and later says how many bytes of the area the kernel fills, whatever glibc's
 * __rseq_size claims.
 */
#include "sys/call.h"
#include "sys/sys.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/utsname.h>

#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#endif

#define MEMBARRIER_RSEQ (1 << 7)
#define MEMBARRIER_REGISTER_RSEQ (1 << 8)

enum {
    MASK_BYTES = 1024, /* 8192 CPUs, the most Linux supports */
    RSEQ_MM_CID_END = 28,
    RSEQ_ORIGINAL_BYTES = 20,
    RSEQ_CPU_ID_OFFSET = 4,
    RSEQ_AREA_BYTES = 32, /* what any kernel takes */
#ifdef __aarch64__
    RSEQ_SIGNATURE = (int)0xd428bc00, /* the word before each abort handler: mag/rseq_<arch>.h */
#else
    RSEQ_SIGNATURE = 0x53053053,
#endif
};

/* glibc's, absent from other libcs and from glibc before 2.35. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));
/* librseq's: who links it registers areas, or means to, and librseq may abort where some threads have one already. */
extern int rseq_register_current_thread(void) __attribute__((weak));

unsigned sys_cpu_ids_nr(void) {
    u64 mask[MASK_BYTES / sizeof(u64)];
    long bytes = SYS_RARE(3, SYS_sched_getaffinity, 0, sizeof(mask), mask);
    /* The kernel returns the size of its own mask, which has a bit for every possible CPU. */
    return bytes > 0 ? (unsigned)bytes * 8 : MASK_BYTES * 8;
}

int sys_cpu_racy(void) { return sched_getcpu(); }

#if defined(__aarch64__)
/* Reads a number and the dot behind it, if there is one. */
static unsigned number_next(const char **text) {
    unsigned n = 0;
    for (; **text >= '0' && **text <= '9'; ++*text)
        n = n * 10 + (unsigned)(**text - '0');
    *text += **text == '.';
    return n;
}

/*
 * arm64 kernels from 6.19 to 7.0.13 restart a section only when its thread has changed CPU, not when another thread ran
 * on the same one: two threads would commit to one id. Fixed in 7.1 and 7.0.14 ("arm64/entry: Fix arm64-specific rseq
 * brokenness"). A distribution's 7.0.0-22 may have the fix; nothing tells, and the locked regions are right on every
 * kernel.
 */
static bool kernel_restarts_sections(void) {
    struct utsname name;
    if (SYS1(SYS_uname, &name) != 0)
        return false;
    const char *release = name.release;
    unsigned major = number_next(&release), minor = number_next(&release), patch = number_next(&release);
    return !(major == 6 && minor >= 19) && !(major == 7 && minor == 0 && patch < 14);
}
#else
static bool kernel_restarts_sections(void) { return true; }
#endif

static bool kernel_fills_cid(void) { return getauxval(AT_RSEQ_FEATURE_SIZE) >= RSEQ_MM_CID_END; }

enum sys_rseq sys_rseq_probe(ptrdiff_t *ret_offset) {
    if (&__rseq_size == NULL || &__rseq_offset == NULL || __rseq_size == 0 || !kernel_restarts_sections())
        return SYS_RSEQ_NONE;
    const char *area = (const char *)sys_thread_self() + __rseq_offset; // NOLINT(performance-no-int-to-ptr)
    if (*(const int *)(area + RSEQ_CPU_ID_OFFSET) < 0)
        return SYS_RSEQ_NONE;
    *ret_offset = __rseq_offset;
    /* The area is padded to 32 bytes even where glibc reports the original 20. */
    bool area_has_cid = __rseq_size == RSEQ_ORIGINAL_BYTES || __rseq_size >= RSEQ_MM_CID_END;
    return area_has_cid && kernel_fills_cid() ? SYS_RSEQ_MM_CID : SYS_RSEQ_CPU_ID;
}

/* What a character counts in a number of base, or base. */
static unsigned digit_of(char c, unsigned base) {
    unsigned digit = base;
    if (c >= '0' && c <= '9')
        digit = (unsigned)(c - '0');
    else if ((c | ' ') >= 'a' && (c | ' ') <= 'f')
        digit = (unsigned)((c | ' ') - 'a') + 10;
    return MIN(digit, base);
}

/* As the loader's _dl_strtoul(): 0 where there is none, and what is behind it does not matter. */
static u64 tunable_number(const char *text) {
    text += strspn(text, " \t");
    bool negative = *text == '-';
    text += *text == '-' || *text == '+';
    bool hex = text[0] == '0' && (text[1] | ' ') == 'x';
    unsigned base = hex ? 16 : text[0] == '0' ? 8 : 10, digit;
    u64 n = 0;
    for (text += hex ? 2 : 0; (digit = digit_of(*text, base)) < base; text++) {
        if (n >= (UINT64_MAX - digit) / base)
            return UINT64_MAX;
        n = n * base + digit;
    }
    return negative ? -n : n;
}

/* One variable's list, name=value with colons between. A value the tunable does not have changes nothing. */
static bool tunables_turn_off(const char *list, bool off) {
    static const char name[] = "glibc.pthread.rseq=";
    for (; list != NULL; list = strchr(list, ':')) {
        list += *list == ':';
        if (strncmp(list, name, sizeof(name) - 1) != 0)
            continue;
        u64 value = tunable_number(list + sizeof(name) - 1);
        off = value <= 1 ? value == 0 : off;
    }
    return off;
}

/*
 * All of them are read, in turn, as the loader does. Versions differ in what they take for a number: 0x and "0 " are 0
 * to those before 2.39. The most generous is right here: who took it otherwise has registered, and nobody asks.
 */
bool sys_rseq_is_off(char *const *envp) {
    static const char tunables[] = "GLIBC_TUNABLES=";
    bool off = false;
    for (; envp != NULL && *envp != NULL; envp++) {
        if (strncmp(*envp, tunables, sizeof(tunables) - 1) == 0)
            off = tunables_turn_off(*envp + sizeof(tunables) - 1, off);
    }
    return off;
}

/*
 * The kernel writes to an area whenever its thread returns from it, up to the last time, which is the call of exit.
 * glibc gives a stack, and the thread-local memory on it, to another thread or back only when the kernel has cleared
 * the thread's id, after that. A detached thread of musl unmaps its stack itself, before that call, and would be killed
 * there.
 */
#ifdef __GLIBC__
enum { MEMORY_OUTLIVES_THREADS = 1 };
#else
enum { MEMORY_OUTLIVES_THREADS = 0 };
#endif

enum sys_rseq sys_rseq_filled(void) {
    if (!MEMORY_OUTLIVES_THREADS || &rseq_register_current_thread != NULL || !kernel_restarts_sections())
        return SYS_RSEQ_NONE;
    return kernel_fills_cid() ? SYS_RSEQ_MM_CID : SYS_RSEQ_CPU_ID;
}

int sys_rseq_register(void *area) {
    long err = SYS_RARE(4, SYS_rseq, area, RSEQ_AREA_BYTES, 0, RSEQ_SIGNATURE);
    return err == -EBUSY ? 0 : (int)err;
}

/* glibc's since 2.32: not 0 while there is no thread but that which pthread_create() was never called beside. Who makes
 * one by clone() and gives it thread-local data of its own is not seen: mag/drain.c asks for more. */
extern char __libc_single_threaded __attribute__((weak));

bool sys_thread_alone(void) { return &__libc_single_threaded != NULL && __libc_single_threaded != 0; }

enum sys_barrier sys_membarrier_register(void) {
    long err = SYS3(SYS_membarrier, MEMBARRIER_REGISTER_RSEQ, 0, 0);
    if (err == 0)
        return SYS_BARRIER_READY;
    return err == -EINVAL || err == -ENOSYS ? SYS_BARRIER_NONE : SYS_BARRIER_REFUSED;
}
int sys_membarrier_rseq(void) { return (int)SYS3(SYS_membarrier, MEMBARRIER_RSEQ, 0, 0); }
