/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shmcache_admin.h - for the tools that look after a cache
 *
 * Conventions of results, threads, fork and signals: see shmcache.h.
 */
#ifndef SHMCACHE_ADMIN_H
#define SHMCACHE_ADMIN_H

#include <shmcache.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The name of a policy, by its number in struct shmcache_stats.  Never NULL;
   static. */
const char *shmcache_policy_name(uint64_t policy);

/* What one sweep did. */
struct shmcache_sweep_result {
	uint64_t extents_visited;
	uint64_t expired_entries;  /* expired or flushed, unlinked */
	uint64_t recycled_extents; /* made free again */
	uint64_t evicted_extents; /* emptied to fill the reserve of free ones */
	uint64_t freed_peers;     /* slots of dead threads given back */
	int64_t next_expiry_ms; /* until the next entry can expire; -1: none */
};

/*
 * Look after the cache once: unlink what has expired, recycle extents that
 * nobody reads any more, refill the reserve of free extents, give back the
 * slots of dead processes.  Any number of processes may do so at once.
 * Errors: EPEERS, EDEADLK, EREMOVED.
 */
int shmcache_sweep(
    struct shmcache *cache, struct shmcache_sweep_result *result_out);

enum shmcache_verify_mode {
	SHMCACHE_VERIFY_LIVE = 0, /* others are at work: stable facts only */
	SHMCACHE_VERIFY_STRICT    /* nobody else is at work */
};

/*
 * Called for each violation (the first thousand), after the walk; the text is
 * valid during the call only.
 */
typedef void shmcache_verify_report(void *context, const char *violation);

/*
 * Check the segment's invariants (libshmcache/verify.h lists them).  `report`
 * may be NULL.  Returns the number of violations
 * (0 is sound), or an error: EDEADLK, EPEERS, EREMOVED, -EINVAL, -ENOMEM.
 */
int shmcache_verify(struct shmcache *cache, enum shmcache_verify_mode mode,
    shmcache_verify_report *report, void *context);

/* One process that is attached. */
struct shmcache_process_info {
	uint32_t slot;
	int32_t pid; /* in the process's own pid namespace; for humans only */
	uint32_t alive;
	uint32_t peers;
	uint32_t pins; /* pins of its peers that are set */
	uint32_t reserved;
};

/*
 * List the processes attached, `capacity` at most, in the order of their
 * slots.  *count_out is their number, which may be more than `capacity`.
 * Errors: EDEADLK, EREMOVED, -EINVAL.
 */
int shmcache_processes(struct shmcache *cache,
    struct shmcache_process_info *processes, size_t capacity,
    size_t *count_out);

/* One thread that is attached. */
struct shmcache_peer_info {
	uint32_t slot;
	uint32_t process_slot;
	int32_t pid; /* as of struct shmcache_process_info */
	uint32_t alive;
	uint32_t orphaned; /* its thread has ended, and left items pinned */
	uint32_t pins;
	uint32_t pinned_extents[8]; /* UINT32_MAX: none */
	uint64_t operations; /* counted in this slot, by all of its owners */
	int64_t idle_ms; /* since the last call that was sampled; -1 unknown */
};

/* As shmcache_processes(). */
int shmcache_peers(struct shmcache *cache, struct shmcache_peer_info *peers,
    size_t capacity, size_t *count_out);

/* One extent; `state` indexes free, active, sealed, evicting, limbo. */
struct shmcache_extent_info {
	uint32_t state;
	uint32_t log;
	uint32_t pins;
	uint32_t reserved;
	uint64_t used_bytes;
	uint64_t live_bytes;
	int64_t age_ms; /* since it was begun; -1 unknown */
};

/* As shmcache_processes(), by number of the extent. */
int shmcache_extents(struct shmcache *cache,
    struct shmcache_extent_info *extents, size_t capacity, size_t *count_out);

#define SHMCACHE_LATENCY_BUCKETS 72

enum shmcache_latency_kind {
	SHMCACHE_LATENCY_GET = 0,
	SHMCACHE_LATENCY_SET, /* and the other calls that store */
	SHMCACHE_LATENCY_KINDS
};

/* Calls that were sampled, by how long they took. */
struct shmcache_latency {
	uint64_t samples;
	uint64_t count[SHMCACHE_LATENCY_BUCKETS];
};

/* The time that the calls counted in this bucket stay below; UINT64_MAX for the
   last. */
uint64_t shmcache_latency_bound_ns(unsigned bucket);

/* Sum over all threads since creation; all zero if nothing is sampled.
   Errors: EDEADLK, EREMOVED, -EINVAL. */
int shmcache_latency(struct shmcache *cache, enum shmcache_latency_kind kind,
    struct shmcache_latency *latency_out);

/*
 * Visit what was read by recent sampled gets, once for each such get that is
 * remembered (16 for each thread slot); values are not shown.  Returns the
 * number of visits, or an error as shmcache_scan().
 */
int shmcache_hot_keys(
    struct shmcache *cache, shmcache_visit *visit, void *context);

enum shmcache_request_op {
	SHMCACHE_REQUEST_GET = 0, /* that found the key */
	SHMCACHE_REQUEST_MISS,    /* a get that did not */
	SHMCACHE_REQUEST_SET,     /* or another call that stored */
	SHMCACHE_REQUEST_DELETE,  /* or found dead, as one of its tags is */
	SHMCACHE_REQUEST_TOUCH,   /* whether it found the key or not */
	SHMCACHE_REQUEST_INCR,    /* or decr, of a counter that it may make */
	SHMCACHE_REQUEST_FLUSH    /* of all keys: key_hash is 0 */
};

/* A request that was recorded. */
struct shmcache_request {
	uint64_t key_hash; /* by the cache's own secret */
	uint64_t time_ms;  /* of the host's monotonic clock */
	uint32_t op;
	uint32_t key_bytes;
	uint32_t value_bytes; /* of a get that found the key, a set, an incr */
	uint32_t ttl_s;       /* left then, rounded up; 0: none, or not known */
};

/* Who records; the caller reads the first three. */
struct shmcache_recorder {
	uint64_t lost; /* requests that came faster than they were read */
	uint64_t torn; /* whose caller was killed or stopped in the middle */
	uint64_t gaps; /* times that recording had ended, as nobody read */
	/* the library's: */
	uint64_t segment_id;
	uint64_t word;
	uint64_t next;
	uint64_t awaited;
	uint64_t awaited_since_ms;
};

/*
 * Begin to record the requests for a share of all keys (above 0, 1 at the most),
 * which are chosen by their hash: all requests for such a key, by whatever
 * process.  There is one recorder at a time.  The handle must be one that may
 * write.  A recorder that does not read for three seconds, or is dead, records no
 * more.  Errors: EBUSY (another is recording), EDEADLK, EREADONLY, EREMOVED,
 * -EINVAL.
 */
int shmcache_record_begin(struct shmcache *cache, double share,
    struct shmcache_recorder *recorder_out);

/*
 * Take what was recorded since the last time, `capacity` requests at most, in
 * about the order of their times.  Some 2,000 are kept until they are read, so
 * read often, and at least once a second.  Returns their number, or an error:
 * ESTALE (another recorder has taken over; or the cache was removed, and one of
 * its name is there again), EDEADLK, EREADONLY, EREMOVED, -EINVAL.
 */
int shmcache_record_read(struct shmcache *cache,
    struct shmcache_recorder *recorder, struct shmcache_request *requests,
    size_t capacity);

/* Record no more.  Errors: as shmcache_record_read(). */
int shmcache_record_end(
    struct shmcache *cache, struct shmcache_recorder *recorder);

#ifdef __cplusplus
}
#endif

#endif /* SHMCACHE_ADMIN_H */
