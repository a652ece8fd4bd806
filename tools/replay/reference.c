/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* reference.c - the list of policies, and what they share */
#include "tools/replay/reference.h"

#include <stdlib.h>
#include <string.h>

const struct reference *const references[] = { &reference_fifo,
	&reference_random, &reference_even, &reference_lru, &reference_clock,
	&reference_clock2, &reference_sieve, &reference_s3fifo,
	&reference_s3fifo1, &reference_arc, &reference_tinylfu1,
	&reference_tinylfu10, &reference_belady, &reference_ideal };

const unsigned reference_count = sizeof(references) / sizeof(references[0]);

const struct reference *
reference_named(const char *name)
{
	for (unsigned i = 0; i < reference_count; i++)
		if (strcmp(name, references[i]->name) == 0)
			return references[i];
	return NULL;
}

bool
sim_begin(struct sim *s, const struct reference *policy,
    uint64_t capacity_bytes, uint32_t keys, const uint32_t *next)
{
	*s = (struct sim){ .policy = policy,
		.capacity_bytes = capacity_bytes,
		.keys = keys,
		.hand = NOBODY,
		.random = 88172645463325252ull,
		.next = next };
	for (unsigned q = 0; q < QUEUES; q++)
		s->queue[q].head = s->queue[q].tail = NOBODY;
	s->node = calloc(keys, sizeof(*s->node));
	if (s->node != NULL && (policy->begin == NULL || policy->begin(s)))
		return true;
	sim_end(s);
	return false;
}

void
sim_end(struct sim *s)
{
	if (s->policy->end != NULL)
		s->policy->end(s);
	free(s->node);
	free(s->own);
}

void
sim_flush(struct sim *s)
{
	for (unsigned q = 0; q < QUEUES; q++)
		while ((s->policy->ghosts >> q & 1) == 0 &&
		       s->queue[q].tail != NOBODY)
			s->policy->remove(s, s->queue[q].tail);
}

void
queue_push(struct sim *s, unsigned queue, uint32_t key, uint32_t bytes)
{
	struct queue *q = &s->queue[queue];
	struct node *n = &s->node[key];

	n->bytes = bytes;
	n->queue = (uint8_t)(queue + 1);
	n->prev = NOBODY;
	n->next = q->head;
	if (q->head != NOBODY)
		s->node[q->head].prev = key;
	else
		q->tail = key;
	q->head = key;
	q->count++;
	q->bytes += bytes;
}

void
queue_remove(struct sim *s, uint32_t key)
{
	struct node *n = &s->node[key];
	struct queue *q = &s->queue[n->queue - 1];

	if (n->prev != NOBODY)
		s->node[n->prev].next = n->next;
	else
		q->head = n->next;
	if (n->next != NOBODY)
		s->node[n->next].prev = n->prev;
	else
		q->tail = n->prev;
	q->count--;
	q->bytes -= n->bytes;
	n->queue = 0;
}

void
queue_move(struct sim *s, unsigned queue, uint32_t key)
{
	uint32_t bytes = s->node[key].bytes;

	queue_remove(s, key);
	queue_push(s, queue, key, bytes);
}
