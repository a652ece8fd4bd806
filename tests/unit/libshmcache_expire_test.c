/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_expire_test.c - nothing is returned after its time, no touch is
 * lost, and a sweep finds what is due
 *
 * Times are planted by hand, so that nothing here waits for a clock.
 */
#include "libshmcache/expire.h"
#include "shm/pin.h"
#include "tests/unit/cache_support.h"

#include <errno.h>

#define LONG_MS 100000000 /* no test runs so long */

static int
set_up(void **state)
{
	*state = test_cache();
	return 0;
}

static int
tear_down(void **state)
{
	return shmcache_close(*state);
}

static void
set_ttl(struct shmcache *cache, const char *key, int64_t ttl_ms)
{
	assert_int_equal(
	    shmcache_set(cache, key, strlen(key), "value", 5, ttl_ms, 77), 0);
}

static uint64_t *
expiry_word(struct shmcache *cache, const char *key)
{
	return test_find(cache, key).entry.expiry;
}

static uint64_t
now(struct shmcache *cache)
{
	return mapping_now_ms(cache->mapping);
}

static int
get(struct shmcache *cache, const char *key)
{
	char buffer[64];

	return shmcache_get(
	    cache, key, strlen(key), buffer, sizeof(buffer), NULL, NULL);
}

static int64_t
ttl_of(struct shmcache *cache, const char *key)
{
	int64_t ttl_ms = -99;

	assert_int_equal(shmcache_ttl(cache, key, strlen(key), &ttl_ms), 0);
	return ttl_ms;
}

static uint64_t
version_of(struct shmcache *cache, const char *key)
{
	struct found found = test_find(cache, key);

	return entry_version(cache->mapping, &found.entry);
}

static struct shmcache_sweep_result
sweep(struct shmcache *cache)
{
	struct shmcache_sweep_result result;

	assert_int_equal(shmcache_sweep(cache, &result), 0);
	return result;
}

static void
entry_is_missed_from_its_millisecond_on(void **state)
{
	struct shmcache *cache = *state;

	set_ttl(cache, "key", LONG_MS);
	assert_int_equal(get(cache, "key"), 0);
	*expiry_word(cache, "key") = (now(cache) + LONG_MS) << 1;
	assert_int_equal(get(cache, "key"), 0);
	*expiry_word(cache, "key") = now(cache) << 1;
	assert_int_equal(get(cache, "key"), SHMCACHE_ENOENT);
	assert_int_equal(test_stats(cache).expired_on_read, 1);
	assert_int_equal(test_stats(cache).items, 0);
	assert_int_equal(test_stats(cache).live_bytes, 0);
}

static void
every_call_that_reads_misses_what_has_expired(void **state)
{
	struct shmcache *cache = *state;
	struct shmcache_item item;
	void *value;
	int64_t ttl;

	for (unsigned call = 0; call < 6; call++) {
		int error = 0;

		set_ttl(cache, "key", LONG_MS);
		*expiry_word(cache, "key") = 1u << 1;
		switch (call) {
		case 0:
			error = shmcache_exists(cache, "key", 3) == 0
				    ? SHMCACHE_ENOENT
				    : 1;
			break;
		case 1:
			error = shmcache_get_pinned(cache, "key", 3, &item);
			break;
		case 2:
			error = shmcache_get_alloc(
			    cache, "key", 3, &value, NULL, NULL);
			break;
		case 3:
			error = shmcache_ttl(cache, "key", 3, &ttl);
			break;
		case 4:
			error = shmcache_touch(cache, "key", 3, LONG_MS);
			break;
		default:
			error = shmcache_delete(cache, "key", 3);
		}
		assert_int_equal(error, SHMCACHE_ENOENT);
		assert_int_equal(test_stats(cache).items, 0);
	}
}

static void
ttl_is_told_and_never_means_never(void **state)
{
	struct shmcache *cache = *state;

	set_ttl(cache, "a", LONG_MS);
	assert_in_range(ttl_of(cache, "a"), LONG_MS - 60000, LONG_MS);
	set_ttl(cache, "b", SHMCACHE_TTL_NONE);
	assert_int_equal(ttl_of(cache, "b"), SHMCACHE_TTL_NONE);
	set_ttl(cache, "c", 0); /* the default is none */
	assert_int_equal(ttl_of(cache, "c"), SHMCACHE_TTL_NONE);
	set_ttl(cache, "d", INT64_MAX);
	assert_true(ttl_of(cache, "d") > INT64_MAX / 4);
	assert_int_equal(get(cache, "d"), 0);
	assert_int_equal(shmcache_set(cache, "e", 1, "v", 1, -2, 0), -EINVAL);
	assert_int_equal(shmcache_touch(cache, "d", 1, INT64_MIN), -EINVAL);
}

static void
default_ttl_is_the_caches(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *cache;

	(void)state;
	o.default_ttl_ms = LONG_MS;
	cache = test_cache_of(&o);
	set_ttl(cache, "a", 0);
	assert_in_range(ttl_of(cache, "a"), LONG_MS - 60000, LONG_MS);
	set_ttl(cache, "b", SHMCACHE_TTL_NONE);
	assert_int_equal(ttl_of(cache, "b"), SHMCACHE_TTL_NONE);
	assert_int_equal(shmcache_touch(cache, "b", 1, 0), 0);
	assert_in_range(ttl_of(cache, "b"), LONG_MS - 60000, LONG_MS);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
touch_changes_the_time_in_place(void **state)
{
	struct shmcache *cache = *state;
	uint64_t word;

	set_ttl(cache, "key", 2 * LONG_MS);
	word = test_find(cache, "key").word;
	assert_int_equal(shmcache_touch(cache, "key", 3, LONG_MS), 0);
	assert_in_range(ttl_of(cache, "key"), LONG_MS - 60000, LONG_MS);
	assert_int_equal(shmcache_touch(cache, "key", 3, SHMCACHE_TTL_NONE), 0);
	assert_int_equal(ttl_of(cache, "key"), SHMCACHE_TTL_NONE);
	assert_true(test_find(cache, "key").word == word);
	assert_int_equal(test_stats(cache).touches, 2);
	assert_int_equal(
	    shmcache_touch(cache, "none", 4, LONG_MS), SHMCACHE_ENOENT);
	assert_int_equal(test_stats(cache).touch_misses, 1);
}

static void
touch_of_a_frozen_entry_goes_by_replacing(void **state)
{
	struct shmcache *cache = *state;
	uint64_t version, word;
	char buffer[16];
	uint32_t flags = 0;

	set_ttl(cache, "key", LONG_MS);
	version = version_of(cache, "key");
	word = test_find(cache, "key").word;
	*expiry_word(cache, "key") |= ENTRY_FROZEN;
	assert_int_equal(shmcache_touch(cache, "key", 3, LONG_MS / 2), 0);
	assert_true(test_find(cache, "key").word != word);
	assert_true(version_of(cache, "key") == version);
	assert_in_range(ttl_of(cache, "key"), LONG_MS / 2 - 60000, LONG_MS / 2);
	assert_int_equal(*expiry_word(cache, "key") & ENTRY_FROZEN, 0);
	assert_int_equal(
	    shmcache_get(cache, "key", 3, buffer, sizeof(buffer), NULL, &flags),
	    0);
	assert_memory_equal(buffer, "value", 5);
	assert_int_equal(flags, 77);
	test_assert_sound(cache);
}

/* It has no word to change, so it is written anew; to never, it stays. */
static void
touch_of_what_never_expires_goes_by_replacing(void **state)
{
	struct shmcache *cache = *state;
	uint64_t version, word;

	set_ttl(cache, "key", SHMCACHE_TTL_NONE);
	version = version_of(cache, "key");
	word = test_find(cache, "key").word;
	assert_int_equal(shmcache_touch(cache, "key", 3, SHMCACHE_TTL_NONE), 0);
	assert_true(test_find(cache, "key").word == word);
	assert_int_equal(shmcache_touch(cache, "key", 3, LONG_MS), 0);
	assert_true(test_find(cache, "key").word != word);
	assert_in_range(ttl_of(cache, "key"), LONG_MS - 60000, LONG_MS);
	assert_true(version_of(cache, "key") == version);
	assert_true(test_has(cache, "key", "value"));
	test_assert_sound(cache);
}

static void
touch_of_a_frozen_copy_goes_by_replacing_too(void **state)
{
	struct shmcache *cache = *state;
	uint64_t version, slot;

	set_ttl(cache, "key", LONG_MS);
	version = version_of(cache, "key");
	slot = test_find(cache, "key").slot;
	for (unsigned i = 0; i < 500; i++) {
		uint64_t *expiry = expiry_word(cache, "key");

		if (expiry != NULL)
			*expiry |= ENTRY_FROZEN;
		assert_int_equal(shmcache_touch(cache, "key", 3,
				     i % 2 == 0 ? SHMCACHE_TTL_NONE : LONG_MS),
		    0);
	}
	assert_true(version_of(cache, "key") == version);
	assert_int_equal(test_find(cache, "key").slot, slot);
	assert_true(test_has(cache, "key", "value"));
	assert_int_equal(test_stats(cache).items, 1);
	test_assert_sound(cache);
}

static void
frozen_entry_can_be_read_replaced_and_deleted(void **state)
{
	struct shmcache *cache = *state;

	set_ttl(cache, "key", LONG_MS);
	*expiry_word(cache, "key") |= ENTRY_FROZEN;
	assert_int_equal(get(cache, "key"), 0);
	set_ttl(cache, "key", LONG_MS);
	assert_int_equal(*expiry_word(cache, "key") & ENTRY_FROZEN, 0);
	*expiry_word(cache, "key") |= ENTRY_FROZEN;
	assert_int_equal(shmcache_delete(cache, "key", 3), 0);
	assert_int_equal(get(cache, "key"), SHMCACHE_ENOENT);
}

static void
frozen_entry_expires_at_its_time(void **state)
{
	struct shmcache *cache = *state;

	set_ttl(cache, "key", LONG_MS);
	*expiry_word(cache, "key") = now(cache) << 1 | ENTRY_FROZEN;
	assert_int_equal(
	    shmcache_touch(cache, "key", 3, LONG_MS), SHMCACHE_ENOENT);
	assert_int_equal(get(cache, "key"), SHMCACHE_ENOENT);
	assert_int_equal(test_stats(cache).items, 0);
}

static void
found_entry_is_unlinked_only_if_it_may_not_be_returned(void **state)
{
	struct shmcache *cache = *state;
	struct found found;
	struct call call;
	bool expired;

	set_ttl(cache, "key", LONG_MS);
	found = test_find(cache, "key");
	call = test_enter(cache);
	expired = expire_found(&call, &found, COUNT_expired_swept);
	call_leave();
	assert_false(expired);
	assert_int_equal(*found.entry.expiry & ENTRY_FROZEN, 0);
	*found.entry.expiry = 1u << 1;
	call = test_enter(cache);
	expired = expire_found(&call, &found, COUNT_expired_swept);
	call_leave();
	assert_true(expired);
	assert_true(cache->mapping->slots[found.slot] == 0);
	assert_true((*found.entry.expiry & ENTRY_FROZEN) != 0);
	assert_int_equal(test_stats(cache).expired_swept, 1);
}

static void
sweep_unlinks_what_is_due_and_nothing_else(void **state)
{
	struct shmcache *cache = *state;
	struct shmcache_sweep_result result;
	char key[32];

	for (unsigned n = 0; n < 30; n++)
		set_ttl(cache, test_key(key, "k", n), LONG_MS);
	for (unsigned n = 0; n < 30; n += 3) {
		struct found f = test_find(cache, test_key(key, "k", n));
		uint64_t past = now(cache);

		*f.entry.expiry = past << 1;
		shm_arena_lower_hint(cache->mapping->segment, f.entry.extent,
		    test_extent_of(cache, key).generation, past);
	}
	result = sweep(cache);
	assert_int_equal(result.expired_entries, 10);
	assert_int_equal(test_stats(cache).expired_swept, 10);
	assert_int_equal(test_stats(cache).items, 20);
	assert_in_range(result.next_expiry_ms, LONG_MS - 60000, LONG_MS);
	result = sweep(cache);
	assert_int_equal(result.expired_entries, 0);
	assert_int_equal(result.extents_visited, 0); /* the hint was raised */
	test_assert_sound(cache);
}

static void
sweep_visits_nothing_where_nothing_expires(void **state)
{
	struct shmcache *cache = *state;
	struct shmcache_sweep_result result;
	char key[32];

	for (unsigned n = 0; n < 100; n++)
		set_ttl(cache, test_key(key, "k", n), SHMCACHE_TTL_NONE);
	result = sweep(cache);
	assert_int_equal(result.extents_visited, 0);
	assert_int_equal(result.next_expiry_ms, -1);
}

static void
touch_to_an_earlier_time_lowers_the_hint(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent e;

	set_ttl(cache, "key", LONG_MS);
	assert_int_equal(shmcache_touch(cache, "key", 3, LONG_MS / 4), 0);
	e = test_extent_of(cache, "key");
	assert_in_range(
	    shm_arena_hint(cache->mapping->segment, e.number, e.generation),
	    now(cache), now(cache) + LONG_MS / 4);
	assert_in_range(
	    sweep(cache).next_expiry_ms, LONG_MS / 4 - 60000, LONG_MS / 4);
}

static void
sweep_after_a_flush_unlinks_everything_once(void **state)
{
	struct shmcache *cache = *state;
	struct shmcache_sweep_result result;
	char key[32];

	for (unsigned n = 0; n < 50; n++)
		set_ttl(cache, test_key(key, "k", n), SHMCACHE_TTL_NONE);
	assert_int_equal(shmcache_flush(cache), 0);
	set_ttl(cache, "new", SHMCACHE_TTL_NONE);
	result = sweep(cache);
	assert_int_equal(result.expired_entries, 50);
	assert_int_equal(test_stats(cache).items, 1);
	assert_true(test_has(cache, "new", "value"));
	assert_int_equal(sweep(cache).extents_visited, 0);
	test_assert_sound(cache);
}

static void
flush_invalidates_all_that_is_there(void **state)
{
	struct shmcache *cache = *state;

	set_ttl(cache, "key", 0);
	assert_int_equal(shmcache_flush(cache), 0);
	assert_int_equal(get(cache, "key"), SHMCACHE_ENOENT);
	assert_int_equal(test_stats(cache).flushes, 1);
	set_ttl(cache, "key", 0);
	assert_int_equal(get(cache, "key"), 0);
	assert_int_equal(shmcache_flush(cache), 0);
	assert_int_equal(
	    shmcache_touch(cache, "key", 3, LONG_MS), SHMCACHE_ENOENT);
	assert_int_equal(shmcache_delete(cache, "key", 3), SHMCACHE_ENOENT);
}

static void
set_that_a_flush_overtakes_is_dead_on_arrival(void **state)
{
	struct shmcache *cache = *state;
	struct call call = test_enter(cache);
	uint64_t word = test_write_unlinked(&call, "key", "early");
	struct key key;

	/* Begun before the flush, ended after it. */
	call_leave();
	assert_int_equal(shmcache_flush(cache), 0);
	call = test_enter(cache);
	test_hash(&call, "key", &key);
	(void)index_put(&call, &key, word, &(struct put_rule){ 0 });
	call_leave();
	assert_int_equal(get(cache, "key"), SHMCACHE_ENOENT);
	test_assert_sound(cache);
}

static void
flush_word_never_goes_back(void **state)
{
	struct shmcache *cache = *state;
	struct cache_shared *shared = cache->mapping->shared;

	shared->flush = 1000;
	assert_int_equal(shmcache_flush(cache), 0);
	assert_int_equal(shared->flush, 1000);
	assert_int_equal(shared->seq, 1);
	shared->seq = 2000;
	assert_int_equal(shmcache_flush(cache), 0);
	assert_int_equal(shared->flush, 2001);
}

/* Entries that fill an extent, which is sealed; the last one lies in the next. */
static struct shm_extent
fill_extent(struct shmcache *cache, unsigned *count)
{
	struct shm_extent full;
	char key[32];

	set_ttl(cache, "k-0", SHMCACHE_TTL_NONE);
	full = test_extent_of(cache, "k-0");
	*count = 0;
	do {
		++*count;
		set_ttl(cache, test_key(key, "k", *count), SHMCACHE_TTL_NONE);
	} while (test_extent_of(cache, key).number == full.number);
	full = shm_arena_state(cache->mapping->segment, full.number);
	(void)shm_arena_seal(cache->mapping->segment, &full);
	return shm_arena_state(cache->mapping->segment, full.number);
}

static void
sweep_recycles_extents_with_nothing_left(void **state)
{
	struct shmcache *cache = *state;
	unsigned count;
	struct shm_extent full = fill_extent(cache, &count);
	struct shmcache_sweep_result result;

	assert_int_equal(full.state, SHM_SEALED);
	for (unsigned n = 0; n < count; n++) {
		char key[32];

		test_key(key, "k", n);
		assert_int_equal(shmcache_delete(cache, key, strlen(key)), 0);
	}
	result = sweep(cache);
	assert_int_equal(result.recycled_extents, 1);
	full = shm_arena_state(cache->mapping->segment, full.number);
	assert_int_equal(full.state, SHM_FREE);
	test_assert_sound(cache);
}

static void
sweep_finishes_what_a_dead_evictor_began(void **state)
{
	struct shmcache *cache = *state;
	struct shm_segment *s = cache->mapping->segment;
	unsigned count;
	struct shm_extent full = fill_extent(cache, &count);

	assert_true(shm_arena_begin_evict(s, &full, true));
	assert_int_equal(sweep(cache).recycled_extents, 1);
	assert_int_equal(
	    shm_arena_state(s, full.number).generation, full.generation + 1);
	assert_true(test_lacks(cache, "k-0"));
	test_assert_sound(cache);
}

static void
sweep_leaves_a_living_evictor_alone(void **state)
{
	struct shmcache *cache = *state;
	struct shm_segment *s = cache->mapping->segment;
	unsigned count;
	struct shm_extent full = fill_extent(cache, &count);
	struct shm_peer *evictor;

	assert_true(shm_arena_begin_evict(s, &full, true));
	assert_int_equal(shm_peer_claim(s, &evictor), 0);
	shm_pin_set(evictor, SHM_PIN_SCAN, full.number);
	assert_int_equal(sweep(cache).recycled_extents, 0);
	assert_int_equal(shm_arena_state(s, full.number).state, SHM_EVICTING);
	assert_true(test_has(cache, "k-0", "value"));
	shm_peer_release(evictor);
	assert_int_equal(sweep(cache).recycled_extents, 1);
}

static void
sweep_recycles_limbo_when_its_readers_are_gone(void **state)
{
	struct shmcache *cache = *state;
	struct shm_segment *s = cache->mapping->segment;
	unsigned count;
	struct shm_extent full = fill_extent(cache, &count);
	struct shmcache_item item;
	struct call call;

	assert_int_equal(shmcache_get_pinned(cache, "k-0", 3, &item), 0);
	call = test_enter(cache);
	assert_false(evict_extent(&call, &full, EVICT_JUDGE, true));
	call_leave();
	assert_int_equal(sweep(cache).recycled_extents, 0);
	assert_int_equal(shm_arena_state(s, full.number).state, SHM_LIMBO);
	assert_memory_equal(item.value, "value", 5);
	assert_int_equal(shmcache_unpin(cache, &item), 0);
	assert_int_equal(sweep(cache).recycled_extents, 1);
	assert_int_equal(shm_arena_state(s, full.number).state, SHM_FREE);
}

static void
sweep_seals_an_active_extent_that_no_lane_names(void **state)
{
	struct shmcache *cache = *state;
	struct shm_segment *s = cache->mapping->segment;
	uint32_t last = s->geometry.request.extent_count - 1;

	test_set_ok(cache, "key", "value");
	shm_extent_table(s)[last].state |= SHM_ACTIVE;
	(void)sweep(cache);
	assert_int_not_equal(shm_arena_state(s, last).state, SHM_ACTIVE);
	assert_int_equal(test_extent_of(cache, "key").state, SHM_ACTIVE);
	test_assert_sound(cache);
}

static int
attach_and_be_killed(void *context)
{
	struct shmcache *cache = context;

	return test_set(cache, "child", "value");
}

static void
sweep_frees_the_slots_of_the_dead(void **state)
{
	struct shmcache *cache = *state;
	pid_t child = test_child_pause(attach_and_be_killed, cache);

	assert_int_equal(sweep(cache).freed_peers, 0);
	test_child_kill(child);
	assert_int_equal(sweep(cache).freed_peers, 1);
	assert_int_equal(sweep(cache).freed_peers, 0);
	test_child_reap(child);
	assert_true(test_has(cache, "child", "value"));
}

/* It was sealed, emptied and taken anew since it was looked at. */
static void
walk_of_what_has_changed_does_nothing(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent e;
	struct call call;
	uint64_t *hint, before, expired;

	set_ttl(cache, "short", LONG_MS / 10);
	e = test_extent_of(cache, "short");
	hint = &shm_extent_table(cache->mapping->segment)[e.number].hint;
	before = *hint;
	e.generation--;
	call = test_enter(cache);
	expired = expire_extent(&call, &e);
	call_leave();
	assert_int_equal(expired, 0);
	assert_true(*hint == before);
	assert_int_equal(sweep(cache).expired_entries, 0);
}

static void
sweep_raises_the_hint_only_over_what_it_saw(void **state)
{
	struct shmcache *cache = *state;
	struct shm_segment *s = cache->mapping->segment;
	struct shm_extent e;

	set_ttl(cache, "short", LONG_MS / 10);
	set_ttl(cache, "long", LONG_MS);
	e = test_extent_of(cache, "short");
	*expiry_word(cache, "short") = now(cache) << 1;
	shm_arena_lower_hint(s, e.number, e.generation, now(cache));
	assert_int_equal(sweep(cache).expired_entries, 1);
	assert_in_range(shm_arena_hint(s, e.number, e.generation),
	    now(cache) + LONG_MS - 60000, now(cache) + LONG_MS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest tests[] = {
	TEST(entry_is_missed_from_its_millisecond_on),
	TEST(every_call_that_reads_misses_what_has_expired),
	TEST(ttl_is_told_and_never_means_never),
	cmocka_unit_test(default_ttl_is_the_caches),
	TEST(touch_changes_the_time_in_place),
	TEST(touch_of_a_frozen_entry_goes_by_replacing),
	TEST(touch_of_what_never_expires_goes_by_replacing),
	TEST(touch_of_a_frozen_copy_goes_by_replacing_too),
	TEST(frozen_entry_can_be_read_replaced_and_deleted),
	TEST(frozen_entry_expires_at_its_time),
	TEST(found_entry_is_unlinked_only_if_it_may_not_be_returned),
	TEST(sweep_unlinks_what_is_due_and_nothing_else),
	TEST(sweep_visits_nothing_where_nothing_expires),
	TEST(touch_to_an_earlier_time_lowers_the_hint),
	TEST(sweep_after_a_flush_unlinks_everything_once),
	TEST(flush_invalidates_all_that_is_there),
	TEST(set_that_a_flush_overtakes_is_dead_on_arrival),
	TEST(flush_word_never_goes_back),
	TEST(sweep_recycles_extents_with_nothing_left),
	TEST(sweep_finishes_what_a_dead_evictor_began),
	TEST(sweep_leaves_a_living_evictor_alone),
	TEST(sweep_recycles_limbo_when_its_readers_are_gone),
	TEST(sweep_seals_an_active_extent_that_no_lane_names),
	TEST(sweep_frees_the_slots_of_the_dead),
	TEST(walk_of_what_has_changed_does_nothing),
	TEST(sweep_raises_the_hint_only_over_what_it_saw),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup_one_cpu, test_group_teardown);
}
