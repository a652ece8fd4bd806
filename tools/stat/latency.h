/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * latency.h - what a histogram of times tells
 */
#ifndef TOOLS_STAT_LATENCY_H
#define TOOLS_STAT_LATENCY_H

#include <shmcache_admin.h>
#include <stdint.h>

/*
 * The time that this share of the calls (0.99) stayed below, as exact as the
 * buckets are; 0 if no call was sampled.
 */
uint64_t latency_quantile_ns(
    const struct shmcache_latency *latency, double share);

/* The sum of all times, as if each call took the middle of its bucket. */
double latency_sum_ns(const struct shmcache_latency *latency);

#endif /* TOOLS_STAT_LATENCY_H */
