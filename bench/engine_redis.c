/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* engine_redis.c - Redis on a unix socket; many at once by MGET or pipelined */
#include "bench/engine.h"
#include "bench/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct state {
	struct server server;
	bool filling;
	uint64_t unanswered;
};

static const char *
redis_open(const struct load *load, void **state_out)
{
	struct state *s = malloc(sizeof(*s));

	(void)load;
	s->filling = false;
	s->unanswered = 0;
	*state_out = s;
	if (!server_prepare(&s->server))
		return "no temporary folder";
	if (server_start(&s->server,
		(const char *const[]){ "redis-server", "--port", "0",
		    "--unixsocket", s->server.path, "--save", "",
		    "--appendonly", "no", "--daemonize", "no", NULL }))
		return NULL;
	server_stop(&s->server);
	free(s);
	return "install redis-server";
}

static void
redis_close(void *state)
{
	struct state *s = state;

	server_stop(&s->server);
	free(s);
}

static bool
answered(struct state *s)
{
	const char *line = server_line(&s->server);

	return line != NULL && strcmp(line, "+OK") == 0;
}

/* Before the answers fill the socket, they are read. */
static void
catch_up(struct state *s)
{
	(void)server_flush(&s->server);
	for (; s->unanswered > 0; s->unanswered--)
		(void)answered(s);
}

static void
redis_filling(void *state, bool on)
{
	struct state *s = state;

	s->filling = on;
	catch_up(s);
}

static bool
redis_set(
    void *state, const struct op *op, const void *value, size_t value_bytes)
{
	struct state *s = state;
	char head[96];
	int bytes = snprintf(head, sizeof(head),
	    "*3\r\n$3\r\nSET\r\n$16\r\n%.16s\r\n$%zu\r\n", op->key,
	    value_bytes);

	server_send(&s->server, head, (size_t)bytes);
	server_send(&s->server, value, value_bytes);
	server_send(&s->server, "\r\n", 2);
	if (s->filling) {
		if (++s->unanswered == 100)
			catch_up(s);
		return true;
	}
	(void)server_flush(&s->server);
	return answered(s);
}

static void
send_get(struct server *server, const struct op *op)
{
	server_send(server, "*2\r\n$3\r\nGET\r\n$16\r\n", 18);
	server_send(server, op->key, KEY_BYTES);
	server_send(server, "\r\n", 2);
}

/* "$bytes", data; -1: "$-1". */
static int
read_value(struct server *server, void *buffer, size_t room)
{
	const char *line = server_line(server);
	long bytes =
	    line != NULL && line[0] == '$' ? strtol(line + 1, NULL, 10) : -1;

	if (bytes < 0 || (size_t)bytes > room ||
	    !server_read(server, buffer, (size_t)bytes))
		return -1;
	(void)server_line(server);
	return (int)bytes;
}

static unsigned
read_values(struct server *server, unsigned count, char *to, size_t room)
{
	unsigned hits = 0;

	for (unsigned i = 0; i < count; i++)
		hits += read_value(server, to + i * room, room) >= 0;
	return hits;
}

static unsigned
redis_pipeline(void *state, const struct op *ops, unsigned count, void *buffers,
    size_t room)
{
	struct server *server = &((struct state *)state)->server;

	for (unsigned i = 0; i < count; i++)
		send_get(server, &ops[i]);
	(void)server_flush(server);
	return read_values(server, count, buffers, room);
}

static unsigned
redis_mget(void *state, const struct op *ops, unsigned count, void *buffers,
    size_t room)
{
	struct server *server = &((struct state *)state)->server;
	char head[48];
	int bytes =
	    snprintf(head, sizeof(head), "*%u\r\n$4\r\nMGET\r\n", count + 1);

	server_send(server, head, (size_t)bytes);
	for (unsigned i = 0; i < count; i++) {
		server_send(server, "$16\r\n", 5);
		server_send(server, ops[i].key, KEY_BYTES);
		server_send(server, "\r\n", 2);
	}
	(void)server_flush(server);
	(void)server_line(server); /* how many */
	return read_values(server, count, buffers, room);
}

static int
redis_get(void *state, const struct op *op, void *buffer, size_t room)
{
	struct server *server = &((struct state *)state)->server;

	send_get(server, op);
	(void)server_flush(server);
	return read_value(server, buffer, room);
}

const struct engine engine_redis = {
	.name = "Redis",
	.remote = true,
	.open = redis_open,
	.close = redis_close,
	.filling = redis_filling,
	.set = redis_set,
	.get = redis_get,
	.get_many = redis_mget,
};

/* The same server, other way of asking for many. */
const struct engine engine_redis_pipelined = {
	.name = "Redis, pipelined",
	.remote = true,
	.single_gets_left_out = true,
	.open = redis_open,
	.close = redis_close,
	.filling = redis_filling,
	.set = redis_set,
	.get = redis_get,
	.get_many = redis_pipeline,
};
