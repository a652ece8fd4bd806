/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* api_write.c - public calls that change entries */
#include "libshmcache/error.h"
#include "libshmcache/evict.h"
#include "libshmcache/expire.h"
#include "libshmcache/index.h"
#include "libshmcache/stats.h"
#include "shm/error.h"
#include "shm/pin.h"

#include <errno.h>

/* No time to live is longer: 2^62 ms. */
#define EXPIRY_MAX_MS (1ull << 62)

static int
to_expiry(const struct mapping *m, int64_t ttl_ms, uint64_t *expires_ms_out)
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

/* Gives the target back, and does what its writer owes the others. */
static void
finish_write(const struct call *call, const struct shm_place *place)
{
	shm_pin_clear(call->peer, SHM_PIN_TARGET);
	if (place->installed)
		(void)evict_fill_reserve(call);
}

static int
store(const struct call *call, const struct key *key,
    const struct entry_content *content)
{
	struct shm_place place;
	bool replaced;
	int error = evict_reserve(call, entry_bytes(content), &place);

	if (error != 0)
		return error;
	entry_write(call->m, &place, content);
	replaced = index_put(call, key, index_word(key, &place));
	stats_count(call->peer, COUNT_sets);
	stats_count(call->peer, replaced ? COUNT_replaces : COUNT_inserts);
	stats_add(call->peer, COUNT_written_bytes, place.bytes);
	finish_write(call, &place);
	return 0;
}

static int
check_size(const struct mapping *m, size_t key_bytes, size_t value_bytes)
{
	if (value_bytes <= m->max_entry_bytes &&
	    key_bytes + value_bytes <= m->max_entry_bytes)
		return 0;
	return shm_error_note(SHMCACHE_ETOOBIG,
	    "key and value have %zu bytes; the cache allows %llu",
	    key_bytes + value_bytes, (unsigned long long)m->max_entry_bytes);
}

int
shmcache_set(struct shmcache *cache, const void *key_data, size_t key_bytes,
    const void *value, size_t value_bytes, int64_t ttl_ms,
    uint32_t client_flags)
{
	struct entry_content content = { .key = key_data,
		.value = value,
		.key_bytes = (uint32_t)key_bytes,
		.value_bytes = (uint32_t)value_bytes,
		.client_flags = client_flags };
	struct call call;
	struct key key;
	int error = value == NULL && value_bytes > 0
			? -EINVAL
			: index_enter(cache, CALL_WRITES, key_data, key_bytes,
			      &call, &key);

	if (error != 0)
		return error_return(error);
	content.seq = shm_load64_acquire(&call.m->shared->seq);
	error = check_size(call.m, key_bytes, value_bytes);
	if (error == 0)
		error = to_expiry(call.m, ttl_ms, &content.expires_ms);
	if (error == 0)
		error = store(&call, &key, &content);
	if (error != 0)
		stats_count(call.peer, COUNT_set_failures);
	call_leave();
	return error_return(error);
}

static int
unlink_key(const struct call *call, const struct key *key)
{
	struct found found;

	while (index_find(call, key, SHM_PIN_ENTRY, &found)) {
		bool readable = entry_valid(call->m, &found.entry);
		bool won = index_swap(call, &found, 0);

		shm_pin_clear(call->peer, SHM_PIN_ENTRY);
		if (won)
			return readable ? 0 : SHMCACHE_ENOENT;
	}
	return SHMCACHE_ENOENT;
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
	error = unlink_key(&call, &key);
	stats_count(
	    call.peer, error == 0 ? COUNT_deletes : COUNT_delete_misses);
	call_leave();
	return error_return(error);
}

enum touched {
	TOUCHED,
	TOUCH_MISSED,
	TOUCH_FROZEN /* somebody carries the entry on: go by replacing */
};

static void
note_expiry(
    const struct call *call, const struct entry *entry, uint64_t expires_ms)
{
	struct shm_segment *segment = call->m->segment;

	if (expires_ms != 0)
		shm_arena_lower_hint(segment, entry->extent,
		    shm_arena_state(segment, entry->extent).generation,
		    expires_ms);
}

/* In place, as long as nobody has frozen the entry. */
static enum touched
touch_in_place(const struct call *call, const struct key *key,
    uint64_t expires_ms, uint32_t *bytes_out)
{
	enum touched result = TOUCH_FROZEN;
	struct found found;

	if (!index_find(call, key, SHM_PIN_ENTRY, &found))
		return TOUCH_MISSED;
	for (;;) {
		uint64_t *word = &found.entry.shared->expiry;
		uint64_t old = shm_load64(word);

		if (expire_found(call, &found, COUNT_expired_on_read)) {
			result = TOUCH_MISSED;
			break;
		}
		if ((old & ENTRY_FROZEN) != 0)
			break;
		/* Before, lest a kill in between hides it from sweeps; and
		   after, lest a sweep in between does. */
		note_expiry(call, &found.entry, expires_ms);
		if (shm_cas64(word, old, expires_ms << 1)) {
			note_expiry(call, &found.entry, expires_ms);
			result = TOUCHED;
			break;
		}
	}
	*bytes_out = found.entry.bytes;
	shm_pin_clear(call->peer, SHM_PIN_ENTRY);
	return result;
}

/*
 * Writes the found entry anew with another expiry, to a place reserved for
 * `place->bytes`.  False: it needs other room, or has changed; nothing is left.
 */
static bool
replace_expiry(const struct call *call, const struct key *key,
    const struct found *found, const struct shm_place *place,
    uint64_t expires_ms)
{
	struct entry_content content;

	entry_carry(call->m, &found->entry, &content);
	content.expires_ms = expires_ms;
	if (entry_bytes(&content) != place->bytes)
		return false;
	entry_write(call->m, place, &content);
	if (index_swap(call, found, index_word(key, place)))
		return true;
	shm_arena_account(call->m->segment, place->extent, place->generation,
	    -(int64_t)place->bytes);
	return false;
}

/* The entry is not pinned while room is made for its successor. */
static int
touch_by_replacing(const struct call *call, const struct key *key,
    uint64_t expires_ms, uint32_t bytes)
{
	for (;;) {
		struct shm_place place;
		struct entry_content content;
		struct found found;
		int error = evict_reserve(call, bytes, &place);
		bool done = false;

		if (error != 0)
			return error;
		if (!index_find(call, key, SHM_PIN_ENTRY, &found)) {
			error = SHMCACHE_ENOENT;
		} else {
			if (expire_found(call, &found, COUNT_expired_on_read))
				error = SHMCACHE_ENOENT;
			else
				done = replace_expiry(
				    call, key, &found, &place, expires_ms);
			entry_carry(call->m, &found.entry, &content);
			bytes = entry_bytes(&content);
			shm_pin_clear(call->peer, SHM_PIN_ENTRY);
		}
		finish_write(call, &place);
		if (done || error != 0)
			return error;
	}
}

static int
touch(const struct call *call, const struct key *key, int64_t ttl_ms)
{
	uint64_t expires_ms;
	uint32_t bytes;
	int error = to_expiry(call->m, ttl_ms, &expires_ms);

	if (error != 0)
		return error;
	switch (touch_in_place(call, key, expires_ms, &bytes)) {
	case TOUCHED:
		return 0;
	case TOUCH_FROZEN:
		return touch_by_replacing(call, key, expires_ms, bytes);
	default:
		return SHMCACHE_ENOENT;
	}
}

int
shmcache_touch(struct shmcache *cache, const void *key_data, size_t key_bytes,
    int64_t ttl_ms)
{
	struct call call;
	struct key key;
	int error =
	    index_enter(cache, CALL_WRITES, key_data, key_bytes, &call, &key);

	if (error != 0)
		return error_return(error);
	error = touch(&call, &key, ttl_ms);
	stats_count(call.peer, error == 0 ? COUNT_touches : COUNT_touch_misses);
	call_leave();
	return error_return(error);
}

int
shmcache_flush(struct shmcache *cache)
{
	struct call call;
	uint64_t seq;
	int error = call_enter(cache, CALL_WRITES, &call);

	if (error != 0)
		return error_return(error);
	seq = shm_faa64(&call.m->shared->seq, 1) + 1;
	for (;;) {
		uint64_t flush = shm_load64(&call.m->shared->flush);

		if (flush >= seq ||
		    shm_cas64(&call.m->shared->flush, flush, seq))
			break;
	}
	stats_count(call.peer, COUNT_flushes);
	call_leave();
	return 0;
}
