/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scan_test.c - scans see what is there throughout, whatever others do
 *
 * Some keys stay all the time, though replaced, touched and copied on by
 * evictions; others come and go.  Handles for writing and for reading only scan
 * meanwhile.  A handle for reading only cannot write even if it tries.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPACITY (4u << 20)
#define STAYING  500u
#define SCANS    (TEST_TSAN || TEST_ASAN ? 20u : 100u)

static struct shmcache *cache;

static size_t
staying_key(char *key, unsigned number)
{
	return (size_t)snprintf(key, 32, "stay:%u", number);
}

/* A value that tells its key and is as long as `round` says. */
static size_t
make_value(char *value, unsigned number, unsigned round)
{
	size_t bytes = (size_t)snprintf(value, 32, "%u.", number);

	memset(value + bytes, 'x', round % 200);
	return bytes + round % 200;
}

static void
set_staying(unsigned number, unsigned round)
{
	char key[32], value[256];
	size_t key_bytes = staying_key(key, number);

	CHECK_RESULT(shmcache_set(cache, key, key_bytes, value,
			 make_value(value, number, round), 0, number),
	    0);
}

/* Replaces what stays, and sets and deletes what doesn't, so often, and stands
   still then. */
static void
churn_rounds(unsigned rounds)
{
	struct prng random;

	prng_init(&random, run_seed(), (uint64_t)getpid());
	for (unsigned round = 0; round < rounds; round++) {
		char key[32], value[512] = { 0 };
		size_t key_bytes = (size_t)snprintf(key, sizeof(key), "go:%u",
		    (unsigned)prng_below(&random, 200));

		set_staying((unsigned)prng_below(&random, STAYING), round);
		if (prng_below(&random, 2) == 0) {
			CHECK_RESULT(shmcache_set(cache, key, key_bytes, value,
					 sizeof(value), 1000, 9999),
			    0);
		} else {
			int result = shmcache_delete(cache, key, key_bytes);

			CHECK(result == 0 || result == SHMCACHE_ENOENT);
		}
	}
	for (;;)
		(void)pause();
}

static void
churn(void *unused)
{
	(void)unused;
	churn_rounds(UINT_MAX);
}

/* Writes less than the cache has room for, so that nothing is evicted, however
   long others take meanwhile. */
static void
churn_a_little(void *unused)
{
	(void)unused;
	churn_rounds(CAPACITY / 2 / 1024);
}

struct seen {
	bool is[STAYING];
};

static int
note(void *context, const struct shmcache_entry *entry)
{
	struct seen *seen = context;
	char key[32], value[256];
	unsigned number = entry->client_flags;

	if (entry->key_bytes < 5 || memcmp(entry->key, "stay:", 5) != 0) {
		CHECK(entry->client_flags == 9999);
		CHECK(entry->value_bytes == 512);
		return 0;
	}
	CHECK(number < STAYING);
	CHECK(entry->key_bytes == staying_key(key, number));
	CHECK(memcmp(entry->key, key, entry->key_bytes) == 0);
	CHECK(
	    entry->value_bytes ==
	    make_value(value, number,
		(unsigned)(entry->value_bytes - make_value(value, number, 0))));
	CHECK(memcmp(entry->value, value, entry->value_bytes) == 0);
	seen->is[number] = true;
	return 0;
}

static void
note_present(bool *present)
{
	for (unsigned n = 0; n < STAYING; n++) {
		char key[32];
		size_t key_bytes = staying_key(key, n);

		present[n] = shmcache_exists(cache, key, key_bytes) == 1;
	}
}

/* One whole scan, in one call or in several. */
static void
scan_once(struct shmcache *scanned, uint64_t max_slots, struct seen *seen)
{
	struct shmcache_scan_options options = SHMCACHE_SCAN_OPTIONS_INIT;
	uint64_t cursor = 0;

	options.values = 1;
	options.max_slots = max_slots;
	do {
		int visits =
		    shmcache_scan(scanned, &cursor, &options, note, seen);

		CHECK_SAY(visits >= 0, "scan: %s", shmcache_strerror(visits));
	} while (cursor != 0);
}

/* Rewriting ever so often makes room by evicting, which may drop what stays: a
   scan during which that happened proves nothing. */
static void
scan_often(struct shmcache *scanned)
{
	unsigned conclusive = 0;

	for (unsigned i = 0; i < SCANS; i++) {
		struct seen seen = { { false } };
		bool present[STAYING];
		uint64_t evictions = cache_stats(cache).evictions;

		note_present(present);
		scan_once(scanned, i % 3 == 0 ? 1000 : 0, &seen);
		if (cache_stats(cache).evictions != evictions) {
			continue;
		}
		conclusive++;
		for (unsigned n = 0; n < STAYING; n++) {
			CHECK_SAY(seen.is[n] || !present[n],
			    "scan %u missed key %u", i, n);
		}
	}
	printf("  %u of %u scans saw no eviction\n", conclusive, SCANS);
	CHECK(conclusive > 0);
}

static void
scan_beside_writers(bool read_only)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct shmcache *scanned;
	pid_t writers[2];

	cache = cache_create_plain("scan", CAPACITY);
	for (unsigned n = 0; n < STAYING; n++) {
		set_staying(n, 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		writers[i] = child_start(churn, NULL);
	}
	options.open_mode = SHMCACHE_ATTACH;
	options.read_only = read_only;
	CHECK_RESULT(shmcache_open(test_name("scan"), &options, &scanned), 0);
	scan_often(scanned);
	CHECK_RESULT(shmcache_close(scanned), 0);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_SYS(kill(writers[i], SIGKILL));
		CHECK(child_wait(writers[i]) == 128 + SIGKILL);
	}
	cache_finish(cache);
}

static void
scans_see_what_stays(void)
{
	scan_beside_writers(false);
}

static void
scans_for_reading_only_see_what_stays(void)
{
	scan_beside_writers(true);
}

static sigjmp_buf faulted;

static void
on_fault(int number)
{
	siglongjmp(faulted, number);
}

/* The mapping of the cache: the only one of its file in this process. */
static char *
mapping_of(const char *path, char *protection)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	char *at = NULL;

	CHECK(maps != NULL);
	while (fgets(line, sizeof(line), maps) != NULL) {
		void *from, *to;
		char mode[5];

		if (strstr(line, path) != NULL &&
		    sscanf(line, "%p-%p %4s", &from, &to, mode) == 3) {
			at = from;
			memcpy(protection, mode, sizeof(mode));
		}
	}
	(void)fclose(maps);
	return at;
}

static void
write_to_a_reader(void *unused)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct sigaction action = { .sa_handler = on_fault };
	struct shmcache *reader;
	char protection[5] = "";
	char *volatile at;

	(void)unused;
	CHECK_RESULT(shmcache_close(cache), 0);
	options.read_only = 1;
	CHECK_RESULT(shmcache_open(test_name("scan"), &options, &reader), 0);
	cache_check_text(reader, "key", "value");
	at = mapping_of(test_path("scan"), protection);
	CHECK(at != NULL);
	CHECK_SAY(strcmp(protection, "r--s") == 0, "mapped %s", protection);
	CHECK_SYS(sigaction(SIGSEGV, &action, NULL));
	if (sigsetjmp(faulted, 1) == 0) {
		at[4096] = 1;
		CHECK(!"a handle for reading only could write");
	}
	cache_check_text(reader, "key", "value");
	CHECK_RESULT(shmcache_close(reader), 0);
}

static void
readers_cannot_write(void)
{
	cache = cache_create_plain("scan", CAPACITY);
	cache_set_text(cache, "key", "value");
	CHECK(child_wait(child_start(write_to_a_reader, NULL)) == 0);
	CHECK(cache_stats(cache).processes == 1);
	cache_finish(cache);
}

static void
delete_by_prefix_beside_writers(void)
{
	pid_t writer;
	uint64_t deleted = 0, items = 0;
	char key[32];

	cache = cache_create_plain("scan", CAPACITY);
	for (unsigned n = 0; n < 2000; n++) {
		size_t bytes = (size_t)snprintf(key, sizeof(key), "old:%u", n);

		CHECK_RESULT(shmcache_set(cache, key, bytes, "v", 1, 0, 0), 0);
	}
	writer = child_start(churn_a_little, NULL);
	CHECK_RESULT(shmcache_delete_prefix(cache, "old:", 4, &deleted), 0);
	CHECK_SYS(kill(writer, SIGKILL));
	CHECK(child_wait(writer) == 128 + SIGKILL);
	CHECK_SAY(deleted == 2000, "deleted %u", (unsigned)deleted);
	CHECK_RESULT(shmcache_count(cache, &items), 0);
	CHECK(items <= STAYING + 200);
	cache_finish(cache);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(scans_see_what_stays),
		CASE(scans_for_reading_only_see_what_stays),
		CASE(readers_cannot_write),
		CASE(delete_by_prefix_beside_writers),
	};
	static const struct test_suite suite = { .cases = cases,
		.case_count = TEST_COUNT_OF(cases) };

	return run_suite(argc, argv, &suite);
}
