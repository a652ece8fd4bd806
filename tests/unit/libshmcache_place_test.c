/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libshmcache_place_test.c - ghosts, and how much room they give probation */
#include "libshmcache/ghost.h"
#include "libshmcache/place.h"
#include "tests/unit/cache_support.h"

static int
set_up(void **state)
{
	*state = test_cache_of_policy("s3fifo");
	return 0;
}

static int
tear_down(void **state)
{
	return shmcache_close(*state);
}

/* The nth of keys that all go to one word of ghosts. */
static struct key
neighbour(unsigned n)
{
	return (struct key){ .hash = 0x1111222200000000u + n };
}

static void
leave(struct shmcache *cache, unsigned n, bool of_main)
{
	struct key key = neighbour(n);

	ghost_add(cache->mapping, &key, of_main);
}

static struct ghost
come_back(struct shmcache *cache, unsigned n)
{
	struct key key = neighbour(n);

	return ghost_take(cache->mapping, &key);
}

static void
ghost_is_taken_once(void **state)
{
	(void)state;
	assert_false(come_back(*state, 1).there);
	leave(*state, 1, false);
	leave(*state, 2, true);
	leave(*state, 1, true); /* it is there already */
	assert_false(come_back(*state, 3).there);
	assert_true(come_back(*state, 2).of_main);
	assert_false(come_back(*state, 2).there);
	assert_true(come_back(*state, 1).there);
	assert_false(come_back(*state, 1).there);
}

static void
oldest_of_a_word_is_forgotten(void **state)
{
	(void)state;
	for (unsigned n = 0; n <= GHOSTS_PER_WORD; n++)
		leave(*state, n, n % 2 != 0);
	assert_false(come_back(*state, 0).there);
	for (unsigned n = 1; n <= GHOSTS_PER_WORD; n++) {
		struct ghost ghost = come_back(*state, n);

		assert_true(ghost.there);
		assert_int_equal(ghost.of_main, n % 2 != 0);
	}
}

/* Nor is it counted as one. */
static void
ghosts_that_are_not_there_change_nothing(void **state)
{
	struct shmcache *cache = *state;
	uint64_t key = neighbour(1).hash >> 32;
	uint64_t *word, before;

	word =
	    &cache->mapping->ghosts[(key * cache->mapping->ghost_words) >> 32];
	leave(cache, 2, true);
	before = *word;
	assert_int_not_equal(before, 0);
	assert_false(come_back(cache, 1).there);
	assert_true(*word == before);
	test_set_ok(cache, "key", "value");
	assert_int_equal(test_stats(cache).ghost_hits, 0);
}

/* By the number of those that left the other log; only the newest does. */
static void
newest_of_a_word_pulls(void **state)
{
	(void)state;
	leave(*state, 0, false);
	assert_int_equal(come_back(*state, 0).pull, 0);
	leave(*state, 1, true);
	leave(*state, 2, true);
	leave(*state, 3, false);
	leave(*state, 4, true);
	leave(*state, 5, false);
	assert_int_equal(come_back(*state, 4).pull, 0); /* not the newest */
	assert_int_equal(come_back(*state, 5).pull, 3);
	assert_int_equal(come_back(*state, 3).pull, 0); /* nor after it */
	leave(*state, 6, false);
	leave(*state, 7, false);
	leave(*state, 8, true);
	assert_int_equal(come_back(*state, 8).pull, -3);
}

/* Else the log of which nothing comes back would look the larger. */
static void
those_that_came_back_still_count(void **state)
{
	(void)state;
	leave(*state, 1, false);
	leave(*state, 2, false);
	assert_true(come_back(*state, 1).there);
	assert_true(come_back(*state, 2).there);
	assert_false(come_back(*state, 2).there);
	leave(*state, 3, true);
	assert_int_equal(come_back(*state, 3).pull, -2);
}

static uint64_t
percent(struct shmcache *cache)
{
	return test_stats(cache).probation_bytes * 100 /
	       cache->mapping->arena_bytes;
}

/* Looks NAME-N up, and stores it if it is not there. */
static void
ask(struct shmcache *cache, const char *name, unsigned n)
{
	char key[32], value[200] = { 0 };

	test_key(key, name, n);
	if (shmcache_get(
		cache, key, strlen(key), value, sizeof(value), NULL, NULL) != 0)
		assert_int_equal(shmcache_set(cache, key, strlen(key), value,
				     sizeof(value), SHMCACHE_TTL_NONE, 0),
		    0);
}

/* What nobody wants any more fills the main log; what is new is wanted again
   when it has just left probation. */
static void
probation_grows_where_that_brings_hits(void **state)
{
	struct shmcache *cache = *state;
	unsigned n = 0;

	assert_int_equal(percent(cache), 9); /* a tenth, rounded down */
	while (n < 150)
		ask(cache, "new", n++);
	while (n < 10000) {
		ask(cache, "new", n++);
		ask(cache, "new", n - 150);
	}
	assert_in_range(percent(cache), 20, 90);
	test_assert_sound(cache);
}

/* What was popular comes back from the main log; what is new never does. */
static void
probation_shrinks_where_that_brings_hits(void **state)
{
	struct shmcache *cache = *state;
	const struct mapping *m = cache->mapping;

	m->shared->probation_bytes = m->arena_bytes / 2;
	for (unsigned n = 0; n < 40000; n++) {
		ask(cache, "old", n % 600);
		if (n % 4 == 0)
			ask(cache, "new", n);
	}
	assert_in_range(percent(cache), 4, 20);
	test_assert_sound(cache);
}

/* A loop over a little more than fits must not push all of itself out. */
static void
loop_keeps_a_part_of_itself(void **state)
{
	struct shmcache *cache = *state;
	const unsigned keys = 750, rounds = 40;
	uint64_t hits = 0;

	for (unsigned n = 0; n < rounds * keys; n++) {
		if (n == rounds / 2 * keys)
			hits = test_stats(cache).get_hits;
		ask(cache, "k", n % keys);
	}
	hits = test_stats(cache).get_hits - hits;
	assert_true(test_stats(cache).evictions > 0);
	assert_in_range(hits * 100 / (rounds / 2 * keys), 20, 99);
}

/* Where another policy has no probation there is no room for it. */
static void
other_policies_have_no_probation(void **state)
{
	struct shmcache *cache = test_cache();

	(void)state;
	assert_int_equal(test_stats(cache).probation_bytes, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

/* A damaged border is brought back to where it may lie. */
static void
damaged_border_is_kept_in_bounds(void **state)
{
	struct shmcache *cache = *state;
	uint64_t *word = &cache->mapping->shared->probation_bytes;
	const uint64_t damaged[] = { 0, 1, INT64_MAX, 1ull << 63, UINT64_MAX };

	for (unsigned i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
		*word = damaged[i];
		assert_in_range(percent(cache), 4, 90);
		for (unsigned n = 0; n < 2000; n++)
			ask(cache, "k", n % 900);
		assert_in_range(percent(cache), 4, 90);
	}
}

/* By how far the border goes up as a key comes back with a value of so many
   bytes, after others have left the main log. */
static uint64_t
stride_of(struct shmcache *cache, const char *name, size_t bytes)
{
	const struct mapping *m = cache->mapping;
	uint64_t before = place_probation_bytes(m);
	char value[1000] = { 0 };
	struct key key, other;

	index_key(m, name, strlen(name), &key);
	for (unsigned n = 1; n < GHOSTS_PER_WORD; n++) {
		other = (struct key){ .hash = key.hash ^ n };
		ghost_add(m, &other, true);
	}
	ghost_add(m, &key, false);
	assert_int_equal(shmcache_set(cache, name, strlen(name), value, bytes,
			     SHMCACHE_TTL_NONE, 0),
	    0);
	return place_probation_bytes(m) - before;
}

/* It costs the room of several small ones, and is one hit. */
static void
large_entries_move_the_border_less(void **state)
{
	struct shmcache *cache = *state;
	uint64_t small, large;

	cache->mapping->shared->mean_bytes = 200;
	small = stride_of(cache, "small", 100);
	large = stride_of(cache, "large", 900);
	assert_in_range(large, 1, 200 * 10 / 4);
	assert_in_range(small, 4 * large, 200 * 10 * 2);
}

/* Nor does a damaged mean throw it to the other end. */
static void
one_entry_moves_the_border_by_an_eighth_at_most(void **state)
{
	struct shmcache *cache = *state;
	uint64_t *mean = &cache->mapping->shared->mean_bytes;
	const uint64_t damaged[] = { 4096, UINT32_MAX, UINT64_MAX };

	*mean = 0;
	assert_int_equal(stride_of(cache, "none", 1), 0);
	for (unsigned i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
		const char name[] = { (char)('a' + i), 0 };

		*mean = damaged[i];
		assert_in_range(stride_of(cache, name, 1), 1,
		    cache->mapping->arena_bytes / 8);
	}
}

static void
set_for(struct shmcache *cache, const char *name, unsigned n, int64_t ttl_ms)
{
	char key[32], value[200] = { 0 };

	test_key(key, name, n);
	assert_int_equal(shmcache_set(cache, key, strlen(key), value,
			     sizeof(value), ttl_ms, 0),
	    0);
}

static unsigned
extents_of(const struct shmcache *cache, uint32_t log)
{
	struct shm_segment *s = cache->mapping->segment;
	unsigned count = 0;

	for (uint32_t i = 0; i < s->geometry.request.extent_count; i++) {
		struct shm_extent e = shm_arena_state(s, i);

		count += (e.state == SHM_ACTIVE || e.state == SHM_SEALED) &&
			 e.log == log;
	}
	return count;
}

/* Half of what entries that never expire leave: not half of all, for which there
   is no room, so that nothing would be left to the main log. */
static void
share_is_of_what_may_be_evicted(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *cache;
	uint32_t all;

	(void)state;
	o.policy = "s3fifo";
	o.volatile_only = 1;
	cache = test_cache_of(&o);
	all = cache->mapping->segment->geometry.request.extent_count;
	for (unsigned n = 0; extents_of(cache, LOG_LASTING) < all * 6 / 10; n++)
		set_for(cache, "last", n, SHMCACHE_TTL_NONE);
	for (unsigned n = 0; n < 2000; n++) {
		struct call call = test_enter(cache);
		char text[32];
		struct key key;

		test_key(text, "old", n);
		index_key(call.m, text, strlen(text), &key);
		ghost_add(call.m, &key, true); /* to the main log */
		call_leave();
		set_for(cache, "old", n, 3600000);
	}
	assert_in_range(extents_of(cache, LOG_MAIN), all / 5, all);
	cache->mapping->shared->probation_bytes =
	    cache->mapping->arena_bytes / 2;
	for (unsigned n = 0; n < 2000; n++)
		set_for(cache, "new", n, 3600000);
	assert_in_range(extents_of(cache, LOG_PROBATION), all / 8, all / 4);
	assert_in_range(extents_of(cache, LOG_MAIN), all / 10, all / 4);
	test_assert_sound(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest tests[] = {
	TEST(ghost_is_taken_once),
	TEST(ghosts_that_are_not_there_change_nothing),
	TEST(oldest_of_a_word_is_forgotten),
	TEST(newest_of_a_word_pulls),
	TEST(those_that_came_back_still_count),
	TEST(probation_grows_where_that_brings_hits),
	TEST(probation_shrinks_where_that_brings_hits),
	TEST(large_entries_move_the_border_less),
	TEST(one_entry_moves_the_border_by_an_eighth_at_most),
	cmocka_unit_test(share_is_of_what_may_be_evicted),
	TEST(loop_keeps_a_part_of_itself),
	cmocka_unit_test(other_policies_have_no_probation),
	TEST(damaged_border_is_kept_in_bounds),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
