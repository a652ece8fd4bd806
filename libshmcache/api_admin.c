/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* api_admin.c - public calls of those who look after a cache */
#include "libshmcache/error.h"
#include "libshmcache/expire.h"
#include "libshmcache/filter.h"
#include "libshmcache/index.h"
#include "libshmcache/latency.h"
#include "libshmcache/place.h"
#include "libshmcache/stats.h"
#include "libshmcache/verify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void
sum_counters(const struct mapping *m, struct shmcache_stats *stats)
{
	for (uint32_t i = 0; i < m->segment->geometry.request.peer_count; i++) {
		const uint64_t *counters = shm_peer_counters(m->segment, i);

#define COUNTER(name, text) stats->name += shm_load64(&counters[COUNT_##name]);
#include "libshmcache/stats.def"
	}
}

static void
count_extents(const struct mapping *m, struct shmcache_stats *stats)
{
	const struct shm_request *r = &m->segment->geometry.request;
	uint64_t by_state[SHM_EXTENT_STATES] = { 0 };

	for (uint32_t i = 0; i < r->extent_count; i++) {
		struct shm_extent e = shm_arena_state(m->segment, i);

		if (e.state < SHM_EXTENT_STATES)
			by_state[e.state]++;
		if (e.state != SHM_FREE && e.state != SHM_LIMBO)
			stats->live_bytes +=
			    shm_arena_live(m->segment, i, e.generation);
		if (e.state != SHM_FREE)
			stats->dead_bytes +=
			    shm_arena_tail(m->segment, i, e.generation);
	}
	stats->dead_bytes -= stats->live_bytes < stats->dead_bytes
				 ? stats->live_bytes
				 : stats->dead_bytes;
	stats->extents = r->extent_count;
	stats->extents_free = by_state[SHM_FREE];
	stats->extents_active = by_state[SHM_ACTIVE];
	stats->extents_sealed = by_state[SHM_SEALED];
	stats->extents_evicting = by_state[SHM_EVICTING];
	stats->extents_limbo = by_state[SHM_LIMBO];
}

/* Marks what a peer has pinned; how many were not marked before. */
static uint64_t
mark_pinned(const struct mapping *m, uint32_t peer_slot, uint8_t *marked)
{
	const struct shm_peer_shared *peer =
	    &shm_peer_table(m->segment)[peer_slot];
	uint64_t fresh = 0;

	for (unsigned i = 0; i < SHM_PINS; i++) {
		uint64_t pin = shm_load64(&peer->pins[i]);

		if (pin == 0 || pin > m->segment->geometry.request.extent_count)
			continue;
		fresh += !marked[pin - 1];
		marked[pin - 1] = 1;
	}
	return fresh;
}

static int
count_peers(const struct mapping *m, struct shmcache_stats *stats)
{
	const struct shm_request *r = &m->segment->geometry.request;
	uint8_t *marked = calloc(r->extent_count, 1);

	if (marked == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->peer_count; i++) {
		uint64_t claim =
		    shm_load64(&shm_peer_table(m->segment)[i].claim);

		if (shm_claim_state(claim) == SHM_CLAIM_FREE)
			continue;
		stats->peers++;
		stats->extents_pinned += mark_pinned(m, i, marked);
	}
	free(marked);
	for (uint32_t i = 0; i < r->process_count; i++)
		stats->processes +=
		    shm_load64(&shm_process_table(m->segment)[i].generation) !=
			0 &&
		    shm_process_alive(m->segment, i);
	stats->peer_slots = r->peer_count;
	stats->process_slots = r->process_count;
	return 0;
}

static uint64_t
count_items(const struct mapping *m)
{
	uint64_t slots = m->bucket_count * INDEX_BUCKET_SLOTS, items = 0;

	for (uint64_t i = 0; i < slots; i++) {
		uint64_t word = shm_load64(&m->slots[i]);

		items += word != 0 && (word & INDEX_TENTATIVE) == 0;
	}
	return items;
}

/* Milliseconds since a time of the host's clock; 0 is none. */
static uint64_t
age_ms(const struct mapping *m, uint64_t since_ms)
{
	uint64_t now_ms = mapping_now_ms(m);

	return since_ms == 0 || since_ms > now_ms ? 0 : now_ms - since_ms;
}

/* Header, processes, peers, counters, and regions that are as large in a small
   cache as in a large one. */
static uint64_t
fixed_bytes(const struct shm_geometry *g)
{
	const uint64_t *region = g->request.region_bytes;

	return g->region[REGION_INDEX] + region[REGION_TAGS] +
	       region[REGION_LEASES] + region[REGION_LATENCY] +
	       region[REGION_RECORD];
}

static int
measure(const struct mapping *m, struct shmcache_stats *stats)
{
	const struct shm_geometry *g = &m->segment->geometry;
	struct timespec tick = { 0, 0 };

	memset(stats, 0, sizeof(*stats));
	sum_counters(m, stats);
	count_extents(m, stats);
	stats->items = count_items(m);
	stats->index_slots = m->bucket_count * INDEX_BUCKET_SLOTS;
	(void)clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
	stats->capacity_bytes = g->total_bytes;
	stats->fixed_bytes = fixed_bytes(g);
	stats->policy = policy_number(m->policy);
	stats->volatile_only = m->volatile_only;
	stats->probation_bytes = place_probation_bytes(m);
	stats->arena_bytes =
	    (uint64_t)g->request.extent_count * g->request.extent_bytes;
	stats->extent_bytes = g->request.extent_bytes;
	stats->max_entry_bytes = m->max_entry_bytes;
	stats->clock_tick_ns =
	    (uint64_t)tick.tv_sec * 1000000000 + (uint64_t)tick.tv_nsec;
	stats->segment_id = m->segment->segment_id;
	stats->max_items = m->max_items;
	stats->default_ttl_ms = m->default_ttl_ms == SHMCACHE_TTL_NONE
				    ? 0
				    : (uint64_t)m->default_ttl_ms;
	stats->latency_sample =
	    m->latency == NULL ? 0 : (uint64_t)m->sample_mask + 1;
	stats->created_age_ms = age_ms(m, m->shared->created_ms);
	stats->swept_age_ms = age_ms(m, shm_load64(&m->shared->swept_ms));
	if (m->filter != NULL) {
		stats->filter_bytes = filter_bytes(m->filter_lines);
		stats->filter_items = m->filter->items;
		stats->filter_error_ppm = filter_error_ppm(m);
	}
	return count_peers(m, stats);
}

const char *
shmcache_policy_name(uint64_t policy)
{
	const struct policy *found = policy_numbered(policy);

	return found != NULL ? found->name : "unknown";
}

int
shmcache_stats(struct shmcache *cache, struct shmcache_stats *stats_out,
    size_t stats_bytes)
{
	struct shmcache_stats stats;
	struct call call;
	int error = stats_out == NULL || stats_bytes == 0
			? -EINVAL
			: call_enter(cache, CALL_LOOKS, &call);

	if (error != 0)
		return error_return(error);
	error = measure(call.m, &stats);
	call_leave();
	if (error != 0)
		return error_return(error);
	memset(stats_out, 0, stats_bytes);
	memcpy(stats_out, &stats,
	    stats_bytes < sizeof(stats) ? stats_bytes : sizeof(stats));
	return 0;
}

int
shmcache_sweep(struct shmcache *cache, struct shmcache_sweep_result *result_out)
{
	struct shmcache_sweep_result result;
	struct call call;
	int error = call_enter(cache, CALL_WRITES, &call);

	if (error != 0)
		return error_return(error);
	expire_sweep(&call, &result);
	call_leave();
	if (result_out != NULL)
		*result_out = result;
	return 0;
}

int
shmcache_verify(struct shmcache *cache, enum shmcache_verify_mode mode,
    shmcache_verify_report *report, void *context)
{
	struct verify_texts texts = { 0 };
	struct call call;
	int result;

	if (mode != SHMCACHE_VERIFY_LIVE && mode != SHMCACHE_VERIFY_STRICT)
		return error_return(-EINVAL);
	result = call_enter(cache, CALL_WRITES, &call);
	if (result != 0)
		return error_return(result);
	result = verify(&call, mode, report != NULL ? &texts : NULL);
	call_leave();
	/* Nothing is pinned, and no call is under way, while it reports. */
	for (size_t i = 0; i < texts.count; i++)
		report(context, texts.text[i]);
	free(texts.text);
	return error_return(result);
}

static void
describe_process(
    const struct mapping *m, uint32_t slot, struct shmcache_process_info *info)
{
	const struct shm_peer_shared *table = shm_peer_table(m->segment);

	*info = (struct shmcache_process_info){ .slot = slot,
		.pid = (int32_t)shm_load64(
		    &shm_process_table(m->segment)[slot].pid),
		.alive = shm_process_alive(m->segment, slot) };
	for (uint32_t i = 0; i < m->segment->geometry.request.peer_count; i++) {
		uint64_t claim = shm_load64(&table[i].claim);

		if (shm_claim_state(claim) == SHM_CLAIM_FREE ||
		    shm_claim_process(claim) != slot)
			continue;
		info->peers++;
		for (unsigned pin = 0; pin < SHM_PINS; pin++)
			info->pins += shm_load64(&table[i].pins[pin]) != 0;
	}
}

int
shmcache_processes(struct shmcache *cache,
    struct shmcache_process_info *processes, size_t capacity, size_t *count_out)
{
	struct call call;
	size_t count = 0;
	int error = count_out == NULL || (processes == NULL && capacity > 0)
			? -EINVAL
			: call_enter(cache, CALL_LOOKS, &call);

	if (error != 0)
		return error_return(error);
	for (uint32_t i = 0;
	     i < call.m->segment->geometry.request.process_count; i++) {
		struct shmcache_process_info info;

		describe_process(call.m, i, &info);
		if (!info.alive && info.peers == 0)
			continue;
		if (count < capacity)
			processes[count] = info;
		count++;
	}
	call_leave();
	*count_out = count;
	return 0;
}

static void
describe_peer(
    const struct mapping *m, uint32_t slot, struct shmcache_peer_info *info)
{
	const struct shm_peer_shared *peer = &shm_peer_table(m->segment)[slot];
	const uint64_t *counters = shm_peer_counters(m->segment, slot);
	uint64_t claim = shm_load64(&peer->claim), last_ms = 0;
	uint32_t process = shm_claim_process(claim);

	if (m->latency != NULL)
		last_ms = shm_load64(&latency_of(m, slot)->last_ms);
	*info = (struct shmcache_peer_info){ .slot = slot,
		.process_slot = process,
		.orphaned = shm_claim_state(claim) == SHM_CLAIM_ORPHANED,
		.idle_ms = last_ms == 0 ? -1 : (int64_t)age_ms(m, last_ms) };
	if (process < m->segment->geometry.request.process_count) {
		info->pid = (int32_t)shm_load64(
		    &shm_process_table(m->segment)[process].pid);
		info->alive = !shm_peer_dead(m->segment, claim, true);
	}
	for (unsigned i = 0; i < SHM_PINS; i++) {
		uint64_t pin = shm_load64(&peer->pins[i]);

		info->pins += pin != 0;
		info->pinned_extents[i] =
		    pin == 0 ? UINT32_MAX : (uint32_t)(pin - 1);
	}
	for (unsigned i = 0; i < COUNTERS; i++)
		if (stats_is_operation(i))
			info->operations += shm_load64(&counters[i]);
}

int
shmcache_peers(struct shmcache *cache, struct shmcache_peer_info *peers,
    size_t capacity, size_t *count_out)
{
	struct call call;
	size_t count = 0;
	int error = count_out == NULL || (peers == NULL && capacity > 0)
			? -EINVAL
			: call_enter(cache, CALL_LOOKS, &call);

	if (error != 0)
		return error_return(error);
	for (uint32_t i = 0; i < call.m->segment->geometry.request.peer_count;
	     i++) {
		uint64_t claim =
		    shm_load64(&shm_peer_table(call.m->segment)[i].claim);

		if (shm_claim_state(claim) == SHM_CLAIM_FREE)
			continue;
		if (count < capacity)
			describe_peer(call.m, i, &peers[count]);
		count++;
	}
	call_leave();
	*count_out = count;
	return 0;
}

static uint32_t
count_pins(const struct mapping *m, uint32_t extent)
{
	const struct shm_peer_shared *table = shm_peer_table(m->segment);
	uint32_t pins = 0;

	for (uint32_t i = 0; i < m->segment->geometry.request.peer_count; i++) {
		if (shm_claim_state(shm_load64(&table[i].claim)) ==
		    SHM_CLAIM_FREE)
			continue;
		for (unsigned p = 0; p < SHM_PINS; p++)
			pins += shm_load64(&table[i].pins[p]) ==
				(uint64_t)extent + 1;
	}
	return pins;
}

static void
describe_extent(
    const struct mapping *m, uint32_t number, struct shmcache_extent_info *info)
{
	struct shm_extent e = shm_arena_state(m->segment, number);
	uint64_t begun_ms = shm_arena_stamp(m->segment, number, e.generation);

	*info = (struct shmcache_extent_info){ .state = (uint32_t)e.state,
		.log = e.log,
		.pins = count_pins(m, number),
		.used_bytes = shm_arena_tail(m->segment, number, e.generation),
		.live_bytes = shm_arena_live(m->segment, number, e.generation),
		.age_ms = begun_ms == 0 ? -1 : (int64_t)age_ms(m, begun_ms) };
}

int
shmcache_extents(struct shmcache *cache, struct shmcache_extent_info *extents,
    size_t capacity, size_t *count_out)
{
	struct call call;
	uint32_t count;
	int error = count_out == NULL || (extents == NULL && capacity > 0)
			? -EINVAL
			: call_enter(cache, CALL_LOOKS, &call);

	if (error != 0)
		return error_return(error);
	count = call.m->segment->geometry.request.extent_count;
	for (uint32_t i = 0; i < count && i < capacity; i++)
		describe_extent(call.m, i, &extents[i]);
	call_leave();
	*count_out = count;
	return 0;
}

int
shmcache_latency(struct shmcache *cache, enum shmcache_latency_kind kind,
    struct shmcache_latency *latency_out)
{
	struct shmcache_latency sum = { 0 };
	struct call call;
	int error = latency_out == NULL || kind >= SHMCACHE_LATENCY_KINDS
			? -EINVAL
			: call_enter(cache, CALL_LOOKS, &call);

	if (error != 0)
		return error_return(error);
	for (uint32_t i = 0; call.m->latency != NULL &&
			     i < call.m->segment->geometry.request.peer_count;
	     i++)
		for (unsigned b = 0; b < SHMCACHE_LATENCY_BUCKETS; b++) {
			uint32_t count = shm_load32(
			    &latency_of(call.m, i)->buckets[kind][b]);

			sum.count[b] += count;
			sum.samples += count;
		}
	call_leave();
	*latency_out = sum;
	return 0;
}

int
shmcache_count(struct shmcache *cache, uint64_t *items_out)
{
	struct call call;
	int error =
	    items_out == NULL ? -EINVAL : call_enter(cache, CALL_LOOKS, &call);

	if (error != 0)
		return error_return(error);
	*items_out = count_items(call.m);
	call_leave();
	return 0;
}
