/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * run.h - a trace through a policy, or through the library itself
 *
 * A get that misses is followed by a set of the value, as an application would.
 * What is expired is a miss.  A set or an increment of a key that is there counts
 * as a use of it; only gets count in the miss ratio.
 */
#ifndef REPLAY_RUN_H
#define REPLAY_RUN_H

#include "tools/replay/reference.h"
#include "tools/replay/trace.h"

#include <signal.h>
#include <stdbool.h>

/* A signal came: end soon, and clean up. */
extern volatile sig_atomic_t interrupted;

/* How objects are weighed and stored. */
struct weights {
	uint32_t key_bytes;
	uint32_t overhead_bytes; /* a reference's metadata for each object */
	bool unit; /* all alike: references count objects, not bytes */
	uint32_t unit_bytes;
};

/* What one policy did at one size. */
struct point {
	const char *policy;
	bool library;
	double share;            /* of all keys' objects */
	uint64_t capacity_bytes; /* the library's, and the references' */
	uint64_t
	    sim_bytes;    /* what of it grows, for the trace's share of keys */
	uint64_t objects; /* that, in objects of mean size */
	uint64_t gets, misses, wanted_bytes, missed_bytes;
	uint64_t refused; /* objects that were too large */
	uint64_t failed;  /* what failed otherwise */
	uint64_t wrong;   /* values that were not the right ones */
	double seconds;   /* of processor time */
	/* of the library only */
	uint64_t shared_misses; /* of keys that another process stored before
				   the one that missed them could */
	uint64_t segment_bytes, extent_bytes, extents;
	uint64_t expected_items, index_evictions;
	double live;    /* share of the arena in use, mean over the run */
	double copied;  /* bytes copied for each byte inserted */
	char note[160]; /* why there are no figures */
};

/* The capacity in bytes that this share of the keys' objects makes. */
void point_set_capacity(struct point *point, const struct trace *trace,
    const struct weights *weights);

/* True, or false if there is not enough memory. */
bool run_reference(struct point *point, const struct reference *policy,
    const struct trace *trace, const struct weights *weights,
    const uint32_t *next);

/* Of each request the number of the next one of its key, or UINT32_MAX. */
uint32_t *run_next_uses(const struct trace *trace);

struct library_options {
	unsigned processes;
	uint64_t extent_bytes; /* 0: chosen */
	uint32_t sweep_s; /* sweep every so many seconds of the trace; 0: no */
	const char *into; /* a cache that is there, in its own time, which no
			     flush empties; or NULL */
	uint32_t per_second; /* requests at the most; 0: no limit */
};

/* Fills the point, or its note. */
void run_library(struct point *point, const char *policy,
    const struct trace *trace, const struct weights *weights,
    const struct library_options *options);

/* Processor time of this process and of those it has waited for, so far. */
double run_cpu_seconds(void);

/* The time that CLOCK_MONOTONIC_COARSE shows in this program, from here on, in
   whatever processes it forks; it never goes back. */
void trace_clock_start(void);
void trace_clock_set(uint64_t time_ms);

#endif /* REPLAY_RUN_H */
