/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * race.h - two changes of the same words, in every order
 *
 * A compare-and-swap that always won would be right but for what others do
 * between the load before it and itself.  Here one thread makes a change
 * instruction by instruction (steps.h), and after the n-th, for each n, another
 * makes one of the same words, wholly; then it is judged whether both are there.
 *
 * Its includer begins with race_begin(), and ends with other_end().
 */
#ifndef TESTS_UNIT_RACE_H
#define TESTS_UNIT_RACE_H

#include "tests/support/other.h"
#include "tests/support/prng.h"
#include "tests/support/steps.h"
#include "tests/unit/support.h"

struct race {
	void (*prepare)(void);
	void (*first)(void); /* step by step */
	void (*second)(void);
	bool (*is_right)(void);
};

struct race_run {
	const struct race *race;
	uint64_t at;
	bool came;
};

static struct prng race_prng;

static bool
race_come_between(void *context, uint64_t step)
{
	struct race_run *run = context;

	if (step < run->at)
		return true;
	run->came = true;
	let_other(run->race->second);
	return false;
}

static void
race_do_first(void *argument)
{
	((struct race_run *)argument)->race->first();
}

/* After each instruction, or some hundred of them; its includer may say how
   many. */
#ifndef RACE_TRIES_MAX
#define RACE_TRIES_MAX (TEST_SANITIZED ? 20u : 120u)
#endif

static void
run_race(const struct race *race)
{
	struct race_run run = { .race = race, .at = UINT64_MAX };
	uint64_t steps, stride;

	race->prepare();
	steps = steps_run(race_come_between, &run, race_do_first, &run);
	let_other(race->second);
	assert_true(race->is_right());
	stride = 1 + steps / RACE_TRIES_MAX;
	for (run.at = 1 + prng_below(&race_prng, stride); run.at < steps;
	     run.at += stride) {
		run.came = false;
		race->prepare();
		(void)steps_run(race_come_between, &run, race_do_first, &run);
		if (!run.came)
			let_other(race->second);
		if (!race->is_right())
			fail_msg("wrong when the other comes after "
				 "instruction %u",
			    (unsigned)run.at);
	}
}

/* A test, with its includer's setup() and teardown(). */
#define RACE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static inline bool
race_begin(uint64_t salt)
{
	test_random(&race_prng, salt);
	return other_begin();
}

#endif /* TESTS_UNIT_RACE_H */
