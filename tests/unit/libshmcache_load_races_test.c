/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_load_races_test.c - leases and limits of loads, changed by two at
 * once (race.h)
 */
#include "libshmcache/latency.h"
#include "libshmcache/lease.h"
#include "libshmcache/owner.h"
#include "tests/unit/cache_support.h"
#include "tests/unit/race.h"

#include <errno.h>
#include <stdlib.h>

#define KEY       "load"
#define KEY_BYTES 4

static struct shmcache *cache;
static struct mapping *m;
static struct key key;
static struct lease_shared *place; /* the key's lease */

/* What lies beside the lease's word, and carries its seq. */

static bool
is_beside(uint64_t side)
{
	return side >> 42 == (place->word & WORD_SEQ);
}

static bool
is_held(void)
{
	return (place->word & WORD_STATE) == 1ull << WORD_STATE_SHIFT;
}

static bool
has_own_deadline(void)
{
	return is_held() && is_beside(place->deadline);
}

static struct call
enter(void)
{
	struct call call = { .m = NULL };

	(void)call_enter(cache, CALL_WRITES, &call);
	return call;
}

static void
free_lease(void)
{
	place->word = (place->word + 1) & WORD_SEQ;
	*token_at(m, key.hash) = token_fingerprint(key.hash) | 5;
}

/* Takes the lease, from whoever has it once the time that is given is over. */
static struct lease
take_lease(uint64_t lease_ms)
{
	struct call call = enter();
	struct lease lease = { .place = LEASE_NONE };
	int error;

	(void)lease_take(&call, &key, lease_ms, false, &lease, &error);
	call_leave();
	return lease;
}

/* A waiter gives the lease a deadline while it passes on. */

static struct lease held_by_other;

static void
take_by_other(void)
{
	held_by_other = take_lease(60000);
}

/* Its owner was stopped before it had a deadline. */
static void
take_without_deadline(void)
{
	free_lease();
	let_other(take_by_other);
	place->deadline = 0;
}

static void
wait_for_it(void)
{
	struct call call = enter();
	struct lease lease;

	(void)lease_is_held(&call, &key, false, &lease);
	call_leave();
}

static void
pass_on(void)
{
	struct call call = enter();

	(void)lease_release(&call, &held_by_other);
	call_leave();
	take_by_other();
}

static void
waiters_leave_the_next_its_deadline(void **state)
{
	(void)state;
	run_race(&(struct race){
	    take_without_deadline, wait_for_it, pass_on, has_own_deadline });
}

/* A lease is taken over before it has its deadline. */

static void
take_it(void)
{
	(void)take_lease(60000);
}

static void
take_over(void)
{
	(void)take_lease(0); /* gives it a deadline, which has passed then */
	(void)take_lease(60000);
}

static void
late_owners_leave_the_next_its_deadline(void **state)
{
	(void)state;
	run_race(
	    &(struct race){ free_lease, take_it, take_over, has_own_deadline });
}

/* A waiter gives the lease a deadline before its owner has, one that has passed;
   and some instructions later it is taken over. */

struct waiter_and_next {
	uint64_t waited; /* after which instruction; 0: not yet */
	uint64_t later;
	bool taken_over;
};

static void
wait_no_longer(void)
{
	(void)take_lease(0);
}

static bool
wait_and_take_over(void *context, uint64_t step)
{
	struct waiter_and_next *others = context;

	if (others->waited == 0 && is_held() && !is_beside(place->deadline)) {
		let_other(wait_no_longer);
		others->waited = step;
	}
	if (others->waited == 0 || step < others->waited + others->later)
		return true;
	let_other(take_it);
	others->taken_over = true;
	return false;
}

static void
take_stepped(void *unused)
{
	(void)unused;
	take_it();
}

static void
late_owners_replace_the_deadline_of_their_waiters_alone(void **state)
{
	struct waiter_and_next others = { .taken_over = true };
	uint64_t later;

	(void)state;
	for (later = 0; others.taken_over; later++) {
		others = (struct waiter_and_next){ .later = later };
		free_lease();
		(void)steps_run(
		    wait_and_take_over, &others, take_stepped, NULL);
		assert_int_not_equal(others.waited, 0);
		if (!has_own_deadline())
			fail_msg("wrong when it is taken over %u instructions "
				 "after the waiter",
			    (unsigned)later);
	}
	assert_true(later > 10);
}

/* The key's other place is another key's.  Who finds the lease neither held nor
   a place for it, since it is taken just then, waits for it. */

static enum lease_take takes[2];

static void
occupy_other_place(void)
{
	uint32_t mask = m->lease_mask;
	struct lease_shared *second =
	    &m->leases[((uint32_t)(key.hash >> 20) & mask) ^ 1];

	free_lease();
	let_other(take_by_other);
	if (second != place)
		second->word = place->word ^ (1ull << WORD_PRINT_SHIFT);
	free_lease();
}

static enum lease_take
try_lease(void)
{
	struct call call = enter();
	struct lease lease = { .place = LEASE_NONE };
	int error;
	enum lease_take take =
	    lease_take(&call, &key, 60000, false, &lease, &error);

	call_leave();
	return take;
}

static void
try_first(void)
{
	takes[0] = try_lease();
}

static void
try_second(void)
{
	takes[1] = try_lease();
}

static bool
does_the_other_wait(void)
{
	return (takes[0] == LEASE_TAKEN && takes[1] == LEASE_BUSY) ||
	       (takes[0] == LEASE_BUSY && takes[1] == LEASE_TAKEN);
}

static void
leases_that_were_just_taken_are_found(void **state)
{
	(void)state;
	run_race(&(struct race){
	    occupy_other_place, try_first, try_second, does_the_other_wait });
}

/* A failure is noted while the next load fails. */

static struct lease failing;
static uint64_t next_word; /* of the next load's failure; 0: there was none */

static void
take_to_fail(void)
{
	free_lease();
	failing = take_lease(60000);
	next_word = 0;
}

static void
fail_with(const struct lease *lease, int error)
{
	struct call call = enter();
	const struct shmcache_token token = { .token = *token_at(m, key.hash),
		.seq = m->shared->seq };

	lease_fail(&call, lease, error, 60000, &token);
	call_leave();
}

static void
fail_first(void)
{
	fail_with(&failing, -EIO);
}

static void
take_and_fail(void)
{
	struct lease lease = take_lease(60000);

	if (lease.word != place->word || lease.word == failing.word)
		return; /* the other's, or its failure */
	fail_with(&lease, -EPERM);
	next_word = place->word;
}

static bool
is_failure_whole(void)
{
	int error = (int)(uint32_t)place->error;

	return is_beside(place->deadline) && is_beside(place->error) &&
	       place->began >> 48 == (place->word & WORD_SEQ & 0xffff) &&
	       error == (next_word != 0 ? -EPERM : -EIO) &&
	       (next_word == 0 || next_word == place->word);
}

static void
failures_are_noted_whole(void **state)
{
	(void)state;
	run_race(&(struct race){
	    take_to_fail, fail_first, take_and_fail, is_failure_whole });
}

/* Loads are counted by their rates. */

static uint64_t began_us;

static void
count_no_loads(void)
{
	place->rate = 0;
	began_us = latency_now_ns(m) / 1000;
}

static void
count_load(void)
{
	struct call call = enter();

	(void)lease_may_by_rate(&call, &key, 50);
	call_leave();
}

/* 20 ms each. */
static bool
are_two_loads_counted(void)
{
	return ((place->rate - began_us) & ((1ull << 42) - 1)) >= 40000;
}

static struct shmcache_token tokens[2];
static int begun[2];

static void
limit_loads(void)
{
	m->shared->next_load_ns = 0;
	began_us = latency_now_ns(m) / 1000;
	begun[0] = begun[1] = SHMCACHE_ELIMIT;
}

static void
begin_load(unsigned who, const char *name)
{
	struct shmcache_load_options o = SHMCACHE_LOAD_OPTIONS_INIT;
	struct shmcache_value value = { .value = NULL };

	o.max_loads_per_s = 1; /* one at a time */
	begun[who] = shmcache_begin_load(
	    cache, name, strlen(name), &o, &value, &tokens[who]);
	if (begun[who] == 0)
		(void)shmcache_abandon(cache, &tokens[who]);
	free(value.value);
}

static void
begin_first(void)
{
	begin_load(0, "one");
}

static void
begin_second(void)
{
	begin_load(1, "two");
}

/* Both where the machine took so long that a second has passed. */
static bool
does_one_load(void)
{
	bool is_late = latency_now_ns(m) / 1000 - began_us >= 1000000;

	return (begun[0] == 0) != (begun[1] == 0) ||
	       (begun[0] == 0 && begun[1] == 0 && is_late);
}

static void
loads_are_counted(void **state)
{
	(void)state;
	run_race(&(struct race){
	    count_no_loads, count_load, count_load, are_two_loads_counted });
	run_race(&(struct race){
	    limit_loads, begin_first, begin_second, does_one_load });
}

/* Whole loads: another leads, and is done, between two steps of who asks. */

struct asked {
	int result; /* an error, or the source */
	bool is_others;
	struct shmcache_token token;
};

static struct asked by_first, by_second;

static struct shmcache_load_options
whole_options(void)
{
	struct shmcache_load_options o = SHMCACHE_LOAD_OPTIONS_INIT;

	o.negative_ttl_ms = 600000;
	o.lease_ms = 600000;
	return o;
}

static void
ask(struct asked *a)
{
	const struct shmcache_load_options o = whole_options();
	struct shmcache_value v = { .value = NULL };
	int error =
	    shmcache_begin_load(cache, KEY, KEY_BYTES, &o, &v, &a->token);

	a->result = error != 0 ? error : (int)v.source;
	a->is_others = v.value != NULL && v.value_bytes == 5 &&
		       !memcmp(v.value, "other", 5);
	free(v.value);
}

static void
ask_first(void)
{
	ask(&by_first);
}

static int
end_load(const struct asked *a, int result)
{
	const struct shmcache_load_options o = whole_options();
	char text[] = "other";
	const struct shmcache_loaded loaded = { .value = text,
		.value_bytes = 5 };

	return shmcache_fill(
	    cache, KEY, KEY_BYTES, &a->token, result, &loaded, &o);
}

static void
load_by_second(void)
{
	ask(&by_second);
	if (by_second.result == SHMCACHE_LEAD)
		(void)end_load(&by_second, 0);
}

static void
miss_by_second(void)
{
	ask(&by_second);
	if (by_second.result == SHMCACHE_LEAD)
		(void)end_load(&by_second, SHMCACHE_ENOENT);
}

static void
forget_key(void)
{
	free_lease();
	(void)shmcache_delete(cache, KEY, KEY_BYTES);
}

/* One of them leads, and is not followed by the other. */
static bool
is_loaded_once(void)
{
	if (by_first.result == SHMCACHE_LEAD)
		return by_second.result == SHMCACHE_BUSY &&
		       end_load(&by_first, 0) == 0 &&
		       test_has(cache, KEY, "other");
	return by_second.result == SHMCACHE_LEAD &&
	       by_first.result == SHMCACHE_FROM_CACHE && by_first.is_others &&
	       test_has(cache, KEY, "other");
}

static bool
is_missed_once(void)
{
	if (by_first.result == SHMCACHE_LEAD)
		return by_second.result == SHMCACHE_BUSY &&
		       end_load(&by_first, SHMCACHE_ENOENT) == 0;
	return by_second.result == SHMCACHE_LEAD &&
	       by_first.result == SHMCACHE_ENOENT;
}

static void
keys_are_loaded_once(void **state)
{
	(void)state;
	run_race(&(struct race){
	    forget_key, ask_first, load_by_second, is_loaded_once });
	run_race(&(struct race){
	    forget_key, ask_first, miss_by_second, is_missed_once });
}

/* The source has it no more: what it had goes, and nothing newer. */

static int ended;

static void
lead_what_is_there(void)
{
	struct shmcache_load_options o = whole_options();
	struct shmcache_value v = { .value = NULL };

	free_lease();
	(void)shmcache_set(cache, KEY, KEY_BYTES, "old", 3, 600000, 0);
	o.refresh_percent = 100; /* due at once */
	o.ttl_ms = 700000;
	(void)shmcache_begin_load(
	    cache, KEY, KEY_BYTES, &o, &v, &by_first.token);
	by_first.result = (int)v.source;
	free(v.value);
}

static void
drop_by_first(void)
{
	ended = shmcache_fill(cache, KEY, KEY_BYTES, &by_first.token,
	    SHMCACHE_ENOENT, NULL, NULL);
}

static void
set_newer(void)
{
	(void)shmcache_set(cache, KEY, KEY_BYTES, "newer", 5, 0, 0);
}

static void
touch_it(void)
{
	(void)shmcache_touch(cache, KEY, KEY_BYTES, 500000);
}

static bool
is_newer_there(void)
{
	return by_first.result == SHMCACHE_LEAD &&
	       (ended == 0 || ended == SHMCACHE_ESTALE) &&
	       test_has(cache, KEY, "newer");
}

static bool
is_old_gone_or_touched(void)
{
	return by_first.result == SHMCACHE_LEAD &&
	       (ended == 0 || ended == SHMCACHE_ESTALE) &&
	       (test_lacks(cache, KEY) || test_has(cache, KEY, "old"));
}

static void
what_is_newer_is_not_dropped(void **state)
{
	(void)state;
	run_race(&(struct race){
	    lead_what_is_there, drop_by_first, set_newer, is_newer_there });
	run_race(&(struct race){ lead_what_is_there, drop_by_first, touch_it,
	    is_old_gone_or_touched });
}

static int
setup(void **state)
{
	struct shmcache_options o = test_options();
	struct lease lease;

	(void)state;
	o.latency_sample = SHMCACHE_SAMPLE_OFF;
	cache = test_cache_of(&o);
	m = cache->mapping;
	index_key(m, KEY, KEY_BYTES, &key);
	lease = take_lease(1);
	place = &m->leases[lease.place];
	if (!race_begin(3))
		return -1;
	free_lease();
	let_other(take_by_other); /* both have their slots */
	return 0;
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
		RACE(waiters_leave_the_next_its_deadline),
		RACE(late_owners_leave_the_next_its_deadline),
		RACE(late_owners_replace_the_deadline_of_their_waiters_alone),
		RACE(leases_that_were_just_taken_are_found),
		RACE(failures_are_noted_whole),
		RACE(loads_are_counted),
		RACE(keys_are_loaded_once),
		RACE(what_is_newer_is_not_dropped),
	};

	if (!steps_possible())
		return steps_skip();
	return cmocka_run_group_tests(
	    tests, test_group_setup_one_cpu, test_group_teardown);
}
