/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* postgres.c - messages of PostgreSQL's NOTIFY */
#include "tools/invalidate/bridge.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

/* libpq's errors end with a newline. */
static int
fail(PGconn *connection, char why[WHY_BYTES])
{
	(void)snprintf(why, WHY_BYTES, "%s", PQerrorMessage(connection));
	why[strcspn(why, "\n")] = '\0';
	return 0;
}

static int
listen_to(PGconn *connection, const char *channel, char why[WHY_BYTES])
{
	char *name = PQescapeIdentifier(connection, channel, strlen(channel));
	char command[WHY_BYTES];
	PGresult *result;
	int listening;

	if (name == NULL) {
		return fail(connection, why);
	}
	(void)snprintf(command, sizeof(command), "LISTEN %s", name);
	PQfreemem(name);
	result = PQexec(connection, command);
	listening = PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	return listening ? 1 : fail(connection, why);
}

static void
disconnect(struct source *source)
{
	PQfinish(source->connection);
	source->connection = NULL;
}

static int
connect_to(struct source *source, char why[WHY_BYTES])
{
	PGconn *connection = PQconnectdb(source->address);

	source->connection = connection;
	if (PQstatus(connection) != CONNECTION_OK) {
		return fail(connection, why);
	}
	for (unsigned i = 0; i < source->channel_count; i++) {
		if (!listen_to(connection, source->channels[i], why)) {
			return 0;
		}
	}
	return 1;
}

static int
descriptor(const struct source *source)
{
	return PQsocket(source->connection);
}

static int
receive(struct source *source, struct bridge *bridge, char why[WHY_BYTES])
{
	PGconn *connection = source->connection;
	PGnotify *notify;

	if (!PQconsumeInput(connection)) {
		return fail(connection, why);
	}
	while ((notify = PQnotifies(connection)) != NULL) {
		bridge_message(bridge, notify->extra, strlen(notify->extra));
		PQfreemem(notify);
	}
	return 1;
}

const struct source postgres_source = {
	.name = "PostgreSQL",
	.connect = connect_to,
	.descriptor = descriptor,
	.receive = receive,
	.disconnect = disconnect,
};
