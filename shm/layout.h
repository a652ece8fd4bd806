/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * layout.h - what is where in a segment
 *
 *   header | processes | peers | counters | hints | regions... | extents table
 *          | start maps | arena
 *
 * Structs whose name ends in _shared lie in the segment and hold offsets and
 * words, never pointers; a fresh segment is all zeroes but for its header, and
 * that is a valid state of every table.  Regions are opaque to this layer: the
 * layer above says how large they are.
 *
 * A geometry is computed once, from a request, by shm_geometry_init().  The
 * header stores the request and its result; who attaches computes it again and
 * compares, so that a geometry that was accepted fits the file and overlaps
 * nowhere.  It is then copied to private memory and never read again.
 */
#ifndef SHM_LAYOUT_H
#define SHM_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define SHM_MAGIC         "SHMCACHE"
#define SHM_VERSION       1u
#define SHM_HEADER_BYTES  4096u
#define SHM_CACHE_LINE    64u
#define SHM_UNIT_BYTES    16u /* granule of the arena */
#define SHM_REGIONS       8u
#define SHM_PINS          8u
#define SHM_PEERS_MAX     65536u
#define SHM_PROCESSES_MAX 4096u
#define SHM_PROCESS_NONE  UINT32_MAX
#define SHM_EXTENT_MIN    4096u
#define SHM_EXTENT_MAX    (1u << 30)
#define SHM_EXTENTS_MIN   16u
#define SHM_EXTENTS_MAX   (1u << 24)
#define SHM_LOGS_MAX      8u
#define SHM_LANES_MAX     256u
#define SHM_LANE_EXTENTS  3u
#define SHM_SEGMENT_MAX   (1ull << 40) /* 36 bits of 16-byte units */

/* What a segment is made for. */
struct shm_request {
	uint64_t region_bytes[SHM_REGIONS];
	uint32_t process_count;
	uint32_t peer_count;
	uint32_t counter_count; /* 64-bit counters of each peer */
	uint32_t extent_bytes;  /* a power of two */
	uint32_t extent_count;
	uint32_t log_count;
	uint32_t lane_count; /* active extents of each log */
	uint32_t page_bytes;
};

/* Where everything is: offsets from the segment's start. */
struct shm_geometry {
	struct shm_request request;
	uint64_t processes;
	uint64_t peers;
	uint64_t counters;
	uint64_t counters_stride;
	uint64_t hints;
	uint64_t region[SHM_REGIONS];
	uint64_t extents;
	uint64_t maps;
	uint64_t map_words; /* 64-bit words of one extent's start map */
	uint64_t arena;
	uint64_t total_bytes;
};

/*
 * The header.  Everything up to `geometry` is written before the segment has a
 * name and never again.  `state`: CAS by who removes the segment.  `peer_high`:
 * raised by CAS.  `held`: stored by who counted.  `installed`: by
 * fetch-and-add; `free_hand`: by plain stores, a hint.
 */
struct shm_header_shared {
	char magic[8];
	uint32_t version;
	uint32_t header_bytes;
	uint64_t signature;
	uint64_t segment_id;
	struct shm_geometry geometry;
	uint8_t pad0[768 - 32 - sizeof(struct shm_geometry)];
	uint64_t state; /* SHM_STATE_... */
	uint8_t pad1[56];
	uint64_t peer_high; /* 1 + highest peer slot ever claimed */
	uint64_t held;      /* pins held by callers, when last counted */
	uint8_t pad2[48];
	uint64_t installed; /* extents that were, since creation */
	uint64_t free_hand; /* where the next free extent is looked for */
	uint8_t pad3[48];
	uint8_t reserved[SHM_HEADER_BYTES - 960];
};

#define SHM_STATE_LIVE    0u
#define SHM_STATE_RETIRED 1u

static_assert(sizeof(struct shm_request) == 96, "layout");
static_assert(sizeof(struct shm_geometry) == 240, "layout");
static_assert(offsetof(struct shm_header_shared, version) == 8, "layout");
static_assert(offsetof(struct shm_header_shared, signature) == 16, "layout");
static_assert(offsetof(struct shm_header_shared, segment_id) == 24, "layout");
static_assert(offsetof(struct shm_header_shared, geometry) == 32, "layout");
static_assert(offsetof(struct shm_header_shared, state) == 768, "layout");
static_assert(offsetof(struct shm_header_shared, peer_high) == 832, "layout");
static_assert(offsetof(struct shm_header_shared, installed) == 896, "layout");
static_assert(offsetof(struct shm_header_shared, free_hand) == 904, "layout");
static_assert(sizeof(struct shm_header_shared) == SHM_HEADER_BYTES, "layout");

/*
 * A process slot.  Its owner is who holds the lock on its byte of the file
 * (peer.h); only the owner writes.
 */
struct shm_process_shared {
	uint64_t generation; /* one more for each owner */
	uint64_t pid;        /* for humans */
	uint8_t pad[48];
};

static_assert(offsetof(struct shm_process_shared, pid) == 8, "layout");
static_assert(sizeof(struct shm_process_shared) == 64, "layout");

/*
 * A peer slot.  `claim` changes by CAS (peer.h); the pins are stored by the
 * peer's own process only, whoever that is by the claim.
 */
struct shm_peer_shared {
	uint64_t claim;
	uint8_t pad[56];
	uint64_t pins[SHM_PINS]; /* 0, or 1 + an extent's number */
};

static_assert(offsetof(struct shm_peer_shared, pins) == 64, "layout");
static_assert(sizeof(struct shm_peer_shared) == 128, "layout");

/*
 * An extent.  `state` is the truth about it, by CAS (arena.h).  The others
 * carry the generation that they speak of; of another one they say nothing.
 */
struct shm_extent_shared {
	uint64_t state; /* {generation 32, log 8, state 8} */
	uint64_t tail;  /* {generation 32, bytes 32} reserved; CAS */
	uint64_t live;  /* {generation 32, bytes 32} linked; CAS; for ranking */
	uint64_t hint;  /* {generation 24, value 40} of the layer above; CAS */
	uint64_t stamp; /* the same, by plain stores */
	uint64_t born;  /* {generation 24, number 40} of its installing; CAS */
	uint8_t pad[16];
};

static_assert(offsetof(struct shm_extent_shared, tail) == 8, "layout");
static_assert(offsetof(struct shm_extent_shared, live) == 16, "layout");
static_assert(offsetof(struct shm_extent_shared, hint) == 24, "layout");
static_assert(offsetof(struct shm_extent_shared, born) == 40, "layout");
static_assert(sizeof(struct shm_extent_shared) == 64, "layout");

/* A start-map word: 16 bits of generation, one bit for each of 48 units. */
#define SHM_MAP_UNITS 48u
#define SHM_MAP_BITS  ((1ull << SHM_MAP_UNITS) - 1)

/*
 * Compute where everything is.  Returns 0, or -EINVAL if the request is outside
 * the limits above.
 */
int shm_geometry_init(
    struct shm_geometry *geometry, const struct shm_request *request);

/* The largest extent count that keeps the segment within `bytes`; may be 0. */
uint32_t shm_geometry_extents(
    const struct shm_request *request, uint64_t bytes);

/* How many extents a lane writes to (arena.h), so that those of all lanes are no
   more than an eighth of the extents, or with the third a thirty-second. */
uint32_t shm_lane_extents(const struct shm_request *request);

/* Hash of the version, the struct sizes and offsets and `upper`, the layer
   above's own. */
uint64_t shm_layout_signature(uint64_t upper);

/* FNV-1a, to fold numbers into a signature. */
uint64_t shm_signature_fold(uint64_t signature, uint64_t number);

#endif /* SHM_LAYOUT_H */
