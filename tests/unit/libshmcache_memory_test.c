/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_memory_test.c - the n-th allocation of a call fails; there are no
 * random numbers; a call takes no time
 *
 * This program's own malloc(), calloc(), realloc() and aligned_alloc() stand
 * before libc's, and fail when told to.  Each call is made again and again, with
 * its first, second, ... allocation failing, until none is left that could: it
 * must fail with -ENOMEM or do without, and the cache must work on afterwards.
 */
#include "tests/unit/cache_support.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sanitizers bring an allocator of their own. */
#if !TEST_SANITIZED && defined(__GLIBC__)

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);

static __thread volatile unsigned
    fails_in; /* so many allocations; 0: none fails */
static __thread bool has_failed;

static bool
fails_now(void)
{
	if (fails_in == 0)
		return false;
	fails_in = fails_in - 1;
	if (fails_in > 0)
		return false;
	has_failed = true;
	errno = ENOMEM;
	return true;
}

void *
malloc(size_t bytes)
{
	return fails_now() ? NULL : __libc_malloc(bytes);
}

void *
calloc(size_t count, size_t bytes)
{
	return fails_now() ? NULL : __libc_calloc(count, bytes);
}

void *
realloc(void *memory, size_t bytes)
{
	return fails_now() ? NULL : __libc_realloc(memory, bytes);
}

void *
aligned_alloc(size_t align, size_t bytes)
{
	return fails_now() ? NULL : __libc_memalign(align, bytes);
}

static void
arm(unsigned n)
{
	has_failed = false;
	fails_in = n;
}

/* Did one fail? */
static bool
disarm(void)
{
	fails_in = 0;
	return has_failed;
}

#define KEY       "key"
#define KEY_BYTES 3

static struct shmcache *cache;
static struct shmcache_options options;

static int
load_text(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	unsigned n = fails_in;

	(void)context;
	(void)key;
	(void)key_bytes;
	fails_in = 0; /* the loader's memory is its own affair */
	loaded->value = malloc(6);
	fails_in = n;
	if (loaded->value == NULL)
		return -EIO;
	memcpy(loaded->value, "loaded", 6);
	loaded->value_bytes = 6;
	return 0;
}

static int
see_entry(void *context, const struct shmcache_entry *entry)
{
	(void)entry;
	if (context != NULL)
		++*(int *)context;
	return 0;
}

/* The calls.  Each leaves nothing behind. */

static int
open_new(void)
{
	struct shmcache *opened;
	const char *name = test_name();
	int result = shmcache_open(name, &options, &opened);

	bool whole;

	if (result != 0) {
		(void)shmcache_remove(name); /* it may be there by now */
		return result;
	}
	whole = opened->mapping->segment->alive_until_ms != NULL;
	result = shmcache_close(opened);
	return whole ? result : -EIO;
}

static int
open_missing(void)
{
	struct shmcache *opened;
	int result = shmcache_open("test-that-is-not-there", NULL, &opened);

	return result == SHMCACHE_ENOCACHE ? 0 : result;
}

static int
get_alloc(void)
{
	void *value = NULL;
	size_t bytes;
	int result =
	    shmcache_get_alloc(cache, KEY, KEY_BYTES, &value, &bytes, NULL);

	if (result == 0)
		free(value);
	return result;
}

static int
get_counter_pinned(void)
{
	static const int64_t initial = 5;
	struct shmcache_item item;
	int result;

	(void)shmcache_incr(
	    cache, "n", 1, 1, &initial, SHMCACHE_TTL_NONE, NULL);
	result = shmcache_get_pinned(cache, "n", 1, &item);
	return result != 0 ? result : shmcache_unpin(cache, &item);
}

static int
load_missing(void)
{
	struct shmcache_value value;
	int result;

	(void)shmcache_delete(cache, "load", 4);
	result = shmcache_get_or_load(
	    cache, "load", 4, load_text, NULL, NULL, &value);
	if (result == 0)
		free(value.value);
	return result;
}

static int
begin_load(void)
{
	struct shmcache_value value;
	struct shmcache_token token;
	int result =
	    shmcache_begin_load(cache, KEY, KEY_BYTES, NULL, &value, &token);

	if (result == 0)
		free(value.value);
	return result;
}

static int
scan_values(void)
{
	struct shmcache_scan_options o = SHMCACHE_SCAN_OPTIONS_INIT;
	uint64_t cursor = 0;
	int visits = 0;

	o.values = 1;
	do
		visits = shmcache_scan(cache, &cursor, &o, see_entry, NULL);
	while (visits >= 0 && cursor != 0);
	return visits < 0 ? visits : 0;
}

static int
hot_keys(void)
{
	int seen = 0, visits = shmcache_hot_keys(cache, see_entry, &seen);

	return visits < 0 ? visits : visits == seen ? 0 : -EIO;
}

/* Of what a strict look alone shows. */
static int
verify_strictly(void)
{
	uint32_t extent = test_extent_of(cache, KEY).number;
	uint64_t *live =
	    &shm_extent_table(cache->mapping->segment)[extent].live;
	uint64_t was = *live;
	int result;

	*live |= 0xffffff;
	result = shmcache_verify(cache, SHMCACHE_VERIFY_STRICT, NULL, NULL);
	*live = was;
	return result > 0 ? 0 : result == 0 ? -EIO : result;
}

/* With something to tell. */
static int
verify_damaged(void)
{
	struct shm_peer_shared *last =
	    &shm_peer_table(cache->mapping->segment)[23];
	uint64_t was = last->claim;
	int result;

	last->claim = SHM_CLAIM_LIVE | 0xfffull << 28;
	result = shmcache_verify(
	    cache, SHMCACHE_VERIFY_LIVE, test_print_violation, NULL);
	last->claim = was;
	return result == 1 ? 0 : result;
}

static int
read_stats(void)
{
	struct shmcache_stats stats;
	struct shmcache_item item; /* so that there is one to mark */
	int result = shmcache_get_pinned(cache, KEY, KEY_BYTES, &item);

	if (result != 0)
		return result;
	result = shmcache_stats(cache, &stats, sizeof(stats));
	(void)shmcache_unpin(cache, &item);
	return result;
}

static int
watch_load(void)
{
	struct shmcache *other; /* that has no watcher yet */
	int result = shmcache_open(cache->path, NULL, &other);

	if (result != 0)
		return result;
	result = shmcache_watch_load(other, KEY, KEY_BYTES, 1000, NULL, NULL);
	(void)shmcache_close(other);
	return result;
}

/* One that is under way: there is something to wait for. */
static int
watch_load_under_way(void)
{
	struct shmcache_load_options o = SHMCACHE_LOAD_OPTIONS_INIT;
	unsigned n = fails_in;
	struct shmcache *other;
	struct shmcache_value value;
	struct shmcache_token token;
	int result;

	fails_in = 0;
	o.lease_ms = 600000;
	(void)shmcache_begin_load(cache, "led", 3, &o, &value, &token);
	free(value.value);
	result = shmcache_open(cache->path, NULL, &other);
	fails_in = n;
	if (result != 0)
		return result;
	result = shmcache_watch_load(other, "led", 3, 60000, NULL, NULL);
	(void)shmcache_close(other);
	return result;
}

/* There is no memory for the words either. */
static int
fail_at_once(void)
{
	return shmcache_get(cache, "", 0, NULL, 0, NULL, NULL) ==
			   SHMCACHE_EKEY &&
		       shmcache_last_error()[0] != 0
		   ? 0
		   : -EIO;
}

static int
fail_with_words(void)
{
	struct shmcache *opened;

	return shmcache_open("a/b", NULL, &opened) == SHMCACHE_ENAME &&
		       shmcache_last_error()[0] != 0
		   ? 0
		   : -EIO;
}

/* (What it leaves is replaced by the next.) */
static int
save_filter(void)
{
	char path[64];
	int result;

	(void)snprintf(
	    path, sizeof(path), "/tmp/shmcache-memory-%d", (int)getpid());
	result = shmcache_filter_save(cache, path);
	(void)unlink(path);
	return result;
}

static int
load_filter(void)
{
	unsigned n = fails_in;
	uint64_t build;
	char path[64];
	int result;

	fails_in = 0; /* there is a file */
	(void)snprintf(
	    path, sizeof(path), "/tmp/shmcache-memory-%d.saved", (int)getpid());
	result = shmcache_filter_save(cache, path);
	fails_in = n;
	if (result == 0)
		result = shmcache_filter_load(cache, path, &build);
	(void)unlink(path);
	return result;
}

struct named {
	const char *name;
	int (*call)(void);
	bool in_thread; /* one that has done nothing yet */
};

static const struct named calls[] = {
	{ "open", open_new, false },
	{ "open in a new thread", open_missing, true },
	{ "a thread's first failure", fail_at_once, true },
	{ "a thread's first failure with words", fail_with_words, true },
	{ "filter_save", save_filter, false },
	{ "filter_load", load_filter, false },
	{ "get_alloc", get_alloc, false },
	{ "the first call of a thread", get_alloc, true },
	{ "get_pinned of a counter", get_counter_pinned, false },
	{ "get_or_load", load_missing, false },
	{ "begin_load", begin_load, false },
	{ "scan", scan_values, false },
	{ "hot_keys", hot_keys, false },
	{ "verify", verify_strictly, false },
	{ "verify of damage", verify_damaged, false },
	{ "stats", read_stats, false },
	{ "watch_load", watch_load, false },
	{ "watch_load of one under way", watch_load_under_way, false },
};

struct attempt {
	const struct named *named;
	unsigned n;
	int result;
	bool failed;
};

static void *
attempt(void *argument)
{
	struct attempt *a = argument;

	arm(a->n);
	a->result = a->named->call();
	a->failed = disarm();
	return NULL;
}

static void
try_call(const struct named *named)
{
	struct attempt a = { .named = named, .failed = true };
	pthread_t thread;

	for (a.n = 1; a.failed && a.n < 100; a.n++) {
		if (named->in_thread) {
			assert_int_equal(
			    pthread_create(&thread, NULL, attempt, &a), 0);
			assert_int_equal(pthread_join(thread, NULL), 0);
		} else {
			(void)attempt(&a);
		}
		if (a.result != 0 && !(a.failed && a.result == -ENOMEM))
			fail_msg("%s, when allocation %u fails: %d (%s)",
			    named->name, a.n, a.result,
			    shmcache_strerror(a.result));
		test_set_ok(cache, "after", "wards");
		assert_true(test_has(cache, "after", "wards"));
	}
	assert_false(a.failed);
	test_assert_sound(cache);
}

static void
test_allocations_fail(void **state)
{
	uint64_t build;

	(void)state;
	options = test_options();
	options.latency_sample = 1;
	options.filter_items = 10;
	cache = test_cache_of(&options);
	test_set_ok(cache, KEY, "value");
	assert_int_equal(shmcache_filter_begin(cache, &build), 0);
	assert_int_equal(shmcache_filter_publish(cache, build), 0);
	for (size_t i = 0; i < TEST_COUNT_OF(calls); i++)
		try_call(&calls[i]);
	assert_int_equal(shmcache_close(cache), 0);
}

/* There are no random numbers for a secret. */

static int random_error;

ssize_t
getrandom(void *buffer, size_t bytes, unsigned flags)
{
	if (random_error != 0 && bytes > sizeof(uint64_t)) {
		errno = random_error;
		return -1;
	}
	return syscall(SYS_getrandom, buffer, bytes, flags);
}

static void
test_no_secret(void **state)
{
	static const int random_errors[] = { ENOSYS, EINTR };
	struct shmcache *opened;

	(void)state;
	options = test_options();
	for (unsigned i = 0; i < 2; i++) {
		random_error = random_errors[i];
		assert_int_equal(shmcache_open(test_name(), &options, &opened),
		    -random_error);
		random_error = 0;
	}
}

/* The clock stands still. */

static bool is_still;

int
clock_gettime(clockid_t clock, struct timespec *time)
{
	if (is_still) {
		*time = (struct timespec){ .tv_sec = 1000 };
		return 0;
	}
	return (int)syscall(SYS_clock_gettime, clock, time);
}

/* What takes no time is counted as such. */
static void
test_least_latency(void **state)
{
	struct shmcache_latency latency;

	(void)state;
	options = test_options();
	options.latency_sample = 1;
	cache = test_cache_of(&options);
	is_still = true;
	test_set_ok(cache, KEY, "value");
	is_still = false;
	assert_int_equal(
	    shmcache_latency(cache, SHMCACHE_LATENCY_SET, &latency), 0);
	assert_int_equal(latency.samples, 1);
	assert_int_equal(latency.count[0], 1);
	assert_int_equal(shmcache_close(cache), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allocations_fail),
		cmocka_unit_test(test_no_secret),
		cmocka_unit_test(test_least_latency),
	};

	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}

#else

int
main(void)
{
	(void)puts("a sanitizer's malloc() cannot be stood in for");
	return 77;
}

#endif
