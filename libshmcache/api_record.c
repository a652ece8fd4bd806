/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* api_record.c - public calls of who records requests */
#include "libshmcache/error.h"
#include "libshmcache/record.h"

#include <errno.h>
#include <limits.h>

/* Enters a cache that may be written; no peer is needed. */
static int
enter(struct shmcache *cache, struct call *call)
{
	int error = call_enter(cache, CALL_LOOKS, call);

	if (error == 0 && call->m->segment->read_only) {
		call_leave();
		error = SHMCACHE_EREADONLY;
	}
	return error;
}

int
shmcache_record_begin(struct shmcache *cache, double share,
    struct shmcache_recorder *recorder_out)
{
	struct call call;
	int error = recorder_out == NULL ? -EINVAL : enter(cache, &call);

	if (error != 0)
		return error_return(error);
	error = record_begin(call.m, share, recorder_out);
	call_leave();
	return error_return(error);
}

int
shmcache_record_read(struct shmcache *cache, struct shmcache_recorder *recorder,
    struct shmcache_request *requests, size_t capacity)
{
	struct call call;
	int result = recorder == NULL || (requests == NULL && capacity > 0) ||
			     capacity > INT_MAX
			 ? -EINVAL
			 : enter(cache, &call);

	if (result != 0)
		return error_return(result);
	result = record_read(call.m, recorder, requests, capacity);
	call_leave();
	return error_return(result);
}

int
shmcache_record_end(struct shmcache *cache, struct shmcache_recorder *recorder)
{
	struct call call;
	int error = recorder == NULL ? -EINVAL : enter(cache, &call);

	if (error != 0)
		return error_return(error);
	error = record_end(call.m, recorder);
	call_leave();
	return error_return(error);
}
