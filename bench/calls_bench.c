/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * calls_bench.c - what does a call cost?
 *
 * One process, 16-byte keys, 64-byte values; for several footprints the median
 * of five runs of each call, in nanoseconds of this thread's processor time,
 * beside a floor that touches the same bytes: hash the key, read a line of a
 * table as large as the index, read, compare and copy an entry of a table as
 * large as the entries, in the same order of keys.
 */
#define XXH_INLINE_ALL /* for xxhash.h */
#include <inttypes.h>
#include <shmcache.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define RUNS        5
#define KEY_BYTES   16u
#define VALUE_BYTES 64u

struct bench {
	struct shmcache *cache;
	uint64_t items;
	uint64_t operations;
	uint8_t *lines;   /* the floor's index: a line for 6 items */
	uint8_t *entries; /* the floor's entries: 128 bytes each */
	uint64_t state;
	uint64_t sum; /* keeps the compiler from dropping reads */
};

static double
cpu_seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t
next_item(struct bench *b)
{
	b->state ^= b->state << 13;
	b->state ^= b->state >> 7;
	b->state ^= b->state << 17;
	return b->state % b->items;
}

static void
make_key(uint64_t item, uint64_t key[2])
{
	key[0] = item;
	key[1] = item * 0x9e3779b97f4a7c15ull;
}

static void
one_floor(struct bench *b)
{
	uint64_t key[2], item = next_item(b);
	uint8_t value[VALUE_BYTES];
	const uint8_t *entry = b->entries + item * 128;

	make_key(item, key);
	b->sum += XXH3_64bits(key, KEY_BYTES);
	b->sum += b->lines[item / 6 * 64];
	if (memcmp(entry + 24, key, KEY_BYTES) == 0)
		memcpy(value, entry + 40, VALUE_BYTES);
	__asm__ volatile("" : : "r"(value) : "memory");
}

static void
one_get(struct bench *b)
{
	uint64_t key[2];
	uint8_t value[VALUE_BYTES];
	size_t bytes;

	make_key(next_item(b), key);
	b->sum += shmcache_get(b->cache, key, KEY_BYTES, value, sizeof(value),
		      &bytes, NULL) == 0;
}

static void
one_miss(struct bench *b)
{
	uint64_t key[2];

	make_key(next_item(b) + b->items, key);
	b->sum +=
	    shmcache_get(b->cache, key, KEY_BYTES, NULL, 0, NULL, NULL) == 0;
}

static void
one_set(struct bench *b)
{
	static const uint8_t value[VALUE_BYTES];
	uint64_t key[2];

	make_key(next_item(b), key);
	b->sum += shmcache_set(b->cache, key, KEY_BYTES, value, sizeof(value),
		      0, 0) == 0;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
median_ns(struct bench *b, void (*one)(struct bench *))
{
	double ns[RUNS];

	for (unsigned run = 0; run < RUNS; run++) {
		double begin = cpu_seconds();

		for (uint64_t i = 0; i < b->operations; i++)
			one(b);
		ns[run] = (cpu_seconds() - begin) * 1e9 / (double)b->operations;
	}
	qsort(ns, RUNS, sizeof(ns[0]), by_value);
	return ns[RUNS / 2];
}

static void
fill(struct bench *b)
{
	static const uint8_t value[VALUE_BYTES];

	for (uint64_t item = 0; item < b->items; item++) {
		uint64_t key[2];

		make_key(item, key);
		memcpy(b->entries + item * 128 + 24, key, KEY_BYTES);
		if (shmcache_set(b->cache, key, KEY_BYTES, value, sizeof(value),
			0, 0) != 0) {
			fprintf(stderr, "calls_bench: set: %s\n",
			    shmcache_last_error());
			exit(1);
		}
	}
}

/* Shared, so that it has pages of the same size as the cache. */
static void *
shared_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		perror("calls_bench: mmap");
		exit(1);
	}
	return memory;
}

static void
measure(const char *name, uint64_t items)
{
	struct shmcache_options o = SHMCACHE_OPTIONS_INIT;
	struct bench b = { .items = items,
		.operations = 2000000,
		.state = 88172645463325252ull };
	double floor_ns, get_ns, miss_ns, set_ns;

	o.capacity_bytes = (8u << 20) + items * 300;
	o.expected_items = items;
	o.open_mode = SHMCACHE_CREATE_EXCLUSIVE;
	b.lines = shared_memory(items / 6 * 64 + 64);
	b.entries = shared_memory(items * 128);
	if (shmcache_open(name, &o, &b.cache) != 0) {
		fprintf(stderr, "calls_bench: %s\n", shmcache_last_error());
		exit(1);
	}
	fill(&b);
	floor_ns = median_ns(&b, one_floor);
	get_ns = median_ns(&b, one_get);
	miss_ns = median_ns(&b, one_miss);
	set_ns = median_ns(&b, one_set);
	printf("%9" PRIu64 " %8.1f %8.1f %6.2fx %8.1f %8.1f\n", items, floor_ns,
	    get_ns, get_ns / floor_ns, miss_ns, set_ns);
	(void)shmcache_close(b.cache);
	(void)shmcache_remove(name);
	(void)munmap(b.lines, items / 6 * 64 + 64);
	(void)munmap(b.entries, items * 128);
}

int
main(void)
{
	const uint64_t items[] = { 1000, 10000, 100000, 1000000 };
	struct utsname u;
	char name[64];

	(void)uname(&u);
	(void)snprintf(name, sizeof(name), "calls-bench-%d", (int)getpid());
	printf("%s %s, %ld processors; shmcache %s, compiler %s\n", u.sysname,
	    u.machine, sysconf(_SC_NPROCESSORS_ONLN), shmcache_version(),
	    __VERSION__);
	printf("uniform, %u-byte keys, %u-byte values, one process, median of "
	       "%d runs, ns\n",
	    KEY_BYTES, VALUE_BYTES, RUNS);
	printf("%9s %8s %8s %7s %8s %8s\n", "items", "floor", "get", "ratio",
	    "miss", "set");
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
		measure(name, items[i]);
	return 0;
}
