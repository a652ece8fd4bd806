/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * place.h - where a new entry goes, and how far back in its log it lies
 *
 * A key that is there keeps its log and its marks; one that left probation not
 * long ago (ghost.h) goes to the main log, and so does half of what left that
 * (if all did, a loop over a little more than fits would push all of itself out);
 * others go to probation, if the policy has one.  Where only volatile entries may be evicted, those that never expire
 * have a log of their own, whose extents are never emptied but cleaned.
 *
 * How much room probation has: a key that comes back soon after it has left a
 * log would have been a hit if that log had had a little more.  So each such
 * return moves the border between the two as it pulls (ghost.h), by up to ten
 * times a mean entry, and the less the larger it is: so many more hits the same
 * room would have brought of smaller ones.  The border rests where a little more
 * room would bring as many hits to the one as to the other.  (As ARC has it:
 * Megiddo and Modha 2003; there the border moves by the ghosts of two lists, here
 * by those of a moment ago.)
 * A move is one CAS, tried once.
 *
 * A log's position is counted in ticks of an eighth of an extent, by whoever
 * reserves across the border between two (a kill in between loses a tick).  An
 * entry in the log with the window carries the position it was written at, 16
 * bits of it, so that a hit can tell how far back it lies: after 8,192 extents
 * they wrap, and a hit in 65,536 ticks may be taken for one in the window.
 */
#ifndef LIBSHMCACHE_PLACE_H
#define LIBSHMCACHE_PLACE_H

#include "libshmcache/index.h"
#include "shm/arena.h"

#define PLACE_TICKS_PER_EXTENT 8u

/* Choose the log of an entry that is going to be written and takes so many bytes,
   its marks and stamp; `old` is what the key has, pinned, or NULL. */
void place_choose(const struct call *call, const struct key *key,
    const struct found *old, uint32_t bytes, struct entry_content *entry);

/* The bytes of extents that probation may have before it gives way, if none is of
   the lasting log, else of a share as large of the others; 0: the policy has no
   probation. */
uint64_t place_probation_bytes(const struct mapping *m);

/* Of an entry that is written to this log now. */
uint16_t place_stamp(const struct mapping *m, uint32_t log);

/* Bytes were reserved there: count on. */
void place_advance(
    const struct mapping *m, uint32_t log, const struct shm_place *place);

/*
 * Do the reserved bytes reach the last tick of their extent?  Then another will
 * be needed soon: this is the time to see that there is one.
 */
bool place_near_end(const struct mapping *m, const struct shm_place *place);

#endif /* LIBSHMCACHE_PLACE_H */
