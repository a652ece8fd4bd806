/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * follow.h - following a server: connect, listen, notice a loss, connect again
 *
 *	                   failed
 *	            +---------------------+
 *	            v                     |
 *	FOLLOW_PAUSES ----(time)----> FOLLOW_CONNECTS
 *	            ^                     | connected
 *	            |    lost, silent     v
 *	            +------------- FOLLOW_LISTENS
 *
 * One loop waits for everything at once: a signal, the thread that connects, the
 * server, and the time of what is due next.
 *
 * A server from which nothing has come for a while is asked for a sign of life;
 * without one for as long again, the connection is lost, whatever the kernel makes
 * of it.
 */
#ifndef TOOLS_INVALIDATE_FOLLOW_H
#define TOOLS_INVALIDATE_FOLLOW_H

#include "tools/invalidate/connector.h"
#include "tools/invalidate/loss.h"

enum follow_state { FOLLOW_PAUSES, FOLLOW_CONNECTS, FOLLOW_LISTENS };

struct follow {
	struct source *source;
	struct bridge *bridge;
	struct loss *loss;
	long long retry_ms; /* the longest pause */
	long long ping_ms;

	/* The rest is its own. */
	enum follow_state state;
	struct connector connector;
	long long pause_ms; /* the next */
	long long due_ms; /* the end of the pause; when to ask the server, or to
			     give it up */
	int asked;
};

/*
 * Until a signal, or an error of the cache.  Returns an exit code.  In the state
 * FOLLOW_CONNECTS the thread is still at work (connector.h).
 */
int follow_run(struct follow *follow);

#endif /* TOOLS_INVALIDATE_FOLLOW_H */
