/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * values_load.c - see values_load.h
 *
 * Half of the processes inherit the handle through fork(), the others open the
 * cache themselves.
 */
#include "tests/support/values_load.h"

#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"
#include "tests/support/value.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELD_MAX      3
#define HOT_KEYS      16
#define WORKERS_MAX   1024
#define LIVE_OPS_MASK 0x7fff /* a live verify each 32,768 operations */

static struct values_load load;

struct held {
	struct shmcache_item item;
	struct value_id id;
	uint64_t until; /* number of the operation that unpins it */
};

struct worker {
	struct shmcache *cache;
	struct prng prng;
	uint32_t number; /* also the writer number of its values */
	uint64_t sequence;
	uint64_t ops_done;
	uint64_t value_limit;
	uint32_t *seen; /* [key][writer]: highest sequence number seen */
	unsigned char *buffer;
	struct held held[HELD_MAX];
	unsigned held_count;
	unsigned char key[KEY_ROOM];
	size_t key_bytes;
	uint64_t key_number;
};

struct process {
	struct shmcache *inherited; /* NULL: open it */
	uint32_t number;
};

static void
choose_key(struct worker *worker)
{
	uint64_t count = load.keys;

	if (count > HOT_KEYS && prng_below(&worker->prng, 2) == 0) {
		count = HOT_KEYS;
	}
	worker->key_number = prng_below(&worker->prng, count);
	worker->key_bytes = key_make(worker->key, worker->key_number);
}

static struct value_id
check_value(struct worker *worker, const void *value, size_t bytes,
    uint32_t flags, uint64_t key)
{
	const char *wrong;
	struct value_id id;
	uint32_t *seen;

	wrong = value_check(value, bytes, flags, key, &id);
	CHECK_SAY(wrong == NULL, "%s", wrong);
	if (bytes < VALUE_HEADER_BYTES) {
		return id;
	}
	CHECK_SAY(id.writer < load.procs * load.threads, "no writer %" PRIu32,
	    id.writer);
	seen = &worker->seen[key * load.procs * load.threads + id.writer];
	CHECK_SAY(id.sequence >= *seen,
	    "key %" PRIx64 " of writer %" PRIu32 ": value %" PRIu64
	    " after value %" PRIu32,
	    key, id.writer, id.sequence, *seen);
	*seen = (uint32_t)id.sequence;
	return id;
}

static void
check_miss_or_hit(int result, const char *call)
{
	CHECK_SAY(result == 0 || result == SHMCACHE_ENOENT, "%s: %s (%s)", call,
	    shmcache_strerror(result), shmcache_last_error());
}

static void
op_get(struct worker *worker, bool peek)
{
	size_t bytes = 0;
	uint32_t flags = 0;
	int result;

	result = (peek ? shmcache_peek : shmcache_get)(worker->cache,
	    worker->key, worker->key_bytes, worker->buffer, worker->value_limit,
	    &bytes, &flags);
	check_miss_or_hit(result, peek ? "peek" : "get");
	if (result == 0) {
		check_value(
		    worker, worker->buffer, bytes, flags, worker->key_number);
	}
}

static void
unpin_oldest(struct worker *worker)
{
	struct held *held = &worker->held[0];
	const struct value_id *id = &held->id;
	struct value_id again;
	const char *wrong;

	wrong = value_check(held->item.value, held->item.value_bytes,
	    held->item.client_flags, id->key, &again);
	CHECK_SAY(wrong == NULL, "a held value changed: %s", wrong);
	CHECK_SAY(again.sequence == id->sequence && again.writer == id->writer,
	    "a held value of key %" PRIx64 " was replaced by another", id->key);
	CHECK_RESULT(shmcache_unpin(worker->cache, &held->item), 0);
	worker->held_count--;
	memmove(held, held + 1, worker->held_count * sizeof(*held));
}

static void
op_pin(struct worker *worker)
{
	struct held *held;
	int result;

	if (worker->held_count == HELD_MAX) {
		unpin_oldest(worker);
	}
	held = &worker->held[worker->held_count];
	result = shmcache_get_pinned(
	    worker->cache, worker->key, worker->key_bytes, &held->item);
	check_miss_or_hit(result, "get_pinned");
	if (result != 0) {
		return;
	}
	held->id = check_value(worker, held->item.value, held->item.value_bytes,
	    held->item.client_flags, worker->key_number);
	held->until = worker->ops_done + prng_size(&worker->prng, 1000);
	worker->held_count++;
}

static void
op_set(struct worker *worker)
{
	struct value_id id = {
		.key = worker->key_number,
		.writer = worker->number,
		.sequence = ++worker->sequence,
	};
	uint32_t flags;

	id.bytes = (uint32_t)prng_size(
	    &worker->prng, worker->value_limit - worker->key_bytes);
	flags = value_make(worker->buffer, &id);
	CHECK_RESULT(shmcache_set(worker->cache, worker->key, worker->key_bytes,
			 worker->buffer, id.bytes, 0, flags),
	    0);
}

static void
op_rare(struct worker *worker)
{
	uint64_t number = prng_below(&worker->prng, 16);
	int result;

	if (number == 0) {
		CHECK_RESULT(shmcache_sweep(worker->cache, NULL), 0);
	} else if (number == 1) {
		cache_stats(worker->cache);
	} else if (number < 6) {
		result = shmcache_touch(worker->cache, worker->key,
		    worker->key_bytes, SHMCACHE_TTL_NONE);
		check_miss_or_hit(result, "touch");
	} else {
		result = shmcache_exists(
		    worker->cache, worker->key, worker->key_bytes);
		CHECK_SAY(result == 0 || result == 1, "exists: %s",
		    shmcache_strerror(result));
	}
}

static void
op_any(struct worker *worker)
{
	uint64_t number = prng_below(&worker->prng, 1000);

	choose_key(worker);
	if (number < 500) {
		op_get(worker, false);
	} else if (number < 550) {
		op_get(worker, true);
	} else if (number < 680) {
		op_pin(worker);
	} else if (number < 960) {
		op_set(worker);
	} else if (number < 995) {
		check_miss_or_hit(shmcache_delete(worker->cache, worker->key,
				      worker->key_bytes),
		    "delete");
	} else {
		op_rare(worker);
	}
}

static void *
thread_main(void *argument)
{
	struct worker *worker = argument;
	uint64_t writers = load.procs * load.threads;
	uint64_t ops = load.ops / writers;

	worker->value_limit = cache_stats(worker->cache).max_entry_bytes;
	worker->seen = calloc(load.keys * writers, sizeof(*worker->seen));
	worker->buffer = malloc(worker->value_limit);
	CHECK(worker->seen != NULL && worker->buffer != NULL);
	prng_init(&worker->prng, run_seed(), worker->number);
	for (; worker->ops_done < ops; worker->ops_done++) {
		while (worker->held_count != 0 &&
		       worker->held[0].until <= worker->ops_done) {
			unpin_oldest(worker);
		}
		op_any(worker);
		if (worker->number == 0 &&
		    (worker->ops_done & LIVE_OPS_MASK) == LIVE_OPS_MASK) {
			cache_check_live(worker->cache);
		}
	}
	while (worker->held_count != 0) {
		unpin_oldest(worker);
	}
	free(worker->seen);
	free(worker->buffer);
	return NULL;
}

static void
process_main(void *argument)
{
	const struct process *process = argument;
	struct shmcache *cache = process->inherited;
	struct worker *workers = calloc(load.threads, sizeof(*workers));
	pthread_t *threads = calloc(load.threads, sizeof(*threads));

	CHECK(workers != NULL && threads != NULL);
	if (cache == NULL) {
		cache = cache_attach("values");
	}
	for (uint64_t i = 0; i < load.threads; i++) {
		workers[i].cache = cache;
		workers[i].number =
		    (uint32_t)(process->number * load.threads + i);
		CHECK(pthread_create(
			  &threads[i], NULL, thread_main, &workers[i]) == 0);
	}
	for (uint64_t i = 0; i < load.threads; i++) {
		CHECK(pthread_join(threads[i], NULL) == 0);
	}
	CHECK_RESULT(shmcache_close(cache), 0);
	free(workers);
	free(threads);
}

static void
run_processes(struct shmcache *cache)
{
	pid_t *pids = calloc(load.procs, sizeof(*pids));

	CHECK(pids != NULL);
	for (uint32_t i = 0; i < load.procs; i++) {
		struct process process = { i % 2 ? cache : NULL, i };

		pids[i] = child_start(process_main, &process);
	}
	for (uint64_t i = 0; i < load.procs; i++) {
		child_expect(pids[i], 0);
	}
	free(pids);
}

static void
values_stay_whole(void)
{
	struct shmcache *cache;
	struct shmcache_stats stats;

	CHECK_SAY(load.procs >= 1 && load.threads >= 1 &&
		      load.procs * load.threads <= WORKERS_MAX,
	    "--procs times --threads must be 1 to %d", WORKERS_MAX);
	CHECK_SAY(load.keys >= 1 && load.ops < UINT32_MAX,
	    "--keys must be 1 or more, --ops below 2^32");
	cache = cache_create_plain("values", load.capacity_bytes);
	if (load.procs == 1) {
		struct process process = { cache, 0 };

		process_main(&process);
		cache = cache_attach("values");
	} else {
		run_processes(cache);
	}
	stats = cache_stats(cache);
	printf("  %" PRIu64 " hits, %" PRIu64 " misses, %" PRIu64
	       " sets, %" PRIu64 " evictions, %" PRIu64 " insert retries\n",
	    stats.get_hits, stats.get_misses, stats.sets, stats.evictions,
	    stats.insert_retries);
	CHECK(stats.get_hits > 0 && stats.sets > 0);
	CHECK(stats.extents_pinned == 0);
	cache_check_sound(cache);
	CHECK_SAY(cache_stats(cache).peers <= 1, "%" PRIu64 " peers are left",
	    cache_stats(cache).peers);
	CHECK_RESULT(shmcache_close(cache), 0);
}

int
values_load_main(int argc, char **argv, const struct values_load *defaults)
{
	static const struct test_case cases[] = {
		CASE(values_stay_whole),
	};
	static const struct test_option options[] = {
		{ "procs", &load.procs, "processes" },
		{ "threads", &load.threads, "threads of each process" },
		{ "ops", &load.ops, "operations in all" },
		{ "keys", &load.keys, "different keys" },
		{ "capacity", &load.capacity_bytes, "size of the cache" },
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.options = options,
		.option_count = TEST_COUNT_OF(options),
		.limit_seconds = 24 * 3600,
	};

	load = *defaults;
	return run_suite(argc, argv, &suite);
}
