/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * server.h - a cache server of one's own, and a unix socket to it
 *
 * It is started in a temporary folder of its own and ends with the program.
 * What is sent is gathered until it is flushed, or room runs out; what comes
 * back is read through a buffer.
 */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SERVER_BUFFER_BYTES (256u << 10)

struct server {
	pid_t pid;
	int socket;
	char folder[64];
	char path[96]; /* of the socket */
	size_t out_bytes;
	size_t in_at;
	size_t in_bytes;
	char out[SERVER_BUFFER_BYTES];
	char in[SERVER_BUFFER_BYTES];
};

/* Makes the folder and chooses server->path.  False: errno. */
bool server_prepare(struct server *server);

/* Runs the program, which listens at server->path, and connects. */
bool server_start(struct server *server, const char *const arguments[]);

/* Ends it and removes its folder. */
void server_stop(struct server *server);

void server_send(struct server *server, const void *bytes, size_t count);
bool server_flush(struct server *server);

/* The next line, without its end, or NULL; valid until the next call. */
const char *server_line(struct server *server);

/* The next `count` bytes. */
bool server_read(struct server *server, void *to, size_t count);

#endif /* BENCH_SERVER_H */
