/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * api_multi.c - public calls for many keys
 *
 * Gets go in groups: first the buckets of all keys of a group are asked for,
 * then the entries that their tags point to, then each key is looked up as by a
 * single get.  So the waits for memory overlap.  (Group prefetching: Chen,
 * Ailamaki, Gibbons and Mowry 2004.)  What is prefetched is a hint: it is
 * neither pinned nor believed.
 */
#include "libshmcache/error.h"
#include "libshmcache/key.h"
#include "libshmcache/read.h"
#include "libshmcache/write.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

/* Keys at a time: more than the lines that a core can wait for at once (10 to
   16), few enough to stay in its first cache. */
#define GROUP 16u

SHM_INLINE void
prefetch_bucket(const struct mapping *m, const struct key *key)
{
	__builtin_prefetch(&m->slots[key->first[0]]);
	__builtin_prefetch(&m->slots[key->first[1]]);
}

/* The first words of the entry that the key's tag points to, and the line behind
   them, where a small value ends. */
SHM_INLINE void
prefetch_entry(const struct mapping *m, const struct key *key)
{
	uint64_t slot = index_look(m, key);
	const uint8_t *at;

	if (slot == UINT64_MAX)
		return;
	at = m->base +
	     (shm_load64(&m->slots[slot]) & INDEX_ADDRESS) * SHM_UNIT_BYTES;
	__builtin_prefetch(at);
	__builtin_prefetch(at + SHM_CACHE_LINE);
}

/* Looks a group up; returns how many were found. */
static __attribute__((flatten)) int
get_group(const struct call *call, struct shmcache_get_request *requests,
    size_t count)
{
	struct key keys[GROUP];
	int found = 0;

	for (size_t i = 0; i < count; i++) {
		struct shmcache_get_request *r = &requests[i];

		r->result = !index_is_key(r->key, r->key_bytes) ? SHMCACHE_EKEY
			    : r->buffer == NULL && r->buffer_bytes > 0 ? -EINVAL
								       : 0;
		if (r->result != 0)
			continue;
		key_make(call->m, r->key, r->key_bytes, &keys[i]);
		prefetch_bucket(call->m, &keys[i]);
	}
	for (size_t i = 0; i < count; i++)
		if (requests[i].result == 0)
			prefetch_entry(call->m, &keys[i]);
	for (size_t i = 0; i < count; i++) {
		struct shmcache_get_request *r = &requests[i];
		const struct sink sink = { .buffer = r->buffer,
			.buffer_bytes = r->buffer_bytes,
			.value_bytes_out = &r->value_bytes,
			.client_flags_out = &r->client_flags,
			.version_out = &r->version };

		if (r->result == 0)
			r->result = read_key(call, &keys[i], &sink);
		found += r->result == 0;
	}
	return found;
}

/*
 * Enter for all of them.  What keeps them from being tried is the result of each:
 * an int, `result_at` bytes into each of the requests, `stride` bytes apart.
 */
static int
enter_for_all(struct shmcache *cache, enum call_needs needs, void *requests,
    size_t count, size_t stride, size_t result_at, struct call *call)
{
	int error;

	if ((requests == NULL && count > 0) || count > INT_MAX)
		return -EINVAL;
	error = call_enter(cache, needs, call);
	for (size_t i = 0; i < count && error != 0; i++)
		memcpy((uint8_t *)requests + i * stride + result_at, &error,
		    sizeof(error));
	return error;
}

#define ENTER_FOR_ALL(cache, needs, requests, count, call)                     \
	enter_for_all(cache, needs, requests, count, sizeof((requests)[0]),    \
	    offsetof(__typeof__((requests)[0]), result), call)

int
shmcache_multi_get(
    struct shmcache *cache, struct shmcache_get_request *requests, size_t count)
{
	struct call call;
	int found = 0;
	int error = ENTER_FOR_ALL(cache, CALL_READS, requests, count, &call);

	if (error != 0)
		return error == SHMCACHE_ENOENT ? 0 : error_return(error);
	for (size_t i = 0; i < count; i += GROUP)
		found += get_group(
		    &call, &requests[i], count - i < GROUP ? count - i : GROUP);
	call_leave();
	return found;
}

int
shmcache_multi_set(
    struct shmcache *cache, struct shmcache_set_request *requests, size_t count)
{
	struct call call;
	int stored = 0;
	int error = ENTER_FOR_ALL(cache, CALL_WRITES, requests, count, &call);

	if (error != 0)
		return error_return(error);
	for (size_t i = 0; i < count; i++) {
		struct shmcache_set_request *r = &requests[i];
		const struct write_given given = { .data = r->value,
			.bytes = r->value_bytes,
			.ttl_ms = r->ttl_ms,
			.client_flags = r->client_flags };
		struct key key;

		r->result = SHMCACHE_EKEY;
		if (index_is_key(r->key, r->key_bytes)) {
			index_key(call.m, r->key, r->key_bytes, &key);
			r->result = write_set(&call, &key, &given);
		}
		stored += r->result == 0;
	}
	call_leave();
	return stored;
}

int
shmcache_multi_delete(struct shmcache *cache,
    struct shmcache_delete_request *requests, size_t count)
{
	struct call call;
	int deleted = 0;
	int error = ENTER_FOR_ALL(cache, CALL_WRITES, requests, count, &call);

	if (error != 0)
		return error_return(error);
	for (size_t i = 0; i < count; i++) {
		struct shmcache_delete_request *r = &requests[i];
		struct key key;

		r->result = SHMCACHE_EKEY;
		if (index_is_key(r->key, r->key_bytes)) {
			index_key(call.m, r->key, r->key_bytes, &key);
			r->result = write_delete(&call, &key);
		}
		deleted += r->result == 0;
	}
	call_leave();
	return deleted;
}
