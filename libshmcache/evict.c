/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* evict.c - emptying extents */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "libshmcache/evict.h"

#include "libshmcache/entry.h"
#include "libshmcache/index.h"
#include "libshmcache/policy.h"
#include "libshmcache/stats.h"

#include <sched.h>

/* Only one log yet: `clock` has no probation. */
#define LOG_MAIN 0u

/*
 * Passes over all extents before a set gives up.  Where all of them are pinned
 * by calls that merely lost the processor in the middle (as many writers as
 * extents), letting those run is enough; calls that stand still are not waited
 * for.
 */
#define PASSES_MAX 32u

/* An entry on its way out. */
struct leaver {
	struct entry entry;
	struct key key;
	uint64_t word; /* its final word */
};

/* Writes the copy; its word goes into *word_out, and its extent is the target. */
static bool
write_copy(const struct call *call, const struct leaver *l, uint8_t ref,
    struct shm_place *place, uint64_t *word_out)
{
	struct entry_content content;

	entry_carry(call->m, &l->entry, &content);
	content.ref = ref;
	if (shm_arena_reserve(
		call->peer, LOG_MAIN, entry_bytes(&content), place) != 0)
		return false;
	entry_write(call->m, place, &content);
	*word_out = index_word(&l->key, place);
	return true;
}

/* Puts a copy in the slot.  False: the entry could not be kept, or the slot has
   changed. */
static bool
copy_on(const struct call *call, const struct leaver *l, uint64_t slot,
    uint8_t ref, uint32_t *budget)
{
	struct shm_place place;
	uint64_t word;
	bool linked;

	if (!write_copy(call, l, ref, &place, &word))
		return false;
	linked = shm_cas64(&call->m->slots[slot], l->word, word);
	if (!linked)
		shm_arena_account(call->m->segment, place.extent,
		    place.generation, -(int64_t)place.bytes);
	shm_pin_clear(call->peer, SHM_PIN_TARGET);
	*budget -= place.bytes < *budget ? place.bytes : *budget;
	if (linked) {
		stats_count(call->peer, COUNT_second_chances);
		stats_add(call->peer, COUNT_copied_bytes, place.bytes);
	}
	return linked;
}

/* An eviction of one extent. */
struct eviction {
	struct shm_extent extent;
	enum evict_mode mode;
	uint32_t budget; /* bytes that may still be copied on */
};

/* Takes the entry's final word out of this slot, or to its copy. */
static void
unlink_final(const struct call *call, struct eviction *eviction,
    const struct leaver *l, uint64_t slot)
{
	bool readable = entry_valid(call->m, &l->entry);
	uint8_t ref = shm_load8(&l->entry.shared->ref);
	struct policy_verdict verdict = eviction->mode == EVICT_CLEAN
					    ? policy_clean(ref)
					    : policy_clock(ref);

	if (readable && verdict.keep && l->entry.bytes <= eviction->budget &&
	    copy_on(call, l, slot, verdict.ref, &eviction->budget))
		return;
	if (shm_cas64(&call->m->slots[slot], l->word, 0))
		stats_count(call->peer,
		    readable ? COUNT_evictions : COUNT_evicted_expired);
}

/* Repeats until the entry's window names it neither way. */
static void
unlink_entry(const struct call *call, struct eviction *eviction, uint32_t at)
{
	const struct shm_extent *extent = &eviction->extent;
	struct shm_place place = { .generation = extent->generation,
		.offset =
		    at + shm_arena_offset(call->m->segment, extent->number) };
	struct leaver l;
	uint64_t slot, seen;

	if (!entry_open(call->m, place.offset, &l.entry))
		return; /* damaged: nothing that find would open */
	index_entry_key(call->m, &l.entry, &l.key);
	l.word = index_word(&l.key, &place);
	while (index_holds(call, &l.key, l.word, &slot, &seen)) {
		if (seen == l.word)
			unlink_final(call, eviction, &l, slot);
		else
			(void)index_abort(call, slot, seen);
	}
}

bool
evict_finish(const struct call *call, const struct shm_extent *extent,
    enum evict_mode mode)
{
	struct shm_segment *segment = call->m->segment;
	struct eviction eviction = { *extent, mode,
		mode == EVICT_DROP ? 0 : (uint32_t)call->m->extent_bytes / 2 };
	struct shm_extent limbo = *extent;
	uint32_t at = 0;

	if (!shm_arena_pin_walk(call->peer, extent))
		return false;
	while ((at = shm_arena_next_start(segment, extent->number,
		    extent->generation, at, true)) != UINT32_MAX) {
		unlink_entry(call, &eviction, at);
		at += SHM_UNIT_BYTES;
	}
	if (shm_arena_end_evict(segment, extent))
		stats_count(call->peer, COUNT_extents_evicted);
	shm_pin_clear(call->peer, SHM_PIN_SCAN);
	limbo.state = SHM_LIMBO;
	if (!shm_arena_recycle(segment, &limbo, false))
		return false;
	stats_count(call->peer, COUNT_extents_recycled);
	return true;
}

bool
evict_extent(const struct call *call, const struct shm_extent *extent,
    enum evict_mode mode)
{
	struct shm_extent evicting = *extent;

	if (!shm_arena_begin_evict(call->m->segment, extent, false))
		return false;
	evicting.state = SHM_EVICTING;
	return evict_finish(call, &evicting, mode);
}

/* Recycles an extent that is in LIMBO, if there is one without readers. */
static bool
recycle_one(const struct call *call, bool fresh)
{
	struct shm_segment *segment = call->m->segment;
	uint32_t count = segment->geometry.request.extent_count;

	for (uint32_t i = 0; i < count; i++) {
		struct shm_extent e = shm_arena_state(segment, i);

		if (e.state == SHM_LIMBO &&
		    shm_arena_recycle(segment, &e, fresh)) {
			stats_count(call->peer, COUNT_extents_recycled);
			return true;
		}
	}
	return false;
}

/* Finishes an eviction that another has begun. */
static bool
join_one(const struct call *call)
{
	struct shm_segment *segment = call->m->segment;
	uint32_t count = segment->geometry.request.extent_count;

	for (uint32_t i = 0; i < count; i++) {
		struct shm_extent e = shm_arena_state(segment, i);

		if (e.state == SHM_EVICTING &&
		    evict_finish(call, &e, EVICT_DROP))
			return true;
	}
	return false;
}

/* Empties the extent with the fewest live bytes, if it is mostly dead. */
static bool
clean_one(const struct call *call)
{
	struct shm_segment *segment = call->m->segment;
	struct shm_extent deadest = { .state = SHM_FREE };
	uint32_t least = UINT32_MAX;

	for (uint32_t i = 0; i < segment->geometry.request.extent_count; i++) {
		struct shm_extent e = shm_arena_state(segment, i);
		uint32_t live = shm_arena_live(segment, i, e.generation);

		if (e.state == SHM_SEALED && live < least) {
			least = live;
			deadest = e;
		}
	}
	return policy_mostly_dead(least, call->m->extent_bytes) &&
	       evict_extent(call, &deadest, EVICT_CLEAN);
}

/* Empties an extent: the deadest, or the next on the circle that can be. */
static bool
evict_one(const struct call *call)
{
	struct shm_segment *segment = call->m->segment;
	uint32_t count = segment->geometry.request.extent_count;

	if (clean_one(call))
		return true;

	for (uint32_t i = 0; i < count; i++) {
		struct shm_extent e = shm_arena_next_victim(segment);

		if (e.state == SHM_SEALED &&
		    evict_extent(call, &e, EVICT_CLOCK))
			return true;
	}
	return false;
}

/* One pass: frees an extent, or finds that others have. */
static bool
make_room(const struct call *call, bool fresh)
{
	return recycle_one(call, fresh) || join_one(call) || evict_one(call) ||
	       shm_arena_count_free(call->m->segment, 1) > 0;
}

int
evict_reserve(
    const struct call *call, uint32_t bytes, struct shm_place *place_out)
{
	unsigned passes = 0;

	while (shm_arena_reserve(call->peer, LOG_MAIN, bytes, place_out) != 0) {
		if (make_room(call, passes > 0))
			continue;
		if (++passes == PASSES_MAX)
			return SHMCACHE_EBUSY;
		(void)sched_yield();
	}
	return 0;
}

uint32_t
evict_fill_reserve(const struct call *call)
{
	const struct mapping *m = call->m;
	uint32_t freed = 0;

	while (shm_arena_count_free(m->segment, m->reserve) < m->reserve &&
	       freed < m->reserve &&
	       (recycle_one(call, false) || evict_one(call)))
		freed++;
	return freed;
}
