/* SPDX-License-Identifier: MIT */
/*
 * Where things lie in a slot that is debugged, what they must read as, and what is done when they do not. The order is
 * SLUB's; in the place of its free pointer is the word that says whether the object is out (debug.c). Owns nothing.
 */
#include "kmem/debug.h"

#include <string.h>

enum { WORD_BYTES = 8 };

struct kmem_debug_layout kmem_debug_layout(unsigned size, unsigned align, quarry_slab_flags_t flags, bool is_kmalloc) {
    struct kmem_debug_layout at = {.object_bytes = size};
    bool red = (flags & QUARRY_SLAB_RED_ZONE) != 0;
    at.inuse = (u32)round_up(size, WORD_BYTES);
    if (red && at.inuse == size)
        at.inuse += WORD_BYTES;
    at.state = at.inuse;
    at.tracks = at.state + WORD_BYTES;
    at.asked = at.tracks;
    if ((flags & QUARRY_SLAB_STORE_USER) != 0)
        at.asked += KMEM_TRACKS_NR * (u32)sizeof(struct kmem_track);
    at.padding = at.asked + (is_kmalloc ? WORD_BYTES : 0);
    /* So that who writes before his object meets bytes nobody needs before he meets the tracks of the one before. */
    at.end = at.padding + (red ? WORD_BYTES : 0);
    at.left_bytes = red ? align : 0;
    at.slot_bytes = (u32)round_up(at.left_bytes + at.end, align);
    at.end = at.slot_bytes - at.left_bytes;
    return at;
}

/* --- what was asked for, of a kmalloc object --- */

static u32 *asked_at(const struct kmem_debug *d, const char *object) {
    return (u32 *)(void *)(uintptr_t)(object + d->at.asked);
}

/* Damaged or not, it is no more than there is. */
size_t kmem_debug_asked(const struct kmem_debug *d, const char *object) {
    if (!d->is_kmalloc)
        return d->at.object_bytes;
    return MIN(__atomic_load_n(asked_at(d, object), __ATOMIC_RELAXED) & ~KMEM_ASKED_ZEROED, d->at.object_bytes);
}

void kmem_debug_asked_set(const struct kmem_debug *d, char *object, size_t bytes, enum kmem_zeroed zeroed) {
    if (d->is_kmalloc)
        __atomic_store_n(asked_at(d, object), (u32)bytes | (zeroed == KMEM_ZEROED ? KMEM_ASKED_ZEROED : 0),
                         __ATOMIC_RELAXED);
}

size_t kmem_debug_asked_all(const struct kmem_debug *d, char *object) {
    size_t asked = kmem_debug_asked(d, object);
    if (!d->is_kmalloc || asked == d->at.object_bytes)
        return asked;
    if ((__atomic_load_n(asked_at(d, object), __ATOMIC_RELAXED) & KMEM_ASKED_ZEROED) != 0)
        memset(object + asked, 0, d->at.object_bytes - asked);
    kmem_debug_asked_set(d, object, d->at.object_bytes, KMEM_NOT_ZEROED);
    return d->at.object_bytes;
}

/* --- writing --- */

void kmem_debug_object_fill(const struct kmem_debug *d, char *object, u8 red) {
    size_t bytes = red == KMEM_RED_ACTIVE ? kmem_debug_asked(d, object) : d->at.object_bytes;
    bool zones = (d->flags & QUARRY_SLAB_RED_ZONE) != 0;
    if (zones)
        memset(object - d->at.left_bytes, red, d->at.left_bytes);
    if (d->poisons_object && bytes > 0) {
        memset(object, KMEM_POISON_FREE, bytes - 1);
        object[bytes - 1] = (char)KMEM_POISON_END;
    }
    if (zones)
        memset(object + bytes, red, d->at.inuse - bytes);
}

void kmem_debug_slot_fill(const struct kmem_debug *d, char *object) {
    memset(object + d->at.object_bytes, KMEM_POISON_INUSE, d->at.state - d->at.object_bytes);
    memset(object + d->at.tracks, 0, d->at.padding - d->at.tracks);
    memset(object + d->at.padding, KMEM_POISON_INUSE, d->at.end - d->at.padding);
    kmem_debug_object_fill(d, object, KMEM_RED_INACTIVE);
}

static char *tail_of(const struct quarry_core1_slab *slab, size_t *ret_bytes) {
    size_t used = slab->objs_nr * slab->slot_bytes;
    *ret_bytes = slab->slab_bytes - used;
    return slab->base + used;
}

void kmem_debug_tail_fill(const struct kmem_debug *d, const struct quarry_core1_slab *slab) {
    size_t bytes;
    char *tail = tail_of(slab, &bytes);
    if ((d->flags & QUARRY_SLAB_POISON) != 0)
        memset(tail, KMEM_POISON_INUSE, bytes);
}

/* --- checking --- */

/* The first byte that is not value; NULL: all are. */
static u8 *odd_byte(const char *from, u8 value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        if ((u8)from[i] != value)
            return (u8 *)(uintptr_t)from + i;
    }
    return NULL;
}

/* One past the last such. */
static u8 *odd_end(const char *from, u8 value, size_t bytes) {
    while ((u8)from[bytes - 1] == value)
        bytes--;
    return (u8 *)(uintptr_t)from + bytes;
}

static const char *slab_of(const char *object, struct quarry_core1_slab *ret_slab) {
    return quarry_core1_debug_look(object, ret_slab) ? ret_slab->base : object;
}

static bool bytes_check(const struct quarry_kmem_cache *s, char *object, const char *what, char *from, u8 value,
                        size_t bytes) {
    struct quarry_core1_slab slab;
    u8 *odd = odd_byte(from, value, bytes);
    if (odd == NULL)
        return true;
    u8 *end = odd_end(from, value, bytes);
    kmem_report_begin();
    kmem_report_bug(s->name, "%s overwritten", what);
    kmem_print("INFO: %p-%p @offset=%td. First byte 0x%x instead of 0x%x\n", (void *)odd, (void *)(end - 1),
               (char *)odd - slab_of(object, &slab), *odd, value);
    kmem_report_object(s, object);
    kmem_report_fix(s->name, "Restoring %s %p-%p=0x%x", what, (void *)odd, (void *)(end - 1), value);
    memset(odd, value, (size_t)(end - odd));
    kmem_report_end();
    return false;
}

/* All of it, one after the other, so that each thing that is wrong is named. */
struct piece {
    const char *what;
    char *from;
    size_t bytes;
    u8 value;
};

static bool pieces_check(const struct quarry_kmem_cache *s, char *object, const struct piece *pieces, size_t nr) {
    bool good = true;
    for (size_t i = 0; i < nr; i++)
        good = bytes_check(s, object, pieces[i].what, pieces[i].from, pieces[i].value, pieces[i].bytes) && good;
    return good;
}

static bool zones_check(const struct quarry_kmem_cache *s, char *object, u8 red) {
    const struct kmem_debug_layout *at = &s->debug->at;
    size_t asked = red == KMEM_RED_ACTIVE ? kmem_debug_asked(s->debug, object) : at->object_bytes;
    const struct piece pieces[] = {
        {"Left Redzone", object - at->left_bytes, at->left_bytes, red},
        {"Right Redzone", object + at->object_bytes, at->inuse - at->object_bytes, red},
        {"kmalloc Redzone", object + asked, at->object_bytes - asked, red},
    };
    return pieces_check(s, object, pieces, ARRAY_NR(pieces));
}

static bool poison_check(const struct quarry_kmem_cache *s, char *object) {
    u32 last = s->debug->at.object_bytes - 1;
    const struct piece pieces[] = {{"Poison", object, last, KMEM_POISON_FREE},
                                   {"End Poison", object + last, 1, KMEM_POISON_END}};
    return pieces_check(s, object, pieces, ARRAY_NR(pieces));
}

/* Without red zones what rounds the object up is padding, too. */
static bool padding_check(const struct quarry_kmem_cache *s, char *object) {
    const struct kmem_debug_layout *at = &s->debug->at;
    bool red = (s->debug->flags & QUARRY_SLAB_RED_ZONE) != 0;
    const struct piece pieces[] = {
        {"Alignment padding", object + at->object_bytes, red ? 0 : at->inuse - at->object_bytes, KMEM_POISON_INUSE},
        {"Object padding", object + at->padding, at->end - at->padding, KMEM_POISON_INUSE},
    };
    return pieces_check(s, object, pieces, ARRAY_NR(pieces));
}

bool kmem_debug_object_check(const struct quarry_kmem_cache *s, char *object, u8 red) {
    const struct kmem_debug *d = s->debug;
    bool good = true;
    if ((d->flags & QUARRY_SLAB_RED_ZONE) != 0)
        good = zones_check(s, object, red);
    if (d->poisons_object && red == KMEM_RED_INACTIVE)
        good = poison_check(s, object) && good;
    if ((d->flags & QUARRY_SLAB_POISON) != 0)
        good = padding_check(s, object) && good;
    return good;
}

bool kmem_debug_tail_check(const struct quarry_kmem_cache *s, const struct quarry_core1_slab *slab) {
    size_t bytes;
    char *tail = tail_of(slab, &bytes);
    u8 *odd = (s->debug->flags & QUARRY_SLAB_POISON) == 0 ? NULL : odd_byte(tail, KMEM_POISON_INUSE, bytes);
    if (odd == NULL)
        return true;
    u8 *end = odd_end(tail, KMEM_POISON_INUSE, bytes);
    kmem_report_begin();
    kmem_report_bug(s->name, "Padding overwritten. %p-%p @offset=%td", (void *)odd, (void *)(end - 1),
                    (char *)odd - slab->base);
    kmem_report_slab(slab);
    kmem_report_section("Padding  ", odd, (size_t)(end - odd));
    kmem_stack_print();
    kmem_report_fix(s->name, "Restoring slab padding %p-%p=0x%x", (void *)odd, (void *)(end - 1), KMEM_POISON_INUSE);
    memset(odd, KMEM_POISON_INUSE, (size_t)(end - odd));
    kmem_report_end();
    return false;
}
