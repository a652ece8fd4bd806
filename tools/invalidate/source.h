/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * source.h - a server that sends messages, which can be lost
 *
 * Calls return 1, or 0 after putting what is wrong into `why`.  connect() may take
 * its time, and is called in a thread of its own (connector.h); all others never
 * wait.  What a library has read is not known to the kernel any more, so apply()
 * comes before each wait for the descriptor.
 */
#ifndef TOOLS_INVALIDATE_SOURCE_H
#define TOOLS_INVALIDATE_SOURCE_H

#include "tools/invalidate/bridge.h"

#define WHY_BYTES    512
#define CHANNELS_MAX 64

struct source {
	const char *name; /* for messages */
	const char *address;
	const char *channels[CHANNELS_MAX];
	unsigned channel_count;
	long long timeout_ms; /* for a connection, and for its subscriptions */
	void *connection;

	/* Does the address make sense? */
	int (*check)(const char *address, char why[WHY_BYTES]);

	/* Connect and subscribe. */
	int (*connect)(struct source *source, char why[WHY_BYTES]);

	int (*descriptor)(const struct source *source);

	/* Apply the messages that have been read. */
	int (*apply)(
	    struct source *source, struct bridge *bridge, char why[WHY_BYTES]);

	/* Read what has come. */
	int (*receive)(struct source *source, char why[WHY_BYTES]);

	/* Ask for anything, as a sign of life. */
	int (*ping)(struct source *source, char why[WHY_BYTES]);

	/* After connect(), whatever it returned. */
	void (*disconnect)(struct source *source);
};

extern const struct source postgres_source;
extern const struct source redis_source;

/* Milliseconds of the clock that all times here are of. */
long long time_ms(void);

/* The number of a port; 0 if it is none. */
int source_port(const char *text, size_t bytes);

/* For connect(): wait until the descriptor can be read or written (events of
   poll()).  Returns 0 when the time is over, with that in `why`. */
int source_await(int fd, short events, long long until_ms, char why[WHY_BYTES]);

#endif /* TOOLS_INVALIDATE_SOURCE_H */
