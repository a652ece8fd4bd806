/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * filter_test.c - no key is denied, while filters are swapped
 *
 * The source is a list in memory that all processes share: a counter of keys.
 * Adders make a key part of it, add it to the filter, and then say so.  Builders
 * build filters of the list as it is, one after the other and against each other,
 * and every few times are killed in the middle.  Checkers ask for keys that were
 * said to be there: none may be denied.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEYS     (TEST_TSAN ? 4000 : 20000)
#define CHECKERS 2
#define BUILDERS 2

static struct shmcache *cache;
static _Atomic uint64_t *listed; /* keys in the source */
static _Atomic uint64_t *said;   /* and, for sure, in the filter */
static _Atomic uint32_t *over;   /* the adder is done */
static _Atomic uint32_t *stop;   /* and no builder is killed any more */
static _Atomic uint64_t *published;
static _Atomic uint64_t *checked;

static void
adder_main(void *argument)
{
	(void)argument;
	for (uint64_t key = 0; key < KEYS; key++) {
		atomic_store(listed, key + 1);
		CHECK_RESULT(
		    shmcache_filter_add(cache, 0, &key, sizeof(key)), 0);
		atomic_store(said, key + 1);
		if (key % 64 == 0) {
			sleep_us(1000);
		}
	}
	atomic_store(over, 1);
}

static void
build_once(void)
{
	uint64_t build, end;

	CHECK_RESULT(shmcache_filter_begin(cache, &build), 0);
	end = atomic_load(listed);
	for (uint64_t key = 0; key < end; key++) {
		int result =
		    shmcache_filter_add(cache, build, &key, sizeof(key));

		if (result == SHMCACHE_ESTALE) {
			return;
		}
		CHECK_RESULT(result, 0);
	}
	if (shmcache_filter_publish(cache, build) == 0) {
		atomic_fetch_add(published, 1);
	}
}

static void
builder_main(void *argument)
{
	(void)argument;
	while (atomic_load(stop) == 0) {
		build_once();
		sleep_us(2000); /* lets the other one finish */
	}
}

static void
checker_main(void *argument)
{
	uint32_t salt;
	struct prng prng;
	uint64_t count = 0;

	memcpy(&salt, argument, sizeof(salt));
	prng_init(&prng, run_seed(), salt);
	while (atomic_load(over) == 0) {
		uint64_t end = atomic_load(said), key;

		if (end == 0) {
			continue;
		}
		key = prng_below(&prng, 4) == 0 ? end - 1
						: prng_below(&prng, end);
		CHECK_SAY(shmcache_filter_check(cache, &key, sizeof(key)) == 1,
		    "key %" PRIu64 " of %" PRIu64 " was denied", key, end);
		count++;
	}
	atomic_fetch_add(checked, count);
}

static void
no_key_is_denied(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	pid_t adder, checkers[CHECKERS], builders[BUILDERS];
	struct prng prng;
	unsigned kills = 0;

	options.capacity_bytes = 4 << 20;
	options.filter_items = KEYS;
	cache = cache_create("filter", &options);
	listed = shared_alloc(sizeof(*listed));
	said = shared_alloc(sizeof(*said));
	over = shared_alloc(sizeof(*over));
	stop = shared_alloc(sizeof(*stop));
	published = shared_alloc(sizeof(*published));
	checked = shared_alloc(sizeof(*checked));
	prng_init(&prng, run_seed(), 99);
	for (uint32_t i = 0; i < CHECKERS; i++) {
		checkers[i] = child_start(checker_main, &i);
	}
	adder = child_start(adder_main, NULL);
	for (uint32_t i = 0; i < BUILDERS; i++) {
		builders[i] = child_start(builder_main, NULL);
	}
	while (atomic_load(over) == 0) {
		sleep_us(1000 + (unsigned)prng_below(&prng, 20000));
		child_kill(builders[0]);
		builders[0] = child_start(builder_main, NULL);
		kills++;
	}
	atomic_store(stop, 1);
	child_expect(adder, 0);
	for (uint32_t i = 0; i < CHECKERS; i++) {
		child_expect(checkers[i], 0);
	}
	for (uint32_t i = 0; i < BUILDERS; i++) {
		child_expect(builders[i], 0);
	}
	printf("  %" PRIu64 " checks, %" PRIu64
	       " filters published, %u builders killed\n",
	    atomic_load(checked), atomic_load(published), kills);
	CHECK(atomic_load(published) > 0 && atomic_load(checked) > 0);
	CHECK_RESULT(shmcache_close(cache), 0);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(no_key_is_denied),
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
	};

	return run_suite(argc, argv, &suite);
}
