/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_entry_test.c - what is written is what is read, and no length
 * leads out of an extent
 */
#include "libshmcache/entry.h"
#include "tests/unit/cache_support.h"

#include <stdlib.h>

/* A cache that is entered: entries are written and opened, not linked. */
struct fixture {
	struct shmcache *cache;
	struct call call;
	const struct mapping *m;
};

static int
set_up_of(void **state, const struct shmcache_options *o)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->cache = test_cache_of(o);
	f->call = test_enter(f->cache);
	f->m = f->call.m;
	*state = f;
	return 0;
}

static int
set_up(void **state)
{
	struct shmcache_options o = test_options();

	return set_up_of(state, &o);
}

static int
set_up_large(void **state)
{
	struct shmcache_options o = test_options();

	o.extent_bytes = 512u << 10;
	o.capacity_bytes = 10u << 20;
	return set_up_of(state, &o);
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	call_leave();
	assert_int_equal(shmcache_close(f->cache), 0);
	free(f);
	return 0;
}

/* Writes an entry that nothing names. */
static struct shm_place
write_entry(struct fixture *f, const struct entry_content *content)
{
	struct shm_place place;

	assert_int_equal(
	    evict_reserve(&f->call, LOG_MAIN, entry_bytes(content), &place), 0);
	entry_write(f->m, &place, content);
	shm_pin_clear(f->call.peer, SHM_PIN_TARGET);
	return place;
}

static struct entry
open_entry(struct fixture *f, const struct shm_place *place)
{
	struct entry entry;

	assert_true(entry_open(f->m, place->offset, &entry));
	assert_int_equal(entry.extent, place->extent);
	assert_int_equal(entry.offset, place->offset);
	return entry;
}

static void
entry_takes_16_bytes_and_its_options(void **state)
{
	struct entry_content c = { .key = "k", .key_bytes = 8 };

	(void)state;
	assert_int_equal(entry_bytes(&c), 32);
	c.key_bytes = 17;
	assert_int_equal(entry_bytes(&c), 48);
	c.key_bytes = 8;
	c.client_flags = 1;
	assert_int_equal(entry_bytes(&c), 32);
	c.birth = 1;
	assert_int_equal(entry_bytes(&c), 48);
	c.expires_ms = 1;
	assert_int_equal(entry_bytes(&c), 48);
	c.key_bytes = 9;
	assert_int_equal(entry_bytes(&c), 64);
}

static void
check_content(struct fixture *f, const struct entry_content *c,
    const struct shm_place *place)
{
	struct entry e = open_entry(f, place);

	assert_int_equal(e.key_bytes, c->key_bytes);
	assert_int_equal(e.value_bytes, c->value_bytes);
	assert_int_equal(e.bytes, place->bytes);
	assert_memory_equal(e.key, c->key, c->key_bytes);
	if (c->value_bytes > 0)
		assert_memory_equal(e.value, c->value, c->value_bytes);
	assert_int_equal(entry_client_flags(&e), c->client_flags);
	assert_int_equal(e.seq, c->seq);
	assert_int_equal(entry_expires_ms(&e), c->expires_ms);
	assert_int_equal(e.shared->ref, c->ref);
	if (c->birth != 0)
		assert_true(entry_version(f->m, &e) == c->birth);
}

static void
random_content_is_read_as_it_was_written(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[900];
	struct prng prng;

	test_random(&prng, 1);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)prng_next(&prng);
	for (unsigned i = 0; i < 3000; i++) {
		struct entry_content c = { .key = bytes,
			.value = bytes + 7,
			.key_bytes = (uint32_t)prng_size(&prng, 500),
			.value_bytes = (uint32_t)prng_below(&prng, 400),
			.seq = prng_next(&prng) & CACHE_SEQ_MAX,
			.expires_ms = prng_next(&prng) >> 2,
			.ref = (uint8_t)prng_below(&prng, 4) };
		struct shm_place place;

		if (prng_below(&prng, 2) != 0)
			c.client_flags = (uint32_t)prng_next(&prng);
		if (prng_below(&prng, 2) != 0)
			c.birth = prng_next(&prng);
		place = write_entry(f, &c);
		check_content(f, &c, &place);
	}
}

static void
key_of_65535_bytes_and_an_empty_value(void **state)
{
	struct fixture *f = *state;
	uint8_t *key = malloc(SHMCACHE_KEY_BYTES_MAX);
	struct entry_content c = { .key = key,
		.key_bytes = SHMCACHE_KEY_BYTES_MAX,
		.client_flags = UINT32_MAX };
	struct shm_place place;

	assert_non_null(key);
	for (uint32_t i = 0; i < SHMCACHE_KEY_BYTES_MAX; i++)
		key[i] = (uint8_t)(i * 7);
	place = write_entry(f, &c);
	check_content(f, &c, &place);
	free(key);
}

static void
largest_entry_passes_through_the_cache(void **state)
{
	struct fixture *f = *state;
	size_t most = f->m->max_entry_bytes, got = 0;
	uint8_t *key = calloc(1, SHMCACHE_KEY_BYTES_MAX), *value = malloc(most);
	size_t value_bytes = most - SHMCACHE_KEY_BYTES_MAX;

	assert_non_null(key);
	assert_non_null(value);
	memset(value, 0x5a, most);
	call_leave();
	assert_int_equal(shmcache_set(f->cache, key, SHMCACHE_KEY_BYTES_MAX,
			     value, value_bytes, 0, 9),
	    0);
	assert_int_equal(shmcache_get(f->cache, key, SHMCACHE_KEY_BYTES_MAX,
			     value, most, &got, NULL),
	    0);
	assert_int_equal(got, value_bytes);
	assert_int_equal(shmcache_set(f->cache, key, SHMCACHE_KEY_BYTES_MAX,
			     value, value_bytes + 1, 0, 9),
	    SHMCACHE_ETOOBIG);
	f->call = test_enter(f->cache);
	free(key);
	free(value);
}

static void
writing_starts_accounts_and_hints(void **state)
{
	struct fixture *f = *state;
	struct shm_segment *s = f->m->segment;
	struct entry_content c = {
		.key = "key", .key_bytes = 3, .expires_ms = 777777
	};
	struct shm_place p = write_entry(f, &c);
	uint32_t at = (uint32_t)(p.offset - shm_arena_offset(s, p.extent));

	assert_true(shm_arena_started(s, p.extent, p.generation, at));
	assert_int_equal(
	    shm_arena_live(s, p.extent, p.generation), entry_bytes(&c));
	assert_int_equal(shm_arena_hint(s, p.extent, p.generation), 777777);
}

static void
entry_that_never_expires_leaves_no_hint(void **state)
{
	struct fixture *f = *state;
	struct entry_content c = { .key = "key", .key_bytes = 3 };
	struct shm_place p = write_entry(f, &c);

	assert_int_equal(shm_arena_hint(f->m->segment, p.extent, p.generation),
	    SHM_HINT_NONE);
}

/* The header at a unit of extent 9, where nobody writes. */
static struct entry_shared *
header_at(struct fixture *f, uint32_t unit, uint64_t *offset)
{
	*offset = shm_arena_offset(f->m->segment, 9) + unit * SHM_UNIT_BYTES;
	return (struct entry_shared *)(void *)(f->m->segment->base + *offset);
}

static void
lengths_that_leave_the_extent_are_damage(void **state)
{
	struct fixture *f = *state;
	uint64_t offset;
	struct entry_shared *shared = header_at(f, 200, &offset);
	uint32_t room = TEST_EXTENT_BYTES - 200 * SHM_UNIT_BYTES - 16;
	struct entry e;

	shared->key_bytes = 10;
	shared->value_bytes = room - 10;
	assert_true(entry_open(f->m, offset, &e));
	assert_int_equal(e.bytes, room + 16);
	shared->value_bytes = room - 9;
	assert_false(entry_open(f->m, offset, &e));
	shared->value_bytes = room - 10;
	shared->flags = ENTRY_CLIENT_FLAGS;
	assert_false(entry_open(f->m, offset, &e));
	shared->value_bytes = room - 18;
	assert_true(entry_open(f->m, offset, &e));
	shared->value_bytes = UINT32_MAX;
	assert_false(entry_open(f->m, offset, &e));
	shared->value_bytes = 0;
	shared->key_bytes = 0;
	assert_false(entry_open(f->m, offset, &e));
	shared->key_bytes = UINT16_MAX;
	assert_false(entry_open(f->m, offset, &e));
}

static void
lengths_above_the_caches_limit_are_damage(void **state)
{
	struct fixture *f = *state;
	uint64_t offset;
	struct entry_shared *shared = header_at(f, 0, &offset);
	struct entry e;

	shared->key_bytes = 10;
	shared->value_bytes = (uint32_t)f->m->max_entry_bytes - 10;
	assert_true(entry_open(f->m, offset, &e));
	shared->value_bytes++;
	assert_false(entry_open(f->m, offset, &e));
}

static void
header_without_room_is_damage(void **state)
{
	struct fixture *f = *state;
	uint64_t offset;
	struct entry e;

	(void)header_at(f, 255, &offset); /* 16 bytes are left */
	assert_false(entry_open(f->m, offset, &e));
	header_at(f, 254, &offset)->key_bytes = 16;
	assert_true(entry_open(f->m, offset, &e));
	header_at(f, 254, &offset)->key_bytes = 17;
	assert_false(entry_open(f->m, offset, &e));
}

static void
random_bytes_open_within_the_extent_or_not_at_all(void **state)
{
	struct fixture *f = *state;
	struct shm_segment *s = f->m->segment;
	struct prng prng;
	unsigned opened = 0;

	test_random(&prng, 2);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t offset;
		struct entry_shared *shared =
		    header_at(f, (uint32_t)prng_below(&prng, 254), &offset);
		struct entry e;

		shared->flags = (uint8_t)prng_next(&prng);
		shared->key_bytes = (uint16_t)prng_size(&prng, 65535);
		shared->value_bytes = (uint32_t)prng_size(&prng, UINT32_MAX);
		if (!entry_open(f->m, offset, &e))
			continue;
		opened++;
		assert_true(e.key + e.key_bytes + e.value_bytes <=
			    s->base + shm_arena_offset(s, 10));
		(void)entry_client_flags(&e);
		(void)entry_version(f->m, &e);
	}
	assert_true(opened > 100);
}

static void
version_is_the_birth_place_and_generation(void **state)
{
	struct fixture *f = *state;
	struct entry_content c = { .key = "key", .key_bytes = 3 };
	struct shm_place a = write_entry(f, &c), b = write_entry(f, &c);
	struct entry ea = open_entry(f, &a), eb = open_entry(f, &b);
	uint64_t before = entry_version(f->m, &ea);

	assert_true(before != 0);
	assert_true(before != entry_version(f->m, &eb));
	shm_extent_table(f->m->segment)[a.extent].state += 1ull << 32;
	assert_true(before != entry_version(f->m, &ea));
	shm_extent_table(f->m->segment)[a.extent].state += 0xfffffffull << 32;
	assert_true(before == entry_version(f->m, &ea)); /* 28 bits */
}

static void
carrying_on_keeps_all_but_the_place(void **state)
{
	struct fixture *f = *state;
	struct entry_content c = { .key = "key",
		.value = "value",
		.key_bytes = 3,
		.value_bytes = 5,
		.client_flags = 0xdeadbeef,
		.seq = 0x123456789abc,
		.expires_ms = 99999999,
		.ref = 2 };
	struct shm_place p = write_entry(f, &c), again;
	struct entry e = open_entry(f, &p);
	uint64_t version = entry_version(f->m, &e);
	struct entry_content carried, twice;

	entry_carry(f->m, &e, &carried);
	assert_int_equal(*e.expiry, 99999999ull << 1 | ENTRY_FROZEN);
	again = write_entry(f, &carried);
	e = open_entry(f, &again);
	assert_true(entry_version(f->m, &e) == version);
	assert_int_equal(*e.expiry, 99999999ull << 1); /* thawed */
	check_content(f, &carried, &again);
	entry_carry(f->m, &e, &twice);
	assert_true(twice.birth == version);
	assert_int_equal(twice.client_flags, 0xdeadbeef);
	assert_int_equal(twice.seq, 0x123456789abc);
	assert_int_equal(twice.ref, 2);
}

static void
freezing_keeps_the_time_and_may_be_repeated(void **state)
{
	struct fixture *f = *state;
	struct entry_content c = {
		.key = "key", .key_bytes = 3, .expires_ms = 1234
	};
	struct shm_place p = write_entry(f, &c);
	struct entry e = open_entry(f, &p);

	assert_int_equal(entry_freeze(&e), 1234);
	assert_int_equal(entry_freeze(&e), 1234);
	assert_int_equal(*e.expiry, 1234u << 1 | ENTRY_FROZEN);
}

static void
expiry_is_reached_at_its_millisecond(void **state)
{
	struct fixture *f = *state;
	struct entry_content c = { .key = "key", .key_bytes = 3 };
	struct shm_place p = write_entry(f, &c);
	struct entry e = open_entry(f, &p);

	assert_null(e.expiry);
	assert_false(entry_expired(f->m, &e)); /* never */
	c.expires_ms = 1;
	p = write_entry(f, &c);
	e = open_entry(f, &p);
	*e.expiry = mapping_now_ms(f->m) << 1;
	assert_true(entry_expired(f->m, &e));
	*e.expiry = (mapping_now_ms(f->m) + 1000000) << 1;
	assert_false(entry_expired(f->m, &e));
	*e.expiry |= ENTRY_FROZEN;
	assert_false(entry_expired(f->m, &e));
	*e.expiry = 1u << 1 | ENTRY_FROZEN;
	assert_true(entry_expired(f->m, &e));
	*e.expiry = ENTRY_FROZEN; /* never, and frozen */
	assert_false(entry_expired(f->m, &e));
}

static void
flush_counts_from_its_seq_on(void **state)
{
	struct fixture *f = *state;
	struct entry_content c = { .key = "key", .key_bytes = 3, .seq = 10 };
	struct shm_place p = write_entry(f, &c);
	struct entry e = open_entry(f, &p);

	f->m->shared->flush = 10;
	assert_true(entry_valid(f->m, &e));
	f->m->shared->flush = 11;
	assert_true(entry_invalidated(f->m, &e));
	assert_false(entry_valid(f->m, &e));
	f->m->shared->flush = CACHE_SEQ_MAX;
	assert_false(entry_valid(f->m, &e));
}

/* The marks may come from an entry that was unlinked just now: an entry born
   dead would be passed over by its extent's eviction, and its word left. */
static void
entry_is_never_written_dead(void **state)
{
	struct fixture *f = *state;
	struct entry_content c = {
		.key = "key", .key_bytes = 3, .ref = ENTRY_DEAD
	};
	struct shm_place p = write_entry(f, &c);
	struct entry e = open_entry(f, &p);

	assert_int_equal(e.shared->ref, 0);
}

static void
marks_are_counted_up_to_three(void **state)
{
	struct fixture *f = *state;
	struct entry_content c = { .key = "key", .key_bytes = 3 };
	struct shm_place p = write_entry(f, &c);
	struct entry e = open_entry(f, &p);

	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(e.shared->ref, i < 3 ? i : 3);
		entry_mark(f->m, e.shared);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define LARGE(name)                                                            \
	cmocka_unit_test_setup_teardown(name, set_up_large, tear_down)

static const struct CMUnitTest tests[] = {
	TEST(entry_takes_16_bytes_and_its_options),
	TEST(random_content_is_read_as_it_was_written),
	LARGE(key_of_65535_bytes_and_an_empty_value),
	LARGE(largest_entry_passes_through_the_cache),
	TEST(writing_starts_accounts_and_hints),
	TEST(entry_that_never_expires_leaves_no_hint),
	TEST(lengths_that_leave_the_extent_are_damage),
	TEST(lengths_above_the_caches_limit_are_damage),
	TEST(header_without_room_is_damage),
	TEST(random_bytes_open_within_the_extent_or_not_at_all),
	TEST(version_is_the_birth_place_and_generation),
	TEST(carrying_on_keeps_all_but_the_place),
	TEST(freezing_keeps_the_time_and_may_be_repeated),
	TEST(expiry_is_reached_at_its_millisecond),
	TEST(flush_counts_from_its_seq_on),
	TEST(entry_is_never_written_dead),
	TEST(marks_are_counted_up_to_three),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
