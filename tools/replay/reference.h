/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reference.h - published policies, to compare with
 *
 * Simulated on numbers: no bytes are stored, and an object costs what the
 * caller says (its metadata included).  Each is as its paper or its best known
 * implementation has it, object by object.
 *
 * A policy keeps a node for each key of the trace, in one of some queues.
 */
#ifndef REPLAY_REFERENCE_H
#define REPLAY_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#define NOBODY UINT32_MAX

#define QUEUES 4u

struct node {
	uint32_t prev, next; /* towards the head, towards the tail */
	uint32_t bytes;
	uint8_t queue; /* 0: in none, else 1 + its number */
	uint8_t mark;
};

struct queue {
	uint32_t head, tail; /* newest, oldest */
	uint32_t count;
	uint64_t bytes;
};

struct sim {
	const struct reference *policy;
	uint64_t capacity_bytes;
	uint32_t keys;
	uint32_t hand;
	struct node *node;
	struct queue queue[QUEUES];
	uint64_t random;
	const uint32_t *next; /* belady: of each request, when its key comes */
	uint64_t now;         /* number of the request */
	void *own;            /* what a policy needs beside this */
	uint64_t refused;     /* objects larger than the policy takes */
};

struct reference {
	const char *name;
	const char *text;
	/* false: no memory.  NULL: nothing of its own. */
	bool (*begin)(struct sim *s);
	void (*end)(struct sim *s);
	/* The key is cached and was asked for. */
	void (*hit)(struct sim *s, uint32_t key);
	/* It was asked for, is not, and goes in; may refuse. */
	void (*insert)(struct sim *s, uint32_t key, uint32_t bytes);
	/* It goes out, deleted or expired. */
	void (*remove)(struct sim *s, uint32_t key);
	uint8_t ghosts; /* bits of queues that hold no objects */
	uint8_t most_marks;
};

extern const struct reference *const references[];
extern const unsigned reference_count;

const struct reference *reference_named(const char *name);

/* True, or false if there is not enough memory. */
bool sim_begin(struct sim *s, const struct reference *policy,
    uint64_t capacity_bytes, uint32_t keys, const uint32_t *next);
void sim_end(struct sim *s);

/* Is it cached, and not just remembered? */
static inline bool
sim_has(const struct sim *s, uint32_t key)
{
	uint8_t queue = s->node[key].queue;

	return queue != 0 && (s->policy->ghosts >> (queue - 1) & 1) == 0;
}

/* Everything goes out; what is remembered stays so. */
void sim_flush(struct sim *s);

/* Queues, for the policies. */
void queue_push(struct sim *s, unsigned queue, uint32_t key, uint32_t bytes);
void queue_remove(struct sim *s, uint32_t key);

/* To the head of another queue, or of its own. */
void queue_move(struct sim *s, unsigned queue, uint32_t key);

static inline uint64_t
sim_random(struct sim *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return s->random;
}

extern const struct reference reference_fifo, reference_lru, reference_random,
    reference_even, reference_clock, reference_clock2, reference_sieve,
    reference_s3fifo, reference_s3fifo1, reference_arc, reference_tinylfu1,
    reference_tinylfu10, reference_belady, reference_ideal;

#endif /* REPLAY_REFERENCE_H */
