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
#include "shm/error.h"

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

/* Reserves, and notes when an extent was begun. */
static int
reserve(const struct call *call, uint32_t bytes, struct shm_place *place_out)
{
	int error = shm_arena_reserve(call->peer, LOG_MAIN, bytes, place_out);

	if (error == 0 && place_out->installed)
		shm_arena_set_stamp(call->m->segment, place_out->extent,
		    place_out->generation, mapping_now_ms(call->m));
	return error;
}

/* Writes the copy; its word goes into *word_out, its extent is the target. */
static bool
write_copy(const struct call *call, const struct leaver *l, uint8_t ref,
    struct shm_place *place, uint64_t *word_out)
{
	struct entry_content content;

	entry_carry(call->m, &l->entry, &content);
	content.ref = ref;
	if (reserve(call, entry_bytes(&content), place) != 0)
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
    enum evict_mode mode, bool fresh)
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
	return evict_recycle(call, &limbo, fresh);
}

bool
evict_recycle(
    const struct call *call, const struct shm_extent *extent, bool fresh)
{
	if (!shm_arena_recycle(call->m->segment, extent, fresh))
		return false;
	stats_count(call->peer, COUNT_extents_recycled);
	return true;
}

bool
evict_extent(const struct call *call, const struct shm_extent *extent,
    enum evict_mode mode, bool fresh)
{
	struct shm_extent evicting = *extent;

	if (!shm_arena_begin_evict(call->m->segment, extent, fresh))
		return false;
	evicting.state = SHM_EVICTING;
	return evict_finish(call, &evicting, mode, fresh);
}

/* What one pass over the extents has seen. */
struct survey {
	uint32_t free;
	bool recycled;  /* something was, on the way */
	bool abandoned; /* nobody is at work in `evicting` */
	struct shm_extent evicting;
	struct shm_extent deadest; /* SEALED, mostly dead; else SHM_DAMAGED */
};

bool
evict_abandoned(
    const struct call *call, const struct shm_extent *extent, bool fresh)
{
	return !shm_pin_scan(
	    call->m->segment, extent->number, 1u << SHM_PIN_SCAN, fresh);
}

static void
note_evicting(const struct call *call, const struct shm_extent *e, bool fresh,
    struct survey *s)
{
	if (s->abandoned)
		return;
	s->evicting = *e;
	s->abandoned = evict_abandoned(call, e, fresh);
}

/* Looks at every extent once, and recycles the first that it can. */
static void
look_around(const struct call *call, bool fresh, struct survey *s)
{
	struct shm_segment *segment = call->m->segment;
	uint32_t least = UINT32_MAX;

	*s = (struct survey){ .evicting.state = SHM_DAMAGED,
		.deadest.state = SHM_DAMAGED };
	for (uint32_t i = 0; i < segment->geometry.request.extent_count; i++) {
		struct shm_extent e = shm_arena_state(segment, i);
		uint32_t live = shm_arena_live(segment, i, e.generation);

		if (e.state == SHM_FREE) {
			s->free++;
		} else if (e.state == SHM_EVICTING) {
			note_evicting(call, &e, fresh, s);
		} else if (e.state == SHM_LIMBO && !s->recycled) {
			s->recycled = evict_recycle(call, &e, fresh);
		} else if (e.state == SHM_SEALED && live < least &&
			   policy_mostly_dead(live, call->m->extent_bytes)) {
			least = live;
			s->deadest = e;
		}
	}
}

/* Empties the next extent on the circle that can be. */
static bool
follow_hand(const struct call *call, bool fresh)
{
	struct shm_segment *segment = call->m->segment;
	uint32_t count = segment->geometry.request.extent_count;

	for (uint32_t i = 0; i < count; i++) {
		struct shm_extent e = shm_arena_next_victim(segment);
		uint32_t live = shm_arena_live(segment, e.number, e.generation);

		if (e.state == SHM_SEALED &&
		    evict_extent(call, &e,
			policy_mostly_dead(live, call->m->extent_bytes)
			    ? EVICT_CLEAN
			    : EVICT_CLOCK,
			fresh))
			return true;
	}
	return false;
}

/* Finishes what was abandoned; else takes a victim, the deadest that was seen
   or the hand's. */
static bool
free_one(const struct call *call, const struct survey *s, bool fresh)
{
	return (s->abandoned &&
		   evict_finish(call, &s->evicting, EVICT_DROP, fresh)) ||
	       (s->deadest.state == SHM_SEALED &&
		   evict_extent(call, &s->deadest, EVICT_CLEAN, fresh)) ||
	       follow_hand(call, fresh);
}

/* One pass: frees an extent, or finds that others have. */
static bool
make_room(const struct call *call, bool fresh)
{
	struct survey s;

	look_around(call, fresh, &s);
	return s.recycled ||
	       (s.evicting.state == SHM_EVICTING &&
		   evict_finish(call, &s.evicting, EVICT_DROP, fresh)) ||
	       free_one(call, &s, fresh) ||
	       shm_arena_count_free(call->m->segment, 1) > 0;
}

int
evict_reserve(
    const struct call *call, uint32_t bytes, struct shm_place *place_out)
{
	unsigned passes = 0;
	int error;

	while ((error = reserve(call, bytes, place_out)) == SHM_EBUSY) {
		if (make_room(call, passes > 0))
			continue;
		if (++passes == PASSES_MAX)
			return SHMCACHE_EBUSY;
		(void)sched_yield();
	}
	return error;
}

uint32_t
evict_fill_reserve(const struct call *call)
{
	const struct mapping *m = call->m;
	uint32_t freed = 0;

	while (freed < m->reserve &&
	       shm_arena_count_free(m->segment, m->reserve) < m->reserve) {
		struct survey s;

		look_around(call, false, &s);
		if (s.free < m->reserve && !s.recycled &&
		    !free_one(call, &s, false))
			break;
		freed++;
	}
	return freed;
}
