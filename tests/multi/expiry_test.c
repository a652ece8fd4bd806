/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * expiry_test.c - times to live, touch, flush, and what a sweep frees
 *
 * Nothing here waits for a time to pass and hopes that it did: stamps of the
 * coarse clock are taken before and after each call, and bound when an entry
 * can have expired at the earliest and at the latest.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"
#include "tests/support/value.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY (8 << 20)
#define MS       UINT64_C(1000000)
#define LONG_MS  (1000 * 1000)
#define SHORT_MS (200 * 1000)

static struct shmcache *cache;
static uint64_t tick_ns;

static void
begin_with(int64_t default_ttl_ms)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;

	options.capacity_bytes = CAPACITY;
	options.default_ttl_ms = default_ttl_ms;
	cache = cache_create("expiry", &options);
	tick_ns = cache_stats(cache).clock_tick_ns;
	CHECK(tick_ns > 0 && tick_ns <= 10 * MS);
}

static void
begin(void)
{
	begin_with(0);
}

static void
end(void)
{
	cache_finish(cache);
}

/* Sleep until what had `ttl_ms` at most at `start` has surely expired. */
static void
sleep_past(uint64_t start, int64_t ttl_ms)
{
	cache_clock_await(start + (uint64_t)ttl_ms * MS + 2 * tick_ns);
}

static int
set_ttl(const char *key, int64_t ttl_ms)
{
	return shmcache_set(cache, key, strlen(key), "value", 5, ttl_ms, 0);
}

static int64_t
ttl_of(const char *key)
{
	int64_t left = -100;

	CHECK_RESULT(shmcache_ttl(cache, key, strlen(key), &left), 0);
	return left;
}

/* What an entry's expiry is known to be: when its call began and ended. */
struct span {
	uint64_t before;
	uint64_t after;
	int64_t ttl_ms;
	bool gone;
};

/* 1 found, 0 not; by one of the calls that look. */
static int
look(const char *key, unsigned how)
{
	struct shmcache_item item;
	char buffer[8];
	int64_t left;
	int result;

	switch (how % 5) {
	case 0:
		result = shmcache_get(
		    cache, key, strlen(key), buffer, 8, NULL, NULL);
		break;
	case 1:
		result = shmcache_peek(
		    cache, key, strlen(key), buffer, 8, NULL, NULL);
		break;
	case 2:
		result = shmcache_ttl(cache, key, strlen(key), &left);
		CHECK(result != 0 || left >= 0);
		break;
	case 3:
		result = shmcache_exists(cache, key, strlen(key));
		CHECK(result == 0 || result == 1);
		return result;
	default:
		result = shmcache_get_pinned(cache, key, strlen(key), &item);
		if (result == 0) {
			CHECK_RESULT(shmcache_unpin(cache, &item), 0);
		}
	}
	CHECK(result == 0 || result == SHMCACHE_ENOENT);
	return result == 0;
}

static void
check_look(const char *key, struct span *span, unsigned how)
{
	uint64_t ttl_ns = (uint64_t)span->ttl_ms * MS;
	uint64_t before = cache_clock_ns();
	bool found = look(key, how) != 0;
	uint64_t after = cache_clock_ns();

	if (found) {
		CHECK_SAY(!span->gone, "%s came back", key);
		CHECK_SAY(before < span->after + ttl_ns + tick_ns,
		    "%s (%" PRId64 " ms) was found %" PRIu64
		    " us after it expired",
		    key, span->ttl_ms, (before - span->after - ttl_ns) / 1000);
	} else {
		CHECK_SAY(after + tick_ns + MS >= span->before + ttl_ns,
		    "%s (%" PRId64 " ms) was gone %" PRIu64 " us too early",
		    key, span->ttl_ms, (span->before + ttl_ns - after) / 1000);
		span->gone = true;
	}
}

#define TIMED_KEYS 300

static void
expiry_is_exact(void)
{
	static struct span spans[TIMED_KEYS];
	unsigned gone = 0, looks = 0;
	struct prng prng;
	char key[16];

	begin();
	prng_init(&prng, run_seed(), 1);
	for (unsigned i = 0; i < TIMED_KEYS; i++) {
		snprintf(key, sizeof(key), "timed %u", i);
		spans[i].ttl_ms = 1 + (int64_t)prng_below(&prng, 100);
		spans[i].before = cache_clock_ns();
		CHECK_RESULT(set_ttl(key, spans[i].ttl_ms), 0);
		spans[i].after = cache_clock_ns();
	}
	while (gone < TIMED_KEYS) {
		gone = 0;
		for (unsigned i = 0; i < TIMED_KEYS; i++) {
			snprintf(key, sizeof(key), "timed %u", i);
			check_look(key, &spans[i], looks + i);
			gone += spans[i].gone;
		}
		looks++;
	}
	CHECK(cache_stats(cache).evictions == 0);
	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	CHECK(cache_stats(cache).items == 0);
	CHECK(cache_stats(cache).expired_on_read +
		  cache_stats(cache).expired_swept ==
	      TIMED_KEYS);
	end();
}

static void
time_left_is_told(void)
{
	uint64_t before, after;
	int64_t left, ttl_ms = 100000;

	begin();
	before = cache_clock_ns();
	CHECK_RESULT(set_ttl("key", ttl_ms), 0);
	left = ttl_of("key");
	after = cache_clock_ns();
	CHECK(left <= ttl_ms + 1);
	CHECK(left >= ttl_ms - 1 - (int64_t)((after - before + tick_ns) / MS));
	CHECK_RESULT(set_ttl("key", SHMCACHE_TTL_NONE), 0);
	CHECK(ttl_of("key") == SHMCACHE_TTL_NONE);
	CHECK_RESULT(set_ttl("key", 0), 0);
	CHECK(ttl_of("key") == SHMCACHE_TTL_NONE);
	CHECK_RESULT(shmcache_ttl(cache, "none", 4, &left), SHMCACHE_ENOENT);
	end();
}

static void
touch_changes_the_expiry(void)
{
	struct span span = { .ttl_ms = 20 };
	uint64_t start;

	begin();
	/* longer */
	CHECK_RESULT(set_ttl("longer", LONG_MS), 0);
	CHECK_RESULT(shmcache_touch(cache, "longer", 6, 2 * LONG_MS), 0);
	CHECK(ttl_of("longer") > LONG_MS);
	CHECK_RESULT(shmcache_touch(cache, "longer", 6, SHMCACHE_TTL_NONE), 0);
	CHECK(ttl_of("longer") == SHMCACHE_TTL_NONE);
	/* shorter */
	CHECK_RESULT(set_ttl("shorter", SHMCACHE_TTL_NONE), 0);
	span.before = cache_clock_ns();
	CHECK_RESULT(shmcache_touch(cache, "shorter", 7, span.ttl_ms), 0);
	span.after = cache_clock_ns();
	for (unsigned i = 0; !span.gone; i++) {
		check_look("shorter", &span, i);
	}
	/* too late */
	CHECK_RESULT(set_ttl("late", 1), 0);
	start = cache_clock_ns();
	sleep_past(start, 1);
	CHECK_RESULT(
	    shmcache_touch(cache, "late", 4, LONG_MS), SHMCACHE_ENOENT);
	CHECK_RESULT(shmcache_exists(cache, "late", 4), 0);
	CHECK_RESULT(
	    shmcache_touch(cache, "none", 4, LONG_MS), SHMCACHE_ENOENT);
	cache_check_text(cache, "longer", "value");
	CHECK(cache_stats(cache).touches == 3);
	CHECK(cache_stats(cache).touch_misses == 2);
	end();
}

static void
default_time_to_live(void)
{
	uint64_t start;

	begin_with(30);
	CHECK_RESULT(set_ttl("default", 0), 0);
	CHECK_RESULT(set_ttl("none", SHMCACHE_TTL_NONE), 0);
	CHECK_RESULT(set_ttl("long", LONG_MS), 0);
	CHECK_RESULT(set_ttl("touched", LONG_MS), 0);
	CHECK_RESULT(shmcache_touch(cache, "touched", 7, 0), 0);
	start = cache_clock_ns();
	CHECK(ttl_of("none") == SHMCACHE_TTL_NONE);
	CHECK(ttl_of("long") > 30);
	sleep_past(start, 30);
	CHECK_RESULT(shmcache_exists(cache, "default", 7), 0);
	CHECK_RESULT(shmcache_exists(cache, "touched", 7), 0);
	CHECK_RESULT(shmcache_exists(cache, "none", 4), 1);
	CHECK_RESULT(shmcache_exists(cache, "long", 4), 1);
	end();
}

/* An expired entry is replaced like any, and a delete does not find it. */
static void
expired_is_absent_to_writers(void)
{
	uint64_t start;

	begin();
	CHECK_RESULT(set_ttl("set", 1), 0);
	CHECK_RESULT(set_ttl("delete", 1), 0);
	start = cache_clock_ns();
	sleep_past(start, 1);
	CHECK_RESULT(set_ttl("set", LONG_MS), 0);
	cache_check_text(cache, "set", "value");
	CHECK_RESULT(shmcache_delete(cache, "delete", 6), SHMCACHE_ENOENT);
	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	CHECK(cache_stats(cache).items == 1);
	end();
}

static void
look_for_ever(void *key)
{
	for (unsigned i = 0;; i++) {
		look(key, i);
	}
}

static void
sweep_for_ever(void *unused)
{
	(void)unused;
	for (;;) {
		CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	}
}

/* A touch that was acknowledged holds, whoever meets the expired entry. */
static void
touch_races_with_expiry(void)
{
	char key[] = "key";
	unsigned kept = 0, lost = 0;
	struct prng prng;
	pid_t reader, sweeper;

	begin();
	prng_init(&prng, run_seed(), 2);
	reader = child_start(look_for_ever, key);
	sweeper = child_start(sweep_for_ever, NULL);
	for (unsigned i = 0; i < 300; i++) {
		int64_t ttl_ms = 1 + (int64_t)prng_below(&prng, 6);
		int result;

		CHECK_RESULT(set_ttl(key, ttl_ms), 0);
		sleep_us((unsigned)prng_below(&prng, 10000));
		result = shmcache_touch(cache, key, 3, LONG_MS);
		if (result == 0) {
			CHECK(ttl_of(key) > SHORT_MS);
			cache_check_text(cache, key, "value");
			kept++;
		} else {
			CHECK_RESULT(result, SHMCACHE_ENOENT);
			CHECK_RESULT(shmcache_exists(cache, key, 3), 0);
			lost++;
		}
	}
	printf("  %u touched in time, %u too late\n", kept, lost);
	child_kill(reader);
	child_kill(sweeper);
	end();
}

static void
churn_for_ever(void *unused)
{
	(void)unused;
	interrupt_often(200);
	for (uint64_t salt = 1;; salt++) {
		cache_churn(cache, salt, 1 << 20);
	}
}

#define TOUCHED_KEYS  50
#define TOUCHED_LEAST 10000
#define COPIED_LEAST  500 /* second chances, of the touched alone */

static bool
copied_enough(void)
{
	return cache_stats(cache).second_chances >= COPIED_LEAST;
}

/* Evictions copy what was read; the copy must not bring the old expiry back. */
static void
touch_survives_evictions(void)
{
	uint64_t found = 0, missed = 0;
	char key[16], buffer[8];
	pid_t pids[2];

	begin();
	for (unsigned i = 0; i < TEST_COUNT_OF(pids); i++) {
		pids[i] = child_start(churn_for_ever, NULL);
	}
	for (unsigned i = 0;
	     i % 1000 != 0 || found < TOUCHED_LEAST || !copied_enough(); i++) {
		int64_t ttl_ms = i / TOUCHED_KEYS % 2 ? LONG_MS : SHORT_MS;
		int64_t left = 0;
		int result;

		snprintf(key, sizeof(key), "touched %u", i % TOUCHED_KEYS);
		result = shmcache_touch(cache, key, strlen(key), ttl_ms);
		if (result == SHMCACHE_ENOENT) {
			CHECK_RESULT(set_ttl(key, ttl_ms), 0);
			missed++;
		} else {
			CHECK_RESULT(result, 0);
		}
		/* leaves a mark, so that the entry is worth a copy */
		result = shmcache_get(
		    cache, key, strlen(key), buffer, 8, NULL, NULL);
		CHECK(result == 0 || result == SHMCACHE_ENOENT);
		result = shmcache_ttl(cache, key, strlen(key), &left);
		if (result != SHMCACHE_ENOENT) {
			CHECK_RESULT(result, 0);
			CHECK_SAY(ttl_ms == LONG_MS ? left > SHORT_MS
						    : left <= SHORT_MS,
			    "%s: %" PRId64 " ms left after touch to %" PRId64,
			    key, left, ttl_ms);
			found++;
		}
	}
	printf("  %" PRIu64 " touches, %" PRIu64 " found it evicted, %" PRIu64
	       " second chances\n",
	    found, missed, cache_stats(cache).second_chances);
	for (unsigned i = 0; i < TEST_COUNT_OF(pids); i++) {
		child_kill(pids[i]);
	}
	end();
}

/* --- flush */

static void
flush_hides_what_was_there(void)
{
	char key[16];

	begin();
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 200; i++) {
			snprintf(key, sizeof(key), "key %u", i);
			cache_set_text(cache, key, "value");
			cache_check_text(cache, key, "value");
		}
		CHECK_RESULT(shmcache_flush(cache), 0);
		for (unsigned i = 0; i < 200; i++) {
			snprintf(key, sizeof(key), "key %u", i);
			CHECK(!look(key, i));
			CHECK_RESULT(
			    shmcache_touch(cache, key, strlen(key), LONG_MS),
			    SHMCACHE_ENOENT);
			CHECK_RESULT(shmcache_delete(cache, key, strlen(key)),
			    SHMCACHE_ENOENT);
		}
	}
	CHECK(cache_stats(cache).flushes == 20);
	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	CHECK(cache_stats(cache).items == 0);
	cache_set_text(cache, "after", "value");
	cache_check_text(cache, "after", "value");
	CHECK(cache_stats(cache).items == 1);
	end();
}

/* What is known of each key, which one process alone sets. */
struct flush_key {
	_Atomic uint64_t done;    /* its last set that has returned */
	_Atomic uint64_t flushed; /* what `done` was when a flush began that
				     has returned */
};

#define FLUSH_KEYS    16
#define FLUSH_WRITERS 3
#define FLUSH_READERS 2

struct flush_race {
	struct flush_key keys[FLUSH_KEYS];
	_Atomic uint32_t over;
	_Atomic uint64_t hits;
};

static struct flush_race *race;

static void
flush_writer(void *argument)
{
	uint32_t number;

	memcpy(&number, argument, sizeof(number));
	for (uint64_t i = 1; atomic_load(&race->over) == 0; i++) {
		for (uint32_t key = number; key < FLUSH_KEYS;
		     key += FLUSH_WRITERS) {
			CHECK_RESULT(shmcache_set(cache, &key, sizeof(key), &i,
					 sizeof(i), 0, 0),
			    0);
			atomic_store(&race->keys[key].done, i);
		}
	}
}

static void
flush_reader(void *argument)
{
	uint32_t number;
	struct prng prng;

	memcpy(&number, argument, sizeof(number));
	prng_init(&prng, run_seed(), 100 + number);
	while (atomic_load(&race->over) == 0) {
		uint32_t key = (uint32_t)prng_below(&prng, FLUSH_KEYS);
		uint64_t flushed = atomic_load(&race->keys[key].flushed);
		uint64_t value = 0;
		int result = shmcache_get(cache, &key, sizeof(key), &value,
		    sizeof(value), NULL, NULL);

		if (result == SHMCACHE_ENOENT) {
			continue;
		}
		CHECK_RESULT(result, 0);
		CHECK_SAY(value > flushed,
		    "key %" PRIu32 ": value %" PRIu64
		    " was found after a flush of value %" PRIu64,
		    key, value, flushed);
		atomic_fetch_add(&race->hits, 1);
	}
}

static void
flush_once(void)
{
	uint64_t done[FLUSH_KEYS];

	for (unsigned i = 0; i < FLUSH_KEYS; i++) {
		done[i] = atomic_load(&race->keys[i].done);
	}
	CHECK_RESULT(shmcache_flush(cache), 0);
	for (unsigned i = 0; i < FLUSH_KEYS; i++) {
		atomic_store(&race->keys[i].flushed, done[i]);
	}
}

static void
flush_beside_writers(void)
{
	pid_t pids[FLUSH_WRITERS + FLUSH_READERS];

	begin();
	race = shared_alloc(sizeof(*race));
	for (uint32_t i = 0; i < TEST_COUNT_OF(pids); i++) {
		pids[i] = child_start(
		    i < FLUSH_WRITERS ? flush_writer : flush_reader, &i);
	}
	for (unsigned i = 0; i < 2000 || atomic_load(&race->hits) < 10000;
	     i++) {
		flush_once();
		sleep_us(i % 4 * 50);
	}
	atomic_store(&race->over, 1);
	for (unsigned i = 0; i < TEST_COUNT_OF(pids); i++) {
		child_expect(pids[i], 0);
	}
	end();
}

/* --- sweep */

static void
fill(uint64_t entries, int64_t ttl_ms)
{
	unsigned char key[KEY_ROOM], value[1024] = { 0 };

	for (uint64_t i = 0; i < entries; i++) {
		CHECK_RESULT(shmcache_set(cache, key, key_make(key, i), value,
				 sizeof(value), ttl_ms, 0),
		    0);
	}
}

static void
check_all_free(void)
{
	struct shmcache_stats stats = cache_stats(cache);

	CHECK(stats.items == 0);
	CHECK(stats.live_bytes == 0);
	CHECK(stats.extents_sealed == 0);
	CHECK(stats.extents_evicting == 0 && stats.extents_limbo == 0);
	CHECK(stats.extents_free + stats.extents_active == stats.extents);
}

static void
sweep_frees_memory(void)
{
	struct shmcache_sweep_result result;
	uint64_t start;

	begin();
	fill(4000, 50);
	CHECK(cache_stats(cache).items > 0);
	CHECK(cache_stats(cache).extents_sealed > 0);
	start = cache_clock_ns();
	sleep_past(start, 50);
	CHECK_RESULT(shmcache_sweep(cache, &result), 0);
	CHECK(result.expired_entries > 0 && result.extents_visited > 0);
	CHECK(result.next_expiry_ms == -1);
	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	check_all_free();
	/* what has no end stays */
	fill(100, 0);
	CHECK_RESULT(shmcache_sweep(cache, &result), 0);
	CHECK(result.expired_entries == 0 && result.next_expiry_ms == -1);
	CHECK(cache_stats(cache).items == 100);
	CHECK_RESULT(shmcache_flush(cache), 0);
	CHECK_RESULT(shmcache_sweep(cache, &result), 0);
	CHECK(result.expired_entries == 100);
	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	check_all_free();
	end();
}

static void
sweep_tells_the_next_expiry(void)
{
	struct shmcache_sweep_result result;

	begin();
	CHECK_RESULT(set_ttl("long", 4 * LONG_MS), 0);
	CHECK_RESULT(shmcache_sweep(cache, &result), 0);
	CHECK(result.next_expiry_ms > 3 * LONG_MS);
	CHECK(result.next_expiry_ms <= 4 * LONG_MS + 1);
	CHECK_RESULT(set_ttl("short", LONG_MS), 0);
	CHECK_RESULT(set_ttl("none", SHMCACHE_TTL_NONE), 0);
	CHECK_RESULT(shmcache_sweep(cache, &result), 0);
	CHECK(
	    result.next_expiry_ms > 0 && result.next_expiry_ms <= LONG_MS + 1);
	end();
}

static void
expire_beside_sweeps(void)
{
	pid_t pids[3];
	char key[16];
	uint64_t start, overlooked;

	begin();
	for (unsigned i = 0; i < TEST_COUNT_OF(pids); i++) {
		pids[i] = child_start(sweep_for_ever, NULL);
	}
	interrupt_often(300);
	for (unsigned i = 0; i < 30000; i++) {
		snprintf(key, sizeof(key), "key %u", i % 500);
		CHECK_RESULT(set_ttl(key, i % 3 ? 1 + i % 5 : LONG_MS), 0);
		if (i % 3 == 0) {
			cache_check_text(cache, key, "value");
		}
	}
	start = cache_clock_ns();
	sleep_past(start, 5);
	for (unsigned i = 0; i < TEST_COUNT_OF(pids); i++) {
		child_kill(pids[i]);
	}
	/* Reads unlink what a sweep has overlooked, so count before. */
	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	overlooked = cache_stats(cache).items;
	for (unsigned i = 29500; i < 30000; i++) {
		snprintf(key, sizeof(key), "key %u", i % 500);
		CHECK(look(key, i) == (i % 3 == 0));
		overlooked -= i % 3 == 0;
	}
	CHECK_SAY(overlooked == 0,
	    "the sweep overlooked %" PRIu64 " expired entries", overlooked);
	end();
}

static void
items_are_counted(void)
{
	begin();
	CHECK(cache_stats(cache).items == 0);
	fill(100, 0);
	CHECK(cache_stats(cache).items == 100);
	fill(100, 0);
	CHECK(cache_stats(cache).items == 100);
	CHECK(cache_stats(cache).inserts == 100);
	CHECK(cache_stats(cache).replaces == 100);
	for (uint64_t i = 0; i < 60; i++) {
		unsigned char key[KEY_ROOM];

		CHECK_RESULT(shmcache_delete(cache, key, key_make(key, i)), 0);
		CHECK_RESULT(shmcache_delete(cache, key, key_make(key, i)),
		    SHMCACHE_ENOENT);
	}
	CHECK(cache_stats(cache).items == 40);
	CHECK(cache_stats(cache).deletes == 60);
	CHECK(cache_stats(cache).delete_misses == 60);
	end();
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(expiry_is_exact),
		CASE(time_left_is_told),
		CASE(touch_changes_the_expiry),
		CASE(default_time_to_live),
		CASE(expired_is_absent_to_writers),
		CASE(touch_races_with_expiry),
		CASE(touch_survives_evictions),
		CASE(flush_hides_what_was_there),
		CASE(flush_beside_writers),
		CASE(sweep_frees_memory),
		CASE(sweep_tells_the_next_expiry),
		CASE(expire_beside_sweeps),
		CASE(items_are_counted),
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
	};

	return run_suite(argc, argv, &suite);
}
