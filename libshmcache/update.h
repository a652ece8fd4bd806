/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * update.h - writing an entry that depends on the one that the key has
 *
 * add, replace, cas, append, prepend, an increment or a touch that cannot go in
 * place: each makes a new entry from the old one (or from its absence) and puts
 * it in its place by one CAS.
 *
 *   1  look: find the entry, judge it as it is, make the new content; this
 *      gives an error at once, or the bytes that are needed and where (place.h)
 *   2  reserve them, with nothing else pinned (evict.h)
 *   3  find the entry again, freeze it (entry.h), judge it and make the content
 *      from what it is now; if that needs other room, start again at 2
 *   4  write it, and CAS the slot from the old word (with none: insert it as
 *      new only); if that fails, start again at 2
 *
 * The old entry stays pinned from 3 to the end of 4, so its bytes may be copied
 * from, and its word cannot come to mean another entry.  Frozen before it is
 * read, it can lose no touch and no increment that was acknowledged.
 *
 * Killed after 2: a hole; in 4 before the CAS: a dead entry, and an old one that
 * is frozen, which does no harm; after it: done.
 *
 * Progress: lock-free, as each restart means that another's write of the key
 * succeeded; inserting as new as in index.h.
 */
#ifndef LIBSHMCACHE_UPDATE_H
#define LIBSHMCACHE_UPDATE_H

#include "libshmcache/index.h"
#include "libshmcache/shmcache_admin.h"

struct update;

/*
 * Make `content`, which is that of `old` (or, if that is NULL, empty but for key
 * and seq), the one to store.  Called several times; the last call counts.
 * Returns 0, or what update_entry() is to return, if nothing is to be stored.
 */
typedef int update_make(const struct update *update, const struct entry *old,
    struct entry_content *content);

struct update {
	const struct call *call;
	const struct key *key;
	enum shmcache_request_op op; /* what it is recorded as (record.h) */
	uint64_t seq;                /* when the call began */
	update_make *make;
	void *context; /* of `make` */
};

/* Errors: what `make` returns, SHMCACHE_ETOOBIG, EBUSY, ECORRUPT. */
int update_entry(const struct call *call, const struct key *key,
    enum shmcache_request_op op, update_make *make, void *context);

#endif /* LIBSHMCACHE_UPDATE_H */
