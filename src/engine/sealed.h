/* SPDX-License-Identifier: MIT */
/*
 * How much room sealed.S has for what is decided at the start and read-only from then on. Included by that file, too:
 * numbers alone.
 */
#ifndef QUARRY_ENGINE_SEALED_H
#define QUARRY_ENGINE_SEALED_H

/* Where the system's pages are larger nothing is sealed: what lies beside would be. */
#define SEALED_PAGE_BYTES 4096

#define SEALED_TABS_BYTES 3200    /* struct mag_tabs */
#define SEALED_OPTIONS_BYTES 512  /* struct rt_options, and more to come */
#define SEALED_SIZES_BYTES 136    /* struct slab_tables_rest */
#define SEALED_KEY_BYTES 24       /* struct harden_key */
#define SEALED_CLOCK_BYTES 8      /* sys_clock_kernel */
#define SEALED_META_BYTES 64      /* of struct rt_meta, what is fixed */
#define SEALED_META_LEFT_BYTES 16 /* and what is not */

#endif
