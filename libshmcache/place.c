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
    const struct found *old, struct entry_content *entry)
{
	const struct mapping *m = call->m;

	entry->log = LOG_MAIN;
	if (m->volatile_only && entry->expires_ms == 0) {
		entry->log = LOG_LASTING;
		return;
	}
	if (old != NULL) {
		keep_place(m, old, entry);
	} else if (m->policy->probation_percent > 0) {
		if (ghost_take(m, key))
			stats_count(call->peer, COUNT_ghost_hits);
		else
			entry->log = LOG_PROBATION;
	}
	entry->stamp = place_stamp(m, entry->log);
}
