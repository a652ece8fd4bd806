/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * verify.h - the invariants of a cache, walked
 *
 * Stable: they hold at every moment, so they are checked while others work.
 *   V1  a slot word names a place in the arena, in an extent that is ACTIVE,
 *       SEALED or EVICTING, of the word's generation
 *   V2  an entry was started there, and its lengths stay in its extent
 *   V3  the entry's key has this slot in its window, and the word its tag
 *   V4  no key has two final words
 *   V5  an extent's state word makes sense; no more bytes are reserved than it
 *       has
 *   V9  a peer slot that is claimed is a process slot's
 *   V10 no word of an invalidation, and no entry, is from later than `seq`: it
 *       would be dead, or live on, until seq has caught up
 * Strict: between calls, when nobody is at work (killed callers included).
 *   V6  started entries do not overlap, and end within what was reserved
 *   V7  an extent's live bytes cover its linked entries, and no more than was
 *       reserved
 *   V8  an ACTIVE extent is named by some lane's hint (else nobody would write
 *       to it or seal it)
 */
#ifndef LIBSHMCACHE_VERIFY_H
#define LIBSHMCACHE_VERIFY_H

#include "libshmcache/cache.h"
#include "libshmcache/shmcache_admin.h"

#define VERIFY_TEXTS_MAX  1000u
#define VERIFY_TEXT_BYTES 160u

/* Violations in words; `text` is from malloc(). */
struct verify_texts {
	char (*text)[VERIFY_TEXT_BYTES];
	size_t count;
};

/* The number of violations, or -ENOMEM.  `texts` may be NULL. */
int verify(const struct call *call, enum shmcache_verify_mode mode,
    struct verify_texts *texts);

#endif /* LIBSHMCACHE_VERIFY_H */
