/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * api_read.c - public calls that look entries up
 *
 * With a peer: find (which pins the extent), judge, copy or hand out, let go.
 *
 * Without one (a handle for reading only, or every peer slot is taken): nothing can be pinned, so bytes are
 * copied while they may be overwritten, and judged afterwards, as under a
 * sequence lock.  The extent's state word carries the generation; an extent
 * gets new bytes only after its generation has grown:
 *
 *   reader (read.h)                       writer
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
#include "libshmcache/key.h"
#include "libshmcache/latency.h"
#include "libshmcache/read.h"
#include "libshmcache/record.h"
#include "libshmcache/stats.h"
#include "shm/pin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Times that a copy without a pin is begun again before it is given up. */
#define UNPINNED_TRIES 1000u

/* Finds the key's entry and pins it, if it may be returned. */
static bool
find(const struct call *call, const struct key *key, unsigned pin,
    struct found *found)
{
	if (!index_find(call, key, pin, found))
		return false;
	if (entry_visible(call->m, &found->entry) ||
	    /* Has it expired meanwhile, or may only loading calls see it? */
	    (!expire_found(call, found, COUNT_expired_on_read) &&
		entry_visible(call->m, &found->entry)))
		return true;
	shm_pin_clear(call->peer, pin);
	return false;
}

static void
note(const struct call *call, const struct key *key, const struct found *found)
{
	if (found != NULL)
		entry_mark(call->m, found->entry.shared);
	record_get(call, key, found != NULL ? &found->entry : NULL);
	stats_count(
	    call->peer, found != NULL ? COUNT_get_hits : COUNT_get_misses);
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

/* U1. */
bool
unpinned_begin(const struct mapping *m, uint64_t slot, struct unpinned *u)
{
	uint32_t number;

	u->slot = slot;
	u->word = shm_load64_acquire(&m->slots[slot]);
	if (u->word == 0 || (u->word & INDEX_TENTATIVE) != 0 ||
	    !index_place(m, u->word, &u->offset, &number))
		return false;
	u->extent = shm_arena_state(m->segment, number);
	return true;
}

/* U2. */
bool
unpinned_end(const struct mapping *m, const struct unpinned *u)
{
	shm_fence_acquire();
	return shm_arena_generation(m->segment, u->extent.number) ==
		   u->extent.generation &&
	       (u->extent.generation & INDEX_GENERATION) ==
		   (u->word >> INDEX_ADDRESS_BITS & INDEX_GENERATION) &&
	       shm_load64(&m->slots[u->slot]) == u->word;
}

/* Copies what one slot names, if it is the key's. */
static enum glance
glance(const struct call *call, const struct key *key, uint64_t slot,
    const struct sink *sink, struct facts *facts)
{
	const struct mapping *m = call->m;
	struct unpinned u;
	struct entry entry;
	bool same;

	if (!unpinned_begin(m, slot, &u) ||
	    (u.word ^ key->tag) >> INDEX_TAG_SHIFT != 0)
		return GLANCE_OTHER;
	same = entry_open(m, u.offset, &entry) &&
	       entry.key_bytes == key->bytes &&
	       same_bytes(entry.key, key->data, key->bytes);
	if (same) {
		sink_learn(m, &entry, sink, facts);
		if (!entry_visible(m, &entry))
			facts->result = SHMCACHE_ENOENT;
		if (facts->result == 0)
			shm_read_bytes(
			    sink->buffer, facts->value, facts->value_bytes);
	}
	if (!unpinned_end(m, &u))
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
			return sink_tell(sink, &facts);
	}
	return SHMCACHE_EBUSY;
}

static int
get_with_pin(
    const struct call *call, const struct key *key, const struct sink *sink)
{
	struct found found;
	struct facts facts;
	int result;

	if (!find(call, key, SHM_PIN_ENTRY, &found)) {
		if (!sink->peek)
			note(call, key, NULL);
		return SHMCACHE_ENOENT;
	}
	sink_learn(call->m, &found.entry, sink, &facts);
	sink_copy(sink, &facts);
	result = sink_tell(sink, &facts);
	if (result == 0 && !sink->peek)
		note(call, key, &found);
	shm_pin_clear(call->peer, SHM_PIN_ENTRY);
	return result;
}

static int
get_sampled(
    const struct call *call, const struct key *key, const struct sink *sink)
{
	bool timed = latency_is_timed(call);
	uint64_t began_ns = timed ? latency_begin() : 0;
	int error = get_with_pin(call, key, sink);

	if (timed)
		latency_end(call, SHMCACHE_LATENCY_GET, began_ns, key);
	return error;
}

int
read_key_rarely(
    const struct call *call, const struct key *key, const struct sink *sink)
{
	return call->peer == NULL     ? get_unpinned(call, key, sink)
	       : latency_is_due(call) ? get_sampled(call, key, sink)
				      : get_with_pin(call, key, sink);
}

SHM_INLINE int
get_here(struct shmcache *cache, const void *key_data, size_t key_bytes,
    const struct sink *sink)
{
	struct call call;
	struct key key;
	int error;

	if (__builtin_expect(!sink_is_valid(sink), 0))
		return -EINVAL;
	if (__builtin_expect(!index_is_key(key_data, key_bytes), 0))
		return SHMCACHE_EKEY;
	error = call_enter(cache, CALL_READS, &call);
	if (__builtin_expect(error != 0, 0))
		return error;
	key_begin(call.m, key_data, key_bytes, &key);
	error = read_key(&call, &key, sink);
	call_leave();
	return error;
}

static int
get(struct shmcache *cache, const void *key, size_t key_bytes,
    const struct sink *sink)
{
	return get_here(cache, key, key_bytes, sink);
}

__attribute__((flatten)) int
shmcache_get(struct shmcache *cache, const void *key, size_t key_bytes,
    void *buffer, size_t buffer_bytes, size_t *value_bytes_out,
    uint32_t *client_flags_out)
{
	struct sink sink = { .buffer = buffer,
		.buffer_bytes = buffer_bytes,
		.value_bytes_out = value_bytes_out,
		.client_flags_out = client_flags_out };

	return error_return(get_here(cache, key, key_bytes, &sink));
}

int
shmcache_gets(struct shmcache *cache, const void *key, size_t key_bytes,
    void *buffer, size_t buffer_bytes, size_t *value_bytes_out,
    uint32_t *client_flags_out, uint64_t *version_out)
{
	struct sink sink = { .buffer = buffer,
		.buffer_bytes = buffer_bytes,
		.value_bytes_out = value_bytes_out,
		.client_flags_out = client_flags_out,
		.version_out = version_out };

	return error_return(get(cache, key, key_bytes, &sink));
}

int
shmcache_peek(struct shmcache *cache, const void *key, size_t key_bytes,
    void *buffer, size_t buffer_bytes, size_t *value_bytes_out,
    uint32_t *client_flags_out)
{
	struct sink sink = { .buffer = buffer,
		.buffer_bytes = buffer_bytes,
		.value_bytes_out = value_bytes_out,
		.client_flags_out = client_flags_out,
		.peek = true };

	return error_return(get(cache, key, key_bytes, &sink));
}

/* Guess of a value's size: most fit, so that most need one look-up. */
#define FIRST_GUESS_BYTES 1024u

/* A copy of the value, and one byte more that is 0. */
static int
get_alloc(struct shmcache *cache, const void *key, size_t key_bytes,
    void **value_out, size_t *value_bytes_out, uint32_t *client_flags_out)
{
	size_t value_bytes = 0, room = FIRST_GUESS_BYTES;

	for (;;) {
		uint8_t *buffer = malloc(room + 1);
		struct sink sink = { .buffer = buffer,
			.buffer_bytes = room,
			.value_bytes_out = &value_bytes,
			.client_flags_out = client_flags_out };
		int error;

		if (buffer == NULL)
			return -ENOMEM;
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
			return error;
		room = value_bytes; /* it may have grown once more by then */
	}
}

int
shmcache_get_alloc(struct shmcache *cache, const void *key, size_t key_bytes,
    void **value_out, size_t *value_bytes_out, uint32_t *client_flags_out)
{
	return error_return(value_out == NULL
				? -EINVAL
				: get_alloc(cache, key, key_bytes, value_out,
				      value_bytes_out, client_flags_out));
}

/* In place of a pin: the item owns a copy. */
#define ITEM_COPIED 0u

/* Where so much is pinned that writers would run out of extents; and of a
   counter, which changes in place. */
static int
copy_item(const struct call *call, const struct entry *entry,
    struct shmcache_item *item_out)
{
	const struct sink sink = { .buffer = NULL };
	struct facts facts;
	void *copy;

	sink_learn(call->m, entry, &sink, &facts);
	copy = malloc((size_t)facts.value_bytes + 1);
	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, facts.value, facts.value_bytes);
	*item_out = (struct shmcache_item){ .value = copy,
		.value_bytes = facts.value_bytes,
		.client_flags = facts.client_flags,
		.pin = ITEM_COPIED,
		.owner = copy };
	return 0;
}

static int
pin_item(const struct call *call, const struct key *key,
    struct shmcache_item *item_out)
{
	bool scarce = shm_pin_scarce(call->peer);
	int error = 0, pin = scarce ? SHM_PIN_ENTRY : shm_peer_hold(call->peer);
	struct found found;

	if (pin < 0)
		return pin;
	if (!find(call, key, (unsigned)pin, &found)) {
		note(call, key, NULL);
		error = SHMCACHE_ENOENT;
	} else if (scarce || entry_is_counter(&found.entry)) {
		note(call, key, &found);
		error = copy_item(call, &found.entry, item_out);
		shm_pin_clear(call->peer, (unsigned)pin);
	} else {
		note(call, key, &found);
		*item_out = (struct shmcache_item){ .value = found.entry.value,
			.value_bytes = found.entry.value_bytes,
			.client_flags = entry_client_flags(&found.entry),
			.pin = (uint32_t)pin,
			.owner = call->peer,
			.owner_id = call->m->segment->id };
		return 0;
	}
	if (!scarce)
		(void)shm_peer_unhold(call->peer, (uint32_t)pin);
	return error;
}

/* For who has no peer, and so no pins. */
static int
alloc_item(struct shmcache *cache, const void *key, size_t key_bytes,
    struct shmcache_item *item_out)
{
	struct shmcache_item item = { .pin = ITEM_COPIED };
	int error = get_alloc(cache, key, key_bytes, &item.owner,
	    &item.value_bytes, &item.client_flags);

	if (error == 0) {
		item.value = item.owner;
		*item_out = item;
	}
	return error;
}

int
shmcache_get_pinned(struct shmcache *cache, const void *key_data,
    size_t key_bytes, struct shmcache_item *item_out)
{
	struct call call;
	struct key key;
	bool pinned;
	int error = item_out == NULL ? -EINVAL
				     : index_enter(cache, CALL_READS, key_data,
					   key_bytes, &call, &key);

	if (error != 0)
		return error_return(error);
	pinned = call.peer != NULL;
	if (pinned)
		error = pin_item(&call, &key, item_out);
	call_leave();
	if (!pinned)
		error = alloc_item(cache, key_data, key_bytes, item_out);
	return error_return(error);
}

int
shmcache_unpin(struct shmcache *cache, struct shmcache_item *item)
{
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
	if (!call_begin())
		return error_return(SHMCACHE_EDEADLK);
	error = cache_unhold(cache, item->owner_id, item->owner, item->pin);
	if (error == 0)
		item->owner = NULL;
	call_end();
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

int
shmcache_ttl(struct shmcache *cache, const void *key, size_t key_bytes,
    int64_t *ttl_ms_out)
{
	struct sink sink = { .ttl_ms_out = ttl_ms_out, .peek = true };
	int error =
	    ttl_ms_out == NULL ? -EINVAL : get(cache, key, key_bytes, &sink);

	return error_return(error == SHMCACHE_EBUFFER ? 0 : error);
}
