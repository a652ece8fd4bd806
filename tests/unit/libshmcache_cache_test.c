/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_cache_test.c - handles, threads, forks, and reads without a slot
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "libshmcache/cache.h"
#include "libshmcache/stats.h"
#include "tests/unit/cache_support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int
set_up(void **state)
{
	*state = test_cache();
	return 0;
}

static int
tear_down(void **state)
{
	return shmcache_close(*state);
}

/* Of `slots` peers, none of them taken yet. */
static struct shmcache *
cache_of_peers(uint32_t slots)
{
	struct shmcache_options o = test_options();

	o.peer_slots = slots;
	return test_cache_of(&o);
}

static void
open_modes_attach_or_create(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *one = NULL, *two = NULL;
	const char *name = test_name();

	(void)state;
	o.open_mode = SHMCACHE_ATTACH;
	assert_int_equal(shmcache_open(name, &o, &one), SHMCACHE_ENOCACHE);
	assert_int_equal(shmcache_open(name, NULL, &one), SHMCACHE_ENOCACHE);
	o.open_mode = SHMCACHE_OPEN_OR_CREATE;
	assert_int_equal(shmcache_open(name, &o, &one), 0);
	o.open_mode = SHMCACHE_CREATE_EXCLUSIVE;
	assert_int_equal(shmcache_open(name, &o, &two), SHMCACHE_EEXIST);
	assert_int_equal(shmcache_open(name, NULL, NULL), -EINVAL);
	assert_int_equal(shmcache_open(NULL, &o, &two), SHMCACHE_ENAME);
	assert_null(two);
	assert_int_equal(shmcache_open(name, NULL, &two), 0);
	test_set_ok(one, "key", "value");
	assert_true(test_has(two, "key", "value"));
	assert_int_equal(shmcache_close(one), 0);
	assert_true(test_has(two, "key", "value"));
	assert_int_equal(shmcache_close(two), 0);
	assert_int_equal(shmcache_close(NULL), 0);
}

static void
key_lengths_are_checked(void **state)
{
	static char key[SHMCACHE_KEY_BYTES_MAX + 1];
	struct shmcache *cache = *state;
	size_t bytes[] = { 0, sizeof(key), SIZE_MAX };

	for (size_t i = 0; i < TEST_COUNT_OF(bytes); i++) {
		assert_int_equal(
		    shmcache_set(cache, key, bytes[i], "v", 1, 0, 0),
		    SHMCACHE_EKEY);
		assert_int_equal(
		    shmcache_get(cache, key, bytes[i], NULL, 0, NULL, NULL),
		    SHMCACHE_EKEY);
		assert_int_equal(
		    shmcache_delete(cache, key, bytes[i]), SHMCACHE_EKEY);
		assert_int_equal(
		    shmcache_exists(cache, key, bytes[i]), SHMCACHE_EKEY);
	}
	assert_int_equal(
	    shmcache_set(cache, NULL, 3, "v", 1, 0, 0), SHMCACHE_EKEY);
	assert_int_equal(shmcache_set(cache, "k", 1, NULL, 1, 0, 0), -EINVAL);
	assert_int_equal(
	    shmcache_set(cache, key, sizeof(key) - 1, "v", 1, 0, 0),
	    SHMCACHE_ETOOBIG);
	assert_int_equal(
	    shmcache_set(cache, "k", 1, key, SIZE_MAX, 0, 0), SHMCACHE_ETOOBIG);
}

static void
values_may_be_empty_or_the_largest(void **state)
{
	struct shmcache *cache = *state;
	size_t most = cache->mapping->max_entry_bytes, bytes = 99;
	char *value = calloc(1, most);

	assert_non_null(value);
	assert_int_equal(shmcache_set(cache, "k", 1, NULL, 0, 0, 5), 0);
	assert_int_equal(shmcache_get(cache, "k", 1, NULL, 0, &bytes, NULL), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(shmcache_set(cache, "k", 1, value, most - 1, 0, 0), 0);
	assert_int_equal(
	    shmcache_get(cache, "k", 1, value, most, &bytes, NULL), 0);
	assert_int_equal(bytes, most - 1);
	assert_int_equal(
	    shmcache_set(cache, "k", 1, value, most, 0, 0), SHMCACHE_ETOOBIG);
	assert_int_equal(shmcache_exists(cache, "k", 1), 1);
	free(value);
}

static void
short_buffer_tells_the_length_needed(void **state)
{
	struct shmcache *cache = *state;
	char buffer[4] = "xyz";
	size_t bytes = 0;
	uint32_t flags = 1;

	assert_int_equal(shmcache_set(cache, "k", 1, "12345", 5, 0, 7), 0);
	assert_int_equal(shmcache_get(cache, "k", 1, buffer, 4, &bytes, &flags),
	    SHMCACHE_EBUFFER);
	assert_int_equal(bytes, 5);
	assert_int_equal(flags, 1);
	assert_string_equal(buffer, "xyz");
	assert_int_equal(
	    shmcache_get(cache, "k", 1, NULL, 0, NULL, NULL), SHMCACHE_EBUFFER);
	assert_int_equal(shmcache_exists(cache, "k", 1), 1);
}

static void
misses_leave_the_outputs(void **state)
{
	struct shmcache *cache = *state;
	size_t bytes = 1234;
	uint32_t flags = 77;
	void *value = cache;
	int64_t ttl = 55;
	struct shmcache_item item = { .pin = 99 };

	assert_int_equal(shmcache_get(cache, "k", 1, NULL, 0, &bytes, &flags),
	    SHMCACHE_ENOENT);
	assert_int_equal(
	    shmcache_get_alloc(cache, "k", 1, &value, &bytes, &flags),
	    SHMCACHE_ENOENT);
	assert_int_equal(
	    shmcache_get_pinned(cache, "k", 1, &item), SHMCACHE_ENOENT);
	assert_int_equal(shmcache_ttl(cache, "k", 1, &ttl), SHMCACHE_ENOENT);
	assert_int_equal(bytes, 1234);
	assert_int_equal(flags, 77);
	assert_ptr_equal(value, cache);
	assert_int_equal(ttl, 55);
	assert_int_equal(item.pin, 99);
	assert_false(shm_peer_holds(cache->mapping->segment));
}

static void
allocated_value_is_terminated(void **state)
{
	struct shmcache *cache = *state;
	char long_value[900];
	void *value = NULL;
	size_t bytes = 0;
	uint32_t flags = 0;

	memset(long_value, 'z', sizeof(long_value));
	assert_int_equal(shmcache_set(cache, "k", 1, "abc", 3, 0, 9), 0);
	assert_int_equal(
	    shmcache_get_alloc(cache, "k", 1, &value, &bytes, &flags), 0);
	assert_string_equal(value, "abc");
	assert_int_equal(bytes, 3);
	assert_int_equal(flags, 9);
	free(value);
	assert_int_equal(
	    shmcache_set(cache, "k", 1, long_value, sizeof(long_value), 0, 0),
	    0);
	assert_int_equal(
	    shmcache_get_alloc(cache, "k", 1, &value, NULL, NULL), 0);
	assert_memory_equal(value, long_value, sizeof(long_value));
	assert_int_equal(((char *)value)[900], 0);
	free(value);
}

static void
calls_within_a_call_are_refused(void **state)
{
	struct shmcache *cache = *state;
	struct shmcache *other = NULL;
	struct shmcache_stats stats;
	size_t count;
	int64_t ttl;

	assert_true(call_begin());
	assert_int_equal(test_set(cache, "k", "v"), SHMCACHE_EDEADLK);
	assert_int_equal(shmcache_exists(cache, "k", 1), SHMCACHE_EDEADLK);
	assert_int_equal(shmcache_delete(cache, "k", 1), SHMCACHE_EDEADLK);
	assert_int_equal(shmcache_touch(cache, "k", 1, 1), SHMCACHE_EDEADLK);
	assert_int_equal(shmcache_ttl(cache, "k", 1, &ttl), SHMCACHE_EDEADLK);
	assert_int_equal(shmcache_flush(cache), SHMCACHE_EDEADLK);
	assert_int_equal(
	    shmcache_stats(cache, &stats, sizeof(stats)), SHMCACHE_EDEADLK);
	assert_int_equal(shmcache_sweep(cache, NULL), SHMCACHE_EDEADLK);
	assert_int_equal(
	    shmcache_verify(cache, SHMCACHE_VERIFY_LIVE, NULL, NULL),
	    SHMCACHE_EDEADLK);
	assert_int_equal(
	    shmcache_processes(cache, NULL, 0, &count), SHMCACHE_EDEADLK);
	assert_int_equal(shmcache_open("x", NULL, &other), SHMCACHE_EDEADLK);
	assert_int_equal(shmcache_remove(cache->path), SHMCACHE_EDEADLK);
	assert_int_equal(shmcache_close(cache), SHMCACHE_EDEADLK);
	call_end();
	test_set_ok(cache, "k", "v");
}

static void
pinned_item_stays_while_its_entry_goes(void **state)
{
	struct shmcache *cache = *state;
	struct shmcache_item item;

	assert_int_equal(shmcache_set(cache, "k", 1, "first", 5, 0, 3), 0);
	assert_int_equal(shmcache_get_pinned(cache, "k", 1, &item), 0);
	assert_int_equal(item.client_flags, 3);
	test_set_ok(cache, "k", "second");
	assert_int_equal(shmcache_delete(cache, "k", 1), 0);
	for (unsigned n = 0; n < 3000; n++) {
		char key[32];

		test_set_ok(cache, test_key(key, "fill", n),
		    "0123456789012345678901234567890123456789");
	}
	assert_int_equal(item.value_bytes, 5);
	assert_memory_equal(item.value, "first", 5);
	assert_int_equal(test_stats(cache).extents_pinned, 1);
	assert_int_equal(shmcache_unpin(cache, &item), 0);
	assert_int_equal(shmcache_unpin(cache, &item), -EINVAL);
	assert_int_equal(test_stats(cache).extents_pinned, 0);
}

static void
four_items_can_be_pinned_by_a_thread(void **state)
{
	struct shmcache *cache = *state;
	struct shmcache_item items[4], fifth, none = { .pin = 2 };

	test_set_ok(cache, "k", "value");
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(
		    shmcache_get_pinned(cache, "k", 1, &items[i]), 0);
	assert_int_equal(
	    shmcache_get_pinned(cache, "k", 1, &fifth), SHMCACHE_EPINS);
	assert_int_equal(shmcache_close(cache), SHMCACHE_EBUSY);
	assert_true(test_has(cache, "k", "value"));
	assert_int_equal(shmcache_unpin(cache, &items[2]), 0);
	assert_int_equal(shmcache_get_pinned(cache, "k", 1, &items[2]), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(shmcache_unpin(cache, &items[i]), 0);
	assert_int_equal(shmcache_unpin(cache, &none), -EINVAL);
	assert_int_equal(shmcache_unpin(cache, NULL), -EINVAL);
}

static int
visit_nothing(void *context, const struct shmcache_entry *entry)
{
	(void)context;
	(void)entry;
	return 0;
}

static void
removed_cache_says_so(void **state)
{
	struct shmcache *cache = test_cache(), *heir;
	struct shmcache_options o = test_options();
	struct shmcache_stats stats;
	struct shmcache_item item;
	void *value = NULL;

	(void)state;
	test_set_ok(cache, "k", "value");
	assert_int_equal(shmcache_get_pinned(cache, "k", 1, &item), 0);
	assert_int_equal(shmcache_remove(cache->path), 0);
	assert_int_equal(shmcache_remove(cache->path), SHMCACHE_ENOCACHE);
	assert_int_equal(shmcache_get_alloc(cache, "k", 1, &value, NULL, NULL),
	    SHMCACHE_ENOENT);
	assert_int_equal(test_set(cache, "k", "v"), SHMCACHE_EREMOVED);
	assert_int_equal(shmcache_delete(cache, "k", 1), SHMCACHE_EREMOVED);
	assert_int_equal(shmcache_exists(cache, "k", 1), 0);
	assert_int_equal(shmcache_is_available(cache), 0);
	assert_int_equal(shmcache_flush(cache), SHMCACHE_EREMOVED);
	assert_int_equal(
	    shmcache_stats(cache, &stats, sizeof(stats)), SHMCACHE_EREMOVED);
	assert_int_equal(
	    shmcache_hot_keys(cache, visit_nothing, NULL), SHMCACHE_EREMOVED);
	assert_int_equal(
	    shmcache_verify(cache, SHMCACHE_VERIFY_LIVE, NULL, NULL),
	    SHMCACHE_EREMOVED);
	assert_memory_equal(item.value, "value", 5);
	assert_int_equal(shmcache_unpin(cache, &item), 0);
	assert_int_equal(shmcache_open(cache->path, &o, &heir), 0);
	assert_true(test_lacks(heir, "k"));
	test_set_ok(heir, "k", "new");
	while (shmcache_is_available(cache) == 0)
		(void)sched_yield();
	assert_true(test_has(cache, "k", "new"));
	assert_int_equal(shmcache_close(cache), 0);
	assert_true(test_has(heir, "k", "new"));
	assert_int_equal(shmcache_close(heir), 0);
}

/* Who saw no mapping, and looks for the reason when another has attached. */
static void
nobody_goes_on_without_a_mapping(void **state)
{
	struct shmcache *cache = test_cache(), *heir;
	struct shmcache_options o = test_options();
	struct mapping *m;

	(void)state;
	assert_int_equal(shmcache_remove(cache->path), 0);
	assert_true(test_lacks(cache, "k"));
	assert_int_equal(shmcache_open(cache->path, &o, &heir), 0);
	while (shmcache_is_available(cache) == 0)
		(void)sched_yield();
	m = cache->mapping;
	cache->mapping = NULL;
	cache->retry_at_ms = UINT64_MAX;
	assert_true(test_lacks(cache, "k"));
	assert_int_equal(test_set(cache, "k", "v"), SHMCACHE_EREMOVED);
	cache->mapping = m;
	test_set_ok(cache, "k", "v");
	assert_int_equal(shmcache_close(cache), 0);
	assert_int_equal(shmcache_close(heir), 0);
}

static void
items_outlive_a_removed_cache(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_options o = test_options();
	struct shmcache_item item, other;
	struct shmcache *heir;

	(void)state;
	test_set_ok(cache, "k", "value");
	assert_int_equal(shmcache_get_pinned(cache, "k", 1, &item), 0);
	assert_int_equal(shmcache_remove(cache->path), 0);
	assert_int_equal(shmcache_open(cache->path, &o, &heir), 0);
	test_set_ok(heir, "k", "new");
	assert_true(test_has(cache, "k", "new"));
	assert_non_null(cache->left);
	assert_int_equal(shmcache_get_pinned(cache, "k", 1, &other), 0);
	assert_memory_equal(item.value, "value", 5);
	assert_memory_equal(other.value, "new", 3);
	assert_int_equal(shmcache_close(cache), SHMCACHE_EBUSY);
	assert_int_equal(shmcache_unpin(cache, &other), 0);
	assert_int_equal(shmcache_close(cache), SHMCACHE_EBUSY);
	assert_int_equal(shmcache_unpin(cache, &item), 0);
	assert_null(cache->left);
	assert_int_equal(shmcache_close(cache), 0);
	assert_int_equal(shmcache_close(heir), 0);
}

/* Removed and made again and again: each item is of the cache that it was pinned
   in, in whatever order they go. */
static void
items_outlive_several_removed_caches(void **state)
{
	static const unsigned order[] = { 1, 0, 2 };
	struct shmcache *cache = test_cache();
	struct shmcache_options o = test_options();
	struct shmcache_item items[3], pinned_twice;
	struct shmcache *heirs[3];
	char value[2] = "0";

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		while (shmcache_is_available(cache) == 0)
			(void)sched_yield();
		value[0] = (char)('0' + i);
		test_set_ok(cache, "k", value);
		assert_int_equal(
		    shmcache_get_pinned(cache, "k", 1, &items[i]), 0);
		if (i == 1)
			assert_int_equal(
			    shmcache_get_pinned(cache, "k", 1, &pinned_twice),
			    0);
		assert_int_equal(shmcache_remove(cache->path), 0);
		assert_int_equal(shmcache_open(cache->path, &o, &heirs[i]), 0);
	}
	test_set_ok(heirs[2], "k", "new");
	while (!test_has(cache, "k", "new"))
		(void)sched_yield();
	for (unsigned i = 0; i < 3; i++) {
		value[0] = (char)('0' + order[i]);
		assert_memory_equal(items[order[i]].value, value, 1);
		assert_int_equal(shmcache_close(cache), SHMCACHE_EBUSY);
		assert_int_equal(shmcache_unpin(cache, &items[order[i]]), 0);
	}
	assert_int_equal(shmcache_close(cache), SHMCACHE_EBUSY);
	assert_memory_equal(pinned_twice.value, "1", 1);
	assert_int_equal(shmcache_unpin(cache, &pinned_twice), 0);
	assert_null(cache->left);
	assert_true(test_has(cache, "k", "new"));
	assert_int_equal(shmcache_close(cache), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(shmcache_close(heirs[i]), 0);
}

static void
stats_may_be_shorter_or_longer(void **state)
{
	struct shmcache *cache = *state;
	uint64_t buffer[sizeof(struct shmcache_stats) / 8 + 4];

	test_set_ok(cache, "k", "v");
	memset(buffer, 0xee, sizeof(buffer));
	assert_int_equal(
	    shmcache_stats(cache, (void *)buffer, sizeof(buffer)), 0);
	assert_int_equal(buffer[TEST_COUNT_OF(buffer) - 1], 0);
	memset(buffer, 0xee, sizeof(buffer));
	assert_int_equal(shmcache_stats(cache, (void *)buffer, 24), 0);
	assert_int_equal(buffer[2], 1); /* sets */
	assert_true(buffer[3] == 0xeeeeeeeeeeeeeeeeull);
	assert_int_equal(shmcache_stats(cache, NULL, 24), -EINVAL);
	assert_int_equal(shmcache_stats(cache, (void *)buffer, 0), -EINVAL);
}

/* Forks. */

static int
use_in_child(void *context)
{
	struct shmcache *cache = context;

	if (!test_has(cache, "parent", "value"))
		return 1;
	if (test_set(cache, "child", "value") != 0)
		return 2;
	return test_has(cache, "child", "value") ? 0 : 3;
}

static void
handle_works_in_a_forked_child(void **state)
{
	struct shmcache *cache = *state;

	test_set_ok(cache, "parent", "value");
	assert_int_equal(test_child_run(use_in_child, cache), 0);
	assert_true(test_has(cache, "child", "value"));
	test_assert_sound(cache);
}

static int
use_in_grandchild(void *context)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		test_child_exit(use_in_child(context));
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 99;
	return WEXITSTATUS(status) != 0 ? WEXITSTATUS(status)
					: use_in_child(context);
}

static void
handle_works_in_a_grandchild(void **state)
{
	struct shmcache *cache = *state;

	test_set_ok(cache, "parent", "value");
	assert_int_equal(test_child_run(use_in_grandchild, cache), 0);
	assert_true(test_has(cache, "child", "value"));
}

static void
handle_works_in_a_child_without_fork_handlers(void **state)
{
	struct shmcache *cache = *state;
	int status = -1;
	pid_t pid;

	test_set_ok(cache, "parent", "value");
	pid = _Fork();
	if (pid == 0)
		test_child_exit(use_in_child(cache));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(test_has(cache, "child", "value"));
	test_assert_sound(cache);
}

/* Whatever such a child does first. */

struct pinned {
	struct shmcache *cache;
	struct shmcache_item item;
};

static int
close_first(const struct pinned *p)
{
	return shmcache_close(p->cache) == 0 ? 0 : 10;
}

static int
unpin_first(const struct pinned *p)
{
	struct shmcache_item item = p->item;

	return shmcache_unpin(p->cache, &item) != SHMCACHE_ESTALE
		   ? 11
		   : use_in_child(p->cache);
}

static int
watch_first(const struct pinned *p)
{
	return shmcache_watch_fd(p->cache) < 0 ? 12 : use_in_child(p->cache);
}

static int
open_first(const struct pinned *p)
{
	struct shmcache *opened;

	return shmcache_open(p->cache->path, NULL, &opened) != 0 ||
		       use_in_child(opened) != 0 || shmcache_close(opened) != 0
		   ? 13
		   : use_in_child(p->cache);
}

static void
children_without_fork_handlers_do_anything_first(void **state)
{
	int (*const firsts[])(const struct pinned *) = { close_first,
		unpin_first, watch_first, open_first };
	struct pinned p = { .cache = test_cache() };
	struct shmcache_options o = test_options();
	struct shmcache *heir;

	(void)state;
#if SHM_ATOMIC_BUILTINS
	skip(); /* ThreadSanitizer lets no forked child start a thread */
#endif
	/* The parent has an item of a cache that was removed.  (And no other
	   thread, which might hold a lock of liburcu's just then: that is what
	   the handlers of fork() are for.) */
	test_set_ok(p.cache, "k", "value");
	assert_int_equal(shmcache_get_pinned(p.cache, "k", 1, &p.item), 0);
	assert_int_equal(shmcache_remove(p.cache->path), 0);
	assert_int_equal(shmcache_open(p.cache->path, &o, &heir), 0);
	test_set_ok(heir, "parent", "value");
	while (!test_has(p.cache, "parent", "value"))
		(void)sched_yield();
	for (size_t i = 0; i < TEST_COUNT_OF(firsts); i++) {
		int status = -1;
		pid_t pid = _Fork();

		if (pid == 0) {
			test_limit(60);
			test_child_exit(firsts[i](&p));
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	assert_memory_equal(p.item.value, "value", 5);
	assert_int_equal(shmcache_unpin(p.cache, &p.item), 0);
	assert_int_equal(shmcache_close(p.cache), 0);
	test_assert_sound(heir);
	assert_int_equal(shmcache_close(heir), 0);
}

/* A fork handler that was there before the library's, and comes first. */

static struct shmcache *used_by_handler;

static void
use_in_handler(void)
{
	if (used_by_handler != NULL)
		(void)shmcache_exists(used_by_handler, "parent", 6);
}

static int
count_own_slots(void *context)
{
	struct shmcache_process_info info[8];
	size_t count = 0;
	int own = 0;

	if (shmcache_processes(context, info, 8, &count) != 0 || count > 8)
		return 99;
	for (size_t i = 0; i < count; i++)
		own += info[i].pid == getpid();
	return own;
}

static void
handlers_of_others_may_call_first(void **state)
{
	struct shmcache *cache = *state;

	test_set_ok(cache, "parent", "value");
	used_by_handler = cache;
	assert_int_equal(test_child_run(count_own_slots, cache), 1);
	used_by_handler = NULL;
}

static int
close_in_child(void *context)
{
	return shmcache_close(context) == 0 ? 0 : 1;
}

static void
closing_in_the_child_is_no_matter_of_the_parents(void **state)
{
	struct shmcache *cache = *state;

	test_set_ok(cache, "parent", "value");
	assert_int_equal(test_child_run(close_in_child, cache), 0);
	assert_true(test_has(cache, "parent", "value"));
	test_set_ok(cache, "parent", "other");
}

static int
unpin_in_child(void *context)
{
	struct pinned *p = context;

	if (shmcache_unpin(p->cache, &p->item) != SHMCACHE_ESTALE)
		return 1;
	if (shmcache_get_pinned(p->cache, "k", 1, &p->item) != 0)
		return 2;
	return shmcache_unpin(p->cache, &p->item) == 0 ? 0 : 3;
}

static void
items_of_the_parent_are_stale_in_the_child(void **state)
{
	struct pinned p = { .cache = *state };

	test_set_ok(p.cache, "k", "value");
	assert_int_equal(shmcache_get_pinned(p.cache, "k", 1, &p.item), 0);
	assert_int_equal(test_child_run(unpin_in_child, &p), 0);
	assert_memory_equal(p.item.value, "value", 5);
	assert_int_equal(shmcache_unpin(p.cache, &p.item), 0);
}

static int
use_removed_in_child(void *context)
{
	struct shmcache *cache = context;

	if (test_set(cache, "k", "v") != SHMCACHE_EREMOVED)
		return 1;
	return shmcache_exists(cache, "k", 1) == 0 ? 0 : 2;
}

static void
child_of_a_removed_cache_is_told(void **state)
{
	struct shmcache *cache = test_cache();

	(void)state;
	assert_int_equal(shmcache_remove(cache->path), 0);
	assert_int_equal(test_child_run(use_removed_in_child, cache), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static int
set_in_child(void *context)
{
	return -test_set(context, "k", "child") & 0xff;
}

static void
child_without_a_process_slot_is_told(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *cache;

	(void)state;
	o.process_slots = 1;
	cache = test_cache_of(&o);
	test_set_ok(cache, "k", "parent");
	assert_int_equal(
	    test_child_run(set_in_child, cache), -SHMCACHE_EPROCESSES & 0xff);
	assert_true(test_has(cache, "k", "parent"));
	assert_int_equal(shmcache_close(cache), 0);
}

static void
killed_child_is_listed_as_dead_until_it_is_swept(void **state)
{
	struct shmcache *cache = *state;
	struct shmcache_process_info info[8];
	size_t count = 0;
	pid_t child;

	test_set_ok(cache, "parent", "value");
	child = test_child_pause(use_in_child, cache);
	assert_int_equal(shmcache_processes(cache, info, 8, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(info[0].pid, getpid());
	assert_int_equal(info[1].pid, child);
	assert_int_equal(info[1].alive, 1);
	assert_int_equal(info[1].peers, 1);
	test_child_kill(child);
	assert_int_equal(shmcache_processes(cache, info, 1, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(shmcache_processes(cache, info, 8, &count), 0);
	assert_int_equal(info[1].alive, 0);
	assert_int_equal(shmcache_sweep(cache, NULL), 0);
	assert_int_equal(shmcache_processes(cache, NULL, 0, &count), 0);
	assert_int_equal(count, 1);
	test_child_reap(child);
}

/* Threads. */

/* Runs in a thread to its end; returns what it returned. */
static void *
in_thread(void *(*body)(void *), void *context)
{
	pthread_t thread;
	void *result = NULL;

	assert_int_equal(pthread_create(&thread, NULL, body, context), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	return result;
}

static void *
set_once(void *context)
{
	return (void *)(intptr_t)test_set(context, "thread", "value");
}

static void
thread_gives_its_slot_back_at_exit(void **state)
{
	struct shmcache *cache = *state;

	test_set_ok(cache, "k", "v");
	for (unsigned i = 0; i < 100; i++) { /* more than there are slots */
		assert_null(in_thread(set_once, cache));
		assert_int_equal(test_stats(cache).peers, 1);
	}
	assert_true(test_has(cache, "thread", "value"));
}

static void *
pin_and_exit(void *context)
{
	struct pinned *p = context;

	return (void *)(intptr_t)shmcache_get_pinned(
	    p->cache, "k", 1, &p->item);
}

/* Its slot is given back by who unpins the last of it. */
static void
item_outlives_its_thread_and_its_cache(void **state)
{
	struct pinned p = { .cache = test_cache() };
	struct shmcache_options o = test_options();
	struct shmcache *heir;

	(void)state;
	test_set_ok(p.cache, "k", "value");
	assert_null(in_thread(pin_and_exit, &p));
	assert_int_equal(shmcache_remove(p.cache->path), 0);
	assert_int_equal(shmcache_open(p.cache->path, &o, &heir), 0);
	test_set_ok(heir, "k", "new");
	while (!test_has(p.cache, "k", "new"))
		(void)sched_yield();
	assert_memory_equal(p.item.value, "value", 5);
	assert_non_null(p.cache->left);
	assert_int_equal(shmcache_unpin(p.cache, &p.item), 0);
	assert_null(p.cache->left);
	assert_int_equal(shmcache_close(p.cache), 0);
	assert_int_equal(shmcache_close(heir), 0);
}

static void
item_outlives_its_thread(void **state)
{
	struct pinned p = { .cache = *state };

	test_set_ok(p.cache, "k", "value");
	assert_null(in_thread(pin_and_exit, &p));
	assert_int_equal(test_stats(p.cache).peers, 2); /* an orphan */
	assert_memory_equal(p.item.value, "value", 5);
	assert_int_equal(shmcache_close(p.cache), SHMCACHE_EBUSY);
	assert_int_equal(shmcache_sweep(p.cache, NULL), 0);
	assert_int_equal(test_stats(p.cache).extents_pinned, 1);
	assert_int_equal(shmcache_unpin(p.cache, &p.item), 0);
	assert_int_equal(test_stats(p.cache).peers, 1);
	assert_int_equal(test_stats(p.cache).extents_pinned, 0);
}

static void
items_beyond_half_of_the_extents_are_copies(void **state)
{
	struct pinned p[23];
	struct shmcache *cache = *state;
	unsigned copies = 0;

	test_set_ok(cache, "k", "value");
	for (unsigned i = 0; i < TEST_COUNT_OF(p); i++) {
		p[i].cache = cache;
		assert_null(in_thread(pin_and_exit, &p[i]));
	}
	for (unsigned n = 0; n < 3000; n++) {
		char key[32];

		test_set_ok(cache, test_key(key, "fill", n),
		    "0123456789012345678901234567890123456789");
	}
	for (unsigned i = 0; i < TEST_COUNT_OF(p); i++) {
		copies += p[i].item.pin == 0;
		assert_int_equal(p[i].item.value_bytes, 5);
		assert_memory_equal(p[i].item.value, "value", 5);
		assert_int_equal(shmcache_unpin(cache, &p[i].item), 0);
		assert_int_equal(shmcache_unpin(cache, &p[i].item), -EINVAL);
	}
	assert_in_range(copies, 1, TEST_COUNT_OF(p) - 1);
	assert_int_equal(test_stats(cache).peers, 1);
}

struct late_thread {
	struct shmcache *cache;
	pthread_barrier_t barrier;
};

static void *
use_then_exit_late(void *context)
{
	struct late_thread *late = context;
	int error = test_set(late->cache, "k", "v");

	(void)pthread_barrier_wait(&late->barrier);
	(void)pthread_barrier_wait(&late->barrier);
	return (void *)(intptr_t)error;
}

static void
thread_may_exit_after_the_cache_was_closed(void **state)
{
	struct late_thread late = { .cache = test_cache() };
	struct shmcache *other = test_cache();
	pthread_t thread;
	void *result;

	(void)state;
	assert_int_equal(pthread_barrier_init(&late.barrier, NULL, 2), 0);
	assert_int_equal(
	    pthread_create(&thread, NULL, use_then_exit_late, &late), 0);
	(void)pthread_barrier_wait(&late.barrier);
	assert_int_equal(shmcache_close(late.cache), 0);
	test_set_ok(other, "k", "v");
	(void)pthread_barrier_wait(&late.barrier);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_null(result);
	(void)pthread_barrier_destroy(&late.barrier);
	assert_int_equal(shmcache_close(other), 0);
}

static void
thread_may_use_several_caches_in_turn(void **state)
{
	struct shmcache *caches[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		caches[i] = test_cache();
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < 4; i++) {
			char key[32];

			test_set_ok(
			    caches[i], test_key(key, "k", round), "value");
			assert_int_equal(test_stats(caches[i]).peers, 1);
			assert_int_equal(
			    test_stats(caches[i]).items, round + 1);
		}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(shmcache_close(caches[i]), 0);
}

/* Without a slot: copying reads. */

struct slotless {
	struct shmcache *cache;
	int results[8];
	char buffer[64];
	char pinned[64];
	size_t bytes;
	size_t untouched;
	uint32_t flags;
};

static void *
call_without_slot(void *context)
{
	struct slotless *s = context;
	struct shmcache_item item;
	void *value = NULL;

	s->results[0] = shmcache_get(s->cache, "k", 1, s->buffer,
	    sizeof(s->buffer), &s->bytes, &s->flags);
	s->results[1] = shmcache_exists(s->cache, "k", 1);
	s->results[2] = shmcache_exists(s->cache, "none", 4);
	s->results[3] =
	    shmcache_get_alloc(s->cache, "k", 1, &value, NULL, NULL);
	s->results[4] = test_set(s->cache, "k", "other");
	s->results[5] = shmcache_delete(s->cache, "k", 1);
	s->results[6] = shmcache_get_pinned(s->cache, "k", 1, &item);
	if (s->results[6] == 0) {
		memcpy(s->pinned, item.value, item.value_bytes);
		s->results[6] = shmcache_unpin(s->cache, &item);
	}
	s->results[7] =
	    shmcache_get(s->cache, "none", 4, NULL, 0, &s->untouched, NULL);
	free(value);
	return NULL;
}

static void
thread_without_a_slot_reads_by_copying(void **state)
{
	struct shmcache *cache = cache_of_peers(1);
	struct slotless s = { .cache = cache, .untouched = 4711 };

	(void)state;
	assert_int_equal(shmcache_set(cache, "k", 1, "value", 5, 0, 31), 0);
	assert_null(in_thread(call_without_slot, &s));
	assert_int_equal(s.results[0], 0);
	assert_int_equal(s.bytes, 5);
	assert_memory_equal(s.buffer, "value", 5);
	assert_int_equal(s.flags, 31);
	assert_int_equal(s.results[1], 1);
	assert_int_equal(s.results[2], 0);
	assert_int_equal(s.results[3], 0);
	assert_int_equal(s.results[4], SHMCACHE_EPEERS);
	assert_int_equal(s.results[5], SHMCACHE_EPEERS);
	assert_int_equal(s.results[6], 0);
	assert_memory_equal(s.pinned, "value", 5);
	assert_int_equal(s.results[7], SHMCACHE_ENOENT);
	assert_int_equal(s.untouched, 4711);
	assert_true(test_has(cache, "k", "value"));
	assert_int_equal(shmcache_close(cache), 0);
}

static void *
get_without_slot(void *context)
{
	struct slotless *s = context;

	s->results[0] = shmcache_get(s->cache, "k", 1, s->buffer,
	    sizeof(s->buffer), &s->bytes, &s->flags);
	return NULL;
}

static void
reads_without_a_slot_mind_expiry_flush_and_size(void **state)
{
	struct shmcache *cache = cache_of_peers(1);
	struct slotless s = { .cache = cache };
	char large[100] = { 0 };

	(void)state;
	assert_int_equal(shmcache_set(cache, "k", 1, large, 100, 0, 0), 0);
	assert_null(in_thread(get_without_slot, &s));
	assert_int_equal(s.results[0], SHMCACHE_EBUFFER);
	assert_int_equal(s.bytes, 100);
	test_set_mortal(cache, "k", "value");
	test_expire(cache, "k");
	assert_null(in_thread(get_without_slot, &s));
	assert_int_equal(s.results[0], SHMCACHE_ENOENT);
	test_set_ok(cache, "k", "value");
	assert_int_equal(shmcache_flush(cache), 0);
	assert_null(in_thread(get_without_slot, &s));
	assert_int_equal(s.results[0], SHMCACHE_ENOENT);
	assert_int_equal(shmcache_remove(cache->path), 0);
	assert_null(in_thread(get_without_slot, &s));
	assert_int_equal(s.results[0], SHMCACHE_ENOENT);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
slot_of_the_dead_is_taken_by_who_has_none(void **state)
{
	struct shmcache *cache = cache_of_peers(1);
	pid_t child;

	(void)state;
	child = test_child_pause(set_in_child, cache);
	assert_int_equal(
	    (int)(intptr_t)in_thread(set_once, cache), SHMCACHE_EPEERS);
	test_child_kill(child);
	cache->mapping->denied_until_ms = UINT64_MAX;
	assert_int_equal(/* it asks again only later */
	    (int)(intptr_t)in_thread(set_once, cache), SHMCACHE_EPEERS);
	cache->mapping->denied_until_ms = 0;
	assert_null(in_thread(set_once, cache));
	assert_true(test_has(cache, "k", "child"));
	test_child_reap(child);
	assert_int_equal(shmcache_close(cache), 0);
}

/*
 * Values that tell whether they are whole: every byte is that of the first,
 * and the length goes with it.
 */
static size_t
whole_bytes(unsigned n)
{
	return 40 + n % 251 * 3;
}

static bool
is_whole(const uint8_t *value, size_t bytes)
{
	for (size_t i = 1; i < bytes; i++)
		if (value[i] != value[0])
			return false;
	return bytes > 0 && bytes == whole_bytes(value[0]);
}

static int
set_whole(struct shmcache *cache, const char *key, unsigned n)
{
	uint8_t value[1024];

	memset(value, (int)(n % 251), sizeof(value));
	return shmcache_set(
	    cache, key, strlen(key), value, whole_bytes(n % 251), 0, 0);
}

struct race {
	struct shmcache *cache;
	uint64_t stop;     /* atomic */
	uint64_t started;  /* atomic */
	uint64_t failures; /* atomic */
	unsigned rounds;
	unsigned hits;
	unsigned broken;
	unsigned errors;
};

static void *
read_while_overwritten(void *context)
{
	struct race *r = context;
	struct prng prng;

	test_random(&prng, 11);
	do {
		char key[32];
		uint8_t value[1024];
		size_t bytes = 0;
		int error;

		test_key(key, "k", (unsigned)prng_below(&prng, 5));
		error = shmcache_get(r->cache, key, strlen(key), value,
		    sizeof(value), &bytes, NULL);
		if (error == 0) {
			r->hits++;
			r->broken += !is_whole(value, bytes);
		} else if (error != SHMCACHE_ENOENT &&
			   error != SHMCACHE_EBUSY) {
			r->errors++;
		}
		shm_store64(&r->started, 1);
	} while (shm_load64(&r->stop) == 0);
	return NULL;
}

/* Rewrites five keys, so that extents are reused all the time. */
static void
race_with(struct shmcache *cache)
{
	struct race r = { .cache = cache,
		.rounds = TEST_SANITIZED ? 4000 : 200000 };
	pthread_t thread;
	unsigned failures = 0;

	for (unsigned n = 0; n < 5; n++) {
		char key[32];

		assert_int_equal(set_whole(cache, test_key(key, "k", n), n), 0);
	}
	assert_int_equal(
	    pthread_create(&thread, NULL, read_while_overwritten, &r), 0);
	while (shm_load64(&r.started) == 0)
		(void)sched_yield();
	for (unsigned n = 0; n < r.rounds; n++) {
		char key[32];

		failures += set_whole(cache, test_key(key, "k", n % 5), n) != 0;
	}
	shm_store64(&r.stop, 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(failures, 0);
	assert_int_equal(r.broken, 0);
	assert_int_equal(r.errors, 0);
	assert_true(r.hits > 0);
	assert_true(test_stats(cache).extents_recycled > 100);
}

static void
reads_without_a_slot_are_whole_while_others_overwrite(void **state)
{
	struct shmcache *cache = cache_of_peers(1);

	(void)state;
	test_set_ok(cache, "first", "takes the slot");
	race_with(cache);
	assert_int_equal(test_stats(cache).peers, 1);
	assert_int_equal(test_stats(cache).get_hits, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
reads_with_a_slot_are_whole_while_others_overwrite(void **state)
{
	struct shmcache *cache = cache_of_peers(4);

	(void)state;
	race_with(cache);
	test_assert_sound(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Many threads at once. */
#define THREADS 4u
#define CALLS   (TEST_SANITIZED ? 500u : 20000u)

static void *
set_and_get_own(void *context)
{
	struct slotless *s = context;
	intptr_t failures = 0;

	for (unsigned n = 0; n < CALLS; n++) {
		char key[32];
		uint8_t value[1024];
		size_t bytes = 0;
		int error;

		test_key(key, s->buffer, n % 8);
		if (set_whole(s->cache, key, n) != 0)
			failures++;
		error = shmcache_get(s->cache, key, strlen(key), value,
		    sizeof(value), &bytes, NULL);
		if (error == 0 &&
		    (!is_whole(value, bytes) || value[0] != n % 251))
			failures++;
		else if (error != 0 && error != SHMCACHE_ENOENT)
			failures++;
	}
	return (void *)failures;
}

static void
threads_read_what_they_have_written(void **state)
{
	struct shmcache *cache = *state;
	struct slotless s[THREADS];
	pthread_t threads[THREADS];
	void *failures;

	for (unsigned i = 0; i < THREADS; i++) {
		s[i] = (struct slotless){ .cache = cache };
		(void)snprintf(s[i].buffer, sizeof(s[i].buffer), "thread%u", i);
		assert_int_equal(
		    pthread_create(&threads[i], NULL, set_and_get_own, &s[i]),
		    0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &failures), 0);
		assert_null(failures);
	}
	assert_int_equal(test_stats(cache).sets, THREADS * CALLS);
	assert_int_equal(
	    test_stats(cache).get_hits + test_stats(cache).get_misses,
	    THREADS * CALLS);
	test_assert_sound(cache);
}

static void *
open_and_close(void *context)
{
	struct shmcache *cache = context;
	intptr_t failures = 0;

	for (unsigned i = 0; i < 50; i++) {
		struct shmcache *own = NULL;

		if (shmcache_open(cache->path, NULL, &own) != 0) {
			failures++;
			continue;
		}
		failures += test_set(own, "opened", "value") != 0;
		failures += test_set(cache, "shared", "value") != 0;
		failures += shmcache_close(own) != 0;
	}
	return (void *)failures;
}

static void
threads_may_open_and_close_at_once(void **state)
{
	struct shmcache *cache = *state;
	pthread_t threads[3];
	void *failures;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, open_and_close, cache),
		    0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(threads[i], &failures), 0);
		assert_null(failures);
	}
	assert_true(test_has(cache, "opened", "value"));
	assert_int_equal(test_stats(cache).processes, 1);
	test_assert_sound(cache);
}

static void *
set_until_stopped(void *context)
{
	struct race *r = context;

	for (unsigned n = 0; shm_load64(&r->stop) == 0; n++) {
		char key[32];

		test_key(key, "busy", n % 50);
		if (set_whole(r->cache, key, n) != 0)
			(void)shm_faa64(&r->failures, 1);
	}
	return NULL;
}

static void
forks_in_the_midst_of_calls_give_working_children(void **state)
{
	struct race r = { .cache = *state };
	pthread_t threads[2];
	unsigned worked = 0, evicted = 0;

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, set_until_stopped, &r),
		    0);
	for (unsigned i = 0; i < 20; i++) {
		int result;

		/* Again, as the others may have had it evicted. */
		test_set_ok(r.cache, "parent", "value");
		result = test_child_run(use_in_child, r.cache);
		worked += result == 0;
		evicted += result == 1 || result == 3;
	}
	shm_store64(&r.stop, 1);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	/* On a busy machine all of them may be evicted before they are read. */
	assert_int_equal(worked + evicted, 20);
	assert_int_equal(r.failures, 0);
	test_assert_sound(r.cache);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(open_modes_attach_or_create),
	TEST(key_lengths_are_checked),
	TEST(values_may_be_empty_or_the_largest),
	TEST(short_buffer_tells_the_length_needed),
	TEST(misses_leave_the_outputs),
	TEST(allocated_value_is_terminated),
	TEST(calls_within_a_call_are_refused),
	TEST(pinned_item_stays_while_its_entry_goes),
	TEST(four_items_can_be_pinned_by_a_thread),
	cmocka_unit_test(removed_cache_says_so),
	cmocka_unit_test(nobody_goes_on_without_a_mapping),
	cmocka_unit_test(items_outlive_a_removed_cache),
	cmocka_unit_test(items_outlive_several_removed_caches),
	TEST(stats_may_be_shorter_or_longer),
	TEST(handle_works_in_a_forked_child),
	TEST(handle_works_in_a_grandchild),
	TEST(handle_works_in_a_child_without_fork_handlers),
	cmocka_unit_test(children_without_fork_handlers_do_anything_first),
	TEST(handlers_of_others_may_call_first),
	TEST(closing_in_the_child_is_no_matter_of_the_parents),
	TEST(items_of_the_parent_are_stale_in_the_child),
	cmocka_unit_test(child_of_a_removed_cache_is_told),
	cmocka_unit_test(child_without_a_process_slot_is_told),
	TEST(killed_child_is_listed_as_dead_until_it_is_swept),
	TEST(thread_gives_its_slot_back_at_exit),
	TEST(item_outlives_its_thread),
	cmocka_unit_test(item_outlives_its_thread_and_its_cache),
	TEST(items_beyond_half_of_the_extents_are_copies),
	cmocka_unit_test(thread_may_exit_after_the_cache_was_closed),
	cmocka_unit_test(thread_may_use_several_caches_in_turn),
	cmocka_unit_test(thread_without_a_slot_reads_by_copying),
	cmocka_unit_test(reads_without_a_slot_mind_expiry_flush_and_size),
	cmocka_unit_test(slot_of_the_dead_is_taken_by_who_has_none),
	cmocka_unit_test(reads_without_a_slot_are_whole_while_others_overwrite),
	cmocka_unit_test(reads_with_a_slot_are_whole_while_others_overwrite),
	TEST(threads_read_what_they_have_written),
	TEST(threads_may_open_and_close_at_once),
	TEST(forks_in_the_midst_of_calls_give_working_children),
};

int
main(void)
{
	(void)pthread_atfork(NULL, NULL, use_in_handler);
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
