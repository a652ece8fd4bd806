/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * history_checker_test.c - does the check of histories find what is wrong, and
 * nothing else?
 *
 * Histories that are known to be right or wrong, one for each promise; then
 * many short random ones, which are also judged by trying all orders, with
 * evictions as steps of their own.
 */
#include "tests/support/history.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define EVENTS_MAX 8
#define RANDOM     (TEST_TSAN || TEST_ASAN ? 20000 : 100000)

#define A history_value(1)
#define B history_value(2)

#define EVENT(from, to, kind_, result_, argument_, seen_)                      \
	{                                                                      \
		.key = 1, .called_ns = (from), .returned_ns = (to),            \
		.kind = HISTORY_##kind_, .result = HISTORY_##result_,          \
		.argument = (argument_), .seen = (seen_)                       \
	}

static bool
holds(const struct history_event *events, size_t count, bool may_evict)
{
	struct history_event copy[EVENTS_MAX];
	struct history_verdict verdict;

	CHECK(count <= EVENTS_MAX);
	memcpy(copy, events, count * sizeof(*events));
	history_check(copy, count, may_evict, &verdict);
	CHECK(verdict.checked == count);
	CHECK(verdict.violated == (verdict.text[0] != '\0'));
	return !verdict.violated;
}

#define EXPECT(wanted, may_evict, ...)                                         \
	do {                                                                   \
		const struct history_event list[] = { __VA_ARGS__ };           \
                                                                               \
		CHECK(holds(list, TEST_COUNT_OF(list), (may_evict)) ==         \
		      (wanted));                                               \
	} while (0)

static void
what_is_right(void)
{
	EXPECT(true, false, EVENT(1, 2, GET, ABSENT, 0, 0),
	    EVENT(3, 6, SET, DONE, A, 0), EVENT(4, 5, GET, ABSENT, 0, 0),
	    EVENT(4, 5, GET, DONE, 0, A), EVENT(7, 8, DELETE, DONE, 0, 0),
	    EVENT(9, 9, ADD, DONE, B, 0));
	/* An eviction shows as a miss. */
	EXPECT(true, true, EVENT(1, 2, SET, DONE, A, 0),
	    EVENT(3, 4, GET, ABSENT, 0, 0), EVENT(5, 6, ADD, DONE, B, 0),
	    EVENT(7, 8, REPLACE, ABSENT, A, 0));
	/* A killed set may have come to something, and may not. */
	EXPECT(true, false, EVENT(1, 2, SET, DONE, A, 0),
	    EVENT(3, 6, SET, PENDING, B, 0), EVENT(4, 5, GET, DONE, 0, A),
	    EVENT(7, 8, GET, DONE, 0, B));
	EXPECT(true, false, EVENT(1, 2, SET, DONE, A, 0),
	    EVENT(3, 6, SET, PENDING, B, 0), EVENT(7, 8, GET, DONE, 0, A));
	EXPECT(true, false, EVENT(1, 2, SET, DONE, history_counter(5), 0),
	    EVENT(3, 6, INCR, DONE, 2, history_counter(8)),
	    EVENT(4, 5, INCR, DONE, 1, history_counter(6)));
	EXPECT(true, false, EVENT(1, 2, SET, DONE, A, 0),
	    EVENT(3, 4, APPEND, DONE, 2, 0), EVENT(3, 4, PREPEND, DONE, 3, 0),
	    EVENT(5, 6, GET, DONE, 0,
		history_appended(history_appended(history_value(3), 1), 2)));
}

static void
what_is_wrong(void)
{
	/* A stale read. */
	EXPECT(false, true, EVENT(1, 2, SET, DONE, A, 0),
	    EVENT(3, 4, SET, DONE, B, 0), EVENT(5, 6, GET, DONE, 0, A));
	/* An old value after a miss. */
	EXPECT(false, true, EVENT(1, 2, SET, DONE, A, 0),
	    EVENT(3, 4, GET, ABSENT, 0, 0), EVENT(5, 6, GET, DONE, 0, A));
	/* A miss where nothing is evicted. */
	EXPECT(false, false, EVENT(1, 2, SET, DONE, A, 0),
	    EVENT(3, 4, GET, ABSENT, 0, 0));
	/* What was deleted is back. */
	EXPECT(false, true, EVENT(1, 2, SET, DONE, A, 0),
	    EVENT(3, 4, DELETE, DONE, 0, 0), EVENT(5, 6, GET, DONE, 0, A));
	/* A lost increment. */
	EXPECT(false, true, EVENT(1, 2, SET, DONE, history_counter(5), 0),
	    EVENT(3, 4, INCR, DONE, 1, history_counter(6)),
	    EVENT(5, 6, INCR, DONE, 1, history_counter(6)));
	/* A lost append. */
	EXPECT(false, true, EVENT(1, 2, SET, DONE, A, 0),
	    EVENT(3, 4, APPEND, DONE, 2, 0), EVENT(5, 6, GET, DONE, 0, A));
	/* Two who saw the same value have both replaced it. */
	EXPECT(false, true, EVENT(1, 2, SET, DONE, A, 0),
	    EVENT(3, 6, CAS, DONE, B, A),
	    EVENT(4, 5, CAS, DONE, history_value(3), A));
	/* Values go back and forth. */
	EXPECT(false, true, EVENT(1, 9, SET, DONE, A, 0),
	    EVENT(1, 9, SET, DONE, B, 0), EVENT(2, 3, GET, DONE, 0, A),
	    EVENT(4, 5, GET, DONE, 0, B), EVENT(6, 7, GET, DONE, 0, A));
	/* A killed set takes effect after its death. */
	EXPECT(false, true, EVENT(1, 2, SET, PENDING, A, 0),
	    EVENT(3, 4, SET, DONE, B, 0), EVENT(5, 6, GET, DONE, 0, A));
	/* What nobody wrote. */
	EXPECT(false, true, EVENT(1, 2, SET, DONE, A, 0),
	    EVENT(3, 4, GET, DONE, 0, B));
}

/* Tries every order, killed operations left out or not. */
static bool
some_order(const struct history_event *events, size_t count, unsigned done,
    uint64_t held)
{
	uint64_t first_return = UINT64_MAX;
	bool all = true;

	for (size_t i = 0; i < count; i++) {
		bool left = (done >> i & 1) == 0;

		all = all && (!left || events[i].result == HISTORY_PENDING);
		if (left && events[i].returned_ns < first_return) {
			first_return = events[i].returned_ns;
		}
	}
	if (all) {
		return true;
	}
	for (size_t i = 0; i < count; i++) {
		const struct history_event *e = &events[i];
		bool can, there = held != 0;
		bool took = e->result == HISTORY_DONE;
		bool maybe = e->result == HISTORY_PENDING;
		uint64_t after = held;

		if ((done >> i & 1) != 0 || e->called_ns > first_return) {
			continue;
		}
		if (maybe && some_order(events, count, done | 1u << i, held)) {
			return true;
		}
		switch (e->kind) {
		case HISTORY_GET:
			can =
			    maybe || (took ? there && held == e->seen : !there);
			break;
		case HISTORY_SET:
			can = true;
			after = e->argument;
			break;
		case HISTORY_ADD:
			can = maybe ? !there : took != there;
			after = there ? held : e->argument;
			break;
		case HISTORY_DELETE:
			can = maybe || took == there;
			after = 0;
			break;
		default: /* cas */
			can = maybe || took ? held == e->seen
			      : e->result == HISTORY_ABSENT
				  ? !there
				  : there && held != e->seen;
			after = maybe || took ? e->argument : held;
			break;
		}
		if (can && some_order(events, count, done | 1u << i, after)) {
			return true;
		}
	}
	return false;
}

static struct history_event
random_event(struct prng *prng)
{
	static const uint8_t kinds[] = { HISTORY_GET, HISTORY_GET, HISTORY_GET,
		HISTORY_SET, HISTORY_ADD, HISTORY_DELETE, HISTORY_CAS };
	static const uint8_t other[] = {
		[HISTORY_GET] = HISTORY_ABSENT,
		[HISTORY_SET] = HISTORY_DONE,
		[HISTORY_ADD] = HISTORY_PRESENT,
		[HISTORY_DELETE] = HISTORY_ABSENT,
		[HISTORY_CAS] = HISTORY_PRESENT,
	};
	struct history_event e = { .key = 1 };

	e.called_ns = 1 + prng_below(prng, 12);
	e.returned_ns = e.called_ns + prng_below(prng, 6);
	e.kind = kinds[prng_below(prng, sizeof(kinds))];
	e.argument = history_value(1 + prng_below(prng, 3));
	e.seen = history_value(1 + prng_below(prng, 3));
	e.result = HISTORY_DONE;
	if (prng_below(prng, 8) == 0) {
		e.result = HISTORY_PENDING;
	} else if (prng_below(prng, 4) == 0) {
		e.result = other[e.kind];
	}
	return e;
}

static bool
judged_by_orders(
    const struct history_event *events, size_t count, bool may_evict)
{
	struct history_event with_evictions[2 * EVENTS_MAX];
	size_t used = count;

	memcpy(with_evictions, events, count * sizeof(*events));
	/* An eviction is a delete that may come at any time, or never; there
	   are no more than writes. */
	for (size_t i = 0; may_evict && i + 1 < count; i++) {
		with_evictions[used++] = (struct history_event)EVENT(
		    0, UINT64_MAX - 1, DELETE, PENDING, 0, 0);
	}
	return some_order(with_evictions, used, 0, 0);
}

static void
as_trying_all_orders(void)
{
	struct history_event events[EVENTS_MAX];
	uint64_t right = 0, wrong = 0;
	struct prng prng;

	prng_init(&prng, run_seed(), 1);
	for (unsigned round = 0; round < RANDOM; round++) {
		size_t count = 1 + prng_below(&prng, 5);
		bool may_evict = prng_below(&prng, 2) != 0;
		bool judged, searched;

		for (size_t i = 0; i < count; i++) {
			events[i] = random_event(&prng);
		}
		judged = holds(events, count, may_evict);
		searched = judged_by_orders(events, count, may_evict);
		CHECK_SAY(judged == searched,
		    "round %u: judged %d, by trying all orders %d", round,
		    judged, searched);
		right += judged;
		wrong += !judged;
	}
	printf("  %" PRIu64 " right and %" PRIu64 " wrong histories\n", right,
	    wrong);
	CHECK(right > RANDOM / 20 && wrong > RANDOM / 20);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(what_is_right),
		CASE(what_is_wrong),
		CASE(as_trying_all_orders),
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
	};

	return run_suite(argc, argv, &suite);
}
