/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * record_test.c - recording the requests of processes that are killed
 *
 * Workers ask for keys whose values have a length of their own, and are killed
 * anywhere, and stopped; who records is killed too.  No record may be wrong,
 * however many are missing.
 *
 * And what a cache did is what comes out when its log is played: as many gets
 * miss, whatever else it was asked meanwhile.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"
#include "tests/support/tool.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 4
#define KEYS    500u
#define COUNTER 15u /* a key whose value has the length of a counter */
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

/* Asks for the key, and stores it if it is not there.  (A get that touches takes
   a counter to be as long as its text.) */
static void
ask(const char *key, size_t bytes, unsigned n, uint64_t how)
{
	static const char value[KEYS + 1];
	char buffer[KEYS + 1];
	int result =
	    how % 8 == 0 && n != COUNTER
		? shmcache_get_and_touch(cache, key, bytes, SHMCACHE_TTL_NONE,
		      buffer, sizeof(buffer), NULL, NULL)
		: shmcache_get(
		      cache, key, bytes, buffer, sizeof(buffer), NULL, NULL);

	if (result != 0)
		(void)shmcache_set(cache, key, bytes, value, n + 1, 0, 0);
}

static void
work(void *argument)
{
	const int64_t initial = 0;
	struct prng prng;
	char key[32];

	(void)argument;
	prng_init(&prng, run_seed(), (uint64_t)getpid());
	for (;;) {
		unsigned n = (unsigned)prng_below(&prng, KEYS);
		uint64_t how = prng_below(&prng, 1000);
		size_t bytes = make_key(key, n);

		if (how < 50)
			(void)shmcache_delete(cache, key, bytes);
		else if (how < 100)
			(void)shmcache_touch(
			    cache, key, bytes, SHMCACHE_TTL_NONE);
		else if (how < 150)
			(void)shmcache_incr(cache, key, make_key(key, COUNTER),
			    1, &initial, SHMCACHE_TTL_NONE, NULL);
		else if (how < 152)
			(void)shmcache_delete_prefix(cache, "key 3", 5, NULL);
		else if (how < 154)
			(void)shmcache_flush(cache);
		else
			ask(key, bytes, n, how);
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

	CHECK(r->op <= SHMCACHE_REQUEST_FLUSH && r->ttl_s == 0);
	if (r->op == SHMCACHE_REQUEST_FLUSH) {
		CHECK(r->key_hash == 0 && r->key_bytes == 0);
		CHECK(r->value_bytes == 0);
		return;
	}
	CHECK(r->key_bytes >= 5 && r->key_bytes < sizeof(key));
	if (s->hash == 0)
		*s = (struct seen){ .hash = r->key_hash,
			.key_bytes = r->key_bytes };
	CHECK(s->key_bytes == r->key_bytes);
	if (r->op != SHMCACHE_REQUEST_GET && r->op != SHMCACHE_REQUEST_SET &&
	    r->op != SHMCACHE_REQUEST_INCR) {
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

/* --- recorded and played ------------------------------------------------- */

static pid_t recorder;
static unsigned gets, misses; /* of the cache that is recorded */

static void
await_in_log(const char *part)
{
	static char text[1 << 16];
	bool there = false;

	while (!there) {
		FILE *file = fopen(test_path("log"), "re");
		size_t bytes = 0;

		sleep_us(1000);
		if (file != NULL) {
			bytes = fread(text, 1, sizeof(text) - 1, file);
			(void)fclose(file);
		}
		text[bytes] = '\0';
		there = strstr(text, part) != NULL;
	}
}

static void
begin_recording(void)
{
	const char *const arguments[] = { "--record", test_path("log"),
		"--sample", "1", test_name("record"), NULL };
	int output = scratch_file();

	cache = cache_create_plain("record", 4 << 20);
	gets = misses = 0;
	recorder = tool_start("shmcache-stat", arguments, output, output);
	await_in_log("# policy");
}

static unsigned
count_of(const char *text, const char *part)
{
	unsigned count = 0;

	while ((text = strstr(text, part)) != NULL) {
		text += strlen(part);
		count++;
	}
	return count;
}

/* A reference and the library miss what the cache did.  What came last says that
   all of it is in the log, which is good without its end. */
static void
end_and_play(void)
{
	static const char last[777];
	static struct outcome outcome;
	char part[64];
	const char *points;

	CHECK_RESULT(
	    shmcache_set(cache, "last", 4, last, sizeof(last), 0, 0), 0);
	await_in_log(",777,0,set\n");
	child_kill(recorder);
	RUN(&outcome, "shmcache-replay", "--json", "--sizes", "8M",
	    "--references", "lru", test_path("log"));
	CHECK_CODE(&outcome, EXIT_OK);
	CHECK_SAY(strstr(outcome.err, "missing") == NULL, "%s", outcome.err);
	points = strstr(outcome.out, "\"points\"");
	CHECK(points != NULL);
	(void)snprintf(part, sizeof(part), "\"gets\": %u,", gets);
	CHECK_SAY(count_of(points, part) == 2, "not %s: %s", part, points);
	(void)snprintf(part, sizeof(part), "\"misses\": %u,", misses);
	CHECK_SAY(count_of(points, part) == 2, "not %s: %s", part, points);
	cache_finish(cache);
}

static void
note_get(int result, bool wanted, const char *key)
{
	CHECK_SAY(
	    result == (wanted ? 0 : SHMCACHE_ENOENT), "%s: %d", key, result);
	gets++;
	misses += !wanted;
}

static void
get(const char *key, bool wanted)
{
	char buffer[64];

	note_get(shmcache_get(cache, key, strlen(key), buffer, sizeof(buffer),
		     NULL, NULL),
	    wanted, key);
}

static void
get_and_touch(const char *key, int64_t ttl_ms, bool wanted)
{
	char buffer[64];

	note_get(shmcache_get_and_touch(cache, key, strlen(key), ttl_ms, buffer,
		     sizeof(buffer), NULL, NULL),
	    wanted, key);
}

static void
set(const char *key, int64_t ttl_ms)
{
	CHECK_RESULT(
	    shmcache_set(cache, key, strlen(key), "value", 5, ttl_ms, 0), 0);
}

static void
set_tagged(const char *key)
{
	const struct shmcache_tag tag = { "tag", 3 };
	struct shmcache_set_options o = SHMCACHE_SET_OPTIONS_INIT;

	o.tags = &tag;
	o.tag_count = 1;
	CHECK_RESULT(
	    shmcache_set_with(cache, key, strlen(key), "value", 5, &o), 0);
}

static void
touch(const char *key, int64_t ttl_ms)
{
	CHECK_RESULT(shmcache_touch(cache, key, strlen(key), ttl_ms), 0);
}

static void
incr(const char *key, const int64_t *initial, int64_t ttl_ms, int wanted)
{
	CHECK_RESULT(
	    shmcache_incr(cache, key, strlen(key), 1, initial, ttl_ms, NULL),
	    wanted);
}

/* Two seconds, so what has one from before has expired, in the log too, whose
   times to live are whole seconds. */
static void
await_expiry(void)
{
	set("clock", 2000);
	while (shmcache_exists(cache, "clock", 5) == 1)
		sleep_us(10000);
}

static void
touched_entries_live_as_long_when_played(void)
{
	begin_recording();
	set("left", 1000);
	set("longer", 1000);
	touch("longer", 60000);
	set("shorter", 60000);
	touch("shorter", 1000);
	set("endless", 1000);
	touch("endless", SHMCACHE_TTL_NONE);
	set("anew", SHMCACHE_TTL_NONE); /* by replacing */
	touch("anew", 1000);
	set("got", 1000);
	get_and_touch("got", 60000, true);
	get_and_touch("nothing", 60000, false);
	await_expiry();
	get("left", false);
	get("longer", true);
	get("shorter", false);
	get("endless", true);
	get("anew", false);
	get("got", true);
	get("nothing", false);
	end_and_play();
}

static void
counters_live_as_long_when_played(void)
{
	const int64_t initial = 1;

	begin_recording();
	incr("nothing", NULL, 0, SHMCACHE_ENOENT);
	get("nothing", false);
	incr("minute", &initial, 60000, 0);
	incr("second", &initial, 1000, 0);
	incr("second", &initial, 60000, 0); /* in place */
	CHECK_RESULT(shmcache_set(cache, "text", 4, "41", 2, 0, 0), 0);
	incr("text", NULL, 0, 0); /* by replacing */
	get("second", true);
	await_expiry();
	get("minute", true);
	get("second", false);
	get("text", true);
	end_and_play();
}

static void
what_is_deleted_by_prefix_is_gone_when_played(void)
{
	uint64_t deleted;

	begin_recording();
	set("page 1", 0);
	set("page 2", 0);
	set("user 1", 0);
	set("user 22", 0);
	CHECK_RESULT(shmcache_delete_prefix(cache, "page", 4, &deleted), 0);
	CHECK(deleted == 2);
	CHECK_RESULT(shmcache_delete_glob(cache, "user ?", 6, &deleted), 0);
	CHECK(deleted == 1);
	set("page 2", 0);
	get("page 1", false);
	get("page 2", true);
	get("user 1", false);
	get("user 22", true);
	end_and_play();
}

static void
what_is_flushed_is_gone_when_played(void)
{
	struct shmcache_snapshot begun;

	begin_recording();
	set("first", 0);
	get("first", true);
	CHECK_RESULT(shmcache_flush(cache), 0);
	get("first", false);
	set("second", 0);
	get("second", true);
	CHECK_RESULT(shmcache_flush_begin(cache, &begun), 0);
	set("third", 0);
	CHECK_RESULT(shmcache_flush_end(cache, &begun), 0);
	get("second", false);
	get("third", true);
	end_and_play();
}

static void
what_a_tag_took_is_gone_when_played(void)
{
	struct shmcache_sweep_result swept;

	begin_recording();
	set_tagged("asked for");
	set_tagged("swept");
	set("plain", 0);
	CHECK_RESULT(shmcache_invalidate_tag(cache, "tag", 3), 0);
	get("asked for", false);
	CHECK_RESULT(shmcache_sweep(cache, &swept), 0);
	CHECK(swept.expired_entries == 1);
	get("swept", false);
	get("plain", true);
	set_tagged("asked for");
	get("asked for", true);
	CHECK_RESULT(shmcache_invalidate_tag(cache, "tag", 3), 0);
	touch("plain", 60000);
	set("asked for", 0); /* in its place */
	get("asked for", true);
	end_and_play();
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(killed_workers_leave_no_wrong_record),
		CASE(killed_recorder_is_followed_by_another),
		CASE(touched_entries_live_as_long_when_played),
		CASE(counters_live_as_long_when_played),
		CASE(what_is_deleted_by_prefix_is_gone_when_played),
		CASE(what_is_flushed_is_gone_when_played),
		CASE(what_a_tag_took_is_gone_when_played),
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
