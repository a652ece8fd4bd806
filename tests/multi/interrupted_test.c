/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * interrupted_test.c - calls that are interrupted anywhere, thousands of times
 *
 * A few processes read, set, touch and delete a few keys in the smallest cache
 * there is, which is written over within less than a millisecond.  All values
 * have one length, so that new ones come to lie exactly where old ones lay.  A
 * timer puts each process to sleep at random instructions: whatever a call has
 * read before may be long gone when it goes on.  A call that does not notice
 * returns torn or foreign bytes.
 *
 * Small values of a few keys meet by all calls.  Large ones of a single key
 * spend most of a set's time on being written, and readers look at their ends
 * in place, so that most of a get's time is the look-up.  And no touch, set
 * or delete that was acknowledged may be undone by an eviction that copies the
 * entry, or a touch by who finds it expired.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"
#include "tests/support/value.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PROCESSES     5
#define KEYS          3
#define VALUE_BYTES   900
#define LARGE_BYTES   16000
#define INTERRUPTIONS (TEST_TSAN || TEST_ASAN ? 300 : 3000)
#define SLEEP_MOST_US 300
#define OWN_KEYS      6
#define OWN_BYTES     10000
#define TOUCHED_SPANS (TEST_TSAN || TEST_ASAN ? 100 : 1000)
#define TICK_MOST_US  3000
#define LONG_MS       (1000 * 1000)
#define SHORT_MS      (200 * 1000)

static struct shmcache *cache;

struct hand {
	struct prng prng;
	unsigned char key[KEY_ROOM];
	unsigned char value[VALUE_BYTES];
	size_t key_bytes;
	struct value_id id;
	uint64_t seen[KEYS][PROCESSES];
};

static void
check_value(struct hand *hand, const void *value, size_t bytes, uint32_t flags)
{
	struct value_id got;
	const char *wrong =
	    value_check(value, bytes, flags, hand->id.key, &got);
	uint64_t *seen;

	CHECK_SAY(wrong == NULL, "%s", wrong);
	CHECK(got.writer < PROCESSES);
	seen = &hand->seen[hand->id.key][got.writer];
	CHECK_SAY(got.sequence >= *seen,
	    "key %" PRIu64 ", writer %" PRIu32 ": value %" PRIu64
	    " after value %" PRIu64,
	    got.key, got.writer, got.sequence, *seen);
	*seen = got.sequence;
}

static void
check_found(int result)
{
	CHECK_SAY(result == 0 || result == SHMCACHE_ENOENT, "%s (%s)",
	    shmcache_strerror(result), shmcache_last_error());
}

static void
get_one(struct hand *hand)
{
	uint32_t flags;
	size_t bytes;
	int result = shmcache_get(cache, hand->key, hand->key_bytes,
	    hand->value, sizeof(hand->value), &bytes, &flags);

	check_found(result);
	if (result == 0) {
		check_value(hand, hand->value, bytes, flags);
	}
}

static void
hold_one(struct hand *hand)
{
	struct shmcache_item item;
	int result =
	    shmcache_get_pinned(cache, hand->key, hand->key_bytes, &item);

	check_found(result);
	if (result == 0) {
		check_value(
		    hand, item.value, item.value_bytes, item.client_flags);
		check_value(
		    hand, item.value, item.value_bytes, item.client_flags);
		CHECK_RESULT(shmcache_unpin(cache, &item), 0);
	}
}

static void
set_one(struct hand *hand)
{
	uint32_t flags;

	hand->id.sequence++;
	hand->id.bytes = VALUE_BYTES;
	flags = value_make(hand->value, &hand->id);
	CHECK_RESULT(shmcache_set(cache, hand->key, hand->key_bytes,
			 hand->value, VALUE_BYTES, 0, flags),
	    0);
}

static void
process_main(void *argument)
{
	struct hand hand = { .id.writer = 0 };

	memcpy(&hand.id.writer, argument, sizeof(hand.id.writer));
	prng_init(&hand.prng, run_seed(), hand.id.writer);
	interrupt_often(SLEEP_MOST_US);
	while (interruptions() < INTERRUPTIONS) {
		uint64_t dice = prng_below(&hand.prng, 100);

		hand.id.key = prng_below(&hand.prng, KEYS);
		hand.key_bytes = key_make(hand.key, hand.id.key);
		if (dice < 40) {
			get_one(&hand);
		} else if (dice < 50) {
			hold_one(&hand);
		} else if (dice < 90) {
			set_one(&hand);
		} else if (dice < 95) {
			check_found(shmcache_touch(
			    cache, hand.key, hand.key_bytes, 1000000));
		} else if (dice < 99) {
			check_found(
			    shmcache_delete(cache, hand.key, hand.key_bytes));
		} else {
			CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
		}
	}
}

static void
create_smallest(uint64_t extent_bytes)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;

	options.capacity_bytes = 1;
	options.extent_bytes = extent_bytes;
	options.expected_items = 64;
	options.peer_slots = 32;
	options.process_slots = 16;
	CHECK_RESULT(shmcache_open(test_name("tiny"), &options, &cache),
	    SHMCACHE_ECAPACITY);
	options.capacity_bytes = cache_least_told();
	cache = cache_create("tiny", &options);
}

static void
run_processes(void (*run)(void *))
{
	struct shmcache_stats stats;
	pid_t pids[PROCESSES];

	for (uint32_t i = 0; i < PROCESSES; i++) {
		pids[i] = child_start(run, &i);
	}
	for (unsigned i = 0; i < PROCESSES; i++) {
		child_expect(pids[i], 0);
	}
	stats = cache_stats(cache);
	printf("  %d interruptions, %" PRIu64 " hits, %" PRIu64
	       " misses, %" PRIu64 " sets, %" PRIu64 " extents used again\n",
	    PROCESSES * INTERRUPTIONS, stats.get_hits, stats.get_misses,
	    stats.sets, stats.extents_recycled);
	cache_finish(cache);
}

static void
small_values_by_all_calls(void)
{
	create_smallest(4 << 10);
	run_processes(process_main);
}

static void
write_large(uint32_t number)
{
	static unsigned char value[LARGE_BYTES];
	struct value_id id = { .writer = number, .bytes = LARGE_BYTES };

	while (interruptions() < INTERRUPTIONS) {
		uint32_t flags;

		id.sequence++;
		flags = value_make(value, &id);
		CHECK_RESULT(
		    shmcache_set(cache, "key", 3, value, id.bytes, 0, flags),
		    0);
	}
}

static void
look_at_large(void)
{
	uint64_t seen[PROCESSES] = { 0 };

	while (interruptions() < INTERRUPTIONS) {
		struct shmcache_item item;
		struct value_id id;
		const char *wrong;
		int result = shmcache_get_pinned(cache, "key", 3, &item);

		check_found(result);
		if (result != 0) {
			continue;
		}
		wrong = value_check_ends(
		    item.value, item.value_bytes, item.client_flags, 0, &id);
		CHECK_SAY(wrong == NULL, "%s", wrong);
		CHECK(id.writer < PROCESSES);
		CHECK(id.sequence >= seen[id.writer]);
		seen[id.writer] = id.sequence;
		CHECK_RESULT(shmcache_unpin(cache, &item), 0);
	}
}

static void
large_main(void *argument)
{
	uint32_t number;

	memcpy(&number, argument, sizeof(number));
	interrupt_often(SLEEP_MOST_US);
	if (number % 2 == 0) {
		look_at_large();
	} else {
		write_large(number);
	}
}

static void
large_values_looked_at_in_place(void)
{
	create_smallest(64 << 10);
	CHECK(cache_stats(cache).max_entry_bytes > LARGE_BYTES + 3);
	run_processes(large_main);
}

static void
churn_till_over(void *over)
{
	_Atomic uint32_t *told = over;

	interrupt_often(SLEEP_MOST_US);
	for (uint64_t salt = (uint64_t)getpid(); atomic_load(told) == 0;
	     salt += 1 << 24) {
		cache_churn(cache, salt, 64 << 10);
	}
}

/* A key that one process alone changes. */
struct own_key {
	char key[16];
	bool deleted;
	int64_t ttl_ms; /* of the last set or touch */
	uint32_t flags; /* of the last set */
};

/* What was acknowledged holds, or the entry was evicted. */
static void
check_own(const struct own_key *own)
{
	static unsigned char value[OWN_BYTES];
	size_t key_bytes = strlen(own->key);
	uint32_t flags = 0;
	int64_t left = 0;
	int result = shmcache_ttl(cache, own->key, key_bytes, &left);

	check_found(result);
	CHECK_SAY(result != 0 || !own->deleted, "%s was deleted", own->key);
	CHECK_SAY(result != 0 || (left > SHORT_MS) == (own->ttl_ms > SHORT_MS),
	    "%s has %" PRId64 " ms left, not %" PRId64, own->key, left,
	    own->ttl_ms);
	/* leaves a mark, so that the entry is worth a copy */
	result = shmcache_get(
	    cache, own->key, key_bytes, value, sizeof(value), NULL, &flags);
	check_found(result);
	CHECK_SAY(result != 0 || flags == own->flags,
	    "%s holds value %" PRIu32 ", not %" PRIu32, own->key, flags,
	    own->flags);
}

static void
change_own(struct own_key *own, uint64_t dice)
{
	static const unsigned char value[OWN_BYTES];
	size_t key_bytes = strlen(own->key);
	int64_t ttl_ms = dice % 2 == 0 ? SHORT_MS : LONG_MS;
	int result = SHMCACHE_ENOENT;

	if (dice % 64 < 2) {
		check_found(shmcache_delete(cache, own->key, key_bytes));
		own->deleted = true;
		return;
	}
	if (dice % 64 < 60) {
		result = shmcache_touch(cache, own->key, key_bytes, ttl_ms);
		check_found(result);
	}
	if (result != 0) {
		own->flags++;
		CHECK_RESULT(shmcache_set(cache, own->key, key_bytes, value,
				 sizeof(value), ttl_ms, own->flags),
		    0);
		own->deleted = false;
	}
	own->ttl_ms = ttl_ms;
}

static void
changes_outlive_evictions(void)
{
	_Atomic uint32_t *over = shared_alloc(sizeof(*over));
	struct own_key keys[OWN_KEYS] = { { .deleted = false } };
	struct shmcache_stats stats;
	struct prng prng;
	pid_t pids[2];

	create_smallest(64 << 10);
	prng_init(&prng, run_seed(), 100);
	for (unsigned i = 0; i < OWN_KEYS; i++) {
		snprintf(keys[i].key, sizeof(keys[i].key), "own %u", i);
	}
	for (unsigned i = 0; i < TEST_COUNT_OF(pids); i++) {
		pids[i] = child_start(churn_till_over, over);
	}
	do {
		for (unsigned i = 0; i < 1000; i++) {
			struct own_key *own = &keys[i % OWN_KEYS];

			check_own(own);
			change_own(own, prng_next(&prng));
			check_own(own);
		}
		stats = cache_stats(cache);
	} while (stats.second_chances < 3 * INTERRUPTIONS);
	atomic_store(over, 1);
	for (unsigned i = 0; i < TEST_COUNT_OF(pids); i++) {
		child_expect(pids[i], 0);
	}
	printf("  %" PRIu64 " touches, %" PRIu64 " deletes, %" PRIu64
	       " copies\n",
	    stats.touches, stats.deletes, stats.second_chances);
	cache_finish(cache);
}

static void
get_till_over(void *over)
{
	_Atomic uint32_t *told = over;
	char buffer[8];

	while (atomic_load(told) == 0) {
		check_found(shmcache_get(
		    cache, "key", 3, buffer, sizeof(buffer), NULL, NULL));
	}
}

/* The toucher sleeps across the end of the entry's time, again and again. */
static void
touches_outlive_expiry(void)
{
	_Atomic uint32_t *over = shared_alloc(sizeof(*over));
	uint64_t in_time = 0, late = 0;
	pid_t reader;

	create_smallest(64 << 10);
	reader = child_start(get_till_over, over);
	interrupt_often(TICK_MOST_US);
	while (interruptions() < TOUCHED_SPANS) {
		int64_t left = 0;
		int result;

		/* It ends at the next tick, unless the second touch is first. */
		if (shmcache_touch(cache, "key", 3, 1) != 0) {
			CHECK_RESULT(
			    shmcache_set(cache, "key", 3, "v", 1, 1, 0), 0);
		}
		result = shmcache_touch(cache, "key", 3, LONG_MS);
		if (result == SHMCACHE_ENOENT) {
			late++;
			continue;
		}
		CHECK_RESULT(result, 0);
		CHECK_RESULT(shmcache_ttl(cache, "key", 3, &left), 0);
		CHECK(left > SHORT_MS);
		in_time++;
	}
	atomic_store(over, 1);
	child_expect(reader, 0);
	printf("  %" PRIu64 " touched in time, %" PRIu64 " too late\n", in_time,
	    late);
	cache_finish(cache);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(small_values_by_all_calls),
		CASE(large_values_looked_at_in_place),
		CASE(changes_outlive_evictions),
		CASE(touches_outlive_expiry),
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
	};

	return run_suite(argc, argv, &suite);
}
