/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* write.h - what all calls that store have in common */
#ifndef LIBSHMCACHE_WRITE_H
#define LIBSHMCACHE_WRITE_H

#include "libshmcache/index.h"

/* What a call is given to store under a key. */
struct write_given {
	const void *data;
	size_t bytes;
	int64_t ttl_ms;
	uint32_t client_flags;
	uint32_t tag_count;
	const uint32_t *tags;                     /* hashes */
	const struct shmcache_snapshot *snapshot; /* NULL: none, it's new */
};

/*
 * The content of an entry with what is given, checked.  `seq` is that of the
 * call's start.  Errors: -EINVAL, SHMCACHE_ETOOBIG; ESTALE (the snapshot is older
 * than the invalidation of what the entry would belong to).
 */
int write_content(const struct mapping *m, const struct key *key,
    const struct write_given *given, uint64_t seq,
    struct entry_content *content_out);

/* When an entry with this time to live expires; -EINVAL. */
int write_expiry(
    const struct mapping *m, int64_t ttl_ms, uint64_t *expires_ms_out);

/* SHMCACHE_ETOOBIG if key and value are larger than the cache allows. */
int write_check_size(
    const struct mapping *m, uint64_t key_bytes, uint64_t value_bytes);

/* Gives the target back, and does what its writer owes the others. */
void write_finish(const struct call *call, const struct shm_place *place);

/* What was written there finds no slot in the index: SHMCACHE_EFULL. */
int write_window_full(const struct call *call, const struct shm_place *place);

/* Write the entry, and put it in the place of what the key has; of a fill, if its
   token is still good (SHMCACHE_ESTALE).  Errors: EBUSY, ECORRUPT. */
int write_store(const struct call *call, const struct key *key,
    struct entry_content *content, const struct token *token);

/* The set of one key, within a call. */
int write_set(const struct call *call, const struct key *key,
    const struct write_given *given);

/* The delete of one key, within a call. */
int write_delete(const struct call *call, const struct key *key);

#endif /* LIBSHMCACHE_WRITE_H */
