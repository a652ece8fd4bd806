/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * loads_threads_test.c - threads of one process that load, watch, tag, invalidate,
 * flush, lock, and swap filters, all at once; for ThreadSanitizer
 *
 * The source is a number for each key, which grows.  Who changes it invalidates
 * after that; what a call returns that begins then is no older.  Keys of even
 * number are loaded, and deleted too; those of odd number are set with a snapshot,
 * which a delete would not make older.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 5u
#define KEYS    12u
#define LOCKS   3u

static uint64_t ops = TEST_TSAN ? 6000 : 60000; /* of each thread */
static struct shmcache *cache;

static struct {
	_Atomic uint64_t changed, invalidated;
} source[KEYS];

/* What the locks guard: no atomics, so that a race is seen. */
static uint64_t guarded[LOCKS], last_fence[LOCKS];
static _Atomic uint64_t locked[LOCKS];

struct worker {
	pthread_t thread;
	unsigned number;
	struct prng random;
	_Atomic uint64_t watches; /* begun, and not told */
};

/* A value: what it is of, and which change of it. */
struct reading {
	uint64_t key;
	uint64_t number;
};

static struct shmcache_tag
tag_of(const uint64_t *key)
{
	return (struct shmcache_tag){ .data = key, .bytes = sizeof(*key) };
}

static int
load(void *context, const void *key_data, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	struct worker *w = context;
	struct reading *r = malloc(sizeof(*r));

	CHECK(r != NULL && key_bytes == sizeof(r->key));
	memcpy(&r->key, key_data, key_bytes);
	r->number = source[r->key].changed;
	loaded->value = r;
	loaded->value_bytes = sizeof(*r);
	loaded->tags[0] = tag_of(&r->key);
	loaded->tags[1] = (struct shmcache_tag)SHMCACHE_TAG("all");
	loaded->tag_count = 2;
	switch (prng_below(&w->random, 20)) {
	case 0:
		sleep_us(100);
		return 0;
	case 1:
		return -EIO;
	case 2:
		return SHMCACHE_ENOENT;
	default:
		return 0;
	}
}

static void
check_reading(const void *value, size_t bytes, uint64_t key, uint64_t known)
{
	struct reading r;

	CHECK(bytes == sizeof(r));
	memcpy(&r, value, sizeof(r));
	CHECK_SAY(r.key == key && r.number >= known,
	    "key %" PRIu64 ": got %" PRIu64 " of key %" PRIu64
	    ", though %" PRIu64 " was invalidated before",
	    key, r.number, r.key, known);
}

static struct shmcache_load_options
some_options(struct worker *w)
{
	struct shmcache_load_options o = SHMCACHE_LOAD_OPTIONS_INIT;

	o.ttl_ms = prng_below(&w->random, 2) == 0 ? 2 : 0;
	o.stale_ms = (uint32_t)prng_below(&w->random, 3);
	o.stale_if_error_ms = (uint32_t)prng_below(&w->random, 3);
	o.negative_ttl_ms = (uint32_t)prng_below(&w->random, 2);
	o.error_ttl_ms = (uint32_t)prng_below(&w->random, 2);
	o.timeout_ms = 1 + (uint32_t)prng_below(&w->random, 20);
	o.lease_ms = 1 + (uint32_t)prng_below(&w->random, 20);
	o.beta = (double)prng_below(&w->random, 2);
	o.use_filter = (uint32_t)prng_below(&w->random, 2);
	return o;
}

static void
get_or_load(struct worker *w, uint64_t key)
{
	const struct shmcache_load_options o = some_options(w);
	uint64_t known = source[key].invalidated;
	struct shmcache_value v;
	int error =
	    shmcache_get_or_load(cache, &key, sizeof(key), load, w, &o, &v);

	CHECK_SAY(error == 0 || error == -EIO || error == SHMCACHE_ENOENT,
	    "get_or_load: %s", shmcache_strerror(error));
	if (error == 0) {
		check_reading(v.value, v.value_bytes, key, known);
		free(v.value);
	}
}

/* In pieces, as an event loop has it. */
static void
begin_and_end(struct worker *w, uint64_t key)
{
	const struct shmcache_load_options o = some_options(w);
	uint64_t known = source[key].invalidated;
	struct shmcache_loaded loaded = { .value = NULL };
	struct shmcache_token token;
	struct shmcache_value v;
	int error =
	    shmcache_begin_load(cache, &key, sizeof(key), &o, &v, &token);

	if (error != 0) {
		CHECK(error == SHMCACHE_ENOENT || error == -EIO);
		return;
	}
	if (v.value != NULL)
		check_reading(v.value, v.value_bytes, key, known);
	free(v.value);
	if (v.source == SHMCACHE_BUSY) {
		w->watches++;
		CHECK_RESULT(
		    shmcache_watch_load(cache, &key, sizeof(key), 50, w, NULL),
		    0);
	} else if (v.source == SHMCACHE_LEAD &&
		   prng_below(&w->random, 4) == 0) {
		CHECK_RESULT(shmcache_abandon(cache, &token), 0);
	} else if (v.source == SHMCACHE_LEAD) {
		int result = load(w, &key, sizeof(key), &loaded);

		error = shmcache_fill(
		    cache, &key, sizeof(key), &token, result, &loaded, &o);
		CHECK(error == 0 || error == SHMCACHE_ESTALE);
		free(loaded.value);
	}
}

static void
set_with_snapshot(uint64_t key)
{
	struct shmcache_set_options o = SHMCACHE_SET_OPTIONS_INIT;
	const struct shmcache_tag tags[] = { tag_of(&key),
		SHMCACHE_TAG("all") };
	struct shmcache_snapshot snapshot;
	struct reading r = { .key = key };
	int error;

	CHECK_RESULT(shmcache_snapshot(cache, &snapshot), 0);
	r.number = source[key].changed;
	o.tags = tags;
	o.tag_count = 2;
	o.snapshot = &snapshot;
	error = shmcache_set_with(cache, &key, sizeof(key), &r, sizeof(r), &o);
	CHECK(error == 0 || error == SHMCACHE_ESTALE);
}

static void
get(uint64_t key)
{
	uint64_t known = source[key].invalidated;
	struct reading r;
	size_t bytes;
	int error =
	    shmcache_get(cache, &key, sizeof(key), &r, sizeof(r), &bytes, NULL);

	CHECK(error == 0 || error == SHMCACHE_ENOENT);
	if (error == 0)
		check_reading(&r, bytes, key, known);
}

static void
change(struct worker *w, uint64_t key)
{
	uint64_t number = ++source[key].changed;
	uint64_t before = source[key].invalidated;
	int error = 0;

	switch (prng_below(&w->random, 4)) {
	case 0:
		error = shmcache_flush(cache);
		break;
	case 1:
		error = shmcache_invalidate_tag(cache, "all", 3);
		break;
	case 2:
		if (key % 2 == 0) {
			error = shmcache_delete(cache, &key, sizeof(key));
			error = error == SHMCACHE_ENOENT ? 0 : error;
			break;
		}
		/* fallthrough */
	default:
		error = shmcache_invalidate_tag(cache, &key, sizeof(key));
	}
	CHECK_RESULT(error, 0);
	while (
	    before < number && !atomic_compare_exchange_weak(
				   &source[key].invalidated, &before, number))
		;
}

static void
lock(struct worker *w)
{
	unsigned n = (unsigned)prng_below(&w->random, LOCKS);
	struct shmcache_lock l;
	int error = shmcache_lock(
	    cache, &n, sizeof(n), (uint32_t)prng_below(&w->random, 5), &l);

	CHECK(error == 0 || error == -ETIMEDOUT);
	if (error != 0)
		return;
	guarded[n]++;
	CHECK(l.fence > last_fence[n]);
	last_fence[n] = l.fence;
	locked[n]++;
	CHECK_RESULT(shmcache_unlock(cache, &l), 0);
}

/* All keys are in each of them, so none is ever denied. */
static void
swap_filter(struct worker *w)
{
	uint64_t build;
	int error;

	if (prng_below(&w->random, 8) == 0)
		CHECK_RESULT(shmcache_filter_drop(cache), 0);
	CHECK_RESULT(shmcache_filter_begin(cache, &build), 0);
	for (uint64_t key = 0; key < KEYS; key++) {
		error = shmcache_filter_add(cache, build, &key, sizeof(key));
		CHECK(error == 0 || error == SHMCACHE_ESTALE);
		if (error != 0)
			return;
	}
	error = shmcache_filter_publish(cache, build);
	CHECK(error == 0 || error == SHMCACHE_ESTALE);
}

static void
fetch_watches(int ms)
{
	struct pollfd p = { .fd = shmcache_watch_fd(cache), .events = POLLIN };
	struct shmcache_watched watched;

	if (poll(&p, 1, ms) != 1)
		return;
	while (shmcache_watch_next(cache, &watched) == 0) {
		CHECK(watched.result == 0 || watched.result == -ETIMEDOUT);
		((struct worker *)watched.context)->watches--;
	}
}

/* Another thread may have fetched it meanwhile. */
static void
watch_and_cancel(struct worker *w, uint64_t key)
{
	uint64_t watch;
	int error;

	w->watches++;
	CHECK_RESULT(
	    shmcache_watch_load(cache, &key, sizeof(key), 600000, w, &watch),
	    0);
	error = shmcache_watch_cancel(cache, watch);
	CHECK(error == 0 || error == SHMCACHE_ENOENT);
	if (error == 0)
		w->watches--;
}

static void
do_one(struct worker *w)
{
	uint64_t key = prng_below(&w->random, KEYS / 2) * 2;

	switch (prng_below(&w->random, 24)) {
	case 0:
	case 1:
		change(w, key + prng_below(&w->random, 2));
		break;
	case 2:
		swap_filter(w);
		break;
	case 3:
	case 4:
		lock(w);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		begin_and_end(w, key);
		break;
	case 9:
	case 10:
		set_with_snapshot(key + 1);
		break;
	case 11:
	case 12:
	case 13:
		get(key + prng_below(&w->random, 2));
		break;
	case 14:
		CHECK_RESULT(
		    shmcache_filter_check(cache, &key, sizeof(key)), 1);
		break;
	case 15:
		fetch_watches(0);
		break;
	case 16:
		watch_and_cancel(w, key);
		break;
	case 17:
		CHECK(shmcache_wait_load(cache, &key, sizeof(key), 1) <= 0);
		break;
	default:
		get_or_load(w, key);
	}
}

static void *
work(void *argument)
{
	struct worker *w = argument;

	prng_init(&w->random, run_seed(), w->number);
	for (uint64_t i = 0; i < ops; i++)
		do_one(w);
	return NULL;
}

static void
threads_do_everything_at_once(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	static struct worker workers[THREADS];
	struct shmcache_stats stats;

	options.capacity_bytes = 4 << 20;
	options.filter_items = KEYS;
	options.latency_sample = 1;
	cache = cache_create("loads", &options);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i].number = i;
		CHECK(pthread_create(
			  &workers[i].thread, NULL, work, &workers[i]) == 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(pthread_join(workers[i].thread, NULL) == 0);
	for (unsigned i = 0; i < THREADS; i++)
		while (workers[i].watches > 0)
			fetch_watches(60000);
	for (unsigned i = 0; i < LOCKS; i++)
		CHECK(guarded[i] == locked[i]);
	stats = cache_stats(cache);
	printf("  %" PRIu64 " loads, %" PRIu64 " waits, %" PRIu64
	       " refused, %" PRIu64 " take-overs, %" PRIu64 " locks\n",
	    stats.load_leaders, stats.load_waiters, stats.load_refused,
	    stats.load_takeovers, stats.locks);
	CHECK(stats.load_leaders > 0 && stats.load_refused > 0);
	cache_finish(cache);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(threads_do_everything_at_once),
	};
	static const struct test_option options[] = {
		{ "ops", &ops, "operations of each thread" },
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.options = options,
		.option_count = TEST_COUNT_OF(options),
	};

	return run_suite(argc, argv, &suite);
}
