/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reattach_threads_test.c - a cache is removed and made anew, again and again,
 * while threads of several processes use it through handles opened once
 *
 * Nobody crashes or sees bytes of another cache; between two caches gets miss
 * and sets say that it was removed; and everybody comes to the new one.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/run.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CAPACITY  (2u << 20)
#define PROCESSES 2u
#define THREADS   3u
#define WORKERS   (PROCESSES * THREADS)
#define CACHES    (TEST_TSAN || TEST_ASAN ? 15u : 60u)

/* Shared by all processes of the case. */
struct board {
	_Atomic unsigned seen[WORKERS]; /* the cache that a worker has seen */
	_Atomic bool stop;
};

static struct board *board;
static struct shmcache *cache;

static void
check_item(const struct shmcache_item *item, unsigned number)
{
	unsigned now = 0;

	CHECK(item->value_bytes == sizeof(now));
	memcpy(&now, item->value, sizeof(now));
	CHECK_SAY(now == number, "an item changed from %u to %u", number, now);
}

/* The number of the cache that the handle is attached to; 0: none. */
static unsigned
number_of_cache(void)
{
	unsigned number = 0;
	size_t bytes;
	int result = shmcache_get(
	    cache, "number", 6, &number, sizeof(number), &bytes, NULL);

	CHECK_SAY(result == 0 || result == SHMCACHE_ENOENT, "get: %s",
	    shmcache_strerror(result));
	return number;
}

static int
count_one(void *context, const struct shmcache_entry *entry)
{
	(void)context;
	CHECK(entry->key_bytes > 0);
	return 0;
}

/* All kinds of calls, and an item that is held while caches come and go. */
static void
use_cache(unsigned worker)
{
	struct shmcache_item item;
	char key[32];
	size_t key_bytes = (size_t)snprintf(key, sizeof(key), "w%u", worker);
	uint64_t cursor = 0;
	unsigned number = 0;
	int result = shmcache_get_pinned(cache, "number", 6, &item);
	bool held = result == 0;

	CHECK(held || result == SHMCACHE_ENOENT);
	if (held) {
		memcpy(&number, item.value, sizeof(number));
	}
	for (unsigned i = 0; i < 20; i++) {
		result =
		    shmcache_set(cache, key, key_bytes, &i, sizeof(i), 0, 0);
		CHECK_SAY(result == 0 || result == SHMCACHE_EREMOVED, "set: %s",
		    shmcache_strerror(result));
		result =
		    shmcache_incr(cache, "n", 1, 1, &(int64_t){ 0 }, 0, NULL);
		CHECK(result == 0 || result == SHMCACHE_EREMOVED);
	}
	result = shmcache_scan(cache, &cursor, NULL, count_one, NULL);
	CHECK_SAY(result >= 0 || result == SHMCACHE_EREMOVED ||
		      result == SHMCACHE_ESTALE,
	    "scan: %s", shmcache_strerror(result));
	if (held) {
		check_item(&item, number);
		CHECK_RESULT(shmcache_unpin(cache, &item), 0);
	}
}

static void *
work(void *argument)
{
	unsigned worker = *(unsigned *)argument;

	while (!atomic_load(&board->stop)) {
		use_cache(worker);
		atomic_store(&board->seen[worker], number_of_cache());
	}
	return NULL;
}

static void
run_threads(unsigned process)
{
	pthread_t threads[THREADS];
	unsigned workers[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = process * THREADS + i;
		CHECK(
		    pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		CHECK(pthread_join(threads[i], NULL) == 0);
	}
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
run_process(void *argument)
{
	run_threads(*(unsigned *)argument);
}

static void
create_numbered(unsigned number)
{
	struct shmcache *own = cache_create_plain("reattach", CAPACITY);

	CHECK_RESULT(shmcache_set(own, "number", 6, &number, sizeof(number),
			 SHMCACHE_TTL_NONE, 0),
	    0);
	CHECK_RESULT(shmcache_close(own), 0);
}

static void
await_all(unsigned number)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		while (atomic_load(&board->seen[i]) != number) {
			(void)sched_yield();
		}
	}
}

static void
caches_come_and_go(void)
{
	pid_t pids[PROCESSES];
	unsigned processes[PROCESSES];

	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(board != MAP_FAILED);
	create_numbered(1);
	cache = cache_attach("reattach");
	for (unsigned i = 0; i < PROCESSES; i++) {
		processes[i] = i;
		pids[i] = child_start(run_process, &processes[i]);
	}
	for (unsigned number = 1; number <= CACHES; number++) {
		await_all(number);
		cache_remove("reattach");
		create_numbered(number + 1);
	}
	await_all(CACHES + 1);
	CHECK(number_of_cache() == CACHES + 1);
	atomic_store(&board->stop, true);
	for (unsigned i = 0; i < PROCESSES; i++) {
		CHECK(child_wait(pids[i]) == 0);
	}
	cache_finish(cache);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(caches_come_and_go),
	};
	static const struct test_suite suite = { .cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.limit_seconds = 120 };

	return run_suite(argc, argv, &suite);
}
