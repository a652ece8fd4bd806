/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * refresh.h - when a value that is still fresh is loaded anew
 *
 * Pure functions; `random` is 32 bits.
 *
 * What is known of an entry's load is one option of it, of 8 bytes:
 *
 *   stale_ms 31 | ttl_ms 17 | cost_us 16
 *
 * Time to live and cost are kept as 11 significant bits and how far they are
 * shifted: rounded down by less than a thousandth.
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

/*
 * How an entry that was loaded is refreshed (load.h).  It is fresh until
 * `stale_ms` before it expires; then only loading calls see it.  Relative to the
 * expiry, so a touch makes it fresh again.
 */
struct refresh {
	uint32_t stale_ms; /* below 2^31 */
	uint32_t cost_us;  /* what its load took */
	int64_t ttl_ms;    /* that it was loaded with; 0: not known */
};

#define REFRESH_DIGITS     11u /* of what is rounded, in bits */
#define REFRESH_COST_BITS  (REFRESH_DIGITS + 5)
#define REFRESH_TTL_BITS   (REFRESH_DIGITS + 6)
#define REFRESH_STALE_BITS (64 - REFRESH_TTL_BITS - REFRESH_COST_BITS)

/* {shift, digits}, of a number below 2^63. */
static inline uint64_t
refresh_round(uint64_t number)
{
	unsigned bits =
	    number == 0 ? 0 : 64 - (unsigned)__builtin_clzll(number);
	unsigned shift = bits > REFRESH_DIGITS ? bits - REFRESH_DIGITS : 0;

	return (uint64_t)shift << REFRESH_DIGITS | number >> shift;
}

static inline uint64_t
refresh_unround(uint64_t rounded)
{
	uint64_t digits = rounded & ((1u << REFRESH_DIGITS) - 1);

	return digits << (rounded >> REFRESH_DIGITS);
}

static inline uint64_t
refresh_pack(struct refresh refresh)
{
	return (uint64_t)refresh.stale_ms << (64 - REFRESH_STALE_BITS) |
	       refresh_round((uint64_t)refresh.ttl_ms) << REFRESH_COST_BITS |
	       refresh_round(refresh.cost_us);
}

static inline struct refresh
refresh_unpack(uint64_t option)
{
	uint64_t ttl =
	    option >> REFRESH_COST_BITS & ((1u << REFRESH_TTL_BITS) - 1);
	uint64_t cost = option & ((1u << REFRESH_COST_BITS) - 1);

	return (struct refresh){
		.stale_ms = (uint32_t)(option >> (64 - REFRESH_STALE_BITS)),
		.cost_us = (uint32_t)refresh_unround(cost),
		.ttl_ms = (int64_t)refresh_unround(ttl),
	};
}

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
	double jittered = (double)ttl_ms * (1 + part);

	return jittered < 1                    ? 1
	       : jittered >= (double)INT64_MAX ? INT64_MAX
					       : (int64_t)jittered;
}

#endif /* LIBSHMCACHE_REFRESH_H */
