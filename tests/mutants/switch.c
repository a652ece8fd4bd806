/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* switch.c - see switch.h */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

unsigned shm_mutant;
volatile uint8_t *shm_mutant_seen;

__attribute__((constructor)) static void
choose(void)
{
	const char *number = getenv("SHM_MUTANT");
	const char *seen = getenv("SHM_MUTANT_SEEN");
	void *bytes;
	int fd;

	if (number != NULL)
		shm_mutant = (unsigned)strtoul(number, NULL, 10);
	if (seen == NULL)
		return;
	fd = open(seen, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	bytes = mmap(
	    NULL, SHM_MUTANTS_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (bytes != MAP_FAILED)
		shm_mutant_seen = bytes;
}
