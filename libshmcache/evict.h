/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * evict.h - making room: CLOCK over extents
 *
 * A hand passes over the extents in a circle.  The one it stops at is emptied
 * as a whole: each entry is looked up in the index by its key, and its word
 * taken to 0, or to a copy if the policy keeps it (its second chance); then the
 * extent goes to LIMBO, and from there back to the free ones.  arena.h has the
 * states, and why the walk is final.
 *
 * Who needs room first recycles what is in LIMBO, then joins those that are
 * EVICTING (unlinking only: no copies, and any number may do it at once), and
 * only then takes a victim of his own: no herd of evictors, and an evictor that
 * died or stands still is finished by the next.  The victim is the deadest
 * extent, if one is mostly dead, else the next on the circle.
 *
 * - An eviction never starts another: a survivor for which no extent is free is
 *   dropped.
 * - At most half of an extent's bytes are copied on, so every eviction gains.
 * - An extent with a writer's pin is passed over; one with a reader's pin is
 *   emptied, and stays in LIMBO until the pin is gone.
 * - A few extents are kept free, refilled by the janitor and by writers after
 *   their operation, so that a set seldom evicts on its own way.
 *
 * Copies.  The entry is frozen first and read then (entry.h), so no touch is
 * lost; the copy goes into the slot by CAS, so no replace or delete is.  Killed
 * before the CAS: the copy is a dead entry; after it: the old one is.
 */
#ifndef LIBSHMCACHE_EVICT_H
#define LIBSHMCACHE_EVICT_H

#include "libshmcache/cache.h"
#include "shm/arena.h"

/*
 * Reserve `bytes` for an entry, evicting if need be.  0: the target pin is
 * held. SHMCACHE_EBUSY: after whole passes no extent could be freed.
 */
int evict_reserve(
    const struct call *call, uint32_t bytes, struct shm_place *place_out);

/* Refill the reserve of free extents; how many were freed. */
uint32_t evict_fill_reserve(const struct call *call);

/* What is done with entries that may still be returned. */
enum evict_mode {
	EVICT_DROP,  /* joining another's eviction */
	EVICT_CLOCK, /* the hand has come */
	EVICT_CLEAN  /* the extent is mostly dead */
};

/*
 * Each of these is true if it freed the extent.  `fresh`: ask the kernel
 * whether those who have it pinned are alive, also if they were a moment ago.
 */

/* Empty an extent that is EVICTING, and recycle it. */
bool evict_finish(const struct call *call, const struct shm_extent *extent,
    enum evict_mode mode, bool fresh);

/* Is nobody at work in an EVICTING extent?  An evictor has it pinned; one that
   was killed has not. */
bool evict_abandoned(
    const struct call *call, const struct shm_extent *extent, bool fresh);

/* Empty a SEALED extent, and recycle it. */
bool evict_extent(const struct call *call, const struct shm_extent *extent,
    enum evict_mode mode, bool fresh);

/* Recycle an extent that is in LIMBO. */
bool evict_recycle(
    const struct call *call, const struct shm_extent *extent, bool fresh);

#endif /* LIBSHMCACHE_EVICT_H */
