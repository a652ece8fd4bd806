/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libshmcache_policy_test.c - what becomes of an entry: one pure function */
#include "libshmcache/entry.h"
#include "libshmcache/policy.h"
#include "tests/unit/support.h"

static void
clock_drops_what_was_not_read(void **state)
{
	(void)state;
	assert_false(policy_clock(0).keep);
}

static void
clock_keeps_what_was_read_with_one_mark_less(void **state)
{
	(void)state;
	for (uint8_t ref = 1; ref <= ENTRY_REF_MAX; ref++) {
		assert_true(policy_clock(ref).keep);
		assert_int_equal(policy_clock(ref).ref, ref - 1);
	}
}

static void
entry_that_is_read_no_more_goes_after_its_marks(void **state)
{
	struct policy_verdict v = { .keep = true, .ref = ENTRY_REF_MAX };
	unsigned rounds = 0;

	(void)state;
	for (v = policy_clock(v.ref); v.keep; v = policy_clock(v.ref))
		rounds++;
	assert_int_equal(rounds, ENTRY_REF_MAX);
}

static void
cleaning_keeps_everything_as_it_is(void **state)
{
	(void)state;
	for (uint8_t ref = 0; ref <= ENTRY_REF_MAX; ref++) {
		assert_true(policy_clean(ref).keep);
		assert_int_equal(policy_clean(ref).ref, ref);
	}
}

static void
mostly_dead_is_a_quarter_alive_or_less(void **state)
{
	(void)state;
	assert_true(policy_mostly_dead(0, 4096));
	assert_true(policy_mostly_dead(1024, 4096));
	assert_false(policy_mostly_dead(1025, 4096));
	assert_false(policy_mostly_dead(UINT32_MAX, 4096));
	assert_false(policy_mostly_dead(1ull << 40, 1u << 30));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(clock_drops_what_was_not_read),
	cmocka_unit_test(clock_keeps_what_was_read_with_one_mark_less),
	cmocka_unit_test(entry_that_is_read_no_more_goes_after_its_marks),
	cmocka_unit_test(cleaning_keeps_everything_as_it_is),
	cmocka_unit_test(mostly_dead_is_a_quarter_alive_or_less),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
