/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * census.h - all entries, counted by time to live, size and age
 *
 * A census walks the index by scan, piece by piece, so that it may be ended
 * when it takes too long, or be spread over time.
 */
#ifndef TOOLS_STAT_CENSUS_H
#define TOOLS_STAT_CENSUS_H

#include "tools/stat/keys.h"

#include <shmcache_admin.h>
#include <stdint.h>

#define CENSUS_BUCKETS 16

enum census_kind { CENSUS_TTL, CENSUS_SIZE, CENSUS_AGE, CENSUS_KINDS };

struct census_bucket {
	uint64_t entries;
	uint64_t bytes;
};

struct census {
	uint64_t cursor;
	int is_complete;
	uint64_t entries;
	uint64_t bytes;
	struct census_bucket buckets[CENSUS_KINDS][CENSUS_BUCKETS];
	struct key_list big;
	int error; /* of a visit */
};

/*
 * Look at the next `max_slots` slots of the index; census->is_complete tells
 * when there are no more.  Begin with zero.  Returns 0 or an error of the
 * library; census_free() it in both cases.
 */
int census_go_on(
    struct shmcache *cache, struct census *census, uint64_t max_slots);

/* Go on until it is complete, or for so long. */
int census_take(
    struct shmcache *cache, struct census *census, double seconds_max);

void census_free(struct census *census);

/* "ttl", "size", "age". */
const char *census_name(enum census_kind kind);

/* What falls into the bucket, as in "up to 1 KiB"; NULL behind the last. */
const char *census_label(enum census_kind kind, unsigned bucket);

#endif /* TOOLS_STAT_CENSUS_H */
