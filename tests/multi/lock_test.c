/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lock_test.c - application locks among processes that are killed
 *
 * What a lock guards is memory that all processes share: the pid of who is
 * inside, a number that is read, dawdled over and written back, and the greatest
 * fence that was seen.  Owners are killed anywhere: waiting, inside, unlocking.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CAPACITY (4 << 20)
#define WORKERS  6
#define NAMES    3
#define MS       1000000ull

static uint64_t kills = 100;
static struct shmcache *cache;

/* What a lock guards. */
struct guarded {
	_Atomic uint32_t inside; /* pid; that of the killed stays */
	_Atomic uint64_t fence;
	_Atomic uint64_t entries;
	_Atomic uint64_t found_dead;
	char pad[32];
};

struct stage {
	struct guarded guarded[NAMES];
	_Atomic uint32_t held;
	_Atomic uint32_t over;
};

static struct stage *stage;

static void
begin(void)
{
	cache = cache_create_plain("lock", CAPACITY);
	stage = shared_alloc(sizeof(*stage));
}

static void
end(void)
{
	cache_finish(cache);
}

/* Has the process lost its memory?  The kernel takes that, and with it what says
   that it lives, before the process is seen to have ended. */
static bool
is_dead(uint32_t pid)
{
	char path[32];
	unsigned long pages = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%u/statm", pid);
	file = fopen(path, "r");
	if (file == NULL)
		return true;
	if (fscanf(file, "%lu", &pages) != 1)
		pages = 0;
	(void)fclose(file);
	return pages == 0;
}

/* With the lock held. */
static void
work(struct guarded *g, const struct shmcache_lock *lock, struct prng *prng)
{
	uint32_t before = atomic_exchange(&g->inside, (uint32_t)getpid());
	uint64_t entries;

	if (before != 0) {
		CHECK_SAY(is_dead(before), "%u is inside too", before);
		g->found_dead++;
	}
	CHECK_SAY(lock->fence > g->fence, "fence %" PRIu64 " after %" PRIu64,
	    lock->fence, g->fence);
	g->fence = lock->fence;
	entries = g->entries;
	if (prng_below(prng, 4) == 0)
		sleep_us((unsigned)prng_below(prng, 300));
	CHECK(g->entries == entries && g->fence == lock->fence);
	g->entries = entries + 1;
	CHECK(atomic_exchange(&g->inside, 0) == (uint32_t)getpid());
}

static void
worker_main(void *argument)
{
	struct prng prng;

	(void)argument;
	prng_init(&prng, run_seed(), (uint64_t)getpid());
	interrupt_often(300);
	while (stage->over == 0) {
		uint64_t name = prng_below(&prng, NAMES);
		uint32_t timeout_ms = prng_below(&prng, 3) == 0
					  ? (uint32_t)prng_below(&prng, 3)
					  : 60000;
		struct shmcache_lock lock;
		int error = shmcache_lock(
		    cache, &name, sizeof(name), timeout_ms, &lock);

		if (error == -ETIMEDOUT && timeout_ms != 60000)
			continue;
		CHECK_RESULT(error, 0);
		work(&stage->guarded[name], &lock, &prng);
		CHECK_RESULT(shmcache_unlock(cache, &lock), 0);
	}
}

/* Has one been killed inside, and others been there after it?  (Who is killed by
   chance may have waited, or not begun.) */
static bool
was_of_use(void)
{
	uint64_t entries = 0, found_dead = 0;

	for (unsigned i = 0; i < NAMES; i++) {
		entries += stage->guarded[i].entries;
		found_dead += stage->guarded[i].found_dead;
	}
	return entries > kills && found_dead > 0;
}

static void
one_at_a_time_whoever_is_killed(void)
{
	pid_t workers[WORKERS];
	uint64_t entries = 0, found_dead = 0;
	struct prng prng;

	begin();
	prng_init(&prng, run_seed(), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		workers[i] = child_start(worker_main, NULL);
	for (uint64_t i = 0; i < kills || !was_of_use(); i++) {
		unsigned n = (unsigned)prng_below(&prng, WORKERS);

		sleep_us(1000 + (unsigned)prng_below(&prng, 9000));
		child_kill(workers[n]);
		workers[n] = child_start(worker_main, NULL);
	}
	stage->over = 1;
	for (unsigned i = 0; i < WORKERS; i++)
		child_expect(workers[i], 0);
	for (unsigned i = 0; i < NAMES; i++) {
		entries += stage->guarded[i].entries;
		found_dead += stage->guarded[i].found_dead;
	}
	printf("  %" PRIu64 " times inside, %" PRIu64
	       " after one who was killed there\n",
	    entries, found_dead);
	CHECK(cache_stats(cache).locks >= entries);
	end();
}

static void
hold(void *argument)
{
	struct shmcache_lock lock;

	(void)argument;
	CHECK_RESULT(shmcache_lock(cache, "name", 4, 0, &lock), 0);
	stage->held = 1;
	for (;;)
		pause();
}

static void
stopped_owner_keeps_it_until_killed(void)
{
	struct shmcache_lock lock;
	uint64_t began_ns, began_ms;
	pid_t owner;

	begin();
	owner = child_start(hold, NULL);
	await_at_least(&stage->held, 1);
	CHECK(child_stop(owner));
	CHECK_RESULT(shmcache_lock(cache, "name", 4, 0, &lock), -ETIMEDOUT);
	began_ms = cache_clock_ns() / MS;
	CHECK_RESULT(shmcache_lock(cache, "name", 4, 50, &lock), -ETIMEDOUT);
	CHECK(cache_clock_ns() / MS - began_ms >= 50);
	child_kill(owner);
	began_ns = clock_ns(CLOCK_MONOTONIC);
	CHECK_RESULT(shmcache_lock(cache, "name", 4, 600000, &lock), 0);
	printf("  taken %.1f ms after the kill\n",
	    (double)(clock_ns(CLOCK_MONOTONIC) - began_ns) / 1e6);
	CHECK_RESULT(shmcache_unlock(cache, &lock), 0);
	end();
}

/* Each of many processes ends while it holds one lock: the table, which has
   room for fewer, gets no fuller. */
static void
ended_owners_leave_room(void)
{
	struct shmcache_lock lock;

	begin();
	for (uint32_t i = 0; i < 400; i++) {
		pid_t pid = fork();

		CHECK_SYS(pid);
		if (pid == 0) {
			CHECK_RESULT(
			    shmcache_lock(cache, &i, sizeof(i), 60000, &lock),
			    0);
			test_exit(0);
		}
		child_expect(pid, 0);
	}
	CHECK_RESULT(shmcache_lock(cache, "name", 4, 0, &lock), 0);
	CHECK(lock.fence == 401);
	end();
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(one_at_a_time_whoever_is_killed),
		CASE(stopped_owner_keeps_it_until_killed),
		CASE(ended_owners_leave_room),
	};
	static const struct test_option options[] = {
		{ "kills", &kills, "processes that are killed" },
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.options = options,
		.option_count = TEST_COUNT_OF(options),
	};

	return run_suite(argc, argv, &suite);
}
