/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * loss.h - what is done as messages may be missing
 *
 * They are when a connection is lost, and until the next is listening: everything
 * that was loaded until then may be stale.
 *
 * `flush` flushes when a connection is lost, and when one is listening.
 *
 * `expire` begins a flush then, and ends it half of the limit later
 * (shmcache_flush_begin(3)); and while nothing listens it begins another each quarter
 * of the limit.  So what was loaded before a loss is gone half of the limit after the
 * loss was noticed, and what is loaded during an outage waits a quarter for the next
 * flush to begin, and two for its end; one is left for this program's own delays.
 * That holds for everything the cache may return: entries that only loading calls see
 * too, and what is filled, or stored with a snapshot, late.  What is loaded when
 * messages come again stays.
 *
 * The entries that are there at a beginning get no longer time to live than until
 * its end, so that loading calls can refresh them one by one before they go.
 *
 * Two flushes whose beginnings lie less than a quarter apart become one, with the
 * beginning of the later and the end of the earlier; so few are pending.
 */
#ifndef TOOLS_INVALIDATE_LOSS_H
#define TOOLS_INVALIDATE_LOSS_H

#include "tools/invalidate/bridge.h"

enum on_loss { ON_LOSS_FLUSH, ON_LOSS_EXPIRE, ON_LOSS_IGNORE };

#define LOSS_PENDING_MAX 4

/* A flush that was begun. */
struct loss_pending {
	struct shmcache_snapshot begun;
	long long begun_ms;
};

struct loss {
	enum on_loss action;
	long long limit_ms; /* of `expire` */
	long long next_ms;  /* when to begin another while nothing listens */
	struct loss_pending pending[LOSS_PENDING_MAX]; /* oldest first */
	unsigned pending_count;
};

/* Messages may be missing until now (milliseconds of time_ms()).  Returns 0 or an
   error of the library. */
int loss_note(struct loss *loss, struct bridge *bridge, long long now_ms);

/* Do what is due.  Returns as above. */
int loss_look(
    struct loss *loss, struct bridge *bridge, int listening, long long now_ms);

/* When something will be due; -1: nothing. */
long long loss_due_ms(const struct loss *loss, int listening);

#endif /* TOOLS_INVALIDATE_LOSS_H */
