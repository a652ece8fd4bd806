/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connector.h - connecting, in a thread of its own
 *
 * The libraries look names up, and wait for tickets and the like, in calls that
 * nothing interrupts and that no time limits.  So a thread does it, and whoever
 * started it waits for a descriptor, with all else that it waits for.  The source is
 * the thread's until then, and there is one thread at a time.  A process that ends
 * meanwhile ends by _exit(), as what runs at an exit() would pull the libraries from
 * under the thread.
 */
#ifndef TOOLS_INVALIDATE_CONNECTOR_H
#define TOOLS_INVALIDATE_CONNECTOR_H

#include "tools/invalidate/source.h"

#include <pthread.h>

struct connector {
	struct source *source;
	pthread_t thread;
	int fd; /* readable when the thread has done its work */
	int connected;
	char why[WHY_BYTES];
};

/* Start it.  Returns 0, or an errno. */
int connector_start(struct connector *connector, struct source *source);

/* Leave it to itself, before an _exit(). */
void connector_leave(struct connector *connector);

/* Once the descriptor is readable: 1, or 0 with what is wrong in `why`. */
int connector_end(struct connector *connector);

#endif /* TOOLS_INVALIDATE_CONNECTOR_H */
