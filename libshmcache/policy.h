/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * policy.h - what becomes of an entry when its extent is evicted
 *
 * Pure functions: the mechanism (hand, walk, copy, retire) is evict.c's, and
 * the same for every policy.
 *
 * `clock` (Corbato 1968; here over extents, as FIFO-reinsertion): an entry that
 * was read since it was written or last spared is copied on, with its reference
 * count lowered; the others go.
 */
#ifndef LIBSHMCACHE_POLICY_H
#define LIBSHMCACHE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

struct policy_verdict {
	bool keep;
	uint8_t ref; /* of the copy */
};

static inline struct policy_verdict
policy_clock(uint8_t ref)
{
	struct policy_verdict verdict = { .keep = ref > 0,
		.ref = (uint8_t)(ref > 0 ? ref - 1 : 0) };

	return verdict;
}

/* An extent with no more than 1/4 of its bytes live is cleaned. */
static inline bool
policy_mostly_dead(uint64_t live_bytes, uint64_t extent_bytes)
{
	return live_bytes <= extent_bytes / 4;
}

static inline struct policy_verdict
policy_clean(uint8_t ref)
{
	struct policy_verdict verdict = { .keep = true, .ref = ref };

	return verdict;
}

#endif /* LIBSHMCACHE_POLICY_H */
