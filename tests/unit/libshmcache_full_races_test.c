/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_full_races_test.c - what makes room, while others do (race.h)
 *
 * In a cache of one window of the index, and in one that is full: who displaces,
 * sweeps, evicts or deletes many is overtaken, after some twenty of its steps, by
 * others who set, delete and sweep.  Whoever comes first, what was set last is
 * there or was evicted, and the cache is sound: nothing is counted twice, or
 * lost.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tests/unit/support.h"

static unsigned tries_max = TEST_SANITIZED ? 8 : 20;

#define RACE_TRIES_MAX tries_max
#include "tests/unit/cache_support.h"
#include "tests/unit/race.h"

#include <errno.h>

#define KEYS 16u /* that a window has room for */

static struct shmcache *cache;
static int result;

static const char *
name_of(unsigned n)
{
	static char names[KEYS][32];

	return test_key(names[n % KEYS], "key", n);
}

static int
set_mortal(const char *key, const char *value)
{
	return shmcache_set(
	    cache, key, strlen(key), value, strlen(value), 3600000, 0);
}

static void
fill_window(void)
{
	for (unsigned i = 0; i < KEYS; i++)
		(void)set_mortal(name_of(i), "old");
}

static void
delete_all(void)
{
	for (unsigned i = 0; i < KEYS; i++)
		(void)shmcache_delete(cache, name_of(i), strlen(name_of(i)));
}

static void
set_others(void)
{
	char key[32];

	for (unsigned i = 0; i < 6; i++)
		(void)set_mortal(test_key(key, "other", i), "others'");
}

static void
set_new(void)
{
	result = test_set(cache, "new", "value");
}

/* Only what is there, with the value that it was given. */
static bool
has_or_lacks(const char *key, const char *value)
{
	return test_has(cache, key, value) || test_lacks(cache, key);
}

static bool
is_sound(void)
{
	bool right = shmcache_verify(cache, SHMCACHE_VERIFY_STRICT,
			 test_print_violation, NULL) == 0;
	char key[32];

	for (unsigned i = 0; i < KEYS; i++)
		right &= has_or_lacks(name_of(i), "old") ||
			 test_has(cache, name_of(i), "again");
	for (unsigned i = 0; i < 6; i++)
		right &= has_or_lacks(test_key(key, "other", i), "others'");
	return right;
}

static bool
is_new_there(void)
{
	return is_sound() && result == 0 && test_has(cache, "new", "value");
}

static bool
is_new_there_or_displaced(void)
{
	return is_sound() && result == 0 && has_or_lacks("new", "value");
}

static void
sets_into_a_full_window(void **state)
{
	(void)state;
	run_race(
	    &(struct race){ fill_window, set_new, delete_all, is_new_there });
	run_race(&(struct race){
	    fill_window, set_new, set_others, is_new_there_or_displaced });
}

/* Who withdraws a word that another has taken away already leaves what has come
   into its slot since. */

static void
empty_window(void)
{
	delete_all();
	(void)shmcache_delete(cache, "first", 5);
	(void)shmcache_delete(cache, "new", 3);
}

static void
set_new_and_fill(void) /* all of it but one slot, lest one is displaced */
{
	(void)set_mortal("new", "theirs");
	for (unsigned i = 2; i < KEYS; i++)
		(void)set_mortal(name_of(i), "old");
}

static bool
is_all_there(void)
{
	bool right = is_sound() && result == 0 &&
		     (test_has(cache, "new", "value") ||
			 test_has(cache, "new", "theirs"));

	for (unsigned i = 2; i < KEYS; i++)
		right &= test_has(cache, name_of(i), "old");
	return right;
}

static void
withdrawn_words_leave_their_slots(void **state)
{
	unsigned tries = tries_max;

	(void)state;
	tries_max *= 10; /* it is some sixty instructions */
	run_race(&(struct race){
	    empty_window, set_new, set_new_and_fill, is_all_there });
	tries_max = tries;
}

/* What has expired goes, once; what is set anew meanwhile stays. */

#define SWEPT 10u /* keys; the window has room for more */

static struct shmcache_sweep_result swept;

static void
expire_half(void)
{
	for (unsigned i = 0; i < SWEPT; i++)
		(void)set_mortal(name_of(i), "old");
	for (unsigned i = 0; i < SWEPT; i += 2)
		if (test_has(cache, name_of(i), "old")) /* not displaced */
			test_expire(cache, name_of(i));
}

static void
sweep(void)
{
	result = shmcache_sweep(cache, &swept);
}

static void
set_again(void)
{
	for (unsigned i = 0; i < SWEPT; i += 4)
		(void)set_mortal(name_of(i), "again");
}

static bool
is_expired_gone(void)
{
	bool right = is_sound() && result == 0;

	for (unsigned i = 0; i < SWEPT; i += 2)
		right &= test_lacks(cache, name_of(i));
	return right;
}

static bool
is_again_there(void)
{
	bool right = is_sound() && result == 0;

	for (unsigned i = 0; i < SWEPT; i += 4)
		right &= test_has(cache, name_of(i), "again");
	for (unsigned i = 2; i < SWEPT; i += 4)
		right &= test_lacks(cache, name_of(i));
	return right;
}

static void
sweeps_beside_others(void **state)
{
	(void)state;
	run_race(&(struct race){ expire_half, sweep, sweep, is_expired_gone });
	run_race(
	    &(struct race){ expire_half, sweep, set_again, is_again_there });
}

/* Extents fill up, are sealed and used anew while they are swept. */

static void
write_over(void)
{
	static char value[900];
	char key[32];

	memset(value, 'w', sizeof(value) - 1);
	for (unsigned i = 0; i < 60; i++)
		(void)test_set(cache, test_key(key, "w", i % 8), value);
}

static bool
is_swept(void)
{
	return is_sound() && result == 0;
}

static void
sweeps_while_extents_are_used_anew(void **state)
{
	(void)state;
	run_race(&(struct race){ expire_half, sweep, write_over, is_swept });
}

/* Many are deleted: what is there before, and not what was set after. */

static uint64_t deleted;

static void
delete_prefix(void)
{
	result = shmcache_delete_prefix(cache, "key", 3, &deleted);
}

static bool
is_prefix_gone(void)
{
	bool right = is_sound() && result == 0;

	for (unsigned i = 0; i < KEYS; i++)
		right &= !test_has(cache, name_of(i), "old");
	return right;
}

static void
set_each_again(void)
{
	for (unsigned i = 0; i < KEYS; i++)
		(void)set_mortal(name_of(i), "again");
}

static void
many_are_deleted_beside_others(void **state)
{
	(void)state;
	run_race(&(struct race){
	    fill_window, delete_prefix, delete_all, is_prefix_gone });
	run_race(&(struct race){
	    fill_window, delete_prefix, set_each_again, is_prefix_gone });
	run_race(&(struct race){
	    fill_window, delete_prefix, set_others, is_prefix_gone });
}

/* Who lists them sees whole ones. */

static unsigned seen, torn;

static int
look_at(void *unused, const struct shmcache_entry *entry)
{
	(void)unused;
	seen++;
	torn +=
	    !(entry->value_bytes == 3 && memcmp(entry->value, "old", 3) == 0) &&
	    !(entry->value_bytes == 5 && memcmp(entry->value, "again", 5) == 0);
	return 0;
}

static void
scan_keys(void)
{
	struct shmcache_scan_options o = SHMCACHE_SCAN_OPTIONS_INIT;
	uint64_t cursor = 0;

	seen = torn = 0;
	o.prefix = "key";
	o.prefix_bytes = 3;
	o.values = 1;
	do
		result = shmcache_scan(cache, &cursor, &o, look_at, NULL);
	while (result >= 0 && cursor != 0);
}

static bool
is_seen_whole(void)
{
	return is_sound() && result >= 0 && torn == 0 && seen <= 2 * KEYS;
}

static void
scans_see_whole_entries(void **state)
{
	(void)state;
	run_race(&(struct race){
	    fill_window, scan_keys, set_each_again, is_seen_whole });
	run_race(&(struct race){
	    fill_window, scan_keys, delete_all, is_seen_whole });
}

/* Sets that have to evict, beside others that do, and beside who empties it. */

static char large[900];

static void
set_some(unsigned from, unsigned count)
{
	char key[32];

	for (unsigned i = 0; i < count; i++)
		result |=
		    test_set(cache, test_key(key, "full", from + i), large);
}

static void
fill_all(void)
{
	static unsigned from;

	result = 0;
	set_some(from, 20);
	(void)test_has(cache, "kept", large);
	from = (from + 20) % 400;
}

static void
set_five(void)
{
	set_some(1000, 5);
}

static void
set_twenty_more(void)
{
	set_some(2000, 20);
}

static void
sweep_it(void)
{
	result |= shmcache_sweep(cache, &swept);
}

static void
delete_full(void)
{
	result |= shmcache_delete_prefix(cache, "full", 4, &deleted);
}

static bool
is_full_sound(void)
{
	char key[32];
	bool right =
	    result == 0 && shmcache_verify(cache, SHMCACHE_VERIFY_STRICT,
			       test_print_violation, NULL) == 0;

	for (unsigned i = 0; i < 5; i++)
		right &= has_or_lacks(test_key(key, "full", 1000 + i), large);
	return right && test_stats(cache).extents_pinned == 0;
}

static void
evictions_beside_others(void **state)
{
	(void)state;
	tries_max = TEST_SANITIZED ? 2 : 6; /* of a hundred thousand steps */
	memset(large, 'l', sizeof(large) - 1);
	set_some(0, 400);
	(void)test_set(cache, "kept", large);
	run_race(&(struct race){
	    fill_all, set_five, set_twenty_more, is_full_sound });
	run_race(&(struct race){ fill_all, set_five, sweep_it, is_full_sound });
	run_race(
	    &(struct race){ fill_all, set_five, delete_full, is_full_sound });
	run_race(&(struct race){
	    fill_all, sweep_it, set_twenty_more, is_full_sound });
}

static void
use_other_thread(void)
{
	(void)test_lacks(cache, "none");
}

static int
setup_with(uint64_t items, const char *policy)
{
	struct shmcache_options o = test_options();

	o.expected_items = items;
	o.policy = policy;
	o.latency_sample = SHMCACHE_SAMPLE_OFF;
	cache = test_cache_of(&o);
	if (!race_begin(2))
		return -1;
	let_other(use_other_thread);
	test_set_ok(cache, "first", "call");
	return 0;
}

static int
setup(void **state)
{
	(void)state;
	return setup_with(1, "clock"); /* one window */
}

static int
setup_full(void **state)
{
	(void)state;
	return setup_with(1000, "s3fifo");
}

static int
teardown(void **state)
{
	(void)state;
	(void)other_end();
	return shmcache_close(cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RACE(sets_into_a_full_window),
		RACE(withdrawn_words_leave_their_slots),
		RACE(sweeps_beside_others),
		RACE(sweeps_while_extents_are_used_anew),
		RACE(many_are_deleted_beside_others),
		RACE(scans_see_whole_entries),
		cmocka_unit_test_setup_teardown(
		    evictions_beside_others, setup_full, teardown),
	};

	if (!steps_possible())
		return steps_skip();
	return cmocka_run_group_tests(
	    tests, test_group_setup_one_cpu, test_group_teardown);
}
