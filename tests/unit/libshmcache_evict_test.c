/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_evict_test.c - emptying extents: who stays, who goes, and what
 * the dead left half done
 */
#include "libshmcache/evict.h"
#include "libshmcache/expire.h"
#include "shm/pin.h"
#include "tests/support/steps.h"
#include "tests/unit/cache_support.h"

#include <stdlib.h>

#define VALUE_BYTES 200u
#define MORTAL_MS   3600000 /* so that it can be made to expire */

static int
set_up(void **state)
{
	*state = test_cache();
	return 0;
}

static int
set_up_s3fifo(void **state)
{
	*state = test_cache_of_policy("s3fifo");
	return 0;
}

static int
tear_down(void **state)
{
	return shmcache_close(*state);
}

static uint32_t
extent_count(struct shmcache *cache)
{
	return cache->mapping->segment->geometry.request.extent_count;
}

static struct shm_extent
state_of(struct shmcache *cache, uint32_t extent)
{
	return shm_arena_state(cache->mapping->segment, extent);
}

/* "NAME-N" := 200 bytes that tell which. */
static int
set_nth(struct shmcache *cache, const char *name, unsigned n)
{
	char key[32], value[VALUE_BYTES];

	test_key(key, name, n);
	memset(value, 'a' + (int)(n % 26), sizeof(value));
	return shmcache_set(
	    cache, key, strlen(key), value, sizeof(value), MORTAL_MS, n);
}

static bool
has_nth(struct shmcache *cache, const char *name, unsigned n)
{
	char key[32], value[VALUE_BYTES], wanted[VALUE_BYTES];
	uint32_t flags = UINT32_MAX;
	size_t bytes = 0;

	test_key(key, name, n);
	memset(wanted, 'a' + (int)(n % 26), sizeof(wanted));
	return shmcache_peek(cache, key, strlen(key), value, sizeof(value),
		   &bytes, &flags) == 0 &&
	       bytes == sizeof(value) && flags == n &&
	       memcmp(value, wanted, sizeof(value)) == 0;
}

static void
read_nth(struct shmcache *cache, const char *name, unsigned n)
{
	char key[32];

	test_read(cache, test_key(key, name, n));
}

/* Writes NAME-0, NAME-1, ... until one lies in another extent than the first;
   returns how many lie in the first, which is sealed then (it would be later: as
   long as the next has room, smaller ones may still go there). */
static unsigned
fill_extent(struct shmcache *cache, const char *name, struct shm_extent *full)
{
	unsigned count = 0;
	char key[32];

	do {
		assert_int_equal(set_nth(cache, name, count), 0);
		count++;
		test_key(key, name, count - 1);
		if (count == 1)
			*full = test_extent_of(cache, key);
	} while (test_extent_of(cache, key).number == full->number);
	*full = state_of(cache, full->number);
	if (shm_arena_seal(cache->mapping->segment, full))
		full->state = SHM_SEALED;
	assert_int_equal(full->state, SHM_SEALED);
	assert_true(count > 2);
	return count - 1;
}

static bool
evict(struct shmcache *cache, struct shm_extent extent, enum evict_mode mode)
{
	struct call call = test_enter(cache);
	bool freed = evict_extent(&call, &extent, mode, true);

	call_leave();
	return freed;
}

/* Begins an eviction as somebody who is killed right after that. */
static struct shm_extent
leave_evicting(struct shmcache *cache, struct shm_extent extent)
{
	assert_true(
	    shm_arena_begin_evict(cache->mapping->segment, &extent, true));
	extent.state = SHM_EVICTING;
	return extent;
}

/* Any extent but the first holds data of its own first. */
static void
start_in_a_fresh_extent(struct shmcache *cache)
{
	struct shm_extent full;

	(void)fill_extent(cache, "start", &full);
}

static void
unread_entries_go(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	unsigned count = fill_extent(cache, "k", &full);

	assert_true(evict(cache, full, EVICT_JUDGE));
	for (unsigned n = 0; n < count; n++)
		assert_false(has_nth(cache, "k", n));
	assert_true(has_nth(cache, "k", count));
	assert_int_equal(test_stats(cache).evictions, count);
	assert_int_equal(test_stats(cache).extents_evicted, 1);
	assert_int_equal(test_stats(cache).extents_recycled, 1);
	assert_int_equal(state_of(cache, full.number).state, SHM_FREE);
	assert_int_equal(
	    state_of(cache, full.number).generation, full.generation + 1);
	test_assert_sound(cache);
}

static void
read_entries_get_a_second_chance(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	unsigned count = fill_extent(cache, "k", &full);

	read_nth(cache, "k", 2);
	for (unsigned i = 0; i < 5; i++)
		read_nth(cache, "k", 4);
	assert_true(evict(cache, full, EVICT_JUDGE));
	for (unsigned n = 0; n < count; n++)
		assert_int_equal(has_nth(cache, "k", n), n == 2 || n == 4);
	assert_int_equal(test_find(cache, "k-2").entry.shared->ref, 0);
	assert_int_equal(
	    test_find(cache, "k-4").entry.shared->ref, POLICY_MARKS_MAX - 1);
	assert_int_equal(test_stats(cache).second_chances, 2);
	assert_int_equal(test_stats(cache).evictions, count - 2);
	test_assert_sound(cache);
}

static void
entry_read_no_more_goes_at_last(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	unsigned rounds = 0;

	(void)fill_extent(cache, "k", &full);
	for (unsigned i = 0; i < POLICY_MARKS_MAX; i++)
		read_nth(cache, "k", 3);
	while (has_nth(cache, "k", 3)) {
		struct shm_extent e = test_extent_of(cache, "k-3");

		(void)shm_arena_seal(cache->mapping->segment, &e);
		e = state_of(cache, e.number);
		assert_true(evict(cache, e, EVICT_JUDGE));
		assert_true(++rounds < 10);
	}
	assert_int_equal(rounds, POLICY_MARKS_MAX + 1);
}

/* What must survive a copy. */
struct facts {
	uint64_t version;
	uint64_t seq;
	uint64_t slot;
	uint64_t expiry;
	uint32_t client_flags;
	uint32_t extent;
};

static struct facts
facts_of(struct shmcache *cache, const char *key)
{
	struct found found = test_find(cache, key);
	const struct mapping *m = cache->mapping;

	return (struct facts){ .version = entry_version(m, &found.entry),
		.seq = found.entry.seq,
		.slot = found.slot,
		.expiry = *found.entry.expiry,
		.client_flags = entry_client_flags(&found.entry),
		.extent = found.entry.extent };
}

static void
copies_keep_version_ttl_flags_and_seq(void **state)
{
	struct shmcache *cache = *state;
	struct facts before, after;
	struct shm_extent full;

	assert_int_equal(shmcache_flush(cache), 0); /* seq is not 0 */
	assert_int_equal(
	    shmcache_set(cache, "own", 3, "value", 5, 500000, 0xabcdef01), 0);
	(void)fill_extent(cache, "k", &full);
	test_read(cache, "own");
	before = facts_of(cache, "own");
	for (unsigned round = 0; round < 3; round++) {
		struct shm_extent e = test_extent_of(cache, "own");

		assert_int_equal(shmcache_flush(cache), 0);
		cache->mapping->shared->flush = 1;
		(void)shm_arena_seal(cache->mapping->segment, &e);
		e = state_of(cache, e.number);
		assert_true(evict(cache, e, EVICT_CLEAN));
		after = facts_of(cache, "own");
		assert_int_not_equal(after.extent, before.extent);
		assert_true(after.version == before.version);
		assert_int_equal(after.seq, before.seq);
		assert_int_equal(after.slot, before.slot);
		assert_int_equal(after.client_flags, before.client_flags);
		assert_true(after.expiry == before.expiry);
		assert_true(test_has(cache, "own", "value"));
		before.extent = after.extent;
	}
}

static void
touch_before_the_copy_is_kept(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	int64_t left = 0;

	(void)fill_extent(cache, "k", &full);
	read_nth(cache, "k", 1);
	assert_int_equal(shmcache_touch(cache, "k-1", 3, 900000), 0);
	assert_true(evict(cache, full, EVICT_JUDGE));
	assert_int_equal(shmcache_ttl(cache, "k-1", 3, &left), 0);
	assert_in_range(left, 800000, 900000);
	assert_true(has_nth(cache, "k", 1));
}

static void
no_more_of_an_extent_is_copied_than_allowed(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	unsigned count = fill_extent(cache, "k", &full), kept = 0;

	for (unsigned n = 0; n < count; n++)
		read_nth(cache, "k", n);
	assert_true(evict(cache, full, EVICT_JUDGE));
	for (unsigned n = 0; n < count; n++)
		kept += has_nth(cache, "k", n);
	assert_true(kept >= count / 3);
	assert_int_equal(test_stats(cache).second_chances, kept);
	assert_int_equal(test_stats(cache).evictions, count - kept);
	assert_in_range(test_stats(cache).copied_bytes, 1,
	    TEST_EXTENT_BYTES * POLICY_KEPT_PERCENT / 100);
}

static void
most_read_are_kept_wherever_they_lie(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	unsigned count = fill_extent(cache, "k", &full);

	for (unsigned i = 0; i < POLICY_MARKS_MAX; i++)
		for (unsigned n = i == 0 ? 0 : count - 3; n < count; n++)
			read_nth(cache, "k", n);
	assert_true(evict(cache, full, EVICT_JUDGE));
	for (unsigned n = count - 3; n < count; n++)
		assert_true(has_nth(cache, "k", n));
	assert_true(test_stats(cache).second_chances > 3);
}

static void
cleaning_keeps_what_was_not_read_either(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	unsigned count = fill_extent(cache, "k", &full);

	for (unsigned n = 3; n < count; n++) {
		char key[32];

		test_key(key, "k", n);
		assert_int_equal(shmcache_delete(cache, key, strlen(key)), 0);
	}
	assert_true(evict(cache, full, EVICT_CLEAN));
	for (unsigned n = 0; n < 3; n++)
		assert_true(has_nth(cache, "k", n));
	assert_int_equal(test_stats(cache).evictions, 0);
	test_assert_sound(cache);
}

static void
expired_and_flushed_entries_are_not_copied(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	unsigned count = fill_extent(cache, "k", &full);

	for (unsigned n = 0; n < count; n++)
		read_nth(cache, "k", n);
	test_expire(cache, "k-0");
	assert_true(evict(cache, full, EVICT_JUDGE));
	assert_false(has_nth(cache, "k", 0));
	assert_int_equal(test_stats(cache).evicted_expired, 1);
	(void)fill_extent(cache, "l", &full);
	read_nth(cache, "l", 0);
	assert_int_equal(shmcache_flush(cache), 0);
	assert_true(evict(cache, full, EVICT_JUDGE));
	assert_true(test_lacks(cache, "l-0"));
	test_assert_sound(cache);
}

static void
joining_drops_all_and_copies_nothing(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	unsigned count = fill_extent(cache, "k", &full);
	struct call call;
	bool freed;

	for (unsigned n = 0; n < count; n++)
		read_nth(cache, "k", n);
	full = leave_evicting(cache, full);
	call = test_enter(cache);
	freed = evict_finish(&call, &full, EVICT_DROP, true);
	call_leave();
	assert_true(freed);
	for (unsigned n = 0; n < count; n++)
		assert_false(has_nth(cache, "k", n));
	assert_int_equal(test_stats(cache).second_chances, 0);
	test_assert_sound(cache);
}

/* Others have emptied the extent, and it is in use again. */
static void
late_evictor_touches_nothing(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full, late;
	unsigned count = fill_extent(cache, "k", &full);
	struct call call;
	bool freed;

	late = full;
	late.generation--;
	late.state = SHM_EVICTING;
	call = test_enter(cache);
	freed = evict_finish(&call, &late, EVICT_DROP, true);
	call_leave();
	assert_false(freed);
	for (unsigned n = 0; n < count; n++)
		assert_true(has_nth(cache, "k", n));
	test_assert_sound(cache);
}

static void
entries_of_an_evicting_extent_can_still_be_read(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	unsigned count = fill_extent(cache, "k", &full);

	(void)leave_evicting(cache, full);
	for (unsigned n = 0; n < count; n++)
		assert_true(has_nth(cache, "k", n));
	test_assert_sound(cache);
	assert_int_equal(set_nth(cache, "k", 0), 0);
	assert_int_equal(shmcache_delete(cache, "k-1", 3), 0);
	assert_true(has_nth(cache, "k", 0));
	test_assert_sound(cache);
}

static void
extents_left_evicting_are_finished_by_who_needs_room(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full[3];

	for (unsigned i = 0; i < 3; i++)
		(void)fill_extent(cache,
		    i == 0   ? "a"
		    : i == 1 ? "b"
			     : "c",
		    &full[i]);
	for (unsigned i = 0; i < 3; i++)
		(void)leave_evicting(cache, full[i]);
	for (unsigned n = 0; n < 3000; n++)
		assert_int_equal(set_nth(cache, "new", n), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_true(state_of(cache, full[i].number).generation >
			    full[i].generation);
	assert_int_equal(test_stats(cache).extents_evicting, 0);
	test_assert_sound(cache);
}

static void
tentative_words_that_name_the_extent_are_aborted(void **state)
{
	struct shmcache *cache = *state;
	struct call call = test_enter(cache);
	uint64_t word = test_write_unlinked(&call, "dead", "value");
	struct shm_extent full;
	struct key key;
	uint64_t slot, offset;
	uint32_t extent;

	test_hash(&call, "dead", &key);
	slot = index_slot(&key, 12);
	shm_store64(&call.m->slots[slot], word | INDEX_TENTATIVE);
	assert_true(index_place(call.m, word, &offset, &extent));
	call_leave();
	(void)fill_extent(cache, "k", &full);
	assert_int_equal(full.number, extent);
	assert_true(evict(cache, full, EVICT_JUDGE));
	assert_true(cache->mapping->slots[slot] == 0);
	assert_int_equal(test_stats(cache).tentative_aborts, 1);
	assert_true(test_lacks(cache, "dead"));
	test_assert_sound(cache);
}

static void
started_entries_that_nothing_names_are_passed_over(void **state)
{
	struct shmcache *cache = *state;
	struct call call = test_enter(cache);
	struct shm_extent full;

	for (unsigned i = 0; i < 5; i++)
		(void)test_write_unlinked(&call, "k-0", "never linked");
	call_leave();
	(void)fill_extent(cache, "k", &full);
	read_nth(cache, "k", 0);
	assert_true(evict(cache, full, EVICT_JUDGE));
	assert_true(has_nth(cache, "k", 0));
	test_assert_sound(cache);
}

/* An entry that was much read and that nothing names any more, and nobody
   marked as dead. */
static void
write_forgotten(const struct call *call)
{
	char value[VALUE_BYTES + 1] = "";
	uint64_t offset, word;
	struct entry entry = { .bytes = 0 };
	uint32_t extent;

	memset(value, 'x', VALUE_BYTES);
	word = test_write_unlinked(call, "forgotten", value);
	assert_true(index_place(call->m, word, &offset, &extent));
	if (!entry_open(call->m, offset, &entry))
		fail();
	entry.shared->ref = POLICY_MARKS_MAX;
	shm_arena_account(call->m->segment, extent,
	    shm_arena_state(call->m->segment, extent).generation,
	    -(int64_t)entry.bytes);
}

/* They take the place of none that live, as there is room for all of those. */
static void
forgotten_entries_do_not_count(void **state)
{
	struct shmcache *cache = *state;
	struct call call = test_enter(cache);
	struct shm_extent full;
	unsigned count;

	for (unsigned i = 0; i < 10; i++)
		write_forgotten(&call);
	call_leave();
	count = fill_extent(cache, "k", &full);
	for (unsigned n = 0; n < count; n++)
		read_nth(cache, "k", n);
	assert_true(evict(cache, full, EVICT_JUDGE));
	for (unsigned n = 0; n < count; n++)
		assert_true(has_nth(cache, "k", n));
	test_assert_sound(cache);
}

static bool
fill_reserve(struct shmcache *cache)
{
	struct call call = test_enter(cache);
	uint32_t free = shm_arena_count_free(call.m->segment, 99);
	uint32_t freed = evict_fill_reserve(&call, free + 1);

	call_leave();
	return freed > 0;
}

/* The last free extent is for copies, if another can be freed. */
static void
set_frees_another_before_the_last(void **state)
{
	struct shmcache *cache = *state;
	struct shm_segment *segment = cache->mapping->segment;
	struct shm_extent full;
	struct shm_place place;
	struct shm_peer *writer;
	struct call call;

	(void)fill_extent(cache, "k", &full);
	assert_int_equal(shm_peer_claim(segment, &writer), 0);
	while (shm_arena_count_free(segment, 2) > 1) {
		assert_int_equal(shm_arena_reserve(writer, LOG_MAIN, SHM_WRITE,
				     cache->mapping->extent_bytes, &place),
		    0);
		shm_arena_account(segment, place.extent, place.generation,
		    (int64_t)place.bytes);
	}
	call = test_enter(cache);
	assert_int_equal(evict_reserve(&call, LOG_MAIN,
			     cache->mapping->extent_bytes, &place),
	    0);
	assert_true(place.installed);
	assert_int_equal(shm_arena_count_free(segment, 2), 1);
	call_leave();
	shm_peer_release(writer);
	assert_int_equal(test_stats(cache).extents_evicted, 1);
}

/* Of two extents that are being emptied, the one that nobody is at. */
static void
abandoned_extent_is_finished(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full[2];
	struct shm_peer *evictor;

	(void)fill_extent(cache, "a", &full[0]);
	(void)fill_extent(cache, "b", &full[1]);
	assert_true(full[0].number < full[1].number);
	for (unsigned i = 0; i < 2; i++)
		full[i] = leave_evicting(cache, full[i]);
	assert_int_equal(shm_peer_claim(cache->mapping->segment, &evictor), 0);
	shm_pin_set(evictor, SHM_PIN_SCAN, full[1].number);
	assert_true(fill_reserve(cache));
	assert_int_equal(state_of(cache, full[0].number).state, SHM_FREE);
	assert_int_equal(state_of(cache, full[1].number).state, SHM_EVICTING);
	shm_peer_release(evictor);
}

/* An extent of entries that have expired is swept before others are evicted. */
static void
expired_extents_are_swept_first(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full[2];
	unsigned counts[2];
	char key[32];

	counts[0] = fill_extent(cache, "live", &full[0]);
	counts[1] = fill_extent(cache, "due", &full[1]);
	for (unsigned n = 0; n < counts[1]; n++)
		test_expire(cache, test_key(key, "due", n));
	shm_arena_lower_hint(
	    cache->mapping->segment, full[1].number, full[1].generation, 1);
	assert_true(fill_reserve(cache));
	assert_int_equal(test_stats(cache).expired_swept, counts[1]);
	assert_int_equal(test_stats(cache).evictions, 0);
	for (unsigned n = 0; n < counts[0]; n++)
		assert_true(has_nth(cache, "live", n));
}

static void
extent_of_a_writer_is_not_evicted(void **state)
{
	struct shmcache *cache = *state;
	struct shm_segment *s = cache->mapping->segment;
	struct shm_extent full;
	struct shm_peer *writer;
	unsigned count = fill_extent(cache, "k", &full);

	assert_int_equal(shm_peer_claim(s, &writer), 0);
	shm_pin_set(writer, SHM_PIN_TARGET, full.number);
	assert_false(evict(cache, full, EVICT_JUDGE));
	for (unsigned n = 0; n < 3000; n++)
		assert_int_equal(set_nth(cache, "new", n), 0);
	for (unsigned n = 0; n < count; n++)
		assert_true(has_nth(cache, "k", n));
	assert_int_equal(state_of(cache, full.number).state, SHM_SEALED);
	shm_peer_release(writer);
	assert_true(evict(cache, full, EVICT_JUDGE));
}

static void
extent_of_a_reader_is_emptied_and_stays_in_limbo(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	struct shmcache_item item;
	char value[VALUE_BYTES];

	(void)fill_extent(cache, "k", &full);
	assert_int_equal(shmcache_get_pinned(cache, "k-5", 3, &item), 0);
	memcpy(value, item.value, sizeof(value));
	assert_false(evict(cache, full, EVICT_JUDGE));
	assert_int_equal(state_of(cache, full.number).state, SHM_LIMBO);
	for (unsigned n = 0; n < 3000; n++)
		assert_int_equal(set_nth(cache, "new", n), 0);
	assert_memory_equal(item.value, value, sizeof(value));
	assert_int_equal(state_of(cache, full.number).state, SHM_LIMBO);
	assert_int_equal(shmcache_unpin(cache, &item), 0);
	for (unsigned n = 0; n < 500; n++)
		assert_int_equal(set_nth(cache, "newer", n), 0);
	assert_true(state_of(cache, full.number).generation > full.generation);
	test_assert_sound(cache);
}

static void
survivors_without_a_destination_are_dropped(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	unsigned count = fill_extent(cache, "k", &full);
	struct shm_extent_shared *table =
	    shm_extent_table(cache->mapping->segment);
	uint64_t evicted;

	for (unsigned n = 0; n < count; n++)
		read_nth(cache, "k", n);
	for (uint32_t i = 0; i < extent_count(cache); i++)
		if (i != full.number)
			table[i].state = SHM_SEALED; /* and nothing is free */
	evicted = test_stats(cache).extents_evicted;
	assert_true(evict(cache, full, EVICT_JUDGE));
	for (unsigned n = 0; n < count; n++)
		assert_false(has_nth(cache, "k", n));
	assert_int_equal(test_stats(cache).extents_evicted, evicted + 1);
	assert_int_equal(test_stats(cache).second_chances, 0);
}

/* Peers whose targets are all extents: as many writers stand still. */
static void
pin_everything(struct shmcache *cache, struct shm_peer *peers[64])
{
	struct shm_segment *s = cache->mapping->segment;

	assert_true(extent_count(cache) <= 64);
	for (uint32_t i = 0; i < extent_count(cache); i++) {
		assert_int_equal(shm_peer_claim(s, &peers[i]), 0);
		shm_pin_set(peers[i], SHM_PIN_TARGET, i);
	}
}

static void
set_is_busy_if_writers_stand_still(bool volatile_only)
{
	struct shmcache_options o = test_options();
	struct shm_peer *peers[64];
	struct shmcache *cache;
	int result = 0;

	o.volatile_only = volatile_only;
	o.peer_slots = 70;
	o.capacity_bytes += 40u << 10; /* for their tables */
	cache = test_cache_of(&o);
	test_set_mortal(cache, "old", "value");
	pin_everything(cache, peers);
	for (unsigned n = 0; n < 3000 && result == 0; n++)
		result = set_nth(cache, "new", n);
	assert_int_equal(result, SHMCACHE_EBUSY);
	assert_true(test_has(cache, "old", "value"));
	assert_true(has_nth(cache, "new", 0));
	assert_int_equal(test_stats(cache).set_failures, 1);
	for (uint32_t i = 0; i < extent_count(cache); i++)
		shm_peer_release(peers[i]);
	assert_int_equal(set_nth(cache, "new", 3000), 0);
	test_assert_sound(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

/* (And not full, where only some entries may not be evicted.) */
static void
set_is_busy_if_writers_stand_still_in_all_extents(void **state)
{
	(void)state;
	set_is_busy_if_writers_stand_still(false);
	set_is_busy_if_writers_stand_still(true);
}

static void
reserve_of_free_extents_is_filled(void **state)
{
	struct shmcache *cache = *state;
	struct shm_segment *s = cache->mapping->segment;
	uint32_t reserve = cache->mapping->reserve;
	struct call call;

	for (unsigned n = 0; n < 3000; n++)
		assert_int_equal(set_nth(cache, "k", n), 0);
	for (uint32_t i = 0; i < extent_count(cache); i++)
		if (state_of(cache, i).state == SHM_FREE)
			shm_extent_table(s)[i].state |= SHM_SEALED;
	call = test_enter(cache);
	(void)evict_fill_reserve(&call, reserve);
	call_leave();
	assert_true(shm_arena_count_free(s, 99) >= reserve);
}

static void
full_cache_takes_every_set_that_fits(void **state)
{
	struct shmcache *cache = *state;
	size_t most = cache->mapping->max_entry_bytes;
	char *value = calloc(1, most);
	struct prng prng;

	assert_non_null(value);
	test_random(&prng, 3);
	for (unsigned n = 0; n < 5000; n++) {
		char key[32];
		size_t key_bytes = strlen(test_key(key, "k", n % 700));
		size_t bytes = prng_below(&prng, most - key_bytes + 1);

		assert_int_equal(
		    shmcache_set(cache, key, key_bytes, value, bytes, 0, 0), 0);
		assert_int_equal(shmcache_exists(cache, key, key_bytes), 1);
	}
	free(value);
	test_assert_sound(cache);
}

/* Those that share an extent at first lose some of their number (no more than a
   part of its bytes is copied), and are set again. */
static void
read_entries_outlive_a_stream_of_new_ones(void **state)
{
	struct shmcache *cache = *state;
	unsigned hot_misses = 0, cold_left = 0;

	for (unsigned n = 0; n < 8000; n++) {
		assert_int_equal(set_nth(cache, "cold", n), 0);
		if (has_nth(cache, "hot", n % 40)) {
			read_nth(cache, "hot", n % 40);
		} else {
			hot_misses++;
			assert_int_equal(set_nth(cache, "hot", n % 40), 0);
		}
	}
	for (unsigned n = 0; n < 8000; n++)
		cold_left += has_nth(cache, "cold", n);
	assert_in_range(cold_left, 100, 1000);
	assert_in_range(hot_misses, 40, 200);
}

/* Rewriting makes extents that are dead but for one entry: those are cleaned,
   and extents full of what nobody reads stay. */
static void
rewriting_one_key_keeps_the_others(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *cache;
	unsigned rewrites = TEST_SANITIZED ? 50000 : 3000000;
	unsigned others;

	(void)state;
	o.capacity_bytes = 1u << 20;
	o.extent_bytes = 16384;
	o.expected_items = 4000;
	cache = test_cache_of(&o);
	others = (unsigned)(test_stats(cache).arena_bytes / 2 / 256);
	for (unsigned n = 0; n < others; n++)
		assert_int_equal(set_nth(cache, "other", n), 0);
	for (unsigned n = 0; n < rewrites; n++) {
		char value[100] = { 0 };

		memcpy(value, &n, sizeof(n));
		if (shmcache_set(cache, "one", 3, value, sizeof(value), 0, 0) !=
		    0)
			fail_msg("rewrite %u failed", n);
	}
	for (unsigned n = 0; n < others; n++)
		assert_true(has_nth(cache, "other", n));
	assert_int_equal(test_stats(cache).evictions, 0);
	test_assert_sound(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
killed_copier_leaves_the_old_entry(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	struct found found;
	struct call call;
	struct entry_content content;
	struct shm_place place;

	/* Frozen, copied, and killed before the copy was linked. */
	(void)fill_extent(cache, "k", &full);
	found = test_find(cache, "k-1");
	full = leave_evicting(cache, full);
	call = test_enter(cache);
	entry_carry(call.m, &found.entry, &content);
	assert_int_equal(
	    evict_reserve(&call, LOG_MAIN, entry_bytes(&content), &place), 0);
	entry_write(call.m, &place, &content);
	shm_pin_clear(call.peer, SHM_PIN_TARGET);
	call_leave();
	assert_true(has_nth(cache, "k", 1));
	assert_int_equal(shmcache_touch(cache, "k-1", 3, 700000), 0);
	assert_true(has_nth(cache, "k", 1));
	call = test_enter(cache);
	assert_true(evict_finish(&call, &full, EVICT_DROP, true));
	call_leave();
	assert_true(has_nth(cache, "k", 1)); /* the touch went by replacing */
	test_assert_sound(cache);
}

static void
first_extent_is_evicted_as_any_other(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	unsigned count;

	start_in_a_fresh_extent(cache);
	count = fill_extent(cache, "k", &full);
	assert_true(evict(cache, full, EVICT_JUDGE));
	for (unsigned n = 0; n < count; n++)
		assert_false(has_nth(cache, "k", n));
	assert_false(evict(cache, full, EVICT_JUDGE)); /* once */
}

/* What is read in probation, but not at once, goes on to the main log. */
static void
probation_keeps_what_was_read_later(void **state)
{
	struct shmcache *cache = *state;
	unsigned n = 0;

	assert_int_equal(set_nth(cache, "late", 0), 0);
	assert_int_equal(set_nth(cache, "soon", 0), 0);
	read_nth(cache, "soon", 0); /* within the window: no mark */
	assert_int_equal(test_find(cache, "soon-0").entry.shared->ref, 0);
	assert_int_equal(test_extent_of(cache, "late-0").log, LOG_PROBATION);
	while (test_extent_of(cache, "late-0").log == LOG_PROBATION) {
		read_nth(cache, "late", 0);
		assert_int_equal(set_nth(cache, "cold", n++), 0);
		assert_true(n < 5000);
	}
	assert_true(has_nth(cache, "late", 0));
	assert_false(has_nth(cache, "soon", 0));
	test_assert_sound(cache);
}

/* A key that left probation not long ago is given no second one. */
static void
ghost_goes_to_the_main_log(void **state)
{
	struct shmcache *cache = *state;
	unsigned n = 0;

	assert_int_equal(set_nth(cache, "back", 0), 0);
	while (has_nth(cache, "back", 0))
		assert_int_equal(set_nth(cache, "cold", n++), 0);
	assert_int_equal(set_nth(cache, "back", 0), 0);
	assert_int_equal(test_extent_of(cache, "back-0").log, LOG_MAIN);
	read_nth(cache, "back", 0); /* no window there: a mark at once */
	assert_int_equal(test_find(cache, "back-0").entry.shared->ref, 1);
	assert_int_equal(set_nth(cache, "new", 0), 0);
	assert_int_equal(test_extent_of(cache, "new-0").log, LOG_PROBATION);
	test_assert_sound(cache);
}

/* Where probation has more than its share, none of the main log's is taken,
   however old. */
static void
probation_gives_way_first(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent oldest, full;
	unsigned share = extent_count(cache) / 10 + 1;
	char name[32];

	(void)fill_extent(cache, "main", &oldest);
	assert_true(
	    shm_arena_renew(cache->mapping->segment, &oldest, LOG_MAIN));
	shm_extent_table(cache->mapping->segment)[oldest.number].born =
	    (uint64_t)oldest.generation << 40 | 1;
	for (unsigned i = 0; i < share; i++)
		(void)fill_extent(cache, test_key(name, "p", i), &full);
	oldest = state_of(cache, oldest.number);
	assert_true(fill_reserve(cache));
	assert_int_equal(state_of(cache, oldest.number).state, SHM_SEALED);
	assert_int_equal(
	    state_of(cache, oldest.number).generation, oldest.generation);
	assert_true(has_nth(cache, "main", 0));
}

/* An overwritten entry keeps its log and its marks. */
static void
replacing_keeps_log_and_marks(void **state)
{
	struct shmcache *cache = *state;

	assert_int_equal(set_nth(cache, "k", 0), 0);
	test_find(cache, "k-0").entry.shared->ref = 2;
	assert_int_equal(set_nth(cache, "k", 0), 0);
	assert_int_equal(test_find(cache, "k-0").entry.shared->ref, 2);
	assert_int_equal(test_extent_of(cache, "k-0").log, LOG_PROBATION);
}

/* An extent of which nearly all would be kept is not copied, but let pass. */
static void
good_extent_is_let_pass(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	unsigned count = fill_extent(cache, "k", &full), new = 0;
	uint64_t born = shm_arena_born(cache->mapping->segment, &full);

	for (unsigned n = 0; n < count; n++)
		read_nth(cache, "k", n);
	while (shm_arena_born(cache->mapping->segment, &full) == born)
		assert_int_equal(set_nth(cache, "new", new ++), 0);
	for (unsigned n = 0; n < count; n++)
		assert_true(has_nth(cache, "k", n));
	assert_int_equal(test_find(cache, "k-0").entry.shared->ref, 0);
	assert_int_equal(test_stats(cache).second_chances, 0);
	test_assert_sound(cache);
}

/* Its marks are lowered under a pin: it may not be reused meanwhile. */

struct passing {
	struct shmcache *cache;
	struct shm_extent extent;
	uint64_t born;
	uint64_t pinned;
};

static bool
look_when_renewed(void *context, uint64_t step)
{
	struct passing *p = context;

	(void)step;
	if (shm_arena_born(p->cache->mapping->segment, &p->extent) == p->born)
		return true;
	p->pinned = cache_thread.peer->shared->pins[SHM_PIN_SCAN];
	return false;
}

static void
let_it_pass(void *context)
{
	(void)fill_reserve(((struct passing *)context)->cache);
}

static void
extent_is_pinned_while_it_passes(void **state)
{
	struct passing p = { .cache = *state };
	unsigned count = fill_extent(p.cache, "k", &p.extent);

	if (!steps_possible())
		skip();
	p.born = shm_arena_born(p.cache->mapping->segment, &p.extent);
	for (unsigned n = 0; n < count; n++)
		read_nth(p.cache, "k", n);
	(void)steps_run(look_when_renewed, &p, let_it_pass, &p);
	assert_int_equal(p.pinned, p.extent.number + 1);
	assert_int_equal(test_stats(p.cache).extents_passed, 1);
}

/* Where more would be kept than may be copied, but not too much for cleaning:
   what was not read is unlinked where it lies, and then the extent is cleaned. */
static void
rather_good_extent_keeps_all_that_was_read(void **state)
{
	struct shmcache *cache = *state;
	struct shm_extent full;
	unsigned count = fill_extent(cache, "k", &full), read = count * 2 / 3;
	uint64_t before = test_stats(cache).evictions;

	for (unsigned n = 0; n < read; n++)
		read_nth(cache, "k", n);
	for (unsigned n = 0;
	     state_of(cache, full.number).generation == full.generation; n++)
		assert_int_equal(set_nth(cache, "new", n), 0);
	for (unsigned n = 0; n < count; n++)
		assert_int_equal(has_nth(cache, "k", n), n < read);
	assert_int_equal(test_stats(cache).extents_passed, 1);
	assert_int_equal(test_stats(cache).second_chances, read);
	assert_true(test_stats(cache).evictions >= before + count - read);
	test_assert_sound(cache);
}

/*
 * Whatever the policy: sets succeed, the segment stays sound, what is there is
 * right, and each entry that went was counted.
 */
static void
check_policy(const char *policy)
{
	struct shmcache_options o = test_options();
	unsigned sets = 0, there = 0;
	struct shmcache_stats stats;
	struct shmcache *cache;
	struct prng prng;

	o.policy = policy;
	cache = test_cache_of(&o);
	test_random(&prng, 11);
	for (unsigned i = 0; i < 20000; i++) {
		unsigned n =
		    (unsigned)prng_below(&prng, 1 + prng_below(&prng, 2000));

		if (has_nth(cache, "k", n)) {
			read_nth(cache, "k", n);
			continue;
		}
		assert_int_equal(set_nth(cache, "k", n), 0);
		assert_true(has_nth(cache, "k", n));
		sets++;
	}
	for (unsigned n = 0; n < 2000; n++)
		there += has_nth(cache, "k", n);
	stats = test_stats(cache);
	assert_int_equal(stats.items, there);
	assert_int_equal(stats.inserts, sets);
	assert_int_equal(there + stats.evictions + stats.index_evictions, sets);
	assert_true(stats.live_bytes <= stats.arena_bytes);
	assert_int_equal(stats.capacity_bytes,
	    cache->mapping->segment->geometry.total_bytes);
	assert_true(stats.capacity_bytes <= o.capacity_bytes);
	test_assert_sound(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
every_policy_counts_what_goes(void **state)
{
	(void)state;
	for (uint64_t i = 0; policy_numbered(i) != NULL; i++)
		check_policy(policy_numbered(i)->name);
}

static struct shmcache *
volatile_cache(const char *policy)
{
	struct shmcache_options o = test_options();

	o.policy = policy;
	o.volatile_only = 1;
	return test_cache_of(&o);
}

static int
set_lasting(struct shmcache *cache, unsigned n)
{
	char key[32], value[VALUE_BYTES];

	test_key(key, "last", n);
	memset(value, 'a' + (int)(n % 26), sizeof(value));
	return shmcache_set(cache, key, strlen(key), value, sizeof(value),
	    SHMCACHE_TTL_NONE, n);
}

static int
delete_lasting(struct shmcache *cache, unsigned n)
{
	char key[32];

	test_key(key, "last", n);
	return shmcache_delete(cache, key, strlen(key));
}

/* What never expires stays, and says so when there is no more room; what does
   makes way, and when much is deleted there is room again. */
static void
lasting_entries_fill_a_volatile_cache(void **state)
{
	struct shmcache *cache = volatile_cache(NULL);
	unsigned count = 0, more = 0;

	(void)state;
	for (unsigned n = 0; n < 300; n++)
		assert_int_equal(set_nth(cache, "short", n), 0);
	while (set_lasting(cache, count) == 0)
		assert_true(++count < 2000);
	assert_int_equal(set_lasting(cache, count), SHMCACHE_EFULL);
	assert_true(count > 300);
	for (unsigned n = 0; n < count; n++)
		assert_true(has_nth(cache, "last", n));
	for (unsigned n = 0; n < count; n += 2)
		assert_int_equal(delete_lasting(cache, n), 0);
	while (more < count / 4 && set_lasting(cache, 5000 + more) == 0)
		more++;
	assert_int_equal(more, count / 4);
	for (unsigned n = 1; n < count; n += 2)
		assert_true(has_nth(cache, "last", n));
	for (unsigned n = 0; n < more; n++)
		assert_true(has_nth(cache, "last", 5000 + n));
	assert_int_equal(test_stats(cache).extents_evicting, 0);
	test_assert_sound(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Of its sealed extents, the one with most dead bytes. */
static struct shm_extent
deadest_of(struct shmcache *cache)
{
	struct shm_segment *segment = cache->mapping->segment;
	struct shm_extent deadest = { .state = SHM_DAMAGED };
	uint32_t most = 0;

	for (uint32_t i = 0; i < extent_count(cache); i++) {
		struct shm_extent e = state_of(cache, i);
		uint32_t dead = shm_arena_tail(segment, i, e.generation) -
				shm_arena_live(segment, i, e.generation);

		if (e.state == SHM_SEALED && dead > most) {
			most = dead;
			deadest = e;
		}
	}
	return deadest;
}

/* A writer who stands still there keeps others from it, not from the next. */
static void
deadest_in_use_is_passed_over(void **state)
{
	struct shmcache *cache = volatile_cache(NULL);
	struct shm_segment *segment = cache->mapping->segment;
	struct shm_peer *writer;
	struct shm_extent deadest;

	(void)state;
	for (unsigned n = 0; n < 150; n++)
		assert_int_equal(set_lasting(cache, n), 0);
	for (unsigned n = 0; n < 150; n++)
		if (n % 10 != 0)
			assert_int_equal(delete_lasting(cache, n), 0);
	deadest = deadest_of(cache);
	assert_int_equal(deadest.state, SHM_SEALED);
	assert_int_equal(shm_peer_claim(segment, &writer), 0);
	shm_pin_set(writer, SHM_PIN_TARGET, deadest.number);
	assert_true(fill_reserve(cache));
	assert_int_equal(state_of(cache, deadest.number).state, SHM_SEALED);
	shm_peer_release(writer);
	for (unsigned n = 0; n < 150; n += 10)
		assert_true(has_nth(cache, "last", n));
	assert_int_equal(shmcache_close(cache), 0);
}

/* A set that is refused leaves the ends of extents to smaller ones. */
static void
refused_set_leaves_the_ends(void **state)
{
	struct shmcache *cache = volatile_cache(NULL);
	char value[700] = { 0 };
	unsigned count = 0;
	int result = 0;

	(void)state;
	while (result == 0) {
		assert_true(++count < 2000);
		result = shmcache_set(cache, &count, sizeof(count), value,
		    sizeof(value), SHMCACHE_TTL_NONE, 0);
	}
	assert_int_equal(result, SHMCACHE_EFULL);
	assert_int_equal(set_lasting(cache, 0), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Nor is there room for what does make way, where nothing does. */
static void
cache_of_nothing_but_lasting_extents_is_full(void **state)
{
	struct shmcache *cache = volatile_cache(NULL);
	struct shm_extent_shared *table =
	    shm_extent_table(cache->mapping->segment);

	(void)state;
	for (uint32_t i = 0; i < extent_count(cache); i++)
		table[i].state = LOG_LASTING << 8 | SHM_SEALED;
	assert_int_equal(set_nth(cache, "short", 0), SHMCACHE_EFULL);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Random sets, overwrites, deletes and touches, with every policy: no entry that
   never expires goes but by a delete. */
static void
no_policy_evicts_a_lasting_entry(void **state)
{
	enum { KEYS = 300 };

	(void)state;
	for (uint64_t i = 0; policy_numbered(i) != NULL; i++) {
		struct shmcache *cache =
		    volatile_cache(policy_numbered(i)->name);
		bool there[KEYS] = { false };
		struct prng prng;
		char key[32];

		test_random(&prng, 17);
		for (unsigned round = 0; round < 10000; round++) {
			unsigned n = (unsigned)prng_below(&prng, KEYS);
			int result = 0;

			switch (prng_below(&prng, 8)) {
			case 0:
				result = set_lasting(cache, n);
				there[n] |= result == 0;
				break;
			case 1:
				(void)delete_lasting(cache, n);
				there[n] = false;
				break;
			case 2: /* to short-lived, and back */
				if (!there[n])
					break;
				test_key(key, "last", n);
				if (shmcache_touch(cache, key, strlen(key),
					MORTAL_MS) == 0)
					there[n] = false;
				if (shmcache_touch(cache, key, strlen(key),
					SHMCACHE_TTL_NONE) == 0)
					there[n] = true;
				break;
			default:
				result = set_nth(cache, "short",
				    (unsigned)prng_below(&prng, 3000));
			}
			assert_true(result == 0 || result == SHMCACHE_EFULL);
			if (round % 16 == 0)
				for (unsigned k = 0; k < KEYS; k++)
					assert_true(!there[k] ||
						    has_nth(cache, "last", k));
		}
		test_assert_sound(cache);
		assert_int_equal(shmcache_close(cache), 0);
	}
}

static void
window_of_lasting_entries_is_full(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *cache;
	unsigned n = 0;

	(void)state;
	o.expected_items = 1;
	o.volatile_only = 1;
	cache = test_cache_of(&o);
	while (set_lasting(cache, n) == 0)
		n++;
	assert_int_equal(n, INDEX_WINDOW);
	assert_int_equal(set_lasting(cache, n), SHMCACHE_EFULL);
	assert_int_equal(set_nth(cache, "short", 0), SHMCACHE_EFULL);
	assert_int_equal(
	    shmcache_add(cache, "new", 3, "v", 1, 0, 0), SHMCACHE_EFULL);
	for (unsigned i = 0; i < n; i++)
		assert_true(has_nth(cache, "last", i));
	assert_int_equal(set_lasting(cache, 3), 0); /* a replace fits */
	test_assert_sound(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest tests[] = {
	TEST(unread_entries_go),
	TEST(read_entries_get_a_second_chance),
	TEST(entry_read_no_more_goes_at_last),
	TEST(copies_keep_version_ttl_flags_and_seq),
	TEST(touch_before_the_copy_is_kept),
	TEST(no_more_of_an_extent_is_copied_than_allowed),
	TEST(most_read_are_kept_wherever_they_lie),
	TEST(cleaning_keeps_what_was_not_read_either),
	TEST(expired_and_flushed_entries_are_not_copied),
	TEST(joining_drops_all_and_copies_nothing),
	TEST(late_evictor_touches_nothing),
	TEST(entries_of_an_evicting_extent_can_still_be_read),
	TEST(extents_left_evicting_are_finished_by_who_needs_room),
	TEST(tentative_words_that_name_the_extent_are_aborted),
	TEST(started_entries_that_nothing_names_are_passed_over),
	TEST(forgotten_entries_do_not_count),
	TEST(set_frees_another_before_the_last),
	TEST(abandoned_extent_is_finished),
	TEST(expired_extents_are_swept_first),
	TEST(extent_of_a_writer_is_not_evicted),
	TEST(extent_of_a_reader_is_emptied_and_stays_in_limbo),
	TEST(survivors_without_a_destination_are_dropped),
	cmocka_unit_test(set_is_busy_if_writers_stand_still_in_all_extents),
	TEST(reserve_of_free_extents_is_filled),
	TEST(full_cache_takes_every_set_that_fits),
	TEST(read_entries_outlive_a_stream_of_new_ones),
	cmocka_unit_test(rewriting_one_key_keeps_the_others),
	TEST(killed_copier_leaves_the_old_entry),
	TEST(first_extent_is_evicted_as_any_other),
	cmocka_unit_test_setup_teardown(
	    probation_keeps_what_was_read_later, set_up_s3fifo, tear_down),
	cmocka_unit_test_setup_teardown(
	    ghost_goes_to_the_main_log, set_up_s3fifo, tear_down),
	cmocka_unit_test_setup_teardown(
	    probation_gives_way_first, set_up_s3fifo, tear_down),
	cmocka_unit_test_setup_teardown(
	    replacing_keeps_log_and_marks, set_up_s3fifo, tear_down),
	TEST(good_extent_is_let_pass),
	TEST(extent_is_pinned_while_it_passes),
	TEST(rather_good_extent_keeps_all_that_was_read),
	cmocka_unit_test(every_policy_counts_what_goes),
	cmocka_unit_test(lasting_entries_fill_a_volatile_cache),
	cmocka_unit_test(deadest_in_use_is_passed_over),
	cmocka_unit_test(refused_set_leaves_the_ends),
	cmocka_unit_test(cache_of_nothing_but_lasting_extents_is_full),
	cmocka_unit_test(no_policy_evicts_a_lasting_entry),
	cmocka_unit_test(window_of_lasting_entries_is_full),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup_one_cpu, test_group_teardown);
}
