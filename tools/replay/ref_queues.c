/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ref_queues.c - policies of one queue: FIFO, LRU, CLOCK, SIEVE
 *
 * CLOCK with up to three marks is FIFO-reinsertion with a 2-bit counter.
 * SIEVE: Zhang, Yang, Yue, Vigfusson, Rashmi 2024.
 */
#include "tools/replay/reference.h"

static void
hit_nothing(struct sim *s, uint32_t key)
{
	(void)s;
	(void)key;
}

static bool
fits(struct sim *s, uint32_t bytes)
{
	if (bytes <= s->capacity_bytes)
		return true;
	s->refused++;
	return false;
}

static bool
full(const struct sim *s, uint32_t bytes)
{
	return s->queue[0].bytes + bytes > s->capacity_bytes;
}

static void
insert_fifo(struct sim *s, uint32_t key, uint32_t bytes)
{
	if (!fits(s, bytes))
		return;
	while (full(s, bytes))
		queue_remove(s, s->queue[0].tail);
	queue_push(s, 0, key, bytes);
}

static void
hit_lru(struct sim *s, uint32_t key)
{
	queue_move(s, 0, key);
}

static void
hit_mark(struct sim *s, uint32_t key)
{
	if (s->node[key].mark < s->policy->most_marks)
		s->node[key].mark++;
}

static void
insert_clock(struct sim *s, uint32_t key, uint32_t bytes)
{
	if (!fits(s, bytes))
		return;
	while (full(s, bytes)) {
		uint32_t oldest = s->queue[0].tail;

		if (s->node[oldest].mark > 0) {
			s->node[oldest].mark--;
			queue_move(s, 0, oldest);
		} else {
			queue_remove(s, oldest);
		}
	}
	queue_push(s, 0, key, bytes);
	s->node[key].mark = 0;
}

static void
remove_sieve(struct sim *s, uint32_t key)
{
	if (s->hand == key)
		s->hand = s->node[key].prev;
	queue_remove(s, key);
}

static void
insert_sieve(struct sim *s, uint32_t key, uint32_t bytes)
{
	if (!fits(s, bytes))
		return;
	while (full(s, bytes)) {
		uint32_t at = s->hand != NOBODY ? s->hand : s->queue[0].tail;

		while (s->node[at].mark > 0) {
			s->node[at].mark = 0;
			at = s->node[at].prev;
			if (at == NOBODY)
				at = s->queue[0].tail;
		}
		s->hand = s->node[at].prev;
		queue_remove(s, at);
	}
	queue_push(s, 0, key, bytes);
	s->node[key].mark = 0;
}

const struct reference reference_fifo = { .name = "fifo",
	.text = "first in, first out",
	.hit = hit_nothing,
	.insert = insert_fifo,
	.remove = queue_remove };

const struct reference reference_lru = { .name = "lru",
	.text = "least recently used",
	.hit = hit_lru,
	.insert = insert_fifo,
	.remove = queue_remove };

const struct reference reference_clock = { .name = "clock",
	.text = "CLOCK, one bit",
	.hit = hit_mark,
	.insert = insert_clock,
	.remove = queue_remove,
	.most_marks = 1 };

const struct reference reference_clock2 = { .name = "clock2",
	.text = "CLOCK, two bits",
	.hit = hit_mark,
	.insert = insert_clock,
	.remove = queue_remove,
	.most_marks = 3 };

const struct reference reference_sieve = { .name = "sieve",
	.text = "SIEVE",
	.hit = hit_mark,
	.insert = insert_sieve,
	.remove = remove_sieve,
	.most_marks = 1 };
