/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * window_bench.c - which window should a key have?
 *
 * Fills an index of 65,536 buckets of 8 slots with random keys, entries never
 * moving, and counts the inserts that find their window full and the entries
 * that lie outside their home bucket: for two buckets of one page (home first,
 * up to so many slots) and for a linear window.  A simulation; no cache is
 * used.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BUCKETS 65536u
#define SLOTS   8u
#define GROUP   64u

static uint8_t used[BUCKETS];
static uint64_t state;

static uint64_t
random_word(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 2685821657736338717ull;
}

struct result {
	uint64_t full;
	uint64_t away;
};

static void
put_two(unsigned home_full, struct result *r)
{
	uint64_t hash = random_word();
	uint32_t home = (uint32_t)(hash >> 32) % BUCKETS;
	uint32_t other =
	    home ^ (uint32_t)(1 + (((hash & 0xffff) * (GROUP - 1)) >> 16));

	if (used[home] >= home_full && used[other] < used[home]) {
		used[other]++;
		r->away++;
	} else if (used[home] < SLOTS) {
		used[home]++;
	} else {
		r->full++;
	}
}

static void
put_linear(unsigned buckets, struct result *r)
{
	uint32_t home = (uint32_t)(random_word() >> 32) % BUCKETS;

	for (unsigned i = 0; i < buckets; i++) {
		uint32_t at = (home + i) % BUCKETS;

		if (used[at] < SLOTS) {
			used[at]++;
			r->away += i > 0;
			return;
		}
	}
	r->full++;
}

static void
fill(const char *name, unsigned parameter,
    void (*put)(unsigned, struct result *), unsigned load_percent)
{
	uint64_t items = (uint64_t)BUCKETS * SLOTS * load_percent / 100;
	struct result r = { 0, 0 };

	memset(used, 0, sizeof(used));
	state = 88172645463325252ull;
	for (uint64_t i = 0; i < items; i++)
		put(parameter, &r);
	printf("%3u %%  %-28s %u   full %8.4f %%   away from home %5.1f %%\n",
	    load_percent, name, parameter,
	    100.0 * (double)r.full / (double)items,
	    100.0 * (double)r.away / (double)items);
}

int
main(void)
{
	for (unsigned load = 60; load <= 90; load += 10) {
		for (unsigned home_full = 4; home_full <= SLOTS; home_full++)
			fill("two buckets, home first up to", home_full,
			    put_two, load);
		for (unsigned buckets = 2; buckets <= 4; buckets++)
			fill("linear, buckets", buckets, put_linear, load);
	}
	return 0;
}
