/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shm_layout_test.c - a geometry overlaps nowhere and fits, whatever is asked
 */
#include "shm/layout.h"
#include "tests/unit/support.h"

#include <errno.h>
#include <string.h>

#define RANDOM_REQUESTS 20000u

/* A valid request, often at the edges of what is allowed. */
static struct shm_request
random_request(struct prng *prng)
{
	struct shm_request r = {
		.process_count = (uint32_t)prng_size(prng, SHM_PROCESSES_MAX),
		.peer_count = (uint32_t)prng_size(prng, SHM_PEERS_MAX),
		.counter_count = (uint32_t)prng_below(prng, 1025),
		.extent_bytes = SHM_EXTENT_MIN << prng_below(prng, 19),
		.extent_count =
		    (uint32_t)(SHM_EXTENTS_MIN - 1 +
			       prng_size(prng,
				   SHM_EXTENTS_MAX - SHM_EXTENTS_MIN + 1)),
		.log_count = (uint32_t)prng_size(prng, SHM_LOGS_MAX),
		.lane_count = (uint32_t)prng_size(prng, SHM_LANES_MAX),
		.page_bytes = 4096u << prng_below(prng, 5),
	};

	for (unsigned i = 0; i < SHM_REGIONS; i++)
		if (prng_below(prng, 2) != 0)
			r.region_bytes[i] = prng_size(prng, 1ull << 32);
	return r;
}

/* Asserts that a table begins at or after `end`, aligned; returns its end. */
static uint64_t
next_table(uint64_t end, uint64_t at, uint64_t bytes, uint64_t align)
{
	assert_true(at >= end);
	assert_true(at % align == 0);
	return at + bytes;
}

/* What is large begins at a page. */
static uint64_t
table_align(const struct shm_request *r, uint64_t bytes)
{
	return bytes >= 65536 ? r->page_bytes : 64;
}

static void
check_tables(const struct shm_geometry *g, const struct shm_request *r)
{
	uint64_t end = SHM_HEADER_BYTES;

	end = next_table(end, g->processes, r->process_count * 64ull, 64);
	end = next_table(end, g->peers, r->peer_count * 128ull, 128);
	assert_true(g->counters_stride >= r->counter_count * 8ull);
	assert_true(g->counters_stride % 64 == 0);
	end = next_table(
	    end, g->counters, r->peer_count * g->counters_stride, 64);
	end = next_table(
	    end, g->hints, (uint64_t)r->log_count * r->lane_count * 64, 64);
	for (unsigned i = 0; i < SHM_REGIONS; i++)
		end = next_table(end, g->region[i], r->region_bytes[i],
		    table_align(r, r->region_bytes[i]));
	end = next_table(end, g->extents, r->extent_count * 64ull,
	    table_align(r, r->extent_count * 64ull));
	assert_true(
	    g->map_words * SHM_MAP_UNITS >= r->extent_bytes / SHM_UNIT_BYTES);
	end = next_table(end, g->maps, r->extent_count * g->map_words * 8, 64);
	end = next_table(end, g->arena,
	    (uint64_t)r->extent_count * r->extent_bytes, r->page_bytes);
	assert_true(g->total_bytes >= end);
	assert_true(g->total_bytes < end + r->page_bytes);
	assert_true(g->total_bytes <= SHM_SEGMENT_MAX);
}

static void
tables_of_random_requests_never_overlap_and_fit(void **state)
{
	struct prng prng;
	unsigned accepted = 0;

	(void)state;
	test_random(&prng, 1);
	for (unsigned i = 0; i < RANDOM_REQUESTS; i++) {
		struct shm_request r = random_request(&prng);
		struct shm_geometry g;
		int error = shm_geometry_init(&g, &r);

		if (error == 0) {
			check_tables(&g, &r);
			assert_memory_equal(&g.request, &r, sizeof(r));
			accepted++;
		} else {
			assert_int_equal(error, -EINVAL);
			assert_true((uint64_t)r.extent_count * r.extent_bytes >
				    SHM_SEGMENT_MAX / 4);
		}
	}
	assert_true(accepted > RANDOM_REQUESTS / 2);
}

static void
same_request_gives_same_geometry(void **state)
{
	struct shm_request r = test_request();
	struct shm_geometry a, b;

	(void)state;
	assert_int_equal(shm_geometry_init(&a, &r), 0);
	assert_int_equal(shm_geometry_init(&b, &r), 0);
	assert_memory_equal(&a, &b, sizeof(a));
}

struct bad_field {
	size_t offset;
	uint32_t value;
};

#define FIELD(name) offsetof(struct shm_request, name)

static void
numbers_outside_the_limits_are_refused(void **state)
{
	static const struct bad_field bad[] = {
		{ FIELD(process_count), 0 },
		{ FIELD(process_count), SHM_PROCESSES_MAX + 1 },
		{ FIELD(peer_count), 0 },
		{ FIELD(peer_count), SHM_PEERS_MAX + 1 },
		{ FIELD(counter_count), 1025 },
		{ FIELD(extent_bytes), SHM_EXTENT_MIN / 2 },
		{ FIELD(extent_bytes), 0 },
		{ FIELD(extent_bytes), 4096 + 1024 },
		{ FIELD(extent_bytes), SHM_EXTENT_MAX * 2 },
		{ FIELD(extent_count), SHM_EXTENTS_MIN - 1 },
		{ FIELD(extent_count), SHM_EXTENTS_MAX + 1 },
		{ FIELD(log_count), 0 },
		{ FIELD(log_count), SHM_LOGS_MAX + 1 },
		{ FIELD(lane_count), 0 },
		{ FIELD(lane_count), SHM_LANES_MAX + 1 },
		{ FIELD(page_bytes), 2048 },
		{ FIELD(page_bytes), 4096 + 2048 },
		{ FIELD(page_bytes), 131072 },
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(bad); i++) {
		struct shm_request r = test_request();
		struct shm_geometry g;

		memcpy((char *)&r + bad[i].offset, &bad[i].value, 4);
		assert_int_equal(shm_geometry_init(&g, &r), -EINVAL);
	}
}

static void
regions_and_totals_above_one_tebibyte_are_refused(void **state)
{
	struct shm_request r = test_request();
	struct shm_geometry g;

	(void)state;
	r.region_bytes[7] = SHM_SEGMENT_MAX + 1;
	assert_int_equal(shm_geometry_init(&g, &r), -EINVAL);
	r.region_bytes[7] = UINT64_MAX - 8191; /* their sum would be small */
	assert_int_equal(shm_geometry_init(&g, &r), -EINVAL);
	r.region_bytes[7] = SHM_SEGMENT_MAX / 2;
	assert_int_equal(shm_geometry_init(&g, &r), 0);
	r.region_bytes[0] = SHM_SEGMENT_MAX / 2;
	assert_int_equal(shm_geometry_init(&g, &r), -EINVAL);
	r = test_request();
	r.extent_bytes = SHM_EXTENT_MAX;
	r.extent_count = SHM_EXTENTS_MAX;
	assert_int_equal(shm_geometry_init(&g, &r), -EINVAL);
}

/* Whether a segment of so many extents keeps within `bytes`. */
static bool
fits(struct shm_request r, uint64_t extents, uint64_t bytes)
{
	struct shm_geometry g;

	r.extent_count = (uint32_t)extents;
	return shm_geometry_init(&g, &r) == 0 && g.total_bytes <= bytes;
}

static void
extents_are_as_many_as_fit_and_no_more(void **state)
{
	struct prng prng;

	(void)state;
	test_random(&prng, 2);
	for (unsigned i = 0; i < RANDOM_REQUESTS / 4; i++) {
		struct shm_request r = random_request(&prng);
		uint64_t bytes = prng_size(&prng, SHM_SEGMENT_MAX);
		uint32_t most = shm_geometry_extents(&r, bytes);

		if (most >= SHM_EXTENTS_MIN)
			assert_true(fits(r, most, bytes));
		assert_true(most <= SHM_EXTENTS_MAX);
		if (most + 1 >= SHM_EXTENTS_MIN && most < SHM_EXTENTS_MAX)
			assert_false(fits(r, most + 1ull, bytes));
		else if (most < SHM_EXTENTS_MAX)
			assert_false(fits(r, SHM_EXTENTS_MIN, bytes));
	}
}

static void
no_extents_fit_where_the_tables_do_not(void **state)
{
	struct shm_request r = test_request();

	(void)state;
	assert_int_equal(shm_geometry_extents(&r, 0), 0);
	assert_int_equal(shm_geometry_extents(&r, 4095), 0);
	r.region_bytes[1] = 1ull << 30;
	assert_int_equal(shm_geometry_extents(&r, 1ull << 30), 0);
}

static void
extents_are_capped_at_their_maximum(void **state)
{
	struct shm_request r = test_request();

	(void)state;
	assert_int_equal(
	    shm_geometry_extents(&r, SHM_SEGMENT_MAX), SHM_EXTENTS_MAX);
}

static void
signature_tells_the_upper_layer_apart(void **state)
{
	(void)state;
	assert_true(shm_layout_signature(1) == shm_layout_signature(1));
	assert_true(shm_layout_signature(1) != shm_layout_signature(2));
	assert_true(
	    shm_layout_signature(0) != shm_layout_signature(1ull << 63));
}

static void
folding_minds_the_order(void **state)
{
	uint64_t one = shm_signature_fold(shm_signature_fold(0, 1), 2);
	uint64_t two = shm_signature_fold(shm_signature_fold(0, 2), 1);

	(void)state;
	assert_true(one != two);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(tables_of_random_requests_never_overlap_and_fit),
	cmocka_unit_test(same_request_gives_same_geometry),
	cmocka_unit_test(numbers_outside_the_limits_are_refused),
	cmocka_unit_test(regions_and_totals_above_one_tebibyte_are_refused),
	cmocka_unit_test(extents_are_as_many_as_fit_and_no_more),
	cmocka_unit_test(no_extents_fit_where_the_tables_do_not),
	cmocka_unit_test(extents_are_capped_at_their_maximum),
	cmocka_unit_test(signature_tells_the_upper_layer_apart),
	cmocka_unit_test(folding_minds_the_order),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
