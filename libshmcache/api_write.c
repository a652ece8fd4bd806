/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * api_write.c - set, delete, touch; and what all calls that store share
 *
 * A touch changes the expiry word in place; where that is frozen (entry.h), or
 * there is none, or the value of a counter is got too, it writes the entry anew
 * (update.h).
 */
#include "libshmcache/error.h"
#include "libshmcache/evict.h"
#include "libshmcache/expire.h"
#include "libshmcache/index.h"
#include "libshmcache/invalidate.h"
#include "libshmcache/latency.h"
#include "libshmcache/place.h"
#include "libshmcache/record.h"
#include "libshmcache/sink.h"
#include "libshmcache/stats.h"
#include "libshmcache/update.h"
#include "libshmcache/write.h"
#include "shm/error.h"
#include "shm/pin.h"

#include <errno.h>
#include <time.h>

/* No time to live is longer: 2^62 ms. */
#define EXPIRY_MAX_MS (1ull << 62)

int
write_expiry(const struct mapping *m, int64_t ttl_ms, uint64_t *expires_ms_out)
{
	if (ttl_ms == 0)
		ttl_ms = m->default_ttl_ms;
	if (ttl_ms < SHMCACHE_TTL_NONE)
		return shm_error_note(-EINVAL,
		    "a time to live of %lld ms: use 0, SHMCACHE_TTL_NONE or "
		    "more",
		    (long long)ttl_ms);
	*expires_ms_out = 0;
	if (ttl_ms != SHMCACHE_TTL_NONE) {
		*expires_ms_out = mapping_now_ms(m) + (uint64_t)ttl_ms;
		if (*expires_ms_out > EXPIRY_MAX_MS)
			*expires_ms_out = EXPIRY_MAX_MS;
	}
	return 0;
}

void
write_finish(const struct call *call, const struct shm_place *place)
{
	shm_pin_clear(call->peer, SHM_PIN_TARGET);
	if (place_near_end(call->m, place))
		(void)evict_fill_reserve(call, call->m->reserve);
	else if (place->installed)
		(void)evict_fill_reserve(call, call->m->reserve - 1);
}

int
write_window_full(const struct call *call, const struct shm_place *place)
{
	shm_arena_account(call->m->segment, place->extent, place->generation,
	    -(int64_t)place->bytes);
	return shm_error_note(SHMCACHE_EFULL,
	    "the key's part of the index is full of entries that never expire: "
	    "create the cache with more expected_items");
}

/* What is larger takes longer to copy than its key to look up. */
#define KEPT_BYTES_MAX 4096u

/*
 * Chooses the place of the entry, and reserves it.  What the key has is left in
 * rule->found, if it is to stay pinned until it is replaced.  It is not while
 * something is evicted, lest what is to be emptied is what this call pins; nor
 * while a large value is copied, whose writers may stand still meanwhile (its
 * memory may have to be read from a disk): then each would keep an extent of its
 * own from reuse, besides the target, which they share.
 */
static int
take_place(const struct call *call, const struct key *key,
    struct entry_content *content, struct shm_place *place_out,
    struct found *old, struct put_rule *rule)
{
	uint32_t bytes = entry_bytes(content);
	bool found = index_find(call, key, SHM_PIN_ENTRY, old);

	place_choose(call, key, found ? old : NULL, bytes, content);
	if (found && bytes <= KEPT_BYTES_MAX &&
	    evict_reserve_room(
		call, content->log, SHM_WRITE, bytes, place_out) == 0) {
		rule->found = old;
		return 0;
	}
	if (found)
		shm_pin_clear(call->peer, SHM_PIN_ENTRY);
	return evict_reserve(call, content->log, bytes, place_out);
}

int
write_store(const struct call *call, const struct key *key,
    struct entry_content *content, const struct token *token)
{
	struct put_rule rule = { .token = token };
	struct shm_place place;
	struct found old;
	enum index_put put;
	int error = take_place(call, key, content, &place, &old, &rule);

	if (error != 0)
		return error;
	if (token == NULL)
		token_bump(call->m, key->hash); /* W1: the target's pin */
	entry_write(call->m, &place, content);
	put = index_put(call, key, index_word(key, &place), &rule);
	if (put == PUT_FULL) {
		error = write_window_full(call, &place);
	} else if (put == PUT_REFUSED) {
		shm_arena_account(call->m->segment, place.extent,
		    place.generation, -(int64_t)place.bytes);
		error = SHMCACHE_ESTALE;
	} else {
		stats_count(call->peer, COUNT_sets);
		stats_count(call->peer,
		    put == PUT_REPLACED ? COUNT_replaces : COUNT_inserts);
		stats_add(call->peer, COUNT_written_bytes, place.bytes);
		record_stored(call, key, SHMCACHE_REQUEST_SET, content);
	}
	write_finish(call, &place);
	return error;
}

int
write_check_size(
    const struct mapping *m, uint64_t key_bytes, uint64_t value_bytes)
{
	if (value_bytes <= m->max_entry_bytes &&
	    key_bytes + value_bytes <= m->max_entry_bytes)
		return 0;
	return shm_error_note(SHMCACHE_ETOOBIG,
	    "key and value have %llu bytes; the cache allows %llu",
	    (unsigned long long)(key_bytes + value_bytes),
	    (unsigned long long)m->max_entry_bytes);
}

int
write_content(const struct mapping *m, const struct key *key,
    const struct write_given *given, uint64_t seq,
    struct entry_content *content_out)
{
	int error = given->data == NULL && given->bytes > 0
			? -EINVAL
			: write_check_size(m, key->bytes, given->bytes);

	*content_out = (struct entry_content){ .key = key->data,
		.value = given->data,
		.key_bytes = key->bytes,
		.value_bytes = (uint32_t)given->bytes,
		.client_flags = given->client_flags,
		.tag_count = given->tag_count,
		.tags = given->tags,
		.seq = seq };
	if (error == 0)
		error =
		    write_expiry(m, given->ttl_ms, &content_out->expires_ms);
	if (error == 0 && given->snapshot != NULL) {
		content_out->seq = given->snapshot->seq;
		error = invalidate_check(
		    m, given->snapshot, given->tags, given->tag_count);
	}
	return error;
}

static int
set(const struct call *call, const struct key *key,
    const struct write_given *given)
{
	struct entry_content content;
	int error = write_content(
	    call->m, key, given, invalidate_now(call->m), &content);

	if (error == 0)
		error = write_store(call, key, &content, NULL);
	if (error != 0)
		stats_count(call->peer, error == SHMCACHE_ESTALE
					    ? COUNT_stale_sets
					    : COUNT_set_failures);
	return error;
}

int
write_set(const struct call *call, const struct key *key,
    const struct write_given *given)
{
	uint64_t began_ns;
	int error;

	if (__builtin_expect(
		!latency_count(call) || !latency_is_timed(call), 1))
		return set(call, key, given);
	began_ns = latency_begin();
	error = set(call, key, given);
	latency_end(call, SHMCACHE_LATENCY_SET, began_ns, NULL);
	return error;
}

int
shmcache_set(struct shmcache *cache, const void *key_data, size_t key_bytes,
    const void *value, size_t value_bytes, int64_t ttl_ms,
    uint32_t client_flags)
{
	const struct write_given given = { .data = value,
		.bytes = value_bytes,
		.ttl_ms = ttl_ms,
		.client_flags = client_flags };
	struct call call;
	struct key key;
	int error =
	    index_enter(cache, CALL_WRITES, key_data, key_bytes, &call, &key);

	if (error != 0)
		return error_return(error);
	error = write_set(&call, &key, &given);
	call_leave();
	return error_return(error);
}

int
write_delete(const struct call *call, const struct key *key)
{
	int error = index_remove(call, key) ? 0 : SHMCACHE_ENOENT;

	record(call, key, SHMCACHE_REQUEST_DELETE, 0, 0);
	stats_count(
	    call->peer, error == 0 ? COUNT_deletes : COUNT_delete_misses);
	return error;
}

int
shmcache_delete(struct shmcache *cache, const void *key_data, size_t key_bytes)
{
	struct call call;
	struct key key;
	int error =
	    index_enter(cache, CALL_WRITES, key_data, key_bytes, &call, &key);

	if (error != 0)
		return error_return(error);
	error = write_delete(&call, &key);
	call_leave();
	return error_return(error);
}

/* A touch, and where the value goes that it also gets. */
struct touch {
	uint64_t expires_ms;
	const struct sink *sink; /* NULL: nowhere */
	struct facts facts;
};

static void
note_expiry(
    const struct call *call, const struct entry *entry, uint64_t expires_ms)
{
	struct shm_segment *segment = call->m->segment;

	if (expires_ms != 0)
		shm_arena_lower_hint(segment, entry->extent,
		    shm_arena_generation(segment, entry->extent), expires_ms);
}

/* Is there room for the value?  Before anything is touched. */
static int
learn_touched(
    const struct mapping *m, const struct entry *entry, struct touch *touch)
{
	touch->facts.result = 0;
	if (touch->sink != NULL)
		sink_learn(m, entry, touch->sink, &touch->facts);
	return touch->facts.result;
}

/* By replacing: update.h. */
static int
make_touched(const struct update *update, const struct entry *old,
    struct entry_content *content)
{
	struct touch *touch = update->context;
	int error;

	if (old == NULL)
		return SHMCACHE_ENOENT;
	error = learn_touched(update->call->m, old, touch);
	if (error == 0 && touch->sink != NULL)
		sink_copy(touch->sink, &touch->facts);
	content->expires_ms = touch->expires_ms;
	return error;
}

/* Not an error: somebody carries the entry on, or it has no expiry to change, or
   belongs to another log then, so go by replacing. */
#define TOUCH_FROZEN 1

/* A frozen entry does; one that is to have no time any more, where only those
   with a time may be evicted; and a counter whose value is got too: it changes in
   another word than the time, and both are to be of one moment. */
static bool
goes_by_replacing(const struct mapping *m, uint64_t expiry,
    const struct entry *entry, const struct touch *touch)
{
	return (expiry & ENTRY_FROZEN) != 0 ||
	       (touch->expires_ms == 0 && m->volatile_only) ||
	       (touch->sink != NULL && entry_is_counter(entry));
}

/* The found entry is pinned. */
static int
touch_found(
    const struct call *call, const struct found *found, struct touch *touch)
{
	uint64_t *word = found->entry.expiry;

	for (;;) {
		uint64_t old = word != NULL ? shm_load64(word) : ENTRY_FROZEN;
		int error;

		if (expire_found(call, found, COUNT_expired_on_read) ||
		    !entry_visible(call->m, &found->entry))
			return SHMCACHE_ENOENT;
		error = learn_touched(call->m, &found->entry, touch);
		if (error != 0)
			return error;
		if (word == NULL && touch->expires_ms == 0)
			return 0;
		if (goes_by_replacing(call->m, old, &found->entry, touch))
			return TOUCH_FROZEN;
		/* Before, lest a kill in between hides it from sweeps; and
		   after, lest a sweep in between does. */
		note_expiry(call, &found->entry, touch->expires_ms);
		if (shm_cas64(word, old, touch->expires_ms << 1)) {
			note_expiry(call, &found->entry, touch->expires_ms);
			return 0;
		}
	}
}

/* In place, as long as nobody has frozen the entry. */
static int
touch_in_place(
    const struct call *call, const struct key *key, struct touch *touch)
{
	struct found found;
	int error;

	if (!index_find(call, key, SHM_PIN_ENTRY, &found))
		return SHMCACHE_ENOENT;
	error = touch_found(call, &found, touch);
	if (error == 0 && touch->sink != NULL) {
		sink_copy(touch->sink, &touch->facts);
		entry_mark(call->m, found.entry.shared);
	}
	shm_pin_clear(call->peer, SHM_PIN_ENTRY);
	return error;
}

static int
touch(const struct call *call, const struct key *key, struct touch *touch)
{
	int error = touch_in_place(call, key, touch);

	if (error == TOUCH_FROZEN)
		error = update_entry(
		    call, key, SHMCACHE_REQUEST_TOUCH, make_touched, touch);
	else if (error != SHMCACHE_EBUFFER)
		record(call, key, SHMCACHE_REQUEST_TOUCH, 0, touch->expires_ms);
	if (error != SHMCACHE_EBUFFER)
		stats_count(call->peer,
		    error == 0 ? COUNT_touches : COUNT_touch_misses);
	return error;
}

int
shmcache_touch(struct shmcache *cache, const void *key_data, size_t key_bytes,
    int64_t ttl_ms)
{
	struct touch t = { .sink = NULL };
	struct call call;
	struct key key;
	int error =
	    index_enter(cache, CALL_WRITES, key_data, key_bytes, &call, &key);

	if (error != 0)
		return error_return(error);
	error = write_expiry(call.m, ttl_ms, &t.expires_ms);
	if (error == 0)
		error = touch(&call, &key, &t);
	call_leave();
	return error_return(error);
}

int
shmcache_get_and_touch(struct shmcache *cache, const void *key_data,
    size_t key_bytes, int64_t ttl_ms, void *buffer, size_t buffer_bytes,
    size_t *value_bytes_out, uint32_t *client_flags_out)
{
	const struct sink sink = { .buffer = buffer,
		.buffer_bytes = buffer_bytes,
		.value_bytes_out = value_bytes_out,
		.client_flags_out = client_flags_out };
	struct touch t = { .sink = &sink };
	struct call call;
	struct key key;
	int error = !sink_is_valid(&sink)
			? -EINVAL
			: index_enter(cache, CALL_WRITES, key_data, key_bytes,
			      &call, &key);

	if (error != 0)
		return error_return(error);
	error = write_expiry(call.m, ttl_ms, &t.expires_ms);
	if (error == 0)
		error = touch(&call, &key, &t);
	if (error == 0)
		record(&call, &key, SHMCACHE_REQUEST_GET, t.facts.value_bytes,
		    t.expires_ms);
	else if (error == SHMCACHE_ENOENT)
		record_get(&call, &key, NULL);
	if (error == 0 || error == SHMCACHE_ENOENT)
		stats_count(
		    call.peer, error == 0 ? COUNT_get_hits : COUNT_get_misses);
	call_leave();
	if (error == 0 || error == SHMCACHE_EBUFFER)
		error = sink_tell(&sink, &t.facts);
	return error_return(error);
}

int
shmcache_expire_at(struct shmcache *cache, const void *key_data,
    size_t key_bytes, int64_t unix_ms)
{
	struct timespec wall;
	int64_t now_ms;

	if (unix_ms < 0)
		return error_return(-EINVAL);
	(void)clock_gettime(CLOCK_REALTIME, &wall);
	now_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000;
	return unix_ms <= now_ms ? shmcache_delete(cache, key_data, key_bytes)
				 : shmcache_touch(cache, key_data, key_bytes,
				       unix_ms - now_ms);
}
