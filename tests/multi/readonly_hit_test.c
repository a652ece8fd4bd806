/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * readonly_hit_test.c - a hit writes to its own peer slot and nowhere else
 *
 * Which pages of the segment a hit changes is found by comparing the segment
 * before and after some hits with an item held, once the reference marks of the
 * entries are as high as they go.  These pages, a few, must not hold entries.
 * Then all others are made read-only, and a million hits must not fault.
 */
#include "tests/support/cache.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"
#include "tests/support/value.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CAPACITY      (16 << 20)
#define KEYS          4000
#define WARM_ROUNDS   64
#define HITS          (TEST_TSAN || TEST_ASAN ? 200000 : 1000000)
#define WRITTEN_PAGES 3 /* the peer's claim and pins, its counters */

static struct shmcache *cache;
static unsigned char *base; /* where the library has mapped the segment */
static size_t bytes, page;

/* The library's mapping: the one of the segment's file, by its inode. */
static void
find_mapping(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long low, high, inode;
	struct stat status;
	char line[8192];
	unsigned found = 0;

	CHECK(maps != NULL);
	CHECK_SYS(stat(test_path("hits"), &status));
	while (fgets(line, sizeof(line), maps) != NULL) {
		if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &low, &high,
			&inode) == 3 &&
		    inode == status.st_ino) {
			memcpy(&base, &low, sizeof(base));
			bytes = high - low;
			found++;
		}
	}
	CHECK(fclose(maps) == 0);
	CHECK_SAY(found == 1, "%u mappings of the segment", found);
	CHECK(bytes == (size_t)status.st_size);
}

static void
fill(void)
{
	unsigned char key[KEY_ROOM], value[1024];

	for (uint64_t i = 0; i < KEYS; i++) {
		struct value_id id = { .key = i, .bytes = 64 + i % 900 };
		uint32_t flags = value_make(value, &id);

		/* every fourth has a time to live */
		CHECK_RESULT(shmcache_set(cache, key, key_make(key, i), value,
				 id.bytes, i % 4 ? 0 : 3600000, flags),
		    0);
	}
	CHECK(cache_stats(cache).items == KEYS);
}

static void
hit(uint64_t number)
{
	unsigned char key[KEY_ROOM], value[1024];
	size_t key_bytes = key_make(key, number), value_bytes;
	struct shmcache_item item;
	struct value_id id;
	uint32_t flags;

	CHECK_RESULT(shmcache_get(cache, key, key_bytes, value, sizeof(value),
			 &value_bytes, &flags),
	    0);
	CHECK(value_check(value, value_bytes, flags, number, &id) == NULL);
	CHECK_RESULT(shmcache_get_pinned(cache, key, key_bytes, &item), 0);
	CHECK(item.value_bytes == value_bytes);
	CHECK_RESULT(shmcache_unpin(cache, &item), 0);
}

static void
hit_all(unsigned rounds)
{
	for (unsigned round = 0; round < rounds; round++) {
		for (uint64_t i = 0; i < KEYS; i++) {
			hit(i);
		}
	}
}

/* Mark the pages that hits change in `written`; returns how many. */
static unsigned
find_written_pages(unsigned char *before, bool *written)
{
	unsigned char key[KEY_ROOM];
	struct shmcache_item items[4];
	unsigned count = 0;

	memcpy(before, base, bytes);
	hit_all(2);
	for (unsigned i = 0; i < 4; i++) {
		CHECK_RESULT(shmcache_get_pinned(
				 cache, key, key_make(key, i), &items[i]),
		    0);
	}
	for (size_t at = 0; at < bytes; at += page) {
		if (memcmp(before + at, base + at, page) != 0) {
			written[at / page] = true;
			count++;
		}
	}
	for (unsigned i = 0; i < 4; i++) {
		size_t at =
		    (size_t)((const unsigned char *)items[i].value - base);

		CHECK(at < bytes); /* in place, not a copy */
		CHECK_SAY(!written[at / page],
		    "a hit wrote to the page of an entry, %zu", at / page);
		CHECK_RESULT(shmcache_unpin(cache, &items[i]), 0);
	}
	return count;
}

static void
hits_write_to_their_own_slot_only(void)
{
	unsigned char *before;
	struct prng prng;
	bool *written;
	unsigned count;

	cache = cache_create_plain("hits", CAPACITY);
	page = (size_t)sysconf(_SC_PAGESIZE);
	find_mapping();
	fill();
	hit_all(WARM_ROUNDS);
	before = malloc(bytes);
	written = calloc(bytes / page, sizeof(*written));
	CHECK(before != NULL && written != NULL);
	count = find_written_pages(before, written);
	printf("  %u of %zu pages are written by hits\n", count, bytes / page);
	CHECK(count >= 1 && count <= WRITTEN_PAGES);
	for (size_t at = 0; at < bytes; at += page) {
		if (!written[at / page]) {
			CHECK_SYS(mprotect(base + at, page, PROT_READ));
		}
	}
	prng_init(&prng, run_seed(), 1);
	for (unsigned i = 0; i < HITS; i++) { /* a write is SIGSEGV */
		hit(prng_below(&prng, KEYS));
	}
	CHECK_SYS(mprotect(base, bytes, PROT_READ | PROT_WRITE));
	cache_check_sound(cache);
	CHECK(cache_stats(cache).get_misses == 0);
	CHECK_RESULT(shmcache_close(cache), 0);
	free(before);
	free(written);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(hits_write_to_their_own_slot_only),
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
	};

	return run_suite(argc, argv, &suite);
}
