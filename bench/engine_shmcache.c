/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* engine_shmcache.c - the cache itself, by its public calls */
#include "bench/cleanup.h"
#include "bench/engine.h"
#include "bench/memory.h"

#include <shmcache.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct state {
	struct shmcache *cache;
	char path[200];
};

/* Bytes of an entry, of its place in the index, and of the tables. */
static uint64_t
capacity_for(const struct load *load)
{
	uint64_t entry = (24 + KEY_BYTES + load->value_bytes + 15) / 16 * 16;

	return (8u << 20) + load->items * (entry + 14) * 21 / 20 +
	       load->spare_bytes * 21 / 20;
}

static const char *
open_with(const struct load *load, uint64_t capacity, void **state_out)
{
	static unsigned number;
	struct shmcache_options o = SHMCACHE_OPTIONS_INIT;
	struct state *s = calloc(1, sizeof(*s));

	o.capacity_bytes = capacity;
	o.expected_items = load->items;
	o.max_entry_bytes =
	    load->value_bytes + KEY_BYTES > 16000 ? 2 * load->value_bytes : 0;
	o.open_mode = SHMCACHE_CREATE_EXCLUSIVE;
	(void)snprintf(s->path, sizeof(s->path), "%s/shmcache.bench-%d-%u",
	    memory_folder(), (int)getpid(), number++);
	cleanup_path(s->path);
	if (shmcache_open(s->path, &o, &s->cache) != 0)
		return shmcache_last_error();
	memory_populate(s->path);
	*state_out = s;
	return NULL;
}

static const char *
cache_open(const struct load *load, void **state_out)
{
	return open_with(load, capacity_for(load), state_out);
}

/* Room for a third of what will be stored. */
static const char *
full_open(const struct load *load, void **state_out)
{
	const struct load less = { .items = load->items / 3,
		.value_bytes = load->value_bytes };

	return open_with(&less, capacity_for(&less), state_out);
}

static void
cache_close(void *state)
{
	struct state *s = state;

	(void)shmcache_close(s->cache);
	(void)shmcache_remove(s->path);
	free(s);
}

static bool
cache_set(
    void *state, const struct op *op, const void *value, size_t value_bytes)
{
	struct state *s = state;

	return shmcache_set(
		   s->cache, op->key, KEY_BYTES, value, value_bytes, 0, 0) == 0;
}

static int
cache_get(void *state, const struct op *op, void *buffer, size_t room)
{
	struct state *s = state;
	size_t bytes;

	return shmcache_get(s->cache, op->key, KEY_BYTES, buffer, room, &bytes,
		   NULL) == 0
		   ? (int)bytes
		   : -1;
}

/* It is filled with values, as the others are; then a set makes its key a
   counter, and adds one to it. */
static bool counting;

static void
counter_filling(void *state, bool on)
{
	(void)state;
	counting = !on;
}

static bool
counter_set(
    void *state, const struct op *op, const void *value, size_t value_bytes)
{
	const int64_t initial = 0;
	struct state *s = state;
	int result;

	if (!counting)
		return cache_set(state, op, value, value_bytes);
	result =
	    shmcache_incr(s->cache, op->key, KEY_BYTES, 1, &initial, 0, NULL);
	if (result == SHMCACHE_ENOTNUMBER) {
		(void)shmcache_delete(s->cache, op->key, KEY_BYTES);
		result = shmcache_incr(
		    s->cache, op->key, KEY_BYTES, 1, &initial, 0, NULL);
	}
	return result == 0;
}

#define MANY_MAX 64u

static unsigned
cache_get_many(void *state, const struct op *ops, unsigned count, void *buffers,
    size_t room)
{
	struct state *s = state;
	struct shmcache_get_request requests[MANY_MAX];
	char *to = buffers;

	for (unsigned i = 0; i < count; i++) {
		requests[i].key = ops[i].key;
		requests[i].key_bytes = KEY_BYTES;
		requests[i].buffer = to + i * room;
		requests[i].buffer_bytes = room;
	}
	return (unsigned)shmcache_multi_get(s->cache, requests, count);
}

const struct engine engine_shmcache = {
	.name = "shmcache",
	.open = cache_open,
	.close = cache_close,
	.set = cache_set,
	.get = cache_get,
	.get_many = cache_get_many,
};

const struct engine engine_shmcache_full = {
	.name = "shmcache, full",
	.forgets = true,
	.open = full_open,
	.close = cache_close,
	.set = cache_set,
	.get = cache_get,
};

const struct engine engine_shmcache_counter = {
	.name = "shmcache",
	.open = cache_open,
	.close = cache_close,
	.filling = counter_filling,
	.set = counter_set,
	.get = cache_get,
};
