/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * redis.c - messages of Redis's PUBLISH
 *
 * An address is HOST, HOST:PORT, [IPV6]:PORT or the path of a socket.
 */
#include "tools/invalidate/bridge.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define DEFAULT_PORT 6379

static const struct timeval connect_limit = { 10, 0 };

static redisContext *
open_connection(const char *address)
{
	char host[256];
	const char *colon = strrchr(address, ':');
	size_t length =
	    colon != NULL ? (size_t)(colon - address) : strlen(address);
	const char *start = address;

	if (address[0] == '/') {
		return redisConnectUnixWithTimeout(address, connect_limit);
	}
	if (address[0] == '[' && length > 2 && address[length - 1] == ']') {
		start = address + 1;
		length -= 2;
	}
	(void)snprintf(host, sizeof(host), "%.*s", (int)length, start);
	return redisConnectWithTimeout(host,
	    colon != NULL ? atoi(colon + 1) : DEFAULT_PORT, connect_limit);
}

static int
fail(const redisContext *connection, char why[WHY_BYTES])
{
	(void)snprintf(why, WHY_BYTES, "%s",
	    connection == NULL ? "out of memory" : connection->errstr);
	return 0;
}

static int
subscribe(redisContext *connection, const char *channel, char why[WHY_BYTES])
{
	redisReply *reply = redisCommand(connection, "SUBSCRIBE %s", channel);
	int subscribed = reply != NULL && reply->type == REDIS_REPLY_ARRAY;

	if (reply != NULL && !subscribed) {
		(void)snprintf(why, WHY_BYTES, "%s",
		    reply->type == REDIS_REPLY_ERROR ? reply->str
						     : "not a reply");
	} else if (!subscribed) {
		(void)fail(connection, why);
	}
	freeReplyObject(reply);
	return subscribed;
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
	redisContext *connection = open_connection(source->address);

	source->connection = connection;
	if (connection == NULL || connection->err != 0) {
		return fail(connection, why);
	}
	if (source->address[0] != '/') {
		(void)redisEnableKeepAlive(connection);
	}
	for (unsigned i = 0; i < source->channel_count; i++) {
		if (!subscribe(connection, source->channels[i], why)) {
			return 0;
		}
	}
	return 1;
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
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
	    reply->element[0]->type == REDIS_REPLY_STRING &&
	    strcmp(reply->element[0]->str, "message") == 0 &&
	    reply->element[2]->type == REDIS_REPLY_STRING) {
		bridge_message(
		    bridge, reply->element[2]->str, reply->element[2]->len);
	}
}

static int
receive(struct source *source, struct bridge *bridge, char why[WHY_BYTES])
{
	redisContext *connection = source->connection;
	void *reply = NULL;

	if (redisBufferRead(connection) != REDIS_OK) {
		return fail(connection, why);
	}
	do {
		reply = NULL;
		if (redisGetReplyFromReader(connection, &reply) != REDIS_OK) {
			return fail(connection, why);
		}
		if (reply != NULL) {
			take_reply(bridge, reply);
			freeReplyObject(reply);
		}
	} while (reply != NULL);
	return 1;
}

const struct source redis_source = {
	.name = "Redis",
	.connect = connect_to,
	.descriptor = descriptor,
	.receive = receive,
	.disconnect = disconnect,
};
