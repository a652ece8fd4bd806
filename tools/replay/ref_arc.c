/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ref_arc.c - ARC (Megiddo, Modha 2003)
 *
 * T1 and T2 hold objects, B1 and B2 remember; `target` is the paper's p, a
 * fraction: rounding its steps shows in the third digit.
 */
#include "tools/replay/reference.h"

#include <stdlib.h>

enum { T1, T2, B1, B2 };

static bool
begin(struct sim *s)
{
	s->own = calloc(1, sizeof(double));
	return s->own != NULL;
}

static void
hit(struct sim *s, uint32_t key)
{
	queue_move(s, T2, key);
}

/* The paper's REPLACE. */
static void
replace(struct sim *s, bool from_b2)
{
	double target = *(double *)s->own, t1 = (double)s->queue[T1].bytes;

	if (t1 > 0 && (t1 > target || (t1 == target && from_b2)))
		queue_move(s, B1, s->queue[T1].tail);
	else if (s->queue[T2].count > 0)
		queue_move(s, B2, s->queue[T2].tail);
	else
		queue_move(s, B1, s->queue[T1].tail);
}

/* The paper's adaption, on a hit in B1 or B2. */
static void
adapt(struct sim *s, uint32_t key)
{
	double *target = s->own, most = (double)s->capacity_bytes;
	double b1 = (double)s->queue[B1].bytes;
	double b2 = (double)s->queue[B2].bytes;
	double bytes = s->node[key].bytes;

	if (s->node[key].queue - 1 == B1) {
		*target += b2 > b1 ? bytes * b2 / b1 : bytes;
		if (*target > most)
			*target = most;
	} else {
		*target -= b1 > b2 ? bytes * b1 / b2 : bytes;
		if (*target < 0)
			*target = 0;
	}
}

/* The paper's case IV: room for one that nobody remembers. */
static void
forget(struct sim *s, uint32_t bytes)
{
	uint64_t most = s->capacity_bytes;

	while (s->queue[B1].count > 0 &&
	       s->queue[T1].bytes + s->queue[B1].bytes + bytes > most)
		queue_remove(s, s->queue[B1].tail);
	while (s->queue[T1].count > 0 && s->queue[T1].bytes + bytes > most)
		queue_remove(s, s->queue[T1].tail);
	while (s->queue[B2].count > 0 &&
	       s->queue[T1].bytes + s->queue[B1].bytes + s->queue[T2].bytes +
		       s->queue[B2].bytes + bytes >
		   2 * most)
		queue_remove(s, s->queue[B2].tail);
}

static void
insert(struct sim *s, uint32_t key, uint32_t bytes)
{
	uint8_t ghost = s->node[key].queue;

	if (bytes > s->capacity_bytes) {
		if (ghost != 0)
			queue_remove(s, key);
		s->refused++;
		return;
	}
	if (ghost != 0) {
		adapt(s, key);
		queue_remove(s, key);
	} else {
		forget(s, bytes);
	}
	while (
	    s->queue[T1].bytes + s->queue[T2].bytes + bytes > s->capacity_bytes)
		replace(s, ghost - 1 == B2);
	queue_push(s, ghost != 0 ? T2 : T1, key, bytes);
}

const struct reference reference_arc = { .name = "arc",
	.text = "ARC",
	.begin = begin,
	.hit = hit,
	.insert = insert,
	.remove = queue_remove,
	.ghosts = 1u << B1 | 1u << B2 };
