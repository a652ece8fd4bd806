/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * redis.c - messages of Redis's PUBLISH
 *
 * An address is HOST, HOST:PORT, an IPv6 address, [IPV6]:PORT or the path of a
 * socket.
 */
#include "tools/invalidate/source.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <sys/un.h>

#define DEFAULT_PORT   6379
#define HOST_BYTES_MAX 255

/* A server on the network. */
struct place {
	char host[HOST_BYTES_MAX + 1];
	int port;
};

static int
refuse(const char *text, char why[WHY_BYTES])
{
	(void)snprintf(why, WHY_BYTES, "%s", text);
	return 0;
}

static int
is_path(const char *address)
{
	return address[0] == '/';
}

static int
is_name(const char *text)
{
	size_t bytes = strspn(text, "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789._-");

	return bytes > 0 && text[bytes] == '\0';
}

/* With a zone, as fe80::1%eth0, too. */
static int
is_ipv6(const char *text)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr number;
	size_t bytes = strcspn(text, "%");

	if (bytes >= sizeof(address) ||
	    (text[bytes] == '%' && !is_name(text + bytes + 1))) {
		return 0;
	}
	memcpy(address, text, bytes);
	address[bytes] = '\0';
	return inet_pton(AF_INET6, address, &number) == 1;
}

/* Takes "[...]" off a host; 1 if that was one. */
static int
unbracket(char *host)
{
	size_t bytes = strlen(host);

	if (bytes < 2 || host[0] != '[' || host[bytes - 1] != ']') {
		return 0;
	}
	memmove(host, host + 1, bytes - 2);
	host[bytes - 2] = '\0';
	return 1;
}

/* An IPv6 address needs no brackets where no port follows. */
static int
is_host(char *host, int alone)
{
	if (unbracket(host)) {
		return is_ipv6(host);
	}
	return is_name(host) || (alone && is_ipv6(host));
}

static int
read_place(const char *address, struct place *place, char why[WHY_BYTES])
{
	const char *colon = strrchr(address, ':');
	size_t bytes;

	place->port = DEFAULT_PORT;
	if (is_ipv6(address) || (colon != NULL && colon > address &&
				    colon[-1] != ']' && address[0] == '[')) {
		colon = NULL; /* those within an IPv6 address */
	}
	if (colon != NULL) {
		place->port = source_port(colon + 1, strlen(colon + 1));
	}
	if (place->port == 0) {
		return refuse("the port is no number from 1 to 65535", why);
	}
	bytes = colon != NULL ? (size_t)(colon - address) : strlen(address);
	if (bytes > HOST_BYTES_MAX) {
		return refuse("the name of the host is too long", why);
	}
	memcpy(place->host, address, bytes);
	place->host[bytes] = '\0';
	if (!is_host(place->host, colon == NULL)) {
		return refuse("it is none of HOST, HOST:PORT, [IPV6]:PORT and "
			      "the path of a socket",
		    why);
	}
	return 1;
}

static int
check(const char *address, char why[WHY_BYTES])
{
	struct place place;

	if (!is_path(address)) {
		return read_place(address, &place, why);
	}
	if (strlen(address) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		return refuse("the path of a socket can't be so long", why);
	}
	return 1;
}

static int
fail(const redisContext *connection, char why[WHY_BYTES])
{
	return refuse(
	    connection == NULL ? "out of memory" : connection->errstr, why);
}

static redisContext *
open_connection(const struct source *source)
{
	const struct timeval limit = { source->timeout_ms / 1000,
		source->timeout_ms % 1000 * 1000 };
	struct place place;
	char why[WHY_BYTES];

	if (is_path(source->address)) {
		return redisConnectUnixWithTimeout(source->address, limit);
	}
	(void)read_place(source->address, &place, why); /* was checked */
	return redisConnectWithTimeout(place.host, place.port, limit);
}

static int
stop_blocking(redisContext *connection)
{
	int flags = fcntl(connection->fd, F_GETFL);

	connection->flags &= ~REDIS_BLOCK;
	return flags != -1 &&
	       fcntl(connection->fd, F_SETFL, flags | O_NONBLOCK) != -1;
}

/* Is the reply an array of so many, the first a string of this text? */
static int
is_array_of(const redisReply *reply, size_t count, const char *first)
{
	return reply->type == REDIS_REPLY_ARRAY && reply->elements == count &&
	       reply->element[0]->type == REDIS_REPLY_STRING &&
	       strcasecmp(reply->element[0]->str, first) == 0;
}

/* Counts the subscriptions that are confirmed by what has been read, until all are:
   messages in between are as those before, messages behind are left to apply(). */
static int
take_confirmations(
    redisContext *connection, unsigned *missing, char why[WHY_BYTES])
{
	while (*missing > 0) {
		void *taken = NULL;
		const redisReply *reply;
		int fine = 1;

		if (redisGetReplyFromReader(connection, &taken) != REDIS_OK) {
			return fail(connection, why);
		}
		reply = taken;
		if (reply == NULL) {
			return 1;
		}
		if (reply->type == REDIS_REPLY_ERROR) {
			fine = refuse(reply->str, why);
		}
		*missing -= is_array_of(reply, 3, "subscribe") != 0;
		freeReplyObject(taken);
		if (!fine) {
			return 0;
		}
	}
	return 1;
}

static int
await_confirmations(redisContext *connection, unsigned missing,
    long long until_ms, char why[WHY_BYTES])
{
	int written = 0;

	for (;;) {
		if (!written &&
		    redisBufferWrite(connection, &written) != REDIS_OK) {
			return fail(connection, why);
		}
		if (!take_confirmations(connection, &missing, why)) {
			return 0;
		}
		if (missing == 0) {
			return 1;
		}
		if (!source_await(connection->fd,
			(short)(written ? POLLIN : POLLIN | POLLOUT), until_ms,
			why)) {
			return 0;
		}
		if (redisBufferRead(connection) != REDIS_OK) {
			return fail(connection, why);
		}
	}
}

static void
disconnect(struct source *source)
{
	if (source->connection != NULL) {
		redisFree(source->connection);
	}
	source->connection = NULL;
}

static int
connect_to(struct source *source, char why[WHY_BYTES])
{
	redisContext *connection = open_connection(source);

	source->connection = connection;
	if (connection == NULL || connection->err != 0) {
		return fail(connection, why);
	}
	if (!stop_blocking(connection)) {
		return refuse("the socket can't be made not to block", why);
	}
	for (unsigned i = 0; i < source->channel_count; i++) {
		if (redisAppendCommand(connection, "SUBSCRIBE %s",
			source->channels[i]) != REDIS_OK) {
			return fail(connection, why);
		}
	}
	return await_confirmations(connection, source->channel_count,
	    time_ms() + source->timeout_ms, why);
}

static int
descriptor(const struct source *source)
{
	const redisContext *connection = source->connection;

	return connection->fd;
}

static void
take_reply(struct bridge *bridge, const redisReply *reply)
{
	if (is_array_of(reply, 3, "message") &&
	    reply->element[2]->type == REDIS_REPLY_STRING) {
		bridge_message(
		    bridge, reply->element[2]->str, reply->element[2]->len);
	}
}

static int
apply(struct source *source, struct bridge *bridge, char why[WHY_BYTES])
{
	redisContext *connection = source->connection;
	void *reply;

	do {
		reply = NULL;
		if (redisGetReplyFromReader(connection, &reply) != REDIS_OK) {
			return fail(connection, why);
		}
		if (reply != NULL) {
			take_reply(bridge, reply);
			freeReplyObject(reply);
		}
	} while (reply != NULL && !bridge_stops(bridge));
	return 1;
}

static int
receive(struct source *source, char why[WHY_BYTES])
{
	redisContext *connection = source->connection;

	return redisBufferRead(connection) == REDIS_OK ? 1
						       : fail(connection, why);
}

static int
ping(struct source *source, char why[WHY_BYTES])
{
	redisContext *connection = source->connection;
	int written;

	if (redisAppendCommand(connection, "PING") != REDIS_OK ||
	    redisBufferWrite(connection, &written) != REDIS_OK) {
		return fail(connection, why);
	}
	return 1;
}

const struct source redis_source = {
	.name = "Redis",
	.check = check,
	.connect = connect_to,
	.descriptor = descriptor,
	.apply = apply,
	.receive = receive,
	.ping = ping,
	.disconnect = disconnect,
};
