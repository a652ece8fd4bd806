/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* api_watch.c - public calls that watch loads of others for an event loop */
#include "libshmcache/error.h"
#include "libshmcache/latency.h"
#include "libshmcache/load.h"
#include "libshmcache/watch.h"
#include "shm/clock.h"

#include <errno.h>
#include <stdlib.h>

/* The watcher; within cache_begin() then, unless it is an error. */
static int
begin(struct shmcache *cache, struct watcher **watcher_out)
{
	int error = cache_begin();

	if (error == 0) {
		error = watch_get(cache, watcher_out);
		if (error != 0)
			call_end();
	}
	return error;
}

int
shmcache_watch_fd(struct shmcache *cache)
{
	struct watcher *watcher;
	int fd, error = begin(cache, &watcher);

	if (error != 0)
		return error_return(error);
	fd = watcher->fd;
	call_end();
	return fd;
}

int
shmcache_watch_load(struct shmcache *cache, const void *key_data,
    size_t key_bytes, uint32_t timeout_ms, void *context, uint64_t *watch_out)
{
	struct watcher *watcher;
	struct watch *watch;
	struct lease lease;
	struct call call;
	struct key key;
	uint64_t attachment_id, id;
	bool held;
	int error =
	    index_enter(cache, CALL_WRITES, key_data, key_bytes, &call, &key);

	if (error != 0)
		return error_return(error);
	attachment_id = call.m->attachment_id;
	held = lease_is_held(&call, &key, false, &lease);
	call_leave();
	watch = calloc(1, sizeof(*watch));
	error = watch == NULL ? -ENOMEM : begin(cache, &watcher);
	if (error == 0) {
		watch->told.context = context;
		watch->deadline_ms = shm_clock_ms() + timeout_ms;
		watch->began_ns = latency_begin();
		error = watch_add(
		    watcher, watch, attachment_id, held ? &lease : NULL, &id);
		call_end();
	}
	if (error != 0)
		free(watch);
	else if (watch_out != NULL)
		*watch_out = id;
	return error_return(error);
}

int
shmcache_watch_next(
    struct shmcache *cache, struct shmcache_watched *watched_out)
{
	struct watcher *watcher;
	struct watch *watch;
	int error = watched_out == NULL ? -EINVAL : begin(cache, &watcher);

	if (error != 0)
		return error_return(error);
	watch = watch_fetch(watcher);
	call_end();
	if (watch == NULL)
		return SHMCACHE_ENOENT;
	*watched_out = watch->told;
	load_count_wait(cache, watch->began_ns);
	free(watch);
	return 0;
}

int
shmcache_watch_cancel(struct shmcache *cache, uint64_t id)
{
	struct watcher *watcher;
	struct watch *watch;
	int error = begin(cache, &watcher);

	if (error != 0)
		return error_return(error);
	watch = watch_withdraw(watcher, id);
	call_end();
	free(watch);
	return watch != NULL ? 0 : error_return(SHMCACHE_ENOENT);
}
