/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * clock.c - the trace's time
 *
 * The library tells expiry by CLOCK_MONOTONIC_COARSE.  This program defines
 * clock_gettime() itself, so that the library it is linked with lives in the
 * time of the trace: hours pass in seconds, and a run can be repeated.  Other
 * clocks are the kernel's.
 */
#include "tools/replay/run.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define START_MS 1000000u

static uint64_t *now_ms; /* shared with the processes that are forked */

void
trace_clock_start(void)
{
	if (now_ms == NULL) {
		void *page = mmap(NULL, sizeof(*now_ms), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		if (page == MAP_FAILED)
			return;
		now_ms = page;
	}
	__atomic_store_n(now_ms, START_MS, __ATOMIC_RELAXED);
}

void
trace_clock_set(uint64_t time_ms)
{
	uint64_t to = START_MS + time_ms, old;

	if (now_ms == NULL)
		return;
	old = __atomic_load_n(now_ms, __ATOMIC_RELAXED);
	while (old < to && !__atomic_compare_exchange_n(now_ms, &old, to, true,
			       __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

int
clock_gettime(clockid_t clock, struct timespec *time)
{
	uint64_t ms;

	if (clock != CLOCK_MONOTONIC_COARSE || now_ms == NULL)
		return (int)syscall(SYS_clock_gettime, clock, time);
	ms = __atomic_load_n(now_ms, __ATOMIC_RELAXED);
	time->tv_sec = (time_t)(ms / 1000);
	time->tv_nsec = (long)(ms % 1000) * 1000000;
	return 0;
}
