/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* connector.c - see connector.h */
#include "tools/invalidate/connector.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void *
run(void *context)
{
	struct connector *connector = context;

	connector->connected =
	    connector->source->connect(connector->source, connector->why);
	(void)eventfd_write(connector->fd, 1);
	return NULL;
}

/* Signals are for the thread that waits. */
static int
start_thread(struct connector *connector)
{
	sigset_t all, before;
	int error;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&connector->thread, NULL, run, connector);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

int
connector_start(struct connector *connector, struct source *source)
{
	int error;

	connector->source = source;
	connector->connected = 0;
	connector->why[0] = '\0';
	connector->fd = eventfd(0, EFD_CLOEXEC);
	if (connector->fd < 0) {
		return errno;
	}
	error = start_thread(connector);
	if (error != 0) {
		(void)close(connector->fd);
	}
	return error;
}

void
connector_leave(struct connector *connector)
{
	(void)pthread_detach(connector->thread);
}

int
connector_end(struct connector *connector)
{
	(void)pthread_join(connector->thread, NULL);
	(void)close(connector->fd);
	return connector->connected;
}
