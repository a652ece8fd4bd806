/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* report.c - what is known about one cache at one moment */
#include "tools/stat/report.h"

#include "tools/common.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
report_open(const char *name, struct shmcache **cache_out)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;

	tool_attach_options(&options);
	options.read_only = 1;
	*cache_out = NULL;
	return shmcache_open(name, &options, cache_out);
}

/*
 * Lists that may grow between two calls: ask until all of it fits.  Defines
 * collect_processes() and so on, which return 0 or an error.
 */
#define DEFINE_COLLECT(items, item_count)                                      \
	static int collect_##items(                                            \
	    struct shmcache *cache, struct report *report)                     \
	{                                                                      \
		size_t capacity = 64;                                          \
		size_t count = 0;                                              \
		int error;                                                     \
                                                                               \
		for (;;) {                                                     \
			report->items =                                        \
			    calloc(capacity, sizeof(*report->items));          \
			if (!report->items) {                                  \
				return -ENOMEM;                                \
			}                                                      \
			error = shmcache_##items(                              \
			    cache, report->items, capacity, &count);           \
			if (error || count <= capacity) {                      \
				report->item_count = error ? 0 : count;        \
				return error;                                  \
			}                                                      \
			free(report->items);                                   \
			capacity = count;                                      \
		}                                                              \
	}

DEFINE_COLLECT(processes, process_count)
DEFINE_COLLECT(peers, peer_count)
DEFINE_COLLECT(extents, extent_count)

static int
collect_latency(struct shmcache *cache, struct report *report)
{
	int error = 0;
	int kind;

	for (kind = 0; !error && kind < SHMCACHE_LATENCY_KINDS; kind++) {
		error = shmcache_latency(cache,
		    (enum shmcache_latency_kind)kind, &report->latency[kind]);
	}
	return error;
}

/* --- pages --------------------------------------------------------------- */

/* "Rss:   12 kB" -> bytes */
static int
read_kib(const char *line, const char *key, uint64_t *bytes_out)
{
	size_t key_bytes = strlen(key);
	char *end;

	if (strncmp(line, key, key_bytes)) {
		return 0;
	}
	*bytes_out = strtoull(line + key_bytes, &end, 10) * 1024;
	return end != line + key_bytes;
}

/*
 * Add up the mappings of the file `path` in smaps, which counts the pages of a
 * hugetlbfs apart from Rss.
 */
static void
read_smaps(FILE *smaps, const char *path, struct report_pages *pages)
{
	uint64_t bytes;
	int inside = 0;
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, smaps) > 0) {
		if (strchr("0123456789abcdef", line[0])) {
			line[strcspn(line, "\n")] = '\0';
			inside =
			    strlen(line) > strlen(path) &&
			    !strcmp(line + strlen(line) - strlen(path), path);
			pages->known |= inside;
		} else if (!inside) {
			continue;
		} else if (read_kib(line, "Rss:", &bytes)) {
			pages->resident_bytes += bytes;
		} else if (read_kib(line, "ShmemPmdMapped:", &bytes)) {
			pages->huge_bytes += bytes;
		} else if (read_kib(line, "Shared_Hugetlb:", &bytes) ||
			   read_kib(line, "Private_Hugetlb:", &bytes)) {
			pages->resident_bytes += bytes;
			pages->huge_bytes += bytes;
		}
	}
	free(line);
}

static void
collect_pages(struct report *report)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	char *path = NULL;

	if (smaps && asprintf(&path, "%s%s",
			 report->name[0] == '/' ? "" : "/dev/shm/shmcache.",
			 report->name) > 0) {
		read_smaps(smaps, path, &report->pages);
		free(path);
	}
	if (smaps) {
		(void)fclose(smaps);
	}
}

/* --- all of it ------------------------------------------------------------ */

int
report_collect(struct shmcache *cache, const char *name, struct report *report)
{
	int error;

	report->name = name;
	(void)clock_gettime(CLOCK_REALTIME, &report->wall);
	(void)clock_gettime(CLOCK_MONOTONIC, &report->monotonic);
	error = shmcache_stats(cache, &report->stats, sizeof(report->stats));
	if (!error) {
		error = collect_processes(cache, report);
	}
	if (!error) {
		error = collect_peers(cache, report);
	}
	if (!error) {
		error = collect_latency(cache, report);
	}
	if (!error) {
		collect_pages(report);
		report_advise(report);
	}
	return error;
}

int
report_collect_details(
    struct shmcache *cache, double census_s, struct report *report)
{
	int error = collect_extents(cache, report);

	if (!error && census_s > 0) {
		error = census_take(cache, &report->census, census_s);
	}
	return error;
}

void
report_free(struct report *report)
{
	free(report->processes);
	free(report->peers);
	free(report->extents);
	census_free(&report->census);
	memset(report, 0, sizeof(*report));
}

static void
latency_since(struct shmcache_latency *now, const struct shmcache_latency *then)
{
	unsigned i;

	now->samples -= then->samples;
	for (i = 0; i < SHMCACHE_LATENCY_BUCKETS; i++) {
		now->count[i] -= then->count[i];
	}
}

void
report_since(struct report *report, const struct report *before)
{
	struct shmcache_stats *now = &report->stats;
	const struct shmcache_stats *then = &before->stats;
	int kind;

	report->seconds =
	    (double)(report->monotonic.tv_sec - before->monotonic.tv_sec) +
	    (double)(report->monotonic.tv_nsec - before->monotonic.tv_nsec) /
		1e9;
	if (now->segment_id != then->segment_id) {
		before = report;
		then = now;
	}
#define COUNTER(name, text) now->name -= then->name;
#include <shmcache_stats.def>
	for (kind = 0; kind < SHMCACHE_LATENCY_KINDS; kind++) {
		latency_since(&report->latency[kind], &before->latency[kind]);
	}
}

const char *
report_extent_state(uint32_t state)
{
	static const char *const names[] = { "free", "active", "sealed",
		"evicting", "limbo" };

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

void
report_format_time(char *text, const struct report *report)
{
	struct tm utc = { 0 };
	size_t used;

	(void)gmtime_r(&report->wall.tv_sec, &utc);
	used = strftime(text, TIME_BYTES_MAX, "%Y-%m-%dT%H:%M:%S", &utc);
	(void)snprintf(text + used, TIME_BYTES_MAX - used, ".%03ldZ",
	    report->wall.tv_nsec / 1000000);
}
