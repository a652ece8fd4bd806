/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * report.h - what is known about one cache at one moment
 *
 * Collected first, shown after: every form of output shows the same report.
 */
#ifndef TOOLS_STAT_REPORT_H
#define TOOLS_STAT_REPORT_H

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
	struct report_pages pages;
	char advice[ADVICE_COUNT_MAX][ADVICE_BYTES_MAX];
	size_t advice_count;
};

/*
 * Fill in `report`, which is zero.  `name` must outlive it.  Returns 0 or an
 * error of the library; report_free() it in both cases.
 */
int report_collect(
    struct shmcache *cache, const char *name, struct report *report);

void report_free(struct report *report);

/*
 * Make the counters of `report` what was counted since `before`; its gauges
 * stay.  If the cache is not the same, though its name is, nothing was counted.
 */
void report_since(struct report *report, const struct report *before);

/* "2026-11-24T13:05:59Z", of TIME_BYTES_MAX bytes. */
void report_format_time(char *text, const struct report *report);

/* Fill in report->advice from the rest of it. */
void report_advise(struct report *report);

#endif /* TOOLS_STAT_REPORT_H */
