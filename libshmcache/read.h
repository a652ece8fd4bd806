/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * read.h - the get of one key, within a call
 *
 * In place is what most gets are: with a peer, of a value that is there and may
 * be returned.  The rest is in api_read.c, which says how it works.
 */
#ifndef LIBSHMCACHE_READ_H
#define LIBSHMCACHE_READ_H

#include "libshmcache/index.h"
#include "libshmcache/latency.h"
#include "libshmcache/sink.h"
#include "libshmcache/stats.h"

/* read_key() of any entry; what read_plain() counted is not counted again. */
int read_key_rarely(
    const struct call *call, const struct key *key, const struct sink *sink);

enum { READ_RARE = 1 }; /* nothing was done, but for a pin that was released */

/* Copies a value of 16 to 64 bytes, as most are, in place. */
SHM_INLINE void
read_copy(void *to, const void *from, size_t bytes)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	if (__builtin_expect(bytes - 16 > 48, 0)) {
		if (bytes > 0)
			memcpy(t, f, bytes);
		return;
	}
	if (bytes > 32) {
		memcpy(t + 16, f + 16, 16);
		memcpy(t + bytes - 32, f + bytes - 32, 16);
	}
	memcpy(t, f, 16);
	memcpy(t + bytes - 16, f + bytes - 16, 16);
}

/* Copies the value of the entry at this offset, which is pinned. */
SHM_INLINE int
read_plain_entry(const struct mapping *m, const struct key *key,
    const struct sink *sink, uint64_t offset, uint32_t extent)
{
	uint8_t *at = m->base + offset;
	struct entry_shared *shared = (void *)at;
	uint64_t lengths = entry_header_word(shared, 0);
	uint64_t key_at = entry_plain_offset(lengths);
	uint64_t value_bytes = lengths & ENTRY_VALUE_BYTES;
	uint64_t end = offset - m->arena + key_at + key->bytes + value_bytes;

	/* (If it is damaged, what is read may lie in another extent.) */
	if ((lengths & ~ENTRY_PLAIN_VARIES) != ENTRY_PLAIN(key->bytes) ||
	    end > m->arena_bytes ||
	    !index_same_bytes(at + key_at, key->data, key->bytes) ||
	    /* (With the bit of record.h it is above all.) */
	    shm_load64_acquire(&m->shared->flush) >
		(entry_header_word(shared, 1) & CACHE_SEQ_MAX) ||
	    ((lengths & ENTRY_PLAIN_EXPIRY) != 0 &&
		mapping_now_ms(m) >= shm_load64((void *)(shared + 1)) >> 1) ||
	    value_bytes > sink->buffer_bytes)
		return READ_RARE;
	read_copy(sink->buffer, at + key_at + key->bytes, value_bytes);
	if (sink->value_bytes_out != NULL)
		*sink->value_bytes_out = value_bytes;
	if (sink->client_flags_out != NULL)
		*sink->client_flags_out =
		    (lengths & ENTRY_PLAIN_CLIENT_FLAGS) == 0
			? 0
			: (uint32_t)entry_option(shared,
			      (uint8_t)(lengths >> 48 & ENTRY_FLAGS_LOW),
			      ENTRY_CLIENT_FLAGS);
	if (sink->version_out != NULL)
		*sink->version_out = entry_birth_address(
		    m, offset, shm_arena_generation(m->segment, extent));
	entry_mark(m, shared);
	return 0;
}

/*
 * A get that finds a plain entry (entry.h) that may be returned where its tag
 * shows first, or nothing that has its tag.
 */
SHM_INLINE int
read_plain(
    const struct call *call, const struct key *key, const struct sink *sink)
{
	uint64_t word, offset, slot = index_look(call->m, key);
	uint32_t extent;
	int result = READ_RARE;

	if (slot == UINT64_MAX) {
		stats_count(call->peer, COUNT_get_misses);
		return SHMCACHE_ENOENT;
	}
	word = shm_load64_acquire(&call->m->slots[slot]); /* L */
	if ((word ^ key->tag) >> INDEX_TAG_SHIFT != 0 ||
	    !index_place(call->m, word, &offset, &extent))
		return READ_RARE;
	/* On its way while the pin is being published. */
	__builtin_prefetch(call->m->base + offset);
	shm_pin_set(call->peer, SHM_PIN_ENTRY, extent); /* P1 */
	if (shm_load64_acquire(&call->m->slots[slot]) == word)
		result = read_plain_entry(call->m, key, sink, offset, extent);
	if (result == 0)
		stats_count(call->peer, COUNT_get_hits);
	shm_pin_clear(call->peer, SHM_PIN_ENTRY);
	return result;
}

/* 0, SHMCACHE_ENOENT, EBUFFER, or EBUSY (without a peer).  The key was made by
   key_begin(), at least. */
SHM_INLINE int
read_key(
    const struct call *call, const struct key *key, const struct sink *sink)
{
	if (__builtin_expect(
		call->peer != NULL && !latency_count(call) && !sink->peek, 1)) {
		int result = read_plain(call, key, sink);

		if (__builtin_expect(result != READ_RARE, 1))
			return result;
	}
	/* (Copies, lest what the caller has must be in memory.) */
	{
		const struct call own_call = *call;
		struct key own_key = *key;
		const struct sink own_sink = *sink;

		own_key.first[1] = index_second_bucket(call->m, key);
		return read_key_rarely(&own_call, &own_key, &own_sink);
	}
}

/*
 * Copying without a pin (edge U): before, what is copied is named; after, it is
 * known whether the copy is one of what was there all the time.
 */
struct unpinned {
	uint64_t slot;
	uint64_t word;
	uint64_t offset; /* of the entry */
	struct shm_extent extent;
};

/* What the slot names now; false: nothing that is final. */
bool unpinned_begin(const struct mapping *m, uint64_t slot, struct unpinned *u);

/* Is the copy good? */
bool unpinned_end(const struct mapping *m, const struct unpinned *u);

#endif /* LIBSHMCACHE_READ_H */
