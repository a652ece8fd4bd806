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
 *   recorded       this call is to be recorded (record.h)
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
 * that no child is born with half an attachment, and after it those of the
 * watchers (watch.h).  Nothing that holds it waits for a grace period.
 */
#ifndef LIBSHMCACHE_CACHE_H
#define LIBSHMCACHE_CACHE_H

#include "libshmcache/mapping.h"
#include "shm/atomic.h"
#include "shm/peer.h"

#include <stdbool.h>
#include <urcu/urcu-bp.h>

struct shmcache {
	struct mapping *mapping; /* RCU; NULL: `error` says why */
	uint32_t error; /* negated; atomic, as the next; never 0, lest who saw
			   no mapping goes on when another has attached */
	uint64_t retry_at_ms; /* when to attach, if there is no mapping */
	struct mapping *left; /* of removed caches, not unmapped yet */
	struct shm_access access;
	struct shmcache *next;
	struct watcher *watcher; /* watch.h; set once, under the lock */
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

/* The process's lock.  Its holder is not cancelled; returns what to drop it
   with. */
int cache_take_lock(void);
void cache_drop_lock(int cancel_state);

/* As call_begin(), for what concerns the handle and no mapping; to be ended by
   call_end().  0, or SHMCACHE_EDEADLK. */
int cache_begin(void);

/* What the library keeps for a thread. */
struct thread {
	bool inside;
	uint64_t attachment_id; /* the last one used, and its peer */
	struct shm_peer *peer;
	struct thread_peer *peers;
};

extern __thread struct thread cache_thread
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* A page of its own that reads 1, and in a forked child 0. */
extern uint32_t *cache_not_forked __attribute__((visibility("hidden")));

enum { FORKED = 0, NOT_FORKED = 1, RECOVERING = 2 };

/* The address of a thread's variable is an addition, which gcc takes for the test
   of a null pointer; the linker makes it an instruction that sets no flags. */
#define CACHE_NO_NULL_CHECK __attribute__((no_sanitize("undefined")))

/* Mark the thread as being in the library, where no mapping is needed. */
CACHE_NO_NULL_CHECK static inline bool
call_begin(void)
{
	if (__builtin_expect(cache_thread.inside, 0))
		return false;
	cache_thread.inside = true;
	shm_barrier();
	return true;
}

CACHE_NO_NULL_CHECK static inline void
call_end(void)
{
	shm_barrier();
	cache_thread.inside = false;
}

/*
 * The RCU of the process.  ThreadSanitizer sees nothing of liburcu, so its build
 * gets the same edges once more: what was done before the pointer was published
 * or before a section was left, against what is done in a section or after a
 * grace period.
 */
static inline struct mapping *
call_mapping(struct shmcache *cache)
{
#if SHM_ATOMIC_BUILTINS
	return shm_load_pointer_acquire((void *)&cache->mapping);
#else
	return rcu_dereference(cache->mapping);
#endif
}

#if defined(_LGPL_SOURCE)

/* urcu_bp_read_lock() and unlock() for a thread that is registered and in no
   other section, with one look at what liburcu keeps for it: in a shared
   library each look is a call. */
SHM_INLINE void
call_lock(void)
{
	struct urcu_bp_reader *reader = URCU_TLS(urcu_bp_reader);

	if (__builtin_expect(
		reader == NULL || (reader->ctr & URCU_BP_GP_CTR_NEST_MASK) != 0,
		0)) {
		urcu_bp_read_lock();
	} else {
		shm_barrier();
		_CMM_STORE_SHARED(
		    reader->ctr, _CMM_LOAD_SHARED(urcu_bp_gp.ctr));
		urcu_bp_smp_mb_slave();
	}
}

SHM_INLINE void
call_unlock(void)
{
	struct urcu_bp_reader *reader = URCU_TLS(urcu_bp_reader);

	/* (A release is all that leaving needs, with membarrier() or without.) */
	shm_store64_release(&reader->ctr, reader->ctr - URCU_BP_GP_COUNT);
	shm_barrier();
}

#else

static inline void
call_lock(void)
{
	urcu_bp_read_lock();
}

static inline void
call_unlock(void)
{
#if SHM_ATOMIC_BUILTINS
	shm_fence();
#endif
	urcu_bp_read_unlock();
}

#endif

/* The rest of call_enter(), after call_begin(). */
int call_enter_slowly(
    struct shmcache *cache, enum call_needs needs, struct call *call);

/* Within a read section: is nothing left to do but to go on with the thread's
   last peer?  (One of that attachment: so it is not for reading only.) */
SHM_INLINE bool
call_is_plain(const struct mapping *m, enum call_needs needs)
{
	return m != NULL && cache_thread.attachment_id == m->attachment_id &&
	       needs != CALL_LOOKS && mapping_undisturbed(m);
}

/*
 * Enter.  0: leave with call_leave().  Errors: SHMCACHE_EDEADLK, EPEERS,
 * EREADONLY, EREMOVED (ENOENT for who reads), and what kept a forked child from
 * attaching.
 */
SHM_INLINE int
call_enter(struct shmcache *cache, enum call_needs needs, struct call *call)
{
	struct call slow;
	int error;

	if (!call_begin())
		return SHMCACHE_EDEADLK;
	if (__builtin_expect(shm_load32(cache_not_forked) == NOT_FORKED, 1)) {
		call_lock();
		call->m = call_mapping(cache);
		call->peer = cache_thread.peer;
		if (__builtin_expect(call_is_plain(call->m, needs), 1))
			return 0;
		call_unlock();
	}
	/* (Lest the caller's `call` must be in memory.) */
	error = call_enter_slowly(cache, needs, &slow);
	*call = slow;
	return error;
}

static inline void
call_leave(void)
{
	call_unlock();
	call_end();
}

/* Is this owner of a word (owner.h) the calling thread, by another handle of the
   same cache?  Within a call. */
bool cache_is_own_peer(const struct call *call, uint64_t owner);

/*
 * Give an item's pin back, whichever of the handle's mappings it is of; where it
 * is the last one of a removed cache or of a thread that has ended, free what was
 * kept for it.  Within call_begin().  Errors: SHMCACHE_ESTALE.
 */
int cache_unhold(struct shmcache *cache, uint64_t attachment_id,
    struct shm_peer *peer, uint32_t pin);

#endif /* LIBSHMCACHE_CACHE_H */
