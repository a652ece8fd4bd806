/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * self_test.c - is the crash test able to fail?
 *
 * A toy victim with a lock in shared memory must be caught in exactly the
 * states in which it holds the lock.  Then a state that a set left is damaged
 * in many ways, one at a time, and each must be found; undamaged it must pass.
 */
#include "self_test.h"

#include "jobs.h"
#include "run.h"
#include "seed.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct self_test_result result;

static void
count(bool fine, const char *what, size_t got, size_t wanted)
{
	(void)printf("  %-58s %6zu of %zu%s\n", what, got, wanted,
	    fine ? "" : "  FAILED");
	if (fine)
		result.passed++;
	else
		result.failed++;
}

static void
count_equal(const char *what, size_t got, size_t wanted)
{
	count(got == wanted, what, got, wanted);
}

/* The toy */

struct toy {
	uint64_t lock;
	uint64_t a;
	uint64_t b;
	uint64_t rest[509];
};

static void
toy_run(void *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	volatile struct toy *toy = mmap(NULL, sizeof(struct toy),
	    PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (toy == MAP_FAILED)
		_exit(1);
	tracer_mark();
	toy->lock = 1;
	toy->lock = 0; /* back to the first state */
	toy->lock = 1;
	toy->a = 1;
	(void)getppid(); /* one system call */
	toy->b = 1;
	toy->lock = 0;
	tracer_mark();
	_exit(0);
}

static void
toy_job(void *context, size_t job)
{
	const struct trace *trace = context;
	struct toy toy = { 0 };

	if (trace->changes[job].twin != job)
		return;
	memcpy(&toy, trace->initial.bytes, sizeof(toy));
	for (size_t i = 1; i <= job; i++)
		memcpy((uint8_t *)&toy + trace->changes[i].offset,
		    trace->data + trace->changes[i].data,
		    trace->changes[i].bytes);
	if (toy.lock != 0)
		(void)job_fail("the lock is held");
}

static void
test_toy(void)
{
	struct trace trace;
	struct toy zero = { 0 };
	struct job_set jobs = {
		.context = &trace, .limit_s = 10, .quiet = true, .run = toy_job
	};
	char path[SCRATCH_PATH_BYTES];
	char reason[TRACE_REASON_BYTES] = "";

	scratch_path(path, "toy");
	if (!scratch_write(path, (const uint8_t *)&zero, sizeof(zero)) ||
	    !trace_run(&trace, path, TRACE_STEPS, toy_run, path, reason)) {
		(void)printf("  toy: %s\n", reason);
		count(false, "toy: traced", 0, 1);
		(void)unlink(path);
		return;
	}
	(void)unlink(path);
	count_equal("toy: changes logged", trace.count - 1, 6);
	count_equal("toy: distinct states", trace.distinct, 5);
	count_equal("toy: system calls seen", trace.system_calls, 1);
	jobs.count = trace.count;
	count_equal("toy: states that hold the lock found", jobs_run(&jobs), 3);
	trace_free(&trace);
}

/* Jobs that hang or crash */

static void
bad_job(void *context, size_t job)
{
	(void)context;
	if (job == 1)
		for (;;)
			(void)pause();
	if (job == 3)
		(void)raise(SIGKILL);
	if (job == 4)
		_exit(0);
}

static void
test_jobs(void)
{
	struct job_set jobs = {
		.count = 9, .limit_s = 1, .quiet = true, .run = bad_job
	};

	count_equal("jobs: hung, killed and runaway survivors found",
	    jobs_run(&jobs), 3);
}

/* Damage */

struct damage_test {
	struct run *run;
	struct snapshot state;
	size_t slot; /* offset of the victim's index word */
};

static void
undamaged_job(void *context, size_t job)
{
	const struct damage_test *test = context;

	(void)job;
	(void)run_check_copy(test->run, test->state.bytes, NULL);
}

/* One bit of the index word, so that it names another place, key or state. */
static void
index_job(void *context, size_t job)
{
	const struct damage_test *test = context;

	test->state.bytes[test->slot + job / 8] ^= (uint8_t)(1u << job % 8);
	(void)run_check_copy(test->run, test->state.bytes, NULL);
	test->state.bytes[test->slot + job / 8] ^= (uint8_t)(1u << job % 8);
}

/* The index word a second time: beside itself, or on another's. */
static void
twice_job(void *context, size_t job)
{
	const struct damage_test *test = context;

	(void)job;
	memcpy(test->state.bytes + (test->slot ^ 8),
	    test->state.bytes + test->slot, 8);
	(void)run_check_copy(test->run, test->state.bytes, NULL);
}

/* A byte of the value, found by the bytes before it. */
static bool
damage_value(const struct damage_test *test, const struct record *record)
{
	char key[RECORD_KEY_BYTES];
	size_t key_bytes = record_key(record, key);
	uint8_t *at = test->state.bytes;
	size_t left = test->state.length;
	bool found = false;

	while ((at = memmem(at, left, key, key_bytes)) != NULL) {
		at[key_bytes + record->bytes / 2] ^= 0x10;
		at += key_bytes;
		left = test->state.length - (size_t)(at - test->state.bytes);
		found = true;
	}
	return found;
}

static void
value_job(void *context, size_t job)
{
	const struct damage_test *test = context;
	struct record record = job == 0 ? operation_new(test->run->operation)
					: record_of(RECORD_OTHER, 5);

	if (damage_value(test, &record))
		(void)run_check_copy(test->run, test->state.bytes, NULL);
}

static void
hold_pin(const char *path, int ready_fd)
{
	struct record record = record_of(RECORD_OTHER, 3);
	char key[RECORD_KEY_BYTES];
	size_t key_bytes = record_key(&record, key);
	struct shmcache_item item;
	struct shmcache *cache;

	if (shmcache_open(path, NULL, &cache) != 0 ||
	    shmcache_get_pinned(cache, key, key_bytes, &item) != 0 ||
	    write(ready_fd, "r", 1) != 1)
		_exit(1);
	for (;;)
		(void)pause();
}

/* Somebody whose pin and peer slot stay, as if they had leaked. */
static void
leak_job(void *context, size_t job)
{
	const struct damage_test *test = context;
	char path[SCRATCH_PATH_BYTES];
	struct inquest inquest = { .operation = test->run->operation,
		.path = path,
		.before = test->run->before };
	struct shmcache *cache;
	int ready[2];
	char byte;
	pid_t holder;

	(void)job;
	scratch_path(path, "leak");
	if (!scratch_write(path, test->state.bytes, test->state.length) ||
	    pipe(ready) != 0)
		return;
	holder = job_fork();
	if (holder == 0)
		hold_pin(path, ready[1]);
	if (read(ready[0], &byte, 1) == 1 &&
	    shmcache_open(path, NULL, &cache) == 0) {
		(void)survivor_works(cache, &inquest);
		(void)shmcache_close(cache);
	}
	(void)kill(holder, SIGKILL);
	(void)waitpid(holder, NULL, 0);
	(void)unlink(path);
}

static void
test_damage(struct damage_test *test, const char *what, size_t jobs,
    void (*run)(void *, size_t), size_t wanted)
{
	struct job_set set = { .title = what,
		.context = test,
		.count = jobs,
		.limit_s = 20,
		.quiet = wanted != 0,
		.run = run };

	count_equal(what, jobs_run(&set), wanted);
}

/* Walks */

#define WALKS 40u

/* The same words were written.  What is in them may be clock or pid. */
static bool
is_same_end(const struct run *run, const struct left *a, const struct left *b)
{
	const uint8_t *start = run->initial.bytes;

	if (a->ip != b->ip || a->segment.length != b->segment.length)
		return false;
	for (size_t i = 0; i < a->segment.length; i += 8)
		if ((memcmp(a->segment.bytes + i, start + i, 8) == 0) !=
		    (memcmp(b->segment.bytes + i, start + i, 8) == 0))
			return false;
	return true;
}

/* A victim that is brought to some point by a breakpoint is where one is that is
   brought there by steps. */
static void
test_walks(const struct run *run)
{
	size_t alike = 0;

	for (size_t i = 0; i < WALKS; i++) {
		uint64_t steps = i * run->trace.steps / (WALKS - 1);
		struct left slow = { 0 };
		struct left fast = { 0 };

		if (run_walk(run, steps, true, &slow) &&
		    run_walk(run, steps, false, &fast) &&
		    trace_is_at(&run->trace, steps, slow.ip) &&
		    is_same_end(run, &slow, &fast))
			alike++;
		snapshot_free(&slow.segment);
		snapshot_free(&fast.segment);
	}
	count_equal(
	    "walks: ends alike, by steps and by a breakpoint", alike, WALKS);
}

/* One that is stopped where it writes passes through the same states as one that
   is stepped. */
static void
test_writes(const struct run *stepped)
{
	struct run guarded = { .operation = stepped->operation,
		.seed = stepped->seed };
	size_t wanted = stepped->trace.count;
	bool alike;

	guarded.initial = snapshot_copy(&stepped->initial);
	alike = run_trace_writes(&guarded) &&
		trace_is_alike(&stepped->trace, &guarded.trace);
	count(alike, "writes: changes logged, by steps and by faults",
	    guarded.trace.count, wanted);
	run_free(&guarded);
}

/* The word that made the new value appear. */
static bool
find_slot(struct damage_test *test)
{
	const struct trace *trace = &test->run->trace;

	for (size_t i = 1; i < trace->count; i++) {
		if (test->run->observations[trace->changes[i].twin].seen !=
		    SEEN_NEW)
			continue;
		test->slot = trace->changes[i].offset;
		return trace->changes[i].bytes == 8;
	}
	return false;
}

static void
test_damages(uint64_t seed)
{
	struct run run = { .operation = operation_find("set-replace") };
	struct damage_test test = { .run = &run };

	seed_random(seed);
	if (!run_build(&run, NULL) || !run_trace(&run) || !run_surveys(&run)) {
		count(false, "damage: a sound state to damage", 0, 1);
		run_free(&run);
		return;
	}
	test_walks(&run);
	test_writes(&run);
	run_copies(&run, SIZE_MAX);
	test.state = run_state(&run, run.trace.count - 1);
	if (!find_slot(&test)) {
		count(false, "damage: the step that publishes a value", 0, 1);
	} else {
		test_damage(
		    &test, "damage: none: complaints", 1, undamaged_job, 0);
		test_damage(&test, "damage: a bit of an index word: found", 64,
		    index_job, 64);
		test_damage(&test, "damage: an index word twice: found", 1,
		    twice_job, 1);
		test_damage(
		    &test, "damage: a byte of a value: found", 2, value_job, 2);
		test_damage(&test, "damage: a pin and a slot left: found", 1,
		    leak_job, 1);
	}
	snapshot_free(&test.state);
	run_free(&run);
}

struct self_test_result
self_test(uint64_t seed)
{
	(void)printf("self-test\n");
	test_toy();
	test_jobs();
	test_damages(seed);
	return result;
}
