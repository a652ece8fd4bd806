/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* engine_memcached.c - memcached on a unix socket, its text protocol */
#include "bench/engine.h"
#include "bench/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct state {
	struct server server;
	bool filling;
};

static const char *
mc_open(const struct load *load, void **state_out)
{
	struct state *s = malloc(sizeof(*s));
	uint64_t item = load->value_bytes + KEY_BYTES + 80;
	char megabytes[32];

	(void)snprintf(megabytes, sizeof(megabytes), "%llu",
	    (unsigned long long)(256 + load->items * item * 3 / 2 / 1000000));
	s->filling = false;
	*state_out = s;
	if (!server_prepare(&s->server))
		return "no temporary folder";
	if (server_start(&s->server,
		(const char *const[]){ "memcached", "-s", s->server.path, "-m",
		    megabytes, "-u", "root", "-t", "2", "-U", "0", NULL }))
		return NULL;
	server_stop(&s->server);
	free(s);
	return "install memcached";
}

static void
mc_close(void *state)
{
	struct state *s = state;

	server_stop(&s->server);
	free(s);
}

static void
mc_filling(void *state, bool on)
{
	struct state *s = state;

	s->filling = on;
	if (!on) { /* its answer says that all before is done */
		server_send(&s->server, "version\r\n", 9);
		(void)server_flush(&s->server);
		(void)server_line(&s->server);
	}
}

static bool
mc_set(void *state, const struct op *op, const void *value, size_t value_bytes)
{
	struct state *s = state;
	char head[64];
	int bytes = snprintf(head, sizeof(head), "set %.16s 0 0 %zu%s\r\n",
	    op->key, value_bytes, s->filling ? " noreply" : "");
	const char *answer;

	server_send(&s->server, head, (size_t)bytes);
	server_send(&s->server, value, value_bytes);
	server_send(&s->server, "\r\n", 2);
	if (s->filling)
		return true;
	(void)server_flush(&s->server);
	answer = server_line(&s->server);
	return answer != NULL && strcmp(answer, "STORED") == 0;
}

/* One "VALUE key flags bytes", data; -1: "END". */
static int
read_value(struct server *server, void *buffer, size_t room)
{
	const char *line = server_line(server);
	const char *space = line != NULL && strncmp(line, "VALUE ", 6) == 0
				? strrchr(line, ' ')
				: NULL;
	size_t bytes = space != NULL ? strtoul(space + 1, NULL, 10) : 0;

	if (space == NULL || bytes > room ||
	    !server_read(server, buffer, bytes))
		return -1;
	(void)server_line(server); /* the end of the data's line */
	return (int)bytes;
}

static unsigned
mc_get_many(void *state, const struct op *ops, unsigned count, void *buffers,
    size_t room)
{
	struct server *server = &((struct state *)state)->server;
	char *to = buffers;
	unsigned hits = 0;

	server_send(server, "get", 3);
	for (unsigned i = 0; i < count; i++) {
		server_send(server, " ", 1);
		server_send(server, ops[i].key, KEY_BYTES);
	}
	server_send(server, "\r\n", 2);
	(void)server_flush(server);
	while (hits < count && read_value(server, to + hits * room, room) >= 0)
		hits++;
	if (hits == count)
		(void)server_line(server); /* END, which a miss has read */
	return hits;
}

static int
mc_get(void *state, const struct op *op, void *buffer, size_t room)
{
	struct server *server = &((struct state *)state)->server;
	int bytes;

	server_send(server, "get ", 4);
	server_send(server, op->key, KEY_BYTES);
	server_send(server, "\r\n", 2);
	(void)server_flush(server);
	bytes = read_value(server, buffer, room);
	if (bytes >= 0)
		(void)server_line(server); /* END */
	return bytes;
}

const struct engine engine_memcached = {
	.name = "memcached",
	.remote = true,
	.open = mc_open,
	.close = mc_close,
	.filling = mc_filling,
	.set = mc_set,
	.get = mc_get,
	.get_many = mc_get_many,
};
