/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watching loads of others, as an event loop does; what the thread that does it
 * must not do to the application; forks, closing, running out of descriptors.
 */
#include "libshmcache/watch.h"
#include "tests/support/steps.h"
#include "tests/unit/cache_support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define LONG_MS_OF_TEST 600000u

/* Of a default size of the lease table: 512. */
static struct shmcache *
large_cache(void)
{
	struct shmcache_options o = test_options();

	o.peer_slots = 512;
	o.capacity_bytes = 4u << 20;
	return test_cache_of(&o);
}

static int
begin_load(
    struct shmcache *cache, const char *key, struct shmcache_token *token)
{
	struct shmcache_load_options o = SHMCACHE_LOAD_OPTIONS_INIT;
	struct shmcache_value v = { .value = NULL };
	int error;

	o.lease_ms = LONG_MS_OF_TEST; /* however slow the machine is */
	error = shmcache_begin_load(cache, key, strlen(key), &o, &v, token);

	free(v.value);
	return error != 0 ? error : (int)v.source;
}

static void
lead(struct shmcache *cache, const char *key, struct shmcache_token *token)
{
	assert_int_equal(begin_load(cache, key, token), SHMCACHE_LEAD);
}

static int
fill(struct shmcache *cache, const char *key,
    const struct shmcache_token *token, int result)
{
	char text[] = "value";
	const struct shmcache_loaded loaded = { .value = text,
		.value_bytes = 5 };

	return shmcache_fill(
	    cache, key, strlen(key), token, result, &loaded, NULL);
}

static uint64_t
watch(struct shmcache *cache, const char *key, uint32_t ms, void *context)
{
	uint64_t number = 0;

	assert_int_equal(
	    shmcache_watch_load(cache, key, strlen(key), ms, context, &number),
	    0);
	assert_int_not_equal(number, 0);
	return number;
}

static bool
is_readable(struct shmcache *cache, int ms)
{
	struct pollfd p = { .fd = shmcache_watch_fd(cache), .events = POLLIN };

	assert_true(p.fd >= 0);
	return poll(&p, 1, ms) == 1;
}

/* Waits for one that is over, and checks its result. */
static struct shmcache_watched
await(struct shmcache *cache, int result)
{
	struct shmcache_watched w = { .watch = 0 };

	assert_true(is_readable(cache, 60000));
	assert_int_equal(shmcache_watch_next(cache, &w), 0);
	assert_int_equal(w.result, result);
	return w;
}

static void
assert_nothing_is_over(struct shmcache *cache)
{
	struct shmcache_watched w;

	assert_false(is_readable(cache, 0));
	assert_int_equal(shmcache_watch_next(cache, &w), SHMCACHE_ENOENT);
}

static void
load_that_ends_ends_the_watch(void **state)
{
	const int results[] = { 0, SHMCACHE_ENOENT, -EIO };
	struct shmcache *cache = test_cache();
	struct shmcache_token token;
	int context;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(results) + 1; i++) {
		struct shmcache_watched w;
		uint64_t number;

		lead(cache, "key", &token);
		number = watch(cache, "key", LONG_MS_OF_TEST, &context);
		assert_false(is_readable(cache, 30));
		assert_nothing_is_over(cache);
		if (i < TEST_COUNT_OF(results))
			assert_int_equal(
			    fill(cache, "key", &token, results[i]), 0);
		else
			assert_int_equal(shmcache_abandon(cache, &token), 0);
		w = await(cache, 0);
		assert_ptr_equal(w.context, &context);
		assert_int_equal(w.watch, number);
		assert_nothing_is_over(cache);
		(void)shmcache_delete(cache, "key", 3);
	}
	assert_int_equal(test_stats(cache).load_waiters, 4);
	assert_true(test_stats(cache).load_wait_us >= 4 * 30000);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
what_nobody_loads_is_over_at_once(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_token token;

	(void)state;
	(void)watch(cache, "key", LONG_MS_OF_TEST, NULL);
	assert_true(is_readable(cache, 0));
	(void)await(cache, 0);
	lead(cache, "key", &token);
	assert_int_equal(fill(cache, "key", &token, 0), 0);
	(void)watch(cache, "key", 0, NULL);
	(void)await(cache, 0);
	assert_nothing_is_over(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
time_of_a_watch_ends(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_token token;
	uint64_t shorter;

	(void)state;
	lead(cache, "key", &token);
	(void)watch(cache, "key", LONG_MS_OF_TEST, NULL);
	shorter = watch(cache, "key", 20, NULL);
	assert_int_equal(await(cache, -ETIMEDOUT).watch, shorter);
	(void)watch(cache, "key", 0, NULL);
	(void)await(cache, -ETIMEDOUT);
	assert_nothing_is_over(cache);
	assert_int_equal(shmcache_abandon(cache, &token), 0);
	(void)await(cache, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

#define KEYS 300u

/* Leads so many keys; a few pass for one that is loaded already (lease.h). */
static void
lead_many(struct shmcache *cache, struct shmcache_token tokens[KEYS],
    char keys[KEYS][32])
{
	for (unsigned i = 0, n = 0; i < KEYS; n++)
		if (begin_load(cache, test_key(keys[i], "key", n),
			&tokens[i]) == SHMCACHE_LEAD)
			i++;
}

/* More than the kernel waits for at once, each watched twice; `one_by_one`: as on
   a kernel that waits for one word only. */
static void
watch_many(bool one_by_one)
{
	struct shmcache *cache = large_cache();
	struct shmcache_token tokens[KEYS];
	unsigned told[KEYS] = { 0 };
	char keys[KEYS][32];

	assert_true(shmcache_watch_fd(cache) >= 0);
	shm_store32(&cache->watcher->one_by_one, one_by_one);
	lead_many(cache, tokens, keys);
	for (unsigned i = 0; i < 2 * KEYS; i++)
		(void)watch(cache, keys[i / 2], LONG_MS_OF_TEST, &told[i / 2]);
	/* (Some are refused: their tokens share a place.) */
	for (unsigned i = KEYS; i-- > 0;)
		(void)fill(cache, keys[i], &tokens[i], 0);
	for (unsigned i = 0; i < 2 * KEYS; i++)
		++*(unsigned *)await(cache, 0).context;
	for (unsigned i = 0; i < KEYS; i++)
		assert_int_equal(told[i], 2);
	assert_nothing_is_over(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
many_are_watched_at_once(void **state)
{
	(void)state;
	watch_many(false);
}

static void
many_are_watched_by_an_older_kernel(void **state)
{
	(void)state;
	watch_many(true);
}

static void
cancelled_watch_is_not_told(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_token token;
	uint64_t a, b, c;

	(void)state;
	lead(cache, "key", &token);
	a = watch(cache, "key", LONG_MS_OF_TEST, NULL);
	b = watch(cache, "key", LONG_MS_OF_TEST, NULL);
	c = watch(cache, "other", LONG_MS_OF_TEST, NULL);
	assert_int_equal(shmcache_watch_cancel(cache, a), 0);
	assert_int_equal(shmcache_watch_cancel(cache, a), SHMCACHE_ENOENT);
	/* One that is over already. */
	assert_true(is_readable(cache, 0));
	assert_int_equal(shmcache_watch_cancel(cache, c), 0);
	assert_nothing_is_over(cache);
	assert_int_equal(shmcache_abandon(cache, &token), 0);
	assert_int_equal(await(cache, 0).watch, b);
	assert_int_equal(shmcache_watch_cancel(cache, b), SHMCACHE_ENOENT);
	assert_int_equal(shmcache_watch_cancel(cache, 0), SHMCACHE_ENOENT);
	/* The queue is in order after one was taken from its end. */
	a = watch(cache, "other", LONG_MS_OF_TEST, NULL);
	b = watch(cache, "other", LONG_MS_OF_TEST, NULL);
	assert_int_equal(shmcache_watch_cancel(cache, b), 0);
	c = watch(cache, "other", LONG_MS_OF_TEST, NULL);
	assert_int_equal(await(cache, 0).watch, a);
	assert_int_equal(await(cache, 0).watch, c);
	assert_nothing_is_over(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
cache_is_closed_with_watches(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_token token;
	int fd = shmcache_watch_fd(cache);

	(void)state;
	lead(cache, "key", &token);
	(void)watch(cache, "key", LONG_MS_OF_TEST, NULL);
	(void)watch(cache, "other", LONG_MS_OF_TEST, NULL);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(shmcache_close(cache), 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static int
lead_in_child(void *context)
{
	struct shmcache_token token;

	return begin_load(context, "key", &token) != SHMCACHE_LEAD;
}

/* What follows is by liveness alone, and the first call after it leads. */
static void
dead_leader_ends_the_watch(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_token token;
	pid_t pid = test_child_pause(lead_in_child, cache);

	(void)state;
	assert_int_equal(begin_load(cache, "key", &token), SHMCACHE_BUSY);
	(void)watch(cache, "key", LONG_MS_OF_TEST, NULL);
	assert_false(is_readable(cache, 30));
	assert_int_equal(begin_load(cache, "key", &token), SHMCACHE_BUSY);
	test_child_kill(pid);
	(void)await(cache, 0);
	lead(cache, "key", &token);
	assert_int_equal(test_stats(cache).load_takeovers, 1);
	test_child_reap(pid);
	assert_int_equal(shmcache_close(cache), 0);
}

/* The same for who waits, and then begins again. */
static void
dead_leader_ends_the_wait(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_token token;
	pid_t pid = test_child_pause(lead_in_child, cache);

	(void)state;
	assert_int_equal(begin_load(cache, "key", &token), SHMCACHE_BUSY);
	assert_int_equal(shmcache_wait_load(cache, "key", 3, 5), -ETIMEDOUT);
	test_child_kill(pid);
	assert_int_equal(
	    shmcache_wait_load(cache, "key", 3, LONG_MS_OF_TEST), 0);
	lead(cache, "key", &token);
	assert_true(test_stats(cache).load_waiters > 0);
	test_child_reap(pid);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
late_leader_ends_watch_and_wait(void **state)
{
	struct shmcache_load_options o = SHMCACHE_LOAD_OPTIONS_INIT;
	struct shmcache *cache = test_cache();
	struct shmcache_token token;
	struct shmcache_value v;

	(void)state;
	o.lease_ms = 20;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(
		    shmcache_begin_load(cache, "key", 3, &o, &v, &token), 0);
		assert_int_equal(v.source, SHMCACHE_LEAD);
		if (i > 0) {
			assert_int_equal(shmcache_wait_load(
					     cache, "key", 3, LONG_MS_OF_TEST),
			    0);
			continue;
		}
		(void)watch(cache, "key", LONG_MS_OF_TEST, NULL);
		(void)await(cache, 0);
	}
	assert_int_equal(shmcache_close(cache), 0);
}

/* Two requests of one loop for one key. */
static void
own_load_is_anothers_too(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_token token, other;

	(void)state;
	lead(cache, "key", &token);
	assert_int_equal(begin_load(cache, "key", &other), SHMCACHE_BUSY);
	(void)watch(cache, "key", LONG_MS_OF_TEST, NULL);
	assert_int_equal(fill(cache, "key", &token, 0), 0);
	(void)await(cache, 0);
	assert_int_equal(begin_load(cache, "key", &other), SHMCACHE_FROM_CACHE);
	assert_int_equal(test_stats(cache).load_alone, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
removed_cache_ends_the_watch(void **state)
{
	struct shmcache_options o = test_options();
	const char *name = test_name();
	struct shmcache *cache, *again;
	struct shmcache_token token;

	(void)state;
	assert_int_equal(shmcache_open(name, &o, &cache), 0);
	lead(cache, "key", &token);
	(void)watch(cache, "key", LONG_MS_OF_TEST, NULL);
	assert_int_equal(shmcache_remove(name), 0);
	/* (Who watches finds the handle without a mapping.) */
	assert_int_equal(shmcache_exists(cache, "key", 3), 0);
	(void)await(cache, SHMCACHE_EREMOVED);
	assert_int_equal(shmcache_watch_load(cache, "key", 3, 0, NULL, NULL),
	    SHMCACHE_EREMOVED);
	assert_int_equal(shmcache_open(name, &o, &again), 0);
	while (begin_load(cache, "key", &token) != SHMCACHE_LEAD)
		(void)usleep(1000);
	(void)watch(cache, "key", LONG_MS_OF_TEST, NULL);
	/* Gone, and there again, before anybody looks: it is over all the same. */
	assert_int_equal(shmcache_remove(name), 0);
	assert_int_equal(shmcache_close(again), 0);
	assert_int_equal(shmcache_open(name, &o, &again), 0);
	assert_true(is_readable(cache, 60000));
	assert_int_equal(shmcache_close(again), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

/* A child with watches of its own; the parent's are not its. */
static int
watch_in_child(void *context)
{
	struct shmcache *cache = context;
	struct shmcache_token token;
	struct shmcache_watched w;
	struct pollfd p = { .events = POLLIN };

	if (shmcache_watch_next(cache, &w) != SHMCACHE_ENOENT ||
	    begin_load(cache, "key", &token) != SHMCACHE_BUSY ||
	    begin_load(cache, "child", &token) != SHMCACHE_LEAD ||
	    shmcache_watch_load(cache, "child", 5, 60000, &w, NULL) != 0)
		return 1;
	p.fd = shmcache_watch_fd(cache);
	if (poll(&p, 1, 20) != 0 || shmcache_abandon(cache, &token) != 0 ||
	    poll(&p, 1, 60000) != 1 || shmcache_watch_next(cache, &w) != 0 ||
	    w.context != &w)
		return 2;
	return shmcache_close(cache) != 0 ? 3 : 0;
}

static void
fork_leaves_each_its_own(void **state)
{
	struct shmcache *cache;
	struct shmcache_token token;

	(void)state;
#if SHM_ATOMIC_BUILTINS
	skip(); /* ThreadSanitizer lets no forked child start a thread */
#endif
	cache = test_cache();
	lead(cache, "key", &token);
	(void)watch(cache, "key", LONG_MS_OF_TEST, NULL);
	(void)watch(cache, "other", LONG_MS_OF_TEST, NULL);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(test_child_run(watch_in_child, cache), 0);
	(void)await(cache, 0);
	assert_nothing_is_over(cache);
	assert_int_equal(shmcache_abandon(cache, &token), 0);
	(void)await(cache, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
no_descriptor_is_an_error_and_no_more(void **state)
{
	struct shmcache *cache = test_cache();
	struct rlimit before, none;
	struct shmcache_token token;

	(void)state;
	lead(cache, "key", &token);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(shmcache_watch_fd(cache), -EMFILE);
	assert_int_equal(
	    shmcache_watch_load(cache, "key", 3, 0, NULL, NULL), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	(void)watch(cache, "key", LONG_MS_OF_TEST, NULL);
	assert_int_equal(shmcache_abandon(cache, &token), 0);
	(void)await(cache, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

/* All but SIGKILL, SIGSTOP and two of glibc's own? */
static bool
blocks_all(unsigned long long mask)
{
	return (mask | 1ull << 8 | 1ull << 18 | 3ull << 31) == UINT64_MAX;
}

/* Does the thread with this folder in /proc bear the name? */
static bool
is_called(const char *id, const char *name, bool *blocks_all_out)
{
	char path[300], line[256], word[64] = "";
	unsigned long long mask = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%s/status", id);
	file = fopen(path, "r");
	if (file == NULL)
		return false;
	while (fgets(line, sizeof(line), file) != NULL) {
		(void)sscanf(line, "Name: %63s", word);
		(void)sscanf(line, "SigBlk: %llx", &mask);
	}
	(void)fclose(file);
	*blocks_all_out = blocks_all(mask);
	return strcmp(word, name) == 0;
}

static bool
has_thread(const char *name, bool *blocks_all_out)
{
	DIR *threads = opendir("/proc/self/task");
	const struct dirent *entry;
	bool found = false;

	assert_non_null(threads);
	while (!found && (entry = readdir(threads)) != NULL)
		found = is_called(entry->d_name, name, blocks_all_out);
	(void)closedir(threads);
	return found;
}

static void
thread_keeps_out_of_the_way(void **state)
{
	struct shmcache *cache = test_cache();
	bool blocks = false;

	(void)state;
	assert_false(has_thread("shmcache-watch", &blocks));
	assert_true(shmcache_watch_fd(cache) >= 0);
	assert_true(has_thread("shmcache-watch", &blocks));
	/* (Valgrind has masks of its own.) */
	assert_true(blocks || !steps_possible());
	(void)watch(cache, "key", 0, NULL);
	(void)await(cache, 0);
	assert_int_equal(test_stats(cache).peers, 1);
	assert_int_equal(shmcache_close(cache), 0);
	assert_false(has_thread("shmcache-watch", &blocks));
}

static void
arguments_are_checked(void **state)
{
	struct shmcache *cache = test_cache();

	(void)state;
	assert_int_equal(shmcache_watch_next(cache, NULL), -EINVAL);
	assert_int_equal(
	    shmcache_watch_load(cache, "", 0, 0, NULL, NULL), SHMCACHE_EKEY);
	assert_int_equal(
	    shmcache_watch_load(cache, NULL, 3, 0, NULL, NULL), SHMCACHE_EKEY);
	assert_int_equal(shmcache_close(cache), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(load_that_ends_ends_the_watch),
	cmocka_unit_test(what_nobody_loads_is_over_at_once),
	cmocka_unit_test(time_of_a_watch_ends),
	cmocka_unit_test(many_are_watched_at_once),
	cmocka_unit_test(many_are_watched_by_an_older_kernel),
	cmocka_unit_test(cancelled_watch_is_not_told),
	cmocka_unit_test(cache_is_closed_with_watches),
	cmocka_unit_test(dead_leader_ends_the_watch),
	cmocka_unit_test(dead_leader_ends_the_wait),
	cmocka_unit_test(late_leader_ends_watch_and_wait),
	cmocka_unit_test(own_load_is_anothers_too),
	cmocka_unit_test(removed_cache_ends_the_watch),
	cmocka_unit_test(fork_leaves_each_its_own),
	cmocka_unit_test(no_descriptor_is_an_error_and_no_more),
	cmocka_unit_test(thread_keeps_out_of_the_way),
	cmocka_unit_test(arguments_are_checked),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
