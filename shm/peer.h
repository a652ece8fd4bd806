/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * peer.h - who is attached, and who is still alive
 *
 * A process owns a process slot, each of its attached threads a peer slot.
 *
 * Liveness.  A process slot is owned by who holds an open-file-description lock
 * on the slot's byte, far beyond the file's end.  The data is mapped through
 * the very description that carries the lock, and the descriptor is closed: the
 * mapping alone keeps the lock.  So the kernel drops the lock exactly when the
 * process can no longer touch the segment (exit, SIGKILL, exec), and not when
 * it closes descriptors, is stopped, or leaves a zombie.  A forked child does
 * not keep it: the mapping is MADV_DONTFORK.  Lock free = dead, whatever the
 * pid namespace.
 *
 * The claim word of a peer slot, changed by one CAS:
 *
 *            claim: FREE,inc -> LIVE,inc+1 {process, its generation}
 *      FREE ------------------------------------------------> LIVE
 *        ^                                                     |  thread exits
 *        |  release by the owner's process, or                 |  with items
 *        |  CAS of exactly the claim that was found dead       v  pinned
 *        +--------------------------------------- LIVE or ORPHANED
 *
 * Rules
 * 1. Nobody stores to another process's peer slot; the one exception is the
 *    CAS of a dead claim to FREE.  A new owner zeroes its own pins.  (Somebody
 *    who "adopts" a slot by storing to it, is stopped, and resumes after the
 *    slot has a new owner, would erase a live pin.)
 * 2. A process raises its slot's generation right after it got the lock, then
 *    frees all claims that carry its slot's number.  A claim of another
 *    generation than the slot's is dead, so a reused slot revives nobody.
 * 3. A verdict takes: the claim word, then the slot's generation, then the
 *    probe of the lock, in this order; it holds for that claim word alone.  A
 *    probe that cannot be made (no descriptor left, name gone) says alive.
 *
 * Killed at each step: before the lock, nothing was done.  Between lock and
 * generation, the lock is free again and the old claims are still dead by the
 * probe.  Between generation and the freeing of claims, they are dead by their
 * generation.  Between a claim and its first use, it is dead by the probe.
 *
 * Wrap: generations are compared in 24 bits, and stale claims live no longer
 * than the next owner's attach; incarnations have 26 bits, and only serve a CAS
 * on a claim whose process is dead.
 */
#ifndef SHM_PEER_H
#define SHM_PEER_H

#include "shm/segment.h"

#include <stdbool.h>
#include <stdint.h>

enum shm_claim_state { SHM_CLAIM_FREE = 0, SHM_CLAIM_LIVE, SHM_CLAIM_ORPHANED };

/* The pins of a peer, by use. */
enum shm_pin {
	SHM_PIN_ENTRY = 0,   /* the entry that a call is about */
	SHM_PIN_RIVAL = 1,   /* another entry that it must look at */
	SHM_PIN_TARGET = 2,  /* where it writes: blocks eviction too */
	SHM_PIN_SCAN = 3,    /* an extent that it walks through */
	SHM_PIN_HANDLES = 4, /* first of those that callers hold */
	SHM_PIN_END = 8
};

/* A peer: private to its process, used by one thread at a time. */
struct shm_peer {
	struct shm_segment *segment;
	struct shm_peer_shared *shared;
	uint64_t *counters;
	uint64_t claim;
	uint32_t handles; /* atomic: a bit for each pin held by a caller, and
			     SHM_PEER_ORPHANED */
	uint32_t random;
	uint32_t holds;        /* pins ever asked for by its callers */
	uint32_t calls;        /* the layer above's, to sample by */
	struct shm_peer *next; /* of the segment's */
};

#define SHM_PEER_ORPHANED    0x80000000u
#define SHM_INCARNATION_MASK 0x3ffffffu

/* A number for what needs no more than to differ (xorshift, Marsaglia 2003). */
static inline uint32_t
shm_peer_random(struct shm_peer *peer)
{
	uint32_t x = peer->random;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	peer->random = x;
	return x;
}

static inline enum shm_claim_state
shm_claim_state(uint64_t claim)
{
	return (enum shm_claim_state)(claim & 3);
}

static inline uint32_t
shm_claim_process(uint64_t claim)
{
	return (uint32_t)(claim >> 28) & 0xfff;
}

static inline uint32_t
shm_claim_incarnation(uint64_t claim)
{
	return (uint32_t)(claim >> 2) & SHM_INCARNATION_MASK;
}

/* The claim of the same slot and incarnation, free. */
static inline uint64_t
shm_claim_freed(uint64_t claim)
{
	return claim & ~3ull;
}

/* Lock a free process slot's byte; sets segment->process. */
int shm_process_lock(int fd, struct shm_segment *segment);

/* Take the slot that is locked: rule 2. */
void shm_process_enroll(struct shm_segment *segment);

/* Is somebody alive in this process slot?  Probes the lock. */
bool shm_process_alive(struct shm_segment *segment, uint32_t process);

/*
 * Is the peer with this claim dead?  `fresh` asks the kernel; otherwise a
 * process that was seen alive a moment ago is taken to be.
 */
bool shm_peer_dead(struct shm_segment *segment, uint64_t claim, bool fresh);

/* Forget who was seen alive: for who is about to ask after many peers, of each
   process once. */
void shm_peer_ask_anew(struct shm_segment *segment);

/*
 * Claim a peer slot for the calling thread.  Errors: SHM_EPEERS, -ENOMEM.
 * The caller's lock protects the segment's list of peers.
 */
int shm_peer_claim(struct shm_segment *segment, struct shm_peer **peer_out);

/*
 * The thread is done with it: give the slot back and free the peer, or leave it
 * to the last shm_peer_unhold() if items are held.  Under the caller's lock.
 */
void shm_peer_release(struct shm_peer *peer);

/* Free the slots of dead peers; returns how many. */
uint32_t shm_peer_sweep(struct shm_segment *segment);

/* Take a free handle pin; returns its number, or SHM_EPINS. */
int shm_peer_hold(struct shm_peer *peer);

/* Give one back; true if the peer is to be released by the caller, once. */
bool shm_peer_unhold(struct shm_peer *peer, uint32_t pin);

/* Is any handle pin of the segment's own peers taken?  Caller's lock. */
bool shm_peer_holds(const struct shm_segment *segment);

static inline struct shm_peer_shared *
shm_peer_table(const struct shm_segment *segment)
{
	return shm_at(segment, segment->geometry.peers);
}

static inline uint32_t
shm_peer_slot(const struct shm_peer *peer)
{
	return (uint32_t)(peer->shared - shm_peer_table(peer->segment));
}

static inline uint64_t *
shm_peer_counters(const struct shm_segment *segment, uint32_t slot)
{
	return shm_at(segment, segment->geometry.counters +
				   slot * segment->geometry.counters_stride);
}

static inline struct shm_process_shared *
shm_process_table(const struct shm_segment *segment)
{
	return shm_at(segment, segment->geometry.processes);
}

#endif /* SHM_PEER_H */
