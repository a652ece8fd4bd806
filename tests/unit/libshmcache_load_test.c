/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loading through the cache, as one process sees it: what is stored, returned,
 * refused; leases and tokens by themselves.
 */
#include "libshmcache/latency.h"
#include "libshmcache/lease.h"
#include "libshmcache/owner.h"
#include "libshmcache/rate.h"
#include "libshmcache/refresh.h"
#include "libshmcache/token.h"
#include "tests/support/steps.h"
#include "tests/unit/cache_support.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <time.h>

/* A source with one value. */
struct source {
	struct shmcache *cache;
	const char *value; /* NULL: it has none */
	int error;
	unsigned loads;
	void (*during)(struct source *);
	struct shmcache_loaded garbage; /* returned as it is, if not 0 */
	int inner;                      /* of a call from within */
	int result;
	struct shmcache_tag tags[SHMCACHE_TAGS_MAX];
	uint32_t tag_count;
	int64_t ttl_ms;
	jmp_buf *leave;
};

static int
load(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	struct source *s = context;

	(void)key;
	(void)key_bytes;
	s->loads++;
	if (s->during != NULL)
		s->during(s);
	if (s->leave != NULL)
		longjmp(*s->leave, 1);
	if (s->garbage.value_bytes != 0 || s->garbage.ttl_ms != 0) {
		*loaded = s->garbage;
		return s->error;
	}
	memcpy(loaded->tags, s->tags, sizeof(s->tags));
	loaded->tag_count = s->tag_count;
	if (s->error != 0)
		return s->error;
	if (s->value == NULL)
		return SHMCACHE_ENOENT;
	loaded->value = strdup(s->value);
	loaded->value_bytes = strlen(s->value);
	loaded->client_flags = 5;
	loaded->ttl_ms = s->ttl_ms;
	return 0;
}

static struct shmcache_load_options
options_of(int64_t ttl_ms)
{
	struct shmcache_load_options o = SHMCACHE_LOAD_OPTIONS_INIT;

	o.ttl_ms = ttl_ms;
	return o;
}

/* The result, if it is an error; else the source, and the value is as wanted. */
static int
get(struct source *s, const struct shmcache_load_options *o, const char *wanted)
{
	struct shmcache_value v = { .value = NULL };
	int error = shmcache_get_or_load(s->cache, "key", 3, load, s, o, &v);

	if (error != 0) {
		assert_null(v.value);
		return error;
	}
	assert_int_equal(v.value_bytes, strlen(wanted));
	assert_string_equal(v.value, wanted);
	assert_int_equal(v.client_flags, 5);
	free(v.value);
	return (int)v.source;
}

static void
sleep_ms(unsigned ms)
{
	const struct timespec time = { .tv_sec = ms / 1000,
		.tv_nsec = (long)(ms % 1000) * 1000000 };

	(void)nanosleep(&time, NULL);
}

/* Until a plain get misses: the time to live is over, to a tick. */
static void
await_miss(struct shmcache *cache)
{
	while (shmcache_exists(cache, "key", 3) != 0)
		sleep_ms(1);
}

/* Sets the entry's expiry in place. */
static void
expire_in(struct shmcache *cache, int64_t ms)
{
	struct found found = test_find(cache, "key");

	*found.entry.expiry = (mapping_now_ms(cache->mapping) + (uint64_t)ms)
			      << 1;
}

static void
miss_is_loaded_once(void **state)
{
	struct source s = { .cache = test_cache(), .value = "one" };

	(void)state;
	assert_int_equal(get(&s, NULL, "one"), SHMCACHE_FROM_LOAD);
	s.value = "two";
	assert_int_equal(get(&s, NULL, "one"), SHMCACHE_FROM_CACHE);
	assert_int_equal(s.loads, 1);
	assert_true(test_has(s.cache, "key", "one"));
	assert_int_equal(shmcache_delete(s.cache, "key", 3), 0);
	assert_int_equal(get(&s, NULL, "two"), SHMCACHE_FROM_LOAD);
	assert_int_equal(s.loads, 2);
	assert_int_equal(test_stats(s.cache).load_leaders, 2);
	assert_int_equal(test_stats(s.cache).get_hits, 1);
	test_assert_sound(s.cache);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
absence_is_remembered_if_asked(void **state)
{
	struct source s = { .cache = test_cache() };
	struct shmcache_load_options o = options_of(0);
	struct shmcache_stats stats;

	(void)state;
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(s.loads, 2);
	o.negative_ttl_ms = 50;
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(s.loads, 3);
	/* For all other calls there is nothing. */
	assert_true(test_lacks(s.cache, "key"));
	assert_int_equal(
	    shmcache_touch(s.cache, "key", 3, 1000), SHMCACHE_ENOENT);
	assert_int_equal(
	    shmcache_append(s.cache, "key", 3, "x", 1), SHMCACHE_ENOENT);
	assert_int_equal(shmcache_delete(s.cache, "none", 4), SHMCACHE_ENOENT);
	s.value = "now";
	sleep_ms(80);
	assert_int_equal(get(&s, &o, "now"), SHMCACHE_FROM_LOAD);
	stats = test_stats(s.cache);
	assert_int_equal(stats.load_negatives, 1);
	assert_int_equal(stats.load_errors, 0);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
negative_entry_gives_way_to_a_set(void **state)
{
	struct source s = { .cache = test_cache() };
	struct shmcache_load_options o = options_of(0);

	(void)state;
	o.negative_ttl_ms = 60000;
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(shmcache_add(s.cache, "key", 3, "set", 3, 0, 5), 0);
	assert_int_equal(get(&s, &o, "set"), SHMCACHE_FROM_CACHE);
	assert_int_equal(shmcache_delete(s.cache, "key", 3), 0);
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(shmcache_delete(s.cache, "key", 3), SHMCACHE_ENOENT);
	s.value = "there";
	assert_int_equal(get(&s, &o, "there"), SHMCACHE_FROM_LOAD);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
delete_during(struct source *s)
{
	assert_int_equal(shmcache_delete(s->cache, "key", 3), SHMCACHE_ENOENT);
}

static void
delete_prefix_during(struct source *s)
{
	assert_int_equal(shmcache_delete_prefix(s->cache, "k", 1, NULL), 0);
}

static void
flush_during(struct source *s)
{
	assert_int_equal(shmcache_flush(s->cache), 0);
}

static void
set_during(struct source *s)
{
	assert_int_equal(shmcache_set(s->cache, "key", 3, "newer", 5, 0, 5), 0);
}

/* Takes the key's word out, as an evictor does. */
static void
evict(struct shmcache *cache)
{
	struct found found = test_find(cache, "key");

	cache->mapping->slots[found.slot] = 0;
}

static void
add_and_evict_during(struct source *s)
{
	assert_int_equal(shmcache_add(s->cache, "key", 3, "newer", 5, 0, 5), 0);
	evict(s->cache);
}

static void
set_and_evict_during(struct source *s)
{
	set_during(s);
	evict(s->cache);
}

/* What was loaded before any of these is not stored after it. */
static void
fill_is_refused_after(void (*during)(struct source *), bool is_set)
{
	struct source s = {
		.cache = test_cache(), .value = "older", .during = during
	};

	assert_int_equal(get(&s, NULL, "older"), SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(test_has(s.cache, "key", "newer"), is_set);
	assert_false(test_has(s.cache, "key", "older"));
	assert_int_equal(test_stats(s.cache).load_refused, 1);
	test_assert_sound(s.cache);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* The same of a refresh: the set takes the place of the stale value that the load
   has seen, and is evicted before the fill. */
static void
refresh_is_refused_after_a_set(void)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct shmcache_load_options o = options_of(1);

	o.stale_ms = 60000;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD);
	await_miss(s.cache);
	s.value = "older";
	s.during = set_and_evict_during;
	assert_int_equal(get(&s, &o, "older"), SHMCACHE_FROM_LOAD_ONLY);
	assert_true(test_lacks(s.cache, "key"));
	assert_int_equal(test_stats(s.cache).load_refused, 1);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
nothing_loaded_before_a_write_is_stored_after_it(void **state)
{
	(void)state;
	refresh_is_refused_after_a_set();
	fill_is_refused_after(delete_during, false);
	fill_is_refused_after(delete_prefix_during, false);
	fill_is_refused_after(flush_during, false);
	fill_is_refused_after(set_during, true);
	fill_is_refused_after(add_and_evict_during, false);
}

static void
set_another_during(struct source *s)
{
	char key[32];

	for (unsigned i = 0; i < 50; i++)
		test_set_ok(s->cache, test_key(key, "other", i), "value");
	(void)shmcache_delete(s->cache, "other-3", 7);
}

static void
other_keys_do_not_refuse_a_fill(void **state)
{
	struct source s = { .cache = test_cache(),
		.value = "value",
		.during = set_another_during };

	(void)state;
	assert_int_equal(get(&s, NULL, "value"), SHMCACHE_FROM_LOAD);
	assert_int_equal(test_stats(s.cache).load_refused, 0);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
get_again(struct source *s)
{
	struct shmcache_value v;
	struct source other = { .cache = s->cache, .value = "inner" };

	s->inner = shmcache_get_or_load(s->cache, "key", 3, load, s, NULL, &v);
	assert_int_equal(shmcache_get_or_load(
			     s->cache, "another", 7, load, &other, NULL, &v),
	    0);
	assert_int_equal(v.source, SHMCACHE_FROM_LOAD);
	free(v.value);
	assert_int_equal(other.loads, 1);
}

static void
loader_may_load_another_key_but_not_its_own(void **state)
{
	struct source s = {
		.cache = test_cache(), .value = "outer", .during = get_again
	};

	(void)state;
	assert_int_equal(get(&s, NULL, "outer"), SHMCACHE_FROM_LOAD);
	assert_int_equal(s.inner, SHMCACHE_EDEADLK);
	assert_int_equal(s.loads, 1);
	assert_true(test_has(s.cache, "another", "inner"));
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
load_all_in_chain(struct source *s)
{
	char key[32];
	struct shmcache_value v;

	if (s->loads == 40)
		return;
	test_key(key, "chain", s->loads);
	assert_int_equal(
	    shmcache_get_or_load(s->cache, key, strlen(key), load, s, NULL, &v),
	    0);
	free(v.value);
}

/* More leases at once than fit: some are loaded without. */
static void
loaders_may_nest_deeply(void **state)
{
	struct source s = { .cache = test_cache(),
		.value = "value",
		.during = load_all_in_chain };
	struct shmcache_stats stats;

	(void)state;
	assert_true(get(&s, NULL, "value") >= SHMCACHE_FROM_LOAD);
	assert_int_equal(s.loads, 40);
	stats = test_stats(s.cache);
	assert_int_equal(stats.load_leaders + stats.load_alone, 40);
	/* Two keys that share a token's place refuse each other's fills. */
	assert_int_equal(stats.items + stats.load_refused, 40);
	assert_in_range(stats.load_refused, 0, 20);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
garbage_from_a_loader_is_an_error(void **state)
{
	char byte = 'x';
	struct shmcache_loaded bad[] = { { .value_bytes = 1 },
		{ .value_bytes = SIZE_MAX },
		{ .value = &byte, .value_bytes = SIZE_MAX },
		{ .value = &byte, .value_bytes = (size_t)1 << 63 },
		{ .ttl_ms = -2 }, { .ttl_ms = INT64_MIN } };
	struct source s = { .cache = test_cache() };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(bad); i++) {
		s.garbage = bad[i];
		if (s.garbage.value != NULL)
			s.garbage.value = malloc(1);
		assert_int_equal(get(&s, NULL, ""), -EINVAL);
		assert_true(test_lacks(s.cache, "key"));
	}
	memset(&s.garbage, 0, sizeof(s.garbage));
	s.error = 17;
	assert_int_equal(get(&s, NULL, ""), -EINVAL);
	s.error = -EIO;
	assert_int_equal(get(&s, NULL, ""), -EIO);
	s.error = 0;
	s.value = "good";
	assert_int_equal(get(&s, NULL, "good"), SHMCACHE_FROM_LOAD);
	test_assert_sound(s.cache);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
value_too_large_is_returned_all_the_same(void **state)
{
	char large[TEST_EXTENT_BYTES + 1];
	struct source s = { .cache = test_cache(), .value = large };

	(void)state;
	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = 0;
	assert_int_equal(get(&s, NULL, large), SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(get(&s, NULL, large), SHMCACHE_FROM_LOAD_ONLY);
	assert_true(test_lacks(s.cache, "key"));
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
loader_left_by_longjmp_locks_nobody_out(void **state)
{
	struct source s = { .cache = test_cache(), .value = "value" };
	jmp_buf leave;

	(void)state;
#if defined(__SANITIZE_ADDRESS__)
	skip(); /* what such a loader loses is a leak, as documented */
#endif
	if (setjmp(leave) == 0) {
		s.leave = &leave;
		(void)get(&s, NULL, "");
		fail();
	}
	s.leave = NULL;
	assert_int_equal(get(&s, NULL, "value"), SHMCACHE_FROM_LOAD);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
stale_values_are_for_loading_calls_only(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct shmcache_load_options o = options_of(40);
	char text[] = "new";
	const struct shmcache_loaded loaded = {
		.value = text, .value_bytes = 3, .client_flags = 5
	};
	struct shmcache_token token;
	struct shmcache_value v;
	int64_t ttl_ms;

	(void)state;
	o.stale_ms = 60000;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD);
	assert_int_equal(shmcache_ttl(s.cache, "key", 3, &ttl_ms), 0);
	assert_in_range(ttl_ms, 0, 40);
	await_miss(s.cache);
	assert_int_equal(
	    shmcache_touch(s.cache, "key", 3, 1000), SHMCACHE_ENOENT);
	/* One refreshes, and has the old value; the others get that at once. */
	assert_int_equal(
	    shmcache_begin_load(s.cache, "key", 3, &o, &v, &token), 0);
	assert_int_equal(v.source, SHMCACHE_LEAD);
	assert_string_equal(v.value, "old");
	free(v.value);
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_STALE);
	assert_int_equal(s.loads, 1);
	assert_int_equal(
	    shmcache_fill(s.cache, "key", 3, &token, 0, &loaded, &o), 0);
	assert_int_equal(get(&s, &o, "new"), SHMCACHE_FROM_CACHE);
	await_miss(s.cache);
	s.value = "newest";
	assert_int_equal(get(&s, &o, "newest"), SHMCACHE_FROM_LOAD);
	assert_int_equal(test_stats(s.cache).load_stale, 1);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static int
refuse_or_keep(void *context, const void *key, size_t key_bytes,
    const struct shmcache_token *token)
{
	struct shmcache_token *kept = context;

	assert_int_equal(key_bytes, 3);
	assert_memory_equal(key, "key", 3);
	if (kept->reserved != 0)
		return -1;
	*kept = *token;
	return 0;
}

static void
refresh_may_be_given_away(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct shmcache_load_options o = options_of(30);
	struct shmcache_token kept = { .reserved = 1 };

	(void)state;
	o.stale_ms = 60000;
	o.refresher = refuse_or_keep;
	o.refresher_context = &kept;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD);
	await_miss(s.cache);
	s.value = "new";
	assert_int_equal(get(&s, &o, "new"), SHMCACHE_FROM_LOAD);
	await_miss(s.cache);
	kept.reserved = 0;
	assert_int_equal(get(&s, &o, "new"), SHMCACHE_FROM_STALE);
	assert_int_equal(s.loads, 2);
	assert_int_equal(shmcache_abandon(s.cache, &kept), 0);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* What only a failed load may be answered by is not returned before that. */
static void
refresh_past_its_window_is_not_given_away(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct shmcache_load_options o = options_of(30);
	struct shmcache_token kept = { .reserved = 0 };

	(void)state;
	o.stale_ms = 1;
	o.stale_if_error_ms = 60000;
	o.refresh_percent = 100;
	o.refresher = refuse_or_keep;
	o.refresher_context = &kept;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD);
	await_miss(s.cache);
	sleep_ms(20);
	s.error = -EIO;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_STALE);
	assert_int_equal(s.loads, 2);
	s.error = 0;
	s.value = "new";
	o.ttl_ms = 60000;
	assert_int_equal(get(&s, &o, "new"), SHMCACHE_FROM_LOAD);
	assert_int_equal(s.loads, 3);
	assert_int_equal(kept.segment_id, 0);
	/* Of what is fresh and due it is. */
	expire_in(s.cache, 80000);
	assert_int_equal(get(&s, &o, "new"), SHMCACHE_FROM_CACHE);
	assert_int_equal(s.loads, 3);
	assert_int_not_equal(kept.segment_id, 0);
	assert_int_equal(shmcache_abandon(s.cache, &kept), 0);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
failed_load_is_answered_by_the_stale_value(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct shmcache_load_options o = options_of(30);

	(void)state;
	o.stale_if_error_ms = 60000;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD);
	await_miss(s.cache);
	s.error = -EIO;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_STALE);
	assert_int_equal(s.loads, 2);
	/* An error that is kept spares the source. */
	o.error_ttl_ms = 60000;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_STALE);
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_STALE);
	assert_int_equal(s.loads, 3);
	assert_int_equal(test_stats(s.cache).load_errors, 2);
	assert_int_equal(test_stats(s.cache).load_stale, 3);
	/* The source says that it is gone: then it is. */
	o.stale_if_error_ms = 0;
	assert_int_equal(get(&s, &o, ""), -EIO);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
absence_ends_a_stale_value(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct shmcache_load_options o = options_of(30);

	(void)state;
	o.stale_ms = o.stale_if_error_ms = 60000;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD);
	await_miss(s.cache);
	s.value = NULL;
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(test_stats(s.cache).items, 0);
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
touch_makes_it_fresh_again(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct shmcache_load_options o = options_of(60000);
	int64_t ttl_ms;

	(void)state;
	o.stale_ms = 5000;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD);
	assert_int_equal(shmcache_ttl(s.cache, "key", 3, &ttl_ms), 0);
	assert_in_range(ttl_ms, 55000, 60000);
	expire_in(s.cache, 4000); /* within the window */
	assert_true(test_lacks(s.cache, "key"));
	expire_in(s.cache, 7000);
	assert_int_equal(shmcache_ttl(s.cache, "key", 3, &ttl_ms), 0);
	assert_in_range(ttl_ms, 1000, 2000);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
value_is_refreshed_ahead(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct shmcache_load_options o = options_of(60000);

	(void)state;
	o.refresh_percent = 50;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD);
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_CACHE);
	expire_in(s.cache, 20000);
	s.error = -EIO; /* does no harm to what is fresh */
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_CACHE);
	assert_int_equal(s.loads, 2);
	s.error = 0;
	s.value = "new";
	assert_int_equal(get(&s, &o, "new"), SHMCACHE_FROM_LOAD);
	assert_int_equal(get(&s, &o, "new"), SHMCACHE_FROM_CACHE);
	assert_int_equal(test_stats(s.cache).load_early, 2);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
what_the_loader_says_is_refreshed_ahead(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct shmcache_load_options o = options_of(60000);
	struct shmcache_stats stats;

	(void)state;
	o.refresh_percent = 50;
	s.ttl_ms = 10000; /* shorter than the option's */
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD);
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_CACHE);
	expire_in(s.cache, 4000);
	s.ttl_ms = 600000; /* and longer */
	s.value = "new";
	assert_int_equal(get(&s, &o, "new"), SHMCACHE_FROM_LOAD);
	expire_in(s.cache, 310000);
	assert_int_equal(get(&s, &o, "new"), SHMCACHE_FROM_CACHE);
	expire_in(s.cache, 290000);
	s.ttl_ms = 0;
	s.value = "newer";
	assert_int_equal(get(&s, &o, "newer"), SHMCACHE_FROM_LOAD);
	expire_in(s.cache, 31000);
	assert_int_equal(get(&s, &o, "newer"), SHMCACHE_FROM_CACHE);
	stats = test_stats(s.cache);
	assert_int_equal(stats.load_early, 2);
	assert_int_equal(s.loads, 3);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* Only where it says something has an entry got the option. */
static void
usual_time_to_live_takes_no_room(void **state)
{
	struct source s = { .cache = test_cache(), .value = "value" };
	struct shmcache_load_options o = options_of(60000);
	struct found found;

	(void)state;
	o.refresh_percent = 50;
	o.jitter_percent = 50;
	assert_int_equal(get(&s, &o, "value"), SHMCACHE_FROM_LOAD);
	found = test_find(s.cache, "key");
	assert_int_equal(found.entry.flags & ENTRY_REFRESH, 0);
	assert_int_equal(shmcache_delete(s.cache, "key", 3), 0);
	s.ttl_ms = 70000;
	assert_int_equal(get(&s, &o, "value"), SHMCACHE_FROM_LOAD);
	found = test_find(s.cache, "key");
	assert_int_not_equal(found.entry.flags & ENTRY_REFRESH, 0);
	assert_in_range(entry_refresh(&found.entry).ttl_ms, 70000 - 70, 70000);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
refresh_is_packed_without_much_loss(void **state)
{
	const struct refresh cases[] = { { 0, 0, 0 }, { 1, 1, 1 },
		{ INT32_MAX, UINT32_MAX, INT64_MAX }, { 60000, 1500, 86400000 },
		{ 0, 2047, 2048 }, { 5, 2049, 999999999999 } };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(cases); i++) {
		const struct refresh *given = &cases[i];
		struct refresh r = refresh_unpack(refresh_pack(*given));

		assert_int_equal(r.stale_ms, given->stale_ms);
		assert_in_range(r.cost_us,
		    given->cost_us - given->cost_us / 1024, given->cost_us);
		assert_in_range(r.ttl_ms, given->ttl_ms - given->ttl_ms / 1024,
		    given->ttl_ms);
	}
}

static void
chance_is_as_xfetch_has_it(void **state)
{
	unsigned early = 0;
	uint32_t random = 1;

	(void)state;
	/* P(cost * beta * -ln(u) >= left) = exp(-left / (cost * beta)) */
	for (unsigned i = 0; i < 100000; i++) {
		random = random * 1664525u + 1013904223u;
		early += refresh_by_chance(10, 10000, 1.0, random);
	}
	assert_in_range(early, 36000, 37600); /* 1/e */
	assert_false(refresh_by_chance(10, 0, 1.0, 5));
	assert_false(refresh_by_chance(10, 1000000, 0.0, 5));
	assert_true(refresh_by_chance(1, 1000000, 1.0, 5));
	assert_false(refresh_by_chance(1000, 1000, 1.0, UINT32_MAX));
}

static void
jitter_stays_in_its_range(void **state)
{
	(void)state;
	assert_int_equal(refresh_jitter(1000, 0, 12345), 1000);
	assert_int_equal(refresh_jitter(1000, 10, 0), 900);
	assert_int_equal(refresh_jitter(1000, 10, UINT32_MAX), 1100);
	assert_int_equal(refresh_jitter(1000, 100, 0), 1);
	assert_true(refresh_jitter(INT64_MAX, 0, 0) == INT64_MAX);
	assert_true(refresh_jitter(INT64_MAX, 100, UINT32_MAX) == INT64_MAX);
	assert_int_equal(refresh_jitter(INT64_MAX, 100, 0), 1);
}

/* As long as there can be, refreshed in whatever way. */
static void
longest_time_to_live_is_kept(void **state)
{
	struct source s = { .cache = test_cache(), .value = "value" };
	struct shmcache_load_options o = options_of(INT64_MAX);
	int64_t ttl_ms;

	(void)state;
	o.stale_ms = INT32_MAX;
	o.refresh_percent = 1;
	o.jitter_percent = 0;
	assert_int_equal(get(&s, &o, "value"), SHMCACHE_FROM_LOAD);
	assert_int_equal(shmcache_ttl(s.cache, "key", 3, &ttl_ms), 0);
	assert_true(ttl_ms > INT64_MAX / 4);
	assert_int_equal(get(&s, &o, "value"), SHMCACHE_FROM_CACHE);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
cost_of_a_load_is_kept(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct shmcache_load_options o = options_of(60000);
	struct found found;

	(void)state;
	o.beta = 1;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD);
	found = test_find(s.cache, "key");
	assert_in_range(entry_refresh(&found.entry).cost_us, 0, 10000000);
	assert_int_equal(entry_refresh(&found.entry).stale_ms, 0);
	assert_int_equal(shmcache_append(s.cache, "key", 3, "er", 2), 0);
	assert_int_equal(get(&s, &o, "older"), SHMCACHE_FROM_CACHE);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* How many of those that ask all the time get through in so many units. */
static uint64_t
let_through(uint32_t per_second, uint64_t units_per_s, uint64_t units)
{
	uint64_t full = 0, count = 0;
	uint32_t random = 1;

	for (uint64_t now = units_per_s; now < units_per_s + units; now++)
		while (rate_allows(per_second, units_per_s,
		    rate_ahead(full - now, units_per_s))) {
			random = random * 1664525u + 1013904223u;
			full = (full > now ? full : now) +
			       rate_interval(per_second, units_per_s, random);
			count++;
		}
	return count;
}

static void
rate_is_right_to_a_hundredth(void **state)
{
	const uint32_t rates[] = { 1, 3, 7, 9, 10, 30, 51, 99, 300, 501, 600,
		667, 999, 1000, 6000, 60000, 600000, 999999, 1000001, 1500000 };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(rates); i++) {
		uint32_t rate = rates[i];
		uint64_t burst = rate < 10 ? 1 : rate / 10;

		/* At once, and in two seconds. */
		assert_in_range(let_through(rate, 1000000, 1),
		    burst - rate / 1001, burst + rate / 1001);
		assert_in_range(let_through(rate, 1000000, 2000000),
		    2 * rate + burst - 1 - rate / 100,
		    2 * rate + burst + rate / 100);
	}
	/* However small the interval: the average of many. */
	for (uint32_t rate = 100000000; rate < 4100000000u; rate += 100000000) {
		uint64_t units = 0;
		uint32_t random = 1;

		for (unsigned i = 0; i < 100000; i++) {
			random = random * 1664525u + 1013904223u;
			units += rate_interval(rate, 1000000000, random);
		}
		assert_in_range(units, (uint64_t)(100000 * (1e9 / rate) * 0.99),
		    (uint64_t)(100000 * (1e9 / rate) * 1.01));
	}
	assert_int_equal(rate_ahead(UINT64_MAX, 1000), 0);
	assert_int_equal(rate_ahead(1500, 1000), 1500);
}

/* As long as it is asked for all the time. */
static void
key_is_loaded_as_often_as_it_may(void **state)
{
	struct source s = { .cache = test_cache() };
	struct shmcache_load_options o = options_of(0);
	uint64_t begun_ns = latency_begin(), ns;
	double most;

	(void)state;
	o.max_key_loads_per_s = 600;
	do {
		int error = get(&s, &o, "");

		assert_true(
		    error == SHMCACHE_ENOENT || error == SHMCACHE_ELIMIT);
		ns = latency_begin() - begun_ns;
	} while (ns < 500000000);
	most = 600 * ((double)ns / 1e9) * 1.01 + 60 + 1;
	assert_in_range(s.loads, 60, (uint64_t)most);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
loads_per_second_are_limited(void **state)
{
	struct source s = { .cache = test_cache() };
	struct shmcache_load_options o = options_of(0);
	unsigned loads;

	(void)state;
	o.max_loads_per_s = 50; /* a depth of 5 */
	for (unsigned i = 0; i < 40; i++)
		(void)get(&s, &o, "");
	assert_in_range(s.loads, 5, 30);
	loads = s.loads;
	while (get(&s, &o, "") != SHMCACHE_ELIMIT)
		;
	o.on_limit = SHMCACHE_LIMIT_NEGATIVE;
	loads = s.loads;
	for (unsigned i = 0; i < 1000 && loads == s.loads; i++)
		assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_true(test_stats(s.cache).load_limited > 0);
	sleep_ms(60);
	loads = s.loads;
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(s.loads, loads + 1);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* What the cache's limit forbids is not counted for the key's. */
static void
key_does_not_pay_for_the_limit_of_the_cache(void **state)
{
	struct source s = { .cache = test_cache() };
	struct shmcache_load_options o = options_of(0);
	struct shmcache_value v;

	(void)state;
	o.max_loads_per_s = 1;
	assert_int_equal(
	    shmcache_get_or_load(s.cache, "other", 5, load, &s, &o, &v),
	    SHMCACHE_ENOENT);
	o.max_key_loads_per_s = 1;
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ELIMIT);
	o.max_loads_per_s = 0;
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ELIMIT);
	assert_int_equal(s.loads, 2);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
loads_at_once_are_limited(void **state)
{
	struct source s = { .cache = test_cache(), .value = "value" };
	struct shmcache_load_options o = options_of(0);
	struct shmcache_token token[3];
	struct shmcache_value v;

	(void)state;
	o.max_loads = 2;
	for (unsigned i = 0; i < 3; i++) {
		char key[32];

		test_key(key, "k", i);
		assert_int_equal(shmcache_begin_load(s.cache, key, strlen(key),
				     &o, &v, &token[i]),
		    i < 2 ? 0 : SHMCACHE_ELIMIT);
	}
	assert_int_equal(shmcache_abandon(s.cache, &token[0]), 0);
	assert_int_equal(get(&s, &o, "value"), SHMCACHE_FROM_LOAD);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
event_loops_begin_and_end(void **state)
{
	struct source s = { .cache = test_cache(), .value = "value" };
	char text[] = "filled";
	struct shmcache_loaded loaded = {
		.value = text, .value_bytes = 6, .client_flags = 5
	};
	struct shmcache_token token, other;
	struct shmcache_value v;

	(void)state;
	assert_int_equal(shmcache_wait_load(s.cache, "key", 3, 0), 0);
	assert_int_equal(
	    shmcache_begin_load(s.cache, "key", 3, NULL, &v, &token), 0);
	assert_int_equal(v.source, SHMCACHE_LEAD);
	assert_null(v.value);
	assert_int_equal(shmcache_wait_load(s.cache, "key", 3, 20), -ETIMEDOUT);
	assert_int_equal(shmcache_abandon(s.cache, &token), 0);
	assert_int_equal(shmcache_wait_load(s.cache, "key", 3, 20), 0);
	assert_int_equal(
	    shmcache_begin_load(s.cache, "key", 3, NULL, &v, &other), 0);
	assert_int_equal(v.source, SHMCACHE_LEAD);
	assert_int_equal(
	    shmcache_fill(s.cache, "key", 3, &other, 0, &loaded, NULL), 0);
	assert_true(test_has(s.cache, "key", "filled"));
	/* A second time, by mistake; and for another key. */
	assert_int_equal(
	    shmcache_fill(s.cache, "key", 3, &other, 0, &loaded, NULL),
	    SHMCACHE_ESTALE);
	assert_int_equal(
	    shmcache_fill(s.cache, "yek", 3, &other, 0, &loaded, NULL),
	    SHMCACHE_ESTALE);
	other.segment_id++;
	assert_int_equal(shmcache_abandon(s.cache, &other), SHMCACHE_ESTALE);
	assert_int_equal(
	    shmcache_begin_load(s.cache, "key", 3, NULL, &v, &token), 0);
	assert_int_equal(v.source, SHMCACHE_FROM_CACHE);
	assert_string_equal(v.value, "filled");
	free(v.value);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* Begins a load of the key; a stale value is not kept. */
static struct shmcache_token
lead_for(struct shmcache *cache, const struct shmcache_load_options *options)
{
	struct shmcache_token token;
	struct shmcache_value v;

	assert_int_equal(
	    shmcache_begin_load(cache, "key", 3, options, &v, &token), 0);
	assert_int_equal(v.source, SHMCACHE_LEAD);
	free(v.value);
	return token;
}

static struct shmcache_token
lead(struct shmcache *cache)
{
	return lead_for(cache, NULL);
}

static int
fill(struct shmcache *cache, const struct shmcache_token *token, int result)
{
	char text[] = "filled";
	const struct shmcache_loaded loaded = {
		.value = text, .value_bytes = 6, .client_flags = 5
	};

	return shmcache_fill(cache, "key", 3, token, result, &loaded, NULL);
}

/* However a load has ended, its token stores nothing more. */
static void
token_is_spent_by_what_ends_it(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_token token;

	(void)state;
	token = lead(cache);
	assert_int_equal(shmcache_abandon(cache, &token), 0);
	assert_int_equal(fill(cache, &token, 0), SHMCACHE_ESTALE);
	assert_int_equal(shmcache_abandon(cache, &token), 0);
	token = lead(cache);
	assert_int_equal(fill(cache, &token, SHMCACHE_ENOENT), 0);
	assert_int_equal(fill(cache, &token, 0), SHMCACHE_ESTALE);
	token = lead(cache);
	assert_int_equal(fill(cache, &token, -EIO), 0);
	assert_int_equal(fill(cache, &token, 0), SHMCACHE_ESTALE);
	assert_true(test_lacks(cache, "key"));
	token = lead(cache);
	assert_int_equal(fill(cache, &token, 0), 0);
	assert_true(test_has(cache, "key", "filled"));
	assert_int_equal(shmcache_close(cache), 0);
}

/* Nor does it end anything, as by taking the stale value away. */
static void
token_that_is_spent_drops_nothing(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct shmcache_load_options o = options_of(20);
	struct shmcache_token token;

	(void)state;
	o.stale_if_error_ms = 60000;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD);
	sleep_ms(40);
	token = lead_for(s.cache, &o);
	assert_int_equal(shmcache_abandon(s.cache, &token), 0);
	assert_int_equal(fill(s.cache, &token, -EIO), SHMCACHE_ESTALE);
	assert_int_equal(
	    fill(s.cache, &token, SHMCACHE_ENOENT), SHMCACHE_ESTALE);
	assert_int_equal(test_stats(s.cache).load_errors, 0);
	s.error = -EIO;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_STALE);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* Of a load without a lease too: of a key whose places others have. */
static void
lone_token_is_spent_by_what_ends_it(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_token token = { .lease = 0 };
	const struct shmcache_loaded loaded = { .value = NULL };
	char key[32];

	(void)state;
	for (unsigned i = 0; (token.lease & LEASE_ALONE) == 0; i++) {
		struct shmcache_value v;

		assert_in_range(i, 0, 1000);
		test_key(key, "k", i);
		assert_int_equal(shmcache_begin_load(
				     cache, key, strlen(key), NULL, &v, &token),
		    0);
	}
	assert_int_not_equal(token.lease, LEASE_NONE);
	assert_int_equal(shmcache_abandon(cache, &token), 0);
	assert_int_equal(
	    shmcache_fill(cache, key, strlen(key), &token, 0, &loaded, NULL),
	    SHMCACHE_ESTALE);
	assert_true(test_lacks(cache, key));
	assert_int_equal(shmcache_close(cache), 0);
}

static void
fill_with_bad_arguments_does_nothing(void **state)
{
	struct source s = { .cache = test_cache() };
	struct shmcache_loaded bad = { .value_bytes = 1 };
	struct shmcache_load_options o = options_of(-5);
	struct shmcache_token token = lead(s.cache);

	(void)state;
	assert_int_equal(
	    shmcache_fill(s.cache, "key", 3, &token, 0, NULL, NULL), -EINVAL);
	assert_int_equal(
	    shmcache_fill(s.cache, "key", 3, &token, 0, &bad, NULL), -EINVAL);
	assert_int_equal(
	    shmcache_fill(s.cache, "key", 3, &token, -EIO, NULL, &o), -EINVAL);
	assert_int_equal(
	    shmcache_fill(s.cache, "key", 3, &token, 5, NULL, NULL), -EINVAL);
	assert_int_equal(
	    shmcache_fill(s.cache, "", 0, &token, -EIO, NULL, NULL),
	    SHMCACHE_EKEY);
	assert_int_equal(
	    shmcache_fill(s.cache, "yek", 3, &token, -EIO, NULL, NULL),
	    SHMCACHE_ESTALE);
	assert_int_equal(shmcache_wait_load(s.cache, "key", 3, 0), -ETIMEDOUT);
	assert_int_equal(fill(s.cache, &token, 0), 0);
	assert_true(test_has(s.cache, "key", "filled"));
	assert_int_equal(shmcache_wait_load(s.cache, "key", 3, 0), 0);
	assert_int_equal(shmcache_close(s.cache), 0);
}

struct begun {
	struct shmcache *cache;
	struct shmcache_token token;
};

static int
fill_in_child(void *context)
{
	struct begun *b = context;

	return fill(b->cache, &b->token, 0) == 0 ? 0 : 1;
}

static void
forked_child_may_fill(void **state)
{
	struct begun b = { .cache = test_cache() };

	(void)state;
	b.token = lead(b.cache);
	assert_int_equal(test_child_run(fill_in_child, &b), 0);
	assert_true(test_has(b.cache, "key", "filled"));
	assert_int_equal(fill(b.cache, &b.token, 0), SHMCACHE_ESTALE);
	assert_int_equal(shmcache_close(b.cache), 0);
}

/* Whatever negative number it is. */
static void
any_error_of_a_loader_is_kept(void **state)
{
	const int errors[] = { -1, -EIO, -4096, SHMCACHE_ELIMIT, -INT32_MAX,
		INT32_MIN };
	struct shmcache_load_options o = options_of(0);

	(void)state;
	o.error_ttl_ms = 600000;
	for (size_t i = 0; i < TEST_COUNT_OF(errors); i++) {
		struct source s = { .cache = test_cache(), .error = errors[i] };

		assert_int_equal(get(&s, &o, ""), errors[i]);
		assert_int_equal(get(&s, &o, ""), errors[i]);
		assert_int_equal(s.loads, 1);
		assert_int_equal(shmcache_close(s.cache), 0);
	}
}

static void
arguments_are_checked(void **state)
{
	struct source s = { .cache = test_cache() };
	struct shmcache_load_options o = options_of(0);
	struct shmcache_value v;

	(void)state;
	assert_int_equal(
	    shmcache_get_or_load(s.cache, "key", 3, NULL, &s, NULL, &v),
	    -EINVAL);
	assert_int_equal(
	    shmcache_get_or_load(s.cache, "key", 3, load, &s, NULL, NULL),
	    -EINVAL);
	assert_int_equal(
	    shmcache_get_or_load(s.cache, "", 0, load, &s, NULL, &v),
	    SHMCACHE_EKEY);
	o.jitter_percent = 101;
	assert_int_equal(get(&s, &o, ""), -EINVAL);
	o = options_of(-5);
	assert_int_equal(get(&s, &o, ""), -EINVAL);
	o = options_of(0);
	o.beta = -1;
	assert_int_equal(get(&s, &o, ""), -EINVAL);
	o.beta = 0;
	o.stale_ms = 1u << 31;
	assert_int_equal(get(&s, &o, ""), -EINVAL);
	o = options_of(0);
	o.refresh_percent = 101;
	assert_int_equal(get(&s, &o, ""), -EINVAL);
	o = options_of(0);
	o.on_timeout = SHMCACHE_TIMEOUT_STALE + 1;
	assert_int_equal(get(&s, &o, ""), -EINVAL);
	o = options_of(0);
	o.on_limit = SHMCACHE_LIMIT_NEGATIVE + 1;
	assert_int_equal(get(&s, &o, ""), -EINVAL);
	o = (struct shmcache_load_options){ .struct_bytes = 0 };
	assert_int_equal(get(&s, &o, ""), -EINVAL);
	o.struct_bytes = sizeof(o) + 1;
	assert_int_equal(get(&s, &o, ""), -EINVAL);
	assert_int_equal(s.loads, 0);
	assert_int_equal(
	    shmcache_fill(s.cache, "key", 3, NULL, 0, NULL, NULL), -EINVAL);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
removed_cache_keeps_nobody_from_loading(void **state)
{
	struct source s = { .cache = test_cache(), .value = "value" };

	(void)state;
	assert_int_equal(shmcache_remove(s.cache->path), 0);
	assert_int_equal(get(&s, NULL, "value"), SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(get(&s, NULL, "value"), SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* Who may only read gets what is there, and loads the rest for himself. */
static void
reader_loads_for_himself(void **state)
{
	struct shmcache_options options = test_options(),
				readers = SHMCACHE_OPTIONS_INIT;
	struct source s = { .value = "source's" };
	struct shmcache_load_options o = options_of(0);
	struct shmcache *writer;
	uint64_t build;

	(void)state;
	options.filter_items = 100;
	writer = test_cache_of(&options);
	readers.read_only = 1;
	readers.open_mode = SHMCACHE_ATTACH;
	assert_int_equal(shmcache_open(writer->path, &readers, &s.cache), 0);
	assert_int_equal(get(&s, NULL, "source's"), SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(get(&s, NULL, "source's"), SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(s.loads, 2);
	assert_true(test_lacks(writer, "key"));
	assert_int_equal(shmcache_set(writer, "key", 3, "stored", 6, 0, 5), 0);
	assert_int_equal(get(&s, NULL, "stored"), SHMCACHE_FROM_CACHE);
	assert_int_equal(shmcache_delete(writer, "key", 3), 0);
	/* What the source can't have is not asked for. */
	o.use_filter = 1;
	assert_int_equal(get(&s, &o, "source's"), SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(shmcache_filter_begin(writer, &build), 0);
	assert_int_equal(shmcache_filter_publish(writer, build), 0);
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(shmcache_filter_add(writer, 0, "key", 3), 0);
	assert_int_equal(get(&s, &o, "source's"), SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(s.loads, 4);
	assert_int_equal(shmcache_close(s.cache), 0);
	assert_int_equal(shmcache_close(writer), 0);
}

/* Where two handles have no cache any more, loads by them are told apart. */
static void
get_by_another(struct source *s)
{
	struct source other = { .cache = test_cache(), .value = "inner" };

	assert_int_equal(shmcache_remove(other.cache->path), 0);
	s->inner = get(&other, NULL, "inner");
	assert_int_equal(other.loads, 1);
	assert_int_equal(shmcache_close(other.cache), 0);
}

static void
loaders_of_removed_caches_are_told_apart(void **state)
{
	struct source s = { .cache = test_cache(),
		.value = "outer",
		.during = get_by_another };

	(void)state;
	assert_int_equal(shmcache_remove(s.cache->path), 0);
	assert_int_equal(get(&s, NULL, "outer"), SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(s.inner, SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* A thread that gets no slot reads, and loads for itself what is not there. */
static void *
load_without_slot(void *context)
{
	struct source *s = context;

	s->result = get(s, NULL, "source's");
	s->inner = get(s, NULL, "source's");
	return NULL;
}

static void *
get_without_slot(void *context)
{
	struct source *s = context;

	s->result = get(s, NULL, "stored");
	return NULL;
}

static void
thread_without_a_slot_loads_for_itself(void **state)
{
	struct shmcache_options o = test_options();
	struct source s = { .value = "source's" };
	pthread_t thread;

	(void)state;
	o.peer_slots = 1;
	s.cache = test_cache_of(&o);
	test_set_ok(s.cache, "own", "slot");
	assert_int_equal(
	    pthread_create(&thread, NULL, load_without_slot, &s), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(s.result, SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(s.inner, SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(s.loads, 2);
	assert_true(test_lacks(s.cache, "key"));
	assert_int_equal(shmcache_set(s.cache, "key", 3, "stored", 6, 0, 5), 0);
	assert_int_equal(
	    pthread_create(&thread, NULL, get_without_slot, &s), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(s.result, SHMCACHE_FROM_CACHE);
	assert_int_equal(s.loads, 2);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* What was set with a time to live, in a cache that has none of its own, is due by
   no part of it. */
static void
part_of_no_time_to_live_is_never_due(void **state)
{
	struct source s = { .cache = test_cache(), .value = "new" };
	struct shmcache_load_options o = options_of(0);

	(void)state;
	o.refresh_percent = 100;
	assert_int_equal(
	    shmcache_set(s.cache, "key", 3, "set", 3, 600000, 5), 0);
	assert_int_equal(get(&s, &o, "set"), SHMCACHE_FROM_CACHE);
	o.ttl_ms = 700000; /* that is more than is left */
	assert_int_equal(get(&s, &o, "new"), SHMCACHE_FROM_LOAD);
	assert_int_equal(s.loads, 1);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* That the source has no such key is remembered, without a word about it. */
static void
absence_needs_no_words(void **state)
{
	struct source s = { .cache = test_cache(), .value = "never" };
	struct shmcache_load_options o = options_of(0);
	struct shmcache_token token;
	struct shmcache_value v;

	(void)state;
	o.negative_ttl_ms = 600000;
	assert_int_equal(
	    shmcache_begin_load(s.cache, "key", 3, &o, &v, &token), 0);
	assert_int_equal(v.source, SHMCACHE_LEAD);
	assert_int_equal(
	    shmcache_fill(s.cache, "key", 3, &token, SHMCACHE_ENOENT, NULL, &o),
	    0);
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(s.loads, 0);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* Calls of one key by threads: one load. */
static void *
get_in_thread(void *context)
{
	assert_true(get(context, NULL, "value") >= 0);
	return NULL;
}

static void
load_slowly(struct source *s)
{
	(void)s;
	sleep_ms(50);
}

static void
threads_share_a_load(void **state)
{
	struct source s = {
		.cache = test_cache(), .value = "value", .during = load_slowly
	};
	pthread_t threads[8];
	struct shmcache_stats stats;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(threads); i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, get_in_thread, &s), 0);
	for (size_t i = 0; i < TEST_COUNT_OF(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(s.loads, 1);
	stats = test_stats(s.cache);
	assert_int_equal(stats.load_leaders, 1);
	assert_int_equal(stats.load_alone, 0);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* Begins to load, and ends without ending that. */
static void *
begin_in_thread(void *context)
{
	struct shmcache_token token;
	struct shmcache_value v;

	assert_int_equal(
	    shmcache_begin_load(context, "key", 3, NULL, &v, &token), 0);
	assert_int_equal(v.source, SHMCACHE_LEAD);
	return NULL;
}

static void
thread_that_ended_leads_no_more(void **state)
{
	struct source s = { .cache = test_cache(), .value = "value" };
	pthread_t thread;

	(void)state;
	assert_int_equal(
	    pthread_create(&thread, NULL, begin_in_thread, s.cache), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(get(&s, NULL, "value"), SHMCACHE_FROM_LOAD);
	assert_int_equal(test_stats(s.cache).load_takeovers, 1);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void *
get_in_thread_too(void *context)
{
	struct source *s = context;

	assert_int_equal(get(s, NULL, s->value), SHMCACHE_FROM_LOAD);
	return NULL;
}

/* A load that began before a delete says nothing to a call that began after it,
   which asks the source itself. */
static void
failure_from_before_a_delete_is_not_shared(void **state)
{
	const int results[] = { SHMCACHE_ENOENT, -EIO };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct source s = { .cache = test_cache(), .value = "new" };
		struct shmcache_token token;
		struct shmcache_value v;
		pthread_t thread;

		assert_int_equal(
		    shmcache_begin_load(s.cache, "key", 3, NULL, &v, &token),
		    0);
		assert_int_equal(v.source, SHMCACHE_LEAD);
		(void)shmcache_delete(s.cache, "key", 3);
		assert_int_equal(
		    pthread_create(&thread, NULL, get_in_thread_too, &s), 0);
		sleep_ms(20); /* so that it waits */
		assert_int_equal(shmcache_fill(s.cache, "key", 3, &token,
				     results[i], NULL, NULL),
		    0);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(s.loads, 1);
		assert_int_equal(shmcache_close(s.cache), 0);
	}
}

/* Begins, and stays there until told. */
struct holder {
	struct shmcache *cache;
	struct shmcache_load_options options;
	pthread_barrier_t barrier;
	int fill;
};

static void *
hold_lease(void *context)
{
	struct holder *h = context;
	char text[] = "late";
	struct shmcache_loaded loaded = { .value = text, .value_bytes = 4 };
	struct shmcache_token token;
	struct shmcache_value v;

	assert_int_equal(
	    shmcache_begin_load(h->cache, "key", 3, &h->options, &v, &token),
	    0);
	assert_int_equal(v.source, SHMCACHE_LEAD);
	free(v.value);
	(void)pthread_barrier_wait(&h->barrier);
	(void)pthread_barrier_wait(&h->barrier);
	h->fill =
	    shmcache_fill(h->cache, "key", 3, &token, 0, &loaded, &h->options);
	return NULL;
}

/* As another waits for it. */
static void *
fill_what_is_too_large(void *context)
{
	struct holder *h = context;
	char large[TEST_EXTENT_BYTES + 1] = "";
	struct shmcache_loaded loaded = { .value = large,
		.value_bytes = sizeof(large) };
	struct shmcache_token token;
	struct shmcache_value v;

	assert_int_equal(
	    shmcache_begin_load(h->cache, "key", 3, &h->options, &v, &token),
	    0);
	assert_int_equal(v.source, SHMCACHE_LEAD);
	free(v.value);
	(void)pthread_barrier_wait(&h->barrier);
	sleep_ms(50);
	h->fill =
	    shmcache_fill(h->cache, "key", 3, &token, 0, &loaded, &h->options);
	return NULL;
}

/* The load that was waited for did not fail: the old value, which is for failures,
   is no answer though nothing could be stored. */
static void
old_value_is_no_answer_to_what_is_too_large(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct holder h = { .cache = s.cache, .options = options_of(20) };
	pthread_t thread;

	(void)state;
	h.options.stale_if_error_ms = 60000;
	assert_int_equal(get(&s, &h.options, "old"), SHMCACHE_FROM_LOAD);
	sleep_ms(40);
	assert_int_equal(pthread_barrier_init(&h.barrier, NULL, 2), 0);
	assert_int_equal(
	    pthread_create(&thread, NULL, fill_what_is_too_large, &h), 0);
	(void)pthread_barrier_wait(&h.barrier);
	s.value = "new";
	assert_int_equal(get(&s, &h.options, "new"), SHMCACHE_FROM_LOAD);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(pthread_barrier_destroy(&h.barrier), 0);
	assert_int_equal(h.fill, SHMCACHE_ETOOBIG);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* Who waits no longer gets the old value if he has said so, be it one that is kept
   for failures; an event loop gets it at once while somebody refreshes it. */
static void
late_leader_leaves_the_old_value(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct holder h = { .cache = s.cache, .options = options_of(20) };
	struct shmcache_load_options o;
	struct shmcache_token token;
	struct shmcache_value v;
	pthread_t thread;

	(void)state;
	h.options.stale_if_error_ms = 60000;
	h.options.lease_ms = 600000;
	assert_int_equal(get(&s, &h.options, "old"), SHMCACHE_FROM_LOAD);
	await_miss(s.cache);
	assert_int_equal(pthread_barrier_init(&h.barrier, NULL, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, hold_lease, &h), 0);
	(void)pthread_barrier_wait(&h.barrier);
	o = h.options;
	o.timeout_ms = 30;
	o.on_timeout = SHMCACHE_TIMEOUT_STALE;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_STALE);
	o.on_timeout = SHMCACHE_TIMEOUT_FAIL;
	assert_int_equal(get(&s, &o, ""), -ETIMEDOUT);
	o.stale_ms = 60000;
	assert_int_equal(
	    shmcache_begin_load(s.cache, "key", 3, &o, &v, &token), 0);
	assert_int_equal(v.source, SHMCACHE_FROM_STALE);
	assert_memory_equal(v.value, "old", 3);
	free(v.value);
	assert_int_equal(s.loads, 1);
	assert_int_equal(test_stats(s.cache).load_stale, 2);
	(void)pthread_barrier_wait(&h.barrier);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(pthread_barrier_destroy(&h.barrier), 0);
	assert_int_equal(h.fill, 0);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
while_held(uint32_t lease_ms,
    void (*then)(struct source *, struct shmcache_load_options *), int fill)
{
	struct source s = { .cache = test_cache(), .value = "value" };
	struct holder h = { .cache = s.cache, .options = options_of(0) };
	struct shmcache_load_options o = options_of(0);
	pthread_t thread;

	h.options.lease_ms = lease_ms;
	assert_int_equal(pthread_barrier_init(&h.barrier, NULL, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, hold_lease, &h), 0);
	(void)pthread_barrier_wait(&h.barrier);
	o.timeout_ms = 20;
	then(&s, &o);
	(void)pthread_barrier_wait(&h.barrier);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(pthread_barrier_destroy(&h.barrier), 0);
	assert_int_equal(h.fill, fill);
	test_assert_sound(s.cache);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
time_out_and_load(struct source *s, struct shmcache_load_options *o)
{
	assert_int_equal(get(s, o, "value"), SHMCACHE_FROM_LOAD);
	assert_int_equal(test_stats(s->cache).load_alone, 1);
	assert_int_equal(test_stats(s->cache).load_waiters, 1);
	assert_true(test_stats(s->cache).load_wait_us >= 5000);
}

static void
time_out_and_fail(struct source *s, struct shmcache_load_options *o)
{
	o->on_timeout = SHMCACHE_TIMEOUT_FAIL;
	assert_int_equal(get(s, o, ""), -ETIMEDOUT);
	o->on_timeout = SHMCACHE_TIMEOUT_STALE;
	assert_int_equal(get(s, o, ""), -ETIMEDOUT);
	assert_int_equal(s->loads, 0);
}

static void
take_over(struct source *s, struct shmcache_load_options *o)
{
	/* There is nobody to wait for once its time is over. */
	assert_int_equal(shmcache_wait_load(s->cache, "key", 3, 5000), 0);
	o->timeout_ms = 5000;
	assert_int_equal(get(s, o, "value"), SHMCACHE_FROM_LOAD);
	assert_int_equal(test_stats(s->cache).load_takeovers, 1);
}

static void
waiters_do_as_told_when_their_time_is_over(void **state)
{
	(void)state;
	while_held(10000, time_out_and_load, SHMCACHE_ESTALE);
	while_held(10000, time_out_and_fail, 0);
}

static void
late_leader_is_followed(void **state)
{
	(void)state;
	while_held(30, take_over, SHMCACHE_ESTALE);
}

/* As one who would begin with another key has it. */
static int
begin_other(struct source *s, uint32_t max_loads)
{
	struct source other = { .cache = s->cache, .value = "other" };
	struct shmcache_load_options o = options_of(0);
	struct shmcache_value v;
	int error;

	o.max_loads = max_loads;
	error =
	    shmcache_get_or_load(s->cache, "other", 5, load, &other, &o, &v);
	if (error != 0)
		return error;
	free(v.value);
	return shmcache_delete(s->cache, "other", 5);
}

/* The key's leader, and one who does not wait for it any more. */
static void
two_are_loading(struct source *s)
{
	assert_int_equal(begin_other(s, 2), SHMCACHE_ELIMIT);
	assert_int_equal(begin_other(s, 3), 0);
}

static void
be_limited_though_late(struct source *s, struct shmcache_load_options *o)
{
	o->max_loads = 1;
	assert_int_equal(get(s, o, ""), SHMCACHE_ELIMIT);
	o->on_limit = SHMCACHE_LIMIT_NEGATIVE;
	assert_int_equal(get(s, o, ""), SHMCACHE_ENOENT);
	assert_int_equal(s->loads, 0);
	o->max_loads = 0; /* is counted all the same */
	s->during = two_are_loading;
	s->error = -EIO;
	assert_int_equal(get(s, o, ""), -EIO);
	assert_int_equal(begin_other(s, 1), SHMCACHE_ELIMIT);
	assert_int_equal(begin_other(s, 2), 0);
	s->error = 0;
	s->during = NULL;
	o->max_loads = 2;
	assert_int_equal(get(s, o, "value"), SHMCACHE_FROM_LOAD);
	assert_int_equal(s->loads, 2);
	assert_int_equal(begin_other(s, 2), 0);
	assert_int_equal(test_stats(s->cache).load_alone, 2);
}

static void
loads_without_a_lease_count(void **state)
{
	(void)state;
	while_held(10000, be_limited_though_late, SHMCACHE_ESTALE);
}

static void
late_loads_count_no_more(void **state)
{
	struct source s = { .cache = test_cache(), .value = "value" };
	struct shmcache_load_options o = options_of(0);
	struct shmcache_token token;
	struct shmcache_value v;

	(void)state;
	o.lease_ms = 1;
	assert_int_equal(
	    shmcache_begin_load(s.cache, "key", 3, &o, &v, &token), 0);
	assert_int_equal(v.source, SHMCACHE_LEAD);
	sleep_ms(20);
	assert_int_equal(begin_other(&s, 1), 0);
	assert_int_equal(shmcache_abandon(s.cache, &token), 0);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* The words of loads without a lease. */
static void *
take_alone_in_thread(void *context)
{
	struct call call = test_enter(context);
	struct lease lease;

	lease_take_alone(&call, 60000, &lease);
	assert_true((lease.place & LEASE_ALONE) != 0);
	call_leave();
	return NULL;
}

static void
words_of_lone_loads_are_given_back(void **state)
{
	struct shmcache *cache = test_cache();
	const struct shmcache_token token = { .seq = 0 };
	struct lease lease[2];
	struct call call;
	pthread_t thread;

	(void)state;
	assert_int_equal(
	    pthread_create(&thread, NULL, take_alone_in_thread, cache), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	call = test_enter(cache);
	assert_int_equal(lease_count(&call), 0); /* its owner has ended */
	lease_take_alone(&call, 60000, &lease[0]);
	lease_take_alone(&call, 60000, &lease[1]);
	assert_int_not_equal(lease[0].place, lease[1].place);
	assert_int_equal(lease_count(&call), 2);
	assert_true(lease_release(&call, &lease[0]));
	assert_false(lease_release(&call, &lease[0]));
	assert_int_equal(lease_count(&call), 1);
	lease_fail(&call, &lease[1], -EIO, 60000, &token);
	assert_int_equal(lease_count(&call), 0);
	lease_take_alone(&call, 1, &lease[0]);
	call_leave();
	sleep_ms(20);
	call = test_enter(cache);
	assert_int_equal(lease_count(&call), 0); /* it is late */
	lease_take_alone(&call, 60000, &lease[1]);
	assert_int_equal(lease[0].place, lease[1].place);
	assert_false(lease_release(&call, &lease[0]));
	assert_int_equal(lease_count(&call), 1);
	call_leave();
	assert_int_equal(shmcache_close(cache), 0);
}

/* Where no word is left, those who have no limit load all the same. */
static void
be_alone_without_a_word(struct source *s, struct shmcache_load_options *o)
{
	struct call call = test_enter(s->cache);
	uint32_t words = call.m->lease_mask + 1;
	struct lease lease;

	for (uint32_t i = 0; i < words; i++) {
		lease_take_alone(&call, 60000, &lease);
		assert_int_not_equal(lease.place, LEASE_NONE);
	}
	lease_take_alone(&call, 60000, &lease);
	assert_int_equal(lease.place, LEASE_NONE);
	assert_int_equal(lease_count(&call), words + 1);
	call_leave();
	o->max_loads = 1000;
	assert_int_equal(get(s, o, ""), SHMCACHE_ELIMIT);
	o->max_loads = 0;
	assert_int_equal(get(s, o, "value"), SHMCACHE_FROM_LOAD);
}

static void
words_of_lone_loads_may_be_used_up(void **state)
{
	(void)state;
	while_held(10000, be_alone_without_a_word, SHMCACHE_ESTALE);
}

/* The words of a lease, one after the other. */
static void
leases_pass_on(void **state)
{
	struct shmcache *cache = test_cache();
	struct call call = test_enter(cache);
	struct lease lease = { .place = LEASE_NONE }, other = lease, seen;
	struct key key;
	struct shmcache_token token = { .seq = 0 };
	int error = 0;

	(void)state;
	test_hash(&call, "key", &key);
	token.token = token_install(call.m, key.hash);
	token.seq = call.m->shared->seq;
	assert_int_equal(lease_count(&call), 0);
	assert_int_equal(
	    lease_take(&call, &key, 1000, false, &lease, &error), LEASE_TAKEN);
	assert_int_equal(lease_count(&call), 1);
	assert_true(lease_is_held(&call, &key, false, &seen));
	assert_true(seen.place == lease.place && seen.word == lease.word);
	/* This thread has it already. */
	assert_int_equal(lease_take(&call, &key, 1000, false, &other, &error),
	    LEASE_NOWHERE);
	lease_fail(&call, &lease, -EIO, 0, &token);
	assert_false(lease_is_held(&call, &key, false, &seen));
	/* For who waited for it the error counts; for others its time is over. */
	assert_int_equal(
	    lease_take(&call, &key, 1000, false, &other, &error), LEASE_FAILED);
	assert_int_equal(error, -EIO);
	assert_false(lease_release(&call, &lease));
	other.place = LEASE_NONE;
	assert_int_equal(
	    lease_take(&call, &key, 1000, false, &other, &error), LEASE_TAKEN);
	lease_fail(&call, &other, SHMCACHE_ENOENT, 60000, &token);
	assert_false(lease_is_held(&call, &key, false, &seen));
	lease.place = LEASE_NONE;
	assert_int_equal(
	    lease_take(&call, &key, 1000, false, &lease, &error), LEASE_FAILED);
	assert_int_equal(error, SHMCACHE_ENOENT);
	call_leave();
	assert_int_equal(shmcache_close(cache), 0);
}

/* Another thread's call: of a peer of its own. */
static struct call
call_of_another(const struct call *call)
{
	struct call other = { .m = call->m };

	assert_int_equal(shm_peer_claim(call->m->segment, &other.peer), 0);
	return other;
}

static void
late_failure_leaves_the_next_lease_alone(void **state)
{
	struct shmcache *cache = test_cache();
	struct call call = test_enter(cache), other = call_of_another(&call);
	struct lease late = { .place = LEASE_NONE }, lease = late;
	struct shmcache_token token = { .seq = 0 };
	struct lease_shared *l, before;
	struct key key;
	int error = 0;

	(void)state;
	test_hash(&call, "key", &key);
	token.token = token_install(call.m, key.hash);
	assert_true(token_install(call.m, key.hash) == token.token);
	assert_int_equal(
	    lease_take(&other, &key, 0, false, &late, &error), LEASE_TAKEN);
	assert_int_equal(lease_take(&call, &key, 60000, false, &lease, &error),
	    LEASE_TAKEN_OVER);
	l = &call.m->leases[lease.place];
	before = *l;
	lease_fail(&other, &late, -EIO, 60000, &token);
	assert_memory_equal(l, &before, sizeof(before));
	/* What was loaded without a lease fails without one. */
	lease_fail(&other, &(struct lease){ .place = LEASE_NONE }, -EIO, 60000,
	    &token);
	assert_true(lease_release(&call, &lease));
	/* A state that there is not is none. */
	late.place = lease.place = LEASE_NONE;
	assert_int_equal(
	    lease_take(&other, &key, 60000, false, &late, &error), LEASE_TAKEN);
	l->word |= WORD_STATE;
	assert_int_equal(
	    lease_take(&call, &key, 60000, false, &lease, &error), LEASE_TAKEN);
	/* Nor is an owner. */
	l->word |= 0xffffull << WORD_OWNER_SHIFT;
	lease.place = LEASE_NONE;
	assert_int_equal(lease_take(&call, &key, 60000, false, &lease, &error),
	    LEASE_TAKEN_OVER);
	shm_peer_release(other.peer);
	call_leave();
	assert_int_equal(shmcache_close(cache), 0);
}

/* The key is led by another, who lives and takes his time. */
static struct shm_peer *
lead_by_another(struct shmcache *cache)
{
	struct call call = test_enter(cache), other = call_of_another(&call);
	struct lease lease = { .place = LEASE_NONE };
	struct key key;
	int error;

	test_hash(&call, "key", &key);
	assert_int_equal(lease_take(&other, &key, 60000, false, &lease, &error),
	    LEASE_TAKEN);
	call_leave();
	return other.peer;
}

static void
loads_without_a_lease_are_limited_too(void **state)
{
	struct source s = { .cache = test_cache() };
	struct shmcache_load_options o = options_of(0);
	struct shm_peer *leader = lead_by_another(s.cache);

	(void)state;
	o.timeout_ms = 1;
	o.max_key_loads_per_s = 1;
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ELIMIT);
	assert_int_equal(s.loads, 1);
	assert_int_equal(test_stats(s.cache).load_alone, 1);
	shm_peer_release(leader);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
limited_loads_are_answered_by_the_stale_value(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct shmcache_load_options o = options_of(30);

	(void)state;
	o.stale_if_error_ms = 60000;
	o.max_key_loads_per_s = 1;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD);
	await_miss(s.cache);
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_STALE);
	o.on_limit = SHMCACHE_LIMIT_FAIL;
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ELIMIT);
	assert_int_equal(s.loads, 1);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* The version of a counter changes, and no token. */
static void
increments_refuse_a_fill(void **state)
{
	static const int64_t seven = 7;
	struct shmcache *cache = test_cache();
	struct shmcache_load_options o = options_of(60000);
	char text[] = "loaded";
	const struct shmcache_loaded loaded = { .value = text,
		.value_bytes = 6 };
	struct shmcache_token token;

	(void)state;
	o.refresh_percent = 100;
	assert_int_equal(
	    shmcache_incr(cache, "key", 3, 0, &seven, 50000, NULL), 0);
	token = lead_for(cache, &o);
	assert_int_equal(shmcache_incr(cache, "key", 3, 1, NULL, 0, NULL), 0);
	assert_int_equal(shmcache_fill(cache, "key", 3, &token, 0, &loaded, &o),
	    SHMCACHE_ESTALE);
	assert_true(test_has(cache, "key", "8"));
	assert_int_equal(shmcache_close(cache), 0);
}

/* The source has no such key any more, but the cache has got it meanwhile. */
static void
absence_leaves_what_is_newer(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct shmcache_load_options o = options_of(30);
	struct shmcache_token token;

	(void)state;
	o.stale_ms = 60000;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD);
	await_miss(s.cache);
	token = lead_for(s.cache, &o);
	test_set_ok(s.cache, "key", "new");
	assert_int_equal(
	    shmcache_fill(s.cache, "key", 3, &token, SHMCACHE_ENOENT, NULL, &o),
	    0);
	assert_true(test_has(s.cache, "key", "new"));
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
what_never_expires_is_never_due(void **state)
{
	struct source s = { .cache = test_cache(), .value = "value" };
	struct shmcache_load_options o = options_of(SHMCACHE_TTL_NONE);
	int64_t ttl_ms;

	(void)state;
	o.stale_ms = 50;
	o.refresh_percent = 100;
	o.beta = 1000000;
	assert_int_equal(get(&s, &o, "value"), SHMCACHE_FROM_LOAD);
	assert_int_equal(shmcache_ttl(s.cache, "key", 3, &ttl_ms), 0);
	assert_int_equal(ttl_ms, SHMCACHE_TTL_NONE);
	/* Another caller has other times. */
	o.ttl_ms = 60000;
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(get(&s, &o, "value"), SHMCACHE_FROM_CACHE);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
remove_during(struct source *s)
{
	assert_int_equal(shmcache_remove(s->cache->path), 0);
}

static void
cache_may_be_removed_by_a_loader(void **state)
{
	struct source s = { .cache = test_cache(), .value = "old" };
	struct shmcache_load_options o = options_of(30);

	(void)state;
	o.stale_if_error_ms = 60000;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD);
	await_miss(s.cache);
	s.error = -EIO;
	s.during = remove_during;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_STALE);
	s.error = 0;
	s.during = NULL;
	assert_int_equal(get(&s, &o, "old"), SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(shmcache_close(s.cache), 0);
}

/* The cache is removed between two calls within a load: that which has seen that
   another loads, and that which is to wait for it. */

static bool
remove_after_a_call(void *context, uint64_t step)
{
	struct source *s = context;

	(void)step;
	if (cache_thread.inside)
		s->inner = 1;
	if (cache_thread.inside || s->inner == 0)
		return true;
	s->inner = shmcache_remove(s->cache->path);
	return false;
}

static void
get_stepped(void *context)
{
	struct source *s = context;

	s->result = get(s, NULL, "value");
}

static void
cache_may_be_removed_while_another_loads(void **state)
{
	struct source s = { .cache = test_cache(), .value = "value" };

	(void)state;
	if (!steps_possible())
		skip();
	(void)lead_by_another(s.cache); /* goes with the mapping */
	(void)steps_run(remove_after_a_call, &s, get_stepped, &s);
	assert_int_equal(s.inner, 0);
	assert_int_equal(s.result, SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(s.loads, 1);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void *
wait_in_thread(void *context)
{
	struct source *s = context;

	s->result = get(s, NULL, "value");
	return NULL;
}

static void
cache_may_be_removed_while_others_wait(void **state)
{
	struct source s = { .cache = test_cache(), .value = "value" };
	pthread_t thread;

	(void)state;
	(void)lead_by_another(s.cache);
	assert_int_equal(pthread_create(&thread, NULL, wait_in_thread, &s), 0);
	sleep_ms(20); /* so that it waits */
	assert_int_equal(shmcache_remove(s.cache->path), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(s.result, SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
invalidate_a(struct source *s)
{
	assert_int_equal(shmcache_invalidate_tag(s->cache, "a", 1), 0);
}

/* Of a loaded value, or of its absence. */
static void
tags_of_what_is_loaded(void **state)
{
	struct source s = { .cache = test_cache(), .value = "one" };
	struct shmcache_load_options o = options_of(0);

	(void)state;
	o.negative_ttl_ms = 60000;
	s.tags[0] = (struct shmcache_tag)SHMCACHE_TAG("a");
	s.tags[1] = (struct shmcache_tag)SHMCACHE_TAG("b");
	s.tag_count = 2;
	assert_int_equal(get(&s, &o, "one"), SHMCACHE_FROM_LOAD);
	assert_int_equal(shmcache_invalidate_tag(s.cache, "b", 1), 0);
	assert_true(test_lacks(s.cache, "key"));
	s.value = NULL;
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(s.loads, 2);
	assert_int_equal(shmcache_invalidate_tag(s.cache, "a", 1), 0);
	s.value = "two";
	assert_int_equal(get(&s, &o, "two"), SHMCACHE_FROM_LOAD);
	/* One that is invalidated while the loader runs. */
	assert_int_equal(shmcache_delete(s.cache, "key", 3), 0);
	s.during = invalidate_a;
	assert_int_equal(get(&s, &o, "two"), SHMCACHE_FROM_LOAD_ONLY);
	assert_true(test_lacks(s.cache, "key"));
	assert_int_equal(test_stats(s.cache).load_refused, 1);
	test_assert_sound(s.cache);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
tags_that_are_none_are_garbage(void **state)
{
	struct source s = { .cache = test_cache(), .value = "one" };

	(void)state;
	s.tag_count = SHMCACHE_TAGS_MAX + 1;
	assert_int_equal(get(&s, NULL, ""), -EINVAL);
	s.tag_count = UINT32_MAX;
	assert_int_equal(get(&s, NULL, ""), -EINVAL);
	s.tag_count = 1; /* without bytes */
	assert_int_equal(get(&s, NULL, ""), -EINVAL);
	s.tags[0] = (struct shmcache_tag){ "a", 0 };
	assert_int_equal(get(&s, NULL, ""), -EINVAL);
	s.tags[0] = (struct shmcache_tag){ "a", SHMCACHE_TAG_BYTES_MAX + 1 };
	assert_int_equal(get(&s, NULL, ""), -EINVAL);
	s.value = NULL;
	assert_int_equal(get(&s, NULL, ""), -EINVAL);
	assert_true(test_lacks(s.cache, "key"));
	s.value = "one";
	for (s.tag_count = 0; s.tag_count < SHMCACHE_TAGS_MAX; s.tag_count++)
		s.tags[s.tag_count] = (struct shmcache_tag)SHMCACHE_TAG("a");
	assert_int_equal(get(&s, NULL, "one"), SHMCACHE_FROM_LOAD);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
set_and_delete_key(struct shmcache *cache)
{
	test_set_ok(cache, "key", "set");
	assert_int_equal(shmcache_delete(cache, "key", 3), 0);
}

static void
delete_nothing(struct shmcache *cache)
{
	assert_int_equal(shmcache_delete(cache, "key", 3), SHMCACHE_ENOENT);
}

static void
flush_all(struct shmcache *cache)
{
	assert_int_equal(shmcache_flush(cache), 0);
}

static void
delete_beginning(struct shmcache *cache)
{
	assert_int_equal(shmcache_delete_prefix(cache, "k", 1, NULL), 0);
}

static void
kept_error_ends_with_a_change_of_the_key(void **state)
{
	void (*const changes[])(struct shmcache *) = { set_and_delete_key,
		delete_nothing, flush_all, delete_beginning };
	struct source s = { .cache = test_cache(), .value = "one" };
	struct shmcache_load_options o = options_of(0);

	(void)state;
	o.error_ttl_ms = 600000;
	for (size_t i = 0; i < TEST_COUNT_OF(changes); i++) {
		s.error = -EIO;
		assert_int_equal(get(&s, &o, ""), -EIO);
		s.error = 0;
		test_set_ok(s.cache, "other", "value");
		assert_int_equal(
		    shmcache_invalidate_tag(s.cache, "other", 5), 0);
		assert_int_equal(get(&s, &o, ""), -EIO);
		changes[i](s.cache);
		assert_int_equal(get(&s, &o, "one"), SHMCACHE_FROM_LOAD);
		assert_int_equal(shmcache_delete(s.cache, "key", 3), 0);
	}
	assert_int_equal(s.loads, 2 * TEST_COUNT_OF(changes));
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
what_the_filter_lacks_is_not_loaded(void **state)
{
	struct shmcache_options options = test_options();
	struct source s = { .value = "one" };
	struct shmcache_load_options o = options_of(0);
	struct shmcache_token token;
	struct shmcache_value v;
	uint64_t build;

	(void)state;
	options.filter_items = 100;
	s.cache = test_cache_of(&options);
	o.use_filter = 1;
	assert_int_equal(get(&s, &o, "one"), SHMCACHE_FROM_LOAD); /* none */
	assert_int_equal(shmcache_filter_begin(s.cache, &build), 0);
	assert_int_equal(shmcache_filter_publish(s.cache, build), 0);
	assert_int_equal(get(&s, &o, "one"), SHMCACHE_FROM_CACHE);
	assert_int_equal(shmcache_delete(s.cache, "key", 3), 0);
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(shmcache_begin_load(s.cache, "key", 3, &o, &v, &token),
	    SHMCACHE_ENOENT);
	assert_int_equal(s.loads, 1);
	assert_int_equal(test_stats(s.cache).filter_rejects, 2);
	assert_int_equal(shmcache_filter_add(s.cache, 0, "key", 3), 0);
	assert_int_equal(get(&s, &o, "one"), SHMCACHE_FROM_LOAD);
	assert_int_equal(test_stats(s.cache).filter_passes, 1);
	o.use_filter = 2;
	assert_int_equal(get(&s, &o, ""), -EINVAL);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
loads_of_a_key_are_limited(void **state)
{
	struct source s = { .cache = test_cache() };
	struct shmcache_load_options o = options_of(0);
	struct shmcache_value v;
	unsigned loads;

	(void)state;
	o.max_key_loads_per_s = 5;
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ELIMIT);
	assert_int_equal(s.loads, 1);
	assert_int_equal(test_stats(s.cache).load_limited, 1);
	/* Another key is not concerned. */
	assert_int_equal(
	    shmcache_get_or_load(s.cache, "other", 5, load, &s, &o, &v),
	    SHMCACHE_ENOENT);
	loads = s.loads;
	sleep_ms(250);
	assert_int_equal(get(&s, &o, ""), SHMCACHE_ENOENT);
	assert_int_equal(s.loads, loads + 1);
	o.max_key_loads_per_s = 1001;
	assert_int_equal(get(&s, &o, ""), -EINVAL);
	assert_int_equal(shmcache_close(s.cache), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(miss_is_loaded_once),
	cmocka_unit_test(absence_is_remembered_if_asked),
	cmocka_unit_test(negative_entry_gives_way_to_a_set),
	cmocka_unit_test(nothing_loaded_before_a_write_is_stored_after_it),
	cmocka_unit_test(other_keys_do_not_refuse_a_fill),
	cmocka_unit_test(loader_may_load_another_key_but_not_its_own),
	cmocka_unit_test(loaders_may_nest_deeply),
	cmocka_unit_test(garbage_from_a_loader_is_an_error),
	cmocka_unit_test(value_too_large_is_returned_all_the_same),
	cmocka_unit_test(old_value_is_no_answer_to_what_is_too_large),
	cmocka_unit_test(loader_left_by_longjmp_locks_nobody_out),
	cmocka_unit_test(stale_values_are_for_loading_calls_only),
	cmocka_unit_test(refresh_may_be_given_away),
	cmocka_unit_test(refresh_past_its_window_is_not_given_away),
	cmocka_unit_test(failed_load_is_answered_by_the_stale_value),
	cmocka_unit_test(absence_ends_a_stale_value),
	cmocka_unit_test(touch_makes_it_fresh_again),
	cmocka_unit_test(value_is_refreshed_ahead),
	cmocka_unit_test(what_the_loader_says_is_refreshed_ahead),
	cmocka_unit_test(usual_time_to_live_takes_no_room),
	cmocka_unit_test(refresh_is_packed_without_much_loss),
	cmocka_unit_test(chance_is_as_xfetch_has_it),
	cmocka_unit_test(jitter_stays_in_its_range),
	cmocka_unit_test(longest_time_to_live_is_kept),
	cmocka_unit_test(cost_of_a_load_is_kept),
	cmocka_unit_test(rate_is_right_to_a_hundredth),
	cmocka_unit_test(key_is_loaded_as_often_as_it_may),
	cmocka_unit_test(loads_per_second_are_limited),
	cmocka_unit_test(key_does_not_pay_for_the_limit_of_the_cache),
	cmocka_unit_test(loads_at_once_are_limited),
	cmocka_unit_test(event_loops_begin_and_end),
	cmocka_unit_test(token_is_spent_by_what_ends_it),
	cmocka_unit_test(token_that_is_spent_drops_nothing),
	cmocka_unit_test(lone_token_is_spent_by_what_ends_it),
	cmocka_unit_test(fill_with_bad_arguments_does_nothing),
	cmocka_unit_test(forked_child_may_fill),
	cmocka_unit_test(any_error_of_a_loader_is_kept),
	cmocka_unit_test(arguments_are_checked),
	cmocka_unit_test(removed_cache_keeps_nobody_from_loading),
	cmocka_unit_test(reader_loads_for_himself),
	cmocka_unit_test(loaders_of_removed_caches_are_told_apart),
	cmocka_unit_test(thread_without_a_slot_loads_for_itself),
	cmocka_unit_test(part_of_no_time_to_live_is_never_due),
	cmocka_unit_test(absence_needs_no_words),
	cmocka_unit_test(late_leader_leaves_the_old_value),
	cmocka_unit_test(threads_share_a_load),
	cmocka_unit_test(thread_that_ended_leads_no_more),
	cmocka_unit_test(failure_from_before_a_delete_is_not_shared),
	cmocka_unit_test(waiters_do_as_told_when_their_time_is_over),
	cmocka_unit_test(late_leader_is_followed),
	cmocka_unit_test(loads_without_a_lease_count),
	cmocka_unit_test(late_loads_count_no_more),
	cmocka_unit_test(words_of_lone_loads_are_given_back),
	cmocka_unit_test(words_of_lone_loads_may_be_used_up),
	cmocka_unit_test(leases_pass_on),
	cmocka_unit_test(late_failure_leaves_the_next_lease_alone),
	cmocka_unit_test(loads_without_a_lease_are_limited_too),
	cmocka_unit_test(limited_loads_are_answered_by_the_stale_value),
	cmocka_unit_test(increments_refuse_a_fill),
	cmocka_unit_test(absence_leaves_what_is_newer),
	cmocka_unit_test(what_never_expires_is_never_due),
	cmocka_unit_test(cache_may_be_removed_by_a_loader),
	cmocka_unit_test(cache_may_be_removed_while_another_loads),
	cmocka_unit_test(cache_may_be_removed_while_others_wait),
	cmocka_unit_test(tags_of_what_is_loaded),
	cmocka_unit_test(tags_that_are_none_are_garbage),
	cmocka_unit_test(kept_error_ends_with_a_change_of_the_key),
	cmocka_unit_test(what_the_filter_lacks_is_not_loaded),
	cmocka_unit_test(loads_of_a_key_are_limited),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
