/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shm_races_test.c - extents and peers, changed by two at once (race.h)
 *
 * One attachment is the stepped thread's, one the other's.
 */
#include "shm/arena.h"
#include "tests/unit/race.h"

#include <stdio.h>
#include <string.h>

#define EXTENTS    16u
#define GENERATION 7u

static struct shm_segment *segment, *another;
static struct shm_peer *own, *others;

static struct shm_extent_shared *
table(uint32_t extent)
{
	return &shm_extent_table(segment)[extent];
}

static void
plant(uint32_t extent, enum shm_extent_state state)
{
	memset(table(extent), 0, sizeof(*table(extent)));
	table(extent)->state = (uint64_t)GENERATION << 32 | (uint64_t)state;
}

static uint64_t *
lane_hint(void)
{
	return shm_at(segment, segment->geometry.hints);
}

/* Start bits. */

static void
start_nothing(void)
{
	uint64_t *words = shm_at(segment, segment->geometry.maps);

	words[0] = 0;
}

static void
start_at(uint32_t unit)
{
	const struct shm_place place = { .generation = GENERATION,
		.offset =
		    shm_arena_offset(segment, 0) + unit * SHM_UNIT_BYTES };

	shm_arena_start(segment, &place);
}

static void
start_one(void)
{
	start_at(1);
}

static void
start_two(void)
{
	start_at(2);
}

static bool
are_both_started(void)
{
	return shm_arena_started(segment, 0, GENERATION, SHM_UNIT_BYTES) &&
	       shm_arena_started(segment, 0, GENERATION, 2 * SHM_UNIT_BYTES);
}

static void
starts_are_kept(void **state)
{
	(void)state;
	run_race(&(struct race){
	    start_nothing, start_one, start_two, are_both_started });
}

/* Reservations. */

static struct shm_place places[2];
static uint64_t installed_before, renewed;

static void
free_all(void)
{
	for (uint32_t i = 0; i < EXTENTS; i++)
		plant(i, SHM_FREE);
	*lane_hint() = 0;
	installed_before = segment->header->installed;
	renewed = 0;
}

/* The hint of who was killed before it made the extent ACTIVE. */
static void
free_all_and_hint(void)
{
	free_all();
	*lane_hint() = (uint64_t)GENERATION << 32 | (2 + 1);
}

static void
reserve(struct shm_peer *peer, unsigned who)
{
	(void)shm_arena_reserve(
	    peer, 0, SHM_WRITE_LAST, SHM_UNIT_BYTES, &places[who]);
	shm_pin_clear(peer, SHM_PIN_TARGET);
}

static void
reserve_first(void)
{
	reserve(own, 0);
}

static void
reserve_second(void)
{
	reserve(others, 1);
}

static bool
are_bytes_apart(void)
{
	return places[0].offset != places[1].offset;
}

/* One extent, installed once. */
static bool
are_both_in_one(void)
{
	return are_bytes_apart() && places[0].extent == places[1].extent &&
	       segment->header->installed == installed_before + 1;
}

static bool
are_active_ones_hinted(void)
{
	for (uint32_t i = 0; i < EXTENTS; i++) {
		struct shm_extent e = shm_arena_state(segment, i);

		if (e.state == SHM_ACTIVE && !shm_arena_is_hinted(segment, &e))
			return false;
	}
	return are_bytes_apart();
}

/* Reserves, and lets the extent pass as an evictor does. */
static void
reserve_and_renew(void)
{
	struct shm_extent e;

	reserve(others, 1);
	e = shm_arena_state(another, places[1].extent);
	(void)shm_arena_seal(another, &e);
	e.state = SHM_SEALED;
	(void)shm_arena_renew(another, &e, 0);
	renewed = shm_arena_born(another, &e);
}

static bool
is_renewal_kept(void)
{
	struct shm_extent e = shm_arena_state(segment, places[1].extent);

	return renewed != 0 && shm_arena_born(segment, &e) == renewed;
}

static void
reservations_are_apart(void **state)
{
	(void)state;
	run_race(&(struct race){ free_all_and_hint, reserve_first,
	    reserve_second, are_both_in_one });
	run_race(&(struct race){
	    free_all, reserve_first, reserve_second, are_active_ones_hinted });
	run_race(&(struct race){ free_all_and_hint, reserve_first,
	    reserve_and_renew, is_renewal_kept });
}

/* Two let the same extent pass. */

static bool passed[2];

static void
seal_one(void)
{
	plant(1, SHM_SEALED);
}

static void
renew(struct shm_segment *by, unsigned who)
{
	const struct shm_extent e = {
		.number = 1, .generation = GENERATION, .state = SHM_SEALED
	};

	passed[who] = shm_arena_renew(by, &e, 0);
}

static void
renew_first(void)
{
	renew(segment, 0);
}

static void
renew_second(void)
{
	renew(another, 1);
}

/* If both did, then one after the other. */
static bool
is_it_the_newest(void)
{
	struct shm_extent e = shm_arena_state(segment, 1);

	return (passed[0] || passed[1]) &&
	       (!(passed[0] && passed[1]) ||
		   shm_arena_born(segment, &e) == segment->header->installed);
}

static void
extents_are_let_pass_by_one(void **state)
{
	(void)state;
	run_race(&(struct race){
	    seal_one, renew_first, renew_second, is_it_the_newest });
}

/* The hint is raised over what a walk has seen, and no more. */

static void
set_hint(void)
{
	table(0)->hint = 0;
	shm_arena_lower_hint(segment, 0, GENERATION, 500);
}

static void
walk_and_raise(void)
{
	uint64_t seen = shm_arena_clean_hint(segment, 0, GENERATION);
	bool has_seen = (seen & SHM_HINT_NONE) <= 50;

	shm_arena_raise_hint(segment, 0, GENERATION, seen, has_seen ? 50 : 900);
}

static void
lower_to_50(void)
{
	shm_arena_lower_hint(another, 0, GENERATION, 50);
}

static bool
is_it_50(void)
{
	return shm_arena_hint(segment, 0, GENERATION) <= 50;
}

static void
hints_are_not_raised_over_the_new(void **state)
{
	(void)state;
	run_race(
	    &(struct race){ set_hint, walk_and_raise, lower_to_50, is_it_50 });
}

/* A thread ends while another unpins the last item that it had pinned. */

static struct shm_peer *leaving;
static int pinned;
static bool told; /* to release it */

static void
claim_and_hold(void)
{
	(void)shm_peer_claim(segment, &leaving);
	pinned = shm_peer_hold(leaving);
	told = false;
}

static void
release(void)
{
	shm_peer_release(leaving);
}

static void
unhold(void)
{
	told = shm_peer_unhold(leaving, (uint32_t)pinned);
}

/* By one of the two: else it leaks, or is freed twice. */
static bool
is_it_to_be_released_once(void)
{
	uint64_t claim = shm_peer_table(segment)[2].claim;

	if (told != (shm_claim_state(claim) != SHM_CLAIM_FREE))
		return false;
	if (told)
		shm_peer_release(leaving);
	return true;
}

static void
peers_are_released_once(void **state)
{
	(void)state;
	run_race(&(struct race){
	    claim_and_hold, release, unhold, is_it_to_be_released_once });
}

/* A dead process's claim is freed by its heir and by another, who claims the slot
   anew. */

static struct shm_segment *heir;
static struct shm_peer *claimed;

/* Of an older generation of the process. */
static void
leave_a_claim(void)
{
	shm_peer_table(segment)[2].claim = SHM_CLAIM_LIVE | 5u << 2 |
					   (uint64_t)heir->process << 28 |
					   0xabcdefull << 40;
}

static void
inherit(void)
{
	shm_process_enroll(heir);
}

static void
sweep_and_claim(void)
{
	(void)shm_peer_sweep(another);
	(void)shm_peer_claim(another, &claimed);
}

static bool
is_claim_kept(void)
{
	bool right = claimed->shared->claim == claimed->claim &&
		     shm_peer_slot(claimed) == 2;

	shm_peer_release(claimed);
	return right;
}

static void
claims_of_the_living_are_kept(void **state)
{
	(void)state;
	heir = test_attach(segment->path);
	run_race(&(struct race){
	    leave_a_claim, inherit, sweep_and_claim, is_claim_kept });
	shm_segment_detach(heir);
}

static int
setup(void **state)
{
	(void)state;
	segment = test_segment();
	another = test_attach(segment->path);
	return shm_peer_claim(segment, &own) != 0 ||
	       shm_peer_claim(another, &others) != 0 || !race_begin(2);
}

static int
teardown(void **state)
{
	(void)state;
	(void)other_end();
	shm_peer_release(own);
	shm_peer_release(others);
	shm_segment_detach(another);
	shm_segment_detach(segment);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RACE(starts_are_kept),
		RACE(reservations_are_apart),
		RACE(extents_are_let_pass_by_one),
		RACE(hints_are_not_raised_over_the_new),
		RACE(peers_are_released_once),
		RACE(claims_of_the_living_are_kept),
	};

	if (!steps_possible())
		return steps_skip();
	return cmocka_run_group_tests(
	    tests, test_group_setup_one_cpu, test_group_teardown);
}
