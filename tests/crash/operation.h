/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * operation.h - the operations in which the victim is killed
 *
 * Each is a table row: the cache it starts from, the call, what the call must
 * have done for the test to mean what its name says, and what others may find
 * under the victim's key before and after.
 */
#ifndef CRASH_OPERATION_H
#define CRASH_OPERATION_H

#include "record.h"
#include "scratch.h"

#include <shmcache_admin.h>
#include <stdbool.h>
#include <stdint.h>

#define OTHERS_MAX      640u
#define EXPIRED_RECORDS 30u
#define TTL_OLD_MS      1000000
#define TTL_NEW_MS      9000000
#define TTL_BORDER_MS   5000000

/*
 * What a survivor finds under the victim's key, in the order in which it may
 * come: an old value may go, and a new one come, but never the other way.
 */
enum seen {
	SEEN_OLD = 0,
	SEEN_NOTHING = 1,
	SEEN_NEW = 2,
	SEEN_UNKNOWN = 3 /* not looked at, or something else: a violation */
};

enum operation_flags {
	OPERATION_FULL = 1,       /* evicts: others may be gone afterwards */
	OPERATION_EXPIRED = 2,    /* the cache holds expired entries */
	OPERATION_FLUSHES = 4,    /* all others stay, or all go */
	OPERATION_CREATES = 8,    /* there is no cache at first */
	OPERATION_OPENS = 16,     /* the victim begins unattached */
	OPERATION_COLD = 32,      /* the victim begins without a peer slot */
	OPERATION_IDLE = 64,      /* the bystander does without one, too */
	OPERATION_LOADED = 128,   /* the key is there, with its old value */
	OPERATION_TTL = 256,      /* old and new differ by the time to live */
	OPERATION_READ = 512,     /* the others have been read, every second */
	OPERATION_FLUSHED = 1024, /* all that was stored has been flushed */
	OPERATION_REMOVES = 2048, /* the cache goes: only kills show how */
	OPERATION_APPENDS = 4096, /* the new value begins with the old one */
	OPERATION_COUNTER = 8192, /* the old value is a counter already */
	OPERATION_READS = 16384,  /* the victim's handle can't write */
	OPERATION_TAGGED = 32768, /* the key's old value has eight tags */
	OPERATION_INVALIDATED = 65536, /* one of them was invalidated */
	OPERATION_LIKED =
	    131072, /* two in three of the others have been read */
	OPERATION_REVIVES = 262144,  /* the victim's handle is of a cache that
					was removed; there is a new one */
	OPERATION_FILTERED = 524288, /* there is a filter, with all others */
	OPERATION_LEASES = 1048576   /* it takes the key's lease or the lock */
};

/* What a survivor saw before it did anything; in shared memory. */
struct observation {
	enum seen seen;
	uint64_t evicting; /* extents */
	uint64_t limbo;
};

struct victim;

/* The name of the lock. */
#define OPERATION_LOCK "stepped"

struct operation {
	const char *name;
	unsigned flags;
	unsigned others; /* records stored before */
	struct record record;
	enum seen before;
	enum seen after;
	/* The call; 0 if it did what it should.  Nothing but the call. */
	int (*act)(struct victim *victim);
	/* Did it do what its name says?  NULL: nothing to see in the numbers. */
	bool (*fired)(const struct shmcache_stats *before,
	    const struct shmcache_stats *after);
	/* Store entries until the next set of the record would fire. */
	bool advance;
	/* Begin with what a victim of this operation left... */
	const char *heir_of;
	/* ...at the middle, or the last, of the states in which this holds. */
	bool (*inherits)(const struct observation *left);
	bool inherits_last;
	/* Deaths before those of its donor (heir_of) and its own. */
	unsigned earlier_deaths;
	/* Threads of each dead process that the cache has seen. */
	unsigned dead_threads;
	uint64_t expected_items; /* 0: plenty */
	/* Takes another's slot: between that and counting, both the new entry and
	   the old one's extent count for too much. */
	bool displaces;
	bool orphans; /* a thread has ended with the key's lease, and a lock */
	bool twice;   /* a second victim is killed in the repair, also in short
		       runs */
};

/* The victim's process. */
struct victim {
	const struct operation *operation;
	const char *path;
	bool disturbed; /* others wrote the cache over meanwhile */
	struct shmcache *cache;
	/* Prepared for the call, so that the call is all there is to trace. */
	struct shmcache_options options;
	struct written_record old;
	struct written_record new;
	/* What the call gave. */
	uint8_t value[RECORD_VALUE_BYTES];
	size_t value_bytes;
	uint32_t client_flags;
	uint64_t version; /* of the old value, for cas */
	struct shmcache_sweep_result swept;
	char filter_path[SCRATCH_PATH_BYTES]; /* a saved filter */
};

/* How a victim leaves after its second mark. */
enum victim_exit {
	VICTIM_DONE = 0,
	VICTIM_NO_START = 2, /* could not attach */
	VICTIM_FAILED = 3,   /* the call's result was another */
	VICTIM_NOT_FIRED = 4 /* it didn't do what its name says */
};

extern const struct operation operations[];
extern const unsigned operation_count;

const struct operation *operation_find(const char *name);

/* The caches' options: as small as can be. */
struct shmcache_options operation_options(
    const struct operation *operation, enum shmcache_open_mode mode);

/* The record's value before and after the operation. */
struct record operation_old(const struct operation *operation);
struct record operation_new(const struct operation *operation);

/* A new filter with all the others, and the victim's key, is put in use. */
int operation_filter(struct shmcache *cache, const struct operation *operation);

/*
 * Build the cache that the operation starts from, in a file of the scratch
 * folder, and read it.  Runs as a job; false after job_fail().
 */
bool operation_build(const struct operation *operation, const char *path);

/* The victim's code, with both marks; the argument is a struct victim. */
void operation_run(void *victim);

#endif /* CRASH_OPERATION_H */
