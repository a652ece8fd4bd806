/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* evict.c - emptying extents */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "libshmcache/evict.h"

#include "libshmcache/entry.h"
#include "libshmcache/expire.h"
#include "libshmcache/ghost.h"
#include "libshmcache/index.h"
#include "libshmcache/place.h"
#include "libshmcache/policy.h"
#include "libshmcache/stats.h"
#include "shm/error.h"

#include <sched.h>

/*
 * Passes over all extents before a set gives up.  Where all of them are pinned
 * by calls that merely lost the processor in the middle (as many writers as
 * extents), letting those run is enough; calls that stand still are not waited
 * for.
 */
#define PASSES_MAX 32u

/* Extents that one eviction lets pass.  After these the best of one is kept. */
#define LET_PASS_MAX 8u

/* An eviction of one extent. */
struct eviction {
	struct shm_extent extent;
	enum evict_mode mode;
	uint32_t budget;         /* bytes that may still be copied on */
	uint32_t least_worth;    /* that is copied */
	uint32_t least_budget;   /* of those that are worth just that */
	uint64_t bytes, entries; /* that could be read */
	bool stuck; /* an entry must stay, and there is no room for its copy */
};

/* An extent whose readable entries may not be dropped. */
static bool
is_lasting(const struct shm_extent *extent)
{
	return extent->log == LOG_LASTING;
}

/* An entry on its way out. */
struct leaver {
	struct entry entry;
	struct key key;
	uint64_t word; /* its final word */
	struct policy_verdict verdict;
	bool readable;
};

/* What the policy says; or that a cleaned entry stays as it is, the rather the
   more the policy would keep it. */
static struct policy_verdict
judge(const struct call *call, const struct eviction *eviction,
    const struct entry *entry)
{
	struct policy_view view = { .bytes = entry->bytes,
		.mean_bytes =
		    (uint32_t)shm_load64(&call->m->shared->mean_bytes),
		.marks = shm_load8(&entry->shared->ref),
		.log = (uint8_t)eviction->extent.log };
	struct policy_verdict verdict = call->m->policy->judge(&view);

	if (verdict.worth > POLICY_WORTH_MAX) /* of damaged marks */
		verdict.worth = POLICY_WORTH_MAX;
	if (eviction->mode == EVICT_CLEAN) {
		verdict.worth += verdict.worth < POLICY_WORTH_MAX;
		verdict.marks = view.marks;
		verdict.remember = false;
	}
	return verdict;
}

/* (And notes when an extent was begun and how far its log is.) */
int
evict_reserve_room(const struct call *call, uint32_t log,
    enum shm_purpose purpose, uint32_t bytes, struct shm_place *place_out)
{
	int error =
	    shm_arena_reserve(call->peer, log, purpose, bytes, place_out);

	if (error != 0)
		return error;
	place_advance(call->m, log, place_out);
	if (place_out->installed)
		shm_arena_set_stamp(call->m->segment, place_out->extent,
		    place_out->generation, mapping_now_ms(call->m));
	return 0;
}

/* Writes the copy; its word goes into *word_out, its extent is the target. */
static bool
write_copy(const struct call *call, const struct eviction *eviction,
    const struct leaver *l, struct shm_place *place, uint64_t *word_out)
{
	struct entry_content content;
	uint32_t bytes;

	entry_carry(call->m, &l->entry, &content);
	content.ref = l->verdict.marks;
	content.log =
	    eviction->mode == EVICT_CLEAN ? eviction->extent.log : LOG_MAIN;
	if (eviction->mode != EVICT_CLEAN)
		content.stamp = place_stamp(call->m, LOG_MAIN);
	bytes = entry_bytes(&content);
	if (bytes > eviction->budget ||
	    evict_reserve_room(call, content.log, SHM_MOVE, bytes, place) != 0)
		return false;
	entry_write(call->m, place, &content);
	*word_out = index_word(&l->key, place);
	return true;
}

/* Puts a copy in the slot.  False: the entry could not be kept, or the slot has
   changed. */
static bool
copy_on(const struct call *call, struct eviction *eviction,
    const struct leaver *l, uint64_t slot)
{
	struct shm_place place;
	uint64_t word;
	bool linked;

	if (!write_copy(call, eviction, l, &place, &word))
		return false;
	linked = shm_cas64(&call->m->slots[slot], l->word, word);
	if (!linked)
		shm_arena_account(call->m->segment, place.extent,
		    place.generation, -(int64_t)place.bytes);
	shm_pin_clear(call->peer, SHM_PIN_TARGET);
	eviction->budget -= place.bytes;
	if (linked) {
		stats_count(call->peer, COUNT_second_chances);
		stats_add(call->peer, COUNT_copied_bytes, place.bytes);
	}
	return linked;
}

/* Is it worth its bytes?  Takes them, of those that may be worth the least. */
static bool
chosen(struct eviction *eviction, const struct leaver *l)
{
	if (!l->readable || l->verdict.worth < eviction->least_worth)
		return false;
	if (l->verdict.worth > eviction->least_worth)
		return true;
	if (l->entry.bytes > eviction->least_budget)
		return false;
	eviction->least_budget -= l->entry.bytes;
	return true;
}

/* It is unlinked. */
static void
count_gone(const struct call *call, const struct eviction *eviction,
    const struct leaver *l)
{
	stats_count(
	    call->peer, l->readable ? COUNT_evictions : COUNT_evicted_expired);
	if (l->readable && l->verdict.remember && call->m->ghost_words > 0)
		ghost_add(call->m, &l->key, eviction->extent.log == LOG_MAIN);
}

/* Takes the entry's final word out of this slot, or to its copy. */
static void
unlink_final(const struct call *call, struct eviction *eviction,
    struct leaver *l, uint64_t slot)
{
	l->readable = entry_valid(call->m, &l->entry);
	l->verdict = judge(call, eviction, &l->entry);
	if (l->readable) {
		eviction->bytes += l->entry.bytes;
		eviction->entries++;
	}
	if (chosen(eviction, l) && copy_on(call, eviction, l, slot))
		return;
	if (l->readable && is_lasting(&eviction->extent)) {
		eviction->stuck = shm_load64(&call->m->slots[slot]) == l->word;
		return;
	}
	if (shm_cas64(&call->m->slots[slot], l->word, 0))
		count_gone(call, eviction, l);
}

/* Repeats until the entry's window names it neither way. */
static void
unlink_entry(
    const struct call *call, struct eviction *eviction, struct leaver *l)
{
	uint64_t slot, seen;

	while (!eviction->stuck &&
	       index_holds(call, &l->key, l->word, &slot, &seen)) {
		if (seen == l->word)
			unlink_final(call, eviction, l, slot);
		else
			(void)index_abort(call, slot, seen);
	}
}

/*
 * Entries of a walk that are read before the first of them is looked up, so
 * that their buckets, lines from all over the index, come from memory together.
 */
#define WALK_AHEAD 16u

/* The extent's next entries from *at on; 0: that was all. */
static unsigned
read_ahead(const struct call *call, const struct shm_extent *extent,
    uint32_t *at, struct leaver ahead[WALK_AHEAD])
{
	struct shm_segment *segment = call->m->segment;
	struct shm_place place = { .generation = extent->generation };
	uint64_t base = shm_arena_offset(segment, extent->number);
	unsigned count = 0;

	while (count < WALK_AHEAD &&
	       (*at = shm_arena_next_start(segment, extent->number,
		    extent->generation, *at, true)) != UINT32_MAX) {
		struct leaver *l = &ahead[count];

		place.offset = base + *at;
		*at += SHM_UNIT_BYTES;
		/* Damaged: nothing that find would open. */
		if (!entry_open(call->m, place.offset, &l->entry) ||
		    shm_load8(&l->entry.shared->ref) == ENTRY_DEAD)
			continue;
		index_entry_key(call->m, &l->entry, &l->key);
		l->word = index_word(&l->key, &place);
		index_prefetch(call->m, &l->key);
		count++;
	}
	return count;
}

/* May it be returned, as far as it itself tells? */
static bool
is_live(const struct call *call, const struct entry *entry)
{
	return shm_load8(&entry->shared->ref) != ENTRY_DEAD &&
	       entry_valid(call->m, entry);
}

static uint32_t
copies_max(const struct mapping *m, enum evict_mode mode)
{
	unsigned percent = mode == EVICT_CLEAN ? 100 - POLICY_CLEAN_PERCENT
					       : POLICY_KEPT_PERCENT;

	return (uint32_t)(m->extent_bytes * percent / 100);
}

/*
 * What is worth being copied: if all that the policy would keep is more than
 * the budget, the best of it.  Entries that nothing names any more count too,
 * so the choice may be too strict; never too lax.
 */
static void
set_standard(const struct call *call, struct eviction *eviction)
{
	const struct shm_extent *extent = &eviction->extent;
	struct shm_segment *segment = call->m->segment;
	uint64_t base = shm_arena_offset(segment, extent->number);
	uint64_t bytes[POLICY_WORTH_MAX + 1] = { 0 }, sum = 0;
	uint32_t at = 0, worth = POLICY_WORTH_MAX;

	eviction->least_worth = 1;
	eviction->least_budget = UINT32_MAX;
	if (shm_arena_live(segment, extent->number, extent->generation) <=
	    eviction->budget)
		return;
	while ((at = shm_arena_next_start(segment, extent->number,
		    extent->generation, at, true)) != UINT32_MAX) {
		struct entry entry;

		if (entry_open(call->m, base + at, &entry) &&
		    is_live(call, &entry))
			bytes[judge(call, eviction, &entry).worth] +=
			    entry.bytes;
		at += SHM_UNIT_BYTES;
	}
	while (worth > 1 && sum + bytes[worth] <= eviction->budget)
		sum += bytes[worth--];
	eviction->least_worth = worth;
	eviction->least_budget =
	    sum < eviction->budget ? eviction->budget - (uint32_t)sum : 0;
}

/* Everything that can be read is copied, by whoever is at it. */
static void
keep_all(struct eviction *eviction)
{
	eviction->mode = EVICT_CLEAN;
	eviction->budget = UINT32_MAX;
	eviction->least_worth = 0;
	eviction->least_budget = UINT32_MAX;
}

/* A running mean, over about the last 16 extents. */
static void
note_mean(const struct call *call, const struct eviction *eviction)
{
	uint64_t *word = &call->m->shared->mean_bytes;
	uint64_t mean = shm_load64(word), here;

	if (eviction->entries == 0)
		return;
	here = eviction->bytes / eviction->entries;
	shm_store64(word, mean == 0 ? here : (mean * 15 + here + 8) / 16);
}

bool
evict_finish(const struct call *call, const struct shm_extent *extent,
    enum evict_mode mode, bool fresh)
{
	struct shm_segment *segment = call->m->segment;
	struct eviction eviction = { .extent = *extent,
		.mode = mode,
		.budget = copies_max(call->m, mode),
		.least_worth = POLICY_WORTH_MAX + 1 };
	struct shm_extent limbo = *extent;
	struct leaver ahead[WALK_AHEAD];
	unsigned count;
	uint32_t at = 0;

	if (!shm_arena_pin_walk(call->peer, extent))
		return false;
	if (is_lasting(extent))
		keep_all(&eviction);
	else if (mode != EVICT_DROP)
		set_standard(call, &eviction);
	while (!eviction.stuck &&
	       (count = read_ahead(call, extent, &at, ahead)) > 0)
		for (unsigned i = 0; i < count; i++)
			unlink_entry(call, &eviction, &ahead[i]);
	if (eviction.stuck) {
		shm_pin_clear(call->peer, SHM_PIN_SCAN);
		return false; /* it stays EVICTING, and readable */
	}
	if (shm_arena_end_evict(segment, extent))
		stats_count(call->peer, COUNT_extents_evicted);
	shm_pin_clear(call->peer, SHM_PIN_SCAN);
	note_mean(call, &eviction);
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
	uint64_t now_ms;
	uint32_t free;
	uint32_t written[CACHE_LOGS]; /* ACTIVE or SEALED */
	bool recycled;                /* something was, on the way */
	uint32_t at_work;             /* that others are emptying */
	bool abandoned;               /* nobody is at work in `evicting` */
	struct shm_extent evicting;
	uint32_t most_dead;
	struct shm_extent deadest; /* worth cleaning; else SHM_DAMAGED */
	uint64_t longest_due_ms;
	struct shm_extent due; /* worth sweeping; else SHM_DAMAGED */
	bool in_no_hurry;      /* what another frees will do, too */
	bool lost;             /* what was to be emptied another has taken */
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
	bool abandoned = evict_abandoned(call, e, fresh);

	s->at_work += !abandoned;
	if (s->abandoned)
		return;
	s->evicting = *e;
	s->abandoned = abandoned;
}

/* An extent whose first entry expired so long ago that others will have too:
   an eighth of the time since it was begun. */
static void
note_due(const struct call *call, const struct shm_extent *e, struct survey *s)
{
	struct shm_segment *segment = call->m->segment;
	uint64_t hint = shm_arena_hint(segment, e->number, e->generation);
	uint64_t begun = shm_arena_stamp(segment, e->number, e->generation);
	uint64_t since_ms;

	if (hint >= s->now_ms)
		return;
	since_ms = s->now_ms - hint;
	if (since_ms > s->longest_due_ms && since_ms * 8 > s->now_ms - begun) {
		s->longest_due_ms = since_ms;
		s->due = *e;
	}
}

/* Its dead bytes, if they are worth cleaning it; else 0. */
static uint32_t
dead_worth(const struct call *call, const struct shm_extent *e)
{
	struct shm_segment *segment = call->m->segment;
	uint32_t used = shm_arena_tail(segment, e->number, e->generation);
	uint32_t live = shm_arena_live(segment, e->number, e->generation);
	uint32_t dead = used > live ? used - live : 0;

	return policy_worth_cleaning(dead, call->m->extent_bytes) ? dead : 0;
}

/* The first of those that have most. */
static void
note_dead(struct survey *s, const struct shm_extent *e, uint32_t dead)
{
	if (dead > s->most_dead) {
		s->most_dead = dead;
		s->deadest = *e;
	}
}

static void
note_sealed(
    const struct call *call, const struct shm_extent *e, struct survey *s)
{
	note_dead(s, e, dead_worth(call, e));
}

/* Looks at every extent once, and recycles the first that it can. */
static void
look_around(const struct call *call, bool fresh, struct survey *s)
{
	struct shm_segment *segment = call->m->segment;

	*s = (struct survey){ .now_ms = mapping_now_ms(call->m),
		.evicting.state = SHM_DAMAGED,
		.deadest.state = SHM_DAMAGED,
		.due.state = SHM_DAMAGED };
	for (uint32_t i = 0; i < segment->geometry.request.extent_count; i++) {
		struct shm_extent e = shm_arena_state(segment, i);

		if (e.state == SHM_FREE)
			s->free++;
		else if (e.state == SHM_EVICTING)
			note_evicting(call, &e, fresh, s);
		else if (e.state == SHM_LIMBO && !s->recycled)
			s->recycled = evict_recycle(call, &e, fresh);
		else if (e.state == SHM_SEALED)
			note_sealed(call, &e, s), note_due(call, &e, s);
		if ((e.state == SHM_ACTIVE || e.state == SHM_SEALED) &&
		    e.log < CACHE_LOGS)
			s->written[e.log]++;
	}
}

/* Its turn: the lower, the sooner.  Never 0. */
static uint64_t
turn_of(const struct call *call, const struct shm_extent *extent)
{
	uint64_t born = shm_arena_born(call->m->segment, extent);
	uint64_t x;

	switch (call->m->policy->order) {
	case POLICY_NEWEST:
		return UINT64_MAX - born;
	case POLICY_ANY: /* another order each time, as extents are installed */
		x = (extent->number + 1ull) * 0x9e3779b97f4a7c15ull ^
		    shm_load64(&call->m->segment->header->installed) *
			0xc2b2ae3d27d4eb4full;
		return (x ^ x >> 29) * 0xbf58476d1ce4e5b9ull >> 8 | 1;
	default:
		return born + 1;
	}
}

/* The SEALED extent of the log whose turn is next from `turn` on. */
static bool
find_next(const struct call *call, uint32_t log, uint64_t *turn,
    struct shm_extent *next)
{
	struct shm_segment *segment = call->m->segment;
	uint64_t least = UINT64_MAX;

	for (uint32_t i = 0; i < segment->geometry.request.extent_count; i++) {
		struct shm_extent e = shm_arena_state(segment, i);
		uint64_t at;

		if (e.state != SHM_SEALED || e.log != log)
			continue;
		at = turn_of(call, &e);
		if (at >= *turn && at < least) {
			least = at;
			*next = e;
		}
	}
	*turn = least;
	return least != UINT64_MAX;
}

/* The bytes of the pinned extent that would be kept. */
static uint64_t
kept_bytes(const struct call *call, struct eviction *eviction)
{
	const struct shm_extent *e = &eviction->extent;
	struct shm_segment *segment = call->m->segment;
	uint64_t base = shm_arena_offset(segment, e->number), kept = 0;
	uint32_t at = 0;

	while ((at = shm_arena_next_start(segment, e->number, e->generation, at,
		    false)) != UINT32_MAX) {
		struct entry entry;

		if (entry_open(call->m, base + at, &entry) &&
		    is_live(call, &entry)) {
			eviction->bytes += entry.bytes;
			eviction->entries++;
			if (judge(call, eviction, &entry).worth > 0)
				kept += entry.bytes;
		}
		at += SHM_UNIT_BYTES;
	}
	return kept;
}

/* Unlinks an entry of the pinned extent where it lies. */
static void
drop_in_place(const struct call *call, const struct eviction *eviction,
    const struct shm_place *place, struct leaver *l)
{
	struct found found = { .entry = l->entry };

	index_entry_key(call->m, &l->entry, &l->key);
	l->word = index_word(&l->key, place);
	if (!index_holds(call, &l->key, l->word, &found.slot, &found.word) ||
	    found.word != l->word || !index_swap(call, &found, 0))
		return;
	count_gone(call, eviction, l);
}

/*
 * The entries of the pinned extent get the marks that copies would have.  (A mark
 * that a reader leaves meanwhile may be lost, which does no harm.)  `prune`: what
 * the policy drops is unlinked where it lies.
 */
static void
lower_marks(
    const struct call *call, const struct eviction *eviction, bool prune)
{
	const struct shm_extent *e = &eviction->extent;
	struct shm_segment *segment = call->m->segment;
	struct shm_place place = { .generation = e->generation };
	uint64_t base = shm_arena_offset(segment, e->number);
	uint32_t at = 0;

	while ((at = shm_arena_next_start(segment, e->number, e->generation, at,
		    false)) != UINT32_MAX) {
		struct leaver l;

		place.offset = base + at;
		at += SHM_UNIT_BYTES;
		if (!entry_open(call->m, place.offset, &l.entry) ||
		    shm_load8(&l.entry.shared->ref) == ENTRY_DEAD)
			continue;
		l.readable = entry_valid(call->m, &l.entry);
		l.verdict = judge(call, eviction, &l.entry);
		if (prune && (!l.readable || l.verdict.worth == 0)) {
			drop_in_place(call, eviction, &place, &l);
		} else if (l.readable) {
			shm_store8(&l.entry.shared->ref, l.verdict.marks);
			shm_store16(&l.entry.shared->stamp,
			    place_stamp(call->m, LOG_MAIN));
		}
	}
}

/*
 * Lets an extent pass of which more would be kept than may be copied: it becomes
 * the newest of the main log where it lies, with its marks lowered; and, if that
 * makes it worth cleaning, without what the policy drops.  So the hand goes on to
 * where there is more to gain, and nothing is copied.  True if it was let pass,
 * by this call or another.
 */
static bool
let_pass(const struct call *call, struct shm_extent *extent)
{
	struct shm_segment *segment = call->m->segment;
	struct eviction eviction = { .extent = *extent, .mode = EVICT_JUDGE };
	uint64_t kept;
	bool passes;

	if (shm_arena_live(segment, extent->number, extent->generation) <=
		copies_max(call->m, EVICT_JUDGE) ||
	    !shm_arena_pin_walk(call->peer, extent))
		return false;
	kept = kept_bytes(call, &eviction);
	passes = kept > copies_max(call->m, EVICT_JUDGE);
	if (passes && shm_arena_renew(segment, extent, LOG_MAIN)) {
		lower_marks(
		    call, &eviction, kept <= copies_max(call->m, EVICT_CLEAN));
		note_mean(call, &eviction);
		stats_count(call->peer, COUNT_extents_passed);
		extent->log = LOG_MAIN;
	}
	shm_pin_clear(call->peer, SHM_PIN_SCAN);
	return passes;
}

/* Empties an extent that was seen. */
static bool
take(const struct call *call, const struct shm_extent *seen,
    enum evict_mode mode, bool fresh, struct survey *s)
{
	struct shm_extent now;

	if (evict_extent(call, seen, mode, fresh))
		return true;
	now = shm_arena_state(call->m->segment, seen->number);
	s->lost |=
	    now.state != seen->state || now.generation != seen->generation;
	return false;
}

/* Is another about to free what this call wanted to, and is that enough?  What
   is next would be worth more, as one would see who looks again. */
static bool
gives_way(const struct survey *s)
{
	return s->in_no_hurry && s->lost;
}

/* Empties the extent of the log whose turn it is, of those that can be. */
static bool
follow_log(const struct call *call, uint32_t log, bool fresh, struct survey *s)
{
	unsigned passes = 0;
	uint64_t turn = 0;
	struct shm_extent e;

	while (!gives_way(s) && find_next(call, log, &turn, &e)) {
		enum evict_mode mode = EVICT_JUDGE;

		if (passes < LET_PASS_MAX && let_pass(call, &e)) {
			passes++;
			mode = EVICT_CLEAN;
		}
		if ((mode == EVICT_JUDGE || dead_worth(call, &e) > 0) &&
		    take(call, &e, mode, fresh, s))
			return true;
		turn++;
	}
	return false;
}

/* Probation gives way if it has more than its share of what may be evicted, else
   the main log. */
static bool
follow_logs(const struct call *call, bool fresh, struct survey *s)
{
	uint64_t all = call->m->segment->geometry.request.extent_count;
	uint64_t here = all - s->written[LOG_LASTING];
	bool probation = s->written[LOG_PROBATION] * call->m->extent_bytes >
			 place_probation_bytes(call->m) / all * here;

	return follow_log(
		   call, probation ? LOG_PROBATION : LOG_MAIN, fresh, s) ||
	       follow_log(call, probation ? LOG_MAIN : LOG_PROBATION, fresh, s);
}

/* Of those that are worth cleaning the one that comes after the deadest. */
static void
note_next_deadest(const struct call *call, struct survey *s)
{
	struct shm_segment *segment = call->m->segment;
	uint32_t dead = s->most_dead, number = s->deadest.number;

	s->most_dead = 0;
	s->deadest.state = SHM_DAMAGED;
	for (uint32_t i = 0; i < segment->geometry.request.extent_count; i++) {
		struct shm_extent e = shm_arena_state(segment, i);
		uint32_t here =
		    e.state == SHM_SEALED ? dead_worth(call, &e) : 0;

		if (here < dead || (here == dead && i > number))
			note_dead(s, &e, here);
	}
}

/* Empties the deadest extent of those that can be: a writer who stands still may
   have his entry in the first, and others would never be cleaned. */
static bool
clean_one(const struct call *call, bool fresh, struct survey *s)
{
	while (s->deadest.state == SHM_SEALED && !gives_way(s)) {
		if (take(call, &s->deadest, EVICT_CLEAN, fresh, s))
			return true;
		note_next_deadest(call, s);
	}
	return false;
}

/* Finishes what was abandoned; else takes a victim, the deadest that was seen
   or the one whose turn it is. */
static bool
free_one(const struct call *call, struct survey *s, bool fresh)
{
	if (s->due.state == SHM_SEALED && expire_extent(call, &s->due) > 0)
		note_sealed(call, &s->due, s);
	return (s->abandoned &&
		   evict_finish(call, &s->evicting, EVICT_DROP, fresh)) ||
	       clean_one(call, fresh, s) || follow_logs(call, fresh, s);
}

/* Empties with another the extent that he is at; or alone, if he stands still. */
static bool
join(const struct call *call, const struct survey *s, bool fresh)
{
	return s->evicting.state == SHM_EVICTING &&
	       evict_finish(call, &s->evicting, EVICT_DROP, fresh);
}

/* One pass: frees an extent, or finds that others have. */
static bool
make_room(const struct call *call, bool fresh)
{
	struct survey s;

	look_around(call, fresh, &s);
	return s.recycled || join(call, &s, fresh) ||
	       free_one(call, &s, fresh) ||
	       shm_arena_count_free(call->m->segment, 1) > 0;
}

static int
error_full(void)
{
	return shm_error_note(SHMCACHE_EFULL,
	    "the cache is full, and what never expires may not be evicted");
}

/* Are all extents full of what may not be evicted, but for those that are being
   written? */
static bool
nothing_to_evict(const struct call *call)
{
	struct shm_segment *segment = call->m->segment;

	for (uint32_t i = 0; i < segment->geometry.request.extent_count; i++) {
		struct shm_extent e = shm_arena_state(segment, i);

		if (e.state != SHM_ACTIVE && !is_lasting(&e))
			return false;
	}
	return true;
}

/*
 * What never expires must leave a free extent behind, for the copies of
 * cleaning: else a cache that has filled up once could not be cleaned again.
 */
static int
reserve_lasting(
    const struct call *call, uint32_t bytes, struct shm_place *place_out)
{
	uint32_t tries = call->m->segment->geometry.request.extent_count;
	int error;

	while ((error = evict_reserve_room(call, LOG_LASTING, SHM_WRITE, bytes,
		    place_out)) == SHM_EBUSY) {
		struct survey s;

		look_around(call, true, &s);
		if (tries-- == 0 ||
		    (s.free < 2 && !s.recycled && !free_one(call, &s, true) &&
			!join(call, &s, true)))
			return error_full();
	}
	return error;
}

/* Others leave it, too, if one try to free another is enough, and not more than
   one is at that already: of many that come at once each would empty one. */
static int
reserve_sparing(const struct call *call, uint32_t log, uint32_t bytes,
    struct shm_place *place_out)
{
	int error = evict_reserve_room(call, log, SHM_WRITE, bytes, place_out);
	struct survey s;

	if (error != SHM_EBUSY)
		return error;
	look_around(call, false, &s);
	if (!s.recycled && s.free < 2 && s.at_work < 2)
		(void)free_one(call, &s, false);
	return evict_reserve_room(call, log, SHM_WRITE_LAST, bytes, place_out);
}

int
evict_reserve(const struct call *call, uint32_t log, uint32_t bytes,
    struct shm_place *place_out)
{
	unsigned passes = 0;
	int error;

	if (log == LOG_LASTING)
		return reserve_lasting(call, bytes, place_out);
	error = reserve_sparing(call, log, bytes, place_out);
	while (error == SHM_EBUSY) {
		if (!make_room(call, passes > 0)) {
			if (call->m->volatile_only && nothing_to_evict(call))
				return error_full();
			if (++passes == PASSES_MAX)
				return SHMCACHE_EBUSY;
			(void)sched_yield();
		}
		error = evict_reserve_room(
		    call, log, SHM_WRITE_LAST, bytes, place_out);
	}
	return error;
}

uint32_t
evict_fill_reserve(const struct call *call, uint32_t wanted)
{
	struct shm_segment *segment = call->m->segment;
	uint32_t tries = wanted, freed = 0;

	while (tries-- > 0 && shm_arena_count_free(segment, wanted) < wanted) {
		struct survey s;

		look_around(call, false, &s);
		s.in_no_hurry = true;
		if (s.free >= wanted || s.recycled || free_one(call, &s, false))
			freed++;
		else if (!gives_way(&s))
			break;
	}
	return freed;
}
