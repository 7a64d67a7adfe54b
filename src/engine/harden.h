/* SPDX-License-Identifier: MIT */
/*
 * Option harden: every call past the fast path, and each object of malloc's classes and each region with a seal behind
 * it (docs/adr/0056). What a program frees is zeroed, kept back for a while, and looked at before it is used again.
 *
 *   | size bytes, the program's | fill | seal, 8 bytes |     | zeros | seal of a free object |
 *
 * The engine asks harden_covers() where an object comes or goes. Classes made for caches have none of this.
 * Thread-safe, lock-free and async-signal-safe as what is below.
 */
#ifndef QUARRY_ENGINE_HARDEN_H
#define QUARRY_ENGINE_HARDEN_H

#include "rt/options.h"
#include "slab/slab.h"

enum { HARDEN_SEAL_BYTES = 8 };
/* With its seal. What is larger is a region, which has guards, and is not zeroed when it is freed. */
#define HARDEN_OBJECT_MAX (1 * MIB)

/* What seals and fill are made of. */
enum harden_seal_kind { SEAL_LIVE, SEAL_FREE, SEAL_KINDS_NR };
struct harden_key {
    u64 secrets[SEAL_KINDS_NR];
    u8 fill_seed;
};
extern HIDDEN struct harden_key harden_key; /* engine/sealed.S: read-only once the allocator is started */

/* Once, at start, when the option is on: makes the key. */
void harden_init(void);

/* Whether objects with this page map entry, without node, are sealed. */
static ALWAYS_INLINE bool harden_covers(unsigned entry) {
    return UNLIKELY(rt_opt.harden) && (entry - 1u < SLAB_CLASS_MAX || entry == PAGE_MAP_BIG);
}

/* A free object of the class, by chance one of several, zeroed; NULL: memory is out. The other takes it as the context
 * says and without chance. */
void *harden_take(unsigned cls);
void *harden_look(void *p);
/* Makes what was taken, a slot or a region of at least size + HARDEN_SEAL_BYTES, an object of exactly size bytes. */
void *harden_seal(void *p, size_t size);

/* The size that was asked for; 0: p is no live object. Damage is reported. */
size_t harden_usable(const void *p);
/* p, of an entry that is covered. What is no live object, or damaged, is reported. */
void harden_free(void *p);

/* At the end of the program: looks at all that is kept back, and lets go of it. */
void harden_audit(void);

#endif
