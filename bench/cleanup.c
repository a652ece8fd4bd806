/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cleanup.c - files and processes that end with the program */
#include "bench/cleanup.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATHS_MAX 64u

static char paths[PATHS_MAX][128];
static volatile sig_atomic_t path_count;
static volatile pid_t server;
static pid_t owner; /* forked children clean nothing */

void
cleanup_all(void)
{
	if (getpid() != owner)
		return;
	if (server > 0) {
		(void)kill(server, SIGKILL);
		(void)waitpid(server, NULL, 0);
		server = 0;
	}
	while (path_count > 0) {
		const char *path = paths[--path_count];

		if (unlink(path) != 0)
			(void)rmdir(path);
	}
}

static void
on_signal(int number)
{
	cleanup_all();
	(void)signal(number, SIG_DFL);
	(void)raise(number);
}

static void
begin(void)
{
	if (owner == getpid())
		return;
	owner = getpid();
	(void)signal(SIGINT, on_signal);
	(void)signal(SIGTERM, on_signal);
	(void)signal(SIGHUP, on_signal);
	(void)atexit(cleanup_all);
}

void
cleanup_path(const char *path)
{
	begin();
	for (int i = 0; i < path_count; i++)
		if (strcmp(paths[i], path) == 0)
			return;
	if (path_count == PATHS_MAX) {
		memmove(paths[0], paths[1], sizeof(paths) - sizeof(paths[0]));
		path_count = PATHS_MAX - 1;
	}
	(void)snprintf(paths[path_count], sizeof(paths[0]), "%s", path);
	path_count++;
}

void
cleanup_server(pid_t pid)
{
	begin();
	server = pid;
}
