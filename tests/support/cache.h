/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cache.h - calls of the library whose result a test does not doubt
 */
#ifndef TESTS_SUPPORT_CACHE_H
#define TESTS_SUPPORT_CACHE_H

#include "tests/support/run.h"

#include <shmcache.h>
#include <shmcache_admin.h>
#include <stddef.h>
#include <stdint.h>

/* Evaluate a call and check that its result is `wanted`. */
#define CHECK_RESULT(call, wanted)                                             \
	check_result(__FILE__, __LINE__, #call, (call), (wanted))

void check_result(
    const char *file, int line, const char *call, int result, int wanted);

/* Open the cache test_name(suffix), creating it with these options. */
struct shmcache *cache_create(
    const char *suffix, const struct shmcache_options *options);

/* The same with nothing but a capacity. */
struct shmcache *cache_create_plain(const char *suffix, uint64_t capacity);

/* One that has been used: 3 hits, 1 miss, 4 sets, 1 delete, 2 items. */
struct shmcache *cache_create_used(const char *suffix);

/* Attach to the cache test_name(suffix). */
struct shmcache *cache_attach(const char *suffix);

/* Remove it.  One whose handle looks for a new cache may see that it is marked,
   and finish the removal: that is awaited. */
void cache_remove(const char *suffix);

struct shmcache_stats cache_stats(struct shmcache *cache);

/* Nanoseconds of the clock that caches go by, the coarse one: it is behind by up to
   a tick, and by more on a machine that stands still now and then. */
uint64_t cache_clock_ns(void);

/* Sleep until that clock is past this. */
void cache_clock_await(uint64_t over_ns);

/*
 * Verify strictly.  While nobody has a slot, nobody frees what has been
 * unlinked, so a sweep goes first.
 */
void cache_check_sound(struct shmcache *cache);

/* The same, and close it: how a case ends. */
void cache_finish(struct shmcache *cache);

/* The least capacity that the last refusal (SHMCACHE_ECAPACITY) named. */
uint64_t cache_least_told(void);

/* Verify while others are at work. */
void cache_check_live(struct shmcache *cache);

/* Set and get of text. */
void cache_set_text(struct shmcache *cache, const char *key, const char *text);
void cache_check_text(
    struct shmcache *cache, const char *key, const char *text);

/* Sets of new keys until `bytes` have been written; all must succeed. */
void cache_churn(struct shmcache *cache, uint64_t salt, uint64_t bytes);

#endif /* TESTS_SUPPORT_CACHE_H */
