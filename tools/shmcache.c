/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shmcache.c - a cache from the shell
 *
 *	shmcache COMMAND [OPTION...] NAME [ARGUMENT...]
 *
 * This file finds the command, reads its command line, attaches, and lets it
 * run; tools/cli/ has the commands.  The table below is the one list of them:
 * the help is made from it, and the shell completion from the help.
 */
#include "tools/cli/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command *const commands[] = {
	&command_create,
	&command_destroy,
	&command_get,
	&command_set,
	&command_add,
	&command_replace,
	&command_cas,
	&command_append,
	&command_prepend,
	&command_incr,
	&command_decr,
	&command_touch,
	&command_ttl,
	&command_del,
	&command_count,
	&command_keys,
	&command_bigkeys,
	&command_dump,
	&command_load,
	&command_flush,
	&command_invalidate_tag,
	&command_filter_build,
	&command_filter_load,
	&command_filter_save,
	&command_filter_drop,
	&command_filter_test,
	&command_lock,
	&command_verify,
};

#define COMMAND_COUNT      (sizeof(commands) / sizeof(commands[0]))
#define WORDS_BYTES_MAX    64
#define SYNOPSIS_BYTES_MAX 512

static const struct command *
find_command(const char *word)
{
	size_t i;

	for (i = 0; i < COMMAND_COUNT; i++) {
		if (!strcmp(commands[i]->name, word) ||
		    (commands[i]->other_name &&
			!strcmp(commands[i]->other_name, word))) {
			return commands[i];
		}
	}
	return NULL;
}

/* What --help prints without a command. */
static int
print_help(void)
{
	size_t i;

	printf("Usage: shmcache COMMAND [OPTION...] NAME [ARGUMENT...]\n\n"
	       "Commands:\n");
	for (i = 0; i < COMMAND_COUNT; i++) {
		printf(
		    "  %-14s  %s\n", commands[i]->name, commands[i]->summary);
	}
	printf("\n'shmcache COMMAND --help' has the options of a command.\n"
	       "NAME stands for /dev/shm/shmcache.NAME, or is the path of a "
	       "cache.\n");
	return TOOL_OK;
}

/* A command line that names no command. */
static int
without_command(const char *word)
{
	if (!word) {
		return tool_usage("a command is missing");
	}
	if (!strcmp(word, "--help") || !strcmp(word, "-h") ||
	    !strcmp(word, "help")) {
		return print_help();
	}
	if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
		printf("shmcache %s\n", shmcache_version());
		return TOOL_OK;
	}
	return tool_usage("there is no command '%s'", word);
}

static int
take_arguments(struct call *call, const char *const *arguments)
{
	const struct command *command = call->command;
	size_t count = 0;
	int code = TOOL_GO_ON;

	while (arguments[count]) {
		count++;
	}
	if (count < command->least) {
		return tool_usage(
		    "after NAME should come %s", command->arguments);
	}
	if (count > command->most) {
		return tool_usage("'%s' is too much", arguments[command->most]);
	}
	call->arguments = calloc(count + 1, sizeof(*call->arguments));
	if (!call->arguments) {
		return tool_fail(call->name, -ENOMEM);
	}
	while (code == TOOL_GO_ON && call->count < count) {
		code = argument_bytes(
		    arguments[call->count], &call->arguments[call->count]);
		call->count++;
	}
	return code;
}

static int
parse(struct call *call, int argc, char **argv)
{
	const struct command *command = call->command;
	const char *const *arguments;
	char synopsis[SYNOPSIS_BYTES_MAX];
	int code;

	(void)snprintf(synopsis, sizeof(synopsis),
	    "[OPTION...] NAME%s%s\n\n%s\n", *command->arguments ? " " : "",
	    command->arguments, command->summary);
	code = tool_parse(argc, argv, command->options, synopsis, &arguments);
	if (code != TOOL_GO_ON) {
		return code;
	}
	if (!arguments[0]) {
		return tool_usage("the NAME of a cache is missing");
	}
	call->name = arguments[0];
	call->attach = command->attach;
	code = take_arguments(call, arguments + 1);
	if (code == TOOL_GO_ON && command->check) {
		code = command->check(call);
	}
	return code;
}

static int
carry_out(struct call *call)
{
	int error = 0;
	int code;

	if (call->attach != ATTACH_NONE) {
		struct shmcache_options options = SHMCACHE_OPTIONS_INIT;

		tool_attach_options(&options);
		options.read_only = call->attach == ATTACH_READ;
		error = shmcache_open(call->name, &options, &call->cache);
	}
	code = error ? tool_fail(call->name, error) : call->command->run(call);
	shmcache_close(call->cache);
	return code;
}

int
main(int argc, char **argv)
{
	struct call call = { .command = NULL };
	char words[WORDS_BYTES_MAX];
	int code;

	tool_start("shmcache");
	call.command = argc > 1 ? find_command(argv[1]) : NULL;
	if (!call.command) {
		return tool_finish(without_command(argc > 1 ? argv[1] : NULL));
	}
	(void)snprintf(words, sizeof(words), "shmcache %s", call.command->name);
	tool_start(words);
	argv[1] = words;
	code = parse(&call, argc - 1, argv + 1);
	if (code == TOOL_GO_ON) {
		code = carry_out(&call);
	}
	while (call.count > 0) {
		free(call.arguments[--call.count].data);
	}
	free(call.arguments);
	return tool_finish(code);
}
