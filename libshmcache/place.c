/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* place.c - choosing a log, and keeping its position */
#include "libshmcache/place.h"

#include "libshmcache/ghost.h"
#include "libshmcache/stats.h"
#include "shm/pin.h"

uint16_t
place_stamp(const struct mapping *m, uint32_t log)
{
	uint16_t stamp;

	if (m->window_ticks == 0 || log != m->window_log)
		return 0;
	stamp = (uint16_t)shm_load64(m->window_position);
	return stamp != 0 ? stamp : UINT16_MAX; /* one tick older */
}

void
place_advance(
    const struct mapping *m, uint32_t log, const struct shm_place *place)
{
	uint64_t tick = m->extent_bytes / PLACE_TICKS_PER_EXTENT;
	uint64_t end = place->offset + place->bytes;

	if (place->offset / tick != end / tick)
		(void)shm_faa64(&m->shared->position[log],
		    end / tick - place->offset / tick);
}

bool
place_near_end(const struct mapping *m, const struct shm_place *place)
{
	uint64_t at =
	    (place->offset - m->segment->geometry.arena) % m->extent_bytes;
	uint64_t last =
	    m->extent_bytes - m->extent_bytes / PLACE_TICKS_PER_EXTENT;

	return at < last && at + place->bytes >= last;
}

/* Probation's share of the arena lies between these, whatever ghosts say. */
#define PROBATION_LEAST_PERCENT 5u
#define PROBATION_MOST_PERCENT  90u

/* The border moves by so many times a mean entry, where that is what comes back;
   and never by more of the arena than one part of so many. */
#define PROBATION_GAIN   10
#define PROBATION_STRIDE 8

static uint64_t
bound(const struct mapping *m, int64_t bytes)
{
	int64_t percent = (int64_t)(m->arena_bytes / 100);
	int64_t least = percent * PROBATION_LEAST_PERCENT;
	int64_t most = percent * PROBATION_MOST_PERCENT;

	return (uint64_t)(bytes < least ? least : bytes > most ? most : bytes);
}

uint64_t
place_probation_bytes(const struct mapping *m)
{
	return m->policy->probation_percent == 0
		   ? 0
		   : bound(m, (int64_t)shm_load64(&m->shared->probation_bytes));
}

/* What one return moves it by.  A hit counts as one whatever its size, and the
   room for a small one costs less: the larger the entry, the shorter. */
static int64_t
stride(const struct mapping *m, uint32_t bytes)
{
	uint64_t mean = (uint32_t)shm_load64(&m->shared->mean_bytes);
	uint64_t step = mean * mean / bytes;
	uint64_t most = m->arena_bytes / PROBATION_STRIDE / PROBATION_GAIN;

	return (int64_t)(step < most ? step : most) * PROBATION_GAIN;
}

/* The border goes to where the ghost pulls. */
static void
move_border(const struct mapping *m, const struct ghost *ghost, uint32_t bytes)
{
	uint64_t *word = &m->shared->probation_bytes;
	uint64_t old = shm_load64(word);
	int64_t from = (int64_t)bound(m, (int64_t)old); /* if it is damaged */
	int64_t step =
	    stride(m, bytes) * ghost->pull / (int)(GHOSTS_PER_WORD - 1);

	if (step != 0)
		(void)shm_cas64(word, old, bound(m, from + step));
}

/* Does it go to the main log at once?  Of those that left that every second does,
   another half at another time. */
static bool
goes_back(
    const struct mapping *m, const struct key *key, const struct ghost *ghost)
{
	uint64_t turn = key->hash >> GHOST_PRINT_BITS ^
			shm_load64(&m->shared->position[LOG_MAIN]);

	return ghost->there && (!ghost->of_main || (turn & 1) != 0);
}

/* The log of a new entry: a key that comes back has been on probation. */
static void
choose_log(const struct call *call, const struct key *key, uint32_t bytes,
    struct entry_content *entry)
{
	struct ghost ghost = ghost_take(call->m, key);
	bool back = goes_back(call->m, key, &ghost);

	if (!back)
		entry->log = LOG_PROBATION;
	if (!ghost.there)
		return;
	stats_count(call->peer, COUNT_ghost_hits);
	entry->ref = back && ghost.of_main; /* not for the first time */
	move_border(call->m, &ghost, bytes);
}

/* The log and the marks of the entry that the key has. */
static void
keep_place(
    const struct mapping *m, const struct found *old, struct entry_content *new)
{
	struct shm_extent e = shm_arena_state(m->segment, old->entry.extent);

	if (e.state != SHM_DAMAGED && e.log != LOG_LASTING)
		new->log = e.log;
	new->ref = shm_load8(&old->entry.shared->ref);
}

void
place_choose(const struct call *call, const struct key *key,
    const struct found *old, uint32_t bytes, struct entry_content *entry)
{
	const struct mapping *m = call->m;

	entry->log = LOG_MAIN;
	if (m->volatile_only && entry->expires_ms == 0) {
		entry->log = LOG_LASTING;
		return;
	}
	if (old != NULL)
		keep_place(m, old, entry);
	else if (m->policy->probation_percent > 0)
		choose_log(call, key, bytes, entry);
	entry->stamp = place_stamp(m, entry->log);
}
