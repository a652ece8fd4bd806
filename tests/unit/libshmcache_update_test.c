/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What calls make of what is there: add, replace, cas, append, prepend, incr,
 * get_and_touch, expire_at; and those for many keys.
 */
#include "libshmcache/sink.h"
#include "tests/unit/cache_support.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <time.h>

static uint64_t
version_of(struct shmcache *cache, const char *key)
{
	uint64_t version = 0;
	char buffer[TEST_EXTENT_BYTES];

	assert_int_equal(shmcache_gets(cache, key, strlen(key), buffer,
			     sizeof(buffer), NULL, NULL, &version),
	    0);
	assert_int_not_equal(version, 0);
	return version;
}

static void
freeze(struct shmcache *cache, const char *key)
{
	struct call call = test_enter(cache);
	struct entry_content content;
	struct found found;
	struct key k;

	index_key(call.m, key, strlen(key), &k);
	assert_true(index_find(&call, &k, SHM_PIN_ENTRY, &found));
	entry_carry(call.m, &found.entry, &content);
	shm_pin_clear(call.peer, SHM_PIN_ENTRY);
	call_leave();
}

static int
incr(struct shmcache *cache, const char *key, int64_t delta, int64_t *value)
{
	return shmcache_incr(cache, key, strlen(key), delta, NULL, 0, value);
}

static void
add_stores_only_what_is_not_there(void **state)
{
	struct shmcache *cache = test_cache();

	(void)state;
	assert_int_equal(shmcache_add(cache, "k", 1, "one", 3, 0, 7), 0);
	assert_int_equal(
	    shmcache_add(cache, "k", 1, "two", 3, 0, 0), SHMCACHE_EPRESENT);
	assert_true(test_has(cache, "k", "one"));
	assert_int_equal(shmcache_delete(cache, "k", 1), 0);
	assert_int_equal(shmcache_add(cache, "k", 1, "two", 3, 0, 0), 0);
	assert_true(test_has(cache, "k", "two"));
	assert_int_equal(shmcache_flush(cache), 0);
	assert_int_equal(shmcache_add(cache, "k", 1, "three", 5, 0, 0), 0);
	assert_true(test_has(cache, "k", "three"));
	assert_int_equal(shmcache_close(cache), 0);
}

static void
replace_stores_only_what_is_there(void **state)
{
	struct shmcache *cache = test_cache();

	(void)state;
	assert_int_equal(
	    shmcache_replace(cache, "k", 1, "one", 3, 0, 0), SHMCACHE_ENOENT);
	test_set_ok(cache, "k", "one");
	assert_int_equal(shmcache_replace(cache, "k", 1, "two", 3, 0, 0), 0);
	assert_true(test_has(cache, "k", "two"));
	test_set_mortal(cache, "k", "two");
	test_expire(cache, "k");
	assert_int_equal(
	    shmcache_replace(cache, "k", 1, "one", 3, 0, 0), SHMCACHE_ENOENT);
	assert_true(test_lacks(cache, "k"));
	assert_int_equal(shmcache_close(cache), 0);
}

static void
cas_needs_the_version_that_is_there(void **state)
{
	struct shmcache *cache = test_cache();
	uint64_t version;

	(void)state;
	assert_int_equal(
	    shmcache_cas(cache, "k", 1, "one", 3, 0, 0, 1), SHMCACHE_ENOENT);
	test_set_ok(cache, "k", "one");
	version = version_of(cache, "k");
	assert_int_equal(version, version_of(cache, "k"));
	assert_int_equal(shmcache_touch(cache, "k", 1, 10000), 0);
	assert_int_equal(version, version_of(cache, "k"));
	freeze(cache, "k");
	assert_int_equal(shmcache_touch(cache, "k", 1, 20000), 0);
	assert_int_equal(version, version_of(cache, "k"));
	assert_int_equal(
	    shmcache_cas(cache, "k", 1, "two", 3, 0, 0, version), 0);
	assert_int_equal(shmcache_cas(cache, "k", 1, "three", 5, 0, 0, version),
	    SHMCACHE_ECHANGED);
	assert_true(test_has(cache, "k", "two"));
	version = version_of(cache, "k");
	test_set_ok(cache, "k", "two");
	assert_int_equal(shmcache_cas(cache, "k", 1, "three", 5, 0, 0, version),
	    SHMCACHE_ECHANGED);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
append_and_prepend_keep_time_and_flags(void **state)
{
	struct shmcache *cache = test_cache();
	char buffer[32];
	size_t bytes;
	uint32_t flags;
	int64_t ttl_ms;

	(void)state;
	assert_int_equal(
	    shmcache_append(cache, "k", 1, "x", 1), SHMCACHE_ENOENT);
	assert_int_equal(
	    shmcache_prepend(cache, "k", 1, "x", 1), SHMCACHE_ENOENT);
	assert_int_equal(shmcache_set(cache, "k", 1, "mid", 3, 60000, 42), 0);
	assert_int_equal(shmcache_append(cache, "k", 1, "-end", 4), 0);
	assert_int_equal(shmcache_prepend(cache, "k", 1, "start-", 6), 0);
	assert_int_equal(shmcache_append(cache, "k", 1, NULL, 0), 0);
	assert_int_equal(
	    shmcache_get(cache, "k", 1, buffer, 32, &bytes, &flags), 0);
	assert_int_equal(bytes, 13);
	assert_memory_equal(buffer, "start-mid-end", 13);
	assert_int_equal(flags, 42);
	assert_int_equal(shmcache_ttl(cache, "k", 1, &ttl_ms), 0);
	assert_in_range(ttl_ms, 1, 60000);
	assert_int_equal(shmcache_append(cache, "k", 1, NULL, 1), -EINVAL);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
append_stops_at_the_largest_entry(void **state)
{
	struct shmcache *cache = test_cache();
	char large[TEST_EXTENT_BYTES] = { 0 };
	size_t most = cache->mapping->max_entry_bytes - 1;

	(void)state;
	assert_int_equal(shmcache_set(cache, "k", 1, large, most - 1, 0, 0), 0);
	assert_int_equal(shmcache_append(cache, "k", 1, "x", 1), 0);
	assert_int_equal(
	    shmcache_append(cache, "k", 1, "x", 1), SHMCACHE_ETOOBIG);
	assert_int_equal(
	    shmcache_prepend(cache, "k", 1, large, SIZE_MAX), SHMCACHE_ETOOBIG);
	assert_int_equal(
	    shmcache_add(cache, "n", 1, large, (1ull << 32) + 1, 0, 0),
	    SHMCACHE_ETOOBIG);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
counters_count_and_read_as_text(void **state)
{
	struct shmcache *cache = test_cache();
	const int64_t initial = 10;
	int64_t value = 0, ttl_ms;

	(void)state;
	assert_int_equal(incr(cache, "n", 1, &value), SHMCACHE_ENOENT);
	assert_int_equal(
	    shmcache_incr(cache, "n", 1, 5, &initial, 60000, &value), 0);
	assert_int_equal(value, 10);
	assert_true(test_has(cache, "n", "10"));
	assert_int_equal(incr(cache, "n", 5, &value), 0);
	assert_int_equal(value, 15);
	assert_int_equal(shmcache_decr(cache, "n", 1, 20, NULL, 0, NULL), 0);
	assert_true(test_has(cache, "n", "-5"));
	assert_int_equal(shmcache_ttl(cache, "n", 1, &ttl_ms), 0);
	assert_in_range(ttl_ms, 1, 60000);
	freeze(cache, "n");
	assert_int_equal(incr(cache, "n", 1, &value), 0);
	assert_int_equal(value, -4);
	assert_int_equal(incr(cache, "n", 1, &value), 0);
	assert_int_equal(value, -3);
	assert_int_equal(shmcache_append(cache, "n", 1, "7", 1), 0);
	assert_true(test_has(cache, "n", "-37"));
	assert_int_equal(incr(cache, "n", 1, &value), 0);
	assert_int_equal(value, -36);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Somebody carries it on. */
static void
frozen_counters_count_elsewhere(void **state)
{
	struct shmcache *cache = test_cache();
	static const int64_t seven = 7;
	struct entry_content content;
	struct found found;

	(void)state;
	assert_int_equal(
	    shmcache_incr(cache, "n", 1, 0, &seven, SHMCACHE_TTL_NONE, NULL),
	    0);
	found = test_find(cache, "n");
	entry_carry(cache->mapping, &found.entry, &content);
	assert_int_equal(shmcache_incr(cache, "n", 1, 1, NULL, 0, NULL), 0);
	assert_true(test_has(cache, "n", "8"));
	assert_true(test_find(cache, "n").word != found.word);
	assert_int_equal(entry_cell(&found.entry).value, 7);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
text_that_is_a_number_becomes_a_counter(void **state)
{
	static const char *const bad[] = { "", "-", "x", "1x", " 1", "1 ", "+1",
		"0x10", "1.5", "9223372036854775808", "-9223372036854775809",
		"111111111111111111111" };
	struct shmcache *cache = test_cache();
	int64_t value = 0;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(bad); i++) {
		test_set_ok(cache, "n", bad[i]);
		assert_int_equal(
		    incr(cache, "n", 1, &value), SHMCACHE_ENOTNUMBER);
		assert_true(test_has(cache, "n", bad[i]));
	}
	assert_int_equal(shmcache_set(cache, "n", 1, "007", 3, 0, 9), 0);
	assert_int_equal(incr(cache, "n", 1, &value), 0);
	assert_int_equal(value, 8);
	test_set_ok(cache, "n", "9223372036854775806");
	assert_int_equal(incr(cache, "n", 1, &value), 0);
	assert_int_equal(value, INT64_MAX);
	assert_int_equal(incr(cache, "n", 1, &value), -ERANGE);
	assert_true(test_has(cache, "n", "9223372036854775807"));
	test_set_ok(cache, "n", "-9223372036854775808");
	assert_int_equal(incr(cache, "n", 0, &value), 0);
	assert_int_equal(value, INT64_MIN);
	assert_int_equal(incr(cache, "n", -1, &value), -ERANGE);
	assert_int_equal(
	    shmcache_decr(cache, "n", 1, INT64_MIN, NULL, 0, &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
version_of_a_counter_changes_with_each_increment(void **state)
{
	struct shmcache *cache = test_cache();
	uint64_t before;

	(void)state;
	test_set_ok(cache, "n", "1");
	assert_int_equal(incr(cache, "n", 1, NULL), 0);
	before = version_of(cache, "n");
	assert_int_equal(incr(cache, "n", 0, NULL), 0);
	assert_int_equal(shmcache_cas(cache, "n", 1, "9", 1, 0, 0, before),
	    SHMCACHE_ECHANGED);
	before = version_of(cache, "n");
	assert_int_equal(shmcache_touch(cache, "n", 1, 9999), 0);
	freeze(cache, "n");
	assert_int_equal(shmcache_touch(cache, "n", 1, 9999), 0);
	assert_int_equal(before, version_of(cache, "n"));
	assert_int_equal(shmcache_cas(cache, "n", 1, "9", 1, 0, 0, before), 0);
	assert_true(test_has(cache, "n", "9"));
	assert_int_equal(shmcache_close(cache), 0);
}

/* Key and cell together have the bytes that an entry may have. */
static void
counters_of_long_keys_have_their_limit(void **state)
{
	struct shmcache *cache = test_cache();
	char key[TEST_EXTENT_BYTES] = { 0 };
	size_t most = cache->mapping->max_entry_bytes;
	const int64_t initial = 1;
	int64_t value;

	(void)state;
	for (size_t bytes = most - 20; bytes <= most + 1; bytes++) {
		int result =
		    shmcache_incr(cache, key, bytes, 1, &initial, 0, &value);

		assert_int_equal(
		    result, bytes <= most - 16 ? 0 : SHMCACHE_ETOOBIG);
		assert_int_equal(
		    shmcache_exists(cache, key, bytes), bytes <= most - 16);
	}
	assert_int_equal(
	    shmcache_verify(cache, SHMCACHE_VERIFY_STRICT, NULL, NULL), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

/* The extent of the counter is evicted with its mark set: it is copied on. */
static void
counters_survive_an_eviction(void **state)
{
	struct shmcache *cache = test_cache();
	int64_t value = 0;

	(void)state;
	test_set_ok(cache, "n", "100");
	for (unsigned round = 0; round < 5; round++) {
		char filler[900] = { 0 }, key[16];

		for (unsigned i = 0; i < 80; i++) {
			(void)snprintf(key, sizeof(key), "f%u", i);
			assert_int_equal(incr(cache, "n", 1, &value), 0);
			assert_int_equal(shmcache_set(cache, key, strlen(key),
					     filler, sizeof(filler), 0, 0),
			    0);
		}
	}
	assert_int_equal(value, 500);
	assert_int_equal(
	    shmcache_verify(cache, SHMCACHE_VERIFY_STRICT, NULL, NULL), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
counters_cannot_be_pinned_but_copied(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_item item;

	(void)state;
	test_set_ok(cache, "n", "1");
	assert_int_equal(incr(cache, "n", 1, NULL), 0);
	assert_int_equal(shmcache_get_pinned(cache, "n", 1, &item), 0);
	assert_int_equal(incr(cache, "n", 1, NULL), 0);
	assert_int_equal(item.value_bytes, 1);
	assert_memory_equal(item.value, "2", 1);
	assert_int_equal(shmcache_unpin(cache, &item), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

#define THREADS    4
#define INCREMENTS (TEST_SANITIZED ? 2000 : 20000)

static void *
increment_often(void *context)
{
	struct shmcache *cache = context;
	const int64_t initial = 1;
	char text[] = "0";

	for (unsigned i = 0; i < INCREMENTS; i++) {
		if (shmcache_incr(cache, "n", 1, 1, &initial, 0, NULL) != 0)
			return cache;
		if (i % 64 == 0 && shmcache_touch(cache, "n", 1, 100000) != 0)
			return cache;
		if (i % 256 == 0 &&
		    shmcache_append(cache, "n", 1, text, 0) != 0)
			return cache;
	}
	return NULL;
}

/* Increments in place, by replacing, and carried on by touches and appends. */
static void
no_increment_is_lost(void **state)
{
	struct shmcache *cache = test_cache();
	pthread_t threads[THREADS];
	int64_t value = 0;

	(void)state;
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, increment_often, cache),
		    0);
	for (unsigned i = 0; i < THREADS; i++) {
		void *failed;

		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	assert_int_equal(incr(cache, "n", 0, &value), 0);
	assert_int_equal(value, THREADS * INCREMENTS);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Value and time lie in two words, which others change and read meanwhile. */
static void
get_and_touch_takes_a_counter_at_one_moment(void **state)
{
	struct shmcache *cache = test_cache();
	const int64_t initial = 7;
	struct found before, after;
	int64_t value = 0, ttl_ms = 0;
	uint64_t version;
	char buffer[32];
	size_t bytes;

	(void)state;
	assert_int_equal(
	    shmcache_incr(cache, "n", 1, 1, &initial, 1000, &value), 0);
	version = version_of(cache, "n");
	before = test_find(cache, "n");
	assert_int_equal(shmcache_get_and_touch(cache, "n", 1, 100000, buffer,
			     sizeof(buffer), &bytes, NULL),
	    0);
	assert_int_equal(bytes, 1);
	assert_memory_equal(buffer, "7", 1);
	/* By one CAS of the slot: the old one tells the old time for good. */
	after = test_find(cache, "n");
	assert_int_not_equal(after.word, before.word);
	assert_true(entry_ttl_ms(cache->mapping, &before.entry) <= 1000);
	assert_true((entry_cell(&before.entry).version & ENTRY_FROZEN) != 0);
	assert_int_equal(version_of(cache, "n"), version);
	assert_int_equal(shmcache_ttl(cache, "n", 1, &ttl_ms), 0);
	assert_true(ttl_ms > 1000);
	assert_int_equal(incr(cache, "n", 1, &value), 0);
	assert_int_equal(value, 8);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
get_and_touch_does_both_or_nothing(void **state)
{
	struct shmcache *cache = test_cache();
	char buffer[8];
	size_t bytes = 0;
	int64_t ttl_ms;

	(void)state;
	assert_int_equal(shmcache_get_and_touch(
			     cache, "k", 1, 5000, buffer, 8, &bytes, NULL),
	    SHMCACHE_ENOENT);
	assert_int_equal(shmcache_set(cache, "k", 1, "value", 5, 0, 0), 0);
	assert_int_equal(shmcache_get_and_touch(
			     cache, "k", 1, 5000, buffer, 4, &bytes, NULL),
	    SHMCACHE_EBUFFER);
	assert_int_equal(bytes, 5);
	assert_int_equal(shmcache_ttl(cache, "k", 1, &ttl_ms), 0);
	assert_int_equal(ttl_ms, SHMCACHE_TTL_NONE);
	test_set_mortal(cache, "k", "value");
	test_expire(cache, "k");
	assert_int_equal(shmcache_get_and_touch(
			     cache, "k", 1, 5000, buffer, 4, &bytes, NULL),
	    SHMCACHE_ENOENT);
	test_set_ok(cache, "k", "value");
	for (unsigned frozen = 0; frozen < 2; frozen++) {
		if (frozen)
			freeze(cache, "k");
		memset(buffer, 0, sizeof(buffer));
		assert_int_equal(shmcache_get_and_touch(cache, "k", 1, 5000,
				     buffer, 8, &bytes, NULL),
		    0);
		assert_memory_equal(buffer, "value", 5);
		assert_int_equal(shmcache_ttl(cache, "k", 1, &ttl_ms), 0);
		assert_in_range(ttl_ms, 1, 5000);
	}
	assert_int_equal(shmcache_close(cache), 0);
}

static void
expire_at_is_of_the_wall_clock(void **state)
{
	struct shmcache *cache = test_cache();
	int64_t now_ms = (int64_t)time(NULL) * 1000, ttl_ms;

	(void)state;
	test_set_ok(cache, "k", "value");
	assert_int_equal(shmcache_expire_at(cache, "k", 1, -1), -EINVAL);
	assert_int_equal(shmcache_expire_at(cache, "k", 1, now_ms + 100000), 0);
	assert_int_equal(shmcache_ttl(cache, "k", 1, &ttl_ms), 0);
	assert_in_range(ttl_ms, 90000, 100000);
	assert_int_equal(shmcache_expire_at(cache, "k", 1, now_ms - 1), 0);
	assert_true(test_lacks(cache, "k"));
	assert_int_equal(
	    shmcache_expire_at(cache, "k", 1, now_ms + 1), SHMCACHE_ENOENT);
	assert_int_equal(shmcache_close(cache), 0);
}

#define MANY 50

static void
many_keys_have_results_of_their_own(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_set_request sets[MANY];
	struct shmcache_get_request gets[MANY];
	struct shmcache_delete_request deletes[MANY];
	char keys[MANY][8], buffers[MANY][8];

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		size_t bytes =
		    (size_t)snprintf(keys[i], sizeof(keys[i]), "k%u", i);

		sets[i] = (struct shmcache_set_request){ .key = keys[i],
			.key_bytes = i == 3 ? 0 : bytes,
			.value = keys[i],
			.value_bytes = i == 4 ? SIZE_MAX : bytes,
			.client_flags = i };
		gets[i] = (struct shmcache_get_request){ .key = keys[i],
			.key_bytes = i == 5 ? 0 : bytes,
			.buffer = buffers[i],
			.buffer_bytes = i == 6 ? 1 : 8 };
		deletes[i] = (struct shmcache_delete_request){
			.key = i == 7 ? NULL : keys[i], .key_bytes = bytes
		};
	}
	assert_int_equal(shmcache_multi_set(cache, sets, MANY), MANY - 2);
	assert_int_equal(sets[3].result, SHMCACHE_EKEY);
	assert_int_equal(sets[4].result, SHMCACHE_ETOOBIG);
	assert_int_equal(shmcache_multi_get(cache, gets, MANY), MANY - 4);
	assert_int_equal(gets[3].result, SHMCACHE_ENOENT);
	assert_int_equal(gets[5].result, SHMCACHE_EKEY);
	assert_int_equal(gets[6].result, SHMCACHE_EBUFFER);
	assert_int_equal(gets[6].value_bytes, 2);
	for (unsigned i = 8; i < MANY; i++) {
		assert_int_equal(gets[i].result, 0);
		assert_int_equal(gets[i].value_bytes, strlen(keys[i]));
		assert_memory_equal(buffers[i], keys[i], strlen(keys[i]));
		assert_int_equal(gets[i].client_flags, i);
		assert_int_equal(gets[i].version, version_of(cache, keys[i]));
	}
	assert_int_equal(shmcache_multi_delete(cache, deletes, MANY), MANY - 3);
	assert_int_equal(deletes[3].result, SHMCACHE_ENOENT);
	assert_int_equal(deletes[7].result, SHMCACHE_EKEY);
	gets[7].key = NULL;
	assert_int_equal(shmcache_multi_get(cache, &gets[7], 1), 0);
	assert_int_equal(gets[7].result, SHMCACHE_EKEY);
	assert_int_equal(shmcache_multi_get(cache, NULL, 0), 0);
	assert_int_equal(shmcache_multi_get(cache, NULL, 1), -EINVAL);
	assert_int_equal(shmcache_multi_set(cache, NULL, 1), -EINVAL);
	assert_int_equal(shmcache_multi_delete(cache, NULL, 1), -EINVAL);
	assert_int_equal(
	    shmcache_multi_get(cache, gets, (size_t)INT_MAX + 1), -EINVAL);
	gets[1].buffer = NULL;
	assert_int_equal(shmcache_multi_get(cache, gets, 2), 0);
	assert_int_equal(gets[0].result, SHMCACHE_ENOENT);
	assert_int_equal(gets[1].result, -EINVAL);
	assert_int_equal(shmcache_close(cache), 0);
}

/* What keeps all of them from being tried is the result of each. */
static void
many_keys_of_no_cache(void **state)
{
	struct shmcache *cache = test_cache(), *reader;
	struct shmcache_options o = { .struct_bytes = sizeof(o),
		.read_only = 1 };
	struct shmcache_set_request sets[2] = { { .key = "a", .key_bytes = 1 },
		{ .key = "b", .key_bytes = 1 } };
	struct shmcache_get_request gets[2] = { { .key = "a", .key_bytes = 1 },
		{ .key = "b", .key_bytes = 1 } };
	struct shmcache_delete_request deletes[2] = {
		{ .key = "a", .key_bytes = 1 }, { .key = "b", .key_bytes = 1 }
	};

	(void)state;
	assert_int_equal(shmcache_open(cache->path, &o, &reader), 0);
	assert_int_equal(
	    shmcache_multi_set(reader, sets, 2), SHMCACHE_EREADONLY);
	assert_int_equal(
	    shmcache_multi_delete(reader, deletes, 2), SHMCACHE_EREADONLY);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(sets[i].result, SHMCACHE_EREADONLY);
		assert_int_equal(deletes[i].result, SHMCACHE_EREADONLY);
	}
	assert_int_equal(shmcache_close(reader), 0);
	assert_int_equal(shmcache_remove(cache->path), 0);
	assert_int_equal(shmcache_multi_get(cache, gets, 2), 0);
	assert_int_equal(shmcache_multi_set(cache, sets, 2), SHMCACHE_EREMOVED);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(gets[i].result, SHMCACHE_ENOENT);
		assert_int_equal(sets[i].result, SHMCACHE_EREMOVED);
	}
	assert_int_equal(shmcache_close(cache), 0);
}

/* Stores through another entry, as sets are sampled. */
static void
updates_are_sampled(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache_latency latency;
	struct shmcache *cache;

	(void)state;
	o.latency_sample = 1;
	cache = test_cache_of(&o);
	assert_int_equal(shmcache_add(cache, "k", 1, "v", 1, 0, 0), 0);
	assert_int_equal(shmcache_append(cache, "k", 1, "w", 1), 0);
	assert_int_equal(
	    shmcache_add(cache, "k", 1, "v", 1, 0, 0), SHMCACHE_EPRESENT);
	assert_int_equal(
	    shmcache_latency(cache, SHMCACHE_LATENCY_SET, &latency), 0);
	assert_int_equal(latency.samples, 3);
	assert_int_equal(shmcache_close(cache), 0);
}

/* What a counter was that has expired, or was flushed, is not counted on. */
static void
counters_that_are_over_start_anew(void **state)
{
	const int64_t initial = 100;
	struct shmcache *cache = test_cache();
	int64_t value = 0;

	(void)state;
	assert_int_equal(
	    shmcache_incr(cache, "n", 1, 1, &initial, 3600000, &value), 0);
	assert_int_equal(incr(cache, "n", 1, &value), 0);
	assert_int_equal(value, 101);
	test_expire(cache, "n");
	assert_int_equal(incr(cache, "n", 1, &value), SHMCACHE_ENOENT);
	assert_int_equal(
	    shmcache_incr(cache, "n", 1, 1, &initial, 0, &value), 0);
	assert_int_equal(value, 100);
	assert_int_equal(incr(cache, "n", 1, &value), 0);
	assert_int_equal(shmcache_flush(cache), 0);
	assert_int_equal(incr(cache, "n", 1, &value), SHMCACHE_ENOENT);
	assert_int_equal(value, 101);
	test_assert_sound(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Twenty digits: the last one does not fit 64 bits, or the last but one. */
static void
numbers_that_do_not_fit_are_none(void **state)
{
	static const char *const numbers[] = { "99999999999999999999",
		"9223372036854775808", "-9223372036854775809" };
	struct shmcache *cache = test_cache();
	int64_t value = 5;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(numbers); i++) {
		test_set_ok(cache, "n", numbers[i]);
		assert_int_equal(
		    incr(cache, "n", 1, &value), SHMCACHE_ENOTNUMBER);
		assert_true(test_has(cache, "n", numbers[i]));
	}
	assert_int_equal(value, 5);
	assert_int_equal(shmcache_close(cache), 0);
}

/* A large value over a small one, and over a large one: it is copied with its own
   place pinned alone. */
static void
large_values_replace_small_ones(void **state)
{
	static char large[8000], read[8000];
	struct shmcache_options o = test_options();
	struct shmcache *cache;
	size_t bytes = 0;

	(void)state;
	o.extent_bytes = 64u << 10;
	o.capacity_bytes = 4u << 20;
	cache = test_cache_of(&o);
	test_set_ok(cache, "k", "small");
	for (unsigned i = 0; i < 2; i++) {
		memset(large, 'a' + (int)i, sizeof(large));
		assert_int_equal(
		    shmcache_set(cache, "k", 1, large, sizeof(large), 0, 0), 0);
		assert_int_equal(shmcache_get(cache, "k", 1, read, sizeof(read),
				     &bytes, NULL),
		    0);
		assert_int_equal(bytes, sizeof(large));
		assert_memory_equal(read, large, sizeof(large));
	}
	assert_int_equal(test_stats(cache).extents_pinned, 0);
	test_assert_sound(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Of a value that has no expiry yet, into a buffer that is too small: its length
   is said, and it gets none. */
static void
get_and_touch_into_too_small_a_buffer_touches_nothing(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_get_request request = {
		.key = "k", .key_bytes = 1, .buffer_bytes = 8
	};
	int64_t ttl_ms = 5;
	size_t bytes = 0;
	char buffer[2];

	(void)state;
	test_set_ok(cache, "k", "value");
	assert_int_equal(shmcache_get_and_touch(cache, "k", 1, 5000, buffer,
			     sizeof(buffer), &bytes, NULL),
	    SHMCACHE_EBUFFER);
	assert_int_equal(bytes, 5);
	assert_int_equal(shmcache_ttl(cache, "k", 1, &ttl_ms), 0);
	assert_int_equal(ttl_ms, SHMCACHE_TTL_NONE);
	/* Of many keys, the one without a buffer is refused. */
	(void)shmcache_multi_get(cache, &request, 1);
	assert_int_equal(request.result, -EINVAL);
	request.buffer_bytes = 0; /* its length is asked for */
	(void)shmcache_multi_get(cache, &request, 1);
	assert_int_equal(request.result, SHMCACHE_EBUFFER);
	assert_int_equal(request.value_bytes, 5);
	assert_int_equal(shmcache_close(cache), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(updates_are_sampled),
	cmocka_unit_test(counters_that_are_over_start_anew),
	cmocka_unit_test(numbers_that_do_not_fit_are_none),
	cmocka_unit_test(large_values_replace_small_ones),
	cmocka_unit_test(get_and_touch_into_too_small_a_buffer_touches_nothing),
	cmocka_unit_test(add_stores_only_what_is_not_there),
	cmocka_unit_test(replace_stores_only_what_is_there),
	cmocka_unit_test(cas_needs_the_version_that_is_there),
	cmocka_unit_test(append_and_prepend_keep_time_and_flags),
	cmocka_unit_test(append_stops_at_the_largest_entry),
	cmocka_unit_test(counters_count_and_read_as_text),
	cmocka_unit_test(frozen_counters_count_elsewhere),
	cmocka_unit_test(text_that_is_a_number_becomes_a_counter),
	cmocka_unit_test(version_of_a_counter_changes_with_each_increment),
	cmocka_unit_test(counters_of_long_keys_have_their_limit),
	cmocka_unit_test(counters_survive_an_eviction),
	cmocka_unit_test(counters_cannot_be_pinned_but_copied),
	cmocka_unit_test(no_increment_is_lost),
	cmocka_unit_test(get_and_touch_takes_a_counter_at_one_moment),
	cmocka_unit_test(get_and_touch_does_both_or_nothing),
	cmocka_unit_test(expire_at_is_of_the_wall_clock),
	cmocka_unit_test(many_keys_have_results_of_their_own),
	cmocka_unit_test(many_keys_of_no_cache),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
