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

/* Has the found entry expired, or been flushed (then it is unlinked), or may only
   loading calls see it?  (By value, lest what the caller has must be in
   memory.) */
bool read_is_gone(
    struct mapping *m, struct shm_peer *peer, uint64_t slot, uint64_t word);

/* read_hand_out() of the counter at this offset. */
int read_counter_out(
    const struct mapping *m, uint64_t offset, const struct sink *sink);

/* read_key() without a peer, or of a call that is timed. */
int read_key_rarely(
    const struct call *call, const struct key *key, const struct sink *sink);

/* Finds the key's entry and pins it, if it may be returned. */
SHM_INLINE bool
read_find(const struct call *call, const struct key *key, unsigned pin,
    struct found *found)
{
	if (!index_find(call, key, pin, found))
		return false;
	if (__builtin_expect(entry_visible(call->m, &found->entry), 1) ||
	    !read_is_gone(call->m, call->peer, found->slot, found->word))
		return true;
	shm_pin_clear(call->peer, pin);
	return false;
}

SHM_INLINE void
read_note(const struct call *call, const struct found *found)
{
	if (found != NULL)
		entry_mark(call->m, &found->entry);
	stats_count(
	    call->peer, found != NULL ? COUNT_get_hits : COUNT_get_misses);
}

/* Copies what was found, and tells about it. */
SHM_INLINE int
read_hand_out(
    const struct mapping *m, const struct entry *entry, const struct sink *sink)
{
	struct facts facts;

	if (__builtin_expect(entry_is_counter(entry), 0)) {
		const struct sink own_sink = *sink;

		return read_counter_out(m, entry->offset, &own_sink);
	}
	sink_learn_value(m, entry, sink, &facts);
	sink_copy(sink, &facts);
	return sink_tell(sink, &facts);
}

SHM_INLINE int
read_pinned(
    const struct call *call, const struct key *key, const struct sink *sink)
{
	struct found found;
	int result;

	if (!read_find(call, key, SHM_PIN_ENTRY, &found)) {
		if (!sink->peek)
			read_note(call, NULL);
		return SHMCACHE_ENOENT;
	}
	result = read_hand_out(call->m, &found.entry, sink);
	if (result == 0 && !sink->peek)
		read_note(call, &found);
	shm_pin_clear(call->peer, SHM_PIN_ENTRY);
	return result;
}

/* 0, SHMCACHE_ENOENT, EBUFFER, or EBUSY (without a peer). */
SHM_INLINE int
read_key(
    const struct call *call, const struct key *key, const struct sink *sink)
{
	/* (Lest what the caller has must be in memory.) */
	if (__builtin_expect(call->peer == NULL || latency_is_due(call), 0)) {
		const struct call own_call = { call->m, call->peer };
		const struct key own_key = *key;
		const struct sink own_sink = *sink;

		return read_key_rarely(&own_call, &own_key, &own_sink);
	}
	return read_pinned(call, key, sink);
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
