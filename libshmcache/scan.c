/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* scan.c - copying what a slot names */
#include "libshmcache/scan.h"

#include "libshmcache/glob.h"
#include "libshmcache/read.h"
#include "shm/pin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Copies without a pin are begun so often; then the slot is passed over. */
#define TRIES_MAX 1000u

static bool
make_room(struct scan_copy *copy, size_t bytes)
{
	uint8_t *buffer;

	if (bytes <= copy->room)
		return true;
	buffer = realloc(copy->buffer, bytes);
	if (buffer == NULL)
		return false;
	copy->buffer = buffer;
	copy->room = bytes;
	return true;
}

/* Milliseconds since the entry's extent was begun. */
static int64_t
age_ms(const struct mapping *m, const struct entry *entry)
{
	uint64_t begun_ms = shm_arena_stamp(m->segment, entry->extent,
	    shm_arena_generation(m->segment, entry->extent));
	uint64_t now_ms = mapping_now_ms(m);

	if (begun_ms == 0)
		return -1;
	return now_ms > begun_ms ? (int64_t)(now_ms - begun_ms) : 0;
}

/* 1, 0 (it may not be read), or -ENOMEM. */
static int
copy_entry(const struct mapping *m, const struct entry *entry, bool values,
    struct scan_copy *copy)
{
	const struct sink sink = { .buffer = NULL };
	struct facts facts;
	size_t bytes;

	if (!entry_visible(m, entry))
		return 0;
	sink_learn(m, entry, &sink, &facts);
	bytes = entry->key_bytes + (values ? (size_t)facts.value_bytes : 0);
	if (!make_room(copy, bytes))
		return -ENOMEM;
	shm_read_bytes(copy->buffer, entry->key, entry->key_bytes);
	if (values)
		shm_read_bytes(copy->buffer + entry->key_bytes, facts.value,
		    facts.value_bytes);
	copy->entry = (struct shmcache_entry){ .key = copy->buffer,
		.key_bytes = entry->key_bytes,
		.value = values ? copy->buffer + entry->key_bytes : NULL,
		.value_bytes = facts.value_bytes,
		.entry_bytes = entry->bytes,
		.version = entry_version(m, entry),
		.ttl_ms = entry_ttl_ms(m, entry),
		.age_ms = age_ms(m, entry),
		.client_flags = facts.client_flags,
		.reads = shm_load8(&entry->shared->ref) };
	return 1;
}

static int
copy_pinned(
    const struct call *call, uint64_t slot, bool values, struct scan_copy *copy)
{
	const uint64_t *at = &call->m->slots[slot];
	struct entry entry;
	int result;

	for (;;) {
		uint64_t word = shm_load64_acquire(at);

		if (word == 0 || (word & INDEX_TENTATIVE) != 0)
			return 0;
		if (index_pin(call, slot, word, SHM_PIN_ENTRY, &entry))
			break;
		if (shm_load64_acquire(at) == word)
			return 0; /* damaged */
	}
	result = copy_entry(call->m, &entry, values, copy);
	shm_pin_clear(call->peer, SHM_PIN_ENTRY);
	return result;
}

static int
copy_unpinned(
    const struct mapping *m, uint64_t slot, bool values, struct scan_copy *copy)
{
	for (unsigned try = 0; try < TRIES_MAX; try++) {
		struct unpinned u;
		struct entry entry;
		int result = 0;

		if (!unpinned_begin(m, slot, &u))
			return 0;
		if (entry_open(m, u.offset, &entry))
			result = copy_entry(m, &entry, values, copy);
		if (result < 0 || unpinned_end(m, &u))
			return result;
	}
	return 0;
}

int
scan_copy_slot(
    const struct call *call, uint64_t slot, bool values, struct scan_copy *copy)
{
	return call->peer != NULL ? copy_pinned(call, slot, values, copy)
				  : copy_unpinned(call->m, slot, values, copy);
}

bool
scan_matches(
    const struct scan_filter *filter, const void *key, size_t key_bytes)
{
	if (filter->prefix_bytes > 0 &&
	    (key_bytes < filter->prefix_bytes ||
		memcmp(key, filter->prefix, filter->prefix_bytes) != 0))
		return false;
	return filter->glob == NULL ||
	       glob_match(filter->glob, filter->glob_bytes, key, key_bytes);
}
