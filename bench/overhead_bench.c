/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * overhead_bench.c - how many bytes does an item cost besides key and value?
 *
 * Two figures for caches of items of one size, 16-byte keys:
 *   item   entry header and padding (measured: live bytes per item), plus the
 *          index and the start maps at the load that was asked for
 *   cache  all of the capacity, over the items that were in it when it was full
 */
#include <inttypes.h>
#include <shmcache.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CAPACITY_BYTES (64u << 20)
#define KEY_BYTES      16u

static void
die(const char *what, int error)
{
	fprintf(stderr, "overhead_bench: %s: %s\n", what,
	    error != 0 ? shmcache_last_error() : "failed");
	exit(1);
}

static uint64_t
fill_until_evicting(
    struct shmcache *cache, size_t value_bytes, struct shmcache_stats *stats)
{
	static char value[65536];
	uint64_t i = 0;

	do {
		for (unsigned n = 0; n < 1000; n++, i++) {
			char key[KEY_BYTES + 1];
			int error;

			(void)snprintf(key, sizeof(key), "%016" PRIu64, i);
			error = shmcache_set(
			    cache, key, KEY_BYTES, value, value_bytes, 0, 0);
			if (error != 0)
				die("set", error);
		}
		(void)shmcache_stats(cache, stats, sizeof(*stats));
	} while (stats->extents_evicted == 0);
	return i;
}

static void
measure(const char *name, size_t value_bytes)
{
	struct shmcache_options o = SHMCACHE_OPTIONS_INIT;
	size_t payload = KEY_BYTES + value_bytes;
	struct shmcache_stats stats;
	struct shmcache *cache;
	double entry, item, all;
	int error;

	o.capacity_bytes = CAPACITY_BYTES;
	o.expected_items = CAPACITY_BYTES / (payload + 42);
	o.open_mode = SHMCACHE_CREATE_EXCLUSIVE;
	error = shmcache_open(name, &o, &cache);
	if (error != 0)
		die("open", error);
	(void)fill_until_evicting(cache, value_bytes, &stats);
	entry = (double)stats.live_bytes / (double)stats.items;
	item = entry - (double)payload + 8 / 0.8 + entry / 16 / 48 * 8;
	all = (double)stats.capacity_bytes / (double)stats.items -
	      (double)payload;
	printf("%6zu %10" PRIu64 " %12.1f %12.1f %11.1f %% %10" PRIu64 "\n",
	    value_bytes, stats.items, item, all,
	    100.0 * (double)stats.items / (double)stats.index_slots,
	    stats.index_evictions);
	(void)shmcache_close(cache);
	(void)shmcache_remove(name);
}

int
main(void)
{
	const size_t values[] = { 8, 16, 50, 64, 100, 200, 1024, 4096 };
	char name[64];

	(void)snprintf(name, sizeof(name), "overhead-bench-%d", (int)getpid());
	printf("64 MiB, keys of %u bytes; bytes besides key and value\n",
	    KEY_BYTES);
	printf("%6s %10s %12s %12s %13s %10s\n", "value", "items", "per item",
	    "of capacity", "index load", "displaced");
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		measure(name, values[i]);
	return 0;
}
