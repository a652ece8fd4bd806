/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* arena.c - extents: install, reserve, seal, walk, recycle */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shm/arena.h"

#include "shm/error.h"

#include <sched.h>

static uint64_t
pack_state(uint32_t generation, uint32_t log, enum shm_extent_state state)
{
	return (uint64_t)generation << 32 | (uint64_t)log << 8 |
	       (uint64_t)state;
}

static uint64_t
state_word(const struct shm_extent *extent)
{
	return pack_state(extent->generation, extent->log, extent->state);
}

static bool
change_state(struct shm_segment *segment, const struct shm_extent *from,
    uint32_t generation, uint32_t log, enum shm_extent_state state)
{
	return shm_cas64(&shm_extent_table(segment)[from->number].state,
	    state_word(from), pack_state(generation, log, state));
}

bool
shm_arena_seal(struct shm_segment *segment, const struct shm_extent *extent)
{
	return extent->state == SHM_ACTIVE &&
	       change_state(segment, extent, extent->generation, extent->log,
		   SHM_SEALED);
}

bool
shm_arena_begin_evict(
    struct shm_segment *segment, const struct shm_extent *extent, bool fresh)
{
	return extent->state == SHM_SEALED &&
	       !shm_pin_scan(
		   segment, extent->number, SHM_PINS_TARGETS, fresh) &&
	       change_state(segment, extent, extent->generation, extent->log,
		   SHM_EVICTING);
}

bool
shm_arena_end_evict(
    struct shm_segment *segment, const struct shm_extent *extent)
{
	return change_state(
	    segment, extent, extent->generation, extent->log, SHM_LIMBO);
}

bool
shm_arena_recycle(
    struct shm_segment *segment, const struct shm_extent *extent, bool fresh)
{
	return extent->state == SHM_LIMBO &&
	       !shm_pin_scan(segment, extent->number, SHM_PINS_ALL, fresh) &&
	       change_state(
		   segment, extent, extent->generation + 1, 0, SHM_FREE);
}

/* Counters {generation 32, bytes 32} */

static uint32_t
bytes_of(uint64_t word, uint32_t generation)
{
	return (uint32_t)(word >> 32) == generation ? (uint32_t)word : 0;
}

uint32_t
shm_arena_live(
    const struct shm_segment *segment, uint32_t extent, uint32_t generation)
{
	return bytes_of(
	    shm_load64(&shm_extent_table(segment)[extent].live), generation);
}

uint32_t
shm_arena_tail(
    const struct shm_segment *segment, uint32_t extent, uint32_t generation)
{
	return bytes_of(
	    shm_load64(&shm_extent_table(segment)[extent].tail), generation);
}

void
shm_arena_account(struct shm_segment *segment, uint32_t extent,
    uint32_t generation, int64_t bytes)
{
	uint64_t *live = &shm_extent_table(segment)[extent].live;

	for (;;) {
		uint64_t old = shm_load64(live);
		int64_t sum = (int64_t)bytes_of(old, generation) + bytes;

		/* Only the linked entry's own generation can be current: it
		   is pinned.  Its first count replaces an older one's. */
		if (sum < 0)
			sum = 0;
		if (shm_cas64(
			live, old, (uint64_t)generation << 32 | (uint32_t)sum))
			return;
	}
}

/* Hints of a lane, one line: {generation 32, 1 + extent 32}, 0 none */

static uint64_t *
lane_hints(const struct shm_segment *segment, uint32_t log, uint32_t lane)
{
	return shm_at(segment,
	    segment->geometry.hints +
		((uint64_t)log * segment->geometry.request.lane_count + lane) *
		    SHM_CACHE_LINE);
}

static uint64_t
pack_hint(uint32_t extent, uint32_t generation)
{
	return (uint64_t)generation << 32 | (extent + 1);
}

bool
shm_arena_is_hinted(
    const struct shm_segment *segment, const struct shm_extent *extent)
{
	const struct shm_request *r = &segment->geometry.request;
	uint64_t sought = pack_hint(extent->number, extent->generation);

	for (uint32_t log = 0; log < r->log_count; log++)
		for (uint32_t lane = 0; lane < r->lane_count; lane++) {
			uint64_t *hints = lane_hints(segment, log, lane);

			for (unsigned i = 0; i < SHM_LANE_EXTENTS; i++)
				if (shm_load64_acquire(&hints[i]) == sought)
					return true;
		}
	return false;
}

/* A free extent, looked for in a circle so that the oldest is taken first. */
static bool
find_free(struct shm_segment *segment, struct shm_extent *found)
{
	uint32_t count = segment->geometry.request.extent_count;
	uint64_t *hand = &segment->header->free_hand;
	uint64_t start = shm_load64(hand) % count;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t number = (uint32_t)((start + i) % count);

		*found = shm_arena_state(segment, number);
		if (found->state == SHM_FREE) {
			shm_store64(hand, number + 1u);
			return true;
		}
	}
	return false;
}

uint32_t
shm_arena_count_free(const struct shm_segment *segment, uint32_t enough)
{
	uint32_t free = 0;

	for (uint32_t i = 0;
	     i < segment->geometry.request.extent_count && free < enough; i++)
		if (shm_arena_state(segment, i).state == SHM_FREE)
			free++;
	return free;
}

/* {generation 24, number 40} */

#define BORN_BITS 40u
#define BORN_MASK ((1ull << BORN_BITS) - 1)

uint64_t
shm_arena_born(
    const struct shm_segment *segment, const struct shm_extent *extent)
{
	uint64_t word =
	    shm_load64(&shm_extent_table(segment)[extent->number].born);

	return word >> BORN_BITS == (extent->generation & 0xffffff)
		   ? word & BORN_MASK
		   : 0;
}

static uint64_t
next_born(struct shm_segment *segment, uint32_t generation)
{
	uint64_t number = shm_faa64(&segment->header->installed, 1) + 1;

	return (uint64_t)(generation & 0xffffff) << BORN_BITS |
	       (number & BORN_MASK);
}

bool
shm_arena_renew(
    struct shm_segment *segment, const struct shm_extent *extent, uint32_t log)
{
	uint64_t *born = &shm_extent_table(segment)[extent->number].born;
	uint64_t old = shm_load64(born);

	return shm_cas64(born, old, next_born(segment, extent->generation)) &&
	       change_state(
		   segment, extent, extent->generation, log, SHM_SEALED);
}

/* FREE -> ACTIVE.  The number comes after: who is killed in between leaves an
   extent that is taken to be the oldest. */
static void
activate(
    struct shm_segment *segment, const struct shm_extent *extent, uint32_t log)
{
	uint64_t *born = &shm_extent_table(segment)[extent->number].born;
	uint64_t old = shm_load64(born);

	if (!change_state(segment, extent, extent->generation, log, SHM_ACTIVE))
		return;
	(void)shm_cas64(born, old, next_born(segment, extent->generation));
}

enum lane_state {
	LANE_ACTIVE, /* the extent is the lane's, and pinned as target */
	LANE_STALE,  /* the hint names nothing usable */
	LANE_AGAIN   /* something moved: look again */
};

/* Pins what the hint names, and sees whether it may be written.  Helps a hint
   whose extent was not made ACTIVE yet. */
static enum lane_state
enter_lane(struct shm_peer *peer, uint32_t log, uint64_t hint,
    struct shm_extent *active)
{
	struct shm_segment *segment = peer->segment;
	uint32_t number = (uint32_t)hint - 1;
	uint32_t generation = (uint32_t)(hint >> 32);

	if ((uint32_t)hint == 0 ||
	    number >= segment->geometry.request.extent_count)
		return LANE_STALE;
	shm_pin_set(peer, SHM_PIN_TARGET, number);
	/* The re-check; looked at twice, it might be made ACTIVE in between, and
	   be taken for stale. */
	*active = shm_arena_state(segment, number);
	if (active->generation == generation && active->state == SHM_ACTIVE &&
	    active->log == log)
		return LANE_ACTIVE;
	shm_pin_clear(peer, SHM_PIN_TARGET);
	if (active->generation == generation && active->state == SHM_FREE) {
		activate(segment, active, log);
		return LANE_AGAIN;
	}
	return LANE_STALE;
}

/* Reserves in the pinned extent; returns its offset there, or UINT32_MAX. */
static uint32_t
reserve_tail(struct shm_segment *segment, const struct shm_extent *active,
    uint32_t bytes)
{
	uint64_t *tail = &shm_extent_table(segment)[active->number].tail;
	uint32_t extent_bytes = segment->geometry.request.extent_bytes;

	for (;;) {
		uint64_t old = shm_load64(tail);
		uint32_t used = bytes_of(old, active->generation);

		if (used > extent_bytes || used % SHM_UNIT_BYTES != 0 ||
		    bytes > extent_bytes - used)
			return UINT32_MAX;
		if (shm_cas64(tail, old,
			(uint64_t)active->generation << 32 | (used + bytes)))
			return used;
	}
}

/* Is a free extent more than what is to be left? */
static bool
may_begin(const struct shm_segment *segment, enum shm_purpose purpose)
{
	return purpose != SHM_WRITE || shm_arena_count_free(segment, 2) == 2;
}

/* Replaces a lane's hint by a free extent; false if there is none for this. */
static bool
install(struct shm_segment *segment, enum shm_purpose purpose,
    uint64_t *hint_word, uint64_t hint)
{
	struct shm_extent y;

	if (!may_begin(segment, purpose) || !find_free(segment, &y))
		return false;
	(void)shm_cas64(hint_word, hint, pack_hint(y.number, y.generation));
	return true;
}

static uint32_t
own_lane(const struct shm_segment *segment)
{
	int cpu = sched_getcpu();
	uint32_t lane = cpu < 0 ? 0 : (uint32_t)cpu;
	uint32_t lanes = segment->geometry.request.lane_count;

	return lane < lanes ? lane : lane % lanes; /* (a division is slow) */
}

/* Bytes that are free in what the hint names, if it may be written; else -1. */
static inline int64_t
room_in(const struct shm_segment *segment, uint32_t log, uint64_t hint)
{
	const struct shm_request *r = &segment->geometry.request;
	uint32_t number = (uint32_t)hint - 1, generation = hint >> 32;
	const struct shm_extent_shared *e;

	if (number >= r->extent_count)
		return -1;
	e = &shm_extent_table(segment)[number];
	if (shm_load64_acquire(&e->state) !=
	    pack_state(generation, log, SHM_ACTIVE))
		return -1;
	return (int64_t)r->extent_bytes -
	       bytes_of(shm_load64(&e->tail), generation);
}

/* Of a lane's hints; before it are those of what is written first. */
#define MOVED 2u

static_assert(MOVED + 1 == SHM_LANE_EXTENTS, "the last one");

/*
 * Which of the lane's extents to write to: what is moved to the third.  Of the
 * two others with room the fullest; where none has, one that is not usable; else
 * the fullest, which is to be sealed.
 */
static inline unsigned
choose_hint(const struct shm_segment *segment, uint32_t log,
    const uint64_t *hints, enum shm_purpose purpose, int64_t bytes)
{
	int64_t first, second;

	if (purpose == SHM_MOVE && segment->lane_extents > MOVED)
		return MOVED;
	if (segment->lane_extents <= 1)
		return 0;
	first = room_in(segment, log, shm_load64_acquire(&hints[0]));
	second = room_in(segment, log, shm_load64_acquire(&hints[1]));
	return (first >= bytes) != (second >= bytes) ? second >= bytes
						     : second < first;
}

int
shm_arena_reserve(struct shm_peer *peer, uint32_t log, enum shm_purpose purpose,
    uint32_t bytes, struct shm_place *place_out)
{
	struct shm_segment *segment = peer->segment;
	uint64_t *hints = lane_hints(segment, log, own_lane(segment));
	bool installed = false, may;

	if (bytes > segment->geometry.request.extent_bytes)
		return SHM_ECORRUPT;
	for (;;) {
		uint64_t *hint_word =
		    &hints[choose_hint(segment, log, hints, purpose, bytes)];
		uint64_t hint = shm_load64_acquire(hint_word);
		struct shm_extent active;
		enum lane_state lane = enter_lane(peer, log, hint, &active);

		if (lane == LANE_ACTIVE) {
			uint32_t at = reserve_tail(segment, &active, bytes);

			if (at != UINT32_MAX) {
				*place_out = (struct shm_place){
					.extent = active.number,
					.generation = active.generation,
					.offset = at + shm_arena_offset(segment,
							   active.number),
					.bytes = bytes,
					.installed = installed,
				};
				return 0;
			}
			/* What is smaller still fits, if none is begun. */
			may = may_begin(segment, purpose);
			if (may)
				(void)shm_arena_seal(segment, &active);
			shm_pin_clear(peer, SHM_PIN_TARGET);
			if (!may)
				return SHM_EBUSY;
		} else if (lane == LANE_STALE) {
			if (!install(segment, purpose, hint_word, hint))
				return SHM_EBUSY;
			installed = true;
		}
	}
}

/* The start map */

static uint64_t *
map_words(const struct shm_segment *segment, uint32_t extent)
{
	return shm_at(segment,
	    segment->geometry.maps +
		extent * segment->geometry.map_words * sizeof(uint64_t));
}

static uint64_t
map_bits(uint64_t word, uint32_t generation)
{
	return word >> SHM_MAP_UNITS == (generation & 0xffff)
		   ? word & SHM_MAP_BITS
		   : 0;
}

static uint64_t
map_empty(uint32_t generation)
{
	return (uint64_t)(generation & 0xffff) << SHM_MAP_UNITS;
}

void
shm_arena_start(struct shm_segment *segment, const struct shm_place *place)
{
	uint32_t unit = (uint32_t)(place->offset -
				   shm_arena_offset(segment, place->extent)) /
			SHM_UNIT_BYTES;
	uint64_t *word =
	    &map_words(segment, place->extent)[unit / SHM_MAP_UNITS];
	uint64_t bit = 1ull << unit % SHM_MAP_UNITS;

	for (;;) {
		uint64_t old = shm_load64(word);
		uint64_t bits = map_bits(old, place->generation);

		if (shm_cas64(
			word, old, map_empty(place->generation) | bits | bit))
			return;
	}
}

/* The bits of a map word, after bringing it to the generation. */
static uint64_t
settle_word(uint64_t *word, uint32_t generation)
{
	for (;;) {
		uint64_t old = shm_load64_acquire(word);

		if (old >> SHM_MAP_UNITS == (generation & 0xffff))
			return old & SHM_MAP_BITS;
		(void)shm_cas64(word, old, map_empty(generation));
	}
}

uint32_t
shm_arena_next_start(struct shm_segment *segment, uint32_t extent,
    uint32_t generation, uint32_t from, bool settle)
{
	uint64_t *words = map_words(segment, extent);
	uint32_t unit = from / SHM_UNIT_BYTES;
	uint64_t skip = ~0ull << unit % SHM_MAP_UNITS;

	for (uint64_t i = unit / SHM_MAP_UNITS; i < segment->geometry.map_words;
	     i++, skip = ~0ull) {
		uint64_t bits = settle ? settle_word(&words[i], generation)
				       : map_bits(shm_load64_acquire(&words[i]),
					     generation);
		uint64_t at;

		if ((bits & skip) == 0)
			continue;
		at = (i * SHM_MAP_UNITS +
			 (unsigned)__builtin_ctzll(bits & skip)) *
		     SHM_UNIT_BYTES;
		return at < segment->geometry.request.extent_bytes
			   ? (uint32_t)at
			   : UINT32_MAX;
	}
	return UINT32_MAX;
}

bool
shm_arena_started(const struct shm_segment *segment, uint32_t extent,
    uint32_t generation, uint32_t offset)
{
	uint32_t unit = offset / SHM_UNIT_BYTES;
	uint64_t word = shm_load64_acquire(
	    &map_words(segment, extent)[unit / SHM_MAP_UNITS]);

	return (map_bits(word, generation) >> unit % SHM_MAP_UNITS & 1) != 0;
}

bool
shm_arena_pin_walk(struct shm_peer *peer, const struct shm_extent *extent)
{
	uint64_t *state =
	    &shm_extent_table(peer->segment)[extent->number].state;

	shm_pin_set(peer, SHM_PIN_SCAN, extent->number);
	if (shm_load64_acquire(state) == state_word(extent))
		return true;
	shm_pin_clear(peer, SHM_PIN_SCAN);
	return false;
}

/* The hint of the layer above: {generation 24, marked 1, value 39} */

#define HINT_MARK (1ull << 39)

static uint64_t
pack_above(uint32_t generation, uint64_t value)
{
	return (uint64_t)(generation & 0xffffff) << 40 | value;
}

static uint64_t
above_of(uint64_t word, uint32_t generation)
{
	uint64_t value = word & SHM_HINT_NONE;

	/* 0 is what a fresh segment holds: nothing was ever given. */
	return word >> 40 == (generation & 0xffffff) && value != 0
		   ? value
		   : SHM_HINT_NONE;
}

uint64_t
shm_arena_hint(
    const struct shm_segment *segment, uint32_t extent, uint32_t generation)
{
	return above_of(
	    shm_load64(&shm_extent_table(segment)[extent].hint), generation);
}

void
shm_arena_lower_hint(struct shm_segment *segment, uint32_t extent,
    uint32_t generation, uint64_t value)
{
	uint64_t *hint = &shm_extent_table(segment)[extent].hint;

	if (value == 0)
		value = 1;
	if (value >= SHM_HINT_NONE)
		return;
	for (;;) {
		uint64_t old = shm_load64_acquire(hint);
		uint64_t least = above_of(old, generation);

		if ((old & HINT_MARK) != 0 && least <= value)
			return;
		if (value < least)
			least = value;
		if (shm_cas64(
			hint, old, pack_above(generation, least) | HINT_MARK))
			return;
	}
}

uint64_t
shm_arena_clean_hint(
    struct shm_segment *segment, uint32_t extent, uint32_t generation)
{
	uint64_t *hint = &shm_extent_table(segment)[extent].hint;

	for (;;) {
		uint64_t old = shm_load64(hint);
		uint64_t value = above_of(old, generation);
		uint64_t clean;

		/* One less, so that no two sweeps see the same word. */
		if (value > 1 && value < SHM_HINT_NONE)
			value--;
		clean = pack_above(generation, value);
		if (shm_cas64(hint, old, clean))
			return clean;
	}
}

void
shm_arena_raise_hint(struct shm_segment *segment, uint32_t extent,
    uint32_t generation, uint64_t seen, uint64_t value)
{
	(void)shm_cas64(&shm_extent_table(segment)[extent].hint, seen,
	    pack_above(generation, value));
}

void
shm_arena_set_stamp(struct shm_segment *segment, uint32_t extent,
    uint32_t generation, uint64_t value)
{
	shm_store64(&shm_extent_table(segment)[extent].stamp,
	    (uint64_t)(generation & 0xffffff) << 40 |
		(value & ((1ull << 40) - 1)));
}

uint64_t
shm_arena_stamp(
    const struct shm_segment *segment, uint32_t extent, uint32_t generation)
{
	uint64_t word = shm_load64(&shm_extent_table(segment)[extent].stamp);

	return word >> 40 == (generation & 0xffffff) ? word & ((1ull << 40) - 1)
						     : 0;
}
