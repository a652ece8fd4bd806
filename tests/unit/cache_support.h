/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cache_support.h - what the unit tests of the cache share
 *
 * Their caches are tiny: 16 extents or a few more of 4096 bytes, and by choice
 * an index of 16 slots, which is one window for every key.  States that only a
 * killed or a damaged process leaves are planted by hand.
 *
 * In a header, as what lies beside it in *.c is linked with the tests of shm/
 * too.
 */
#ifndef TESTS_UNIT_CACHE_SUPPORT_H
#define TESTS_UNIT_CACHE_SUPPORT_H

#include "libshmcache/cache.h"
#include "libshmcache/entry.h"
#include "libshmcache/evict.h"
#include "libshmcache/index.h"
#include "libshmcache/shmcache_admin.h"
#include "shm/arena.h"
#include "tests/unit/support.h"

#include <stdio.h>
#include <string.h>

#define TEST_EXTENT_BYTES 4096u

/* Options of a cache with some 40 extents in one log; an index with room for
   1000. */
static inline struct shmcache_options
test_options(void)
{
	struct shmcache_options o = SHMCACHE_OPTIONS_INIT;

	o.capacity_bytes = 192u << 10;
	o.extent_bytes = TEST_EXTENT_BYTES;
	o.expected_items = 1000;
	o.peer_slots = 24;
	o.process_slots = 8;
	o.policy = "clock";
	o.open_mode = SHMCACHE_CREATE_EXCLUSIVE;
	return o;
}

static inline struct shmcache *
test_cache_of(const struct shmcache_options *options)
{
	struct shmcache *cache = NULL;

	assert_int_equal(shmcache_open(test_name(), options, &cache), 0);
	return cache;
}

static inline struct shmcache *
test_cache_of_policy(const char *policy)
{
	struct shmcache_options o = test_options();

	o.policy = policy;
	return test_cache_of(&o);
}

static inline struct shmcache *
test_cache(void)
{
	struct shmcache_options o = test_options();

	return test_cache_of(&o);
}

/* An index of 16 slots: two buckets, every key's window. */
static inline struct shmcache *
test_cache_of_one_window(void)
{
	struct shmcache_options o = test_options();

	o.expected_items = 1;
	return test_cache_of(&o);
}

static inline struct call
test_enter(struct shmcache *cache)
{
	struct call call;

	assert_int_equal(call_enter(cache, CALL_WRITES, &call), 0);
	return call;
}

static inline int
test_set(struct shmcache *cache, const char *key, const char *value)
{
	return shmcache_set(
	    cache, key, strlen(key), value, strlen(value), 0, 0);
}

static inline void
test_set_ok(struct shmcache *cache, const char *key, const char *value)
{
	assert_int_equal(test_set(cache, key, value), 0);
}

/* Sets a key that has a time to live, so that it can be made to expire. */
static inline void
test_set_mortal(struct shmcache *cache, const char *key, const char *value)
{
	assert_int_equal(shmcache_set(cache, key, strlen(key), value,
			     strlen(value), 3600000, 0),
	    0);
}

/* Without a mark and without a count. */
static inline bool
test_has(struct shmcache *cache, const char *key, const char *value)
{
	char buffer[TEST_EXTENT_BYTES];
	size_t bytes = 0;

	return shmcache_peek(cache, key, strlen(key), buffer, sizeof(buffer),
		   &bytes, NULL) == 0 &&
	       bytes == strlen(value) && memcmp(buffer, value, bytes) == 0;
}

static inline bool
test_lacks(struct shmcache *cache, const char *key)
{
	return shmcache_exists(cache, key, strlen(key)) == 0;
}

/* A get, which marks the entry as read. */
static inline void
test_read(struct shmcache *cache, const char *key)
{
	char buffer[TEST_EXTENT_BYTES];

	assert_int_equal(shmcache_get(cache, key, strlen(key), buffer,
			     sizeof(buffer), NULL, NULL),
	    0);
}

/* "PREFIX-N", in a buffer of the caller's. */
static inline const char *
test_key(char key[32], const char *prefix, unsigned n)
{
	(void)snprintf(key, 32, "%.20s-%u", prefix, n);
	return key;
}

static inline struct shmcache_stats
test_stats(struct shmcache *cache)
{
	struct shmcache_stats stats;

	assert_int_equal(shmcache_stats(cache, &stats, sizeof(stats)), 0);
	return stats;
}

static inline void
test_print_violation(void *context, const char *violation)
{
	(void)context;
	print_message("  %s\n", violation);
}

static inline void
test_assert_sound(struct shmcache *cache)
{
	assert_int_equal(shmcache_verify(cache, SHMCACHE_VERIFY_STRICT,
			     test_print_violation, NULL),
	    0);
}

static inline void
test_hash(const struct call *call, const char *text, struct key *key)
{
	index_key(call->m, text, strlen(text), key);
}

/* Writes an entry that nothing names, as a writer leaves it who is killed
   before he links it; returns its final word. */
static inline uint64_t
test_write_unlinked(
    const struct call *call, const char *text, const char *value)
{
	struct entry_content content = { .key = text,
		.value = value,
		.key_bytes = (uint32_t)strlen(text),
		.value_bytes = (uint32_t)strlen(value),
		.seq = shm_load64(&call->m->shared->seq) };
	struct shm_place place;
	struct key key;

	test_hash(call, text, &key);
	assert_int_equal(
	    evict_reserve(call, LOG_MAIN, entry_bytes(&content), &place), 0);
	entry_write(call->m, &place, &content);
	shm_pin_clear(call->peer, SHM_PIN_TARGET);
	return index_word(&key, &place);
}

/* The slot that names the key finally; it must be there. */
static inline struct found
test_find(struct shmcache *cache, const char *text)
{
	struct call call = test_enter(cache);
	struct found found;
	struct key key;
	bool there;

	test_hash(&call, text, &key);
	there = index_find(&call, &key, SHM_PIN_ENTRY, &found);
	shm_pin_clear(call.peer, SHM_PIN_ENTRY);
	call_leave();
	assert_true(there);
	return found;
}

/* Makes an entry that has a time to live expire long ago. */
static inline void
test_expire(struct shmcache *cache, const char *text)
{
	struct found found = test_find(cache, text);

	assert_non_null(found.entry.expiry);
	*found.entry.expiry = 1u << 1;
}

/* The extent that a key's entry lies in, as it is now. */
static inline struct shm_extent
test_extent_of(struct shmcache *cache, const char *text)
{
	struct found found = test_find(cache, text);

	return shm_arena_state(cache->mapping->segment, found.entry.extent);
}

#endif /* TESTS_UNIT_CACHE_SUPPORT_H */
