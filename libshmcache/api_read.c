/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * api_read.c - public calls that look entries up
 *
 * With a peer: find (which pins the extent), judge, copy or hand out, let go.
 *
 * Without one (every peer slot is taken): nothing can be pinned, so bytes are
 * copied while they may be overwritten, and judged afterwards, as under a
 * sequence lock.  The extent's state word carries the generation; an extent
 * gets new bytes only after its generation has grown:
 *
 *   reader                                writer
 *   U1: w = load_acquire(slot)            CAS(slot) away from w
 *       g = load_acquire(state)           CAS state LIMBO,g -> FREE,g+1
 *       copy                              store new bytes
 *   U2: acquire fence
 *       load(state) has g, load(slot) == w ? else again
 *
 * If any byte copied is of the next generation, then by the writer's full fence
 * the load behind U2 sees a state of it.
 */
#include "libshmcache/error.h"
#include "libshmcache/expire.h"
#include "libshmcache/index.h"
#include "libshmcache/stats.h"
#include "shm/pin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Times that a copy without a pin is begun again before it is given up. */
#define UNPINNED_TRIES 1000u

/* Where a value goes, and what is told about it. */
struct sink {
	void *buffer;
	size_t buffer_bytes;
	size_t *value_bytes_out;
	uint32_t *client_flags_out;
	bool peek; /* no mark, no count */
};

/* What is known of a value before it is copied. */
struct facts {
	int result; /* 0, SHMCACHE_EBUFFER, or SHMCACHE_ENOENT */
	uint32_t value_bytes;
	uint32_t client_flags;
};

static struct facts
learn(const struct entry *entry, const struct sink *sink)
{
	struct facts facts = { .value_bytes = entry->value_bytes,
		.client_flags = entry_client_flags(entry) };

	if (entry->value_bytes > sink->buffer_bytes)
		facts.result = SHMCACHE_EBUFFER;
	return facts;
}

static int
tell(const struct facts *facts, const struct sink *sink)
{
	if (facts->result == SHMCACHE_ENOENT)
		return SHMCACHE_ENOENT;
	if (sink->value_bytes_out != NULL)
		*sink->value_bytes_out = facts->value_bytes;
	if (facts->result == 0 && sink->client_flags_out != NULL)
		*sink->client_flags_out = facts->client_flags;
	return facts->result;
}

/* Finds the key's entry and pins it, if it may be returned. */
static bool
find_valid(const struct call *call, const struct key *key, unsigned pin,
    struct found *found)
{
	if (!index_find(call, key, pin, found))
		return false;
	if (__builtin_expect(entry_valid(call->m, &found->entry), 1) ||
	    !expire_found(call, found, COUNT_expired_on_read))
		return true;
	shm_pin_clear(call->peer, pin);
	return false;
}

static void
note_read(const struct call *call, const struct found *found)
{
	if (found != NULL)
		entry_mark(&found->entry);
	stats_count(
	    call->peer, found != NULL ? COUNT_get_hits : COUNT_get_misses);
}

static int
get_pinned(
    const struct call *call, const struct key *key, const struct sink *sink)
{
	struct found found;
	struct facts facts;

	if (!find_valid(call, key, SHM_PIN_ENTRY, &found)) {
		if (!sink->peek)
			note_read(call, NULL);
		return call_miss(call);
	}
	facts = learn(&found.entry, sink);
	if (facts.result == 0 && found.entry.value_bytes > 0)
		memcpy(
		    sink->buffer, found.entry.value, found.entry.value_bytes);
	if (facts.result == 0 && !sink->peek)
		note_read(call, &found);
	shm_pin_clear(call->peer, SHM_PIN_ENTRY);
	return tell(&facts, sink);
}

enum glance { GLANCE_OTHER, GLANCE_FOUND, GLANCE_AGAIN };

static bool
same_bytes(const uint8_t *racy, const uint8_t *bytes, uint32_t count)
{
	uint32_t i = 0;

	while (i < count && shm_load8(racy + i) == bytes[i])
		i++;
	return i == count;
}

/* Copies what one slot names, if it is the key's.  U1, U2. */
static enum glance
glance(const struct call *call, const struct key *key, uint64_t slot,
    const struct sink *sink, struct facts *facts)
{
	const struct mapping *m = call->m;
	uint64_t offset, word = shm_load64_acquire(&m->slots[slot]);
	struct shm_extent before, after;
	struct entry entry;
	uint32_t number;
	bool opened, same;

	if ((word ^ key->tag) >> INDEX_TAG_SHIFT != 0 || word == 0 ||
	    !index_place(m, word, &offset, &number))
		return GLANCE_OTHER;
	before = shm_arena_state(m->segment, number);
	opened = entry_open(m, offset, &entry);
	same = opened && entry.key_bytes == key->bytes &&
	       same_bytes(entry.key, key->data, key->bytes);
	if (same) {
		*facts = learn(&entry, sink);
		if (!entry_valid(m, &entry))
			facts->result = SHMCACHE_ENOENT;
		if (facts->result == 0)
			shm_read_bytes(
			    sink->buffer, entry.value, entry.value_bytes);
	}
	shm_fence_acquire(); /* U2 */
	after = shm_arena_state(m->segment, number);
	if (after.generation != before.generation ||
	    (after.generation & INDEX_GENERATION) !=
		(word >> INDEX_ADDRESS_BITS & INDEX_GENERATION) ||
	    shm_load64(&m->slots[slot]) != word)
		return GLANCE_AGAIN;
	return same ? GLANCE_FOUND : GLANCE_OTHER;
}

static int
get_unpinned(
    const struct call *call, const struct key *key, const struct sink *sink)
{
	for (unsigned try = 0; try < UNPINNED_TRIES; try++) {
		enum glance g = GLANCE_OTHER;
		struct facts facts = { .result = SHMCACHE_ENOENT };

		for (unsigned n = 0; n < INDEX_WINDOW && g == GLANCE_OTHER; n++)
			g = glance(call, key, index_slot(key, n), sink, &facts);
		if (g != GLANCE_AGAIN)
			return tell(&facts, sink) == SHMCACHE_ENOENT
				   ? call_miss(call)
				   : facts.result;
	}
	return SHMCACHE_EBUSY;
}

static int
get(struct shmcache *cache, const void *key_data, size_t key_bytes,
    const struct sink *sink)
{
	struct call call;
	struct key key;
	int error = sink->buffer == NULL && sink->buffer_bytes > 0
			? -EINVAL
			: index_enter(cache, CALL_READS, key_data, key_bytes,
			      &call, &key);

	if (error != 0)
		return error;
	error = __builtin_expect(call.peer != NULL, 1)
		    ? get_pinned(&call, &key, sink)
		    : get_unpinned(&call, &key, sink);
	call_leave();
	return error;
}

int
shmcache_get(struct shmcache *cache, const void *key, size_t key_bytes,
    void *buffer, size_t buffer_bytes, size_t *value_bytes_out,
    uint32_t *client_flags_out)
{
	struct sink sink = { buffer, buffer_bytes, value_bytes_out,
		client_flags_out, false };

	return error_return(get(cache, key, key_bytes, &sink));
}

int
shmcache_peek(struct shmcache *cache, const void *key, size_t key_bytes,
    void *buffer, size_t buffer_bytes, size_t *value_bytes_out,
    uint32_t *client_flags_out)
{
	struct sink sink = { buffer, buffer_bytes, value_bytes_out,
		client_flags_out, true };

	return error_return(get(cache, key, key_bytes, &sink));
}

/* Guess of a value's size: most fit, so that most need one look-up. */
#define FIRST_GUESS_BYTES 1024u

int
shmcache_get_alloc(struct shmcache *cache, const void *key, size_t key_bytes,
    void **value_out, size_t *value_bytes_out, uint32_t *client_flags_out)
{
	size_t value_bytes = 0, room = FIRST_GUESS_BYTES;
	int error;

	if (value_out == NULL)
		return error_return(-EINVAL);
	for (;;) {
		uint8_t *buffer = malloc(room + 1);
		struct sink sink = { buffer, room, &value_bytes,
			client_flags_out, false };

		if (buffer == NULL)
			return error_return(-ENOMEM);
		error = get(cache, key, key_bytes, &sink);
		if (error == 0) {
			buffer[value_bytes] = 0;
			*value_out = buffer;
			if (value_bytes_out != NULL)
				*value_bytes_out = value_bytes;
			return 0;
		}
		free(buffer);
		if (error != SHMCACHE_EBUFFER)
			return error_return(error);
		room = value_bytes; /* it may have grown once more by then */
	}
}

/* In place of a pin: the item owns a copy. */
#define ITEM_COPIED 0u

/* Where so much is pinned that writers would run out of extents. */
static int
copy_item(const struct call *call, const struct key *key,
    struct shmcache_item *item_out)
{
	struct found found;
	void *copy;

	if (!find_valid(call, key, SHM_PIN_ENTRY, &found)) {
		note_read(call, NULL);
		return call_miss(call);
	}
	copy = malloc((size_t)found.entry.value_bytes + 1);
	if (copy != NULL) {
		note_read(call, &found);
		memcpy(copy, found.entry.value, found.entry.value_bytes);
		*item_out = (struct shmcache_item){ .value = copy,
			.value_bytes = found.entry.value_bytes,
			.client_flags = entry_client_flags(&found.entry),
			.pin = ITEM_COPIED,
			.owner = copy };
	}
	shm_pin_clear(call->peer, SHM_PIN_ENTRY);
	return copy != NULL ? 0 : -ENOMEM;
}

static int
pin_item(const struct call *call, const struct key *key,
    struct shmcache_item *item_out)
{
	struct found found;
	int pin;

	if (shm_pin_scarce(call->peer))
		return copy_item(call, key, item_out);
	pin = shm_peer_hold(call->peer);
	if (pin < 0)
		return pin;
	if (!find_valid(call, key, (unsigned)pin, &found)) {
		note_read(call, NULL);
		(void)shm_peer_unhold(call->peer, (uint32_t)pin);
		return call_miss(call);
	}
	note_read(call, &found);
	*item_out = (struct shmcache_item){ .value = found.entry.value,
		.value_bytes = found.entry.value_bytes,
		.client_flags = entry_client_flags(&found.entry),
		.pin = (uint32_t)pin,
		.owner = call->peer,
		.owner_id = call->m->segment->id };
	return 0;
}

int
shmcache_get_pinned(struct shmcache *cache, const void *key_data,
    size_t key_bytes, struct shmcache_item *item_out)
{
	struct call call;
	struct key key;
	int error = item_out == NULL ? -EINVAL
				     : index_enter(cache, CALL_READS, key_data,
					   key_bytes, &call, &key);

	if (error != 0)
		return error_return(error);
	error = call.peer == NULL ? SHMCACHE_EPEERS
				  : pin_item(&call, &key, item_out);
	call_leave();
	return error_return(error);
}

int
shmcache_unpin(struct shmcache *cache, struct shmcache_item *item)
{
	struct call call;
	struct shm_peer *peer;
	bool last = false;
	int error;

	if (item != NULL && item->owner != NULL && item->pin == ITEM_COPIED) {
		if (!call_begin())
			return error_return(SHMCACHE_EDEADLK);
		free(item->owner);
		item->owner = NULL;
		call_end();
		return 0;
	}
	if (item == NULL || item->owner == NULL ||
	    item->pin < SHM_PIN_HANDLES || item->pin >= SHM_PIN_END)
		return error_return(-EINVAL);
	error = call_enter(cache, CALL_LOOKS, &call);
	if (error != 0)
		return error_return(error);
	peer = item->owner;
	if (item->owner_id != call.m->segment->id) {
		error = SHMCACHE_ESTALE;
	} else {
		last = shm_peer_unhold(peer, item->pin);
		item->owner = NULL;
	}
	if (last)
		cache_release_peer(peer);
	call_leave();
	return error_return(error);
}

int
shmcache_exists(struct shmcache *cache, const void *key, size_t key_bytes)
{
	struct sink sink = { .peek = true };
	int error = get(cache, key, key_bytes, &sink);

	if (error == 0 || error == SHMCACHE_EBUFFER)
		return 1;
	return error == SHMCACHE_ENOENT ? 0 : error_return(error);
}

static int
read_ttl(const struct call *call, const struct key *key, int64_t *ttl_ms_out)
{
	struct found found;
	uint64_t expires_ms, now_ms;

	if (call->peer == NULL)
		return SHMCACHE_EPEERS;
	if (!find_valid(call, key, SHM_PIN_ENTRY, &found))
		return call_miss(call);
	expires_ms = shm_load64(&found.entry.shared->expiry) >> 1;
	shm_pin_clear(call->peer, SHM_PIN_ENTRY);
	now_ms = mapping_now_ms(call->m);
	if (expires_ms == 0)
		*ttl_ms_out = SHMCACHE_TTL_NONE;
	else
		*ttl_ms_out =
		    expires_ms > now_ms ? (int64_t)(expires_ms - now_ms) : 0;
	return 0;
}

int
shmcache_ttl(struct shmcache *cache, const void *key_data, size_t key_bytes,
    int64_t *ttl_ms_out)
{
	struct call call;
	struct key key;
	int error = ttl_ms_out == NULL ? -EINVAL
				       : index_enter(cache, CALL_READS,
					     key_data, key_bytes, &call, &key);

	if (error != 0)
		return error_return(error);
	error = read_ttl(&call, &key, ttl_ms_out);
	call_leave();
	return error_return(error);
}
