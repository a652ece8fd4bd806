/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sink.h - where a value goes, and what is told about it
 *
 * A call that hands a value out learns what there is to tell while the entry is
 * pinned (or, without a pin, before it is judged), copies, and tells when the
 * result is certain: outputs are written on success, and the length also if the
 * buffer was too small.
 */
#ifndef LIBSHMCACHE_SINK_H
#define LIBSHMCACHE_SINK_H

#include "libshmcache/entry.h"

#include <string.h>

struct sink {
	void *buffer;
	size_t buffer_bytes;
	size_t *value_bytes_out;
	uint32_t *client_flags_out;
	uint64_t *version_out;
	int64_t *ttl_ms_out; /* told too if the buffer is too small */
	bool peek;           /* no mark, no count */
};

/* What is known of a value. */
struct facts {
	int result; /* 0, SHMCACHE_EBUFFER, or SHMCACHE_ENOENT */
	uint32_t value_bytes;
	const void *value; /* the entry's, or `text` */
	uint32_t client_flags;
	uint64_t version; /* these two if the sink wants them */
	int64_t ttl_ms;
	char text[ENTRY_NUMBER_BYTES + 1];
};

static inline bool
sink_is_valid(const struct sink *sink)
{
	return sink->buffer != NULL || sink->buffer_bytes == 0;
}

/* A counter reads as text. */
void facts_of_counter(const struct entry *entry, struct facts *facts);

static inline void
sink_learn(const struct mapping *m, const struct entry *entry,
    const struct sink *sink, struct facts *facts)
{
	facts->value = entry->value;
	facts->value_bytes = entry->value_bytes;
	facts->client_flags = entry_client_flags(entry);
	facts->version =
	    sink->version_out != NULL ? entry_version(m, entry) : 0;
	facts->ttl_ms = sink->ttl_ms_out != NULL ? entry_ttl_ms(m, entry) : 0;
	if (entry_is_counter(entry))
		facts_of_counter(entry, facts);
	facts->result =
	    facts->value_bytes > sink->buffer_bytes ? SHMCACHE_EBUFFER : 0;
}

/* Copies what was learned, of an entry that is pinned. */
static inline void
sink_copy(const struct sink *sink, const struct facts *facts)
{
	if (facts->result == 0 && facts->value_bytes > 0)
		memcpy(sink->buffer, facts->value, facts->value_bytes);
}

/* Writes the outputs; returns the result. */
static inline int
sink_tell(const struct sink *sink, const struct facts *facts)
{
	if (facts->result == SHMCACHE_ENOENT)
		return SHMCACHE_ENOENT;
	if (sink->value_bytes_out != NULL)
		*sink->value_bytes_out = facts->value_bytes;
	if (sink->ttl_ms_out != NULL)
		*sink->ttl_ms_out = facts->ttl_ms;
	if (facts->result != 0)
		return facts->result;
	if (sink->client_flags_out != NULL)
		*sink->client_flags_out = facts->client_flags;
	if (sink->version_out != NULL)
		*sink->version_out = facts->version;
	return 0;
}

#endif /* LIBSHMCACHE_SINK_H */
