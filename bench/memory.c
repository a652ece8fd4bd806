/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* memory.c - shared memory in place */
#include "bench/memory.h"

#include "bench/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Kernels before 5.14 take the faults while they are measured. */
static void
populate(void *memory, size_t bytes)
{
	while (madvise(memory, bytes, MADV_POPULATE_WRITE) != 0 &&
	       (errno == EINTR || errno == EAGAIN))
		;
}

const char *
memory_folder(void)
{
	const char *folder = getenv("BENCH_SHM_DIR");

	return folder != NULL ? folder : "/dev/shm";
}

/* As the cache does it: a file of the same tmpfs, MADV_HUGEPAGE. */
void *
memory_map(size_t bytes)
{
	int fd = open(memory_folder(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	void *memory = MAP_FAILED;

	if (fd >= 0 && posix_fallocate(fd, 0, (off_t)bytes) == 0)
		memory = mmap(
		    NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		fprintf(stderr, "bench: no %zu bytes in %s: %s\n", bytes,
		    memory_folder(), strerror(errno));
		exit(1);
	}
	(void)close(fd);
	(void)madvise(memory, bytes, MADV_HUGEPAGE);
	populate(memory, bytes);
	return memory;
}

void
memory_unmap(void *memory, size_t bytes)
{
	(void)munmap(memory, bytes);
}

void
memory_populate(const char *path)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];

	if (maps == NULL)
		return;
	while (fgets(line, sizeof(line), maps) != NULL) {
		char *end;
		uintptr_t from = strtoull(line, &end, 16);
		uintptr_t to = *end == '-' ? strtoull(end + 1, NULL, 16) : 0;

		if (to > from && strstr(line, path) != NULL)
			populate((void *)from, to - from);
	}
	(void)fclose(maps);
}
