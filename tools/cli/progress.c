/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* progress.c - see progress.h */
#include "tools/cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_MS  200
#define ERASE_TO_END "\r\033[K"

static const char *what_is_done;
static uint64_t expected_total;
static int64_t next_ms = INT64_MAX; /* when the line is written again */
static int shown;

static int64_t
now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void
progress_start(const char *what, uint64_t total)
{
	what_is_done = what;
	expected_total = total;
	shown = 0;
	next_ms = isatty(STDERR_FILENO) ? now_ms() + INTERVAL_MS : INT64_MAX;
}

void
progress_show(uint64_t done)
{
	int64_t now;

	if (next_ms == INT64_MAX) {
		return;
	}
	now = now_ms();
	if (now < next_ms) {
		return;
	}
	next_ms = now + INTERVAL_MS;
	shown = 1;
	(void)fprintf(stderr, ERASE_TO_END "%s: %" PRIu64, what_is_done, done);
	if (expected_total) {
		(void)fprintf(stderr, " of %" PRIu64 " (%d %%)", expected_total,
		    done < expected_total
			? (int)(100.0 * (double)done / (double)expected_total)
			: 100);
	}
	(void)fflush(stderr);
}

void
progress_erase(void)
{
	if (shown) {
		(void)fprintf(stderr, ERASE_TO_END);
	}
	shown = 0;
}
