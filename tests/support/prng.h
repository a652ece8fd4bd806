/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * prng.h - repeatable random numbers for tests (splitmix64)
 *
 * Every stream is made of the program's seed and a salt, so that each worker
 * has its own and --seed repeats them all.
 */
#ifndef TESTS_SUPPORT_PRNG_H
#define TESTS_SUPPORT_PRNG_H

#include <stdint.h>

struct prng {
	uint64_t state;
};

static inline uint64_t
prng_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static inline void
prng_init(struct prng *prng, uint64_t seed, uint64_t salt)
{
	prng->state = prng_mix(seed + UINT64_C(0x9e3779b97f4a7c15) * salt);
}

static inline uint64_t
prng_next(struct prng *prng)
{
	prng->state += UINT64_C(0x9e3779b97f4a7c15);
	return prng_mix(prng->state);
}

/* 0 to `limit` - 1; `limit` is not 0. */
static inline uint64_t
prng_below(struct prng *prng, uint64_t limit)
{
	return (uint64_t)(((unsigned __int128)prng_next(prng) * limit) >> 64);
}

/* 0 to 1, 1 excluded. */
static inline double
prng_unit(struct prng *prng)
{
	return (double)(prng_next(prng) >> 11) * 0x1.0p-53;
}

/*
 * 1 to `limit`, every order of magnitude as often as another, and the limit
 * itself once in 64.
 */
static inline uint64_t
prng_size(struct prng *prng, uint64_t limit)
{
	unsigned bits = 64 - (unsigned)__builtin_clzll(limit);
	uint64_t span = UINT64_C(1) << prng_below(prng, bits);

	if (prng_below(prng, 64) == 0) {
		return limit;
	}
	return 1 +
	       prng_below(prng, span < limit ? span * 2 - 1 : limit) % limit;
}

#endif /* TESTS_SUPPORT_PRNG_H */
