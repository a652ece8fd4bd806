/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* layout.c - the geometry of a segment, and the signature of its layout */
#include "shm/layout.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Tables below this are not aligned to pages, which would waste half a page of
   a small cache for each. */
#define TABLE_PAGED_BYTES 65536u

static uint64_t
round_up(uint64_t value, uint64_t multiple)
{
	return (value + multiple - 1) / multiple * multiple;
}

static bool
in_range(uint64_t value, uint64_t least, uint64_t most)
{
	return value >= least && value <= most;
}

static bool
request_valid(const struct shm_request *r)
{
	for (unsigned i = 0; i < SHM_REGIONS; i++)
		if (r->region_bytes[i] > SHM_SEGMENT_MAX)
			return false;
	return in_range(r->process_count, 1, SHM_PROCESSES_MAX) &&
	       in_range(r->peer_count, 1, SHM_PEERS_MAX) &&
	       in_range(r->counter_count, 0, 1024) &&
	       in_range(r->extent_bytes, SHM_EXTENT_MIN, SHM_EXTENT_MAX) &&
	       (r->extent_bytes & (r->extent_bytes - 1)) == 0 &&
	       in_range(r->extent_count, SHM_EXTENTS_MIN, SHM_EXTENTS_MAX) &&
	       in_range(r->log_count, 1, SHM_LOGS_MAX) &&
	       in_range(r->lane_count, 1, SHM_LANES_MAX) &&
	       in_range(r->page_bytes, 4096, 65536) &&
	       (r->page_bytes & (r->page_bytes - 1)) == 0;
}

/* Takes `bytes` at *end, aligned; returns their offset and moves *end. */
static uint64_t
place(uint64_t *end, uint64_t bytes, uint64_t align)
{
	uint64_t at = round_up(*end, align);

	*end = at + bytes;
	return at;
}

/* What is large begins at a page. */
static uint64_t
place_table(uint64_t *end, uint64_t bytes, uint32_t page_bytes)
{
	return place(end, bytes,
	    bytes >= TABLE_PAGED_BYTES ? page_bytes : SHM_CACHE_LINE);
}

static void
place_all(struct shm_geometry *g, const struct shm_request *r)
{
	uint64_t units = r->extent_bytes / SHM_UNIT_BYTES;
	uint64_t end = SHM_HEADER_BYTES;

	memset(g, 0, sizeof(*g));
	g->request = *r;
	g->processes = place(&end,
	    (uint64_t)r->process_count * sizeof(struct shm_process_shared),
	    SHM_CACHE_LINE);
	g->peers = place(&end,
	    (uint64_t)r->peer_count * sizeof(struct shm_peer_shared), 128);
	g->counters_stride =
	    round_up((uint64_t)r->counter_count * 8, SHM_CACHE_LINE);
	g->counters =
	    place(&end, r->peer_count * g->counters_stride, SHM_CACHE_LINE);
	g->hints =
	    place(&end, (uint64_t)r->log_count * r->lane_count * SHM_CACHE_LINE,
		SHM_CACHE_LINE);
	for (unsigned i = 0; i < SHM_REGIONS; i++)
		g->region[i] =
		    place_table(&end, r->region_bytes[i], r->page_bytes);
	g->extents = place_table(&end,
	    (uint64_t)r->extent_count * sizeof(struct shm_extent_shared),
	    r->page_bytes);
	g->map_words = (units + SHM_MAP_UNITS - 1) / SHM_MAP_UNITS;
	g->maps =
	    place(&end, r->extent_count * g->map_words * 8, SHM_CACHE_LINE);
	g->arena = place(
	    &end, (uint64_t)r->extent_count * r->extent_bytes, r->page_bytes);
	g->total_bytes = round_up(end, r->page_bytes);
}

int
shm_geometry_init(
    struct shm_geometry *geometry, const struct shm_request *request)
{
	if (!request_valid(request))
		return -EINVAL;
	place_all(geometry, request);
	return geometry->total_bytes <= SHM_SEGMENT_MAX ? 0 : -EINVAL;
}

uint32_t
shm_geometry_extents(const struct shm_request *request, uint64_t bytes)
{
	struct shm_request r = *request;
	uint64_t fits = 0, most = bytes / r.extent_bytes;

	if (most > SHM_EXTENTS_MAX)
		most = SHM_EXTENTS_MAX;
	while (fits < most) { /* the total grows with the count */
		uint64_t middle = fits + (most - fits + 1) / 2;
		struct shm_geometry g;

		r.extent_count = (uint32_t)middle;
		place_all(&g, &r);
		if (g.total_bytes <= bytes)
			fits = middle;
		else
			most = middle - 1;
	}
	return (uint32_t)fits;
}

uint64_t
shm_signature_fold(uint64_t signature, uint64_t number)
{
	for (unsigned i = 0; i < 8; i++) {
		signature ^= (number >> (8 * i)) & 0xff;
		signature *= 0x100000001b3ull;
	}
	return signature;
}

uint32_t
shm_lane_extents(const struct shm_request *r)
{
	uint32_t lanes = r->log_count * r->lane_count;

	return r->extent_count / 32 >= SHM_LANE_EXTENTS * lanes
		   ? SHM_LANE_EXTENTS
	       : r->extent_count / 8 >= 2 * lanes ? 2
						  : 1;
}

uint64_t
shm_layout_signature(uint64_t upper)
{
	const uint64_t facts[] = {
		SHM_VERSION,
		0x0102030405060708ull, /* differs by byte order, below */
		sizeof(void *),
		sizeof(struct shm_header_shared),
		sizeof(struct shm_geometry),
		sizeof(struct shm_process_shared),
		sizeof(struct shm_peer_shared),
		sizeof(struct shm_extent_shared),
		SHM_UNIT_BYTES,
		SHM_MAP_UNITS,
		SHM_REGIONS,
		SHM_PINS,
		upper,
	};
	uint64_t signature = 0xcbf29ce484222325ull;
	uint8_t first;

	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
		signature = shm_signature_fold(signature, facts[i]);
	memcpy(&first, &facts[1], 1);
	return shm_signature_fold(signature, first);
}
