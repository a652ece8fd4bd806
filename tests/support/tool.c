/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* tool.c - run the installed programs as a person does */
#include "tests/support/tool.h"

#include "tests/support/child.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define ARGUMENTS_MAX 16

const char *
tool_path(const char *tool)
{
	static char path[4096];
	const char *build = getenv("SHMCACHE_BUILD");
	char self[2048] = "";
	ssize_t length;

	if (build) {
		snprintf(path, sizeof(path), "%s/tools/%s", build, tool);
	} else {
		length = readlink("/proc/self/exe", self, sizeof(self) - 1);
		CHECK_SYS(length);
		*strrchr(self, '/') = '\0';
		snprintf(path, sizeof(path), "%s/../../tools/%s", self, tool);
	}
	CHECK_SAY(access(path, X_OK) == 0, "%s: %s", path, test_errno_text());
	return path;
}

pid_t
tool_start(const char *tool, const char *const *arguments, int out, int err)
{
	posix_spawn_file_actions_t actions;
	char *argv[ARGUMENTS_MAX + 2] = { NULL };
	const char *path = tool_path(tool);
	pid_t pid;
	size_t i;
	int error;

	argv[0] = strdup(tool);
	for (i = 0; arguments[i]; i++) {
		CHECK(i < ARGUMENTS_MAX);
		argv[i + 1] = strdup(arguments[i]);
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
	error = posix_spawn(&pid, path, &actions, NULL, argv, environ);
	CHECK_SAY(error == 0, "%s: %s", path, strerrordesc_np(error));
	posix_spawn_file_actions_destroy(&actions);
	for (i = 0; argv[i]; i++) {
		free(argv[i]);
	}
	return pid;
}

int
scratch_file(void)
{
	int fd = memfd_create("tools_test", MFD_CLOEXEC);

	CHECK_SYS(fd);
	return fd;
}

void
read_and_close(int fd, char *text)
{
	ssize_t length = pread(fd, text, OUTPUT_BYTES - 1, 0);

	CHECK_SYS(length);
	CHECK_SAY(length < (ssize_t)OUTPUT_BYTES - 1,
	    "a tool has said more than %u bytes", OUTPUT_BYTES);
	text[length] = '\0';
	close(fd);
}

void
run_arguments(
    struct outcome *outcome, const char *tool, const char *const *arguments)
{
	int out = scratch_file();
	int err = scratch_file();

	outcome->code = child_wait(tool_start(tool, arguments, out, err));
	read_and_close(out, outcome->out);
	read_and_close(err, outcome->err);
}

void
check_refusal(
    const struct outcome *outcome, const char *tool, int code, const char *part)
{
	CHECK_CODE(outcome, code);
	CHECK_SAY(!*outcome->out, "stdout is not empty: %s", outcome->out);
	CHECK_SAY(!strncmp(outcome->err, tool, strlen(tool)),
	    "stderr does not begin with %s: %s", tool, outcome->err);
	CHECK_HAS(outcome->err, part);
}

void
check_silent_success(const struct outcome *outcome)
{
	CHECK_CODE(outcome, EXIT_OK);
	CHECK_SAY(!*outcome->err, "stderr is not empty: %s", outcome->err);
}
