/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lines.c - lines of standard input
 *
 * Read into one buffer of the longest line that makes sense; of a longer one
 * everything up to its end is passed over.
 */
#include "tools/invalidate/bridge.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static char buffer[LINE_BYTES_MAX + 2];

/* Applies the lines that are complete; returns how many bytes are left, at the
   buffer's start. */
static size_t
apply_lines(struct bridge *bridge, size_t bytes, int *huge)
{
	char *line = buffer, *end;

	while ((end = memchr(line, '\n', bytes)) != NULL) {
		size_t length = (size_t)(end - line);

		*end = '\0';
		if (!*huge) {
			bridge_line(bridge, line, length);
		}
		*huge = 0;
		bytes -= length + 1;
		line = end + 1;
	}
	memmove(buffer, line, bytes);
	if (bytes > LINE_BYTES_MAX) {
		if (!*huge) {
			bridge_refuse(
			    bridge, "the line is too long", buffer, bytes);
		}
		*huge = 1;
		bytes = 0;
	}
	return bytes;
}

int
lines_read(int fd, struct bridge *bridge)
{
	size_t bytes = 0;
	int huge = 0;

	while (bridge->error == 0) {
		ssize_t n =
		    read(fd, buffer + bytes, LINE_BYTES_MAX + 1 - bytes);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return 0;
		}
		if (n == 0) {
			break;
		}
		bytes = apply_lines(bridge, bytes + (size_t)n, &huge);
	}
	if (bytes > 0 && !huge) { /* the last line had no end */
		buffer[bytes] = '\0';
		bridge_line(bridge, buffer, bytes);
	}
	return 1;
}
