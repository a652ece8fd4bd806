/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* api_invalidate.c - public calls that invalidate: flush, tags, snapshots */
#include "libshmcache/cache.h"
#include "libshmcache/error.h"
#include "libshmcache/invalidate.h"
#include "libshmcache/record.h"
#include "libshmcache/stats.h"
#include "shm/error.h"

#include <errno.h>

int
shmcache_flush(struct shmcache *cache)
{
	struct call call;
	int error = call_enter(cache, CALL_WRITES, &call);

	if (error != 0)
		return error_return(error);
	invalidate_word(call.m, &call.m->shared->flush);
	record_flush(&call);
	stats_count(call.peer, COUNT_flushes);
	call_leave();
	return 0;
}

int
shmcache_flush_begin(
    struct shmcache *cache, struct shmcache_snapshot *begun_out)
{
	struct call call;
	int error =
	    begun_out == NULL ? -EINVAL : call_enter(cache, CALL_WRITES, &call);

	if (error != 0)
		return error_return(error);
	*begun_out = (struct shmcache_snapshot){ call.m->segment->segment_id,
		invalidate_begin(call.m) };
	record_flush(&call);
	call_leave();
	return 0;
}

static int
end_flush(const struct call *call, const struct shmcache_snapshot *begun)
{
	struct mapping *m = call->m;

	if (begun->segment_id != m->segment->segment_id)
		return shm_error_note(SHMCACHE_ESTALE,
		    "the flush was begun in another cache, or in this one "
		    "before it was made anew");
	if (begun->seq == 0 || begun->seq > invalidate_now(m))
		return shm_error_note(
		    -EINVAL, "no flush of this cache was begun so");
	invalidate_raise(&m->shared->flush, begun->seq);
	(void)invalidate_begin(m); /* for the sweep */
	stats_count(call->peer, COUNT_flushes);
	return 0;
}

int
shmcache_flush_end(
    struct shmcache *cache, const struct shmcache_snapshot *begun)
{
	struct call call;
	int error =
	    begun == NULL ? -EINVAL : call_enter(cache, CALL_WRITES, &call);

	if (error != 0)
		return error_return(error);
	error = end_flush(&call, begun);
	call_leave();
	return error_return(error);
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
