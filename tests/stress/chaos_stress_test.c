/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * chaos_stress_test.c - processes that are killed, stopped and started at
 * random while they use one small, full cache
 *
 * Workers with threads do random operations on one set of keys; their threads
 * come and go, some leave an item pinned.  The driver kills workers anywhere in
 * a call, stops and continues them, and forks new ones, half of which inherit
 * its handle; the others open and close their own.  Checked are
 *   - every byte of every value, also of one held in place for long,
 *   - that no set fails: there are more extents than all threads can pin,
 *   - a live verify, again and again,
 *   - in the end, all killed: nothing of them is left after one sweep, the
 *     strict verify finds nothing, and every extent can be filled again.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"
#include "tests/support/value.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#define KEYS         4000
#define PROCS_MAX    64
#define THREADS_MAX  16
#define PINS_OF_CALL 4
#define DRIVER       0 /* writer number; the workers' are larger */

static uint64_t seconds = 60, procs = 8, threads = 2, pause_us = 4000;

static struct shmcache *cache;

struct worker {
	struct shmcache *cache;
	struct prng prng;
	uint64_t limit;
	unsigned char *value;
	struct shmcache_item item;
	uint64_t item_key;
	bool held;
	uint32_t number;
	uint64_t sequence;
};

static void
check_bytes(const void *value, size_t bytes, uint32_t flags, uint64_t key)
{
	struct value_id id;
	const char *wrong = value_check(value, bytes, flags, key, &id);

	CHECK_SAY(wrong == NULL, "%s", wrong);
}

static void
check_found(int result, const char *call)
{
	CHECK_SAY(result == 0 || result == SHMCACHE_ENOENT, "%s: %s (%s)", call,
	    shmcache_strerror(result), shmcache_last_error());
}

static void
let_go(struct worker *worker)
{
	check_bytes(worker->item.value, worker->item.value_bytes,
	    worker->item.client_flags, worker->item_key);
	CHECK_RESULT(shmcache_unpin(worker->cache, &worker->item), 0);
	worker->held = false;
}

static void
op_get(struct worker *worker, uint64_t number, bool pinned)
{
	unsigned char key[KEY_ROOM];
	size_t key_bytes = key_make(key, number), bytes = 0;
	uint32_t flags = 0;
	int result;

	if (pinned) {
		if (worker->held) {
			let_go(worker);
		}
		result = shmcache_get_pinned(
		    worker->cache, key, key_bytes, &worker->item);
		check_found(result, "get_pinned");
		worker->held = result == 0;
		worker->item_key = number;
		return;
	}
	result = shmcache_get(worker->cache, key, key_bytes, worker->value,
	    worker->limit, &bytes, &flags);
	check_found(result, "get");
	if (result == 0) {
		check_bytes(worker->value, bytes, flags, number);
	}
}

/* A new value of the key, in worker->value. */
static struct value_id
make_new(
    struct worker *worker, uint64_t number, size_t key_bytes, uint32_t *flags)
{
	struct value_id id = {
		.key = number,
		.writer = worker->number,
		.sequence = ++worker->sequence,
	};

	id.bytes =
	    (uint32_t)prng_size(&worker->prng, worker->limit - key_bytes);
	*flags = value_make(worker->value, &id);
	return id;
}

static int64_t
some_ttl(struct worker *worker)
{
	return prng_below(&worker->prng, 4) == 0
		   ? (int64_t)prng_size(&worker->prng, 10000)
		   : SHMCACHE_TTL_NONE;
}

static void
op_set(struct worker *worker, uint64_t number)
{
	unsigned char key[KEY_ROOM];
	size_t key_bytes = key_make(key, number);
	uint32_t flags;
	struct value_id id = make_new(worker, number, key_bytes, &flags);

	CHECK_RESULT(shmcache_set(worker->cache, key, key_bytes, worker->value,
			 id.bytes, some_ttl(worker), flags),
	    0);
}

/* add, replace, cas */
static void
op_store_if(struct worker *worker, uint64_t number)
{
	unsigned char key[KEY_ROOM];
	size_t key_bytes = key_make(key, number);
	uint64_t version = 0, dice = prng_below(&worker->prng, 3);
	struct value_id id;
	uint32_t flags;
	int result;

	if (dice == 2) {
		result = shmcache_gets(worker->cache, key, key_bytes,
		    worker->value, worker->limit, NULL, NULL, &version);
		if (result == SHMCACHE_ENOENT) {
			return;
		}
		check_found(result, "gets");
	}
	id = make_new(worker, number, key_bytes, &flags);
	if (dice == 0) {
		result = shmcache_add(worker->cache, key, key_bytes,
		    worker->value, id.bytes, some_ttl(worker), flags);
	} else if (dice == 1) {
		result = shmcache_replace(worker->cache, key, key_bytes,
		    worker->value, id.bytes, some_ttl(worker), flags);
	} else {
		result = shmcache_cas(worker->cache, key, key_bytes,
		    worker->value, id.bytes, some_ttl(worker), flags, version);
	}
	CHECK_SAY(result == 0 || result == SHMCACHE_ENOENT ||
		      result == SHMCACHE_EPRESENT ||
		      result == SHMCACHE_ECHANGED,
	    "add, replace or cas: %s", shmcache_strerror(result));
}

/* On keys of their own, whose values follow from no number. */
static void
op_count(struct worker *worker, uint64_t number)
{
	const int64_t initial = 1;
	char key[40];
	size_t key_bytes =
	    (size_t)snprintf(key, sizeof(key), "number-%" PRIu64, number % 50);

	if (prng_below(&worker->prng, 2) == 0) {
		check_found(shmcache_incr(worker->cache, key, key_bytes, 3,
				&initial, some_ttl(worker), NULL),
		    "incr");
		return;
	}
	key[0] = 't';
	if (prng_below(&worker->prng, 8) == 0) {
		cache_set_text(worker->cache, key, "");
	} else {
		int result =
		    (number % 2 == 0 ? shmcache_append : shmcache_prepend)(
			worker->cache, key, key_bytes, "more", 4);

		CHECK_SAY(result == 0 || result == SHMCACHE_ENOENT ||
			      result == SHMCACHE_ETOOBIG,
		    "append: %s", shmcache_strerror(result));
	}
}

static void
op_get_and_touch(struct worker *worker, uint64_t number)
{
	unsigned char key[KEY_ROOM];
	size_t key_bytes = key_make(key, number), bytes = 0;
	uint32_t flags = 0;
	int result = shmcache_get_and_touch(worker->cache, key, key_bytes,
	    some_ttl(worker), worker->value, worker->limit, &bytes, &flags);

	check_found(result, "get_and_touch");
	if (result == 0) {
		check_bytes(worker->value, bytes, flags, number);
	}
}

#define MANY 5

static void
op_many(struct worker *worker)
{
	struct shmcache_get_request requests[MANY] = { 0 };
	static __thread unsigned char values[MANY][2048];
	unsigned char keys[MANY][KEY_ROOM];
	uint64_t numbers[MANY];

	for (unsigned i = 0; i < MANY; i++) {
		numbers[i] = prng_size(&worker->prng, KEYS);
		requests[i].key = keys[i];
		requests[i].key_bytes = key_make(keys[i], numbers[i]);
		requests[i].buffer = values[i];
		requests[i].buffer_bytes = sizeof(values[i]);
	}
	CHECK(shmcache_multi_get(worker->cache, requests, MANY) >= 0);
	for (unsigned i = 0; i < MANY; i++) {
		if (requests[i].result == 0) {
			check_bytes(values[i], requests[i].value_bytes,
			    requests[i].client_flags, numbers[i]);
		}
	}
}

static int
end_scan(void *context, const struct shmcache_entry *entry)
{
	(void)context;
	CHECK(entry->key_bytes > 0 && entry->value != NULL);
	return 0;
}

static void
op_scan(struct worker *worker)
{
	struct shmcache_scan_options options = SHMCACHE_SCAN_OPTIONS_INIT;
	uint64_t cursor = 0;

	options.values = 1;
	options.max_slots = 200;
	CHECK(shmcache_scan(worker->cache, &cursor, &options, end_scan, NULL) >=
	      0);
}

static void
op_other(struct worker *worker, uint64_t number)
{
	uint64_t dice = prng_below(&worker->prng, 2000);
	unsigned char key[KEY_ROOM];
	size_t key_bytes = key_make(key, number);

	if (dice == 0) {
		CHECK_RESULT(shmcache_flush(worker->cache), 0);
	} else if (dice == 1) {
		CHECK_RESULT(
		    shmcache_delete_prefix(worker->cache, "number-1", 8, NULL),
		    0);
	} else if (dice < 20) {
		CHECK_RESULT(shmcache_sweep(worker->cache, NULL), 0);
	} else if (dice < 40) {
		cache_stats(worker->cache);
	} else if (dice < 50) {
		cache_check_live(worker->cache);
	} else if (dice < 1000) {
		check_found(shmcache_touch(worker->cache, key, key_bytes,
				(int64_t)prng_size(&worker->prng, 100000)),
		    "touch");
	} else {
		check_found(
		    shmcache_delete(worker->cache, key, key_bytes), "delete");
	}
}

static void
do_operations(struct worker *worker, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t number = prng_size(&worker->prng, KEYS);
		uint64_t dice = prng_below(&worker->prng, 100);

		if (dice < 38) {
			op_get(worker, number, false);
		} else if (dice < 43) {
			op_get(worker, number, true);
		} else if (dice < 45) {
			op_get_and_touch(worker, number);
		} else if (dice < 47) {
			op_many(worker);
		} else if (dice < 48) {
			op_scan(worker);
		} else if (dice < 75) {
			op_set(worker, number);
		} else if (dice < 83) {
			op_store_if(worker, number);
		} else if (dice < 91) {
			op_count(worker, number);
		} else {
			op_other(worker, number);
		}
	}
}

static void
worker_init(struct worker *worker, struct shmcache *used, uint32_t number)
{
	memset(worker, 0, sizeof(*worker));
	worker->cache = used;
	worker->number = number;
	prng_init(&worker->prng, run_seed(), number);
	worker->limit = cache_stats(used).max_entry_bytes;
	worker->value = malloc(worker->limit);
	CHECK(worker->value != NULL);
}

/* Ends with its item pinned, or not. */
static void *
thread_main(void *argument)
{
	struct worker *worker = argument;

	do_operations(worker, prng_size(&worker->prng, 20000));
	return NULL;
}

/* Another handle, if no item is held through this one. */
static struct shmcache *
reattach(struct shmcache *used, struct worker *workers)
{
	struct shmcache *opened;

	if (used != cache) {
		int result = shmcache_close(used);

		if (result == SHMCACHE_EBUSY) {
			return used;
		}
		CHECK_RESULT(result, 0);
	}
	opened = cache_attach("chaos");
	for (uint64_t i = 0; i < threads; i++) {
		workers[i].cache = opened;
	}
	return opened;
}

/* Threads come and go for ever; now and then the process ends by itself. */
static void
process_main(void *argument)
{
	struct worker workers[THREADS_MAX];
	pthread_t ids[THREADS_MAX];
	struct shmcache *used = cache;
	uint32_t number;

	memcpy(&number, argument, sizeof(number));
	/* The driver must come to its turn. */
	CHECK_SYS(setpriority(PRIO_PROCESS, 0, 15));
	for (uint32_t i = 0; i < threads; i++) {
		worker_init(&workers[i], used, number * THREADS_MAX + i);
	}
	do {
		if (number % 2 == 0) {
			used = reattach(used, workers);
		}
		for (uint64_t i = 0; i < threads; i++) {
			CHECK(pthread_create(&ids[i], NULL, thread_main,
				  &workers[i]) == 0);
		}
		for (uint64_t i = 0; i < threads; i++) {
			CHECK(pthread_join(ids[i], NULL) == 0);
			if (workers[i].held &&
			    prng_below(&workers[i].prng, 2) == 0) {
				let_go(&workers[i]);
			}
		}
	} while (prng_below(&workers[0].prng, 32) != 0);
}

struct driver {
	struct worker worker;
	pid_t pids[PROCS_MAX];
	bool stopped[PROCS_MAX];
	uint32_t next_number; /* of the next process */
	uint64_t killed, stops, ended, lives;
};

static void
start(struct driver *driver, uint64_t i)
{
	driver->next_number++;
	driver->pids[i] = child_start(process_main, &driver->next_number);
	driver->stopped[i] = false;
}

/* Whoever has ended by itself must have ended well. */
static void
collect(struct driver *driver)
{
	for (uint64_t i = 0; i < procs; i++) {
		int status;

		if (waitpid(driver->pids[i], &status, WNOHANG) !=
		    driver->pids[i]) {
			continue;
		}
		CHECK_SAY(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		    "worker %d: wait status %x", (int)driver->pids[i],
		    (unsigned)status);
		driver->ended++;
		start(driver, i);
	}
}

/* One that ended before it was killed must have ended well, too. */
static void
kill_worker(pid_t pid)
{
	int code;

	CHECK_SYS(kill(pid, SIGKILL));
	code = child_wait(pid);
	CHECK_SAY(code == 0 || code == 128 + SIGKILL,
	    "worker %d ended with code %d", (int)pid, code);
}

static void
act(struct driver *driver)
{
	struct prng *prng = &driver->worker.prng;
	uint64_t i = prng_below(prng, procs);
	uint64_t dice = prng_below(prng, 100);

	if (dice < 30) {
		kill_worker(driver->pids[i]);
		driver->killed++;
		start(driver, i);
	} else if (dice < 55 && !driver->stopped[i]) {
		CHECK_SYS(kill(driver->pids[i], SIGSTOP));
		driver->stopped[i] = true;
		driver->stops++;
	} else if (dice < 80 && driver->stopped[i]) {
		CHECK_SYS(kill(driver->pids[i], SIGCONT));
		driver->stopped[i] = false;
	} else if (dice < 84) {
		for (i = 0; i < procs; i++) {
			CHECK_SYS(kill(driver->pids[i], SIGSTOP));
			driver->stopped[i] = true;
		}
		driver->stops += procs;
	} else if (dice < 90) {
		for (i = 0; i < procs; i++) {
			CHECK_SYS(kill(driver->pids[i], SIGCONT));
			driver->stopped[i] = false;
		}
	} else if (dice < 94) {
		cache_check_live(cache);
		driver->lives++;
	}
	/* A kill() of one that has just ended is not an error: it is still
	   there until collect() reaps it. */
}

static void
drive(struct driver *driver)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + seconds * 1000000000u;

	while (clock_ns(CLOCK_MONOTONIC) < end) {
		act(driver);
		do_operations(&driver->worker, 50);
		sleep_us((unsigned)prng_below(&driver->worker.prng, pause_us));
		collect(driver);
	}
	if (driver->worker.held) {
		let_go(&driver->worker);
	}
	for (uint64_t i = 0; i < procs; i++) {
		kill_worker(driver->pids[i]);
	}
}

/* All is as if the workers had never been. */
static void
check_afterwards(void)
{
	struct shmcache_stats before, after;

	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	before = cache_stats(cache);
	CHECK_SAY(
	    before.peers == 1, "%" PRIu64 " peers are left", before.peers);
	CHECK(before.processes == 1);
	CHECK(before.extents_pinned == 0);
	cache_check_sound(cache);
	cache_churn(cache, 1, 4 * before.arena_bytes);
	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	after = cache_stats(cache);
	CHECK_SAY(
	    after.extents_recycled - before.extents_recycled >= after.extents,
	    "only %" PRIu64 " of %" PRIu64 " extents were used again",
	    after.extents_recycled - before.extents_recycled, after.extents);
	CHECK(after.extents_limbo == 0 && after.extents_evicting == 0);
	CHECK(
	    after.extents_free + after.extents_active + after.extents_sealed ==
	    after.extents);
	cache_finish(cache);
}

static void
chaos(void)
{
	struct driver *driver = calloc(1, sizeof(*driver));
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct shmcache_stats stats;
	struct prng prng;
	uint64_t pins;

	CHECK(driver != NULL);
	CHECK_SAY(pause_us >= 1, "--pause must be 1 or more");
	CHECK_SAY(procs >= 1 && procs <= PROCS_MAX && threads >= 1 &&
		      threads <= THREADS_MAX,
	    "--procs 1 to %d, --threads 1 to %d", PROCS_MAX, THREADS_MAX);
	/* Twice what all can pin at once, their held items included. */
	pins = (procs * threads + 1) * (PINS_OF_CALL + 1);
	prng_init(&prng, run_seed(), 1000000);
	options.extent_bytes = UINT64_C(4096) << prng_below(&prng, 5);
	options.expected_items = KEYS / 8 << prng_below(&prng, 5);
	options.capacity_bytes = (2 * pins + 32) * options.extent_bytes +
				 16 * options.expected_items + (1 << 20);
	cache = cache_create("chaos", &options);
	stats = cache_stats(cache);
	CHECK(stats.extents > pins);
	cache_churn(cache, 2, stats.arena_bytes);
	worker_init(&driver->worker, cache, DRIVER);
	for (uint64_t i = 0; i < procs; i++) {
		start(driver, i);
	}
	drive(driver);
	stats = cache_stats(cache);
	printf("  %" PRIu64 " killed, %" PRIu64 " stopped, %" PRIu64
	       " ended, %" PRIu64 " live verifies\n",
	    driver->killed, driver->stops, driver->ended, driver->lives);
	printf("  %" PRIu64 " extents of %" PRIu64 ", %" PRIu64
	       " hits, %" PRIu64 " misses, %" PRIu64 " sets, %" PRIu64
	       " evictions, %" PRIu64 " for want of a slot, %" PRIu64
	       " aborts\n",
	    stats.extents, stats.extent_bytes, stats.get_hits, stats.get_misses,
	    stats.sets, stats.evictions, stats.index_evictions,
	    stats.tentative_aborts);
	CHECK(stats.set_failures == 0);
	check_afterwards();
	free(driver->worker.value);
	free(driver);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = { CASE(chaos) };
	static const struct test_option options[] = {
		{ "seconds", &seconds, "how long" },
		{ "procs", &procs, "processes" },
		{ "threads", &threads, "threads of each process" },
		{ "pause", &pause_us,
		    "microseconds between two acts of the driver, at most" },
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.options = options,
		.option_count = TEST_COUNT_OF(options),
		.limit_seconds = 24 * 3600,
	};

	return run_suite(argc, argv, &suite);
}
