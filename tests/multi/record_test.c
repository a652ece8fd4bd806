/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * record_test.c - recording the requests of processes that are killed
 *
 * Workers ask for keys whose values have a length of their own, and are killed
 * anywhere, and stopped; who records is killed too.  No record may be wrong,
 * however many are missing.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 4
#define KEYS    500u
#define BATCH   512
#define MS      1000000ull

static uint64_t kills = 200;

struct stage {
	_Atomic uint32_t calls;
	_Atomic uint32_t recording;
};

static struct shmcache *cache;
static struct stage *stage;

/* What is known of a hash. */
static struct seen {
	uint64_t hash;
	uint32_t key_bytes;
	uint32_t value_bytes; /* 0: not seen yet */
} seen[4 * KEYS];

static void
begin(void)
{
	cache = cache_create_plain("record", 4 << 20);
	stage = shared_alloc(sizeof(*stage));
	memset(seen, 0, sizeof(seen));
}

static size_t
make_key(char key[32], unsigned n)
{
	return (size_t)snprintf(key, 32, "key %.*u", 1 + (int)(n % 7), n);
}

static void
work(void *argument)
{
	static const char value[KEYS + 1];
	struct prng prng;
	char key[32], buffer[KEYS + 1];

	(void)argument;
	prng_init(&prng, run_seed(), (uint64_t)getpid());
	for (;;) {
		unsigned n = (unsigned)prng_below(&prng, KEYS);
		size_t bytes = make_key(key, n);

		if (prng_below(&prng, 20) == 0)
			(void)shmcache_delete(cache, key, bytes);
		else if (shmcache_get(cache, key, bytes, buffer, sizeof(buffer),
			     NULL, NULL) != 0)
			(void)shmcache_set(
			    cache, key, bytes, value, n + 1, 0, 0);
		atomic_fetch_add(&stage->calls, 1);
	}
}

static struct seen *
find_seen(uint64_t hash)
{
	unsigned at = (unsigned)(hash % TEST_COUNT_OF(seen));

	while (seen[at].hash != 0 && seen[at].hash != hash)
		at = (at + 1) % TEST_COUNT_OF(seen);
	return &seen[at];
}

/* A hash always has the same lengths, and they go together as those of a key. */
static void
check_request(const struct shmcache_request *r)
{
	struct seen *s = find_seen(r->key_hash);
	char key[32];

	CHECK(r->op <= SHMCACHE_REQUEST_DELETE && r->ttl_s == 0);
	CHECK(r->key_bytes >= 5 && r->key_bytes < sizeof(key));
	if (s->hash == 0)
		*s = (struct seen){ .hash = r->key_hash,
			.key_bytes = r->key_bytes };
	CHECK(s->key_bytes == r->key_bytes);
	if (r->op != SHMCACHE_REQUEST_GET && r->op != SHMCACHE_REQUEST_SET) {
		CHECK(r->value_bytes == 0);
		return;
	}
	if (s->value_bytes == 0)
		s->value_bytes = r->value_bytes;
	CHECK(s->value_bytes == r->value_bytes && r->value_bytes <= KEYS);
	CHECK(make_key(key, r->value_bytes - 1) == r->key_bytes);
}

static unsigned
count_seen(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < TEST_COUNT_OF(seen); i++)
		count += seen[i].hash != 0;
	return count;
}

/* Takes and checks what there is. */
static uint64_t
take(struct shmcache_recorder *r)
{
	struct shmcache_request batch[BATCH];
	uint64_t total = 0;
	int count;

	do {
		count = shmcache_record_read(cache, r, batch, BATCH);
		CHECK_SAY(count >= 0, "%s", shmcache_last_error());
		for (int i = 0; i < count; i++)
			check_request(&batch[i]);
		total += (uint64_t)count;
	} while (count == BATCH);
	return total;
}

static void
killed_workers_leave_no_wrong_record(void)
{
	struct shmcache_recorder r;
	pid_t workers[WORKERS];
	uint64_t total = 0;
	struct prng prng;

	prng_init(&prng, run_seed(), 0);
	begin();
	for (unsigned i = 0; i < WORKERS; i++)
		workers[i] = child_start(work, NULL);
	CHECK_RESULT(shmcache_record_begin(cache, 1, &r), 0);
	for (uint64_t k = 0; k < kills; k++) {
		pid_t *worker = &workers[prng_below(&prng, WORKERS)];

		for (int i = 0; i < 5; i++) {
			sleep_us((unsigned)prng_below(&prng, 500));
			total += take(&r);
		}
		if (k % 8 == 0)
			(void)child_stop(*worker);
		else
			child_kill(*worker);
		if (k % 8 == 0) {
			total += take(&r);
			CHECK(kill(*worker, SIGCONT) == 0);
		} else {
			*worker = child_start(work, NULL);
		}
	}
	for (unsigned i = 0; i < WORKERS; i++)
		child_kill(workers[i]);
	CHECK_RESULT(shmcache_record_end(cache, &r), 0);
	printf("  %" PRIu64 " requests, %" PRIu64 " lost, %" PRIu64
	       " torn, %" PRIu64 " gaps\n",
	    total, r.lost, r.torn, r.gaps);
	CHECK(total > kills && count_seen() <= KEYS);
	cache_finish(cache);
}

static void
record_until_killed(void *argument)
{
	struct shmcache_recorder r;

	(void)argument;
	CHECK_RESULT(shmcache_record_begin(cache, 1, &r), 0);
	for (;;) {
		(void)take(&r);
		atomic_store(&stage->recording, 1);
	}
}

/* The next one begins as soon as it has lapsed, and workers have not waited. */
static void
killed_recorder_is_followed_by_another(void)
{
	struct shmcache_recorder r;
	uint64_t from;
	pid_t worker, recorder;
	uint32_t calls;
	int error;

	begin();
	worker = child_start(work, NULL);
	recorder = child_start(record_until_killed, NULL);
	await_at_least(&stage->recording, 1);
	child_kill(recorder);
	from = clock_ns(CLOCK_MONOTONIC);
	calls = atomic_load(&stage->calls);
	while ((error = shmcache_record_begin(cache, 1, &r)) == SHMCACHE_EBUSY)
		sleep_us(10000);
	CHECK_RESULT(error, 0);
	CHECK_SAY(clock_ns(CLOCK_MONOTONIC) - from < 60000 * MS,
	    "a dead recorder was in the way for a minute");
	CHECK(atomic_load(&stage->calls) > calls);
	while (take(&r) == 0)
		sleep_us(1000);
	CHECK_RESULT(shmcache_record_end(cache, &r), 0);
	child_kill(worker);
	cache_finish(cache);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(killed_workers_leave_no_wrong_record),
		CASE(killed_recorder_is_followed_by_another),
	};
	static const struct test_option options[] = {
		{ "kills", &kills, "processes that are killed or stopped" },
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.options = options,
		.option_count = TEST_COUNT_OF(options),
	};

	return run_suite(argc, argv, &suite);
}
