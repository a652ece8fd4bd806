/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * between_test.c - a call comes between any two instructions of another
 *
 * One thread executes a call instruction by instruction (steps.h); after the
 * n-th another thread makes a call of its own about the same key, wholly; then
 * the first goes on.  This for every pair of calls, for each n (or every so many
 * of them: --every), from different states of the key.
 *
 * What the two calls return, and what the key has in the end, must be as if one
 * had come after the other, whichever; which that would be is found out by doing
 * both.  And the cache must be sound: a tentative word that was made final
 * though somebody took it away is a key with two entries.
 */
#include "tests/support/cache.h"
#include "tests/support/other.h"
#include "tests/support/run.h"
#include "tests/support/steps.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t every = TEST_ASAN ? 2999 : 601;

#define KEY       "the key of both"
#define KEY_BYTES (sizeof(KEY) - 1)
#define TEXT_MAX  40u

static struct shmcache *cache;

/* What the key has before. */
enum state { ABSENT, TEXT, COUNTER, LOADING, REFRESHING, STATES };
static const char *const state_names[] = { "absent", "text", "counter",
	"loading", "refreshing" };

/* Somebody is about to fill it. */
static bool
is_loading(enum state state)
{
	return state == LOADING || state == REFRESHING;
}

/* Of one run, for both calls. */
static struct {
	uint64_t version;
	struct shmcache_token token;
} given;

/* A call, and what it returned. */
struct act {
	const char *name;
	int (*call)(const char *who, char read[TEXT_MAX]);
	enum state only_in; /* STATES: anywhere */
};

struct done {
	int result;
	char read[TEXT_MAX];
};

struct outcome {
	struct done by[2];
	char left[TEXT_MAX]; /* "" if nothing is there */
};

static int
do_get(const char *who, char read[TEXT_MAX])
{
	size_t bytes;

	(void)who;
	return shmcache_get(
	    cache, KEY, KEY_BYTES, read, TEXT_MAX - 1, &bytes, NULL);
}

static int
do_set(const char *who, char read[TEXT_MAX])
{
	(void)read;
	return shmcache_set(cache, KEY, KEY_BYTES, who, strlen(who), 0, 0);
}

static int
do_add(const char *who, char read[TEXT_MAX])
{
	(void)read;
	return shmcache_add(cache, KEY, KEY_BYTES, who, strlen(who), 0, 0);
}

static int
do_replace(const char *who, char read[TEXT_MAX])
{
	(void)read;
	return shmcache_replace(cache, KEY, KEY_BYTES, who, strlen(who), 0, 0);
}

static int
do_cas(const char *who, char read[TEXT_MAX])
{
	(void)read;
	return shmcache_cas(
	    cache, KEY, KEY_BYTES, who, strlen(who), 0, 0, given.version);
}

static int
do_append(const char *who, char read[TEXT_MAX])
{
	(void)read;
	return shmcache_append(cache, KEY, KEY_BYTES, who, strlen(who));
}

static int
do_incr(const char *who, char read[TEXT_MAX])
{
	int64_t initial = 100, value = 0;
	int result = shmcache_incr(cache, KEY, KEY_BYTES,
	    who[0] == 'f' ? 1 : 10, &initial, SHMCACHE_TTL_NONE, &value);

	(void)snprintf(read, TEXT_MAX, "%" PRId64, value);
	return result;
}

static int
do_delete(const char *who, char read[TEXT_MAX])
{
	(void)who;
	(void)read;
	return shmcache_delete(cache, KEY, KEY_BYTES);
}

static int
do_touch(const char *who, char read[TEXT_MAX])
{
	(void)who;
	(void)read;
	return shmcache_touch(cache, KEY, KEY_BYTES, SHMCACHE_TTL_NONE);
}

static int
do_flush(const char *who, char read[TEXT_MAX])
{
	(void)who;
	(void)read;
	return shmcache_flush(cache);
}

static int
do_fill(const char *who, char read[TEXT_MAX])
{
	char value[TEXT_MAX];
	struct shmcache_loaded loaded = { .value = value,
		.value_bytes = strlen(who) };

	(void)read;
	memcpy(value, who, strlen(who));
	return shmcache_fill(
	    cache, KEY, KEY_BYTES, &given.token, 0, &loaded, NULL);
}

static const struct act acts[] = {
	{ "get", do_get, STATES },
	{ "set", do_set, STATES },
	{ "add", do_add, STATES },
	{ "replace", do_replace, STATES },
	{ "append", do_append, STATES },
	{ "incr", do_incr, STATES },
	{ "delete", do_delete, STATES },
	{ "touch", do_touch, STATES },
	{ "flush", do_flush, STATES },
	{ "cas", do_cas, TEXT },
	{ "fill", do_fill, LOADING },
};

/* Waits until a value that is there is past its time. */
static void
begin_load(const struct shmcache_load_options *options)
{
	struct shmcache_value value;

	do {
		CHECK_RESULT(shmcache_begin_load(cache, KEY, KEY_BYTES, options,
				 &value, &given.token),
		    0);
		free(value.value);
	} while (value.source != SHMCACHE_LEAD);
}

/* A refresh of what has been loaded a millisecond before. */
static void
begin_refresh(void)
{
	struct shmcache_load_options options = SHMCACHE_LOAD_OPTIONS_INIT;
	struct shmcache_loaded loaded = { .value = (char[]){ "5" },
		.value_bytes = 1 };

	options.ttl_ms = 1;
	options.stale_ms = 3600000;
	begin_load(&options);
	CHECK_RESULT(shmcache_fill(cache, KEY, KEY_BYTES, &given.token, 0,
			 &loaded, &options),
	    0);
	begin_load(&options);
}

static void
prepare(enum state state)
{
	char text[TEXT_MAX];
	size_t bytes;

	(void)shmcache_delete(cache, KEY, KEY_BYTES);
	if (state == LOADING) {
		begin_load(NULL);
	} else if (state == REFRESHING) {
		begin_refresh();
	} else if (state == COUNTER) {
		static const int64_t seven = 7;

		CHECK_RESULT(shmcache_incr(cache, KEY, KEY_BYTES, 1, &seven,
				 SHMCACHE_TTL_NONE, NULL),
		    0);
	} else if (state == TEXT) {
		CHECK_RESULT(
		    shmcache_set(cache, KEY, KEY_BYTES, "5", 1, 0, 0), 0);
		CHECK_RESULT(shmcache_gets(cache, KEY, KEY_BYTES, text,
				 TEXT_MAX, &bytes, NULL, &given.version),
		    0);
	}
}

/* How a run ends: nothing is left of the load. */
static void
finish(enum state state, struct outcome *outcome)
{
	size_t bytes = 0;
	int result = shmcache_peek(
	    cache, KEY, KEY_BYTES, outcome->left, TEXT_MAX - 1, &bytes, NULL);

	CHECK(result == 0 || result == SHMCACHE_ENOENT);
	if (is_loading(state))
		(void)shmcache_abandon(cache, &given.token);
}

static void
act_by(const struct act *act, const char *who, struct done *done)
{
	done->result = act->call(who, done->read);
}

/* What the second thread does. */
static struct {
	const struct act *act;
	struct done *done;
} second;

static void
do_second(void)
{
	act_by(second.act, "second", second.done);
}

static void
let_second(const struct act *act, struct done *done)
{
	second.act = act;
	second.done = done;
	let_other(do_second);
}

static void
begin_with(struct shmcache_options *options)
{
	struct done done = { 0 };

	if (!steps_possible())
		skip("a process cannot step itself here");
	options->peer_slots = 8;
	options->process_slots = 4;
	cache = cache_create("between", options);
	CHECK(other_begin());
	prepare(TEXT);
	let_second(&acts[0], &done);
}

static void
begin(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;

	options.capacity_bytes = 2u << 20;
	options.expected_items = 16;
	begin_with(&options);
}

static void
end(void)
{
	CHECK(other_end());
	cache_finish(cache);
}

/* One pair of calls. */
struct pair {
	const struct act *first, *second;
	enum state state;
	struct outcome wanted[2];
	struct outcome got;
	uint64_t at; /* the second comes after this instruction */
	bool came;
};

static bool
come_between(void *context, uint64_t step)
{
	struct pair *pair = context;

	if (step < pair->at)
		return true;
	pair->came = true;
	let_second(pair->second, &pair->got.by[1]);
	return false;
}

static void
do_first(void *argument)
{
	struct pair *pair = argument;

	act_by(pair->first, "first", &pair->got.by[0]);
}

/* What must come out: first before second, and second before first. */
static void
find_out(struct pair *pair)
{
	memset(pair->wanted, 0, sizeof(pair->wanted));
	prepare(pair->state);
	act_by(pair->first, "first", &pair->wanted[0].by[0]);
	let_second(pair->second, &pair->wanted[0].by[1]);
	finish(pair->state, &pair->wanted[0]);
	prepare(pair->state);
	let_second(pair->second, &pair->wanted[1].by[1]);
	act_by(pair->first, "first", &pair->wanted[1].by[0]);
	finish(pair->state, &pair->wanted[1]);
}

/* A flush takes effect on what is stored first, and on what is there then: what
   a call stores whole is of the time when it began, though it has seen what
   there was just before, or just after. */
static bool
is_halved_by_flush(const struct pair *pair)
{
	if (pair->second->call == do_flush)
		return *pair->got.left == '\0';
	return pair->first->call == do_flush &&
	       strcmp(pair->got.left, "second") == 0;
}

static void
check_outcome(const struct pair *pair)
{
	const struct outcome *got = &pair->got;

	for (unsigned i = 0; i < 2; i++)
		if (memcmp(got->by, pair->wanted[i].by, sizeof(got->by)) == 0 &&
		    (strcmp(got->left, pair->wanted[i].left) == 0 ||
			is_halved_by_flush(pair)))
			return;
	check_failed(__FILE__, __LINE__,
	    "%s after instruction %" PRIu64 " of %s, of a key that is %s: %s "
	    "gave %d (%s), %s gave %d (%s), left is \"%s\"",
	    pair->second->name, pair->at, pair->first->name,
	    state_names[pair->state], pair->first->name, got->by[0].result,
	    got->by[0].read, pair->second->name, got->by[1].result,
	    got->by[1].read, got->left);
}

/* How many instructions the first call has, alone. */
static uint64_t
count_steps(struct pair *pair)
{
	prepare(pair->state);
	return steps_run(steps_go_on, NULL, do_first, pair);
}

static void
try_pair(struct pair *pair, unsigned salt)
{
	uint64_t steps;

	find_out(pair);
	steps = count_steps(pair);
	finish(pair->state, &pair->got);
	for (pair->at = 1 + salt % every; pair->at < steps; pair->at += every) {
		memset(&pair->got, 0, sizeof(pair->got));
		pair->came = false;
		prepare(pair->state);
		(void)steps_run(come_between, pair, do_first, pair);
		if (!pair->came) /* not all runs are of one length */
			let_second(pair->second, &pair->got.by[1]);
		finish(pair->state, &pair->got);
		check_outcome(pair);
		cache_check_live(cache);
	}
}

static bool
fits_state(const struct act *act, enum state state)
{
	return act->only_in == STATES || act->only_in == state ||
	       (act->only_in == LOADING && is_loading(state));
}

static void
in_state(enum state state)
{
	unsigned salt = (unsigned)run_seed();

	begin();
	for (unsigned i = 0; i < TEST_COUNT_OF(acts); i++)
		for (unsigned j = 0; j < TEST_COUNT_OF(acts); j++) {
			struct pair pair = { .first = &acts[i],
				.second = &acts[j],
				.state = state };
			bool fits = fits_state(&acts[i], state) &&
				    fits_state(&acts[j], state);

			/* What is not about the load goes with ABSENT. */
			if (is_loading(state) && (acts[i].call == do_fill) ==
						     (acts[j].call == do_fill))
				fits = false;
			if (fits)
				try_pair(&pair, salt++);
		}
	end();
}

/*
 * A set of a key comes to the end of an extent, or has to evict, and others set
 * many, so that what it found is sealed, evicted or used anew.
 */
#define CROWD_BYTES    600u
#define EVICTING_STEPS 120000u

static unsigned crowd_size;

static int
do_crowd(const char *who, char read[TEXT_MAX])
{
	static unsigned number;
	char key[TEXT_MAX], value[CROWD_BYTES];
	int result = 0;

	(void)who;
	(void)read;
	memset(value, 'c', sizeof(value));
	for (unsigned i = 0; i < crowd_size && result == 0; i++) {
		(void)snprintf(key, sizeof(key), "crowd-%u", number++);
		result = shmcache_set(
		    cache, key, strlen(key), value, sizeof(value), 0, 0);
	}
	return result;
}

static int
do_large_set(const char *who, char read[TEXT_MAX])
{
	char value[CROWD_BYTES];

	(void)who;
	(void)read;
	memset(value, 'l', sizeof(value));
	return shmcache_set(cache, KEY, KEY_BYTES, value, sizeof(value), 0, 0);
}

static void
check_crowded(const struct pair *pair)
{
	char value[CROWD_BYTES];
	size_t bytes = 0;
	int result = shmcache_get(
	    cache, KEY, KEY_BYTES, value, sizeof(value), &bytes, NULL);

	CHECK_SAY(pair->got.by[0].result == 0 && pair->got.by[1].result == 0,
	    "after instruction %" PRIu64 ": the set gave %d, the others' %d",
	    pair->at, pair->got.by[0].result, pair->got.by[1].result);
	if (result == SHMCACHE_ENOENT)
		return; /* evicted */
	CHECK(result == 0 && bytes == sizeof(value));
	for (size_t i = 0; i < bytes; i++)
		CHECK(value[i] == 'l');
}

static void
crowd_comes(const char *policy)
{
	static const struct act crowd = { "a crowd", do_crowd, STATES },
				large = { "set", do_large_set, STATES };
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct pair pair = { .first = &large, .second = &crowd };
	uint64_t stride = every / 7 + 1;

	options.capacity_bytes = 160u << 10;
	options.extent_bytes = 4096;
	options.expected_items = 300;
	options.policy = policy;
	begin_with(&options);
	crowd_size = 400;
	let_second(&crowd, &pair.got.by[1]);
	/* A set that evicts is long, and one that does not ends before. */
	for (pair.at = 1 + run_seed() % stride; pair.at < EVICTING_STEPS;
	     pair.at += stride + pair.at / 20) {
		/* Few: sealed beside it; many: all is evicted. */
		crowd_size = pair.at % 3 == 0 ? 300 : 5 + pair.at % 7;
		pair.came = false;
		(void)steps_run(come_between, &pair, do_first, &pair);
		if (!pair.came)
			let_second(&crowd, &pair.got.by[1]);
		check_crowded(&pair);
		cache_check_sound(cache);
	}
	end();
}

static void
memory_is_full(void)
{
	crowd_comes("clock");
}

static void
memory_is_full_of_two_logs(void)
{
	crowd_comes("s3fifo");
}

static void
key_is_absent(void)
{
	in_state(ABSENT);
}

static void
key_has_text(void)
{
	in_state(TEXT);
}

static void
key_is_a_counter(void)
{
	in_state(COUNTER);
}

static void
key_is_being_loaded(void)
{
	in_state(LOADING);
}

static void
key_is_being_refreshed(void)
{
	in_state(REFRESHING);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = { CASE(key_is_absent),
		CASE(key_has_text), CASE(key_is_a_counter),
		CASE(key_is_being_loaded), CASE(key_is_being_refreshed),
		CASE(memory_is_full), CASE(memory_is_full_of_two_logs) };
	static const struct test_option options[] = { { "every", &every,
	    "try each so many-th instruction" } };
	static const struct test_suite suite = { .cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.options = options,
		.option_count = TEST_COUNT_OF(options) };

	return run_suite(argc, argv, &suite);
}
