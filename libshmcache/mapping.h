/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mapping.h - a cache as this process sees it
 *
 * cache_shared is the cache's own page in the segment.  Everything above `seq`
 * is written before the segment has a name and never again.  `seq` only grows,
 * by fetch-and-add; `flush` only grows, by CAS (a removal stores its maximum);
 * it is the seq of the last flush, and a bit (record.h), and lies in a line of its
 * own, which every get reads.  `record`, in the same line, is changed by CAS, by
 * who records.  The words of the tag table are as `flush` for tags (invalidate.h).
 * `position` and `probation_bytes` are what place.h keeps, by fetch-and-add and by
 * CAS; the former is read by hits, the latter not, and is in another line.
 * `mean_bytes` is what evictors store, plainly: an estimate.
 *
 * struct mapping is private: the attachment and what was read from that page.
 * A handle's mapping is reached through liburcu: it is replaced as a whole and
 * freed after a grace period.
 */
#ifndef LIBSHMCACHE_MAPPING_H
#define LIBSHMCACHE_MAPPING_H

#include "libshmcache/policy.h"
#include "libshmcache/shmcache.h"
#include "shm/atomic.h"
#include "shm/clock.h"
#include "shm/segment.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The regions of the segment. */
enum region {
	REGION_CACHE = 0, /* struct cache_shared */
	REGION_INDEX,
	REGION_GHOSTS,  /* of policies with probation (ghost.h) */
	REGION_TAGS,    /* words, a power of two of them */
	REGION_LEASES,  /* struct lease_shared, as many as a power of two; then
			  tokens; then the locks */
	REGION_LATENCY, /* struct latency_shared of each peer, or nothing */
	REGION_FILTER,  /* struct filter_shared and two halves, or nothing */
	REGION_RECORD   /* struct record_ring_shared, and its slots */
};

#define CACHE_SECRET_BYTES  192u /* what XXH3 recommends; at least 136 */
#define CACHE_VOLATILE_ONLY (1ull << 8)
#define CACHE_LOGS          3u
#define CACHE_SEQ_MAX       ((1ull << 48) - 1)
#define CACHE_RECORDING     (1ull << 63) /* in the flush word: record.h */

struct cache_shared {
	uint64_t max_entry_bytes; /* key and value */
	int64_t default_ttl_ms;
	uint64_t policy; /* its number, and CACHE_VOLATILE_ONLY */
	uint8_t secret[CACHE_SECRET_BYTES];
	uint64_t max_items;   /* 0: as many as the index has slots */
	uint64_t sample_mask; /* one less than a power of two */
	uint64_t created_ms;  /* of the host's monotonic clock */
	uint64_t asked_capacity_bytes;
	uint64_t asked_items; /* 0: not said */
	uint64_t seq;         /* invalidations so far */
	uint8_t pad1[56];
	uint64_t flush;
	uint64_t record; /* who records: record.h */
	uint8_t pad2[48];
	uint64_t swept_ms;   /* when a sweep ended; 0 never; plain stores */
	uint64_t asked_tags; /* constant; 0: not said */
	uint64_t probation_bytes; /* that its log may have; else it gives way */
	uint8_t pad3[40];
	uint64_t position[CACHE_LOGS]; /* of each log: ticks begun */
	uint64_t mean_bytes;           /* of an entry in an extent */
	uint64_t next_load_ns;         /* token bucket of loads (load.h); CAS */
	uint64_t fence; /* application locks taken; fetch-and-add */
	uint8_t pad4[16];
	uint8_t reserved[4096 - 512];
};

static_assert(offsetof(struct cache_shared, secret) == 24, "layout");
static_assert(offsetof(struct cache_shared, max_items) == 216, "layout");
static_assert(offsetof(struct cache_shared, seq) == 256, "layout");
static_assert(offsetof(struct cache_shared, flush) == 320, "layout");
static_assert(offsetof(struct cache_shared, record) == 328, "layout");
static_assert(offsetof(struct cache_shared, swept_ms) == 384, "layout");
static_assert(offsetof(struct cache_shared, probation_bytes) == 400, "layout");
static_assert(offsetof(struct cache_shared, position) == 448, "layout");
static_assert(sizeof(struct cache_shared) == 4096, "layout");

struct latency_shared;
struct filter_shared;
struct lease_shared;
struct lock_shared;
struct record_ring_shared;

struct mapping {
	/* What each get needs comes first, in two lines. */
	uint64_t attachment_id; /* the segment's id */
	uint8_t *base;          /* the segment's */
	uint64_t *slots;
	uint64_t *tags;
	uint64_t tag_mask; /* one less than their number */
	struct lease_shared *leases;
	uint64_t *tokens;
	struct lock_shared *locks;
	uint32_t lease_mask; /* one less than their number */
	uint32_t token_mask;
	uint32_t lock_count;
	uint64_t bucket_count;
	uint64_t group_mask; /* a key's two buckets differ in these bits */
	uint64_t arena;      /* offset of the first extent */
	uint64_t arena_bytes;
	uint64_t extent_bytes;
	uint64_t max_entry_bytes;
	struct cache_shared *shared;
	struct shm_segment *segment;
	unsigned extent_shift;
	uint32_t reserve; /* extents to keep free */
	uint64_t max_items;
	uint32_t sample_mask;
	struct latency_shared *latency; /* of each peer; NULL: not sampled */
	struct filter_shared *filter;   /* NULL: none */
	uint64_t filter_lines;          /* of each half */
	struct record_ring_shared *record;
	uint32_t record_mask; /* one less than its slots */
	int64_t default_ttl_ms;
	const struct policy *policy;
	bool volatile_only; /* what has no time to live is never evicted */
	uint64_t *ghosts;
	uint64_t ghost_words;            /* 0: the policy has none */
	const uint64_t *window_position; /* of the log that has a window */
	uint32_t window_ticks;           /* 0: none has */
	uint32_t window_log;
	int64_t clock_offset_ms;  /* of this time namespace */
	uint64_t denied_until_ms; /* no peer slot was free: don't ask */
	uint64_t swept_seq;       /* seq when this process last swept */
	/* Of the handle (cache.c), once the cache was removed: */
	struct mapping *next_left;
	bool drained; /* no call can be in it any more */
	uint8_t secret[CACHE_SECRET_BYTES] __attribute__((aligned(64)));
};

#define INDEX_BUCKET_SLOTS  8u
#define INDEX_GROUP_BUCKETS 64u /* of one group, at the most: a page */

/* What of the layout is the cache's, folded into the segment's signature. */
uint64_t mapping_signature(void);

/*
 * Attach to the cache at `path`.  Errors: those of shm_segment_attach().
 * The caller holds the lock that fork() takes.
 */
int mapping_open(const char *path, const struct shm_access *access,
    struct mapping **mapping_out);

/*
 * 0 if the cache is as these options would have it made; else
 * SHMCACHE_EOPTIONS, and a note that names the first that differs.  Options
 * that are 0 are not compared.
 */
int mapping_compare(
    const struct mapping *m, const struct shmcache_options *options);

/* Detach and free; no peer may be left. */
void mapping_close(struct mapping *m);

/* In a forked child: free what is private. */
void mapping_forget(struct mapping *m);

/* Create the cache at `path`; the options are checked.  Errors: those of
   shm_segment_create(), SHMCACHE_ECAPACITY. */
int mapping_create(const char *path, const struct shmcache_options *options);

/* Mark the cache at `path` removed, make every get miss, and unlink it. */
int mapping_remove(const char *path, const struct shm_access *access);

/* The seq of the last flush. */
static inline uint64_t
mapping_flushed(const struct mapping *m)
{
	return shm_load64_acquire(&m->shared->flush) & ~CACHE_RECORDING;
}

/* Was the cache removed?  (Its flush word is at its maximum then, in a line that
   every get reads anyway.) */
static inline bool
mapping_removed(const struct mapping *m)
{
	return mapping_flushed(m) == CACHE_SEQ_MAX;
}

/* May somebody be recording requests? */
static inline bool
mapping_recording(const struct mapping *m)
{
	return (shm_load64(&m->shared->flush) & CACHE_RECORDING) != 0;
}

/* Neither of the two. */
static inline bool
mapping_undisturbed(const struct mapping *m)
{
	return shm_load64(&m->shared->flush) < CACHE_SEQ_MAX;
}

/* Milliseconds of the coarse monotonic clock of the host. */
static inline uint64_t
mapping_now_ms(const struct mapping *m)
{
	return shm_clock_ms() + (uint64_t)m->clock_offset_ms;
}

#endif /* LIBSHMCACHE_MAPPING_H */
