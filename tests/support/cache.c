/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cache.c - see cache.h
 */
#include "tests/support/cache.h"

#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VIOLATIONS_SHOWN    20
#define USED_CAPACITY_BYTES (8u << 20)

void
check_result(
    const char *file, int line, const char *call, int result, int wanted)
{
	if (result == wanted) {
		return;
	}
	check_failed(file, line, "%s is %d (%s; %s), not %d (%s)", call, result,
	    shmcache_strerror(result), shmcache_last_error(), wanted,
	    shmcache_strerror(wanted));
}

struct shmcache *
cache_create(const char *suffix, const struct shmcache_options *options)
{
	struct shmcache *cache = NULL;

	CHECK_RESULT(shmcache_open(test_name(suffix), options, &cache), 0);
	CHECK(cache != NULL);
	return cache;
}

struct shmcache *
cache_create_plain(const char *suffix, uint64_t capacity)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;

	options.capacity_bytes = capacity;
	return cache_create(suffix, &options);
}

struct shmcache *
cache_attach(const char *suffix)
{
	return cache_create(suffix, NULL);
}

void
cache_remove(const char *suffix)
{
	int result = shmcache_remove(test_name(suffix));

	if (result == SHMCACHE_EREMOVED) {
		while (result == SHMCACHE_EREMOVED) {
			sleep_us(100);
			result = shmcache_remove(test_name(suffix));
		}
		result = result == SHMCACHE_ENOCACHE ? 0 : result;
	}
	CHECK_RESULT(result, 0);
}

uint64_t
cache_clock_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC_COARSE);
}

void
cache_clock_await(uint64_t over_ns)
{
	while (cache_clock_ns() <= over_ns) {
		sleep_us(1000);
	}
}

struct shmcache_stats
cache_stats(struct shmcache *cache)
{
	struct shmcache_stats stats;

	CHECK_RESULT(shmcache_stats(cache, &stats, sizeof(stats)), 0);
	return stats;
}

static void
show_violation(void *context, const char *violation)
{
	unsigned *shown = context;

	if ((*shown)++ < VIOLATIONS_SHOWN) {
		fprintf(stderr, "  violation: %s\n", violation);
	}
}

void
cache_check_sound(struct shmcache *cache)
{
	unsigned shown = 0;

	CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	CHECK_RESULT(shmcache_verify(
			 cache, SHMCACHE_VERIFY_STRICT, show_violation, &shown),
	    0);
}

void
cache_finish(struct shmcache *cache)
{
	cache_check_sound(cache);
	CHECK_RESULT(shmcache_close(cache), 0);
}

uint64_t
cache_least_told(void)
{
	const char *text = strstr(shmcache_last_error(), "least");
	uint64_t least;

	CHECK_SAY(text != NULL, "\"%s\" does not name the least capacity",
	    shmcache_last_error());
	least = strtoull(text + strcspn(text, "0123456789"), NULL, 10);
	CHECK_SAY(least != 0, "no number in \"%s\"", shmcache_last_error());
	return least;
}

void
cache_check_live(struct shmcache *cache)
{
	unsigned shown = 0;

	CHECK_RESULT(shmcache_verify(
			 cache, SHMCACHE_VERIFY_LIVE, show_violation, &shown),
	    0);
}

void
cache_set_text(struct shmcache *cache, const char *key, const char *text)
{
	CHECK_RESULT(
	    shmcache_set(cache, key, strlen(key), text, strlen(text), 0, 0), 0);
}

void
cache_check_text(struct shmcache *cache, const char *key, const char *text)
{
	char buffer[256];
	size_t bytes = 0;

	CHECK_RESULT(shmcache_get(cache, key, strlen(key), buffer,
			 sizeof(buffer), &bytes, NULL),
	    0);
	CHECK_SAY(bytes == strlen(text) && memcmp(buffer, text, bytes) == 0,
	    "key %s holds \"%.*s\", not \"%s\"", key, (int)bytes, buffer, text);
}

void
cache_churn(struct shmcache *cache, uint64_t salt, uint64_t bytes)
{
	uint64_t limit = cache_stats(cache).max_entry_bytes - KEY_ROOM;
	struct value_id id = { .writer = 9 };
	unsigned char key[KEY_ROOM];
	struct prng prng;
	void *value = malloc(limit);

	CHECK(value != NULL);
	/* Keys that nobody else makes. */
	id.key = UINT64_C(1) << 63 | prng_mix(salt + 1) << 24 >> 1;
	prng_init(&prng, run_seed(), salt);
	for (uint64_t done = 0; done < bytes;) {
		size_t key_bytes = key_make(key, ++id.key);
		uint32_t flags;

		id.bytes = (uint32_t)prng_size(&prng, limit);
		id.sequence++;
		flags = value_make(value, &id);
		CHECK_RESULT(shmcache_set(cache, key, key_bytes, value,
				 id.bytes, SHMCACHE_TTL_NONE, flags),
		    0);
		done += key_bytes + id.bytes;
	}
	free(value);
}

struct shmcache *
cache_create_used(const char *suffix)
{
	struct shmcache *cache =
	    cache_create_plain(suffix, USED_CAPACITY_BYTES);
	char buffer[64];

	cache_set_text(cache, "kept", "a value");
	cache_set_text(cache, "replaced", "an old value");
	cache_set_text(cache, "replaced", "a new value");
	cache_set_text(cache, "deleted", "a value");
	CHECK_RESULT(shmcache_delete(cache, "deleted", 7), 0);
	CHECK_RESULT(shmcache_touch(cache, "kept", 4, 3600000), 0);
	cache_check_text(cache, "kept", "a value");
	cache_check_text(cache, "kept", "a value");
	cache_check_text(cache, "replaced", "a new value");
	CHECK_RESULT(shmcache_get(cache, "deleted", 7, buffer, sizeof(buffer),
			 NULL, NULL),
	    SHMCACHE_ENOENT);
	return cache;
}
