/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * operation.c - see operation.h
 *
 * Secrets follow from the seed and every processor has the number 0, so that a
 * run repeated with the same seed is the same: getrandom() and sched_getcpu()
 * below stand in for libc's.
 */
#include "operation.h"

#include "jobs.h"
#include "seed.h"
#include "tracer.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#define DEAD_PROCESSES 4

static uint64_t random_state;

void
seed_random(uint64_t seed)
{
	random_state = seed;
}

uint64_t
seed_next(void)
{
	uint64_t x = random_state += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

ssize_t
getrandom(void *buffer, size_t length, unsigned flags)
{
	uint8_t *bytes = buffer;

	(void)flags;
	for (size_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)seed_next();
	return (ssize_t)length;
}

int
sched_getcpu(void)
{
	return 0;
}

static int
act_get(struct victim *victim)
{
	const struct written_record *old = &victim->old;

	return shmcache_get(victim->cache, old->key, old->key_bytes,
	    victim->value, sizeof(victim->value), &victim->value_bytes,
	    &victim->client_flags);
}

static int
act_get_pinned(struct victim *victim)
{
	const struct written_record *old = &victim->old;
	struct shmcache_item item;
	int result =
	    shmcache_get_pinned(victim->cache, old->key, old->key_bytes, &item);

	if (result != 0)
		return result;
	memcpy(victim->value, item.value, item.value_bytes);
	victim->value_bytes = item.value_bytes;
	victim->client_flags = item.client_flags;
	return shmcache_unpin(victim->cache, &item);
}

static int
act_set(struct victim *victim)
{
	const struct written_record *new = &victim->new;

	return shmcache_set(victim->cache, new->key, new->key_bytes, new->value,
	    new->value_bytes, SHMCACHE_TTL_NONE, new->client_flags);
}

/* Eight tags, of which the last is the one that is invalidated. */
static int
set_tagged(struct shmcache *cache, const struct written_record *record)
{
	static const struct shmcache_tag tags[SHMCACHE_TAGS_MAX] = { { "a", 1 },
		{ "b", 1 }, { "c", 1 }, { "d", 1 }, { "e", 1 }, { "f", 1 },
		{ "g", 1 }, { "the last", 8 } };
	struct shmcache_set_options options = SHMCACHE_SET_OPTIONS_INIT;
	struct shmcache_snapshot snapshot;
	int result = shmcache_snapshot(cache, &snapshot);

	if (result != 0)
		return result;
	options.ttl_ms = SHMCACHE_TTL_NONE;
	options.client_flags = record->client_flags;
	options.tags = tags;
	options.tag_count = SHMCACHE_TAGS_MAX;
	options.snapshot = &snapshot;
	return shmcache_set_with(cache, record->key, record->key_bytes,
	    record->value, record->value_bytes, &options);
}

static int
invalidate_tagged(struct shmcache *cache)
{
	return shmcache_invalidate_tag(cache, "the last", 8);
}

static int
act_set_tagged(struct victim *victim)
{
	return set_tagged(victim->cache, &victim->new);
}

static int
act_invalidate(struct victim *victim)
{
	return invalidate_tagged(victim->cache);
}

static int
act_add(struct victim *victim)
{
	const struct written_record *new = &victim->new;

	return shmcache_add(victim->cache, new->key, new->key_bytes, new->value,
	    new->value_bytes, SHMCACHE_TTL_NONE, new->client_flags);
}

static int
act_replace(struct victim *victim)
{
	const struct written_record *new = &victim->new;

	return shmcache_replace(victim->cache, new->key, new->key_bytes,
	    new->value, new->value_bytes, SHMCACHE_TTL_NONE, new->client_flags);
}

static int
act_cas(struct victim *victim)
{
	const struct written_record *new = &victim->new;

	return shmcache_cas(victim->cache, new->key, new->key_bytes, new->value,
	    new->value_bytes, SHMCACHE_TTL_NONE, new->client_flags,
	    victim->version);
}

static int
act_append(struct victim *victim)
{
	const struct written_record *new = &victim->new;
	size_t old_bytes = victim->old.value_bytes;

	return shmcache_append(victim->cache, new->key, new->key_bytes,
	    new->value + old_bytes, new->value_bytes - old_bytes);
}

static int
act_incr(struct victim *victim)
{
	static const int64_t initial = 42;

	return shmcache_incr(victim->cache, victim->new.key,
	    victim->new.key_bytes, 1, &initial, SHMCACHE_TTL_NONE, NULL);
}

static int
act_get_and_touch(struct victim *victim)
{
	const struct written_record *old = &victim->old;

	return shmcache_get_and_touch(victim->cache, old->key, old->key_bytes,
	    TTL_NEW_MS, victim->value, sizeof(victim->value),
	    &victim->value_bytes, &victim->client_flags);
}

static int
act_multi_set(struct victim *victim)
{
	const struct written_record *new = &victim->new;
	struct shmcache_set_request request = { .key = new->key,
		.key_bytes = new->key_bytes,
		.value = new->value,
		.value_bytes = new->value_bytes,
		.ttl_ms = SHMCACHE_TTL_NONE,
		.client_flags = new->client_flags };
	int done = shmcache_multi_set(victim->cache, &request, 1);

	return done < 0 ? done : request.result;
}

static int
act_delete_prefix(struct victim *victim)
{
	return shmcache_delete_prefix(
	    victim->cache, victim->old.key, victim->old.key_bytes, NULL);
}

static int
count_visit(void *context, const struct shmcache_entry *entry)
{
	(void)context;
	(void)entry;
	return 0;
}

static int
act_scan(struct victim *victim)
{
	struct shmcache_scan_options options = SHMCACHE_SCAN_OPTIONS_INIT;
	uint64_t cursor = 0;
	int visits;

	options.values = 1;
	options.max_slots = 128;
	visits =
	    shmcache_scan(victim->cache, &cursor, &options, count_visit, NULL);
	return visits < 0 ? visits : 0;
}

static int
act_delete(struct victim *victim)
{
	return shmcache_delete(
	    victim->cache, victim->old.key, victim->old.key_bytes);
}

static int
act_touch(struct victim *victim)
{
	return shmcache_touch(
	    victim->cache, victim->old.key, victim->old.key_bytes, TTL_NEW_MS);
}

static int
act_flush(struct victim *victim)
{
	return shmcache_flush(victim->cache);
}

static int
act_flush_in_two(struct victim *victim)
{
	struct shmcache_snapshot begun;
	int error = shmcache_flush_begin(victim->cache, &begun);

	return error != 0 ? error : shmcache_flush_end(victim->cache, &begun);
}

static int
act_sweep(struct victim *victim)
{
	return shmcache_sweep(victim->cache, &victim->swept);
}

static int
act_thread_exit(struct victim *victim)
{
	(void)victim;
	pthread_exit(NULL);
}

/* Loads and locks. */

static int
load_new(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	const struct victim *victim = context;

	(void)key;
	(void)key_bytes;
	loaded->value = malloc(victim->new.value_bytes);
	if (loaded->value == NULL)
		return -1;
	memcpy(loaded->value, victim->new.value, victim->new.value_bytes);
	loaded->value_bytes = victim->new.value_bytes;
	loaded->client_flags = victim->new.client_flags;
	return 0;
}

static int
act_load(struct victim *victim)
{
	struct shmcache_value value;
	int result = shmcache_get_or_load(victim->cache, victim->new.key,
	    victim->new.key_bytes, load_new, victim, NULL, &value);

	if (result == 0)
		free(value.value);
	return result;
}

static int
act_begin_load(struct victim *victim)
{
	struct shmcache_value value;
	struct shmcache_token token;
	int result = shmcache_begin_load(victim->cache, victim->new.key,
	    victim->new.key_bytes, NULL, &value, &token);

	return result != 0 ? result : shmcache_abandon(victim->cache, &token);
}

static int
act_lock(struct victim *victim)
{
	struct shmcache_lock lock;
	int result = shmcache_lock(
	    victim->cache, OPERATION_LOCK, sizeof(OPERATION_LOCK), 0, &lock);

	return result != 0 ? result : shmcache_unlock(victim->cache, &lock);
}

/* A thread that ends with the key's lease and the lock. */
static void *
hold_and_end(void *argument)
{
	const struct victim *victim = argument;
	struct shmcache_value value;
	struct shmcache_token token;
	struct shmcache_lock lock;

	(void)shmcache_begin_load(victim->cache, victim->new.key,
	    victim->new.key_bytes, NULL, &value, &token);
	(void)shmcache_lock(
	    victim->cache, OPERATION_LOCK, sizeof(OPERATION_LOCK), 0, &lock);
	return NULL;
}

static bool
prepare_orphans(struct victim *victim)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, hold_and_end, victim) == 0 &&
	       pthread_join(thread, NULL) == 0;
}

/* The parent dies as soon as it has a child, which attaches on its own. */
static int
act_fork(struct victim *victim)
{
	pid_t child = fork();

	while (child > 0)
		(void)pause();
	return child < 0 ? child : act_get(victim);
}

int
operation_filter(struct shmcache *cache, const struct operation *operation)
{
	struct record victims = operation_old(operation);
	char key[RECORD_KEY_BYTES];
	uint64_t build;
	int result = shmcache_filter_begin(cache, &build);

	for (unsigned i = 0; i <= operation->others && result == 0; i++) {
		struct record record = i < operation->others
					   ? record_of(RECORD_OTHER, i)
					   : victims;
		size_t key_bytes = record_key(&record, key);

		result = shmcache_filter_add(cache, build, key, key_bytes);
	}
	return result != 0 ? result : shmcache_filter_publish(cache, build);
}

static int
act_filter_build(struct victim *victim)
{
	return operation_filter(victim->cache, victim->operation);
}

static int
act_filter_add(struct victim *victim)
{
	return shmcache_filter_add(victim->cache, 0, "another", 7);
}

static int
act_filter_load(struct victim *victim)
{
	uint64_t build;
	int result =
	    shmcache_filter_load(victim->cache, victim->filter_path, &build);

	return result != 0 ? result
			   : shmcache_filter_publish(victim->cache, build);
}

static bool
prepare_filter(struct victim *victim)
{
	scratch_path(victim->filter_path, "filter-%d", (int)getpid());
	return shmcache_filter_save(victim->cache, victim->filter_path) == 0;
}

/* The handle is of a cache that had this name for a moment, while the right one
   had another. */
static bool
open_removed(struct victim *victim)
{
	struct shmcache_options options =
	    operation_options(victim->operation, SHMCACHE_CREATE_EXCLUSIVE);
	struct record fresh = record_of(RECORD_FRESH, 0);
	char aside[SCRATCH_PATH_BYTES];
	int result;

	scratch_path(aside, "aside-%d", (int)getpid());
	return rename(victim->path, aside) == 0 &&
	       shmcache_open(victim->path, &options, &victim->cache) == 0 &&
	       record_look(victim->cache, &fresh, RECORD_PEEK, &result) ==
		   RECORD_MISSING &&
	       shmcache_remove(victim->path) == 0 &&
	       rename(aside, victim->path) == 0;
}

static int
act_close(struct victim *victim)
{
	int result = shmcache_close(victim->cache);

	victim->cache = NULL;
	return result;
}

static int
act_attach(struct victim *victim)
{
	return shmcache_open(victim->path, NULL, &victim->cache);
}

static int
act_remove(struct victim *victim)
{
	return shmcache_remove(victim->path);
}

static int
act_create(struct victim *victim)
{
	return shmcache_open(victim->path, &victim->options, &victim->cache);
}

/* What the numbers must show. */

static bool
grew(uint64_t before, uint64_t after)
{
	return after > before;
}

static bool
fired_evicting(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return grew(before->evictions, after->evictions) &&
	       grew(before->extents_evicted, after->extents_evicted);
}

static bool
fired_second_chance(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return fired_evicting(before, after) &&
	       grew(before->second_chances, after->second_chances);
}

/* An extent was too good: entries of it were dropped in place, and others copied
   when it was cleaned. */
static bool
fired_passing(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return fired_second_chance(before, after) &&
	       grew(before->extents_passed, after->extents_passed);
}

static bool
fired_leading(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return grew(before->load_leaders, after->load_leaders);
}

static bool
fired_taking_over(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return grew(before->load_takeovers, after->load_takeovers);
}

static bool
fired_locking(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return grew(before->locks, after->locks);
}

/* A full extent is sealed, another one installed, and none evicted. */
static bool
fired_sealing(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return grew(before->extents_sealed, after->extents_sealed) &&
	       after->extents_evicted == before->extents_evicted &&
	       after->extents_free < before->extents_free;
}

static bool
fired_expired_read(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return grew(before->expired_on_read, after->expired_on_read);
}

static bool
fired_expired_sweep(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return grew(before->expired_swept, after->expired_swept);
}

static bool
fired_recycling(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return grew(before->extents_recycled, after->extents_recycled) &&
	       before->extents_limbo > after->extents_limbo;
}

static bool
fired_joining(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return before->extents_evicting > 0 && after->extents_evicting == 0;
}

static bool
fired_freeing(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return after->peers < before->peers;
}

static bool
fired_replacing(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return grew(before->replaces, after->replaces);
}

static bool
fired_displacing(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return grew(before->index_evictions, after->index_evictions) &&
	       after->extents_evicted == before->extents_evicted;
}

static bool
fired_aborting(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return grew(before->tentative_aborts, after->tentative_aborts) &&
	       grew(before->inserts, after->inserts);
}

static bool
fired_counting(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return grew(before->incr_hits, after->incr_hits) &&
	       after->written_bytes == before->written_bytes;
}

/* By writing the counter anew. */
static bool
fired_counting_anew(
    const struct shmcache_stats *before, const struct shmcache_stats *after)
{
	return grew(before->incr_hits, after->incr_hits) &&
	       grew(before->written_bytes, after->written_bytes);
}

static bool
left_old(const struct observation *left)
{
	return left->seen == SEEN_OLD;
}

/* The last such state is the one before the word is made final. */
static bool
left_nothing(const struct observation *left)
{
	return left->seen == SEEN_NOTHING;
}

static bool
left_limbo(const struct observation *left)
{
	return left->limbo > 0;
}

static bool
left_evicting(const struct observation *left)
{
	return left->evicting > 0;
}

#define LIGHT 40u
#define KEY(n, length)                                                         \
	{                                                                      \
		.kind = RECORD_VICTIM, .id = (n), .version = 1,                \
		.bytes = (length)                                              \
	}

#define KEY_NUMBER(n)                                                          \
	{                                                                      \
		.kind = RECORD_VICTIM, .id = (n), .version = 1, .bytes = 2,    \
		.number = true                                                 \
	}

#define KEY_EXPIRED(n)                                                         \
	{                                                                      \
		.kind = RECORD_EXPIRED, .id = (n), .version = 1,               \
		.bytes = 40 + (n)*29 % 150                                     \
	}

const struct operation operations[] = {
	{ .name = "create",
	    .flags = OPERATION_CREATES | OPERATION_OPENS,
	    .record = KEY(0, 120),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NOTHING,
	    .act = act_create },
	{ .name = "attach",
	    .flags = OPERATION_OPENS | OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(1, 120),
	    .act = act_attach },
	{ .name = "attach-after-deaths",
	    .flags = OPERATION_OPENS | OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(2, 120),
	    .act = act_attach,
	    .dead_threads = 1 },
	{ .name = "slot-claim",
	    .flags = OPERATION_COLD | OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(3, 120),
	    .act = act_get },
	{ .name = "slot-claim-after-deaths",
	    .flags = OPERATION_COLD | OPERATION_IDLE | OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(4, 120),
	    .act = act_get,
	    .dead_threads = 2 },
	{ .name = "slot-release",
	    .flags = OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(5, 120),
	    .act = act_thread_exit },
	{ .name = "detach",
	    .flags = OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(6, 120),
	    .act = act_close },
	{ .name = "get-hit",
	    .twice = true,
	    .flags = OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(7, 120),
	    .act = act_get },
	{ .name = "get-miss",
	    .others = LIGHT,
	    .record = KEY(8, 120),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NOTHING,
	    .act = act_get },
	{ .name = "get-expired",
	    .flags = OPERATION_EXPIRED,
	    .others = LIGHT,
	    .record = KEY_EXPIRED(7),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NOTHING,
	    .act = act_get,
	    .fired = fired_expired_read },
	{ .name = "get-pinned",
	    .flags = OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(9, 900),
	    .act = act_get_pinned },
	{ .name = "set-new",
	    .twice = true,
	    .others = LIGHT,
	    .record = KEY(10, 120),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NEW,
	    .act = act_set },
	{ .name = "set-replace",
	    .twice = true,
	    .flags = OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(11, 120),
	    .before = SEEN_OLD,
	    .after = SEEN_NEW,
	    .act = act_set,
	    .fired = fired_replacing },
	{ .name = "set-over-expired",
	    .flags = OPERATION_EXPIRED,
	    .others = LIGHT,
	    .record = KEY_EXPIRED(9),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NEW,
	    .act = act_set },
	{ .name = "set-over-tentative",
	    .others = LIGHT,
	    .record = KEY(10, 120),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NEW,
	    .act = act_set,
	    .fired = fired_aborting,
	    .heir_of = "set-new",
	    .inherits = left_nothing,
	    .inherits_last = true },
	{ .name = "set-displace",
	    .flags = OPERATION_FULL | OPERATION_READ,
	    .others = 60,
	    .record = KEY(22, 120),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NEW,
	    .act = act_set,
	    .fired = fired_displacing,
	    .displaces = true,
	    .advance = true,
	    .expected_items = 64 },
	{ .name = "delete",
	    .flags = OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(12, 120),
	    .before = SEEN_OLD,
	    .after = SEEN_NOTHING,
	    .act = act_delete },
	{ .name = "touch",
	    .flags = OPERATION_LOADED | OPERATION_TTL,
	    .others = LIGHT,
	    .record = KEY(13, 120),
	    .before = SEEN_OLD,
	    .after = SEEN_NEW,
	    .act = act_touch },
	{ .name = "set-seal",
	    .others = LIGHT,
	    .record = KEY(14, 200),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NEW,
	    .act = act_set,
	    .fired = fired_sealing,
	    .advance = true },
	{ .name = "set-evict",
	    .twice = true,
	    .flags = OPERATION_FULL | OPERATION_READ,
	    .others = OTHERS_MAX,
	    .record = KEY(15, 900),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NEW,
	    .act = act_set,
	    .fired = fired_second_chance,
	    .advance = true },
	{ .name = "set-pass",
	    .flags = OPERATION_FULL | OPERATION_LIKED,
	    .others = OTHERS_MAX,
	    .record = KEY(15, 900),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NEW,
	    .act = act_set,
	    .fired = fired_passing,
	    .advance = true },
	{ .name = "replace-evict",
	    .flags = OPERATION_FULL | OPERATION_READ | OPERATION_LOADED,
	    .others = OTHERS_MAX,
	    .record = KEY(16, 900),
	    .before = SEEN_OLD,
	    .after = SEEN_NEW,
	    .act = act_set,
	    .fired = fired_evicting,
	    .advance = true },
	{ .name = "join-eviction",
	    .flags = OPERATION_FULL,
	    .others = OTHERS_MAX,
	    .record = KEY(17, 900),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NOTHING,
	    .act = act_sweep,
	    .fired = fired_joining,
	    .heir_of = "set-evict",
	    .inherits = left_evicting },
	{ .name = "recycle",
	    .twice = true,
	    .flags = OPERATION_FULL,
	    .others = OTHERS_MAX,
	    .record = KEY(18, 900),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NOTHING,
	    .act = act_sweep,
	    .fired = fired_recycling,
	    .heir_of = "set-evict",
	    .inherits = left_limbo },
	{ .name = "flush",
	    .flags = OPERATION_FLUSHES | OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(19, 120),
	    .before = SEEN_OLD,
	    .after = SEEN_NOTHING,
	    .act = act_flush },
	{ .name = "flush-in-two",
	    .flags = OPERATION_FLUSHES | OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(19, 120),
	    .before = SEEN_OLD,
	    .after = SEEN_NOTHING,
	    .act = act_flush_in_two },
	{ .name = "set-tagged",
	    .flags = OPERATION_TAGGED | OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(40, 120),
	    .before = SEEN_OLD,
	    .after = SEEN_NEW,
	    .act = act_set_tagged,
	    .fired = fired_replacing },
	{ .name = "invalidate-tag",
	    .flags = OPERATION_TAGGED | OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(41, 120),
	    .before = SEEN_OLD,
	    .after = SEEN_NOTHING,
	    .act = act_invalidate },
	{ .name = "get-invalidated",
	    .flags =
		OPERATION_TAGGED | OPERATION_INVALIDATED | OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(42, 120),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NOTHING,
	    .act = act_get,
	    .fired = fired_expired_read },
	{ .name = "sweep-invalidated",
	    .flags =
		OPERATION_TAGGED | OPERATION_INVALIDATED | OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(43, 120),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NOTHING,
	    .act = act_sweep,
	    .fired = fired_expired_sweep },
	{ .name = "sweep",
	    .flags = OPERATION_EXPIRED | OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(20, 120),
	    .act = act_sweep,
	    .fired = fired_expired_sweep },
	{ .name = "sweep-flushed",
	    .flags = OPERATION_FLUSHED | OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(23, 120),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NOTHING,
	    .act = act_sweep,
	    .fired = fired_expired_sweep },
	{ .name = "free-dead",
	    .twice = true,
	    .flags = OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(21, 120),
	    .act = act_sweep,
	    .fired = fired_freeing,
	    .dead_threads = 1 },
	{ .name = "load",
	    .flags = OPERATION_LEASES,
	    .others = LIGHT,
	    .record = KEY(39, 120),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NEW,
	    .act = act_load,
	    .fired = fired_leading },
	{ .name = "load-takeover",
	    .flags = OPERATION_LEASES,
	    .others = LIGHT,
	    .record = KEY(40, 120),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NEW,
	    .act = act_load,
	    .fired = fired_taking_over,
	    .orphans = true },
	{ .name = "load-abandon",
	    .flags = OPERATION_LEASES,
	    .others = LIGHT,
	    .record = KEY(41, 120),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NOTHING,
	    .act = act_begin_load,
	    .fired = fired_leading },
	{ .name = "lock",
	    .flags = OPERATION_LOADED | OPERATION_LEASES,
	    .others = LIGHT,
	    .record = KEY(42, 120),
	    .act = act_lock,
	    .fired = fired_locking },
	{ .name = "lock-takeover",
	    .flags = OPERATION_LOADED | OPERATION_LEASES,
	    .others = LIGHT,
	    .record = KEY(43, 120),
	    .act = act_lock,
	    .fired = fired_locking,
	    .orphans = true },
	{ .name = "add",
	    .others = LIGHT,
	    .record = KEY(25, 120),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NEW,
	    .act = act_add },
	{ .name = "add-over-expired",
	    .flags = OPERATION_EXPIRED,
	    .others = LIGHT,
	    .record = KEY_EXPIRED(11),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NEW,
	    .act = act_add },
	{ .name = "replace",
	    .flags = OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(26, 120),
	    .before = SEEN_OLD,
	    .after = SEEN_NEW,
	    .act = act_replace,
	    .fired = fired_replacing },
	{ .name = "cas",
	    .twice = true,
	    .flags = OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(27, 120),
	    .before = SEEN_OLD,
	    .after = SEEN_NEW,
	    .act = act_cas,
	    .fired = fired_replacing },
	{ .name = "append",
	    .flags = OPERATION_LOADED | OPERATION_APPENDS,
	    .others = LIGHT,
	    .record = KEY(28, 120),
	    .before = SEEN_OLD,
	    .after = SEEN_NEW,
	    .act = act_append,
	    .fired = fired_replacing },
	{ .name = "append-evict",
	    .flags = OPERATION_FULL | OPERATION_READ | OPERATION_LOADED |
		     OPERATION_APPENDS,
	    .others = OTHERS_MAX,
	    .record = KEY(29, 900),
	    .before = SEEN_OLD,
	    .after = SEEN_NEW,
	    .act = act_append,
	    .fired = fired_evicting,
	    .advance = true },
	{ .name = "incr-initial",
	    .others = LIGHT,
	    .record = KEY_NUMBER(30),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NEW,
	    .act = act_incr,
	    .fired = fired_counting_anew },
	{ .name = "incr-text",
	    .flags = OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY_NUMBER(31),
	    .before = SEEN_OLD,
	    .after = SEEN_NEW,
	    .act = act_incr,
	    .fired = fired_counting_anew },
	{ .name = "incr",
	    .flags = OPERATION_LOADED | OPERATION_COUNTER,
	    .others = LIGHT,
	    .record = KEY_NUMBER(32),
	    .before = SEEN_OLD,
	    .after = SEEN_NEW,
	    .act = act_incr,
	    .fired = fired_counting },
	{ .name = "cas-counter",
	    .flags = OPERATION_LOADED | OPERATION_COUNTER,
	    .others = LIGHT,
	    .record = KEY_NUMBER(33),
	    .before = SEEN_OLD,
	    .after = SEEN_NEW,
	    .act = act_cas,
	    .fired = fired_replacing },
	{ .name = "incr-frozen",
	    .flags = OPERATION_LOADED | OPERATION_COUNTER,
	    .others = LIGHT,
	    .record = KEY_NUMBER(33),
	    .before = SEEN_OLD,
	    .after = SEEN_NEW,
	    .act = act_incr,
	    .fired = fired_counting_anew,
	    .heir_of = "cas-counter",
	    .inherits = left_old,
	    .inherits_last = true },
	{ .name = "get-and-touch",
	    .flags = OPERATION_LOADED | OPERATION_TTL,
	    .others = LIGHT,
	    .record = KEY(34, 120),
	    .before = SEEN_OLD,
	    .after = SEEN_NEW,
	    .act = act_get_and_touch },
	{ .name = "multi-set",
	    .others = LIGHT,
	    .record = KEY(35, 120),
	    .before = SEEN_NOTHING,
	    .after = SEEN_NEW,
	    .act = act_multi_set },
	{ .name = "delete-prefix",
	    .flags = OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(36, 120),
	    .before = SEEN_OLD,
	    .after = SEEN_NOTHING,
	    .act = act_delete_prefix },
	{ .name = "scan",
	    .flags = OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(37, 120),
	    .act = act_scan },
	{ .name = "get-read-only",
	    .flags = OPERATION_LOADED | OPERATION_READS,
	    .others = LIGHT,
	    .record = KEY(38, 120),
	    .act = act_get },
	{ .name = "fork",
	    .flags = OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(44, 120),
	    .act = act_fork,
	    .earlier_deaths = 1 },
	{ .name = "attach-again",
	    .flags = OPERATION_REVIVES | OPERATION_LOADED,
	    .others = LIGHT,
	    .record = KEY(45, 120),
	    .act = act_get },
	{ .name = "filter-build",
	    .flags = OPERATION_FILTERED | OPERATION_LOADED,
	    .others = 12,
	    .record = KEY(46, 120),
	    .act = act_filter_build },
	{ .name = "filter-add",
	    .flags = OPERATION_FILTERED | OPERATION_LOADED,
	    .others = 12,
	    .record = KEY(47, 120),
	    .act = act_filter_add },
	{ .name = "filter-load",
	    .flags = OPERATION_FILTERED | OPERATION_LOADED,
	    .others = 12,
	    .record = KEY(48, 120),
	    .act = act_filter_load },
	{ .name = "remove",
	    .flags = OPERATION_OPENS | OPERATION_LOADED | OPERATION_REMOVES,
	    .others = LIGHT,
	    .record = KEY(24, 120),
	    .act = act_remove },
};

const unsigned operation_count = sizeof(operations) / sizeof(operations[0]);

const struct operation *
operation_find(const char *name)
{
	for (unsigned i = 0; i < operation_count; i++)
		if (strcmp(operations[i].name, name) == 0)
			return &operations[i];
	return NULL;
}

struct shmcache_options
operation_options(
    const struct operation *operation, enum shmcache_open_mode mode)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;

	options.open_mode = mode;
	options.capacity_bytes = 128 * 1024;
	options.extent_bytes = 4096;
	options.expected_items =
	    operation->expected_items != 0 ? operation->expected_items : 512;
	options.peer_slots = 4;
	options.process_slots = 4;
	if ((operation->flags & OPERATION_FILTERED) != 0)
		options.filter_items = 64;
	return options;
}

struct record
operation_old(const struct operation *operation)
{
	return operation->record;
}

struct record
operation_new(const struct operation *operation)
{
	struct record record = operation->record;

	record.version = 2;
	if ((operation->flags & OPERATION_LOADED) != 0 && !record.number)
		record.bytes += 30;
	if ((operation->flags & OPERATION_APPENDS) != 0)
		record.added = 30;
	return record;
}

static bool
store(struct shmcache *cache, const struct record *record, int64_t ttl_ms)
{
	int result = record_set(cache, record, ttl_ms);

	if (result != 0)
		return job_fail("cannot build the cache: set: %s",
		    shmcache_strerror(result));
	return true;
}

/* The number that is stored as text becomes a counter with the same value. */
static bool
make_counter(struct shmcache *cache, const struct record *record)
{
	char key[RECORD_KEY_BYTES];
	size_t key_bytes = record_key(record, key);

	if (shmcache_incr(cache, key, key_bytes, 1, NULL, 0, NULL) != 0 ||
	    shmcache_decr(cache, key, key_bytes, 1, NULL, 0, NULL) != 0)
		return job_fail("cannot build the cache: incr");
	return true;
}

static bool
store_old(struct shmcache *cache, const struct operation *operation)
{
	struct record old = operation_old(operation);
	struct written_record written;

	if ((operation->flags & OPERATION_TAGGED) == 0)
		return store(cache, &old,
		    (operation->flags & OPERATION_TTL) != 0
			? TTL_OLD_MS
			: SHMCACHE_TTL_NONE);
	record_write_out(&old, &written);
	if (set_tagged(cache, &written) != 0 ||
	    ((operation->flags & OPERATION_INVALIDATED) != 0 &&
		invalidate_tagged(cache) != 0))
		return job_fail("cannot build the cache: tags");
	return true;
}

/* Has this one of the others been read? */
static bool
is_read(const struct operation *operation, unsigned number)
{
	return ((operation->flags & OPERATION_READ) != 0 && number % 2 == 0) ||
	       ((operation->flags & OPERATION_LIKED) != 0 && number % 3 != 2);
}

static bool
store_all(struct shmcache *cache, const struct operation *operation)
{
	struct record old = operation_old(operation);
	struct record record;

	for (unsigned i = 0; i < operation->others; i++) {
		record = record_of(RECORD_OTHER, i);
		if (!store(cache, &record, SHMCACHE_TTL_NONE))
			return false;
	}
	for (unsigned i = 0;
	     (operation->flags & OPERATION_EXPIRED) != 0 && i < EXPIRED_RECORDS;
	     i++) {
		record = record_of(RECORD_EXPIRED, i);
		if (!store(cache, &record, 1))
			return false;
	}
	if ((operation->flags & OPERATION_LOADED) != 0 &&
	    !store_old(cache, operation))
		return false;
	if ((operation->flags & OPERATION_COUNTER) != 0 &&
	    !make_counter(cache, &old))
		return false;
	for (unsigned i = 0; i < operation->others; i++) {
		int result;

		if (!is_read(operation, i))
			continue;
		record = record_of(RECORD_OTHER, i);
		(void)record_look(cache, &record, RECORD_GET, &result);
	}
	return true;
}

/* Would a set of the record fire now?  Tried on a copy. */
static bool
would_fire(const struct operation *operation, const char *path, bool *yes)
{
	struct record record = operation_new(operation);
	struct snapshot snapshot;
	struct shmcache *cache;
	struct shmcache_stats before, after;
	char copy[SCRATCH_PATH_BYTES];
	int result;

	scratch_path(copy, "rehearsal");
	if (!scratch_read(path, &snapshot) ||
	    !scratch_write(copy, snapshot.bytes, snapshot.length))
		return job_fail("cannot copy the cache");
	snapshot_free(&snapshot);
	result = shmcache_open(copy, NULL, &cache);
	(void)unlink(copy);
	if (result != 0)
		return job_fail(
		    "cannot open a copy: %s", shmcache_strerror(result));
	result = shmcache_stats(cache, &before, sizeof(before));
	if (result == 0)
		result = record_set(cache, &record, SHMCACHE_TTL_NONE);
	if (result == 0)
		result = shmcache_stats(cache, &after, sizeof(after));
	(void)shmcache_close(cache);
	if (result != 0)
		return job_fail("rehearsal: %s", shmcache_strerror(result));
	*yes = operation->fired(&before, &after);
	return true;
}

static bool
advance(
    const struct operation *operation, const char *path, struct shmcache *cache)
{
	bool fires = false;

	for (unsigned i = 0; i < 400; i++) {
		struct record record = record_of(RECORD_SERIES, i);

		if (!would_fire(operation, path, &fires))
			return false;
		if (fires)
			return true;
		if (!store(cache, &record, SHMCACHE_TTL_NONE))
			return false;
	}
	return job_fail("400 sets did not bring the cache to the point where "
			"the operation does what its name says");
}

/* Expired entries must be so before anybody looks. */
static void
wait_for_expiry(struct shmcache *cache)
{
	struct shmcache_stats stats = { 0 };
	struct timespec pause = { 0 };

	(void)shmcache_stats(cache, &stats, sizeof(stats));
	pause.tv_nsec = 2000000 + 3 * (long)stats.clock_tick_ns;
	if (pause.tv_nsec > 999999999)
		pause.tv_nsec = 999999999;
	(void)nanosleep(&pause, NULL);
}

static void *
use_once(void *cache)
{
	struct record record = record_of(RECORD_FRESH, 0);
	int result;

	(void)record_look(cache, &record, RECORD_PEEK, &result);
	(void)pause();
	return NULL;
}

/* A process that attaches with so many threads, says so, and waits. */
static void
live_and_die(const char *path, unsigned threads, int ready_fd)
{
	struct shmcache *cache;
	pthread_t thread;
	struct shmcache_stats stats = { 0 };
	uint64_t target;

	if (shmcache_open(path, NULL, &cache) != 0 ||
	    shmcache_stats(cache, &stats, sizeof(stats)) != 0)
		_exit(1);
	target = stats.peers + threads;
	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&thread, NULL, use_once, cache) != 0)
			_exit(1);
	while (stats.peers < target)
		if (shmcache_stats(cache, &stats, sizeof(stats)) != 0)
			_exit(1);
	if (write(ready_fd, "r", 1) != 1)
		_exit(1);
	for (;;)
		(void)pause();
}

/*
 * Fill all process slots one after the other, then kill them all.  The last
 * ones have the threads: the slots of the first go to the next who attach.
 */
static bool
leave_dead(const struct operation *operation, const char *path)
{
	int ready[2];
	pid_t pids[DEAD_PROCESSES];
	bool fine = true;

	if (pipe(ready) != 0)
		return job_fail("pipe");
	for (unsigned i = 0; i < DEAD_PROCESSES; i++) {
		char byte;
		unsigned threads = i < 2 ? 0 : operation->dead_threads;

		pids[i] = job_fork();
		if (pids[i] == 0) {
			(void)close(ready[0]);
			live_and_die(path, threads, ready[1]);
		}
		fine = fine && pids[i] > 0 && read(ready[0], &byte, 1) == 1;
	}
	for (unsigned i = 0; i < DEAD_PROCESSES; i++) {
		if (pids[i] <= 0)
			continue;
		(void)kill(pids[i], SIGKILL);
		(void)waitpid(pids[i], NULL, 0);
	}
	(void)close(ready[0]);
	(void)close(ready[1]);
	return fine ? true : job_fail("cannot build the dead processes");
}

bool
operation_build(const struct operation *operation, const char *path)
{
	struct shmcache_options options =
	    operation_options(operation, SHMCACHE_CREATE_EXCLUSIVE);
	struct shmcache *cache;
	bool built;
	int result = shmcache_open(path, &options, &cache);

	if (result != 0)
		return job_fail("cannot create a cache: %s (%s)",
		    shmcache_strerror(result), shmcache_last_error());
	built = store_all(cache, operation) &&
		(!operation->advance || advance(operation, path, cache));
	if ((operation->flags & OPERATION_EXPIRED) != 0)
		wait_for_expiry(cache);
	if (built && (operation->flags & OPERATION_FLUSHED) != 0 &&
	    shmcache_flush(cache) != 0)
		built = job_fail("cannot build the cache: flush");
	if (built && (operation->flags & OPERATION_FILTERED) != 0 &&
	    operation_filter(cache, operation) != 0)
		built = job_fail("cannot build the cache: filter");
	result = shmcache_close(cache);
	if (built && result != 0)
		return job_fail("close: %s", shmcache_strerror(result));
	return built &&
	       (operation->dead_threads == 0 || leave_dead(operation, path));
}

static pthread_key_t last_key;

/* Runs after the library's destructor: its key is younger, and this is the
   second round. */
static void
end_of_thread(void *round)
{
	static char second;

	if (round != &second) {
		(void)pthread_setspecific(last_key, &second);
		return;
	}
	tracer_mark();
	_exit(VICTIM_DONE);
}

/* The first pthread_exit() of a process loads what unwinds the stack. */
static void *
exit_once(void *nothing)
{
	(void)nothing;
	pthread_exit(NULL);
}

static bool
prepare_exit(struct victim *victim)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, exit_once, NULL) == 0 &&
	       pthread_join(thread, NULL) == 0 &&
	       pthread_key_create(&last_key, end_of_thread) == 0 &&
	       pthread_setspecific(last_key, victim) == 0;
}

static bool
prepare(struct victim *victim)
{
	const struct operation *operation = victim->operation;
	struct record old = operation_old(operation);
	struct record new = operation_new(operation);
	struct record fresh = record_of(RECORD_FRESH, 0);
	int result;

	victim->options =
	    operation_options(operation, SHMCACHE_CREATE_EXCLUSIVE);
	record_write_out(&old, &victim->old);
	record_write_out(&new, &victim->new);
	if ((operation->flags & OPERATION_OPENS) != 0)
		return true;
	victim->options.open_mode = SHMCACHE_ATTACH;
	victim->options.read_only = (operation->flags & OPERATION_READS) != 0;
	if ((operation->flags & OPERATION_REVIVES) != 0)
		return open_removed(victim);
	if (shmcache_open(victim->path, &victim->options, &victim->cache) != 0)
		return false;
	if (operation->act == act_cas &&
	    shmcache_gets(victim->cache, victim->old.key, victim->old.key_bytes,
		victim->value, sizeof(victim->value), NULL, NULL,
		&victim->version) != 0)
		return false;
	if ((operation->flags & OPERATION_COLD) == 0 &&
	    record_look(victim->cache, &fresh, RECORD_PEEK, &result) ==
		RECORD_FAILED)
		return false;
	if (operation->orphans && !prepare_orphans(victim))
		return false;
	if (operation->act == act_filter_load && !prepare_filter(victim))
		return false;
	return operation->act != act_thread_exit || prepare_exit(victim);
}

/* Did the call give what it should have? */
static bool
succeeded(const struct victim *victim, int result)
{
	const struct operation *operation = victim->operation;
	const struct written_record *old = &victim->old;

	/* What was there may be evicted. */
	if (victim->disturbed && result == SHMCACHE_ENOENT)
		return true;
	if (operation->act == act_get && operation->before == SEEN_NOTHING)
		return result == SHMCACHE_ENOENT;
	if (operation->act != act_get && operation->act != act_get_pinned &&
	    operation->act != act_get_and_touch && operation->act != act_fork)
		return result == 0;
	return result == 0 && victim->value_bytes == old->value_bytes &&
	       victim->client_flags == old->client_flags &&
	       memcmp(victim->value, old->value, old->value_bytes) == 0;
}

void
operation_run(void *argument)
{
	struct victim *victim = argument;
	const struct operation *operation = victim->operation;
	struct shmcache_stats before = { 0 };
	struct shmcache_stats after = { 0 };
	int result;

	if (!prepare(victim))
		_exit(VICTIM_NO_START);
	if (operation->fired != NULL &&
	    shmcache_stats(victim->cache, &before, sizeof(before)) != 0)
		_exit(VICTIM_NO_START);
	tracer_mark();
	result = operation->act(victim);
	tracer_mark();
	if (!succeeded(victim, result))
		_exit(VICTIM_FAILED);
	if (operation->fired != NULL && !victim->disturbed &&
	    (shmcache_stats(victim->cache, &after, sizeof(after)) != 0 ||
		!operation->fired(&before, &after)))
		_exit(VICTIM_NOT_FIRED);
	_exit(VICTIM_DONE);
}
