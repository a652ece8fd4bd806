/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * postgres.c - messages of PostgreSQL's NOTIFY
 *
 * libpq's own limit for a connection counts whole seconds, two at least, for each
 * host that the connection string has, so that the next has its turn.
 */
#include "tools/invalidate/source.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* libpq's errors end with a newline. */
static int
fail(const char *message, char why[WHY_BYTES])
{
	(void)snprintf(why, WHY_BYTES, "%s", message);
	why[strcspn(why, "\n")] = '\0';
	return 0;
}

static int
fail_connection(const PGconn *connection, char why[WHY_BYTES])
{
	return fail(PQerrorMessage(connection), why);
}

/* libpq looks at ports, one for each host, or none, as it connects. */
static int
check_ports(const PQconninfoOption *option, char why[WHY_BYTES])
{
	const char *at = option->val;

	if (strcmp(option->keyword, "port") != 0 || at == NULL) {
		return 1;
	}
	for (;;) {
		size_t bytes = strcspn(at, ",");

		if (bytes > 0 && source_port(at, bytes) == 0) {
			return fail(
			    "the port is no number from 1 to 65535", why);
		}
		if (at[bytes] == '\0') {
			return 1;
		}
		at += bytes + 1;
	}
}

static int
check(const char *address, char why[WHY_BYTES])
{
	char *message = NULL;
	PQconninfoOption *options = PQconninfoParse(address, &message);
	int makes_sense = options != NULL;

	if (!makes_sense) {
		(void)fail(message != NULL ? message : "out of memory", why);
	}
	for (const PQconninfoOption *option = options;
	     makes_sense && option->keyword != NULL; option++) {
		makes_sense = check_ports(option, why);
	}
	PQconninfoFree(options);
	PQfreemem(message);
	return makes_sense;
}

static PGconn *
open_connection(const struct source *source)
{
	char seconds[24];
	const char *const keywords[] = { "fallback_application_name", "dbname",
		"connect_timeout", NULL }; /* the last counts */
	const char *const values[] = { "shmcache-invalidate", source->address,
		seconds, NULL };
	long long limit = (source->timeout_ms + 999) / 1000;

	(void)snprintf(seconds, sizeof(seconds), "%lld", limit < 2 ? 2 : limit);
	return PQconnectdbParams(keywords, values, 1);
}

/* The results that are there: 1 when the last has been taken, with *done 1, or when
   more is to come; 0 if one says that the command has failed. */
static int
take_results(PGconn *connection, int *done, char why[WHY_BYTES])
{
	while (!PQisBusy(connection)) {
		PGresult *result = PQgetResult(connection);
		ExecStatusType status = PQresultStatus(result);

		PQclear(result);
		*done = result == NULL;
		if (*done) {
			return 1;
		}
		if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
			return fail_connection(connection, why);
		}
	}
	return 1;
}

static int
await_results(PGconn *connection, long long until_ms, char why[WHY_BYTES])
{
	int done = 0;

	for (;;) {
		int unsent = PQflush(connection);
		short events = (short)(unsent > 0 ? POLLIN | POLLOUT : POLLIN);

		if (unsent < 0) {
			return fail_connection(connection, why);
		}
		if (!take_results(connection, &done, why)) {
			return 0;
		}
		if (done) {
			return 1;
		}
		if (!source_await(
			PQsocket(connection), events, until_ms, why)) {
			return 0;
		}
		if (!PQconsumeInput(connection)) {
			return fail_connection(connection, why);
		}
	}
}

static int
listen_to(PGconn *connection, const char *channel, long long until_ms,
    char why[WHY_BYTES])
{
	char *name = PQescapeIdentifier(connection, channel, strlen(channel));
	char command[WHY_BYTES];

	if (name == NULL) {
		return fail_connection(connection, why);
	}
	(void)snprintf(command, sizeof(command), "LISTEN %s", name);
	PQfreemem(name);
	if (!PQsendQuery(connection, command)) {
		return fail_connection(connection, why);
	}
	return await_results(connection, until_ms, why);
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
	PGconn *connection = open_connection(source);
	long long until_ms;

	source->connection = connection;
	if (PQstatus(connection) != CONNECTION_OK ||
	    PQsetnonblocking(connection, 1) != 0) {
		return fail_connection(connection, why);
	}
	until_ms = time_ms() + source->timeout_ms;
	for (unsigned i = 0; i < source->channel_count; i++) {
		if (!listen_to(
			connection, source->channels[i], until_ms, why)) {
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
apply(struct source *source, struct bridge *bridge, char why[WHY_BYTES])
{
	PGconn *connection = source->connection;
	PGnotify *notify;
	int done;

	if (!take_results(connection, &done, why)) { /* of pings */
		return 0;
	}
	while (!bridge_stops(bridge) &&
	       (notify = PQnotifies(connection)) != NULL) {
		bridge_message(bridge, notify->extra, strlen(notify->extra));
		PQfreemem(notify);
	}
	return 1;
}

static int
receive(struct source *source, char why[WHY_BYTES])
{
	PGconn *connection = source->connection;

	return PQconsumeInput(connection) ? 1
					  : fail_connection(connection, why);
}

static int
ping(struct source *source, char why[WHY_BYTES])
{
	PGconn *connection = source->connection;

	if (!PQsendQuery(connection, "SELECT 1") || PQflush(connection) < 0) {
		return fail_connection(connection, why);
	}
	return 1;
}

const struct source postgres_source = {
	.name = "PostgreSQL",
	.check = check,
	.connect = connect_to,
	.descriptor = descriptor,
	.apply = apply,
	.receive = receive,
	.ping = ping,
	.disconnect = disconnect,
};
