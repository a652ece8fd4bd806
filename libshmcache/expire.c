/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* expire.c - unlinking what has expired or was flushed */
#include "libshmcache/expire.h"

#include "libshmcache/evict.h"
#include "libshmcache/record.h"

#include <string.h>

bool
expire_found(
    const struct call *call, const struct found *found, enum counter counter)
{
	if (entry_valid(call->m, &found->entry))
		return false;
	(void)entry_freeze(&found->entry);
	if (entry_valid(call->m, &found->entry))
		return false;
	if (index_swap(call, found, 0)) {
		stats_count(call->peer, counter);
		if (entry_tag_invalidated(call->m, &found->entry))
			record_dropped(call, &found->entry);
	}
	return true;
}

/* What is known of an extent's entries after walking through it. */
struct walk {
	uint64_t expired;
	uint64_t next_expiry_ms; /* SHM_HINT_NONE: none expires */
};

static void
sweep_entry(const struct call *call, const struct shm_extent *extent,
    uint32_t at, struct walk *walk)
{
	struct shm_place place = { .generation = extent->generation,
		.offset =
		    at + shm_arena_offset(call->m->segment, extent->number) };
	struct found found;
	struct key key;
	uint64_t expires_ms, seen;

	if (!entry_open(call->m, place.offset, &found.entry))
		return;
	expires_ms = entry_expires_ms(&found.entry);
	if (!entry_valid(call->m, &found.entry)) {
		index_entry_key(call->m, &found.entry, &key);
		found.word = index_word(&key, &place);
		if (index_holds(call, &key, found.word, &found.slot, &seen) &&
		    seen == found.word &&
		    expire_found(call, &found, COUNT_expired_swept))
			walk->expired++;
	} else if (expires_ms != 0 && expires_ms < walk->next_expiry_ms) {
		walk->next_expiry_ms = expires_ms;
	}
}

/* Pins the extent as it is now; it may have been sealed since it was looked at. */
static bool
pin_extent(const struct call *call, struct shm_extent *extent)
{
	if (shm_arena_pin_walk(call->peer, extent))
		return true;
	*extent = shm_arena_state(call->m->segment, extent->number);
	return extent->state == SHM_SEALED &&
	       shm_arena_pin_walk(call->peer, extent);
}

/*
 * Unlinks what has expired in an extent, and notes what expires next; unless a
 * writer has it as its target, who may have started an entry before, and will
 * link it after the walk.
 */
uint64_t
expire_extent(const struct call *call, struct shm_extent *extent)
{
	struct shm_segment *segment = call->m->segment;
	struct walk walk = { .next_expiry_ms = SHM_HINT_NONE };
	uint32_t at = 0;
	uint64_t hint;
	bool written;

	if (!pin_extent(call, extent))
		return 0;
	hint =
	    shm_arena_clean_hint(segment, extent->number, extent->generation);
	written =
	    shm_pin_scan(segment, extent->number, SHM_PINS_TARGETS, false);
	while ((at = shm_arena_next_start(segment, extent->number,
		    extent->generation, at, false)) != UINT32_MAX) {
		sweep_entry(call, extent, at, &walk);
		at += SHM_UNIT_BYTES;
	}
	if (!written)
		shm_arena_raise_hint(segment, extent->number,
		    extent->generation, hint, walk.next_expiry_ms);
	shm_pin_clear(call->peer, SHM_PIN_SCAN);
	return walk.expired;
}

/* Has anything in it that may have expired? */
static bool
is_due(
    const struct call *call, const struct shm_extent *extent, bool invalidated)
{
	return invalidated ||
	       shm_arena_hint(call->m->segment, extent->number,
		   extent->generation) <= mapping_now_ms(call->m);
}

/* One extent: what can be done for it now. */
static void
look_after(const struct call *call, uint32_t number, bool invalidated,
    struct shmcache_sweep_result *result)
{
	struct shm_segment *segment = call->m->segment;
	struct shm_extent e = shm_arena_state(segment, number);

	if ((e.state == SHM_ACTIVE || e.state == SHM_SEALED) &&
	    is_due(call, &e, invalidated)) {
		result->extents_visited++;
		result->expired_entries += expire_extent(call, &e);
	}
	if (e.state == SHM_ACTIVE && !shm_arena_is_hinted(segment, &e))
		(void)shm_arena_seal(segment, &e);
	if (e.state == SHM_SEALED &&
	    shm_arena_live(segment, number, e.generation) == 0 &&
	    evict_extent(call, &e, EVICT_CLEAN, true))
		result->recycled_extents++;
	if (e.state == SHM_EVICTING && evict_abandoned(call, &e, true) &&
	    evict_finish(call, &e, EVICT_DROP, true))
		result->recycled_extents++;
	if (e.state == SHM_LIMBO && evict_recycle(call, &e, true))
		result->recycled_extents++;
}

static int64_t
next_expiry_ms(const struct mapping *m)
{
	uint64_t least = SHM_HINT_NONE, now = mapping_now_ms(m);

	for (uint32_t i = 0; i < m->segment->geometry.request.extent_count;
	     i++) {
		struct shm_extent e = shm_arena_state(m->segment, i);
		uint64_t hint = shm_arena_hint(m->segment, i, e.generation);

		if ((e.state == SHM_ACTIVE || e.state == SHM_SEALED) &&
		    hint < least)
			least = hint;
	}
	if (least == SHM_HINT_NONE)
		return -1;
	return least > now ? (int64_t)(least - now) : 0;
}

void
expire_sweep(const struct call *call, struct shmcache_sweep_result *result_out)
{
	struct mapping *m = call->m;
	uint64_t seq = shm_load64_acquire(&m->shared->seq);
	bool invalidated = seq != shm_load64(&m->swept_seq);

	memset(result_out, 0, sizeof(*result_out));
	result_out->freed_peers = shm_peer_sweep(m->segment);
	for (uint32_t i = 0; i < m->segment->geometry.request.extent_count; i++)
		look_after(call, i, invalidated, result_out);
	shm_store64(&m->swept_seq, seq);
	result_out->evicted_extents = evict_fill_reserve(call, m->reserve);
	result_out->next_expiry_ms = next_expiry_ms(m);
	shm_store64(&m->shared->swept_ms, mapping_now_ms(m));
}
