/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ref_tinylfu.c - W-TinyLFU (Einziger, Friedman, Manes 2017)
 *
 * An LRU window of 1 % or 10 %, before a segmented LRU (1 to 4) whose door is
 * kept by frequencies: those of a counting Bloom filter with 14.4 counters for
 * each object that the main part can hold, ten of them for a key, all halved
 * every ten capacities of requests.
 */
#define XXH_INLINE_ALL /* for xxhash.h */
#include "tools/replay/reference.h"

#include <stdlib.h>
#include <xxhash.h>

enum { WINDOW, PROBATION, PROTECTED };

#define HASHES 10u

struct filter {
	uint32_t *count;
	uint64_t counters;
	uint64_t added, period;
	uint64_t window_bytes, main_bytes;
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
	objects = f->main_bytes < s->keys ? f->main_bytes : s->keys;
	f->counters = (uint64_t)(14.378 * (double)objects) + 2 * HASHES;
	f->period = 10 * objects;
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

static uint64_t
place(const struct filter *f, uint32_t key, unsigned i)
{
	uint64_t hash = XXH3_64bits(&key, sizeof(key));

	return ((uint32_t)hash + i * (hash >> 32)) % f->counters;
}

static uint32_t
frequency(const struct sim *s, uint32_t key)
{
	const struct filter *f = s->own;
	uint32_t least = UINT32_MAX;

	for (unsigned i = 0; i < HASHES; i++) {
		uint32_t count = f->count[place(f, key, i)];

		if (count < least)
			least = count;
	}
	return least;
}

static void
note(struct sim *s, uint32_t key)
{
	struct filter *f = s->own;

	uint32_t least = frequency(s, key);

	for (unsigned i = 0; i < HASHES; i++) {
		uint32_t *count = &f->count[place(f, key, i)];

		if (*count == least)
			++*count;
	}
}

static void
age(struct sim *s)
{
	struct filter *f = s->own;

	if (++f->added < f->period)
		return;
	f->added = 0;
	for (uint64_t i = 0; i < f->counters; i++)
		f->count[i] /= 2;
}

static void
hit(struct sim *s, uint32_t key)
{
	struct filter *f = s->own;

	if (s->node[key].queue - 1 == WINDOW) {
		queue_move(s, WINDOW, key);
		return;
	}
	queue_move(s, PROTECTED, key);
	while (s->queue[PROTECTED].bytes > f->main_bytes * 4 / 5)
		queue_move(s, PROBATION, s->queue[PROTECTED].tail);
	note(s, key);
	age(s);
}

static void
enter_main(struct sim *s, uint32_t key)
{
	struct filter *f = s->own;
	uint32_t bytes = s->node[key].bytes;
	bool probation = s->queue[PROBATION].bytes + bytes <= f->main_bytes / 5;
	bool protected =
	    s->queue[PROTECTED].bytes + bytes <= f->main_bytes * 4 / 5;

	queue_move(s, !probation && protected ? PROTECTED : PROBATION, key);
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

/* The window's oldest against the main part's: one of the two goes. */
static void
compete(struct sim *s, uint32_t key)
{
	struct filter *f = s->own;
	uint32_t victim = main_victim(s);

	if (victim == NOBODY || frequency(s, key) <= frequency(s, victim)) {
		queue_remove(s, key);
	} else {
		while (main_bytes(s) + s->node[key].bytes > f->main_bytes)
			queue_remove(s, main_victim(s));
		enter_main(s, key);
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
	while (s->queue[WINDOW].bytes + main_bytes(s) + bytes >
	       s->capacity_bytes) {
		uint32_t oldest = s->queue[WINDOW].tail;

		if (oldest == NOBODY) {
			queue_remove(s, main_victim(s));
			continue;
		}
		if (main_bytes(s) + s->node[oldest].bytes <= f->main_bytes)
			enter_main(s, oldest);
		else
			compete(s, oldest);
		note(s, oldest);
	}
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
