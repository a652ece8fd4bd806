/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_mapping_test.c - from options to a geometry, and back from a
 * page that may be damaged
 */
#include "libshmcache/mapping.h"
#include "libshmcache/stats.h"
#include "shm/error.h"
#include "tests/unit/cache_support.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void
create_and_remove(const struct shmcache_options *o, int expected)
{
	struct shmcache *cache = NULL;

	assert_int_equal(shmcache_open(test_name(), o, &cache), expected);
	if (expected != 0) {
		assert_null(cache);
		return;
	}
	assert_int_equal(shmcache_remove(cache->path), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
struct_of_options_may_be_older_or_newer(void **state)
{
	struct {
		struct shmcache_options o;
		uint64_t newer;
	} grown = { test_options(), 0 };

	(void)state;
	grown.o.struct_bytes = 0;
	create_and_remove(&grown.o, -EINVAL);
	grown.o.struct_bytes = 8;
	create_and_remove(&grown.o, -EINVAL);
	grown.o.struct_bytes = sizeof(grown);
	create_and_remove(&grown.o, 0);
	grown.newer = 1;
	create_and_remove(&grown.o, -EINVAL);
	grown.o.struct_bytes = sizeof(grown.o);
	create_and_remove(&grown.o, 0);
	/* The first version of the struct may have ended after the capacity. */
	grown.o.struct_bytes =
	    offsetof(struct shmcache_options, expected_items);
	grown.o.capacity_bytes = 4u << 20;
	create_and_remove(&grown.o, 0);
}

static void
options_out_of_range_are_refused(void **state)
{
	struct shmcache_options all[16], *o = all;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(all); i++)
		all[i] = test_options();
	(o++)->capacity_bytes = SHM_SEGMENT_MAX + 1;
	(o++)->expected_items = UINT64_MAX;
	(o++)->max_entry_bytes = UINT64_MAX;
	(o++)->max_entry_bytes = TEST_EXTENT_BYTES / 4 - 39;
	(o++)->extent_bytes = 2048;
	(o++)->extent_bytes = 5000;
	(o++)->extent_bytes = UINT64_MAX;
	(o++)->default_ttl_ms = -2;
	(o++)->peer_slots = SHM_PEERS_MAX + 1;
	(o++)->process_slots = SHM_PROCESSES_MAX + 1;
	(o++)->mode = 0700;
	(o++)->mode = 0400;
	(o++)->mode = 04600;
	(o++)->open_mode = 3;
	(o++)->any_owner = 2;
	(o++)->reserved = 1;
	assert_ptr_equal(o, all + TEST_COUNT_OF(all));
	for (size_t i = 0; i < TEST_COUNT_OF(all); i++)
		create_and_remove(&all[i], -EINVAL);
}

static void
creating_needs_a_capacity(void **state)
{
	struct shmcache_options o = SHMCACHE_OPTIONS_INIT;

	(void)state;
	create_and_remove(&o, SHMCACHE_ECAPACITY);
	o.open_mode = SHMCACHE_CREATE_EXCLUSIVE;
	create_and_remove(&o, SHMCACHE_ECAPACITY);
	o.capacity_bytes = 1;
	create_and_remove(&o, SHMCACHE_ECAPACITY);
}

static void
modes_are_given_to_the_file(void **state)
{
	struct shmcache_options o = test_options();
	struct stat status;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct shmcache *cache;

		o.mode = i == 0 ? 0 : 0664;
		cache = test_cache_of(&o);
		assert_int_equal(stat(cache->path, &status), 0);
		assert_int_equal(status.st_mode & 07777, i == 0 ? 0600 : 0664);
		assert_int_equal(shmcache_close(cache), 0);
	}
}

/* What every cache that could be created has. */
static void
check_made(const struct shmcache_options *o, struct shmcache *cache)
{
	struct shmcache_stats s = test_stats(cache);
	uint64_t items = o->expected_items != 0 ? o->expected_items
						: o->capacity_bytes / 256;

	assert_true(s.capacity_bytes <= o->capacity_bytes);
	assert_true(s.extents >= 16);
	assert_true(s.index_slots * 4 >= items * 5 ||
		    s.index_slots + 8 > items * 5 / 4);
	assert_true(s.max_entry_bytes <= s.extent_bytes / 4);
	if (o->extent_bytes != 0)
		assert_int_equal(s.extent_bytes, o->extent_bytes);
	if (o->max_entry_bytes != 0)
		assert_int_equal(s.max_entry_bytes, o->max_entry_bytes);
	assert_int_equal(
	    s.peer_slots, o->peer_slots != 0 ? o->peer_slots : 512);
	assert_int_equal(
	    s.process_slots, o->process_slots != 0 ? o->process_slots : 256);
	/* Lanes take no more than 1/8 of the extents. */
	assert_true(cache->mapping->segment->geometry.request.lane_count * 8 <=
		    s.extents);
	test_set_ok(cache, "key", "value");
	assert_true(test_has(cache, "key", "value"));
}

static struct shmcache_options
random_options(struct prng *prng)
{
	struct shmcache_options o = SHMCACHE_OPTIONS_INIT;

	o.open_mode = SHMCACHE_CREATE_EXCLUSIVE;
	o.capacity_bytes = prng_size(prng, 4u << 20);
	if (prng_below(prng, 2) != 0)
		o.extent_bytes = 4096u << prng_below(prng, 5);
	if (prng_below(prng, 2) != 0)
		o.expected_items = prng_size(prng, 20000);
	if (prng_below(prng, 2) != 0)
		o.peer_slots = (uint32_t)prng_size(prng, 2000);
	if (prng_below(prng, 2) != 0)
		o.process_slots = (uint32_t)prng_size(prng, 500);
	if (prng_below(prng, 3) == 0)
		o.max_entry_bytes =
		    7 + prng_size(
			    prng, o.extent_bytes != 0
				      ? o.extent_bytes / 4 - ENTRY_OVERHEAD - 7
				      : 40000);
	return o;
}

/* The number in "... the least is N". */
static uint64_t
least_named(void)
{
	const char *at = strstr(shmcache_last_error(), "the least is ");

	assert_non_null(at);
	return strtoull(at + strlen("the least is "), NULL, 10);
}

static void
random_options_make_a_cache_or_name_the_least_capacity(void **state)
{
	struct prng prng;
	unsigned made = 0, small = 0;

	(void)state;
	test_random(&prng, 1);
	for (unsigned i = 0; i < 200; i++) {
		struct shmcache_options o = random_options(&prng);
		struct shmcache *cache = NULL;
		int error = shmcache_open(test_name(), &o, &cache);

		if (error == SHMCACHE_ECAPACITY) {
			small++;
			assert_true(least_named() > o.capacity_bytes);
			o.capacity_bytes = least_named();
			error = shmcache_open(test_name(), &o, &cache);
		}
		assert_int_equal(error, 0);
		check_made(&o, cache);
		made++;
		assert_int_equal(shmcache_remove(cache->path), 0);
		assert_int_equal(shmcache_close(cache), 0);
	}
	assert_int_equal(made, 200);
	assert_true(small > 10);
}

static void
least_capacity_is_the_least(void **state)
{
	struct shmcache_options o = test_options();
	uint64_t least;

	(void)state;
	o.capacity_bytes = 1;
	create_and_remove(&o, SHMCACHE_ECAPACITY);
	least = least_named();
	o.capacity_bytes = least - 1;
	create_and_remove(&o, SHMCACHE_ECAPACITY);
	assert_int_equal(least_named(), least);
	o.capacity_bytes = least;
	create_and_remove(&o, 0);
	/* More than a segment can have. */
	o.peer_slots = SHM_PEERS_MAX;
	o.extent_bytes = SHM_EXTENT_MAX;
	create_and_remove(&o, -EINVAL);
	assert_non_null(
	    strstr(shmcache_last_error(), "more than a segment can hold"));
}

static void
extents_grow_with_the_largest_entry(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *cache;

	(void)state;
	o.extent_bytes = 0;
	o.max_entry_bytes = 100000;
	o.capacity_bytes = 10u << 20;
	cache = test_cache_of(&o);
	assert_int_equal(test_stats(cache).extent_bytes, 512u << 10);
	assert_int_equal(shmcache_remove(cache->path), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
extents_grow_with_the_peers(void **state)
{
	struct shmcache_options o = test_options();

	(void)state;
	o.peer_slots = 4096; /* at least 128 extents */
	o.capacity_bytes = 1u << 20;
	create_and_remove(&o, SHMCACHE_ECAPACITY);
	o.capacity_bytes = 8u << 20;
	create_and_remove(&o, 0);
}

static void
who_attaches_gets_the_cache_as_it_is(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *one = test_cache_of(&o), *two = NULL;

	(void)state;
	o.open_mode = SHMCACHE_OPEN_OR_CREATE;
	o.capacity_bytes = 99u << 20;
	o.peer_slots = 3;
	assert_int_equal(shmcache_open(one->path, &o, &two), 0);
	assert_int_equal(
	    test_stats(two).capacity_bytes, test_stats(one).capacity_bytes);
	assert_int_equal(test_stats(two).peer_slots, 24);
	assert_int_equal(
	    test_stats(one).segment_id, test_stats(two).segment_id);
	assert_int_equal(shmcache_close(two), 0);
	assert_int_equal(shmcache_close(one), 0);
}

static void
each_cache_has_a_secret_of_its_own(void **state)
{
	struct shmcache *one = test_cache(), *two = test_cache();

	(void)state;
	assert_memory_not_equal(
	    one->mapping->secret, two->mapping->secret, CACHE_SECRET_BYTES);
	assert_int_equal(shmcache_close(one), 0);
	assert_int_equal(shmcache_close(two), 0);
}

/* The constants of the cache's page, one of them damaged. */
struct page_damage {
	size_t offset;
	uint64_t value;
};

#define PAGE(name) offsetof(struct cache_shared, name)

static void
damaged_page_is_refused(void **state)
{
	struct shmcache *cache = test_cache(), *other = NULL;
	struct cache_shared *page = cache->mapping->shared, before = *page;
	const struct page_damage damage[] = {
		{ PAGE(max_entry_bytes), TEST_EXTENT_BYTES },
		{ PAGE(max_entry_bytes), UINT64_MAX },
		{ PAGE(max_entry_bytes), UINT64_MAX - 39 },
		{ PAGE(default_ttl_ms), (uint64_t)-2 },
		{ PAGE(default_ttl_ms), (uint64_t)INT64_MIN },
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(damage); i++) {
		int error;

		memcpy((char *)page + damage[i].offset, &damage[i].value, 8);
		error = shmcache_open(cache->path, NULL, &other);
		memcpy(page, &before, PAGE(seq));
		if (error == 0)
			(void)shmcache_close(other);
		if (error != SHMCACHE_ECORRUPT)
			fail_msg("damage %zu: result %d", i, error);
	}
	assert_int_equal(shmcache_open(cache->path, NULL, &other), 0);
	assert_int_equal(shmcache_close(other), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
damage_after_attaching_is_not_read_again(void **state)
{
	struct shmcache *cache = test_cache();
	struct cache_shared *page = cache->mapping->shared;

	(void)state;
	test_set_ok(cache, "key", "value");
	memset(page, 0xff, PAGE(seq));
	assert_true(test_has(cache, "key", "value"));
	test_set_ok(cache, "key", "other");
	assert_true(test_has(cache, "key", "other"));
	assert_int_equal(shmcache_close(cache), 0);
}

static void
removed_cache_is_flushed_for_good(void **state)
{
	struct shmcache *cache = test_cache();

	(void)state;
	test_set_ok(cache, "key", "value");
	assert_int_equal(mapping_remove(cache->path, NULL), 0);
	assert_true(cache->mapping->shared->flush == CACHE_SEQ_MAX);
	assert_int_equal(shmcache_get(cache, "key", 3, NULL, 0, NULL, NULL),
	    SHMCACHE_ENOENT);
	assert_int_equal(access(cache->path, F_OK), -1);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
half_removed_cache_is_finished_by_who_opens_it(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *cache = test_cache(), *heir = NULL;

	(void)state;
	o.open_mode = SHMCACHE_OPEN_OR_CREATE;
	cache->mapping->segment->header->state = SHM_STATE_RETIRED;
	assert_int_equal(
	    shmcache_open(cache->path, NULL, &heir), SHMCACHE_ENOCACHE);
	assert_int_equal(access(cache->path, F_OK), -1);
	assert_int_equal(shmcache_open(cache->path, &o, &heir), 0);
	heir->mapping->segment->header->state = SHM_STATE_RETIRED;
	assert_int_equal(shmcache_close(cache), 0);
	assert_int_equal(shmcache_open(heir->path, &o, &cache), 0);
	test_set_ok(cache, "key", "value");
	assert_int_equal(shmcache_close(cache), 0);
	assert_int_equal(shmcache_close(heir), 0);
}

static void
plain_segment_is_no_cache(void **state)
{
	struct shm_segment *s = test_segment(); /* of another upper layer */
	struct mapping *m = NULL;

	(void)state;
	assert_int_equal(mapping_open(s->path, NULL, &m), SHMCACHE_ELAYOUT);
	assert_null(m);
	shm_segment_detach(s);
}

/* Whether a segment with such regions can be attached to. */
static int
attach_to_regions(uint64_t page_bytes, uint64_t index_bytes, uint64_t tag_bytes,
    uint64_t lease_bytes, uint64_t record_bytes)
{
	struct shm_request r = test_request();
	const char *path = test_path(test_name());
	struct mapping *m = NULL;
	int error;

	r.region_bytes[REGION_CACHE] = page_bytes;
	r.region_bytes[REGION_INDEX] = index_bytes;
	r.region_bytes[REGION_TAGS] = tag_bytes;
	r.region_bytes[REGION_LEASES] = lease_bytes;
	r.region_bytes[REGION_RECORD] = record_bytes;
	r.counter_count = COUNTERS;
	assert_int_equal(
	    shm_segment_create(path, &r, mapping_signature(), 0600, NULL, NULL),
	    0);
	error = mapping_open(path, NULL, &m);
	if (error == 0)
		mapping_close(m);
	else
		assert_null(m);
	assert_int_equal(unlink(path), 0);
	return error;
}

static void
regions_of_other_sizes_are_corrupt(void **state)
{
	static const uint64_t bad[] = { 0, 8, 64, 100, 3 * 64, 63 * 64, 65 * 64,
		64 * 64 + 8 };
	size_t page = sizeof(struct cache_shared);
	const uint64_t others[][2] = { { 64, 8 }, { page * 2, 8 }, { page, 0 },
		{ page, 24 }, { page, 12 } };
	uint64_t leases, ring;
	struct shmcache *cache = test_cache();

	(void)state;
	leases = cache->mapping->segment->geometry.request
		     .region_bytes[REGION_LEASES];
	ring = cache->mapping->segment->geometry.request
		   .region_bytes[REGION_RECORD];
	assert_int_equal(shmcache_close(cache), 0);
	for (size_t i = 0; i < TEST_COUNT_OF(bad); i++)
		assert_int_equal(
		    attach_to_regions(page, bad[i], 8, leases, ring),
		    SHMCACHE_ECORRUPT);
	for (size_t i = 0; i < TEST_COUNT_OF(others); i++)
		assert_int_equal(attach_to_regions(others[i][0], 128,
				     others[i][1], leases, ring),
		    SHMCACHE_ECORRUPT);
	assert_int_equal(
	    attach_to_regions(page, 128, 8, 0, ring), SHMCACHE_ECORRUPT);
	assert_int_equal(attach_to_regions(page, 128, 8, leases - 1, ring),
	    SHMCACHE_ECORRUPT);
	assert_int_equal(attach_to_regions(page, 128, 8, leases, ring - 32),
	    SHMCACHE_ECORRUPT);
	assert_int_equal(
	    attach_to_regions(page, 128, 8, leases, 0), SHMCACHE_ECORRUPT);
	assert_int_equal(attach_to_regions(page, 128, 8, leases, ring), 0);
	assert_int_equal(
	    attach_to_regions(page, 192 * 64, 4096, leases, ring), 0);
}

/* Whether a segment of this request, with a page of this policy, can be attached
   to. */
static int
set_policy(void *policy, void *base, const struct shm_geometry *geometry)
{
	struct cache_shared *page =
	    (void *)((char *)base + geometry->region[REGION_CACHE]);

	page->policy = *(const uint64_t *)policy;
	return 0;
}

static int
attach_to_request(const struct shm_request *r, uint64_t policy)
{
	const char *path = test_path(test_name());
	struct mapping *m = NULL;
	int error;

	assert_int_equal(shm_segment_create(path, r, mapping_signature(), 0600,
			     set_policy, &policy),
	    0);
	error = mapping_open(path, NULL, &m);
	if (error == 0)
		mapping_close(m);
	else
		assert_non_null(shm_error_take(error));
	assert_int_equal(unlink(path), 0);
	return error;
}

static void
other_parts_are_corrupt(void **state)
{
	struct shmcache *cache = test_cache();
	const struct shm_request sound =
	    cache->mapping->segment->geometry.request;
	uint64_t policy = cache->mapping->shared->policy;
	const struct {
		enum region region;
		uint64_t bytes;
	} bad[] = {
		{ REGION_LATENCY, 64 },
		{ REGION_FILTER, 100 },
		{ REGION_FILTER, 4096 },
		{ REGION_GHOSTS, 12 },
	};
	struct shm_request r;

	(void)state;
	assert_int_equal(shmcache_close(cache), 0);
	assert_int_equal(attach_to_request(&sound, policy), 0);
	assert_int_equal(attach_to_request(&sound, 99), SHMCACHE_ECORRUPT);
	for (size_t i = 0; i < TEST_COUNT_OF(bad); i++) {
		r = sound;
		r.region_bytes[bad[i].region] = bad[i].bytes;
		assert_int_equal(
		    attach_to_request(&r, policy), SHMCACHE_ECORRUPT);
	}
	r = sound;
	r.counter_count = COUNTERS - 1;
	assert_int_equal(attach_to_request(&r, policy), SHMCACHE_ECORRUPT);
	r = sound;
	r.log_count++;
	assert_int_equal(attach_to_request(&r, policy), SHMCACHE_ECORRUPT);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(struct_of_options_may_be_older_or_newer),
	cmocka_unit_test(options_out_of_range_are_refused),
	cmocka_unit_test(creating_needs_a_capacity),
	cmocka_unit_test(modes_are_given_to_the_file),
	cmocka_unit_test(
	    random_options_make_a_cache_or_name_the_least_capacity),
	cmocka_unit_test(least_capacity_is_the_least),
	cmocka_unit_test(extents_grow_with_the_largest_entry),
	cmocka_unit_test(extents_grow_with_the_peers),
	cmocka_unit_test(who_attaches_gets_the_cache_as_it_is),
	cmocka_unit_test(each_cache_has_a_secret_of_its_own),
	cmocka_unit_test(damaged_page_is_refused),
	cmocka_unit_test(damage_after_attaching_is_not_read_again),
	cmocka_unit_test(removed_cache_is_flushed_for_good),
	cmocka_unit_test(half_removed_cache_is_finished_by_who_opens_it),
	cmocka_unit_test(plain_segment_is_no_cache),
	cmocka_unit_test(regions_of_other_sizes_are_corrupt),
	cmocka_unit_test(other_parts_are_corrupt),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
