/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pin.c - the grace period of an extent */
#include "shm/pin.h"

static bool
names_extent(const struct shm_peer_shared *peer, uint32_t extent, unsigned pins)
{
	for (unsigned i = 0; i < SHM_PINS; i++)
		if ((pins & 1u << i) != 0 &&
		    shm_load64_acquire(&peer->pins[i]) == (uint64_t)extent + 1)
			return true;
	return false;
}

/* The pin was read before the claim: a claim that isn't held now voids it, and
   so does one whose process is dead. */
static bool
claim_counts(
    struct shm_segment *segment, struct shm_peer_shared *peer, bool fresh)
{
	uint64_t claim = shm_load64_acquire(&peer->claim);

	if (shm_claim_state(claim) == SHM_CLAIM_FREE)
		return false;
	if (!shm_peer_dead(segment, claim, fresh))
		return true;
	(void)shm_cas64(&peer->claim, claim, shm_claim_freed(claim));
	return false;
}

static uint64_t
peers_to_scan(const struct shm_segment *segment)
{
	uint64_t high = shm_load64_acquire(&segment->header->peer_high);
	uint64_t count = segment->geometry.request.peer_count;

	return high < count ? high : count;
}

bool
shm_pin_scan(
    struct shm_segment *segment, uint32_t extent, unsigned pins, bool fresh)
{
	struct shm_peer_shared *table = shm_peer_table(segment);
	uint64_t peers;

	shm_fence(); /* P2 */
	peers = peers_to_scan(segment);
	for (uint64_t i = 0; i < peers; i++)
		if (names_extent(&table[i], extent, pins) &&
		    claim_counts(segment, &table[i], fresh))
			return true;
	return false;
}

/* Pins held by callers of living peers. */
static uint64_t
count_held(struct shm_segment *segment)
{
	struct shm_peer_shared *table = shm_peer_table(segment);
	uint64_t held = 0, peers = peers_to_scan(segment);

	for (uint64_t i = 0; i < peers; i++) {
		uint64_t own = 0;

		for (unsigned p = SHM_PIN_HANDLES; p < SHM_PIN_END; p++)
			own += shm_load64_acquire(&table[i].pins[p]) != 0;
		if (own > 0 && claim_counts(segment, &table[i], false))
			held += own;
	}
	return held;
}

/* A peer counts at its first holds, then at each 64th, and whenever it holds
   another already: who holds for long is counted, who holds often pays little. */
static bool
is_time_to_count(struct shm_peer *peer)
{
	uint32_t holds = ++peer->holds;

	return (holds & (holds - 1)) == 0 || holds % 64 == 0 ||
	       shm_load32(&peer->handles) != 0;
}

bool
shm_pin_scarce(struct shm_peer *peer)
{
	struct shm_segment *segment = peer->segment;
	uint64_t most = segment->geometry.request.extent_count / 2;

	if (peers_to_scan(segment) * (SHM_PIN_END - SHM_PIN_HANDLES) <= most)
		return false;
	if (is_time_to_count(peer))
		shm_store64(&segment->header->held, count_held(segment));
	return shm_load64(&segment->header->held) >= most;
}
