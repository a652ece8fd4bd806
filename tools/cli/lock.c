/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lock.c - lock: run a command while holding an application lock
 *
 * The lock is this process's: it waits for the command, and passes signals on to
 * it.  If it is killed the lock is free, and the command goes on without: the
 * command knows its fencing token, to be refused by what is guarded.
 */
#include "tools/cli/entry.h"
#include "tools/cli/number.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define SIGNAL_CODE    128 /* and the signal that ended the command */
#define NOT_FOUND_CODE 127
#define NUMBER_BYTES   24

extern char **environ;

static const char *wait_text;
static int no_wait;

static int64_t wait_ms = SHMCACHE_TTL_NONE;

static volatile sig_atomic_t child;

static const struct poptOption lock_options[] = {
	{ "wait", 'w', POPT_ARG_STRING, &wait_text, 0,
	    "wait for so long at the most (default: for ever)", "TIME" },
	{ "no-wait", 'n', POPT_ARG_NONE, &no_wait, 0, "do not wait", NULL },
	ARGUMENT_OPTIONS, COMMAND_OPTIONS_END
};

static int
check_lock(struct call *call)
{
	(void)call;
	if (no_wait && wait_text) {
		return tool_usage("--wait and --no-wait exclude each other");
	}
	if (no_wait) {
		wait_ms = 0;
	}
	return number_time("--wait", wait_text, &wait_ms) ? TOOL_GO_ON
							  : TOOL_USAGE;
}

static void
pass_on(int signal_number)
{
	if (child > 0) {
		(void)kill((pid_t)child, signal_number);
	}
}

/* Those of the keyboard reach the command by themselves. */
static void
catch_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_IGN };

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGQUIT, &action, NULL);
	action.sa_handler = pass_on;
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGHUP, &action, NULL);
}

/* Start the command with default signals; 0 or an errno. */
static int
start(char **command, pid_t *pid_out)
{
	posix_spawnattr_t attributes;
	sigset_t defaults;
	int error = posix_spawnattr_init(&attributes);

	if (error) {
		return error;
	}
	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGINT);
	(void)sigaddset(&defaults, SIGQUIT);
	(void)sigaddset(&defaults, SIGPIPE);
	(void)posix_spawnattr_setsigdefault(&attributes, &defaults);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	error = posix_spawnp(
	    pid_out, command[0], NULL, &attributes, command, environ);
	(void)posix_spawnattr_destroy(&attributes);
	return error;
}

/* Its exit code. */
static int
run_command(struct call *call, char **command)
{
	int status = 0;
	pid_t pid;
	int error;

	catch_signals();
	error = start(command, &pid);
	if (error) {
		tool_say(
		    call->name, "%s: %s", command[0], strerrordesc_np(error));
		return NOT_FOUND_CODE;
	}
	child = (sig_atomic_t)pid;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	child = 0;
	return WIFSIGNALED(status) ? SIGNAL_CODE + WTERMSIG(status)
				   : WEXITSTATUS(status);
}

static int
take(struct call *call, struct shmcache_lock *lock)
{
	const struct bytes *name = &call->arguments[0];
	uint32_t ms = wait_ms < 0 || wait_ms > UINT32_MAX ? UINT32_MAX
							  : (uint32_t)wait_ms;
	int error;

	do {
		error = shmcache_lock(
		    call->cache, name->data, name->bytes, ms, lock);
	} while (error == -ETIMEDOUT && wait_ms < 0);
	if (error == -ETIMEDOUT) {
		tool_say(call->name, "'%s' is locked by another", name->data);
		return TOOL_FAILED;
	}
	return error ? entry_result(call, name, error) : TOOL_GO_ON;
}

static int
run_lock(struct call *call)
{
	char **command = calloc(call->count, sizeof(*command));
	char number[NUMBER_BYTES];
	struct shmcache_lock lock;
	int code;

	if (!command) {
		return tool_fail(call->name, -ENOMEM);
	}
	for (size_t i = 1; i < call->count; i++) {
		command[i - 1] = call->arguments[i].data;
	}
	code = take(call, &lock);
	if (code == TOOL_GO_ON) {
		(void)snprintf(number, sizeof(number), "%" PRIu64, lock.fence);
		(void)setenv("SHMCACHE_FENCE", number, 1);
		code = run_command(call, command);
		(void)shmcache_unlock(call->cache, &lock);
	}
	free(command);
	return code;
}

const struct command command_lock = {
	.name = "lock",
	.arguments = "LOCK -- COMMAND [ARGUMENT...]",
	.summary = "run a command while holding a lock of that name",
	.options = lock_options,
	.attach = ATTACH_WRITE,
	.least = 2,
	.most = ARGUMENTS_ANY,
	.check = check_lock,
	.run = run_lock,
};
