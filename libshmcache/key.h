/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * key.h - index_key() and index_enter() in place, for the calls made most often
 */
#ifndef LIBSHMCACHE_KEY_H
#define LIBSHMCACHE_KEY_H

#define XXH_INLINE_ALL /* for xxhash.h */
#include "libshmcache/index.h"

#include <xxhash.h>

/* XXH3 of any length. */
uint64_t key_hash(const struct mapping *m, const void *data, size_t bytes);

/* Of 9 to 16 bytes it is a few instructions. */
SHM_INLINE uint64_t
key_hash_here(const struct mapping *m, const void *data, size_t bytes)
{
	return __builtin_expect(bytes >= 9 && bytes <= 16, 1)
		   ? XXH3_64bits_withSecret(
			 data, bytes, m->secret, CACHE_SECRET_BYTES)
		   : key_hash(m, data, bytes);
}

/* All but its second bucket, which few gets need. */
SHM_INLINE void
key_begin(const struct mapping *m, const void *data, size_t bytes,
    struct key *key_out)
{
	uint64_t hash = key_hash_here(m, data, bytes);
	uint64_t home = ((hash >> 32) * m->bucket_count) >> 32;

	key_out->data = data;
	key_out->bytes = (uint32_t)bytes;
	key_out->hash = hash;
	key_out->tag = (hash & 0xfff) << INDEX_TAG_SHIFT;
	key_out->first[0] = home * INDEX_BUCKET_SLOTS;
}

SHM_INLINE void
key_make(const struct mapping *m, const void *data, size_t bytes,
    struct key *key_out)
{
	key_begin(m, data, bytes, key_out);
	key_out->first[1] = index_second_bucket(m, key_out);
}

#endif /* LIBSHMCACHE_KEY_H */
