/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * engine_naive.c - what one would write first: a process-shared rwlock around a
 * chained hash table in shared memory, with offsets
 */
#define XXH_INLINE_ALL /* for xxhash.h */
#include "bench/engine.h"
#include "bench/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct entry {
	uint64_t next; /* offset; 0: the last */
	uint64_t hash;
	uint32_t room;
	uint32_t value_bytes;
	char key[KEY_BYTES];
	char value[];
};

struct table {
	pthread_rwlock_t lock;
	uint64_t mask;
	uint64_t tail;
	uint64_t bytes;
	uint64_t heads[];
};

static struct entry *
at(struct table *t, uint64_t offset)
{
	return (struct entry *)(void *)((char *)t + offset);
}

static const char *
naive_open(const struct load *load, void **state_out)
{
	uint64_t entry = (sizeof(struct entry) + load->value_bytes + 15) & ~15u;
	uint64_t buckets = 64, bytes;
	pthread_rwlockattr_t shared;
	struct table *t;

	while (buckets < load->items)
		buckets *= 2;
	bytes = sizeof(*t) + buckets * sizeof(uint64_t) + 64 +
		load->items * entry + load->spare_bytes;
	t = memory_map(bytes);
	(void)pthread_rwlockattr_init(&shared);
	(void)pthread_rwlockattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	(void)pthread_rwlock_init(&t->lock, &shared);
	t->mask = buckets - 1;
	t->tail = (sizeof(*t) + buckets * sizeof(uint64_t) + 63) & ~63ull;
	t->bytes = bytes;
	*state_out = t;
	return NULL;
}

static void
naive_close(void *state)
{
	struct table *t = state;

	memory_unmap(t, t->bytes);
}

/* Under the lock.  The offset where the entry's is, or the chain's last. */
static uint64_t *
look_up(struct table *t, const struct op *op, uint64_t hash)
{
	uint64_t *link = &t->heads[hash & t->mask];

	while (*link != 0 &&
	       (at(t, *link)->hash != hash ||
		   memcmp(at(t, *link)->key, op->key, KEY_BYTES) != 0))
		link = &at(t, *link)->next;
	return link;
}

/* In place where it fits. */
static bool
naive_set(
    void *state, const struct op *op, const void *value, size_t value_bytes)
{
	struct table *t = state;
	uint64_t hash = XXH3_64bits(op->key, KEY_BYTES);
	uint64_t need = (sizeof(struct entry) + value_bytes + 15) & ~15u;
	uint64_t *link;
	bool stored = true;

	(void)pthread_rwlock_wrlock(&t->lock);
	link = look_up(t, op, hash);
	if (*link == 0 && t->tail + need <= t->bytes) {
		struct entry *e = at(t, t->tail);

		e->next = 0;
		e->hash = hash;
		e->room = (uint32_t)value_bytes;
		memcpy(e->key, op->key, KEY_BYTES);
		*link = t->tail;
		t->tail += need;
	}
	if (*link != 0 && at(t, *link)->room >= value_bytes) {
		at(t, *link)->value_bytes = (uint32_t)value_bytes;
		memcpy(at(t, *link)->value, value, value_bytes);
	} else {
		stored = false;
	}
	(void)pthread_rwlock_unlock(&t->lock);
	return stored;
}

static int
naive_get(void *state, const struct op *op, void *buffer, size_t room)
{
	struct table *t = state;
	uint64_t hash = XXH3_64bits(op->key, KEY_BYTES);
	uint64_t found;
	int bytes = -1;

	(void)pthread_rwlock_rdlock(&t->lock);
	found = *look_up(t, op, hash);
	if (found != 0 && at(t, found)->value_bytes <= room) {
		bytes = (int)at(t, found)->value_bytes;
		memcpy(buffer, at(t, found)->value, (size_t)bytes);
	}
	(void)pthread_rwlock_unlock(&t->lock);
	return bytes;
}

const struct engine engine_naive = {
	.name = "rwlock table",
	.open = naive_open,
	.close = naive_close,
	.set = naive_set,
	.get = naive_get,
};
