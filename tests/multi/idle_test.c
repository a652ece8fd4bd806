/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * idle_test.c - hundreds of idle processes cost a cache nothing
 *
 * Four workers look up a Zipf-distributed set of keys and set what they miss,
 * in a cache that holds a part of them; then again beside 500 processes that
 * have done one get each and wait.  Every set must succeed, and the hit ratios
 * must be within one percentage point.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"
#include "tests/support/value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CAPACITY  (TEST_TSAN || TEST_ASAN ? 8 << 20 : 64 << 20)
#define WORKERS   4
#define IDLERS    (TEST_TSAN || TEST_ASAN ? 60 : 500)
#define OPS       (TEST_TSAN || TEST_ASAN ? 20000 : 150000) /* of a worker */
#define KEYS      300000
#define SKEW      0.9
#define TOLERATED 0.01

static double *zipf; /* [i]: share of keys 0 to i */
static struct shmcache *cache;
static _Atomic uint32_t *stage;
static _Atomic uint64_t *hits;
static int pipe_ends[2]; /* idlers read; the end of file ends them */

static void
make_zipf(void)
{
	double sum = 0;

	zipf = calloc(KEYS, sizeof(*zipf));
	CHECK(zipf != NULL);
	for (unsigned i = 0; i < KEYS; i++) {
		sum += pow(i + 1, -SKEW);
		zipf[i] = sum;
	}
	for (unsigned i = 0; i < KEYS; i++) {
		zipf[i] /= sum;
	}
}

static uint64_t
zipf_key(struct prng *prng)
{
	double wanted = prng_unit(prng);
	unsigned low = 0, high = KEYS - 1;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (zipf[middle] < wanted) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

static void
worker_main(void *number)
{
	unsigned char key[KEY_ROOM], value[2048];
	struct prng prng;
	uint32_t salt, flags;
	uint64_t found = 0;

	memcpy(&salt, number, sizeof(salt));
	prng_init(&prng, run_seed(), salt);
	for (unsigned i = 0; i < OPS; i++) {
		struct value_id id = { .key = zipf_key(&prng) }, got;
		size_t key_bytes = key_make(key, id.key), bytes;
		int result = shmcache_get(cache, key, key_bytes, value,
		    sizeof(value), &bytes, &flags);

		if (result == 0) {
			const char *wrong =
			    value_check(value, bytes, flags, id.key, &got);

			CHECK_SAY(wrong == NULL, "%s", wrong);
			found++;
			continue;
		}
		CHECK_RESULT(result, SHMCACHE_ENOENT);
		id.bytes = 100 + (uint32_t)(prng_mix(id.key) % 1500);
		flags = value_make(value, &id);
		CHECK_RESULT(shmcache_set(cache, key, key_bytes, value,
				 id.bytes, 0, flags),
		    0);
	}
	atomic_fetch_add(hits, found);
}

static void
idler_main(void *unused)
{
	char buffer[1];

	(void)unused;
	CHECK_SYS(close(pipe_ends[1]));
	CHECK_RESULT(shmcache_get(cache, "none", 4, buffer, 1, NULL, NULL),
	    SHMCACHE_ENOENT);
	atomic_fetch_add(stage, 1);
	CHECK(read(pipe_ends[0], buffer, 1) == 0);
	CHECK_RESULT(shmcache_get(cache, "none", 4, buffer, 1, NULL, NULL),
	    SHMCACHE_ENOENT);
}

static double
hit_ratio(unsigned idlers)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	pid_t pids[WORKERS], idle_pids[IDLERS + 1];
	struct shmcache_stats stats;

	options.capacity_bytes = CAPACITY;
	options.process_slots = IDLERS + WORKERS + 1;
	cache = cache_create(idlers == 0 ? "few" : "many", &options);
	atomic_store(hits, 0);
	atomic_store(stage, 0);
	CHECK_SYS(pipe(pipe_ends));
	for (unsigned i = 0; i < idlers; i++) {
		idle_pids[i] = child_start(idler_main, NULL);
	}
	await_at_least(stage, idlers);
	stats = cache_stats(cache);
	CHECK(stats.peers == idlers);
	CHECK(stats.processes == idlers + 1);
	for (uint32_t i = 0; i < WORKERS; i++) {
		pids[i] = child_start(worker_main, &i);
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		child_expect(pids[i], 0);
	}
	stats = cache_stats(cache);
	CHECK(stats.evictions > 0 && stats.set_failures == 0);
	CHECK_SYS(close(pipe_ends[1]));
	for (unsigned i = 0; i < idlers; i++) {
		child_expect(idle_pids[i], 0);
	}
	CHECK_SYS(close(pipe_ends[0]));
	cache_check_sound(cache);
	CHECK(cache_stats(cache).peers == 1);
	CHECK_RESULT(shmcache_close(cache), 0);
	CHECK_RESULT(
	    shmcache_remove(test_name(idlers == 0 ? "few" : "many")), 0);
	return (double)*hits / ((double)OPS * WORKERS);
}

static void
idle_processes_cost_nothing(void)
{
	double few, many;

	make_zipf();
	stage = shared_alloc(sizeof(*stage));
	hits = shared_alloc(sizeof(*hits));
	few = hit_ratio(0);
	many = hit_ratio(IDLERS);
	printf("  hit ratio %.4f, beside %d idle processes %.4f\n", few, IDLERS,
	    many);
	CHECK(few > 0.1);
	CHECK_SAY(fabs(few - many) < TOLERATED,
	    "hit ratio %.4f, beside %d "
	    "idle processes %.4f",
	    few, IDLERS, many);
	free(zipf);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(idle_processes_cost_nothing),
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
	};

	return run_suite(argc, argv, &suite);
}
