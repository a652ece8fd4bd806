/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* list.c - the caches of this host */
#include "tools/stat/list.h"

#include "tools/common.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FOLDER "/dev/shm"
#define PREFIX "shmcache."

static const char *
state_of(int error)
{
	switch (error) {
	case 0:
		return "ok";
	case SHMCACHE_EOWNER:
	case -EACCES:
	case -EPERM:
		return "foreign";
	case SHMCACHE_EVERSION:
	case SHMCACHE_ELAYOUT:
		return "other-version";
	case SHMCACHE_ECORRUPT:
		return "damaged";
	case SHMCACHE_ENOTCACHE:
	case SHMCACHE_EFILETYPE:
		return "not-a-cache";
	case SHMCACHE_EREMOVED:
	case SHMCACHE_ENOCACHE:
		return "removed";
	default:
		return "unavailable";
	}
}

static void
find_owner(struct listed *cache, uid_t uid)
{
	char buffer[1024];
	struct passwd entry;
	struct passwd *found = NULL;

	cache->uid = uid;
	if (!getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) && found) {
		(void)snprintf(
		    cache->owner, sizeof(cache->owner), "%s", found->pw_name);
	} else {
		(void)snprintf(cache->owner, sizeof(cache->owner), "%" PRIuMAX,
		    (uintmax_t)uid);
	}
}

/* Returns 0 or -ENOMEM; what else goes wrong is the cache's state. */
static int
look_into(struct listed *cache, int folder)
{
	struct shmcache *handle;
	struct stat status;
	int error;

	if (!fstatat(folder, cache->file_name, &status, AT_SYMLINK_NOFOLLOW)) {
		cache->file_bytes = (uint64_t)status.st_size;
		find_owner(cache, status.st_uid);
	}
	error = report_open(cache->name, &handle);
	if (!error) {
		error = report_collect(handle, cache->name, &cache->report);
	}
	cache->state = state_of(error);
	if (error) {
		cache->why = strdup(shmcache_last_error());
		if (!cache->why) {
			error = -ENOMEM;
		}
	}
	(void)shmcache_close(handle);
	return error == -ENOMEM && !cache->why ? error : 0;
}

static int
add_cache(struct listing *listing, int folder, const char *file_name)
{
	struct listed *grown =
	    reallocarray(listing->caches, listing->count + 1, sizeof(*grown));
	struct listed *cache;

	if (!grown) {
		return -ENOMEM;
	}
	listing->caches = grown;
	cache = &grown[listing->count];
	memset(cache, 0, sizeof(*cache));
	cache->file_name = strdup(file_name);
	if (!cache->file_name) {
		return -ENOMEM;
	}
	cache->name = cache->file_name + strlen(PREFIX);
	listing->count++;
	return look_into(cache, folder);
}

static int
by_name(const void *a, const void *b)
{
	const struct listed *one = a;
	const struct listed *other = b;

	return strcmp(one->name, other->name);
}

int
list_collect(struct listing *listing)
{
	DIR *folder = opendir(FOLDER);
	const struct dirent *file;
	int error = 0;

	memset(listing, 0, sizeof(*listing));
	if (!folder) {
		tool_say(FOLDER, "%s", strerrordesc_np(errno));
		return TOOL_NO_ATTACH;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	while (!error && (file = readdir(folder))) {
		if (!strncmp(file->d_name, PREFIX, strlen(PREFIX))) {
			error = add_cache(listing, dirfd(folder), file->d_name);
		}
	}
	(void)closedir(folder);
	if (error) {
		return tool_fail(FOLDER, error);
	}
	qsort(
	    listing->caches, listing->count, sizeof(*listing->caches), by_name);
	return TOOL_OK;
}

void
list_free(struct listing *listing)
{
	size_t i;

	for (i = 0; i < listing->count; i++) {
		report_free(&listing->caches[i].report);
		free(listing->caches[i].file_name);
		free(listing->caches[i].why);
	}
	free(listing->caches);
	memset(listing, 0, sizeof(*listing));
}
