/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bridge.h - what the lines of shmcache-invalidate do
 *
 * Each line is one change of the cache:
 *
 *	delete KEY    tag TAG    prefix PREFIX    flush
 *
 * with the escapes of text.h in KEY, TAG and PREFIX.  A message of a database may
 * have several lines.  What is malformed or huge is reported, counted and passed
 * over.
 */
#ifndef TOOLS_INVALIDATE_BRIDGE_H
#define TOOLS_INVALIDATE_BRIDGE_H

#include <shmcache.h>
#include <signal.h>
#include <stddef.h>

/* The longest line: the longest key, each byte of it escaped. */
#define LINE_BYTES_MAX (4 * SHMCACHE_KEY_BYTES_MAX + 16)

/* The cache, and what has been done to it. */
struct bridge {
	struct shmcache *cache;
	const char *name;
	int verbose;
	const volatile sig_atomic_t *ended; /* apply no more; NULL: never */
	unsigned long long applied;
	unsigned long long refused;    /* lines that were passed over */
	unsigned long long quiet_from; /* report no more than these; 0: all */
	int gone;  /* there was no cache to apply something to */
	int error; /* of the library, which no line is to blame for; 0 */
};

/* Is nothing more to be applied: after an error, or a signal? */
int bridge_stops(const struct bridge *bridge);

/* Apply one line, which is changed on the way; a 0 follows it. */
void bridge_line(struct bridge *bridge, char *line, size_t bytes);

/* Apply each line of a message. */
void bridge_message(struct bridge *bridge, const char *text, size_t bytes);

/* Report a line that is passed over. */
void bridge_refuse(
    struct bridge *bridge, const char *why, const char *line, size_t bytes);

/* Lines of a descriptor, until its end.  Returns 1, or 0 with errno. */
int lines_read(int fd, struct bridge *bridge);

#endif /* TOOLS_INVALIDATE_BRIDGE_H */
