/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ref_tinylfu.c - W-TinyLFU (Einziger, Friedman, Manes 2017)
 *
 * An LRU window of 1 % or 10 %, before a segmented LRU (1 to 4) whose door is
 * kept by frequencies.  The paper leaves much open; this is what libCacheSim
 * had when the published figures were made, choice by choice:
 *
 * - The window takes all that comes until the cache is full.  Then its oldest
 *   move on, until one of them is no more frequent than the main part's
 *   victim: each that wins costs a victim, so that one miss may evict several.
 * - Frequencies are of a counting Bloom filter with 14.4 counters for each
 *   object of the main part, ten of them for a key.  All ten are raised: by a
 *   hit in the main part, by entering the window and by leaving it.  They are
 *   halved every 32 capacities of hits in the main part.
 * - The segments' sizes are rounded down.  Where that loses an object, an
 *   entry promoted may push one out of the main part, and leave room there.
 *
 * In small caches the keys' hashes show in the third digit, so they are the
 * same too, of the keys' numbers by first appearance.
 */
#define XXH_INLINE_ALL /* for xxhash.h */
#include "tools/replay/reference.h"

#include <stdlib.h>
#include <xxhash.h>

enum { WINDOW, PROBATION, PROTECTED };

/* For one false answer in 1000: -ln(.001)/ln(2)^2 counters an object, and
 * ln(2) times as many hashes, rounded up. */
#define COUNTERS_PER_OBJECT 14.377587566
#define HASHES              10u

#define PERIOD_CAPACITIES 32u

struct filter {
	uint32_t *count;
	uint32_t counters;
	uint64_t hits, period;
	uint64_t window_bytes, probation_bytes, protected_bytes, main_bytes;
};

static bool
begin(struct sim *s)
{
	struct filter *f = calloc(1, sizeof(*f));
	uint64_t objects;

	s->own = f;
	if (f == NULL)
		return false;
	f->window_bytes = s->capacity_bytes * s->policy->most_marks / 100;
	f->main_bytes = s->capacity_bytes - f->window_bytes;
	f->probation_bytes = f->main_bytes / 5;
	f->protected_bytes = f->main_bytes * 4 / 5;
	objects = f->main_bytes < s->keys ? f->main_bytes : s->keys;
	f->counters = (uint32_t)(COUNTERS_PER_OBJECT * (double)objects) + 1;
	if (f->counters < HASHES)
		f->counters = 2 * HASHES;
	f->period = PERIOD_CAPACITIES * objects;
	f->count = calloc(f->counters, sizeof(*f->count));
	return f->count != NULL;
}

static void
end(struct sim *s)
{
	struct filter *f = s->own;

	if (f != NULL)
		free(f->count);
}

/* The key's counters, and the least of them. */
static uint32_t
look_up(const struct filter *f, uint32_t key, uint32_t at[HASHES])
{
	uint64_t number = key + 1ull;
	uint32_t first = (uint32_t)XXH64(&number, sizeof(number), 0x12345678);
	uint32_t step = (uint32_t)XXH64(&number, sizeof(number), 0x12344321);
	uint32_t least = UINT32_MAX;

	for (uint32_t i = 0; i < HASHES; i++) {
		at[i] = (first + i * step) % f->counters;
		if (f->count[at[i]] < least)
			least = f->count[at[i]];
	}
	return least;
}

static uint32_t
frequency(const struct sim *s, uint32_t key)
{
	uint32_t at[HASHES];

	return look_up(s->own, key, at);
}

static void
note(struct sim *s, uint32_t key)
{
	struct filter *f = s->own;
	uint32_t at[HASHES];

	(void)look_up(f, key, at);
	for (uint32_t i = 0; i < HASHES; i++)
		f->count[at[i]]++;
}

static void
age(struct sim *s)
{
	struct filter *f = s->own;

	if (++f->hits < f->period)
		return;
	f->hits = 0;
	for (uint32_t i = 0; i < f->counters; i++)
		f->count[i] /= 2;
}

static uint64_t
main_bytes(const struct sim *s)
{
	return s->queue[PROBATION].bytes + s->queue[PROTECTED].bytes;
}

static uint32_t
main_victim(const struct sim *s)
{
	return s->queue[PROBATION].count > 0 ? s->queue[PROBATION].tail
					     : s->queue[PROTECTED].tail;
}

static void
promote(struct sim *s, uint32_t key)
{
	struct filter *f = s->own;

	queue_move(s, PROTECTED, key);
	while (s->queue[PROTECTED].bytes > f->protected_bytes) {
		queue_move(s, PROBATION, s->queue[PROTECTED].tail);
		while (s->queue[PROBATION].bytes > f->probation_bytes)
			queue_remove(s, s->queue[PROBATION].tail);
	}
}

static void
hit(struct sim *s, uint32_t key)
{
	if (s->node[key].queue - 1 == WINDOW) {
		queue_move(s, WINDOW, key);
		return;
	}
	promote(s, key);
	note(s, key);
	age(s);
}

static void
enter_main(struct sim *s, uint32_t key)
{
	struct filter *f = s->own;
	uint32_t bytes = s->node[key].bytes;
	bool probation =
	    s->queue[PROBATION].bytes + bytes <= f->probation_bytes;
	bool protected =
	    s->queue[PROTECTED].bytes + bytes <= f->protected_bytes;

	queue_move(s, !probation && protected ? PROTECTED : PROBATION, key);
}

/* The window's oldest against the main part's: one of the two goes. */
static bool
wins(struct sim *s, uint32_t key)
{
	struct filter *f = s->own;
	uint32_t victim = main_victim(s);

	if (victim == NOBODY || frequency(s, key) <= frequency(s, victim)) {
		queue_remove(s, key);
		return false;
	}
	while (main_bytes(s) + s->node[key].bytes > f->main_bytes)
		queue_remove(s, main_victim(s));
	enter_main(s, key);
	return true;
}

static void
evict(struct sim *s)
{
	struct filter *f = s->own;
	bool going_on = true;

	while (going_on) {
		uint32_t oldest = s->queue[WINDOW].tail;

		if (oldest == NOBODY) {
			queue_remove(s, main_victim(s));
			return;
		}
		if (main_bytes(s) + s->node[oldest].bytes <= f->main_bytes)
			enter_main(s, oldest);
		else
			going_on = wins(s, oldest);
		note(s, oldest);
	}
}

static void
insert(struct sim *s, uint32_t key, uint32_t bytes)
{
	struct filter *f = s->own;

	if (bytes > f->window_bytes) {
		s->refused++;
		return;
	}
	while (
	    s->queue[WINDOW].bytes + main_bytes(s) + bytes > s->capacity_bytes)
		evict(s);
	queue_push(s, WINDOW, key, bytes);
	note(s, key);
}

/* most_marks is the window, in percent. */
const struct reference reference_tinylfu1 = { .name = "tinylfu1",
	.text = "W-TinyLFU, window of 1 %",
	.begin = begin,
	.end = end,
	.hit = hit,
	.insert = insert,
	.remove = queue_remove,
	.most_marks = 1 };

const struct reference reference_tinylfu10 = { .name = "tinylfu10",
	.text = "W-TinyLFU, window of 10 %",
	.begin = begin,
	.end = end,
	.hit = hit,
	.insert = insert,
	.remove = queue_remove,
	.most_marks = 10 };
