/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fork_test.c - who is attached: fork, clone, exec, threads, and their ends
 *
 * A handle works in every process that inherits it, by whatever call; the slots
 * of threads and processes come back when these end, in order or not; and what
 * one of them held in place stays whole as long as it is held.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"
#include "tests/support/value.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAPACITY (4 << 20)

static struct shmcache *cache;
static struct shmcache_item item;
static _Atomic uint32_t *stage; /* shared by the processes of a case */

static void
begin(void)
{
	cache = cache_create_plain("fork", CAPACITY);
	stage = shared_alloc(sizeof(*stage));
}

static void
end(void)
{
	cache_finish(cache);
}

static void
sweep(void)
{
	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
}

static void
use_cache(void *key)
{
	cache_check_text(cache, "parent", "before fork");
	cache_set_text(cache, key, "of a child");
	cache_check_text(cache, key, "of a child");
}

static void
use_cache_and_fork(void *key)
{
	char grandchild[] = "grandchild";

	use_cache(key);
	child_run(use_cache, grandchild);
	cache_check_text(cache, grandchild, "of a child");
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
handle_works_in_descendants(void)
{
	char child[] = "child";

	begin();
	cache_set_text(cache, "parent", "before fork");
	child_run(use_cache_and_fork, child);
	cache_check_text(cache, "child", "of a child");
	cache_check_text(cache, "grandchild", "of a child");
	sweep();
	CHECK(cache_stats(cache).peers == 1);
	CHECK(cache_stats(cache).processes == 1);
	end();
}

static void
first_use(void *unused)
{
	(void)unused;
	cache_set_text(cache, "key", "value");
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
handle_not_used_before_fork(void)
{
	begin();
	child_run(first_use, NULL);
	cache_check_text(cache, "key", "value");
	end();
}

static void
unpin_of_parent(void *unused)
{
	struct shmcache_item own;
	struct shmcache_item inherited = item;

	(void)unused;
	CHECK_RESULT(shmcache_unpin(cache, &inherited), SHMCACHE_ESTALE);
	CHECK_RESULT(shmcache_get_pinned(cache, "key", 3, &own), 0);
	inherited = item;
	CHECK_RESULT(shmcache_unpin(cache, &inherited), SHMCACHE_ESTALE);
	cache_churn(cache, 1, 5 * cache_stats(cache).arena_bytes);
	CHECK(own.value_bytes == 5 && memcmp(own.value, "value", 5) == 0);
	CHECK_RESULT(shmcache_unpin(cache, &own), 0);
}

static void
inherited_item_is_stale(void)
{
	struct shmcache_item none = { .pin = 0 };

	begin();
	cache_set_text(cache, "key", "value");
	CHECK_RESULT(shmcache_get_pinned(cache, "key", 3, &item), 0);
	child_run(unpin_of_parent, NULL);
	CHECK(item.value_bytes == 5 && memcmp(item.value, "value", 5) == 0);
	cache_churn(cache, 2, 5 * cache_stats(cache).arena_bytes);
	CHECK(item.value_bytes == 5 && memcmp(item.value, "value", 5) == 0);
	CHECK(cache_stats(cache).extents_pinned == 1);
	CHECK_RESULT(shmcache_unpin(cache, &item), 0);
	CHECK(cache_stats(cache).extents_pinned == 0);
	CHECK_RESULT(shmcache_unpin(cache, &none), -EINVAL);
	end();
}

/* Sets, gets and checks for ever. */
static void
use_for_ever(void *salt)
{
	unsigned char key[KEY_ROOM], value[4096];
	struct value_id id = { .writer = 7 }, got;
	struct prng prng;
	uint32_t number;

	memcpy(&number, salt, sizeof(number));
	prng_init(&prng, run_seed(), number);
	for (;;) {
		size_t key_bytes, bytes;
		uint32_t flags;
		int result;

		id.key = prng_below(&prng, 5000);
		id.sequence++;
		id.bytes = (uint32_t)prng_size(&prng, sizeof(value));
		key_bytes = key_make(key, id.key);
		flags = value_make(value, &id);
		CHECK_RESULT(shmcache_set(cache, key, key_bytes, value,
				 id.bytes, 0, flags),
		    0);
		id.key = prng_below(&prng, 5000);
		key_bytes = key_make(key, id.key);
		result = shmcache_get(cache, key, key_bytes, value,
		    sizeof(value), &bytes, &flags);
		if (result != SHMCACHE_ENOENT) {
			CHECK_RESULT(result, 0);
			CHECK(value_check(value, bytes, flags, id.key, &got) ==
			      NULL);
		}
	}
}

static void
writers_killed_at_random(void)
{
	pid_t pids[4];
	struct prng prng;
	uint32_t number = 0;

	begin();
	prng_init(&prng, run_seed(), 99);
	for (; number < TEST_COUNT_OF(pids); number++) {
		pids[number] = child_start(use_for_ever, &number);
	}
	for (; number < 60; number++) {
		pid_t *pid = &pids[prng_below(&prng, TEST_COUNT_OF(pids))];

		sleep_us((unsigned)prng_below(&prng, 8000));
		child_kill(*pid);
		cache_churn(cache, number, 64 << 10);
		cache_check_live(cache);
		*pid = child_start(use_for_ever, &number);
	}
	for (unsigned i = 0; i < TEST_COUNT_OF(pids); i++) {
		child_kill(pids[i]);
	}
	sweep();
	CHECK(cache_stats(cache).peers == 1);
	CHECK(cache_stats(cache).processes == 1);
	CHECK(cache_stats(cache).extents_pinned == 0);
	cache_churn(cache, 1000, 3 * cache_stats(cache).arena_bytes);
	end();
}

static void
hold_for_ever(void *unused)
{
	(void)unused;
	CHECK_RESULT(shmcache_get_pinned(cache, "key", 3, &item), 0);
	atomic_fetch_add(stage, 1);
	for (;;) {
		pause();
	}
}

static void
sweep_frees_the_dead(void)
{
	struct shmcache_sweep_result result;
	struct shmcache_process_info process;
	size_t count = 0;
	pid_t pid;

	begin();
	cache_set_text(cache, "key", "value");
	pid = child_start(hold_for_ever, NULL);
	await_at_least(stage, 1);
	CHECK_RESULT(shmcache_sweep(cache, &result), 0);
	CHECK(result.freed_peers == 0);
	CHECK(cache_stats(cache).peers == 2);
	CHECK(cache_stats(cache).extents_pinned == 1);
	child_kill(pid);
	CHECK_RESULT(shmcache_sweep(cache, &result), 0);
	CHECK(result.freed_peers == 1);
	CHECK(cache_stats(cache).peers == 1);
	CHECK(cache_stats(cache).extents_pinned == 0);
	CHECK_RESULT(shmcache_processes(cache, &process, 1, &count), 0);
	CHECK(count == 1 && process.pid == getpid() && process.alive == 1);
	CHECK(process.peers == 1 && process.pins == 0);
	end();
}

/* Stopped is not dead. */
static void
sweep_spares_the_stopped(void)
{
	struct shmcache_sweep_result result;
	pid_t pid;

	begin();
	cache_set_text(cache, "key", "value");
	pid = child_start(hold_for_ever, NULL);
	await_at_least(stage, 1);
	CHECK(child_stop(pid));
	cache_churn(cache, 3, 5 * cache_stats(cache).arena_bytes);
	CHECK_RESULT(shmcache_sweep(cache, &result), 0);
	CHECK(result.freed_peers == 0);
	CHECK(cache_stats(cache).peers == 2);
	CHECK(cache_stats(cache).extents_pinned == 1);
	CHECK_SYS(kill(pid, SIGCONT));
	child_kill(pid);
	end();
}

static void *
thread_get(void *unused)
{
	(void)unused;
	cache_check_text(cache, "key", "value");
	CHECK(cache_stats(cache).peers == 2);
	return NULL;
}

static void *
thread_pin(void *unused)
{
	(void)unused;
	CHECK_RESULT(shmcache_get_pinned(cache, "key", 3, &item), 0);
	return NULL;
}

static void
join_new_thread(void *(*run)(void *))
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
}

static void
thread_gives_its_slot_back(void)
{
	begin();
	cache_set_text(cache, "key", "value");
	for (unsigned i = 0; i < 1000; i++) {
		join_new_thread(thread_get);
	}
	CHECK(cache_stats(cache).peers == 1);
	end();
}

static void
thread_leaves_a_pinned_item(void)
{
	struct shmcache_item mine;

	begin();
	cache_set_text(cache, "key", "value");
	for (unsigned i = 0; i < 20; i++) {
		CHECK_RESULT(shmcache_get_pinned(cache, "key", 3, &mine), 0);
		join_new_thread(thread_pin);
		CHECK(cache_stats(cache).peers == 2);
		CHECK_RESULT(shmcache_unpin(cache, &mine), 0);
		cache_churn(cache, i, 2 * cache_stats(cache).arena_bytes);
		CHECK(item.value_bytes == 5);
		CHECK(memcmp(item.value, "value", 5) == 0);
		CHECK(cache_stats(cache).extents_pinned == 1);
		CHECK(cache_stats(cache).peers == 2);
		CHECK_RESULT(shmcache_unpin(cache, &item), 0);
		CHECK(cache_stats(cache).peers == 1);
		CHECK(cache_stats(cache).extents_pinned == 0);
		cache_set_text(cache, "key", "value");
	}
	end();
}

/* No fork handler runs in a child of the bare system call. */
static void
clone_bypassing_handlers(void)
{
	begin();
	cache_set_text(cache, "parent", "before fork");
	CHECK_RESULT(shmcache_get_pinned(cache, "parent", 6, &item), 0);
	for (unsigned i = 0; i < 20; i++) {
		char key[] = "child";
		long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

		CHECK_SYS(pid);
		if (pid == 0) {
			struct shmcache_item inherited = item;

			if (i % 2 != 0) {
				CHECK_RESULT(shmcache_unpin(cache, &inherited),
				    SHMCACHE_ESTALE);
			}
			use_cache(key);
			CHECK_RESULT(shmcache_delete(cache, key, 5), 0);
			test_exit(0);
		}
		child_expect((pid_t)pid, 0);
	}
	sweep();
	CHECK(cache_stats(cache).peers == 1);
	CHECK(item.value_bytes == 11);
	CHECK(memcmp(item.value, "before fork", 11) == 0);
	CHECK_RESULT(shmcache_unpin(cache, &item), 0);
	end();
}

/* Its thread ends without a call: what its end gives back is the parent's. */
static void
clone_that_only_ends_its_thread(void)
{
	begin();
	cache_set_text(cache, "key", "value");
	for (unsigned i = 0; i < 5; i++) {
		pid_t pid = _Fork();

		CHECK_SYS(pid);
		if (pid == 0) {
			pthread_exit(NULL);
		}
		child_expect(pid, 0);
	}
	cache_check_text(cache, "key", "value");
	CHECK(cache_stats(cache).peers == 1);
	end();
}

#define THREADS 8
#define SLOTS   4

struct crowd {
	_Atomic uint32_t attached; /* the first ones have done their call */
	_Atomic uint32_t tried;    /* the others theirs */
	_Atomic uint32_t leave;    /* 1: the first ones, 2 + i: thread i */
};

static struct crowd crowd;

static void *
crowd_first(void *unused)
{
	(void)unused;
	cache_check_text(cache, "key", "value");
	atomic_fetch_add(&crowd.attached, 1);
	await_at_least(&crowd.leave, 1);
	return NULL;
}

static void *
crowd_other(void *argument)
{
	struct shmcache_item held;
	uint32_t number;
	int result;

	memcpy(&number, argument, sizeof(number));
	await_at_least(&crowd.attached, SLOTS - 1);
	for (unsigned i = 0; i < 100; i++) {
		char buffer[8];
		size_t bytes;

		cache_check_text(cache, "key", "value");
		CHECK_RESULT(shmcache_peek(cache, "key", 3, buffer,
				 sizeof(buffer), &bytes, NULL),
		    0);
		CHECK(bytes == 5 && memcmp(buffer, "value", 5) == 0);
		CHECK_RESULT(shmcache_get(cache, "none", 4, buffer,
				 sizeof(buffer), &bytes, NULL),
		    SHMCACHE_ENOENT);
		CHECK_RESULT(shmcache_exists(cache, "key", 3), 1);
		CHECK_RESULT(shmcache_set(cache, "key", 3, "new", 3, 0, 0),
		    SHMCACHE_EPEERS);
		CHECK_RESULT(shmcache_delete(cache, "key", 3), SHMCACHE_EPEERS);
		/* A private copy. */
		CHECK_RESULT(shmcache_get_pinned(cache, "key", 3, &held), 0);
		CHECK_RESULT(shmcache_unpin(cache, &held), 0);
	}
	atomic_fetch_add(&crowd.tried, 1);
	await_at_least(&crowd.leave, 2 + number);
	/* There is a slot now, but it may not look for one each time. */
	while ((result = shmcache_set(cache, "key", 3, "value", 5, 0, 0)) ==
	       SHMCACHE_EPEERS) {
		sleep_us(1000);
	}
	CHECK_RESULT(result, 0);
	return NULL;
}

static void
more_threads_than_slots(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	pthread_t threads[THREADS];
	uint32_t numbers[THREADS];

	options.capacity_bytes = CAPACITY;
	options.peer_slots = SLOTS;
	cache = cache_create("fork", &options);
	CHECK(cache_stats(cache).peer_slots == SLOTS);
	cache_set_text(cache, "key", "value"); /* the first slot */
	for (uint32_t i = 0; i < THREADS; i++) {
		numbers[i] = i;
		CHECK(pthread_create(&threads[i], NULL,
			  i < SLOTS - 1 ? crowd_first : crowd_other,
			  &numbers[i]) == 0);
	}
	await_at_least(&crowd.tried, THREADS - SLOTS + 1);
	CHECK(cache_stats(cache).peers == SLOTS);
	atomic_store(&crowd.leave, 1);
	for (unsigned i = 0; i < SLOTS - 1; i++) {
		CHECK(pthread_join(threads[i], NULL) == 0);
	}
	CHECK(cache_stats(cache).peers == 1);
	for (uint32_t i = SLOTS - 1; i < THREADS; i++) {
		atomic_store(&crowd.leave, 2 + i);
		CHECK(pthread_join(threads[i], NULL) == 0);
	}
	end();
}

static void
opened_twice_in_one_process(void)
{
	struct shmcache *second;
	char child[] = "child";

	begin();
	second = cache_attach("fork");
	CHECK(second != cache);
	cache_set_text(cache, "parent", "before fork");
	cache_check_text(second, "parent", "before fork");
	cache_set_text(second, "key", "value");
	cache_check_text(cache, "key", "value");
	CHECK_RESULT(shmcache_get_pinned(second, "key", 3, &item), 0);
	cache_churn(cache, 4, 5 * cache_stats(cache).arena_bytes);
	CHECK(memcmp(item.value, "value", 5) == 0);
	CHECK_RESULT(shmcache_unpin(second, &item), 0);
	cache_set_text(cache, "parent", "before fork");
	child_run(use_cache, child);
	CHECK_RESULT(shmcache_close(second), 0);
	cache_check_text(cache, "parent", "before fork");
	child_run(use_cache, child);
	sweep();
	CHECK(cache_stats(cache).peers == 1);
	end();
}

static void
close_with_an_item_out(void)
{
	begin();
	cache_set_text(cache, "key", "value");
	CHECK_RESULT(shmcache_get_pinned(cache, "key", 3, &item), 0);
	CHECK_RESULT(shmcache_close(cache), SHMCACHE_EBUSY);
	cache_check_text(cache, "key", "value");
	CHECK(memcmp(item.value, "value", 5) == 0);
	CHECK_RESULT(shmcache_unpin(cache, &item), 0);
	CHECK_RESULT(shmcache_close(cache), 0);
	CHECK_RESULT(shmcache_close(NULL), 0);
	cache = cache_attach("fork");
	join_new_thread(thread_pin); /* pinned by a thread that is gone */
	CHECK_RESULT(shmcache_close(cache), SHMCACHE_EBUSY);
	CHECK_RESULT(shmcache_unpin(cache, &item), 0);
	end();
}

static void
five_items_of_one_thread(void)
{
	struct shmcache_item items[5];

	begin();
	cache_set_text(cache, "key", "value");
	for (unsigned i = 0; i < 4; i++) {
		CHECK_RESULT(
		    shmcache_get_pinned(cache, "key", 3, &items[i]), 0);
	}
	CHECK_RESULT(
	    shmcache_get_pinned(cache, "key", 3, &items[4]), SHMCACHE_EPINS);
	CHECK_RESULT(shmcache_unpin(cache, &items[1]), 0);
	CHECK_RESULT(shmcache_get_pinned(cache, "key", 3, &items[1]), 0);
	for (unsigned i = 0; i < 4; i++) {
		CHECK_RESULT(shmcache_unpin(cache, &items[i]), 0);
	}
	end();
}

static void
sweep_from_another_process(void *unused)
{
	struct shmcache_process_info processes[4];
	struct shmcache_sweep_result result;
	struct shmcache *other = cache_attach("fork");
	size_t count = 0;
	unsigned seen = 0;

	(void)unused;
	CHECK_RESULT(shmcache_sweep(other, &result), 0);
	CHECK(result.freed_peers == 0);
	CHECK_RESULT(shmcache_processes(other, processes, 4, &count), 0);
	for (size_t i = 0; i < count && i < 4; i++) {
		seen += processes[i].pid == getppid() && processes[i].alive;
	}
	CHECK(seen == 1);
	CHECK_RESULT(shmcache_close(other), 0);
}

static void
descriptors_closed_after_open(void)
{
	char child[] = "child";

	begin();
	cache_set_text(cache, "parent", "before fork");
	closefrom(3);
	cache_check_text(cache, "parent", "before fork");
	child_run(sweep_from_another_process, NULL);
	cache_set_text(cache, "parent", "before fork");
	child_run(use_cache, child);
	end();
}

/* Attach, then become another program, which this pipe end tells. */
static void
exec_sleep(void *end_of_pipe)
{
	int fd;

	memcpy(&fd, end_of_pipe, sizeof(fd));
	cache_set_text(cache, "key", "value");
	CHECK_RESULT(shmcache_get_pinned(cache, "key", 3, &item), 0);
	CHECK(write(fd, "x", 1) == 1);
	execlp("sleep", "sleep", "1000", (char *)NULL);
	skip("cannot run sleep: %s", test_errno_text());
}

static void
exec_in_place_frees_the_slots(void)
{
	struct shmcache_process_info process;
	size_t count = 0;
	int pipe_ends[2];
	char byte;
	pid_t pid;

	begin();
	cache_set_text(cache, "other", "value");
	CHECK_SYS(pipe2(pipe_ends, O_CLOEXEC));
	pid = child_start(exec_sleep, &pipe_ends[1]);
	CHECK_SYS(close(pipe_ends[1]));
	CHECK(read(pipe_ends[0], &byte, 1) == 1);
	CHECK(read(pipe_ends[0], &byte, 1) == 0); /* closed by exec */
	/* The kernel may drop the old memory a moment later. */
	do {
		sweep();
		CHECK_RESULT(shmcache_processes(cache, &process, 1, &count), 0);
	} while (count != 1);
	CHECK(process.pid == getpid());
	CHECK(cache_stats(cache).peers == 1);
	CHECK(cache_stats(cache).extents_pinned == 0);
	child_kill(pid); /* it was alive all the time */
	end();
}

static void
try_without_a_slot(void *unused)
{
	struct shmcache *mine = NULL;
	char buffer[8];
	int result;

	(void)unused;
	CHECK_RESULT(
	    shmcache_open(test_name("fork"), NULL, &mine), SHMCACHE_EPROCESSES);
	CHECK(mine == NULL);
	CHECK(strstr(shmcache_last_error(), "2") != NULL);
	result = shmcache_get(cache, "key", 3, buffer, 8, NULL, NULL);
	CHECK_RESULT(result, SHMCACHE_EPROCESSES);
	CHECK_RESULT(
	    shmcache_set(cache, "key", 3, "new", 3, 0, 0), SHMCACHE_EPROCESSES);
}

static void
more_processes_than_slots(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	pid_t pid;

	options.capacity_bytes = CAPACITY;
	options.process_slots = 2;
	cache = cache_create("fork", &options);
	stage = shared_alloc(sizeof(*stage));
	CHECK(cache_stats(cache).process_slots == 2);
	cache_set_text(cache, "key", "value");
	pid = child_start(hold_for_ever, NULL);
	await_at_least(stage, 1);
	child_run(try_without_a_slot, NULL);
	child_kill(pid);
	for (uint32_t i = 0; i < 10; i++) { /* it is free now */
		pid = child_start(hold_for_ever, NULL);
		await_at_least(stage, 2 + i);
		child_kill(pid);
	}
	sweep();
	CHECK(cache_stats(cache).peers == 1);
	cache_check_text(cache, "key", "value");
	end();
}

static _Atomic uint32_t hammering;

/* What is there may have been evicted meanwhile, but is not another's. */
static void
set_and_get(const char *key)
{
	char buffer[16];
	size_t bytes;
	int result;

	cache_set_text(cache, key, "value");
	result = shmcache_get(
	    cache, key, strlen(key), buffer, sizeof(buffer), &bytes, NULL);
	if (result != SHMCACHE_ENOENT) {
		CHECK_RESULT(result, 0);
		CHECK(bytes == 5 && memcmp(buffer, "value", 5) == 0);
	}
}

static void *
hammer(void *unused)
{
	(void)unused;
	while (atomic_load(&hammering) != 0) {
		set_and_get("hammer");
	}
	return NULL;
}

static void
use_a_little(void *unused)
{
	(void)unused;
	for (unsigned i = 0; i < 100; i++) {
		set_and_get("child");
	}
}

/* fork() takes what the other threads are in the middle of. */
static void
fork_beside_busy_threads(void)
{
	pthread_t threads[3];

	if (TEST_TSAN) {
		skip("ThreadSanitizer cannot follow a fork beside threads");
	}
	begin();
	atomic_store(&hammering, 1);
	for (unsigned i = 0; i < TEST_COUNT_OF(threads); i++) {
		CHECK(pthread_create(&threads[i], NULL, hammer, NULL) == 0);
	}
	for (unsigned i = 0; i < 100; i++) {
		child_run(use_a_little, NULL);
	}
	atomic_store(&hammering, 0);
	for (unsigned i = 0; i < TEST_COUNT_OF(threads); i++) {
		CHECK(pthread_join(threads[i], NULL) == 0);
	}
	sweep();
	CHECK(cache_stats(cache).peers <= 1);
	end();
}

/* 60 generations, each the child of the one before. */
static void
fork_again(void *depth)
{
	unsigned left;

	memcpy(&left, depth, sizeof(left));
	cache_check_text(cache, "parent", "before fork");
	if (left-- != 0) {
		child_run(fork_again, &left);
	}
	cache_set_text(cache, "parent", "before fork");
}

static void
chain_of_forks(void)
{
	unsigned depth = 60;

	begin();
	cache_set_text(cache, "parent", "before fork");
	fork_again(&depth);
	sweep();
	CHECK(cache_stats(cache).peers == 1);
	end();
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(handle_works_in_descendants),
		CASE(handle_not_used_before_fork),
		CASE(inherited_item_is_stale),
		CASE(writers_killed_at_random),
		CASE(sweep_frees_the_dead),
		CASE(sweep_spares_the_stopped),
		CASE(thread_gives_its_slot_back),
		CASE(thread_leaves_a_pinned_item),
		CASE(clone_bypassing_handlers),
		CASE(clone_that_only_ends_its_thread),
		CASE(more_threads_than_slots),
		CASE(opened_twice_in_one_process),
		CASE(close_with_an_item_out),
		CASE(five_items_of_one_thread),
		CASE(descriptors_closed_after_open),
		CASE(exec_in_place_frees_the_slots),
		CASE(more_processes_than_slots),
		CASE(fork_beside_busy_threads),
		CASE(chain_of_forks),
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
	};

	return run_suite(argc, argv, &suite);
}
