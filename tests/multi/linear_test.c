/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * linear_test.c - a key is one register: no old value after a newer one
 *
 * Each key has one writer, who numbers its operations, says in shared memory
 * which it is about to do and which it has done, and deletes at every eighth.
 * A reader looks at both around its get: the value must be one that can have
 * been there in between, and a miss needs a delete in between.  The cache is so
 * large that nothing is ever evicted.
 *
 * Then all processes set and delete the same key at the same time, so that
 * inserts of one key meet.
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

#define CAPACITY (48 << 20) /* more than is ever written */
#define KEYS     4
#define WRITERS  2
#define READERS  3
#define OPS      (TEST_TSAN ? 10000 : 25000)
#define RIVALS   6
#define ROUNDS   (TEST_TSAN ? 5000 : 25000)

struct log {
	_Atomic uint64_t begun;
	_Atomic uint64_t done;
	char pad[48];
};

static struct shmcache *cache;
static struct log *logs; /* of the keys */
static _Atomic uint32_t *over;
static _Atomic uint64_t *reads;

static void
begin(void)
{
	cache = cache_create_plain("linear", CAPACITY);
	logs = shared_alloc(KEYS * sizeof(*logs));
	over = shared_alloc(sizeof(*over));
	reads = shared_alloc(sizeof(*reads));
}

static void
end(void)
{
	CHECK(cache_stats(cache).written_bytes < CAPACITY / 8 * 7);
	CHECK(cache_stats(cache).evictions == 0);
	CHECK(cache_stats(cache).index_evictions == 0);
	cache_finish(cache);
}

/* Operation 0 is the absence at the start. */
static bool
is_delete(uint64_t number)
{
	return number % 8 == 0;
}

static void
do_operation(uint64_t key, uint64_t number)
{
	unsigned char name[KEY_ROOM], value[600];
	size_t name_bytes = key_make(name, key);
	struct value_id id = { .key = key, .sequence = number };
	uint32_t flags;

	if (is_delete(number)) {
		CHECK_RESULT(shmcache_delete(cache, name, name_bytes), 0);
		return;
	}
	id.bytes = VALUE_HEADER_BYTES + (uint32_t)(prng_mix(number) % 500);
	flags = value_make(value, &id);
	CHECK_RESULT(
	    shmcache_set(cache, name, name_bytes, value, id.bytes, 0, flags),
	    0);
}

static void
writer_main(void *argument)
{
	uint32_t number;

	memcpy(&number, argument, sizeof(number));
	for (uint64_t i = 1; i <= OPS; i++) {
		for (uint64_t key = number; key < KEYS; key += WRITERS) {
			atomic_store(&logs[key].begun, i);
			do_operation(key, i);
			atomic_store(&logs[key].done, i);
		}
	}
}

static void
check_read(uint64_t key)
{
	unsigned char name[KEY_ROOM], value[600];
	size_t name_bytes = key_make(name, key), bytes;
	uint64_t from, to;
	struct value_id id;
	const char *wrong;
	uint32_t flags;
	int result;

	from = atomic_load(&logs[key].done);
	result = shmcache_get(
	    cache, name, name_bytes, value, sizeof(value), &bytes, &flags);
	to = atomic_load(&logs[key].begun);
	if (result == SHMCACHE_ENOENT) {
		CHECK_SAY(is_delete(from) || to / 8 > from / 8,
		    "key %" PRIu64 " was missed between operations %" PRIu64
		    " and %" PRIu64,
		    key, from, to);
		return;
	}
	CHECK_RESULT(result, 0);
	wrong = value_check(value, bytes, flags, key, &id);
	CHECK_SAY(wrong == NULL, "%s", wrong);
	CHECK_SAY(id.sequence >= from && id.sequence <= to,
	    "key %" PRIu64 ": value %" PRIu64 " between operations %" PRIu64
	    " and %" PRIu64,
	    key, id.sequence, from, to);
}

static void
reader_main(void *argument)
{
	uint32_t number;
	struct prng prng;
	uint64_t done = 0;

	memcpy(&number, argument, sizeof(number));
	prng_init(&prng, run_seed(), number);
	for (; atomic_load(over) == 0 || done < 1000; done++) {
		check_read(prng_below(&prng, KEYS));
	}
	atomic_fetch_add(reads, done);
}

static void
one_writer_for_each_key(void)
{
	pid_t writers[WRITERS], readers[READERS];

	begin();
	for (uint32_t i = 0; i < READERS; i++) {
		readers[i] = child_start(reader_main, &i);
	}
	for (uint32_t i = 0; i < WRITERS; i++) {
		writers[i] = child_start(writer_main, &i);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		child_expect(writers[i], 0);
	}
	atomic_store(over, 1);
	for (unsigned i = 0; i < READERS; i++) {
		child_expect(readers[i], 0);
	}
	printf("  %d operations on each of %d keys, %" PRIu64 " reads\n", OPS,
	    KEYS, *reads);
	end();
}

/* Values of one rival never go backwards for any other. */
static void
rival_main(void *argument)
{
	uint64_t seen[RIVALS] = { 0 };
	unsigned char value[100];
	struct value_id id = { .key = 1 }, got;
	struct prng prng;
	uint32_t flags;

	memcpy(&id.writer, argument, sizeof(id.writer));
	prng_init(&prng, run_seed(), 1000 + id.writer);
	for (uint64_t i = 1; i <= ROUNDS; i++) {
		size_t bytes;
		int result;

		if (prng_below(&prng, 2) == 0) {
			result = shmcache_delete(cache, "key", 3);
			CHECK(result == 0 || result == SHMCACHE_ENOENT);
		}
		id.sequence = i;
		id.bytes = VALUE_HEADER_BYTES + (uint32_t)(i % 60);
		flags = value_make(value, &id);
		CHECK_RESULT(
		    shmcache_set(cache, "key", 3, value, id.bytes, 0, flags),
		    0);
		result = shmcache_get(
		    cache, "key", 3, value, sizeof(value), &bytes, &flags);
		if (result == SHMCACHE_ENOENT) {
			continue;
		}
		CHECK_RESULT(result, 0);
		CHECK(value_check(value, bytes, flags, 1, &got) == NULL);
		CHECK_SAY(got.writer != id.writer || got.sequence == i,
		    "own value %" PRIu64 " after %" PRIu64, got.sequence, i);
		CHECK(got.writer < RIVALS);
		CHECK_SAY(got.sequence >= seen[got.writer],
		    "value %" PRIu64 " of rival %" PRIu32 " after %" PRIu64,
		    got.sequence, got.writer, seen[got.writer]);
		seen[got.writer] = got.sequence;
	}
}

static void
many_writers_of_one_key(void)
{
	struct shmcache_stats stats;
	pid_t pids[RIVALS];

	begin();
	for (uint32_t i = 0; i < RIVALS; i++) {
		pids[i] = child_start(rival_main, &i);
	}
	for (unsigned i = 0; i < RIVALS; i++) {
		child_expect(pids[i], 0);
	}
	stats = cache_stats(cache);
	printf("  %" PRIu64 " inserts, %" PRIu64 " replaces, %" PRIu64
	       " insert retries, %" PRIu64 " tentative words aborted\n",
	    stats.inserts, stats.replaces, stats.insert_retries,
	    stats.tentative_aborts);
	CHECK(stats.sets == (uint64_t)RIVALS * ROUNDS);
	CHECK(stats.items == stats.inserts - stats.deletes);
	CHECK(stats.items <= 1);
	CHECK_RESULT(shmcache_exists(cache, "key", 3), (int)stats.items);
	cache_set_text(cache, "key", "last");
	cache_check_text(cache, "key", "last");
	CHECK(cache_stats(cache).items == 1);
	CHECK_RESULT(shmcache_delete(cache, "key", 3), 0);
	CHECK_RESULT(shmcache_exists(cache, "key", 3), 0);
	CHECK(cache_stats(cache).items == 0);
	end();
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(one_writer_for_each_key),
		CASE(many_writers_of_one_key),
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
	};

	return run_suite(argc, argv, &suite);
}
