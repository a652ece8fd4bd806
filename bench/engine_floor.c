/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * engine_floor.c - what any get and any set must do, and nothing else
 *
 * A get hashes the key, reads the word of its bucket, reads the entry that the
 * word names, compares the key, copies the value.  Where the word is, it knows
 * beforehand: nothing is searched.  There are no locks, pins, fences, counters,
 * expiry or bounds.  That the word names the entry, and the hash the bucket, is
 * kept: each begins when the one before is done.  Keys, entries and the table
 * take the room that they take in the cache: 8 slots a line at 80 % load,
 * entries with a header of 24 bytes, aligned to 16.
 *
 * A set does the same up to the comparison, writes a new entry at the end of a
 * log, and stores its word.
 */
#define XXH_INLINE_ALL /* for xxhash.h */
#include "bench/engine.h"
#include "bench/memory.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define HEADER_BYTES 24u
#define GROUP        64u

struct header {
	uint64_t unused[2];
	uint32_t value_bytes;
	uint32_t key_bytes;
};

struct state {
	uint64_t *slots;
	uint8_t *log;
	uint64_t slot_count;
	uint64_t log_bytes;
	uint64_t tail;
	uint32_t *slot_of; /* item -> slot */
	uint64_t items;
	uint64_t zero; /* that the compiler doesn't know of */
	uint64_t others;
	bool filling;
	bool wrapped; /* the log has come round */
	uint8_t secret[192];
};

static uint64_t
entry_bytes(size_t value_bytes)
{
	return (HEADER_BYTES + KEY_BYTES + value_bytes + 15) / 16 * 16;
}

static const char *
floor_open(const struct load *load, void **state_out)
{
	struct state *s = calloc(1, sizeof(*s));

	s->items = load->items;
	s->slot_count = (load->items * 5 / 4 / 8 + 1) * 8;
	s->log_bytes =
	    load->items * entry_bytes(load->value_bytes) + load->spare_bytes;
	s->slots = memory_map(s->slot_count * sizeof(uint64_t));
	s->log = memory_map(s->log_bytes);
	s->slot_of = malloc(load->items * sizeof(uint32_t));
	for (size_t i = 0; i < sizeof(s->secret); i++)
		s->secret[i] = (uint8_t)rand();
	*state_out = s;
	return NULL;
}

static void
floor_close(void *state)
{
	struct state *s = state;

	memory_unmap(s->slots, s->slot_count * sizeof(uint64_t));
	memory_unmap(s->log, s->log_bytes);
	free(s->slot_of);
	free(s);
}

static inline uint64_t
hash(const struct state *s, const struct op *op)
{
	return XXH3_64bits_withSecret(
	    op->key, KEY_BYTES, s->secret, sizeof(s->secret));
}

static inline uint64_t *
slot_at(const struct state *s, const struct op *op)
{
	return &s->slots[op->hint + (hash(s, op) & s->zero)];
}

static uint64_t
append(struct state *s, const struct op *op, const void *value, size_t bytes)
{
	struct header header = { .value_bytes = (uint32_t)bytes,
		.key_bytes = KEY_BYTES };
	uint64_t need = entry_bytes(bytes);
	uint8_t *at;

	if (s->tail + need > s->log_bytes) {
		s->tail = 0;
		s->wrapped = true;
	}
	at = s->log + s->tail;
	memcpy(at, &header, sizeof(header));
	memcpy(at + HEADER_BYTES, op->key, KEY_BYTES);
	memcpy(at + HEADER_BYTES + KEY_BYTES, value, bytes);
	s->tail += need;
	return s->tail - need;
}

/* The first time: finds a free slot. */
static bool
fill(
    struct state *s, const struct op *op, const void *value, size_t value_bytes)
{
	uint64_t slot = hash(s, op) % s->slot_count;

	while (s->slots[slot] != 0)
		slot = (slot + 1) % s->slot_count;
	s->slot_of[op->item] = (uint32_t)slot;
	s->slots[slot] = append(s, op, value, value_bytes) + 1;
	return true;
}

/* The slot of an item that is absent is an empty one. */
static void
floor_prepare(void *state, struct op *ops, size_t count)
{
	struct state *s = state;

	for (size_t i = 0; i < count; i++) {
		uint64_t slot;

		if (ops[i].item < s->items) {
			ops[i].hint = s->slot_of[ops[i].item];
			continue;
		}
		slot = hash(s, &ops[i]) % s->slot_count;
		while (s->slots[slot] != 0)
			slot = (slot + 1) % s->slot_count;
		ops[i].hint = (uint32_t)slot;
	}
}

static inline int
copy_out(const struct state *s, uint64_t word, const struct op *op,
    void *buffer, size_t room)
{
	const uint8_t *entry = s->log + word - 1;
	uint32_t bytes;

	if (word == 0)
		return -1;
	bytes = ((const struct header *)(const void *)entry)->value_bytes;
	/* (Once the log has come round, another entry may be where it looks.) */
	if ((memcmp(entry + HEADER_BYTES, op->key, KEY_BYTES) != 0 &&
		!s->wrapped) ||
	    bytes > room)
		return -1;
	memcpy(buffer, entry + HEADER_BYTES + KEY_BYTES, bytes);
	return (int)bytes;
}

static int
floor_get(void *state, const struct op *op, void *buffer, size_t room)
{
	struct state *s = state;

	return copy_out(s, *slot_at(s, op), op, buffer, room);
}

static bool
replace(
    struct state *s, const struct op *op, const void *value, size_t value_bytes)
{
	uint64_t *slot = slot_at(s, op);
	const uint8_t *entry = s->log + *slot - 1;

	s->others += memcmp(entry + HEADER_BYTES, op->key, KEY_BYTES) != 0;
	*slot = append(s, op, value, value_bytes) + 1;
	return true;
}

/* Each step for all keys of a group, so that their lines come in together. */
static unsigned
get_group(const struct state *s, const struct op *ops, unsigned count,
    uint8_t *buffers, size_t room)
{
	uint64_t *slots[GROUP];
	uint64_t words[GROUP];
	unsigned hits = 0;

	for (unsigned i = 0; i < count; i++) {
		slots[i] = slot_at(s, &ops[i]);
		__builtin_prefetch(slots[i]);
	}
	for (unsigned i = 0; i < count; i++) {
		words[i] = *slots[i];
		__builtin_prefetch(s->log + words[i] - 1);
		__builtin_prefetch(s->log + words[i] + 63);
	}
	for (unsigned i = 0; i < count; i++)
		hits += copy_out(s, words[i], &ops[i], buffers + i * room,
			    room) >= 0;
	return hits;
}

static unsigned
floor_get_many(void *state, const struct op *ops, unsigned count, void *buffers,
    size_t room)
{
	uint8_t *to = buffers;
	unsigned hits = 0;

	for (unsigned i = 0; i < count; i += GROUP)
		hits += get_group(state, ops + i,
		    count - i < GROUP ? count - i : GROUP, to + i * room, room);
	return hits;
}

static void
floor_filling(void *state, bool on)
{
	struct state *s = state;

	s->filling = on;
}

static bool
floor_set(
    void *state, const struct op *op, const void *value, size_t value_bytes)
{
	struct state *s = state;

	return s->filling ? fill(s, op, value, value_bytes)
			  : replace(s, op, value, value_bytes);
}

const struct engine engine_floor = {
	.name = "floor",
	.open = floor_open,
	.close = floor_close,
	.filling = floor_filling,
	.prepare = floor_prepare,
	.set = floor_set,
	.get = floor_get,
	.get_many = floor_get_many,
};
