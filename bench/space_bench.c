/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * space_bench.c - what do an item and a cache cost in bytes, and what creating
 * and attaching in time?
 *
 *   overhead  bytes of an item besides key and value: entry header and padding
 *             (measured: live bytes per item), plus its part of the index and
 *             of the start maps at the load that was asked for
 *   live      bytes of entries that can be read, of the room for entries, after
 *             six times the capacity was written: only new keys; 93 gets, 6
 *             sets and 1 delete over Zipf keys with values of 16 to 4,096
 *             bytes; sets over Zipf keys half of which would fit
 *   create    a cache of 1 GiB, beside taking and zeroing as much from the same
 *             file system; attach to it
 */
#include "bench/cleanup.h"
#include "bench/report.h"

#include <fcntl.h>
#include <math.h>
#include <shmcache.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CAPACITY_BYTES  (64u << 20)
#define LARGE_BYTES     (1ull << 30)
#define ROUNDS_OF_BYTES 6u

static char name[64];

static struct shmcache *
create(uint64_t capacity, uint64_t items)
{
	struct shmcache_options o = SHMCACHE_OPTIONS_INIT;
	struct shmcache *cache;
	char path[128];

	(void)snprintf(name, sizeof(name), "bench-%d-space", (int)getpid());
	(void)snprintf(path, sizeof(path), "/dev/shm/shmcache.%s", name);
	cleanup_path(path);
	o.capacity_bytes = capacity;
	o.expected_items = items;
	o.open_mode = SHMCACHE_CREATE_EXCLUSIVE;
	if (shmcache_open(name, &o, &cache) != 0) {
		fprintf(stderr, "space_bench: %s\n", shmcache_last_error());
		exit(1);
	}
	return cache;
}

static void
destroy(struct shmcache *cache)
{
	(void)shmcache_close(cache);
	(void)shmcache_remove(name);
}

static struct shmcache_stats
stats_of(struct shmcache *cache)
{
	struct shmcache_stats stats;

	(void)shmcache_stats(cache, &stats, sizeof(stats));
	return stats;
}

static uint64_t
set(struct shmcache *cache, const struct op *op, size_t value_bytes)
{
	static char value[65536];

	if (shmcache_set(cache, op->key, KEY_BYTES, value, value_bytes, 0, 0) !=
	    0) {
		fprintf(stderr, "space_bench: %s\n", shmcache_last_error());
		exit(1);
	}
	return value_bytes + KEY_BYTES;
}

static void
tell(struct report *report, const char *what, const char *how, const char *unit,
    size_t value_bytes, uint64_t items, double figure)
{
	struct line line = { .what = what,
		.engine = "shmcache",
		.order = how,
		.items = items,
		.value_bytes = value_bytes,
		.processes = 1,
		.unit = unit };

	sample_add(&line.figure, figure);
	report_line(report, &line);
}

static void
overhead(struct report *report, size_t value_bytes)
{
	size_t payload = KEY_BYTES + value_bytes;
	struct shmcache *cache =
	    create(CAPACITY_BYTES, CAPACITY_BYTES / (payload + 42));
	struct shmcache_stats stats;
	struct op op;
	double entry;

	op_make(&op, 0);
	do {
		for (unsigned n = 0; n < 1000; n++) {
			(void)set(cache, &op, value_bytes);
			op_make(&op, op.item + 1);
		}
		stats = stats_of(cache);
	} while (stats.extents_evicted == 0);
	entry = (double)stats.live_bytes / (double)stats.items;
	tell(report, "overhead", "item", "B", value_bytes, stats.items,
	    entry - (double)payload + 8 / 0.8 + entry / 16 / 48 * 8);
	destroy(cache);
}

static void
tell_live(struct report *report, const char *how, struct shmcache *cache)
{
	struct shmcache_stats stats = stats_of(cache);

	tell(report, "live", how, "%", 0, stats.items,
	    100.0 * (double)stats.live_bytes / (double)stats.arena_bytes);
	destroy(cache);
}

static void
live_new_keys(struct report *report)
{
	struct shmcache *cache = create(CAPACITY_BYTES, CAPACITY_BYTES / 122);
	uint64_t written = 0;
	struct op op;

	op_make(&op, 0);
	while (written < (uint64_t)CAPACITY_BYTES * ROUNDS_OF_BYTES) {
		written += set(cache, &op, 64);
		op_make(&op, op.item + 1);
	}
	tell_live(report, "new keys", cache);
}

/* The size that an item always has: 16 to 4,096, as many small as large. */
static size_t
size_of(const struct op *op)
{
	double share = (double)(op->item * 2654435761u) / 4294967296.0;

	return (size_t)(16 * pow(256, share));
}

static void
live_mixed(struct report *report)
{
	struct shmcache *cache = create(CAPACITY_BYTES, CAPACITY_BYTES / 800);
	struct stream s =
	    stream_make(ZIPF, 0, CAPACITY_BYTES / 200, 4000000, 1);
	static char value[4096];
	uint64_t written = 0;

	for (uint64_t i = 0;
	     written < (uint64_t)CAPACITY_BYTES * ROUNDS_OF_BYTES; i++) {
		const struct op *op = &s.ops[i % s.count];
		uint64_t die = i * 2654435761u % 100;

		if (die == 0)
			(void)shmcache_delete(cache, op->key, KEY_BYTES);
		else if (die <= 6 || shmcache_get(cache, op->key, KEY_BYTES,
					 value, sizeof(value), NULL, NULL) != 0)
			written += set(cache, op, size_of(op));
	}
	tell_live(report, "mixed", cache);
	stream_free(&s);
}

static void
live_overwrites(struct report *report)
{
	struct shmcache *cache = create(CAPACITY_BYTES, CAPACITY_BYTES / 122);
	struct stream s = stream_make(ZIPF, 0, CAPACITY_BYTES / 56, 4000000, 1);
	uint64_t written = 0;

	for (uint64_t i = 0;
	     written < (uint64_t)CAPACITY_BYTES * ROUNDS_OF_BYTES; i++)
		written += set(cache, &s.ops[i % s.count], 64);
	tell_live(report, "overwrites", cache);
	stream_free(&s);
}

/* What the kernel needs to hand out zeroed memory of the same file system. */
static double
zeroing_ms(void)
{
	double begin = clock_wall();
	int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 || posix_fallocate(fd, 0, (off_t)LARGE_BYTES) != 0)
		return NAN;
	begin = (clock_wall() - begin) * 1e3;
	(void)close(fd);
	return begin;
}

static void
creation(struct report *report, unsigned rounds)
{
	struct line made = { .what = "create 1 GiB",
		.engine = "shmcache",
		.order = "-",
		.processes = 1,
		.unit = "ms" };
	struct line zeroed = made, attached = made;

	zeroed.engine = "fallocate";
	attached.what = "attach 1 GiB";
	for (unsigned i = 0; i < rounds; i++) {
		double zero_ms = zeroing_ms(), begin = clock_wall(), ms;
		struct shmcache *cache = create(LARGE_BYTES, 0), *again;

		ms = (clock_wall() - begin) * 1e3;
		sample_add(&zeroed.figure, zero_ms);
		sample_add(&made.figure, ms);
		sample_add(&made.to_floor, ms / zero_ms);
		begin = clock_wall();
		if (shmcache_open(name, NULL, &again) != 0)
			exit(1);
		sample_add(&attached.figure, (clock_wall() - begin) * 1e3);
		(void)shmcache_close(again);
		destroy(cache);
	}
	report_line(report, &zeroed);
	report_line(report, &made);
	report_line(report, &attached);
}

int
main(int argc, char **argv)
{
	const size_t values[] = { 8, 16, 50, 64, 100, 200, 1024, 4096 };
	struct settings settings = settings_read(argc, argv);
	struct report *report = report_begin("space",
	    "What do items and caches cost in bytes, and creating them in "
	    "time?",
	    &settings);

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		overhead(report, values[i]);
	live_new_keys(report);
	live_mixed(report);
	live_overwrites(report);
	creation(report, settings.rounds);
	report_end(report);
	return 0;
}
