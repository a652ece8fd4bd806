/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * engine_ckht.c - Concurrency Kit's ck_ht, in one process
 *
 * One writer and any number of readers without locks; whoever removes must see
 * to it that no reader is left, which is left out here (the bench's only writer
 * is its only reader): what its users pay for that comes on top.
 */
#define XXH_INLINE_ALL /* for xxhash.h */
#include "bench/engine.h"

#include <ck_ht.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct node {
	uint32_t value_bytes;
	char key[KEY_BYTES];
	char value[];
};

struct state {
	ck_ht_t table;
};

static void *
ckht_malloc(size_t bytes)
{
	return malloc(bytes);
}

static void
ckht_free(void *p, size_t bytes, bool defer)
{
	(void)bytes;
	(void)defer;
	free(p);
}

static struct ck_malloc allocator = { .malloc = ckht_malloc,
	.free = ckht_free };

static void
hash(ck_ht_hash_t *h, const void *key, size_t bytes, uint64_t seed)
{
	(void)seed;
	h->value = XXH3_64bits(key, bytes);
}

static const char *
ckht_open(const struct load *load, void **state_out)
{
	struct state *s = calloc(1, sizeof(*s));

	*state_out = s;
	return ck_ht_init(&s->table, CK_HT_MODE_BYTESTRING, hash, &allocator,
		   load->items, 1)
		   ? NULL
		   : "no memory";
}

static void
ckht_close(void *state)
{
	struct state *s = state;
	ck_ht_iterator_t i = CK_HT_ITERATOR_INITIALIZER;
	ck_ht_entry_t *entry;

	while (ck_ht_next(&s->table, &i, &entry))
		free(ck_ht_entry_value(entry));
	ck_ht_destroy(&s->table);
	free(s);
}

static bool
ckht_set(
    void *state, const struct op *op, const void *value, size_t value_bytes)
{
	struct state *s = state;
	struct node *node = malloc(sizeof(*node) + value_bytes);
	ck_ht_entry_t entry;
	ck_ht_hash_t h;

	node->value_bytes = (uint32_t)value_bytes;
	memcpy(node->key, op->key, KEY_BYTES);
	memcpy(node->value, value, value_bytes);
	ck_ht_hash(&h, &s->table, op->key, KEY_BYTES);
	ck_ht_entry_set(&entry, h, node->key, KEY_BYTES, node);
	if (!ck_ht_set_spmc(&s->table, h, &entry))
		return false;
	if (!ck_ht_entry_empty(&entry))
		free(ck_ht_entry_value(&entry));
	return true;
}

static int
ckht_get(void *state, const struct op *op, void *buffer, size_t room)
{
	struct state *s = state;
	const struct node *node;
	ck_ht_entry_t entry;
	ck_ht_hash_t h;

	ck_ht_hash(&h, &s->table, op->key, KEY_BYTES);
	ck_ht_entry_key_set(&entry, op->key, KEY_BYTES);
	if (!ck_ht_get_spmc(&s->table, h, &entry))
		return -1;
	node = ck_ht_entry_value(&entry);
	if (node->value_bytes > room)
		return -1;
	memcpy(buffer, node->value, node->value_bytes);
	return (int)node->value_bytes;
}

const struct engine engine_ckht = {
	.name = "ck_ht",
	.open = ckht_open,
	.close = ckht_close,
	.set = ckht_set,
	.get = ckht_get,
};
