/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* latency.c - what a histogram of times tells */
#include "tools/stat/latency.h"

static uint64_t
count_all(const struct shmcache_latency *latency)
{
	uint64_t count = 0;
	unsigned i;

	for (i = 0; i < SHMCACHE_LATENCY_BUCKETS; i++) {
		count += latency->count[i];
	}
	return count;
}

/* The last bucket has no bound of its own: its calls took longer than this. */
static uint64_t
bound_ns(unsigned bucket)
{
	return shmcache_latency_bound_ns(bucket < SHMCACHE_LATENCY_BUCKETS - 1
					     ? bucket
					     : SHMCACHE_LATENCY_BUCKETS - 2);
}

uint64_t
latency_quantile_ns(const struct shmcache_latency *latency, double share)
{
	double wanted = (double)count_all(latency) * share;
	uint64_t seen = 0;
	unsigned i;

	for (i = 0; i < SHMCACHE_LATENCY_BUCKETS; i++) {
		seen += latency->count[i];
		if (seen > 0 && (double)seen >= wanted) {
			return bound_ns(i);
		}
	}
	return 0;
}

double
latency_sum_ns(const struct shmcache_latency *latency)
{
	double sum = 0;
	double below = 0;
	unsigned i;

	for (i = 0; i < SHMCACHE_LATENCY_BUCKETS; i++) {
		sum += (double)latency->count[i] *
		       (below + (double)bound_ns(i)) / 2;
		below = (double)bound_ns(i);
	}
	return sum;
}
