/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guard.c - what a program maps of a file lies between pages that fault
 *
 * Stands in for libc's mmap() and munmap().  Otherwise the neighbours of a mapping are
 * mostly other mappings, and a stray access would go unnoticed.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GUARD_BYTES ((size_t)1 << 20)
#define GUARDED_MAX 256u

/* What lies between guards now.  (Of what has no place here the guards stay.) */
static void *guarded[GUARDED_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Puts `to` in the place of `from`; false if it is not there. */
static int
swap_guarded(const void *from, void *to)
{
	unsigned i = 0;

	(void)pthread_mutex_lock(&lock);
	while (i < GUARDED_MAX && guarded[i] != from)
		i++;
	if (i < GUARDED_MAX)
		guarded[i] = to;
	(void)pthread_mutex_unlock(&lock);
	return i < GUARDED_MAX;
}

static size_t
whole_pages(size_t bytes)
{
	return (bytes + 4095) / 4096 * 4096;
}

static void *
map(void *address, size_t bytes, int protection, int flags, int fd,
    off_t offset)
{
	long result =
	    syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);

	return (void *)result;
}

void *
mmap(void *address, size_t bytes, int protection, int flags, int fd,
    off_t offset)
{
	size_t room = whole_pages(bytes) + 2 * GUARD_BYTES;
	uint8_t *area;
	void *inner;

	if (fd < 0 || address != NULL || (flags & MAP_SHARED) == 0)
		return map(address, bytes, protection, flags, fd, offset);
	area = map(NULL, room, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return MAP_FAILED;
	inner = map(area + GUARD_BYTES, bytes, protection, flags | MAP_FIXED,
	    fd, offset);
	if (inner == MAP_FAILED)
		(void)syscall(SYS_munmap, area, room);
	else
		(void)swap_guarded(NULL, inner);
	return inner;
}

int
munmap(void *address, size_t bytes)
{
	uint8_t *from = address;

	if (address == NULL || !swap_guarded(address, NULL))
		return (int)syscall(SYS_munmap, address, bytes);
	return (int)syscall(SYS_munmap, from - GUARD_BYTES,
	    whole_pages(bytes) + 2 * GUARD_BYTES);
}
