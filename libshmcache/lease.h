/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lease.h - one caller at a time loads a key
 *
 * A lease is a word (owner.h) in a table that the key's hash points to, in two
 * places; the first is taken unless another key has it.
 *
 *          take                       release
 *   FREE,s ----> HELD,s+1 {owner} ------------------> FREE,s+2
 *                  |   ^                fail           (wakes all)
 *     owner gone,  |   | or past its   -------------> FAILED,s+2 {error, until}
 *     deadline: ---+---+ HELD,s+2 {who took it over}   (the same)
 *   FAILED, past `until` or of another key: as FREE
 *
 * Every arrow is one CAS.  Beside the word lie its deadline (of HELD), until when
 * and which error (of FAILED); they carry the word's seq, and those of another
 * seq say nothing.  They are written after the word, by CAS from what was there
 * before it: whoever comes late changes nothing.  A lease whose owner was stopped
 * before that gets a deadline from the first who waits for it or counts it, which
 * the owner's own replaces should it go on.
 *
 * A failure is forgotten, also by who waits for it, when its key is written or
 * deleted, or everything is flushed: beside the error lie the low bits of the
 * key's token (token.h) and the cache's seq (invalidate.h) as they were when the
 * failed load began.  (A token's word that another key has taken forgets it too.)
 *
 * Sleepers sleep on the word's low half (wait.h), for a few milliseconds at a
 * time: then they ask whether the owner lives.  So a leader that is killed is
 * followed by another after that and the time that the kernel takes to tear its
 * memory down.
 *
 * Of two callers that take a key's two places at the same time, at least one sees
 * the other's word after its own CAS (a full fence), and gives its place back.
 *
 * Nothing is wrong with two leaders: what they store is decided by the token
 * (token.h).  Hence a seq of 22 bits, and a fingerprint of 12: two keys that
 * share one wait for each other, wake, and look again.
 *
 * Who loads without the lease (both places are another's, or the caller waits for
 * its owner no more) holds a word all the same, so that loads can be counted:
 * each place has one beside its own, `alone`, with a deadline too, which any such
 * load may take; a peer tries that of its own number first.  Nobody waits for it.
 *
 *   FREE, or HELD by who has gone or is late ----> HELD {owner} ----> FREE
 *
 * Counting loads at once: whoever begins puts its word in by a CAS (a full fence)
 * before it counts, and takes it out if there are too many.  Of any loads that go
 * on at the same time the last to count has seen the words of all others, so
 * there are never more than the limit; of several that begin at once all may give
 * up.  A word counts until it is given back, its owner has gone, or its deadline
 * has passed: one that is lost, or whose owner stands still, blocks nobody for
 * longer.  There is an `alone` for each thread that there can be; a load that
 * finds none free goes on uncounted, unless it has a limit itself.
 *
 * The place also remembers how often its key may still be loaded (`rate`: when
 * its token bucket will be full again, rate.h); of keys that share it, the last
 * one's.  That time is ahead by two seconds at the most: so its 42 bits are
 * enough, but that once in 51 days a key may be refused for so long for nothing.
 *
 * Killed after the take: gone, as above.  Killed between release and wake: the
 * sleepers look by themselves.  tests/models/lease.pml,
 * tests/models/places.pml.
 */
#ifndef LIBSHMCACHE_LEASE_H
#define LIBSHMCACHE_LEASE_H

#include "libshmcache/cache.h"
#include "libshmcache/index.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lease_shared {
	uint64_t word;
	uint64_t deadline; /* {seq 22, milliseconds 42} */
	uint64_t error;    /* {seq 22, token 10, result 32} */
	uint64_t began;    /* {seq 16, the cache's seq when the failed load
			      began 48} */
	uint64_t rate;     /* {fingerprint 22, microseconds 42} */
	uint32_t looked;   /* when a waiter asked for the owner (owner.h) */
	uint32_t reserved1;
	uint64_t alone;          /* a word of its own: a load without a lease */
	uint64_t alone_deadline; /* as `deadline`, of that */
};

static_assert(offsetof(struct lease_shared, deadline) == 8, "layout");
static_assert(offsetof(struct lease_shared, error) == 16, "layout");
static_assert(offsetof(struct lease_shared, began) == 24, "layout");
static_assert(offsetof(struct lease_shared, rate) == 32, "layout");
static_assert(offsetof(struct lease_shared, looked) == 40, "layout");
static_assert(offsetof(struct lease_shared, alone) == 48, "layout");
static_assert(offsetof(struct lease_shared, alone_deadline) == 56, "layout");
static_assert(sizeof(struct lease_shared) == 64, "layout");

/* A lease that was seen or taken, or the word of a load without one: its place,
   and its word then. */
struct lease {
	uint32_t place; /* LEASE_ALONE: that place's other word */
	uint64_t word;
};

#define LEASE_ALONE (1u << 31)
#define LEASE_NONE  UINT32_MAX

/* The time that a lease has if nobody says another. */
#define LEASE_MS 10000u

enum lease_take {
	LEASE_TAKEN,
	LEASE_TAKEN_OVER, /* from an owner that has gone, or is late */
	LEASE_BUSY,       /* another has it */
	LEASE_FAILED,     /* another's load has failed: *error_out */
	LEASE_NOWHERE     /* no place, or this thread has it already */
};

/*
 * Take the key's lease for so long.  `lease` is what was waited for (or has
 * LEASE_NONE): its failure counts however long ago.  `fresh` as in owner.h.
 */
enum lease_take lease_take(const struct call *call, const struct key *key,
    uint64_t lease_ms, bool fresh, struct lease *lease, int *error_out);

/* Take a word for a load without the lease; LEASE_NONE if there is none. */
void lease_take_alone(
    const struct call *call, uint64_t lease_ms, struct lease *lease);

/* Give it back, and wake who waits; false if it was taken over. */
bool lease_release(const struct call *call, const struct lease *lease);

static inline bool
lease_is_alone(const struct lease *lease)
{
	return (lease->place & LEASE_ALONE) != 0 && lease->place != LEASE_NONE;
}

/* Was it neither given back nor taken over? */
bool lease_is_ours(const struct call *call, const struct lease *lease);

/* Give it back with an error (not 0), which counts for `keep_ms` (and for who waits) as
   long as the key's token and the flush word are what `token` has; that of a load
   without the lease is nobody else's. */
void lease_fail(const struct call *call, const struct lease *lease, int error,
    uint64_t keep_ms, const struct shmcache_token *token);

/* One more load of the key, of so many per second: may it be? */
bool lease_may_by_rate(
    const struct call *call, const struct key *key, uint32_t per_second);

/* Is it not what was seen any more, or can be taken over?  `fresh` as in
   owner.h; no peer is needed. */
bool lease_is_over(
    const struct call *call, const struct lease *lease, bool fresh);

/* Does somebody hold the key's lease, who lives and is not late?  *lease_out is
   what to wait for. */
bool lease_is_held(const struct call *call, const struct key *key, bool fresh,
    struct lease *lease_out);

/* Loads under way: words of both kinds held by the living, and not too late. */
uint32_t lease_count(const struct call *call);

#endif /* LIBSHMCACHE_LEASE_H */
