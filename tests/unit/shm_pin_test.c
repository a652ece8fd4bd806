/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shm_pin_test.c - a scan sees what the living have pinned, and nothing else
 */
#include "shm/pin.h"
#include "tests/unit/support.h"

#include <pthread.h>

static struct shm_peer *
claim(struct shm_segment *s)
{
	struct shm_peer *peer = NULL;

	assert_int_equal(shm_peer_claim(s, &peer), 0);
	return peer;
}

static void
each_pin_is_seen_until_it_is_cleared(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *other = claim(s), *peer = claim(s);

	(void)state;
	for (unsigned pin = 0; pin < SHM_PINS; pin++) {
		assert_false(shm_pin_scan(s, 7, SHM_PINS_ALL, true));
		shm_pin_set(peer, pin, 7);
		assert_true(shm_pin_scan(s, 7, SHM_PINS_ALL, true));
		assert_int_equal(shm_pin_scan(s, 7, SHM_PINS_TARGETS, true),
		    pin == SHM_PIN_TARGET);
		assert_int_equal(shm_pin_scan(s, 7, 1u << SHM_PIN_SCAN, false),
		    pin == SHM_PIN_SCAN);
		shm_pin_clear(peer, pin);
	}
	assert_false(shm_pin_scan(s, 7, SHM_PINS_ALL, true));
	shm_peer_release(peer);
	shm_peer_release(other);
	shm_segment_detach(s);
}

static void
pins_of_other_extents_do_not_matter(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *peer = claim(s);

	(void)state;
	/* No pin is 0, and that is not extent 0. */
	assert_false(shm_pin_scan(s, 0, SHM_PINS_ALL, true));
	shm_pin_set(peer, SHM_PIN_ENTRY, 0);
	assert_true(shm_pin_scan(s, 0, SHM_PINS_ALL, true));
	for (uint32_t extent = 1; extent < 16; extent++)
		assert_false(shm_pin_scan(s, extent, SHM_PINS_ALL, true));
	shm_peer_release(peer);
	assert_false(shm_pin_scan(s, 0, SHM_PINS_ALL, true));
	shm_segment_detach(s);
}

static void
pins_in_a_slot_that_nobody_claims_are_void(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *peer = claim(s);

	(void)state;
	s->header->peer_high = 8;
	shm_peer_table(s)[5].pins[SHM_PIN_ENTRY] = 3 + 1;
	assert_false(shm_pin_scan(s, 3, SHM_PINS_ALL, true));
	/* (Or not any more: by a process that lives.) */
	shm_peer_release(peer);
	shm_peer_table(s)[0].pins[SHM_PIN_ENTRY] = 4 + 1;
	assert_false(shm_pin_scan(s, 4, SHM_PINS_ALL, true));
	shm_segment_detach(s);
}

static void
damaged_high_mark_does_not_lead_out_of_the_table(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *peer = claim(s);

	(void)state;
	s->header->peer_high = UINT64_MAX;
	shm_pin_set(peer, SHM_PIN_ENTRY, 3);
	assert_true(shm_pin_scan(s, 3, SHM_PINS_ALL, true));
	assert_false(shm_pin_scan(s, 4, SHM_PINS_ALL, true));
	shm_peer_release(peer);
	shm_segment_detach(s);
}

static int
pin_extent_5(void *path)
{
	struct shm_segment *s = NULL;
	struct shm_peer *peer = NULL;

	if (shm_segment_attach(path, TEST_SIGNATURE, NULL, NULL, &s) != 0 ||
	    shm_peer_claim(s, &peer) != 0)
		return 1;
	shm_pin_set(peer, SHM_PIN_TARGET, 5);
	return 0;
}

static void
pin_of_a_stopped_process_counts_for_ever(void **state)
{
	struct shm_segment *s = test_segment();
	pid_t child = test_child_pause(pin_extent_5, s->path);

	(void)state;
	assert_true(shm_pin_scan(s, 5, SHM_PINS_ALL, true));
	test_child_stop(child);
	assert_true(shm_pin_scan(s, 5, SHM_PINS_ALL, true));
	assert_true(shm_pin_scan(s, 5, SHM_PINS_TARGETS, false));
	test_child_kill(child);
	test_child_reap(child);
	shm_segment_detach(s);
}

static void
pin_of_the_dead_is_void_and_the_scan_frees_the_slot(void **state)
{
	struct shm_segment *s = test_segment();
	pid_t child = test_child_pause(pin_extent_5, s->path);
	uint64_t *claim_word = &shm_peer_table(s)[0].claim;

	(void)state;
	test_child_kill(child);
	assert_int_equal(shm_claim_state(*claim_word), SHM_CLAIM_LIVE);
	assert_false(shm_pin_scan(s, 5, SHM_PINS_ALL, true));
	assert_int_equal(shm_claim_state(*claim_word), SHM_CLAIM_FREE);
	test_child_reap(child);
	shm_segment_detach(s);
}

static void
scan_that_is_not_fresh_may_trust_an_old_verdict(void **state)
{
	struct shm_segment *s = test_segment();
	pid_t child = test_child_pause(pin_extent_5, s->path);

	(void)state;
	test_child_kill(child);
	s->alive_until_ms[1] = UINT64_MAX;
	assert_true(shm_pin_scan(s, 5, SHM_PINS_ALL, false));
	assert_false(shm_pin_scan(s, 5, SHM_PINS_ALL, true));
	assert_false(shm_pin_scan(s, 5, SHM_PINS_ALL, false));
	test_child_reap(child);
	shm_segment_detach(s);
}

static void
pin_of_an_orphan_counts(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *peer = claim(s);
	int pin = shm_peer_hold(peer);

	(void)state;
	shm_pin_set(peer, (unsigned)pin, 2);
	shm_peer_release(peer);
	assert_true(shm_pin_scan(s, 2, SHM_PINS_ALL, true));
	assert_true(shm_peer_unhold(peer, (uint32_t)pin));
	assert_false(shm_pin_scan(s, 2, SHM_PINS_ALL, true));
	shm_peer_release(peer);
	shm_segment_detach(s);
}

static void
held_pins_are_scarce_when_half_of_the_extents_are_held(void **state)
{
	struct shm_segment *s = test_segment(); /* 16 extents */
	struct shm_peer *peers[3], *asking;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		peers[i] = claim(s);
	asking = claim(s);
	assert_false(shm_pin_scarce(asking));
	for (unsigned i = 0; i < 8; i++) {
		int pin = shm_peer_hold(peers[i % 3]);

		shm_pin_set(peers[i % 3], (unsigned)pin, i);
	}
	assert_true(shm_pin_scarce(asking));
	for (unsigned i = 0; i < 8; i++)
		(void)shm_peer_unhold(peers[i % 3], SHM_PIN_HANDLES + i / 3);
	/* A hint: it may take some more questions to notice. */
	for (unsigned i = 0; i < 64; i++)
		(void)shm_pin_scarce(asking);
	assert_false(shm_pin_scarce(asking));
	for (unsigned i = 0; i < 3; i++)
		shm_peer_release(peers[i]);
	shm_peer_release(asking);
	shm_segment_detach(s);
}

/* One peer can hold no more than four. */
static void
count_that_cannot_be_is_not_believed(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *peer = claim(s);

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		s->header->held = UINT64_MAX;
		assert_false(shm_pin_scarce(peer));
	}
	shm_peer_release(peer);
	shm_segment_detach(s);
}

static void
pins_of_calls_are_not_held_by_anybody(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *peers[8];

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		peers[i] = claim(s);
		for (unsigned pin = 0; pin < SHM_PIN_HANDLES; pin++)
			shm_pin_set(peers[i], pin, i);
	}
	assert_false(shm_pin_scarce(peers[0]));
	for (unsigned i = 0; i < 8; i++)
		shm_peer_release(peers[i]);
	shm_segment_detach(s);
}

/*
 * Edge P: a reader pins and then looks at a word, a reclaimer takes the word
 * away and then scans.  One of the two must see the other.
 */
#define ROUNDS 3000u

struct race {
	struct shm_segment *segment;
	struct shm_peer *reader;
	pthread_barrier_t barrier;
	uint64_t word;
	bool reader_saw_word[ROUNDS];
	bool scan_saw_pin[ROUNDS];
};

static void *
read_in_rounds(void *context)
{
	struct race *race = context;

	for (unsigned i = 0; i < ROUNDS; i++) {
		(void)pthread_barrier_wait(&race->barrier);
		shm_pin_set(race->reader, SHM_PIN_ENTRY, 9);
		race->reader_saw_word[i] = shm_load64_acquire(&race->word) != 0;
		(void)pthread_barrier_wait(&race->barrier);
		shm_pin_clear(race->reader, SHM_PIN_ENTRY);
	}
	return NULL;
}

static void
reader_and_reclaimer_never_miss_each_other(void **state)
{
	static struct race race;
	pthread_t thread;

	(void)state;
	race.segment = test_segment();
	race.reader = claim(race.segment);
	assert_int_equal(pthread_barrier_init(&race.barrier, NULL, 2), 0);
	race.word = 1;
	assert_int_equal(
	    pthread_create(&thread, NULL, read_in_rounds, &race), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		(void)pthread_barrier_wait(&race.barrier);
		(void)shm_cas64(&race.word, 1, 0);
		race.scan_saw_pin[i] =
		    shm_pin_scan(race.segment, 9, SHM_PINS_ALL, false);
		(void)pthread_barrier_wait(&race.barrier);
		shm_store64_release(&race.word, 1);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		assert_true(
		    race.reader_saw_word[i] ? race.scan_saw_pin[i] : true);
	(void)pthread_barrier_destroy(&race.barrier);
	shm_peer_release(race.reader);
	shm_segment_detach(race.segment);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(each_pin_is_seen_until_it_is_cleared),
	cmocka_unit_test(pins_of_other_extents_do_not_matter),
	cmocka_unit_test(pins_in_a_slot_that_nobody_claims_are_void),
	cmocka_unit_test(damaged_high_mark_does_not_lead_out_of_the_table),
	cmocka_unit_test(pin_of_a_stopped_process_counts_for_ever),
	cmocka_unit_test(pin_of_the_dead_is_void_and_the_scan_frees_the_slot),
	cmocka_unit_test(scan_that_is_not_fresh_may_trust_an_old_verdict),
	cmocka_unit_test(pin_of_an_orphan_counts),
	cmocka_unit_test(
	    held_pins_are_scarce_when_half_of_the_extents_are_held),
	cmocka_unit_test(count_that_cannot_be_is_not_believed),
	cmocka_unit_test(pins_of_calls_are_not_held_by_anybody),
	cmocka_unit_test(reader_and_reclaimer_never_miss_each_other),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
