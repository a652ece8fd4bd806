/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libshmcache_policy_test.c - what becomes of an entry: one pure function each */
#include "libshmcache/entry.h"
#include "libshmcache/policy.h"
#include "tests/unit/support.h"

#include <string.h>

#define MEAN 300u

static struct policy_verdict
judge(const char *policy, uint8_t log, uint8_t marks, uint32_t bytes)
{
	struct policy_view view = {
		.bytes = bytes, .mean_bytes = MEAN, .marks = marks, .log = log
	};

	return policy_named(policy)->judge(&view);
}

static void
names_are_found_and_numbers_stand_for_them(void **state)
{
	uint64_t count = 0;

	(void)state;
	assert_ptr_equal(policy_named(NULL), &policy_s3fifo);
	assert_null(policy_named("none"));
	assert_null(policy_named(""));
	for (; policy_numbered(count) != NULL; count++) {
		const struct policy *p = policy_numbered(count);

		assert_ptr_equal(policy_named(p->name), p);
		assert_int_equal(policy_number(p), count);
		assert_non_null(strstr(policy_names(), p->name));
		assert_true(strlen(p->name) < POLICY_NAME_BYTES);
	}
	assert_int_equal(count, 7);
	assert_null(policy_numbered(UINT64_MAX));
}

/* Whatever the marks say: never more worth than there is, and never the mark of
   the dead. */
static void
verdicts_stay_in_their_range(void **state)
{
	(void)state;
	for (uint64_t i = 0; policy_numbered(i) != NULL; i++)
		for (unsigned marks = 0; marks < 255; marks++)
			for (uint8_t log = 0; log < 2; log++) {
				const char *name = policy_numbered(i)->name;
				struct policy_verdict v =
				    judge(name, log, (uint8_t)marks, MEAN);

				if (strcmp(name, "lfu") != 0 &&
				    marks > POLICY_MARKS_MAX)
					continue; /* never stored by it */
				assert_true(v.worth <= POLICY_WORTH_MAX);
				assert_true(
				    (v.marks | POLICY_MARKS_MAX) < ENTRY_DEAD);
			}
}

static void
clock_keeps_what_was_read_with_one_mark_less(void **state)
{
	(void)state;
	assert_int_equal(judge("clock", LOG_MAIN, 0, MEAN).worth, 0);
	for (uint8_t marks = 1; marks <= POLICY_MARKS_MAX; marks++) {
		struct policy_verdict v = judge("clock", LOG_MAIN, marks, MEAN);

		assert_int_equal(v.worth, marks);
		assert_int_equal(v.marks, marks - 1);
	}
}

static void
fifo_mru_and_random_keep_nothing(void **state)
{
	const char *const names[] = { "fifo", "mru", "random" };

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(judge(names[i], LOG_MAIN, 3, MEAN).worth, 0);
	assert_int_equal(policy_named("fifo")->order, POLICY_OLDEST);
	assert_int_equal(policy_named("mru")->order, POLICY_NEWEST);
	assert_int_equal(policy_named("random")->order, POLICY_ANY);
}

static void
lru_keeps_what_was_read_and_forgets_how_often(void **state)
{
	(void)state;
	assert_int_equal(judge("lru", LOG_MAIN, 0, MEAN).worth, 0);
	assert_true(judge("lru", LOG_MAIN, 1, MEAN).worth > 0);
	assert_int_equal(judge("lru", LOG_MAIN, 3, MEAN).marks, 0);
	assert_int_equal(policy_named("lru")->window_percent, 50);
}

static void
lfu_adds_up_and_decays(void **state)
{
	struct policy_verdict v = { 0 };
	unsigned rounds = 0;
	uint8_t often;

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		v = judge("lfu", LOG_MAIN, v.marks | 3, MEAN);
	often = v.worth;
	assert_true(often > judge("lfu", LOG_MAIN, 3, MEAN).worth);
	while (v.worth > 0) {
		v = judge("lfu", LOG_MAIN, v.marks, MEAN);
		assert_true(++rounds < 10);
	}
	assert_true(rounds > 1);
}

static void
s3fifo_promotes_at_one_hit_and_remembers_the_others(void **state)
{
	(void)state;
	assert_int_equal(judge("s3fifo", LOG_PROBATION, 0, MEAN).worth, 0);
	assert_true(judge("s3fifo", LOG_PROBATION, 0, MEAN).remember);
	assert_true(judge("s3fifo", LOG_PROBATION, 1, MEAN).worth > 0);
	assert_int_equal(judge("s3fifo", LOG_PROBATION, 3, MEAN).marks, 0);
	assert_int_equal(judge("s3fifo", LOG_MAIN, 0, MEAN).worth, 0);
	assert_int_equal(judge("s3fifo", LOG_MAIN, 3, MEAN).marks, 2);
}

static void
s3fifo_asks_more_of_large_entries(void **state)
{
	const struct {
		uint32_t bytes;
		uint8_t hits;
	} sizes[] = { { 2 * MEAN, 1 }, { 2 * MEAN + 2, 2 }, { 4 * MEAN, 2 },
		{ 4 * MEAN + 4, 3 }, { 100 * MEAN, 3 } };

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t hits = sizes[i].hits;

		assert_int_equal(
		    judge("s3fifo", LOG_PROBATION, hits - 1, sizes[i].bytes)
			.worth,
		    0);
		assert_true(
		    judge("s3fifo", LOG_PROBATION, hits, sizes[i].bytes).worth >
		    0);
		assert_int_equal(
		    judge("s3fifo", LOG_MAIN, 3, sizes[i].bytes).marks,
		    3 - hits);
	}
}

static void
cleaning_begins_at_its_percentage(void **state)
{
	(void)state;
	assert_false(policy_worth_cleaning(0, 4096));
	assert_false(
	    policy_worth_cleaning(4096 * POLICY_CLEAN_PERCENT / 100 - 1, 4096));
	assert_true(
	    policy_worth_cleaning(4096 * POLICY_CLEAN_PERCENT / 100 + 1, 4096));
	assert_true(policy_worth_cleaning(1u << 30, 1u << 30));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(names_are_found_and_numbers_stand_for_them),
	cmocka_unit_test(verdicts_stay_in_their_range),
	cmocka_unit_test(clock_keeps_what_was_read_with_one_mark_less),
	cmocka_unit_test(fifo_mru_and_random_keep_nothing),
	cmocka_unit_test(lru_keeps_what_was_read_and_forgets_how_often),
	cmocka_unit_test(lfu_adds_up_and_decays),
	cmocka_unit_test(s3fifo_promotes_at_one_hit_and_remembers_the_others),
	cmocka_unit_test(s3fifo_asks_more_of_large_entries),
	cmocka_unit_test(cleaning_begins_at_its_percentage),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
