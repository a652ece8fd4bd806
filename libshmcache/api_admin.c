/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* api_admin.c - public calls of those who look after a cache */
#include "libshmcache/error.h"
#include "libshmcache/expire.h"
#include "libshmcache/index.h"
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
	}
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

static void
count_items(const struct mapping *m, struct shmcache_stats *stats)
{
	stats->index_slots = m->bucket_count * INDEX_BUCKET_SLOTS;
	for (uint64_t i = 0; i < stats->index_slots; i++) {
		uint64_t word = shm_load64(&m->slots[i]);

		stats->items += word != 0 && (word & INDEX_TENTATIVE) == 0;
	}
}

static int
measure(const struct mapping *m, struct shmcache_stats *stats)
{
	const struct shm_geometry *g = &m->segment->geometry;
	struct timespec tick = { 0, 0 };

	memset(stats, 0, sizeof(*stats));
	sum_counters(m, stats);
	count_extents(m, stats);
	count_items(m, stats);
	(void)clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
	stats->capacity_bytes = g->total_bytes;
	stats->arena_bytes =
	    (uint64_t)g->request.extent_count * g->request.extent_bytes;
	stats->extent_bytes = g->request.extent_bytes;
	stats->max_entry_bytes = m->max_entry_bytes;
	stats->clock_tick_ns =
	    (uint64_t)tick.tv_sec * 1000000000 + (uint64_t)tick.tv_nsec;
	stats->segment_id = m->segment->segment_id;
	return count_peers(m, stats);
}

/* Enter for looking around in a cache that is still there. */
static int
enter_to_look(struct shmcache *cache, struct call *call)
{
	int error = call_enter(cache, CALL_LOOKS, call);

	if (error == 0 && shm_segment_retired(call->m->segment)) {
		call_leave();
		error = SHMCACHE_EREMOVED;
	}
	return error;
}

int
shmcache_stats(struct shmcache *cache, struct shmcache_stats *stats_out,
    size_t stats_bytes)
{
	struct shmcache_stats stats;
	struct call call;
	int error = stats_out == NULL || stats_bytes == 0
			? -EINVAL
			: enter_to_look(cache, &call);

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
			: enter_to_look(cache, &call);

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
