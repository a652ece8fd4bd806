/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lease.c - taking leases, and giving them back */
#include "libshmcache/lease.h"

#include "libshmcache/invalidate.h"
#include "libshmcache/latency.h"
#include "libshmcache/owner.h"
#include "libshmcache/rate.h"
#include "libshmcache/token.h"
#include "shm/futex.h"

#define PLACES    2u
#define FREE      (0ull << WORD_STATE_SHIFT)
#define HELD      (1ull << WORD_STATE_SHIFT)
#define FAILED    (2ull << WORD_STATE_SHIFT)
#define TIME_BITS 42u
#define TIME      ((1ull << TIME_BITS) - 1)

/* Beside the word of a failure. */
#define ERROR_BITS 32u
#define TOKEN_BITS 10u
#define TOKEN      ((1ull << TOKEN_BITS) - 1)
#define SEQ_BITS   48u
#define SEQ        ((1ull << SEQ_BITS) - 1)

#define US_PER_S 1000000u

static uint64_t
fingerprint(const struct key *key)
{
	return (key->hash << WORD_PRINT_SHIFT) & WORD_PRINT;
}

static uint32_t
place_of(const struct call *call, const struct key *key, unsigned n)
{
	uint64_t bits = n == 0 ? key->hash >> 40 : key->hash >> 20;

	return (uint32_t)(bits & call->m->lease_mask) ^ n;
}

/* {seq, value}, for what lies beside a word. */
static uint64_t
beside(uint64_t word, uint64_t value)
{
	return word << TIME_BITS | (value & TIME);
}

static bool
is_beside(uint64_t word, uint64_t side)
{
	return (side >> TIME_BITS) == (word & WORD_SEQ);
}

static uint64_t *
word_at(const struct call *call, uint32_t place)
{
	struct lease_shared *l = &call->m->leases[place & ~LEASE_ALONE];

	return (place & LEASE_ALONE) != 0 ? &l->alone : &l->word;
}

static uint64_t *
deadline_at(const struct call *call, uint32_t place)
{
	struct lease_shared *l = &call->m->leases[place & ~LEASE_ALONE];

	return (place & LEASE_ALONE) != 0 ? &l->alone_deadline : &l->deadline;
}

/* Has a held word's deadline passed?  One that has none gets it now; not if it has
   passed on, for then what lies there is the next one's. */
static bool
is_late(
    const struct call *call, uint32_t place, uint64_t word, uint64_t lease_ms)
{
	uint64_t *deadline = deadline_at(call, place);
	uint64_t side = shm_load64_acquire(deadline);
	uint64_t now_ms = mapping_now_ms(call->m);

	if (is_beside(word, side))
		return now_ms >= (side & TIME);
	if (shm_load64_acquire(word_at(call, place)) == word)
		(void)shm_cas64(
		    deadline, side, beside(word, now_ms + lease_ms));
	return false;
}

/* Was the key not written or deleted since, nor everything flushed? */
static bool
still_counts(const struct call *call, const struct key *key,
    const struct lease_shared *l, uint64_t word, uint64_t error)
{
	uint64_t began = shm_load64_acquire(&l->began);
	uint64_t token = shm_load64_acquire(token_at(call->m, key->hash));

	return ((token ^ token_fingerprint(key->hash)) & TOKEN_FINGERPRINT) ==
		   0 &&
	       ((error >> ERROR_BITS ^ token) & TOKEN) == 0 &&
	       began >> SEQ_BITS == (word & WORD_SEQ & 0xffff) &&
	       mapping_flushed(call->m) <= (began & SEQ);
}

/* The error of a failed lease, if it counts.  For who waited it does once it is
   not kept any more, but not if the key has changed: the wait may have begun
   after that. */
static int
failure(const struct call *call, const struct key *key,
    const struct lease_shared *l, uint64_t word, bool waited)
{
	uint64_t until = shm_load64_acquire(&l->deadline);
	uint64_t error = shm_load64_acquire(&l->error);

	if (!is_beside(word, until) || !is_beside(word, error))
		return 0;
	if ((!waited && mapping_now_ms(call->m) >= (until & TIME)) ||
	    !still_counts(call, key, l, word, error))
		return 0;
	return (int)(uint32_t)error;
}

/* Puts our deadline beside our word, also over the one of somebody who found none
   there.  If the word is not ours any more, that is none of its seq. */
static void
set_deadline(
    uint64_t *deadline, uint64_t before, uint64_t word, uint64_t until_ms)
{
	if (shm_cas64(deadline, before, beside(word, until_ms)))
		return;
	before = shm_load64(deadline);
	if (is_beside(word, before))
		(void)shm_cas64(deadline, before, beside(word, until_ms));
}

/* One CAS, and the deadline. */
static bool
claim(const struct call *call, uint32_t place, uint64_t word, uint64_t print,
    uint64_t lease_ms, struct lease *lease)
{
	uint64_t *deadline = deadline_at(call, place);
	uint64_t side = shm_load64(deadline);
	uint64_t mine = word_next(word, HELD, print, owner_self(call));

	if (!shm_cas64(word_at(call, place), word, mine))
		return false;
	set_deadline(deadline, side, mine, mapping_now_ms(call->m) + lease_ms);
	*lease = (struct lease){ .place = place, .word = mine };
	return true;
}

/* What a place says of the key, whose fingerprint it bears. */
static enum lease_take
judge_own(const struct call *call, const struct key *key, uint32_t place,
    uint64_t word, uint64_t lease_ms, bool fresh, struct lease *lease,
    int *error_out)
{
	struct lease_shared *l = &call->m->leases[place];

	if ((word & WORD_STATE) == FAILED) {
		bool waited =
		    lease->place == place &&
		    word_next(lease->word, 0, 0, 0) == (word & WORD_SEQ);

		*error_out = failure(call, key, l, word, waited);
		return *error_out != 0 ? LEASE_FAILED : LEASE_TAKEN;
	}
	if ((word & WORD_STATE) != HELD)
		return LEASE_TAKEN;
	if (owner_gone_for_waiter(call, word_owner(word), fresh, &l->looked) ||
	    is_late(call, place, word, lease_ms))
		return LEASE_TAKEN_OVER;
	*lease = (struct lease){ .place = place, .word = word };
	return owner_is_self(call, word_owner(word)) ? LEASE_NOWHERE
						     : LEASE_BUSY;
}

/* Is it free for a key that it does not bear the fingerprint of, or for a load
   without a lease? */
static bool
is_vacant(
    const struct call *call, uint32_t place, uint64_t word, uint64_t lease_ms)
{
	return (word & WORD_STATE) != HELD ||
	       owner_gone(call, word_owner(word), false) ||
	       is_late(call, place, word, lease_ms);
}

/* The place that bears the key's fingerprint and is not free; PLACES if none. */
static unsigned
find_own(const struct call *call, const struct key *key, uint64_t *word_out)
{
	unsigned n;

	for (n = 0; n < PLACES; n++) {
		*word_out = shm_load64_acquire(
		    &call->m->leases[place_of(call, key, n)].word);
		if (((*word_out ^ fingerprint(key)) & WORD_PRINT) == 0 &&
		    (*word_out & WORD_STATE) != FREE)
			break;
	}
	return n;
}

/* The first place that is vacant; PLACES if none is. */
static unsigned
find_vacant(const struct call *call, const struct key *key, uint64_t lease_ms,
    uint64_t *word_out)
{
	unsigned n;

	for (n = 0; n < PLACES; n++) {
		uint32_t place = place_of(call, key, n);

		*word_out = shm_load64_acquire(&call->m->leases[place].word);
		if (is_vacant(call, place, *word_out, lease_ms))
			break;
	}
	return n;
}

/* Is the key's lease held in its other place too? */
static bool
is_doubled(const struct call *call, const struct key *key, unsigned n)
{
	uint64_t word = shm_load64_acquire(
	    &call->m->leases[place_of(call, key, PLACES - 1 - n)].word);

	return ((word ^ fingerprint(key)) & WORD_PRINT) == 0 &&
	       (word & WORD_STATE) == HELD &&
	       !owner_is_self(call, word_owner(word)) &&
	       !owner_gone(call, word_owner(word), false);
}

enum lease_take
lease_take(const struct call *call, const struct key *key, uint64_t lease_ms,
    bool fresh, struct lease *lease, int *error_out)
{
	for (;;) {
		enum lease_take take = LEASE_TAKEN;
		uint64_t word;
		unsigned n = find_own(call, key, &word);
		bool is_own = n < PLACES;

		if (is_own)
			take = judge_own(call, key, place_of(call, key, n),
			    word, lease_ms, fresh, lease, error_out);
		else
			n = find_vacant(call, key, lease_ms, &word);
		if (n == PLACES && find_own(call, key, &word) < PLACES)
			continue; /* it was taken between the two looks */
		if (n == PLACES) {
			lease->place = LEASE_NONE;
			return LEASE_NOWHERE;
		}
		if (take != LEASE_TAKEN && take != LEASE_TAKEN_OVER)
			return take;
		if (!claim(call, place_of(call, key, n), word, fingerprint(key),
			lease_ms, lease))
			continue;
		if (is_own || !is_doubled(call, key, n))
			return take;
		(void)lease_release(call, lease);
		lease->place = LEASE_NONE;
	}
}

void
lease_take_alone(
    const struct call *call, uint64_t lease_ms, struct lease *lease)
{
	uint32_t own = shm_peer_slot(call->peer);

	for (uint32_t n = 0; n <= call->m->lease_mask; n++) {
		uint32_t place =
		    ((own + n) & call->m->lease_mask) | LEASE_ALONE;
		uint64_t word = shm_load64_acquire(word_at(call, place));

		if (is_vacant(call, place, word, lease_ms) &&
		    claim(call, place, word, 0, lease_ms, lease))
			return;
	}
	lease->place = LEASE_NONE;
}

static bool
has_word(const struct call *call, const struct lease *lease)
{
	return (lease->place & ~LEASE_ALONE) <= call->m->lease_mask;
}

bool
lease_is_ours(const struct call *call, const struct lease *lease)
{
	return has_word(call, lease) &&
	       shm_load64_acquire(word_at(call, lease->place)) == lease->word;
}

/* HELD to `state`, unless it was taken over. */
static bool
give_back(const struct call *call, const struct lease *lease, uint64_t state,
    uint64_t *word_out)
{
	*word_out = word_next(lease->word, state, lease->word & WORD_PRINT,
	    word_owner(lease->word));
	return has_word(call, lease) &&
	       shm_cas64(word_at(call, lease->place), lease->word, *word_out);
}

bool
lease_release(const struct call *call, const struct lease *lease)
{
	uint64_t word;

	if (!give_back(call, lease, FREE, &word))
		return lease->place == LEASE_NONE;
	if ((lease->place & LEASE_ALONE) == 0)
		shm_futex_wake_all(word_at(call, lease->place));
	return true;
}

void
lease_fail(const struct call *call, const struct lease *lease, int error,
    uint64_t keep_ms, const struct shmcache_token *token)
{
	struct lease_shared *l;
	uint64_t until, noted, began, word;

	if (lease->place > call->m->lease_mask) {
		(void)lease_release(call, lease);
		return;
	}
	l = &call->m->leases[lease->place];
	until = shm_load64(&l->deadline);
	noted = shm_load64(&l->error);
	began = shm_load64(&l->began);
	if (!give_back(call, lease, FAILED, &word))
		return;
	(void)shm_cas64(&l->began, began,
	    (word & WORD_SEQ) << SEQ_BITS | (token->seq & SEQ));
	(void)shm_cas64(&l->error, noted,
	    beside(
		word, (token->token & TOKEN) << ERROR_BITS | (uint32_t)error));
	(void)shm_cas64(&l->deadline, until,
	    beside(word, mapping_now_ms(call->m) + keep_ms));
	shm_futex_wake_all(&l->word);
}

bool
lease_may_by_rate(
    const struct call *call, const struct key *key, uint32_t per_second)
{
	uint64_t *at = &call->m->leases[place_of(call, key, 0)].rate;
	uint64_t print = key->hash << TIME_BITS;
	uint64_t now = latency_now_ns(call->m) / 1000;
	uint64_t interval =
	    rate_interval(per_second, US_PER_S, shm_peer_random(call->peer));

	for (;;) {
		uint64_t word = shm_load64(at), ahead = 0;

		if (((word ^ print) & ~TIME) == 0)
			ahead = rate_ahead((word - now) & TIME, US_PER_S);
		if (!rate_allows(per_second, US_PER_S, ahead))
			return false;
		if (shm_cas64(
			at, word, print | ((now + ahead + interval) & TIME)))
			return true;
	}
}

bool
lease_is_over(const struct call *call, const struct lease *lease, bool fresh)
{
	struct lease_shared *l = &call->m->leases[lease->place];

	return shm_load64_acquire(&l->word) != lease->word ||
	       owner_gone_for_waiter(
		   call, word_owner(lease->word), fresh, &l->looked) ||
	       is_late(call, lease->place, lease->word, LEASE_MS);
}

bool
lease_is_held(const struct call *call, const struct key *key, bool fresh,
    struct lease *lease_out)
{
	struct lease lease = { .place = LEASE_NONE };
	unsigned n = find_own(call, key, &lease.word);

	if (n == PLACES || (lease.word & WORD_STATE) != HELD)
		return false;
	lease.place = place_of(call, key, n);
	if (lease_is_over(call, &lease, fresh))
		return false;
	*lease_out = lease;
	return true;
}

static bool
is_under_way(const struct call *call, uint32_t place)
{
	return !is_vacant(
	    call, place, shm_load64(word_at(call, place)), LEASE_MS);
}

uint32_t
lease_count(const struct call *call)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i <= call->m->lease_mask; i++)
		count += (uint32_t)is_under_way(call, i) +
			 (uint32_t)is_under_way(call, i | LEASE_ALONE);
	return count;
}
