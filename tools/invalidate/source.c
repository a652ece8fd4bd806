/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* source.c - what sources have in common */
#include "tools/invalidate/source.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

long long
time_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int
source_port(const char *text, size_t bytes)
{
	int port = 0;

	for (size_t i = 0; i < bytes; i++) {
		if (text[i] < '0' || text[i] > '9') {
			return 0;
		}
		port = port * 10 + (text[i] - '0');
		if (port > 65535) {
			return 0;
		}
	}
	return port;
}

int
source_await(int fd, short events, long long until_ms, char why[WHY_BYTES])
{
	struct pollfd polled = { .fd = fd, .events = events };
	long long left_ms;
	int ready = 0;

	while (ready <= 0 && (left_ms = until_ms - time_ms()) > 0) {
		ready = poll(&polled, 1, (int)left_ms);
	}
	if (ready <= 0) {
		(void)snprintf(
		    why, WHY_BYTES, "no answer to the subscription in time");
	}
	return ready > 0;
}
