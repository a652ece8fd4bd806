/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stats.h - counters of operations
 *
 * Each peer counts in its own lines of the segment, by plain stores, so that
 * counting shares nothing.  Counters are never reset: the next owner of a peer
 * slot continues them, and a total is the sum over all slots.
 */
#ifndef LIBSHMCACHE_STATS_H
#define LIBSHMCACHE_STATS_H

#include "shm/atomic.h"
#include "shm/peer.h"

#include <stdbool.h>
#include <stdint.h>

enum counter {
#define COUNTER(name, text) COUNT_##name,
#include "libshmcache/stats.def"
	COUNTERS
};

static inline void
stats_add(struct shm_peer *peer, enum counter counter, uint64_t amount)
{
	uint64_t *word = &peer->counters[counter];

	shm_store64(word, shm_load64(word) + amount);
}

static inline void
stats_count(struct shm_peer *peer, enum counter counter)
{
	stats_add(peer, counter, 1);
}

/* Is it a count of calls, of which each call is in one? */
static inline bool
stats_is_operation(unsigned counter)
{
	return counter == COUNT_get_hits || counter == COUNT_get_misses ||
	       counter == COUNT_sets || counter == COUNT_deletes ||
	       counter == COUNT_delete_misses || counter == COUNT_touches ||
	       counter == COUNT_touch_misses || counter == COUNT_flushes ||
	       counter == COUNT_invalidations ||
	       (counter >= COUNT_add_hits && counter <= COUNT_incr_misses);
}

#endif /* LIBSHMCACHE_STATS_H */
