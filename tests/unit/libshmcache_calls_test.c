/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_calls_test.c - every call where there is nothing for it to do
 *
 * Each call of shmcache.h and shmcache_admin.h that takes a handle is made where
 * its cache was removed, through a handle for reading only, and from within
 * another call, as a signal handler may; and with nothing where something is
 * needed.
 */
#include "tests/unit/cache_support.h"

#include <errno.h>
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
CALL(is_available, shmcache_is_available(cache))
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
	{ "is_available", is_available, 0, DONE },
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

/* Without what they need. */
CALL(get_without, shmcache_get(cache, KEY, NULL, 1, &count, &flags))
CALL(peek_without, shmcache_peek(cache, KEY, NULL, 1, &count, &flags))
CALL(alloc_without, shmcache_get_alloc(cache, KEY, NULL, &count, &flags))
CALL(pinned_without, shmcache_get_pinned(cache, KEY, NULL))
CALL(unpin_without, shmcache_unpin(cache, NULL))
CALL(ttl_without, shmcache_ttl(cache, KEY, NULL))
CALL(set_without, shmcache_set(cache, KEY, NULL, 1, 0, 0))
CALL(touch_without,
    shmcache_get_and_touch(cache, KEY, 1, NULL, 1, &count, &flags))
CALL(count_without, shmcache_count(cache, NULL))
CALL(scan_without, (number = 0, shmcache_scan(cache, &number, NULL, NULL, 0)))
CALL(scan_of_none, shmcache_scan(cache, NULL, NULL, visit, NULL))
CALL(hot_without, shmcache_hot_keys(cache, NULL, NULL))
CALL(begin_without, shmcache_begin_load(cache, KEY, NULL, NULL, &token))
CALL(begin_of_none, shmcache_begin_load(cache, KEY, NULL, &value, NULL))
CALL(load_without, shmcache_get_or_load(cache, KEY, NULL, NULL, NULL, &value))
CALL(fill_without, shmcache_fill(cache, KEY, NULL, 0, &loaded, NULL))
CALL(fill_with_none, shmcache_fill(cache, KEY, &token, 0, NULL, NULL))
CALL(abandon_without, shmcache_abandon(cache, NULL))
CALL(lock_without, shmcache_lock(cache, KEY, 0, NULL))
CALL(lock_of_none, shmcache_lock(cache, "", 0, 0, &lock))
CALL(unlock_without, shmcache_unlock(cache, NULL))
CALL(flush_without, shmcache_flush_begin(cache, NULL))
CALL(end_without, shmcache_flush_end(cache, NULL))
CALL(snapshot_without, shmcache_snapshot(cache, NULL))
CALL(filter_without, shmcache_filter_begin(cache, NULL))
CALL(save_without, shmcache_filter_save(cache, NULL))
CALL(stats_without, shmcache_stats(cache, NULL, sizeof(stats)))
CALL(processes_without, shmcache_processes(cache, NULL, 0, NULL))
CALL(processes_of_none, shmcache_processes(cache, NULL, 1, &count))
CALL(peers_without, shmcache_peers(cache, NULL, 0, NULL))
CALL(peers_of_none, shmcache_peers(cache, NULL, 1, &count))
CALL(extents_without, shmcache_extents(cache, NULL, 0, NULL))
CALL(extents_of_none, shmcache_extents(cache, NULL, 1, &count))
CALL(latency_without, shmcache_latency(cache, SHMCACHE_LATENCY_GET, NULL))
CALL(latency_of_none, shmcache_latency(cache, SHMCACHE_LATENCY_KINDS, &latency))
CALL(record_without, shmcache_record_begin(cache, 1, NULL))
CALL(read_without, shmcache_record_read(cache, NULL, requests, 4))
CALL(read_of_none, shmcache_record_read(cache, &recorder, NULL, 4))
CALL(
    read_too_many, shmcache_record_read(cache, &recorder, requests, 1ull << 32))
CALL(record_of_none, shmcache_record_end(cache, NULL))

static int (*const calls_without[])(void) = { get_without, peek_without,
	alloc_without, pinned_without, unpin_without, ttl_without, set_without,
	touch_without, count_without, scan_without, scan_of_none, hot_without,
	begin_without, begin_of_none, load_without, fill_without,
	fill_with_none, abandon_without, lock_without, lock_of_none,
	unlock_without, flush_without, end_without, snapshot_without,
	filter_without, save_without, stats_without, processes_without,
	processes_of_none, peers_without, peers_of_none, extents_without,
	extents_of_none, latency_without, latency_of_none, record_without,
	read_without, read_of_none, read_too_many, record_of_none };

/* With a key that can't be one. */

#undef KEY
#define KEY "", 0

CALL(get_of_none, shmcache_get(cache, KEY, bytes, sizeof(bytes), &count, NULL))
CALL(exists_of_none, shmcache_exists(cache, KEY))
CALL(alloc_of_none, shmcache_get_alloc(cache, KEY, &allocated, &count, &flags))
CALL(pinned_of_none, shmcache_get_pinned(cache, KEY, &item))
CALL(ttl_of_none, shmcache_ttl(cache, KEY, &signed_number))
CALL(set_of_none, shmcache_set(cache, KEY, "v", 1, 0, 0))
CALL(delete_of_none, shmcache_delete(cache, KEY))
CALL(touch_of_none, shmcache_touch(cache, KEY, 1000))
CALL(add_of_none, shmcache_add(cache, KEY, "v", 1, 0, 0))
CALL(cas_of_none, shmcache_cas(cache, KEY, "v", 1, 0, 0, 1))
CALL(append_of_none, shmcache_append(cache, KEY, "v", 1))
CALL(incr_of_none, shmcache_incr(cache, KEY, 1, NULL, 0, &signed_number))
CALL(lead_of_none, shmcache_begin_load(cache, KEY, NULL, &value, &token))
CALL(fill_of_none, shmcache_fill(cache, KEY, &token, SHMCACHE_ENOENT, NULL, 0))
CALL(wait_of_none, shmcache_wait_load(cache, KEY, 0))
CALL(watch_of_none, shmcache_watch_load(cache, KEY, 0, NULL, &number))
CALL(check_of_none, shmcache_filter_check(cache, KEY))
CALL(filter_of_none, shmcache_filter_add(cache, 0, KEY))

static int (*const calls_of_none[])(void) = { get_of_none, exists_of_none,
	alloc_of_none, pinned_of_none, ttl_of_none, set_of_none, delete_of_none,
	touch_of_none, add_of_none, cas_of_none, append_of_none, incr_of_none,
	lead_of_none, fill_of_none, wait_of_none, watch_of_none, check_of_none,
	filter_of_none };

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

static void
make_all(int (*const all[])(void), size_t how_many, int wanted)
{
	for (size_t i = 0; i < how_many; i++) {
		int result = all[i]();

		if (result != wanted)
			fail_msg("call %zu: %s instead of %s", i,
			    shmcache_strerror(result),
			    shmcache_strerror(wanted));
	}
	assert_null(allocated);
	assert_null(value.value);
	assert_null(item.owner);
}

static void
without_what_is_needed(void **state)
{
	(void)state;
	cache = make_cache();
	test_set_ok(cache, "key", "value");
	make_all(calls_without, TEST_COUNT_OF(calls_without), -EINVAL);
	make_all(calls_of_none, TEST_COUNT_OF(calls_of_none), SHMCACHE_EKEY);
	assert_true(test_has(cache, "key", "value"));
	assert_int_equal(test_stats(cache).extents_pinned, 0);
	test_assert_sound(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(without_what_is_needed),
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
