/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * recorded.h - what a log of a live cache says besides its requests
 *
 * shmcache-stat --record writes the requests for a share of the keys, chosen by
 * their hash.  A cache of that share of the size has about the miss ratio of the
 * whole; what it is off by is mostly due to the hottest keys, which are in the
 * sample or not.  As it is known how many gets there were in all, the gets that
 * the sample has too few are taken for hits, and those too many for none
 * (SHARDS-adj).
 *
 * A get that missed where it was recorded, and the set of its key that follows,
 * are one request: the replay stores what it misses, with that set's size and
 * time to live.  A miss that no set follows is of a key that nobody has: it is
 * not stored.  (A touch between the two does not part them.  A flush does: the
 * set stays.)
 */
#ifndef REPLAY_RECORDED_H
#define REPLAY_RECORDED_H

#include <stdbool.h>
#include <stdint.h>

struct trace;

struct recorded {
	double share;            /* of the keys; 0: all */
	uint64_t gets, hits;     /* in all; 0: not known */
	uint64_t capacity_bytes; /* of the cache; 0: not known */
	uint64_t fixed_bytes;    /* of its tables that don't grow */
	uint64_t key_bytes;      /* mean; 0: not known */
	uint64_t lost, torn, gaps;
	uint64_t unknown; /* of kinds that the recorder did not know */
	uint64_t stored;  /* sets that belonged to a miss */
	bool ended;       /* the lines at the end are there */
	char policy[16];
};

/* Takes a line "# name value"; others say nothing.  False: a number that is
   none. */
bool recorded_note(struct recorded *recorded, const char *line);

/* Joins misses with their sets.  False: not enough memory. */
bool recorded_settle(struct trace *trace);

/* Of the gets, how many a trace of this share should have. */
double recorded_expected_gets(const struct trace *trace);

#endif /* REPLAY_RECORDED_H */
