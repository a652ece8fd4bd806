/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ref_random.c - random: as published, and evenly so
 *
 * `even` draws among the objects, each alike.
 *
 * `random` is what libCacheSim's published figures are of, which is not even.
 * It draws buckets of its hash table of chains, 4096 of them or more, doubled
 * when there are more objects, until one isn't empty; out goes the newest
 * object of that.  The numbers are of a generator modulo 2^64 (Knuth's MMIX),
 * of which it takes the low bits, and those go through all buckets before one
 * comes again.  So each sweep takes one object from each bucket:
 *
 * - with few objects for the buckets none stays for longer than a sweep, and
 *   misses are between those of FIFO and of even draws;
 * - with many the newest of long chains go, the oldest stay on, and misses are
 *   more than either's.
 */
#define XXH_INLINE_ALL /* for xxhash.h */
#include "tools/replay/reference.h"

#include <stdlib.h>
#include <xxhash.h>

static void
hit(struct sim *s, uint32_t key)
{
	(void)s;
	(void)key;
}

/* --- even ----------------------------------------------------------------- */

/* The keys that are cached, in any order: an array, and where each is in it. */
struct bag {
	uint32_t count;
	uint32_t *at; /* of a key */
	uint32_t *key;
};

static bool
begin_even(struct sim *s)
{
	struct bag *bag = calloc(1, sizeof(*bag));

	s->own = bag;
	if (bag == NULL)
		return false;
	bag->at = malloc(s->keys * sizeof(uint32_t));
	bag->key = malloc(s->keys * sizeof(uint32_t));
	return bag->at != NULL && bag->key != NULL;
}

static void
end_even(struct sim *s)
{
	struct bag *bag = s->own;

	if (bag != NULL) {
		free(bag->at);
		free(bag->key);
	}
}

static void
remove_even(struct sim *s, uint32_t key)
{
	struct bag *bag = s->own;
	uint32_t last = bag->key[--bag->count];

	bag->key[bag->at[key]] = last;
	bag->at[last] = bag->at[key];
	queue_remove(s, key);
}

static void
insert_even(struct sim *s, uint32_t key, uint32_t bytes)
{
	struct bag *bag = s->own;

	if (bytes > s->capacity_bytes) {
		s->refused++;
		return;
	}
	while (s->queue[0].bytes + bytes > s->capacity_bytes)
		remove_even(s, bag->key[sim_random(s) % bag->count]);
	queue_push(s, 0, key, bytes);
	bag->at[key] = bag->count;
	bag->key[bag->count++] = key;
}

/* --- as published --------------------------------------------------------- */

#define FIRST_BUCKETS 4096u

struct table {
	uint32_t buckets; /* a power of 2 */
	uint32_t *newest; /* of each bucket, or NOBODY */
	uint32_t *older;  /* than a key, in its bucket, or NOBODY */
	uint64_t random;
};

static uint32_t *
empty_buckets(uint32_t count)
{
	uint32_t *newest = malloc(count * sizeof(*newest));

	for (uint32_t i = 0; newest != NULL && i < count; i++)
		newest[i] = NOBODY;
	return newest;
}

static bool
begin_random(struct sim *s)
{
	struct table *t = calloc(1, sizeof(*t));

	s->own = t;
	if (t == NULL)
		return false;
	t->buckets = FIRST_BUCKETS;
	t->newest = empty_buckets(t->buckets);
	t->older = malloc(s->keys * sizeof(*t->older));
	return t->newest != NULL && t->older != NULL;
}

static void
end_random(struct sim *s)
{
	struct table *t = s->own;

	if (t != NULL) {
		free(t->newest);
		free(t->older);
	}
}

static uint32_t *
bucket_of(const struct table *t, uint32_t key)
{
	uint64_t number = key + 1ull;

	return &t->newest[XXH3_64bits(&number, sizeof(number)) &
			  (t->buckets - 1)];
}

static void
add(struct table *t, uint32_t key)
{
	uint32_t *newest = bucket_of(t, key);

	t->older[key] = *newest;
	*newest = key;
}

/* Twice the buckets; without memory for them it stays as it is. */
static void
grow(struct table *t)
{
	uint32_t *old = t->newest, count = t->buckets;
	uint32_t *more = empty_buckets(2 * count);

	if (more == NULL)
		return;
	t->newest = more;
	t->buckets = 2 * count;
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t key = old[i], older; key != NOBODY; key = older) {
			older = t->older[key];
			add(t, key);
		}
	}
	free(old);
}

static void
remove_random(struct sim *s, uint32_t key)
{
	struct table *t = s->own;
	uint32_t *link = bucket_of(t, key);

	while (*link != key)
		link = &t->older[*link];
	*link = t->older[key];
	queue_remove(s, key);
}

static uint32_t
draw(struct table *t)
{
	uint32_t key;

	do {
		t->random =
		    t->random * 6364136223846793005u + 1442695040888963407u;
		key = t->newest[t->random & (t->buckets - 1)];
	} while (key == NOBODY);
	return key;
}

static void
insert_random(struct sim *s, uint32_t key, uint32_t bytes)
{
	struct table *t = s->own;

	if (bytes > s->capacity_bytes) {
		s->refused++;
		return;
	}
	while (s->queue[0].bytes + bytes > s->capacity_bytes)
		remove_random(s, draw(t));
	if (s->queue[0].count > t->buckets)
		grow(t);
	queue_push(s, 0, key, bytes);
	add(t, key);
}

const struct reference reference_random = { .name = "random",
	.text = "random, as published",
	.begin = begin_random,
	.end = end_random,
	.hit = hit,
	.insert = insert_random,
	.remove = remove_random };

const struct reference reference_even = { .name = "even",
	.text = "evenly random",
	.begin = begin_even,
	.end = end_even,
	.hit = hit,
	.insert = insert_even,
	.remove = remove_even };
