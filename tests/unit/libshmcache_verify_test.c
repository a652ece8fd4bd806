/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_verify_test.c - each invariant, broken by hand, is reported by
 * its name; a sound cache reports none
 */
#include "libshmcache/verify.h"
#include "shm/pin.h"
#include "tests/unit/cache_support.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* A cache with one entry, "key", in a sealed extent. */
struct fixture {
	struct shmcache *cache;
	struct shm_segment *s;
	struct found found;
	struct shm_extent e;
};

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->cache = test_cache();
	f->s = f->cache->mapping->segment;
	test_set_ok(f->cache, "before", "value");
	test_set_ok(f->cache, "key", "value");
	test_set_ok(f->cache, "after", "value");
	f->found = test_find(f->cache, "key");
	f->e = test_extent_of(f->cache, "key");
	assert_true(shm_arena_seal(f->s, &f->e));
	f->e = test_extent_of(f->cache, "key");
	test_assert_sound(f->cache);
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;
	int error = shmcache_close(f->cache);

	free(f);
	return error;
}

/* Notes which invariants were named: bit n for Vn. */
static void
note(void *context, const char *violation)
{
	unsigned *named = context, n = 0;

	if (sscanf(violation, "V%2u:", &n) == 1 && n >= 1 && n <= 10)
		*named |= 1u << n;
	else
		*named |= 1u;
}

static unsigned
verify_named(struct shmcache *cache, enum shmcache_verify_mode mode)
{
	unsigned named = 0;
	int count = shmcache_verify(cache, mode, note, &named);

	assert_true(count >= 0);
	assert_int_equal(count == 0, named == 0);
	assert_int_equal(shmcache_verify(cache, mode, NULL, NULL), count);
	return named;
}

/* Vn is reported, by a strict check alone or by both. */
static void
assert_named(struct fixture *f, unsigned n, bool strict_only)
{
	unsigned strict = verify_named(f->cache, SHMCACHE_VERIFY_STRICT);
	unsigned live = verify_named(f->cache, SHMCACHE_VERIFY_LIVE);

	assert_true((strict & 1u << n) != 0);
	assert_int_equal((live & 1u << n) != 0, !strict_only);
}

static void
put(struct fixture *f, uint64_t slot, uint64_t word)
{
	shm_store64_release(&f->cache->mapping->slots[slot], word);
}

static struct shm_extent_shared *
extent(struct fixture *f)
{
	return &shm_extent_table(f->s)[f->e.number];
}

static void
v1_word_that_names_no_place(void **state)
{
	struct fixture *f = *state;

	put(f, 5, INDEX_ADDRESS);
	assert_named(f, 1, false);
	put(f, 5, 1);
	assert_named(f, 1, false);
	put(f, 5, INDEX_ADDRESS | INDEX_TENTATIVE);
	assert_named(f, 1, false);
}

static void
v1_word_that_names_an_extent_without_entries(void **state)
{
	struct fixture *f = *state;

	extent(f)->state = (extent(f)->state & ~0xffull) | SHM_LIMBO;
	assert_named(f, 1, false);
	extent(f)->state = (extent(f)->state & ~0xffull) | SHM_FREE;
	assert_named(f, 1, false);
}

static void
v1_word_of_another_generation(void **state)
{
	struct fixture *f = *state;

	put(f, f->found.slot, f->found.word + (1ull << INDEX_ADDRESS_BITS));
	assert_named(f, 1, false);
	put(f, f->found.slot, f->found.word);
	extent(f)->state += 1ull << 32;
	assert_named(f, 1, false);
}

static void
v2_word_that_names_no_started_entry(void **state)
{
	struct fixture *f = *state;

	put(f, f->found.slot, f->found.word + 1); /* a unit further */
	assert_named(f, 2, false);
}

static void
v2_entry_whose_lengths_leave_its_extent(void **state)
{
	struct fixture *f = *state;

	f->found.entry.shared->value_bytes = TEST_EXTENT_BYTES;
	assert_named(f, 2, false);
	f->found.entry.shared->value_bytes = 5;
	assert_int_equal(verify_named(f->cache, SHMCACHE_VERIFY_STRICT), 0);
	f->found.entry.shared->key_bytes = 0;
	assert_named(f, 2, false);
}

static void
v3_word_outside_its_keys_window(void **state)
{
	struct fixture *f = *state;
	struct call call = test_enter(f->cache);
	struct key key;
	uint64_t slot = 0;

	test_hash(&call, "key", &key);
	call_leave();
	while (slot - key.first[0] < INDEX_BUCKET_SLOTS ||
	       slot - key.first[1] < INDEX_BUCKET_SLOTS ||
	       f->cache->mapping->slots[slot] != 0)
		slot++;
	put(f, f->found.slot, 0);
	put(f, slot, f->found.word);
	assert_named(f, 3, false);
}

static void
v3_word_with_another_tag(void **state)
{
	struct fixture *f = *state;

	put(f, f->found.slot, f->found.word ^ 1ull << INDEX_TAG_SHIFT);
	assert_named(f, 3, false);
}

static void
v4_two_final_words_of_a_key(void **state)
{
	struct fixture *f = *state;
	struct call call = test_enter(f->cache);
	uint64_t slot, word = test_write_unlinked(&call, "key", "twin");
	struct key key;

	test_hash(&call, "key", &key);
	call_leave();
	slot = index_slot(&key, 13);
	assert_true(slot != f->found.slot);
	put(f, slot, word | INDEX_TENTATIVE);
	test_assert_sound(f->cache);
	put(f, slot, word);
	assert_named(f, 4, false);
}

static void
v5_extent_of_unknown_state_or_log(void **state)
{
	struct fixture *f = *state;
	uint64_t *word = &shm_extent_table(f->s)[9].state;

	*word = SHM_EXTENT_STATES;
	assert_named(f, 5, false);
	*word = 255;
	assert_named(f, 5, false);
	*word = 1u << 8 | SHM_FREE; /* there is one log: 0 */
	assert_named(f, 5, false);
}

static void
v5_more_bytes_reserved_than_there_are(void **state)
{
	struct fixture *f = *state;

	extent(f)->tail =
	    (uint64_t)f->e.generation << 32 | (TEST_EXTENT_BYTES + 16);
	assert_named(f, 5, false);
}

static void
v6_entries_that_overlap(void **state)
{
	struct fixture *f = *state;
	struct shm_place place = { .extent = f->e.number,
		.generation = f->e.generation,
		.offset = f->found.entry.offset + SHM_UNIT_BYTES };

	shm_arena_start(f->s, &place);
	assert_named(f, 6, true);
}

static void
v6_entry_beyond_what_was_reserved(void **state)
{
	struct fixture *f = *state;

	extent(f)->tail -= SHM_UNIT_BYTES;
	assert_named(f, 6, true);
}

static void
v7_fewer_live_bytes_than_are_linked(void **state)
{
	struct fixture *f = *state;

	shm_arena_account(f->s, f->e.number, f->e.generation, -16);
	assert_named(f, 7, true);
}

static void
v7_more_live_bytes_than_were_reserved(void **state)
{
	struct fixture *f = *state;

	shm_arena_account(
	    f->s, f->e.number, f->e.generation, TEST_EXTENT_BYTES);
	assert_named(f, 7, true);
}

static void
v8_active_extent_that_no_lane_names(void **state)
{
	struct fixture *f = *state;
	uint32_t last = f->s->geometry.request.extent_count - 1;

	shm_extent_table(f->s)[last].state |= SHM_ACTIVE;
	assert_named(f, 8, true);
}

static void
v9_claim_by_no_process(void **state)
{
	struct fixture *f = *state;

	shm_peer_table(f->s)[7].claim = SHM_CLAIM_LIVE | 4000ull << 28;
	shm_peer_table(f->s)[7].pins[0] = 3;
	assert_true(
	    (verify_named(f->cache, SHMCACHE_VERIFY_STRICT) & 1u << 9) != 0);
}

static void
v10_what_is_from_later_than_seq(void **state)
{
	struct fixture *f = *state;
	struct mapping *m = f->cache->mapping;

	m->tags[3] = 1;
	assert_named(f, 10, false);
	m->tags[3] = 0;
	assert_int_equal(verify_named(f->cache, SHMCACHE_VERIFY_LIVE), 0);
	m->shared->flush = 1;
	assert_named(f, 10, false);
	m->shared->flush = 0;
	test_set_ok(f->cache, "late", "v");
	test_find(f->cache, "late").entry.shared->seq_low = 1;
	assert_named(f, 10, false);
}

static void
every_violation_is_counted(void **state)
{
	struct fixture *f = *state;

	for (uint64_t slot = 0; slot < 5; slot++)
		if (f->cache->mapping->slots[slot] == 0)
			put(f, slot, INDEX_ADDRESS);
	put(f, f->found.slot, INDEX_ADDRESS);
	assert_in_range(
	    shmcache_verify(f->cache, SHMCACHE_VERIFY_LIVE, NULL, NULL), 2, 6);
}

static void
call_back(void *context, const char *violation)
{
	struct fixture *f = context;

	(void)violation;
	if (!test_has(f->cache, "after", "value"))
		f->cache = NULL;
}

static void
report_may_call_the_library(void **state)
{
	struct fixture *f = *state;
	struct fixture seen = *f;

	put(f, f->found.slot, INDEX_ADDRESS);
	assert_int_equal(
	    shmcache_verify(f->cache, SHMCACHE_VERIFY_LIVE, call_back, &seen),
	    1);
	assert_ptr_equal(seen.cache, f->cache);
}

static void
count_texts(void *context, const char *violation)
{
	(void)violation;
	++*(unsigned *)context;
}

static void
first_thousand_violations_are_put_in_words(void **state)
{
	struct fixture *f = *state;
	uint64_t slots = f->cache->mapping->bucket_count * INDEX_BUCKET_SLOTS;
	unsigned texts = 0;

	assert_true(slots > VERIFY_TEXTS_MAX);
	for (uint64_t slot = 0; slot < slots; slot++)
		put(f, slot, INDEX_ADDRESS);
	assert_int_equal(shmcache_verify(f->cache, SHMCACHE_VERIFY_LIVE,
			     count_texts, &texts),
	    slots);
	assert_int_equal(texts, VERIFY_TEXTS_MAX);
}

static void
unknown_mode_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
	    shmcache_verify(f->cache, (enum shmcache_verify_mode)7, NULL, NULL),
	    -EINVAL);
}

static void
empty_cache_is_sound(void **state)
{
	struct shmcache *cache = test_cache();

	(void)state;
	test_assert_sound(cache);
	assert_int_equal(verify_named(cache, SHMCACHE_VERIFY_LIVE), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
do_anything(struct shmcache *cache, struct prng *prng)
{
	char key[32], value[900] = { 0 };
	size_t bytes = prng_below(prng, sizeof(value));

	test_key(key, "k", (unsigned)prng_below(prng, 400));
	switch (prng_below(prng, 10)) {
	case 0:
		(void)shmcache_delete(cache, key, strlen(key));
		break;
	case 1:
		(void)shmcache_touch(cache, key, strlen(key), 1000000);
		break;
	case 2:
	case 3:
		(void)shmcache_get(cache, key, strlen(key), value,
		    sizeof(value), &bytes, NULL);
		break;
	default:
		(void)shmcache_set(cache, key, strlen(key), value, bytes, 0, 0);
	}
}

static void
used_cache_is_sound(void **state)
{
	struct shmcache *cache = test_cache();
	struct prng prng;

	(void)state;
	test_random(&prng, 1);
	for (unsigned i = 0; i < 6000; i++) {
		do_anything(cache, &prng);
		if (i % 200 == 0)
			test_assert_sound(cache);
		if (i % 1500 == 1499)
			assert_int_equal(shmcache_flush(cache), 0);
		if (i % 700 == 0)
			assert_int_equal(shmcache_sweep(cache, NULL), 0);
	}
	test_assert_sound(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
what_the_killed_leave_is_sound(void **state)
{
	struct fixture *f = *state;
	struct call call;
	struct shm_place place;
	struct key key;
	uint64_t word;
	struct shm_peer *dead;

	/* A hole; an entry not linked; a tentative word; an eviction begun;
	   a claim with pins. */
	call = test_enter(f->cache);
	assert_int_equal(evict_reserve(&call, LOG_MAIN, 160, &place), 0);
	shm_pin_clear(call.peer, SHM_PIN_TARGET);
	(void)test_write_unlinked(&call, "unlinked", "value");
	word = test_write_unlinked(&call, "tentative", "value");
	test_hash(&call, "tentative", &key);
	call_leave();
	put(f, index_slot(&key, 4), word | INDEX_TENTATIVE);
	assert_true(shm_arena_begin_evict(f->s, &f->e, true));
	assert_int_equal(shm_peer_claim(f->s, &dead), 0);
	shm_pin_set(dead, SHM_PIN_TARGET, place.extent);
	test_assert_sound(f->cache);
	shm_peer_release(dead);
}

/* Others work meanwhile. */
struct worker {
	struct shmcache *cache;
	uint64_t stop; /* atomic */
};

static void *
work(void *context)
{
	struct worker *w = context;
	struct prng prng;

	test_random(&prng, (uint64_t)(uintptr_t)&prng);
	while (shm_load64(&w->stop) == 0)
		do_anything(w->cache, &prng);
	return NULL;
}

static void
live_check_reports_nothing_while_others_work(void **state)
{
	struct shmcache *cache = test_cache();
	struct worker worker = { .cache = cache };
	pthread_t threads[2];
	unsigned found = 0;

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, work, &worker), 0);
	for (unsigned i = 0; i < 100; i++)
		found |= (unsigned)shmcache_verify(
		    cache, SHMCACHE_VERIFY_LIVE, test_print_violation, NULL);
	shm_store64(&worker.stop, 1);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(found, 0);
	test_assert_sound(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest tests[] = {
	TEST(v1_word_that_names_no_place),
	TEST(v1_word_that_names_an_extent_without_entries),
	TEST(v1_word_of_another_generation),
	TEST(v2_word_that_names_no_started_entry),
	TEST(v2_entry_whose_lengths_leave_its_extent),
	TEST(v3_word_outside_its_keys_window),
	TEST(v3_word_with_another_tag),
	TEST(v4_two_final_words_of_a_key),
	TEST(v5_extent_of_unknown_state_or_log),
	TEST(v5_more_bytes_reserved_than_there_are),
	TEST(v6_entries_that_overlap),
	TEST(v6_entry_beyond_what_was_reserved),
	TEST(v7_fewer_live_bytes_than_are_linked),
	TEST(v7_more_live_bytes_than_were_reserved),
	TEST(v8_active_extent_that_no_lane_names),
	TEST(v9_claim_by_no_process),
	TEST(v10_what_is_from_later_than_seq),
	TEST(every_violation_is_counted),
	TEST(report_may_call_the_library),
	TEST(first_thousand_violations_are_put_in_words),
	TEST(unknown_mode_is_refused),
	cmocka_unit_test(empty_cache_is_sound),
	cmocka_unit_test(used_cache_is_sound),
	TEST(what_the_killed_leave_is_sound),
	cmocka_unit_test(live_check_reports_nothing_while_others_work),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
