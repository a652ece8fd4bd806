/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mapping.c - the cache's own page: geometry from options, create, attach */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "libshmcache/mapping.h"

#include "libshmcache/entry.h"
#include "libshmcache/filter.h"
#include "libshmcache/ghost.h"
#include "libshmcache/index.h"
#include "libshmcache/latency.h"
#include "libshmcache/lease.h"
#include "libshmcache/lock.h"
#include "libshmcache/place.h"
#include "libshmcache/record.h"
#include "libshmcache/stats.h"
#include "shm/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define DEFAULT_PEERS     512u
#define DEFAULT_PROCESSES 256u
#define BYTES_PER_ITEM    256u /* items expected, if not said */
#define DEFAULT_SAMPLE    1024u
#define ITEMS_PER_TAG     16u
#define DEFAULT_ERROR_PPM 10000u
#define TAG_WORDS_MIN     512u         /* a page */
#define TAG_WORDS_MAX     (1ull << 32) /* an entry keeps 32 bits of hash */

/* Extents chosen by themselves: small enough that one is soon emptied, large
   enough that the work per extent is small against that per entry. */
#define EXTENT_AUTO_MIN   (64u << 10)
#define EXTENT_AUTO_MAX   (4u << 20)
#define EXTENTS_WANTED    256u
#define EXTENTS_PER_ENTRY 4u /* the largest entry is 1/4 of an extent */
#define PEERS_PER_EXTENT  32u

/* Ghosts for each 100 entries that are expected. */
#define GHOSTS_PERCENT 75u

#define BUCKET_BYTES (INDEX_BUCKET_SLOTS * sizeof(uint64_t))

static uint64_t
power_of_two(uint64_t at_least)
{
	uint64_t power = 1;

	while (power < at_least)
		power *= 2;
	return power;
}

static uint64_t
choose_extent_bytes(const struct shmcache_options *o)
{
	uint64_t bytes = o->extent_bytes;
	uint64_t least = power_of_two(
	    EXTENTS_PER_ENTRY * (o->max_entry_bytes + ENTRY_OVERHEAD));

	if (bytes == 0) {
		bytes =
		    power_of_two(o->capacity_bytes / EXTENTS_WANTED + 1) / 2;
		if (bytes < EXTENT_AUTO_MIN)
			bytes = EXTENT_AUTO_MIN;
		if (bytes > EXTENT_AUTO_MAX)
			bytes = EXTENT_AUTO_MAX;
		if (o->max_entry_bytes != 0 && bytes < least)
			bytes = least;
	}
	return bytes;
}

static uint64_t
choose_items(const struct shmcache_options *o)
{
	return o->expected_items != 0 ? o->expected_items
				      : o->capacity_bytes / BYTES_PER_ITEM;
}

/* At least two words for each tag, so that an invalidation hits half as many
   entries again as it is meant for, at the most. */
static uint64_t
choose_tag_words(const struct shmcache_options *o)
{
	uint64_t tags = o->expected_tags != 0 ? o->expected_tags
					      : choose_items(o) / ITEMS_PER_TAG;
	uint64_t words = power_of_two(2 * tags);

	return words < TAG_WORDS_MIN   ? TAG_WORDS_MIN
	       : words > TAG_WORDS_MAX ? TAG_WORDS_MAX
				       : words;
}

/* A key's two buckets are of one group: so many buckets, a power of two. */
static uint64_t
group_buckets(uint64_t buckets)
{
	uint64_t power = buckets & -buckets;

	return power < INDEX_GROUP_BUCKETS ? power : INDEX_GROUP_BUCKETS;
}

/* Slots at 80 % load, or as many as there may be entries; whole groups: of a
   page, but where that would waste more than 1/16, of an eighth of one. */
static uint64_t
choose_buckets(const struct shmcache_options *o)
{
	uint64_t slots =
	    o->max_items != 0 ? o->max_items - 1 : choose_items(o) * 5 / 4;
	uint64_t buckets = slots / INDEX_BUCKET_SLOTS + 1;

	uint64_t group = buckets < 16 * INDEX_GROUP_BUCKETS
			     ? INDEX_GROUP_BUCKETS / 8
			     : INDEX_GROUP_BUCKETS;

	if (buckets < INDEX_GROUP_BUCKETS)
		return power_of_two(buckets < 2 ? 2 : buckets);
	return (buckets + group - 1) / group * group;
}

/* One call in a power of two is timed; all bits set: none. */
static uint32_t
sample_mask(const struct shmcache_options *o)
{
	if (o->latency_sample == SHMCACHE_SAMPLE_OFF)
		return UINT32_MAX;
	return (uint32_t)power_of_two(o->latency_sample != 0 ? o->latency_sample
							     : DEFAULT_SAMPLE) -
	       1;
}

static uint32_t
choose_error_ppm(const struct shmcache_options *o)
{
	return o->filter_error_ppm != 0 ? o->filter_error_ppm
					: DEFAULT_ERROR_PPM;
}

static uint64_t
choose_ghost_words(const struct shmcache_options *o)
{
	return policy_named(o->policy)->probation_percent == 0
		   ? 0
		   : choose_items(o) * GHOSTS_PERCENT / 100 / GHOSTS_PER_WORD +
			 1;
}

static uint32_t
choose_logs(const struct policy *policy, bool volatile_only)
{
	return volatile_only                   ? LOG_LASTING + 1
	       : policy->probation_percent > 0 ? LOG_PROBATION + 1
					       : LOG_MAIN + 1;
}

/* As many leases as there are threads, so that few share one; and more tokens,
   as loads at one time that share one refuse each other's fills: n loads in a
   table of 16 n, 1 in 16. */
#define LEASES_MIN       64u
#define TOKENS_PER_LEASE 16u
#define LEASES_PER_LOCK  4u

static uint32_t
choose_leases(const struct shm_request *r)
{
	return (uint32_t)power_of_two(
	    r->peer_count < LEASES_MIN ? LEASES_MIN : r->peer_count);
}

static uint64_t
lease_region_bytes(uint64_t leases)
{
	return leases * (sizeof(struct lease_shared) +
			    TOKENS_PER_LEASE * sizeof(uint64_t)) +
	       leases / LEASES_PER_LOCK * sizeof(struct lock_shared);
}

/* What the region's size says; false if it says nothing sensible. */
static bool
read_leases(struct mapping *m)
{
	const struct shm_geometry *g = &m->segment->geometry;
	uint64_t bytes = g->request.region_bytes[REGION_LEASES];
	uint64_t leases = choose_leases(&g->request);

	m->leases = shm_at(m->segment, g->region[REGION_LEASES]);
	m->lease_mask = (uint32_t)leases - 1;
	m->tokens = shm_at(
	    m->segment, g->region[REGION_LEASES] + leases * sizeof(*m->leases));
	m->token_mask = (uint32_t)(leases * TOKENS_PER_LEASE) - 1;
	m->locks = shm_at(
	    m->segment, g->region[REGION_LEASES] + leases * sizeof(*m->leases) +
			    leases * TOKENS_PER_LEASE * sizeof(*m->tokens));
	m->lock_count = (uint32_t)(leases / LEASES_PER_LOCK);
	return bytes == lease_region_bytes(leases);
}

static uint64_t
choose_record_slots(const struct shm_request *r)
{
	uint64_t slots = (uint64_t)r->peer_count * RECORD_SLOTS_PER_PEER;

	return power_of_two(
	    slots < RECORD_SLOTS_MIN ? RECORD_SLOTS_MIN : slots);
}

static uint64_t
record_region_bytes(uint64_t slots)
{
	return sizeof(struct record_ring_shared) +
	       slots * sizeof(struct record_shared);
}

static bool
read_record(struct mapping *m)
{
	const struct shm_geometry *g = &m->segment->geometry;
	uint64_t slots = choose_record_slots(&g->request);

	m->record = shm_at(m->segment, g->region[REGION_RECORD]);
	m->record_mask = (uint32_t)slots - 1;
	return g->request.region_bytes[REGION_RECORD] ==
	       record_region_bytes(slots);
}

static void
fill_request(const struct shmcache_options *o, struct shm_request *r)
{
	const struct policy *policy = policy_named(o->policy);

	memset(r, 0, sizeof(*r));
	r->region_bytes[REGION_CACHE] = sizeof(struct cache_shared);
	r->region_bytes[REGION_INDEX] = choose_buckets(o) * BUCKET_BYTES;
	r->region_bytes[REGION_TAGS] = choose_tag_words(o) * sizeof(uint64_t);
	r->region_bytes[REGION_FILTER] =
	    filter_bytes(filter_lines(o->filter_items, choose_error_ppm(o)));
	r->region_bytes[REGION_GHOSTS] =
	    choose_ghost_words(o) * sizeof(uint64_t);
	r->process_count =
	    o->process_slots != 0 ? o->process_slots : DEFAULT_PROCESSES;
	r->peer_count = o->peer_slots != 0 ? o->peer_slots : DEFAULT_PEERS;
	r->region_bytes[REGION_LEASES] = lease_region_bytes(choose_leases(r));
	if (sample_mask(o) != UINT32_MAX)
		r->region_bytes[REGION_LATENCY] =
		    (uint64_t)r->peer_count * sizeof(struct latency_shared);
	r->region_bytes[REGION_RECORD] =
	    record_region_bytes(choose_record_slots(r));
	r->counter_count = COUNTERS;
	r->extent_bytes = (uint32_t)choose_extent_bytes(o);
	r->log_count = choose_logs(policy, o->volatile_only != 0);
	r->lane_count = 1; /* until the number of extents is known */
	r->page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
}

static uint32_t
least_extents(const struct shm_request *r)
{
	uint32_t by_peers = r->peer_count / PEERS_PER_EXTENT;

	return by_peers > SHM_EXTENTS_MIN ? by_peers : SHM_EXTENTS_MIN;
}

/*
 * One lane for each processor, as long as the extents that are being written,
 * half empty on average, are no more than 1/64 of all; one at least.
 */
static uint32_t
choose_lanes(uint32_t extents, uint32_t logs)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	uint32_t lanes = extents / 64 / logs;

	if (processors > 0 && (uint32_t)processors < lanes)
		lanes = (uint32_t)processors;
	if (lanes < 1)
		lanes = 1;
	return lanes < SHM_LANES_MAX ? lanes : SHM_LANES_MAX;
}

/* Lanes to leave room for while the number of extents is not known: no fewer
   than there will be. */
static uint32_t
lanes_before(const struct shmcache_options *o, const struct shm_request *r)
{
	return choose_lanes(
	    (uint32_t)(o->capacity_bytes / r->extent_bytes), r->log_count);
}

/* The least capacity that such options can have; 0 if there is none. */
static uint64_t
least_capacity(const struct shmcache_options *options)
{
	struct shmcache_options o = *options;

	for (unsigned round = 0; round < 64; round++) {
		struct shm_request r;
		struct shm_geometry g;

		fill_request(&o, &r);
		r.extent_count = least_extents(&r);
		r.lane_count = lanes_before(&o, &r);
		if (shm_geometry_init(&g, &r) != 0)
			return 0;
		if (g.total_bytes <= o.capacity_bytes)
			return o.capacity_bytes;
		o.capacity_bytes = g.total_bytes;
	}
	return 0;
}

static int
make_request(const struct shmcache_options *o, struct shm_request *r)
{
	fill_request(o, r);
	r->lane_count = lanes_before(o, r);
	r->extent_count = shm_geometry_extents(r, o->capacity_bytes);
	if (r->extent_count < least_extents(r)) {
		uint64_t least = least_capacity(o);

		if (least == 0)
			return shm_error_note(-EINVAL,
			    "the options ask for more than a segment can hold");
		return shm_error_note(SHMCACHE_ECAPACITY,
		    "a capacity of %llu bytes is too small: with these options "
		    "the least is %llu",
		    (unsigned long long)o->capacity_bytes,
		    (unsigned long long)least);
	}
	r->lane_count = choose_lanes(r->extent_count, r->log_count);
	return 0;
}

/* CLOCK_MONOTONIC of the host less that of this process's time namespace. */
static int64_t
clock_offset_ms(void)
{
	FILE *file = fopen("/proc/self/timens_offsets", "re");
	char name[32];
	long long seconds, nanoseconds;
	int64_t offset_ms = 0;

	if (file == NULL)
		return 0;
	while (
	    fscanf(file, "%31s %lld %lld", name, &seconds, &nanoseconds) == 3)
		if (strcmp(name, "monotonic") == 0)
			offset_ms = -(seconds * 1000 + nanoseconds / 1000000);
	(void)fclose(file);
	return offset_ms;
}

static struct cache_shared *
cache_page(void *base, const struct shm_geometry *g)
{
	void *page = (uint8_t *)base + g->region[REGION_CACHE];

	return page;
}

/* Fills the slots beyond `max_items`, spread evenly. */
static void
block_slots(void *base, const struct shm_geometry *g, uint64_t max_items)
{
	uint64_t count =
	    g->request.region_bytes[REGION_INDEX] / sizeof(uint64_t);
	uint64_t surplus = count - max_items;
	void *at = (uint8_t *)base + g->region[REGION_INDEX];
	uint64_t *slots = at;

	for (uint64_t i = 0; i < surplus; i++)
		slots[i * count / surplus] = INDEX_BLOCKED;
}

static struct filter_shared *
filter_page(void *base, const struct shm_geometry *g)
{
	void *page = (uint8_t *)base + g->region[REGION_FILTER];

	return page;
}

static void
describe_filter(
    void *base, const struct shm_geometry *g, const struct shmcache_options *o)
{
	filter_page(base, g)->items = o->filter_items;
	filter_page(base, g)->error_ppm = choose_error_ppm(o);
}

/* Signals interrupt it only while the machine starts. */
#define DRAWS_MAX 1000u

static int
draw_secret(struct cache_shared *c)
{
	size_t got = 0;

	for (unsigned draw = 0; got < sizeof(c->secret); draw++) {
		ssize_t n =
		    getrandom(c->secret + got, sizeof(c->secret) - got, 0);

		if (n < 0 && (errno != EINTR || draw == DRAWS_MAX))
			return -errno;
		got += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int
init_cache(void *context, void *base, const struct shm_geometry *g)
{
	const struct shmcache_options *o = context;
	struct cache_shared *c = cache_page(base, g);

	c->max_entry_bytes =
	    o->max_entry_bytes != 0
		? o->max_entry_bytes
		: g->request.extent_bytes / EXTENTS_PER_ENTRY - ENTRY_OVERHEAD;
	c->policy = policy_number(policy_named(o->policy)) |
		    (o->volatile_only != 0 ? CACHE_VOLATILE_ONLY : 0);
	c->default_ttl_ms =
	    o->default_ttl_ms != 0 ? o->default_ttl_ms : SHMCACHE_TTL_NONE;
	c->max_items = o->max_items;
	c->sample_mask = sample_mask(o);
	c->probation_bytes = (uint64_t)g->request.extent_count *
			     g->request.extent_bytes *
			     policy_named(o->policy)->probation_percent / 100;
	c->asked_capacity_bytes = o->capacity_bytes;
	c->asked_items = o->expected_items;
	c->asked_tags = o->expected_tags;
	if (o->filter_items != 0)
		describe_filter(base, g, o);
	c->created_ms = shm_clock_ms() + (uint64_t)clock_offset_ms();
	if (o->max_items != 0)
		block_slots(base, g, o->max_items);
	return draw_secret(c);
}

int
mapping_create(const char *path, const struct shmcache_options *options)
{
	struct shmcache_options o = *options;
	struct shm_request request;
	int error = make_request(&o, &request);

	if (error != 0)
		return error;
	return shm_segment_create(path, &request, mapping_signature(),
	    o.mode != 0 ? o.mode : 0600, init_cache, &o);
}

/* An option as it is asked for (0: it is not), and as it is. */
struct fact {
	const char *name;
	uint64_t wanted;
	uint64_t actual;
};

int
mapping_compare(const struct mapping *m, const struct shmcache_options *o)
{
	const struct shm_request *is = &m->segment->geometry.request;
	const struct fact facts[] = {
		{ "capacity_bytes", o->capacity_bytes,
		    m->shared->asked_capacity_bytes },
		{ "expected_items", o->expected_items, m->shared->asked_items },
		{ "expected_tags", o->expected_tags, m->shared->asked_tags },
		{ "max_items", o->max_items, m->max_items },
		{ "filter_items", o->filter_items,
		    m->filter != NULL ? m->filter->items : 0 },
		{ "filter_error_ppm",
		    m->filter != NULL ? o->filter_error_ppm : 0,
		    m->filter != NULL ? m->filter->error_ppm : 0 },
		{ "max_entry_bytes", o->max_entry_bytes, m->max_entry_bytes },
		{ "extent_bytes", o->extent_bytes, is->extent_bytes },
		{ "default_ttl_ms", (uint64_t)o->default_ttl_ms,
		    (uint64_t)m->default_ttl_ms },
		{ "peer_slots", o->peer_slots, is->peer_count },
		{ "process_slots", o->process_slots, is->process_count },
		{ "policy",
		    o->policy == NULL
			? 0
			: policy_number(policy_named(o->policy)) + 1,
		    policy_number(m->policy) + 1 },
		{ "volatile_only", o->volatile_only, m->volatile_only },
		{ "latency_sample",
		    o->latency_sample == 0 ? 0 : sample_mask(o) + 1ull,
		    m->sample_mask + 1ull },
	};

	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
		if (facts[i].wanted != 0 && facts[i].wanted != facts[i].actual)
			return shm_error_note(SHMCACHE_EOPTIONS,
			    "%.200s exists with another %s", m->segment->path,
			    facts[i].name);
	return 0;
}

uint64_t
mapping_signature(void)
{
	const uint64_t facts[] = { sizeof(struct cache_shared),
		sizeof(struct entry_shared), ENTRY_FLAGS, ENTRY_TAG_BYTES,
		REFRESH_STALE_BITS, REFRESH_TTL_BITS, REFRESH_DIGITS,
		INDEX_BUCKET_SLOTS, INDEX_GROUP_BUCKETS, COUNTERS,
		sizeof(struct latency_shared), sizeof(struct filter_shared),
		FILTER_LINE_WORDS, FILTER_WORD_BITS,
		sizeof(struct lease_shared), LEASES_MIN, TOKENS_PER_LEASE,
		sizeof(struct lock_shared), LEASES_PER_LOCK, GHOSTS_PER_WORD,
		GHOST_PRINT_BITS, sizeof(struct record_ring_shared),
		sizeof(struct record_shared), RECORD_SLOTS_MIN,
		RECORD_SLOTS_PER_PEER };
	uint64_t signature = 0;

	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
		signature = shm_signature_fold(signature, facts[i]);
	return signature;
}

/*
 * Extents to have free when one that is written is nearly full: one will be
 * taken then, and an eviction needs another for what it keeps.
 */
static uint32_t
choose_reserve(uint32_t extents)
{
	uint32_t reserve = extents / 64;

	return reserve < 2 ? 2 : reserve > 8 ? 8 : reserve;
}

/* What the policy says, in numbers of this cache. */
static void
apply_policy(struct mapping *m)
{
	const struct shm_request *r = &m->segment->geometry.request;
	bool probation = m->policy->probation_percent > 0;

	m->reserve = choose_reserve(r->extent_count);
	m->ghosts =
	    shm_at(m->segment, m->segment->geometry.region[REGION_GHOSTS]);
	m->ghost_words = r->region_bytes[REGION_GHOSTS] / sizeof(uint64_t);
	m->window_log = probation ? LOG_PROBATION : LOG_MAIN;
	m->window_position = &m->shared->position[m->window_log];
	m->window_ticks =
	    (uint32_t)((uint64_t)r->extent_count * PLACE_TICKS_PER_EXTENT *
		       m->policy->window_percent *
		       (probation ? m->policy->probation_percent : 100u) /
		       10000);
}

/* Copies the constants, checked against the geometry. */
static int
read_cache(struct mapping *m)
{
	const struct shm_geometry *g = &m->segment->geometry;
	struct cache_shared *c = cache_page(m->segment->base, g);
	uint64_t tag_words =
	    g->request.region_bytes[REGION_TAGS] / sizeof(uint64_t);

	if (g->request.region_bytes[REGION_CACHE] != sizeof(*c) ||
	    g->request.region_bytes[REGION_TAGS] % sizeof(uint64_t) != 0 ||
	    tag_words == 0 || (tag_words & (tag_words - 1)) != 0 ||
	    g->request.counter_count != COUNTERS)
		return SHMCACHE_ECORRUPT;
	m->attachment_id = m->segment->id;
	m->base = m->segment->base;
	m->arena = g->arena;
	m->arena_bytes =
	    (uint64_t)g->request.extent_count * g->request.extent_bytes;
	m->shared = c;
	m->slots = shm_at(m->segment, g->region[REGION_INDEX]);
	m->bucket_count = g->request.region_bytes[REGION_INDEX] / BUCKET_BYTES;
	m->group_mask = group_buckets(m->bucket_count) - 1;
	m->tags = shm_at(m->segment, g->region[REGION_TAGS]);
	m->tag_mask = tag_words - 1;
	m->extent_bytes = g->request.extent_bytes;
	m->extent_shift = (unsigned)__builtin_ctzll(m->extent_bytes);
	m->volatile_only = (c->policy & CACHE_VOLATILE_ONLY) != 0;
	m->policy = policy_numbered(c->policy & ~CACHE_VOLATILE_ONLY);
	m->max_entry_bytes = c->max_entry_bytes;
	m->max_items = c->max_items;
	m->sample_mask = (uint32_t)c->sample_mask;
	if (g->request.region_bytes[REGION_FILTER] != 0) {
		m->filter = filter_page(m->segment->base, g);
		m->filter_lines = (g->request.region_bytes[REGION_FILTER] -
				      sizeof(*m->filter)) /
				  (2 * FILTER_LINE_WORDS * 8);
	}
	if (g->request.region_bytes[REGION_LATENCY] != 0)
		m->latency = shm_at(m->segment, g->region[REGION_LATENCY]);
	m->default_ttl_ms = c->default_ttl_ms;
	memcpy(m->secret, c->secret, sizeof(m->secret));
	if (g->request.region_bytes[REGION_INDEX] % BUCKET_BYTES != 0 ||
	    m->bucket_count < 2 || m->bucket_count > UINT32_MAX ||
	    m->group_mask == 0 || !read_leases(m) || !read_record(m) ||
	    m->max_entry_bytes > m->extent_bytes - ENTRY_OVERHEAD ||
	    m->default_ttl_ms < SHMCACHE_TTL_NONE || m->policy == NULL ||
	    g->request.region_bytes[REGION_FILTER] !=
		filter_bytes(m->filter_lines) ||
	    m->filter_lines > FILTER_LINES_MAX ||
	    (m->latency != NULL && g->request.region_bytes[REGION_LATENCY] !=
				       (uint64_t)g->request.peer_count *
					   sizeof(struct latency_shared)) ||
	    g->request.region_bytes[REGION_GHOSTS] % sizeof(uint64_t) != 0 ||
	    g->request.region_bytes[REGION_GHOSTS] >> 35 != 0 ||
	    g->request.log_count != choose_logs(m->policy, m->volatile_only))
		return SHMCACHE_ECORRUPT;
	apply_policy(m);
	return 0;
}

/* A flush newer than any entry: every get misses, and looks why. */
static void
flush_for_good(void *base, const struct shm_geometry *geometry)
{
	shm_publish64(&cache_page(base, geometry)->flush, CACHE_SEQ_MAX);
}

int
mapping_open(const char *path, const struct shm_access *access,
    struct mapping **mapping_out)
{
	struct mapping *m = aligned_alloc(64, sizeof(*m));
	int error;

	if (m == NULL)
		return -ENOMEM;
	memset(m, 0, sizeof(*m));
	error = shm_segment_attach(
	    path, mapping_signature(), access, flush_for_good, &m->segment);
	if (error != 0) {
		free(m);
		return error;
	}
	error = read_cache(m);
	if (error != 0) {
		mapping_close(m);
		return shm_error_note(
		    error, "%.200s has a damaged cache page", path);
	}
	m->clock_offset_ms = clock_offset_ms();
	*mapping_out = m;
	return 0;
}

void
mapping_close(struct mapping *m)
{
	shm_segment_detach(m->segment);
	free(m);
}

void
mapping_forget(struct mapping *m)
{
	shm_segment_forget(m->segment);
	free(m);
}

int
mapping_remove(const char *path, const struct shm_access *access)
{
	return shm_segment_retire(
	    path, mapping_signature(), access, flush_for_good);
}
