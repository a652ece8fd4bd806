/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rate.h - so many a second: the generic cell rate algorithm
 *
 * Pure functions; `random` is 32 bits.  A token bucket is one number, the time at
 * which it will be full again: each that is let through moves it on by an
 * interval, and is let through if it is not too far ahead of now.  How far is the
 * bucket's depth: what comes after a pause may come at once up to a tenth of a
 * second's, one at least.
 *
 * An interval is rounded up or down by chance, so that on average it is right
 * however coarse the units.  So that as many as are meant to fit into the bucket,
 * each may be a unit longer, as long as that is less than half of one together.
 */
#ifndef LIBSHMCACHE_RATE_H
#define LIBSHMCACHE_RATE_H

#include <stdbool.h>
#include <stdint.h>

#define RATE_BURSTS_PER_S 10u

/* Units of time until the next, on average. */
static inline uint64_t
rate_interval(uint32_t per_second, uint64_t units_per_s, uint32_t random)
{
	uint64_t part = (uint64_t)random * per_second >> 32;

	return (units_per_s + part) / per_second;
}

/* How far it is ahead, by the difference to now.  What is past is not; nor what
   cannot be: that was left by a clock that began anew, or is damage. */
static inline uint64_t
rate_ahead(uint64_t difference, uint64_t units_per_s)
{
	return difference <= 2 * units_per_s ? difference : 0;
}

/* May one more be let through, if the time at which the bucket will be full is so
   far ahead?  (units_per_s: 2^31 at the most.) */
static inline bool
rate_allows(uint32_t per_second, uint64_t units_per_s, uint64_t ahead)
{
	uint64_t depth = per_second / RATE_BURSTS_PER_S;
	uint64_t half = units_per_s / per_second / 2;

	if (depth == 0)
		depth = 1;
	return ahead <= (depth - 1) * units_per_s / per_second +
			    (depth < half ? depth : half);
}

#endif /* LIBSHMCACHE_RATE_H */
