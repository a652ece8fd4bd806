/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * owner.h - a word of the segment that somebody holds, and whether he lives
 *
 *   63..52          51..36 | 35..24        23..22   21..0
 *   incarnation  peer slot | fingerprint   state    seq
 *
 * Every change is one CAS and adds one to seq, so that the low half is another:
 * sleepers sleep on that (shm/futex.h).
 *
 * The owner has gone when the peer slot's claim is another incarnation's, or not
 * live, or its process is dead by the kernel's word (shm/peer.h).  A thread that
 * ends is gone, as a process that is killed; one that is stopped is not.  So is one
 * whose handle is closed: a thread has a peer of each handle that it uses, and what
 * it holds by one is its own for the others too.
 *
 * Wrap: 4,096 threads later a slot's owner looks like that one again, and what
 * it left behind is taken to be held, until its deadline if it has one.
 */
#ifndef LIBSHMCACHE_OWNER_H
#define LIBSHMCACHE_OWNER_H

#include "libshmcache/cache.h"
#include "shm/peer.h"

#include <stdbool.h>
#include <stdint.h>

#define WORD_SEQ         ((1ull << 22) - 1)
#define WORD_STATE_SHIFT 22u
#define WORD_STATE       (3ull << WORD_STATE_SHIFT)
#define WORD_PRINT_SHIFT 24u
#define WORD_PRINT       (0xfffull << WORD_PRINT_SHIFT)
#define WORD_OWNER_SHIFT 36u

/* What follows `word`. */
static inline uint64_t
word_next(uint64_t word, uint64_t state, uint64_t print, uint64_t owner)
{
	return owner << WORD_OWNER_SHIFT | print | state |
	       ((word + 1) & WORD_SEQ);
}

static inline uint64_t
word_owner(uint64_t word)
{
	return word >> WORD_OWNER_SHIFT;
}

static inline uint64_t
owner_make(uint32_t slot, uint64_t claim)
{
	return (uint64_t)(shm_claim_incarnation(claim) & 0xfff) << 16 | slot;
}

static inline uint64_t
owner_of(const struct shm_peer *peer)
{
	return owner_make(shm_peer_slot(peer), peer->claim);
}

static inline uint64_t
owner_self(const struct call *call)
{
	return owner_of(call->peer);
}

/* Is it this thread, by this handle or another of the cache? */
static inline bool
owner_is_self(const struct call *call, uint64_t owner)
{
	return owner == owner_self(call) || cache_is_own_peer(call, owner);
}

/* `fresh`: ask the kernel, also if it was alive a moment ago. */
static inline bool
owner_gone(const struct call *call, uint64_t owner, bool fresh)
{
	struct shm_segment *segment = call->m->segment;
	uint32_t slot = owner & 0xffff;
	uint64_t claim;

	if (slot >= segment->geometry.request.peer_count)
		return true; /* damage */
	claim = shm_load64_acquire(&shm_peer_table(segment)[slot].claim);
	return shm_claim_state(claim) != SHM_CLAIM_LIVE ||
	       owner_make(slot, claim) != owner ||
	       shm_peer_dead(segment, claim, fresh);
}

/* Of those who wait for one word, one in so many milliseconds asks the kernel for
   all; `looked` lies beside the word, and says when that was.  A plain store:
   two may ask, or one who was stopped be thought to have. */
#define OWNER_LOOK_MS 3u

/* As owner_gone(), for who waits. */
static inline bool
owner_gone_for_waiter(
    const struct call *call, uint64_t owner, bool fresh, uint32_t *looked)
{
	uint32_t now_ms = (uint32_t)mapping_now_ms(call->m);

	if (fresh && now_ms - shm_load32(looked) < OWNER_LOOK_MS)
		fresh = false;
	else if (fresh)
		shm_store32(looked, now_ms);
	return owner_gone(call, owner, fresh);
}

#endif /* LIBSHMCACHE_OWNER_H */
