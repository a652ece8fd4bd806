/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scan.h - walking the index, slot by slot
 *
 * Entries never move between slots, and replacing or copying one keeps its slot;
 * so a walk over all slots sees whatever is there throughout.  What a slot names
 * is copied to private memory and let go before anybody is shown it: with a peer
 * under a pin; without one as in read.h, again and again until a copy is good.
 *
 * A cursor is {identity of the segment 28, slot 36}, so it works in another
 * process, and one of another cache is noticed.
 */
#ifndef LIBSHMCACHE_SCAN_H
#define LIBSHMCACHE_SCAN_H

#include "libshmcache/index.h"

/* A copy of an entry, in a buffer that is used again. */
struct scan_copy {
	struct shmcache_entry entry;
	uint8_t *buffer; /* from malloc(); key, then value */
	size_t room;
};

/* 1: the slot named an entry that may be read, copied; 0: it did not; -ENOMEM. */
int scan_copy_slot(const struct call *call, uint64_t slot, bool values,
    struct scan_copy *copy);

/* Which keys are meant. */
struct scan_filter {
	const uint8_t *prefix;
	size_t prefix_bytes;
	const uint8_t *glob; /* valid; NULL: none */
	size_t glob_bytes;
};

bool scan_matches(
    const struct scan_filter *filter, const void *key, size_t key_bytes);

#endif /* LIBSHMCACHE_SCAN_H */
