/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Recording requests as one process sees it: what is written down, and what the
 * killed and the stopped leave, planted by hand.
 */
#include "libshmcache/record.h"
#include "tests/unit/cache_support.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define ROOM 4096

static struct shmcache_request got[ROOM];

static struct shmcache_recorder
begin(struct shmcache *cache, double share)
{
	struct shmcache_recorder r;

	assert_int_equal(shmcache_record_begin(cache, share, &r), 0);
	return r;
}

static int
take(struct shmcache *cache, struct shmcache_recorder *r)
{
	return shmcache_record_read(cache, r, got, ROOM);
}

static bool
is_on(const struct shmcache *cache)
{
	return mapping_recording(cache->mapping);
}

static int
get(struct shmcache *cache, const char *key)
{
	char buffer[64];

	return shmcache_get(
	    cache, key, strlen(key), buffer, sizeof(buffer), NULL, NULL);
}

static void
check_request(int at, uint32_t op, uint32_t value_bytes, uint32_t ttl_s)
{
	assert_int_equal(got[at].op, op);
	assert_int_equal(got[at].value_bytes, value_bytes);
	assert_int_equal(got[at].ttl_s, ttl_s);
	assert_int_equal(
	    got[at].key_bytes, op == SHMCACHE_REQUEST_FLUSH ? 0 : 3);
	if (op == SHMCACHE_REQUEST_FLUSH)
		assert_int_equal(got[at].key_hash, 0);
	else
		assert_true(got[at].key_hash == got[0].key_hash);
	assert_true(at == 0 || got[at].time_ms >= got[at - 1].time_ms);
}

static void
calls_are_recorded_in_order(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 1);
	struct shmcache_get_request many[2] = { { .key = "key",
						    .key_bytes = 3 },
		{ .key = "key", .key_bytes = 3 } };
	char buffers[2][16];
	struct shmcache_item item;

	(void)state;
	for (int i = 0; i < 2; i++) {
		many[i].buffer = buffers[i];
		many[i].buffer_bytes = sizeof(buffers[i]);
	}
	assert_int_equal(get(cache, "key"), SHMCACHE_ENOENT);
	test_set_ok(cache, "key", "value");
	assert_int_equal(get(cache, "key"), 0);
	assert_true(test_has(cache, "key", "value")); /* a peek: not recorded */
	assert_int_equal(
	    shmcache_set(cache, "key", 3, "longer value", 12, 4500, 0), 0);
	assert_int_equal(shmcache_get_pinned(cache, "key", 3, &item), 0);
	assert_int_equal(shmcache_unpin(cache, &item), 0);
	assert_int_equal(shmcache_multi_get(cache, many, 2), 2);
	assert_int_equal(shmcache_get_and_touch(cache, "key", 3, 9000,
			     buffers[0], sizeof(buffers[0]), NULL, NULL),
	    0);
	assert_int_equal(shmcache_append(cache, "key", 3, "!", 1), 0);
	assert_int_equal(shmcache_delete(cache, "key", 3), 0);
	assert_int_equal(shmcache_delete(cache, "key", 3), SHMCACHE_ENOENT);
	assert_int_equal(take(cache, &r), 12);
	check_request(0, SHMCACHE_REQUEST_MISS, 0, 0);
	check_request(1, SHMCACHE_REQUEST_SET, 5, 0);
	check_request(2, SHMCACHE_REQUEST_GET, 5, 0);
	check_request(3, SHMCACHE_REQUEST_SET, 12, 5);
	check_request(4, SHMCACHE_REQUEST_GET, 12, 5);
	check_request(5, SHMCACHE_REQUEST_GET, 12, 5);
	check_request(6, SHMCACHE_REQUEST_GET, 12, 5);
	check_request(7, SHMCACHE_REQUEST_TOUCH, 0, 9);
	check_request(8, SHMCACHE_REQUEST_GET, 12, 9);
	check_request(9, SHMCACHE_REQUEST_SET, 13, 9);
	check_request(10, SHMCACHE_REQUEST_DELETE, 0, 0);
	check_request(11, SHMCACHE_REQUEST_DELETE, 0, 0);
	assert_int_equal(take(cache, &r), 0);
	assert_int_equal(r.lost + r.torn + r.gaps, 0);
	assert_int_equal(shmcache_record_end(cache, &r), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

/* In place, by replacing (a plain entry has no time to change; one that is
   frozen), and of what is not there. */
static void
touches_are_recorded_however_they_are_done(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 1);
	char buffer[16];

	(void)state;
	assert_int_equal(
	    shmcache_touch(cache, "key", 3, 2000), SHMCACHE_ENOENT);
	test_set_ok(cache, "key", "value");
	assert_int_equal(shmcache_touch(cache, "key", 3, 2000), 0);
	assert_int_equal(shmcache_touch(cache, "key", 3, 3001), 0);
	assert_int_equal(shmcache_touch(cache, "key", 3, SHMCACHE_TTL_NONE), 0);
	assert_int_equal(shmcache_touch(cache, "key", 3, 1), 0);
	assert_int_equal(shmcache_delete(cache, "key", 3), 0);
	assert_int_equal(shmcache_get_and_touch(cache, "key", 3, 2000, buffer,
			     sizeof(buffer), NULL, NULL),
	    SHMCACHE_ENOENT);
	assert_int_equal(take(cache, &r), 9);
	check_request(0, SHMCACHE_REQUEST_TOUCH, 0, 2);
	check_request(1, SHMCACHE_REQUEST_SET, 5, 0);
	check_request(2, SHMCACHE_REQUEST_TOUCH, 0, 2);
	check_request(3, SHMCACHE_REQUEST_TOUCH, 0, 4);
	check_request(4, SHMCACHE_REQUEST_TOUCH, 0, 0);
	check_request(
	    5, SHMCACHE_REQUEST_TOUCH, 0, 1); /* not 0, which is none */
	check_request(6, SHMCACHE_REQUEST_DELETE, 0, 0);
	check_request(7, SHMCACHE_REQUEST_TOUCH, 0, 2);
	check_request(8, SHMCACHE_REQUEST_MISS, 0, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
increments_are_recorded_however_they_are_done(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 1);
	const int64_t initial = 1;
	int64_t value;

	(void)state;
	assert_int_equal(
	    shmcache_incr(cache, "key", 3, 1, NULL, 0, NULL), SHMCACHE_ENOENT);
	assert_int_equal(
	    shmcache_incr(cache, "key", 3, 1, &initial, 7000, NULL), 0);
	assert_int_equal(shmcache_incr(cache, "key", 3, 4, NULL, 0, NULL), 0);
	assert_int_equal(shmcache_decr(cache, "key", 3, 2, NULL, 0, &value), 0);
	assert_int_equal(value, 3);
	test_set_ok(cache, "key", "41");
	assert_int_equal(shmcache_incr(cache, "key", 3, 1, NULL, 0, NULL), 0);
	assert_int_equal(take(cache, &r), 5);
	for (int i = 0; i < 3; i++)
		check_request(i, SHMCACHE_REQUEST_INCR, 16, 7);
	check_request(3, SHMCACHE_REQUEST_SET, 2, 0);
	check_request(4, SHMCACHE_REQUEST_INCR, 16, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Of the keys that a delete by prefix or pattern took, those in the sample. */
static void
each_entry_of_a_delete_by_prefix_is_recorded(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 0.25);
	unsigned sampled, deleted = 0;
	int count;

	(void)state;
	for (unsigned n = 0; n < 200; n++) {
		char key[32];

		(void)test_key(key, n % 2 == 0 ? "even" : "odd", n);
		test_set_ok(cache, key, "value");
	}
	sampled = (unsigned)take(cache, &r);
	assert_in_range(sampled, 20, 80);
	assert_int_equal(shmcache_delete_prefix(cache, "even", 4, NULL), 0);
	count = take(cache, &r);
	for (int i = 0; i < count; i++)
		deleted += got[i].op == SHMCACHE_REQUEST_DELETE;
	assert_int_equal(deleted, count);
	assert_int_equal(shmcache_delete_glob(cache, "odd*", 4, NULL), 0);
	deleted += (unsigned)take(cache, &r);
	assert_int_equal(deleted, sampled);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Whatever the sample is; a flush in two steps where it begins. */
static void
flushes_are_recorded(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 1e-9);
	struct shmcache_snapshot begun;

	(void)state;
	assert_int_equal(shmcache_flush(cache), 0);
	assert_int_equal(shmcache_flush_begin(cache, &begun), 0);
	assert_int_equal(take(cache, &r), 2);
	check_request(0, SHMCACHE_REQUEST_FLUSH, 0, 0);
	check_request(1, SHMCACHE_REQUEST_FLUSH, 0, 0);
	assert_int_equal(shmcache_flush_end(cache, &begun), 0);
	assert_int_equal(take(cache, &r), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
set_with_tag(struct shmcache *cache, const char *key)
{
	const struct shmcache_tag tag = { "tag", 3 };
	struct shmcache_set_options o = SHMCACHE_SET_OPTIONS_INIT;

	o.tags = &tag;
	o.tag_count = 1;
	assert_int_equal(
	    shmcache_set_with(cache, key, strlen(key), "value", 5, &o), 0);
}

/* A get, a sweep, and an update find it; one that has expired is no delete. */
static void
what_a_tag_took_is_a_delete_when_it_is_found(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 1);
	struct shmcache_sweep_result swept;

	(void)state;
	set_with_tag(cache, "key");
	assert_int_equal(shmcache_invalidate_tag(cache, "tag", 3), 0);
	assert_int_equal(take(cache, &r), 1);
	assert_int_equal(get(cache, "key"), SHMCACHE_ENOENT);
	assert_int_equal(take(cache, &r), 2);
	check_request(0, SHMCACHE_REQUEST_DELETE, 0, 0);
	check_request(1, SHMCACHE_REQUEST_MISS, 0, 0);
	set_with_tag(cache, "key");
	assert_int_equal(shmcache_invalidate_tag(cache, "tag", 3), 0);
	assert_int_equal(shmcache_sweep(cache, &swept), 0);
	assert_int_equal(swept.expired_entries, 1);
	assert_int_equal(take(cache, &r), 2);
	check_request(0, SHMCACHE_REQUEST_SET, 5, 0);
	check_request(1, SHMCACHE_REQUEST_DELETE, 0, 0);
	set_with_tag(cache, "key");
	assert_int_equal(shmcache_flush(cache), 0);
	assert_int_equal(get(cache, "key"), SHMCACHE_ENOENT);
	assert_int_equal(take(cache, &r), 3);
	check_request(0, SHMCACHE_REQUEST_SET, 5, 0);
	check_request(1, SHMCACHE_REQUEST_FLUSH, 0, 0);
	check_request(2, SHMCACHE_REQUEST_MISS, 0, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static int
load(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	(void)context;
	(void)key;
	(void)key_bytes;
	loaded->value = malloc(4);
	loaded->value_bytes = 4;
	return 0;
}

static void
loads_are_a_miss_and_a_set_then_hits(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 1);

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct shmcache_value value;

		assert_int_equal(shmcache_get_or_load(
				     cache, "key", 3, load, NULL, NULL, &value),
		    0);
		free(value.value);
	}
	assert_int_equal(take(cache, &r), 3);
	check_request(0, SHMCACHE_REQUEST_MISS, 0, 0);
	check_request(1, SHMCACHE_REQUEST_SET, 4, 0);
	check_request(2, SHMCACHE_REQUEST_GET, 4, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
nothing_is_written_while_it_is_off(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r;

	(void)state;
	test_set_ok(cache, "key", "value");
	test_read(cache, "key");
	assert_false(is_on(cache));
	assert_int_equal(cache->mapping->record->head, 0);
	r = begin(cache, 1);
	assert_true(is_on(cache));
	test_read(cache, "key");
	assert_int_equal(shmcache_record_end(cache, &r), 0);
	assert_false(is_on(cache));
	test_read(cache, "key");
	assert_int_equal(cache->mapping->record->head, 1);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
a_key_is_sampled_always_or_never(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 0.25);
	unsigned sampled = 0;

	(void)state;
	for (unsigned n = 0; n < 2000; n++) {
		char key[32];
		int count;

		(void)test_key(key, "key", n);
		for (int i = 0; i < 3; i++)
			(void)get(cache, key);
		count = take(cache, &r);
		assert_true(count == 0 || count == 3);
		sampled += count == 3;
	}
	assert_in_range(sampled, 400, 600); /* 5 standard deviations */
	/* The others take no room in the ring. */
	assert_int_equal(cache->mapping->record->head, 3 * sampled);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
what_comes_too_fast_is_counted(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 1);
	unsigned slots = cache->mapping->record_mask + 1;

	(void)state;
	for (unsigned i = 0; i < slots + 30; i++)
		(void)get(cache, "key");
	assert_int_equal(take(cache, &r), slots);
	assert_int_equal(r.lost, 30);
	assert_int_equal(r.torn, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Somebody took a number, and was killed. */
static void
torn_record_is_waited_for_and_passed(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 1);
	uint64_t since_ms;
	int count;

	(void)state;
	(void)get(cache, "one");
	cache->mapping->record->head++;
	(void)get(cache, "two");
	assert_int_equal(take(cache, &r), 1);
	since_ms = r.awaited_since_ms;
	count = take(cache, &r);
	if (count == 0) {
		assert_int_equal(r.torn, 0);
		r.awaited_since_ms -= 1000;
		count = take(cache, &r);
	} else { /* this process did not run for so long */
		assert_true(mapping_now_ms(cache->mapping) - since_ms >= 50);
	}
	assert_int_equal(count, 1);
	assert_int_equal(r.torn, 1);
	/* Where many wait behind it, it is passed at once. */
	cache->mapping->record->head++;
	for (unsigned i = 0; i < cache->mapping->record_mask; i++)
		(void)get(cache, "key");
	assert_int_equal(take(cache, &r), cache->mapping->record_mask);
	assert_int_equal(r.torn, 2);
	assert_int_equal(shmcache_close(cache), 0);
}

/* A writer that was stopped for a round goes on in another's record. */
static void
mixed_record_is_not_believed(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 1);
	struct record_shared *slot = cache->mapping->record->slot;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		(void)get(cache, "key");
	slot[0].hash ^= 1;
	slot[1].what ^= 1ull << 63;
	slot[2].size ^= 1;
	slot[3] = slot[1]; /* sound, but of another number */
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(take(cache, &r), 0);
		r.awaited_since_ms -= 1000;
	}
	assert_int_equal(r.torn, 4);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
damaged_ring_does_no_harm(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 1);
	const uint64_t heads[] = { UINT64_MAX, 0, 1ull << 63, 5 };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(heads); i++) {
		cache->mapping->record->head = heads[i];
		assert_true(take(cache, &r) >= 0);
		(void)get(cache, "key");
		assert_true(take(cache, &r) >= 0);
	}
	assert_int_equal(shmcache_close(cache), 0);
}

static void
lapse(struct shmcache *cache, struct shmcache_recorder *r)
{
	uint64_t *word = &cache->mapping->shared->record;

	*word = *word & 0xffffff;
	if (r != NULL)
		r->word = *word;
}

static void
dead_recorder_is_forgotten_by_the_next_call(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 1);

	(void)state;
	lapse(cache, NULL);
	assert_true(is_on(cache));
	(void)get(cache, "key");
	assert_false(is_on(cache));
	assert_int_equal(cache->mapping->record->head, 0);
	/* And is told, should it have been stopped only. */
	assert_int_equal(take(cache, &r), SHMCACHE_ESTALE);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
late_recorder_goes_on_and_knows_it(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 1);

	(void)state;
	lapse(cache, &r);
	(void)get(cache, "key");
	assert_false(is_on(cache));
	assert_int_equal(take(cache, &r), 0);
	assert_int_equal(r.gaps, 1);
	assert_true(is_on(cache));
	(void)get(cache, "key");
	assert_int_equal(take(cache, &r), 1);
	assert_int_equal(r.gaps, 1);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
one_records_at_a_time(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder first = begin(cache, 1), second;

	(void)state;
	assert_int_equal(
	    shmcache_record_begin(cache, 1, &second), SHMCACHE_EBUSY);
	lapse(cache, &first);
	second = begin(cache, 0.5);
	assert_int_equal(take(cache, &first), SHMCACHE_ESTALE);
	assert_int_equal(shmcache_record_end(cache, &first), 0);
	assert_true(is_on(cache));
	assert_int_equal(take(cache, &second), 0);
	assert_int_equal(shmcache_record_end(cache, &second), 0);
	second = begin(cache, 1);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
flush_works_while_recording(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r;

	(void)state;
	test_set_ok(cache, "old", "value");
	r = begin(cache, 1);
	assert_int_equal(get(cache, "old"), 0);
	assert_int_equal(shmcache_flush(cache), 0);
	assert_true(is_on(cache));
	assert_int_equal(get(cache, "old"), SHMCACHE_ENOENT);
	test_set_ok(cache, "new", "value");
	assert_int_equal(get(cache, "new"), 0);
	assert_int_equal(shmcache_record_end(cache, &r), 0);
	assert_int_equal(get(cache, "new"), 0);
	assert_int_equal(get(cache, "old"), SHMCACHE_ENOENT);
	assert_int_equal(
	    shmcache_verify(cache, SHMCACHE_VERIFY_STRICT, NULL, NULL), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
removed_cache_ends_it(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_recorder r = begin(cache, 1);
	struct shmcache_options o = test_options();
	struct shmcache *other;

	(void)state;
	assert_int_equal(shmcache_remove(cache->path), 0);
	assert_int_equal(take(cache, &r), SHMCACHE_EREMOVED);
	assert_int_equal(shmcache_open(cache->path, &o, &other), 0);
	(void)get(other, "key");
	assert_int_equal(take(other, &r), SHMCACHE_ESTALE);
	assert_int_equal(shmcache_record_end(other, &r), SHMCACHE_ESTALE);
	assert_int_equal(shmcache_close(other), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Removed after the call had entered. */
static void
removal_under_way_is_left_alone(void **state)
{
	struct shmcache *cache = test_cache();
	uint64_t *flush = &cache->mapping->shared->flush;
	struct shmcache_recorder r;

	(void)state;
	*flush = CACHE_SEQ_MAX;
	assert_int_equal(
	    record_begin(cache->mapping, 1, &r), SHMCACHE_EREMOVED);
	assert_true(*flush == CACHE_SEQ_MAX);
	*flush = 0;
	assert_int_equal(shmcache_close(cache), 0);
}

static void
bad_arguments_are_refused(void **state)
{
	struct shmcache *cache = test_cache(), *reader = NULL;
	struct shmcache_options o = SHMCACHE_OPTIONS_INIT;
	const double shares[] = { 0, -1, 1.01, NAN };
	struct shmcache_recorder r;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(shares); i++)
		assert_int_equal(
		    shmcache_record_begin(cache, shares[i], &r), -EINVAL);
	assert_int_equal(shmcache_record_begin(cache, 1, NULL), -EINVAL);
	assert_int_equal(shmcache_record_read(cache, NULL, got, 1), -EINVAL);
	assert_int_equal(shmcache_record_end(cache, NULL), -EINVAL);
	assert_false(is_on(cache));
	o.read_only = 1;
	assert_int_equal(shmcache_open(cache->path, &o, &reader), 0);
	assert_int_equal(
	    shmcache_record_begin(reader, 1, &r), SHMCACHE_EREADONLY);
	r = begin(cache, 1e-9); /* the least share there is */
	assert_int_equal(shmcache_record_read(cache, &r, NULL, 1), -EINVAL);
	assert_int_equal(shmcache_record_read(cache, &r, NULL, 0), 0);
	assert_int_equal(
	    shmcache_record_read(reader, &r, got, 1), SHMCACHE_EREADONLY);
	(void)get(reader, "key");
	assert_int_equal(take(cache, &r), 0);
	assert_int_equal(shmcache_close(reader), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(calls_are_recorded_in_order),
	cmocka_unit_test(touches_are_recorded_however_they_are_done),
	cmocka_unit_test(increments_are_recorded_however_they_are_done),
	cmocka_unit_test(each_entry_of_a_delete_by_prefix_is_recorded),
	cmocka_unit_test(flushes_are_recorded),
	cmocka_unit_test(what_a_tag_took_is_a_delete_when_it_is_found),
	cmocka_unit_test(loads_are_a_miss_and_a_set_then_hits),
	cmocka_unit_test(nothing_is_written_while_it_is_off),
	cmocka_unit_test(a_key_is_sampled_always_or_never),
	cmocka_unit_test(what_comes_too_fast_is_counted),
	cmocka_unit_test(torn_record_is_waited_for_and_passed),
	cmocka_unit_test(mixed_record_is_not_believed),
	cmocka_unit_test(damaged_ring_does_no_harm),
	cmocka_unit_test(dead_recorder_is_forgotten_by_the_next_call),
	cmocka_unit_test(late_recorder_goes_on_and_knows_it),
	cmocka_unit_test(one_records_at_a_time),
	cmocka_unit_test(flush_works_while_recording),
	cmocka_unit_test(removed_cache_ends_it),
	cmocka_unit_test(removal_under_way_is_left_alone),
	cmocka_unit_test(bad_arguments_are_refused),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
