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
	(void)shm_cas64(&peer->claim, claim, claim & ~3ull);
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

static bool
is_held(const struct shm_peer_shared *peer)
{
	return shm_claim_state(shm_load64(&peer->claim)) != SHM_CLAIM_FREE;
}

bool
shm_pin_scarce(const struct shm_segment *segment)
{
	const struct shm_peer_shared *table = shm_peer_table(segment);
	uint64_t left = segment->geometry.request.extent_count / 2;
	uint64_t peers = peers_to_scan(segment);

	if (peers * (SHM_PIN_END - SHM_PIN_HANDLES) <= left)
		return false;
	for (uint64_t i = 0; i < peers && left > 0; i++)
		for (unsigned pin = SHM_PIN_HANDLES;
		     pin < SHM_PIN_END && left > 0; pin++)
			if (shm_load64(&table[i].pins[pin]) != 0 &&
			    is_held(&table[i]))
				left--;
	return left == 0;
}
