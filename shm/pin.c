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

bool
shm_pin_scan(
    struct shm_segment *segment, uint32_t extent, unsigned pins, bool fresh)
{
	struct shm_peer_shared *table = shm_peer_table(segment);
	uint64_t high;

	shm_fence(); /* P2 */
	high = shm_load64_acquire(&segment->header->peer_high);
	if (high > segment->geometry.request.peer_count)
		high = segment->geometry.request.peer_count;
	for (uint64_t i = 0; i < high; i++)
		if (names_extent(&table[i], extent, pins) &&
		    claim_counts(segment, &table[i], fresh))
			return true;
	return false;
}
