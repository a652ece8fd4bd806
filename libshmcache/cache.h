/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cache.h - handles, and what every call does first and last
 *
 * A handle names a cache; its mapping is an RCU-protected pointer (liburcu, bp
 * flavour, for threads that nobody registers).  A call enters, which gives it
 * the mapping and the calling thread's peer, and leaves:
 *
 *   entered once   a flag of the thread: a call from a signal handler within
 *                  another call is EDEADLK
 *   forked         a page that fork() wipes tells that this is a child in which
 *                  no fork handler ran; the handles are opened anew
 *   mapping        rcu_read_lock, rcu_dereference; held until leaving
 *   removed        a cache that was removed is left, see below
 *   peer           cached for the thread's last segment; else looked up, else
 *                  claimed, under the lock
 *
 * Leaving a removed cache.  Whoever enters and sees it (its flush word is at its
 * maximum) unpublishes the mapping, waits for a grace period of liburcu, and
 * unmaps it, unless items are pinned in it: then the last unpin does.  From then
 * on the handle has no mapping; reads miss, and now and then a call looks whether
 * there is a cache of that name again.
 *
 * One lock of the process guards the list of handles, attaching, detaching, and
 * claiming and releasing of peers.  fork() takes it (after liburcu's own), so
 * that no child is born with half an attachment.  Nothing that holds it waits
 * for a grace period.
 */
#ifndef LIBSHMCACHE_CACHE_H
#define LIBSHMCACHE_CACHE_H

#include "libshmcache/mapping.h"
#include "shm/peer.h"

#include <stdbool.h>

struct shmcache {
	struct mapping *mapping; /* RCU; NULL: `error` says why */
	uint32_t error;          /* negated; atomic, as the next */
	uint64_t retry_at_ms;    /* when to attach, if there is no mapping */
	struct mapping *left;    /* of removed caches, not unmapped yet */
	struct shm_access access;
	struct shmcache *next;
	char path[];
};

struct call {
	struct mapping *m;
	struct shm_peer *peer; /* NULL if no slot is free and none is needed */
};

enum call_needs {
	CALL_READS,  /* a peer if there is one; a removed cache is a miss */
	CALL_SCANS,  /* a peer if there is one */
	CALL_WRITES, /* a peer */
	CALL_LOOKS   /* no peer */
};

/*
 * Enter.  0: leave with call_leave().  Errors: SHMCACHE_EDEADLK, EPEERS,
 * EREADONLY, EREMOVED (ENOENT for who reads), and what kept a forked child from
 * attaching.
 */
int call_enter(
    struct shmcache *cache, enum call_needs needs, struct call *call);
void call_leave(void);

/* Mark the thread as being in the library, where no mapping is needed. */
bool call_begin(void);
void call_end(void);

/*
 * Give an item's pin back, whichever of the handle's mappings it is of; where it
 * is the last one of a removed cache or of a thread that has ended, free what was
 * kept for it.  Within call_begin().  Errors: SHMCACHE_ESTALE.
 */
int cache_unhold(struct shmcache *cache, uint64_t attachment_id,
    struct shm_peer *peer, uint32_t pin);

#endif /* LIBSHMCACHE_CACHE_H */
