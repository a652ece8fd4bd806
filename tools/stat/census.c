/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* census.c - all entries, counted by time to live, size and age */
#include "tools/stat/census.h"

#include <string.h>
#include <time.h>

#define SLOTS_PER_STEP 65536

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

/* A bucket holds what is below or equal to `most` and in none before it. */
struct bound {
	const char *label;
	int64_t most;
};

/* Times to live and ages; `none` is -1. */
#define TIME_BOUNDS(none)                                                      \
	{ none, -1 }, { "to 1 s", SECOND_MS }, { "to 10 s", 10 * SECOND_MS },  \
	    { "to 1 min", MINUTE_MS }, { "to 10 min", 10 * MINUTE_MS },        \
	    { "to 1 h", HOUR_MS }, { "to 6 h", 6 * HOUR_MS },                  \
	    { "to 1 d", DAY_MS }, { "to 7 d", 7 * DAY_MS },                    \
	    { "to 30 d", 30 * DAY_MS }, { "more", INT64_MAX },                 \
	{                                                                      \
		NULL, 0                                                        \
	}

static const struct bound ttl_bounds[] = { TIME_BOUNDS("no ttl") };
static const struct bound age_bounds[] = { TIME_BOUNDS("unknown") };
static const struct bound size_bounds[] = {
	{ "to 64 B", 64 },
	{ "to 128 B", 128 },
	{ "to 256 B", 256 },
	{ "to 512 B", 512 },
	{ "to 1 KiB", 1 << 10 },
	{ "to 2 KiB", 2 << 10 },
	{ "to 4 KiB", 4 << 10 },
	{ "to 16 KiB", 16 << 10 },
	{ "to 64 KiB", 64 << 10 },
	{ "to 256 KiB", 256 << 10 },
	{ "to 1 MiB", 1 << 20 },
	{ "more", INT64_MAX },
	{ NULL, 0 },
};

static const struct {
	const char *name;
	const struct bound *bounds;
} kinds[CENSUS_KINDS] = { { "ttl", ttl_bounds }, { "size", size_bounds },
	{ "age", age_bounds } };

const char *
census_name(enum census_kind kind)
{
	return kinds[kind].name;
}

const char *
census_label(enum census_kind kind, unsigned bucket)
{
	return kinds[kind].bounds[bucket].label;
}

static void
count(
    struct census *census, enum census_kind kind, int64_t value, uint64_t bytes)
{
	const struct bound *bounds = kinds[kind].bounds;
	unsigned bucket = 0;

	while (value > bounds[bucket].most) {
		bucket++;
	}
	census->buckets[kind][bucket].entries++;
	census->buckets[kind][bucket].bytes += bytes;
}

static int
visit(void *context, const struct shmcache_entry *entry)
{
	struct census *census = context;

	census->entries++;
	census->bytes += entry->entry_bytes;
	count(census, CENSUS_TTL, entry->ttl_ms, entry->entry_bytes);
	count(census, CENSUS_SIZE, (int64_t)entry->entry_bytes,
	    entry->entry_bytes);
	count(census, CENSUS_AGE, entry->age_ms, entry->entry_bytes);
	census->error = keys_add_big(&census->big, entry);
	return census->error != 0;
}

int
census_go_on(struct shmcache *cache, struct census *census, uint64_t max_slots)
{
	struct shmcache_scan_options options = SHMCACHE_SCAN_OPTIONS_INIT;
	int result;

	options.max_slots = max_slots;
	result = shmcache_scan(cache, &census->cursor, &options, visit, census);
	if (census->error || result < 0) {
		return census->error ? census->error : result;
	}
	census->is_complete = census->cursor == 0;
	return 0;
}

int
census_take(struct shmcache *cache, struct census *census, double seconds_max)
{
	struct timespec begun, now;
	int error;

	(void)clock_gettime(CLOCK_MONOTONIC, &begun);
	do {
		error = census_go_on(cache, census, SLOTS_PER_STEP);
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
	} while (!error && !census->is_complete &&
		 (double)(now.tv_sec - begun.tv_sec) +
			 (double)(now.tv_nsec - begun.tv_nsec) / 1e9 <
		     seconds_max);
	return error;
}

void
census_free(struct census *census)
{
	keys_free(&census->big);
	memset(census, 0, sizeof(*census));
}
