/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_calls_test.c - every call where there is nothing for it to do
 *
 * Each call of shmcache.h and shmcache_admin.h that takes a handle is made where
 * its cache was removed, through a handle for reading only, and from within
 * another call, as a signal handler may.
 */
#include "tests/unit/cache_support.h"

#include <limits.h>
#include <shmcache_admin.h>

static struct shmcache *cache; /* what the calls are made on */

/* What the calls are given, and where they put what they find. */
static char bytes[64];
static void *allocated;
static size_t count;
static uint64_t number;
static int64_t signed_number;
static uint32_t flags;
static struct shmcache_item item;
static struct shmcache_value value;
static struct shmcache_token token;
static struct shmcache_loaded loaded;
static struct shmcache_watched watched;
static struct shmcache_lock lock;
static struct shmcache_snapshot snapshot;
static struct shmcache_stats stats;
static struct shmcache_sweep_result swept;
static struct shmcache_latency latency;
static struct shmcache_recorder recorder;
static struct shmcache_request requests[4];

static int
visit(void *context, const struct shmcache_entry *entry)
{
	(void)context;
	(void)entry;
	return 0;
}

#define KEY "key", 3

/* Name of a function, and a call. */
#define CALL(name, call)                                                       \
	static int name(void)                                                  \
	{                                                                      \
		return call;                                                   \
	}

CALL(get, shmcache_get(cache, KEY, bytes, sizeof(bytes), &count, &flags))
CALL(get_alloc, shmcache_get_alloc(cache, KEY, &allocated, &count, &flags))
CALL(gets_,
    shmcache_gets(cache, KEY, bytes, sizeof(bytes), &count, &flags, &number))
CALL(peek, shmcache_peek(cache, KEY, bytes, sizeof(bytes), &count, &flags))
CALL(get_pinned, shmcache_get_pinned(cache, KEY, &item))
CALL(ttl, shmcache_ttl(cache, KEY, &signed_number))
CALL(set, shmcache_set(cache, KEY, "v", 1, 0, 0))
CALL(delete_, shmcache_delete(cache, KEY))
CALL(touch, shmcache_touch(cache, KEY, 1000))
CALL(expire_at, shmcache_expire_at(cache, KEY, 1))
CALL(get_and_touch, shmcache_get_and_touch(
			cache, KEY, 1000, bytes, sizeof(bytes), &count, &flags))
CALL(add, shmcache_add(cache, KEY, "v", 1, 0, 0))
CALL(replace, shmcache_replace(cache, KEY, "v", 1, 0, 0))
CALL(cas, shmcache_cas(cache, KEY, "v", 1, 0, 0, 1))
CALL(append, shmcache_append(cache, KEY, "v", 1))
CALL(prepend, shmcache_prepend(cache, KEY, "v", 1))
CALL(incr, shmcache_incr(cache, KEY, 1, NULL, 0, &signed_number))
CALL(decr, shmcache_decr(cache, KEY, 1, NULL, 0, &signed_number))
CALL(count_, shmcache_count(cache, &number))
CALL(scan, (number = 0, shmcache_scan(cache, &number, NULL, visit, NULL)))
CALL(delete_prefix, shmcache_delete_prefix(cache, "k", 1, &number))
CALL(delete_glob, shmcache_delete_glob(cache, "k*", 2, &number))
CALL(begin_load, shmcache_begin_load(cache, KEY, NULL, &value, &token))
CALL(fill, shmcache_fill(cache, KEY, &token, 0, &loaded, NULL))
CALL(abandon, shmcache_abandon(cache, &token))
CALL(wait_load, shmcache_wait_load(cache, KEY, 0))
CALL(watch_load, shmcache_watch_load(cache, KEY, 0, NULL, &number))
CALL(watch_next, shmcache_watch_next(cache, &watched))
CALL(watch_cancel, shmcache_watch_cancel(cache, 1000000))
CALL(lock_, shmcache_lock(cache, KEY, 0, &lock))
CALL(unlock, shmcache_unlock(cache, &lock))
CALL(flush, shmcache_flush(cache))
CALL(flush_begin, shmcache_flush_begin(cache, &snapshot))
CALL(flush_end, shmcache_flush_end(cache, &snapshot))
CALL(invalidate_tag, shmcache_invalidate_tag(cache, "tag", 3))
CALL(take_snapshot, shmcache_snapshot(cache, &snapshot))
CALL(set_with, shmcache_set_with(cache, KEY, "v", 1, NULL))
CALL(filter_check, shmcache_filter_check(cache, KEY))
CALL(filter_begin, shmcache_filter_begin(cache, &number))
CALL(filter_add, shmcache_filter_add(cache, 0, KEY))
CALL(filter_publish, shmcache_filter_publish(cache, 1))
CALL(filter_drop, shmcache_filter_drop(cache))
CALL(stats_, shmcache_stats(cache, &stats, sizeof(stats)))
CALL(sweep, shmcache_sweep(cache, &swept))
CALL(verify, shmcache_verify(cache, SHMCACHE_VERIFY_LIVE, NULL, NULL))
CALL(processes, shmcache_processes(cache, NULL, 0, &count))
CALL(peers, shmcache_peers(cache, NULL, 0, &count))
CALL(extents, shmcache_extents(cache, NULL, 0, &count))
CALL(latency_, shmcache_latency(cache, SHMCACHE_LATENCY_GET, &latency))
CALL(hot_keys, shmcache_hot_keys(cache, visit, NULL))
CALL(record_begin, shmcache_record_begin(cache, 1, &recorder))
CALL(record_read, shmcache_record_read(cache, &recorder, requests, 4))
CALL(record_end, shmcache_record_end(cache, &recorder))

/* What a call gives in a cache that was removed, and to who may only read: there
   DONE is anything but EREADONLY. */
#define DONE    INT_MAX
#define REMOVED SHMCACHE_EREMOVED
#define NOENT   SHMCACHE_ENOENT
#define RDONLY  SHMCACHE_EREADONLY

static const struct {
	const char *name;
	int (*make)(void);
	int if_removed;
	int if_read_only;
} calls[] = {
	{ "get", get, NOENT, DONE },
	{ "get_alloc", get_alloc, NOENT, DONE },
	{ "gets", gets_, NOENT, DONE },
	{ "peek", peek, NOENT, DONE },
	{ "get_pinned", get_pinned, NOENT, DONE },
	{ "ttl", ttl, NOENT, DONE },
	{ "set", set, REMOVED, RDONLY },
	{ "delete", delete_, REMOVED, RDONLY },
	{ "touch", touch, REMOVED, RDONLY },
	{ "expire_at", expire_at, REMOVED, RDONLY },
	{ "get_and_touch", get_and_touch, REMOVED, RDONLY },
	{ "add", add, REMOVED, RDONLY },
	{ "replace", replace, REMOVED, RDONLY },
	{ "cas", cas, REMOVED, RDONLY },
	{ "append", append, REMOVED, RDONLY },
	{ "prepend", prepend, REMOVED, RDONLY },
	{ "incr", incr, REMOVED, RDONLY },
	{ "decr", decr, REMOVED, RDONLY },
	{ "count", count_, REMOVED, DONE },
	{ "scan", scan, REMOVED, DONE },
	{ "delete_prefix", delete_prefix, REMOVED, RDONLY },
	{ "delete_glob", delete_glob, REMOVED, RDONLY },
	{ "begin_load", begin_load, REMOVED, RDONLY },
	{ "fill", fill, REMOVED, RDONLY },
	{ "abandon", abandon, REMOVED, RDONLY },
	{ "wait_load", wait_load, REMOVED, RDONLY },
	{ "watch_load", watch_load, REMOVED, RDONLY },
	{ "watch_next", watch_next, NOENT, DONE },
	{ "watch_cancel", watch_cancel, NOENT, DONE },
	{ "lock", lock_, REMOVED, RDONLY },
	{ "unlock", unlock, REMOVED, RDONLY },
	{ "flush", flush, REMOVED, RDONLY },
	{ "flush_begin", flush_begin, REMOVED, RDONLY },
	{ "flush_end", flush_end, REMOVED, RDONLY },
	{ "invalidate_tag", invalidate_tag, REMOVED, RDONLY },
	{ "snapshot", take_snapshot, REMOVED, DONE },
	{ "set_with", set_with, REMOVED, RDONLY },
	{ "filter_check", filter_check, 1, DONE }, /* it may exist */
	{ "filter_begin", filter_begin, REMOVED, RDONLY },
	{ "filter_add", filter_add, REMOVED, RDONLY },
	{ "filter_publish", filter_publish, REMOVED, RDONLY },
	{ "filter_drop", filter_drop, REMOVED, RDONLY },
	{ "stats", stats_, REMOVED, DONE },
	{ "sweep", sweep, REMOVED, RDONLY },
	{ "verify", verify, REMOVED, RDONLY },
	{ "processes", processes, REMOVED, DONE },
	{ "peers", peers, REMOVED, DONE },
	{ "extents", extents, REMOVED, DONE },
	{ "latency", latency_, REMOVED, DONE },
	{ "hot_keys", hot_keys, REMOVED, DONE },
	{ "record_begin", record_begin, REMOVED, RDONLY },
	{ "record_read", record_read, REMOVED, RDONLY },
	{ "record_end", record_end, REMOVED, RDONLY },
};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

static void
check(unsigned call, int result, int wanted)
{
	if (wanted == DONE ? result == SHMCACHE_EREADONLY : result != wanted)
		fail_msg("shmcache_%s: %s instead of %s", calls[call].name,
		    shmcache_strerror(result), shmcache_strerror(wanted));
}

static void
release_what_was_given(void)
{
	if (item.owner != NULL)
		assert_int_equal(shmcache_unpin(cache, &item), 0);
	free(allocated);
	free(value.value);
	allocated = value.value = NULL;
}

static struct shmcache *
make_cache(void)
{
	struct shmcache_options o = test_options();

	o.filter_items = 100;
	return test_cache_of(&o);
}

static void
in_a_cache_that_was_removed(void **state)
{
	(void)state;
	cache = make_cache();
	test_set_ok(cache, "key", "value");
	assert_int_equal(shmcache_remove(cache->path), 0);
	for (unsigned i = 0; i < CALLS; i++) {
		check(i, calls[i].make(), calls[i].if_removed);
		release_what_was_given();
	}
	assert_int_equal(shmcache_close(cache), 0);
}

static void
through_a_handle_for_reading_only(void **state)
{
	struct shmcache_options o = { .struct_bytes = sizeof(o),
		.read_only = 1 };
	struct shmcache *writer = make_cache();

	(void)state;
	test_set_ok(writer, "key", "value");
	assert_int_equal(shmcache_open(writer->path, &o, &cache), 0);
	for (unsigned i = 0; i < CALLS; i++) {
		check(i, calls[i].make(), calls[i].if_read_only);
		release_what_was_given();
	}
	assert_true(test_has(writer, "key", "value"));
	assert_int_equal(shmcache_close(cache), 0);
	assert_int_equal(shmcache_close(writer), 0);
}

static void
from_within_another_call(void **state)
{
	(void)state;
	cache = make_cache();
	test_set_ok(cache, "key", "value");
	for (unsigned i = 0; i < CALLS; i++) {
		int result;

		cache_thread.inside = true;
		result = calls[i].make();
		assert_true(cache_thread.inside);
		cache_thread.inside = false;
		check(i, result, SHMCACHE_EDEADLK);
	}
	assert_true(test_has(cache, "key", "value"));
	assert_int_equal(shmcache_close(cache), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(in_a_cache_that_was_removed),
	cmocka_unit_test(through_a_handle_for_reading_only),
	cmocka_unit_test(from_within_another_call),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
