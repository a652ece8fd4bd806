/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* error.c - results in words */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shm/error.h"

#include "libshmcache/error.h"
#include "libshmcache/shmcache.h"

#include <assert.h>
#include <string.h>

#define SAME(name) static_assert((int)SHMCACHE_##name == (int)SHM_##name, #name)
SAME(EBUSY);
SAME(EPEERS);
SAME(EPROCESSES);
SAME(EPINS);
SAME(ESTALE);
SAME(EREMOVED);
SAME(ECORRUPT);
SAME(EEXIST);
SAME(ENAME);
SAME(EFILETYPE);
SAME(EOWNER);
SAME(EFILESYSTEM);
SAME(EVERSION);
SAME(ELAYOUT);
SAME(ECAPACITY);
SAME(EKERNEL);
SAME(ENOPROC);
static_assert((int)SHMCACHE_ENOCACHE == (int)SHM_ENOSEGMENT, "ENOCACHE");
static_assert((int)SHMCACHE_ENOTCACHE == (int)SHM_ENOTSEGMENT, "ENOTCACHE");

/* The thread's last failure, and its note if it left one. */
static __thread int last_error __attribute__((tls_model("initial-exec")));
static __thread const char *last_text
    __attribute__((tls_model("initial-exec")));

static const struct {
	int error;
	const char *text;
} texts[] = {
	{ 0, "success" },
	{ SHMCACHE_ENOENT, "no such entry" },
	{ SHMCACHE_EBUFFER, "the buffer is smaller than the value" },
	{ SHMCACHE_EKEY, "a key must have 1 to 65,535 bytes" },
	{ SHMCACHE_ETOOBIG, "key and value are larger than the cache allows" },
	{ SHMCACHE_EBUSY, "in use" },
	{ SHMCACHE_EPEERS, "every peer slot is taken" },
	{ SHMCACHE_EPROCESSES, "every process slot is taken" },
	{ SHMCACHE_EPINS, "this thread holds as many items as it may" },
	{ SHMCACHE_EDEADLK, "called from within another call" },
	{ SHMCACHE_ESTALE,
	    "of another process, handle or cache; or invalidated since its "
	    "snapshot" },
	{ SHMCACHE_EREMOVED, "the cache was removed" },
	{ SHMCACHE_ECORRUPT, "the cache is damaged; remove it" },
	{ SHMCACHE_EPRESENT, "the key is there already" },
	{ SHMCACHE_ECHANGED, "the entry has another version" },
	{ SHMCACHE_ENOTNUMBER,
	    "the value is not a whole decimal number of 64 bits" },
	{ SHMCACHE_EREADONLY, "the cache was opened for reading only" },
	{ SHMCACHE_EFULL, "the cache is full of entries that never expire" },
	{ SHMCACHE_ELIMIT, "there are as many loads as there may be" },
	{ SHMCACHE_ELOCKS, "every application lock is in use" },
	{ SHMCACHE_ENOCACHE, "there is no cache of that name" },
	{ SHMCACHE_EEXIST, "the name is taken" },
	{ SHMCACHE_ENAME, "not a valid name of a cache" },
	{ SHMCACHE_EFILETYPE, "not a regular file" },
	{ SHMCACHE_EOWNER, "the cache belongs to another user" },
	{ SHMCACHE_EFILESYSTEM, "the path is not on a tmpfs or hugetlbfs" },
	{ SHMCACHE_ENOTCACHE, "the file is not a cache" },
	{ SHMCACHE_EVERSION, "made by another version of the library" },
	{ SHMCACHE_ELAYOUT, "made by another build of the library" },
	{ SHMCACHE_ECAPACITY, "the capacity is missing or too small" },
	{ SHMCACHE_EKERNEL, "the kernel is older than Linux 4.14" },
	{ SHMCACHE_ENOPROC, "/proc is not mounted" },
	{ SHMCACHE_EOPTIONS, "the cache exists with other options" },
};

const char *
shmcache_strerror(int error)
{
	const char *text = NULL;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].error == error)
			return texts[i].text;
	if (error < 0 && error > -4096)
		text = shm_errno_text(-error);
	return text != NULL ? text : "unknown error";
}

int
error_note_result(int error)
{
	if (error < 0) {
		last_error = error;
		last_text =
		    error == SHMCACHE_ENOENT ? NULL : shm_error_take(error);
	}
	return error;
}

const char *
shmcache_last_error(void)
{
	return last_text != NULL ? last_text : shmcache_strerror(last_error);
}

const char *
shmcache_version(void)
{
	return SHMCACHE_VERSION;
}
