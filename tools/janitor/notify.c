/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* notify.c - tell the service manager how we are */
#include "tools/janitor/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define STATE_BYTES_MAX 512

void
notify_manager(const char *format, ...)
{
	const char *path = getenv("NOTIFY_SOCKET"); /* NOLINT: one thread */
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char state[STATE_BYTES_MAX];
	va_list arguments;
	size_t path_bytes;
	int fd;

	/* A path, or with '@' for its 0 a name without a file. */
	path_bytes = path ? strlen(path) : 0;
	if (!path_bytes || (path[0] != '/' && path[0] != '@') ||
	    path_bytes >= sizeof(address.sun_path)) {
		return;
	}
	memcpy(address.sun_path, path, path_bytes);
	if (path[0] == '@') {
		address.sun_path[0] = '\0';
	}
	va_start(arguments, format);
	(void)vsnprintf(state, sizeof(state), format, arguments);
	va_end(arguments);

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return;
	}
	/* A manager that does not read loses what we say; so be it. */
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
	    (struct sockaddr *)&address,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_bytes));
	close(fd);
}

int64_t
notify_watchdog_ms(void)
{
	const char *us = getenv("WATCHDOG_USEC"); /* NOLINT: one thread */
	const char *pid = getenv("WATCHDOG_PID"); /* NOLINT: one thread */
	long long ms;

	if (!us || (pid && strtoll(pid, NULL, 10) != getpid())) {
		return -1;
	}
	ms = strtoll(us, NULL, 10) / 1000;
	return ms > 0 ? ms : -1;
}
