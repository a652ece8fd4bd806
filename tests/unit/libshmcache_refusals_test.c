/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libshmcache_refusals_test.c - what is refused, and what is not to be seen */
#include "libshmcache/latency.h"
#include "tests/support/steps.h"
#include "tests/unit/cache_support.h"

#include <errno.h>
#include <pthread.h>

static struct shmcache *cache;

static void
check_open(
    const struct shmcache_options *options, int error, const char *because)
{
	struct shmcache *opened;

	assert_int_equal(shmcache_open(test_name(), options, &opened), error);
	if (strstr(shmcache_last_error(), because) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", shmcache_last_error(),
		    because);
}

static void
options_are_refused_with_the_reason(void **state)
{
	struct shmcache_options o = test_options();

	(void)state;
	o.policy = "nonsense";
	check_open(&o, -EINVAL, "there is no policy \"nonsense\"");
	o = test_options();
	o.extent_bytes = 5000;
	check_open(&o, -EINVAL, "power of two");
	o = test_options();
	o.read_only = 1;
	check_open(&o, -EINVAL, "does not create");
	o = test_options();
	o.capacity_bytes = 0;
	check_open(&o, SHMCACHE_ECAPACITY, "needs a capacity");
	assert_int_equal(shmcache_open(test_name(), &o, NULL), -EINVAL);
}

static int
see(void *context, const struct shmcache_entry *entry)
{
	if (entry->age_ms < 0)
		++*(unsigned *)context;
	return 0;
}

static int
scan_with(const struct shmcache_scan_options *options)
{
	unsigned ageless = 0;
	uint64_t cursor = 0;

	return shmcache_scan(cache, &cursor, options, see, &ageless);
}

static void
arguments_are_refused(void **state)
{
	struct shmcache_scan_options o = SHMCACHE_SCAN_OPTIONS_INIT;
	struct shmcache_item item = { .value = NULL };
	uint32_t pin;
	char buffer[4];

	(void)state;
	o.struct_bytes = 1;
	assert_int_equal(scan_with(&o), -EINVAL);
	o.struct_bytes = sizeof(o) + 8;
	assert_int_equal(scan_with(&o), -EINVAL);
	o = (struct shmcache_scan_options)SHMCACHE_SCAN_OPTIONS_INIT;
	o.prefix_bytes = 3;
	assert_int_equal(scan_with(&o), -EINVAL);
	o.prefix_bytes = 0;
	o.values = 2;
	assert_int_equal(scan_with(&o), -EINVAL);
	o.values = 0;
	o.reserved = 1;
	assert_int_equal(scan_with(&o), -EINVAL);
	o.reserved = 0;
	o.glob_bytes = 1;
	assert_int_equal(scan_with(&o), -EINVAL);
	assert_int_equal(shmcache_delete_prefix(cache, NULL, 3, NULL), -EINVAL);
	assert_int_equal(shmcache_unpin(cache, NULL), -EINVAL);
	assert_int_equal(shmcache_unpin(cache, &item), -EINVAL);
	assert_int_equal(shmcache_get_pinned(cache, "key", 3, &item), 0);
	pin = item.pin;
	item.pin = SHM_PIN_HANDLES - 1;
	assert_int_equal(shmcache_unpin(cache, &item), -EINVAL);
	item.pin = SHM_PIN_END;
	assert_int_equal(shmcache_unpin(cache, &item), -EINVAL);
	item.pin = pin;
	assert_int_equal(shmcache_unpin(cache, &item), 0);
	assert_int_equal(shmcache_get_and_touch(cache, "key", 3,
			     SHMCACHE_TTL_NONE - 1, buffer, 4, NULL, NULL),
	    -EINVAL);
	assert_int_equal(
	    shmcache_get(cache, "key", 3, NULL, sizeof(buffer), NULL, NULL),
	    -EINVAL);
}

/* Numbers of this cache's name that no scan gave out. */
static void
cursors_that_no_scan_gave_out_are_refused(void **state)
{
	struct shmcache_scan_options o = SHMCACHE_SCAN_OPTIONS_INIT;
	uint64_t slots = cache->mapping->bucket_count * INDEX_BUCKET_SLOTS;
	unsigned ageless = 0;
	uint64_t cursor = 0, wrong_ones[2];

	(void)state;
	o.max_slots = 1;
	assert_in_range(shmcache_scan(cache, &cursor, &o, see, &ageless), 0, 1);
	assert_int_not_equal(cursor, 0);
	wrong_ones[0] = cursor - 1;
	wrong_ones[1] = cursor - 1 + slots;
	for (unsigned i = 0; i < 2; i++) {
		cursor = wrong_ones[i];
		assert_int_equal(
		    shmcache_scan(cache, &cursor, &o, see, &ageless), -EINVAL);
		assert_true(cursor == wrong_ones[i]);
	}
}

/* Of a cache that has neither a time to live nor samples; and of no policy. */
static void
what_there_is_not_is_said(void **state)
{
	struct shmcache_options o = test_options(),
				readers = SHMCACHE_OPTIONS_INIT;
	struct shmcache_item item = { .value = NULL };
	struct shmcache *plain, *reader;
	struct shmcache_peer_info peer;
	size_t peers = 0;

	(void)state;
	o.default_ttl_ms = SHMCACHE_TTL_NONE;
	o.latency_sample = SHMCACHE_SAMPLE_OFF;
	plain = test_cache_of(&o);
	test_set_ok(plain, "key", "value");
	assert_int_equal(test_stats(plain).default_ttl_ms, 0);
	assert_int_equal(test_stats(plain).latency_sample, 0);
	assert_int_equal(shmcache_peers(plain, &peer, 1, &peers), 0);
	assert_int_equal(peers, 1);
	assert_int_equal(peer.idle_ms, -1);
	assert_int_equal(peer.operations, 1);
	assert_string_equal(shmcache_policy_name(12345), "unknown");
	readers.read_only = 1;
	readers.open_mode = SHMCACHE_ATTACH;
	assert_int_equal(shmcache_open(plain->path, &readers, &reader), 0);
	assert_int_equal(
	    shmcache_get_pinned(reader, "none", 4, &item), SHMCACHE_ENOENT);
	assert_null(item.value);
	assert_int_equal(shmcache_close(reader), 0);
	assert_int_equal(shmcache_close(plain), 0);
}

/* What a damaged table says is told as far as it means anything. */
static void
damaged_tables_are_told_of(void **state)
{
	struct shm_segment *s = cache->mapping->segment;
	struct shm_peer_shared *slot = &shm_peer_table(s)[20];
	struct shmcache_stats sound = test_stats(cache), told;
	struct shmcache_peer_info peers[24];
	uint64_t *state_word = &shm_extent_table(s)[3].state;
	uint64_t was = *state_word;
	size_t count = 0;

	(void)state;
	slot->claim = SHM_CLAIM_LIVE | 1u << 2 | 0xfffull << 28;
	slot->pins[SHM_PIN_ENTRY] = 1u << 20; /* there is no such extent */
	*state_word = UINT64_MAX;
	cache->mapping->shared->created_ms = UINT64_MAX; /* to come */
	told = test_stats(cache);
	assert_int_equal(told.peers, sound.peers + 1);
	assert_int_equal(told.extents_pinned, sound.extents_pinned);
	assert_int_equal(told.extents_free + told.extents_active +
			     told.extents_sealed + told.extents_evicting +
			     told.extents_limbo,
	    sound.extents - 1);
	assert_int_equal(told.created_age_ms, 0);
	assert_int_equal(shmcache_peers(cache, peers, 24, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(peers[1].slot, 20);
	assert_int_equal(peers[1].pid, 0);
	assert_int_equal(peers[1].alive, 0);
	assert_int_equal(peers[1].pins, 1);
	slot->claim = 0;
	slot->pins[SHM_PIN_ENTRY] = 0;
	*state_word = was;
}

/* A handler of a signal that came within a call makes others. */

static struct shmcache_item held;
static unsigned wrong;

static bool
call_within(void *context, uint64_t step)
{
	struct shmcache *opened;
	struct shmcache_item item = held;
	char buffer[8];

	(void)context;
	if (!cache_thread.inside || step < 20)
		return true;
	wrong += shmcache_open("none", NULL, &opened) != SHMCACHE_EDEADLK;
	wrong += shmcache_close(cache) != SHMCACHE_EDEADLK;
	wrong += shmcache_remove("none") != SHMCACHE_EDEADLK;
	wrong += shmcache_unpin(cache, &item) != SHMCACHE_EDEADLK;
	wrong += shmcache_get(cache, "key", 3, buffer, 8, NULL, NULL) !=
		 SHMCACHE_EDEADLK;
	wrong += !cache_thread.inside;
	return false;
}

static void
get_key(void *argument)
{
	char buffer[8];
	size_t bytes;

	*(int *)argument =
	    shmcache_get(cache, "key", 3, buffer, sizeof(buffer), &bytes, NULL);
}

static void
no_call_within_a_call(void **state)
{
	static const int64_t initial = 1;
	struct shmcache_item copied;
	int result = -1;

	(void)state;
	if (!steps_possible())
		skip();
	assert_int_equal(shmcache_incr(cache, "n", 1, 1, &initial, 0, NULL), 0);
	assert_int_equal(shmcache_get_pinned(cache, "key", 3, &held), 0);
	wrong = 0;
	(void)steps_run(call_within, NULL, get_key, &result);
	assert_int_equal(result, 0);
	assert_int_equal(wrong, 0);
	assert_int_equal(shmcache_unpin(cache, &held), 0);
	/* Of a counter there is a copy. */
	assert_int_equal(shmcache_get_pinned(cache, "n", 1, &copied), 0);
	held = copied;
	(void)steps_run(call_within, NULL, get_key, &result);
	assert_int_equal(wrong, 0);
	assert_int_equal(shmcache_unpin(cache, &copied), 0);
}

static void *
ask_only(void *result)
{
	*(int *)result = shmcache_is_available(cache);
	return cache_thread.peer;
}

static void
asking_claims_no_slot(void **state)
{
	pthread_t thread;
	void *peer = cache;
	int result = 0;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, ask_only, &result), 0);
	assert_int_equal(pthread_join(thread, &peer), 0);
	assert_int_equal(result, 1);
	assert_null(peer);
}

static void
tentative_words_are_not_seen(void **state)
{
	char buffer[64];
	struct shmcache_item item;
	struct call call = test_enter(cache);
	struct key key;
	uint64_t word, slot;

	(void)state;
	test_hash(&call, "new", &key);
	word = test_write_unlinked(&call, "new", "not yet");
	slot = index_slot(&key, 0);
	call.m->slots[slot] = word | INDEX_TENTATIVE;
	call_leave();
	assert_int_equal(
	    shmcache_get(cache, "new", 3, buffer, sizeof(buffer), NULL, NULL),
	    SHMCACHE_ENOENT);
	assert_int_equal(
	    shmcache_get_pinned(cache, "new", 3, &item), SHMCACHE_ENOENT);
	assert_int_equal(
	    shmcache_touch(cache, "new", 3, 1000), SHMCACHE_ENOENT);
	assert_int_equal(
	    shmcache_append(cache, "new", 3, "!", 1), SHMCACHE_ENOENT);
	assert_true(test_lacks(cache, "new"));
}

/* The word becomes a tentative one after it was found. */

static uint64_t *turned, tentative;

static bool
turn(void *context, uint64_t step)
{
	if (step < *(uint64_t *)context)
		return true;
	*turned = tentative;
	return false;
}

struct got {
	char buffer[64];
	int result;
};

static void
get_it(void *argument)
{
	struct got *got = argument;

	got->result = shmcache_get(
	    cache, "key", 3, got->buffer, sizeof(got->buffer) - 1, NULL, NULL);
}

static void
words_that_turn_tentative_are_not_read(void **state)
{
	struct call call = test_enter(cache);
	struct found found;
	struct key key;
	uint64_t steps, at;

	(void)state;
	test_hash(&call, "key", &key);
	tentative =
	    test_write_unlinked(&call, "key", "never") | INDEX_TENTATIVE;
	call_leave();
	found = test_find(cache, "key");
	turned = &cache->mapping->slots[found.slot];
	if (!steps_possible())
		skip();
	at = UINT64_MAX;
	{
		struct got got = { .result = -1 };

		steps = steps_run(turn, &at, get_it, &got);
	}
	for (at = 1; at < steps; at++) {
		struct got got = { .result = -1 };

		*turned = found.word;
		(void)steps_run(turn, &at, get_it, &got);
		assert_true(got.result == 0 || got.result == SHMCACHE_ENOENT);
		assert_string_not_equal(got.buffer, "never");
	}
	*turned = found.word;
}

static void
tokens_of_others_are_refused(void **state)
{
	struct shmcache_loaded loaded = { .value_bytes = 1 };
	struct shmcache_value value;
	struct shmcache_token token, foreign;
	char x = 'x';

	(void)state;
	loaded.value = &x;
	assert_int_equal(
	    shmcache_begin_load(cache, "load", 4, NULL, &value, &token), 0);
	assert_int_equal(value.source, SHMCACHE_LEAD);
	assert_int_equal(
	    shmcache_fill(cache, "other", 5, &token, 0, &loaded, NULL),
	    SHMCACHE_ESTALE);
	foreign = token;
	foreign.segment_id ^= 1;
	assert_int_equal(
	    shmcache_fill(cache, "load", 4, &foreign, 0, &loaded, NULL),
	    SHMCACHE_ESTALE);
	foreign = token;
	foreign.seq += 1000;
	assert_int_equal(
	    shmcache_fill(cache, "load", 4, &foreign, 0, &loaded, NULL),
	    SHMCACHE_ESTALE);
	assert_true(test_lacks(cache, "other"));
	assert_int_equal(
	    shmcache_fill(cache, "load", 4, &token, 0, &loaded, NULL), 0);
	assert_true(test_has(cache, "load", "x"));
}

static void
age_of_an_extent_without_a_stamp_is_unknown(void **state)
{
	struct shm_extent e = test_extent_of(cache, "key");
	unsigned ageless = 0;
	uint64_t cursor = 0;

	(void)state;
	shm_arena_set_stamp(cache->mapping->segment, e.number, e.generation, 0);
	assert_int_equal(shmcache_scan(cache, &cursor, NULL, see, &ageless), 1);
	assert_int_equal(ageless, 1);
}

static void
bounds_of_latencies_rise(void **state)
{
	(void)state;
	for (unsigned i = 1; i < SHMCACHE_LATENCY_BUCKETS; i++)
		assert_true(shmcache_latency_bound_ns(i) >
			    shmcache_latency_bound_ns(i - 1));
	assert_true(shmcache_latency_bound_ns(0) <= 1024);
	assert_true(shmcache_latency_bound_ns(SHMCACHE_LATENCY_BUCKETS - 1) ==
		    UINT64_MAX);
}

static void
latencies_can_be_switched_off(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *quiet;
	unsigned ageless;

	(void)state;
	o.latency_sample = SHMCACHE_SAMPLE_OFF;
	quiet = test_cache_of(&o);
	assert_null(quiet->mapping->latency);
	test_set_ok(quiet, "key", "value");
	test_read(quiet, "key");
	assert_int_equal(shmcache_hot_keys(quiet, see, &ageless), 0);
	assert_int_equal(shmcache_close(quiet), 0);
}

static int
setup(void **state)
{
	(void)state;
	cache = test_cache();
	test_set_ok(cache, "key", "value");
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return shmcache_close(cache);
}

#define REFUSAL(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		REFUSAL(options_are_refused_with_the_reason),
		REFUSAL(arguments_are_refused),
		REFUSAL(cursors_that_no_scan_gave_out_are_refused),
		REFUSAL(what_there_is_not_is_said),
		REFUSAL(damaged_tables_are_told_of),
		REFUSAL(no_call_within_a_call),
		REFUSAL(asking_claims_no_slot),
		REFUSAL(tentative_words_are_not_seen),
		REFUSAL(words_that_turn_tentative_are_not_read),
		REFUSAL(tokens_of_others_are_refused),
		REFUSAL(age_of_an_extent_without_a_stamp_is_unknown),
		REFUSAL(bounds_of_latencies_rise),
		REFUSAL(latencies_can_be_switched_off),
	};

	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
