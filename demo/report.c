/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * report.c - what the demo prints while it runs, and at the end
 *
 * Latencies are counted in buckets of 32 steps for each power of two: a
 * percentile is the upper edge of its bucket, at most 3 % too high.
 */
#include "demo.h"

#include <inttypes.h>
#include <stdio.h>

#define MIB   1048576.0
#define STEPS (UINT64_C(1) << LATENCY_STEP_BITS)

static size_t
bucket_of(uint64_t ns)
{
	unsigned int top_bit;

	if (ns < STEPS) {
		return ns;
	}
	top_bit = 63 - (unsigned int)__builtin_clzll(ns);
	if (top_bit >= LATENCY_BITS_MAX) {
		return LATENCY_BUCKETS - 1;
	}
	return ((top_bit - LATENCY_STEP_BITS + 1) << LATENCY_STEP_BITS) +
	       (ns >> (top_bit - LATENCY_STEP_BITS)) % STEPS;
}

/* The highest time that goes into the bucket. */
static uint64_t
bucket_edge_ns(size_t bucket)
{
	if (bucket < STEPS) {
		return bucket;
	}
	return ((STEPS + bucket % STEPS + 1) << (bucket / STEPS - 1)) - 1;
}

void
latency_add(struct slice *slice, enum timer timer, int64_t ns)
{
	_Atomic uint64_t *bucket =
	    &slice->latency[timer][bucket_of((uint64_t)ns)];

	atomic_store_explicit(bucket,
	    atomic_load_explicit(bucket, memory_order_relaxed) + 1,
	    memory_order_relaxed);
}

static uint64_t
samples(const uint64_t *latency)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
		sum += latency[i];
	}
	return sum;
}

static double
percentile_us(const uint64_t *latency, double share)
{
	uint64_t rank = (uint64_t)(share * (double)samples(latency));
	uint64_t seen = 0;
	size_t i;

	for (i = 0; i < LATENCY_BUCKETS - 1; i++) {
		seen += latency[i];
		if (seen > rank) {
			break;
		}
	}
	return (double)bucket_edge_ns(i) / 1000.0;
}

/* --- live rows --- */

struct totals {
	uint64_t counter[COUNTERS];
	uint64_t evictions;
	uint64_t expirations;
	uint64_t items;
};

static struct totals last_row;

static uint64_t
evictions(const struct shmcache_stats *stats)
{
	return stats->evictions + stats->index_evictions;
}

static uint64_t
expirations(const struct shmcache_stats *stats)
{
	return stats->expired_on_read + stats->expired_swept +
	       stats->evicted_expired;
}

void
report_header(const struct demo *demo)
{
	last_row = (struct totals){ .items = 0 };
	printf("%6s %11s %11s", "time", "requests/s", "queries/s");
	if (demo->cache) {
		printf(" %7s %9s %10s %10s", "hits", "items", "evicted/s",
		    "expired/s");
	}
	putchar('\n');
}

static int
take_totals(struct demo *demo, struct totals *now)
{
	struct shmcache_stats stats = { .items = 0 };
	int result = 0;

	*now = (struct totals){ .items = 0 };
	for (int i = 0; i < WORKERS; i++) {
		for (int c = 0; c < COUNTERS; c++) {
			now->counter[c] += demo->shared->slice[i].counter[c];
		}
	}
	if (demo->cache) {
		result = shmcache_stats(demo->cache, &stats, sizeof(stats));
	}
	now->evictions = evictions(&stats);
	now->expirations = expirations(&stats);
	now->items = stats.items;
	return result ? complain("shmcache_stats: %s", shmcache_last_error())
		      : 0;
}

int
report_row(struct demo *demo, int second)
{
	struct totals now;
	uint64_t hits;
	uint64_t misses;

	if (take_totals(demo, &now)) {
		return -1;
	}
	hits = now.counter[HITS] - last_row.counter[HITS];
	misses = now.counter[MISSES] - last_row.counter[MISSES];
	printf("%4d s %11" PRIu64 " %11" PRIu64, second, hits + misses, misses);
	if (demo->cache) {
		printf(" %6.2f%% %9" PRIu64 " %10" PRIu64 " %10" PRIu64,
		    hits + misses
			? 100.0 * (double)hits / (double)(hits + misses)
			: 0.0,
		    now.items, now.evictions - last_row.evictions,
		    now.expirations - last_row.expirations);
	}
	putchar('\n');
	last_row = now;
	return fflush(stdout) ? complain("cannot write the output") : 0;
}

/* --- the end --- */

static uint64_t
served(const struct phase_result *phase)
{
	return phase->counter[HITS] + phase->counter[MISSES];
}

static double
rate(const struct phase_result *phase)
{
	return (double)served(phase) / phase->seconds;
}

static double
hit_ratio(const struct phase_result *phase)
{
	return served(phase)
		   ? (double)phase->counter[HITS] / (double)served(phase)
		   : 0;
}

static void
report_latency(const char *what, const uint64_t *latency)
{
	printf("  %-36s %10.2f %10.2f %10.2f %11" PRIu64 "\n", what,
	    percentile_us(latency, 0.5), percentile_us(latency, 0.99),
	    percentile_us(latency, 0.999), samples(latency));
}

static void
report_latencies(
    const struct phase_result *plain, const struct phase_result *cached)
{
	printf("\n  %-36s %10s %10s %10s %11s\n", "latency in us", "p50", "p99",
	    "p99.9", "calls");
	report_latency("get from the cache", cached->latency[TIMER_GET]);
	report_latency("set after a miss", cached->latency[TIMER_SET]);
	report_latency("origin after a miss", cached->latency[TIMER_ORIGIN]);
	report_latency(
	    "whole request, with the cache", cached->latency[TIMER_REQUEST]);
	report_latency(
	    "whole request, without (origin)", plain->latency[TIMER_REQUEST]);
	report_latency("the check, which is in none of these",
	    cached->latency[TIMER_CHECK]);
}

static void
report_phases(
    const struct phase_result *plain, const struct phase_result *cached)
{
	printf("\n  %-36s %14s %14s\n", "", "without cache", "with cache");
	printf("  %-36s %14" PRIu64 " %14" PRIu64 "\n",
	    "values served, all checked", served(plain), served(cached));
	printf("  %-36s %14" PRIu64 " %14" PRIu64 "\n", "of them wrong",
	    plain->counter[WRONG], cached->counter[WRONG]);
	printf(
	    "  %-36s %14.0f %14.0f\n", "requests/s", rate(plain), rate(cached));
	printf("  %-36s %14s %14.3f\n", "hit ratio", "-", hit_ratio(cached));
}

void
report_summary(const struct demo *demo, const struct phase_result *plain,
    const struct phase_result *cached, const struct shmcache_stats *stats)
{
	double live_bytes = (double)stats->live_bytes;

	report_phases(plain, cached);
	report_latencies(plain, cached);
	printf("\n  cache: %" PRIu64 " sets, %" PRIu64 " evictions, %" PRIu64
	       " expirations; at the end %" PRIu64 " entries\n"
	       "  of %.0f bytes on average in %.1f of %.0f MiB\n",
	    stats->sets, evictions(stats), expirations(stats), stats->items,
	    stats->items ? live_bytes / (double)stats->items : 0.0,
	    live_bytes / MIB, (double)stats->capacity_bytes / MIB);
	printf("  origin: %" PRIu64 " rows changed meanwhile; %" PRIu64
	       " values served after a change had been\n"
	       "  read before it (cache-aside allows that until their time is "
	       "up)\n",
	    (uint64_t)demo->shared->changes, cached->counter[OUTDATED]);
}

void
report_result(
    const struct phase_result *plain, const struct phase_result *cached)
{
	printf("served=%" PRIu64 " wrong=%" PRIu64 " killed=%" PRIu32
	       " restarted=%" PRIu32 " hit_ratio=%.3f speedup=%.1f\n",
	    served(cached), cached->counter[WRONG] + plain->counter[WRONG],
	    cached->killed, cached->restarted, hit_ratio(cached),
	    rate(cached) / rate(plain));
}
