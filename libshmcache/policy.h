/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * policy.h - what becomes of an entry when its extent is emptied
 *
 * A policy is a name, a few numbers, and one pure function; the mechanism
 * (which extent, walk, copy, retire: evict.c) is the same for all.  It costs a
 * file policy_NAME.c, and a line in policy.c.
 *
 * Hits leave marks in an entry, 3 at most in its stay in one place.  The
 * function sees them, and says whether the entry is copied on (its second
 * chance), with which marks, and what it is worth: no more than
 * POLICY_KEPT_PERCENT of an extent is copied, the most worth first.
 *
 * Probation.  A policy may have new entries go to a log of their own, of a few
 * percent of all extents to begin with; place.h moves that share.  What is copied
 * from there goes to the main log; of what is not, a fingerprint may be kept
 * (ghost.h), and a key that comes back while it is there goes to the main log at
 * once.
 *
 * Window.  Hits that come while an entry is among the newest so many percent of
 * its log (of what it has at first) leave no mark: they are one use, not several
 * (a page and what it loads).
 */
#ifndef LIBSHMCACHE_POLICY_H
#define LIBSHMCACHE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* The logs.  All policies have the first. */
#define LOG_MAIN      0u
#define LOG_PROBATION 1u
#define LOG_LASTING   2u /* of a cache that evicts volatile entries only */

#define POLICY_MARKS_MAX  3u /* that hits leave in one stay */
#define POLICY_WORTH_MAX  15u
#define POLICY_NAME_BYTES 16u

struct policy_view {
	uint32_t bytes;
	uint32_t mean_bytes; /* of the entries that were looked at lately */
	uint8_t marks;       /* low two bits: hits; others: from a verdict */
	uint8_t log;
};

struct policy_verdict {
	uint8_t worth; /* 0: it goes; else the more, the rather it is kept */
	uint8_t marks; /* of the copy */
	bool remember; /* if it goes: leave a fingerprint */
};

enum policy_order { POLICY_OLDEST, POLICY_NEWEST, POLICY_ANY };

struct policy {
	const char *name;
	struct policy_verdict (*judge)(const struct policy_view *view);
	enum policy_order order;   /* of the extents that are emptied */
	uint8_t probation_percent; /* at first; 0: one log, no ghosts */
	uint8_t window_percent;
};

/* NULL is the default's name.  NULL: there is no policy of that name. */
const struct policy *policy_named(const char *name);

/* The policy of that number, or NULL; and back. */
const struct policy *policy_numbered(uint64_t number);
uint64_t policy_number(const struct policy *policy);

/* The names, for messages. */
const char *policy_names(void);

/*
 * No more of an extent is copied on than this when the policy chooses, so that
 * every eviction gains as much again.  (docs/eviction.md has what more would
 * bring in misses.)
 */
#define POLICY_KEPT_PERCENT 50u

/*
 * An extent with so many dead bytes is cleaned, the deadest first, before any
 * whose turn it is: what lives is copied, and the dead bytes are what is gained.
 */
#define POLICY_CLEAN_PERCENT 19u

static inline bool
policy_worth_cleaning(uint64_t dead_bytes, uint64_t extent_bytes)
{
	return dead_bytes * 100 >= extent_bytes * POLICY_CLEAN_PERCENT;
}

extern const struct policy policy_s3fifo, policy_clock, policy_fifo, policy_lru,
    policy_lfu, policy_mru, policy_random;

#endif /* LIBSHMCACHE_POLICY_H */
