/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * api_filter.c - public calls of the filter; saving it to a file, loading it
 *
 * A build is named by {identity of the segment 32, generation 32}.  Files are
 * read and written while no call is under way.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "libshmcache/error.h"
#include "libshmcache/filter.h"
#include "libshmcache/index.h"
#include "shm/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* A filter that is swapped during each of so many copies can't be saved. */
#define COPIES_MAX 10u

static uint64_t
name_build(const struct mapping *m, uint32_t generation)
{
	return m->segment->segment_id << 32 | generation;
}

/* Enters, for a build of this segment. */
static int
enter_build(struct shmcache *cache, uint64_t build, struct call *call)
{
	int error = call_enter(cache, CALL_WRITES, call);

	if (error != 0 || build == name_build(call->m, (uint32_t)build))
		return error;
	call_leave();
	return shm_error_note(SHMCACHE_ESTALE, "the build is of another cache");
}

int
shmcache_filter_check(struct shmcache *cache, const void *key, size_t key_bytes)
{
	struct call call;
	int error = !index_is_key(key, key_bytes)
			? SHMCACHE_EKEY
			: call_enter(cache, CALL_READS, &call);

	if (error == SHMCACHE_ENOENT)
		return 1; /* the cache was removed: nobody knows */
	if (error != 0)
		return error_return(error);
	error = filter_may_have(&call, key, key_bytes);
	call_leave();
	return error;
}

int
shmcache_filter_add(
    struct shmcache *cache, uint64_t build, const void *key, size_t key_bytes)
{
	struct call call;
	int error = !index_is_key(key, key_bytes) ? SHMCACHE_EKEY
		    : build == 0 ? call_enter(cache, CALL_WRITES, &call)
				 : enter_build(cache, build, &call);

	if (error != 0)
		return error_return(error);
	error = filter_add(call.m, (uint32_t)build, key, key_bytes);
	call_leave();
	return error_return(error);
}

static int
random_seed(uint32_t *seed_out)
{
	return getrandom(seed_out, sizeof(*seed_out), 0) ==
		       (ssize_t)sizeof(*seed_out)
		   ? 0
		   : -errno;
}

int
shmcache_filter_begin(struct shmcache *cache, uint64_t *build_out)
{
	struct call call;
	uint32_t seed = 0, generation = 0;
	int error = build_out == NULL ? -EINVAL : random_seed(&seed);

	if (error == 0)
		error = call_enter(cache, CALL_WRITES, &call);
	if (error != 0)
		return error_return(error);
	error = filter_begin(call.m, seed, &generation);
	if (error == 0)
		*build_out = name_build(call.m, generation);
	call_leave();
	return error_return(error);
}

int
shmcache_filter_publish(struct shmcache *cache, uint64_t build)
{
	struct call call;
	int error = enter_build(cache, build, &call);

	if (error != 0)
		return error_return(error);
	error = filter_publish(call.m, (uint32_t)build);
	call_leave();
	return error_return(error);
}

int
shmcache_filter_drop(struct shmcache *cache)
{
	struct call call;
	int error = call_enter(cache, CALL_WRITES, &call);

	if (error != 0)
		return error_return(error);
	error = filter_drop(call.m);
	call_leave();
	return error_return(error);
}

/* The filter in use, in memory from malloc(). */
static int
copy_filter(
    struct shmcache *cache, struct filter_file *header, uint64_t **words_out)
{
	struct call call;
	int error = call_enter(cache, CALL_LOOKS, &call);

	if (error != 0)
		return error;
	error = call.m->filter == NULL ? SHMCACHE_ENOENT : 0;
	*words_out = NULL;
	if (error == 0) {
		*words_out =
		    malloc(call.m->filter_lines * FILTER_LINE_WORDS * 8);
		error = *words_out == NULL ? -ENOMEM : -EAGAIN;
	}
	for (unsigned i = 0; i < COPIES_MAX && error == -EAGAIN; i++)
		error = filter_copy(call.m, header, *words_out);
	call_leave();
	if (error != 0)
		free(*words_out);
	return error;
}

/* More of them at one file are no signals any more. */
#define INTERRUPTIONS_MAX 1000u

static int
write_all(int fd, const void *bytes, size_t count)
{
	const char *at = bytes;
	unsigned interruptions = 0;

	while (count > 0) {
		ssize_t n = write(fd, at, count);

		if (n < 0 &&
		    (errno != EINTR || interruptions++ == INTERRUPTIONS_MAX))
			return -errno;
		at += n > 0 ? n : 0;
		count -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Written beside, then put in place: whoever loads sees the old file or the
   new one. */
static int
write_file(
    const char *path, const struct filter_file *header, const uint64_t *words)
{
	char *beside;
	int fd, error = 0;

	if (asprintf(&beside, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	fd = mkostemp(beside, O_CLOEXEC);
	if (fd < 0) {
		error = -errno;
		free(beside);
		return error;
	}
	error = write_all(fd, header, sizeof(*header));
	if (error == 0)
		error =
		    write_all(fd, words, header->lines * FILTER_LINE_WORDS * 8);
	if (error == 0 && fsync(fd) != 0)
		error = -errno;
	if (close(fd) != 0 && error == 0)
		error = -errno;
	if (error == 0 && rename(beside, path) != 0)
		error = -errno;
	if (error != 0)
		(void)unlink(beside);
	free(beside);
	return error;
}

int
shmcache_filter_save(struct shmcache *cache, const char *path)
{
	struct filter_file header;
	uint64_t *words;
	int error =
	    path == NULL ? -EINVAL : copy_filter(cache, &header, &words);

	if (error != 0)
		return error_return(error);
	error = write_file(path, &header, words);
	free(words);
	return error_return(error);
}

static int
refuse_file(const char *path, const char *why)
{
	return shm_error_note(-EBADMSG, "%.200s %s", path, why);
}

static int
read_all(int fd, void *bytes, size_t count)
{
	char *at = bytes;
	unsigned interruptions = 0;

	while (count > 0) {
		ssize_t n = read(fd, at, count);

		if (n < 0 &&
		    (errno != EINTR || interruptions++ == INTERRUPTIONS_MAX))
			return -errno;
		if (n == 0)
			return -EBADMSG;
		at += n > 0 ? n : 0;
		count -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int
check_file(int fd, const char *path, struct filter_file *header)
{
	struct stat st;
	int error = fstat(fd, &st) != 0 ? -errno : 0;

	if (error == 0 && !S_ISREG(st.st_mode))
		return refuse_file(path, "is not a file");
	if (error == 0)
		error = read_all(fd, header, sizeof(*header));
	if (error == -EBADMSG ||
	    (error == 0 && memcmp(header->magic, FILTER_MAGIC,
			       sizeof(header->magic)) != 0))
		return refuse_file(path, "is not a saved filter");
	if (error == 0 && header->version != FILTER_VERSION)
		return refuse_file(path,
		    "was saved by another version of the library, or on a "
		    "machine of another byte order");
	if (error == 0 &&
	    (header->lines == 0 || header->lines > FILTER_LINES_MAX ||
		(uint64_t)st.st_size !=
		    sizeof(*header) + header->lines * FILTER_LINE_WORDS * 8))
		return refuse_file(path, "is damaged: it has another length "
					 "than it says");
	return error;
}

/* The words in memory from malloc(). */
static int
read_file(const char *path, struct filter_file *header, uint64_t **words_out)
{
	/* A FIFO is not waited for. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	uint64_t *words = NULL;
	size_t bytes = 0;
	int error = fd < 0 ? -errno : check_file(fd, path, header);

	if (error == 0) {
		bytes = header->lines * FILTER_LINE_WORDS * 8;
		words = malloc(bytes);
		error = words == NULL ? -ENOMEM : read_all(fd, words, bytes);
	}
	if (error == 0 && filter_checksum(header, words) != header->checksum)
		error = refuse_file(path, "is damaged: its checksum is wrong");
	if (fd >= 0)
		(void)close(fd);
	if (error != 0)
		free(words);
	else
		*words_out = words;
	return error;
}

static int
load_words(struct shmcache *cache, const struct filter_file *header,
    const uint64_t *words, uint64_t *build_out)
{
	struct call call;
	uint32_t generation = 0;
	int error = call_enter(cache, CALL_WRITES, &call);

	if (error != 0)
		return error;
	if (call.m->filter != NULL && call.m->filter_lines != header->lines)
		error = shm_error_note(-EINVAL,
		    "the saved filter has %llu lines, for %llu items; the "
		    "cache's has %llu: create it with the same filter_items "
		    "and filter_error_ppm",
		    (unsigned long long)header->lines,
		    (unsigned long long)header->items,
		    (unsigned long long)call.m->filter_lines);
	if (error == 0)
		error = filter_begin(call.m, header->seed, &generation);
	if (error == 0) {
		filter_fill(call.m, generation, words);
		*build_out = name_build(call.m, generation);
	}
	call_leave();
	return error;
}

int
shmcache_filter_load(
    struct shmcache *cache, const char *path, uint64_t *build_out)
{
	struct filter_file header;
	uint64_t *words = NULL;
	int error = path == NULL || build_out == NULL
			? -EINVAL
			: read_file(path, &header, &words);

	if (error == 0)
		error = load_words(cache, &header, words, build_out);
	free(words);
	return error_return(error);
}
