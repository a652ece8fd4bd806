/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* server.c - start, talk to, and stop a cache server */
#include "bench/server.h"

#include "bench/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_TRIES 500u /* of 10 ms */

bool
server_prepare(struct server *server)
{
	memset(server, 0, offsetof(struct server, out));
	server->socket = -1;
	(void)snprintf(server->folder, sizeof(server->folder),
	    "/tmp/shmcache-bench-XXXXXX");
	if (mkdtemp(server->folder) == NULL)
		return false;
	(void)snprintf(
	    server->path, sizeof(server->path), "%s/socket", server->folder);
	cleanup_path(server->folder);
	cleanup_path(server->path);
	return true;
}

static void
run(const struct server *server, const char *const arguments[])
{
	int null = open("/dev/null", O_RDWR);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (chdir(server->folder) != 0 || null < 0)
		_exit(127);
	(void)dup2(null, 0);
	(void)dup2(null, 1);
	(void)dup2(null, 2);
	(void)execvp(arguments[0], (char *const *)(const void *)arguments);
	_exit(127);
}

static bool
connect_to(struct server *server)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timespec moment = { 0, 10000000 };

	(void)snprintf(
	    address.sun_path, sizeof(address.sun_path), "%s", server->path);
	for (unsigned i = 0; i < START_TRIES; i++) {
		server->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (server->socket >= 0 &&
		    connect(server->socket, (struct sockaddr *)&address,
			sizeof(address)) == 0)
			return true;
		(void)close(server->socket);
		server->socket = -1;
		if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
			server->pid = 0;
			cleanup_server(0);
			return false;
		}
		(void)nanosleep(&moment, NULL);
	}
	return false;
}

bool
server_start(struct server *server, const char *const arguments[])
{
	server->pid = fork();
	if (server->pid == 0)
		run(server, arguments);
	if (server->pid < 0)
		return false;
	cleanup_server(server->pid);
	return connect_to(server);
}

void
server_stop(struct server *server)
{
	if (server->socket >= 0)
		(void)close(server->socket);
	if (server->pid > 0) {
		(void)kill(server->pid, SIGKILL);
		(void)waitpid(server->pid, NULL, 0);
		cleanup_server(0);
	}
	(void)unlink(server->path);
	(void)rmdir(server->folder);
}

bool
server_flush(struct server *server)
{
	size_t sent = 0;

	while (sent < server->out_bytes) {
		ssize_t n = send(server->socket, server->out + sent,
		    server->out_bytes - sent, MSG_NOSIGNAL);

		if (n <= 0 && errno != EINTR)
			break;
		sent += n > 0 ? (size_t)n : 0;
	}
	server->out_bytes = 0;
	return sent > 0;
}

void
server_send(struct server *server, const void *bytes, size_t count)
{
	if (server->out_bytes + count > sizeof(server->out))
		(void)server_flush(server);
	memcpy(server->out + server->out_bytes, bytes, count);
	server->out_bytes += count;
}

/* Reads more behind what is there. */
static bool
more(struct server *server)
{
	ssize_t n;

	if (server->in_at > 0) {
		memmove(server->in, server->in + server->in_at,
		    server->in_bytes - server->in_at);
		server->in_bytes -= server->in_at;
		server->in_at = 0;
	}
	do
		n = recv(server->socket, server->in + server->in_bytes,
		    sizeof(server->in) - server->in_bytes, 0);
	while (n < 0 && errno == EINTR);
	server->in_bytes += n > 0 ? (size_t)n : 0;
	return n > 0;
}

const char *
server_line(struct server *server)
{
	for (;;) {
		char *from = server->in + server->in_at;
		size_t have = server->in_bytes - server->in_at;
		char *end = memmem(from, have, "\r\n", 2);

		if (end != NULL) {
			*end = '\0';
			server->in_at += (size_t)(end + 2 - from);
			return from;
		}
		if (!more(server))
			return NULL;
	}
}

bool
server_read(struct server *server, void *to, size_t count)
{
	while (server->in_bytes - server->in_at < count)
		if (!more(server))
			return false;
	memcpy(to, server->in + server->in_at, count);
	server->in_at += count;
	return true;
}
