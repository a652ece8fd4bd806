/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lasting_test.c - what never expires, where only what does may be evicted
 *
 * Workers set, replace and delete lasting entries of their own, and flood the
 * cache with others' that have a time to live; they are killed and stopped
 * anywhere.  What a worker was told is stored is there until it deletes it, with
 * the value that it has; of what it was at when it was killed either is right.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"

#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXTENT_BYTES (16u << 10)
#define CAPACITY     (2u << 20)
#define WORKERS      6
#define KEYS         60 /* of a worker */
#define VALUE_BYTES  3000
#define FLOOD_KEYS   2000

static uint64_t kills = 60;
static struct shmcache *cache;

/* A lasting entry of a worker: 0 is none. */
struct known {
	_Atomic uint32_t number; /* the value that is there */
	_Atomic uint32_t next; /* being stored, or deleted; else as `number` */
};

struct stage {
	struct known known[WORKERS][KEYS];
	_Atomic uint64_t stored, refused, busy, checked;
	_Atomic uint32_t over;
};

static struct stage *stage;

/* The bytes of a value, which its number decides. */
static size_t
make_value(uint32_t number, unsigned char value[VALUE_BYTES])
{
	struct prng prng;
	size_t bytes;

	prng_init(&prng, number, 0);
	bytes = 4 + (size_t)prng_below(
			&prng, number % 4 == 0 ? VALUE_BYTES - 4 : 400);
	memset(value, (int)(number % 251), bytes);
	memcpy(value, &number, sizeof(number));
	return bytes;
}

/* The number of what is there; 0: nothing. */
static uint32_t
number_of(const uint32_t key[2])
{
	unsigned char value[VALUE_BYTES], wanted[VALUE_BYTES];
	uint32_t number = 0;
	size_t bytes = 0;
	int result =
	    shmcache_get(cache, key, 8, value, sizeof(value), &bytes, NULL);

	if (result == SHMCACHE_ENOENT)
		return 0;
	CHECK_RESULT(result, 0);
	memcpy(&number, value, sizeof(number));
	CHECK_SAY(bytes == make_value(number, wanted) &&
		      memcmp(value, wanted, bytes) == 0,
	    "the value of %u is damaged", number);
	return number;
}

static void
check_known(uint32_t worker, uint32_t n)
{
	struct known *known = &stage->known[worker][n];
	uint32_t number = number_of((uint32_t[2]){ worker, n });

	CHECK_SAY(number == known->number,
	    "entry %u of worker %u is %u, not %u", n, worker, number,
	    known->number);
	stage->checked++;
}

/* Stores it, or is told that there is no room. */
static int
set(const void *key, size_t key_bytes, uint32_t number, int64_t ttl_ms)
{
	unsigned char value[VALUE_BYTES];
	int result = shmcache_set(
	    cache, key, key_bytes, value, make_value(number, value), ttl_ms, 0);

	CHECK_SAY(
	    result == 0 || result == SHMCACHE_EFULL || result == SHMCACHE_EBUSY,
	    "set: %s", shmcache_strerror(result));
	return result;
}

static void
store(uint32_t worker, uint32_t n, uint32_t number)
{
	struct known *known = &stage->known[worker][n];
	uint32_t key[2] = { worker, n };
	int result;

	known->next = number;
	if (number == 0) {
		result = shmcache_delete(cache, key, sizeof(key));
		CHECK(result == (known->number != 0 ? 0 : SHMCACHE_ENOENT));
	} else {
		result = set(key, sizeof(key), number, SHMCACHE_TTL_NONE);
		if (result != 0) { /* what was there stays */
			stage->refused++;
			known->next = known->number;
			return;
		}
		stage->stored++;
	}
	known->number = number;
}

static void
flood(struct prng *prng)
{
	uint32_t key[3] = { WORKERS, (uint32_t)prng_below(prng, FLOOD_KEYS),
		0 };
	int result =
	    set(key, sizeof(key), 1 + (uint32_t)prng_below(prng, 1000), 60000);

	stage->busy += result != 0;
}

/* What the worker before it was at when it was killed. */
static void
settle(uint32_t worker)
{
	for (uint32_t n = 0; n < KEYS; n++) {
		struct known *known = &stage->known[worker][n];
		uint32_t number = number_of((uint32_t[2]){ worker, n });

		CHECK_SAY(number == known->number || number == known->next,
		    "entry %u of worker %u is %u, neither %u nor %u", n, worker,
		    number, known->number, known->next);
		known->number = number;
		known->next = number;
	}
}

static void
worker_main(void *argument)
{
	uint32_t worker = *(const uint32_t *)argument;
	struct prng prng;

	prng_init(&prng, run_seed(), (uint64_t)getpid());
	settle(worker);
	while (stage->over == 0) {
		uint32_t n = (uint32_t)prng_below(&prng, KEYS);

		switch (prng_below(&prng, 8)) {
		case 0:
			store(worker, n, 0);
			break;
		case 1:
		case 2:
			store(worker, n,
			    1 + (uint32_t)prng_below(&prng, 1000000));
			break;
		case 3:
			check_known(worker, n);
			break;
		default:
			flood(&prng);
		}
	}
	for (uint32_t n = 0; n < KEYS; n++)
		check_known(worker, n);
}

static void
disturb(pid_t pids[WORKERS], uint32_t numbers[WORKERS])
{
	struct prng prng;

	prng_init(&prng, run_seed(), 1);
	for (uint64_t i = 0; i < kills; i++) {
		unsigned victim = (unsigned)prng_below(&prng, WORKERS);
		unsigned other = (unsigned)prng_below(&prng, WORKERS);

		sleep_us((unsigned)prng_below(&prng, 20000));
		CHECK(child_stop(pids[other]));
		sleep_us((unsigned)prng_below(&prng, 20000));
		child_kill(pids[victim]);
		if (other != victim)
			CHECK_SYS(kill(pids[other], SIGCONT));
		pids[victim] = child_start(worker_main, &numbers[victim]);
	}
}

static void
lasting_entries_stay_whoever_is_killed(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	uint32_t numbers[WORKERS];
	pid_t pids[WORKERS];

	options.capacity_bytes = CAPACITY;
	options.extent_bytes = EXTENT_BYTES;
	options.expected_items = 4000;
	options.process_slots = 32;
	options.peer_slots = 64;
	options.volatile_only = 1;
	cache = cache_create("lasting", &options);
	stage = shared_alloc(sizeof(*stage));
	for (uint32_t i = 0; i < WORKERS; i++) {
		numbers[i] = i;
		pids[i] = child_start(worker_main, &numbers[i]);
	}
	disturb(pids, numbers);
	stage->over = 1;
	for (unsigned i = 0; i < WORKERS; i++)
		child_expect(pids[i], 0);
	printf("  %" PRIu64 " stored, %" PRIu64 " refused; %" PRIu64
	       " of others refused; %" PRIu64 " looks\n",
	    stage->stored, stage->refused, stage->busy, stage->checked);
	CHECK(stage->stored > 0 && stage->checked > 0);
	/* They are a quarter of the cache at the most: there is room for all. */
	CHECK(stage->refused * 1000 <= stage->stored);
	cache_finish(cache);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(lasting_entries_stay_whoever_is_killed),
	};
	static const struct test_option options[] = {
		{ "kills", &kills, "processes that are killed, and stopped" },
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.options = options,
		.option_count = TEST_COUNT_OF(options),
	};

	return run_suite(argc, argv, &suite);
}
