/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * evict.h - making room: extents are emptied as a whole
 *
 * Each entry of the extent is looked up in the index by its key, and its word
 * taken to 0, or to a copy if the policy keeps it (policy.h); then the extent
 * goes to LIMBO, and from there back to the free ones.  arena.h has the states,
 * and why the walk is final.
 *
 * Who needs room first recycles what is in LIMBO, then joins those that are
 * EVICTING (unlinking only: no copies, and any number may do it at once), and
 * only then takes a victim of his own: no herd of evictors, and an evictor that
 * died or stands still is finished by the next.  The victim is the deadest
 * extent, if it is worth cleaning (where much has expired, that is unlinked
 * first); else the next of probation, if that has more than its share, or of
 * the main log, in the policy's order.
 *
 * - An eviction never starts another: a survivor for which no extent is free is
 *   dropped.  So a set that would begin the last free extent tries to free
 *   another first, as somebody may be evicting meanwhile.
 * - No more than half of an extent's bytes are copied on when the policy chooses,
 *   so every eviction gains (of one that is cleaned, no more than what is not
 *   dead: that is what it gains).
 * - An extent of which more would be kept is let pass: it becomes the newest of
 *   the main log where it lies, its marks lowered as those of copies.  If what
 *   the policy drops of it makes it worth cleaning, that is unlinked in place, as
 *   a delete would, and the extent is cleaned next.
 * - An extent with a writer's pin is passed over; one with a reader's pin is
 *   emptied, and stays in LIMBO until the pin is gone.
 * - A few extents are kept free, refilled by the janitor and by writers after
 *   their operation, so that a set seldom evicts on its own way.
 * - Where only volatile entries may be evicted, the others have a log of their
 *   own, whose extents are cleaned only: all that can be read is copied, by
 *   joiners too, and where there is no room for a copy the extent stays EVICTING
 *   (which can be read) until somebody has room.
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
int evict_reserve(const struct call *call, uint32_t log, uint32_t bytes,
    struct shm_place *place_out);

/* The same where there is room; SHM_EBUSY: something would have to be evicted. */
int evict_reserve_room(const struct call *call, uint32_t log,
    enum shm_purpose purpose, uint32_t bytes, struct shm_place *place_out);

/* See that so many extents are free; how many were made so. */
uint32_t evict_fill_reserve(const struct call *call, uint32_t wanted);

/* What is done with entries that may still be returned. */
enum evict_mode {
	EVICT_DROP,  /* joining another's eviction */
	EVICT_JUDGE, /* its turn has come: as the policy says */
	EVICT_CLEAN  /* much of it is dead: the rest stays as it is */
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
