/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* read.h - the get of one key, within a call (api_read.c) */
#ifndef LIBSHMCACHE_READ_H
#define LIBSHMCACHE_READ_H

#include "libshmcache/index.h"
#include "libshmcache/sink.h"

/* 0, SHMCACHE_ENOENT, EBUFFER, or EBUSY (without a peer). */
int read_key(
    const struct call *call, const struct key *key, const struct sink *sink);

/*
 * Copying without a pin (edge U): before, what is copied is named; after, it is
 * known whether the copy is one of what was there all the time.
 */
struct unpinned {
	uint64_t slot;
	uint64_t word;
	uint64_t offset; /* of the entry */
	struct shm_extent extent;
};

/* What the slot names now; false: nothing that is final. */
bool unpinned_begin(const struct mapping *m, uint64_t slot, struct unpinned *u);

/* Is the copy good? */
bool unpinned_end(const struct mapping *m, const struct unpinned *u);

#endif /* LIBSHMCACHE_READ_H */
