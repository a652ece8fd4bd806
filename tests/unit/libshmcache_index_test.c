/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_index_test.c - one final word for each key, whatever was left
 * behind in its window
 */
#include "libshmcache/index.h"
#include "shm/pin.h"
#include "tests/unit/cache_support.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static uint64_t
slot_count(struct shmcache *cache)
{
	return cache->mapping->bucket_count * INDEX_BUCKET_SLOTS;
}

/* How many slots hold anything. */
static unsigned
used_slots(struct shmcache *cache)
{
	unsigned used = 0;

	for (uint64_t i = 0; i < slot_count(cache); i++)
		used += cache->mapping->slots[i] != 0;
	return used;
}

static int
set_up(void **state)
{
	*state = test_cache();
	return 0;
}

static int
set_up_one_window(void **state)
{
	struct shmcache *cache = test_cache_of_one_window();

	assert_int_equal(slot_count(cache), INDEX_WINDOW);
	*state = cache;
	return 0;
}

static int
tear_down(void **state)
{
	return shmcache_close(*state);
}

/* Asserts that the window is two buckets, of one group, in the index. */
static void
check_window(const struct mapping *m, const char *text)
{
	struct key key;
	uint64_t page = INDEX_GROUP_BUCKETS * INDEX_BUCKET_SLOTS;

	index_key(m, text, strlen(text), &key);
	assert_true(key.first[0] != key.first[1]);
	assert_true(key.first[0] % INDEX_BUCKET_SLOTS == 0);
	assert_true(key.first[1] % INDEX_BUCKET_SLOTS == 0);
	assert_true(key.first[0] < m->bucket_count * INDEX_BUCKET_SLOTS);
	assert_true(key.first[1] < m->bucket_count * INDEX_BUCKET_SLOTS);
	assert_true(key.first[0] / page == key.first[1] / page);
	assert_true((key.tag & ~(0xfffull << INDEX_TAG_SHIFT)) == 0);
	for (unsigned n = 0; n < INDEX_WINDOW; n++)
		assert_int_equal(index_slot(&key, n),
		    key.first[n / INDEX_BUCKET_SLOTS] + n % 8);
}

static void
window_is_two_buckets_of_one_page(void **state)
{
	static const uint64_t counts[] = { 2, 4, 8, 16, 32, 64, 128, 192, 64000,
		1u << 26, 3u << 26 };
	struct shmcache *cache = *state;
	struct mapping m = *cache->mapping; /* other sizes, same secret */

	for (size_t i = 0; i < TEST_COUNT_OF(counts); i++) {
		m.bucket_count = counts[i];
		m.group_mask = (counts[i] < 64 ? counts[i] : 64) - 1;
		for (unsigned n = 0; n < 2000; n++) {
			char text[32];

			check_window(&m, test_key(text, "key", n));
		}
	}
}

static void
keys_spread_over_all_buckets_and_partners(void **state)
{
	struct shmcache *cache = *state;
	struct mapping m = *cache->mapping;
	bool pairs[8][8] = { { false } };

	m.bucket_count = 8;
	m.group_mask = 7;
	for (unsigned n = 0; n < 4000; n++) {
		char text[32];
		struct key key;

		test_key(text, "key", n);
		index_key(&m, text, strlen(text), &key);
		pairs[key.first[0] / 8][key.first[1] / 8] = true;
	}
	for (unsigned i = 0; i < 8; i++)
		for (unsigned j = 0; j < 8; j++)
			assert_int_equal(pairs[i][j], i != j);
}

static void
word_names_its_place(void **state)
{
	struct shmcache *cache = *state;
	struct call call = test_enter(cache);
	const struct shm_geometry *g = &call.m->segment->geometry;
	struct shm_place place = { .generation = 0x12345678,
		.offset = g->arena + 5 * TEST_EXTENT_BYTES + 160 };
	uint64_t word, offset = 0;
	uint32_t extent = 0;
	struct key key;

	test_hash(&call, "key", &key);
	word = index_word(&key, &place);
	assert_true((word & INDEX_TENTATIVE) == 0);
	assert_true(word >> INDEX_TAG_SHIFT == key.tag >> INDEX_TAG_SHIFT);
	assert_int_equal(word >> INDEX_ADDRESS_BITS & INDEX_GENERATION, 0x5678);
	assert_true(index_place(call.m, word, &offset, &extent));
	assert_int_equal(offset, place.offset);
	assert_int_equal(extent, 5);
	assert_true(
	    index_place(call.m, word | INDEX_TENTATIVE, &offset, &extent));
	call_leave();
}

static void
places_outside_the_arena_are_refused(void **state)
{
	struct shmcache *cache = *state;
	const struct shm_geometry *g = &cache->mapping->segment->geometry;
	uint64_t end = g->arena + (uint64_t)g->request.extent_count *
				      g->request.extent_bytes;
	uint64_t offset;
	uint32_t extent;

	assert_false(index_place(cache->mapping, 0, &offset, &extent));
	assert_false(
	    index_place(cache->mapping, g->arena / 16 - 1, &offset, &extent));
	assert_true(
	    index_place(cache->mapping, g->arena / 16, &offset, &extent));
	assert_true(
	    index_place(cache->mapping, end / 16 - 1, &offset, &extent));
	assert_int_equal(extent, g->request.extent_count - 1);
	assert_false(index_place(cache->mapping, end / 16, &offset, &extent));
	assert_false(
	    index_place(cache->mapping, INDEX_ADDRESS, &offset, &extent));
}

static void
key_is_put_found_replaced_and_removed(void **state)
{
	struct shmcache *cache = *state;
	struct shmcache_stats s;

	assert_true(test_lacks(cache, "key"));
	test_set_ok(cache, "key", "one");
	assert_true(test_has(cache, "key", "one"));
	test_set_ok(cache, "key", "two");
	assert_true(test_has(cache, "key", "two"));
	assert_int_equal(used_slots(cache), 1);
	assert_int_equal(shmcache_delete(cache, "key", 3), 0);
	assert_int_equal(shmcache_delete(cache, "key", 3), SHMCACHE_ENOENT);
	assert_true(test_lacks(cache, "key"));
	assert_int_equal(used_slots(cache), 0);
	s = test_stats(cache);
	assert_int_equal(s.inserts, 1);
	assert_int_equal(s.replaces, 1);
	assert_int_equal(s.deletes, 1);
	assert_int_equal(s.delete_misses, 1);
	assert_int_equal(s.live_bytes, 0);
}

static void
replacing_keeps_the_slot(void **state)
{
	struct shmcache *cache = *state;
	struct found before, after;

	test_set_ok(cache, "key", "one");
	before = test_find(cache, "key");
	test_set_ok(cache, "key", "two");
	after = test_find(cache, "key");
	assert_int_equal(before.slot, after.slot);
	assert_true(before.word != after.word);
}

static void
swap_that_loses_accounts_nothing(void **state)
{
	struct shmcache *cache = *state;
	struct found old;
	uint64_t live;

	test_set_ok(cache, "key", "one");
	old = test_find(cache, "key");
	test_set_ok(cache, "key", "two");
	live = test_stats(cache).live_bytes;
	{
		struct call call = test_enter(cache);
		bool swapped = index_swap(&call, &old, 0);

		call_leave();
		assert_false(swapped);
	}
	assert_int_equal(test_stats(cache).live_bytes, live);
	assert_true(test_has(cache, "key", "two"));
}

static void
pin_is_dropped_if_the_slot_has_changed(void **state)
{
	struct shmcache *cache = *state;
	struct found found;
	struct entry entry;
	struct call call;
	bool pinned;

	test_set_ok(cache, "key", "one");
	found = test_find(cache, "key");
	call = test_enter(cache);
	pinned =
	    index_pin(&call, found.slot, found.word, SHM_PIN_RIVAL, &entry);
	assert_true(pinned);
	assert_int_equal(
	    call.peer->shared->pins[SHM_PIN_RIVAL], found.entry.extent + 1);
	pinned =
	    index_pin(&call, found.slot, found.word ^ 1, SHM_PIN_RIVAL, &entry);
	assert_false(pinned);
	assert_int_equal(call.peer->shared->pins[SHM_PIN_RIVAL], 0);
	call_leave();
}

/* Puts a word into a slot by hand. */
static void
plant(struct shmcache *cache, uint64_t slot, uint64_t word)
{
	shm_store64_release(&cache->mapping->slots[slot], word);
}

static void
check_same_tag(struct shmcache *cache, const char *text, const char *other)
{
	struct call call = test_enter(cache);
	uint64_t word = test_write_unlinked(&call, other, "wrong");
	struct key key;
	char value[16];
	unsigned n = 0;

	test_hash(&call, text, &key);
	call_leave();
	word &= ~(0xfffull << INDEX_TAG_SHIFT);
	while (cache->mapping->slots[index_slot(&key, n)] != 0)
		n++; /* another of these keys may lie there */
	plant(cache, index_slot(&key, n), word | key.tag);
	assert_true(test_lacks(cache, text));
	assert_int_equal(shmcache_get(cache, text, strlen(text), value,
			     sizeof(value), NULL, NULL),
	    SHMCACHE_ENOENT);
	test_set_ok(cache, text, "right");
	assert_true(test_has(cache, text, "right"));
	test_read(cache, text);
	assert_int_equal(used_slots(cache), 2);
	/* (The next pair may fall into the same window.) */
	plant(cache, index_slot(&key, 0), 0);
	assert_int_equal(shmcache_delete(cache, text, strlen(text)), 0);
	assert_int_equal(used_slots(cache), 0);
}

static void
same_tag_is_not_yet_the_same_key(void **state)
{
	check_same_tag(*state, "key", "another");
	check_same_tag(*state, "Key", "Kex");
	check_same_tag(*state, "a key of words", "a key of Words");
	check_same_tag(
	    *state, "a longer key of words", "a longer key of Words");
}

/* The slots of one window, all in use. */
static void
fill_window(struct shmcache *cache)
{
	for (unsigned n = 0; n < INDEX_WINDOW; n++) {
		char key[32];

		test_set_ok(cache, test_key(key, "fill", n), "x");
	}
	assert_int_equal(used_slots(cache), INDEX_WINDOW);
	assert_int_equal(test_stats(cache).index_evictions, 0);
}

static void
whole_window_can_be_used(void **state)
{
	struct shmcache *cache = *state;

	fill_window(cache);
	for (unsigned n = 0; n < INDEX_WINDOW; n++) {
		char key[32];

		assert_true(test_has(cache, test_key(key, "fill", n), "x"));
	}
	test_assert_sound(cache);
}

static void
full_window_gives_up_what_was_read_least(void **state)
{
	struct shmcache *cache = *state;

	fill_window(cache);
	for (unsigned n = 0; n < INDEX_WINDOW; n++) {
		char key[32];

		test_read(cache, test_key(key, "fill", n));
		if (n != 11)
			test_read(cache, key);
	}
	test_set_ok(cache, "new", "y");
	assert_true(test_has(cache, "new", "y"));
	assert_true(test_lacks(cache, "fill-11"));
	assert_int_equal(used_slots(cache), INDEX_WINDOW);
	assert_int_equal(test_stats(cache).index_evictions, 1);
	test_assert_sound(cache);
}

static void
full_window_gives_up_the_expired_first(void **state)
{
	struct shmcache *cache = *state;

	fill_window(cache);
	test_set_mortal(cache, "fill-7", "x");
	for (unsigned n = 0; n < 3; n++)
		test_read(cache, "fill-7");
	test_expire(cache, "fill-7");
	test_set_ok(cache, "new", "y");
	assert_true(test_has(cache, "new", "y"));
	assert_int_equal(test_stats(cache).index_evictions, 0);
	assert_int_equal(test_stats(cache).evicted_expired, 1);
	for (unsigned n = 0; n < INDEX_WINDOW; n++) {
		char key[32];

		assert_int_equal(
		    test_has(cache, test_key(key, "fill", n), "x"), n != 7);
	}
}

static void
full_window_gives_up_the_flushed_first(void **state)
{
	struct shmcache *cache = *state;

	for (unsigned n = 0; n < INDEX_WINDOW; n++) {
		char key[32];

		test_set_ok(cache, test_key(key, "old", n), "x");
	}
	assert_int_equal(shmcache_flush(cache), 0);
	fill_window(cache); /* displaces the sixteen, and counts none */
	assert_int_equal(test_stats(cache).evicted_expired, INDEX_WINDOW);
	test_assert_sound(cache);
}

/* Whatever the other bucket has. */
static void
keys_are_put_at_home_while_there_is_room(void **state)
{
	struct shmcache *cache = *state;
	char text[32];

	for (unsigned n = 0; n < 60; n++) {
		struct key key;

		test_set_ok(cache, test_key(text, "key", n), "x");
		index_key(cache->mapping, text, strlen(text), &key);
		assert_int_equal(
		    test_find(cache, text).slot / INDEX_BUCKET_SLOTS,
		    key.first[0] / INDEX_BUCKET_SLOTS);
		if (n % 5 == 4)
			assert_int_equal(
			    shmcache_delete_prefix(cache, "key", 3, NULL), 0);
	}
}

static void
displaced_entries_are_accounted(void **state)
{
	struct shmcache *cache = *state;
	uint64_t live;

	fill_window(cache);
	live = test_stats(cache).live_bytes;
	for (unsigned n = 0; n < 20; n++) {
		char key[32];

		test_set_ok(cache, test_key(key, "new0", n), "x");
	}
	assert_in_range(
	    test_stats(cache).live_bytes, live, live + 16 * INDEX_WINDOW);
	assert_int_equal(test_stats(cache).index_evictions, 20);
	assert_int_equal(used_slots(cache), INDEX_WINDOW);
}

static void
expired_entry_of_the_key_is_replaced_in_place(void **state)
{
	struct shmcache *cache = *state;
	uint64_t slot;

	test_set_mortal(cache, "key", "old");
	slot = test_find(cache, "key").slot;
	test_expire(cache, "key");
	test_set_ok(cache, "key", "new");
	assert_int_equal(used_slots(cache), 1);
	assert_int_equal(test_find(cache, "key").slot, slot);
	assert_int_equal(test_stats(cache).inserts, 2);
	assert_int_equal(test_stats(cache).replaces, 0);
}

/* A tentative word of the key, left in the n-th slot of its window by an
   inserter who was killed. */
static uint64_t
plant_tentative(struct shmcache *cache, const char *text, unsigned n)
{
	struct call call = test_enter(cache);
	uint64_t word = test_write_unlinked(&call, text, "dead");
	uint64_t slot;
	struct key key;

	test_hash(&call, text, &key);
	call_leave();
	slot = index_slot(&key, n);
	plant(cache, slot, word | INDEX_TENTATIVE);
	return slot;
}

static void
tentative_words_are_absent_for_readers(void **state)
{
	struct shmcache *cache = *state;
	uint64_t slot = plant_tentative(cache, "key", 3), word;

	word = cache->mapping->slots[slot];
	assert_true(test_lacks(cache, "key"));
	assert_int_equal(
	    shmcache_touch(cache, "key", 3, 1000), SHMCACHE_ENOENT);
	assert_int_equal(test_stats(cache).items, 0);
	assert_true(cache->mapping->slots[slot] == word);
	test_assert_sound(cache);
}

static void
delete_takes_tentative_words_away(void **state)
{
	struct shmcache *cache = *state;
	uint64_t slot = plant_tentative(cache, "key", 3);

	assert_int_equal(shmcache_delete(cache, "key", 3), SHMCACHE_ENOENT);
	assert_true(cache->mapping->slots[slot] == 0);
	slot = plant_tentative(cache, "key", 3);
	assert_int_equal(shmcache_delete_prefix(cache, "k", 1, NULL), 0);
	assert_true(cache->mapping->slots[slot] == 0);
	test_assert_sound(cache);
}

static void
dead_rival_higher_up_is_taken_away_at_once(void **state)
{
	struct shmcache *cache = *state;
	uint64_t slot = plant_tentative(cache, "key", 7);

	test_set_ok(cache, "key", "new");
	assert_true(test_has(cache, "key", "new"));
	assert_true(cache->mapping->slots[slot] == 0);
	assert_true(test_find(cache, "key").slot < slot);
	assert_int_equal(used_slots(cache), 1);
	assert_int_equal(test_stats(cache).tentative_aborts, 1);
	assert_int_equal(test_stats(cache).insert_retries, 0);
	test_assert_sound(cache);
}

static void
dead_rival_lower_down_is_taken_away_after_some_patience(void **state)
{
	struct shmcache *cache = *state;
	uint64_t slot = plant_tentative(cache, "key", 0);

	test_set_ok(cache, "key", "new");
	assert_true(test_has(cache, "key", "new"));
	assert_true(cache->mapping->slots[slot] == 0);
	assert_true(test_find(cache, "key").slot > slot);
	assert_int_equal(used_slots(cache), 1);
	assert_int_equal(test_stats(cache).tentative_aborts, 1);
	assert_in_range(test_stats(cache).insert_retries, 1, 100);
	test_assert_sound(cache);
}

static void
dead_rivals_everywhere_are_taken_away(void **state)
{
	struct shmcache *cache = *state;

	for (unsigned n = 0; n < INDEX_WINDOW; n++)
		(void)plant_tentative(cache, "key", n);
	test_set_ok(cache, "key", "new");
	assert_true(test_has(cache, "key", "new"));
	assert_int_equal(used_slots(cache), 1);
	test_assert_sound(cache);
}

static void
window_full_of_other_keys_dead_words_is_no_obstacle(void **state)
{
	struct shmcache *cache = *state;

	for (unsigned n = 0; n < INDEX_WINDOW; n++) {
		char text[32];
		struct key key;
		uint64_t word;
		struct call call = test_enter(cache);

		test_key(text, "other", n);
		word = test_write_unlinked(&call, text, "dead");
		test_hash(&call, text, &key);
		call_leave();
		plant(cache, n, word | INDEX_TENTATIVE);
	}
	for (unsigned n = 0; n < INDEX_WINDOW; n++) {
		char text[32];

		test_set_ok(cache, test_key(text, "key", n), "new");
		assert_true(test_has(cache, text, "new"));
	}
	test_assert_sound(cache);
}

static void
final_word_found_beside_a_dead_one_is_replaced(void **state)
{
	struct shmcache *cache = *state;
	uint64_t slot;

	test_set_ok(cache, "key", "old");
	slot = test_find(cache, "key").slot;
	(void)plant_tentative(cache, "key", 5);
	test_set_ok(cache, "key", "new");
	assert_int_equal(test_find(cache, "key").slot, slot);
	assert_int_equal(test_stats(cache).replaces, 1);
	assert_true(test_has(cache, "key", "new"));
}

static void
word_is_held_finally_or_tentatively(void **state)
{
	struct shmcache *cache = *state;
	uint64_t planted = plant_tentative(cache, "key", 9), slot, seen;
	struct call call = test_enter(cache);
	uint64_t word = call.m->slots[planted] & ~INDEX_TENTATIVE;
	struct key key;
	bool aborted;

	test_hash(&call, "key", &key);
	assert_true(index_holds(&call, &key, word, &slot, &seen));
	assert_int_equal(slot, planted);
	assert_true(seen == (word | INDEX_TENTATIVE));
	aborted = index_abort(&call, slot, word); /* not what is there */
	assert_false(aborted);
	aborted = index_abort(&call, slot, seen);
	assert_true(aborted);
	assert_false(index_holds(&call, &key, word, &slot, &seen));
	shm_store64(&call.m->slots[planted], word);
	assert_true(index_holds(&call, &key, word, &slot, &seen));
	assert_true(seen == word);
	call_leave();
	assert_int_equal(shmcache_delete(cache, "key", 3), 0);
}

/*
 * Damage.  Whatever lies in the segment, calls end and no access leaves the
 * mapping; done in a child, so that a crash or a hang is a result.
 */
#define PATIENCE_SECONDS 20u
#define DAMAGE_SEEDS     (TEST_SANITIZED ? 2u : 4u)
#define DAMAGE_ROUNDS    (TEST_SANITIZED ? 3u : 8u)

static int
visit_nothing(void *context, const struct shmcache_entry *entry)
{
	(void)context;
	(void)entry;
	return 0;
}

static int
set_with_damaged_window(void *context)
{
	struct shmcache *cache = context;
	uint64_t cursor = 0;

	test_limit(PATIENCE_SECONDS);
	for (unsigned n = 0; n < INDEX_WINDOW; n++)
		plant(cache, n, INDEX_ADDRESS - n); /* beyond the arena */
	for (unsigned n = 0; n < 100; n++) {
		char key[32];
		int error = test_set(cache, test_key(key, "key", n), "value");

		if (error != 0 && error != SHMCACHE_ECORRUPT)
			return 1;
	}
	for (unsigned n = 0; n < INDEX_WINDOW; n++)
		plant(cache, n, INDEX_ADDRESS - n);
	return shmcache_scan(cache, &cursor, NULL, visit_nothing, NULL) != 0 ||
	       shmcache_delete_prefix(cache, "k", 1, NULL) != 0;
}

static void
set_ends_in_a_window_of_words_that_name_no_place(void **state)
{
	assert_int_equal(test_child_run(set_with_damaged_window, *state), 0);
}

static int
set_with_garbage_lengths(void *context)
{
	struct shmcache *cache = context;

	test_limit(PATIENCE_SECONDS);
	for (unsigned n = 0; n < INDEX_WINDOW; n++) {
		char key[32];

		(void)test_set(cache, test_key(key, "key", n), "value");
	}
	for (unsigned n = 0; n < INDEX_WINDOW; n++) {
		uint64_t offset, word = cache->mapping->slots[n];
		struct entry_shared *shared;
		uint32_t extent;

		if (!index_place(cache->mapping, word, &offset, &extent))
			return 1;
		shared = (struct entry_shared *)(void
			*)(cache->mapping->segment->base + offset);
		shared->value_bytes = UINT32_MAX - n;
	}
	for (unsigned n = 0; n < 2 * INDEX_WINDOW; n++) {
		char key[32];

		if (n < INDEX_WINDOW &&
		    !test_lacks(cache, test_key(key, "key", n)))
			return 2;
		(void)test_set(cache, test_key(key, "key", n), "value");
	}
	return 0;
}

static void
set_ends_in_a_window_of_garbage_lengths(void **state)
{
	assert_int_equal(test_child_run(set_with_garbage_lengths, *state), 0);
}

/* What is overwritten with random bytes. */
struct damage {
	struct shmcache *cache;
	uint64_t seed;
	bool index;  /* words that mostly name places in the arena */
	bool tables; /* lanes, extents and start maps */
	bool arena;
};

static void
damage_words(struct prng *prng, uint8_t *from, const uint8_t *to)
{
	for (; from < to; from += 8) {
		uint64_t word, noise = prng_next(prng);

		memcpy(&word, from, sizeof(word));
		switch (prng_below(prng, 4)) {
		case 0:
			word = noise;
			break;
		case 1: /* of the same generation */
			word ^= noise & UINT32_MAX;
			break;
		case 2:
			word ^= 1ull << noise % 64;
			break;
		default:
			word ^= noise & prng_next(prng) & prng_next(prng);
		}
		memcpy(from, &word, sizeof(word));
	}
}

static void
damage_index(struct prng *prng, struct shmcache *cache)
{
	const struct shm_geometry *g = &cache->mapping->segment->geometry;
	uint64_t units = (uint64_t)g->request.extent_count *
			 g->request.extent_bytes / SHM_UNIT_BYTES;

	for (uint64_t i = 0; i < slot_count(cache); i++) {
		uint64_t word = prng_next(prng);

		if (prng_below(prng, 4) != 0)
			word = (word & ~INDEX_ADDRESS) |
			       (g->arena / SHM_UNIT_BYTES +
				   prng_below(prng, units));
		plant(cache, i, word);
	}
}

static void
do_damage(const struct damage *d, struct prng *prng)
{
	const struct shm_geometry *g = &d->cache->mapping->segment->geometry;
	uint8_t *base = d->cache->mapping->segment->base;

	if (d->index)
		damage_index(prng, d->cache);
	if (d->arena)
		damage_words(prng, base + g->arena, base + g->total_bytes);
	if (d->tables) {
		damage_words(prng, base + g->hints, base + g->region[0]);
		damage_words(prng, base + g->extents, base + g->arena);
	}
}

/* Any result is good, as long as there is one. */
static void
call_anything(struct shmcache *cache, struct prng *prng)
{
	char key[32], buffer[1200] = { 0 };
	size_t bytes;

	test_key(key, "key", (unsigned)prng_below(prng, 60));
	switch (prng_below(prng, 8)) {
	case 0:
		(void)shmcache_delete(cache, key, strlen(key));
		break;
	case 1:
		(void)shmcache_touch(cache, key, strlen(key), 100000);
		break;
	case 2:
	case 3:
		(void)shmcache_get(cache, key, strlen(key), buffer,
		    sizeof(buffer), &bytes, NULL);
		break;
	default:
		(void)shmcache_set(cache, key, strlen(key), buffer,
		    prng_below(prng, 900), 0, 5);
	}
}

static int
use_damaged(void *context)
{
	const struct damage *d = context;
	struct prng prng;

	test_limit(PATIENCE_SECONDS);
	prng_init(&prng, d->seed, 1);
	for (unsigned round = 0; round < DAMAGE_ROUNDS; round++) {
		for (unsigned i = 0; i < 200; i++)
			call_anything(d->cache, &prng);
		do_damage(d, &prng);
		for (unsigned i = 0; i < 200; i++)
			call_anything(d->cache, &prng);
		(void)shmcache_sweep(d->cache, NULL);
		(void)shmcache_verify(
		    d->cache, SHMCACHE_VERIFY_STRICT, NULL, NULL);
	}
	return 0;
}

static void
check_damage(struct damage d)
{
	struct prng prng;

	test_random(&prng, 7);
	for (unsigned i = 0; i < DAMAGE_SEEDS; i++) {
		d.seed = prng_next(&prng);
		assert_int_equal(test_child_run(use_damaged, &d), 0);
	}
}

static void
random_index_is_survived(void **state)
{
	check_damage((struct damage){ .cache = *state, .index = true });
}

static void
random_entries_are_survived(void **state)
{
	check_damage((struct damage){ .cache = *state, .arena = true });
}

static void
random_tables_are_survived(void **state)
{
	check_damage((struct damage){ .cache = *state, .tables = true });
}

static void
random_everything_is_survived(void **state)
{
	check_damage((struct damage){
	    .cache = *state, .index = true, .arena = true, .tables = true });
}

/* Threads that set and delete a few keys in one window. */
#define INSERTERS 3u
#define INSERTS   (TEST_SANITIZED ? 500u : 30000u)

struct inserter {
	struct shmcache *cache;
	unsigned number;
	unsigned failures;
};

static void *
insert_and_delete(void *context)
{
	struct inserter *in = context;
	struct prng prng;

	test_random(&prng, 100 + in->number);
	for (unsigned i = 0; i < INSERTS; i++) {
		char key[32], buffer[32];
		size_t bytes = 0;
		int error;

		test_key(key, "hot", (unsigned)prng_below(&prng, 3));
		if (prng_below(&prng, 2) == 0)
			error = shmcache_set(in->cache, key, strlen(key), key,
			    strlen(key), 0, 0);
		else
			error = shmcache_delete(in->cache, key, strlen(key));
		if (error != 0 && error != SHMCACHE_ENOENT)
			in->failures++;
		error = shmcache_get(in->cache, key, strlen(key), buffer,
		    sizeof(buffer), &bytes, NULL);
		if (error == 0 ? bytes != strlen(key) ||
				     memcmp(buffer, key, bytes) != 0
			       : error != SHMCACHE_ENOENT)
			in->failures++;
	}
	return NULL;
}

static void
rivals_never_leave_two_words_of_a_key(void **state)
{
	struct inserter in[INSERTERS];
	pthread_t threads[INSERTERS];

	for (unsigned i = 0; i < INSERTERS; i++) {
		in[i] = (struct inserter){ .cache = *state, .number = i };
		assert_int_equal(pthread_create(&threads[i], NULL,
				     insert_and_delete, &in[i]),
		    0);
	}
	for (unsigned i = 0; i < INSERTERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (unsigned i = 0; i < INSERTERS; i++)
		assert_int_equal(in[i].failures, 0);
	test_assert_sound(*state);
	assert_true(used_slots(*state) <= 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define WINDOW(name)                                                           \
	cmocka_unit_test_setup_teardown(name, set_up_one_window, tear_down)

static const struct CMUnitTest tests[] = {
	TEST(window_is_two_buckets_of_one_page),
	TEST(keys_spread_over_all_buckets_and_partners),
	TEST(word_names_its_place),
	TEST(places_outside_the_arena_are_refused),
	TEST(key_is_put_found_replaced_and_removed),
	TEST(replacing_keeps_the_slot),
	TEST(swap_that_loses_accounts_nothing),
	TEST(pin_is_dropped_if_the_slot_has_changed),
	TEST(same_tag_is_not_yet_the_same_key),
	WINDOW(whole_window_can_be_used),
	WINDOW(full_window_gives_up_what_was_read_least),
	WINDOW(full_window_gives_up_the_expired_first),
	WINDOW(full_window_gives_up_the_flushed_first),
	WINDOW(keys_are_put_at_home_while_there_is_room),
	WINDOW(displaced_entries_are_accounted),
	TEST(expired_entry_of_the_key_is_replaced_in_place),
	TEST(tentative_words_are_absent_for_readers),
	TEST(delete_takes_tentative_words_away),
	TEST(dead_rival_higher_up_is_taken_away_at_once),
	TEST(dead_rival_lower_down_is_taken_away_after_some_patience),
	TEST(dead_rivals_everywhere_are_taken_away),
	WINDOW(window_full_of_other_keys_dead_words_is_no_obstacle),
	TEST(final_word_found_beside_a_dead_one_is_replaced),
	TEST(word_is_held_finally_or_tentatively),
	WINDOW(set_ends_in_a_window_of_words_that_name_no_place),
	WINDOW(set_ends_in_a_window_of_garbage_lengths),
	WINDOW(random_index_is_survived),
	TEST(random_entries_are_survived),
	TEST(random_tables_are_survived),
	WINDOW(random_everything_is_survived),
	WINDOW(rivals_never_leave_two_words_of_a_key),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
