/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* loss.c - see loss.h */
#include "tools/invalidate/loss.h"

#include <string.h>

static long long
quarter_ms(const struct loss *loss)
{
	return loss->limit_ms / 4;
}

static long long
end_ms(const struct loss *loss, const struct loss_pending *pending)
{
	return pending->begun_ms + loss->limit_ms / 2;
}

/* ESTALE is of a flush or a scan that was begun in a cache that is no more. */
static int
unless_gone(struct bridge *bridge, int error)
{
	bridge->gone |= error == SHMCACHE_EREMOVED;
	return error == SHMCACHE_EREMOVED || error == SHMCACHE_ESTALE ? 0
								      : error;
}

struct shortening {
	const struct bridge *bridge;
	long long ttl_ms;
};

/* What can't be touched (there is no room for another copy of it, say) goes all the
   same when the flush ends. */
static int
shorten(void *context, const struct shmcache_entry *entry)
{
	const struct shortening *s = context;

	if (entry->ttl_ms == SHMCACHE_TTL_NONE || entry->ttl_ms > s->ttl_ms) {
		(void)shmcache_touch(
		    s->bridge->cache, entry->key, entry->key_bytes, s->ttl_ms);
	}
	return bridge_stops(s->bridge);
}

static int
shorten_all(const struct bridge *bridge, long long ttl_ms)
{
	struct shortening s = { bridge, ttl_ms };
	uint64_t cursor = 0;
	int error = shmcache_scan(bridge->cache, &cursor, NULL, shorten, &s);

	return error < 0 ? error : 0;
}

static int
begin_flush(struct loss *loss, struct bridge *bridge, long long now_ms)
{
	struct loss_pending begun = { .begun_ms = now_ms };
	struct loss_pending *newest =
	    loss->pending_count == 0 ? NULL
				     : &loss->pending[loss->pending_count - 1];
	int error = shmcache_flush_begin(bridge->cache, &begun.begun);

	loss->next_ms = now_ms + quarter_ms(loss);
	if (error != 0) {
		return error;
	}
	if (newest != NULL && (now_ms - newest->begun_ms < quarter_ms(loss) ||
				  loss->pending_count == LOSS_PENDING_MAX)) {
		newest->begun = begun.begun;
	} else {
		loss->pending[loss->pending_count++] = begun;
	}
	return shorten_all(bridge, loss->limit_ms / 2);
}

int
loss_note(struct loss *loss, struct bridge *bridge, long long now_ms)
{
	switch (loss->action) {
	case ON_LOSS_FLUSH:
		return unless_gone(bridge, shmcache_flush(bridge->cache));
	case ON_LOSS_EXPIRE:
		return unless_gone(bridge, begin_flush(loss, bridge, now_ms));
	case ON_LOSS_IGNORE:
		break;
	}
	return 0;
}

static int
end_flush(struct loss *loss, struct bridge *bridge)
{
	int error = shmcache_flush_end(bridge->cache, &loss->pending[0].begun);

	loss->pending_count--;
	memmove(loss->pending, loss->pending + 1,
	    loss->pending_count * sizeof(loss->pending[0]));
	return unless_gone(bridge, error);
}

int
loss_look(
    struct loss *loss, struct bridge *bridge, int listening, long long now_ms)
{
	int error = 0;

	while (error == 0 && loss->pending_count > 0 &&
	       end_ms(loss, &loss->pending[0]) <= now_ms) {
		error = end_flush(loss, bridge);
	}
	if (error == 0 && loss->action == ON_LOSS_EXPIRE && !listening &&
	    loss->next_ms <= now_ms) {
		error = loss_note(loss, bridge, now_ms);
	}
	return error;
}

long long
loss_due_ms(const struct loss *loss, int listening)
{
	long long due_ms =
	    loss->action == ON_LOSS_EXPIRE && !listening ? loss->next_ms : -1;

	if (loss->pending_count > 0) {
		long long end = end_ms(loss, &loss->pending[0]);

		due_ms = due_ms < 0 || end < due_ms ? end : due_ms;
	}
	return due_ms;
}
