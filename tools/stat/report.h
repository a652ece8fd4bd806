/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * report.h - what is known about one cache at one moment
 *
 * Collected first, shown after: every form of output shows the same report.
 */
#ifndef TOOLS_STAT_REPORT_H
#define TOOLS_STAT_REPORT_H

#include "tools/stat/census.h"

#include <shmcache_admin.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define ADVICE_COUNT_MAX 16
#define ADVICE_BYTES_MAX 320
#define TIME_BYTES_MAX   32

/* How this process's mapping of the cache is backed. */
struct report_pages {
	int known;
	uint64_t resident_bytes; /* touched by this process */
	uint64_t huge_bytes;     /* of these, by huge pages */
};

struct report {
	const char *name;
	struct timespec wall; /* when it was collected, by both clocks */
	struct timespec monotonic;
	double seconds; /* counters are those of this time; 0: since creation */
	struct shmcache_stats stats;
	struct shmcache_process_info *processes;
	size_t process_count;
	struct shmcache_peer_info *peers;
	size_t peer_count;
	struct shmcache_extent_info *extents; /* a detail */
	size_t extent_count;
	struct shmcache_latency latency[SHMCACHE_LATENCY_KINDS];
	struct report_pages pages;
	struct census census; /* a detail */
	char advice[ADVICE_COUNT_MAX][ADVICE_BYTES_MAX];
	size_t advice_count;
};

/* Attach for reading only.  As tool_open(). */
int report_open(const char *name, struct shmcache **cache_out);

/*
 * Fill in `report`, which is zero.  `name` must outlive it.  Returns 0 or an
 * error of the library; report_free() it in both cases.
 */
int report_collect(
    struct shmcache *cache, const char *name, struct report *report);

/*
 * Add the details, which take longer: extents, and a census that takes no more
 * than `census_s` seconds.  Returns 0 or an error of the library.
 */
int report_collect_details(
    struct shmcache *cache, double census_s, struct report *report);

void report_free(struct report *report);

/*
 * Make the counters of `report` what was counted since `before`; its gauges
 * stay.  If the cache is not the same, though its name is, nothing was counted.
 */
void report_since(struct report *report, const struct report *before);

/* Is a janitor at work, as far as one can see? */
int report_is_swept(const struct report *report);

/* "free", "active" and so on, of struct shmcache_extent_info. */
const char *report_extent_state(uint32_t state);

/* "2026-11-24T13:05:59.123Z", of TIME_BYTES_MAX bytes. */
void report_format_time(char *text, const struct report *report);

/* Fill in report->advice from the rest of it. */
void report_advise(struct report *report);

#endif /* TOOLS_STAT_REPORT_H */
