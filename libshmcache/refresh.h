/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * refresh.h - when a value that is still fresh is loaded anew
 *
 * Pure functions; `random` is 32 bits.
 *
 * XFetch (Vattani, Chierichetti and Lowenstein 2015): a caller refreshes early if
 * cost * beta * -ln(u) is more than the time that is left, u uniform in (0, 1].
 * Of many callers one is likely to do so shortly before the value expires, the
 * earlier the more the load costs.
 */
#ifndef LIBSHMCACHE_REFRESH_H
#define LIBSHMCACHE_REFRESH_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

static inline bool
refresh_by_chance(
    int64_t left_ms, uint32_t cost_us, double beta, uint32_t random)
{
	double u = ((double)random + 1) / 4294967296.0;

	return beta > 0 && cost_us / 1000.0 * beta * -log(u) >= (double)left_ms;
}

/* Is less than this part of its time to live left? */
static inline bool
refresh_ahead(int64_t left_ms, int64_t ttl_ms, uint32_t percent)
{
	return percent > 0 && ttl_ms > 0 && left_ms < ttl_ms / 100.0 * percent;
}

/* The time to live, more or less by up to `percent`; at least 1. */
static inline int64_t
refresh_jitter(int64_t ttl_ms, uint32_t percent, uint32_t random)
{
	double part = ((double)random / 4294967295.0 * 2 - 1) * percent / 100;
	int64_t jittered = (int64_t)((double)ttl_ms * (1 + part));

	return jittered < 1 ? 1 : jittered;
}

#endif /* LIBSHMCACHE_REFRESH_H */
