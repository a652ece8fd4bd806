/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * faults_test.c - the system fails, and processes end in all the ways they do
 *
 * Each system call of creating, attaching, using, sweeping, removing and
 * closing a cache is made to fail, one at a time, with each error that there
 * is: the call ends, with success or with an error that has a text, and the
 * others don't notice.
 *
 * Then the ends of processes and threads that the other tests don't have: a
 * zombie that nobody reaps, processes of another pid namespace, cancelled
 * threads, children that are killed while they attach, orphans.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"
#include "tests/support/sandbox.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS_MAX  400
#define CAPACITY   (2 << 20)
#define ENDED_WELL 0
#define ENDED_SO   40 /* with an error of the library, as it should */

static const int errors[] = { EACCES, EAGAIN, EBADF, EBUSY, EEXIST, EFAULT,
	EINTR, EINVAL, EIO, EISDIR, ELOOP, EMFILE, ENAMETOOLONG, ENFILE, ENODEV,
	ENOENT, ENOLCK, ENOMEM, ENOSPC, ENOSYS, ENOTDIR, ENXIO, EOPNOTSUPP,
	EOVERFLOW, EPERM, EROFS, ETXTBSY };

static uint64_t errors_each = 3;

static struct shmcache *cache;

static void
judge(int result)
{
	if (result >= 0) {
		return;
	}
	CHECK_SAY(strstr(shmcache_strerror(result), "nknown") == NULL,
	    "error %d has no text", result);
	CHECK(shmcache_last_error()[0] != '\0');
	count_marker(); /* what follows is the test's */
	test_exit(ENDED_SO);
}

static struct shmcache *
open_plain(int mode)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct shmcache *opened = NULL;

	options.capacity_bytes = CAPACITY;
	options.open_mode = (uint32_t)mode;
	judge(shmcache_open(test_name("fault"), &options, &opened));
	CHECK(opened != NULL);
	return opened;
}

static void
do_create(void *unused)
{
	(void)unused;
	count_marker();
	(void)open_plain(SHMCACHE_CREATE_EXCLUSIVE);
	count_marker();
}

static void
do_open(void *unused)
{
	(void)unused;
	count_marker();
	(void)open_plain(SHMCACHE_OPEN_OR_CREATE);
	count_marker();
}

static void
do_attach(void *unused)
{
	(void)unused;
	count_marker();
	(void)open_plain(SHMCACHE_ATTACH);
	count_marker();
}

/* A thread's first call, and one that reads and writes. */
static void
do_use(void *unused)
{
	struct shmcache *used = open_plain(SHMCACHE_ATTACH);
	char value[16];

	(void)unused;
	count_marker();
	judge(shmcache_set(used, "used", 4, "value", 5, 1000, 0));
	judge(shmcache_get(used, "used", 4, value, sizeof(value), NULL, NULL));
	count_marker();
}

static void
do_evict(void *unused)
{
	struct shmcache *used = open_plain(SHMCACHE_ATTACH);
	char value[9000] = "";
	int64_t number;

	(void)unused;
	count_marker();
	for (int i = 0; i < 400; i++) {
		judge(shmcache_set(used, &i, sizeof(i), value, 9000, 0, 0));
	}
	number = 5;
	judge(shmcache_incr(used, "number", 6, 1, &number, 0, NULL));
	count_marker();
}

static void
do_sweep(void *unused)
{
	struct shmcache *used = open_plain(SHMCACHE_ATTACH);

	(void)unused;
	count_marker();
	judge(shmcache_sweep(used, NULL));
	judge(shmcache_verify(used, SHMCACHE_VERIFY_LIVE, NULL, NULL));
	count_marker();
}

static void
do_stats(void *unused)
{
	struct shmcache *used = open_plain(SHMCACHE_ATTACH);
	struct shmcache_process_info infos[4];
	struct shmcache_stats stats;
	size_t count;

	(void)unused;
	count_marker();
	judge(shmcache_stats(used, &stats, sizeof(stats)));
	judge(shmcache_processes(used, infos, 4, &count));
	count_marker();
}

static void
do_close(void *unused)
{
	struct shmcache *used = open_plain(SHMCACHE_ATTACH);

	(void)unused;
	judge(shmcache_set(used, "closing", 7, "value", 5, 0, 0));
	count_marker();
	judge(shmcache_close(used));
	count_marker();
}

static void
do_remove(void *unused)
{
	(void)unused;
	count_marker();
	judge(shmcache_remove(test_name("fault")));
	count_marker();
}

/* A filter goes to a file and comes back. */
static void
do_filter(void *unused)
{
	struct shmcache *used = open_plain(SHMCACHE_ATTACH);
	const char *path = test_path("saved");
	uint64_t build;

	(void)unused;
	judge(shmcache_filter_begin(used, &build));
	judge(shmcache_filter_publish(used, build));
	count_marker();
	judge(shmcache_filter_save(used, path));
	judge(shmcache_filter_load(used, path, &build));
	count_marker();
}

/* In the child of a fork, everything is attached anew. */
static void
do_fork(void *unused)
{
	struct shmcache *used = open_plain(SHMCACHE_ATTACH);
	pid_t pid;

	(void)unused;
	count_marker();
	pid = fork();
	if (pid == 0) {
		_exit(0);
	}
	if (pid > 0) {
		(void)waitpid(pid, NULL, 0); /* or, if it fails, reap() */
	}
	judge(shmcache_set(used, "forked", 6, "value", 5, 0, 0));
	count_marker();
}

/* Two dead processes with a slot each, so that there is something to find. */
static void
use_and_wait(void *ready)
{
	struct shmcache *used = cache_attach("fault");

	cache_set_text(used, "dead", "value");
	atomic_fetch_add((_Atomic uint32_t *)ready, 1);
	for (;;) {
		pause();
	}
}

static void
leave_dead(void)
{
	_Atomic uint32_t *ready = shared_alloc(sizeof(*ready));
	pid_t pids[2];

	for (uint32_t i = 0; i < 2; i++) {
		pids[i] = child_start(use_and_wait, ready);
	}
	await_at_least(ready, 2);
	for (uint32_t i = 0; i < 2; i++) {
		child_kill(pids[i]);
	}
}

static void
make_cache(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;

	options.capacity_bytes = CAPACITY;
	options.peer_slots = 4;
	options.process_slots = 12;
	options.filter_items = 1000;
	cache = cache_create("fault", &options);
	cache_set_text(cache, "kept", "value");
}

static bool
is_there(void)
{
	struct stat status;

	return stat(test_path("fault"), &status) == 0;
}

/* Whoever is attached, and whoever comes, gets on. */
static void
check_others(bool removes)
{
	struct shmcache_stats stats;
	struct shmcache *other;

	if (removes && !is_there()) {
		return; /* done */
	}
	other = open_plain(SHMCACHE_OPEN_OR_CREATE);
	cache_set_text(other, "other", "value");
	cache_check_text(other, "other", "value");
	CHECK_RESULT(shmcache_sweep(other, NULL), 0);
	cache_check_sound(other);
	stats = cache_stats(other);
	CHECK_SAY(stats.peers <= 2 && stats.processes <= 2,
	    "%" PRIu64 " peers, %" PRIu64 " processes", stats.peers,
	    stats.processes);
	CHECK_RESULT(shmcache_close(other), 0);
}

struct scene {
	const char *name;
	void (*run)(void *);
	bool creates; /* there is no cache before */
	bool removes;
	bool dead; /* there are dead processes */
};

static const struct scene scenes[] = {
	{ "create", do_create, .creates = true },
	{ "open or create", do_open, .creates = true },
	{ "attach", do_attach, .dead = true },
	{ "first use", do_use, .dead = true },
	{ .name = "evict", .run = do_evict },
	{ "sweep", do_sweep, .dead = true },
	{ "stats", do_stats, .dead = true },
	{ .name = "close", .run = do_close },
	{ "remove", do_remove, .removes = true },
	{ .name = "filter", .run = do_filter },
	{ .name = "fork", .run = do_fork },
};

static void
set_up(const struct scene *scene, bool *made)
{
	if (scene->creates || (*made && !scene->removes && !scene->dead)) {
		return;
	}
	if (!*made || !is_there()) {
		if (cache != NULL) {
			CHECK_RESULT(shmcache_close(cache), 0);
		}
		make_cache();
		*made = true;
	}
	if (scene->dead) {
		leave_dead();
	}
}

static void
clear(void)
{
	int result = shmcache_remove(test_name("fault"));

	CHECK_SAY(result == 0 || result == SHMCACHE_ENOCACHE, "remove: %s",
	    shmcache_strerror(result));
	if (cache != NULL) {
		CHECK_RESULT(shmcache_close(cache), 0);
	}
	cache = NULL;
}

/* Children of a process that could not wait for them are ours. */
static void
reap(void)
{
	while (waitpid(-1, NULL, 0) > 0) {
	}
}

static bool
fail_one(const struct scene *scene, uint64_t n, int error, bool from_then_on,
    uint64_t *refused)
{
	struct fault fault =
	    run_with_fault(scene->run, NULL, n, error, from_then_on);

	reap();
	CHECK_SAY(fault.code == ENDED_WELL || fault.code == ENDED_SO,
	    "%s: system call %" PRIu64 " (number %" PRIu64
	    ") failed with %s, and the process ended with code %d",
	    scene->name, n, fault.number, strerrorname_np(error), fault.code);
	CHECK_SAY(fault.hit || fault.code == ENDED_WELL, "%s fails by itself",
	    scene->name);
	*refused += fault.code == ENDED_SO;
	if (scene->creates) {
		/* Half a cache is none. */
		CHECK_SAY(fault.code != ENDED_WELL || is_there(),
		    "%s: nothing was made", scene->name);
		check_others(false);
		CHECK_RESULT(shmcache_remove(test_name("fault")), 0);
	} else {
		check_others(scene->removes);
	}
	return fault.hit;
}

static void
fail_all(const struct scene *scene)
{
	uint64_t tried = 0, refused = 0, n = 0;
	bool made = false, hit = true;

	for (; hit && n < CALLS_MAX; n++) {
		for (size_t e = 0; e < errors_each && hit; e++) {
			size_t which =
			    (run_seed() % 1000 + n * errors_each + e) %
			    TEST_COUNT_OF(errors);

			set_up(scene, &made);
			hit = fail_one(scene, n, errors[which],
			    (n + e) % 2 != 0, &refused);
			tried += hit;
		}
	}
	CHECK_SAY(
	    !hit, "%s makes more than %d system calls", scene->name, CALLS_MAX);
	printf("  %s: %" PRIu64 " system calls, %" PRIu64 " failures, %" PRIu64
	       " refused\n",
	    scene->name, n - 1, tried, refused);
	clear();
}

static void
every_system_call_fails(void)
{
	if (TEST_ASAN || TEST_TSAN) {
		skip("a sanitizer's own system calls must not fail");
	}
	CHECK_SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
	for (size_t i = 0; i < TEST_COUNT_OF(scenes); i++) {
		fail_all(&scenes[i]);
	}
}

/* Its lock falls at its death, not when somebody reaps it. */
static void
zombie_is_dead(void)
{
	_Atomic uint32_t *ready = shared_alloc(sizeof(*ready));
	siginfo_t info;
	pid_t pid;

	make_cache();
	CHECK(cache_stats(cache).peers == 1);
	pid = child_start(use_and_wait, ready);
	await_at_least(ready, 1);
	CHECK(cache_stats(cache).peers == 2);
	CHECK_SYS(kill(pid, SIGKILL));
	CHECK_SYS(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	CHECK(cache_stats(cache).peers == 1);
	CHECK(cache_stats(cache).processes == 1);
	CHECK(child_wait(pid) == 128 + SIGKILL);
	clear();
}

/* Of the two processes in namespaces of their own; shared. */
struct spaces {
	_Atomic uint32_t ready;
	_Atomic pid_t pids[2]; /* as seen from outside; 0: not known yet */
};

/* One of the two. */
struct space {
	struct spaces *spaces;
	unsigned number;
};

/* Pids mean nothing there, and are not asked. */
static void
in_another_namespace(void *argument)
{
	const struct space *space = argument;
	struct spaces *spaces = space->spaces;
	pid_t pid;

	if (unshare(CLONE_NEWPID) != 0) {
		skip("no pid namespaces: %s", test_errno_text());
	}
	/* Number 1 of the new one; its parent waits outside. */
	pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		CHECK(getpid() == 1);
		use_and_wait(&spaces->ready);
	}
	atomic_store(&spaces->pids[space->number], pid);
	CHECK(child_wait(pid) == 128 + SIGKILL);
}

static void
check_namespaces(struct spaces *spaces, const pid_t parents[2])
{
	struct shmcache_process_info infos[8];
	unsigned firsts = 0;
	size_t count;

	/* Both are number 1, and both are alive. */
	CHECK_RESULT(shmcache_processes(cache, infos, 8, &count), 0);
	CHECK(count <= 8);
	for (size_t i = 0; i < count; i++) {
		firsts += infos[i].pid == 1 && infos[i].alive == 1 &&
			  infos[i].peers == 1;
	}
	CHECK_SAY(firsts == 2, "%u of 2 processes are seen", firsts);
	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	CHECK(cache_stats(cache).peers == 3);
	cache_churn(cache, 1, 3 * (uint64_t)CAPACITY);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_SYS(kill(atomic_load(&spaces->pids[i]), SIGKILL));
		child_expect(parents[i], 0);
		CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
		CHECK(cache_stats(cache).peers == 2 - i);
	}
}

static void
two_pid_namespaces(void)
{
	struct spaces *spaces = shared_alloc(sizeof(*spaces));
	pid_t parents[2];

	make_cache();
	for (uint32_t i = 0; i < 2; i++) {
		struct space space = { spaces, i };

		parents[i] = child_start(in_another_namespace, &space);
	}
	while (atomic_load(&spaces->ready) < 2 ||
	       atomic_load(&spaces->pids[0]) == 0 ||
	       atomic_load(&spaces->pids[1]) == 0) {
		siginfo_t info = { .si_pid = 0 };

		/* Where it is not allowed, they end at once. */
		CHECK_SYS(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT));
		if (info.si_pid != 0) {
			child_expect(info.si_pid, 0);
		}
		sleep_us(1000);
	}
	check_namespaces(spaces, parents);
	cache_check_sound(cache);
	clear();
}

static void *
work_till_cancelled(void *argument)
{
	uint64_t number;
	char value[2000] = "";
	struct prng prng;

	memcpy(&number, argument, sizeof(number));
	prng_init(&prng, run_seed(), number);
	for (;;) {
		uint64_t key = prng_below(&prng, 2000);

		CHECK_RESULT(shmcache_set(cache, &key, sizeof(key), value,
				 prng_below(&prng, sizeof(value)), 0, 0),
		    0);
		(void)shmcache_get(
		    cache, &key, sizeof(key), value, sizeof(value), NULL, NULL);
		if (prng_below(&prng, 50) == 0) {
			CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
		}
		pthread_testcancel();
	}
	return NULL;
}

static void
cancelled_threads(void)
{
	struct prng prng;

	if (TEST_ASAN) {
		skip("it takes what is left of a cancelled thread's stack for "
		     "an overflow");
	}
	make_cache();
	prng_init(&prng, run_seed(), 5);
	for (uint64_t i = 0; i < 100; i++) {
		uint64_t numbers[2] = { 2 * i, 2 * i + 1 };
		pthread_t threads[2];

		for (unsigned t = 0; t < 2; t++) {
			CHECK(pthread_create(&threads[t], NULL,
				  work_till_cancelled, &numbers[t]) == 0);
		}
		sleep_us((unsigned)prng_below(&prng, 2000));
		for (unsigned t = 0; t < 2; t++) {
			CHECK(pthread_cancel(threads[t]) == 0);
			CHECK(pthread_join(threads[t], NULL) == 0);
		}
	}
	CHECK(cache_stats(cache).peers == 1);
	CHECK(cache_stats(cache).extents_pinned == 0);
	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	cache_check_sound(cache);
	clear();
}

static void
set_till_killed(void *unused)
{
	char value[3000] = "";
	uint64_t key = 0;

	(void)unused;
	for (;; key++) {
		CHECK_RESULT(shmcache_set(cache, &key, sizeof(key), value,
				 (size_t)key % sizeof(value), 0, 0),
		    0);
	}
}

/* At all moments of a child's life, from its very first instruction on. */
static void
children_killed_while_they_attach(void)
{
	struct prng prng;
	uint64_t recycled;

	make_cache();
	prng_init(&prng, run_seed(), 6);
	for (unsigned i = 0; i < 600; i++) {
		pid_t pid = child_start(set_till_killed, NULL);

		for (uint64_t n = prng_below(&prng, 1 << (i % 16)); n > 0;
		     n--) {
			(void)shmcache_exists(cache, "kept", 4);
		}
		child_kill(pid);
	}
	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	CHECK(cache_stats(cache).peers == 1);
	CHECK(cache_stats(cache).processes == 1);
	CHECK(cache_stats(cache).extents_pinned == 0);
	recycled = cache_stats(cache).extents_recycled;
	cache_churn(cache, 3, 3 * (uint64_t)CAPACITY);
	CHECK(cache_stats(cache).extents_recycled > recycled);
	cache_check_sound(cache);
	clear();
}

static void
have_a_child(void *ready)
{
	pid_t pid = child_start(use_and_wait, ready);

	(void)pid;
	set_till_killed(NULL);
}

/* Who inherited its handle from one that was killed goes on. */
static void
parent_is_killed(void)
{
	_Atomic uint32_t *ready = shared_alloc(sizeof(*ready));
	pid_t pid;

	make_cache();
	pid = child_start(have_a_child, ready);
	await_at_least(ready, 1);
	child_kill(pid);
	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	CHECK(cache_stats(cache).peers == 2);
	cache_churn(cache, 3, 3 * (uint64_t)CAPACITY);
	cache_check_live(cache);
	clear();
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(every_system_call_fails),
		CASE(zombie_is_dead),
		CASE(two_pid_namespaces),
		CASE(cancelled_threads),
		CASE(children_killed_while_they_attach),
		CASE(parent_is_killed),
	};
	static const struct test_option options[] = {
		{ "errors", &errors_each,
		    "errors that each system call is tried with" },
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.options = options,
		.option_count = TEST_COUNT_OF(options),
	};

	return run_suite(argc, argv, &suite);
}
