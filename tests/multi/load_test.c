/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * load_test.c - many processes load through one cache
 *
 * One load for each round of all processes, and one more only where a leader was
 * killed; leaders that are killed, stopped, or fail; keys that are deleted and
 * set while they are loaded; loads that are counted until they are killed.
 *
 * The source is shared memory: the number of its last change.  What a call
 * returns must be no older than what had been invalidated before it began.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CAPACITY  (16 << 20)
#define PROCESSES 64
#define MS        1000000ull

static uint64_t rounds = 300;
static uint64_t changes = 3000;
static struct shmcache *cache;

/* What all processes see. */
struct stage {
	_Atomic uint32_t arrived;
	_Atomic uint32_t round;
	_Atomic uint32_t loads;
	_Atomic uint32_t stored;
	_Atomic uint32_t leader; /* its pid, while it loads */
	_Atomic uint32_t killed; /* the round whose leader was */
	_Atomic uint32_t go_on;
	_Atomic uint32_t over;
	_Atomic uint64_t changed; /* the source */
	_Atomic uint64_t invalidated;
};

static struct stage *stage;

static void
begin(void)
{
	cache = cache_create_plain("load", CAPACITY);
	stage = shared_alloc(sizeof(*stage));
}

static void
end(void)
{
	cache_finish(cache);
}

static int
give(struct shmcache_loaded *loaded, uint64_t number)
{
	uint64_t *value = malloc(sizeof(*value));

	CHECK(value != NULL);
	*value = number;
	loaded->value = value;
	loaded->value_bytes = sizeof(*value);
	return 0;
}

/* Of callers whom no slowness of the machine makes load beside the leader, or in
   its place: it is followed if it is dead, and for nothing else. */
static struct shmcache_load_options *
by_liveness_alone(void)
{
	static struct shmcache_load_options options =
	    SHMCACHE_LOAD_OPTIONS_INIT;

	options.timeout_ms = options.lease_ms = 600000;
	return &options;
}

/* The number that the value is. */
static uint64_t
take(struct shmcache_value *value)
{
	uint64_t number;

	CHECK(value->value_bytes == sizeof(number));
	memcpy(&number, value->value, sizeof(number));
	free(value->value);
	return number;
}

/* The leader of each so many rounds is killed; 0: of none. */
static uint32_t kill_every;

static bool
is_deadly(uint32_t round)
{
	return kill_every != 0 && round % kill_every == 0;
}

static int
load_round(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	(void)context;
	(void)key;
	(void)key_bytes;
	stage->loads++;
	if (is_deadly(stage->round) && stage->killed < stage->round) {
		stage->leader = (uint32_t)getpid();
		for (;;)
			pause();
	}
	sleep_us(500);
	return give(loaded, stage->round);
}

/* Of the rounds from now on. */
static void
get_rounds(void *argument)
{
	uint32_t from = stage->round > 0 ? stage->round : 1;

	(void)argument;
	for (uint32_t round = from; round <= rounds; round++) {
		struct shmcache_value value;

		await_at_least(&stage->round, round);
		CHECK_RESULT(shmcache_get_or_load(cache, "key", 3, load_round,
				 NULL, by_liveness_alone(), &value),
		    0);
		CHECK(take(&value) == round);
		stage->arrived++;
	}
}

/* Waits until one leads, and puts another in its place. */
static void
kill_leader(pid_t children[PROCESSES], uint32_t round)
{
	unsigned n = 0;

	await_at_least(&stage->leader, 1);
	while (n < PROCESSES && children[n] != (pid_t)stage->leader)
		n++;
	CHECK(n < PROCESSES);
	stage->leader = 0;
	stage->killed = round;
	child_kill(children[n]);
	children[n] = child_start(get_rounds, NULL);
}

/* The key expires before each round; then everybody wants it. */
static void
load_in_rounds(void)
{
	pid_t children[PROCESSES];
	uint32_t kills = 0;

	begin();
	for (unsigned i = 0; i < PROCESSES; i++)
		children[i] = child_start(get_rounds, NULL);
	for (uint32_t round = 1; round <= rounds; round++) {
		if (round > 1)
			CHECK_RESULT(shmcache_touch(cache, "key", 3, 1), 0);
		while (shmcache_exists(cache, "key", 3) != 0)
			sleep_us(500);
		stage->round = round;
		if (is_deadly(round)) {
			kill_leader(children, round);
			kills++;
		}
		await_at_least(&stage->arrived, round * PROCESSES);
		CHECK_SAY(stage->loads == round + kills,
		    "%u loads in %u rounds with %u kills", stage->loads, round,
		    kills);
	}
	for (unsigned i = 0; i < PROCESSES; i++)
		child_expect(children[i], 0);
	printf("  %u loads, %u kills, %" PRIu64 " waits of %" PRIu64
	       " us on average\n",
	    stage->loads, kills, cache_stats(cache).load_waiters,
	    cache_stats(cache).load_wait_us /
		(cache_stats(cache).load_waiters + 1));
	CHECK(cache_stats(cache).load_refused == 0);
	CHECK(cache_stats(cache).load_takeovers == kills);
	end();
}

static void
expired_key_is_loaded_once(void)
{
	load_in_rounds();
}

static void
and_once_more_if_its_leader_is_killed(void)
{
	kill_every = 10;
	load_in_rounds();
}

/* The first waits to be killed or stopped, or to go on. */
static int
load_stuck(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	(void)context;
	(void)key;
	(void)key_bytes;
	if (stage->loads++ == 0) {
		stage->leader = (uint32_t)getpid();
		await_at_least(&stage->go_on, 1);
	}
	return give(loaded, 7);
}

static void
get_stuck(void *argument)
{
	struct shmcache_value value;

	CHECK_RESULT(shmcache_get_or_load(
			 cache, "key", 3, load_stuck, NULL, argument, &value),
	    0);
	CHECK(take(&value) == 7);
	stage->arrived++;
}

static void
await_leader(void)
{
	while (stage->leader == 0)
		sleep_us(100);
}

#define WAITERS 16

static void
killed_leader_is_followed_by_one(void)
{
	pid_t leader, waiters[WAITERS];
	uint64_t killed_ns;

	begin();
	leader = child_start(get_stuck, by_liveness_alone());
	await_leader();
	for (unsigned i = 0; i < WAITERS; i++)
		waiters[i] = child_start(get_stuck, by_liveness_alone());
	sleep_us(50000);
	CHECK(stage->loads == 1);
	child_kill(leader);
	killed_ns = clock_ns(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < WAITERS; i++)
		child_expect(waiters[i], 0);
	printf("  all served %.1f ms after the kill\n",
	    (double)(clock_ns(CLOCK_MONOTONIC) - killed_ns) / 1e6);
	CHECK(stage->loads == 2);
	CHECK(cache_stats(cache).load_takeovers == 1);
	end();
}

/* Stops a leader, and lets one who waits for 20 ms come; false: the machine took
   so long for it that the leader's lease was over meanwhile. */
static bool
come_to_a_stopped_leader(uint32_t lease_ms, pid_t *leader)
{
	struct shmcache_load_options patient = SHMCACHE_LOAD_OPTIONS_INIT;
	struct shmcache_load_options hasty = SHMCACHE_LOAD_OPTIONS_INIT;
	uint64_t began_ms = cache_clock_ns() / MS;

	patient.timeout_ms = 600000;
	patient.lease_ms = lease_ms;
	hasty.timeout_ms = 20;
	*leader = child_start(get_stuck, &patient);
	await_leader();
	CHECK(child_stop(*leader));
	child_run(get_stuck, &hasty);
	return cache_clock_ns() / MS - began_ms < lease_ms;
}

/* A leader that stands still holds nobody up for longer than they want; what it
   stores when it goes on is not put over what others have. */
static void
stopped_leader_holds_nobody_up(void)
{
	struct shmcache_load_options late = SHMCACHE_LOAD_OPTIONS_INIT;
	uint32_t lease_ms = 200;
	struct shmcache_stats stats;
	pid_t leader;

	late.timeout_ms = 600000;
	begin();
	while (!come_to_a_stopped_leader(lease_ms, &leader)) {
		child_kill(leader);
		end();
		CHECK_RESULT(shmcache_remove(test_name("load")), 0);
		lease_ms *= 2;
		begin();
	}
	CHECK(stage->loads == 2);
	CHECK_RESULT(shmcache_delete(cache, "key", 3), 0);
	child_run(get_stuck, &late);
	CHECK(stage->loads == 3);
	CHECK_RESULT(shmcache_set(cache, "key", 3, "newer", 5, 0, 0), 0);
	stage->go_on = 1;
	CHECK_SYS(kill(leader, SIGCONT));
	child_expect(leader, 0);
	cache_check_text(cache, "key", "newer");
	stats = cache_stats(cache);
	CHECK(stats.load_refused == 1);
	CHECK(stats.load_alone == 1);
	CHECK(stats.load_takeovers == 1);
	end();
}

static int
load_nothing(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	(void)context;
	(void)key;
	(void)key_bytes;
	(void)loaded;
	stage->loads++;
	stage->leader = (uint32_t)getpid();
	await_at_least(&stage->go_on, 1);
	return -EIO;
}

static void
get_nothing(void *argument)
{
	struct shmcache_value value;

	(void)argument;
	CHECK_RESULT(shmcache_get_or_load(cache, "key", 3, load_nothing, NULL,
			 by_liveness_alone(), &value),
	    -EIO);
}

/* Wait until it sleeps in a futex: waits for the leader, that is. */
static void
await_waiting(pid_t pid)
{
	char path[32], text[32] = "";
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	while (strtol(text, NULL, 10) != SYS_futex) {
		sleep_us(500);
		file = fopen(path, "re");
		if (file == NULL ||
		    (fgets(text, sizeof(text), file) == NULL && errno == EPERM))
			skip("%s: %s", path, test_errno_text());
		(void)fclose(file);
	}
}

/* (Who comes to it when it is over would lead anew.) */
static void
error_is_shared_by_those_who_wait(void)
{
	pid_t children[WAITERS];

	begin();
	for (unsigned i = 0; i < WAITERS; i++)
		children[i] = child_start(get_nothing, NULL);
	await_leader();
	for (unsigned i = 0; i < WAITERS; i++)
		if (children[i] != (pid_t)stage->leader)
			await_waiting(children[i]);
	stage->go_on = 1;
	for (unsigned i = 0; i < WAITERS; i++)
		child_expect(children[i], 0);
	CHECK_SAY(stage->loads == 1, "%u loads", stage->loads);
	end();
}

static int
load_forever(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	(void)context;
	(void)key;
	(void)key_bytes;
	(void)loaded;
	stage->loads++;
	while (stage->over == 0)
		pause();
	return -EIO;
}

static void
get_forever(void *argument)
{
	struct shmcache_value value;

	(void)shmcache_get_or_load(
	    cache, "key", 3, load_forever, NULL, argument, &value);
}

static int
load_seven(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	(void)context;
	(void)key;
	(void)key_bytes;
	return give(loaded, 7);
}

/* What one gets who would be one load more than `others`. */
static int
load_beside(uint32_t others)
{
	struct shmcache_load_options options = SHMCACHE_LOAD_OPTIONS_INIT;
	struct shmcache_value value;
	int error;

	options.max_loads = others;
	error = shmcache_get_or_load(
	    cache, "other", 5, load_seven, NULL, &options, &value);
	if (error != 0)
		return error;
	CHECK(take(&value) == 7);
	return shmcache_delete(cache, "other", 5);
}

/* A leader, and one who waits for it no more: both count as long as they live. */
static void
killed_loads_count_no_more(void)
{
	struct shmcache_load_options options = SHMCACHE_LOAD_OPTIONS_INIT;
	pid_t children[2];

	options.timeout_ms = 1;
	options.lease_ms = 600000;
	begin();
	for (uint32_t i = 0; i < 2; i++) {
		children[i] = child_start(get_forever, &options);
		await_at_least(&stage->loads, i + 1);
	}
	CHECK(cache_stats(cache).load_alone == 1);
	for (uint32_t others = 2; others > 0; others--) {
		CHECK_RESULT(load_beside(others), SHMCACHE_ELIMIT);
		child_kill(children[others - 1]);
		while (load_beside(others) == SHMCACHE_ELIMIT)
			sleep_us(1000);
		CHECK_RESULT(load_beside(others), 0);
	}
	end();
}

static int
load_source(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	struct prng *random = context;
	uint64_t number = stage->changed;

	(void)key;
	(void)key_bytes;
	stage->loads++;
	if (prng_below(random, 4) == 0)
		sleep_us((unsigned)prng_below(random, 300));
	if (prng_below(random, 50) == 0)
		return -EIO;
	if (prng_below(random, 50) == 0)
		return SHMCACHE_ENOENT;
	return give(loaded, number);
}

/* Any loading call, as a caller of some kind makes it. */
static void
get_source(void *argument)
{
	struct shmcache_load_options options = SHMCACHE_LOAD_OPTIONS_INIT;
	struct prng random;

	(void)argument;
	prng_init(&random, run_seed(), (uint64_t)getpid());
	options.negative_ttl_ms = 1;
	options.timeout_ms = 1 + (uint32_t)prng_below(&random, 3);
	options.lease_ms = 1 + (uint32_t)prng_below(&random, 3);
	while (stage->over == 0) {
		uint64_t known = stage->invalidated;
		struct shmcache_value value;
		int error = shmcache_get_or_load(
		    cache, "key", 3, load_source, &random, &options, &value);

		CHECK(error == 0 || error == -EIO || error == SHMCACHE_ENOENT);
		if (error == 0) {
			uint64_t number = take(&value);

			CHECK_SAY(number >= known,
			    "got %" PRIu64 " though %" PRIu64
			    " was invalidated before",
			    number, known);
		}
		stage->arrived++;
	}
}

static void
invalidate(struct prng *random)
{
	uint64_t number = ++stage->changed;
	int error = 0;

	switch (prng_below(random, 8)) {
	case 0:
		error = shmcache_set(
		    cache, "key", 3, &number, sizeof(number), 0, 0);
		break;
	case 1:
		error = shmcache_flush(cache);
		break;
	case 2:
		error = shmcache_delete_prefix(cache, "k", 1, NULL);
		break;
	default:
		error = shmcache_delete(cache, "key", 3);
		error = error == SHMCACHE_ENOENT ? 0 : error;
	}
	CHECK_RESULT(error, 0);
	stage->invalidated = number;
}

#define GETTERS 6

/* Getters are killed and followed by others all the time. */
static void
nothing_invalidated_comes_back(void)
{
	struct prng random;
	pid_t getters[GETTERS];

	begin();
	prng_init(&random, run_seed(), 0);
	for (unsigned i = 0; i < GETTERS; i++)
		getters[i] = child_start(get_source, NULL);
	for (uint64_t i = 0; i < changes; i++) {
		invalidate(&random);
		if (prng_below(&random, 3) != 0)
			sleep_us((unsigned)prng_below(&random, 400));
		if (i % 50 == 49) {
			unsigned n = (unsigned)prng_below(&random, GETTERS);

			child_kill(getters[n]);
			getters[n] = child_start(get_source, NULL);
		}
	}
	stage->over = 1;
	for (unsigned i = 0; i < GETTERS; i++)
		child_expect(getters[i], 0);
	printf("  %u gets, %u loads, %" PRIu64 " refused, %" PRIu64
	       " take-overs\n",
	    stage->arrived, stage->loads, cache_stats(cache).load_refused,
	    cache_stats(cache).load_takeovers);
	end();
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(expired_key_is_loaded_once),
		CASE(and_once_more_if_its_leader_is_killed),
		CASE(killed_leader_is_followed_by_one),
		CASE(stopped_leader_holds_nobody_up),
		CASE(error_is_shared_by_those_who_wait),
		CASE(killed_loads_count_no_more),
		CASE(nothing_invalidated_comes_back),
	};
	static const struct test_option options[] = {
		{ "rounds", &rounds, "rounds of all processes" },
		{ "changes", &changes, "changes of the source" },
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.options = options,
		.option_count = TEST_COUNT_OF(options),
	};

	return run_suite(argc, argv, &suite);
}
