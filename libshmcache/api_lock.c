/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* api_lock.c - public calls of application locks */
#include "libshmcache/error.h"
#include "libshmcache/latency.h"
#include "libshmcache/lock.h"
#include "libshmcache/stats.h"
#include "libshmcache/wait.h"
#include "shm/clock.h"
#include "shm/error.h"

#include <errno.h>

/* One try; *seen and *look_ms are what to wait for, and how long. */
static int
try_lock(struct shmcache *cache, const void *name, size_t name_bytes,
    bool fresh, struct shmcache_lock *lock, const uint64_t **seen,
    uint32_t *look_ms)
{
	struct lock_name n;
	struct call call;
	enum lock_take take;
	int error = call_enter(cache, CALL_WRITES, &call);

	if (error != 0)
		return error;
	n = lock_name(call.m, name, name_bytes);
	take = lock_take(&call, &n, fresh, &lock->place, &lock->word);
	*look_ms = wait_look_ms(shm_peer_random(call.peer));
	*seen = NULL;
	if (take == LOCK_TAKEN) {
		lock->segment_id = call.m->segment->segment_id;
		lock->fence = shm_faa64(&call.m->shared->fence, 1) + 1;
		stats_count(call.peer, COUNT_locks);
	} else if (take == LOCK_BUSY) {
		*seen = &call.m->locks[lock->place].word;
	} else {
		error = take == LOCK_OWN ? SHMCACHE_EDEADLK : SHMCACHE_ELOCKS;
	}
	call_leave();
	return error;
}

int
shmcache_lock(struct shmcache *cache, const void *name, size_t name_bytes,
    uint32_t timeout_ms, struct shmcache_lock *lock_out)
{
	uint64_t deadline_ms = shm_clock_ms() + timeout_ms;
	struct shmcache_lock lock = { .place = 0 };
	bool fresh = false;

	if (name == NULL || name_bytes == 0 ||
	    name_bytes > SHMCACHE_LOCK_NAME_MAX || lock_out == NULL)
		return error_return(shm_error_note(
		    -EINVAL, "the name of a lock has 1 to 240 bytes"));
	for (;;) {
		const uint64_t *seen;
		uint64_t now_ms = shm_clock_ms();
		uint32_t look_ms;
		int error = try_lock(
		    cache, name, name_bytes, fresh, &lock, &seen, &look_ms);

		if (error != 0)
			return error_return(error);
		if (seen == NULL)
			break;
		if (now_ms >= deadline_ms)
			return error_return(-ETIMEDOUT);
		wait_for_change(seen, lock.word, look_ms, deadline_ms - now_ms);
		fresh = true;
	}
	*lock_out = lock;
	return 0;
}

int
shmcache_unlock(struct shmcache *cache, const struct shmcache_lock *lock)
{
	struct call call;
	int error =
	    lock == NULL ? -EINVAL : call_enter(cache, CALL_WRITES, &call);

	if (error != 0)
		return error_return(error);
	if (lock->segment_id != call.m->segment->segment_id ||
	    !lock_release(&call, lock->place, lock->word))
		error = shm_error_note(
		    SHMCACHE_ESTALE, "the lock is not held by this token");
	call_leave();
	return error_return(error);
}
