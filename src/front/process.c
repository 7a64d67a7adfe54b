/* SPDX-License-Identifier: MIT */
/*
 * vfork and clone: children that run in our memory. Such a child keeps reading its parent's thread-local area, where
 * the rseq fields still show an id, but the kernel does not know the child and will not abort its sections: another
 * thread may own that id. So the engine is told, and keeps the id away from the fast path while the child runs. Owns
 * the two wrappers' C side; vfork itself, which returns twice on one stack, is arch/<cpu>/vfork.S. posix_spawn, system
 * and popen make their children inside libc, by its own clone, and those do not allocate. For the shared library alone:
 * docs/adr/0021-children-in-our-memory.md.
 */
#include "engine/engine.h"
#include "front/names.h"

#include <errno.h>

/* <sched.h>'s, which declares clone as variadic. */
#define CLONE_VM 0x00000100
#define CLONE_VFORK 0x00004000
#define CLONE_SETTLS 0x00080000

/* --- vfork: called by arch/<cpu>/vfork.S --- */

/* What engine_vfork_enter() gave the latest vfork child of this thread, plus one; 0: nothing to leave. Child and parent
 * share it, with the rest of the thread-local area: that is how the child's answer reaches the parent. Not on the
 * stack, which the child overwrites. */
static __thread int vfork_ticket;

int front_vfork_begin(void);
void front_vfork_child(void);
void front_vfork_parent(int outer_ticket);
long front_vfork_failed(long error);

/* A vfork child may call vfork: the ticket it is to leave with itself waits in a register of the wrapper. */
int front_vfork_begin(void) { return vfork_ticket; }

/* In the child, before vfork returns there. */
void front_vfork_child(void) { vfork_ticket = engine_vfork_enter() + 1; }

/* In the parent, when it runs again and before vfork returns there: the child has called exec or is gone. */
void front_vfork_parent(int outer_ticket) {
    int ticket = vfork_ticket;
    vfork_ticket = outer_ticket;
    if (ticket != 0)
        engine_vfork_leave(ticket - 1);
}

/* error: the kernel's negative answer. */
long front_vfork_failed(long error) {
    errno = (int)-error;
    return -1;
}

/* --- clone --- */

typedef int clone_fn(void *arg);

/* glibc's clone under the name we do not take. */
extern int __clone(clone_fn *fn, void *stack, int flags, void *arg, int *parent_tid, void *tls, int *child_tid);

/* Declared variadic in <sched.h>. The last three arguments are passed the same way when they are named, on every ABI we
 * run on; when the caller gave fewer, the kernel ignores what the flags do not ask for, as it does behind glibc's own
 * wrapper. */
EXPORT int clone(clone_fn *fn, void *stack, int flags, void *arg, int *parent_tid, void *tls, int *child_tid);

/* On the parent's stack, which stays: the parent waits, and the child has a stack of its own. */
struct clone_call {
    clone_fn *fn;
    void *arg;
    int id;
};

static int clone_child(void *arg) {
    struct clone_call *call = arg;
    call->id = engine_vfork_enter();
    return call->fn(call->arg);
}

static int clone_like_vfork(clone_fn *fn, void *stack, int flags, void *arg, int *parent_tid, void *tls,
                            int *child_tid) {
    struct clone_call call = {.fn = fn, .arg = arg, .id = -1};
    int pid = __clone(fn != NULL ? clone_child : NULL, stack, flags, &call, parent_tid, tls, child_tid);
    engine_vfork_leave(call.id);
    return pid;
}

/*
 * A child that shares our memory and runs beside us has either our thread-local area or one the program made up: in
 * neither are the rseq fields to be trusted, ever again. pthread_create does not come here, it uses libc's own clone.
 */
int clone(clone_fn *fn, void *stack, int flags, void *arg, int *parent_tid, void *tls, int *child_tid) {
    if ((flags & CLONE_VM) != 0) {
        if ((flags & CLONE_VFORK) != 0 && (flags & CLONE_SETTLS) == 0)
            return clone_like_vfork(fn, stack, flags, arg, parent_tid, tls, child_tid);
        engine_percpu_off();
    }
    return __clone(fn, stack, flags, arg, parent_tid, tls, child_tid);
}
