/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* latency.c - taking a sample */
#include "libshmcache/latency.h"

#include "libshmcache/index.h"
#include "libshmcache/scan.h"

#include <time.h>

#define PER_DOUBLING 4u

uint64_t
latency_begin(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static unsigned
bucket_of(uint64_t ns)
{
	unsigned log, bucket;

	if (ns < 1u << LATENCY_FIRST_LOG)
		return 0;
	log = 63u - (unsigned)__builtin_clzll(ns);
	bucket = 1 + (log - LATENCY_FIRST_LOG) * PER_DOUBLING +
		 (unsigned)(ns >> (log - 2) & (PER_DOUBLING - 1));
	return bucket < SHMCACHE_LATENCY_BUCKETS ? bucket
						 : SHMCACHE_LATENCY_BUCKETS - 1;
}

uint64_t
shmcache_latency_bound_ns(unsigned bucket)
{
	unsigned log;

	if (bucket == 0)
		return 1u << LATENCY_FIRST_LOG;
	if (bucket >= SHMCACHE_LATENCY_BUCKETS - 1)
		return UINT64_MAX;
	log = LATENCY_FIRST_LOG + (bucket - 1) / PER_DOUBLING;
	return (1ull << log) +
	       ((bucket - 1) % PER_DOUBLING + 1) * (1ull << (log - 2));
}

/* Leaves the slot that the key is found in, without a pin: it is a hint. */
static void
note_hot(
    const struct call *call, const struct key *key, struct latency_shared *own)
{
	for (unsigned n = 0; n < INDEX_WINDOW; n++) {
		uint64_t slot = index_slot(key, n);
		uint64_t word = shm_load64(&call->m->slots[slot]);
		uint64_t count = shm_load64(&own->hot_count);

		if (word == 0 || (word ^ key->tag) >> INDEX_TAG_SHIFT != 0)
			continue;
		shm_store64(
		    &own->hot[count % LATENCY_HOT], key->tag | (slot + 1));
		shm_store64(&own->hot_count, count + 1);
		return;
	}
}

void
latency_end(const struct call *call, unsigned kind, uint64_t began_ns,
    const struct key *key)
{
	uint64_t ns = latency_begin() - began_ns;
	struct latency_shared *own;
	uint32_t *bucket;

	if (call->m->latency == NULL)
		return;
	own = latency_of(call->m, shm_peer_slot(call->peer));
	bucket = &own->buckets[kind][bucket_of(ns)];
	shm_store32(bucket, shm_load32(bucket) + 1);
	shm_store64(&own->last_ms, mapping_now_ms(call->m));
	if (key != NULL)
		note_hot(call, key, own);
}

int
latency_copy_hot(const struct call *call, uint32_t peer_slot, unsigned h,
    struct scan_copy *copy)
{
	const struct mapping *m = call->m;
	uint64_t sample, slot;

	if (m->latency == NULL)
		return 0;
	sample = shm_load64(&latency_of(m, peer_slot)->hot[h]);
	slot = (sample & INDEX_ADDRESS) - 1;
	if (sample == 0 || slot >= m->bucket_count * INDEX_BUCKET_SLOTS ||
	    (shm_load64(&m->slots[slot]) ^ sample) >> INDEX_TAG_SHIFT != 0)
		return 0;
	return scan_copy_slot(call, slot, false, copy);
}
