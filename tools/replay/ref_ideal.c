/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ref_ideal.c - the library's default, object by object
 *
 * What policy_s3fifo.c, ghost.h and place.h say, without extents: nothing is
 * lost to the ends of extents or to extents that are kept free, entries go one
 * by one, and ghosts are a list of keys.  The difference to what the library
 * reaches is the price of its log.
 */
#include "tools/replay/reference.h"

#include <stdlib.h>

enum { PROBATION, MAIN, GHOST };

#define MARKS_MAX       3u
#define WINDOW_SHARE    .025 /* of the cache: a quarter of a tenth */
#define GHOSTS_PER_KEY  .75
#define RECENT_SHARE    .2 /* of the ghosts' lives */
#define GAIN            10.0
#define STRIDE_MOST     (1 / 8.0) /* of the cache */
#define PROBATION_LEAST .05
#define PROBATION_MOST  .9

/* Running means are over about so many. */
#define OF_MAIN_OVER 2000.0
#define BYTES_OVER   1000.0

/* Of a key. */
struct past {
	uint64_t position; /* of probation, when it entered it; in bytes */
	uint64_t left;     /* as the how many-th */
	bool of_main;      /* it left the main part */
};

struct ideal {
	struct past *past;
	uint64_t position; /* bytes that have entered probation */
	uint64_t left;     /* objects evicted so far */
	uint64_t turn;     /* every second goes back to the main part */
	double of_main;    /* share of the main part in them, lately */
	double mean_bytes; /* of those that were looked at lately */
	double probation;  /* bytes it may have */
};

static bool
begin(struct sim *s)
{
	struct ideal *t = calloc(1, sizeof(*t));

	s->own = t;
	if (t == NULL)
		return false;
	t->past = calloc(s->keys, sizeof(*t->past));
	t->probation = .1 * (double)s->capacity_bytes;
	return t->past != NULL;
}

static void
end(struct sim *s)
{
	struct ideal *t = s->own;

	if (t != NULL)
		free(t->past);
}

static void
hit(struct sim *s, uint32_t key)
{
	const struct ideal *t = s->own;
	struct node *node = &s->node[key];
	double since = (double)(t->position - t->past[key].position);

	if (node->queue - 1 == PROBATION &&
	    since < WINDOW_SHARE * (double)s->capacity_bytes)
		return;
	if (node->mark < MARKS_MAX)
		node->mark++;
}

static double
objects(const struct sim *s)
{
	return (double)s->queue[PROBATION].count + s->queue[MAIN].count;
}

/* An object's price in marks, by its size; it is looked at. */
static uint8_t
price(struct sim *s, uint32_t key)
{
	struct ideal *t = s->own;
	double bytes = s->node[key].bytes;

	t->mean_bytes +=
	    t->mean_bytes == 0 ? bytes : (bytes - t->mean_bytes) / BYTES_OVER;
	return (uint8_t)(1 + (bytes > 2 * t->mean_bytes) +
			 (bytes > 4 * t->mean_bytes));
}

static void
evict(struct sim *s, uint32_t key)
{
	struct ideal *t = s->own;
	struct past *past = &t->past[key];

	past->of_main = s->node[key].queue - 1 == MAIN;
	past->left = t->left++;
	t->of_main += ((past->of_main ? 1 : 0) - t->of_main) / OF_MAIN_OVER;
	queue_move(s, GHOST, key);
	while (s->queue[GHOST].count > GHOSTS_PER_KEY * objects(s))
		queue_remove(s, s->queue[GHOST].tail);
}

/* The oldest of probation goes on to the main part, or out. */
static void
shrink_probation(struct sim *s)
{
	uint32_t key = s->queue[PROBATION].tail;

	if (s->node[key].mark < price(s, key)) {
		evict(s, key);
		return;
	}
	s->node[key].mark = 0;
	queue_move(s, MAIN, key);
}

/* The oldest of the main part goes round again, or out. */
static void
shrink_main(struct sim *s)
{
	uint32_t key = s->queue[MAIN].tail;
	uint8_t step = price(s, key), mark = s->node[key].mark;

	if (mark == 0) {
		evict(s, key);
		return;
	}
	s->node[key].mark = mark > step ? (uint8_t)(mark - step) : 0;
	queue_move(s, MAIN, key);
}

/* It comes back soon after it has left: its part should have had more room. */
static void
move_border(struct sim *s, const struct past *past, uint32_t bytes)
{
	struct ideal *t = s->own;
	double recent = RECENT_SHARE * GHOSTS_PER_KEY * objects(s);
	double least = PROBATION_LEAST * (double)s->capacity_bytes;
	double most = PROBATION_MOST * (double)s->capacity_bytes;

	double stride = GAIN * t->mean_bytes * t->mean_bytes / bytes;

	if ((double)(t->left - past->left) >= recent)
		return;
	if (stride > STRIDE_MOST * (double)s->capacity_bytes)
		stride = STRIDE_MOST * (double)s->capacity_bytes;
	t->probation += stride * (past->of_main ? t->of_main - 1 : t->of_main);
	if (t->probation < least)
		t->probation = least;
	if (t->probation > most)
		t->probation = most;
}

static void
insert(struct sim *s, uint32_t key, uint32_t bytes)
{
	struct ideal *t = s->own;
	struct past *past = &t->past[key];
	bool known = s->node[key].queue != 0, back;

	if (bytes > s->capacity_bytes) {
		s->refused++;
		return;
	}
	if (known) {
		queue_remove(s, key);
		move_border(s, past, bytes);
	}
	while (s->queue[PROBATION].bytes + s->queue[MAIN].bytes + bytes >
	       s->capacity_bytes) {
		if ((double)s->queue[PROBATION].bytes > t->probation ||
		    s->queue[MAIN].count == 0)
			shrink_probation(s);
		else
			shrink_main(s);
	}
	back = known && (!past->of_main || (t->turn++ & 1) != 0);
	s->node[key].mark = back && past->of_main;
	past->position = t->position;
	t->position += back ? 0 : bytes;
	queue_push(s, back ? MAIN : PROBATION, key, bytes);
}

const struct reference reference_ideal = { .name = "ideal",
	.text = "the library's s3fifo, object by object",
	.begin = begin,
	.end = end,
	.hit = hit,
	.insert = insert,
	.remove = queue_remove,
	.ghosts = 1u << GHOST,
	.most_marks = MARKS_MAX };
