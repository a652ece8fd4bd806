/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* api_invalidate.c - public calls that invalidate: flush, tags, snapshots */
#include "libshmcache/cache.h"
#include "libshmcache/error.h"
#include "libshmcache/invalidate.h"
#include "libshmcache/stats.h"

#include <errno.h>

int
shmcache_flush(struct shmcache *cache)
{
	struct call call;
	int error = call_enter(cache, CALL_WRITES, &call);

	if (error != 0)
		return error_return(error);
	invalidate_word(call.m, &call.m->shared->flush);
	stats_count(call.peer, COUNT_flushes);
	call_leave();
	return 0;
}

int
shmcache_invalidate_tag(
    struct shmcache *cache, const void *tag, size_t tag_bytes)
{
	struct call call;
	uint32_t hash;
	int error;

	if (!invalidate_is_tag(tag, tag_bytes))
		return error_return(invalidate_refuse_tag());
	error = call_enter(cache, CALL_WRITES, &call);
	if (error != 0)
		return error_return(error);
	hash = invalidate_tag_hash(call.m, tag, tag_bytes);
	invalidate_word(call.m, invalidate_tag_word(call.m, hash));
	stats_count(call.peer, COUNT_invalidations);
	call_leave();
	return 0;
}

int
shmcache_snapshot(
    struct shmcache *cache, struct shmcache_snapshot *snapshot_out)
{
	struct call call;
	int error = snapshot_out == NULL ? -EINVAL
					 : call_enter(cache, CALL_LOOKS, &call);

	if (error != 0)
		return error_return(error);
	*snapshot_out = (struct shmcache_snapshot){ call.m->segment->segment_id,
		invalidate_now(call.m) };
	call_leave();
	return 0;
}
