/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * arena.h - a log of extents that nobody owns
 *
 * The arena is cut into extents of one size.  Bytes are handed out one after
 * the other from an extent that is ACTIVE for a log; when it is full it is
 * SEALED, later emptied as a whole, and used anew.  (Log-structured memory:
 * Rumble, Kejriwal and Ousterhout 2014; Segcache: Yang, Yue and Rashmi 2021.)
 *
 * The state word {generation, log, state} is the truth about an extent and
 * changes by CAS only:
 *
 *         install          no room        no target pin      nothing linked
 *  FREE,g -----> ACTIVE,g -----> SEALED,g ------> EVICTING,g ------> LIMBO,g
 *    ^                                     (scan)              (the walk)  |
 *    +---------------------------------------------------------------------+
 *                        no pin at all (scan): FREE,g+1
 *
 * Killed on any arrow: the CAS was done or not; anybody can do the next one.
 *
 * Nobody owns an extent.  A writer that is killed or stopped leaves at worst a
 * piece of reserved bytes without a start bit (a hole: no walk sees it), and
 * pins, which fall with it or keep just those extents from reuse.
 *
 * Writing one entry
 *   1. pin the extent as target; the state must still be ACTIVE,g, else let go;
 *   2. reserve by CAS of `tail`; no room: CAS to SEALED, install another;
 *   3. write the bytes, account them, set the start bit [S: CAS, full fence];
 *   4. link the entry; let the pin go.
 *
 * Two grace periods.  SEALED -> EVICTING needs a scan that finds no target pin:
 * whoever could still link something into the extent holds one, and whoever
 * pins later finds a state that isn't ACTIVE.  So the walk that follows sees
 * every entry that can ever be linked, and when it is done nothing will link
 * one again.  (If walk and links may overlap, an entry can be linked behind the
 * walk's back and then be reused under its readers.)  LIMBO -> FREE needs a
 * scan that finds no pin at all: edges P and R of pin.h.
 *
 * A walker pins the extent too (SHM_PIN_SCAN) and re-checks the state, since
 * others may finish the work and have the extent reused under a stopped walker;
 * it lets the pin go before the scan.
 *
 * Installing.  Each log has some lanes; a lane's hint words {generation, 1 +
 * extent} name the extents that are written there: two, so that what does not
 * fit into the fuller one goes to the other, and its end is filled by smaller
 * entries.  When neither has room the fuller is sealed and its hint replaced.
 * Where there are many extents, what is moved from others has a third: it has
 * lived long and will go on to, while what is new is soon overwritten; so
 * extents come to be mostly dead or mostly alive, and cleaning copies less.
 * (For the protocol all three are as lanes.)  CAS the hint to a FREE
 * extent Y at generation h, then anybody CASes Y: FREE,h -> ACTIVE,h.  Two
 * lanes may pick the same Y: they share it, or the second finds it ACTIVE for
 * another log and picks again.  A hint is trusted only if its extent's state
 * confirms it.
 *
 * The start map has one bit for each 16 bytes, set where an entry starts.  Its
 * words carry 16 bits of the generation; words of another one read as empty.
 * The walk of a generation first brings every word to it, so that a word is
 * never more than one generation old and none can alias after a wrap.  The
 * structure of an extent never depends on the bytes of its entries.
 *
 * `live` counts linked bytes, for ranking: accounted before linking, taken back
 * by whoever unlinks, so it is never too low while the entry can be read; a
 * kill between the two leaves it too high until the extent is reused.
 *
 *            may run together with   reserve  start  walk  begin  end  recycle
 *   reserve                            yes     yes    yes*  yes    yes   yes
 *   walk                               yes     yes    yes   yes    yes   yes
 *   begin, end, recycle: one CAS each, any number of peers at once.
 *   (* a walk of an ACTIVE or SEALED extent may miss what is being written)
 *
 * Progress: all calls lock-free; none waits.
 */
#ifndef SHM_ARENA_H
#define SHM_ARENA_H

#include "shm/atomic.h"
#include "shm/peer.h"
#include "shm/pin.h"

#include <stdbool.h>
#include <stdint.h>

enum shm_extent_state {
	SHM_FREE = 0,
	SHM_ACTIVE,
	SHM_SEALED,
	SHM_EVICTING,
	SHM_LIMBO,
	SHM_DAMAGED, /* not a state: the word makes no sense */
	SHM_EXTENT_STATES = SHM_DAMAGED
};

/* A state word, taken apart. */
struct shm_extent {
	uint32_t number;
	uint32_t generation;
	uint32_t log;
	enum shm_extent_state state;
};

/* Bytes that were reserved, under the target pin. */
struct shm_place {
	uint32_t extent;
	uint32_t generation;
	uint64_t offset; /* from the segment's start */
	uint32_t bytes;
	bool installed; /* a free extent was used up for it */
};

static inline struct shm_extent_shared *
shm_extent_table(const struct shm_segment *segment)
{
	return shm_at(segment, segment->geometry.extents);
}

static inline uint64_t
shm_arena_offset(const struct shm_segment *segment, uint32_t extent)
{
	return segment->geometry.arena +
	       (uint64_t)extent * segment->geometry.request.extent_bytes;
}

/* The extent's state now.  An acquire load. */
static inline struct shm_extent
shm_arena_state(const struct shm_segment *segment, uint32_t extent)
{
	uint64_t word =
	    shm_load64_acquire(&shm_extent_table(segment)[extent].state);
	uint32_t state = (uint32_t)word & 0xff;
	struct shm_extent e = { .number = extent,
		.generation = (uint32_t)(word >> 32),
		.log = (uint32_t)(word >> 8) & 0xff,
		.state = SHM_DAMAGED };

	if (state < SHM_DAMAGED && (word & 0xffff0000) == 0 &&
	    e.log < segment->geometry.request.log_count)
		e.state = (enum shm_extent_state)state;
	return e;
}

/* Its generation alone. */
static inline uint32_t
shm_arena_generation(const struct shm_segment *segment, uint32_t extent)
{
	return (uint32_t)(shm_load64_acquire(
			      &shm_extent_table(segment)[extent].state) >>
			  32);
}

/* What bytes are reserved for. */
enum shm_purpose {
	SHM_WRITE, /* a first copy; leaves the last free extent to moves, if
			   no two take one at a time */
	SHM_WRITE_LAST, /* a first copy, into the last free extent too */
	SHM_MOVE        /* a copy of what is in another extent */
};

/*
 * Reserve `bytes` (a multiple of 16) in an active extent of the log.  0:
 * *place_out is set and the peer's target pin is held; SHM_EBUSY: no extent is
 * free for this, nothing is held; SHM_ECORRUPT: it is more than an extent has.
 */
int shm_arena_reserve(struct shm_peer *peer, uint32_t log,
    enum shm_purpose purpose, uint32_t bytes, struct shm_place *place_out);

/* Mark the bytes as an entry, once they are written.  Edge S. */
void shm_arena_start(
    struct shm_segment *segment, const struct shm_place *place);

/* Count bytes of the generation as linked (or, if negative, no longer), but not
   below 0.  The extent is pinned, so its generation is the current one, and
   what is there of another is an older one's. */
void shm_arena_account(struct shm_segment *segment, uint32_t extent,
    uint32_t generation, int64_t bytes);

uint32_t shm_arena_live(
    const struct shm_segment *segment, uint32_t extent, uint32_t generation);

uint32_t shm_arena_tail(
    const struct shm_segment *segment, uint32_t extent, uint32_t generation);

/*
 * Walk: the offset (from the extent's start) of the first started entry at or
 * after `from`, or UINT32_MAX.  `settle` brings the map words it passes to this
 * generation, which the walk of an EVICTING extent must.
 */
uint32_t shm_arena_next_start(struct shm_segment *segment, uint32_t extent,
    uint32_t generation, uint32_t from, bool settle);

/* Has an entry been started at this offset? */
bool shm_arena_started(const struct shm_segment *segment, uint32_t extent,
    uint32_t generation, uint32_t offset);

/* Pin for a walk; false (and not pinned) if the state has changed since. */
bool shm_arena_pin_walk(struct shm_peer *peer, const struct shm_extent *extent);

/*
 * Make a SEALED extent the newest of a log, where it lies.  False: its state has
 * changed, or somebody else did that meanwhile.
 */
bool shm_arena_renew(
    struct shm_segment *segment, const struct shm_extent *extent, uint32_t log);

/* ACTIVE -> SEALED. */
bool shm_arena_seal(
    struct shm_segment *segment, const struct shm_extent *extent);

/* SEALED -> EVICTING, unless a writer has it as its target. */
bool shm_arena_begin_evict(
    struct shm_segment *segment, const struct shm_extent *extent, bool fresh);

/* EVICTING -> LIMBO, after a whole walk. */
bool shm_arena_end_evict(
    struct shm_segment *segment, const struct shm_extent *extent);

/* LIMBO -> FREE of the next generation, unless somebody has it pinned. */
bool shm_arena_recycle(
    struct shm_segment *segment, const struct shm_extent *extent, bool fresh);

/*
 * How many extents were installed before this one was, or 0 if who installed it
 * was killed in the middle: the order of age.
 */
uint64_t shm_arena_born(
    const struct shm_segment *segment, const struct shm_extent *extent);

/* Does any lane's hint name it, at this generation? */
bool shm_arena_is_hinted(
    const struct shm_segment *segment, const struct shm_extent *extent);

/* Free extents now, counting no further than `enough`. */
uint32_t shm_arena_count_free(
    const struct shm_segment *segment, uint32_t enough);

/* A word of the layer above for an extent at this generation, by plain stores of
   40 bits; 0 is none. */
void shm_arena_set_stamp(struct shm_segment *segment, uint32_t extent,
    uint32_t generation, uint64_t value);
uint64_t shm_arena_stamp(
    const struct shm_segment *segment, uint32_t extent, uint32_t generation);

/*
 * The layer above's hint of an extent: no more than the least of the values
 * given to shm_arena_lower_hint() for this generation, or SHM_HINT_NONE.
 *
 * It is raised by who walks through the extent: shm_arena_clean_hint(), walk,
 * shm_arena_raise_hint().  Whoever lowers it meanwhile, or finds it low enough,
 * leaves a mark in it, so that the raise fails: the walk may have missed the
 * entry.  (A value is given after the entry's start bit is set: a walk that the
 * mark does not stop has seen the entry.)  Cleaning lowers the value by one, so
 * that of two walks at one time the earlier cannot raise what the later cleaned.
 */
#define SHM_HINT_NONE ((1ull << 39) - 1)

uint64_t shm_arena_hint(
    const struct shm_segment *segment, uint32_t extent, uint32_t generation);
void shm_arena_lower_hint(struct shm_segment *segment, uint32_t extent,
    uint32_t generation, uint64_t value);
/* Takes the mark away; returns the word as it is then. */
uint64_t shm_arena_clean_hint(
    struct shm_segment *segment, uint32_t extent, uint32_t generation);
/* To `value`, if the word is still `seen`. */
void shm_arena_raise_hint(struct shm_segment *segment, uint32_t extent,
    uint32_t generation, uint64_t seen, uint64_t value);

#endif /* SHM_ARENA_H */
