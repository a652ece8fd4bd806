/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ref_belady.c - MIN (Belady 1966): out goes what is asked for last
 *
 * Knows the future, so it is a bound (for objects of one size).  A heap of
 * {next time, key}; a pair whose key has since got another next time, or has
 * left, is passed over.
 */
#include "tools/replay/reference.h"

#include <stdlib.h>

struct pair {
	uint32_t next;
	uint32_t key;
};

struct heap {
	struct pair *pair;
	size_t count, room;
	uint32_t *next; /* of each key that is cached */
};

static bool
begin(struct sim *s)
{
	struct heap *h = calloc(1, sizeof(*h));

	s->own = h;
	if (h == NULL)
		return false;
	h->room = 1024;
	h->pair = malloc(h->room * sizeof(*h->pair));
	h->next = calloc(s->keys, sizeof(*h->next));
	return h->pair != NULL && h->next != NULL;
}

static void
end(struct sim *s)
{
	struct heap *h = s->own;

	if (h != NULL) {
		free(h->pair);
		free(h->next);
	}
}

static void
push(struct heap *h, struct pair pair)
{
	size_t at = h->count;

	if (h->count == h->room) {
		struct pair *more =
		    realloc(h->pair, 2 * h->room * sizeof(*h->pair));

		if (more == NULL)
			return; /* then it is evicted too early */
		h->pair = more;
		h->room *= 2;
	}
	h->count++;
	while (at > 0 && h->pair[(at - 1) / 2].next < pair.next) {
		h->pair[at] = h->pair[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	h->pair[at] = pair;
}

static struct pair
pop(struct heap *h)
{
	struct pair top = h->pair[0], last = h->pair[--h->count];
	size_t at = 0, child;

	while ((child = 2 * at + 1) < h->count) {
		if (child + 1 < h->count &&
		    h->pair[child + 1].next > h->pair[child].next)
			child++;
		if (h->pair[child].next <= last.next)
			break;
		h->pair[at] = h->pair[child];
		at = child;
	}
	h->pair[at] = last;
	return top;
}

static void
hit(struct sim *s, uint32_t key)
{
	struct heap *h = s->own;

	h->next[key] = s->next[s->now];
	push(h, (struct pair){ h->next[key], key });
}

static void
evict(struct sim *s)
{
	struct heap *h = s->own;

	while (h->count > 0) {
		struct pair top = pop(h);

		if (sim_has(s, top.key) && h->next[top.key] == top.next) {
			queue_remove(s, top.key);
			return;
		}
	}
	queue_remove(s, s->queue[0].tail);
}

static void
insert(struct sim *s, uint32_t key, uint32_t bytes)
{
	if (bytes > s->capacity_bytes) {
		s->refused++;
		return;
	}
	while (s->queue[0].bytes + bytes > s->capacity_bytes)
		evict(s);
	queue_push(s, 0, key, bytes);
	hit(s, key);
}

const struct reference reference_belady = { .name = "belady",
	.text = "what is asked for last goes: the bound",
	.begin = begin,
	.end = end,
	.hit = hit,
	.insert = insert,
	.remove = queue_remove };
