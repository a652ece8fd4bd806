/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shm_arena_test.c - extents: their states, their bytes, their start maps
 *
 * The segment has 16 extents of 4096 bytes: 256 units of 16, and map words of
 * 48 units.
 */
#include "shm/arena.h"
#include "shm/error.h"
#include "tests/unit/support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define EXTENTS      16u
#define EXTENT_BYTES 4096u
#define UNIT         SHM_UNIT_BYTES

static uint64_t
pack(uint32_t generation, uint32_t log, enum shm_extent_state state)
{
	return (uint64_t)generation << 32 | (uint64_t)log << 8 |
	       (uint64_t)state;
}

static struct shm_extent_shared *
table(struct shm_segment *s, uint32_t extent)
{
	return &shm_extent_table(s)[extent];
}

/* Puts an extent into a state by hand. */
static struct shm_extent
plant(struct shm_segment *s, uint32_t extent, uint32_t generation,
    enum shm_extent_state state)
{
	table(s, extent)->state = pack(generation, 0, state);
	return shm_arena_state(s, extent);
}

static uint64_t *
lane_hint(struct shm_segment *s, unsigned log)
{
	return (uint64_t *)(void *)(s->base + s->geometry.hints) + log * 8;
}

static uint64_t *
map_word(struct shm_segment *s, uint32_t extent, unsigned word)
{
	return (uint64_t *)(void *)(s->base + s->geometry.maps) +
	       extent * s->geometry.map_words + word;
}

static struct shm_peer *
claim(struct shm_segment *s)
{
	struct shm_peer *peer = NULL;

	assert_int_equal(shm_peer_claim(s, &peer), 0);
	return peer;
}

static struct shm_place
reserve_for(struct shm_peer *peer, uint32_t log, enum shm_purpose purpose,
    uint32_t bytes)
{
	struct shm_place place;

	assert_int_equal(
	    shm_arena_reserve(peer, log, purpose, bytes, &place), 0);
	assert_int_equal(place.bytes, bytes);
	return place;
}

static struct shm_place
reserve(struct shm_peer *peer, uint32_t log, uint32_t bytes)
{
	return reserve_for(peer, log, SHM_WRITE_LAST, bytes);
}

static enum shm_extent_state
state_of(struct shm_segment *s, uint32_t extent)
{
	return shm_arena_state(s, extent).state;
}

/* A segment and one peer of it. */
struct fixture {
	struct shm_segment *s;
	struct shm_peer *peer;
};

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->s = test_segment();
	f->peer = claim(f->s);
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	while (f->s->peers != NULL)
		shm_peer_release(f->s->peers);
	shm_segment_detach(f->s);
	free(f);
	return 0;
}

static void
first_reservation_installs_an_extent(void **state)
{
	struct fixture *f = *state;
	struct shm_place a = reserve(f->peer, 0, 48), b;
	struct shm_extent e = shm_arena_state(f->s, a.extent);

	assert_true(a.installed);
	assert_int_equal(e.state, SHM_ACTIVE);
	assert_int_equal(e.log, 0);
	assert_int_equal(a.offset, shm_arena_offset(f->s, a.extent));
	assert_int_equal(f->peer->shared->pins[SHM_PIN_TARGET], a.extent + 1);
	assert_true(shm_arena_is_hinted(f->s, &e));
	shm_pin_clear(f->peer, SHM_PIN_TARGET);
	b = reserve(f->peer, 0, 16);
	assert_false(b.installed);
	assert_int_equal(b.offset, a.offset + 48);
	assert_int_equal(shm_arena_tail(f->s, a.extent, a.generation), 64);
}

static void
extent_can_be_filled_exactly(void **state)
{
	struct fixture *f = *state;
	struct shm_place a = reserve(f->peer, 0, EXTENT_BYTES), b;

	assert_int_equal(a.offset, shm_arena_offset(f->s, a.extent));
	b = reserve(f->peer, 0, EXTENT_BYTES);
	assert_int_not_equal(a.extent, b.extent);
	assert_true(b.installed);
	assert_int_equal(state_of(f->s, a.extent), SHM_SEALED);
	assert_int_equal(state_of(f->s, b.extent), SHM_ACTIVE);
	assert_int_equal(
	    shm_arena_tail(f->s, a.extent, a.generation), EXTENT_BYTES);
}

static void
last_unit_can_be_reserved_and_started(void **state)
{
	struct fixture *f = *state;
	struct shm_place a = reserve(f->peer, 0, EXTENT_BYTES - UNIT), b;
	uint32_t last = EXTENT_BYTES - UNIT;

	b = reserve(f->peer, 0, UNIT);
	assert_int_equal(b.extent, a.extent);
	assert_int_equal(b.offset, a.offset + last);
	shm_arena_start(f->s, &b);
	assert_true(shm_arena_started(f->s, b.extent, b.generation, last));
	assert_int_equal(
	    shm_arena_next_start(f->s, b.extent, b.generation, 0, false), last);
	assert_int_equal(
	    shm_arena_next_start(f->s, b.extent, b.generation, last, true),
	    last);
	assert_int_equal(shm_arena_next_start(
			     f->s, b.extent, b.generation, EXTENT_BYTES, true),
	    UINT32_MAX);
}

static void
what_does_not_fit_seals_and_goes_elsewhere(void **state)
{
	struct fixture *f = *state;
	struct shm_place a = reserve(f->peer, 0, EXTENT_BYTES - UNIT);
	struct shm_place b = reserve(f->peer, 0, 2 * UNIT);

	assert_int_not_equal(a.extent, b.extent);
	assert_int_equal(state_of(f->s, a.extent), SHM_SEALED);
	assert_int_equal(
	    shm_arena_tail(f->s, a.extent, a.generation), EXTENT_BYTES - UNIT);
}

static void
more_than_an_extent_is_refused(void **state)
{
	struct fixture *f = *state;
	struct shm_place place;

	assert_int_equal(shm_arena_reserve(f->peer, 0, SHM_WRITE_LAST,
			     EXTENT_BYTES + UNIT, &place),
	    SHM_ECORRUPT);
	assert_int_equal(f->peer->shared->pins[SHM_PIN_TARGET], 0);
	assert_int_equal(shm_arena_count_free(f->s, EXTENTS), EXTENTS);
}

static void
no_free_extent_is_busy_and_holds_nothing(void **state)
{
	struct fixture *f = *state;
	struct shm_place place = { .extent = 77 };

	for (unsigned i = 0; i < EXTENTS; i++) {
		(void)reserve(f->peer, 0, EXTENT_BYTES);
		shm_pin_clear(f->peer, SHM_PIN_TARGET);
	}
	assert_int_equal(
	    shm_arena_reserve(f->peer, 0, SHM_WRITE_LAST, UNIT, &place),
	    SHM_EBUSY);
	assert_int_equal(place.extent, 77);
	assert_int_equal(f->peer->shared->pins[SHM_PIN_TARGET], 0);
	assert_int_equal(shm_arena_count_free(f->s, EXTENTS), 0);
}

static void
first_copies_leave_the_last_free_extent(void **state)
{
	struct fixture *f = *state;
	struct shm_place place;

	for (unsigned i = 0; i < EXTENTS - 1; i++) {
		assert_int_equal(shm_arena_reserve(f->peer, 0, SHM_WRITE,
				     EXTENT_BYTES, &place),
		    0);
		shm_pin_clear(f->peer, SHM_PIN_TARGET);
	}
	assert_int_equal(
	    shm_arena_reserve(f->peer, 0, SHM_WRITE, UNIT, &place), SHM_EBUSY);
	assert_int_equal(f->peer->shared->pins[SHM_PIN_TARGET], 0);
	assert_int_equal(shm_arena_count_free(f->s, EXTENTS), 1);
	assert_true(reserve_for(f->peer, 0, SHM_MOVE, UNIT).installed);
	/* What is active is no free extent. */
	assert_int_equal(
	    shm_arena_reserve(f->peer, 0, SHM_WRITE, UNIT, &place), 0);
}

static void
logs_write_to_extents_of_their_own(void **state)
{
	struct fixture *f = *state;
	struct shm_place a = reserve(f->peer, 0, UNIT);
	struct shm_place b = reserve(f->peer, 1, UNIT);

	assert_int_not_equal(a.extent, b.extent);
	assert_int_equal(shm_arena_state(f->s, b.extent).log, 1);
	assert_int_equal(reserve(f->peer, 0, UNIT).extent, a.extent);
	assert_int_equal(reserve(f->peer, 1, UNIT).extent, b.extent);
}

/* The test segment has too few extents for pairs. */
static void
small_entries_fill_the_ends(void **state)
{
	struct shm_request r = test_request();
	struct shm_segment *s;
	struct shm_peer *peer;
	struct shm_place a, b, c;

	(void)state;
	r.extent_bytes = EXTENT_BYTES;
	r.extent_count = 64;
	s = test_segment_of(&r);
	peer = claim(s);
	a = reserve(peer, 0, EXTENT_BYTES - 4 * UNIT);
	b = reserve(peer, 0, 8 * UNIT);
	assert_int_not_equal(a.extent, b.extent);
	assert_int_equal(state_of(s, a.extent), SHM_ACTIVE);
	assert_int_equal(reserve(peer, 0, 3 * UNIT).extent, a.extent);
	assert_int_equal(reserve(peer, 0, 2 * UNIT).extent, b.extent);
	assert_int_equal(reserve(peer, 0, UNIT).extent, a.extent);
	/* Neither has room: the fuller one is sealed. */
	c = reserve(peer, 0, EXTENT_BYTES);
	assert_true(c.installed);
	assert_int_equal(state_of(s, a.extent), SHM_SEALED);
	assert_int_equal(state_of(s, b.extent), SHM_ACTIVE);
	shm_peer_release(peer);
	shm_segment_detach(s);
}

/* Where there are many extents; in the others' extents where there are few. */
static void
moved_entries_have_an_extent_of_their_own(void **state)
{
	struct fixture *f = *state;
	struct shm_request r = test_request();
	struct shm_segment *s;
	struct shm_peer *peer;
	struct shm_place fresh, moved;
	struct shm_extent e;

	r.extent_bytes = EXTENT_BYTES;
	r.extent_count = 32 * SHM_LANE_EXTENTS * r.log_count * r.lane_count;
	s = test_segment_of(&r);
	peer = claim(s);
	fresh = reserve(peer, 0, UNIT);
	moved = reserve_for(peer, 0, SHM_MOVE, UNIT);
	assert_int_not_equal(fresh.extent, moved.extent);
	assert_int_equal(reserve(peer, 0, UNIT).extent, fresh.extent);
	assert_int_equal(
	    reserve_for(peer, 0, SHM_MOVE, UNIT).extent, moved.extent);
	e = shm_arena_state(s, moved.extent);
	assert_int_equal(e.log, 0);
	assert_true(shm_arena_is_hinted(s, &e));
	shm_peer_release(peer);
	shm_segment_detach(s);

	fresh = reserve(f->peer, 0, UNIT);
	moved = reserve_for(f->peer, 0, SHM_MOVE, UNIT);
	assert_int_equal(fresh.extent, moved.extent);
}

static void
hint_left_by_the_dead_is_helped(void **state)
{
	struct fixture *f = *state;
	struct shm_place place;

	/* Killed between the hint and FREE -> ACTIVE. */
	(void)plant(f->s, 11, 6, SHM_FREE);
	*lane_hint(f->s, 0) = 6ull << 32 | (11 + 1);
	place = reserve(f->peer, 0, UNIT);
	assert_int_equal(place.extent, 11);
	assert_int_equal(place.generation, 6);
	assert_false(place.installed);
	assert_int_equal(state_of(f->s, 11), SHM_ACTIVE);
}

static void
hint_that_its_extent_does_not_confirm_is_replaced(void **state)
{
	struct fixture *f = *state;
	struct shm_extent other_log;

	(void)plant(f->s, 3, 5, SHM_SEALED);
	(void)plant(f->s, 4, 5, SHM_ACTIVE);
	table(f->s, 5)->state = pack(5, 1, SHM_ACTIVE);
	other_log = shm_arena_state(f->s, 5);
	*lane_hint(f->s, 0) = 5ull << 32 | (3 + 1);
	assert_int_not_equal(reserve(f->peer, 0, UNIT).extent, 3);
	*lane_hint(f->s, 0) = 4ull << 32 | (4 + 1); /* an older generation */
	assert_int_not_equal(reserve(f->peer, 0, UNIT).extent, 4);
	*lane_hint(f->s, 0) = 5ull << 32 | (5 + 1);
	assert_int_not_equal(reserve(f->peer, 0, UNIT).extent, 5);
	assert_int_equal(shm_arena_state(f->s, 5).state, other_log.state);
	*lane_hint(f->s, 0) = UINT64_MAX; /* damage */
	assert_true(reserve(f->peer, 0, UNIT).extent < EXTENTS);
}

static void
tail_of_another_generation_reads_as_empty(void **state)
{
	struct fixture *f = *state;
	struct shm_place place;

	(void)plant(f->s, 2, 9, SHM_ACTIVE);
	*lane_hint(f->s, 0) = 9ull << 32 | (2 + 1);
	table(f->s, 2)->tail = 8ull << 32 | 4000;
	assert_int_equal(shm_arena_tail(f->s, 2, 9), 0);
	assert_int_equal(shm_arena_tail(f->s, 2, 8), 4000);
	place = reserve(f->peer, 0, 32);
	assert_int_equal(place.offset, shm_arena_offset(f->s, 2));
	assert_int_equal(shm_arena_tail(f->s, 2, 9), 32);
}

static void
damaged_tail_hands_out_nothing_beyond_the_extent(void **state)
{
	struct fixture *f = *state;
	static const uint32_t tails[] = { EXTENT_BYTES + 16, 1u << 30,
		EXTENT_BYTES / 2 + 1, UINT32_MAX - 15 };

	for (size_t i = 0; i < TEST_COUNT_OF(tails); i++) {
		struct shm_place p = reserve(f->peer, 0, UNIT);
		uint64_t start, end;

		table(f->s, p.extent)->tail =
		    (uint64_t)p.generation << 32 | tails[i];
		p = reserve(f->peer, 0, 64);
		start = shm_arena_offset(f->s, p.extent);
		end = start + EXTENT_BYTES;
		assert_in_range(p.offset, start, end - 64);
		assert_int_equal(p.offset % UNIT, 0);
	}
}

static void
generation_wraps_when_an_extent_is_recycled(void **state)
{
	struct fixture *f = *state;
	struct shm_extent e = plant(f->s, 1, UINT32_MAX, SHM_LIMBO);

	table(f->s, 1)->tail = (uint64_t)UINT32_MAX << 32 | 512;
	table(f->s, 1)->live = (uint64_t)UINT32_MAX << 32 | 512;
	assert_true(shm_arena_recycle(f->s, &e, true));
	e = shm_arena_state(f->s, 1);
	assert_int_equal(e.generation, 0);
	assert_int_equal(e.state, SHM_FREE);
	assert_int_equal(shm_arena_tail(f->s, 1, 0), 0);
	assert_int_equal(shm_arena_live(f->s, 1, 0), 0);
}

/* Starts an entry by hand, at a unit. */
static void
start_unit(
    struct shm_segment *s, uint32_t extent, uint32_t generation, uint32_t unit)
{
	struct shm_place place = { .extent = extent,
		.generation = generation,
		.offset = shm_arena_offset(s, extent) + unit * UNIT,
		.bytes = UNIT };

	shm_arena_start(s, &place);
}

static void
starts_are_found_at_the_edges_of_map_words(void **state)
{
	static const uint32_t units[] = { 0, 1, 47, 48, 49, 95, 96, 239, 240,
		254, 255 };
	struct fixture *f = *state;
	uint32_t at = 0;

	for (size_t i = 0; i < TEST_COUNT_OF(units); i++)
		start_unit(f->s, 7, 3, units[i]);
	for (size_t i = 0; i < TEST_COUNT_OF(units); i++) {
		at = shm_arena_next_start(f->s, 7, 3, at, i % 2 == 0);
		assert_int_equal(at, units[i] * UNIT);
		assert_true(shm_arena_started(f->s, 7, 3, at));
		assert_false(shm_arena_started(f->s, 6, 3, at));
		assert_false(shm_arena_started(f->s, 8, 3, at));
		at += UNIT;
	}
	assert_int_equal(
	    shm_arena_next_start(f->s, 7, 3, at, true), UINT32_MAX);
	assert_false(shm_arena_started(f->s, 7, 3, 50 * UNIT));
}

static void
start_map_of_another_generation_reads_empty(void **state)
{
	struct fixture *f = *state;

	start_unit(f->s, 7, 3, 100);
	assert_int_equal(
	    shm_arena_next_start(f->s, 7, 4, 0, false), UINT32_MAX);
	assert_false(shm_arena_started(f->s, 7, 4, 100 * UNIT));
	assert_true(shm_arena_started(f->s, 7, 3, 100 * UNIT));
	start_unit(f->s, 7, 4, 101); /* the first of a generation empties */
	assert_false(shm_arena_started(f->s, 7, 4, 100 * UNIT));
	assert_false(shm_arena_started(f->s, 7, 3, 100 * UNIT));
	assert_int_equal(
	    shm_arena_next_start(f->s, 7, 4, 0, false), 101 * UNIT);
}

static void
settling_walk_leaves_nothing_that_could_alias(void **state)
{
	struct fixture *f = *state;

	/* 16 bits of generation: 65536 later the word would count again. */
	start_unit(f->s, 7, 3, 100);
	assert_true(shm_arena_started(f->s, 7, 3 + 0x10000, 100 * UNIT));
	assert_int_equal(shm_arena_next_start(f->s, 7, 4, 0, true), UINT32_MAX);
	assert_false(shm_arena_started(f->s, 7, 3 + 0x10000, 100 * UNIT));
	for (unsigned word = 0; word < f->s->geometry.map_words; word++)
		assert_int_equal(
		    *map_word(f->s, 7, word), 4ull << SHM_MAP_UNITS);
}

static void
walk_that_does_not_settle_changes_nothing(void **state)
{
	struct fixture *f = *state;

	start_unit(f->s, 7, 3, 100);
	assert_int_equal(
	    shm_arena_next_start(f->s, 7, 4, 0, false), UINT32_MAX);
	assert_true(shm_arena_started(f->s, 7, 3, 100 * UNIT));
}

static void
settling_keeps_the_bits_of_its_generation(void **state)
{
	struct fixture *f = *state;

	start_unit(f->s, 7, 0xffff, 10);
	start_unit(f->s, 7, 0xffff, 200);
	assert_int_equal(
	    shm_arena_next_start(f->s, 7, 0xffff, 0, true), 10 * UNIT);
	assert_int_equal(
	    shm_arena_next_start(f->s, 7, 0xffff, 11 * UNIT, true), 200 * UNIT);
	assert_int_equal(
	    shm_arena_next_start(f->s, 7, 0x10000, 0, true), UINT32_MAX);
}

static void
damaged_map_leads_no_further_than_the_extent(void **state)
{
	struct fixture *f = *state;
	uint32_t at = 0, found = 0;

	for (unsigned word = 0; word < f->s->geometry.map_words; word++)
		*map_word(f->s, 15, word) =
		    2ull << SHM_MAP_UNITS | SHM_MAP_BITS;
	while (
	    (at = shm_arena_next_start(f->s, 15, 2, at, true)) != UINT32_MAX) {
		assert_true(at < EXTENT_BYTES);
		at += UNIT;
		found++;
	}
	assert_int_equal(found, EXTENT_BYTES / UNIT);
}

static void
live_bytes_do_not_fall_below_zero(void **state)
{
	struct fixture *f = *state;

	shm_arena_account(f->s, 3, 1, 100);
	shm_arena_account(f->s, 3, 1, 60);
	assert_int_equal(shm_arena_live(f->s, 3, 1), 160);
	shm_arena_account(f->s, 3, 1, -60);
	assert_int_equal(shm_arena_live(f->s, 3, 1), 100);
	shm_arena_account(f->s, 3, 1, -101);
	assert_int_equal(shm_arena_live(f->s, 3, 1), 0);
	shm_arena_account(f->s, 3, 1, -1);
	assert_int_equal(shm_arena_live(f->s, 3, 1), 0);
}

static void
first_account_of_a_generation_starts_at_zero(void **state)
{
	struct fixture *f = *state;

	shm_arena_account(f->s, 3, 1, 1000);
	assert_int_equal(shm_arena_live(f->s, 3, 2), 0);
	shm_arena_account(f->s, 3, 2, 48);
	assert_int_equal(shm_arena_live(f->s, 3, 2), 48);
	assert_int_equal(shm_arena_live(f->s, 3, 1), 0);
}

static void
only_the_right_state_and_generation_change(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = SHM_FREE; i < SHM_EXTENT_STATES; i++) {
		struct shm_extent e =
		    plant(f->s, 4, 7, (enum shm_extent_state)i);
		struct shm_extent stale = e;

		stale.generation = 6;
		assert_false(shm_arena_seal(f->s, &stale));
		assert_false(shm_arena_begin_evict(f->s, &stale, true));
		assert_false(shm_arena_recycle(f->s, &stale, true));
		if (i != SHM_ACTIVE)
			assert_false(shm_arena_seal(f->s, &e));
		if (i != SHM_SEALED)
			assert_false(shm_arena_begin_evict(f->s, &e, true));
		if (i != SHM_LIMBO)
			assert_false(shm_arena_recycle(f->s, &e, true));
		assert_int_equal(table(f->s, 4)->state,
		    pack(7, 0, (enum shm_extent_state)i));
	}
}

static void
life_of_an_extent_goes_round(void **state)
{
	struct fixture *f = *state;
	struct shm_extent e = plant(f->s, 4, 7, SHM_ACTIVE);

	assert_true(shm_arena_seal(f->s, &e));
	assert_false(shm_arena_seal(f->s, &e));
	e = shm_arena_state(f->s, 4);
	assert_true(shm_arena_begin_evict(f->s, &e, true));
	assert_false(shm_arena_begin_evict(f->s, &e, true));
	e = shm_arena_state(f->s, 4);
	assert_int_equal(e.state, SHM_EVICTING);
	assert_true(shm_arena_end_evict(f->s, &e));
	assert_false(shm_arena_end_evict(f->s, &e));
	e = shm_arena_state(f->s, 4);
	assert_true(shm_arena_recycle(f->s, &e, true));
	e = shm_arena_state(f->s, 4);
	assert_int_equal(e.state, SHM_FREE);
	assert_int_equal(e.generation, 8);
}

static void
eviction_is_refused_while_a_target_pin_is_held(void **state)
{
	struct fixture *f = *state;
	struct shm_peer *writer = claim(f->s);
	struct shm_extent e = plant(f->s, 4, 7, SHM_SEALED);

	shm_pin_set(writer, SHM_PIN_TARGET, 4);
	assert_false(shm_arena_begin_evict(f->s, &e, true));
	assert_false(shm_arena_begin_evict(f->s, &e, false));
	assert_int_equal(state_of(f->s, 4), SHM_SEALED);
	shm_pin_clear(writer, SHM_PIN_TARGET);
	assert_true(shm_arena_begin_evict(f->s, &e, true));
}

static void
eviction_does_not_mind_readers(void **state)
{
	struct fixture *f = *state;
	struct shm_peer *reader = claim(f->s);
	struct shm_extent e = plant(f->s, 4, 7, SHM_SEALED);

	for (unsigned pin = 0; pin < SHM_PINS; pin++)
		if (pin != SHM_PIN_TARGET)
			shm_pin_set(reader, pin, 4);
	assert_true(shm_arena_begin_evict(f->s, &e, true));
}

static void
recycling_is_refused_while_any_pin_is_held(void **state)
{
	struct fixture *f = *state;
	struct shm_peer *reader = claim(f->s);
	struct shm_extent e = plant(f->s, 4, 7, SHM_LIMBO);

	for (unsigned pin = 0; pin < SHM_PINS; pin++) {
		shm_pin_set(reader, pin, 4);
		assert_false(shm_arena_recycle(f->s, &e, true));
		assert_false(shm_arena_recycle(f->s, &e, false));
		shm_pin_clear(reader, pin);
	}
	assert_int_equal(state_of(f->s, 4), SHM_LIMBO);
	assert_true(shm_arena_recycle(f->s, &e, true));
}

static int
pin_extent_4(void *path)
{
	struct shm_segment *s = NULL;
	struct shm_peer *peer = NULL;

	if (shm_segment_attach(path, TEST_SIGNATURE, NULL, NULL, &s) != 0 ||
	    shm_peer_claim(s, &peer) != 0)
		return 1;
	shm_pin_set(peer, SHM_PIN_TARGET, 4);
	shm_pin_set(peer, SHM_PIN_HANDLES, 4);
	return 0;
}

static void
dead_writer_does_not_keep_an_extent(void **state)
{
	struct fixture *f = *state;
	pid_t child = test_child_pause(pin_extent_4, f->s->path);
	struct shm_extent e = plant(f->s, 4, 7, SHM_SEALED);

	test_child_stop(child);
	assert_false(shm_arena_begin_evict(f->s, &e, true));
	test_child_kill(child);
	assert_true(shm_arena_begin_evict(f->s, &e, true));
	test_child_reap(child);
}

static void
dead_reader_does_not_keep_an_extent(void **state)
{
	struct fixture *f = *state;
	pid_t child = test_child_pause(pin_extent_4, f->s->path);
	struct shm_extent e = plant(f->s, 4, 7, SHM_LIMBO);

	test_child_stop(child);
	assert_false(shm_arena_recycle(f->s, &e, true));
	test_child_kill(child);
	assert_true(shm_arena_recycle(f->s, &e, true));
	test_child_reap(child);
}

static void
walk_pins_only_what_has_not_changed(void **state)
{
	struct fixture *f = *state;
	struct shm_extent e = plant(f->s, 4, 7, SHM_EVICTING);
	uint64_t *pin = &f->peer->shared->pins[SHM_PIN_SCAN];

	assert_true(shm_arena_pin_walk(f->peer, &e));
	assert_int_equal(*pin, 4 + 1);
	shm_pin_clear(f->peer, SHM_PIN_SCAN);
	(void)plant(f->s, 4, 7, SHM_LIMBO);
	assert_false(shm_arena_pin_walk(f->peer, &e));
	assert_int_equal(*pin, 0);
	(void)plant(f->s, 4, 8, SHM_EVICTING);
	assert_false(shm_arena_pin_walk(f->peer, &e));
	assert_int_equal(*pin, 0);
}

static void
extents_are_born_one_after_the_other(void **state)
{
	struct fixture *f = *state;
	struct shm_place p = reserve(f->peer, 0, UNIT), q;
	struct shm_extent first = shm_arena_state(f->s, p.extent), second;

	shm_pin_clear(f->peer, SHM_PIN_TARGET);
	assert_true(shm_arena_seal(f->s, &first));
	q = reserve(f->peer, 0, UNIT);
	shm_pin_clear(f->peer, SHM_PIN_TARGET);
	first = shm_arena_state(f->s, p.extent);
	second = shm_arena_state(f->s, q.extent);
	assert_int_not_equal(first.number, second.number);
	assert_true(shm_arena_born(f->s, &first) > 0);
	assert_true(
	    shm_arena_born(f->s, &second) > shm_arena_born(f->s, &first));
	first.generation++;
	assert_true(shm_arena_born(f->s, &first) == 0);
}

static void
renewed_extent_is_the_newest_of_its_log(void **state)
{
	struct fixture *f = *state;
	struct shm_extent e = plant(f->s, 4, 7, SHM_SEALED);
	struct shm_extent other = plant(f->s, 5, 7, SHM_SEALED);

	assert_true(shm_arena_renew(f->s, &e, 1));
	e = shm_arena_state(f->s, 4);
	assert_int_equal(e.state, SHM_SEALED);
	assert_int_equal(e.generation, 7);
	assert_int_equal(e.log, 1);
	assert_true(shm_arena_born(f->s, &e) > 0);
	(void)plant(f->s, 5, 7, SHM_EVICTING);
	assert_false(shm_arena_renew(f->s, &other, 1));
	assert_int_equal(shm_arena_state(f->s, 5).state, SHM_EVICTING);
}

static void
free_extents_are_counted_no_further_than_enough(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(shm_arena_count_free(f->s, EXTENTS), EXTENTS);
	assert_int_equal(shm_arena_count_free(f->s, 3), 3);
	(void)plant(f->s, 0, 1, SHM_LIMBO);
	(void)plant(f->s, 9, 1, SHM_SEALED);
	assert_int_equal(shm_arena_count_free(f->s, 99), EXTENTS - 2);
}

static void
lane_hint_speaks_of_one_generation(void **state)
{
	struct fixture *f = *state;
	struct shm_place place = reserve(f->peer, 1, UNIT);
	struct shm_extent e = shm_arena_state(f->s, place.extent);

	assert_true(shm_arena_is_hinted(f->s, &e));
	e.generation++;
	assert_false(shm_arena_is_hinted(f->s, &e));
}

static void
room_in_what_may_not_be_written_is_none(void **state)
{
	struct fixture *f = *state;
	struct shm_place place = reserve(f->peer, 0, UNIT);
	struct shm_extent e = shm_arena_state(f->s, place.extent);

	assert_false(reserve(f->peer, 0, UNIT).installed);
	assert_true(shm_arena_seal(f->s, &e));
	assert_true(reserve(f->peer, 0, UNIT).installed);
	*lane_hint(f->s, 0) = 0;
	assert_true(reserve(f->peer, 0, UNIT).installed);
}

static void
hint_is_the_least_of_what_was_given(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(shm_arena_hint(f->s, 6, 0), SHM_HINT_NONE);
	shm_arena_lower_hint(f->s, 6, 0, 500);
	shm_arena_lower_hint(f->s, 6, 0, 700);
	assert_int_equal(shm_arena_hint(f->s, 6, 0), 500);
	shm_arena_lower_hint(f->s, 6, 0, 300);
	assert_int_equal(shm_arena_hint(f->s, 6, 0), 300);
	assert_int_equal(shm_arena_hint(f->s, 6, 1), SHM_HINT_NONE);
	assert_int_equal(shm_arena_hint(f->s, 7, 0), SHM_HINT_NONE);
}

static void
hint_is_raised_by_who_has_seen_everything(void **state)
{
	struct fixture *f = *state;
	uint64_t seen;

	shm_arena_lower_hint(f->s, 6, 2, 500);
	seen = shm_arena_clean_hint(f->s, 6, 2);
	assert_int_equal(shm_arena_hint(f->s, 6, 2), 499);
	shm_arena_raise_hint(f->s, 6, 2, seen, 900);
	assert_int_equal(shm_arena_hint(f->s, 6, 2), 900);
	seen = shm_arena_clean_hint(f->s, 6, 2);
	shm_arena_raise_hint(f->s, 6, 2, seen, SHM_HINT_NONE);
	assert_int_equal(shm_arena_hint(f->s, 6, 2), SHM_HINT_NONE);
	shm_arena_lower_hint(f->s, 6, 2, 10);
	assert_int_equal(shm_arena_hint(f->s, 6, 2), 10);
}

static void
hint_is_not_raised_over_what_a_walk_may_have_missed(void **state)
{
	struct fixture *f = *state;
	uint64_t seen;

	shm_arena_lower_hint(f->s, 6, 2, 500);
	seen = shm_arena_clean_hint(f->s, 6, 2);
	shm_arena_lower_hint(f->s, 6, 2, 700); /* it is low enough for that */
	shm_arena_raise_hint(f->s, 6, 2, seen, 900);
	assert_int_equal(shm_arena_hint(f->s, 6, 2), 499);
	seen = shm_arena_clean_hint(f->s, 6, 2);
	shm_arena_lower_hint(f->s, 6, 2, 300);
	shm_arena_raise_hint(f->s, 6, 2, seen, 900);
	assert_int_equal(shm_arena_hint(f->s, 6, 2), 300);
	/* Two walks: the first raises, the second does not undo it. */
	seen = shm_arena_clean_hint(f->s, 6, 2);
	shm_arena_raise_hint(f->s, 6, 2, seen, 900);
	shm_arena_raise_hint(f->s, 6, 2, seen, 800);
	assert_int_equal(shm_arena_hint(f->s, 6, 2), 900);
}

/* The first walk passed before the entry was started, the second saw it. */
static void
hint_is_not_raised_over_what_a_later_walk_cleaned(void **state)
{
	struct fixture *f = *state;
	uint64_t first, second;

	shm_arena_lower_hint(f->s, 6, 2, 500);
	first = shm_arena_clean_hint(f->s, 6, 2);
	shm_arena_lower_hint(f->s, 6, 2, 700);
	second = shm_arena_clean_hint(f->s, 6, 2);
	shm_arena_raise_hint(f->s, 6, 2, first, SHM_HINT_NONE);
	assert_true(shm_arena_hint(f->s, 6, 2) <= 500);
	shm_arena_raise_hint(f->s, 6, 2, second, 700);
	assert_int_equal(shm_arena_hint(f->s, 6, 2), 700);
}

static void
walk_of_an_extent_without_a_hint_may_raise_it(void **state)
{
	struct fixture *f = *state;
	uint64_t seen = shm_arena_clean_hint(f->s, 6, 5);

	assert_int_equal(shm_arena_hint(f->s, 6, 5), SHM_HINT_NONE);
	shm_arena_raise_hint(f->s, 6, 5, seen, 40);
	assert_int_equal(shm_arena_hint(f->s, 6, 5), 40);
}

static void
hint_too_large_for_its_bits_is_none(void **state)
{
	struct fixture *f = *state;

	shm_arena_lower_hint(f->s, 6, 2, UINT64_MAX);
	shm_arena_lower_hint(f->s, 6, 2, SHM_HINT_NONE + 5);
	assert_int_equal(shm_arena_hint(f->s, 6, 2), SHM_HINT_NONE);
	shm_arena_lower_hint(f->s, 6, 2, SHM_HINT_NONE - 1);
	assert_int_equal(shm_arena_hint(f->s, 6, 2), SHM_HINT_NONE - 1);
	assert_int_equal(shm_arena_hint(f->s, 6, 3), SHM_HINT_NONE);
}

static void
hint_has_24_bits_of_generation(void **state)
{
	struct fixture *f = *state;

	shm_arena_lower_hint(f->s, 6, 0xffffff, 77);
	assert_int_equal(shm_arena_hint(f->s, 6, 0xffffff), 77);
	assert_int_equal(shm_arena_hint(f->s, 6, 0x1000000), SHM_HINT_NONE);
	shm_arena_lower_hint(f->s, 6, 0x1000000, 88);
	assert_int_equal(shm_arena_hint(f->s, 6, 0x1000000), 88);
	assert_int_equal(shm_arena_hint(f->s, 6, 0xffffff), SHM_HINT_NONE);
	/* Zero is what a fresh word holds, so it is given as 1. */
	shm_arena_lower_hint(f->s, 6, 0x1000000, 0);
	assert_int_equal(shm_arena_hint(f->s, 6, 0x1000000), 1);
}

/* Writers at once: everybody's bytes are his own. */
#define WRITERS 4u
#define PLACES  150u

struct writer {
	struct shm_segment *s;
	struct shm_peer *peer;
	struct shm_place places[PLACES];
	unsigned count;
	uint8_t mark;
};

static void *
write_places(void *context)
{
	struct writer *w = context;
	struct prng prng;

	test_random(&prng, w->mark);
	for (; w->count < PLACES; w->count++) {
		struct shm_place *p = &w->places[w->count];
		uint32_t bytes = UNIT * (1 + (uint32_t)prng_below(&prng, 8));

		if (shm_arena_reserve(w->peer, 0, SHM_WRITE_LAST, bytes, p) !=
		    0)
			break;
		memset(w->s->base + p->offset, w->mark, bytes);
		shm_arena_account(w->s, p->extent, p->generation, p->bytes);
		shm_arena_start(w->s, p);
		shm_pin_clear(w->peer, SHM_PIN_TARGET);
	}
	return NULL;
}

static uint64_t
check_places(const struct writer *w)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < w->count; i++) {
		const struct shm_place *p = &w->places[i];
		uint64_t base = shm_arena_offset(w->s, p->extent);

		assert_true(shm_arena_started(w->s, p->extent, p->generation,
		    (uint32_t)(p->offset - base)));
		for (uint32_t j = 0; j < p->bytes; j++)
			assert_int_equal(w->s->base[p->offset + j], w->mark);
		sum += p->bytes;
	}
	return sum;
}

static void
writers_at_once_share_no_byte(void **state)
{
	struct fixture *f = *state;
	static struct writer writers[WRITERS];
	pthread_t threads[WRITERS];
	uint64_t written = 0, live = 0;

	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){
			.s = f->s, .peer = claim(f->s), .mark = (uint8_t)(i + 1)
		};
		assert_int_equal(pthread_create(&threads[i], NULL, write_places,
				     &writers[i]),
		    0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (unsigned i = 0; i < WRITERS; i++)
		written += check_places(&writers[i]);
	for (uint32_t i = 0; i < EXTENTS; i++)
		live += shm_arena_live(
		    f->s, i, shm_arena_state(f->s, i).generation);
	assert_int_equal(written, live);
	assert_true(written > EXTENTS / 2 * EXTENT_BYTES / 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest tests[] = {
	TEST(first_reservation_installs_an_extent),
	TEST(extent_can_be_filled_exactly),
	TEST(last_unit_can_be_reserved_and_started),
	TEST(what_does_not_fit_seals_and_goes_elsewhere),
	TEST(more_than_an_extent_is_refused),
	TEST(no_free_extent_is_busy_and_holds_nothing),
	TEST(first_copies_leave_the_last_free_extent),
	TEST(logs_write_to_extents_of_their_own),
	cmocka_unit_test(small_entries_fill_the_ends),
	TEST(moved_entries_have_an_extent_of_their_own),
	TEST(hint_left_by_the_dead_is_helped),
	TEST(hint_that_its_extent_does_not_confirm_is_replaced),
	TEST(tail_of_another_generation_reads_as_empty),
	TEST(damaged_tail_hands_out_nothing_beyond_the_extent),
	TEST(generation_wraps_when_an_extent_is_recycled),
	TEST(starts_are_found_at_the_edges_of_map_words),
	TEST(start_map_of_another_generation_reads_empty),
	TEST(settling_walk_leaves_nothing_that_could_alias),
	TEST(walk_that_does_not_settle_changes_nothing),
	TEST(settling_keeps_the_bits_of_its_generation),
	TEST(damaged_map_leads_no_further_than_the_extent),
	TEST(live_bytes_do_not_fall_below_zero),
	TEST(first_account_of_a_generation_starts_at_zero),
	TEST(only_the_right_state_and_generation_change),
	TEST(life_of_an_extent_goes_round),
	TEST(eviction_is_refused_while_a_target_pin_is_held),
	TEST(eviction_does_not_mind_readers),
	TEST(recycling_is_refused_while_any_pin_is_held),
	TEST(dead_writer_does_not_keep_an_extent),
	TEST(dead_reader_does_not_keep_an_extent),
	TEST(walk_pins_only_what_has_not_changed),
	TEST(extents_are_born_one_after_the_other),
	TEST(renewed_extent_is_the_newest_of_its_log),
	TEST(free_extents_are_counted_no_further_than_enough),
	TEST(lane_hint_speaks_of_one_generation),
	TEST(room_in_what_may_not_be_written_is_none),
	TEST(hint_is_the_least_of_what_was_given),
	TEST(hint_is_raised_by_who_has_seen_everything),
	TEST(hint_is_not_raised_over_what_a_walk_may_have_missed),
	TEST(hint_is_not_raised_over_what_a_later_walk_cleaned),
	TEST(walk_of_an_extent_without_a_hint_may_raise_it),
	TEST(hint_too_large_for_its_bits_is_none),
	TEST(hint_has_24_bits_of_generation),
	TEST(writers_at_once_share_no_byte),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
