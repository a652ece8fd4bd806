/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ref_s3fifo.c - S3-FIFO (Yang, Zhang, Qiu, Yue, Vinayak 2023)
 *
 * A small queue of 10 %, a main one of 90 % that is CLOCK with two bits, and
 * ghosts of 90 %.  Promoted at two hits, as in the paper, or at one.
 */
#include "tools/replay/reference.h"

enum { SMALL, MAIN, GHOST };

static uint64_t
small_bytes(const struct sim *s)
{
	return s->capacity_bytes / 10;
}

static void
hit(struct sim *s, uint32_t key)
{
	if (s->node[key].mark < 3)
		s->node[key].mark++;
}

static void
remember(struct sim *s, uint32_t key)
{
	uint64_t most = s->capacity_bytes * 9 / 10;
	struct queue *ghosts = &s->queue[GHOST];

	if (s->node[key].bytes > most) {
		queue_remove(s, key);
		return;
	}
	queue_move(s, GHOST, key);
	while (ghosts->bytes > most)
		queue_remove(s, ghosts->tail);
}

static void
evict_small(struct sim *s)
{
	while (s->queue[SMALL].count > 0) {
		uint32_t key = s->queue[SMALL].tail;

		if (s->node[key].mark < s->policy->most_marks) {
			remember(s, key);
			return;
		}
		s->node[key].mark = 0;
		queue_move(s, MAIN, key);
	}
}

static void
evict_main(struct sim *s)
{
	while (s->queue[MAIN].count > 0) {
		uint32_t key = s->queue[MAIN].tail;

		if (s->node[key].mark == 0) {
			queue_remove(s, key);
			return;
		}
		s->node[key].mark--;
		queue_move(s, MAIN, key);
	}
}

static void
insert(struct sim *s, uint32_t key, uint32_t bytes)
{
	bool known = s->node[key].queue != 0;

	if (known)
		queue_remove(s, key);
	if (bytes > s->capacity_bytes ||
	    (bytes >= small_bytes(s) && small_bytes(s) > 1)) {
		s->refused++;
		return;
	}
	while (s->queue[SMALL].bytes + s->queue[MAIN].bytes + bytes >
	       s->capacity_bytes) {
		if (s->queue[MAIN].bytes > s->capacity_bytes - small_bytes(s) ||
		    s->queue[SMALL].count == 0)
			evict_main(s);
		else
			evict_small(s);
	}
	s->node[key].mark = 0;
	queue_push(s, known ? MAIN : SMALL, key, bytes);
}

const struct reference reference_s3fifo = { .name = "s3fifo",
	.text = "S3-FIFO, promotion at two hits",
	.hit = hit,
	.insert = insert,
	.remove = queue_remove,
	.ghosts = 1u << GHOST,
	.most_marks = 2 };

const struct reference reference_s3fifo1 = { .name = "s3fifo1",
	.text = "S3-FIFO, promotion at one hit",
	.hit = hit,
	.insert = insert,
	.remove = queue_remove,
	.ghosts = 1u << GHOST,
	.most_marks = 1 };
