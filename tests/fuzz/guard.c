/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guard.c - what a program maps of a file lies between pages that fault
 *
 * Stands in for libc's mmap().  Otherwise the neighbours of a mapping are
 * mostly other mappings, and a stray access would go unnoticed.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GUARD_BYTES ((size_t)1 << 20)

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
	size_t room = (bytes + 4095) / 4096 * 4096 + 2 * GUARD_BYTES;
	uint8_t *area;

	if (fd < 0 || address != NULL || (flags & MAP_SHARED) == 0)
		return map(address, bytes, protection, flags, fd, offset);
	area = map(NULL, room, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return MAP_FAILED;
	return map(area + GUARD_BYTES, bytes, protection, flags | MAP_FIXED, fd,
	    offset);
}
