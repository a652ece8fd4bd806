/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * invalidate_test.c - what was invalidated never comes back
 *
 * There is a source of data: a number for each key, in memory that all processes
 * share.  Changers raise a number, invalidate it in the cache (the key's tag, or
 * everything), and when that call has returned say so, also in shared memory.
 * Loaders take a snapshot, read the number, dawdle, and store it with the
 * snapshot.  Others carry entries on: touches, appends, gets that make evictions
 * copy them, and sets that make them evict.
 *
 * A reader looks up what was invalidated last, then gets: the number it finds
 * must not be lower.  That is linearizability here: of the values that may stand
 * in the cache, only those that were current at or after the last invalidation
 * that had returned.
 *
 * The cache is small, so entries are copied on, evicted, and swept all the time;
 * tags are more than its table has words for, so tags collide too.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CAPACITY (1 << 20)
#define KEYS     24
#define GROUPS   8    /* the first tag of a key is that of its group */
#define CHANGES  4000 /* of each changer */

/* A key: its number in the source, and the last whose invalidation returned. */
struct fact {
	_Atomic uint64_t current;
	_Atomic uint64_t invalidated;
	char pad[48];
};

static struct shmcache *cache;
static struct fact *facts;
static _Atomic uint32_t *over;
static _Atomic uint64_t *hits;
static _Atomic uint64_t *refused;
static unsigned dawdle_us;

static size_t
name_key(char key[16], uint64_t number)
{
	return (size_t)snprintf(key, 16, "key-%" PRIu64, number);
}

static size_t
name_tag(char tag[16], const char *kind, uint64_t number)
{
	return (size_t)snprintf(tag, 16, "%s-%" PRIu64, kind, number);
}

static void
raise_to(_Atomic uint64_t *word, uint64_t value)
{
	uint64_t seen = atomic_load(word);

	while (
	    seen < value && !atomic_compare_exchange_weak(word, &seen, value)) {
	}
}

static void
change_key(uint64_t number)
{
	char tag[16];
	size_t bytes = name_tag(tag, "key", number);
	uint64_t new = atomic_fetch_add(&facts[number].current, 1) + 1;

	CHECK_RESULT(shmcache_invalidate_tag(cache, tag, bytes), 0);
	raise_to(&facts[number].invalidated, new);
}

/* Many numbers change, and one call invalidates them. */
static void
change_many(uint64_t group)
{
	char tag[16];
	size_t bytes = name_tag(tag, "group", group % GROUPS);
	uint64_t new[KEYS];

	for (uint64_t i = 0; i < KEYS; i++) {
		new[i] = group < GROUPS &&i % GROUPS != group
			     ? 0
			     : atomic_fetch_add(&facts[i].current, 1) + 1;
	}
	CHECK_RESULT(group < GROUPS ? shmcache_invalidate_tag(cache, tag, bytes)
				    : shmcache_flush(cache),
	    0);
	for (uint64_t i = 0; i < KEYS; i++) {
		raise_to(&facts[i].invalidated, new[i]);
	}
}

static void
changer_main(void *argument)
{
	uint32_t salt;
	struct prng prng;

	memcpy(&salt, argument, sizeof(salt));
	prng_init(&prng, run_seed(), 100 + salt);
	for (unsigned i = 0; i < CHANGES; i++) {
		if (prng_below(&prng, 16) == 0) {
			change_many(prng_below(&prng, GROUPS + 1));
		} else {
			change_key(prng_below(&prng, KEYS));
		}
		sleep_us((unsigned)prng_below(&prng, 50));
	}
}

static void
load_key(struct prng *prng)
{
	struct shmcache_set_options options = SHMCACHE_SET_OPTIONS_INIT;
	uint64_t number = prng_below(prng, KEYS);
	char key[16], tags[3][16], value[64];
	size_t key_bytes = name_key(key, number);
	struct shmcache_tag list[3] = {
		{ tags[0], name_tag(tags[0], "group", number % GROUPS) },
		{ tags[1], name_tag(tags[1], "other", prng_below(prng, 1000)) },
		{ tags[2], name_tag(tags[2], "key", number) },
	};
	struct shmcache_snapshot snapshot;
	int result, length;

	CHECK_RESULT(shmcache_snapshot(cache, &snapshot), 0);
	length = snprintf(value, sizeof(value), "%" PRIu64,
	    atomic_load(&facts[number].current));
	if (dawdle_us != 0 && prng_below(prng, 4) == 0) {
		sleep_us((unsigned)prng_below(prng, dawdle_us));
	}
	options.tags = list;
	options.tag_count = 3;
	options.snapshot = &snapshot;
	options.only_if = (uint32_t)prng_below(prng, 3);
	options.ttl_ms = prng_below(prng, 2) != 0 ? 60000 : SHMCACHE_TTL_NONE;
	result = shmcache_set_with(
	    cache, key, key_bytes, value, (size_t)length, &options);
	if (result == SHMCACHE_ESTALE) {
		atomic_fetch_add(refused, 1);
	} else if (result != SHMCACHE_ENOENT && result != SHMCACHE_EPRESENT) {
		CHECK_RESULT(result, 0);
	}
}

static void
loader_main(void *argument)
{
	uint32_t salt;
	struct prng prng;

	memcpy(&salt, argument, sizeof(salt));
	prng_init(&prng, run_seed(), 200 + salt);
	while (atomic_load(over) == 0) {
		load_key(&prng);
	}
}

/* Touches, appends, and new keys, for which others must go. */
static void
mover_main(void *argument)
{
	char key[16], filler[3000];
	struct prng prng;
	uint64_t fillers = 0;
	int result;

	(void)argument;
	memset(filler, 'f', sizeof(filler));
	prng_init(&prng, run_seed(), 300);
	while (atomic_load(over) == 0) {
		size_t bytes = name_key(key, prng_below(&prng, KEYS));

		result = prng_below(&prng, 2) != 0
			     ? shmcache_touch(cache, key, bytes, 60000)
			     : shmcache_append(cache, key, bytes, " ", 1);
		CHECK(result == 0 || result == SHMCACHE_ENOENT);
		bytes = name_tag(key, "fill", fillers++ % 500);
		CHECK_RESULT(shmcache_set(cache, key, bytes, filler,
				 1 + prng_below(&prng, sizeof(filler)), 0, 0),
		    0);
		if (fillers % 256 == 0) {
			CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
		}
	}
}

static void
check_read(uint64_t number, struct shmcache *reader)
{
	char key[16], value[4096];
	size_t key_bytes = name_key(key, number), bytes;
	uint64_t least = atomic_load(&facts[number].invalidated), found;
	int result = shmcache_get(
	    reader, key, key_bytes, value, sizeof(value) - 1, &bytes, NULL);
	uint64_t most = atomic_load(&facts[number].current);

	if (result == SHMCACHE_ENOENT) {
		return;
	}
	CHECK_RESULT(result, 0);
	value[bytes] = '\0';
	CHECK(sscanf(value, "%" SCNu64, &found) == 1);
	CHECK_SAY(found >= least && found <= most,
	    "key %" PRIu64 ": %" PRIu64 " after the invalidation of all below "
	    "%" PRIu64 " (the source has %" PRIu64 ")",
	    number, found, least, most);
	atomic_fetch_add(hits, 1);
}

/* The first reader copies without a pin. */
static void
reader_main(void *argument)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct shmcache *reader = cache;
	uint32_t salt;
	struct prng prng;

	memcpy(&salt, argument, sizeof(salt));
	prng_init(&prng, run_seed(), 400 + salt);
	options.read_only = 1;
	if (salt == 0) {
		CHECK_RESULT(
		    shmcache_open(test_name("invalidate"), &options, &reader),
		    0);
	}
	while (atomic_load(over) == 0) {
		check_read(prng_below(&prng, KEYS), reader);
	}
}

static void
run_history(unsigned dawdle)
{
	static const struct {
		void (*run)(void *);
		unsigned count;
	} kinds[] = { { changer_main, 2 }, { reader_main, 2 },
		{ loader_main, 3 }, { mover_main, 1 } };
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct shmcache_stats stats;
	pid_t pids[8];
	unsigned count = 0;

	options.capacity_bytes = CAPACITY;
	options.expected_tags = 1;
	options.default_ttl_ms = 1000000;
	options.peer_slots = 32;
	options.process_slots = 16;
	options.extent_bytes = 16384;
	cache = cache_create("invalidate", &options);
	dawdle_us = dawdle;
	facts = shared_alloc(KEYS * sizeof(*facts));
	over = shared_alloc(sizeof(*over));
	hits = shared_alloc(sizeof(*hits));
	refused = shared_alloc(sizeof(*refused));
	for (size_t k = 0; k < TEST_COUNT_OF(kinds); k++) {
		for (uint32_t i = 0; i < kinds[k].count; i++) {
			pids[count++] = child_start(kinds[k].run, &i);
		}
	}
	child_expect(pids[0], 0);
	child_expect(pids[1], 0);
	atomic_store(over, 1);
	for (unsigned i = 2; i < count; i++) {
		child_expect(pids[i], 0);
	}
	stats = cache_stats(cache);
	printf("  %" PRIu64 " hits, %" PRIu64 " sets refused, %" PRIu64
	       " invalidations, %" PRIu64 " flushes, %" PRIu64 " copies\n",
	    atomic_load(hits), atomic_load(refused), stats.invalidations,
	    stats.flushes, stats.second_chances);
	CHECK(stats.stale_sets == atomic_load(refused));
	CHECK(atomic_load(hits) > CHANGES);
	CHECK(dawdle == 0 || atomic_load(refused) > 0);
	cache_finish(cache);
}

static void
nothing_invalidated_comes_back(void)
{
	run_history(0);
}

static void
nor_from_slow_loaders(void)
{
	run_history(300);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(nothing_invalidated_comes_back),
		CASE(nor_from_slow_loaders),
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
	};

	return run_suite(argc, argv, &suite);
}
