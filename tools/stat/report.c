/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* report.c - what is known about one cache at one moment */
#include "tools/stat/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Processes may attach between two calls, so ask until all of them fit. */
static int
collect_processes(struct shmcache *cache, struct report *report)
{
	size_t capacity = 64;
	size_t count = 0;
	int error;

	for (;;) {
		report->processes =
		    calloc(capacity, sizeof(*report->processes));
		if (!report->processes) {
			return -ENOMEM;
		}
		error = shmcache_processes(
		    cache, report->processes, capacity, &count);
		if (error) {
			return error;
		}
		if (count <= capacity) {
			report->process_count = count;
			return 0;
		}
		free(report->processes);
		capacity = count;
	}
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
		collect_pages(report);
		report_advise(report);
	}
	return error;
}

void
report_free(struct report *report)
{
	free(report->processes);
	report->processes = NULL;
	report->process_count = 0;
}

void
report_since(struct report *report, const struct report *before)
{
	struct shmcache_stats *now = &report->stats;
	const struct shmcache_stats *then = &before->stats;

	report->seconds =
	    (double)(report->monotonic.tv_sec - before->monotonic.tv_sec) +
	    (double)(report->monotonic.tv_nsec - before->monotonic.tv_nsec) /
		1e9;
	if (now->segment_id != then->segment_id) {
		then = now;
	}
#define COUNTER(name, text) now->name -= then->name;
#include <shmcache_stats.def>
}

void
report_format_time(char *text, const struct report *report)
{
	struct tm utc = { 0 };

	(void)gmtime_r(&report->wall.tv_sec, &utc);
	(void)strftime(text, TIME_BYTES_MAX, "%Y-%m-%dT%H:%M:%SZ", &utc);
}
