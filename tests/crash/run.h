/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * run.h - one operation, killed everywhere
 *
 * build:  the cache that the victim finds
 * trace:  step a victim through the operation, beside a bystander who is
 *         attached and does nothing
 * copies: each state of the segment that the steps left is laid out as a new
 *         file, where nobody holds a lock, so that all who were attached are
 *         dead; a survivor attaches
 * kills:  a new victim is brought to some point and killed there; the survivor
 *         is the bystander
 * stops:  a new victim is brought to some point and stands still there while
 *         the bystander writes all memory over three times; then it goes on
 * seconds: from each state that a victim left, a second one goes through a
 *         repair; its states are looked at as copies
 */
#ifndef CRASH_RUN_H
#define CRASH_RUN_H

#include "operation.h"
#include "scratch.h"
#include "survivor.h"
#include "tracer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kill_point {
	KILL_BEFORE_CALL,  /* before the n-th system call (from 0) */
	KILL_AFTER_CALL,   /* after it */
	KILL_AFTER_CHANGE, /* after the n-th change of the segment (from 1) */
	KILL_AFTER_STEP    /* after n instructions */
};

struct kill_plan {
	enum kill_point point;
	uint64_t number;
};

/* What workers count; in shared memory. */
struct run_counts {
	size_t astray; /* victims that came to another instruction than meant */
	size_t seconds;  /* states of second victims that were looked at */
	size_t left_out; /* the others of those second victims */
};

struct run {
	const struct operation *operation;
	uint64_t seed; /* of what its victims draw; 0: not known yet */
	struct snapshot initial;
	struct trace trace;
	struct survey *before;            /* shared */
	struct survey *after;             /* shared */
	struct observation *observations; /* shared, one for each change */
	size_t *picked;                   /* changes to look at */
	size_t picked_count;
	struct kill_plan *kills;
	size_t kill_count;
	uint64_t *stops; /* numbers of steps */
	size_t stop_count;
	size_t *firsts; /* changes after which second victims are killed */
	size_t first_count;
	size_t second_limit; /* states of each of them */
	struct run_counts *counts;
	size_t violations;
	double seconds;
	/* The worker's own. */
	uint8_t *state;
	size_t state_at;
};

/*
 * Each returns false when the operation cannot be tested further; what is wrong
 * has then been printed and counted as a violation.
 */
bool run_build(struct run *run, const struct run *donor);
bool run_trace(struct run *run);
bool run_trace_writes(struct run *run); /* see TRACE_WRITES */
bool run_surveys(struct run *run);

/* Look at `limit` states, evenly spread, the first and last among them. */
void run_copies(struct run *run, size_t limit);

/*
 * Kill victims: at up to `edges` edges of system calls, after up to `changes`
 * changes of the segment, and after `random` numbers of steps.
 */
void run_kills(struct run *run, size_t edges, size_t changes, size_t random);

/* Stop victims: after up to `spots` numbers of steps, evenly spread, and after
   up to `changes` changes. */
void run_stops(struct run *run, size_t spots, size_t changes);

/*
 * Kill again: from `limit` of the states looked at, which run_copies() has
 * observed, a second victim sets the key or sweeps, and up to `limit_second` of
 * its states are looked at.
 */
void run_seconds(struct run *run, size_t limit, size_t limit_second);

void run_free(struct run *run);

/* The bytes that change `change` left; the caller's to free. */
struct snapshot run_state(const struct run *run, size_t change);

/* What a victim left that was killed after some steps. */
struct left {
	struct snapshot segment; /* the caller's to free */
	uintptr_t ip;            /* of the instruction that did not come */
};

/* Kill a victim of the operation after so many steps of the trace, reached as
   fast as can be, or step by step. */
bool run_walk(
    const struct run *run, uint64_t steps, bool slowly, struct left *left);

/* Check one copy with all that belongs to it. */
bool run_check_copy(const struct run *run, const uint8_t *bytes,
    struct observation *observation);

#endif /* CRASH_RUN_H */
