/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * survivor.h - what must hold for the others after a victim's death
 *
 * All of this runs as a job (jobs.h) in a process that the victim's death must
 * not hurt; every violation is a job_fail().
 */
#ifndef CRASH_SURVIVOR_H
#define CRASH_SURVIVOR_H

#include "operation.h"

#include <shmcache.h>
#include <stdbool.h>
#include <stdint.h>

/* What a survivor of no death at all finds; in shared memory. */
struct survey {
	bool done;
	bool present[OTHERS_MAX];
	uint64_t active;     /* extents, after the churn */
	uint64_t live_bytes; /* after filling the flushed cache */
};

struct inquest {
	const struct operation *operation;
	const char *path;
	const struct survey *before; /* of the cache that the victim found */
	const struct survey *after;  /* of the cache that it left when it was
					done; NULL: can't be told */
	struct observation *observation; /* NULL: nobody wants to know */
};

/* Take the survey of an undisturbed cache. */
bool survivor_survey(struct shmcache *cache, const struct operation *operation,
    struct survey *survey);

/*
 * First the checks that change nothing, then repair: verify, look, sweep,
 * verify strictly, look again.
 */
bool survivor_repairs(struct shmcache *cache, const struct inquest *inquest);

/*
 * The victim's own key before anything else: set, replace, touch, delete; then
 * verify.
 */
bool survivor_hurries(struct shmcache *cache, const struct inquest *inquest);

/*
 * Work without any repair: look, write, turn all memory over twice; then sweep,
 * verify strictly, and see that nothing is lost for good: no memory, no slot.
 */
bool survivor_works(struct shmcache *cache, const struct inquest *inquest);

/* The same for one who was attached before: verify first. */
bool survivor_verifies_and_works(
    struct shmcache *cache, const struct inquest *inquest);

/*
 * While a victim stands still: write all memory over three times, and see that
 * no more is out of use than what a call may pin.
 */
bool survivor_churns(struct shmcache *cache, const struct operation *operation);

/*
 * For one whose cache somebody was removing: do all agree on whether it was
 * removed?
 */
bool survivor_is_not_split(struct shmcache *cache,
    const struct operation *operation, const char *path);

#endif /* CRASH_SURVIVOR_H */
