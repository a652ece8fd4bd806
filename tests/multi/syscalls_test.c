/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * syscalls_test.c - gets make no system call, sets next to none
 *
 * A worker's hits and misses run where every system call kills (a seccomp
 * filter).  Those of sets are counted by ptrace, printed per million sets, and
 * held to a small bound.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/run.h"
#include "tests/support/sandbox.h"
#include "tests/support/value.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define CAPACITY (16 << 20)
#define LOOPS    1000000
#define SETS     200000

/* Of an evicting set: one in this many may make a system call. */
#define SETS_PER_CALL 100

static struct shmcache *cache;

static void
skip_if_sanitized(void)
{
	if (TEST_TSAN || TEST_ASAN) {
		skip("the sanitizer makes system calls of its own");
	}
}

static void
begin(void)
{
	cache = cache_create_plain("calls", CAPACITY);
}

static void
end(void)
{
	cache_finish(cache);
}

/* No printing in here: a failure is the exit code. */
static int
one_round(uint64_t number, int64_t *ttl)
{
	unsigned char key[KEY_ROOM], value[1024];
	size_t key_bytes = key_make(key, number % 1000), bytes;
	struct shmcache_item item;
	uint32_t flags;

	if (shmcache_get(cache, key, key_bytes, value, sizeof(value), &bytes,
		&flags) != 0) {
		return 2;
	}
	if (shmcache_get_pinned(cache, key, key_bytes, &item) != 0 ||
	    shmcache_unpin(cache, &item) != 0) {
		return 3;
	}
	if (shmcache_exists(cache, key, key_bytes) != 1 ||
	    shmcache_ttl(cache, key, key_bytes, ttl) != 0) {
		return 4;
	}
	key_bytes = key_make(key, 1000000 + number);
	if (shmcache_get(cache, key, key_bytes, value, sizeof(value), &bytes,
		&flags) != SHMCACHE_ENOENT) {
		return 5;
	}
	return 0;
}

static void
gets_where_calls_kill(void *unused)
{
	int64_t ttl;

	(void)unused;
	CHECK(one_round(0, &ttl) == 0); /* attaches this thread */
	sandbox_no_calls();
	for (uint64_t i = 0; i < LOOPS; i++) {
		int code = one_round(i, &ttl);

		if (code != 0) {
			sandbox_exit(code);
		}
	}
	sandbox_exit(0);
}

static void
gets_make_no_system_call(void)
{
	unsigned char key[KEY_ROOM], value[1024] = { 0 };
	int code;

	skip_if_sanitized();
	begin();
	for (uint64_t i = 0; i < 1000; i++) {
		/* every second has a time to live, so the clock is read */
		CHECK_RESULT(shmcache_set(cache, key, key_make(key, i), value,
				 1 + i % sizeof(value), i % 2 ? 3600000 : 0, 0),
		    0);
	}
	code = child_wait(child_start(gets_where_calls_kill, NULL));
	CHECK_SAY(code != 128 + SIGKILL && code != 128 + SIGSYS,
	    "a get made a system call");
	CHECK_SAY(code == 0, "round failed with code %d", code);
	CHECK(cache_stats(cache).get_hits >= 2 * LOOPS);
	CHECK(cache_stats(cache).get_misses >= LOOPS);
	end();
}

static void
set_loop(uint64_t sets, uint64_t keys)
{
	unsigned char key[KEY_ROOM], value[1000] = { 0 };

	for (uint64_t i = 0; i < sets; i++) {
		size_t key_bytes = key_make(key, i % keys);

		CHECK_RESULT(shmcache_set(cache, key, key_bytes, value,
				 sizeof(value), 0, 0),
		    0);
	}
}

static void
set_new_keys(void *unused)
{
	(void)unused;
	set_loop(1, 1);
	count_marker();
	set_loop(5000, 5000); /* fills half of the cache */
	count_marker();
}

static void
set_and_evict(void *unused)
{
	(void)unused;
	set_loop(50000, 50000); /* the cache is full */
	count_marker();
	set_loop(SETS, 50000);
	count_marker();
}

static void
set_without_eviction(void)
{
	uint64_t calls;

	skip_if_sanitized();
	begin();
	calls = count_calls(set_new_keys, NULL);
	printf("  sets without eviction: %" PRIu64 " system calls in 5000, "
	       "%" PRIu64 " per million\n",
	    calls, calls * 200);
	CHECK(calls == 0);
	CHECK(cache_stats(cache).evictions == 0);
	end();
}

static void
check_evicting(const char *what)
{
	struct shmcache_stats stats;
	uint64_t calls = count_calls(set_and_evict, NULL);

	printf("  evicting sets%s: %" PRIu64 " system calls in %d, %" PRIu64
	       " per million\n",
	    what, calls, SETS, calls * 1000000 / SETS);
	stats = cache_stats(cache);
	CHECK(stats.evictions > SETS / 2);
	CHECK(calls <= SETS / SETS_PER_CALL);
}

static void
evicting_sets(void)
{
	skip_if_sanitized();
	begin();
	check_evicting("");
	end();
}

static struct shmcache_item item;
static _Atomic uint32_t *stage;

static void
hold_an_item(void *unused)
{
	(void)unused;
	cache_set_text(cache, "held", "value");
	CHECK_RESULT(shmcache_get_pinned(cache, "held", 4, &item), 0);
	atomic_fetch_add(stage, 1);
	await_at_least(stage, 100);
	CHECK_RESULT(shmcache_unpin(cache, &item), 0);
}

/* Each of them makes the evictors ask whether its holder lives. */
static void
evicting_sets_beside_held_items(void)
{
	pid_t pids[8];

	skip_if_sanitized();
	begin();
	stage = shared_alloc(sizeof(*stage));
	for (unsigned i = 0; i < TEST_COUNT_OF(pids); i++) {
		pids[i] = child_start(hold_an_item, NULL);
	}
	await_at_least(stage, TEST_COUNT_OF(pids));
	check_evicting(" beside 8 held items");
	atomic_store(stage, 100);
	for (unsigned i = 0; i < TEST_COUNT_OF(pids); i++) {
		child_expect(pids[i], 0);
	}
	end();
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(gets_make_no_system_call),
		CASE(set_without_eviction),
		CASE(evicting_sets),
		CASE(evicting_sets_beside_held_items),
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
	};

	return run_suite(argc, argv, &suite);
}
