/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * churn_test.c - a full cache goes on taking sets
 *
 * Many writers replace the whole content of a cache ten times over with values
 * of 1 byte to the limit.  No set that fits may fail, whatever the geometry,
 * with as many writers as there are extents, and with writers stopped in the
 * middle of what they do.  A set that does not fit leaves the old value.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"
#include "tests/support/value.h"

#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define CHURN       10 /* times the arena is written */
#define WRITERS_MAX 100
#define OWN_KEYS    2000

struct tally {
	_Atomic uint64_t sets;
	_Atomic uint64_t too_big;
	_Atomic uint64_t gets;
	_Atomic uint64_t deletes;
	_Atomic uint64_t written_bytes;
	_Atomic uint32_t go; /* 2: stop */
};

struct writer {
	struct shmcache *cache;
	struct tally *tally;
	uint32_t number;
	uint64_t bytes; /* to write; 0: until told to stop */
	struct prng prng;
	uint64_t limit;
	unsigned char *value;
	unsigned char key[KEY_ROOM];
	size_t key_bytes;
	struct value_id id;
	uint32_t last[OWN_KEYS]; /* sequence number of its last value */
};

static void
check_own(struct writer *writer)
{
	uint64_t own = writer->id.key % OWN_KEYS;
	struct value_id got;
	const char *wrong;
	uint32_t flags = 0;
	size_t bytes = 0;
	int result;

	result = shmcache_get(writer->cache, writer->key, writer->key_bytes,
	    writer->value, writer->limit, &bytes, &flags);
	atomic_fetch_add(&writer->tally->gets, 1);
	if (result == SHMCACHE_ENOENT) {
		return; /* evicted */
	}
	CHECK_RESULT(result, 0);
	wrong = value_check(writer->value, bytes, flags, writer->id.key, &got);
	CHECK_SAY(wrong == NULL, "%s", wrong);
	CHECK_SAY(
	    bytes < VALUE_HEADER_BYTES || got.sequence == writer->last[own],
	    "key %" PRIx64 ": value %" PRIu64 ", the last was %" PRIu32,
	    writer->id.key, got.sequence, writer->last[own]);
}

static void
set_too_big(struct writer *writer)
{
	CHECK_RESULT(
	    shmcache_set(writer->cache, writer->key, writer->key_bytes,
		writer->value, writer->limit - writer->key_bytes + 1, 0, 0),
	    SHMCACHE_ETOOBIG);
	atomic_fetch_add(&writer->tally->too_big, 1);
	check_own(writer);
}

static void
set_own(struct writer *writer)
{
	struct value_id *id = &writer->id;
	uint32_t flags;

	id->bytes = (uint32_t)prng_size(
	    &writer->prng, writer->limit - writer->key_bytes);
	id->sequence++;
	flags = value_make(writer->value, id);
	CHECK_RESULT(shmcache_set(writer->cache, writer->key, writer->key_bytes,
			 writer->value, id->bytes, 0, flags),
	    0);
	writer->last[id->key % OWN_KEYS] = (uint32_t)id->sequence;
	atomic_fetch_add(&writer->tally->sets, 1);
	atomic_fetch_add(
	    &writer->tally->written_bytes, writer->key_bytes + id->bytes);
}

static void
delete_own(struct writer *writer)
{
	int result =
	    shmcache_delete(writer->cache, writer->key, writer->key_bytes);

	CHECK(result == 0 || result == SHMCACHE_ENOENT);
	atomic_fetch_add(&writer->tally->deletes, 1);
}

/* Every writer has its own keys, so it knows what they must hold. */
static void
writer_main(void *argument)
{
	struct writer *writer = argument;
	struct tally *tally = writer->tally;
	uint64_t done = 0;

	writer->limit = cache_stats(writer->cache).max_entry_bytes;
	writer->value = malloc(writer->limit + 1);
	CHECK(writer->value != NULL);
	memset(writer->value, 0, writer->limit + 1);
	writer->id.writer = writer->number;
	prng_init(&writer->prng, run_seed(), writer->number);
	await_at_least(&tally->go, 1);
	while (writer->bytes ? done < writer->bytes
			     : atomic_load(&tally->go) < 2) {
		uint64_t dice = prng_below(&writer->prng, 100);

		writer->id.key = (uint64_t)writer->number * OWN_KEYS +
				 prng_below(&writer->prng, OWN_KEYS);
		writer->key_bytes = key_make(writer->key, writer->id.key);
		if (dice < 10) {
			check_own(writer);
		} else if (dice < 12) {
			set_too_big(writer);
		} else if (dice < 14) {
			delete_own(writer);
		} else {
			set_own(writer);
			done += writer->key_bytes + writer->id.bytes;
		}
	}
	free(writer->value);
}

static void
check_counters(struct shmcache *cache, struct tally *tally)
{
	struct shmcache_stats s = cache_stats(cache);

	CHECK(s.sets == tally->sets);
	CHECK(s.inserts + s.replaces == s.sets);
	CHECK(s.set_failures == tally->too_big);
	CHECK(s.get_hits + s.get_misses == tally->gets);
	CHECK(s.deletes + s.delete_misses == tally->deletes);
	CHECK(s.written_bytes >= tally->written_bytes);
	CHECK(s.evictions > 0 && s.extents_evicted > 0);
	CHECK(
	    s.extents_recycled > 0 && s.extents_recycled <= s.extents_evicted);
	CHECK_SAY(s.items == s.inserts - s.deletes - s.evictions -
				 s.evicted_expired - s.index_evictions -
				 s.expired_on_read - s.expired_swept,
	    "%" PRIu64 " items, but %" PRIu64 " inserts, %" PRIu64
	    " deletes, %" PRIu64 " evictions, %" PRIu64 " index evictions",
	    s.items, s.inserts, s.deletes, s.evictions, s.index_evictions);
	CHECK(s.items <= s.index_slots && s.items > 0);
	CHECK(s.live_bytes > 0 && s.live_bytes <= s.arena_bytes);
	CHECK(s.extents_free + s.extents_active + s.extents_sealed +
		  s.extents_evicting + s.extents_limbo ==
	      s.extents);
	CHECK(s.extents_pinned == 0);
	printf("  %" PRIu64 " sets, %" PRIu64 " items, %" PRIu64 " of %" PRIu64
	       " bytes live, %" PRIu64 " evictions, %" PRIu64
	       " for want of a slot, %" PRIu64 " second chances\n",
	    s.sets, s.items, s.live_bytes, s.arena_bytes, s.evictions,
	    s.index_evictions, s.second_chances);
}

/* `writers` 0 is one for each extent. */
static void
churn(struct shmcache *cache, uint64_t writers)
{
	struct shmcache_stats stats = cache_stats(cache);
	struct tally *tally = shared_alloc(sizeof(*tally));
	struct writer *writer = calloc(1, sizeof(*writer));
	pid_t pids[WRITERS_MAX];

	CHECK(writer != NULL);
	if (writers == 0) {
		writers =
		    stats.extents < WRITERS_MAX ? stats.extents : WRITERS_MAX;
	}
	printf("  %" PRIu64 " extents of %" PRIu64 " bytes, %" PRIu64
	       " writers\n",
	    stats.extents, stats.extent_bytes, writers);
	writer->cache = cache;
	writer->tally = tally;
	writer->bytes = CHURN * stats.arena_bytes / writers;
	for (uint32_t i = 0; i < writers; i++) {
		writer->number = i;
		pids[i] = child_start(writer_main, writer);
	}
	atomic_store(&tally->go, 1);
	for (uint32_t i = 0; i < writers; i++) {
		child_expect(pids[i], 0);
	}
	cache_check_sound(cache);
	check_counters(cache, tally);
	CHECK_RESULT(shmcache_close(cache), 0);
	free(writer);
}

/*
 * Create a cache that is refused as too small, and return the least capacity
 * that the refusal names.
 */
static uint64_t
least_capacity(const struct shmcache_options *wanted)
{
	struct shmcache_options options = *wanted;
	struct shmcache *cache;

	options.capacity_bytes = 4096;
	CHECK_RESULT(shmcache_open(test_name("churn"), &options, &cache),
	    SHMCACHE_ECAPACITY);
	return cache_least_told();
}

static void
churn_geometry(uint64_t extent_bytes, uint64_t more_bytes, uint64_t writers)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;

	options.extent_bytes = extent_bytes;
	options.expected_items = 4096;
	options.peer_slots = 128;
	options.process_slots = 128;
	options.capacity_bytes = least_capacity(&options) + more_bytes;
	churn(cache_create("churn", &options), writers);
}

static void
least_extents_of_64k_a_writer_each(void)
{
	churn_geometry(64 << 10, 0, 0);
}

static void
least_extents_of_4k_a_writer_each(void)
{
	churn_geometry(4 << 10, 0, 0);
}

static void
extents_of_4k_a_hundred_writers(void)
{
	churn_geometry(4 << 10, 256 << 10, WRITERS_MAX);
}

static void
extents_of_64k_sixteen_writers(void)
{
	churn_geometry(64 << 10, 2 << 20, 16);
}

static void
one_mebibyte_defaults(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct shmcache *cache;
	uint64_t capacity = 1 << 20;
	uint64_t least = least_capacity(&options);

	/* 512 peers may need more than that. */
	options.capacity_bytes = capacity > least ? capacity : least;
	cache = cache_create("churn", &options);
	churn(cache, 16);
}

static void
large_cache_defaults(void)
{
	churn(cache_create_plain("churn", 32 << 20), 8);
}

/* Few slots for many small entries: the windows of the index fill up first. */
static void
index_too_small(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct shmcache *cache;
	unsigned char key[KEY_ROOM];
	struct shmcache_stats stats;

	options.capacity_bytes = 4 << 20;
	options.expected_items = 64;
	cache = cache_create("churn", &options);
	for (uint64_t i = 0; i < 100000; i++) {
		CHECK_RESULT(
		    shmcache_set(cache, key, key_make(key, i), "x", 1, 0, 0),
		    0);
		CHECK_RESULT(shmcache_exists(cache, key, key_make(key, i)), 1);
	}
	stats = cache_stats(cache);
	CHECK(stats.index_evictions > 0);
	CHECK(stats.items <= stats.index_slots);
	CHECK(stats.items >= stats.index_slots / 2);
	cache_finish(cache);
}

/* Whoever is stopped holds a few extents; the others go on. */
static void
writers_stopped_at_random(void)
{
	struct shmcache *cache = cache_create_plain("churn", 8 << 20);
	struct tally *tally = shared_alloc(sizeof(*tally));
	struct writer *writer = calloc(1, sizeof(*writer));
	uint64_t arena_bytes = cache_stats(cache).arena_bytes;
	struct prng prng;
	pid_t pids[8];

	CHECK(writer != NULL);
	prng_init(&prng, run_seed(), 1000);
	writer->cache = cache;
	writer->tally = tally;
	for (uint32_t i = 0; i < TEST_COUNT_OF(pids); i++) {
		writer->number = i;
		pids[i] = child_start(writer_main, writer);
	}
	atomic_store(&tally->go, 1);
	for (uint64_t round = 0; round < 10; round++) {
		for (uint32_t i = 0; i < TEST_COUNT_OF(pids); i++) {
			sleep_us((unsigned)prng_below(&prng, 3000));
			CHECK(child_stop(pids[i]));
		}
		cache_churn(cache, round, 2 * arena_bytes);
		cache_check_live(cache);
		for (uint32_t i = 0; i < TEST_COUNT_OF(pids); i++) {
			CHECK_SYS(kill(pids[i], SIGCONT));
		}
	}
	atomic_store(&tally->go, 2);
	for (uint32_t i = 0; i < TEST_COUNT_OF(pids); i++) {
		child_expect(pids[i], 0);
	}
	cache_check_sound(cache);
	CHECK(cache_stats(cache).peers == 1);
	CHECK_RESULT(shmcache_close(cache), 0);
	free(writer);
}

/* A value that lies in a file, say: its memory comes when it is touched, and who
   copies it stands still until then. */
#define SLOW_BYTES  16000u
#define SLOW_SETS   20u
#define SLOW_EXTENT (64u << 10)

static unsigned char *slow_value;

static void
stop_here(int number)
{
	(void)number;
	(void)raise(SIGSTOP);
	(void)mprotect(slow_value, SLOW_BYTES, PROT_READ);
}

static size_t
slow_key(unsigned char key[KEY_ROOM], uint64_t number)
{
	return key_make(key, 1000000 + number);
}

struct slow {
	struct shmcache *cache;
	uint64_t number;
};

static void
set_slowly(void *argument)
{
	const struct sigaction action = { .sa_handler = stop_here };
	const struct slow *slow = argument;
	unsigned char key[KEY_ROOM];

	CHECK_SYS(sigaction(SIGSEGV, &action, NULL));
	slow_value = mmap(
	    NULL, SLOW_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(slow_value != MAP_FAILED);
	CHECK_RESULT(shmcache_set(slow->cache, key, slow_key(key, slow->number),
			 slow_value, SLOW_BYTES, 0, 0),
	    0);
}

/* Each in the place of an entry that lies in an extent of its own.  All on one
   processor, of which each writes to extents of its own. */
static void
writers_stopped_in_large_values(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct slow slow = { .number = 0 };
	unsigned char key[KEY_ROOM];
	struct shmcache_stats stats;
	pid_t pids[SLOW_SETS];
	cpu_set_t one;
	int status;

	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	CHECK_SYS(sched_setaffinity(0, sizeof(one), &one));
	options.extent_bytes = SLOW_EXTENT;
	options.capacity_bytes = 4u << 20;
	slow.cache = cache_create("churn", &options);
	for (uint64_t i = 0; i < SLOW_SETS; i++) {
		CHECK_RESULT(shmcache_set(slow.cache, key, slow_key(key, i),
				 "old", 3, 0, 0),
		    0);
		cache_churn(slow.cache, i, SLOW_EXTENT);
	}
	for (; slow.number < SLOW_SETS; slow.number++) {
		pids[slow.number] = child_start(set_slowly, &slow);
		CHECK(waitpid(pids[slow.number], &status, WUNTRACED) > 0);
		CHECK(WIFSTOPPED(status));
	}
	/* Their targets, which they share. */
	stats = cache_stats(slow.cache);
	CHECK_SAY(stats.extents_pinned <= SLOW_SETS / 2,
	    "%" PRIu64 " extents are pinned", stats.extents_pinned);
	cache_churn(slow.cache, SLOW_SETS, 2 * stats.arena_bytes);
	for (unsigned i = 0; i < SLOW_SETS; i++) {
		CHECK_SYS(kill(pids[i], SIGCONT));
		child_expect(pids[i], 0);
	}
	cache_finish(slow.cache);
}

static void
failed_replace_keeps_old_value(void)
{
	struct shmcache *cache = cache_create_plain("churn", 4 << 20);
	uint64_t limit = cache_stats(cache).max_entry_bytes;
	unsigned char *big = calloc(1, limit);
	struct shmcache_stats stats;

	CHECK(big != NULL);
	cache_set_text(cache, "key", "old");
	CHECK_RESULT(shmcache_set(cache, "key", 3, big, limit - 2, 0, 0),
	    SHMCACHE_ETOOBIG);
	cache_check_text(cache, "key", "old");
	CHECK_RESULT(shmcache_set(cache, "key", 3, big, limit - 3, 0, 0), 0);
	CHECK_RESULT(shmcache_set(cache, "key", 3, big, SIZE_MAX, 0, 0),
	    SHMCACHE_ETOOBIG);
	stats = cache_stats(cache);
	CHECK(stats.sets == 2 && stats.set_failures == 2);
	CHECK(stats.inserts == 1 && stats.replaces == 1 && stats.items == 1);
	cache_finish(cache);
	free(big);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(failed_replace_keeps_old_value),
		CASE(least_extents_of_64k_a_writer_each),
		CASE(least_extents_of_4k_a_writer_each),
		CASE(extents_of_4k_a_hundred_writers),
		CASE(extents_of_64k_sixteen_writers),
		CASE(one_mebibyte_defaults),
		CASE(large_cache_defaults),
		CASE(index_too_small),
		CASE(writers_stopped_at_random),
		CASE(writers_stopped_in_large_values),
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
	};

	return run_suite(argc, argv, &suite);
}
