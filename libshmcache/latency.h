/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * latency.h - how long calls take, and which keys are read much: a sample
 *
 * One call in so many of each peer (an option of the cache) is timed by the
 * fine clock and counted in the peer's own log-linear histogram: four buckets
 * for each doubling, from 32 ns to 4 ms, so a percentile is right to 12 %.  A
 * sampled get also leaves the slot of what it found in a short ring.
 *
 * Only the peer itself writes, by plain stores in lines of its own.  As with
 * the counters nothing is ever reset: the next owner of the slot goes on.
 * Killed anywhere: one sample is lost.
 */
#ifndef LIBSHMCACHE_LATENCY_H
#define LIBSHMCACHE_LATENCY_H

#include "libshmcache/cache.h"
#include "libshmcache/shmcache_admin.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LATENCY_HOT       16u
#define LATENCY_FIRST_LOG 5u /* 32 ns */

struct key;
struct scan_copy;

/* What one peer has sampled. */
struct latency_shared {
	uint64_t last_ms; /* of the coarse clock of the host */
	uint64_t hot_count;
	uint64_t hot[LATENCY_HOT]; /* {tag as in the word, 1 + slot}; a ring */
	uint32_t buckets[SHMCACHE_LATENCY_KINDS][SHMCACHE_LATENCY_BUCKETS];
	uint8_t pad[48];
};

static_assert(offsetof(struct latency_shared, hot) == 16, "layout");
static_assert(offsetof(struct latency_shared, buckets) == 144, "layout");
static_assert(sizeof(struct latency_shared) == 768, "layout");

static inline struct latency_shared *
latency_of(const struct mapping *m, uint32_t peer_slot)
{
	return &m->latency[peer_slot];
}

/* Is the peer's call that was counted last due to be timed? */
static inline bool
latency_is_due(const struct call *call)
{
	return (call->peer->calls & call->m->sample_mask) == 0;
}

/* While requests are recorded every call is due (record.h): is this one to be
   timed, of as many as else? */
static inline bool
latency_is_timed(const struct call *call)
{
	return !mapping_recording(call->m) ||
	       (shm_peer_random(call->peer) & call->m->sample_mask) == 0;
}

/* Count a call; true if it is due. */
static inline bool
latency_count(const struct call *call)
{
	call->peer->calls++;
	return latency_is_due(call);
}

uint64_t latency_begin(void);

/* Nanoseconds of the same fine clock, for all processes of the host. */
static inline uint64_t
latency_now_ns(const struct mapping *m)
{
	return latency_begin() + (uint64_t)m->clock_offset_ms * 1000000u;
}

/* `key`: what was read, or NULL. */
void latency_end(const struct call *call, unsigned kind, uint64_t began_ns,
    const struct key *key);

/* Copies the entry that the h-th sample in the ring of a thread slot names, if it
   is still there; results as scan_copy_slot(). */
int latency_copy_hot(const struct call *call, uint32_t peer_slot, unsigned h,
    struct scan_copy *copy);

#endif /* LIBSHMCACHE_LATENCY_H */
